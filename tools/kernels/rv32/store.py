"""`store` for RV32IMC."""

from __future__ import annotations

from ..riscv import Kernel
from .pieces import (
    arguments,
    at_least,
    bits,
    enclose,
    kernel,
    largest,
    rotation,
    shifted,
    shifts,
    vectors,
)

WORDS = (
    "T STRIDE POS SIZE CONTEXT LANE KROW KSTEP VSTEP SCALES ROPE KTO VTO SCALE H LINK X"
)


def begin(k: Kernel) -> None:
    """s0 and s1 the first head's key and value; where in the cache they go.

    Keys of a position are a lane of each word of its group; LANE is its first bit. Values are
    one column.
    """
    k("""
        lw t0, .pos(a1); sw t0, POS
        lw a2, .context(a1); slli t1, a2, 2; sw t1, CONTEXT  @ bytes, as all sizes
        lw a3, .size(s10); slli t1, a3, 2; sw t1, SIZE
        lw a4, .key_bits(s10); addi a4, a4, 4; andi a4, a4, 24
        sw a4, LANE    @ bits of a lane of keys: 16 or 8
        mul a4, a4, a2; addi a4, a4, 31; srli a4, a4, 5; mul a4, a4, a3
        slli a4, a4, 2; sw a4, KSTEP
        lw a5, .value_bits(s10); mul a5, a5, a3; addi a5, a5, 31
        srli a5, a5, 5; mul a5, a5, a2; slli a5, a5, 2; sw a5, VSTEP
        lw a2, .heads(s10); mul a4, a4, a2
        mul a5, a5, a2
        lw a0, .cache(s10); add a0, a0, s11; sw a0, KROW
        add a4, a4, a0    @ values
        add a5, a5, a4    @ scales
        lw t0, POS; slli t0, t0, 2; add a4, a4, t0
        add a5, a5, t0
        sw a4, VTO
        sw a5, SCALES
        lw a0, .rotation(s10); sw a0, ROPE
        lw s0, .k(s10); add s0, s0, s11
        lw s1, .v(s10); add s1, s1, s11
    """)


def normalized(k: Kernel) -> None:
    """A subroutine, `jal ra, normal`: the words from X on to 15 bits, in place.

    a3 their end, a4 the largest magnitude, s3 its exponent in the cache, so far.
    """
    k("""
    normal:
        lw a0, X
        lw a3, SIZE; add a3, a3, a0
    """)
    largest(k)
    k("""
        mv a1, a4
        jal t6, bits
        addi t0, t0, -15
        li t1, -10
    """)
    at_least(k, "t0", "t1")
    k("addi s3, t0, 10")
    shifts(k, "t0", "t1", "t2", "t3")
    shifted(k, "a4", "t1", "t2", "t3")
    k("""
        lw a0, X
    shift:
        lw a1, 0(a0)
    """)
    shifted(k, "a1", "t1", "t2", "t3")
    k("""
        sw a1, 0(a0)
        addi a0, a0, 4; bne a0, a3, shift
        jr ra
    """)


