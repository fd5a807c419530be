"""What is free on a board, piece by piece: its own answer, in the raw REPL."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from .errors import ScriptError
from .repl import Repl

LIMIT = 120.0  # seconds for a board to look through its heap

# Takes the largest piece that there is, again and again, to about 64 bytes and down to 2 KB. Then
# the filesystem: free bytes, what the runtime has, what models of so many bytes have.
SCRIPT = """
def picoformer_room(size):
    import gc, os
    gc.collect()
    free = left = gc.mem_free()
    total = free + gc.mem_alloc()
    grows = False
    held = []
    sizes = []
    high = free
    while left > 2048 and len(sizes) < 24:
        low = 0
        high = min(high, left)
        while high - low > 64:
            middle = (low + high) // 2
            try:
                bytearray(middle)
                low = middle
            except MemoryError:
                high = middle
            gc.collect()
        while low > 2047:
            try:
                held.append(bytearray(low))
                break
            except MemoryError:  # as an area that was given back comes smaller
                low -= low >> 6
                gc.collect()
        if low < 2048:
            break
        if not grows and gc.mem_free() + gc.mem_alloc() != total:
            grows = True
            left += 1 << 17  # blocks that mem_free() has not counted
        sizes.append(low)
        high = low + 64
        left -= low
    held = None
    gc.collect()
    s = os.statvfs("/")
    flash = s[1] * s[3]
    mine = 0
    for folder in "/lib/picoformer", "/":
        try:
            for name in os.listdir(folder):
                n = os.stat(folder + "/" + name)[6]
                if folder != "/" or name.endswith(".pft") and n == size:
                    mine += -(-n // s[0]) * s[0]
        except OSError:
            pass
    print((free, sizes, flash, mine, grows))
picoformer_room(%d)
del picoformer_room
"""


FREE = "import gc\ngc.collect()\nprint(gc.mem_free())"


@dataclass(frozen=True)
class Room:
    """Bytes that are free on a board that has run its boot.py and nothing else.

    heap: in all; pieces: those of at least 2 KB, largest first; flash: of the filesystem, with
    what the runtime and the model that was asked about have of it already.
    """

    heap: int
    pieces: tuple[int, ...]
    flash: int
    grows: bool = False


def ask(repl: Repl, size: int = 0) -> Room:
    """Ask a board that was just reset; size: bytes of a model that may be there."""
    try:
        free, sizes, flash, mine, grows = ast.literal_eval(repl.run(SCRIPT % size, LIMIT).strip())
    except ScriptError as e:
        if "MemoryError" not in str(e):
            raise
        return Room(int(repl.run(FREE).strip()), (), 0)  # not even for this is there room
    return Room(free, tuple(sizes), flash + mine, grows)
