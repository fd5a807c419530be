"""`gate` for RV32IMC."""

from __future__ import annotations

from ..riscv import Kernel
from .pieces import arguments, at_least, bits, enclose, kernel, largest, magnitude, vectors


def begin(k: Kernel) -> None:
    """s0 gates, s1 what they are for, s2 bytes of a vector, and what the table is read by."""
    k("""
        lw s0, .g(s10); add s0, s0, s11
        lw s1, .u(s10); beqz s1, alone
        add s1, s1, s11
    alone:
        lw s2, .n(s10); slli s2, s2, 2
        lw s3, .table(s10)
        li s4, 0
        beqz s3, tableless
        add s3, s3, s11
        li s4, 512    @ entries
    tableless:
        lw t0, .bits(s10); addi s5, t0, -5  @ bits of a gate between two entries
        li a0, 1; sll s6, a0, s5; srli s7, s6, 1
        addi s6, s6, -1
        lw s9, .odd(s10)    @ whether the activation is odd
        sll t5, a0, t0    @ and 1, if it is
        li t1, 17; sub t1, t1, t0
        li t2, 0
        beqz s9, known
        addi t1, t1, -2; bgez t1, known
        li t1, 0
        li t2, 1
    known:
        sll t3, a0, t1; srli t3, t3, 1
    """)


def activation(k: Kernel) -> None:
    """max(x, 0) less a table of |x|, or 1 less it with the sign of x, in place; a4 the largest."""
    k("""
    vector:
        mv a0, s0
        add a3, s0, s2
        li a4, 0
    activate:
        lw a1, 0(a0); srai t0, a1, 31; xor a2, a1, t0; sub a2, a2, t0
        li a5, 0
        srl t4, a2, s5; bgeu t4, s4, faded
        slli t4, t4, 1; add t4, t4, s3; lhu a5, 0(t4)
        lhu t4, 2(t4)
        and a2, a2, s6
        sub t4, t4, a5; mul a2, a2, t4; add a2, a2, s7; sra a2, a2, s5
        add a5, a5, a2; sll a5, a5, t2; add a5, a5, t3; sra a5, a5, t1
    faded:
        bnez s9, odd
        not t0, t0; and a1, a1, t0; sub a1, a1, a5
        j activated
    odd:
        beqz a1, activated
        sub a1, t5, a5; xor a1, a1, t0; sub a1, a1, t0
    activated:
        sw a1, 0(a0)
        addi a0, a0, 4
    """)
    magnitude(k, "a1", "a4", "t0")
    k("""
        bne a0, a3, activate
        beqz s1, through
    """)


def fifteen(k: Kernel, shift: str, half: str) -> None:
    """How far to shift what has a4 as its largest magnitude to 15 bits, and what rounds it."""
    k(f"""
        mv a1, a4
        jal t6, bits
        addi {shift}, t0, -15
    """)
    at_least(k, shift, "zero")
    k(f"li {half}, 1; sll {half}, {half}, {shift}; srli {half}, {half}, 1")


def product(k: Kernel) -> None:
    """Both factors in 15 bits; what they lost goes to the exponent."""
    fifteen(k, "s8", "t4")
    k("""
        mv a0, s1
        add a3, s1, s2
    """)
    largest(k)
    fifteen(k, "a4", "a5")
    k("""
        lw a0, .dyn(s10); add a0, a0, s11
        sub t0, s0, s11    @ by which this vector lies behind the first
        lw a1, .g(s10); sub t0, t0, a1; add a0, a0, t0
        add a1, a4, s8; sw a1, 0(a0)
        mv a0, s0
        mv a2, s1
    multiply:
        lw a1, 0(a0)
        lw t0, 0(a2)
        addi a2, a2, 4
        add a1, a1, t4
        add t0, t0, a5
        sra a1, a1, s8
        sra t0, t0, a4; mul a1, a1, t0; sw a1, 0(a0)
        addi a0, a0, 4
        bne a2, a3, multiply
        lw a0, STRIDE; add s1, s1, a0
    through:
    """)
    vectors(k, "vector", "s0")


def gate() -> Kernel:
    """An activation, and its product with another vector, if there is one."""
    k = kernel("gate", "an activation, times another vector if there is one", "T STRIDE")
    arguments(k, bits)
    for part in begin, activation, product:
        part(k)
    enclose(k)
    return k
