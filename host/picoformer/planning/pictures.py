"""The pictures of a plan besides that of the heap: where the bytes are, and when.

Whatever comes from the model file is escaped.
"""

from __future__ import annotations

from html import escape
from math import ceil

from .budget import Budget
from .drawing import bar, beside, drawn, grouped, keys, rect, short, table, text
from .lifetimes import ATTENTION, EMBEDDING, FORWARD, OUTPUT, Buffer, buffers, layers
from .lifetimes import weights as weights_of
from .planner import Planner

KINDS = {EMBEDDING: "c5", ATTENTION: "c3", FORWARD: "c4", OUTPUT: "c6"}
COLOURS = {"norm": "c6", "attend": "c3", "gate": "c5", "embed": "c2", "patches": "c2"}
BUFFERS = (
    ("residual", "c2"),
    ("made by a linear or a norm of its own", "c4"),
    ("quantized for a linear", "c6"),
    ("made by an attention", "c3"),
    ("free", "free"),
)


def costs(planner: Planner, b: Budget) -> list[tuple[str, int, int, str, str]]:
    """(what, bytes as float32 without tricks, bytes here, colour, what makes the difference)."""
    m = planner.model
    stores = [s for s in m.steps if s.op == "store"]
    frames = min(m.batch, b.context)
    found = buffers(m)
    scores = max((s["heads"] for s in m.steps if s.op == "attend"), default=0)
    cache = m.cache_bytes(b.context)
    own = 4 * frames * sum(f.words for f in found) + 4 * frames * scores * b.context
    levers = "8-bit weights, a scale for each row"
    levers += ", read where they lie in flash" if b.weights == "flash" else ""
    return [
        ("weights", b.float_bytes, m.sizes["weights"], "c2", levers),
        ("KV cache", sum(8 * s["heads"] * s["size"] for s in stores) * b.context, cache, "c3",
         "{}-bit keys, {}-bit values, two scales for each head and position".format(
             *m.cache_bits)),
        ("activations", own, m.arena_bytes(b.context), "c4",
         f"buffers lie over dead ones, {frames} positions at a time, one head's scores"),
    ]  # fmt: skip


def originals(planner: Planner, b: Budget) -> str:
    rows = costs(planner, b)
    here = [(r[0], float(r[2]), r[3]) for r in rows]
    lines = [("float32", [(r[0], float(r[1]), r[3]) for r in rows])]
    if b.weights == "ram":
        lines.append(("here, heap", here))
    else:
        lines += [("here, flash", here[:1]), ("here, heap", here[1:])]

    def draw(width: int) -> tuple[float, list[str]]:
        left = 80
        scale = (width - left) / max(sum(r[1] for r in rows), 1)
        inside = []
        for i, (name, parts) in enumerate(lines):
            y = 4 + 40 * i
            inside.append(text(0, y + 20, name))
            made = "".join(bar(y, parts, scale))
            inside.append(f'<g transform="translate({left} 0)">{made}</g>')
        low = 4 + 40 * len(lines)
        x = left + b.heap * scale
        if x < width:
            inside.append(
                f'<line class="limit" x1="{x:.1f}" y1="{low - 46}" x2="{x:.1f}" y2="{low + 14}"/>'
            )
            inside.append(beside(x, low + 12, f"the heap: {short(b.heap)}", width, "soft"))
        return low + 18, inside

    cells = [
        (f'<i class="key {r[3]}"></i>{r[0]}', grouped(r[1]), grouped(r[2]),
         f"{r[1] / max(r[2], 1):.1f}")
        for r in rows
    ]  # fmt: skip
    levers = "".join(f"<li>{escape(f'{r[0][:1].upper()}{r[0][1:]}: {r[4]}')}.</li>" for r in rows)
    return (
        "<h2>Where the saving comes from</h2><p>The first bar is the model as float32, with "
        "memory of its own for each value and for each head's scores. The others are the model "
        "as it is here, to the same scale.</p>"
        + drawn(draw, "float32 and picoformer to the same scale")
        + table(("", "float32", "here", "times"), cells, (1, 2, 3))
        + f"<ul>{levers}</ul>"
    )


