"""Products with keys, their scores and softmax, for `attend`."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import closed, exp2, times
from .sums import unrolled


def products(k: Kernel) -> None:
    """Products of the query and the keys: into the scores, as they are.

    Two positions a word, or of 8 bits four, as keys of 12 bits. r0 keys, r1 query, whose start
    and end have names, r8 to r11 sums, of which pairs need two; `out` becomes the scores.
    """
    k.registers(qstart="r10", skip="r11", out="lr", end="r12")
    k("""
        ldr r0, Q; mov qstart, r0
        adds r1, #4; mov end, r1
        ldr r2, REC; ldr r2, [r2, .key_bits]
        cmp r2, #8; bne pairs
        ldr r0, KJUMP2; str r0, JUMP2
        ldr r0, K
        ldr r1, X
    fours:
        str r1, TO
        ldr r1, Q
        ldr r6, KJUMP
        bl sums
        mov r2, r8; mov r3, r9; mov r4, r10; mov r5, r11
    """)
    for s, above in ("r2", "r3"), ("r3", "r4"), ("r4", "r5"):
        k(f"lsls r6, {above}, #8; subs {s}, {s}, r6")
    for s in "r2", "r3", "r4", "r5":
        k(f"lsls {s}, {s}, #4")
    k("""
        ldr r1, TO; stmia r1!, {r2-r5}
        ldr r2, SEND
        cmp r1, r2; blo fours
        b products
    pairs:
        ldr r0, KJUMP; mov skip, r0
        ldr r0, X; mov out, r0
        ldr r0, K
    pair:
        movs r2, #0; mov r8, r2; mov r9, r2
        mov r1, qstart
    """)
    unrolled(k, "kthrees", 4, 16, skip="r11", then="KJUMP2")
    k("""
        mov r2, r8; mov r3, r9; lsls r4, r3, #16; subs r2, r2, r4
        mov r1, out; stmia r1!, {r2, r3}; mov out, r1
        ldr r2, SEND
        cmp r1, r2; blo pair
    products:
    """)


def scores(k: Kernel) -> None:
    """r0 scores, r1 scales of the cache, r6 the query's scale, r7 shift - 17.

    The largest exponent of a value is in the high bits of a word.
    """
    k.registers(unbias="r8", top="r9", exponent="r10", k1024="r11", end="r12")
    k("""
        ldr r0, X
        mov end, r2
        ldr r1, SC
        ldr r2, BIAS; mov unbias, r2
        movs r2, #1
        lsls r3, r2, #31; mov top, r3
        movs r3, #0; mov exponent, r3
        lsls r2, r2, #10; mov k1024, r2
        ldr r6, A
        ldr r7, SE; subs r7, #17
    score:
        ldmia r1!, {r3}
        ldr r2, [r0, #0]; add r2, unbias
        lsls r5, r3, #21; lsrs r5, r5, #21; muls r5, r6; add r5, k1024; lsrs r5, r5, #11
        lsls r4, r3, #16; lsrs r4, r4, #27; subs r4, r7, r4
        cmp r4, #30; bhi clamp
    clamped:
        adds r4, #1
        cmp r3, exponent; bhi higher     @ as its exponent is the high bits
    lower:
    """)
    times(k, "r2", "r5", "r3")
    k("""
        movs r3, #0
        asrs r2, r4; adcs r2, r3
        stmia r0!, {r2}
    """)
    rare = """
    higher:
        mov exponent, r3
        b lower
    clamp:
        asrs r4, r4, #31; mvns r4, r4; lsrs r4, r4, #28; lsls r4, r4, #1    @ 0 or 30
        b clamped
    """
    closed(k, "score", "r0, r12", "r2", "r9", "bgt", rare)
    k("""
        ldr r0, REC
        ldr r4, [r0, .bias]
        cmp r4, #0; beq softmax
    """)
    lean(k)


def lean(k: Kernel) -> None:
    """What is added by the distance, 13 cycles each: r1 scores, r3 best score, r4 biases.

    Of these, that of the query's own position is where the head's words begin.
    """
    k("""
        ldr r2, [r0, .row]
        ldr r3, HEADS; ldr r5, H; subs r3, r3, r5; muls r2, r3
        ldr r3, POS; subs r2, r2, r3; lsls r2, r2, #2
        adds r4, r4, r2; ldr r2, BASE; adds r4, r4, r2
        movs r3, #1; lsls r3, r3, #31
        ldr r1, X
    lean:
        ldmia r4!, {r2}; ldr r5, [r1, #0]; adds r2, r2, r5
        stmia r1!, {r2}
    """)
    k("""
        cmp r2, r3; ble leaned
        mov r3, r2
    leaned:
        cmp r1, end; bne lean
        mov top, r3
    """)


def softmax(k: Kernel) -> None:
    """Softmax, with the values' scales folded into the weights.

    r0 scores, r1 scales, r5 powers of two, r6 0x7C, r7 the largest shift; total: of the weights,
    with scales.
    """
    k.registers(total="r8", top="r9", exponent="r10", k4000="r11", end="r12", undivided="lr")
    k("""
    softmax:
        ldr r5, [r0, .exp2]; ldr r2, BASE; adds r5, r5, r2
        mov r2, exponent; lsrs r2, r2, #27; mov exponent, r2
        ldr r7, [r0, .ps]; adds r7, #11; adds r7, r7, r2
        movs r6, #0; mov total, r6; mov undivided, r6
        movs r6, #124
        movs r2, #1; lsls r2, r2, #14; mov k4000, r2
        ldr r0, X
        ldr r1, SC
    weigh:
        ldr r3, [r0, #0]; mov r2, top; subs r2, r2, r3
        lsrs r3, r2, #14; bne nothing
    """)
    exp2(k, "r3", "r4", "r6")
    k("""
        add undivided, r3
        ldmia r1!, {r4}
        lsrs r2, r4, #27; subs r2, r7, r2
        cmp r2, #31; bhi toofar
    near:
        lsls r4, r4, #5; lsrs r4, r4, #21; muls r3, r4
        movs r4, #0
        lsrs r3, r2; adcs r3, r4
        stmia r0!, {r3}
        add total, r3
        cmp r0, end; bne weigh
        b weighed
    toofar:
        movs r2, #31
        b near
    nothing:
        adds r1, #4
        movs r3, #0; stmia r0!, {r3}
        cmp r0, end; bne weigh
    """)
