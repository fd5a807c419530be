"""`linear4` for RV32IMC."""

from __future__ import annotations

from ..riscv import Kernel
from .pieces import BIAS, enclose, follow, held, kernel, rescaled

TURN = 4  # columns that are unrolled
WORDS = (
    "XS X TO TOTAL T STRIDE S0 ROOM RUN LEFT W ROWS COLS SPAN ADDS SCALE SCALES"
)


def begin(k: Kernel) -> None:
    """The record, in a0, and the arena, in a1, become registers and words of the stack."""
    k(f"""
        lui t0, {BIAS}; sub base, a1, t0
        lw t0, .stride(a1); slli t0, t0, 2; sw t0, STRIDE
        lw t0, .total(a1); sw t0, TOTAL
        beqz t0, end
        lw t0, .x(a0); add t0, t0, base; sw t0, XS
        lw t0, .first(a0); slli t0, t0, 4
        lw t1, .out(a0); add t0, t0, t1; add t0, t0, base; sw t0, TO
        lw t0, .cols(a0); sw t0, COLS
        lw t0, .shift(a0); sw t0, S0
        lw t0, .room(a0); sw t0, ROOM
        lw t0, .add(a0); sw t0, ADDS
        lw t0, .span(a0); sw t0, SPAN
        lw run, .weights(a0); add run, run, base
        lw t0, .count(a0); slli t0, t0, 2; sw t0, ROWS
        lui mask, 0xF0; addi mask, mask, 15
        lw left, .words(run)
        lw w, .start(run); add w, w, base
        beqz t0, end
    group:
        sw run, RUN
        sw left, LEFT
        sw w, W
        lw x, XS
        lw t0, TOTAL; sw t0, T
    frame:
        sw x, X
        lw c, COLS
        li same, 0
        addi x, x, 16
    """)
    for j in range(8):
        k(f"li row{j}, 0")


def column(k: Kernel, at: int) -> None:
    """A column: in each of four sums rows i and i + 4, 16 bits each."""
    k(f"""
        lw word, {at}(w)
        lw value, {at}(x); add sum, sum, value
    """)
    for j in range(4):
        k(f"""
            and part, word, mask; mul part, part, value
            add pair{j}, pair{j}, part
        """)
        if j < 3:
            k("srli word, word, 4")


def sums(k: Kernel) -> None:
    """A row group times the vector, by sixteen columns, piece by piece where runs end."""
    k("""
    block:
        bnez same, scaled
    """)
    follow(k, "run", "left", "w", "base")
    k("""
        lw word, 0(w); sw word, SCALES
        addi w, w, 4
        addi left, left, -1
        lw same, SPAN
    scaled:
        li n, 16; bge c, n, whole
        mv n, c
    whole:
        sub c, c, n
        addi same, same, -16
        li sum, 0
        li pair0, 0
        li pair1, 0
        li pair2, 0
        li pair3, 0
    piece:
    """)
    follow(k, "run", "left", "w", "base")
    k("""
        mv part, n; bleu part, left, fits
        mv part, left
    fits:
        sub n, n, part
        sub left, left, part
        srli until, part, 2
        andi spare, part, 3
        beqz until, few
        slli until, until, 4; add until, until, w
    turn:
    """)
    for j in range(TURN):
        column(k, 4 * j)
    k(f"""
        addi w, w, {4 * TURN}; addi x, x, {4 * TURN}
        bne w, until, turn
    few:
        beqz spare, counted
    single:
    """)
    column(k, 0)
    k("""
        addi w, w, 4; addi x, x, 4
        addi spare, spare, -1; bnez spare, single
    counted:
        bnez n, piece
    """)


def split(k: Kernel) -> None:
    """Sums of two rows each, times the scales of the rows, are added to theirs."""
    k("""
        lui part, 0x80; addi part, part, 8
        mul sum, sum, part    @ a weight is its four bits less 8
        lw word, SCALES
    """)
    for j in range(4):
        # The low half has a sign of its own, which the high half has lost.
        k(f"""
            sub pair{j}, pair{j}, sum; slli value, pair{j}, 16
            srai value, value, 16; sub pair{j}, pair{j}, value
            srai pair{j}, pair{j}, 16
            andi part, word, 15; mul value, value, part
            add row{j}, row{j}, value
            srli part, word, 16; andi part, part, 15
            mul pair{j}, pair{j}, part; add row{j + 4}, row{j + 4}, pair{j}
        """)
        if j < 3:
            k("srli word, word, 4")
    k("bnez c, block")


def rows(k: Kernel) -> None:
    """Sums become rows, times their mantissas, which are four words behind the columns."""
    k("""
        lw pair0, X
        lw spare, STRIDE; add x, pair0, spare  @ the next vector
        lw pair1, 0(pair0)
        lw part, 4(pair0)
        lw s, S0; sub s, s, part
        lw part, ROOM
    """)
    held(k, "s", "part", "up", "half")
    k("""
        lw to, TO
        lw sum, T
        lw part, TOTAL; sub part, part, sum; mul part, part, spare
        add to, to, part
        lui round, 8    @ 2**15
        lui high, 0xFFFF0
        slli pair1, pair1, 2
    """)
    for j in range(8):
        if j % 2 == 0:
            follow(k, "run", "left", "w", "base")
            k("""
                lhu word, 0(w)
                lhu value, 2(w)
                addi w, w, 4
                addi left, left, -1
            """)
        mantissa = ("word", "value")[j % 2]
        rescaled(k, f"row{j}", mantissa, "pair1", "round", "high", "up", "half", "s")
        k(f"""
            lw part, ADDS; beqz part, put{j}
            lw part, {4 * j}(to); add row{j}, row{j}, part
        put{j}:
            sw row{j}, {4 * j}(to)
        """)
        if j == 3:
            k("lw part, ROWS; addi part, part, -4; beqz part, next")
    k("""
    next:
        lw part, T; addi part, part, -1; beqz part, through
        sw part, T
        lw run, RUN
        lw left, LEFT
        lw w, W
        j frame
    through:
        lw part, ROWS; addi part, part, -8; sw part, ROWS
        blez part, end
        lw part, TO; addi part, part, 32; sw part, TO
        j group
    end:
    """)


def linear4() -> Kernel:
    """Eight rows of a matrix of 4 bits at a time, times each vector."""
    k = kernel("linear4", "eight rows of a matrix of 4 bits at a time, times each vector", WORDS)
    names = {
        "w": "a0", "x": "a1", "word": "a2", "value": "a3", "part": "a4", "spare": "a5",
        "mask": "a6", "left": "a7", "pair0": "t1", "pair1": "t2", "pair2": "t3", "pair3": "t4",
        "sum": "t5", "run": "t6", "n": "s8", "c": "s9", "same": "s10", "base": "s11",
        "until": "ra", **{f"row{j}": f"s{j}" for j in range(8)},
    }  # fmt: skip
    k.registers(**names)
    begin(k)
    sums(k)
    split(k)
    # What counted columns does other things then.
    k.registers(**names, s="s8", up="s9", half="s10", to="ra", round="t3", high="t4")
    rows(k)
    enclose(k)
    return k
