"""Rounding a matrix to 4 bits so that its products with the inputs that it sees change least.

The error of each column is carried into those that are still to be rounded (Frantar et al.,
"GPTQ", 2022, arXiv:2210.17323), the columns that matter most first; then the scales and the
weights are improved in turn, one at a time, for as long as that pays.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..graph.nodes import Array
from .matrices import Rounded

LOW, HIGH = -8, 7  # weights of 4 bits
TOP = 15  # scales of 4 bits
_CLIPS = np.linspace(0.6, 1.05, 10)  # of the scale at which nothing is clipped
_ROUNDS = 4
_SWEEPS = 8


def nearest(weight: Array, span: int) -> Rounded:
    """A matrix with each weight rounded on its own."""
    w = np.asarray(weight, np.float64)
    unit, scale = _scales(w, np.ones(w.shape[1]), span)
    q = np.clip(np.rint(w / _step(unit, scale, span, w.shape[1])), LOW, HIGH)
    return _rounded(q, scale, unit, span)


def round_matrix(weight: Array, moments: Array, span: int) -> Rounded:
    """Round a matrix (rows, columns) to 4 bits with a scale of 4 bits for each `span` columns.

    moments (columns, columns): sum of x x^T over the inputs; positive definite. What is made
    small is the sum of (weight x - rounded x)^2.
    """
    weight = np.asarray(weight, np.float64)
    # What an error in a column costs when the others make up for it as well as they can.
    matters = 1 / np.diag(np.linalg.inv(moments))
    unit, scale = _scales(weight, matters, span)
    m = _Rounding(weight, moments, span, unit, scale)
    m.carry_errors()
    m.descend(_SWEEPS)
    for _ in range(_ROUNDS):
        m.fit_scales()
        m.descend(_SWEEPS)
        m.try_scales()
        m.descend(_SWEEPS)
    return m.result()


def _scales(weight: Array, matters: Array, span: int) -> tuple[Array, Array]:
    """Units (rows,) and scales (rows, groups) for rounding each weight on its own."""
    rows, cols = weight.shape
    groups = (cols + span - 1) // span
    pad = groups * span - cols
    w = np.pad(weight, ((0, 0), (0, pad))).reshape(rows, groups, span)
    cost = np.pad(matters, (0, pad)).reshape(groups, span)
    full = np.maximum(w.max(2) / HIGH, w.min(2) / LOW)
    best = np.full(rows, np.inf)
    unit, scale = np.ones(rows), np.ones((rows, groups))
    for clip in _CLIPS:
        u = np.maximum(full.max(1), 1e-12) * clip / TOP
        errors = np.full((rows, groups), np.inf)
        chosen = np.ones((rows, groups))
        for s in range(1, TOP + 1):
            step = (u * s)[:, None, None]
            off = np.clip(np.rint(w / step), LOW, HIGH) * step - w
            e = (off * off * cost).sum(2)
            better = e < errors
            errors[better], chosen[better] = e[better], s
        better = errors.sum(1) < best
        best[better], unit[better] = errors.sum(1)[better], u[better]
        scale[better] = chosen[better]
    return unit, scale


def _step(unit: Array, scale: Array, span: int, cols: int) -> Array:
    """What one unit of each weight stands for, (rows, columns)."""
    return np.asarray(np.repeat(scale, span, 1)[:, :cols] * unit[:, None])


def _rounded(q: Array, scale: Array, unit: Array, span: int) -> Rounded:
    return Rounded(q.astype(np.int64), scale.astype(np.int64), unit, span)


class _Rounding:
    """A matrix while it is rounded. Rows do not depend on one another."""

    def __init__(
        self, weight: Array, moments: Array, span: int, unit: Array, scale: Array
    ) -> None:
        self.weight = weight
        self.moments = moments
        self.span = span
        self.unit = unit
        self.scale = scale
        self.q = np.zeros_like(weight)

    def result(self) -> Rounded:
        return _rounded(self.q, self.scale, self.unit, self.span)

    @property
    def step(self) -> Array:
        """What one unit of each weight stands for, (rows, columns)."""
        return _step(self.unit, self.scale, self.span, self.weight.shape[1])

    def slope(self) -> Array:
        """Half the derivative of the cost by each rounded weight, (rows, columns)."""
        return np.asarray((self.q * self.step - self.weight) @ self.moments)

    def carry_errors(self) -> None:
        """Round column by column, the error of each carried into those that follow."""
        order = np.argsort(-np.diag(self.moments), kind="stable")
        inverse = np.linalg.inv(self.moments[np.ix_(order, order)])
        factor = np.linalg.cholesky(inverse).T
        w, step = self.weight[:, order], self.step[:, order]
        for j, column in enumerate(order):
            q = np.clip(np.rint(w[:, j] / step[:, j]), LOW, HIGH)
            error = (w[:, j] - q * step[:, j]) / factor[j, j]
            w[:, j + 1 :] -= error[:, None] * factor[j, j + 1 :]
            self.q[:, column] = q

    def descend(self, sweeps: int) -> None:
        """Set each weight in turn to the best that the others leave."""
        _descend(self.q, self.step, self.slope(), self.moments, sweeps)

    def groups(self) -> Iterator[tuple[int, slice]]:
        for g in range(self.scale.shape[1]):
            yield g, slice(g * self.span, (g + 1) * self.span)

    def fit_scales(self) -> None:
        """Set each group's scale to the best for its weights as they are, then the rows' units."""
        slope = self.slope()
        for g, at in self.groups():
            q, h = self.q[:, at], self.moments[at, at]
            change = -(q * slope[:, at]).sum(1)
            change /= np.maximum((q @ h * q).sum(1) * self.unit, 1e-30)
            new = np.clip(np.rint(self.scale[:, g] + change), 1, TOP)
            by = (new - self.scale[:, g]) * self.unit
            slope += (by[:, None] * q) @ self.moments[at]
            self.scale[:, g] = new
        v = self.q * np.repeat(self.scale, self.span, 1)[:, : self.q.shape[1]]
        h = v @ self.moments
        fit = (h * self.weight).sum(1) / np.maximum((h * v).sum(1), 1e-30)
        self.unit = np.where(fit > 0, fit, self.unit)

    def try_scales(self) -> None:
        """Take a neighbouring scale for a group where its weights then come to cost less."""
        slope, step = self.slope(), self.step
        for g, at in self.groups():
            h = self.moments[at, at]
            before = self.q[:, at] * step[:, at]
            # The cost of a change d of the group is d h d + 2 d slope.
            best = np.zeros(len(before))
            q, scale = self.q[:, at].copy(), self.scale[:, g].copy()
            for by in (-1, 1, -2, 2):
                tried = np.clip(self.scale[:, g] + by, 1, TOP)
                size = np.repeat((tried * self.unit)[:, None], q.shape[1], 1)
                t = np.clip(np.rint(before / size), LOW, HIGH)
                d = t * size - before
                _descend(t, size, slope[:, at] + d @ h, h, 3)
                d = t * size - before
                cost = ((d @ h + 2 * slope[:, at]) * d).sum(1)
                better = cost < best - 1e-12 * abs(best)
                best[better], q[better], scale[better] = cost[better], t[better], tried[better]
            self.q[:, at], self.scale[:, g] = q, scale
            after = q * (scale * self.unit)[:, None]
            slope += (after - before) @ self.moments[at]


def _descend(q: Array, step: Array, slope: Array, moments: Array, sweeps: int) -> None:
    """Change q (rows, columns) column by column, each to its best, until nothing changes."""
    for _ in range(sweeps):
        changed = False
        for j, h in enumerate(np.diag(moments)):
            new = np.clip(np.rint(q[:, j] - slope[:, j] / (h * step[:, j])), LOW, HIGH)
            rows = np.flatnonzero(new != q[:, j])
            if len(rows):
                changed = True
                by = (new - q[:, j])[rows] * step[rows, j]
                slope[rows] += by[:, None] * moments[j]
                q[:, j] = new
        if not changed:
            return