def packed(k: Kernel) -> None:
    """A subroutine, `jal ra, pack`: the words from X to a3, quantized, into the cache.

    a4 the largest; s4 bits, s5 bits of a lane, s6 the word, s7 the bit where the first one goes,
    s8 bits and s9 bytes from one to the next. SCALE becomes the scale.
    """
    k("""
    pack:
        seqz t0, a4; add a4, a4, t0; mv a1, a4
        jal t6, bits
        addi t0, t0, -11
    """)
    at_least(k, "t0", "zero")
    k("""
        li t3, 1; sll a1, t3, t0; add a4, a4, a1; addi a4, a4, -1
        srl a4, a4, t0; srli a1, a4, 11  @ 1 for 2048
        srl a4, a4, a1
        add t0, t0, a1; add s3, s3, t0; slli s3, s3, 11; or s3, s3, a4
        sw s3, SCALE
        sll a4, a4, t0
        li t4, 31; sub t4, t4, s4; addi t0, t4, -1; sll t1, t3, t0  @ a half
        addi t0, s4, -1; sll t2, t3, t0  @ what makes lanes positive
        addi a1, t2, -1; sll a1, a1, t4
        addi t0, s4, -4; bnez t0, divide
        li t1, 0
        lui a1, 0x3C000    @ 15 << 26
    divide:
        divu a4, a1, a4
        sll a5, t3, s5; addi a5, a5, -1
        li t3, 32
        lw a0, X
    put:
        lw a1, 0(a0); mul a1, a1, a4; add a1, a1, t1; sra a1, a1, t4
        sw a1, 0(a0)
        add a1, a1, t2
        lw a2, 0(s6)
        sll a1, a1, s7
        sll t0, a5, s7
        xor a1, a1, a2; and a1, a1, t0; xor a2, a2, a1; sw a2, 0(s6)
        addi a0, a0, 4
        add s7, s7, s8; bltu s7, t3, same
        addi s7, s7, -32
        add s6, s6, s9
    same:
        bne a0, a3, put
        jr ra
    """)


def heads(k: Kernel) -> None:
    """Key and value of each head at a position."""
    k("""
    position:
        lw a0, LANE
        lw a1, POS; mul a0, a0, a1; srli a1, a0, 5
        lw a2, SIZE; mul a1, a1, a2
        lw a2, KROW; add a1, a1, a2; sw a1, KTO
        andi s2, a0, 31
        lw a0, .heads(s10); sw a0, H
        sw s0, X
    head:
        jal ra, normal
        lw a2, ROPE; beqz a2, still
        lw a5, POS
        lw a1, SIZE; srli a1, a1, 1; mul a5, a5, a1; add a2, a2, a5
        add a2, a2, s11
        lw a0, X; add a1, a1, a0
    """)
    rotation(k)
    k("""
    still:
        lw s4, .key_bits(s10)
        lw s5, LANE
        lw s6, KTO
        mv s7, s2
        li s8, 32
        li s9, 4
        jal ra, pack
        lw a0, SCALE; sw a0, LINK
        lw a0, X; sub a0, a0, s0; add a0, a0, s1; sw a0, X
        jal ra, normal
        lw s4, .value_bits(s10); mv s5, s4
        lw s6, VTO
        li s7, 0
        mv s8, s4
        lw s9, CONTEXT
        jal ra, pack
    """)


def advance(k: Kernel) -> None:
    """The scales; on to the next head, and behind the last one to the next position."""
    k("""
        lw a0, SCALE; slli a0, a0, 16
        lw a1, LINK; or a0, a0, a1
        lw a1, SCALES; sw a0, 0(a1)
        lw a2, CONTEXT; add a1, a1, a2; sw a1, SCALES
        lw a0, KTO
        lw a1, KSTEP; add a0, a0, a1; sw a0, KTO
        lw a0, VTO
        lw a1, VSTEP; add a0, a0, a1; sw a0, VTO
        lw a0, X; sub a0, a0, s1; add a0, a0, s0
        lw a1, SIZE; add a0, a0, a1; sw a0, X
        lw a0, H; addi a0, a0, -1; sw a0, H
        bnez a0, head
        lw a0, POS; addi a0, a0, 1; sw a0, POS
        lw a0, .heads(s10)
    """)
    for at, step in ("VTO", "VSTEP"), ("SCALES", "CONTEXT"):
        k(f"""
            lw a1, {step}; mul a1, a1, a0; addi a1, a1, -4
            lw a2, {at}; sub a2, a2, a1; sw a2, {at}
        """)
    vectors(k, "position", "s0", "s1")


def store() -> Kernel:
    """Keys and values, quantized, to their place in the cache."""
    k = kernel("store", "keys and values, quantized, to their place in the cache", WORDS)
    arguments(k, bits, normalized, packed)
    for part in begin, heads, advance:
        part(k)
    enclose(k)
    return k
