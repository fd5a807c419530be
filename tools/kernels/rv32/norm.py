"""`norm` and `layernorm` for RV32IMC."""

from __future__ import annotations

from ..riscv import Kernel
from .pieces import (
    arguments,
    bits,
    enclose,
    held,
    kernel,
    largest,
    magnitude,
    root,
    shifted,
    shifts,
    vectors,
)


def excess(k: Kernel) -> None:
    """a4, a magnitude -> t0 its bits above 15; t1 to t3, how that shifts. Changes a1, a2."""
    k("""
        mv a1, a4
        jal t6, bits
        addi t0, t0, -15
    """)
    shifts(k, "t0", "t1", "t2", "t3")


def begin(k: Kernel) -> None:
    """s0 the vector, s1 its result's elements, s2 bytes of a vector, s8 what is added to e."""
    k("""
        lw s0, .x(s10); add s0, s0, s11
        lw s1, .out(s10); add s1, s1, s11; addi s1, s1, 16
        lw s2, .n(s10); slli s2, s2, 2
        lw s8, .dyn(s10); beqz s8, vector
        add s8, s8, s11
    vector:
        lw s3, .exponent(s10)    @ the exponent
        beqz s8, still
        lw a0, 0(s8); add s3, s3, a0
        lw a0, STRIDE; add s8, s8, a0
    still:
        mv a0, s0
        add a3, s0, s2
    """)
    largest(k)
    k("""
        mv s7, s0    @ the source of what is quantized
        li s4, 0    @ no root
        lw t4, .gain(s10); beqz t4, quantize
    """)


def gain(k: Kernel) -> None:
    """The root of the mean square, s4, and the vector times the gain, in its new place."""
    k("add t4, t4, s11")
    excess(k)
    k("""
        mv a5, t0
        lw t5, .lg(s10)
        mv a0, s0
        mv s7, s1
        mv a2, s1
        li s5, 0
        li a4, 0
    product:
        lw a1, 0(a0)
        addi a0, a0, 4
    """)
    shifted(k, "a1", "t1", "t2", "t3")
    k("""
        mul t6, a1, a1
        lw s6, 0(t4)
        srl t6, t6, t5; add s5, s5, t6
        mul a1, a1, s6; sw a1, 0(a2)
        addi t4, t4, 4; addi a2, a2, 4
    """)
    magnitude(k, "a1", "a4", "t6")
    k("""
        bne a0, a3, product
        mv s6, a4
        mv a1, s5
    """)
    root(k)
    k("""
        mv s4, a0
        addi t5, t5, -1; add s3, s3, t5
        mv a4, s6
    """)


def quantize(k: Kernel) -> None:
    """The vector at s7 -> elements at s1, s6 their sum, a4 the largest before that."""
    k("quantize:")
    excess(k)
    k("add s3, s3, t0")
    shifted(k, "a4", "t1", "t2", "t3")
    k("""
        seqz t0, a4; add a4, a4, t0
        lw t0, .bits(s10)
        li t4, 31; sub t4, t4, t0
        addi t0, t0, -1
        li a1, 1; sll a2, a1, t0; addi a2, a2, -1; sll a2, a2, t4
        divu a2, a2, a4
        addi t0, t4, -1; sll a5, a1, t0
        mv a0, s7
        add a3, s1, s2
        mv t0, s1
        li s6, 0
    element:
        lw a1, 0(a0)
        addi a0, a0, 4
    """)
    shifted(k, "a1", "t1", "t2", "t3")
    k("""
        mul a1, a1, a2; add a1, a1, a5; sra a1, a1, t4; add s6, s6, a1
        sw a1, 0(t0)
        addi t0, t0, 4; bne t0, a3, element
    """)


