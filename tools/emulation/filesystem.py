"""What is in a Pico's flash before it boots: images of its filesystem, the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from picoformer.boards.emulated.rp2040 import VOLUME
from picoformer.errors import Error
from picoformer.runtime.files import FOLDER, compiled
from picoformer.runtime.volume import BLOCK
from tools.emulation.errors import RP2040Error

# The last 1408 KB of flash. `os.statvfs("/")` on the board agrees: 352 blocks of 4096.
FS_BLOCK, FS_BLOCKS = BLOCK, VOLUME.blocks
MPY = 4870  # sys.implementation._mpy of a Pico


def flash_image(files: Mapping[str, bytes]) -> bytes:
    """A littlefs image of the Pico's filesystem holding `files` (board path -> content).

    Folders are made as needed. The result is the whole filesystem region (FS_BLOCKS * FS_BLOCK
    bytes, at FS_OFFSET in flash), which the firmware mounts as it is. `main.py` and `boot.py` run
    at boot, as always.
    """
    try:
        return VOLUME.image(files)
    except Error as e:
        raise RP2040Error(str(e)) from e


def read_image(image: bytes | bytearray) -> dict[str, bytes]:
    """The files of a filesystem image (the inverse of `flash_image`), by absolute path."""
    try:
        return VOLUME.read(bytes(image))
    except Error as e:
        raise RP2040Error(str(e)) from e


def host_files(host: str | Path, board: str) -> dict[str, bytes]:
    """A file, or all files of a folder (without caches), as `RP2040(files=...)` takes them."""
    host = Path(host)
    if not host.is_dir():
        return {board: host.read_bytes()}
    return {
        f"{board.rstrip('/')}/{path.relative_to(host).as_posix()}": path.read_bytes()
        for path in sorted(host.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def runtime() -> dict[str, bytes]:
    """The board's package as deploy puts it there: files of /lib/picoformer. Raises Error."""
    return {f"{FOLDER}/{name}": data for name, data in compiled(MPY, "armv6m").items()}
