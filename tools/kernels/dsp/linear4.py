"""`linear4`: a product with weights of 4 bits, for cores with DSP instructions.

A word W holds a column of eight rows. With its activation x, four sums take W x and
((W >> 4 i) & 0x000F000F) x, i from 1 to 3, modulo 2**32: row i in the low half and row i + 4 in
the high one, both exact, as no sum of sixteen products leaves 16 bits. The sum of W x is row 0 and
4 plus 16, 256 and 4096 times the others, so it needs no mask. The 8 that each weight has too much
is in what the sums begin with: SUMS has it for each sixteen columns of a vector.
"""

from __future__ import annotations

from ..arm import Kernel
from . import sweep
from .pieces import SUMS, large, rows, shifts

BLOCK = 16  # columns whose products fit a half-word
PAIR = 60  # bytes of code of two columns
MOST = 2048  # columns that there is a place on the stack for, of their sums


def begin(k: Kernel) -> None:
    """The record and the arena become words on the stack; above them lies the table SUMS."""
    k("push {r8-r11}")
    words = "A0 A1 A2 A3 A4 A5 A6 A7 X XEND XFULL XTAIL XSPAN SPAN C SCALES SUMS AT SAVED "
    room = k.stack(words + sweep.WORDS)
    assert room % 8 == 0
    k(f"""
        mov r4, sp
        ldr r3, [r0, #12]
        add r5, r3, #{2 * BLOCK - 1}
        lsrs r5, r5, #5
        cmp r3, #{MOST}
        it hi
        movhi r5, #0
        sub r7, r4, r5, lsl #3
        sub r6, r7, #{room}
        mov sp, r6
        str r4, SAVED
        cmp r5, #0
        it eq
        moveq r7, #0
        str r7, SUMS
    """)
    sweep.begin(k, 256)
    k("""
        ldr r4, [r0, #40]
        adds r5, r3, #4
    spans:                  @ words of a row group: columns, four of mantissas, scales
        adds r5, #1
        subs r3, r3, r4
        bgt spans
        lsls r5, r5, #2
        str r5, SIZE
        lsls r4, r4, #2
        str r4, SPAN
    """)


def setup(k: Kernel) -> None:
    """What depends on a vector alone."""
    k("""
    vector:
        ldr r0, XH
        ldmia r0!, {r2, r3} @ mantissa, exponent
        adds r0, #8
        str r0, X
        lsls r2, r2, #3
        str r2, SCALE
        ldr r4, COLS
        add r7, r0, r4, lsl #2
        str r7, XEND
        lsrs r4, r4, #4
        add r4, r0, r4, lsl #6
        ldr r6, SUMS
        cmp r6, #0
        it eq
        moveq r4, #0
        str r4, XFULL
        ldr r4, REC
        ldr r0, [r4, #20]
        ldr r1, [r4, #24]
    """)
    shifts(k)
    k("""
        cmp r6, #0
        beq summed
        ldr r0, X
    sixteen:
        sub r3, r7, r0
        cmp r3, #64
        blo few
        ldmia r0!, {r2-r5, r8-r11}
    """)
    for r in ("r3", "r4", "r5", *SUMS):
        k(f"add r2, {r}")
    k("ldmia r0!, {r3-r5, r8-r12}")
    for r in ("r3", "r4", "r5", *SUMS, "r12"):
        k(f"add r2, {r}")
    excess(k, "r2", "r2")
    k("""
        stmia r6!, {r2}
        b sixteen
    few:
        lsrs r3, r3, #2
        beq summed
        mov r2, r0
        bl sum
        str r9, [r6, #0]
    summed:
        ldr r0, W
    """)


def excess(k: Kernel, total: str, result: str) -> None:
    """The sum of activations -> what products of both halves have too much, negative."""
    k(f"""
        lsls {total}, {total}, #3
        negs {total}, {total}
        add {result}, {total}, {total}, lsl #16
    """)


