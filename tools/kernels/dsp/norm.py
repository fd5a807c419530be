"""`norm` for cores with DSP instructions."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import arguments, epilogue, excess, largest, prologue


def begin(k: Kernel) -> None:
    """The record, in r0, and the arena, in r1, become words on the stack."""
    arguments(k)
    k("""
        movs r3, #0
        str r3, AT
    """)


def shifts(k: Kernel) -> None:
    """r4 bits to drop, negative to add -> r5 and r4, shifts to the left and to the right.

    r6 becomes what to add between them.
    """
    k("""
        movs r5, #0
        movs r6, #1
        lsls r6, r4
        lsrs r6, r6, #1
        cmp r4, #0
        it lt
        rsblt r5, r4, #0
        it lt
        movlt r4, #0
    """)


def vector(k: Kernel) -> None:
    """The next vector: r3 its largest magnitude, r4 its bits above 15; r12 the end of the result.

    The exponent E grows by that of `dyn`.
    """
    k("""
    vector:
        ldr r0, REC
        ldr r2, BASE
        ldr r3, AT
        adds r2, r2, r3
        ldr r5, [r0, #24]
        ldr r3, [r0, #16]
        cmp r3, #0
        beq fixed
        ldr r3, [r2, r3]
        adds r5, r5, r3
    fixed:
        str r5, E
        ldr r1, [r0, #8]
        lsls r1, r1, #2
        ldr r3, [r0, #4]
        adds r3, r3, r2
        adds r3, #16
        str r3, Y
        adds r3, r3, r1
        mov r12, r3
        ldr r0, [r0, #0]
        adds r0, r0, r2
        str r0, SOURCE
        adds r1, r1, r0
    """)
    excess(k, "magnitude")
    k("""
        ldr r0, REC
        ldr r1, [r0, #28]
        str r1, ROOT        @ 0: there is none
        cmp r1, #0
        beq.w last
    """)


def widened(k: Kernel) -> None:
    """`widen`: what vectors are multiplied with, for the upper half of the product, rounded.

    r4 bits to drop -> r5, 2 ** (32 - r4). Where these are too few, the vector, r0, is copied to
    r1, shifted to the left, and so is r3; r0 is the copy then. Changes r4.
    """
    k("""
    widen:
        cmp r4, #2
        bge wide
        rsb r4, r4, #16
        lsls r3, r4
    copy:
        ldmia r0!, {r5}
        lsls r5, r4
        stmia r1!, {r5}
        cmp r1, r12
        bne copy
        ldr r1, Y
        mov r0, r1
        movs r4, #16
    wide:
        rsb r4, r4, #32
        movs r5, #1
        lsls r5, r4
        bx lr
    """)


def gain(k: Kernel) -> None:
    """Times the gain, with the sum of squares.

    r0 x, r1 y, r2 gain, r5 multiplier, r6 shift of a square, r8 sum, r3 largest.
    """
    k("""
        ldr r5, [r0, #40]
        sub r5, r5, r4, lsl #1
        str r5, EPSILON     @ its exponent, seen from the sum of squares
        ldr r2, BASE
        adds r2, r2, r1
        ldr r6, [r0, #32]
        ldr r0, SOURCE
        ldr r1, Y
        str r1, SOURCE      @ of what follows
        bl widen
        movs r3, #0
        mov r8, r3
    square:
        ldmia r0!, {r7}
        ldr r9, [r2], #4
        smmulr r7, r7, r5
        mul r11, r7, r9
        muls r7, r7
        str r11, [r1], #4
        lsrs r7, r6
        add r8, r7
    """)
    largest(k, "r11")
    k("""
        cmp r1, r12
        bne square
    """)


def root(k: Kernel, epsilon: int) -> None:
    """The square root of r8 and epsilon, shifted to 29 or 30 bits, bit by bit: r0.

    epsilon: where it is in the record; EPSILON is its exponent. E grows by what the root is
    shifted, less one. Changes all but r3.
    """
    k(f"""
        ldr r0, REC
        ldr r4, [r0, #{epsilon}]
        ldr r5, EPSILON
        cmp r5, #0
        blt tiny
        cmp r5, #15
        it gt
        movgt r5, #15
        lsls r4, r5
        b added
    tiny:
        negs r5, r5
        cmp r5, #31
        it gt
        movgt r5, #31
        lsrs r4, r5
    added:
        add r4, r8
        clz r5, r4
        subs r5, #2
        asrs r5, r5, #1
        ldr r6, E
        adds r6, r6, r5
        subs r6, #1
        str r6, E
        lsls r5, r5, #1
        bmi huge
        lsls r4, r5
        b roots
    huge:
        lsrs r4, r4, #2
    roots:
        movs r0, #0
        movs r1, #1
        lsls r1, r1, #14
    bit:
        adds r2, r0, r1
        mul r5, r2, r2
        cmp r5, r4
        it ls
        movls r0, r2
        lsrs r1, r1, #1
        bne bit
        cmp r0, #0
        it eq
        moveq r0, #1
    """)


def quantize(k: Kernel) -> None:
    """r3 the largest magnitude, r4 its bits above 15: as many bits as the record says."""
    k("""
        str r0, ROOT
        clz r4, r3
        rsb r4, r4, #17
    last:
        ldr r5, E
        adds r5, r5, r4
        str r5, E
        ldr r0, SOURCE
        ldr r1, Y
        bl widen
        smmulr r3, r3, r5
        ldr r4, REC
        ldr r6, [r4, #12]
        cmp r3, #0
        it eq
        moveq r3, #1
        mov r9, r3
        movs r2, #1
        subs r7, r6, #1
        lsls r2, r7
        subs r2, #1
        rsb r7, r6, #31
        lsls r2, r7
        udiv r2, r2, r3     @ below 2 ** 16: the largest has 15 bits
        adds r6, #1
        lsls r2, r6
        movs r7, #0
        sub r3, r12, r1
        lsls r3, r3, #29
        bpl elements
        ldmia r0!, {r3}     @ one of an odd number
        smmulr r3, r3, r5
        smmulr r7, r3, r2
        stmia r1!, {r7}
        cmp r1, r12
        beq quantized
    elements:
        ldmia r0!, {r3, r4}
        smmulr r3, r3, r5
        smmulr r4, r4, r5
        smmulr r3, r3, r2
        smmulr r4, r4, r2
        adds r7, r7, r3
        stmia r1!, {r3, r4}
        adds r7, r7, r4
        cmp r1, r12
        bne elements
    quantized:
    """)


def scale(k: Kernel) -> None:
    """The scale of the result, over the root if there is one; then the next vector."""
    k("""
        ldr r0, REC
        ldr r0, [r0, #20]
        mov r3, r9
        muls r3, r0
        ldr r1, ROOT
        cmp r1, #0
        beq noroot
        lsls r3, r3, #1
        udiv r3, r3, r1
    noroot:
        clz r4, r3
        rsb r4, r4, #18     @ bits above 14
        ldr r1, E
        add r1, r1, r4
        mov r2, r7
    """)
    shifts(k)
    k("""
        lsls r3, r5
        adds r3, r3, r6
        lsrs r3, r4
        ldr r0, Y
        subs r0, #16
        str r3, [r0, #0]
        str r1, [r0, #4]
        str r2, [r0, #8]
        ldr r0, AT
        ldr r1, STRIDE
        adds r0, r0, r1
        str r0, AT
        ldr r0, T
        subs r0, #1
        str r0, T
        bne.w vector
    """)


def norm() -> Kernel:
    """The largest magnitude; with a gain the products with it and the sum of their squares."""
    k = Kernel("norm", "a vector with a root mean square of one, quantized")
    room = prologue(k, "BASE REC T STRIDE AT E Y SOURCE ROOT EPSILON")
    begin(k)
    vector(k)
    gain(k)
    root(k, 36)
    quantize(k)
    scale(k)
    k("b finish")
    widened(k)
    k("finish:")
    epilogue(k, room)
    return k
