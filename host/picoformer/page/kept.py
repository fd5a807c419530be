"""What is made for the page once: files in the user's cache, by what they were made of."""

from __future__ import annotations

import contextlib
import glob
import os
import zipfile
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

from ..boards.emulated.flash import cache

PACKAGE = Path(__file__).resolve().parents[1]
Files = dict[str, bytes]  # by name


def code(*parts: str) -> list[Path]:
    """The modules of parts of the package."""
    return [p for part in parts for p in sorted((PACKAGE / part).rglob("*.py"))]


def digest(paths: Iterable[Path], *more: str) -> str:
    """Of files, and of what else something is made of."""
    said = sha256(repr(more).encode())
    for path in paths:
        data = path.read_bytes()
        said.update(f"{path.name} {len(data)} ".encode() + data)
    return said.hexdigest()[:16]


def kept(name: str, key: str, make: Callable[[], Files]) -> Files:
    """The files that were made under a name of what has this digest, else made now.

    What was kept by this name before goes. A cache that cannot be written is none.
    """
    folder = cache() / "page"
    target = folder / f"{name}-{key}.zip"
    # A damaged file is none; zipfile says that in many ways.
    with contextlib.suppress(Exception), zipfile.ZipFile(target) as z:
        return {place: z.read(place) for place in z.namelist()}
    files = make()
    part = folder / f"{name}-{key}.{os.getpid()}.part"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{glob.escape(name)}-{'?' * len(key)}.zip"):
            old.unlink(missing_ok=True)
        with zipfile.ZipFile(part, "w") as z:
            for place, data in files.items():
                z.writestr(place, data)
        os.replace(part, target)
    return files
