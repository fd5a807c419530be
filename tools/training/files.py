"""Files that a tool needs, and parts of the data for `picoformer eval --data`."""

from __future__ import annotations

from collections.abc import Sequence
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
