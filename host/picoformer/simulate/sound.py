"""Rows of sound as samples come: on the PC what device/picoformer/sound.py is on a board."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Error
from ..features import LogMel, whole
from ..graph.nodes import Array

_ROWS = 0x1FFFFFFF  # what `rows` wraps behind, as a board's


class Features:
    """Turns sound into the rows that a model reads; `Simulator.features` makes one.

    sound: the model's front end. length: rows that the model reads, and that are kept.

    rate: samples a second. window: samples of a row. hop: samples from one row to the next.
    bands: numbers of a row. rows: how many were made so far, modulo 2**29.
    """

    def __init__(self, sound: LogMel, length: int) -> None:
        self.sound = sound
        self.length = length
        self.rate, self.window = sound.rate, sound.window
        self.hop, self.bands = sound.hop, sound.bands
        self.reset()

    def reset(self) -> None:
        """Forget all samples and rows."""
        self.rows = 0
        self._samples = np.zeros(0, np.int16)
        self._rows = np.zeros((0, self.bands), np.int16)

    def write(self, samples: Any) -> int:
        """Take more samples.

        samples: (n,) whole numbers of 16 bits, or bytes, two for each, the lower byte first.

        Returns how many rows they completed. Raises Error for anything else.
        """
        self._samples = np.concatenate([self._samples, _numbers(samples)])
        made = self.sound(self._samples)
        self._samples = self._samples[len(made) * self.hop :]
        self._rows = np.concatenate([self._rows, made])[-self.length :]
        self.rows = self.rows + len(made) & _ROWS
        return len(made)

    def last(self, n: int | None = None) -> Array:
        """The newest rows, int64 (rows, bands).

        n: how many; by default as many as the model reads. Fewer come back if there are fewer.
        """
        n = self.length if n is None else n
        return self._rows[max(0, len(self._rows) - n) :].astype(np.int64)


def _numbers(samples: Any) -> NDArray[np.int16]:
    """Samples as numbers: of a list, an array, or a buffer of bytes."""
    if isinstance(samples, bytes | bytearray) or (
        isinstance(samples, memoryview) and samples.itemsize == 1
    ):
        if len(samples) & 1:
            raise Error(f"{len(samples)} bytes of sound, expected two for each sample")
        return np.frombuffer(samples, "<i2").astype(np.int16)
    # An empty list has no kind.
    return whole(samples).astype(np.int16) if len(samples) else np.zeros(0, np.int16)