def helpers(k: Kernel) -> None:
    """`sum` of r3 activations at r2: r9 their excess; changes r2 to r5.

    `word`: r4 the next word of the matrix; changes r2, r3, r5.
    """
    k("""
    sum:
        movs r4, #0
    sumone:
        ldmia r2!, {r5}
        subs r3, #1
        add r4, r5
        bne sumone
    """)
    excess(k, "r4", "r9")
    k("""
        bx lr
    word:
        ldr r3, END
        cmp r0, r3
        bne got
        mov r5, lr
        bl nextrun
        mov lr, r5
        b word
    got:
        ldmia r0!, {r4}
        bx lr
    """)
    sweep.runs(k)


def group(k: Kernel) -> None:
    """A row group begins: r0 weights, r1 activations, r12 the mask.

    XTAIL is how far full blocks go: nowhere in a group that the end of a run cuts.
    """
    k("""
    group:
        movs r2, #0
        movs r3, #0
        strd r2, r3, [sp, #0]
        strd r2, r3, [sp, #8]
        strd r2, r3, [sp, #16]
        strd r2, r3, [sp, #24]
        ldr r1, X
        ldr r3, END
        str r1, XSPAN
        ldr r5, SIZE
        subs r3, r3, r0
        ldr r4, XFULL
        cmp r3, r5
        it lo
        movlo r4, #0
        str r4, XTAIL
        ldr r3, SUMS
        mov r12, #0x000f000f
        str r3, AT
        b.w block
    """)


def first(k: Kernel) -> None:
    """What the four sums of a block begin with, from r9."""
    k("""
        add r8, r9, r9, lsl #4
        mov r10, r9
        add r8, r8, r8, lsl #8
        mov r11, r9
    """)


def products(k: Kernel, w: str, x: str) -> None:
    """A column: r8 to r11 grow. Changes r6, r7."""
    k(f"""
        and r6, r12, {w}, lsr #4
        and r7, r12, {w}, lsr #8
        mla r9, r6, {x}, r9
        and r6, r12, {w}, lsr #12
        mla r10, r7, {x}, r10
        mla r8, {w}, {x}, r8
        mla r11, r6, {x}, r11
    """)


