"""`pool` for cores with DSP instructions."""

from __future__ import annotations

from ..arm import Kernel


def pool() -> Kernel:
    """The first frame gets the last one's vector, or the mean of all; or keeps its own.

    The mean: r0 sum, r1 and r2 the next vector and the end, r3 out, r5 stride, r12 the end of out;
    r7 2 ** (r6 + 16) // count, for the least r6 from 1 on that gives 15 bits or more. One more bit
    for 2 and 3 than the definition has keeps sums of 32 bits in range, and changes nothing.
    """
    k = Kernel("pool", "of the vectors of all positions, one")
    k("""
        mov lr, r1
        sub r2, r1, #0x20000000
        ldr r3, [r0, #0]
        adds r3, r3, r2
        ldr r2, [r0, #4]
        add r12, r3, r2, lsl #2
        ldr r2, [r1, #4]
        ldr r5, [r1, #12]
        lsls r5, r5, #2
        ldr r6, [r0, #8]
        cmp r6, #1
        beq done
        bhi mean
        subs r2, #1
        muls r5, r2
        adds r5, r5, r3
        ldr r6, [r1, #0]
        adds r6, r6, r2
        str r6, [r1, #0]    @ its position is the first one's now
    copy:
        ldmia r5!, {r6}
        stmia r3!, {r6}
        cmp r3, r12
        bne copy
        b done
    mean:
        cmp r2, #1
        beq done            @ it is its own mean
        clz r6, r2
        rsb r6, r6, #30     @ two less than its bits
        cmp r6, #1
        it lt
        movlt r6, #1
        mov r7, #0x10000
        lsls r7, r6
        udiv r7, r7, r2
        muls r2, r5
    element:
        movs r0, #0
        mov r1, r3
        adds r2, r2, r3
    sum:
        ldr r4, [r1, #0]
        adds r1, r1, r5
        adds r0, r0, r4
        cmp r1, r2
        bne sum
        subs r2, r2, r3
        uxth r4, r0
        asrs r0, r0, #16
        muls r4, r7
        lsrs r4, r4, #16
        mla r0, r0, r7, r4
        asrs r0, r6
        adc r0, r0, #0
        stmia r3!, {r0}
        cmp r3, r12
        bne element
    done:
        movs r0, #1
        mov r1, lr
        str r0, [r1, #4]
        movs r0, #0
    """)
    return k
