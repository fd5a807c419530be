"""Heaps that grow by areas, as an ESP32's: whether what a model takes finds its places there.

Such a heap begins with one area. When that is full, MicroPython takes another one from the largest
free block of the system: as large as all before, or as what did not fit, or the whole block
(gc_try_add_heap in py/gc.c, MicroPython 1.21 and newer). What is one object lies in one area. The
loader therefore places what is not small before the rest (`early` in the board's modelfile.py),
and this is that, with numbers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

STRUCT = 64  # bytes of an area's own, and of its head in the system's heap


def block_for(n: int) -> int:
    """Bytes of a system's block from which n bytes can be had as one object."""
    return n + max(2048, n * 13 // 512)


def usable(block: int) -> int:
    """Bytes that can be had as one object from a system's block."""
    return max(0, min(block - 2048, block * 512 // 525))


def pool(size: int) -> int:
    """Bytes for objects in an area of so many: each block of 16 has three bits of the tables."""
    return max(0, (size - STRUCT) * 128 // 131 & ~15)


@dataclass(frozen=True)
class Areas:
    """first: bytes free in the first area; blocks: of the system's heap, what is free there."""

    first: int
    blocks: tuple[int, ...]

    @classmethod
    def found(cls, free: int, pieces: Sequence[int]) -> Areas:
        """Those of a board that says what is free: with the largest block of the system, as
        gc.mem_free() has it, and what could be had in one piece, largest first.
        """
        largest = block_for(pieces[0]) if pieces else 0
        first = max(0, free - largest)
        rest = list(pieces)
        # One of the pieces lay in the first area; the others are blocks.
        if rest:
            rest.remove(min(rest, key=lambda n: abs(n - first)))
        return cls(first, tuple(block_for(n) for n in rest))

    @property
    def pieces(self) -> tuple[int, ...]:
        """What can be had in one piece, again and again."""
        own = [usable(n) for n in self.blocks]
        return tuple(sorted((n for n in [self.first, *own] if n > 0), reverse=True))

    @property
    def total(self) -> int:
        """Bytes that all objects together may take."""
        return self.first + sum(map(pool, self.blocks))

    def less(self, native: int) -> Areas:
        """The same without `native` bytes of machine code, which lies outside of Python's heap: in
        the largest block but one that has room for it, as an ESP32 has it.
        """
        rest = sorted(self.blocks, reverse=True)
        for i, n in enumerate(rest):
            if i and n >= native:
                rest[i] -= native
                break
        return Areas(self.first, tuple(sorted(rest, reverse=True)))

    def holds(self, before: int, large: Sequence[int], needed: int) -> bool:
        """Whether `needed` bytes have room, of which `before` are there when the blocks `large`
        are placed.
        """
        heap = _Heap([self.first - before], sorted(self.blocks), self.first)
        if self.first < before:
            return False
        heap.area(sum(large) + 32 * len(large))
        if not all(map(heap.take, sorted(large, reverse=True))):
            return False
        left = sum(heap.free) + sum(map(pool, heap.blocks))
        return needed - before - sum(large) <= left


@dataclass
class _Heap:
    """free: bytes in each area; blocks: what the system has; total: bytes of all areas."""

    free: list[int]
    blocks: list[int]
    total: int = field(default=0)

    def take(self, n: int) -> bool:
        """Take n bytes where they fit first; let the heap grow where they do not."""
        for i, free in enumerate(self.free):
            if n <= free:
                self.free[i] -= n
                return True
        if not self.grow(n):
            return False
        self.free[-1] -= n
        return True

    def grow(self, n: int) -> bool:
        if not self.blocks or self.blocks[-1] < block_for(n):
            return False
        block = self.blocks.pop()
        size = min(block, max(block_for(self.total), block_for(n)))
        self.blocks = sorted([*self.blocks, block - size])
        self.free.append(pool(size))
        self.total += pool(size)
        return True

    def area(self, size: int) -> None:
        """An area of `size` bytes, or of as many as can be had, unless they have room already."""
        size = min(size, sum(self.free) + max(self.blocks, default=0))
        while size > 0 and all(size > n for n in self.free) and not self.grow(size):
            size -= (size >> 6) + 1
