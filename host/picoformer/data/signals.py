"""Signals from files: one that a model is to read, or many, with what is expected of it.

Whole numbers are those of the sensor; a file with a fraction in it holds real values, which are
divided by the unit of the model's channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Error
from ..features import LogMel
from ..graph.frames import Frames
from ..graph.nodes import Array
from .sounds import lasting, loudest, sound
from .tables import (
    LABEL,
    SERIES,
    TARGET,
    TIMES,
    Numbers,
    Table,
    channels,
    is_number,
    series,
)

TABLES = (".csv", ".tsv", ".txt")
WAV = ".wav"
# What is expected: a label, a label's number or the numbers to be predicted; None if nothing is.
Wanted = str | Array | None
Signal = tuple[Array, Wanted]


def signal(path: str | Path, frames: Frames) -> Array:
    """The signal of a .csv, .npy or .wav file, int64 (rows, channels). Raises Error."""
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix == WAV:
        return _sound(file, frames)
    if suffix in TABLES:
        values = _table(file, frames, frames.length + 1)
    elif suffix == ".npy":
        values = _arrays(file)[""]
    else:
        raise Error(f"{file}: expected a {kinds(frames)} file, {shape_of(frames)}")
    return _signal(values, frames, str(file), "more than " * (suffix != ".npy"))


def kinds(frames: Frames) -> str:
    """The files that one signal may be in, in words."""
    return ".wav, .csv or .npy" if frames.sound else ".csv or .npy"


def shape_of(frames: Frames) -> str:
    """The rows and channels that a model reads, in words."""
    one = "" if frames.channels == 1 else f" of {frames.channels}"
    rows = f"{frames.length} rows{one}"
    if heard := frames.sound:
        return f"{lasting(heard, frames.length)} of sound, {rows}"
    return rows


def read_signals(path: str | Path, frames: Frames) -> list[Signal]:
    """[(signal, wanted)] of a file of examples; signals are int64 (rows, channels). Raises Error.

    .npz: `signals` (or `X`) of shape (n, rows, channels), and if there are any `labels` (or `y`):
    names, numbers, or what is to be predicted (n, outputs). .npy: the former alone. Rows of NaN
    at the end are none. .ts: as sktime and aeon write it. .csv: in columns named `series` (or
    `id`), `label` and `target` what a line belongs to, in the others the channels; without
    `series` it is one recording, which is cut into signals of the length that the model reads,
    or, of a model of one channel, a signal in each line. .wav: a recording of sound, cut likewise.
    Samples of sound may be (n, samples) in place of rows. A folder: files of one signal each,
    .csv, .npy or .wav, in a folder for each label; of a sound that is too long its loudest part.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if file.is_dir():
        found = _folder(file, frames)
    elif suffix == ".npz":
        found = _npz(file, frames)
    elif suffix == ".npy":
        found = _stacked(file, _arrays(file)[""], frames)
    elif suffix == ".ts":
        found = _series(file, frames)
    elif suffix in TABLES:
        found = _listed(file, frames)
    elif suffix == WAV:
        rows = _rows_of(file, frames)
        found = ((_signal(piece, frames, str(file)), None) for piece in _pieces(rows, frames))
    else:
        wav = WAV + ", " if frames.sound else ""
        raise Error(
            f"{file}: expected signals in a {wav}.npz, .npy, .ts or .csv file, or in a folder "
            f"with a folder of {kinds(frames)} files for each label"
        )
    listed = list(found)
    if not listed:
        raise Error(f"{file} holds no signals")
    return listed


def _signal(values: Array, frames: Frames, where: str, more: str = "") -> Array:
    """Values as a signal; where: they are from. Raises Error.

    more: "more than " where no more rows were read than are too many.
    """
    if more and len(values) > frames.length:
        raise Error(
            f"{where} has more than {frames.length} rows, and this model reads {shape_of(frames)}"
        )
    hint = ""
    if values.ndim == 2 and frames.channels == values.shape[0] != values.shape[1]:
        hint = "; these are channels of rows: transpose them"
    try:
        return frames.signal(values)
    except Error as e:
        raise Error(f"{where}: {e}{hint}") from e


# Sounds


def _samples(file: Path, frames: Frames) -> tuple[NDArray[np.int16], LogMel]:
    """The samples of a .wav file, enough for a signal, and what makes rows of them."""
    heard = frames.sound
    if not heard:
        raise Error(
            f"{file}: this model reads no sound; expected a {kinds(frames)} file, "
            f"{shape_of(frames)}"
        )
    samples = sound(file, heard.rate)
    if heard.rows(len(samples)) < frames.least:
        least = heard.samples(frames.least)
        raise Error(
            f"{file} has {len(samples):,} samples at {heard.rate:,} Hz, expected {least:,} or "
            "more"
        )
    return samples, heard


