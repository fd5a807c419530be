"""`sample` for RV32IMC."""

from __future__ import annotations

from ..riscv import Kernel
from .pieces import BIAS, enclose, held, kernel


def best(k: Kernel) -> None:
    """s0 the logits, s1 their end; s2 the largest, of equals the first, which greedy takes."""
    k(f"""
        mv s10, a0
        lui t0, {BIAS}; sub s11, a1, t0
        lw s0, .logits(s10); add s0, s0, s11
        lw s1, .n(s10); slli s1, s1, 2; add s1, s1, s0
        mv a0, s0
        mv a2, s0
        lw s2, 0(s0)
    logit:
        lw a1, 0(a0); ble a1, s2, less
        mv s2, a1
        mv a2, a0
    less:
        addi a0, a0, 4; bne a0, s1, logit
        lw s3, .factor(s10); bnez s3, drawn
        mv a0, a2
        j pick
    """)


def weights(k: Kernel) -> None:
    """The logits become weights, powers of two; s4 is their sum."""
    k("""
    drawn:
        slli s3, s3, 16
        lw s5, .shift(s10)
        li a1, 6
    """)
    held(k, "s5", "a1", "s6", "s7")
    k("""
        lw s8, .exp2(s10); add s8, s8, s11
        lui t1, 4    @ 2**14, where the powers end, too
        lui t2, 0x1000    @ 2**24
        li s4, 0
        mv a0, s0
    power:
        lw a1, 0(a0); sub a1, s2, a1; bleu a1, t2, far
        mv a1, t2
    far:
        sll a1, a1, s6; mulhsu a1, a1, s3; add a1, a1, s7; sra a1, a1, s5
        li a2, 0
        bge a1, t1, nothing
        srli a3, a1, 3; andi a3, a3, 124; add a3, a3, s8
        slli a4, a1, 2; andi a4, a4, 124; add a4, a4, s8
        lw a2, 0(a3)
        lw a4, 128(a4)
        srli a1, a1, 10
        mul a2, a2, a4; add a2, a2, t1; srli a2, a2, 15; srl a2, a2, a1
        add s4, s4, a2
    nothing:
        sw a2, 0(a0)
        addi a0, a0, 4; bne a0, s1, power
    """)


def cut(k: Kernel) -> None:
    """s5 the least weight that stays: the largest with which enough of the mass does, s4 then."""
    k("""
        li s5, 1
        lw a1, .top_p(s10); srli a2, a1, 15; bnez a2, draw
        mulhu s6, s4, a1
        mul a1, s4, a1
        slli s6, s6, 17
        srli a1, a1, 15; or s6, s6, a1  @ what is to be kept
        lui s7, 8; addi s7, s7, 1  @ 2**15 + 1, too high
    halve:
        add s8, s5, s7; srli s8, s8, 1; beq s8, s5, found
        jal ra, mass
        blt s4, s6, lower
        mv s5, s8
        j halve
    lower:
        mv s7, s8
        j halve
    mass:
        li s4, 0
        mv a0, s0
    weight:
        lw a1, 0(a0)
        addi a0, a0, 4
        blt a1, s8, light
        add s4, s4, a1
    light:
        bne a0, s1, weight
        jr ra
    found:
        jal ra, mass
    """)


def draw(k: Kernel) -> None:
    """The generator's next number chooses a weight."""
    k("""
    draw:
        lw a1, .random(s10); slli a2, a1, 13; xor a1, a1, a2; srli a2, a1, 17
        xor a1, a1, a2; slli a2, a1, 5; xor a1, a1, a2; sw a1, .random(s10)
        srli a1, a1, 2; mulhu a2, s4, a1
        mul a1, s4, a1
        slli a2, a2, 2
        srli a1, a1, 30; or a1, a1, a2
        mv a0, s0
    choose:
        lw a2, 0(a0); blt a2, s5, past
        sub a1, a1, a2; bltz a1, pick
    past:
        addi a0, a0, 4; bne a0, s1, choose
        j end
    pick:
        sub a0, a0, s0; srai a0, a0, 2; sw a0, .chosen(s10)
    end:
    """)


def sample() -> Kernel:
    """The best token, or one that is drawn."""
    k = kernel("sample", "the best token, or one that is drawn")
    for part in best, weights, cut, draw:
        part(k)
    enclose(k)
    return k
