"""`layernorm` for cores with DSP instructions."""

from __future__ import annotations

from ..arm import Kernel
from .norm import begin, root, widened
from .pieces import epilogue, largest, prologue, rounding


def vector(k: Kernel) -> None:
    """The next vector: r8 its largest element, r9 its smallest, r3 the largest magnitude."""
    k("""
    vector:
        ldr r0, REC
        ldr r2, BASE
        ldr r3, AT
        adds r2, r2, r3
        ldr r1, [r0, #8]
        lsls r1, r1, #2
        ldr r3, [r0, #4]
        adds r3, r3, r2
        str r3, Y
        add r12, r3, r1
        ldr r0, [r0, #0]
        adds r0, r0, r2
        str r0, SOURCE
        adds r1, r1, r0
        ldr r3, [r0, #0]
        mov r8, r3
        mov r9, r3
        sub r2, r1, r0
        lsls r2, r2, #29
        bpl ends
        adds r0, #4         @ one of an odd number
        cmp r0, r1
        beq ended
    ends:
        ldmia r0!, {r2, r4}
    """)
    for r in "r2", "r4":
        k(f"""
            cmp {r}, r8
            it gt
            movgt r8, {r}
            cmp {r}, r9
            it lt
            movlt r9, {r}
        """)
    k("""
        cmp r0, r1
        bne ends
    ended:
    """)
    most(k)


def most(k: Kernel) -> None:
    """The larger magnitude of r8 and r9 -> r3, its bits above 15 -> r4. Changes r2."""
    k("""
        movs r3, #0
        mov r2, r8
    """)
    largest(k, "r2")
    k("mov r2, r9")
    largest(k, "r2")
    k("""
        clz r4, r3
        rsb r4, r4, #17
    """)


def mean(k: Kernel) -> None:
    """To 15 bits, and the negative sum, r7; r6 elements.

    r8 and r9 become the largest and the smallest distance from the mean, times n, as that is done
    with all elements later; r3 the largest magnitude of them, r4 its bits above 15.
    """
    k("""
        str r4, SHIFTED
        ldr r0, SOURCE
        ldr r1, Y
        mov r10, r4
        bl widen
        mov r4, r10
        cmp r4, #2
        bge taken
        rsb r4, r4, #16
        mov r2, r8
        lsls r2, r4
        mov r8, r2
        mov r2, r9
        lsls r2, r4
        mov r9, r2
    taken:
        movs r7, #0
        ldmia r0!, {r2}
    sum:                    @ the next one is loaded meanwhile: behind a value there are others
        smmulr r3, r2, r5
        ldmia r0!, {r2}
        subs r7, r7, r3
        stmia r1!, {r3}
        cmp r1, r12
        bne sum
        smmulr r8, r8, r5
        smmulr r9, r9, r5
        ldr r0, REC
        ldr r6, [r0, #8]
        mla r8, r8, r6, r7
        mla r9, r9, r6, r7
    """)
    most(k)
    k("""
        ldr r5, SHIFTED
        adds r5, r5, r4
        ldr r0, REC
        ldr r1, [r0, #36]
        sub r1, r1, r5, lsl #1
        str r1, EPSILON     @ its exponent, seen from the sum of squares
        movs r1, #0
        str r1, E
        rsb r4, r4, #16     @ they have 30 bits at most, and will have 31
        lsls r6, r4
        lsls r7, r4
        mov r5, #0x10000
    """)


def squares(k: Kernel) -> None:
    """Distances from the mean, of 15 bits, and the sum of their squares, r8; r10 their shift."""
    k("""
        ldr r3, [r0, #28]
        mov r10, r3
        ldr r0, Y
        mov r1, r0
        movs r3, #0
        mov r8, r3
        ldmia r0!, {r2}
    square:
        mla r4, r2, r6, r7
        ldmia r0!, {r2}
        smmulr r4, r4, r5
        cmp r0, r12
        mul r9, r4, r4
        stmia r1!, {r4}
        lsr r9, r9, r10
        add r8, r9
        bls square
    """)


def results(k: Kernel) -> None:
    """Times gain and scale over the root, with the bias; then the next vector.

    r0 the vector, r5 gain, r7 bias, r8 a mask for it, r9 the factor; r6 is 1 where that is half of
    what it should be, as it would not fit.
    """
    k("""
        mov r2, r0
        ldr r4, REC
        ldr r3, [r4, #12]
        lsls r3, r3, #15
        udiv r2, r3, r2
        clz r3, r2
        rsb r3, r3, #17     @ bits above 15, never negative
        movs r5, #1
        lsls r5, r3
        lsrs r5, r5, #1
        adds r2, r2, r5
        lsrs r2, r3
        lsrs r6, r2, #15
        lsrs r2, r6
        mov r9, r2
        ldr r5, E
        adds r3, r3, r5
        adds r3, #1
        ldr r0, [r4, #16]
        subs r0, r0, r3
    """)
    rounding(k)
    k("""
        ldr r4, REC
        ldr r5, [r4, #20]
        ldr r7, [r4, #24]
        ldr r2, BASE
        adds r5, r5, r2
        movs r3, #1
        cmp r7, #0
        it eq
        moveq r3, #0
        negs r3, r3
        mov r8, r3
        ands r2, r3
        adds r7, r7, r2
        cmp r7, #0
        it eq
        moveq r7, r5        @ what is read there is not used
        ldr r3, RND
        mov r10, r3
        ldr r3, S
        mov r11, r3
        ldr r0, Y
    element:
        ldr r2, [r0, #0]
        ldr r3, [r5], #4
        ldr r4, [r7], #4
        muls r2, r3
        and r4, r4, r8
        lsls r2, r6
        smlawb r2, r2, r9, r10
        asr r2, r2, r11
        add r2, r4
        stmia r0!, {r2}
        cmp r0, r12
        bne element
        ldr r0, AT
        ldr r1, STRIDE
        adds r0, r0, r1
        str r0, AT
        ldr r0, T
        subs r0, #1
        str r0, T
        bne.w vector
    """)


def layernorm() -> Kernel:
    k = Kernel("layernorm", "the distance from the mean over its root mean square")
    room = prologue(k, "BASE REC T STRIDE AT E Y SOURCE EPSILON SHIFTED RND S")
    begin(k)
    vector(k)
    mean(k)
    squares(k)
    root(k, 32)
    results(k)
    k("b finish")
    widened(k)
    k("finish:")
    epilogue(k, room)
    return k
