"""Steps without Python between them: what device/picoformer/series.py makes of a model's parts."""

from __future__ import annotations

from ..arm import Kernel


def series() -> Kernel:
    """A step that is several; its record: a record and a kernel of each, and twice 0."""
    k = Kernel("series", "steps without Python between them")
    k("""
        mov r4, r0
        mov r5, r1
        b first
    next:
        mov r1, r5
        blx r3
    first:
        ldmia r4!, {r0, r3}
        cmp r3, #0; bne next            @ and r0 is 0, the result
    """)
    return k
