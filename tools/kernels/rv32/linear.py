"""`linear` for RV32IMC."""

from __future__ import annotations

from ..riscv import Kernel
from .pieces import BIAS, columns, enclose, follow, held, kernel, rescaled

TURN, WIDE = 4, 8  # columns that are unrolled: of a row group, of two
WORDS = (
    "XS X TO TOTAL STRIDE S0 ROOM BASE RUN LEFT W RUN2 LEFT2 W2 GROUPS SUM0 SUM1 SUM2 SUM3"
)


def begin(k: Kernel) -> None:
    """The record, in a0, and the arena, in a1, become registers and words of the stack."""
    k(f"""
        lui t0, {BIAS}; sub base, a1, t0; sw base, BASE
        lw t0, .stride(a1); slli t0, t0, 2; sw t0, STRIDE
        lw t, .total(a1); sw t, TOTAL
        lw x, .x(a0); add x, x, base; sw x, XS
        lw t0, .first(a0); slli t0, t0, 4
        lw to, .out(a0); add to, to, t0; add to, to, base; sw to, TO
        lw t0, .shift(a0); sw t0, S0
        lw t0, .room(a0); sw t0, ROOM
        lw adds, .add(a0)
        lw cols, .cols(a0)
        lw run, .weights(a0); add run, run, base
        lw t0, .count(a0); sw t0, GROUPS
        lw left, .words(run)
        lw w, .start(run); add w, w, base
        beqz t0, end
        beqz t, end
    """)


def frame(k: Kernel) -> None:
    """The next vector, or two, times a row group. more: 1 where the second one's sums wait, 2
    where those of a second row group do, else -1 where it is known how sums are shifted, or 0.
    """
    k("""
    group:
        sw run, RUN
        sw left, LEFT
        sw w, W
    frame:
        sw x, X
        li more, 0
        addi t0, t, -2; bgez t0, double
        lw t0, TOTAL; addi t0, t0, -1; bnez t0, alone
        jal v1, scaling
    lone:
        li more, -1
        lw t0, GROUPS; addi t0, t0, -2; bltz t0, alone
        addi t0, cols, 2; slli t0, t0, 1; bgeu left, t0, groups
    alone:
        addi x, x, 16
    """)
    walk(k, "one")
    k("""
        bltz more, rows
        j scaled
    double:
        li more, 1
        lw xb, STRIDE; add xb, xb, x
        addi x, x, 16; addi xb, xb, 16
    """)
    walk(k, "both")
    k("""
        sw run, RUN2
        sw left, LEFT2
        sw w, W2
    """)
    for j in range(4):
        k(f"sw sum{j + 4}, SUM{j}")
    k("""
    scaled:
        jal v1, scaling
        j rows
    """)


def groups(k: Kernel) -> None:
    """Two row groups that lie in one run, times a vector that is alone."""
    k("""
    groups:
        li more, 2
        sw run, RUN2
        sub left, left, cols; sw left, LEFT
        sub left, left, cols; addi left, left, -2; sw left, LEFT2
        slli wb, cols, 2; add wb, wb, w; addi wb, wb, 8
        addi x, x, 16
        srli until, cols, 3; slli until, until, 5; add until, until, x
        andi n, cols, 7
    """)
    for j in range(8):
        k(f"li sum{j}, 0")
    k("""
        beq x, until, groupsfew
    groupsturn:
    """)
    for label, test, count in ("turn", "bne x, until", WIDE), ("single", "bnez n", 1):
        for i in range(count):
            pair(k, f"lw one, {4 * i}(w)", f"lw two, {4 * i}(wb)", f"lw v1, {4 * i}(x)")
        k(f"""
            addi w, w, {4 * count}; addi wb, wb, {4 * count}
            addi x, x, {4 * count}
        """)
        if count == 1:
            k("addi n, n, -1")
        k(f"{test}, groups{label}")
        if count > 1:
            k("""
            groupsfew:
                beqz n, groupscounted
            groupssingle:
            """)
    k("""
    groupscounted:
        sw wb, W2
    """)
    for j in range(4):
        k(f"sw sum{j + 4}, SUM{j}")


def pair(k: Kernel, *loads: str) -> None:
    """A column of two row groups times a number: rows of the second are those from sum 4 on."""
    for load in loads:
        k(load)
    for j in range(4):
        k(f"""
            mul product, one, v1; add sum{j}, sum{j}, product
            mul product, two, v1; add sum{j + 4}, sum{j + 4}, product
        """)
        if j < 3:
            k("""
                srli one, one, 8
                srli two, two, 8
            """)


def walk(k: Kernel, how: str) -> None:
    """A row group times a vector, or both, run by run, into sums."""
    both = how == "both"
    for j in range(8 if both else 4):
        k(f"li sum{j}, 0")
    k(f"""
        mv c, cols
    {how}piece:
    """)
    follow(k, "run", "left", "w", "base")
    k(f"""
        mv n, c; bleu n, left, {how}fits
        mv n, left
    {how}fits:
        sub c, c, n
        sub left, left, n
        srli until, n, {TURN.bit_length() - 1}
        andi n, n, {TURN - 1}
        beqz until, {how}few
        slli until, until, {TURN.bit_length() + 1}; add until, until, w
    {how}turn:
    """)
    for label, test, count in ("turn", "bne w, until", TURN), ("single", "bnez n", 1):
        if both:
            pairs(k, count)
        else:
            columns(k, count)
        k(f"addi w, w, {4 * count}; addi x, x, {4 * count}")
        if both:
            k(f"addi xb, xb, {4 * count}")
        if count == 1:
            k("addi n, n, -1")
        k(f"{test}, {how}{label}")
        if count > 1:
            k(f"""
            {how}few:
                beqz n, {how}counted
            {how}single:
            """)
    k(f"""
    {how}counted:
        bnez c, {how}piece
    """)


