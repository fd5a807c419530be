"""The cache of the RP2040's flash: what passes through it, what misses.

The emulator runs flash as fast as RAM. Here every instruction fetch and load passes through a
model of the chip's XIP cache besides: 16 KB, two ways of 1024 lines of 8 bytes, each half of a
line filled by itself, as Raspberry Pi says (github.com/raspberrypi/pico-sdk/issues/1182). That the
least recently used of the two ways is given up is our assumption. The processor's prefetch behind
a branch is not modelled, nor is anything that another bus master reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from picoformer.boards.emulated.rp2040 import FLASH_BASE, FS_OFFSET
from tools.emulation.rp2040 import RP2040

SETS = 1024
READS = "read_uint8", "read_uint16", "read_uint32"  # of a chip, by which its core reads


class Cache:
    """Two ways of lines with a valid bit for each half; counts reads and misses by region."""

    def __init__(self) -> None:
        self._sets: list[list[list[int]]] = [[[-1, 0], [-1, 0]] for _ in range(SETS)]
        self.clear()

    def clear(self) -> None:
        """Forget the counts, not the content."""
        self.reads = [0, 0]  # firmware, files
        self.misses = [0, 0]

    def read(self, offset: int) -> bool:
        """One read at a byte offset of the flash: whether it misses."""
        files = int(offset >= FS_OFFSET)
        self.reads[files] += 1
        line = offset >> 3
        half = 1 + (offset >> 2 & 1)
        ways = self._sets[line & SETS - 1]
        if ways[0][0] != line:
            ways.reverse()  # the first is the one used last
            if ways[0][0] != line:
                ways[0][0] = line
                ways[0][1] = 0
        if ways[0][1] & half:
            return False
        ways[0][1] |= half
        self.misses[files] += 1
        return True


def watch(board: RP2040, cache: Cache) -> Callable[[int], None]:
    """A mark hook: 1 begins to pass the chip's reads through the cache, 2 clears, 0 ends."""
    chip: Any = board._chip
    plain = {name: getattr(chip, name) for name in ("read_uint8", "read_uint16", "read_uint32")}
    end = FLASH_BASE + (1 << 24)
    depth = 0

    def watched(read: Callable[[int], int]) -> Callable[[int], int]:
        def through(address: int) -> int:
            nonlocal depth
            if FLASH_BASE <= address < end and not depth:
                cache.read(address - FLASH_BASE)
            depth += 1  # one read may be made of others
            try:
                return read(address)
            finally:
                depth -= 1

        return through

    def mark(value: int) -> None:
        if value == 1:
            for name, read in plain.items():
                setattr(chip, name, watched(read))
        elif value == 0:
            for name in plain:
                delattr(chip, name)
        else:
            cache.clear()

    return mark
