"""`linear`, the matrix product with weights of 8 bits."""

from __future__ import annotations

from ..arm import Kernel
from .matrix import WORDS, advance, begin, runs
from .pieces import epilogue, far, kernel, prologue, rescale
from .sums import SUMS, jumps, unrolled

THREES = 8  # times three columns are unrolled


def start(k: Kernel) -> None:
    """What depends on the matrix alone."""
    begin(k, negate=False)
    k("""
        ldr r3, [r0, .cols]; str r3, COLS
        adds r4, r3, #2; lsls r4, r4, #2; str r4, SIZE
        subs r6, r6, r4; str r6, WMAX
        bl jumps
        str r4, JUMP; str r5, JUMP2; str r5, JUMPW
        b setup
    """)


def pieces(k: Kernel) -> None:
    """Columns cut by the end of a run, piece by piece, then the multipliers behind them."""
    k.registers(end="r12", half="lr")
    k("""
    piece:
        ldr r3, END; subs r3, r3, r0
        bne have
        bl nextrun
        b piece
    have:
        lsrs r3, r3, #2
        ldr r2, C
        cmp r3, r2; bls short
        mov r3, r2
    short:
        subs r2, r2, r3; str r2, C
        lsls r4, r3, #2; adds r4, r4, r1; adds r4, #4; mov end, r4
        bl jumps
        str r5, JUMP2
        mov r6, r4
        b enter
    more:
        subs r1, #4     @ one activation was read ahead
        ldr r2, C
        cmp r2, #0; bne piece
    """)
    for mul in "mul0", "mul2":
        k(f"""
        {mul}:
            ldr r3, END
            cmp r0, r3; bne {mul}here
            bl nextrun
            b {mul}
        {mul}here:
        """)
        if mul == "mul2":
            k("mov r2, r4")
        k("ldmia r0!, {r4}")
    k("""
        ldr r3, XEND; mov end, r3
        ldr r3, RND; mov half, r3
        ldr r3, JUMPW; str r3, JUMP2
        ldr r3, END; ldr r5, SIZE; subs r3, r3, r5; str r3, WMAX
        ldr r6, K; subs r6, #16; str r6, K
        b scales
    slow:
        ldr r3, K; adds r3, #16; str r3, K
        ldr r3, COLS; str r3, C
        b piece
    """)


def setup(k: Kernel) -> None:
    """What depends on the vector alone."""
    k.registers(end="r12", half="lr")
    k("""
    setup:
        ldr r0, XH
        ldmia r0!, {r2-r4}      @ mantissa, exponent, sum
        adds r0, #4; str r0, X
        str r2, SCALE
        ldr r5, COLS; lsls r5, r5, #2; adds r5, r5, r0; adds r5, #4; str r5, XEND; mov end, r5
        lsls r4, r4, #7; negs r4, r4; str r4, I3    @ the 128, and what they make of the others
        mov r5, r4
    """)
    for start in "I2", "I1", "I0":
        k(f"lsls r5, r5, #8; adds r5, r5, r4; str r5, {start}")
    k("""
        ldr r5, REC
        ldr r6, [r5, .shift]; subs r6, r6, r3
        ldr r5, [r5, .room]
    """)
    rescale(k, "RND", "S")
    k("mov half, r3; str r4, K")


def row(k: Kernel, m: str, s: str, above: str | None) -> None:
    """A sum, less 256 times the next, times m -> m, the result. r0 and r1 a product."""
    k(f"mov r0, {s}")
    if above:
        k(f"mov r1, {above}; lsls r1, r1, #8; subs r0, r0, r1")
    k(f"""
        lsls r0, r6
        uxth r1, r0; asrs r0, r0, #16
        muls r1, {m}; muls {m}, r0; lsrs r1, r1, #16
        adds {m}, {m}, r1; add {m}, half; asrs {m}, r7
    """)


def results(k: Kernel) -> None:
    """A row group is summed up. Multipliers first: r2 to r5, times the vector's mantissa."""
    k("""
        ldr r6, K
        cmp r6, #15; bhi tomore
        ldmia r0!, {r2, r4}
    scales:
        str r0, W
        ldr r7, SCALE
        movs r1, #1; lsls r1, r1, #13
        lsrs r3, r2, #16; uxth r2, r2
        lsrs r5, r4, #16; uxth r4, r4
    """)
    multipliers = "r2", "r3", "r4", "r5"
    for m in multipliers:
        k(f"muls {m}, r7; adds {m}, {m}, r1; lsrs {m}, {m}, #14")
    k("ldr r7, S")
    for m, s, above in zip(multipliers, SUMS, [*SUMS[1:], None], strict=True):
        row(k, m, s, above)
    k("""
        ldr r0, OUT
        ldr r1, ADD
        cmp r1, #0; beq store
        ldmia r0!, {r6, r7}; adds r2, r2, r6; adds r3, r3, r7
        ldmia r0!, {r6, r7}; adds r4, r4, r6; adds r5, r5, r7
        subs r0, #16
    store:
        stmia r0!, {r2-r5}; str r0, OUT
        ldr r1, STOP
        cmp r0, r1
    """)
    far(k, "bne", "group")
    k("""
        b next
    tomore:
        b more
    """)


def linear() -> Kernel:
    """The stack begins with what a row group needs at once, in the order of ldmia.

    W and X where weights and activations begin, I0 to I3 what the sums begin with, JUMP into the
    unrolled columns. WMAX is the last address at which the run holds a whole row group; from there
    on, K is 16 more and the columns go piece by piece, C of them left. r12 is the end of the
    activations, one word on, lr rounds.
    """
    k = kernel("linear", "vectors times a matrix, with requantization")
    prologue(
        k, f"W X I0 I1 I2 I3 JUMP WMAX JUMP2 JUMPW SCALE K S RND COLS C XEND {WORDS}"
    )
    start(k)
    jumps(k, THREES, 4, many=True)
    runs(k, "r2", "r3")
    advance(k, "ldr r1, SIZE; subs r0, r0, r1; str r0, WMAX")
    k("b setup")
    pieces(k)
    setup(k)
    k("""
    group:
        mov r7, sp; ldmia r7!, {r0-r7}      @ r7 is loaded as well
        mov r8, r2; mov r9, r3; mov r10, r4; mov r11, r5
        cmp r0, r7; bhi slow
    enter:
    """)
    unrolled(k, "threes", THREES, 8, 16, 24, then="JUMP2")
    results(k)
    k("done:")
    epilogue(k)
    return k