def pairs(k: Kernel, n: int) -> None:
    """As `columns`, of two vectors, at x and xb; the second one's sums are those from 4 on."""
    for i in range(n):
        k(f"""
            lw one, {4 * i}(w)
            lw v1, {4 * i}(x)
            lw v2, {4 * i}(xb)
        """)
        for j in range(4):
            k(f"""
                mul product, one, v1
                mul two, one, v2
                add sum{j}, sum{j}, product
                add sum{j + 4}, sum{j + 4}, two
            """)
            if j < 3:
                k("srli one, one, 8")


def scale(k: Kernel) -> None:
    """A subroutine, `jal v1, scaling`: a vector's scale, and how its results are shifted."""
    k("""
    scaling:
        lw x, X; lw scale, 0(x); slli scale, scale, 2
        lw t0, 4(x)
        lw bias, 8(x); slli bias, bias, 7
        lw s, S0; sub s, s, t0
        lw one, ROOM
    """)
    held(k, "s", "one", "up", "half")
    k("jr v1")


def rows(k: Kernel) -> None:
    """Sums become rows, times their mantissas, which are two words behind the columns."""
    k("""
    rows:
        lui round, 8    @ 2**15
        lui mask, 0xFFFF0
    """)
    for j in range(4):
        if j % 2 == 0:
            follow(k, "run", "left", "w", "base")
            k("""
                lhu one, 0(w)
                lhu two, 2(w)
                addi w, w, 4
                addi left, left, -1
            """)
        m = ("one", "two")[j % 2]
        if j < 3:
            k(f"slli product, sum{j + 1}, 8; sub sum{j}, sum{j}, product")
        k(f"sub sum{j}, sum{j}, bias")
        rescaled(k, f"sum{j}", m, "scale", "round", "mask", "up", "half", "s")
    k("beqz adds, put")
    for j in range(4):
        k(f"lw one, {4 * j}(to); add sum{j}, sum{j}, one")
    k("put:")
    for j in range(4):
        k(f"sw sum{j}, {4 * j}(to)")


def advance(k: Kernel) -> None:
    """On to the next vector, or to the next row group; a vector alone stays what it is."""
    k("""
        addi t, t, -1
        blez more, next
        lw run, RUN2
        lw left, LEFT2
        lw w, W2
    """)
    for j in range(4):
        k(f"lw sum{j}, SUM{j}")
    k("""
        addi more, more, -2; beqz more, below
        li more, 0
        lw x, X
        lw t0, STRIDE; add x, x, t0; sw x, X
        add to, to, t0
        j scaled
    below:
        li more, -1
        li t, 1
        lw t0, GROUPS; addi t0, t0, -1; sw t0, GROUPS
        addi to, to, 16; sw to, TO
        j rows
    next:
        beqz t, through
        lw t0, STRIDE
        lw x, X; add x, x, t0
        add to, to, t0
        lw run, RUN
        lw left, LEFT
        lw w, W
        j frame
    through:
        lw t0, GROUPS; addi t0, t0, -1; beqz t0, end
        sw t0, GROUPS
        lw to, TO; addi to, to, 16; sw to, TO
        lw x, XS
        lw t, TOTAL; addi t0, t, -1; beqz t0, lone
        j group
    end:
    """)


def linear() -> Kernel:
    """Four rows of a matrix at a time, times two vectors or the last one; or eight, times one."""
    k = kernel("linear", "four rows of a matrix at a time, times each vector", WORDS)
    names = {
        "w": "a0", "x": "a1", "one": "a2", "v1": "a3", "two": "a4", "v2": "a5", "product": "t0",
        "sum0": "t1", "sum1": "t2", "sum2": "t3", "sum3": "t4", "c": "t5", "left": "t6",
        "run": "a6", "base": "a7", "n": "s0", "until": "s1", "to": "s7", "cols": "s8", "t": "s9",
        "adds": "s10", "round": "s11", "more": "ra", "mask": "t5",
    }  # fmt: skip
    k.registers(**names, sum4="s2", sum5="s3", sum6="s4", sum7="s5", xb="s6")
    begin(k)
    frame(k)
    k.registers(**names, up="s2", half="s3", s="s4", scale="s5", bias="s6")
    scale(k)
    # Of a vector that is alone the scale stays; run, left and base wait on the stack.
    k.registers(**names, sum4="a5", sum5="a6", sum6="a7", sum7="t6", wb="t5")
    groups(k)
    k.registers(**names, up="s2", half="s3", s="s4", scale="s5", bias="s6")
    k("""
        lw run, RUN2
        lw left, LEFT
        lw base, BASE
    """)
    rows(k)
    advance(k)
    enclose(k)
    return k
