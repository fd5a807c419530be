"""A plan as one HTML page: pictures of where the bytes are. No script, nothing from elsewhere.

Whatever comes from the model file is escaped, and the page forbids itself everything but its own
style: a model file is not trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import ceil

from .lifetimes import ATTENTION, EMBEDDING, FORWARD, OUTPUT, Buffer, buffers, layers, weights
from .planner import Budget, Planner

# Words of what lies in the heap, in the order of the bar, and the colour of each.
HEAP = (
    ("code", "the runtime's code", "c1"),
    ("weights", "weights", "c2"),
    ("cache", "KV cache", "c3"),
    ("arena", "activations", "c4"),
    ("tokenizer", "tokenizer", "c5"),
    ("tables", "tables", "c6"),
    ("steps", "program, steps and the rest", "c7"),
    ("loading", "while loading, or running", "c8"),
)
KINDS = {EMBEDDING: "c5", ATTENTION: "c3", FORWARD: "c4", OUTPUT: "c6"}
COLOURS = {"norm": "c6", "attend": "c3", "gate": "c5", "embed": "c2", "patches": "c2"}

STYLE = """
:root { color-scheme: light dark; --bg: #fbfaf7; --ink: #22252b; --soft: #666c78; --line: #d9d6cd;
  --card: #fff; --free: #eceae3; --bad: #b3261e; --good: #1a7a43;
  --c1: #7d8597; --c2: #3d6fb6; --c3: #d9822b; --c4: #3c9a78; --c5: #a8608f; --c6: #c7a52b;
  --c7: #56a0c0; --c8: #c9c4b8; }
@media (prefers-color-scheme: dark) { :root { --bg: #16181d; --ink: #e7e6e1; --soft: #a0a6b2;
  --line: #383c46; --card: #1e2128; --free: #2a2e37; --bad: #ff8a80; --good: #6fd197;
  --c1: #8d96a8; --c2: #6c9be0; --c3: #e39a4f; --c4: #58b793; --c5: #c583ae; --c6: #d6bb55;
  --c7: #74b8d6; --c8: #565b66; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--bg);
  color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .3rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; }
.soft { color: var(--soft); }
.figures { display: grid; gap: .7rem; margin: 1.2rem 0; padding: 0;
  grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem; }
.figures b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.bad { color: var(--bad); } .good { color: var(--good); }
.wide { overflow-x: auto; margin: .4rem 0; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
.wide svg { min-width: 40rem; }
svg text { fill: var(--ink); } svg .soft { fill: var(--soft); } svg .on { fill: #14161a; }
svg .rule { stroke: var(--line); } svg .limit { stroke: var(--bad); stroke-width: 2; }
svg .curve { fill: none; stroke: var(--c2); stroke-width: 2.5; }
svg rect.cell { stroke: var(--bg); }
.c1 { fill: var(--c1); background: var(--c1); } .c2 { fill: var(--c2); background: var(--c2); }
.c3 { fill: var(--c3); background: var(--c3); } .c4 { fill: var(--c4); background: var(--c4); }
.c5 { fill: var(--c5); background: var(--c5); } .c6 { fill: var(--c6); background: var(--c6); }
.c7 { fill: var(--c7); background: var(--c7); } .c8 { fill: var(--c8); background: var(--c8); }
.free { fill: var(--free); background: var(--free); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .15rem .9rem .15rem 0; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; } th { font-weight: 600; }
i.key { display: inline-block; width: .8em; height: .8em; border-radius: .15em;
  margin-right: .5em; }
ul.keys { list-style: none; margin: .5rem 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .2rem 1.2rem; }
"""


def page(planner: Planner, b: Budget, served: Budget) -> str:
    """The page for two budgets of a planner's: alone, and beside the serial server."""
    title = escape(b.model or "a model")
    body = [
        f"<h1>{title} on {escape(planner.board.title)}</h1>",
        _verdict(b, served),
        _figures(b, served),
        _heap(b),
        _originals(planner, b),
        _contexts(planner, b),
        _weights(planner),
        _timeline(planner, b),
        _sources(planner, b),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}: memory</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _bytes(n: float) -> str:
    return f"{n:,.0f}"


def _short(n: float) -> str:
    """Bytes for a label with little room."""
    for unit, size in (("MB", 1e6), ("KB", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f} B"


def _rect(x: float, y: float, w: float, h: float, kind: str, hint: str) -> str:
    return (
        f'<rect class="{kind} cell" x="{x:.1f}" y="{y:.1f}" width="{max(w, 0.5):.1f}" '
        f'height="{h:.1f}"><title>{escape(hint)}</title></rect>'
    )


def _text(x: float, y: float, s: str, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(s)}</text>'
    )


def _svg(width: int, height: float, inside: Iterable[str], label: str) -> str:
    return (
        f'<div class="wide"><svg viewBox="0 0 {width} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}">{"".join(inside)}</svg></div>'
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int]) -> str:
    """A table of cells, escaped already."""
    right = set(numbers)

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = (' class="n"' if i in right else "" for i in range(len(cells)))
        made = (f"<{tag}{kind}>{c}</{tag}>" for kind, c in zip(kinds, cells, strict=True))
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(row(r, "td") for r in rows)
    return f'<div class="wide"><table>{row(head, "th")}{body}</table></div>'


def _keys(pairs: Iterable[tuple[str, str]]) -> str:
    made = (f'<li><i class="key {c}"></i>{escape(name)}</li>' for name, c in pairs)
    return f'<ul class="keys">{"".join(made)}</ul>'


def _verdict(b: Budget, served: Budget) -> str:
    kind = "good" if b.fits else "bad"
    return (
        f'<p><b class="{kind}">{escape(b.verdict)}</b> This is for {b.context} positions, '
        f"alone in a script, with the weights in {b.weights}. {escape(' '.join(b.advice))}</p>"
        "<p>Beside the serial server, for <code>picoformer generate</code> and the like: "
        f"{escape(' '.join([served.verdict, *served.advice]))}</p>"
    )


def _figures(b: Budget, served: Budget) -> str:
    flash = f"of {_bytes(b.flash)} bytes of filesystem" if b.flash else "bytes of a folder"
    cells = [
        (b.fits_heap, _bytes(b.needed),
         f"of {_bytes(b.heap)} bytes of heap; {_bytes(served.needed)} beside the server"),
        (b.fits_block, _bytes(b.largest),
         f"bytes in one piece, {b.largest_part}; {_bytes(b.largest_free)} are there"),
        (b.fits_flash, _bytes(b.model_flash + b.runtime_flash), flash),
        (b.longest > 0, str(b.longest or "none"),
         f"is the longest context that fits, {served.longest or 'none'} beside the server; "
         f"the file has {b.file_context}"),
    ]  # fmt: skip
    made = (
        f'<div><b class="{"" if ok else "bad"}">{escape(n)}</b>'
        f'<span class="soft">{escape(text)}</span></div>'
        for ok, n, text in cells
    )
    return f'<div class="figures">{"".join(made)}</div>'


def heap_parts(b: Budget) -> dict[str, int]:
    """Bytes of what is in the heap at its fullest, by the names of HEAP."""
    parts = {**b.parts, "code": b.code}
    parts["steps"] += sum(parts.pop(k) for k in ("program", "labels", "rest"))
    parts["loading"] = b.needed - sum(parts.values())
    return parts


def _bar(
    y: float, parts: Iterable[tuple[str, float, str]], scale: float, height: float = 30
) -> list[str]:
    """A stacked bar of (name, bytes, colour) from the left edge on."""
    out = []
    x = 0.0
    for name, n, colour in parts:
        w = n * scale
        if n > 0:
            out.append(_rect(x, y, w, height, colour, f"{name}: {_bytes(n)} bytes"))
        text = _short(n)
        if w > 7.2 * len(text) + 6:
            kind = {"free": "soft", "c8": ""}.get(colour, "on")
            out.append(_text(x + w / 2, y + height / 2 + 4, text, kind, "middle"))
        x += w
    return out


def _heap(b: Budget) -> str:
    parts = heap_parts(b)
    width = 960
    scale = width / max(b.heap, b.needed)
    bar = [(name, parts[key], colour) for key, name, colour in HEAP]
    bar.append(("free", max(0, b.heap - b.needed), "free"))
    inside = _bar(2, bar, scale, 44)
    if b.needed > b.heap:
        x = b.heap * scale
        inside.append(f'<line class="limit" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="64"/>')
        inside.append(_text(x - 4, 62, f"the heap ends here: {_bytes(b.heap)}", "", "end"))
    rows = [
        (f'<i class="key {c}"></i>{escape(name)}', _bytes(n), f"{n / b.heap:.1%}")
        for name, n, c in bar
        if n
    ]
    return (
        "<h2>The board's heap at its fullest</h2><p>That is while the model is loaded: the "
        "loader's code and lists are there besides, and are given back when the model runs. What "
        "the heap loses by being in pieces is counted with them.</p>"
        + _svg(width, 50 if b.needed <= b.heap else 68, inside, "the heap as a bar")
        + _table(("", "bytes", "of the heap"), rows, (1, 2))
    )


def _naive(planner: Planner, b: Budget) -> list[tuple[str, int, int, str, str]]:
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


def _originals(planner: Planner, b: Budget) -> str:
    rows = _naive(planner, b)
    width, left = 960, 110
    scale = (width - left) / max(sum(r[1] for r in rows), 1)
    here = [(r[0], float(r[2]), r[3]) for r in rows]
    lines = [("float32", [(r[0], float(r[1]), r[3]) for r in rows])]
    if b.weights == "ram":
        lines.append(("here, heap", here))
    else:
        lines += [("here, flash", here[:1]), ("here, heap", here[1:])]
    inside = []
    for i, (name, bar) in enumerate(lines):
        y = 4 + 40 * i
        inside.append(_text(0, y + 20, name))
        inside.append(f'<g transform="translate({left} 0)">{"".join(_bar(y, bar, scale))}</g>')
    low = 4 + 40 * len(lines)
    x = left + b.heap * scale
    if x < width:
        inside.append(
            f'<line class="limit" x1="{x:.1f}" y1="{low - 46}" x2="{x:.1f}" y2="{low + 14}"/>'
        )
        inside.append(_text(x + 6, low + 12, f"the heap: {_short(b.heap)}", "soft"))
    cells = [
        (f'<i class="key {r[3]}"></i>{r[0]}', _bytes(r[1]), _bytes(r[2]),
         f"{r[1] / max(r[2], 1):.1f}")
        for r in rows
    ]  # fmt: skip
    levers = "".join(f"<li>{escape(f'{r[0][:1].upper()}{r[0][1:]}: {r[4]}')}.</li>" for r in rows)
    return (
        "<h2>Where the saving comes from</h2><p>Above, the model as float32, with memory of its "
        "own for each value and for each head's scores; below, as it is here, to the same "
        "scale.</p>"
        + _svg(width, low + 18, inside, "float32 and picoformer to the same scale")
        + _table(("", "float32", "here", "times"), cells, (1, 2, 3))
        + f"<ul>{levers}</ul>"
    )


def _contexts(planner: Planner, b: Budget) -> str:
    limit = b.file_context
    step = max(2, 2 * ceil(limit / 16))
    points = sorted({2, *range(step, limit, step), b.context, limit})
    needs = [(c, planner.needed(c)) for c in points]
    top = max(b.heap, *(n for _, n in needs)) * 1.05
    width, height, left, low = 960, 220, 70, 180

    def x(c: float) -> float:
        return left + (width - left - 30) * (c - 2) / max(limit - 2, 1)

    def y(n: float) -> float:
        return low - (low - 12) * n / top

    inside = [f'<line class="rule" x1="{left}" y1="{low}" x2="{width - 30}" y2="{low}"/>']
    inside += [_text(left - 8, low + 4, "0", "soft", "end")]
    inside.append(
        f'<line class="limit" x1="{left}" y1="{y(b.heap):.1f}" x2="{width - 30}" '
        f'y2="{y(b.heap):.1f}"/>'
    )
    inside.append(_text(left - 8, y(b.heap) + 4, _short(b.heap), "soft", "end"))
    inside.append(_text(left + 6, y(b.heap) + 15, "the heap", "soft"))
    curve = " ".join(f"{x(c):.1f},{y(n):.1f}" for c, n in needs)
    inside.append(f'<polyline class="curve" points="{curve}"/>')
    for c, n in needs:
        inside.append(
            f'<circle class="c2" cx="{x(c):.1f}" cy="{y(n):.1f}" r="4">'
            f"<title>{c} positions: {_bytes(n)} bytes</title></circle>"
        )
    shown = [c for c in (2, b.longest, limit) if c]
    for i, c in enumerate(shown):
        if i == 0 or x(c) - x(shown[i - 1]) > 40:
            inside.append(_text(x(c), low + 18, str(c), "soft", "middle"))
    inside.append(_text(width - 30, low + 36, "positions of the context", "soft", "end"))
    return (
        "<h2>Heap against the context</h2><p>The KV cache grows with the context, and so do the "
        "scores of an attention and, where an input is run at once, the activations. The context "
        f"is chosen when a model is loaded; the longest that fits is {b.longest or 'none'}.</p>"
        + _svg(width, height, inside, "heap needed against the context")
    )


def _weights(planner: Planner) -> str:
    listed = weights(planner.model)
    count = len(layers(planner.model)[0])
    rows: dict[int, dict[str, int]] = {}
    for w in listed:
        row = rows.setdefault(w.layer, {})
        row[w.kind] = row.get(w.kind, 0) + w.bytes
    width, left, high = 960, 110, 26
    scale = (width - left - 80) / max((sum(r.values()) for r in rows.values()), default=1)
    inside = []
    for i, layer in enumerate(sorted(rows)):
        y = 2 + i * (high + 6)
        name = "embedding" if not layer else "output" if layer > count else f"layer {layer}"
        inside.append(_text(0, y + 18, name))
        bar = [(kind, float(n), KINDS[kind]) for kind, n in rows[layer].items()]
        inside.append(
            f'<g transform="translate({left} 0)">{"".join(_bar(y, bar, scale, high))}</g>'
        )
        total = sum(rows[layer].values())
        inside.append(_text(left + total * scale + 8, y + 18, _short(total), "soft"))
    used = [
        (kind, colour) for kind, colour in KINDS.items() if any(kind in r for r in rows.values())
    ]
    return (
        "<h2>Weights</h2><p>By layer and kind, as they lie in the file. A matrix that is used "
        "twice, as an embedding that also makes the logits, is there once.</p>"
        + _keys(used)
        + _svg(width, len(rows) * (high + 6) + 4, inside, "weights by layer and kind")
    )


def _timeline(planner: Planner, b: Budget) -> str:
    m = planner.model
    found = buffers(m)
    steps, stride = len(m.steps), m.stride
    width, left, top, high = 960, 60, 22, 300
    dx, dy = (width - left) / max(steps, 1), high / stride
    inside = [_rect(left, top, width - left, high, "free", "free")]
    for f in found:
        x, w = left + f.first * dx, (f.last - f.first + 1) * dx
        y, h = top + high - (f.at + f.words) * dy, f.words * dy
        inside.append(_rect(x, y, w, h, COLOURS.get(f.op, "c4"), _hint(f, m.steps[f.first].op)))
        if w > 7 * len(f.name) + 6 and h > 13:
            inside.append(_text(x + w / 2, y + h / 2 + 4, f.name, "on", "middle"))
    inside.append(_text(left - 6, top + high, "0", "soft", "end"))
    inside.append(_text(left - 6, top + 10, f"{stride}", "soft", "end"))
    inside.append(_text(left - 6, top + high / 2, "words", "soft", "end"))
    last = -100.0
    for i, s in enumerate(layers(m)[0]):
        x = left + s * dx
        inside.append(f'<line class="rule" x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{top + high}"/>')
        if x - last > 60:
            inside.append(_text(x + 3, 14, f"layer {i + 1}", "soft"))
            last = x
    inside.append(_text(width, top + high + 16, f"{steps} steps of the program", "soft", "end"))
    apart = sum(f.words for f in found)
    frames = min(m.batch, b.context)
    keys = [
        ("residual", "c2"),
        ("made by a linear or a norm of its own", "c4"),
        ("quantized for a linear", "c6"),
        ("made by an attention", "c3"),
        ("free", "free"),
    ]
    return (
        "<h2>Activations over the steps</h2><p>One position's frame. A rectangle is a buffer: "
        "from the step that writes it to the last that reads it, and the words that it takes. "
        f"When it is dead, another lies in its place: {len(found)} buffers of {_bytes(apart)} "
        f"words do with {_bytes(stride)}. There are {frames} such frames, so that one sweep of "
        "the weights serves as many positions, and behind them the scores of one head.</p>"
        + _keys(keys)
        + _svg(width, top + high + 22, inside, "buffers over the steps")
    )


def _hint(f: Buffer, op: str) -> str:
    return (
        f"{f.name} ({op}): {f.words} words from word {f.at} on, "
        f"steps {f.first + 1} to {f.last + 1}"
    )


def _sources(planner: Planner, b: Budget) -> str:
    board = planner.board
    rows = [
        (escape(name), _bytes(n), escape(how), escape(source))
        for name, n, how, source in (
            ("heap free at boot", board.heap.bytes, board.heap.how, board.heap.source),
            ("largest block", board.largest.bytes, board.largest.how, board.largest.source),
            ("filesystem", board.flash.bytes, board.flash.how, board.flash.source),
            ("the runtime's code in the heap", b.code, board.code_how,
             "tools/benchmarks/memory.py, on the emulated Pico or the unix port"),
        )
    ]  # fmt: skip
    return "<h2>Where the board's figures come from</h2>" + _table(
        ("", "bytes", "", "source"), rows, (1,)
    )
