"""`attend`: products with keys, the scores, softmax, the weighted sum of the values."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import pair

TURN = 8  # pairs that are unrolled
WIDE, NARROW = 20, 44  # bytes of code of a pair: of keys of 12 bits; of bytes


def sums(k: Kernel) -> None:
    """r0 words of four bytes, r1 a vector of half-words up to r12, r6 bytes of code to skip.

    r8 to r11 become the sums of lanes 0 to 3, r0 the words that follow. Changes r1 to r5.
    """
    k("""
    sums:
        movs r2, #0
        mov r8, r2
        mov r9, r2
        mov r10, r2
        mov r11, r2
        add pc, r6
        nop
    sumsturn:
    """)
    for _ in range(TURN):
        start = k.at
        k("""
            ldmia r0!, {r2, r3}
            ldmia r1!, {r5}
        """)
        pair(k, "r2", "r3", "r5", "r4")
        assert k.at - start == NARROW
    k("""
        cmp r1, r12
        bne.w sumsturn
        bx lr
    """)


def products(k: Kernel) -> None:
    """The query times the keys, into the scores, as they are; by twos or fours of positions.

    r0 keys, r1 query, r7 scores, r10 where they end.
    """
    k("""
        ldr r12, QEND
        ldr r0, K
        ldr r7, X
        ldr r6, KSKIP
        ldr r2, REC
        ldr r2, [r2, #68]
        cmp r2, #8
        bne pairs
    fours:
        ldr r1, QP
        bl sums
        ldr r1, ODD
        subs r0, r0, r1
        ldr r1, BIAS
        add r2, r1, r8, lsl #4    @ as keys of 12 bits
        add r3, r1, r9, lsl #4
        add r4, r1, r10, lsl #4
        add r5, r1, r11, lsl #4
        stmia r7!, {r2-r5}
        ldr r1, SEND
        cmp r7, r1
        blo fours
        b.w products
    pairs:
        ldr r4, BIAS
        ldr r10, SEND
        ldr r11, ODD
    twos:
        ldr r1, QP
        mov r8, r4
        mov r9, r4
        add pc, r6
        nop
    twosturn:
    """)
    for _ in range(TURN):
        start = k.at
        k("""
            ldmia r0!, {r2, r3}
            ldmia r1!, {r5}
            smlabb r8, r2, r5, r8
            smlatb r9, r2, r5, r9
            smlabt r8, r3, r5, r8
            smlatt r9, r3, r5, r9
        """)
        assert k.at - start == WIDE
    k("""
        cmp r1, r12
        bne twosturn
        sub r0, r0, r11
        stmia r7!, {r8, r9}
        cmp r7, r10
        blo twos
    products:
    """)


def score(k: Kernel) -> None:
    """The next score, with the largest of them; the exponent of a value is on top of its word."""
    k("""
        ldmia r1!, {r3}
        ldr r2, [r0, #0]
        ubfx r5, r3, #0, #11
        ubfx r4, r3, #11, #5
        mla r5, r5, r6, r11
        sub r4, r7, r4
        lsrs r5, r5, #11
        usat r4, #5, r4
        smulwb r2, r2, r5
        adds r4, #1
        cmp r3, r10
        it hi
        movhi r10, r3
        asrs r2, r4
        adc r2, r2, #0
        stmia r0!, {r2}
        cmp r2, r9
        it gt
        movgt r9, r2
    """)


def scores(k: Kernel) -> None:
    """r0 scores, r1 scales of the cache, r6 the query's scale, r7 shift, r9 best, r10 exponent.

    r10 becomes the largest exponent of a value. r11 1024, r12 end.
    """
    k("""
        ldr r0, X
        ldr r1, SC
        ldr r12, SEND
        mov r9, #0x80000000
        mov r10, #0
        mov r11, #1024
        ldr r6, A
        ldr r7, SE
        sub r2, r12, r0
        lsls r2, r2, #29
        bmi second          @ of an odd number
    first:
    """)
    score(k)
    k("second:")
    score(k)
    k("""
        cmp r0, r12
        bne first
        mov r3, r10
        lsrs r3, r3, #27
        mov r8, r3
        ldr r0, REC
        ldr r4, [r0, #60]
        cmp r4, #0
        beq softmax
    """)


def distances(k: Kernel) -> None:
    """What a score grows by, by the distance: r1 scores, r4 what is added.

    The query's own position has the word with which the head's begin.
    """
    k("""
        ldr r2, [r0, #64]
        ldr r3, HEADS
        ldr r5, H
        subs r3, r3, r5
        muls r2, r3
        ldr r3, POS
        subs r2, r2, r3
        add r4, r4, r2, lsl #2
        ldr r2, BASE
        adds r4, r4, r2
        mov r9, #0x80000000
        ldr r1, X
    lean:
        ldmia r4!, {r2}
        ldr r5, [r1, #0]
        adds r2, r2, r5
        stmia r1!, {r2}
        cmp r2, r9
        it gt
        movgt r9, r2
        cmp r1, r12
        bne lean
    """)


def softmax(k: Kernel) -> None:
    """Powers of two of the scores, with the values' scales: weights, as half-words in their place.

    r0 scores, r1 scales, r5 powers of two, r6 their sum, r7 the largest shift, r8 the sum of the
    weights, r9 best, r11 0x4000, r12 end, lr weights.
    """
    k("""
    softmax:
        mov r4, r8
        str r4, EXPONENT
        ldr r5, [r0, #28]
        ldr r2, BASE
        adds r5, r5, r2
        ldr r7, [r0, #52]
        adds r7, #11
        adds r7, r7, r4
        movs r6, #0
        mov r8, r6
        mov r11, #0x4000
        ldr r0, X
        mov lr, r0
        ldr r1, SC
    weigh:
        ldmia r0!, {r2}
        ldmia r1!, {r4}
        sub r2, r9, r2
        cmp r2, #0x4000
        bhs nothing
        and r10, r2, #31
        ubfx r3, r2, #5, #5
        orr r10, r10, #32
        ldr r3, [r5, r3, lsl #2]
        ldr r10, [r5, r10, lsl #2]
        lsrs r2, r2, #10
        mla r3, r3, r10, r11
        ubfx r10, r4, #16, #11
        sub r4, r7, r4, lsr #27
        lsrs r3, r3, #15
        lsrs r3, r2
        adds r6, r6, r3
        mul r3, r3, r10
        lsrs r3, r4
        adc r3, r3, #0
        add r8, r3
    weighed:
        strh r3, [lr], #2
        cmp r0, r12
        bne weigh
        movs r3, #0
        strh r3, [lr], #2    @ for a pair
        b divisor
    nothing:
        movs r3, #0
        b weighed
    """)


def divisor(k: Kernel) -> None:
    """One over the sum of powers, and the shifts of the weighted sums."""
    k("""
    divisor:
        clz r4, r6
        rsb r4, r4, #32
        sub r5, r4, #16
        lsrs r6, r5
        ldr r0, REC
        ldr r1, [r0, #44]
        udiv r1, r1, r6
        str r1, MUL
        ldr r5, [r0, #48]
        adds r5, r5, r4
        ldr r2, EXPONENT
        subs r5, r5, r2     @ the shift of a result
        mov r3, r8
        clz r4, r3
        subs r4, #8         @ the room above a sum: 24 less its bits
        it mi
        movmi r4, #0
        rsb r2, r5, #17
        cmp r2, #0
        it lt
        movlt r2, #0
        cmp r2, r4
        it gt
        movgt r2, r4
        ldr r4, VBITS
        rsb r4, r4, #8
        lsls r1, r4, #1
        subs r1, #128       @ that lanes have too many, 128 or 120
        muls r3, r1
        lsls r3, r2
        str r3, OFF
        adds r4, r4, r2     @ values of 4 bits count 16 times
        str r4, UP
        cmp r5, #17
        it lt
        movlt r5, #17
        cmp r5, #47
        it gt
        movgt r5, #47
        subs r5, #17
        movs r3, #1
        lsls r3, r5
        str r3, HALF
        adds r5, #1
        str r5, SHIFT
        ldr r3, V
        str r3, W
        ldr r3, SIZE
        lsrs r3, r3, #2
        str r3, LEFT
    """)


def values(k: Kernel) -> None:
    """Weighted sums of the values, four dimensions at a time: positions are columns."""
    k("""
    quad:
        ldr r12, VEND
        ldr r0, W
        ldr r1, X
        ldr r3, VBITS
        cmp r3, #8
        bne nibbles
        ldr r6, VSKIP
        bl sums
        b.w summed
    nibbles:                @ of 4 bits each: r0 half-words, one a position
        movs r2, #0
        mov r8, r2
        mov r9, r2
        mov r10, r2
        mov r11, r2
        mov r7, #0x000f000f
    nibble:
        ldrh r2, [r0, #0]
        ldrh r3, [r0, #4]
        ldmia r1!, {r5}
        pkhbt r2, r2, r3, lsl #16
        adds r0, #8
        and r3, r7, r2
        and r4, r7, r2, lsr #4
        smlad r8, r3, r5, r8
        and r3, r7, r2, lsr #8
        smlad r9, r4, r5, r9
        and r4, r7, r2, lsr #12
        smlad r10, r3, r5, r10
        smlad r11, r4, r5, r11
        cmp r1, r12
        bne nibble
    summed:
        ldr r5, MUL
        ldr r6, UP
        ldr r7, SHIFT
        ldr r12, OFF
        ldr lr, HALF
    """)
    sums_ = ("r8", "r9", "r10", "r11")
    for s in sums_:
        k(f"lsl {s}, {s}, r6")
    for i, s in enumerate(sums_):
        k(f"""
            add {s}, r12
            smlawb r{i}, {s}, r5, lr
        """)
    for i in range(4):
        k(f"asr r{i}, r{i}, r7")


def dimensions(k: Kernel) -> None:
    """Four results, or as many as are left, from r0 to r3; then the next values."""
    k("""
        ldr r4, OUT
        ldr r5, LEFT
        subs r5, #4
        blt some
        stmia r4!, {r0-r3}
        b stored
    some:
        adds r5, #4
        stmia r4!, {r0}
        subs r5, #1
        beq full
        stmia r4!, {r1}
        subs r5, #1
        beq full
        stmia r4!, {r2}
    full:
        movs r5, #0
    stored:
        str r4, OUT
        str r5, LEFT
        ldr r0, W
        ldr r2, VBITS
        rsb r1, r2, #8
        lsrs r1, r1, #1
        eors r0, r1         @ the other halves of these words, or the next ones
        lsls r1, r0, #30
        bne halves
        ldr r1, CONTEXT
        adds r0, r0, r1
    halves:
        str r0, W
        cmp r5, #0
        bne.w quad
    """)
