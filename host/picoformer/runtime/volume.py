"""The filesystem of a board, littlefs, as the PC writes it into the board's flash."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Error

BLOCK = 4096
# Format 2.0, which every firmware mounts; a board itself moves it to 2.1 when it writes.
FORMAT = 0x00020000


def unsupported() -> str:
    """Why no filesystem can be written here; empty if one can."""
    if importlib.util.find_spec("littlefs") is None:
        return "a board's filesystem needs littlefs to be made: pip install littlefs-python"
    return ""


@dataclass(frozen=True)
class Volume:
    """A littlefs volume of a board.

    blocks: of 4,096 bytes; prog: bytes that are written at once, as the board's VfsLfs2 has it,
    so that small files are inlined alike; metadata: bytes of a block that a folder may fill, for
    a board on which it takes long to look through one (0: all).
    """

    blocks: int
    prog: int
    metadata: int = 0

    @property
    def size(self) -> int:
        """Bytes."""
        return self.blocks * BLOCK

    def image(self, files: Mapping[str, bytes]) -> bytes:
        """A new volume that holds files (board path -> content). Raises Error."""
        volume = self._open(FORMAT)
        volume.format()
        volume.mount()
        return self._write(volume, files)

    def put(self, image: bytes, files: Mapping[str, bytes]) -> bytes:
        """An image with files added or replaced. Raises Error."""
        return self._write(self._mount(image), files)

    def read(self, image: bytes) -> dict[str, bytes]:
        """The files of an image, by absolute path. Raises Error."""
        return self._files(self._mount(image))

    def needed(self, image: bytes) -> list[int]:
        """The blocks of an image that count: whatever is in the others, its files are the same.

        A folder has two blocks. One is often empty, and counts, too.
        """
        seen: set[int] = set()
        self._files(self._mount(image, seen))
        return sorted(seen)

    def _files(self, volume: Any) -> dict[str, bytes]:
        files = {}
        for folder, _, names in volume.walk("/"):
            for name in names:
                path = f"{folder.rstrip('/')}/{name}"
                with volume.open(path, "rb") as file:
                    files[path] = file.read()
        volume.unmount()
        return files

    def _open(self, version: int = 0) -> Any:
        """A volume that is not mounted (version 0: the newest format)."""
        from littlefs import LittleFS, UserContext

        return LittleFS(
            context=UserContext(self.size),
            block_size=BLOCK,
            block_count=self.blocks,
            read_size=32,
            prog_size=self.prog,
            cache_size=4 * self.prog,
            lookahead_size=32,
            disk_version=version,
            metadata_max=self.metadata,
            mount=False,
        )

    def _mount(self, image: bytes, seen: set[int] | None = None) -> Any:
        """seen: gets the blocks that are read from now on."""
        from littlefs import LittleFSError

        if len(image) != self.size:
            raise Error(f"the image has {len(image)} bytes, expected {self.size}")
        volume = self._open()
        volume.context.buffer[:] = image
        if seen is not None:
            plain = volume.context.read

            def read(config: Any, block: int, offset: int, size: int) -> Any:
                seen.add(block)
                return plain(config, block, offset, size)

            volume.context.read = read
        try:
            volume.mount()
        except LittleFSError as e:
            raise Error(f"the image holds no littlefs: {e}") from e
        return volume

    def _write(self, volume: Any, files: Mapping[str, bytes]) -> bytes:
        """Folders are made as needed."""
        from littlefs import LittleFSError

        for name, content in files.items():
            path = "/" + name.strip("/")
            folder = path.rpartition("/")[0]
            try:
                if folder:
                    volume.makedirs(folder, exist_ok=True)
                with volume.open(path, "wb") as file:
                    file.write(content)
            except LittleFSError as e:
                total = sum(map(len, files.values()))
                raise Error(
                    f"cannot store {path} ({len(content)} bytes; {total} in all) in the board's "
                    f"{self.size} byte filesystem: {e}"
                ) from e
        volume.unmount()
        return bytes(volume.context.buffer)
