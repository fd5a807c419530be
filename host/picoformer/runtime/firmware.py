"""MicroPython's official firmware files: what is in one, and one with files in its filesystem.

A .uf2 file, for boards with an RP2040 or RP2350, is blocks with an address each; the board's boot
ROM writes what it is given as a drive. A .bin file, for the ESP32 family, is the flash from the
boot loader on. Both say themselves where the board's filesystem lies; but a .bin of MicroPython
1.26 or newer only where it begins, as the board makes it of what is left of its flash.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import Error
from .platforms import OLDEST, SOUND, Platform, mpy_of
from .volume import BLOCK, Volume

MOST = 16 << 20  # bytes of flash, on any board
LEAST = 16 << 10  # bytes of a filesystem

# UF2 (github.com/microsoft/uf2): a head, up to 476 bytes, a mark.
_UF2 = struct.Struct("<8I")
_UF2_BLOCK, _UF2_END = 512, struct.pack("<I", 0x0AB16F30)
_UF2_MARKS = 0x0A324655, 0x9E5D5157
_HAS_FAMILY = 0x2000
_PAGE = 256
RP2040, RP2350, RP2350_RISCV = 0xE48BFF56, 0xE48BFF59, 0xE48BFF5A  # families
_CORES = {RP2040: "armv6m", RP2350: "armv7emsp", RP2350_RISCV: "rv32imc"}
_XIP = 0x10000000  # where flash is seen
_RP2_PROG = 256  # ports/rp2/modules/_boot.py mounts it so
# A firmware for rp2 says what is in it in "binary info" (pico-sdk's binary_info/structure.h).
_INFO_BEGIN, _INFO_END = 0x7188EBF2, 0xE71AA390
_BLOCK_DEVICE = 7, int.from_bytes(b"MP", "little")
_DRIVE = b"Board MSC"  # of one that is a drive of the PC, which ports/rp2 mounts as FAT
_FAT = "for a board with a FAT filesystem, for which none is made: use deploy"

# ESP-IDF's: an image's first byte; by its byte 12, which chip it is for, where in flash it begins
# and what native code that runs.
_ESP = 0xE9
_CHIPS = {
    0: (0x1000, "xtensawin"), 2: (0x1000, "xtensawin"), 9: (0, "xtensawin"),
    5: (0, "rv32imc"), 13: (0, "rv32imc"),
}  # fmt: skip
_TABLE, _PROGRAM = 0x8000, 0x10000  # the table of partitions, and what is behind it
_PARTITION = struct.Struct("<2sBBII16sI")
_ESP_PROG = 32  # ports/esp32 mounts it with the sizes that VfsLfs2 has by itself
# With whole blocks for each folder the runtime takes three times as many reads to import.
_ESP_FOLDER = 512


@dataclass(frozen=True)
class Firmware:
    """What a firmware file holds.

    data: the flash from `base` on, up to the filesystem. start: where in flash that begins;
    volume: its form. platform: what MicroPython will say of itself, as far as it is known. family:
    of UF2, or 0; head: a UF2's blocks of other families, which come first.
    """

    data: bytes
    base: int
    start: int
    volume: Volume
    platform: Platform
    family: int = 0
    head: bytes = b""

    @property
    def form(self) -> str:
        """How the name of such a file ends."""
        return ".uf2" if self.family else ".bin"

    def filled(self, image: bytes) -> bytes:
        """The same file with an image of the filesystem behind the firmware."""
        if not self.family:
            return self.data.ljust(self.start - self.base, b"\xff") + image
        own = range(-(-len(self.data) // BLOCK))
        pages = [*_pages(self.data, 0, own), *_pages(image, self.start, self.volume.needed(image))]
        blocks = [self.head]
        for n, (at, page) in enumerate(pages):
            head = *_UF2_MARKS, _HAS_FAMILY, _XIP + at, _PAGE, n, len(pages), self.family
            block = _UF2.pack(*head) + page
            blocks.append(block.ljust(_UF2_BLOCK - 4, b"\0") + _UF2_END)
        return b"".join(blocks)


def _pages(data: bytes, start: int, blocks: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """The pages of blocks of 4,096 bytes of what is written from `start` on.

    Those that are all 0xFF are left out, but for a block's first: the boot ROM erases a block when
    its first page comes. That takes it 50 ms or more, so only blocks that count are here: else a
    PC that waits for a large flash would take the drive for dead.
    """
    empty = b"\xff" * _PAGE
    for block in blocks:
        for at in range(block * BLOCK, min((block + 1) * BLOCK, len(data)), _PAGE):
            page = data[at : at + _PAGE].ljust(_PAGE, b"\xff")
            if page != empty or at % BLOCK == 0:
                yield start + at, page


def read(data: bytes, flash: int = 0) -> Firmware:
    """What a firmware file holds. Raises Error.

    flash: bytes of the board's flash, where MicroPython's file does not say it.
    """
    if data[:1] == bytes([_ESP]) and data[12:13]:
        return _esp(data, flash)
    if _UF2.size <= len(data) and _UF2.unpack_from(data)[:2] == _UF2_MARKS:
        return _rp2(data)
    raise Error("no firmware: expected MicroPython's .uf2 of an RP2 board, or .bin of an ESP32")


def version(data: bytes) -> tuple[int, ...]:
    """MicroPython's version, as the firmware's banner has it."""
    found = re.search(rb"\bv(\d{1,3})\.(\d{1,3})\.(\d{1,3})[^\0]{0,40} on 20\d\d-", data)
    return tuple(map(int, found.groups())) if found else SOUND


def _platform(data: bytes, name: str, core: str) -> Platform:
    found = re.search(rb"[ -:<-~]{1,80} with (RP2|ESP32)[ -~]{0,80}(?=\0)", data)
    machine = found[0].decode().strip() if found else ""
    has = version(data)
    if has < OLDEST:
        raise Error(f"MicroPython {has[0]}.{has[1]}: {OLDEST[0]}.{OLDEST[1]} or newer is needed")
    return Platform(has, mpy_of(core), name, machine)


def _rp2(uf2: bytes) -> Firmware:
    flash = bytearray()
    head = b""
    family = seen = total = 0
    for at in range(0, len(uf2) - _UF2_BLOCK + 1, _UF2_BLOCK):
        block = uf2[at : at + _UF2_BLOCK]
        one, two, _, address, size, _, count, kind = _UF2.unpack_from(block)
        start = address - _XIP
        if (one, two) != _UF2_MARKS or block[-4:] != _UF2_END:
            continue
        if kind not in _CORES or family not in (0, kind):
            head += b"" if family else block
            continue
        if not 0 <= start <= MOST - size or size > 476:
            continue
        family, total = kind, count
        seen += 1
        flash.extend(b"\xff" * (start + size - len(flash)))
        flash[start : start + size] = block[_UF2.size : _UF2.size + size]
    if not family:
        raise Error("a UF2 file for no chip that is known: expected RP2040 or RP2350")
    if seen != total:
        raise Error(f"cut or damaged: {seen} of its {total} blocks are there. Download it again")
    start, size = _filesystem(bytes(flash))
    data = bytes(flash[:start]).rstrip(b"\xff")
    if _DRIVE in data:
        raise Error(_FAT)
    volume = _volume(start, size, _RP2_PROG)
    return Firmware(data, 0, start, volume, _platform(data, "rp2", _CORES[family]), family, head)


def _volume(start: int, size: int, prog: int, metadata: int = 0) -> Volume:
    if start % BLOCK or size % BLOCK or size < LEAST:
        raise Error(f"MicroPython with a filesystem of {size:,} bytes at {start:#x}: damaged")
    return Volume(size // BLOCK, prog, metadata)


def _filesystem(firmware: bytes) -> tuple[int, int]:
    """Where a firmware for rp2 has its filesystem in flash, and its bytes. Raises Error."""
    begin = firmware.find(struct.pack("<I", _INFO_BEGIN))
    if begin >= 0:
        first, last, _, end = struct.unpack_from("<4I", firmware.ljust(begin + 20), begin + 4)
        table = range(first - _XIP, last - _XIP, 4)
        if end == _INFO_END and 0 <= table.start <= table.stop <= len(firmware) - 3:
            for at in table:
                (entry,) = struct.unpack_from("<I", firmware, at)
                here = firmware[entry - _XIP :][:16] if entry >= _XIP else b""
                if len(here) == 16 and struct.unpack_from("<2H", here) == _BLOCK_DEVICE:
                    _, _, address, size = struct.unpack("<4I", here)
                    start = address - _XIP
                    if max(begin, entry - _XIP) < start <= MOST - size:
                        return start, size
    raise Error("no MicroPython that says where its filesystem is")


def _esp(data: bytes, flash: int) -> Firmware:
    if data[12] not in _CHIPS:
        raise Error(f"for chip {data[12]} of the ESP32 family, which is not known")
    base, core = _CHIPS[data[12]]
    _whole(data, 0)
    _whole(data, _PROGRAM - base)
    rows = data[: _PROGRAM - base].ljust(_PROGRAM, b"\xff")
    parts = {}
    for at in range(_TABLE - base, _PROGRAM - base, _PARTITION.size):
        magic, _, _, start, size, label, _ = _PARTITION.unpack_from(rows, at)
        if magic != b"\xaa\x50":
            break
        parts[label.rstrip(b"\0")] = start, size
    if not parts:
        raise Error("for an ESP32, without a table of partitions")
    if b"vfs" not in parts:
        # A board makes it when it starts, of all that is behind the other partitions (main.c).
        if b"ffat" in parts:
            raise Error(_FAT)
        if not flash:
            raise Error(
                "for an ESP32 with flash of any size. Say how many MB yours has, which its "
                "filesystem fills, as --flash 4 (`esptool flash_id` tells)"
            )
        end = max(map(sum, parts.values()))
        if flash - end < LEAST:
            raise Error(f"for a larger flash than --flash says: {end:,} bytes are MicroPython's")
        parts[b"vfs"] = end, flash - end
    start, size = parts[b"vfs"]
    if not _PROGRAM < start <= MOST - size:
        raise Error(f"for an ESP32 with a filesystem at {start:#x}, where none can be")
    volume = _volume(start, size, _ESP_PROG, _ESP_FOLDER)
    own = data[: start - base].rstrip(b"\xff")
    return Firmware(own, base, start, volume, _platform(own, "esp32", core))


def _whole(data: bytes, at: int) -> None:
    """Raise Error for an image that is cut, or whose digest, if it has one, is not its own."""
    head = data[at : at + 24].ljust(24, b"\0")
    end = at + 24
    for _ in range(head[1]):
        (size,) = struct.unpack("<I", data[end + 4 : end + 8].ljust(4, b"\xff"))
        end += 8 + size
    end = (end + 16) & ~15  # a sum is the last byte
    digest = data[end : end + 32 * head[23]]
    if (
        head[0] != _ESP
        or end + len(digest) > len(data)
        or head[23] and hashlib.sha256(data[at:end]).digest() != digest
    ):
        raise Error("cut or damaged. Download it again")
