"""Weights to 8-bit integers, one scale a row."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .graph import Array, Embedding, Graph, Linear, Node

ROW_MAX = 32700  # largest row mantissa, so that its product with a vector's scale keeps 15 bits


@dataclass(frozen=True)
class Matrix:
    """A quantized matrix: weight = q * mantissa[:, None] * 2**exponent.

    q (rows, columns) int8 in -127..127; mantissa (rows,) int in 0..ROW_MAX.
    """

    q: Array
    mantissa: Array
    exponent: int

    @property
    def value(self) -> Array:
        """The real numbers that the integers stand for, (rows, columns) float64."""
        return self.q * (self.mantissa * 2.0**self.exponent)[:, None]

    def words(self) -> Array:
        """The matrix as the kernels read it, (row groups, columns + 2) uint32.

        Four rows are interleaved: a word is one column of them, the lowest byte the first, each
        weight + 128. Behind the columns stand the four mantissas, 16 bits each.
        """
        rows, cols = self.q.shape
        groups = (rows + 3) // 4
        q = np.zeros((groups * 4, cols), np.uint32)
        q[:rows] = self.q
        q = ((q + 128) & 255).astype(np.uint32).reshape(groups, 4, cols)
        m = np.zeros(groups * 4, np.uint32)
        m[:rows] = self.mantissa
        m = m.reshape(groups, 4)
        out = np.empty((groups, cols + 2), np.uint32)
        out[:, :cols] = q[:, 0] | q[:, 1] << 8 | q[:, 2] << 16 | q[:, 3] << 24
        out[:, cols] = m[:, 0] | m[:, 1] << 16
        out[:, cols + 1] = m[:, 2] | m[:, 3] << 16
        return out


def unpack(words: Array, rows: int) -> tuple[Array, Array]:
    """(q, mantissa) of a matrix from its words (row groups, columns + 2)."""
    cols = words.shape[1] - 2
    w = words.astype(np.uint32)
    q = np.stack([(w[:, :cols] >> 8 * i & 255) for i in range(4)], 1)
    q = q.reshape(-1, cols).astype(np.int64)[:rows] - 128
    m = np.stack([w[:, cols + i // 2] >> 16 * (i % 2) & 0xFFFF for i in range(4)], 1)
    return q, m.reshape(-1).astype(np.int64)[:rows]


def quantize(parts: list[Array]) -> Matrix:
    """Round matrices (rows, columns), stacked by rows, to 8 bits with a scale a row."""
    weight = np.concatenate([np.asarray(p, np.float64) for p in parts])
    amax = np.abs(weight).max(1)
    top = float(amax.max()) / 127
    exponent = int(np.floor(np.log2(top / ROW_MAX))) + 1 if top > 0 else 0
    if top > 0 and np.ceil(top / 2.0**exponent) > ROW_MAX:
        exponent += 1
    # The mantissa is fixed first: the weights are rounded with the scale that is kept.
    mantissa = np.maximum(np.ceil(amax / 127 / 2.0**exponent), 1).astype(np.int64)
    q = np.floor(weight / (mantissa * 2.0**exponent)[:, None] + 0.5).astype(np.int64)
    return Matrix(q, mantissa, exponent)


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
