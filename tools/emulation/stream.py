"""What rp2040py lacks of the RP2040's XIP stream, and what waits for flash cost on its core.

    with RP2040(files) as board:
        flash = Flash(board, waits=True)

One serial bus reads the flash, a word at a time, in CYCLES_A_WORD. The stream (RP2040 datasheet,
2.6.3.3) uses it when the processor does not: it fetches STREAM_CTR words from STREAM_ADDR on into
a FIFO of two, by whose DREQ a channel of the DMA takes them. With `waits`, the processor's fetches
and loads pass through the cache (tools/emulation/xip.py), and stand still where a word is not in
it: until the word that is on its way for the stream has come, and their own.

Assumed, as nothing says so: that a word of the stream takes as long as a miss; that a word on its
way is not broken off for a miss; that the bus is handed over at once. The DMA takes a word in no
time, and its writes to RAM never meet the processor's. Nothing of this was compared with silicon.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from picoformer.boards.emulated.rp2040 import FLASH_BASE
from tools.emulation.rp2040 import RP2040
from tools.emulation.xip import READS, Cache

CYCLES_A_WORD = 45
FIFO = 2
DREQ = 37
XIP_CTRL, XIP_AUX, DMA, SSI = 0x14000, 0x50400, 0x50000, 0x18000  # keys of peripherals
STAT, STREAM_ADDR, STREAM_CTR, STREAM_FIFO = 0x08, 0x14, 0x18, 0x1C
FLUSH_READY, FIFO_EMPTY, FIFO_FULL = 1, 2, 4
AHB_ERROR, ITS_KINDS = 1 << 31, 3 << 29  # of a channel


class Flash:
    """The bus to the flash of a board, and what goes over it.

    streamed: words of the stream so far; misses, waited: of the processor, and its cycles.
    clashes: how often somebody wrote to the flash chip while it was being streamed, which a real
    one would not survive.
    """

    def __init__(self, board: RP2040, waits: bool, cycles: int = CYCLES_A_WORD) -> None:
        self._board = board
        self._chip: Any = board._chip
        self._content = self._chip.flash
        self._cycles = cycles
        self._free = 0  # when the bus is
        self.addr = self.ctr = 0
        self.fifo: deque[int] = deque()
        self.streamed = self.misses = self.waited = self.clashes = 0
        peripherals = self._chip.peripherals
        parts = (XIP_CTRL, _Control), (XIP_AUX, _Port), (DMA, _Channels), (SSI, _Chip)
        for key, made in parts:
            peripherals[key] = made(self, peripherals.get(key))
        self.cache = Cache()
        if waits:
            self.watch()

    def now(self) -> int:
        return self._board.cycles

    @property
    def active(self) -> list[Any]:
        """The channels that wait for words of the stream."""
        return [c for c in self._chip.dma.channels if c.treq == DREQ and c.active]

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight."""
        self.advance(self.now())
        return not (self.ctr or self.fifo or self.active)

    def advance(self, at: int) -> None:
        """Bring what the stream has brought up to a cycle."""
        full = len(self.fifo) == FIFO
        if self.fifo:
            self._deliver()
        if full and len(self.fifo) < FIFO:
            self._free = max(self._free, at)  # it stood still until now
        while self.ctr and len(self.fifo) < FIFO and self._free + self._cycles <= at:
            self._word()

    def _word(self) -> None:
        self._free += self._cycles
        offset = self.addr & 0xFFFFFF
        self.fifo.append(int.from_bytes(self._content[offset : offset + 4], "little"))
        self.addr += 4
        self.ctr -= 1
        self.streamed += 1
        self._deliver()

    def _deliver(self) -> None:
        for channel in self.active:
            while self.fifo and channel.active:
                before = len(self.fifo)
                channel.transfer()
                if len(self.fifo) == before:
                    break

    def begin(self, words: int) -> None:
        """STREAM_CTR is written to."""
        self.ctr = words
        self._free = max(self._free, self.now())

    def pop(self) -> int:
        return self.fifo.popleft() if self.fifo else 0

    def taken(self) -> int:
        """What the processor reads of the FIFO."""
        if len(self.fifo) == FIFO:
            self._free = max(self._free, self.now())
        return self.pop()

    def _miss(self) -> None:
        now = self.now()
        self.advance(now)
        if self.ctr and len(self.fifo) < FIFO and self._free < now:
            self._word()  # which is on its way
        self._free = max(self._free, now) + self._cycles
        self.misses += 1
        self.waited += self._free - now
        self._chip.core.cycles += self._free - now

    def watch(self) -> None:
        """From now on the core's reads of flash pass through the cache, and wait."""
        chip, cache = self._chip, self.cache
        end = FLASH_BASE + len(chip.flash)

        def through(plain: Any) -> Any:
            def read(address: int) -> int:
                if FLASH_BASE <= address < end and cache.read(address - FLASH_BASE):
                    self._miss()
                value: int = plain(address)
                return value

            return read

        for name in READS:
            setattr(chip, name, through(getattr(chip, name)))


