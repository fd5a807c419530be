"""The process behind an emulated ESP32: `python -m picoformer.boards.emulated.esp32_process`.

`Esp32Board` starts it, and ends it by closing its standard input.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...errors import Error
from ...runtime.firmware import Firmware, read
from ..errors import EmulatorError
from .esp32 import MACHINE, find_qemu
from .images import filled, keep, kept
from .process import claimed, run
from .program import free_port, serve_program

FLASH_BYTES = 4 << 20
PROGRAM_AT = 0x10000  # behind the boot loader and the table of partitions


def firmware_of(data: bytes) -> Firmware:
    """What an image of ESP32_GENERIC holds. Raises Error."""
    found = read(data, FLASH_BYTES) if data[12:13] == b"\0" else None
    if not found or found.family or found.start + found.volume.size > FLASH_BYTES:
        raise Error("no image of ESP32_GENERIC for 4 MiB of flash")
    return found


def prepare(flash: Path, firmware: Path, put: list[Path]) -> None:
    """Make the flash, or bring a kept one up to date: the firmware, and files to put."""
    program = firmware.read_bytes()
    try:
        found = firmware_of(program)
    except Error as e:
        raise EmulatorError(f"{firmware} is {e}") from e
    base, volume = found.base, found.volume
    files = slice(found.start, found.start + volume.size)
    before = kept(flash, FLASH_BYTES, "an ESP32")
    data = bytearray(before or b"\xff" * FLASH_BYTES)
    data[files] = filled(volume, before and bytes(data[files]), put, program, "esp32")
    if data[PROGRAM_AT : base + len(program)] != program[PROGRAM_AT - base :]:
        data[base : base + len(program)] = program
    keep(flash, before, bytes(data))


def serve(o: argparse.Namespace) -> None:
    """Emulate until standard input ends."""
    with claimed(o.flash, "ESP32"):
        prepare(o.flash, o.firmware, o.put)
        port = free_port()
        command = [
            find_qemu(), "-M", MACHINE, "-nographic", "-monitor", "none",
            "-drive", f"file={str(o.flash).replace(',', ',,')},if=mtd,format=raw",
            "-serial", f"tcp:127.0.0.1:{port},server=on,wait=off",
            # The firmware's watchdogs count this computer's time.
            "-global", "driver=timer.esp32.timg,property=wdt_disable,value=true",
        ]  # fmt: skip
        serve_program(command, port, f"{o.firmware} does not start: is it ESP32_GENERIC?")


if __name__ == "__main__":
    sys.exit(run(serve))
