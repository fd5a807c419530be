"""The weights section of a model file: matrices and vectors, each with its operand."""

from __future__ import annotations

import numpy as np

from ..device import regions
from ..graph.nodes import Array, Embedding, Linear
from .matrices import Matrix, Matrix4, Rounded
from .quantize import quantize, stacked
from .tables import fixed


class Weights:
    """The weights of a program while it is made.

    context: rows that are kept of positions. rounded: the matrices that get 4 bits, by the id of
    the node's weight.
    """

    def __init__(self, context: int, rounded: dict[int, Rounded]) -> None:
        self.context = context
        self.rounded = rounded
        self.parts: list[Array] = []
        self.size = 0  # words
        self._at: dict[tuple[int, ...], tuple[int, Matrix | Matrix4]] = {}

    def four(self, n: Embedding | Linear) -> bool:
        """Whether a node's weights have 4 bits."""
        return id(n.weight) in self.rounded

    def vector(self, bias: Array, bits: int) -> int:
        """Operand of int32 words in the weights, a whole number of row groups."""
        v = fixed(bias, bits)
        w = np.zeros((v.size + 3) // 4 * 4, np.uint32)
        w[: v.size] = v & 0xFFFFFFFF
        return self._add(w)

    def matrix(self, nodes: list[Linear] | list[Embedding]) -> tuple[int, Matrix | Matrix4]:
        """Operand of a matrix in the weights; a shared one is kept once."""
        key = tuple(id(n.weight) for n in nodes)
        if key not in self._at:
            m = self.integers(nodes)
            self._at[key] = self._add(m.words().reshape(-1)), m
        return self._at[key]

    def identity(self, size: int) -> tuple[int, Matrix]:
        """Operand of a matrix (size, size) that changes nothing; one is kept for all."""
        key = (-size,)  # no id of a weight is negative
        m = quantize([np.eye(size)])
        if key not in self._at:
            self._at[key] = self._add(m.words().reshape(-1)), m
        return self._at[key][0], m

    def integers(self, nodes: list[Linear] | list[Embedding]) -> Matrix | Matrix4:
        """The nodes' matrices, stacked by rows; of positions, those of the context."""
        first = nodes[0]
        rows = len(first.weight)
        if isinstance(first, Embedding) and first.by == "position":
            rows = self.context
        if self.four(first):
            return stacked([self.rounded[id(n.weight)].first(rows) for n in nodes])
        return quantize([n.weight[:rows] for n in nodes])

    def words(self) -> Array:
        """The section, uint32."""
        return np.concatenate(self.parts)

    def _add(self, words: Array) -> int:
        at = self.size
        self.parts.append(words)
        self.size += words.size
        return at << 6 | regions.WEIGHTS