def full(k: Kernel) -> int:
    """A block of sixteen columns, its scales in lr; where its code begins.

    Behind it the Z flag says that it is complete, no piece of it left. Changes r2 to r7.
    """
    k("""
    full:
        cmp r1, r2
        bne same
        ldr r4, SPAN
        ldr lr, [r0], #4
        add r2, r2, r4
        str r2, XSPAN
    same:
        ldr r2, AT
        cmp r0, r0          @ Z
        ldr r9, [r2], #4
        str r2, AT
    """)
    first(k)
    start = k.at
    for _ in range(BLOCK // 2):
        here = k.at
        k("""
            ldmia r0!, {r2, r3}
            ldmia r1!, {r4, r5}
        """)
        products(k, "r2", "r4")
        products(k, "r3", "r5")
        assert k.at - here == PAIR
    k("bne.w piece")
    return start


def scaled(k: Kernel) -> None:
    """A block's sums, times their scales, are added to those of the rows, A0 to A7."""
    k("""
        sub r8, r8, r9, lsl #4
        and r2, r12, lr
        sub r8, r8, r10, lsl #8
        and r3, r12, lr, lsr #4
        sub r8, r8, r11, lsl #12
        and r4, r12, lr, lsr #8
        and r5, r12, lr, lsr #12
    """)
    for at, (a, b) in enumerate((SUMS[:2], SUMS[2:])):
        x, y = ("r2", "r3") if at == 0 else ("r4", "r5")
        k(f"""
            ldrd r6, r7, [sp, #{8 * at}]
            smlabb r6, {a}, {x}, r6
            smlabb r7, {b}, {y}, r7
            add {a}, {a}, #0x8000   @ the low half was signed: it took one from the high one
            add {b}, {b}, #0x8000
            strd r6, r7, [sp, #{8 * at}]
        """)
    for at, (a, b) in enumerate((SUMS[:2], SUMS[2:])):
        x, y = ("r2", "r3") if at == 0 else ("r4", "r5")
        k(f"""
            ldrd r6, r7, [sp, #{16 + 8 * at}]
            smlatt r6, {a}, {x}, r6
            smlatt r7, {b}, {y}, r7
        """)
        if at == 0:
            k("ldr r8, XTAIL")
        else:
            k("ldr r2, XSPAN")
        k(f"strd r6, r7, [sp, #{16 + 8 * at}]")


def pieces(k: Kernel, start: int) -> None:
    """A block by pieces: one that the end of a run cuts, or less than sixteen columns.

    C columns are left of it. start: where the code of a full one begins.
    """
    k(f"""
    other:
        ldr r3, XEND
        subs r3, r3, r1
        beq.w swept
        lsrs r3, r3, #2
        cmp r3, #{BLOCK}
        it hi
        movhi r3, #{BLOCK}
        str r3, C
        cmp r1, r2
        bne kept
        ldr r4, SPAN
        add r2, r2, r4
        str r2, XSPAN
        bl word
        mov lr, r4
    kept:
        str lr, SCALES
        ldr r2, AT
        cmp r2, #0
        beq counted
        ldr r9, [r2], #4
        str r2, AT
        b known
    counted:
        ldr r3, C
        mov r2, r1
        bl sum
    known:
    """)
    first(k)
    k("""
    piece:
        ldr r3, END
        subs r3, r3, r0
        bne have
        bl nextrun
        b piece
    have:
        ldr r4, C
        lsrs r3, r3, #2
        cmp r3, r4
        it hi
        movhi r3, r4
        subs r4, r4, r3
        str r4, C
        lsrs r5, r3, #1     @ pairs; the carry is a single one
        blo even
        ldmia r0!, {r2}
        ldmia r1!, {r4}
    """)
    products(k, "r2", "r4")
    k(f"""
    even:
        rsb r5, r5, #{BLOCK // 2}
        movs r6, #{PAIR}
        muls r6, r5
        ldr r4, C
        ldr lr, SCALES
        cmp r4, #0
    """)
    if (k.at + 8 - start) % 4:
        k("nop")
    k(f"""
        sub r6, r6, #{k.at + 8 - start}
        add pc, r6
    """)


def results(k: Kernel) -> None:
    """All columns are done: rows by fours, of which the last group may have but one."""
    k("""
    swept:
        ldmia sp, {r8-r11}
        bl four
        cmp r1, r6
        beq rowsdone
        add r7, sp, #16
        ldmia r7, {r8-r11}
        bl four
        cmp r1, r6
        bne.w group
    rowsdone:
    """)


def four(k: Kernel) -> None:
    """Four rows, whose sums are r8 to r11."""
    k("""
    four:
        mov r12, lr
        ldr r3, END
        ldr r6, SCALE
        subs r3, r3, r0
        cmp r3, #8
        blo apart
        ldmia r0!, {r2, r4}
    scales:
    """)
    rows(k)
    sweep.store(k)
    k("""
        bx r12
    apart:
        bl word
        mov r7, r4
        bl word
        mov r2, r7
        b scales
    """)


def linear4() -> Kernel:
    """Sums of a block: r8 to r11; of the rows: A0 to A7. XSPAN is where the next scales come."""
    k = Kernel("linear4", "vectors times a matrix with weights of 4 bits, with requantization")
    begin(k)
    setup(k)
    group(k)
    start = full(k)
    scaled(k)
    k("""
        cmp r1, r8
        blo.w full
        b.w other
    block:
        ldr r3, XTAIL
        ldr r2, XSPAN
        cmp r1, r3
        blo.w full
    """)
    pieces(k, start)
    results(k)
    sweep.advance(k)
    four(k)
    large(k)
    helpers(k)
    k("""
    done:
    nothing:
        ldr r3, SAVED
        mov sp, r3
        pop {r8-r11}
        movs r0, #0
    """)
    return k
