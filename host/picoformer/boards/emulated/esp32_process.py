"""The process behind an emulated ESP32: `python -m picoformer.boards.emulated.esp32_process`.

`Esp32Board` starts it, and ends it by closing its standard input.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path

from ..errors import EmulatorError
from .esp32 import MACHINE, find_qemu
from .filesystem import BLOCK, Volume
from .images import filled, keep, kept
from .process import claimed, run
from .program import free_port, serve_program

FLASH_BYTES = 4 << 20
FIRMWARE_AT = 0x1000  # the bootloader, the table of partitions, and the program
TABLE_AT = 0x8000
PROGRAM_AT = 0x10000
PARTITION = struct.Struct("<2sBBII16sI")
MAGIC, CHIP = 0xE9, 0  # how an image of firmware begins, and what its byte 12 says of the chip
PROG = 32  # ports/esp32 mounts it with the sizes that VfsLfs2 has by itself
FOLDER_BYTES = 512  # with whole blocks the runtime takes three times as many reads to import


def filesystem(firmware: bytes) -> tuple[int, Volume]:
    """Where the firmware has its filesystem in flash, and of which form. Raises EmulatorError."""
    if firmware[:1] == bytes([MAGIC]) and firmware[12:13] == bytes([CHIP]):
        for at in range(TABLE_AT - FIRMWARE_AT, PROGRAM_AT - FIRMWARE_AT, PARTITION.size):
            magic, _, _, start, size, label, _ = PARTITION.unpack_from(
                firmware.ljust(PROGRAM_AT, b"\xff"), at
            )
            if magic != b"\xaa\x50":
                break
            if label.rstrip(b"\0") == b"vfs" and start + size <= FLASH_BYTES:
                return start, Volume(size // BLOCK, PROG, FOLDER_BYTES)
    raise EmulatorError("no image of ESP32_GENERIC for 4 MiB of flash")


def prepare(flash: Path, firmware: Path, put: list[Path]) -> None:
    """Make the flash, or bring a kept one up to date: the firmware, and files to put."""
    program = firmware.read_bytes()
    try:
        start, volume = filesystem(program)
    except EmulatorError as e:
        raise EmulatorError(f"{firmware} is {e}") from e
    files = slice(start, start + volume.size)
    before = kept(flash, FLASH_BYTES, "an ESP32")
    data = bytearray(before or b"\xff" * FLASH_BYTES)
    data[files] = filled(volume, before and bytes(data[files]), put, program, "esp32")
    skip = PROGRAM_AT - FIRMWARE_AT
    if data[PROGRAM_AT : FIRMWARE_AT + len(program)] != program[skip:]:
        data[FIRMWARE_AT : FIRMWARE_AT + len(program)] = program
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
