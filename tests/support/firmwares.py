"""Files like MicroPython's firmware, of a few words."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from picoformer.runtime.firmware import RP2350

VFS = 0x200000  # where their filesystems begin in flash
XIP = 0x10000000
MARKS = 0x0A324655, 0x9E5D5157
ABSOLUTE = 0xE48BFF57  # the family of the block that RP2350-E10 asks for


def partition(label: bytes, start: int, size: int) -> bytes:
    return struct.pack("<2sBBII16sI", b"\xaa\x50", 1, 2, start, size, label, 0)


def image(chip: int, segment: bytes, digest: bool = False) -> bytes:
    """One of ESP-IDF's, with a segment that ends 4 bytes in front of a multiple of 16."""
    head = bytes([0xE9, 1]) + bytes(10) + bytes([chip]) + bytes(10) + bytes([digest])
    out = head + struct.pack("<2I", 0, len(segment)) + segment
    out += bytes(16 - len(out) % 16)
    return out + (hashlib.sha256(out).digest() if digest else b"")


def esp(
    path: Path, words: bytes = b"v1.24.0", chip: int = 0, vfs: int = 2 << 20, label: bytes = b"vfs"
) -> Path:
    """A file like ESP32_GENERIC; of the chips whose images begin with the flash, without 4 KB.

    label: of the filesystem's partition, which there is none of since 1.26.
    """
    base = 0x1000 if chip in (0, 2) else 0
    data = bytearray(b"\xff" * (0x10200 - base))
    data[0:48] = image(chip, bytes(12))
    table = partition(b"factory", 0x10000, 0x1F0000)
    if label:
        table += partition(label, VFS, vfs)
    data[0x8000 - base : 0x8000 - base + len(table)] = table
    said = b"\0" + words + b" on 2024-10-25\0Generic ESP32 module with ESP32\0"
    data[0x10000 - base :] = image(chip, said.ljust(0x200 - 68, b"\xea"), True)
    path.write_bytes(data)
    return path


def uf2(
    path: Path, family: int = RP2350, kind: int = 7, size: int = 2 << 20, has: bytes = b""
) -> Path:
    """A file like RPI_PICO2, with what says where the filesystem lies."""
    entry, table = 0x200, 0x240
    said = b"MicroPython v1.26.0 on 2025-08-09; Raspberry Pi Pico2 with RP2350\0"
    data = bytearray((said + has).ljust(0x300, b"\xee"))
    data += b"\xff" * 0x1500 + b"\xee" * 0x100  # a block of nothing is within
    ends = [XIP + table, XIP + table + 8]
    struct.pack_into("<5I", data, 0x100, 0x7188EBF2, *ends, 0, 0xE71AA390)
    struct.pack_into("<2H3I", data, entry, kind, 0x504D, XIP, XIP + VFS, size)
    struct.pack_into("<2I", data, table, XIP + 0x280, XIP + entry)
    pages = [bytes(data[i : i + 256]) for i in range(0, len(data), 256)]
    blocks = [(0x10FFFF00, ABSOLUTE, bytes(256), 0, 2)]
    blocks += [(XIP + 256 * i, family, p, i, len(pages)) for i, p in enumerate(pages)]
    out = b""
    for address, of, part, number, count in blocks:
        words = *MARKS, 0x2000, address, 256, number, count, of
        out += (struct.pack("<8I", *words) + part).ljust(508, b"\0") + b"\x30\x6f\xb1\x0a"
    path.write_bytes(out)
    return path
