"""Pieces of the page of a plan: rectangles, words, bars, tables, and the style of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

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
@media (max-width: 40rem) { .desk { display: none; } }
@media not all and (max-width: 40rem) { .phone { display: none; } }
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


LETTER = 7.2  # pixels of a letter, at most


def grouped(n: float) -> str:
    """A number, its digits in groups of three."""
    return f"{n:,.0f}"


def short(n: float) -> str:
    """Bytes for a label with little room."""
    for unit, size in (("MB", 1e6), ("KB", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f} B"


def rect(x: float, y: float, w: float, h: float, kind: str, hint: str) -> str:
    return (
        f'<rect class="{kind} cell" x="{x:.1f}" y="{y:.1f}" width="{max(w, 0.5):.1f}" '
        f'height="{h:.1f}"><title>{escape(hint)}</title></rect>'
    )


def text(x: float, y: float, s: str, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(s)}</text>'
    )


DESK, PHONE = 960, 328  # pixels of a picture's width, on a desk and on a phone of 360


def drawn(draw: Callable[[int], tuple[float, Iterable[str]]], label: str) -> str:
    """A picture, whole on a wide screen and on a narrow one: draw(width) gives height and content.

    In each the letters have 12 pixels.
    """
    return "".join(
        f'<div class="{kind}"><svg viewBox="0 0 {width} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}">{"".join(inside)}</svg></div>'
        for kind, width in (("desk", DESK), ("phone", PHONE))
        for height, inside in (draw(width),)
    )


def beside(x: float, y: float, s: str, width: int, kind: str = "") -> str:
    """Words beside a vertical line at x, on the side that has room."""
    if x + LETTER * len(s) + 6 > width:
        return text(x - 6, y, s, kind, "end")
    return text(x + 6, y, s, kind)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int]) -> str:
    """A table of cells, escaped already."""
    right = set(numbers)

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = (' class="n"' if i in right else "" for i in range(len(cells)))
        made = (f"<{tag}{kind}>{c}</{tag}>" for kind, c in zip(kinds, cells, strict=True))
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(row(r, "td") for r in rows)
    return f'<div class="wide"><table>{row(head, "th")}{body}</table></div>'


def keys(pairs: Iterable[tuple[str, str]]) -> str:
    made = (f'<li><i class="key {c}"></i>{escape(name)}</li>' for name, c in pairs)
    return f'<ul class="keys">{"".join(made)}</ul>'


def bar(
    y: float, parts: Iterable[tuple[str, float, str]], scale: float, height: float = 30
) -> list[str]:
    """A stacked bar of (name, bytes, colour) from the left edge on."""
    out = []
    x = 0.0
    for name, n, colour in parts:
        w = n * scale
        if n > 0:
            out.append(rect(x, y, w, height, colour, f"{name}: {grouped(n)} bytes"))
        label = short(n)
        if w > LETTER * len(label) + 6:
            kind = {"free": "soft", "c8": ""}.get(colour, "on")
            out.append(text(x + w / 2, y + height / 2 + 4, label, kind, "middle"))
        x += w
    return out
