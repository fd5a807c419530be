"""Where a model's memory goes on a Pico: its bytes, its context, a frame over the steps."""

from __future__ import annotations

from math import ceil

from picoformer.planning.budget import HEAP
from picoformer.planning.drawing import short
from picoformer.planning.lifetimes import buffers, layers
from picoformer.planning.pictures import COLOURS, costs
from picoformer.planning.planner import Planner

from .pen import arrow, box, line, picture, text

WIDTH, LEFT, RIGHT = 800, 24, 776
SMALL = 21  # the smallest letters: of 9 pixels on a phone
WORDS = {"code": "the runtime", "steps": "program and steps", "loading": "while loading"}


def stacked(y: float, parts: list[tuple[float, str]], scale: float, high: float) -> list[str]:
    out, x = [], float(LEFT)
    for n, colour in parts:
        out.append(box(x, y, max(n * scale, 1), high, colour, 0))
        label = short(n)
        if n * scale > 12.5 * len(label) + 8:
            out.append(text(x + n * scale / 2, y + high / 2 + 7, label, SMALL, "on", "middle"))
        x += n * scale
    return out


def legend(y: float, entries: list[tuple[str, str]], columns: int = 2) -> list[str]:
    out = []
    for i, (name, colour) in enumerate(entries):
        x = LEFT + (i % columns) * (RIGHT - LEFT) / columns
        at = y + 34 * (i // columns)
        out += [box(x, at - 17, 20, 20, colour, 3), text(x + 30, at, name, SMALL)]
    return out


def total(planner: Planner) -> str:
    """As float32 and as it is here, to one scale; then the heap by itself."""
    b = planner.budget()
    rows = costs(planner, b)
    scale = (RIGHT - LEFT) / sum(r[1] for r in rows)
    floats = [(float(r[1]), r[3]) for r in rows]
    here = [(float(b.parts[k]), c) for k, c in (("cache", "c3"), ("arena", "c4"))]
    here.append((b.needed - sum(n for n, _ in here), "c8"))
    limit = LEFT + b.heap * scale
    inside = [
        text(LEFT, 42, f"{b.model} as float32: {short(sum(r[1] for r in rows))}", 25, "bold"),
        *stacked(56, floats, scale, 48),
        text(LEFT, 146, "as it runs on a Pico", 25, "bold"),
        *stacked(160, [(float(rows[0][2]), "c2")], scale, 48),
        text(LEFT + rows[0][2] * scale + 12, 191, "in flash", SMALL),
        *stacked(216, here, scale, 48),
        line([(limit, 212), (limit, 268)], "limit"),
        text(limit + 12, 247, f"in the heap, {short(b.needed)} of {short(b.heap)}", SMALL),
        *legend(304, [*((r[0], r[3]) for r in rows), ("the rest", "c8")], 4),
    ]
    y = 368
    parts = [(HEAP[k] if k not in WORDS else WORDS[k], n, f"c{i}")
             for i, (k, n) in enumerate(b.in_heap().items(), 1) if n > 100]  # fmt: skip
    parts.append(("free", b.heap - b.needed, "free"))
    inside += [
        text(LEFT, y, f"the heap of a Pico: {b.heap:,} bytes", 25, "bold"),
        *stacked(y + 14, [(float(n), c) for _, n, c in parts], (RIGHT - LEFT) / b.heap, 56),
        *legend(y + 106, [(f"{name}: {n:,}", c) for name, n, c in parts]),
    ]
    high = y + 106 + 34 * ceil(len(parts) / 2)
    seen = f"{b.model}: weights, KV cache and activations as float32 and on a Pico"
    return picture(WIDTH, high, seen, inside)


CACHES = ((12, 8, "c2"), (8, 8, "c3"), (8, 4, "c4"))


def contexts(planner: Planner) -> str:
    """The heap that is needed against the context, for caches of so many bits."""
    limit, heap = planner.model.context, planner.board.heap.bytes
    points = range(limit // 16, limit + 1, limit // 16)
    needs = [[(c, planner.with_cache(k, v).needed(c)) for c in points] for k, v, _ in CACHES]
    left, right, low, top = 110, 700, 400, 70
    most = max(n for row in needs for _, n in row)

    def x(c: float) -> float:
        return round(left + (right - left) * c / limit, 1)

    def y(n: float) -> float:
        return round(low - (low - top) * n / most, 1)

    inside = [
        text(LEFT, 42, "heap that is needed, KB", SMALL, "soft"),
        line([(left, top), (left, low), (right, low)], "rule"),
        line([(left, y(heap)), (right, y(heap))], "limit"),
        text(left + 10, y(heap) - 10, "the heap of a Pico", SMALL, "bad"),
    ]
    for n in range(0, int(most), 100_000):
        inside.append(text(left - 12, y(n) + 7, str(n // 1000), SMALL, "soft", "end"))
    for c in range(0, limit + 1, limit // 4):
        inside.append(text(x(c), low + 30, str(c), SMALL, "soft", "middle"))
    inside.append(text(right, low + 62, "context, positions", SMALL, "soft", "end"))
    for row, (k, v, colour) in zip(needs, CACHES, strict=True):
        inside.append(line([(x(c), y(n)) for c, n in row], f"curve s{colour}"))
        longest = planner.with_cache(k, v).longest()
        inside.append(
            f'<circle class="{colour}" cx="{x(longest)}" '
            f'cy="{y(planner.with_cache(k, v).needed(longest))}" r="8"/>'
        )
    entries = []
    for k, v, colour in CACHES:
        longest = planner.with_cache(k, v).longest()
        end = "all of it" if longest == limit else f"up to {longest}"
        entries.append((f"keys of {k} bits, values of {v}: {end}", colour))
    inside += legend(low + 104, entries, 1)
    return picture(WIDTH, low + 104 + 34 * 2 + 24, "heap needed against the context", inside)


def frame(planner: Planner) -> str:
    """The buffers of one position's frame over the steps of the first layers."""
    m = planner.model
    starts, _ = layers(m)
    end = starts[2]
    # Exponents of their own, a word each, are too small to be seen.
    found = [b for b in buffers(m) if b.first < end and b.words > 1]
    left, top, high, words = 76, 62, 420, m.stride
    dx, dy = (RIGHT - left) / end, high / words
    inside = [box(left, top, RIGHT - left, high, "free", 0)]
    for b in found:
        last = min(b.last, end - 1)
        inside.append(
            f'<rect class="{COLOURS.get(b.op, "c4")} cell" x="{left + b.first * dx:.1f}" '
            f'y="{top + high - (b.at + b.words) * dy:.1f}" '
            f'width="{(last - b.first + 1) * dx:.1f}" height="{max(b.words * dy, 2):.1f}"/>'
        )
    for i, s in enumerate(starts[:2]):
        inside.append(line([(left + s * dx, 24), (left + s * dx, top + high)], "rule"))
        inside.append(text(left + s * dx + 8, 46, f"layer {i + 1}", SMALL, "soft"))
    x = next(b for b in found if b.op == "embed")
    inside += [
        text(left + 14, top + high - (x.at + x.words / 2) * dy + 7, "residual", SMALL, "on"),
        text(left - 10, top + high, "0", SMALL, "soft", "end"),
        text(left - 10, top + 16, str(words), SMALL, "soft", "end"),
        text(left - 10, top + high / 2, "words", SMALL, "soft", "end"),
        arrow([(left, top + high + 22), (RIGHT, top + high + 22)]),
        text(left, top + high + 52, f"the first {end} of {len(m.steps)} steps", SMALL, "soft"),
        *legend(top + high + 94, [
            ("residual", "c2"), ("written by a matrix", "c4"),
            ("quantized, read by a matrix", "c6"), ("written by an attention", "c3"),
        ]),
    ]  # fmt: skip
    return picture(WIDTH, top + high + 148, "buffers of a frame over the steps", inside)
