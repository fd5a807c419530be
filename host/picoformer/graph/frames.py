"""Frames of numbers: what a model of signals reads, and the windows that it cuts them into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import Error
from ..features import LogMel

LOW, HIGH = -(1 << 15), (1 << 15) - 1  # of a value


@dataclass(frozen=True)
class Frames:
    """A signal: rows of whole numbers of 16 bits, one for each channel, read window by window.

    length: rows at most; fewer are read as well. size, stride: rows and channels of a window, and
    from one window to the next; windows of a position in time lie one behind the other. padding:
    rows of zeros in front of the first row and behind the last. tokens: class tokens (0 or 1) in
    front, windows of zeros. mean, std (channels,): of the whole numbers: a window holds
    (number - mean) / std, and padding zeros; None where the checkpoint does not tell them. unit
    (channels,): the real value of a step of one. names: of the channels, () if nobody said.
    sound: what makes the rows of samples, where they are of sound.
    """

    length: int
    channels: int
    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    tokens: int = 0
    mean: NDArray[np.float64] | None = None
    std: NDArray[np.float64] | None = None
    unit: NDArray[np.float64] | None = None
    names: tuple[str, ...] = ()
    sound: LogMel | None = None

    @property
    def elements(self) -> int:
        """Of a window."""
        return self.size[0] * self.size[1]

    @property
    def across(self) -> int:
        """Windows at one position in time."""
        return (self.channels - self.size[1]) // self.stride[1] + 1

    @property
    def least(self) -> int:
        """Rows of the shortest signal that has a window."""
        return max(1, self.size[0] - sum(self.padding))

    def positions(self, rows: int) -> int:
        """Positions of a signal of so many rows: class tokens and windows."""
        down = (rows + sum(self.padding) - self.size[0]) // self.stride[0] + 1
        return self.tokens + max(down, 0) * self.across

    def check(self) -> None:
        """Raise Error for windows that there are not."""
        if self.sound and self.sound.bands != self.channels:
            raise Error(f"sound of {self.sound.bands} bands, frames of {self.channels} channels")
        if self.size[1] > self.channels or self.least > self.length:
            raise Error(
                f"windows of {self.size[0]} x {self.size[1]} in frames of {self.length} x "
                f"{self.channels}: they do not fit"
            )
        if min(self.stride) < 1 or not all(0 <= p < self.size[0] for p in self.padding):
            raise Error(f"windows of {self.size}: stride {self.stride}, padding {self.padding}")

    def signal(self, values: NDArray[np.generic]) -> NDArray[np.int64]:
        """Values (rows, channels) as whole numbers; fractions are real values in `unit`.

        A signal of one channel may be (rows,); of sound, that is samples. Raises Error.
        """
        v = np.asarray(values)
        if v.ndim == 1 and self.sound:
            v = self._heard(v)
        if v.ndim == 1 and v.size % self.channels == 0:
            v = v.reshape(-1, self.channels)
        if v.ndim != 2 or v.shape[1] != self.channels or v.dtype.kind not in "iuf":
            raise Error(
                f"a signal of {v.dtype}, shape {v.shape}; expected (rows, {self.channels}): "
                f"{self.least} to {self.length} rows of whole numbers of 16 bits"
            )
        if not self.least <= len(v) <= self.length:
            raise Error(f"a signal of {len(v)} rows, expected {self.least} to {self.length}")
        if v.dtype.kind == "f":
            if not np.isfinite(v).all():
                raise Error("a signal has infinite or NaN values")
            if self.unit is None and (v != np.rint(v)).any():
                raise Error(
                    f"a signal has fractions ({v[v != np.rint(v)][0]:g}), and this model knows no "
                    "unit: give the sensor's whole numbers, or divide real values by what a step "
                    "of one is worth, and round"
                )
            v = np.rint(v if self.unit is None else v / self.unit)
        if v.min() < LOW or v.max() > HIGH:
            raise Error(
                f"a signal has values from {v.min():g} to {v.max():g}, expected whole numbers "
                f"from {LOW} to {HIGH}"
            )
        return v.astype(np.int64)

    def _heard(self, samples: NDArray[np.generic]) -> NDArray[np.int16]:
        """The rows of samples, which are not too many."""
        assert self.sound
        s = self.sound
        rows = s(samples)
        least, most = map(s.samples, (self.least, self.length))
        if not self.least <= len(rows) <= self.length:
            raise Error(
                f"{len(samples):,} samples, {len(samples) / s.rate:.2f} s: expected {least:,} to "
                f"{most + s.hop - 1:,} at {s.rate:,} Hz; picoformer listen takes longer sounds"
            )
        return rows

    def windows(self, signal: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the float model reads of a signal (rows, channels): (positions, elements).

        The elements of a window lie row by row.
        """
        if self.mean is None or self.std is None:
            raise Error("the mean and the deviation of the channels are not known")
        (height, width), (down, right) = self.size, self.stride
        padded = np.pad((signal - self.mean) / self.std, (self.padding, (0, 0)))
        views = np.lib.stride_tricks.sliding_window_view(padded, (height, width))
        cut = views[::down, ::right].reshape(-1, height * width)
        return np.concatenate([np.zeros((self.tokens, height * width)), cut])
