"""The process behind an emulated Pico 2: `python -m picoformer.boards.emulated.pico2_process`.

`Pico2Board` starts it, and ends it by closing its standard input.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...errors import Error
from ...runtime.firmware import RP2350, read
from ..errors import EmulatorError
from .images import filled, keep, kept
from .pico2 import find_emulator
from .process import claimed, run
from .program import free_port, serve_program

FLASH_BYTES = 4 << 20


def prepare(flash: Path, firmware: Path, put: list[Path]) -> int:
    """Make the filesystem, or add files to a kept one; its offset in the board's flash."""
    try:
        found = read(firmware.read_bytes())
    except Error as e:
        raise EmulatorError(f"{firmware} is {e}") from e
    volume = found.volume
    if found.family != RP2350 or found.start + volume.size > FLASH_BYTES:
        raise EmulatorError(f"{firmware} is no MicroPython for RP2350 (Arm) with 4 MB of flash")
    before = kept(flash, volume.size, "a Pico 2 with this firmware")
    keep(flash, before, filled(volume, before, put, found.data, "pico2"))
    return found.start


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
