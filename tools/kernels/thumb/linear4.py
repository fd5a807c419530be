"""`linear4`, the matrix product with weights of 4 bits.

Sixteen columns at a time, 18 cycles for the eight products of one. A word W holds a column of
eight rows. With its activation x, three sums take ((W >> 4 i) & 0x000F000F) x, modulo 2**32: row i
in the low half and row i + 4 in the high one, both exact, as no sum of sixteen products leaves 16
bits. The sum of W x is row 0 and 4 plus 16, 256 and 4096 times these three, so it needs no mask.
The 8 that each weight has too much come off by the sum of the activations. Then each row's sum,
times the scale of these columns, goes to its accumulator on the stack.
"""

from __future__ import annotations

from ..arm import Kernel
from .matrix import WORDS, advance, begin, runs
from .pieces import epilogue, far, kernel, prologue, rescale, times
from .sums import SUMS

PAIR = 64  # bytes of code for two columns


def start(k: Kernel) -> None:
    """What depends on the matrix alone. A row group: columns, scales, four of multipliers."""
    begin(k, negate=True)
    k("""
        movs r4, #0; str r4, C
        ldr r3, [r0, .cols]
        ldr r4, [r0, .span]
        adds r5, r3, #4
    spans:
        adds r5, #1
        subs r3, r3, r4
        bgt spans
        lsls r5, r5, #2; str r5, SIZE
        lsls r4, r4, #2; str r4, SPAN
        b setup
    """)


def setup(k: Kernel) -> None:
    """What depends on the vector alone."""
    k("""
    setup:
        ldr r0, XH
        ldmia r0!, {r2-r3}      @ mantissa, exponent
        adds r0, #8; str r0, X
        str r2, SCALE
        ldr r5, REC
        ldr r4, [r5, .cols]
        lsls r6, r4, #2; adds r6, r6, r0; str r6, XEND
        lsrs r4, r4, #4; lsls r4, r4, #6; adds r4, r4, r0; str r4, XFULL
        ldr r6, [r5, .shift]; subs r6, r6, r3
        ldr r5, [r5, .room]
    """)
    rescale(k, "RND", "S")
    k("str r4, K")


def group(k: Kernel) -> None:
    """A row group, times a vector: r0 weights, r1 activations, r2 the mask."""
    k("""
    group:
        movs r3, #0; movs r4, #0; movs r5, #0; movs r6, #0
        mov r7, sp; stmia r7!, {r3-r6}; stmia r7!, {r3-r6}
        ldr r0, W
        ldr r1, X; str r1, XSPAN
        ldr r3, END; subs r3, r3, r0
        ldr r5, SIZE
        cmp r3, r5; blo cut
        ldr r4, XFULL
    cut:
        str r4, XTAIL
        movs r2, #15; lsls r3, r2, #16; orrs r2, r3
        b block
    """)


def scales(k: Kernel, same: str) -> None:
    """lr the scales of the columns that come, if these are the first of a span."""
    k(f"""
        ldr r3, XSPAN
        cmp r1, r3; bne {same}
        ldr r4, SPAN; adds r3, r3, r4; str r3, XSPAN
    """)


def clear(k: Kernel, zero: str) -> None:
    k(f"movs {zero}, #0")
    for s in *SUMS, "r12":
        k(f"mov {s}, {zero}")


def column(k: Kernel, w: str, x: str) -> None:
    for s, lane in zip(SUMS[1:], (4, 8, 12), strict=True):
        k(f"lsrs r3, {w}, #{lane}; ands r3, r2; muls r3, {x}; add {s}, r3")
    k(f"muls {w}, {x}; add {SUMS[0]}, {w}")


def part(k: Kernel) -> None:
    """A block by pieces, or the end of the row. `total`: of the activations."""
    k.registers(total="r12", scales="lr")
    k("other:")
    k("ldr r3, XEND; subs r3, r3, r1")
    far(k, "beq", "rows")
    k("""
        lsrs r3, r3, #2
        cmp r3, #16; bls rest
        movs r3, #16
    rest:
        str r3, C
    """)
    scales(k, "kept")
    k("""
    fetch:
        ldr r3, END
        cmp r0, r3; bne fetched
        bl nextrun
        b fetch
    fetched:
        ldmia r0!, {r4}; mov scales, r4
    kept:
    """)
    clear(k, "r3")
    k("""
    piece:
        ldr r3, END; subs r3, r3, r0
        bne have
        mov r7, scales
        bl nextrun
        mov scales, r7
        b piece
    have:
        lsrs r3, r3, #2
        ldr r4, C
        cmp r3, r4; bls short
        mov r3, r4
    short:
        subs r4, r4, r3; str r4, C
        movs r6, #8
        lsrs r3, r3, #1     @ pairs; the carry is a single
        blo even
        subs r6, r6, r3
        ldmia r0!, {r4}; ldmia r1!, {r7}
        add total, r7
    """)
    column(k, "r4", "r7")
    k("""
        movs r3, #0
    even:
        subs r6, r6, r3; lsls r6, r6, #6    @ bytes of a pair
        b enter
    """)


