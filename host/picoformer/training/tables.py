"""Tables of text to train on: their cells, by the columns that are asked for."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Error

MOST = 32 << 20  # bytes of a file of text
SUFFIXES = (".tsv", ".csv", ".txt")
# What the files of a folder are called, by the part that they are.
PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test",),
}
# What columns are called in a header, by what they are to this command.
NAMES = {
    "label": ("label", "labels", "intent", "class", "category", "tag", "target"),
    "text": ("text", "texts", "sentence", "utterance", "message", "comment", "query"),
    "source": ("source", "src", "input", "from"),
    "target": ("target", "tgt", "output", "to"),
}


@dataclass
class Rows:
    """The lines of a table: (cells of the columns, part or "", line), and how many were empty."""

    path: Path
    found: list[tuple[tuple[str, ...], str, int]] = field(default_factory=list)
    empty: int = 0


def read(
    path: Path, wanted: Sequence[str], columns: Sequence[str] = (), split: str = ""
) -> list[Rows]:
    """The tables of a file, or of the files of parts in a folder. Raises Error.

    wanted: what the columns are, as in NAMES; columns: what the header calls them, or their
    numbers from 1, by default the names that it has, or the first ones. split: the column that
    says of which part a line is.
    """
    if not path.exists():
        raise Error(f"cannot read {path}: there is none")
    if not path.is_dir():
        return [_table(path, wanted, columns, split, "")]
    found = []
    for part, names in PARTS.items():
        files = [path / (n + s) for n in names for s in SUFFIXES if (path / (n + s)).is_file()]
        found += [_table(file, wanted, columns, split, part) for file in files[:1]]
    if not found or found[0].path.stem not in PARTS["train"]:
        inside = sorted(p.name for p in path.iterdir())
        shown = ", ".join(inside[:3]) + (f" and {len(inside) - 3} more" if inside[3:] else "")
        raise Error(
            f"{path} is a folder of {shown or 'nothing'}; expected a .tsv or .csv file, or a "
            "folder with train.tsv and, if you have one, test.tsv"
        )
    return found


def text_of(path: Path) -> str:
    """A file of UTF-8. Raises Error."""
    try:
        size = path.stat().st_size
        if size > MOST:
            raise Error(
                f"{path} has {size:,} bytes, expected at most {MOST:,}: what a model for a "
                "microcontroller can learn is in less; take a part of its lines"
            )
        data = path.read_bytes()
    except OSError as e:
        raise Error(f"cannot read {path}: {e.strerror}") from e
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        what = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte {data[e.start]:#04x}"
        raise Error(
            f"{path}, line {line}: {what} is no UTF-8 text; save it as UTF-8 (in a spreadsheet: "
            'as "CSV UTF-8")'
        ) from None


def _table(
    path: Path, wanted: Sequence[str], columns: Sequence[str], split: str, part: str
) -> Rows:
    if path.suffix.lower() not in SUFFIXES:
        raise Error(
            f"{path}: expected a .tsv file of {', tab, '.join(wanted)} in each line, or a .csv"
        )
    text = text_of(path)
    if "\0" in text:
        raise Error(f"{path} has a zero byte in it: it is no text")
    tabs = path.suffix.lower() != ".csv"
    first = text.split("\n", 1)[0]
    mark = "\t" if tabs else max(",;\t", key=first.count)
    out = Rows(path)
    picked: list[int] | None = None
    of = -1
    cells: list[str]
    for line, cells in _cells(path, text, mark, tabs):
        if not any(cells):
            out.empty += 1
            continue
        if picked is None:
            picked, of, header = _columns(path, cells, wanted, columns, split)
            if header:
                continue
        where = f"{path}, line {line}"
        if len(cells) <= max(*picked, of):
            mark_said = "a tab" if mark == "\t" else repr(mark)
            raise Error(
                f"{where} has {len(cells)} column{'s'[: len(cells) > 1]} ({text_in(cells)!r}), "
                f"expected {' and '.join(wanted)} with {mark_said} between"
            )
        values = [cells[i] for i in picked]
        if not all(values):
            lacking = wanted[values.index("")]
            raise Error(f"{where} has no {lacking}; expected {' and '.join(wanted)} in each line")
        out.found.append((tuple(values), _part(where, cells[of]) if of >= 0 else part, line))
    if not out.found:
        raise Error(f"{path} is empty, expected {', '.join(wanted)} in each line")
    return out


def text_in(cells: list[str]) -> str:
    """The beginning of a line, to be shown."""
    return " ".join(cells)[:40]


def _cells(path: Path, text: str, mark: str, plain: bool) -> Iterator[tuple[int, list[str]]]:
    """(line, cells without the spaces around them)."""
    if plain:
        for line, one in enumerate(text.removesuffix("\n").split("\n"), 1):
            yield line, [" ".join(c.split()) for c in one.split(mark)]
        return
    reader = csv.reader(text.splitlines(keepends=True), delimiter=mark)
    try:
        for row in reader:
            yield reader.line_num, [" ".join(c.split()) for c in row]
    except csv.Error as e:
        raise Error(f"{path}, line {reader.line_num}: {e}") from e


def _columns(
    path: Path, first: list[str], wanted: Sequence[str], columns: Sequence[str], split: str
) -> tuple[list[int], int, bool]:
    """The columns that are wanted, that of the part or -1, whether the line is a header."""
    names = [c.lower() for c in first]

    def find(name: str) -> int:
        if name.isdecimal() and 0 < int(name) <= len(names):
            return int(name) - 1
        if name.lower() in names:
            return names.index(name.lower())
        raise Error(f"{path} has no column {name!r}; its first line is {', '.join(first)}")

    called = [c for c in (*columns, split) if c and not c.isdecimal()]
    of = find(split) if split else -1
    if columns:
        if len(columns) != len(wanted):
            raise Error(f"--columns names {len(columns)}, expected {','.join(wanted).upper()}")
        return [find(c) for c in columns], of, bool(called)
    known = [next((names.index(n) for n in NAMES[w] if n in names), -1) for w in wanted]
    if min(known) >= 0 and len(set(known)) == len(known):
        return known, of, True
    left = [i for i in range(max(len(first), len(wanted) + (of >= 0))) if i != of]
    return left[: len(wanted)], of, bool(called)


def _part(where: str, cell: str) -> str:
    """The part that a cell names. Raises Error."""
    for part, names in PARTS.items():
        if cell.lower() in names:
            return part
    raise Error(f"{where}: part {cell!r}, expected {', '.join(PARTS)}")
