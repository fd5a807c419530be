"""WAV files, of every kind."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def wav(
    data: bytes, rate: int = 8000, bits: int = 16, channels: int = 1, kind: int = 1, *,
    size: int | None = None, before: bytes = b"", extensible: bool = False,
) -> bytes:  # fmt: skip
    """The bytes of a file of samples; size: what it says of theirs. before: chunks in front."""
    step = channels * bits // 8
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * step, step, bits)
    if extensible:
        form = struct.pack("<H", 0xFFFE) + form[2:]
        form += struct.pack("<HHIH", 22, bits, 0, kind) + bytes(14)
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body + b"\0" * (len(data) & 1)


def of(samples: np.ndarray, rate: int = 8000, **more: object) -> bytes:
    """A file of samples of 16 bits, (n,) or (n, channels)."""
    made = np.asarray(samples).astype("<i2")
    channels = 1 if made.ndim == 1 else made.shape[1]
    return wav(made.tobytes(), rate, 16, channels, **more)


def write(path: Path, samples: np.ndarray, rate: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(of(samples, rate))
    return path


def noise(n: int, seed: int = 0, loud: float = 2000.0) -> np.ndarray:
    """Samples that swell."""
    rng = np.random.default_rng([seed, n])
    x = rng.normal(0, loud, n) * (1 + np.sin(np.arange(n) / 300))
    return np.rint(x).clip(-32768, 32767).astype(int)


def changing(seconds: float = 3.0) -> np.ndarray:
    """Sound at 8 kHz that changes: noise, silence, tones."""
    n = int(8000 * seconds) // 6
    t = np.arange(n)
    parts = [noise(n, 1), noise(n, 2, 30.0), 9000 * np.sin(t / 3), 0 * t]
    parts += [9000 * np.sin(t * t / 9000), noise(n, 3, 9000.0)]
    return np.rint(np.concatenate(parts)).astype(np.int16)
