"""`bias` and `pool` for RV32IMC."""

from __future__ import annotations

from ..riscv import Kernel
from .pieces import arguments, bits, enclose, follow, kernel, vectors


def bias() -> Kernel:
    """A vector of the weights becomes each vector, or is added to it."""
    k = kernel("bias", "a vector of the weights for each vector, or added to it", "T STRIDE")
    arguments(k)
    k("""
        lw s0, .out(s10); add s0, s0, s11
        lw s1, .add(s10)
    vector:
        lw a2, .weights(s10); add a2, a2, s11; lw a0, .start(a2); add a0, a0, s11
        lw a3, .words(a2)
        mv a1, s0
        lw a4, .n(s10)
    element:
    """)
    follow(k, "a2", "a3", "a0", "s11")
    k("""
        lw a5, 0(a0)
        beqz s1, put
        lw t0, 0(a1); add a5, a5, t0
    put:
        sw a5, 0(a1)
        addi a0, a0, 4; addi a1, a1, 4
        addi a3, a3, -1; addi a4, a4, -1; bnez a4, element
    """)
    vectors(k, "vector", "s0")
    enclose(k)
    return k


def pool() -> Kernel:
    """One vector of all: the last, the first or the mean."""
    k = kernel("pool", "the last vector, the first or the mean becomes the first", "T STRIDE")
    k("mv s2, a1")
    arguments(k, bits)
    k("""
        lw s0, .x(s10); add s0, s0, s11
        lw s1, .n(s10)
        lw a3, STRIDE
        lw a4, T
        li a0, 1; sw a0, 4(s2)
        beq a4, a0, end
        lw a0, .how(s10); addi a1, a0, -2; beqz a1, mean
        bnez a0, end
        addi a4, a4, -1
        lw a0, 0(s2); add a0, a0, a4; sw a0, 0(s2)
        mul a4, a4, a3; add a4, a4, s0
    last:
        lw a0, 0(a4); sw a0, 0(s0)
        addi a4, a4, 4; addi s0, s0, 4
        addi s1, s1, -1; bnez s1, last
        j end
    mean:
        mv a1, a4
        jal t6, bits
        li a5, 1
        addi t0, t0, 14; sll a5, a5, t0; divu a5, a5, a4
        addi t0, t0, -1
        li t2, 32; sub t2, t2, t0
    element:
        li a0, 0
        mv a1, s0
        mv t1, a4
    sum:
        lw a2, .pos(a1); add a0, a0, a2
        add a1, a1, a3
        addi t1, t1, -1; bnez t1, sum
        mulh a2, a0, a5
        mul a0, a0, a5
        sll a2, a2, t2
        srl a0, a0, t0; or a0, a0, a2
        andi a2, a0, 1    @ the half that rounds; 1 more may leave 32 bits
        srai a0, a0, 1; add a0, a0, a2; sw a0, 0(s0)
        addi s0, s0, 4
        addi s1, s1, -1; bnez s1, element
    end:
    """)
    enclose(k)
    return k
