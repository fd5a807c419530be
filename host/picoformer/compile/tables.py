"""The constants of a program: its tables, and real numbers as mantissas and exponents."""

from __future__ import annotations

import numpy as np

from ..device import regions
from ..errors import Error
from ..graph.activations import ACTIVATIONS
from ..graph.frames import Frames
from ..graph.nodes import Array

ODD = ("tanh",)  # activations that are odd functions and go to 1
_TOP = 32767  # of a channel's factor
_LEAST_STD = 2.0**-8  # of a channel of whole numbers
BIAS_TOP = 1 << 24  # of a score's bias, which has 10 fraction bits


class Tables:
    """The tables section of a model file."""

    def __init__(self) -> None:
        self.parts: list[Array] = []
        self._at: dict[bytes, int] = {}

    def add(self, words: Array) -> int:
        """Operand of a constant table; equal tables are kept once."""
        key = words.tobytes()
        if key not in self._at:
            self._at[key] = sum(t.size for t in self.parts)
            self.parts.append(words.reshape(-1))
        return self._at[key] << 6 | regions.TABLES

    def words(self) -> Array:
        """The section, int32."""
        return np.concatenate(self.parts).astype(np.int32)


def float_parts(x: float) -> tuple[int, int]:
    """x > 0 as mantissa * 2**exponent with the mantissa in 2**14..32767."""
    m, e = np.frexp(x)
    mantissa = int(np.floor(m * 32768 + 0.5))
    return (16384, int(e) - 14) if mantissa == 32768 else (mantissa, int(e) - 15)


def fixed(x: Array, bits: int) -> Array:
    """Real numbers with so many fraction bits, held to 32 bits: int64 words."""
    v = np.floor(np.asarray(x, np.float64) * 2.0**bits + 0.5)
    return np.clip(v, -(2.0**31), 2.0**31 - 1).astype(np.int64)


def exp2_table() -> Array:
    """2**-(i/32) and 2**-(j/1024) in 2**-15, 32 words each; their product is 2**-(f/1024)."""
    steps = np.concatenate([np.arange(32) / 32, np.arange(32) / 1024])
    return np.floor(2.0**-steps * 32768 + 0.5).astype(np.int32)


def activation_table(name: str) -> Array:
    """max(x, 0) - f(x) at |x| = i/32, i = 0..512, in 2**-17: two 16-bit halves a word.

    The same for x and -x, and it fades to nothing: SiLU and its kin need one short table. Of an
    odd function 1 - f(x), in 2**-15.
    """
    x = np.arange(514) / 32
    y = ACTIVATIONS[name](x)
    real = (1 - y) * 2.0**15 if name in ODD else (x - y) * 2.0**17
    d = np.floor(real + 0.5).astype(np.int64)
    d[513] = 0
    assert ((d >= 0) & (d < 65536)).all()
    return (d[0::2] | d[1::2] << 16).astype(np.uint32).view(np.int32)


def rotation_table(frequencies: Array, context: int) -> Array:
    """Cosine and sine in 2**-15, (context, size/2) words: cosine in the low half."""
    angle = np.outer(np.arange(context), np.asarray(frequencies, np.float64))
    cos, sin = (np.floor(f(angle) * 32767 + 0.5).astype(np.int64) for f in (np.cos, np.sin))
    return (cos & 0xFFFF | (sin & 0xFFFF) << 16).astype(np.uint32).view(np.int32)


def gain_table(gain: Array) -> tuple[Array, int]:
    """(gains in 2**-15, the exponent of two that all of them lack)."""
    peak = float(np.abs(gain).max())
    exponent = int(np.ceil(np.log2(peak))) if peak > 0 else 0
    words = np.floor(np.asarray(gain, np.float64) * 2.0 ** (15 - exponent) + 0.5)
    return np.clip(words, -32767, 32767).astype(np.int32), exponent


def channel_table(f: Frames) -> tuple[Array, int]:
    """(factors, offsets and shifts (3, channels) of a signal's channels, fraction bits of what
    (number * factor + offset) >> shift is). Raises Error.
    """
    mean, std = (np.zeros(f.channels) if v is None else v for v in (f.mean, f.std))
    if std.min() < _LEAST_STD or std.max() > 1 << 16 or np.abs(mean).max() > 1 << 15:
        raise Error(
            f"the channels have deviations from {std.min():g} to {std.max():g} and means up to "
            f"{np.abs(mean).max():g}, expected those of whole numbers of 16 bits: if they are "
            "real values, name their unit in the description"
        )
    # A factor has 15 bits, so that its product with 16 bits and the offset stay in 32.
    bits = min(20, int(np.floor(np.log2(_TOP * std.min()))))
    real = 2.0**bits / std
    shift = np.clip(np.floor(np.log2(_TOP / real)), 0, 30).astype(np.int64)
    factor = np.floor(real * 2.0**shift + 0.5)
    offset = np.floor(0.5 - mean * real * 2.0**shift) + (1 << shift >> 1)
    while (over := np.abs(offset) > 1 << 30).any():
        shift = np.where(over, shift - 1, shift)
        factor = np.floor(real * 2.0**shift + 0.5)
        offset = np.floor(0.5 - mean * real * 2.0**shift) + (1 << shift >> 1)
    return np.stack([factor, offset, shift]).astype(np.int32), bits


def distance_table(bias: Array) -> Array:
    """What scores grow by, (heads, distances): exponents of two in 2**-10."""
    words = np.floor(np.asarray(bias, np.float64) * np.log2(np.e) * 1024 + 0.5)
    return np.clip(words, -BIAS_TOP, BIAS_TOP).astype(np.int32)
