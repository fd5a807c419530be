"""The picture of a board's heap with a model in it."""

from __future__ import annotations

from html import escape

from .budget import HEAP, Budget
from .drawing import bar, beside, drawn, grouped, table


def heap(b: Budget) -> str:
    parts = [(HEAP[k], n, f"c{i}") for i, (k, n) in enumerate(b.in_heap().items(), 1)]
    parts.append(("free", max(0, b.heap - b.needed), "free"))

    def draw(width: int) -> tuple[float, list[str]]:
        scale = width / max(b.heap, b.needed)
        inside = bar(2, parts, scale, 44)
        if b.needed <= b.heap:
            return 50, inside
        x = b.heap * scale
        inside.append(f'<line class="limit" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="64"/>')
        inside.append(beside(x, 62, f"the heap ends: {grouped(b.heap)}", width))
        return 68, inside

    rows = [
        (f'<i class="key {c}"></i>{escape(name)}', grouped(n), f"{n / b.heap:.1%}")
        for name, n, c in parts
        if n
    ]
    return (
        "<h2>The board's heap at its fullest</h2><p>This is a moment while the model "
        "is loaded. The loader's code and lists are in the heap then, and go before the model "
        "runs. What the heap loses by being in pieces is counted with them.</p>"
        + drawn(draw, "the heap as a bar")
        + table(("", "bytes", "of the heap"), rows, (1, 2))
    )
