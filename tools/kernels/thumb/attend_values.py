"""Weighted sums of values, for `attend`."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import far, more, rescale, times
from .sums import SUMS, column


def shares(k: Kernel) -> None:
    """The divisor, MUL, and the shifts of the weighted sum.

    OFF is the lanes' bias, 128 or 120 times the sum of weights; values of 4 bits count 16 times.
    """
    k("""
    weighed:
        ldr r1, VEND
        movs r2, #0
        b padded
    pad:
        stmia r0!, {r2}
    padded:
        cmp r0, r1; blo pad
        mov r3, undivided
        bl bits
        mov r1, r3; mov r5, r4; subs r5, #16; lsrs r1, r5
        ldr r6, REC
        ldr r0, [r6, .num]
        ldr r7, [r6, .num_e]; adds r7, r7, r4; mov r2, exponent; subs r7, r7, r2
        bl divide
        str r2, MUL
        mov r3, total
        bl bits
        movs r5, #24; subs r5, r5, r4
        bge room
        movs r5, #0
    room:
        mov r6, r7
    """)
    rescale(
        k,
        "HALF",
        "SHIFT",
        """
        ldr r1, VBITS
        movs r2, #8; subs r2, r2, r1
        lsls r1, r2, #1; subs r1, #128; muls r3, r1; lsls r3, r4; str r3, OFF
        adds r2, r2, r4; str r2, UP
        """,
    )
    k("""
        ldr r3, VJUMP2; str r3, JUMP2
        ldr r3, V; str r3, W
        ldr r3, SIZE; lsrs r3, r3, #2; str r3, LEFT
    """)


def quads(k: Kernel) -> None:
    """Sums of the values of four dimensions: positions are columns.

    Of 4 bits each, 61 cycles for 16 products: r0 half-words, r1 weights, four positions at once.
    """
    k("""
    quad:
        ldr r3, VEND; mov end, r3
        ldr r3, VBITS
        ldr r0, W
        ldr r1, X
        cmp r3, #8; bne nibbles
        ldr r6, VJUMP
        bl sums
        b summed
    nibbles:
        movs r2, #0
    """)
    for s in SUMS:
        k(f"mov {s}, r2")
    k("""
    nibble:
        ldmia r1!, {r4-r7}
    """)
    for i, weight in enumerate(("r4", "r5", "r6", "r7")):
        k(f"ldrh r2, [r0, #{4 * i}]")
        column(k, "r2", weight, "r3", 4, 8, 12)
    k("""
        adds r0, #16
        cmp r1, end; bne nibble
    """)


def results(k: Kernel) -> None:
    """r4 out, r5 multiplier, r2 bits of a value, r3 dimensions left, r6 and r7 shifts.
    """
    k.registers(bias="r12", half="lr")
    k("""
    summed:
        ldr r0, HALF; mov half, r0
        ldr r0, OFF; mov bias, r0
        ldr r2, VBITS
        ldr r3, LEFT
        ldr r4, OUT
        ldr r5, MUL
        ldr r6, UP
        ldr r7, SHIFT
    """)
    for s, above in zip(SUMS, [*SUMS[1:], None], strict=True):
        k(f"mov r0, {s}")
        if above:
            k(f"mov r1, {above}; lsls r1, r2; subs r0, r0, r1")
        k("lsls r0, r6; add r0, r12")
        times(k, "r0", "r5", "r1")
        k("""
            add r0, half; asrs r0, r7
            stmia r4!, {r0}
            subs r3, #1
        """)
        if above:
            k("beq full")
    k("""
    full:
        str r4, OUT
        str r3, LEFT
        ldr r0, W
        movs r1, #8; subs r1, r1, r2; lsrs r1, r1, #1
        eors r0, r1     @ the other halves of these words, or the next ones
        lsls r1, r0, #30
        bne halves
        ldr r1, CONTEXT; adds r0, r0, r1
    halves:
        str r0, W
        cmp r3, #0
    """)
    far(k, "bne", "quad")


def advance(k: Kernel) -> None:
    """On to the next head of the query, and after SHARE of them to the next keys."""
    k("""
        ldr r0, SIZE; ldr r1, Q; adds r1, r1, r0; str r1, Q
        ldr r0, SHARED; subs r0, #1
        bne same
    """)
    for word, by in ("K", "KROW"), ("V", "VROW"), ("SC", "CONTEXT"):
        k(f"ldr r0, {word}; ldr r1, {by}; adds r0, r0, r1; str r0, {word}")
    k("""
        ldr r0, SHARE
    same:
        str r0, SHARED
        ldr r0, H; subs r0, #1; str r0, H
    """)
    far(k, "bne", "head")
    more(k, "POS", "#1")
    k("""
        ldr r0, FRAMED; ldr r1, STRIDE; adds r0, r0, r1; str r0, FRAMED
        ldr r0, T; subs r0, #1; str r0, T
    """)
    far(k, "bne", "position")
