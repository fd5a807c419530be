"""`embed` and `embed4` for RV32IMC."""

from __future__ import annotations

from ..riscv import Kernel
from .pieces import BIAS, enclose, kernel, shifts


def begin(k: Kernel, four: bool) -> None:
    """s10 the record, s11 the base, s0 the arena, s1 the position in its group."""
    k(f"""
        mv s10, a0
        mv s0, a1
        lui t0, {BIAS}; sub s11, a1, t0
        lw s2, .n(s10)
        lw t0, .shift(s10)
    """)
    shifts(k, "t0", "t1", "t2", "t3")
    k("""
        lw s1, .first(s10)
        lw s3, .count(s10); bnez s3, counted
        lw s3, .total(a1)
    counted:
        lw s4, .position(s10)
        lw s5, .stride(a1); slli s5, s5, 2
        mv s6, s2    @ columns and scales of a row group
    """)
    if four:
        k("""
            lw a2, .span(s10); add s7, s2, a2; addi s7, s7, -1
            divu s7, s7, a2; add s6, s6, s7
        """)
    k("bge s1, s3, end")


def find(k: Kernel, four: bool) -> None:
    """The row of the next token: a0 where it begins, a2 what is left of a2's run, t4 mantissa."""
    k(f"""
    token:
        mul t6, s1, s5    @ bytes to its frame
        add a0, s0, t6; lw a0, 64(a0)
        slli a1, s4, 3; srl a0, a0, a1; slli a0, a0, 16; srli a0, a0, 16
        addi a1, s4, -1; bnez a1, row
        lw a0, 0(s0); add a0, a0, s1
    row:
        andi a4, a0, {7 if four else 3}
        srli a0, a0, {3 if four else 2}
        lw a1, .base(s10); sub a0, a0, a1
        addi a1, s6, {4 if four else 2}; mul a1, a0, a1  @ words to skip
        lw a3, .weights(s10); add a3, a3, s11
        j skip
    over:
        sub a1, a1, a2
        addi a3, a3, 8
    skip:
        lw a2, .words(a3); bge a1, a2, over
        sub a2, a2, a1
        lw a0, .start(a3)
        slli a1, a1, 2; add a0, a0, a1; add a0, a0, s11; mv t0, a0
        mv a1, a2
        mv t5, a3
        srli a5, a4, 1; add a5, a5, s6
        j behind
    ahead:
        sub a5, a5, a1
        addi t5, t5, 8; lw t0, .start(t5); add t0, t0, s11
        lw a1, .words(t5)
    behind:
        bge a5, a1, ahead
        slli a5, a5, 2; add t0, t0, a5; lw t4, 0(t0)
        andi a5, a4, 1; slli a5, a5, 4; srl t4, t4, a5; slli t4, t4, 16
        srli t4, t4, 16
        lw a1, .x(s10); add a1, a1, s11; add a1, a1, t6
    """)


def copy(k: Kernel, four: bool) -> None:
    """The row, times its mantissa, to a1; a4 its lane."""
    if four:
        k("""
            slli a4, a4, 2
            li t6, 0
        """)
    else:
        k("add a0, a0, a4")
    k("""
        mv t0, s2
    column:
        bnez a2, some
        addi a3, a3, 8; lw a0, .start(a3); add a0, a0, s11
    """)
    if not four:
        k("add a0, a0, a4")
    k("""
        lw a2, .words(a3)
    some:
        addi a2, a2, -1
    """)
    if four:
        k("""
            lw a5, 0(a0)
            addi a0, a0, 4
            srl a5, a5, a4; andi a5, a5, 15
            bnez t6, weight
            lw t6, .span(s10)
            mul t5, a5, t4    @ the scale of so many columns
            j column
        weight:
            addi t6, t6, -1
            addi a5, a5, -8; mul a5, a5, t5
        """)
    else:
        k("""
            lbu a5, 0(a0)
            addi a0, a0, 4
            addi a5, a5, -128; mul a5, a5, t4
        """)
    k("""
        sll a5, a5, t1; add a5, a5, t2; sra a5, a5, t3
        beqz s4, put
        lw s8, 0(a1); add a5, a5, s8
    put:
        sw a5, 0(a1)
        addi a1, a1, 4
        addi t0, t0, -1; bnez t0, column
        addi s1, s1, 1; blt s1, s3, token
    end:
    """)


def _embed(name: str, about: str, four: bool) -> Kernel:
    k = kernel(name, about)
    for part in begin, find, copy:
        part(k, four)
    enclose(k)
    return k


def embed() -> Kernel:
    """A row of a matrix for each token."""
    return _embed("embed", "a row of a matrix for each token", False)


def embed4() -> Kernel:
    """The same of a matrix of 4 bits."""
    return _embed("embed4", "a row of a matrix of 4 bits for each token", True)
