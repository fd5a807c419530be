"""What the steps of a program work on: constants, frames, caches, logits."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..compile.matrices import Matrix, Matrix4, unpack, unpack4
from ..device import regions
from ..graph.nodes import Array


def _none() -> Array:
    return np.zeros((0, 0), np.int64)


@dataclass
class Cache:
    """The cache of a layer: keys, values (heads, positions, size), scales (heads, positions).

    Keys as of 12 bits, values as of 8, whatever they have.
    """

    k: Array
    v: Array
    km: Array
    ke: Array
    vm: Array
    ve: Array

    @classmethod
    def empty(cls, heads: int, positions: int, size: int) -> Cache:
        shape = (heads, positions)
        return cls(
            *(np.zeros((*shape, size), np.int64) for _ in range(2)),
            *(np.zeros(shape, np.int64) for _ in range(4)),
        )


@dataclass
class Memory:
    """The sections of a model file, and what a run leaves.

    tables: int64 words; weights: uint32 words; logits_at: operand of the logits behind the first
    frame, or -1. start, end: positions of the group and behind it; source: positions that a
    translator's encoder has read. frames (positions, stride), logits (positions, outputs). signal
    (rows, channels): that is read.
    """

    context: int
    vocab: int
    outputs: int
    tables: Array
    weights: Array
    logits_at: int = -1
    start: int = 0
    end: int = 0
    source: int = 0
    frames: Array = field(default_factory=_none)
    signal: Array = field(default_factory=_none)
    logits: Array = field(default_factory=_none)
    caches: dict[int, Cache] = field(default_factory=dict)
    _matrices: dict[tuple[int, ...], Matrix | Matrix4] = field(default_factory=dict)

    def value(self, operand: int, n: int) -> Array:
        """Words of each frame, (positions, n); what is written there is in the frames."""
        at = (operand >> 6) - regions.HEADER
        return self.frames[:, at : at + n]

    def heads(self, operand: int, heads: int, size: int) -> Array:
        """A value as (heads, positions, size)."""
        return self.value(operand, heads * size).reshape(-1, heads, size).transpose(1, 0, 2)

    def keep(self, operand: int, y: Array) -> Array:
        """Put heads back where they came from, as the kernels do, who work in place."""
        flat = y.transpose(1, 0, 2).reshape(len(self.frames), -1)
        self.value(operand, flat.shape[1])[:] = flat
        return y

    def table(self, operand: int, n: int) -> Array:
        return self.tables[operand >> 6 : (operand >> 6) + n]

    def rotation(self, operand: int, size: int) -> Array:
        """The rows (positions, size/2) of a rotation table."""
        half = size // 2
        rows = self.table(operand + (self.start * half << 6), len(self.frames) * half)
        return rows.reshape(-1, half)

    def vector(self, operand: int, n: int) -> Array:
        """Signed words of the weights."""
        return self.weights[operand >> 6 :][:n].view(np.int32).astype(np.int64)

    def matrix(self, operand: int, rows: int, cols: int, span: int = 0) -> Matrix | Matrix4:
        """A matrix of 8 bits, or of 4 with scales for `span` columns each."""
        key = operand, rows, cols, span
        if key not in self._matrices:
            lanes, width = (8, cols + (cols + span - 1) // span + 4) if span else (4, cols + 2)
            groups = (rows + lanes - 1) // lanes
            words = self.weights[operand >> 6 :][: groups * width].reshape(groups, width)
            found = unpack4(words, rows, cols, span) if span else unpack(words, rows)
            self._matrices[key] = found
        return self._matrices[key]
