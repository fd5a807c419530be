"""A model card, as hubs have it: README.md, which begins with fields between two lines of ---."""

from __future__ import annotations

import re
from pathlib import Path

_FIELDS = re.compile(r"---[ \t]*\n(.*?)\n---[ \t]*\n", re.DOTALL)
_NAME = r"^%s:[ \t]*(?:\n[ \t]*-[ \t]+)?[\"']?([^\n\"'#]+)"
LONGEST = 64  # characters of a name


def licence(folder: Path) -> str:
    """The licence that the card of a folder names, "" where none does."""
    try:
        with open(folder / "README.md", encoding="utf-8", errors="replace") as f:
            fields = _FIELDS.match(f.read(1 << 16))
    except OSError:
        return ""
    for name in "license_name", "license":  # "license: other" has a name besides
        found = re.search(_NAME % name, fields[1], re.MULTILINE) if fields else None
        if found:
            return found[1].strip()[:LONGEST]
    return ""
