"""Both cores at `linear`, which packs its vectors in place, but not while the other core reads."""

from __future__ import annotations

from ..arm import Kernel
from ..thumb.cores import both
from .linear import pack, unpack
from .pieces import epilogue, prologue


def packed() -> Kernel:
    """As thumb's `pair`, of a `linear` whose records say that its vectors are packed."""
    k = Kernel("packed", "linear on both cores")
    room = prologue(k, "PAIR ARENA XS COLS REST TOTAL STRIDE")
    k("""
        str r0, PAIR
        str r1, ARENA
        sub r2, r1, #0x20000000
        ldr r0, [r0, #12]
        ldr r3, [r0, #0]
        adds r3, r3, r2
        str r3, XS
        ldr r3, [r0, #12]
        str r3, COLS
        movs r4, #3
        ands r4, r3
        str r4, REST
        ldr r3, [r1, #4]
        str r3, TOTAL
        ldr r3, [r1, #12]
        lsls r3, r3, #2
        str r3, STRIDE
    """)
    pack(k)
    k("""
        ldr r0, PAIR
        ldr r1, ARENA
    """)
    both(k)
    unpack(k)
    epilogue(k, room)
    return k
