"""The flash of an emulated board before it starts: made new with the runtime in it, or kept."""

from __future__ import annotations

from pathlib import Path

from ...compile.modelfile import write
from ...planning.profiles import profile
from ...runtime.files import FOLDER, wanted
from ...runtime.firmware import version
from ...runtime.platforms import Platform
from ...runtime.volume import Volume
from ..errors import EmulatorError


def runtime(firmware: bytes, board: str) -> dict[str, bytes]:
    """The runtime for a board of the planning's with this firmware, as files of the board."""
    p = profile(board)
    files = wanted(Platform(version(firmware), p.mpy, board, p.machine)).files
    return {f"{FOLDER}/{name}": data for name, data in files.items()}


def kept(flash: Path, size: int, title: str) -> bytes | None:
    """What the flash has from its last run; None where it is new. Raises EmulatorError."""
    try:
        data = flash.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) != size:
        raise EmulatorError(
            f"{flash} has {len(data)} bytes, expected {size}: it is not the flash of {title}; "
            "remove it or choose another"
        )
    return data


def filled(
    volume: Volume, image: bytes | None, put: list[Path], firmware: bytes, board: str
) -> bytes:
    """The filesystem, new where there is no image, with files that are put into its root."""
    files = {path.name: path.read_bytes() for path in put}
    if image is None:
        return volume.image(runtime(firmware, board) | files)
    return volume.put(image, files) if files else image


def keep(flash: Path, before: bytes | None, data: bytes) -> None:
    """Write the flash, if it is another than before."""
    if data != before:
        write(flash, data)
