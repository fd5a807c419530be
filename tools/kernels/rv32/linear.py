"""`linear` for RV32IMC."""

from __future__ import annotations

from ..riscv import Kernel
from .pieces import BIAS, columns, enclose, follow, held, rescaled

TURN = 8  # columns that are unrolled
WORDS = "XS X TO TOTAL STRIDE S0 ROOM RUN LEFT W GROUPS"


def begin(k: Kernel) -> None:
    """The record, in a0, and the arena, in a1, become registers and words of the stack."""
    k(f"""
        lui t0, {BIAS}
        sub base, a1, t0
        lw t0, 12(a1)
        slli t0, t0, 2
        sw t0, STRIDE
        lw t, 4(a1)
        sw t, TOTAL
        lw x, 0(a0)
        add x, x, base
        sw x, XS
        lw t0, 32(a0)
        slli t0, t0, 4
        lw to, 4(a0)
        add to, to, t0
        add to, to, base
        sw to, TO
        lw t0, 20(a0)
        sw t0, S0
        lw t0, 24(a0)
        sw t0, ROOM
        lw adds, 28(a0)
        lw cols, 12(a0)
        lw run, 8(a0)
        add run, run, base
        lw t0, 36(a0)
        sw t0, GROUPS
        lui round, 2        @ 2**13
        lw left, 4(run)
        lw w, 0(run)
        add w, w, base
        beqz t0, end
        beqz t, end
    """)


def frame(k: Kernel) -> None:
    """The next vector: its scale, and how its results are shifted."""
    k("""
    group:
        sw run, RUN
        sw left, LEFT
        sw w, W
    frame:
        lw scale, 0(x)
        lw t0, 4(x)
        lw bias, 8(x)
        slli bias, bias, 7
        lw s, S0
        sub s, s, t0
        lw one, ROOM
    """)
    held(k, "s", "one", "up", "half")


def sums(k: Kernel) -> None:
    """A row group times the vector, run by run."""
    k("""
    same:
        sw x, X
        addi x, x, 16
        li sum0, 0
        li sum1, 0
        li sum2, 0
        li sum3, 0
        mv c, cols
    piece:
    """)
    follow(k, "run", "left", "w", "base")
    k("""
        mv n, c
        bleu n, left, fits
        mv n, left
    fits:
        sub c, c, n
        sub left, left, n
        srli until, n, 3
        andi n, n, 7
        beqz until, few
        slli until, until, 5
        add until, until, w
    turn:
    """)
    columns(k, TURN)
    k(f"""
        addi w, w, {4 * TURN}
        addi x, x, {4 * TURN}
        bne w, until, turn
    few:
        beqz n, counted
    single:
    """)
    columns(k, 1)
    k("""
        addi w, w, 4
        addi x, x, 4
        addi n, n, -1
        bnez n, single
    counted:
        bnez c, piece
    """)


def rows(k: Kernel) -> None:
    """Sums become rows, times their mantissas, which are two words behind the columns."""
    for j in range(4):
        if j % 2 == 0:
            follow(k, "run", "left", "w", "base")
            k("""
                lw two, 0(w)
                addi w, w, 4
                addi left, left, -1
                slli one, two, 16
                srli one, one, 16
                srli two, two, 16
            """)
        m = ("one", "two")[j % 2]
        if j < 3:
            k(f"""
                slli product, sum{j + 1}, 8
                sub sum{j}, sum{j}, product
            """)
        k(f"sub sum{j}, sum{j}, bias")
        rescaled(k, f"sum{j}", m, "scale", "round", "up", "half", "s")
    k("beqz adds, put")
    for j in range(4):
        k(f"""
            lw one, {4 * j}(to)
            add sum{j}, sum{j}, one
        """)
    k("put:")
    for j in range(4):
        k(f"sw sum{j}, {4 * j}(to)")


def advance(k: Kernel) -> None:
    """On to the next vector, or to the next row group; a vector alone stays what it is."""
    k("""
        addi t, t, -1
        beqz t, through
        lw t0, STRIDE
        lw x, X
        add x, x, t0
        add to, to, t0
        lw run, RUN
        lw left, LEFT
        lw w, W
        j frame
    through:
        lw t0, GROUPS
        addi t0, t0, -1
        beqz t0, end
        sw t0, GROUPS
        lw to, TO
        addi to, to, 16
        sw to, TO
        lw x, XS
        lw t, TOTAL
        addi t0, t, -1
        beqz t0, same
        j group
    end:
    """)


def linear() -> Kernel:
    """Four rows of a matrix at a time, times each vector."""
    k = Kernel("linear", "four rows of a matrix at a time, times each vector")
    k.stack(WORDS)
    k.registers(
        w="a0", x="a1", one="a2", x1="a3", two="a4", x2="a5", product="t0", sum0="t1", sum1="t2",
        sum2="t3", sum3="t4", c="t5", left="t6", run="a6", base="a7", n="s0", until="s1", up="s2",
        half="s3", s="s4", scale="s5", bias="s6", to="s7", cols="s8", t="s9", adds="s10",
        round="s11",
    )  # fmt: skip
    for part in begin, frame, sums, rows, advance:
        part(k)
    enclose(k)
    return k
