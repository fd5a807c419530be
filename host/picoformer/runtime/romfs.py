"""A ROMFS image: models and the runtime, which a board uses where they lie in its flash.

Kernels read words, and `mpremote romfs build` puts a file wherever the one before it ends: here a
model lies at a multiple of 16 from the image's first byte, which begins a block of flash.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import Error
from .files import FOLDER

ALIGNED = 16  # bytes: a line of most caches
PLACE = "/rom"  # where MicroPython shows it
SUFFIXES = ".romfs", ".img"  # of the files that `mpremote romfs deploy` takes


def image(
    models: Mapping[str, bytes], runtime: Mapping[str, bytes]
) -> tuple[bytes, dict[str, int]]:
    """The image of model files and the runtime's, by name, and where the models begin in it.

    Raises Error for a name that it cannot have.
    """
    for name in models:
        if not (name.isascii() and name.isprintable()) or name[:1] in ("", "."):
            raise Error(
                f"{name!r} cannot be a file's name in a ROMFS: expected printing ASCII, not "
                "beginning with '.'; rename the model file"
            )
    # In front of all is the length of the rest, whose own length depends on it.
    for head in range(4, 16):
        for odd in (False, True):
            data, places = _written(models, runtime, head, odd)
            if all(data.startswith(models[name], at) for name, at in places.items()):
                return data, places
    raise AssertionError("no length of its head suits the image")


def _written(
    models: Mapping[str, bytes], runtime: Mapping[str, bytes], head: int, odd: bool
) -> tuple[bytes, dict[str, int]]:
    """An image, and where its models begin if the head has so many bytes.

    odd: whether another odd number of bytes comes at its end, which decides on the head's padding.
    """
    from mpremote.romfs import VfsRomWriter

    rom = VfsRomWriter()
    end = 0
    places = {}
    for name, data in models.items():
        # Two records, a kind and a length in front of each: of nothing, and of the model.
        gap = -(head + end + 2 + 1 + _length(len(data))) % ALIGNED
        rom.mkdata(bytes(gap))
        places[name] = head + rom.mkdata(data)
        end = places[name] - head + len(data)
    for name, at in places.items():
        rom.mkfile(f"{name}.pft", (len(models[name]), at - head))
    folders = FOLDER.strip("/").split("/")
    for folder in folders:
        rom.opendir(folder)
    for name, data in runtime.items():
        rom.mkfile(name, data)
    for _ in folders:
        rom.closedir()
    if odd:
        rom.mkdata(b"\0")
    return bytes(rom.finalise()), places


def _length(n: int) -> int:
    """Bytes of a number in the image."""
    return max(-(-n.bit_length() // 7), 1)
