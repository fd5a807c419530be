"""The process behind an emulated ESP32: `python -m picoformer.boards.emulated.esp32_process`.

`Esp32Board` starts it, and ends it by closing its standard input.
"""

from __future__ import annotations

import argparse
import re
import struct
import sys
from pathlib import Path

from ...compile.modelfile import write
from ...planning.profiles import profile
from ...runtime.files import FOLDER, wanted
from ...runtime.platforms import SOUND, Platform
from ..errors import EmulatorError
from .esp32 import MACHINE, find_qemu
from .filesystem import BLOCK, Volume
from .process import claimed, run
from .program import free_port, serve_program

FLASH_BYTES = 4 << 20
FIRMWARE_AT = 0x1000  # the bootloader, the table of partitions, and the program
TABLE_AT = 0x8000
PROGRAM_AT = 0x10000
PARTITION = struct.Struct("<2sBBII16sI")
MAGIC, CHIP = 0xE9, 0  # how an image of firmware begins, and what its byte 12 says of the chip
PROG = 128  # ports/esp32 leaves VfsLfs2 its own
FOLDER_BYTES = 1024  # with whole blocks, to list the runtime takes five times as many reads


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


def version(firmware: bytes) -> tuple[int, ...]:
    """MicroPython's version, as the firmware's banner has it."""
    found = re.search(rb"\0v(\d+)\.(\d+)\.(\d+)[^\0]* on 20", firmware)
    return tuple(map(int, found.groups())) if found else SOUND


def runtime(firmware: bytes) -> dict[str, bytes]:
    """The runtime for it, as files of the board."""
    board = profile("esp32")
    platform = Platform(version(firmware), board.mpy, "esp32", board.machine)
    files = wanted(platform).files
    return {f"{FOLDER}/{name}": data for name, data in files.items()}


def prepare(flash: Path, firmware: Path, put: list[Path]) -> None:
    """Make the flash, or bring a kept one up to date: the firmware, and files to put."""
    program = firmware.read_bytes()
    try:
        start, volume = filesystem(program)
    except EmulatorError as e:
        raise EmulatorError(f"{firmware} is {e}") from e
    files = {path.name: path.read_bytes() for path in put}
    if flash.exists():
        data = bytearray(flash.read_bytes())
        if len(data) != FLASH_BYTES:
            raise EmulatorError(
                f"{flash} has {len(data)} bytes, expected {FLASH_BYTES}: it is not an ESP32's "
                "flash; remove it or choose another"
            )
        image = bytes(data[start : start + volume.size])
        if files:
            image = volume.put(image, files)
    else:
        data = bytearray(b"\xff" * FLASH_BYTES)
        image = volume.image(runtime(program) | files)
    before = bytes(data)
    data[start : start + volume.size] = image
    skip = PROGRAM_AT - FIRMWARE_AT
    if data[PROGRAM_AT : FIRMWARE_AT + len(program)] != program[skip:]:
        data[FIRMWARE_AT : FIRMWARE_AT + len(program)] = program
    if bytes(data) != before or not flash.exists():
        write(flash, bytes(data))


def serve(o: argparse.Namespace) -> None:
    """Emulate until standard input ends."""
    with claimed(o.flash, "ESP32"):
        prepare(o.flash, o.firmware, o.put)
        port = free_port()
        command = [
            find_qemu(), "-M", MACHINE, "-nographic", "-monitor", "none",
            "-drive", f"file={str(o.flash).replace(',', ',,')},if=mtd,format=raw",
            "-serial", f"tcp:127.0.0.1:{port},server=on,wait=off",
            # Each instruction takes 8 ns of the board's time. Its two cores then share one of this
            # computer's, where one would spin while the other has switched its cache off.
            "-icount", "3",
            # The firmware's watchdogs count this computer's time.
            "-global", "driver=timer.esp32.timg,property=wdt_disable,value=true",
        ]  # fmt: skip
        serve_program(command, port, f"{o.firmware} does not start: is it ESP32_GENERIC?")


if __name__ == "__main__":
    sys.exit(run(serve))
