"""The fixed-point functions that the steps are made of, in numpy integers.

Every operation is done in 64 bits, and everything that a board keeps in 32 bits is asserted to fit
them. docs/numerics.md has the same in words.
"""

from __future__ import annotations

import numpy as np

from ..errors import Error
from ..graph.nodes import Array

_ONE: Array = np.asarray(1, np.int64)


def bits(v: Array) -> Array:
    """Number of bits of v >= 0; exact below 2**53."""
    return np.frexp(v)[1].astype(np.int64)


def fit(v: Array) -> Array:
    """v, asserted to fit a signed 32-bit word."""
    _within(v, v)
    return v


def plus(v: Array, more: Array | int) -> Array:
    """v + more, with more >= 0; both asserted to fit a signed 32-bit word."""
    total = v + more
    _within(v, total)
    return total


def _within(low: Array, high: Array) -> None:
    # The ufuncs themselves: most arrays are small, and there are many.
    if low.size and (
        np.maximum.reduce(high, None) >= 1 << 31 or np.minimum.reduce(low, None) < -1 << 31
    ):
        raise Error("a value does not fit 32 bits: the model's activations left their range")


def shift(v: Array, s: Array | int) -> Array:
    """v / 2**s with half added before an arithmetic shift; exact where s <= 0."""
    right: Array = np.maximum(s, 0)
    return plus(v << right - s, _ONE << right >> 1) >> right


def rescale(acc: Array, m: Array | int, s: Array | int, room: Array | int) -> Array:
    """acc * m / 2**s rounded once; s is held to 17 - room ... 47. m <= 2**15."""
    k = np.minimum(np.maximum(17 - s, 0), room)
    s = np.minimum(np.maximum(s + k, 17), 47)
    acc = fit(fit(acc) << k)
    t = fit((acc >> 16) * m) + (fit((acc & 0xFFFF) * m) >> 16)
    return plus(t, _ONE << s - 17) >> s - 16


def amax(v: Array) -> Array:
    """Largest magnitude along the last axis, which is kept."""
    return np.abs(v).max(-1, keepdims=True)


def normalize(v: Array, floor: int) -> tuple[Array, Array, Array]:
    """Shift vectors so that their largest magnitude has 15 bits: (v, largest >= 1, shift)."""
    a = amax(v)
    s = np.maximum(bits(a) - 15, floor)
    return shift(v, s), np.maximum(shift(a, s), 1), s


def round_to(v: Array, a: Array, n_bits: int) -> Array:
    """Vectors of magnitude <= a to integers of n_bits bits, a to the largest."""
    f = 31 - n_bits
    r = (((1 << (n_bits - 1)) - 1) << f) // a
    return plus(v * r, 1 << f - 1) >> f


def round_to_4(v: Array, a: Array) -> Array:
    """Vectors of magnitude <= a to -8..7; each stands for itself and a half, a for 7.5."""
    return fit(v * ((15 << 26) // a)) >> 27


def pack_scale(a: Array) -> tuple[Array, Array]:
    """(mantissa of 11 bits, shift) of the smallest such scale that is not below a."""
    t = np.maximum(bits(a) - 11, 0)
    m = (a + (_ONE << t) - 1) >> t
    over = m == 2048
    return np.where(over, 1024, m), t + over


def rotate(v: Array, table: Array) -> Array:
    """Rotate heads (..., positions, size) by a table (positions, size/2) of cos, sin halves."""
    cos = (table & 0xFFFF ^ 0x8000) - 0x8000
    sin = (table >> 16 & 0xFFFF ^ 0x8000) - 0x8000
    a, b = np.split(v, 2, axis=-1)
    first = fit(fit(a * cos) - fit(b * sin)) + 0x4000 >> 15
    second = fit(fit(a * sin) + fit(b * cos)) + 0x4000 >> 15
    return np.concatenate([first, second], -1)


def exp2(d: Array, table: Array) -> Array:
    """2**-(d/1024) in 2**-15 for d >= 0; 0 from 16 on. table: the 64 words."""
    near = np.minimum(d, 16383)
    v = (table[near >> 5 & 31] * table[32 + (near & 31)] + 0x4000) >> 15
    return np.where(d < 16384, v >> (near >> 10), 0)


def root(square: Array, eps_m: int, eps_e: int, s: Array) -> tuple[Array, Array]:
    """(r, k) with r * 2**-k the square root of a sum of squares and an epsilon, r >= 1.

    s: the shift that the squared vector had; the epsilon is eps_m * 2**(eps_e - 2 s).
    """
    k = eps_e - 2 * s
    square = fit(square + np.where(
        k >= 0,
        eps_m << np.minimum(np.maximum(k, 0), 15),
        eps_m >> np.minimum(np.maximum(-k, 0), 31),
    ))  # fmt: skip
    k = (30 - bits(square)) >> 1
    square = np.where(k >= 0, square << np.maximum(2 * k, 0), square >> 2)
    # The integer square root: exact, as float64 holds the argument.
    return np.maximum(np.floor(np.sqrt(fit(square))).astype(np.int64), 1), k


def dot(a: Array, b: Array) -> Array:
    """Exact integer product a @ b: float64 holds every sum, which is below 2**53."""
    return fit((a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64))
