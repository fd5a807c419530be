"""The planner for the page: its own modules, and what it has to know of the runtime as numbers."""

from __future__ import annotations

import struct
from pathlib import Path

from ..planning.profiles import PROFILES
from ..planning.runtime import SPARE, runtime_bytes
from ..planning.style import within
from ..tokenizers.added import FLAG_ADDED
from .boards import KINDS
from .downlevel import module

PACKAGE = Path(__file__).resolve().parents[1]

# The modules, and where they are in the package; in the page they are side by side.
MODULES = {
    name: f"{folder}/{name}.py"
    for folder, names in {
        "compile": ("figures",),
        "runtime": ("platforms",),
        "planning": (
            "areas", "bars", "budget", "drawing", "footprint", "heap", "plans", "profiles",
            "speed",
        ),
    }.items()
    for name in names
}  # fmt: skip
PLACES = {"..device": "picoformer", "..errors": "picoformer.errors"} | {
    f"..{folder}.{name}": f".{name}"
    for name, path in MODULES.items()
    for folder in [path.partition("/")[0]]
}


def modules() -> dict[str, str]:
    """The texts of the planner's modules, by name; `python` and `page` of web/plan are besides."""
    texts = {
        name: module((PACKAGE / path).read_text("utf-8"), PLACES) for name, path in MODULES.items()
    }
    return {**texts, "runtime": _runtime()}


def style() -> str:
    """The style of the plan's pictures, for an element of the class `plan`."""
    return within(".plan")


def _runtime() -> str:
    """planning/runtime.py with its results in the place of its code."""
    sizes = {
        (board.name, kind, bool(flag)): runtime_bytes(board, struct.pack("<2I", kind, flag))
        for board in PROFILES.values()
        for kind in KINDS
        for flag in (0, FLAG_ADDED)
    }
    return (
        f"SPARE = {SPARE}\n_BYTES = {sizes!r}\n\n\n"
        "def has_added(tokenizer):\n"
        f"    return bool(int.from_bytes(tokenizer[4:8], 'little') & {FLAG_ADDED})\n\n\n"
        "def runtime_bytes(board, tokenizer):\n"
        "    return _BYTES[board.name, tokenizer[0], has_added(tokenizer)]\n"
    )
