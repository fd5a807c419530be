"""How MicroPython lays objects out in its heap: what each takes, in whole blocks.

MicroPython's heap is cut in blocks of four pointers: 16 bytes on a microcontroller, 32 on a
64-bit PC. An object takes whole blocks. An array, a list or a text has a head of one block and,
apart from that, its content; a list's room doubles when it grows, from four pointers on; a tuple
is two words and its pointers; an object's attributes are a table of two pointers each, that grows
in the steps of `_TABLES`. Small numbers, None, names and functions take nothing more. (py/gc.c,
py/objarray.h, py/objlist.c, py/objtuple.h and py/map.c of MicroPython 1.24 to 1.29.)
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

_TABLES = (1, 2, 4, 6, 8, 10, 12, 17, 23, 29, 37, 47, 59, 73, 97, 127, 167, 223, 293)


@dataclass(frozen=True)
class Layout:
    """How a port of MicroPython lays objects out; pointer: bytes of one."""

    pointer: int = 4

    @property
    def block(self) -> int:
        return 4 * self.pointer

    def blocks(self, n: int) -> int:
        """Bytes of the blocks that n bytes take."""
        return -(-n // self.block) * self.block

    def array(self, n: int) -> int:
        """Bytes of an array, a bytearray or a text of n bytes."""
        return self.block + self.blocks(n)

    def listed(self, n: int) -> int:
        """Bytes of a list to which n things were appended one by one."""
        return self.block + self.blocks(self.pointer * max(4, 1 << max(n - 1, 0).bit_length()))

    def of(self, thing: Any, seen: set[int]) -> int:
        """Bytes of a thing and of all that it holds, less what is in `seen`."""
        if thing is None or isinstance(thing, int | type | str) or id(thing) in seen:
            return 0  # a str here is a name of the code; `texts` counts others
        seen.add(id(thing))
        if isinstance(thing, array):
            return self.array(len(bytes(thing)))
        if isinstance(thing, bytearray):
            return self.array(len(thing))
        # What a view or a method is of is there besides; MicroPython does not tell what it is.
        if isinstance(thing, memoryview | type(self.of)):
            return self.block
        if isinstance(thing, list):
            return self.listed(len(thing)) + sum(self.of(v, seen) for v in thing)
        if isinstance(thing, tuple):
            own = self.blocks(self.pointer * (2 + len(thing))) if thing else 0
            return own + sum(self.of(v, seen) for v in thing)
        held = getattr(thing, "__dict__", None)
        if not held or callable(thing):
            return 0  # a function, or what is Python's own
        return self.table(len(held)) + sum(self.of(v, seen) for v in held.values())

    def table(self, n: int) -> int:
        """Bytes of an object with n attributes."""
        room = next(t for t in (*_TABLES, n) if t >= n) if n else 0
        return self.block + self.blocks(2 * self.pointer * room)

    def texts(self, listed: list[str]) -> int:
        """Bytes of a list of texts, as JSON gives it."""
        return self.listed(len(listed)) + sum(
            self.array(len(text.encode()) + 1) for text in set(listed)
        )