def contexts(planner: Planner, b: Budget) -> str:
    limit = b.file_context
    step = max(2, 2 * ceil(limit / 16))
    points = sorted({2, *range(step, limit, step), b.context, limit})
    needs = [(c, planner.needed(c)) for c in points]
    top = max(b.heap, *(n for _, n in needs)) * 1.05

    def draw(width: int) -> tuple[float, list[str]]:
        left, low = 56, 180

        def x(c: float) -> float:
            return left + (width - left - 30) * (c - 2) / max(limit - 2, 1)

        def y(n: float) -> float:
            return low - (low - 12) * n / top

        inside = [f'<line class="rule" x1="{left}" y1="{low}" x2="{width - 30}" y2="{low}"/>']
        inside += [text(left - 8, low + 4, "0", "soft", "end")]
        inside.append(
            f'<line class="limit" x1="{left}" y1="{y(b.heap):.1f}" x2="{width - 30}" '
            f'y2="{y(b.heap):.1f}"/>'
        )
        inside.append(text(left - 8, y(b.heap) + 4, short(b.heap), "soft", "end"))
        inside.append(text(left + 6, y(b.heap) + 15, "the heap", "soft"))
        curve = " ".join(f"{x(c):.1f},{y(n):.1f}" for c, n in needs)
        inside.append(f'<polyline class="curve" points="{curve}"/>')
        for c, n in needs:
            inside.append(
                f'<circle class="c2" cx="{x(c):.1f}" cy="{y(n):.1f}" r="4">'
                f"<title>{c} positions: {grouped(n)} bytes</title></circle>"
            )
        shown = [c for c in (2, b.longest, limit) if c]
        for i, c in enumerate(shown):
            if i == 0 or x(c) - x(shown[i - 1]) > 40:
                inside.append(text(x(c), low + 18, str(c), "soft", "middle"))
        inside.append(text(width - 30, low + 36, "positions of the context", "soft", "end"))
        return 220, inside

    return (
        "<h2>Heap against the context</h2><p>The KV cache grows with the context, and so do the "
        "scores of an attention. If a model reads its whole input at once, the activations grow, "
        "too. You choose the context when you load the model; the longest that fits is "
        f"{b.longest or 'none'}.</p>"
        + drawn(draw, "heap needed against the context")
    )


def weights(planner: Planner) -> str:
    count = len(layers(planner.model)[0])
    rows: dict[int, dict[str, int]] = {}
    for w in weights_of(planner.model):
        row = rows.setdefault(w.layer, {})
        row[w.kind] = row.get(w.kind, 0) + w.bytes
    high = 26

    def draw(width: int) -> tuple[float, list[str]]:
        left = 70
        scale = (width - left - 56) / max((sum(r.values()) for r in rows.values()), default=1)
        inside = []
        for i, layer in enumerate(sorted(rows)):
            y = 2 + i * (high + 6)
            name = "embedding" if not layer else "output" if layer > count else f"layer {layer}"
            inside.append(text(0, y + 18, name))
            parts = [(kind, float(n), KINDS[kind]) for kind, n in rows[layer].items()]
            made = "".join(bar(y, parts, scale, high))
            inside.append(f'<g transform="translate({left} 0)">{made}</g>')
            total = sum(rows[layer].values())
            inside.append(text(left + total * scale + 8, y + 18, short(total), "soft"))
        return len(rows) * (high + 6) + 4, inside

    used = [
        (kind, colour) for kind, colour in KINDS.items() if any(kind in r for r in rows.values())
    ]
    return (
        "<h2>Weights</h2><p>By layer and kind, as they lie in the file. An embedding that also "
        "makes the logits is in it once.</p>"
        + keys(used)
        + drawn(draw, "weights by layer and kind")
    )


def timeline(planner: Planner, b: Budget) -> str:
    m = planner.model
    found = buffers(m)
    steps, stride = len(m.steps), m.stride

    def draw(width: int) -> tuple[float, list[str]]:
        left, top, high = 48, 22, 300
        dx, dy = (width - left) / max(steps, 1), high / stride
        inside = [rect(left, top, width - left, high, "free", "free")]
        for f in found:
            x, w = left + f.first * dx, (f.last - f.first + 1) * dx
            y, h = top + high - (f.at + f.words) * dy, f.words * dy
            inside.append(rect(x, y, w, h, COLOURS.get(f.op, "c4"), _hint(f, m.steps[f.first].op)))
            if w > 7 * len(f.name) + 6 and h > 13:
                inside.append(text(x + w / 2, y + h / 2 + 4, f.name, "on", "middle"))
        inside.append(text(left - 6, top + high, "0", "soft", "end"))
        inside.append(text(left - 6, top + 10, f"{stride}", "soft", "end"))
        inside.append(text(left - 6, top + high / 2, "words", "soft", "end"))
        last = -100.0
        for i, s in enumerate(layers(m)[0]):
            x = left + s * dx
            inside.append(
                f'<line class="rule" x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{top + high}"/>'
            )
            if x - last > 60 and x + 60 < width:
                inside.append(text(x + 3, 14, f"layer {i + 1}", "soft"))
                last = x
        inside.append(text(width, top + high + 16, f"{steps} steps of the program", "soft", "end"))
        return top + high + 22, inside

    apart = sum(f.words for f in found)
    frames = min(m.batch, b.context)
    return (
        "<h2>Activations over the steps</h2><p>This is the frame of one position. A rectangle "
        "is a buffer: its height is the words that it takes, and it lasts from the step that "
        "writes it to the last one that reads it. Then another buffer takes its place. So "
        f"{len(found)} buffers of {grouped(apart)} words need only {grouped(stride)}. There are "
        f"{frames} such frames: one sweep of the weights serves as many positions. After the "
        "frames come the scores of one head.</p>"
        + keys(BUFFERS)
        + drawn(draw, "buffers over the steps")
    )


def _hint(f: Buffer, op: str) -> str:
    return (
        f"{f.name} ({op}): {f.words} words from word {f.at} on, "
        f"steps {f.first + 1} to {f.last + 1}"
    )
