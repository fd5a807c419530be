"""`attend`: a head's query becomes a vector of 12 bits."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import excess, fifteen, largest


def query(k: Kernel) -> None:
    """The next head. Its query: r5 makes it of 15 bits; r3 the largest magnitude, r1 its end."""
    k("""
    head:
        ldr r0, Q
        ldr r1, SIZE
        adds r1, r1, r0
    """)
    excess(k, "magnitude")
    k("""
        ldr r0, REC
        ldr r5, [r0, #40]
        subs r5, r5, r4
        str r5, SE
        ldr r0, Q
    """)
    fifteen(k, "enough")


def rotation(k: Kernel) -> None:
    """r4 cosine, r5 sine, r6 and r7 the two elements, r3 the largest of the results."""
    k("""
        ldr r2, ROPE
        ldr r0, Q
        cmp r2, #0
        bne turns
    straight:
        ldr r2, [r0, #0]
        smmulr r2, r2, r5
        stmia r0!, {r2}
        cmp r0, r1
        bne straight
        b rotated
    turns:
        mov r12, r1
        mov r11, r5
        ldr r1, SIZE
        lsrs r1, r1, #1
        adds r1, r1, r0
        movs r3, #1
        lsls r3, r3, #14
        mov r10, r3
        movs r3, #0
    turn:
        ldmia r2!, {r5}
        ldr r6, [r0, #0]
        ldr r7, [r1, #0]
        sxth r4, r5
        smmulr r6, r6, r11
        asrs r5, r5, #16
        smmulr r7, r7, r11
        mla r8, r6, r4, r10
        mla r9, r6, r5, r10
        mls r8, r7, r5, r8
        mla r9, r7, r4, r9
        asr r8, r8, #15
        asr r9, r9, #15
        str r8, [r0], #4
        str r9, [r1], #4
    """)
    largest(k, "r8")
    largest(k, "r9")
    k("""
        cmp r1, r12
        bne turn
    rotated:
        cmp r3, #0
        it eq
        moveq r3, #1
    """)


def quantized(k: Kernel) -> None:
    """To 12 bits, in place and as half-words behind QP; BIAS, and the scale A with its exponent.

    Lanes of keys have 2048 or 128 too many: BIAS takes that off the scores.
    """
    k("""
        mov r2, #0x40000000
        sub r2, r2, #0x80000    @ 2047 << 19
        udiv r2, r2, r3
        ldr r0, Q
        ldr r1, SIZE
        adds r1, r1, r0
        ldr r7, QP
        mov r5, #0x40000
        movs r6, #0
    round:
        ldr r4, [r0, #0]
        mla r4, r4, r2, r5
        asrs r4, r4, #19
        subs r6, r6, r4
        stmia r0!, {r4}
        strh r4, [r7], #2
        cmp r0, r1
        bne round
        movs r4, #0
        strh r4, [r7], #2
        lsls r6, r6, #11
        str r6, BIAS
        ldr r0, REC
        ldr r4, [r0, #36]
        muls r3, r4
        clz r4, r3
        rsb r4, r4, #32
        ldr r5, SE
        subs r5, r5, r4
        subs r5, #17
        str r5, SE          @ less the 16 bits that a product drops, and the last one, which rounds
        subs r4, #15
        beq scaled
        lsrs r3, r4
        adc r3, r3, #0
    scaled:
        str r3, A
    """)
