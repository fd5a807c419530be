"""What kernels have in common.

Kernels of RISC-V save the registers that they use: MicroPython saves none for them. gp and tp
are never used, as interrupts may need them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from picoformer.device import program

from ..riscv import Kernel

BIAS = "0x20000"  # upper 20 bits of what operands have too many
ARENA = "pos total context stride"
RUN = "start words"
FIELDS = {name: limits for name, _, limits in program.OPS.values()}
FIELDS["sample"] = "logits n exp2 factor shift top_p random chosen"


def kernel(name: str, about: str, words: str = "") -> Kernel:
    """A kernel that is called with a record in a0 and the arena in a1, whose fields it knows.

    words: of the stack.
    """
    k = Kernel(name, about)
    k.stack(words)
    for fields in ARENA, RUN, FIELDS[name]:
        k.fields(" ".join(field.partition(":")[0] for field in fields.split()))
    return k


def fresh(k: Kernel, name: str) -> str:
    """A label that is not there yet; it has to be placed before the next of that name."""
    i = 1
    while f"{name}{i}" in k.labels:
        i += 1
    return f"{name}{i}"


def enclose(k: Kernel) -> None:
    """Around all of a kernel: save the registers that it uses, take room for its words of the
    stack, whose pointer stays a multiple of 16, and give all of it back. The result is a number,
    so that nothing is allocated.
    """
    used = set(re.findall(r"\bs\d+|\bra\b", "\n".join(line.text for line in k.lines)))
    saved = {r: 4 * (len(k.words) + i) for i, r in enumerate(sorted(used))}
    room = (4 * (len(k.words) + len(saved)) + 15) & ~15
    k.registers()
    body, k.lines = k.lines, []
    k(f"addi sp, sp, {-room}")
    for r, at in saved.items():
        k(f"sw {r}, {at}(sp)")
    k.lines += body
    for r, at in saved.items():
        k(f"lw {r}, {at}(sp)")
    k(f"""
        addi sp, sp, {room}
        li a0, 0
    """)


def at_least(k: Kernel, value: str, limit: str) -> None:
    """The larger of two registers, in the first."""
    over = fresh(k, "over")
    k(f"""
        bge {value}, {limit}, {over}
        mv {value}, {limit}
    {over}:
    """)


def at_most(k: Kernel, value: str, limit: str) -> None:
    """The smaller of two registers, in the first."""
    under = fresh(k, "under")
    k(f"""
        ble {value}, {limit}, {under}
        mv {value}, {limit}
    {under}:
    """)


def held(k: Kernel, shift: str, room: str, up: str, half: str) -> None:
    """What `rescale` makes of a shift and a room: how far to shift a sum to the left, what rounds
    its product less 16 bits, and, in the place of the shift, how far that goes to the right.
    Changes t0.
    """
    k(f"li t0, 17; sub {up}, t0, {shift}")
    at_least(k, up, "zero")
    at_most(k, up, room)
    at_least(k, shift, "t0")
    k("li t0, 47")
    at_most(k, shift, "t0")
    k(f"""
        addi {shift}, {shift}, -17
        li {half}, 1; sll {half}, {half}, {shift}
        addi {shift}, {shift}, 1
    """)


def follow(k: Kernel, run: str, left: str, w: str, base: str) -> None:
    """On to the next run of a matrix, if none of this one is left."""
    some = fresh(k, "some")
    k(f"""
        bnez {left}, {some}
        addi {run}, {run}, 8; lw {w}, .start({run})
        lw {left}, .words({run})
        add {w}, {w}, {base}
    {some}:
    """)


def columns(k: Kernel, n: int, shift: int = 8, sums: int = 4, load: str = "lw") -> None:
    """Add n columns to sums: sum i is that of (word >> shift * i) * x, modulo 2**32.

    From which the rows follow by subtraction. The names are those of registers: w, x, product,
    words one and two, values v1 and v2, sum0 and so on.
    """
    for i in range(0, n, 2):
        pair = [("one", "v1"), ("two", "v2")][: n - i]
        for j, (word, value) in enumerate(pair):
            k(f"""
                {load} {word}, {4 * (i + j)}(w)
                lw {value}, {4 * (i + j)}(x)
            """)
        for word, value in pair:
            for j in range(sums):
                k(f"mul product, {word}, {value}; add sum{j}, sum{j}, product")
                if j < sums - 1:
                    k(f"srli {word}, {word}, {shift}")


def bits(k: Kernel) -> None:
    """A subroutine, `jal t6, bits`: t0 becomes the number of bits of a1. Changes a1, a2."""
    k("bits:\nli t0, 0")
    for n in 16, 8, 4, 2, 1:
        few = fresh(k, "few")
        k(f"""
            srli a2, a1, {n}; beqz a2, {few}
            mv a1, a2
            addi t0, t0, {n}
        {few}:
        """)
    k("""
        add t0, t0, a1    @ which is 0 or 1
        jr t6
    """)


def magnitude(k: Kernel, value: str, most: str, spare: str) -> None:
    """`most` becomes the magnitude of a value if it is larger. Changes spare."""
    less = fresh(k, "less")
    k(f"""
        srai {spare}, {value}, 31; xor {value}, {value}, {spare}
        sub {value}, {value}, {spare}; bgeu {most}, {value}, {less}
        mv {most}, {value}
    {less}:
    """)


def largest(k: Kernel) -> None:
    """The words from a0 to a3 -> a4 the largest magnitude. Changes a0, a1, a2, a5."""
    again, more, less = fresh(k, "largest"), fresh(k, "notmore"), fresh(k, "notless")
    k(f"""
        li a4, 0    @ the largest
        li a5, 0    @ the smallest
    {again}:
        lw a1, 0(a0)
        addi a0, a0, 4
        ble a1, a4, {more}
        mv a4, a1
    {more}:
        bge a1, a5, {less}
        mv a5, a1
    {less}:
        bne a0, a3, {again}
        neg a5, a5
    """)
    at_least(k, "a4", "a5")


def shifts(k: Kernel, shift: str, up: str, half: str, down: str) -> None:
    """How `shift` by a number of bits goes: to the left, plus a half, to the right."""
    right = fresh(k, "right")
    k(f"""
        li {up}, 0
        mv {down}, {shift}
        bgez {shift}, {right}
        neg {up}, {shift}
        li {down}, 0
    {right}:
        li {half}, 1; sll {half}, {half}, {down}; srli {half}, {half}, 1
    """)


def shifted(k: Kernel, value: str, up: str, half: str, down: str) -> None:
    """A value, shifted and rounded by what `shifts` found."""
    k(f"""
        sll {value}, {value}, {up}; add {value}, {value}, {half}
        sra {value}, {value}, {down}
    """)


def root(k: Kernel) -> None:
    """a1 a sum of squares, a5 the shift that they had; a0 their root, t5 its exponent.

    Changes t0, t6, a1 to a5.
    """
    k("""
        lw a2, .eps(s10)
        lw t0, .eps_e(s10)
        slli a5, a5, 1; sub t0, t0, a5; bltz t0, small
        li a3, 15
    """)
    at_most(k, "t0", "a3")
    k("""
        sll a2, a2, t0
        j grown
    small:
        neg t0, t0
        li a3, 31
    """)
    at_most(k, "t0", "a3")
    k("""
        srl a2, a2, t0
    grown:
        add a5, a1, a2; mv a1, a5
        jal t6, bits
        li t5, 30; sub t5, t5, t0; srai t5, t5, 1
        srli a1, a5, 2
        bltz t5, even
        slli t0, t5, 1; sll a1, a5, t0
    even:
        li a0, 0
        lui a2, 4    @ 2**14, a bit
    bit:
        add a3, a0, a2; mul a4, a3, a3; bltu a1, a4, above
        mv a0, a3
    above:
        srli a2, a2, 1; bnez a2, bit
        seqz a2, a0; add a0, a0, a2  @ at least 1
    """)


def arguments(k: Kernel, *subroutines: Callable[[Kernel], None]) -> None:
    """The record, in a0, is in s10 from here on, the base in s11; vectors T, STRIDE. Changes t0.

    Goes to the end where there are no vectors. The subroutines lie where nobody runs into them.
    """
    k(f"""
        mv s10, a0
        lui t0, {BIAS}; sub s11, a1, t0
        lw t0, .stride(a1); slli t0, t0, 2; sw t0, STRIDE
        lw t0, .total(a1); sw t0, T
        bnez t0, begin
        j end
    """)
    for part in subroutines:
        part(k)
    k("begin:")


def vectors(k: Kernel, again: str, *pointers: str) -> None:
    """On to the next vector, at which so many registers point. Changes a0."""
    k("lw a0, STRIDE")
    for p in pointers:
        k(f"add {p}, {p}, a0")
    k(f"""
        lw a0, T; addi a0, a0, -1; sw a0, T
        bnez a0, {again}
    end:
    """)


def rotation(k: Kernel) -> None:
    """Turn pairs of words, from a0 to a1 and from there to a3, by the table at a2.

    a4 becomes the largest magnitude. Changes t0 to t6.
    """
    k("""
        lui t6, 4    @ 2**14
        li a4, 0
    rotate:
        lw t0, 0(a2)
        lw t3, 0(a0)
        lw t4, 0(a1)
        slli t1, t0, 16; srai t1, t1, 16  @ cosine
        srai t2, t0, 16    @ sine
        mul t0, t3, t1
        mul t5, t4, t2; sub t0, t0, t5; add t0, t0, t6; srai t0, t0, 15
        sw t0, 0(a0)
        mul t3, t3, t2
        mul t4, t4, t1; add t3, t3, t4; add t3, t3, t6; srai t3, t3, 15
        sw t3, 0(a1)
    """)
    magnitude(k, "t0", "a4", "t1")
    magnitude(k, "t3", "a4", "t1")
    k("""
        addi a0, a0, 4; addi a1, a1, 4; addi a2, a2, 4
        bne a1, a3, rotate
    """)


def differences(k: Kernel, shift: int, sums: int = 4) -> None:
    """What `columns` has summed becomes the rows."""
    for j in range(sums - 1):
        k(f"slli product, sum{j + 1}, {shift}; sub sum{j}, sum{j}, product")


def rescaled(
    k: Kernel, value: str, mantissa: str, scale: str, round_: str, mask: str, up: str, half: str,
    down: str,
) -> None:  # fmt: skip
    """A sum becomes a result, by a row's mantissa and four times the vector's.

    mul = (mantissa * vector's mantissa + 2**13) >> 14 is taken 2**16 times. Neither is above
    2**16, 2**14. mask is ~0xFFFF, round_ 2**15. `held` says how sums are shifted. Changes the
    mantissa.
    """
    k(f"""
        mul {mantissa}, {mantissa}, {scale}
        sll {value}, {value}, {up}
        add {mantissa}, {mantissa}, {round_}
        and {mantissa}, {mantissa}, {mask}
        mulhsu {value}, {value}, {mantissa}; add {value}, {value}, {half}
        sra {value}, {value}, {down}
    """)