def full(k: Kernel) -> None:
    """A full block. The scales of its rows."""
    k.registers(total="r12", scales="lr")
    k("full:")
    scales(k, "same")
    k("""
        ldmia r0!, {r4}; mov scales, r4
    same:
    """)
    clear(k, "r6")
    k("""
    enter:
        add pc, r6
        nop
    """)
    for _ in range(8):
        k("ldmia r0!, {r4-r5}; ldmia r1!, {r6-r7}; add total, r6; add total, r7")
        column(k, "r4", "r6")
        column(k, "r5", "r7")
    k("ldr r3, C; cmp r3, #0")
    far(k, "bne", "piece")


def swept(k: Kernel) -> None:
    """A block is summed up: its rows by twos, times their scales, to the accumulators."""
    k("""
        mov r7, total; lsls r7, r7, #3; lsls r3, r7, #16; adds r7, r7, r3
        mov r6, scales
        mov r3, r11
        lsls r3, r3, #4; add r3, r10
        lsls r3, r3, #4; add r3, r9
        lsls r3, r3, #4
        mov r4, r8; subs r4, r4, r3
    """)
    for row in range(4):
        if row:
            k(f"mov r4, {SUMS[row]}")
        k("subs r4, r4, r7; sxth r3, r4; subs r4, r4, r3; asrs r4, r4, #16")
        for i, s in (row, "r3"), (row + 4, "r4"):
            k(f"lsls r5, r6, #{28 - 4 * i}" if i < 7 else "lsrs r5, r6, #28")
            if i < 7:
                k("lsrs r5, r5, #28")
            k(f"muls {s}, r5; ldr r5, ROW{i}; adds r5, r5, {s}; str r5, ROW{i}")
    k("""
    block:
        ldr r3, XTAIL
        cmp r1, r3
    """)
    far(k, "blo", "full")
    k("b other")


def results(k: Kernel) -> None:
    """All columns are done: r1 accumulators, r6 result, r7 -1 to add to it."""
    k.registers(half="r8", mantissa="r9", k8192="r10", up="r11", down="r12")
    k("""
    rows:
        mov r1, sp
        ldr r3, RND; mov half, r3
        ldr r3, SCALE; mov mantissa, r3
        movs r3, #1; lsls r3, r3, #13; mov k8192, r3
        ldr r3, K; mov up, r3
        ldr r3, S; mov down, r3
        ldr r6, OUT
        ldr r7, ADD
    two:
        ldr r3, END
        cmp r0, r3; bne mul
        bl nextrun
        b two
    mul:
        ldmia r0!, {r5}     @ the multipliers of two rows
    """)
    for half in "uxth r2, r5", "lsrs r2, r5, #16":
        k(f"""
            {half}
            mov r3, mantissa; muls r2, r3; add r2, k8192; lsrs r2, r2, #14
            ldmia r1!, {{r3}}
            mov r4, up; lsls r3, r4
        """)
        times(k, "r3", "r2", "r4")
        k("""
            add r3, half
            mov r4, down; asrs r3, r4
            ldr r4, [r6, #0]; ands r4, r7; adds r3, r3, r4
            stmia r6!, {r3}
        """)
    k("""
        ldr r3, STOP        @ four rows may be the last: a row group is half empty then
        cmp r6, r3; beq allrows
        mov r3, sp; adds r3, #32
        cmp r1, r3; bne two
    allrows:
        str r0, W
        str r6, OUT
        ldr r3, STOP
        cmp r6, r3
    """)
    far(k, "bne", "group")
    k("b next")


def linear4() -> Kernel:
    """The stack begins with the accumulators of eight rows.

    Up to XTAIL full blocks are taken at once, all others by pieces, C columns left: the rest of a
    row, which begins at XFULL, and each block of a row group that a run's end cuts (XTAIL is 0
    then). XSPAN is where the next scales come.
    """
    k = kernel("linear4", "vectors times a matrix of 4 bits, with requantization")
    rows = " ".join(f"ROW{i}" for i in range(8))
    prologue(k, f"{rows} W X XTAIL XEND XSPAN SPAN C XFULL SCALE K S RND {WORDS}")
    start(k)
    runs(k, "r3", "r4")
    advance(k, "")
    setup(k)
    group(k)
    part(k)
    full(k)
    swept(k)
    results(k)
    k("done:")
    epilogue(k)
    return k
