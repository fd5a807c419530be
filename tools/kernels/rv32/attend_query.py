"""`attend`: a head's query becomes a vector of 12 bits."""

from __future__ import annotations

from ..riscv import Kernel
from .pieces import largest, rotation, shifted, shifts


def query(k: Kernel) -> None:
    """The next head. Its query: to 15 bits, in place, and rotated; a4 the largest magnitude."""
    k("""
    head:
        lw a0, Q
        lw a3, SIZE; add a3, a3, a0
    """)
    largest(k)
    k("""
        mv a1, a4
        jal t6, bits
        addi t0, t0, -15
        lw s2, .exponent(s10); sub s2, s2, t0  @ the shift of scores
    """)
    shifts(k, "t0", "t1", "t2", "t3")
    shifted(k, "a4", "t1", "t2", "t3")
    k("""
        lw a0, Q
    normalize:
        lw a1, 0(a0)
    """)
    shifted(k, "a1", "t1", "t2", "t3")
    k("""
        sw a1, 0(a0)
        addi a0, a0, 4; bne a0, a3, normalize
        lw a2, ROPE; beqz a2, rotated
        lw a0, Q
        lw a1, SIZE; srli a1, a1, 1; add a1, a1, a0
    """)
    rotation(k)
    k("""
    rotated:
        seqz t0, a4; add a4, a4, t0
    """)


def quantized(k: Kernel) -> None:
    """To 12 bits, in place. s2, s3 and s4: how scores are shifted, the query's scale, and what
    lanes of keys, which have 2048 or 128 too many, add to the scores.
    """
    k("""
        lui a2, 0x3FF80    @ 2047 << 19
        divu a2, a2, a4
        lui a5, 0x40    @ 2**18
        li s4, 0
        lw a0, Q
    round:
        lw a1, 0(a0); mul a1, a1, a2; add a1, a1, a5; srai a1, a1, 19
        add s4, s4, a1
        sw a1, 0(a0)
        addi a0, a0, 4; bne a0, a3, round
        slli s4, s4, 11
        lw a0, .scale(s10); mul s3, a4, a0; mv a1, s3
        jal t6, bits
        sub s2, s2, t0
        addi t0, t0, -15
    """)
    shifts(k, "t0", "t1", "t2", "t3")
    shifted(k, "s3", "t1", "t2", "t3")
