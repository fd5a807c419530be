"""What a model hears of sound: rows of log-mel energies, in the integers that boards compute.

The definition: docs/numerics.md has it in words, and each kernel equals it. Train on these
numbers, and there is no gap between the notebook and the board:

    from picoformer.features import LogMel
    rows = LogMel(rate=8000)(samples)  # int16 (rows, bands) of int16 samples

A step of one is 1/256 of a power of two of the energy, 0.0118 dB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Error

Array = NDArray[np.int64]
SIZES = 128, 256, 512, 1024  # of the Fourier transform
TWIDDLE = 13  # fraction bits of its cosines and sines
HEAD = 8  # words in front of the tables
AT_ONCE = 1024  # rows, of a long sound


@dataclass(frozen=True)
class LogMel:
    """Log-mel energies of sound.

    rate: samples a second. window: samples that a row is of, 0 for 32 ms. hop: samples from one
    row to the next, 0 for 10 ms. bands: of the mel scale (HTK's), triangles between low and high
    Hz, high 0 for half the rate. Raises Error.
    """

    rate: int = 8000
    window: int = 0
    hop: int = 0
    bands: int = 40
    low: float = 20.0
    high: float = 0.0

    def __post_init__(self) -> None:
        def put(name: str, value: float) -> None:
            object.__setattr__(self, name, value)

        put("window", self.window or self.rate * 32 // 1000)
        put("hop", self.hop or self.rate // 100)
        if not 1000 <= self.rate <= 48000 or not 1 <= self.hop <= self.window <= SIZES[-1]:
            raise Error(
                f"sound of {self.rate} Hz in windows of {self.window} samples, {self.hop} apart: "
                f"expected 1,000 to 48,000 Hz, and windows of {SIZES[-1]} samples at most that "
                "touch"
            )
        put("high", self.high or self.rate / 2)
        if self.window % 2 or not 1 <= self.bands <= 128:
            raise Error(f"windows of {self.window} samples, {self.bands} bands: expected an even "
                        "number, and 1 to 128 bands")  # fmt: skip
        if not 0 <= self.low < self.high <= self.rate / 2:
            raise Error(f"bands from {self.low} to {self.high} Hz, of sound of {self.rate} Hz")
        lacking = np.flatnonzero(self._triangles.sum(1) == 0)
        if len(lacking):
            raise Error(
                f"band {lacking[0]} of {self.bands} has no frequency of the {self.size} points: "
                "fewer bands, or a longer window"
            )
        if (sums := self._triangles.sum(1)).max() > 1 << 14:
            raise Error(f"a band has weights of {sums.max()}, at most {1 << 14}: more bands")

    @property
    def size(self) -> int:
        """Points of the Fourier transform."""
        return next(n for n in SIZES if n >= self.window)

    @cached_property
    def hann(self) -> Array:
        """The window's weights (window,), of 15 bits."""
        n = np.arange(self.window)
        return np.floor(32767 * np.sin(np.pi * n / self.window) ** 2 + 0.5).astype(np.int64)

    @cached_property
    def twiddles(self) -> tuple[Array, Array]:
        """Cosine and sine (size / 2,) of 2 pi k / size, of 13 fraction bits."""
        angle = 2 * np.pi * np.arange(self.size // 2) / self.size
        cos, sin = (np.floor(f(angle) * (1 << TWIDDLE) + 0.5).astype(np.int64)
                    for f in (np.cos, np.sin))  # fmt: skip
        return cos, sin

    @cached_property
    def edges(self) -> NDArray[np.float64]:
        """Where the bands begin, peak and end (bands + 2,), in points of the transform."""
        mel = 2595 * np.log10(1 + np.array([self.low, self.high]) / 700)
        steps = np.linspace(mel[0], mel[1], self.bands + 2)
        hz = 700 * (10 ** (steps / 2595) - 1)
        return np.asarray(hz * self.size / self.rate)

    @cached_property
    def segments(self) -> tuple[int, Array, Array]:
        """(first point, points between one edge and the next (bands + 1,), how far each of them
        has risen, of 256).
        """
        edges = self.edges
        points = np.arange(1, self.size // 2)
        points = points[(points > edges[0]) & (points < edges[-1])]
        at = np.searchsorted(edges, points, side="right") - 1
        rise = (points - edges[at]) / (edges[at + 1] - edges[at])
        counts = np.bincount(at, minlength=self.bands + 1)[: self.bands + 1]
        first = int(points[0]) if len(points) else 1
        return first, counts.astype(np.int64), np.floor(256 * rise + 0.5).astype(np.int64)

    @cached_property
    def _triangles(self) -> Array:
        """The weights (bands, points)."""
        _, counts, rise = self.segments
        at = np.repeat(np.arange(self.bands + 1), counts)
        out = np.zeros((self.bands + 2, len(rise)), np.int64)
        np.add.at(out, (at + 1, np.arange(len(rise))), rise)
        np.add.at(out, (at, np.arange(len(rise))), 256 - rise)
        return out[1:-1]

    def rows(self, samples: int) -> int:
        """Rows of so many samples."""
        return max(0, (samples - self.window) // self.hop + 1)

    def samples(self, rows: int) -> int:
        """The samples that so many rows take, one or more."""
        return self.window + (rows - 1) * self.hop

    def __call__(self, samples: NDArray[Any]) -> NDArray[np.int16]:
        """Rows (rows, bands) of samples (n,), whole numbers of 16 bits. Raises Error."""
        x = whole(samples)
        n = self.rows(len(x))
        if not n:
            return np.zeros((0, self.bands), np.int16)
        views = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64), self.window)
        views = views[:: self.hop][:n]
        parts = [self._energies(views[i : i + AT_ONCE]) for i in range(0, n, AT_ONCE)]
        return np.concatenate(parts)

    def _energies(self, frames: Array) -> NDArray[np.int16]:
        # The largest product with the window gets 16 bits.
        y = frames * self.hann
        down = _bits(np.abs(y).max(-1, keepdims=True)) - 16
        y = _shift(y, down)
        y = np.pad(y, ((0, 0), (0, self.size - self.window)))
        re, im, bits = self._spectrum(y)
        p = re * re + im * im
        first, counts, rise = self.segments
        p = p[:, first - 1 : first - 1 + len(rise)]
        # In two halves, each of which fits 32 bits; floats hold them exactly, and are faster.
        weights = self._triangles.T.astype(np.float64)
        high, low = ((v @ weights).astype(np.int64) for v in (p >> 16, p & 0xFFFF))
        large = high >= 1 << 13
        t = np.where(large, high + (low >> 16), (high << 16) + low)
        more = 2 * (bits + down - 16) + 16 * large - 8
        return _log2(t, more)

    def _spectrum(self, y: Array) -> tuple[Array, Array, Array]:
        """Points 1 to size / 2 - 1 of frames (n, size): (re, im, exponents (n, 1))."""
        cos, sin = self.twiddles
        m = self.size // 2
        re, im = y[:, 0::2], y[:, 1::2]
        n, s = m, 1
        # Stockham's: each stage halves what it adds.
        while n > 1:
            half = n // 2
            a, b, c, d = (
                v[:, part * half * s : (part + 1) * half * s].reshape(len(y), half, s)
                for v in (re, im) for part in (0, 1)
            )  # fmt: skip
            k = np.arange(half) * (2 * s)
            wr, wi = cos[k][:, None], -sin[k][:, None]
            u, v = a - b, c - d
            tr, ti = u * wr - v * wi, u * wi + v * wr
            # cos 0 is 1, by which nothing is multiplied
            tr[:, 0], ti[:, 0] = u[:, 0] << TWIDDLE, v[:, 0] << TWIDDLE
            re = np.stack([(a + b + 1) >> 1, (tr + (1 << TWIDDLE)) >> TWIDDLE + 1], 2)
            im = np.stack([(c + d + 1) >> 1, (ti + (1 << TWIDDLE)) >> TWIDDLE + 1], 2)
            re, im = re.reshape(len(y), m), im.reshape(len(y), m)
            n, s = half, 2 * s
        # The transform of real numbers from that of pairs of them, times two.
        k = np.arange(1, m)
        er, ei = re[:, k] + re[:, m - k], im[:, k] - im[:, m - k]
        dr, di = re[:, k] - re[:, m - k], im[:, k] + im[:, m - k]
        wr, wi = cos[k], -sin[k]
        half = 1 << TWIDDLE - 1
        xr = er + ((dr * wi + di * wr + half) >> TWIDDLE)
        xi = ei + ((di * wi - dr * wr + half) >> TWIDDLE)
        bits = _bits((np.abs(xr) | np.abs(xi)).max(-1, initial=0, keepdims=True)) - 14
        bits = np.maximum(bits, 0)
        # In halves of a point, of as many points as the stages have halved.
        return _shift(xr, bits), _shift(xi, bits), bits + int(np.log2(m))

    @cached_property
    def table(self) -> NDArray[np.int32]:
        """The words that a model file has of all this; docs/format.md."""
        first, counts, rise = self.segments
        cos, sin = self.twiddles
        head = [self.rate, self.window, self.size, self.hop, self.bands, first, len(rise), 0]
        parts = head, _halves(self.hann), (cos & 0xFFFF) | (sin & 0xFFFF) << 16, counts
        words = np.concatenate([*map(np.asarray, parts), _halves(rise)])
        return (words & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


def whole(samples: Any) -> NDArray[Any]:
    """Samples (n,), which are whole numbers of 16 bits. Raises Error."""
    x = np.asarray(samples)
    kind = x.ndim == 1 and x.dtype.kind in "iu"
    if not kind or x.size and (x.min() < -(1 << 15) or x.max() >= 1 << 15):
        raise Error(f"samples of {x.dtype}, shape {x.shape}; expected whole numbers of 16 bits")
    return x


def _halves(v: Array) -> Array:
    """Words of two numbers of 16 bits."""
    v = np.pad(v, (0, len(v) % 2))
    return v[0::2] & 0xFFFF | (v[1::2] & 0xFFFF) << 16


def _bits(v: Array) -> Array:
    """Binary digits of v >= 0."""
    return np.frexp(v.astype(np.float64))[1].astype(np.int64)


def _shift(v: Array, s: Array) -> Array:
    """v / 2**s, half added before a shift to the right."""
    right = np.maximum(s, 0)
    return np.where(s > 0, (v + ((1 << right) >> 1)) >> right, v << np.maximum(-s, 0))


def _log2(t: Array, more: Array) -> NDArray[np.int16]:
    """log2(t) + more, with 8 fraction bits, from 0 on; t of 31 bits."""
    n = _bits(t)
    x = (t << 16 >> n) - (1 << 15)
    x = x + ((x * ((1 << 15) - x) >> 15) * 11 >> 5)
    y = (n - 1 + more << 8) + (x + 64 >> 7)
    return np.where(t > 0, np.clip(y, 0, (1 << 15) - 1), 0).astype(np.int16)
