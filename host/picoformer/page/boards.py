"""What the page has to know of boards, as data: the runtime's files for each, the rules by which
they are chosen, and the scripts that boards are asked with.
"""

from __future__ import annotations

import struct
from binascii import crc32
from typing import Any

from ..boards import board, connection, contents, install, probe, room, trouble
from ..device import __version__
from ..device import server_frames as wire
from ..device.program import TASKS
from ..errors import Error
from ..runtime import files
from ..runtime.platforms import ARCHITECTURES, BOARDS, MPY, OLDEST, SOUND, XTENSA, mpy_of
from ..tokenizers.added import FLAG_ADDED

KINDS = range(1, 6)  # of tokenizers; docs/tokenizer.md
TARGETS = "", *BOARDS, "x64"  # for which there are .mpy files; the last is the unix port's

SCRIPTS = {
    "probe": probe.PROBE,
    "programs": connection.PROGRAMS,
    "calm": connection.CALM,
    "serve": connection.SERVE,
    "sums": install.SUMS,
    "tokenizers": install.TOKENIZERS,
    "folders": install.FOLDERS,
    "receive": install.RECEIVE,
    "remove": install.REMOVE,
    "replace": install.REPLACE,
    "models": contents.MODELS,
    "version": contents.VERSION,
    "metadata": board.METADATA,
    "erase": contents.REMOVE,
    "room": room.SCRIPT,
    "free": room.FREE,
    "hiders": trouble.HIDERS,
    "boot": trouble.BOOT,
}


def describe() -> tuple[dict[str, Any], dict[str, bytes]]:
    """The page's boards.json, and the files that it names, by their paths relative to it.

    Where mpy-cross makes no files there are no targets, and boards get the sources.
    """
    data: dict[str, bytes] = {}
    urls: dict[bytes, str] = {}

    def entry(folder: str, name: str, content: bytes) -> dict[str, Any]:
        # What has no native code is the same for all: it is there once. Some hosts leave out files
        # whose names begin with "_".
        url = urls.setdefault(content, f"{folder or 'bytecode'}/{name.lstrip('_')}")
        data[url] = content
        return {"name": name, "bytes": len(content), "crc32": crc32(content), "url": url}

    targets = [
        {
            "mpy": MPY[0],
            "sub": MPY[1],
            "architecture": a,
            "files": [entry(a, *f) for f in sorted(made.items())],
        }
        for a in TARGETS
        for made in (_compiled(a),)
        if made
    ]
    fits = {a: files.fitting(a) for a in ARCHITECTURES}
    sources = [
        entry("py", name, text) | {"fits": [a for a in ARCHITECTURES if name in fits[a]]}
        for name, text in sorted(files.sources().items())
    ]
    told = {
        "version": __version__,
        "targets": targets,
        "sources": sources,
        "rules": _rules(),
        "scripts": SCRIPTS,
        "modules": trouble.modules(),
    }
    return told, data


def _compiled(architecture: str) -> dict[str, bytes]:
    try:
        return files.compiled(mpy_of(architecture), architecture)
    except Error:
        return {}


def _rules() -> dict[str, Any]:
    return {
        "folder": files.FOLDER,
        "oldest": OLDEST,
        "architectures": ARCHITECTURES,
        "miscompiles": {"architectures": XTENSA, "before": SOUND},
        "without": [{"module": m, "platforms": p} for m, p in files.WITHOUT.items()],
        "tokenizers": {
            "prefix": files.READER,
            "kinds": {
                str(kind): {"plain": _readers(kind, 0), "added": _readers(kind, FLAG_ADDED)}
                for kind in KINDS
            },
            "added": FLAG_ADDED,
        },
        "tasks": TASKS,
        "doors": install.DOORS,
        "patient": wire.PATIENT,
    }


def _readers(kind: int, flags: int) -> list[str]:
    return sorted(files.readers([struct.pack("<2I", kind, flags)]))
