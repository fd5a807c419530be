"""Tables of numbers in text files: cells of a .csv, series of a .ts."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from ..errors import Error
from ..graph.nodes import Array

TIMES = ("time", "timestamp", "t", "index", "")  # what a column is called that is no channel
SERIES = ("series", "id")
LABEL, TARGET = "label", "target"
LONGEST = 1 << 24  # characters of a line
EXACT = 2.0**53  # beyond, a float is not every whole number


class Numbers:
    """Reads numbers, and knows whether all of a file's are whole, as a sensor gives them."""

    def __init__(self) -> None:
        self.whole = True

    def array(self, rows: list[list[float]]) -> Array:
        """(rows, columns) of what was read: int64 if all of it is whole, else float64."""
        values = np.array(rows, np.float64)
        whole = self.whole and (not values.size or np.abs(values).max() < EXACT)
        return values.astype(np.int64) if whole else values

    def read(self, cells: list[str], where: str, comma: bool = False) -> list[float]:
        """Cells as numbers; comma: one stands for the point in them. Raises Error."""
        if comma:
            cells = [c.replace(",", ".") for c in cells]
        try:
            values = [float(c) for c in cells]
        except ValueError:
            bad = next(c for c in cells if not is_number(c))
            seen = f"{bad.strip()[:40]!r} is no number" if bad.strip() else "a value is missing"
            raise Error(f"{where}: {seen}") from None
        if not all(map(math.isfinite, values)):
            raise Error(f"{where}: a value is missing, or infinite")
        text = " ".join(cells)
        self.whole = self.whole and not any(c in text for c in ".eE")
        return values


def is_number(cell: str) -> bool:
    """Whether a cell is one; not whether it is finite."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a file of UTF-8. Raises Error."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            while line := file.readline(LONGEST):
                if len(line) == LONGEST:
                    raise Error(f"{path} has a line of more than {LONGEST:,} characters")
                yield line
    except UnicodeError as e:
        raise Error(f"cannot read {path}: it is no UTF-8 text") from e
    except OSError as e:
        raise Error(f"cannot read {path}: {e.strerror or e}") from e


class Table:
    """A file of cells between commas, semicolons or tabs.

    names: of the columns, in small letters, [] where the file has no header. In files of
    semicolons or tabs a comma may stand for the point of a number. Raises Error.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = text_lines(path)
        self._skipped, first = 0, ""
        for first in lines:
            if first.strip():
                break
            self._skipped += 1
        mark = next((c for c in "\t;" if c in first), ",")
        self.comma = mark != ","
        # numpy writes a header behind a #.
        self._reader = csv.reader(chain([first.lstrip("# ")], lines), delimiter=mark)
        self._first = next(self._cells(), None)
        self.names = self._header(self._first[1]) if self._first else []

    def _header(self, cells: list[str]) -> list[str]:
        names = [c.strip().lower() for c in cells]
        known = (*TIMES, *SERIES, LABEL)
        if all(is_number(c.replace(",", ".") if self.comma else c) for c in cells):
            return []
        if any(is_number(c) and not any(n in known for n in names) for c in cells):
            bad = next(c for c in cells if not is_number(c))
            raise Error(f"{self.where(self._skipped + 1)}: {bad.strip()[:40]!r} is no number")
        return names

    def where(self, line: int) -> str:
        return f"{self.path}, line {line}"

    def rows(self, ragged: bool = False) -> Iterator[tuple[int, list[str]]]:
        """(line, cells) below the header; ragged: they may be of different lengths."""
        if self._first is None:
            return
        first, width = self._first[0], len(self._first[1])
        for line, cells in self._cells() if self.names else chain([self._first], self._cells()):
            if len(cells) != width and not ragged:
                raise Error(
                    f"{self.where(line)}: {len(cells)} columns, expected {width} as in line "
                    f"{first}"
                )
            yield line, cells

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        while True:
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as e:
                line = self._skipped + self._reader.line_num
                raise Error(f"{self.where(line)}: {e}; expected lines of numbers") from e
            while cells and not cells[-1].strip():
                cells.pop()  # behind a comma at the end of a line
            if cells:
                yield self._skipped + self._reader.line_num, cells

    @property
    def width(self) -> int:
        """Columns, as of the first line."""
        return len(self._first[1]) if self._first else 0


def channels(
    table: Table, count: int, names: tuple[str, ...], among: list[int] | None = None
) -> list[int]:
    """The columns of a model's channels: by their names, or all. Raises Error.

    among: columns that may be channels, by default all. A first one of times is left out.
    """
    listed = list(range(table.width)) if among is None else among
    known = [n.lower() for n in names]
    if table.names and known:
        missing = [n for n in known if n not in table.names]
        if not missing:
            return [table.names.index(n) for n in known]
        if len(missing) < len(known):
            raise Error(
                f"{table.path} has no column {missing[0]}; the model's channels are "
                + ", ".join(names)
            )
    if len(listed) == count + 1 and table.names and table.names[listed[0]] in TIMES:
        listed = listed[1:]
    if len(listed) != count:
        called = f" ({', '.join(names)})" * bool(names)
        raise Error(
            f"{table.path}: {len(listed)} columns, the model reads {count}{called}; expected "
            "numbers between commas, semicolons or tabs, a line for each moment, with a time in "
            'front of them where a header calls it "time"'
        )
    return listed


@dataclass
class Series:
    """A series of a .ts: (channels, rows) of numbers, and what stands behind it."""

    line: int
    channels: list[list[float]]
    behind: str | None


def series(path: Path, count: int, numbers: Numbers) -> Iterator[Series]:
    """The series of a .ts file, as sktime and aeon write it, of `count` channels. Raises Error."""
    labelled: bool | None = None
    data = False
    for line, text in enumerate(text_lines(path), 1):
        text, where = text.strip(), f"{path}, line {line}"
        if not text or text[0] in "#%":
            continue
        if text[0] == "@":
            name, _, value = text[1:].partition(" ")
            name, value = name.lower(), value.strip().lower()
            if name in ("classlabel", "targetlabel"):
                labelled = value.split()[:1] == ["true"]
            elif name == "timestamps" and value == "true":
                raise Error(f"{where}: series with time stamps; expected values alone")
            data = data or name == "data"
            continue
        if not data:
            raise Error(f"{where}: expected a line that begins with @, up to @data")
        parts = text.split(":")
        has = len(parts) == count + 1 if labelled is None else labelled
        if len(parts) - has != count:
            raise Error(f"{where}: {len(parts) - has} channels, the model reads {count}")
        behind = parts.pop().strip() if has else None
        read = [numbers.read(p.split(","), where) for p in parts]
        if len({len(r) for r in read}) > 1:
            raise Error(f"{where}: channels of {' and '.join(str(len(r)) for r in read)} values")
        yield Series(line, read, behind)
