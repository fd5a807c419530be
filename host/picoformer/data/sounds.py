"""Sounds from files: samples of a .wav file, of the rate that a model hears.

Several channels become their mean. Another rate is changed by a low-pass filter (a sinc under
Kaiser's window, 80 dB, flat up to 0.9 of half the lower rate), and the result is rounded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import Error
from ..features import LogMel
from ..graph.nodes import Array

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # formats of a .wav file
NAMES = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 49: "GSM", 85: "MP3"}
BITS = {PCM: (8, 16, 24, 32), FLOAT: (32, 64)}
RATES = 1000, 768000
UNKNOWN = 0, 0xFFFFFFFF  # lengths that who writes to a pipe leaves
SIDE = 64  # zeros of the sinc on each side
CUTOFF, BETA = 0.95, 8.0  # of half the lower rate; of Kaiser's window
LOUDEST = 1e6  # of floats, whose full scale is 1: the sums of larger ones may have no float
AT_ONCE = 1 << 20  # products of samples and weights


def sound(path: str | Path, rate: int) -> NDArray[np.int16]:
    """The samples of a .wav file, int16 (n,).

    path: the file. rate: samples a second that are wanted; another rate is converted.

    Raises Error if the file cannot be read.
    """
    file = Path(path)
    values, own = _read(file)
    made = np.rint(resampled(values.mean(1), own, rate))
    return np.clip(made, -(1 << 15), (1 << 15) - 1).astype(np.int16)


def resampled(samples: Array, old: int, new: int) -> Array:
    """Samples (n,) of `old` a second as floats of `new` a second; there is silence around them."""
    x = np.asarray(samples, np.float64)
    if old == new or not len(x):
        return x
    up, down = (r // gcd(old, new) for r in (new, old))
    wide = max(1.0, old / new)  # samples to a zero of the sinc
    reach = int(np.ceil(SIDE * wide))
    x = np.pad(x, reach)
    out = np.empty(-(-(len(samples)) * up // down))
    views = np.lib.stride_tricks.sliding_window_view(x, 2 * reach + 1)
    at = np.arange(-reach, reach + 1)
    grid = np.linspace(0, SIDE, 1 << 14)
    window = np.i0(BETA * np.sqrt(1 - (grid / SIDE) ** 2))
    block = max(1, AT_ONCE // len(at))
    for phase in range(min(up, len(out))):
        # Outputs phase, phase + up, ... lie as far behind a sample each, and `down` samples apart.
        first, behind = divmod(phase * down, up)
        t = (at - behind / up) / wide
        weights = np.sinc(CUTOFF * t) * np.interp(np.abs(t), grid, window, right=0)
        weights /= weights.sum()
        part = out[phase::up]
        for i in range(0, len(part), block):
            seen = views[first + i * down :: down][: min(block, len(part) - i)]
            part[i : i + len(seen)] = seen @ weights
    return out


def loudest(rows: NDArray[np.int16], length: int) -> NDArray[np.int16]:
    """Of rows (n, bands) of sound those `length` that lie together and are the largest."""
    if len(rows) <= length:
        return rows
    sums = np.concatenate([[0], np.cumsum(rows.sum(1, dtype=np.int64))])
    at = int(np.argmax(sums[length:] - sums[:-length]))
    return rows[at : at + length]


def lasting(heard: LogMel, rows: int) -> str:
    """How long so many rows of sound are, in words."""
    return f"{heard.samples(rows) / heard.rate:.2f} s"


# Files


def _read(file: Path) -> tuple[Array, int]:
    """(samples (n, channels) in steps of 16 bits, samples a second) of a .wav file."""
    try:
        data = file.read_bytes()
    except OSError as e:
        raise Error(f"cannot read {file}: {e.strerror}") from e
    if not data:
        raise Error(f"{file} is empty, expected a WAV file")
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise Error(
            f"{file} is no WAV file: it begins with {data[:12]!r}, expected RIFF and WAVE; a "
            "program like ffmpeg makes one of other sounds"
        )
    form: tuple[int, ...] | None = None
    for name, chunk, size in _chunks(data):
        if name == b"fmt ":
            form = _form(file, chunk)
        elif name == b"data":
            if form is None:
                break
            if len(chunk) < size:
                raise Error(
                    f"{file} is truncated: it has {len(chunk):,} bytes of sound of {size:,}"
                )
            return _samples(file, chunk, *form[:3]), form[3]
    lacking = "sound" if form else "format"
    raise Error(f"{file} is a WAV file without a {lacking}, or it is truncated")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """(name, bytes that are there, bytes there should be) of the chunks."""
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"data" and (size == UNKNOWN[1] or size == UNKNOWN[0] and at < len(data)):
            size = len(data) - at
        yield name, data[at : at + size], size
        at += size + (size & 1)


def _form(file: Path, chunk: bytes) -> tuple[int, int, int, int]:
    """(format, bits, channels, rate) that a chunk tells. Raises Error."""
    if len(chunk) < 16:
        raise Error(f"{file}: a format of {len(chunk)} bytes, expected 16; it is no WAV file")
    kind, channels, rate, _, step, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == EXTENSIBLE and len(chunk) >= 26:
        (kind,) = struct.unpack_from("<H", chunk, 24)
    if bits not in BITS.get(kind, ()):
        name = {PCM: "whole numbers", FLOAT: "floats", **NAMES}.get(kind, f"format {kind}")
        raise Error(
            f"{file}: {name} of {bits} bits; supported: WAV files of 8, 16, 24 or 32 bits, or of "
            "floats of 32 or 64"
        )
    if not channels or step != channels * bits // 8 or not RATES[0] <= rate <= RATES[1]:
        raise Error(
            f"{file}: {channels} channels of {bits} bits in {step} bytes, {rate:,} times a "
            f"second; expected 1 channel or more, {RATES[0]:,} to {RATES[1]:,} times"
        )
    return kind, bits, channels, rate


def _samples(file: Path, data: bytes, kind: int, bits: int, channels: int) -> Array:
    """Samples (n, channels), of 16 bits and what is behind the point."""
    size = channels * bits // 8
    data = data[: len(data) // size * size]
    if not data:
        raise Error(f"{file} has no samples")
    made: Array
    if kind == FLOAT:
        made = np.frombuffer(data, f"<f{bits // 8}").astype(np.float64)
        if not np.isfinite(made).all():
            raise Error(f"{file} has infinite or NaN samples")
        made = made.clip(-LOUDEST, LOUDEST) * (1 << 15)
    elif bits == 8:  # the only ones without a sign
        made = (np.frombuffer(data, np.uint8) - 128.0) * 256
    elif bits == 24:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        made = wide.reshape(-1).view("<i4") / 65536
    else:
        made = np.frombuffer(data, f"<i{bits // 8}") / float(1 << (bits - 16))
    return np.asarray(made, np.float64).reshape(-1, channels)
