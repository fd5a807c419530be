"""`attend`: for every head its query, the products with the keys, softmax, the sum of the values.

Words on the stack: K, V and SC are the keys, values and scales of this head, Q and OUT its query
and its result, X the scores, W the values of four dimensions; CONTEXT, SIZE, KROW and VROW are
bytes. The word behind the last score is read, not used. Products go by pairs or fours, which write
up to three more scores; for values of 4 bits zeros come there.
"""

from __future__ import annotations

from ..arm import Kernel
from .attend_scores import products, scores, softmax
from .attend_values import advance, quads, results, shares
from .pieces import (
    angles,
    bits,
    divide,
    epilogue,
    kernel,
    largest,
    operand,
    prologue,
    rotate,
    shifted,
    vectors,
)
from .store import cache
from .sums import SUMS, bytes_of, jumps, unrolled

THREES = 4


def start(k: Kernel) -> None:
    """What depends on the record alone; SHARE: heads of the query to a head of the keys."""
    k("str r1, ARENA; ldr r3, [r1, .pos]; str r3, POS")
    vectors(k)
    k("movs r3, #0; str r3, FRAMED")
    cache(k, "kv_heads", "CACHE")
    (three2, one2), (three4, one4) = bytes_of(2), bytes_of(4)
    k("""
        ldr r4, [r0, .heads]; str r4, HEADS
        movs r5, #0
    shares:
        adds r5, #1
        subs r4, r4, r3
        bgt shares
        str r5, SHARE
    """)
    operand(k, "scores", "X")
    k(f"""
        ldr r6, [r0, .key_bits]
        ldr r3, [r0, .size]
        movs r4, #{three2}; movs r5, #{one2}
        cmp r6, #8; bne wide
        movs r4, #{three4}; movs r5, #{one4}
    wide:
        bl jumps
        str r4, KJUMP; str r5, KJUMP2
    """)


def position(k: Kernel) -> None:
    """The next position. SEND: the end of its scores; VEND one ahead, or where their four end."""
    three, one = bytes_of(4)
    k(f"""
    position:
        ldr r3, POS; adds r3, #1
        ldr r0, REC
        ldr r4, [r0, .whole]
        cmp r4, #0; beq causal
        ldr r2, ARENA; lsls r4, r4, #2; adds r4, r4, r2; ldr r3, [r4, #12]
    causal:
        lsls r4, r3, #2; ldr r5, X; adds r6, r4, r5; str r6, SEND
        adds r6, #4
        ldr r7, VBITS
        cmp r7, #8; beq bytes
        adds r4, #15; lsrs r4, r4, #4; lsls r4, r4, #4; adds r6, r4, r5
    bytes:
        str r6, VEND
        movs r4, #{three}; movs r5, #{one}
        bl jumps
        str r4, VJUMP; str r5, VJUMP2
        ldr r0, REC
        ldr r2, BASE
        ldr r3, [r0, .rotation]
        cmp r3, #0; beq still
        adds r3, r3, r2
    """)
    angles(k, "r3")
    k("""
    still:
        str r3, ROPE
        ldr r4, FRAMED; adds r2, r2, r4
    """)
    operand(k, "q", "Q")
    operand(k, "out", "OUT")
    for word, start in ("K", "CACHE"), ("V", "VALUES"), ("SC", "SCALES"), ("SHARED", "SHARE"):
        k(f"ldr r3, {start}; str r3, {word}")
    k("ldr r3, HEADS; str r3, H; b head")


def sums(k: Kernel) -> None:
    """A function: the sums of `unrolled` in words of four bytes, from nothing on.

    r0 words, which those that follow then are, r1 a vector, r12 its end and one more, r6 and JUMP2
    where to enter. Changes all but r12.
    """
    k("sums:")
    k("movs r2, #0")
    for s in SUMS:
        k(f"mov {s}, r2")
    unrolled(k, "vthrees", THREES, 8, 16, 24, then="JUMP2")
    k("bx lr")


def query(k: Kernel) -> None:
    """The next head. Its query: to 15 bits, in place, and turned. r3 the largest magnitude.

    SE: the exponent of the scores. r1 is left where the query ends.
    """
    k("""
    head:
        ldr r0, Q
        ldr r1, SIZE; adds r1, r1, r0
    """)
    largest(k)
    k("""
        bl bits
        subs r4, #15
        ldr r0, REC
        ldr r5, [r0, .exponent]; subs r5, r5, r4; str r5, SE
        ldr r0, Q
        cmp r4, #0
    """)
    shifted(k, "b rotate")
    k("""
    rotate:
        ldr r2, ROPE
        cmp r2, #0; beq rotated
    """)
    rotate(k, "Q")


def round_query(k: Kernel) -> None:
    """To 12 bits, with the sum of the results: BIAS, negative. A: the scale of the scores."""
    k.registers(peak="r8")
    k("""
    rotated:
        cmp r3, #0; bne nonzero
        movs r3, #1
    nonzero:
        mov peak, r3
        mov r1, r3
        movs r0, #255; lsls r0, r0, #3; adds r0, #7; lsls r0, r0, #19  @ 2047 << 19
        bl divide
        ldr r0, Q
        ldr r1, SIZE; adds r1, r1, r0
        movs r5, #1; lsls r5, r5, #18
        movs r6, #0
    round:
        ldr r3, [r0, #0]; muls r3, r2; adds r3, r3, r5; asrs r3, r3, #19
        subs r6, r6, r3
        stmia r0!, {r3}
        cmp r0, r1; bne round
        lsls r6, r6, #11; str r6, BIAS
        ldr r0, REC
        ldr r4, [r0, .scale]
        mov r3, peak; muls r3, r4
        bl bits
        ldr r5, SE; subs r5, r5, r4; str r5, SE
        subs r4, #15
        beq scaled
        lsrs r3, r4; movs r5, #0; adcs r3, r5
    scaled:
        str r3, A
    """)


def attend() -> Kernel:
    """Scores take 37 cycles each, softmax 40."""
    k = kernel("attend", "what a position sees: softmax of products with keys, times values")
    prologue(
        k,
        "W X TO HALF VBITS OFF VJUMP JUMP2 REC BASE ARENA CONTEXT HEADS SIZE KROW VROW CACHE "
        "VALUES SCALES SHARE T STRIDE POS FRAMED VJUMP2 VEND ROPE Q OUT K V SC SHARED H KJUMP "
        "KJUMP2 SEND SE A BIAS SHIFT UP MUL LEFT",
    )
    start(k)
    position(k)
    jumps(k, THREES)
    k("bits:")
    bits(k)
    k("bx lr")
    sums(k)
    divide(k)
    for part in query, round_query, products, scores, softmax, shares, quads, results, advance:
        part(k)
    epilogue(k)
    return k
