"""Pieces of the page of a plan: rectangles, words, bars, tables. style.py has their style."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

LETTER = 7.2  # pixels of a letter, at most


def grouped(n: float) -> str:
    """A number, its digits in groups of three."""
    return f"{round(n):,}"


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
