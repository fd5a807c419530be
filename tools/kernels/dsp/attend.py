"""`attend` for cores with DSP instructions."""

from __future__ import annotations

from ..arm import Kernel
from .attend_query import quantized, query, rotation
from .attend_scores import (
    NARROW,
    TURN,
    WIDE,
    dimensions,
    distances,
    divisor,
    products,
    scores,
    softmax,
    sums,
    values,
)  # fmt: skip
from .pieces import epilogue

WORDS = (
    "BASE REC ARENA POS T STRIDE FRAMED CONTEXT VBITS VROW SIZE KROW CACHE VALUES SCALES HEADS "
    "SHARE X KSKIP QP QEND ODD ROPE Q OUT K V SC SHARED H SEND VEND VSKIP SE A BIAS BEST "
    "EXPONENT MUL OFF UP HALF SHIFT W LEFT SAVED"
)


def skip(k: Kernel, code: int) -> None:
    """r3 pairs -> r4, the bytes of unrolled code to skip; a pair has `code`. Changes r3."""
    k(f"""
        negs r3, r3
        movs r4, #{TURN - 1}
        ands r4, r3
        movs r3, #{code}
        muls r4, r3
    """)


def begin(k: Kernel) -> None:
    """The record, in r0, and the arena, in r1. The query's half-words lie above the words."""
    room = k.stack(WORDS)
    assert room % 8 == 0
    k(f"""
        push {{r8-r11}}
        mov r4, sp
        ldr r3, [r0, #20]
        adds r5, r3, #4     @ and one behind them
        movs r6, #3
        bics r5, r6
        sub r5, r4, r5, lsl #1
        mov r7, r5
        sub r5, r5, #{room}
        mov sp, r5
        str r4, SAVED
        str r7, QP
        adds r5, r3, #1
        lsrs r5, r5, #1
        add r7, r7, r5, lsl #2
        str r7, QEND
        movs r6, #1
        ands r6, r3
        lsls r6, r6, #2
        str r6, ODD         @ bytes of a word that the last pair reads in vain
        sub r2, r1, #0x20000000
        str r2, BASE
        str r0, REC
        str r1, ARENA
        ldr r4, [r1, #0]
        str r4, POS
        ldr r4, [r1, #4]
        str r4, T
        ldr r4, [r1, #12]
        lsls r4, r4, #2
        str r4, STRIDE
        movs r4, #0
        str r4, FRAMED
        ldr r4, [r1, #8]
        lsls r4, r4, #2
        str r4, CONTEXT     @ bytes, as all sizes from here on
        ldr r5, [r0, #72]
        str r5, VBITS
        muls r5, r3
        adds r5, #31
        lsrs r5, r5, #5
        muls r5, r4
        str r5, VROW        @ values of a head
        lsls r6, r3, #2
        str r6, SIZE
        ldr r6, [r0, #68]
        lsrs r6, r6, #2
        subs r6, #1
        lsls r4, r6         @ bits of the lanes of all positions: of 16 or 8 each
        adds r4, #31
        lsrs r4, r4, #5
        lsls r4, r4, #2
        muls r4, r3
        str r4, KROW        @ keys of a head
    """)


def places(k: Kernel) -> None:
    """Where the cache's parts and the scores are; heads; what the query's size makes of loops."""
    k("""
        ldr r3, [r0, #16]
        muls r4, r3
        muls r5, r3
        ldr r6, [r0, #8]
        adds r6, r6, r2
        str r6, CACHE
        adds r6, r6, r4
        str r6, VALUES
        adds r6, r6, r5
        str r6, SCALES
        ldr r4, [r0, #12]
        str r4, HEADS
        udiv r4, r4, r3
        str r4, SHARE       @ heads of the query to a head of the keys
        ldr r3, [r0, #32]
        adds r3, r3, r2
        str r3, X
        ldr r3, [r0, #20]
        adds r3, #1
        lsrs r3, r3, #1
        ldr r5, [r0, #68]
        cmp r5, #8
        beq bytes
    """)
    skip(k, WIDE)
    k("""
        b skips
    bytes:
    """)
    skip(k, NARROW)
    k("""
    skips:
        str r4, KSKIP
    """)


def position(k: Kernel) -> None:
    """The next position: how many it sees, its rotation, its frame."""
    k("""
    position:
        ldr r3, POS
        adds r3, #1
        ldr r0, REC
        ldr r4, [r0, #56]
        cmp r4, #0
        beq causal
        ldr r2, ARENA
        add r4, r2, r4, lsl #2
        ldr r3, [r4, #12]
    causal:
        ldr r5, X
        add r4, r5, r3, lsl #2
        str r4, SEND
        adds r3, #1
        lsrs r3, r3, #1
        add r4, r5, r3, lsl #2
        str r4, VEND        @ of weights, two a word
    """)
    skip(k, NARROW)
    k("""
        str r4, VSKIP
        ldr r2, BASE
        ldr r3, [r0, #24]
        cmp r3, #0
        beq still
        adds r3, r3, r2
        ldr r4, SIZE
        lsrs r4, r4, #1
        ldr r5, POS
        muls r4, r5
        adds r3, r3, r4
    still:
        str r3, ROPE
        ldr r4, FRAMED
        adds r2, r2, r4
        ldr r3, [r0, #0]
        adds r3, r3, r2
        str r3, Q
        ldr r3, [r0, #4]
        adds r3, r3, r2
        str r3, OUT
        ldr r3, CACHE
        str r3, K
        ldr r3, VALUES
        str r3, V
        ldr r3, SCALES
        str r3, SC
        ldr r3, SHARE
        str r3, SHARED
        ldr r3, HEADS
        str r3, H
        b.w head
    """)


def advance(k: Kernel) -> None:
    """On to the next head of the query, and after SHARE of them to the next keys."""
    k("""
        ldr r0, SIZE
        ldr r1, Q
        adds r1, r1, r0
        str r1, Q
        ldr r0, SHARED
        subs r0, #1
        bne same
        ldr r0, K
        ldr r1, KROW
        adds r0, r0, r1
        str r0, K
        ldr r0, V
        ldr r1, VROW
        adds r0, r0, r1
        str r0, V
        ldr r0, SC
        ldr r1, CONTEXT
        adds r0, r0, r1
        str r0, SC
        ldr r0, SHARE
    same:
        str r0, SHARED
        ldr r0, H
        subs r0, #1
        str r0, H
        bne.w head
        ldr r0, POS
        adds r0, #1
        str r0, POS
        ldr r0, FRAMED
        ldr r1, STRIDE
        adds r0, r0, r1
        str r0, FRAMED
        ldr r0, T
        subs r0, #1
        str r0, T
        bne.w position
        ldr r3, SAVED
        mov sp, r3
    """)


def attend() -> Kernel:
    """K, V and SC are the keys, values and scales of this head, Q and OUT its query and result.

    Products are made by pairs or fours, so up to three scores behind the last one are written.
    """
    k = Kernel("attend", "for every head the scores, softmax, the sum of the values")
    for part in (
        begin, places, position, sums, query, rotation, quantized, products, scores, distances,
        softmax, divisor, values, dimensions, advance,
    ):  # fmt: skip
        part(k)
    epilogue(k)
    return k
