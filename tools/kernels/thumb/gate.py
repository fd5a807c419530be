"""`gate`: an activation, times another vector."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import (
    at_least,
    bits,
    epilogue,
    far,
    kernel,
    magnitude,
    operand,
    prologue,
    shifts,
    vectors,
)


def entry(k: Kernel) -> None:
    """|x| in r5, its place in the table in r4 -> r6, between two entries, rounded by the carry."""
    k("""
        lsls r4, r4, #1; add r4, table
        ldrh r6, [r4, #0]; ldrh r4, [r4, #2]; subs r4, r4, r6
        ands r5, r2; muls r4, r5; asrs r4, r1; adcs r6, r4
    """)


def vector(k: Kernel) -> None:
    """The activation in place: max(x, 0) less a table of |x|.

    r0 x, r1 and r2 shift and mask of the fraction between two entries, r7 shift of an entry.
    """
    k.registers(one="r9", half="r10", table="r11", end="r12")
    k("""
    vector:
        ldr r6, REC
        ldr r2, BASE; ldr r3, [r6, .table]; adds r2, r2, r3; mov table, r2
        ldr r3, [r6, .bits]
        movs r7, #17; subs r7, r7, r3
        movs r4, #1; lsls r4, r7; lsrs r4, r4, #1; mov half, r4
        movs r4, #1; lsls r4, r3; mov one, r4
        subs r1, r3, #5
        movs r2, #1; lsls r2, r1; subs r2, #1
        ldr r0, G
        ldr r3, N; adds r3, r3, r0; mov end, r3
        ldr r3, [r6, .table]
        cmp r3, #0; beq relu
        ldr r3, [r6, .odd]
        cmp r3, #0; beq activate
    """)


def odd(k: Kernel) -> None:
    """The entries have two fraction bits less, so they are taken four times."""
    k("""
    odd:
        ldr r5, [r0, #0]
        asrs r3, r5, #31
        movs r6, #0
        eors r5, r3; subs r5, r5, r3    @ |x|
        beq signed
        mov r4, r5; lsrs r4, r1
        lsrs r6, r4, #9; beq near
        movs r6, #0
        b beyond
    near:
    """)
    entry(k)
    k("""
        lsls r6, r6, #2; add r6, half; lsrs r6, r7
        negs r6, r6
    beyond:
        add r6, one
        eors r6, r3; subs r6, r6, r3
    signed:
        stmia r0!, {r6}
        cmp r0, end; bne odd
        b next
    """)


def activate(k: Kernel) -> None:
    k("""
    relu:
        ldr r3, [r0, #0]; asrs r4, r3, #31; bics r3, r4
        stmia r0!, {r3}
        cmp r0, end; bne relu
        b active
    activate:
        ldr r3, [r0, #0]; asrs r4, r3, #31
        mov r5, r3; eors r5, r4; subs r5, r5, r4    @ |x|
        bics r3, r4                                 @ max(x, 0)
        mov r4, r5; lsrs r4, r1
        lsrs r6, r4, #9
        bne linear          @ past the table: nothing to take off
    """)
    entry(k)
    k("""
        add r6, half; lsrs r6, r7
        subs r3, r3, r6
    linear:
        stmia r0!, {r3}
        cmp r0, end; bne activate
    """)


def multiply(k: Kernel) -> None:
    """Both to 15 bits, multiplied; then the next vector."""
    k.registers(ghalf="r8", uhalf="r9", end="r12")
    k("""
    active:
        ldr r0, REC
        ldr r3, [r0, .u]
        cmp r3, #0; beq next
        ldr r0, G
        mov r1, end
        bl excess
        mov r7, r4
        bl shifts
        mov ghalf, r6
        ldr r0, U
        ldr r1, N; adds r1, r1, r0
        bl excess
        ldr r0, DYN; adds r5, r7, r4; str r5, [r0, #0]
        bl shifts
        mov uhalf, r6
        ldr r0, G
        ldr r1, U
    multiply:
        ldr r2, [r0, #0]; ldmia r1!, {r3}
        add r2, ghalf; asrs r2, r7
        add r3, uhalf; asrs r3, r4
        muls r2, r3
        stmia r0!, {r2}
        cmp r0, end; bne multiply
    next:
        ldr r2, STRIDE
        ldr r0, G; adds r0, r0, r2; str r0, G
        ldr r0, U; adds r0, r0, r2; str r0, U
        ldr r0, DYN; adds r0, r0, r2; str r0, DYN
        ldr r0, T; subs r0, #1; str r0, T
    """)
    far(k, "bne", "vector")


def gate() -> Kernel:
    """An activation, times another vector."""
    k = kernel("gate", "an activation, by a table, times another vector")
    prologue(k, "BASE REC T STRIDE G U DYN N")
    vectors(k)
    operand(k, "g", "G")
    operand(k, "u", "U")
    operand(k, "dyn", "DYN")
    k("""
        ldr r3, [r0, .n]; lsls r3, r3, #2; str r3, N
        b vector
    excess:     @ the words from r0 to r1 -> r4, the bits that the largest magnitude has above 15
        movs r3, #0             @ has as many bits as that
    collect:
        ldmia r0!, {r2}
    """)
    magnitude(k, "r2", "r4")
    k("""
        orrs r3, r2
        cmp r0, r1; bne collect
    """)
    bits(k)
    k("subs r4, #15")
    at_least(k, "r4", 0, compared=True)
    k("bx lr")
    shifts(k)
    for part in vector, odd, activate, multiply:
        part(k)
    epilogue(k)
    return k
