"""The process behind an emulated Pico 2: `python -m picoformer.boards.emulated.pico2_process`.

`Pico2Board` starts it, and ends it by closing its standard input.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path

from ..errors import EmulatorError
from .filesystem import BLOCK, Volume
from .images import filled, keep, kept
from .pico2 import find_emulator
from .process import claimed, run
from .program import free_port, serve_program

FLASH_BASE = 0x10000000
FLASH_BYTES = 4 << 20
UF2 = struct.Struct("<8I")
UF2_BLOCK = 512
RP2350 = 0xE48BFF59  # UF2's family
PROG = 256  # ports/rp2/modules/_boot.py mounts it so
# A firmware for rp2 says what is in it in "binary info" (pico-sdk's binary_info/structure.h).
INFO_BEGIN, INFO_END = 0x7188EBF2, 0xE71AA390
BLOCK_DEVICE = 7, int.from_bytes(b"MP", "little")


def program(uf2: bytes) -> bytes:
    """What a UF2 file for RP2350 has for the flash. Raises EmulatorError."""
    flash = bytearray()
    for at in range(0, len(uf2) - UF2_BLOCK + 1, UF2_BLOCK):
        magic, _, _, address, size, _, _, family = UF2.unpack_from(uf2, at)
        start = address - FLASH_BASE
        if magic != 0x0A324655 or family != RP2350 or not 0 <= start <= FLASH_BYTES - size:
            continue
        flash.extend(b"\xff" * (start + size - len(flash)))
        flash[start : start + size] = uf2[at + UF2.size : at + UF2.size + size]
    if not flash:
        raise EmulatorError("no UF2 file for RP2350 (Arm)")
    return bytes(flash)


def filesystem(firmware: bytes) -> tuple[int, Volume]:
    """Where the firmware has its filesystem in flash, and of which form. Raises EmulatorError."""
    begin = firmware.find(struct.pack("<I", INFO_BEGIN))
    if begin >= 0:
        first, last, _, end = struct.unpack_from("<4I", firmware.ljust(begin + 20), begin + 4)
        table = range(first - FLASH_BASE, last - FLASH_BASE, 4)
        if end == INFO_END and 0 <= table.start <= table.stop <= len(firmware):
            for at in table:
                (entry,) = struct.unpack_from("<I", firmware, at)
                here = firmware[entry - FLASH_BASE :][:16] if entry >= FLASH_BASE else b""
                if len(here) == 16 and struct.unpack_from("<2H", here) == BLOCK_DEVICE:
                    _, _, address, size = struct.unpack("<4I", here)
                    start = address - FLASH_BASE
                    if 0 <= start <= FLASH_BYTES - size:
                        return start, Volume(size // BLOCK, PROG)
    raise EmulatorError("no MicroPython for 4 MB of flash")


def prepare(flash: Path, firmware: Path, put: list[Path]) -> int:
    """Make the filesystem, or add files to a kept one; its offset in the board's flash."""
    try:
        flashed = program(firmware.read_bytes())
        start, volume = filesystem(flashed)
    except EmulatorError as e:
        raise EmulatorError(f"{firmware} is {e}") from e
    before = kept(flash, volume.size, "a Pico 2 with this firmware")
    keep(flash, before, filled(volume, before, put, flashed, "pico2"))
    return start


def serve(o: argparse.Namespace) -> None:
    """Emulate until standard input ends."""
    with claimed(o.flash, "Pico 2"):
        start = prepare(o.flash, o.firmware, o.put)
        port = free_port()
        node, rp2350js = find_emulator()
        harness = Path(__file__).with_name("pico2.js")
        paths = [str(path) for path in (harness, rp2350js, o.firmware, o.flash)]
        silent = f"{o.firmware} does not start: is it a build for RPI_PICO2?"
        serve_program([node, *paths, str(start), str(port)], port, silent)


if __name__ == "__main__":
    sys.exit(run(serve))
