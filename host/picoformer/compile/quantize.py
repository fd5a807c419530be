"""Weights become integers: of 8 bits with a scale a row, or of 4 with scales of groups of columns.

Those of 4 bits were rounded before, by rounding.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph.nodes import Array, Embedding, Graph, Linear, Node
from .matrices import ROW_MAX, Matrix, Matrix4, Rounded


def quantize(parts: list[Array]) -> Matrix:
    """Round matrices (rows, columns), stacked by rows, to 8 bits with a scale a row."""
    weight = np.concatenate([np.asarray(p, np.float64) for p in parts])
    # The mantissa is fixed first: the weights are rounded with the scale that is kept.
    mantissa, exponent = mantissas(np.abs(weight).max(1) / 127)
    q = np.floor(weight / (mantissa * 2.0**exponent)[:, None] + 0.5).astype(np.int64)
    return Matrix(q, mantissa, exponent)


def stacked(parts: list[Rounded]) -> Matrix4:
    """Matrices of one input, stacked by rows, as one."""
    mantissa, exponent = mantissas(np.concatenate([p.unit for p in parts]))
    q = np.concatenate([p.q for p in parts]).astype(np.int64)
    scale = np.concatenate([p.scale for p in parts]).astype(np.int64)
    return Matrix4(q, scale, mantissa, exponent, parts[0].span)


def mantissas(unit: Array) -> tuple[Array, int]:
    """(mantissas, their exponent) of the rows' scales (rows,), none of them below its scale."""
    top = float(unit.max())
    exponent = int(np.floor(np.log2(top / ROW_MAX))) + 1 if top > 0 else 0
    if top > 0 and np.ceil(top / 2.0**exponent) > ROW_MAX:
        exponent += 1
    return np.maximum(np.ceil(unit / 2.0**exponent), 1).astype(np.int64), exponent


def dequantized(graph: Graph, matrices: dict[str, Array]) -> Graph:
    """The graph with each matrix replaced by what its integers stand for.

    matrices: values by the name of the node's output, as `compile_graph` reports them.
    """

    def value(n: Node) -> Node:
        if isinstance(n, Embedding) and n.by != "token":
            return replace(n, weight=matrices[f"{n.out}:{n.by}"])
        if isinstance(n, Embedding | Linear):
            return replace(n, weight=matrices[n.out])
        return n

    return replace(
        graph,
        nodes=[value(n) for n in graph.nodes],
        encoder=[value(n) for n in graph.encoder],
    )
