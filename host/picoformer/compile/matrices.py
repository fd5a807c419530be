"""Matrices of integers: what they stand for, and their words in a file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..graph.nodes import Array

ROW_MAX = 32700  # largest row mantissa, so that its product with a vector's scale keeps 15 bits


@dataclass(frozen=True)
class Matrix:
    """A quantized matrix: weight = q * mantissa[:, None] * 2**exponent.

    q (rows, columns) int8 in -127..127; mantissa (rows,) int in 0..ROW_MAX.
    """

    q: Array
    mantissa: Array
    exponent: int

    def rows(self, first: int, end: int) -> Matrix:
        """Some of the rows."""
        return replace(self, q=self.q[first:end], mantissa=self.mantissa[first:end])

    @property
    def magnitude(self) -> int:
        """The largest sum of a row's magnitudes, as its products with a vector are summed."""
        return int(np.abs(self.q).sum(1).max())

    @property
    def scaled(self) -> Array:
        """Weights as they are looked up: there are no scales but the rows'."""
        return self.q

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


@dataclass(frozen=True)
class Matrix4:
    """A matrix of 4 bits: weight = q * scale of its columns * mantissa[:, None] * 2**exponent.

    q (rows, columns) int in -8..7; scale (rows, groups of `span` columns) int in 0..15; mantissa
    (rows,) int in 0..ROW_MAX; span, columns of a group, a multiple of 16.
    """

    q: Array
    scale: Array
    mantissa: Array
    exponent: int
    span: int

    def rows(self, first: int, end: int) -> Matrix4:
        """Some of the rows."""
        some = slice(first, end)
        return replace(self, q=self.q[some], scale=self.scale[some], mantissa=self.mantissa[some])

    @property
    def magnitude(self) -> int:
        """The largest sum of a row's magnitudes, as its products with a vector are summed."""
        return int(np.abs(self.scaled).sum(1).max())

    @property
    def scaled(self) -> Array:
        """Weights times the scales of their groups, (rows, columns) int."""
        return np.asarray(self.q * _spread(self.scale, self.span, self.q.shape[1]))

    @property
    def value(self) -> Array:
        """The real numbers that the integers stand for, (rows, columns) float64."""
        return np.asarray(self.scaled * (self.mantissa * 2.0**self.exponent)[:, None])

    def words(self) -> Array:
        """The matrix as the kernels read it, (row groups, columns + groups of them + 4) uint32.

        Eight rows are interleaved, four bits each, the first the lowest. A word is a column, each
        weight + 8; in front of a group of columns stand its scales. Behind all come the eight
        mantissas, 16 bits each.
        """
        rows, cols = self.q.shape
        pad = -rows % 8
        parts: list[Array] = []
        for at in range(0, cols, self.span):
            parts += [self.scale[:, at // self.span, None], self.q[:, at : at + self.span] + 8]
        lanes = np.pad(np.concatenate(parts, 1).astype(np.int64), ((0, pad), (0, 0)))
        lanes = lanes.reshape(-1, 8, lanes.shape[1]) << np.arange(0, 32, 4)[:, None]
        m = np.pad(self.mantissa, (0, pad)).reshape(-1, 4, 2)
        return np.concatenate([lanes.sum(1), m[..., 0] | m[..., 1] << 16], 1).astype(np.uint32)


@dataclass(frozen=True)
class Rounded:
    """A matrix rounded to 4 bits: weight = q * scale of its columns * unit[:, None].

    q, scale and span as in Matrix4; unit (rows,) real.
    """

    q: Array
    scale: Array
    unit: Array
    span: int

    @property
    def value(self) -> Array:
        """The real numbers that it stands for, (rows, columns) float64."""
        return self.q * _spread(self.scale, self.span, self.q.shape[1]) * self.unit[:, None]

    def first(self, rows: int) -> Rounded:
        """The first rows."""
        return replace(self, q=self.q[:rows], scale=self.scale[:rows], unit=self.unit[:rows])


def _spread(scale: Array, span: int, cols: int) -> Array:
    """The scale of each column, (rows, columns)."""
    return np.repeat(scale, span, 1)[:, :cols]


def unpack(words: Array, rows: int) -> Matrix:
    """A matrix from its words (row groups, columns + 2); its exponent is 0."""
    cols = words.shape[1] - 2
    w = words.astype(np.uint32)
    q = np.stack([(w[:, :cols] >> 8 * i & 255) for i in range(4)], 1)
    q = q.reshape(-1, cols).astype(np.int64)[:rows] - 128
    m = np.stack([w[:, cols + i // 2] >> 16 * (i % 2) & 0xFFFF for i in range(4)], 1)
    return Matrix(q, m.reshape(-1).astype(np.int64)[:rows], 0)


def unpack4(words: Array, rows: int, cols: int, span: int) -> Matrix4:
    """A matrix from its words (row groups, columns + groups of them + 4); its exponent is 0."""
    groups = (cols + span - 1) // span
    nibbles = words[:, None, :-4].astype(np.uint32) >> np.arange(0, 32, 4)[:, None] & 15
    nibbles = nibbles.reshape(-1, cols + groups).astype(np.int64)[:rows]
    heads = np.arange(groups) * (span + 1)
    m = words[:, -4:].astype(np.int64)
    m = np.stack([m & 0xFFFF, m >> 16], 2).reshape(-1)[:rows]
    return Matrix4(np.delete(nibbles, heads, 1) - 8, nibbles[:, heads], m, 0, span)