def scale(k: Kernel) -> None:
    """The scale of the result, over the root if there is one."""
    k("""
        lw a0, .scale(s10); mul s5, a4, a0
        beqz s4, rootless
        slli s5, s5, 1; divu s5, s5, s4
    rootless:
        mv a1, s5
        jal t6, bits
        addi t0, t0, -14; add s3, s3, t0
    """)
    shifts(k, "t0", "t1", "t2", "t3")
    shifted(k, "s5", "t1", "t2", "t3")
    k("""
        sw s5, -16(s1)
        sw s3, -12(s1)
        sw s6, -8(s1)
    """)
    vectors(k, "vector", "s0", "s1")


def norm() -> Kernel:
    """The largest magnitude; with a gain the products with it and the sum of their squares."""
    k = kernel("norm", "a vector with a root mean square of one, quantized", "T STRIDE")
    arguments(k, bits)
    for part in begin, gain, quantize, scale:
        part(k)
    enclose(k)
    return k


def distances(k: Kernel) -> None:
    """n times the distance from the mean, which is exact, in 15 bits; s5 the sum of squares."""
    k("""
        lw s0, .x(s10); add s0, s0, s11
        lw s1, .out(s10); add s1, s1, s11
        lw s2, .n(s10); slli s2, s2, 2
    vector:
        mv a0, s0
        add a3, s0, s2
    """)
    largest(k)
    excess(k)
    k("""
        mv s3, t0
        mv a0, s0
        mv a2, s1
        li s5, 0
    mean:
        lw a1, 0(a0)
        addi a0, a0, 4
    """)
    shifted(k, "a1", "t1", "t2", "t3")
    k("""
        add s5, s5, a1
        sw a1, 0(a2)
        addi a2, a2, 4
        bne a0, a3, mean
        lw t0, .n(s10)
        mv a0, s1
        add a3, s1, s2
        li a4, 0
    distance:
        lw a1, 0(a0); mul a1, a1, t0; sub a1, a1, s5; sw a1, 0(a0)
        addi a0, a0, 4
    """)
    magnitude(k, "a1", "a4", "a2")
    k("bne a0, a3, distance")
    excess(k)
    k("""
        add s3, s3, t0
        lw t0, .lg(s10)
        mv a0, s1
        li s5, 0
    square:
        lw a1, 0(a0)
    """)
    shifted(k, "a1", "t1", "t2", "t3")
    k("""
        sw a1, 0(a0)
        mul a1, a1, a1; srl a1, a1, t0; add s5, s5, a1
        addi a0, a0, 4; bne a0, a3, square
    """)


def over_the_root(k: Kernel) -> None:
    """The distances times the gain and the scale over the root; and the bias, if there is one."""
    k("""
        mv a1, s5
        mv a5, s3
    """)
    root(k)
    k("""
        lw a4, .scale(s10); slli a4, a4, 15; divu a4, a4, a0
        lw s3, .exponent(s10); sub s3, s3, t5
    """)
    excess(k)
    k("sub s3, s3, t0")
    shifted(k, "a4", "t1", "t2", "t3")
    held(k, "s3", "zero", "t1", "t2")
    k("""
        slli a4, a4, 16
        lw a2, .gain(s10); add a2, a2, s11
        lw a5, .bias(s10)
        mv a0, s1
        add a3, s1, s2
        seqz t1, a5
        add a5, a5, s11
    result:
        lw a1, 0(a0)
        lw t0, 0(a2)
        addi a2, a2, 4
        mul a1, a1, t0; mulhsu a1, a1, a4; add a1, a1, t2; sra a1, a1, s3
        bnez t1, put
        lw t0, 0(a5)
        addi a5, a5, 4
        add a1, a1, t0
    put:
        sw a1, 0(a0)
        addi a0, a0, 4; bne a0, a3, result
    """)
    vectors(k, "vector", "s0", "s1")


def layernorm() -> Kernel:
    """The mean, the distances from it, their root mean square; gain and bias."""
    k = kernel("layernorm", "the distance from the mean over its root mean square", "T STRIDE")
    arguments(k, bits)
    distances(k)
    over_the_root(k)
    enclose(k)
    return k
