"""Signals to train on, as files have them: recordings of sensors or of sound, with labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.signals import TABLES, WAV, read_signals
from ..data.sounds import sound
from ..data.tables import Numbers as _Numbers
from ..data.tables import Table, series
from ..errors import Error
from ..graph.frames import Frames
from ..graph.nodes import Array
from .tables import PARTS

FILES = (".npz", ".ts", *TABLES)
MOST = 1 << 30  # bytes of all files
LONGEST = 32768  # rows


@dataclass(frozen=True)
class Recording:
    """What a sensor said (rows, channels), or samples (n,) of sound; its label, part and name."""

    values: Array | NDArray[np.int16]
    label: str
    part: str
    name: str

    @property
    def key(self) -> str:
        """The same for doubles."""
        data = np.ascontiguousarray(self.values)
        return hashlib.sha256(str(data.shape).encode() + data.tobytes()).hexdigest()


class _Raw(Frames):
    """Frames whose values stay what they are, fractions as well."""

    def signal(self, values: NDArray[np.generic]) -> NDArray[np.int64]:
        v = np.asarray(values)
        if v.ndim == 1 and v.size % self.channels == 0:
            v = v.reshape(-1, self.channels)
        if v.ndim != 2 or v.shape[1] != self.channels or v.dtype.kind not in "iuf" or not len(v):
            raise Error(
                f"a signal of {v.dtype}, shape {v.shape}; expected (rows, {self.channels})"
            )
        if v.dtype.kind == "f" and not np.isfinite(v).all():
            raise Error("a signal has infinite or NaN values")
        raw: NDArray[np.int64] = v  # or floats, which who asks for this class can tell
        return raw


def of_parts(data: Path, suffixes: tuple[str, ...]) -> list[tuple[str, Path]]:
    """(part, path) of the data: a folder or file for each part, or one of all. Raises Error."""
    if not data.exists():
        raise Error(f"cannot read {data}: there is none")
    if not data.is_dir():
        return [("", data)]
    found = []
    for part, names in PARTS.items():
        for one in sorted(data.iterdir()):
            stem = one.stem.lower().rpartition("_")[2]
            is_part = one.is_dir() or one.suffix.lower() in suffixes
            if is_part and (one.name.lower() in names or one.is_file() and stem in names):
                found.append((part, one))
                break
    return found if any(part == "train" for part, _ in found) else [("", data)]


def is_sound(data: Path) -> bool:
    """Whether there are .wav files in folders for labels."""
    return any(
        one.suffix.lower() == WAV
        for _, path in of_parts(data, FILES)
        if path.is_dir()
        for one in path.glob("*/*")
    )


def sounds(data: Path, rate: int) -> list[Recording]:
    """The recordings of folders of .wav files, as samples. Raises Error."""
    return list(_sounds(data, rate))


def _sounds(data: Path, rate: int) -> Iterator[Recording]:
    total = 0
    for part, path in of_parts(data, FILES):
        for folder in sorted(p for p in path.iterdir() if p.is_dir()):
            for one in sorted(folder.iterdir()):
                if one.suffix.lower() != WAV:
                    continue
                total += one.stat().st_size
                if total > MOST:
                    raise Error(f"{data} has more than {MOST:,} bytes of sound; take a part of it")
                yield Recording(sound(one, rate), folder.name, part, f"{folder.name}/{one.name}")


def signals(data: Path) -> tuple[list[Recording], tuple[str, ...]]:
    """The recordings of sensors, and the channels' names where a header has them. Raises Error.

    A folder with a folder of .csv or .npy files for each label, a .npz (`signals`, `labels`), a
    .ts, or a .csv with columns `series` and `label`; or one of these for each part.
    """
    out: list[Recording] = []
    names: tuple[str, ...] = ()
    for part, path in of_parts(data, FILES):
        channels, found = _channels(path)
        names = names or found
        raw = _Raw(LONGEST, channels, (1, channels), (1, channels), names=found)
        for i, (values, wanted) in enumerate(read_signals(path, raw)):
            if wanted is None:
                raise Error(f"{path} has signals without labels; expected a label for each")
            label = wanted if isinstance(wanted, str) else " ".join(f"{n:g}" for n in wanted)
            out.append(Recording(values, label, part, f"signal {i + 1}"))
    if len({r.values.shape[1] for r in out}) > 1:
        raise Error(f"{data}: the parts have signals of different channels")
    return out, names


def _channels(path: Path) -> tuple[int, tuple[str, ...]]:
    """The channels of a file's signals, and their names. Raises Error."""
    if path.is_dir():
        for one in sorted(path.glob("*/*")):
            if one.suffix.lower() in (*TABLES[:2], ".npy"):
                return _channels(one)
        inside = sorted(p.name for p in path.iterdir())
        shown = ", ".join(inside[:3]) + (f" and {len(inside) - 3} more" if inside[3:] else "")
        raise Error(
            f"{path} is a folder of {shown or 'nothing'}; expected a folder for each label, with "
            ".wav, .csv or .npy files in it"
        )
    suffix = path.suffix.lower()
    if path.is_file() and path.stat().st_size > MOST // 8:
        raise Error(
            f"{path} has {path.stat().st_size:,} bytes, expected at most {MOST // 8:,}; take a "
            "part of it"
        )
    if suffix in (".npz", ".npy"):
        return _of_array(path), ()
    if suffix == ".ts":
        for n in range(1, 257):
            try:
                next(series(path, n, _Numbers()))
                return n, ()
            except Error as e:
                if "channels, the model reads" not in str(e):
                    raise
        raise Error(f"{path} has more than 256 channels")
    if suffix in TABLES:
        table = Table(path)
        own = [n for n in table.names if n not in ("series", "id", "label", "time", "timestamp",
                                                   "t", "index", "")]  # fmt: skip
        return (len(own), tuple(own)) if table.names else (max(table.width, 1), ())
    raise Error(
        f"{path}: expected a folder with a folder of .wav, .csv or .npy files for each label, or "
        "a .npz, .ts or .csv file"
    )


def _of_array(path: Path) -> int:
    try:
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                names = {n.lower(): n for n in loaded.files}
                name = names.get("signals", names.get("x"))
                if name is None or not {"labels", "y"} & set(names):
                    raise Error(
                        f"{path} holds {', '.join(loaded.files) or 'nothing'}, expected signals "
                        "(n, rows, channels) and labels"
                    )
                loaded = loaded[name]
                return int(loaded.shape[2]) if loaded.ndim == 3 else 1
            return int(loaded.shape[1]) if loaded.ndim == 2 else 1
    except Error:
        raise
    except OSError as e:
        raise Error(f"cannot read {path}: {e.strerror or e}") from e
    except Exception as e:  # whatever a damaged header or archive makes of their readers
        raise Error(f"cannot read {path}: {e}; expected what numpy.save or savez writes") from e


def pieces(recordings: list[Recording], length: int) -> list[Recording]:
    """Those that are longer than so many values, cut; a shorter rest is left out."""
    out = []
    for r in recordings:
        for at in range(0, max(1, len(r.values) - length + 1), length):
            out.append(replace(r, values=r.values[at : at + length]))
    return out


