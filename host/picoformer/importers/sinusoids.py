"""Tables of positions made of sines and cosines, for files that leave them out."""

from __future__ import annotations

import numpy as np

from ..graph.nodes import Array


def marian(positions: int, dim: int) -> Array:
    """Marian's table (positions, dim): of each position all sines, then all cosines."""
    angle = np.arange(positions)[:, None] / 10000.0 ** (np.arange(0, dim, 2) / dim)
    return _in_halves(angle, dim)


def opennmt(positions: int, dim: int) -> Array:
    """OpenNMT's: positions from 1 on, and the last frequency is 1 / 10000."""
    half = dim // 2
    scales = np.exp(np.arange(half) * -np.log(10000.0) / max(half - 1, 1))
    return _in_halves(np.arange(1, positions + 1)[:, None] * scales, dim)


def pytorch(positions: int, dim: int) -> Array:
    """The table (positions, dim) of PyTorch's tutorials: sine and cosine in turn."""
    angle = np.arange(positions)[:, None] * np.exp(np.arange(0, dim, 2) * -np.log(10000.0) / dim)
    table = np.empty((positions, dim), np.float32)
    table[:, 0::2] = np.sin(angle)
    table[:, 1::2] = np.cos(angle)[:, : dim // 2]
    return table


def _in_halves(angle: Array, dim: int) -> Array:
    return np.concatenate([np.sin(angle), np.cos(angle)[:, : dim // 2]], 1).astype(np.float32)