class _Part:
    """A peripheral that stands in front of the emulator's own one, if there is one."""

    def __init__(self, flash: Flash, plain: Any) -> None:
        self.flash = flash
        self.plain = plain

    def read_uint32(self, offset: int) -> int:
        value: int = self.plain.read_uint32(offset)
        return value

    def write_uint32(self, offset: int, value: int) -> None:
        self.plain.write_uint32(offset, value)

    def write_uint32_atomic(self, offset: int, value: int, atomic_type: int) -> None:
        """As a core writes: type 0 is a plain write."""
        if atomic_type:
            self.plain.write_uint32_atomic(offset, value, atomic_type)
        else:
            self.write_uint32(offset, value)

    def reset(self) -> None:
        if self.plain is not None:
            self.plain.reset()


class _Control(_Part):
    """XIP_CTRL."""

    def read_uint32(self, offset: int) -> int:
        flash = self.flash
        flash.advance(flash.now())
        if offset == STAT:
            n = len(flash.fifo)
            return FLUSH_READY | (not n) * FIFO_EMPTY | (n == FIFO) * FIFO_FULL
        if offset == STREAM_ADDR:
            return flash.addr
        if offset == STREAM_CTR:
            return flash.ctr
        if offset == STREAM_FIFO:
            return flash.taken()
        return super().read_uint32(offset)

    def write_uint32(self, offset: int, value: int) -> None:
        flash = self.flash
        flash.advance(flash.now())
        if offset == STREAM_ADDR:
            flash.addr = value & 0xFFFFFFFC
        elif offset == STREAM_CTR:
            flash.begin(value & 0x3FFFFF)
        else:
            super().write_uint32(offset, value)


class _Port(_Part):
    """XIP_AUX, by which the DMA takes from the FIFO."""

    def read_uint32(self, offset: int) -> int:
        return self.flash.pop()

    def write_uint32(self, offset: int, value: int) -> None:
        pass


class _Channels(_Part):
    """The DMA's registers: what is read of them is as of now."""

    def read_uint32(self, offset: int) -> int:
        self.flash.advance(self.flash.now())
        return super().read_uint32(offset)

    def write_uint32_atomic(self, offset: int, value: int, atomic_type: int) -> None:
        self.flash.advance(self.flash.now())
        self.plain.write_uint32_atomic(offset, value, atomic_type)
        for channel in self.plain.channels:
            if not channel._ctrl & ITS_KINDS:
                channel._ctrl &= ~AHB_ERROR


class _Chip(_Part):
    """The serial port by which the flash is written to."""

    def write_uint32_atomic(self, offset: int, value: int, atomic_type: int) -> None:
        self.flash.clashes += not self.flash.idle
        self.plain.write_uint32_atomic(offset, value, atomic_type)