def _sound(file: Path, frames: Frames) -> Array:
    samples, heard = _samples(file, frames)
    rows = heard.rows(len(samples))
    if rows > frames.length:
        raise Error(
            f"{file} has {lasting(heard, rows)} of sound, and this model reads "
            f"{lasting(heard, frames.length)} at once: cut it, or let picoformer listen find what "
            "is in it"
        )
    return frames.signal(heard(samples))


def _rows_of(file: Path, frames: Frames) -> NDArray[np.int16]:
    """The rows of a .wav file, at least as many as make a signal. Raises Error."""
    samples, heard = _samples(file, frames)
    return heard(samples)


# Arrays


def _arrays(file: Path) -> dict[str, Array]:
    """The arrays of a .npz by their names, or the one of a .npy by "". Raises Error."""
    try:
        with open(file, "rb") as opened:
            found: Any = np.load(opened, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {"": found}
            return {name: found[name] for name in found.files}
    except OSError as e:
        raise Error(f"cannot read {file}: {e.strerror or e}") from e
    except Exception as e:  # whatever a damaged header or archive makes of their readers
        raise Error(f"cannot read {file}: {e}; expected what numpy.save or savez writes") from e


def _npz(file: Path, frames: Frames) -> Iterator[Signal]:
    arrays = _arrays(file)
    names = {n.lower(): n for n in reversed(arrays)}
    of, by = (
        next((names[n] for n in some if n in names), None)
        for some in (("signals", "x"), ("labels", "y"))
    )
    if of is None:
        raise Error(
            f"{file} holds {', '.join(arrays) or 'nothing'}, expected signals (n, rows, channels) "
            "and labels"
        )
    signals = arrays[of]
    if by is None:
        yield from _stacked(file, signals, frames)
        return
    wanted = arrays[by]
    if not signals.ndim or not wanted.ndim or len(signals) != len(wanted):
        raise Error(
            f"{file}: {of} of shape {signals.shape}, {by} of shape {wanted.shape}, expected as "
            "many"
        )
    found = _stacked(file, signals, frames, False)
    for (one, _), of_it in zip(found, _each(wanted), strict=True):
        yield one, of_it


def _each(wanted: Array) -> list[Wanted]:
    """What is wanted of each signal, (n,) or (n, several)."""
    rows = wanted.reshape(len(wanted), int(np.prod(wanted.shape[1:])))
    if not rows.size:
        return [np.zeros(0) for _ in rows]
    if wanted.dtype.kind in "iufb":
        return [row * 1 for row in rows]
    return [str(row[0]) for row in rows.astype(str)]


def _stacked(file: Path, values: Array, frames: Frames, recorded: bool = True) -> Iterator[Signal]:
    """Signals (n, rows, channels); those of one channel may be (n, rows).

    recorded: of (rows, channels) the pieces that a model reads.
    """
    n = frames.channels
    if frames.sound and (values.ndim == 1 or values.ndim == 2 and values.shape[1] != n):
        if values.ndim == 2:
            for i, samples in enumerate(values):
                yield _signal(samples, frames, f"{file}, sound {i}"), None
            return
        try:
            values = frames.sound(values)
        except Error as e:
            raise Error(f"{file}: {e}") from e
    one = values.ndim == 1 and n == 1 or values.ndim == 2 and values.shape[1] == n
    if one and recorded:
        for piece in _pieces(values, frames):
            yield _signal(piece, frames, str(file)), None
        return
    if values.ndim == 2 and n == 1:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] != n:
        swapped = values.ndim == 3 and values.shape[1] == n
        hint = "; these are channels of rows: X.transpose(0, 2, 1)" if swapped else ""
        raise Error(f"{file}: shape {values.shape}, expected (signals, rows, {n}){hint}")
    for i, signal in enumerate(values):
        if signal.dtype.kind == "f":
            there = np.flatnonzero(~np.isnan(signal).all(1))
            signal = signal[: there[-1] + 1 if there.size else 0]
        yield _signal(signal, frames, f"{file}, signal {i}"), None


def _pieces(values: Array, frames: Frames) -> Iterator[Array]:
    """A recording, cut; a shorter rest is left out unless it is all there is."""
    n = min(frames.length, len(values))
    if n >= frames.least:
        for i in range(0, len(values) - n + 1, n):
            yield values[i : i + n]


# Text


def _table(file: Path, frames: Frames, most: int | None = None) -> Array:
    """The rows of a .csv of one signal, or the first of them."""
    table = Table(file)
    if not table.width:
        raise Error(f"{file} is empty, expected {shape_of(frames)}")
    picked = channels(table, frames.channels, frames.names)
    numbers = Numbers()
    rows = [
        numbers.read([cells[i] for i in picked], table.where(line), table.comma)
        for line, cells in islice(table.rows(), most)
    ]
    return numbers.array(rows).reshape(-1, frames.channels)


