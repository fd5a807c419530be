"""`pool` and `bias`."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import base, kernel, times


def pool() -> Kernel:
    """r3 and its end the first frame's words, r5 bytes from one frame to the next."""
    k = kernel("pool", "one position's vector is left: the last, the first, or the mean of all")
    k.registers(arena="lr", end="r12")
    k("mov arena, r1")
    base(k)
    k("""
        ldr r3, [r0, .x]; adds r3, r3, r2       @ the first frame's
        ldr r2, [r0, .n]; lsls r2, r2, #2; adds r2, r2, r3; mov end, r2
        ldr r2, [r1, .total]
        ldr r5, [r1, .stride]; lsls r5, r5, #2
        ldr r6, [r0, .how]
        cmp r6, #1; beq done
        bhi mean
        subs r2, #1; muls r5, r2; adds r5, r5, r3
        ldr r6, [r1, .pos]; adds r6, r6, r2; str r6, [r1, .pos]    @ the first one's now
    copy:
        ldmia r5!, {r6}; stmia r3!, {r6}
        cmp r3, end; bne copy
        b done
    """)
    reciprocal(k)
    k("muls r2, r5")
    mean(k)
    k("""
    done:
        movs r0, #1; mov r1, arena; str r0, [r1, .total]
        movs r0, #0
    """)
    return k


def reciprocal(k: Kernel) -> None:
    """r7 2**(r6 + 16) // count, for the least r6 from 1 on that gives 15 bits or more.

    One more bit for 2 and 3 than the definition has keeps sums of 32 bits in range, and changes
    nothing; one vector is its own mean.
    """
    k("""
    mean:
        cmp r2, #1; beq done
        movs r6, #1
        lsls r0, r6, #17
        lsrs r7, r2, #3
    wider:
        beq wide
        lsls r0, r0, #1; adds r6, #1; lsrs r7, r7, #1
        b wider
    wide:
        lsls r4, r2, #16
        movs r1, #1; lsls r1, r1, #16
    divide:
        cmp r0, r4; blo less
        subs r0, r0, r4; adds r7, r7, r1
    less:
        lsrs r4, r4, #1; lsrs r1, r1, #1; bne divide
    """)


def mean(k: Kernel) -> None:
    """r0 sum, r1 and r2 the next vector and the end, r3 out."""
    k("""
    element:
        movs r0, #0
        mov r1, r3
        adds r2, r2, r3
    sum:
        ldr r4, [r1, #0]; adds r0, r0, r4
        adds r1, r1, r5
        cmp r1, r2; bne sum
        subs r2, r2, r3
    """)
    times(k, "r0", "r7", "r4")
    k("""
        movs r4, #0
        asrs r0, r6; adcs r0, r4
        stmia r3!, {r0}
        cmp r3, end; bne element
    """)


def bias() -> Kernel:
    """r0 words, r1 their end in out, r2 -1 to add, else 0, r3 out, r6 the next run.

    r7 end of out; the positions that are left. 11 cycles an element.
    """
    k = kernel("bias", "a vector of words that may lie in several runs")
    k.registers(left="r12", base="lr")
    k.stack("REC ARENA")
    k("push {r0, r1}")
    base(k)
    k("""
        mov base, r2
        ldr r3, [r0, .out]; adds r3, r3, r2
        ldr r4, [r1, .total]; mov left, r4
    vector:
        ldr r0, REC
        ldr r7, [r0, .n]; lsls r7, r7, #2; adds r7, r7, r3
        ldr r6, [r0, .weights]; add r6, base
        ldr r2, [r0, .add]; negs r2, r2
    run:
        ldmia r6!, {r0, r1}; add r0, base; lsls r1, r1, #2
        beq run
        subs r5, r7, r3
        cmp r1, r5; bls fits
        mov r1, r5
    fits:
        adds r1, r1, r3
    element:
        ldmia r0!, {r4}
        ldr r5, [r3, #0]; ands r5, r2; adds r4, r4, r5
        stmia r3!, {r4}
        cmp r3, r1; bne element
        cmp r3, r7; bne run
        ldr r0, REC; ldr r4, [r0, .n]
        ldr r0, ARENA; ldr r5, [r0, .stride]; subs r5, r5, r4; lsls r5, r5, #2; adds r3, r3, r5
        mov r4, left; subs r4, #1; mov left, r4
        bne vector
        add sp, #8
        movs r0, #0
    """)
    return k
