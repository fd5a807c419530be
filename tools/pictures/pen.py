"""What a picture is drawn with: SVG with a background of its own, for light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from picoformer.planning.style import DARK, LIGHT

# The colours of a plan's pages, and those of a board.
LIGHT += "--board: #2f7d4f; --metal: #b9a24a; --tin: #a9b0ba;"
DARK += "--board: #2c7a4d; --metal: #c9b25a; --tin: #98a0ab;"
STYLE = f"""
svg {{ {LIGHT} }}
@media (prefers-color-scheme: dark) {{ svg {{ {DARK} }} }}
text {{ font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--ink); }}
.soft {{ fill: var(--soft); }} .on {{ fill: #14161a; }} .bold {{ font-weight: 600; }}
.mono {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
.bg {{ fill: var(--bg); }} .card {{ fill: var(--card); stroke: var(--line); stroke-width: 2; }}
.free {{ fill: var(--free); }} .bad {{ fill: var(--bad); }}
.line {{ fill: none; stroke: var(--soft); stroke-width: 2.5; }} .tip {{ fill: var(--soft); }}
.rule {{ fill: none; stroke: var(--line); stroke-width: 2; }}
.limit {{ fill: none; stroke: var(--bad); stroke-width: 2.5; }}
.board {{ fill: var(--board); }} .metal {{ fill: var(--metal); }} .tin {{ fill: var(--tin); }}
.white {{ fill: #f4f4f0; }} .given {{ fill: var(--c2); }}
.rim {{ fill: none; stroke: var(--soft); stroke-width: 2; stroke-dasharray: 8 6; }}
.cell {{ stroke: var(--bg); stroke-width: 2; }} .curve {{ fill: none; stroke-width: 4; }}
.fill1 {{ fill: var(--c6); }} .fill2 {{ fill: var(--c3); }} .fill3 {{ fill: var(--c4); }}
.fill4 {{ fill: var(--c7); }}
""" + "".join(f".c{i} {{ fill: var(--c{i}); }} " for i in range(1, 9))
STYLE += "".join(f".sc{i} {{ stroke: var(--c{i}); }} " for i in range(1, 9))


def picture(width: int, height: int, label: str, inside: Iterable[str]) -> str:
    """A whole file. `label` says what is seen, for those who do not see it."""
    body = "\n".join(inside)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}"><style>{STYLE}</style>\n'
        f'<rect class="bg" width="{width}" height="{height}"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, s: str, size: float, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}" '
        f'xml:space="preserve">{escape(s)}</text>'
    )


def box(
    x: float, y: float, width: float, height: float, kind: str = "card", round: float = 8
) -> str:
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
        f'rx="{round:g}"/>'
    )


def line(points: Sequence[tuple[float, float]], kind: str = "line") -> str:
    way = "L".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path class="{kind}" d="M{way}"/>'


def arrow(points: Sequence[tuple[float, float]]) -> str:
    """A line with a tip at its last point."""
    (x0, y0), (x, y) = points[-2:]
    length = max(((x - x0) ** 2 + (y - y0) ** 2) ** 0.5, 1e-9)
    dx, dy = (x - x0) / length, (y - y0) / length
    bx, by = x - 13 * dx, y - 13 * dy
    tip = f"M{x:g} {y:g}L{bx - 7 * dy:g} {by + 7 * dx:g}L{bx + 7 * dy:g} {by - 7 * dx:g}z"
    return line([*points[:-1], (bx, by)]) + f'<path class="tip" d="{tip}"/>'


def file(x: float, y: float, width: float, height: float, kind: str = "card") -> str:
    """A sheet of paper with a folded corner."""
    f = 22
    return (
        f'<path class="{kind}" d="M{x} {y}h{width - f}l{f} {f}v{height - f}h-{width}z"/>'
        f'<path class="rule" d="M{x + width - f} {y}v{f}h{f}"/>'
    )


def pico(x: float, y: float, width: float) -> str:
    """A Raspberry Pi Pico, upright, its USB socket above. Its height is 2.3 times the width."""
    height, pin = 2.3 * width, width / 14
    out = [
        box(x, y, width, height, "board", 7),
        box(x + 0.33 * width, y - 0.09 * width, 0.34 * width, 0.26 * width, "tin", 3),
    ]
    for i in range(20):
        at = y + 0.05 * height + i * 0.9 * height / 19
        for side in (x + 0.07 * width, x + 0.93 * width):
            out.append(f'<circle class="metal" cx="{side:g}" cy="{at:g}" r="{pin / 2:g}"/>')
    out.append(box(x + 0.3 * width, y + 0.42 * height, 0.4 * width, 0.4 * width, "on", 4))
    out.append(box(x + 0.42 * width, y + 0.24 * height, 0.16 * width, 0.16 * width, "white", 8))
    out.append(box(x + 0.36 * width, y + 0.72 * height, 0.28 * width, 0.16 * width, "on", 3))
    return "".join(out)