def _listed(file: Path, frames: Frames) -> Iterator[Signal]:
    table = Table(file)
    named = {name: i for i, name in reversed(list(enumerate(table.names)))}
    ids = [named[n] for n in SERIES if n in named][:1]
    labels = [named[LABEL]] if LABEL in named else []
    targets = [i for i, n in enumerate(table.names) if n.startswith(TARGET)]
    others = [i for i in range(table.width) if i not in (*ids, *labels, *targets)]
    if len(labels) and targets:
        raise Error(f"{file} has columns of labels and of targets, expected one of them")
    timed = len(others) == 2 and bool(table.names) and table.names[others[0]] in TIMES
    if frames.channels == 1 and not ids and len(others) > 1 and not timed:
        if table.names and table.names[others[0]] in ("", "index"):
            others = others[1:]
        return _lines(table, frames, others, labels or targets)
    if targets and not ids:
        raise Error(
            f"{file} has targets: expected a column `series` as well, which tells the signals "
            "apart"
        )
    picked = channels(table, frames.channels, frames.names, others) if table.width else []
    return _rows(table, frames, picked, ids, labels or targets)


def _lines(table: Table, frames: Frames, picked: list[int], last: list[int]) -> Iterator[Signal]:
    """A signal in each line; last: the columns of what is wanted."""
    numbers = Numbers()
    found: list[tuple[int, list[float], Wanted]] = []
    for line, cells in table.rows(ragged=True):
        where = table.where(line)
        if len(cells) > table.width or len(cells) <= max(last, default=0):
            raise Error(f"{where}: {len(cells)} columns, the header has {table.width}")
        row = [cells[i] for i in picked if i < len(cells)]
        while row and not row[-1].strip():
            row.pop()  # of a signal that is shorter than others
        found.append((line, numbers.read(row, where, table.comma), _behind(cells, last, table)))
    for line, values, wanted in found:
        yield _signal(numbers.array([values]).reshape(-1), frames, table.where(line)), wanted


def _behind(cells: list[str], last: list[int], table: Table) -> Wanted:
    """What is wanted, of the cells in the last columns."""
    if not last:
        return None
    values = [cells[i].strip() for i in last]
    if not table.names[last[0]].startswith(TARGET):
        return np.array([int(values[0])]) if _whole(values[0]) else values[0]
    return _floats(values, table.comma)


def _whole(text: str) -> bool:
    """Whether it is a whole number, of no more than 64 bits."""
    return text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 19


def _floats(values: list[str], comma: bool = False) -> Wanted:
    """Numbers, or the text where one is none."""
    if comma:
        values = [v.replace(",", ".") for v in values]
    return np.array([float(v) for v in values]) if all(map(is_number, values)) else values[0]


def _rows(
    table: Table, frames: Frames, picked: list[int], ids: list[int], last: list[int]
) -> Iterator[Signal]:
    """A row of a signal in each line; ids: the column of which, if there is any."""
    numbers = Numbers()
    # By the series, in the order in which they begin: their rows, and what is wanted of each.
    found: dict[str, list[tuple[list[float], tuple[str, ...]]]] = {}
    wanted: dict[tuple[str, ...], Wanted] = {}
    for line, cells in table.rows():
        where = table.where(line)
        row = numbers.read([cells[i] for i in picked], where, table.comma)
        name, behind = "".join(cells[i] for i in ids), tuple(cells[i].strip() for i in last)
        rows = found.setdefault(name, [])
        if ids and rows and rows[0][1] != behind:
            raise Error(
                f"{where}: series {name} has {' '.join(behind)} here and {' '.join(rows[0][1])} "
                "above, expected the same in all its lines"
            )
        rows.append((row, behind))
        if behind not in wanted:
            wanted[behind] = _behind(cells, last, table)
    for name, rows in found.items():
        for behind, group in groupby(rows, key=lambda pair: pair[1]):
            values = numbers.array([row for row, _ in group])
            where = f"{table.path}, series {name}" if ids else str(table.path)
            for one in [values] if ids else _pieces(values, frames):
                yield _signal(one, frames, where), wanted[behind]


def _series(file: Path, frames: Frames) -> Iterator[Signal]:
    numbers = Numbers()
    for one in list(series(file, frames.channels, numbers)):
        values = numbers.array(one.channels).T
        yield _signal(values, frames, f"{file}, line {one.line}"), one.behind


def _folder(file: Path, frames: Frames) -> Iterator[Signal]:
    for folder in sorted(p for p in file.iterdir() if p.is_dir()):
        for one in sorted(folder.iterdir()):
            if one.suffix.lower() == WAV and frames.sound:
                rows = loudest(_rows_of(one, frames), frames.length)
                yield _signal(rows, frames, str(one)), folder.name
            elif one.suffix.lower() in (*TABLES[:2], ".npy"):
                yield signal(one, frames), folder.name
