"""Choosing tokens by their logits: greedy, sampled, or the likeliest for beams.

docs/numerics.md has the same in words. m, s: the temperature, as `sampling` on the board makes it;
powers: the 64 words of a model's powers of two.
"""

from __future__ import annotations

import numpy as np

from ..device.beams import costs
from ..graph.nodes import Array
from .integers import exp2, rescale


def _masses(logits: Array, powers: Array, m: int, s: int) -> Array:
    """The weight of each token; 2**15 of the likeliest."""
    d = np.minimum(logits.max() - logits, 1 << 24)
    return exp2(rescale(d, m, s, 6), powers)


def likeliest(logits: Array, powers: Array, m: int, s: int, n: int) -> list[tuple[int, int]]:
    """The n likeliest tokens with their costs."""
    mass = int(_masses(logits, powers, m, s).sum())
    first = np.argsort(-logits, kind="stable")[:n]
    found = costs(logits[first].tolist(), int(logits.max()), mass, m, s)
    return list(zip(first.tolist(), found, strict=True))


def sample(
    logits: Array, powers: Array, m: int, s: int, top_p: int, state: int
) -> tuple[int, int]:
    """(token, next state of the generator): greedy where m is 0. top_p: in 2**-15."""
    if m == 0:
        return int(logits.argmax()), state
    p = _masses(logits, powers, m, s)
    mass = int(p.sum())
    low = 1
    if top_p < 32768:
        keep = (mass * top_p) >> 15
        high = 32769
        while high - low > 1:
            mid = (low + high) >> 1
            if int(p[p >= mid].sum()) >= keep:
                low = mid
            else:
                high = mid
        p = np.where(p >= low, p, 0)
        mass = int(p.sum())
    # xorshift32
    state = (state ^ state << 13) & 0xFFFFFFFF
    state ^= state >> 17
    state = (state ^ state << 5) & 0xFFFFFFFF
    left = (mass * (state >> 2)) >> 30
    return int(np.searchsorted(np.cumsum(p), left, side="right")), state
