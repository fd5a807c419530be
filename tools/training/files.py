"""Files that a tool needs, and parts of the data for `picoformer eval --data`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def need_files(data: Path, files: Sequence[str]) -> None:
    """Name the files that the data's folder lacks."""
    missing = [file for file in files if not (data / file).is_file()]
    if missing:
        raise SystemExit(f"{data} lacks {', '.join(missing)}: --data names the data's folder")


def write_held_out(part: str, rows: Sequence[Sequence[str]], what: str) -> None:
    """Write PART.tsv, a line of columns for each row, and say how many of what there are."""
    text = "".join("\t".join(row) + "\n" for row in rows)
    Path(f"{part}.tsv").write_text(text, encoding="utf-8")
    print(f"{part}.tsv: {len(rows)} {what}")


def write_table(
    path: Path, columns: Sequence[str], parts: Mapping[str, Sequence[Sequence[str]]]
) -> None:
    """Write all parts as a table with a line of names, for `picoformer train --split part`."""
    lines = ["\t".join([*columns, "part"])]
    lines += ["\t".join([*row, part]) for part, rows in parts.items() for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path}: {', '.join(f'{len(rows)} {part}' for part, rows in parts.items())}")
