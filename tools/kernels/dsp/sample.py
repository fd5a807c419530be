"""`sample` for cores with DSP instructions."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import epilogue, prologue


def greedy(k: Kernel) -> None:
    """The largest, r9, and where it is first; a multiplier of 0 asks for no more."""
    k("""
        sub r2, r1, #0x20000000
        str r2, BASE
        str r0, REC
        ldr r4, [r0, #0]
        adds r4, r4, r2
        str r4, START
        ldr r5, [r0, #4]
        add r12, r4, r5, lsl #2
        mov r3, #0x80000000
        adds r6, r4, #4
        lsls r5, r5, #31
        beq largest
        ldmia r4!, {r3}     @ one of an odd number
        cmp r4, r12
        beq found
    largest:
        ldmia r4!, {r2, r5}
        cmp r2, r3
        bgt first
    two:
        cmp r5, r3
        bgt second
    more:
        cmp r4, r12
        bne largest
        b found
    first:
        mov r3, r2
        subs r6, r4, #4
        b two
    second:
        mov r3, r5
        mov r6, r4
        b more
    found:
        mov r9, r3
        ldr r1, [r0, #12]
        cmp r1, #0
        bne weight
        ldr r4, START
        subs r6, r6, r4
        lsrs r6, r6, #2
        subs r6, #1
        str r6, [r0, #28]
        b.w done
    """)


def weights(k: Kernel) -> None:
    """Powers of two: r0 logits, r1 multiplier, r5 table, r6 and r7 shifts, r8 sum, r9 largest."""
    k("""
    weight:
        ldr r7, [r0, #16]
        rsb r6, r7, #17
        cmp r6, #0
        it lt
        movlt r6, #0
        cmp r6, #6
        it gt
        movgt r6, #6
        adds r7, r7, r6
        subs r7, #16
        cmp r7, #1
        it lt
        movlt r7, #1
        cmp r7, #31
        it gt
        movgt r7, #31
        ldr r5, [r0, #8]
        ldr r3, BASE
        adds r5, r5, r3
        movs r3, #0
        mov r8, r3
        mov r10, #0x1000000
        mov r11, #0x4000
        ldr r0, START
    weigh:
        ldr r3, [r0, #0]
        movs r4, #0
        sub r2, r9, r3
        cmp r2, r10
        it hi
        movhi r2, r10
        lsls r2, r6
        smulwb r2, r2, r1
        lsrs r2, r7
        adc r2, r2, #0      @ the last bit shifted out rounds
        cmp r2, r11
        bhs nothing
        ubfx r3, r2, #5, #5
        and r4, r2, #31
        orr r4, r4, #32
        ldr r3, [r5, r3, lsl #2]
        ldr r4, [r5, r4, lsl #2]
        lsrs r2, r2, #10
        mla r4, r4, r3, r11
        lsrs r4, r4, #15
        lsrs r4, r2
        add r8, r4
    nothing:
        stmia r0!, {r4}
        cmp r0, r12
        bne weigh
    """)


def top(k: Kernel) -> None:
    """The least weight that belongs to top-p, by halving: r2, with the sum of those that reach it.

    r8 low, r9 high, r10 what to reach.
    """
    k("""
        mov r3, r8
        movs r2, #1
        ldr r0, REC
        ldr r1, [r0, #20]
        lsrs r4, r1, #15
        bne chosen
        lsrs r4, r3, #15    @ sum times top-p, >> 15, by halves
        muls r4, r1
        lsls r5, r3, #17
        lsrs r5, r5, #17
        muls r5, r1
        lsrs r5, r5, #15
        adds r4, r4, r5
        mov r10, r4
        mov r8, r2
        lsls r3, r2, #15
        adds r3, #1
        mov r9, r3
    halve:
        mov r3, r9
        mov r2, r8
        subs r4, r3, r2
        cmp r4, #1
        ble halved
        adds r2, r2, r3
        lsrs r2, r2, #1
        bl sum
        cmp r3, r10
        bge enough
        mov r9, r2
        b halve
    enough:
        mov r8, r2
        b halve
    sum:                    @ r2 a least weight -> r3 the sum; changes r0, r1, r4 to r7
        movs r3, #0
        ldr r0, START
        sub r1, r12, r0
        lsls r1, r1, #28
        lsrs r1, r1, #28
        beq fours           @ bytes that four at a time leave over
        adds r1, r1, r0
    ones:
        ldmia r0!, {r4}
        cmp r4, r2
        it ge
        addge r3, r4
        cmp r0, r1
        bne ones
        cmp r0, r12
        beq summed
    fours:
        ldmia r0!, {r4-r7}
    """)
    for r in "r4", "r5", "r6", "r7":
        k(f"""
            cmp {r}, r2
            it ge
            addge r3, {r}
        """)
    k("""
        cmp r0, r12
        bne fours
    summed:
        bx lr
    halved:
        bl sum
    """)


def draw(k: Kernel) -> None:
    """r2 least weight, r3 the sum: a random number (xorshift32) times the sum, by halves."""
    k("""
    chosen:
        ldr r0, REC
        ldr r4, [r0, #24]
        lsls r5, r4, #13
        eors r4, r5
        lsrs r5, r4, #17
        eors r4, r5
        lsls r5, r4, #5
        eors r4, r5
        str r4, [r0, #24]
        lsrs r4, r4, #2
        lsrs r5, r3, #15
        lsls r6, r3, #17
        lsrs r6, r6, #17
        lsrs r7, r4, #15
        lsls r4, r4, #17
        lsrs r4, r4, #17
        mul r1, r5, r7
        muls r5, r4
        muls r4, r6
        lsrs r4, r4, #15
        adds r5, r5, r4
        mla r5, r6, r7, r5
        lsrs r5, r5, #15
        adds r1, r1, r5
        ldr r3, START
        mov r4, r3
    pick:
        ldmia r4!, {r5}
        cmp r5, r2
        blt unlikely
        subs r1, r1, r5
        bmi picked
    unlikely:
        cmp r4, r12
        bne pick
        b done
    picked:
        subs r4, r4, r3
        lsrs r4, r4, #2
        subs r4, #1
        str r4, [r0, #28]
    done:
    """)


def sample() -> Kernel:
    k = Kernel("sample", "the likeliest token, or a random one of the most likely")
    room = prologue(k, "BASE REC START")
    for part in greedy, weights, top, draw:
        part(k)
    epilogue(k, room)
    return k
