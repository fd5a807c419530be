"""Sums of products with packed weights, in `linear` and `attend`.

A word W holds one column of four rows, as unsigned bytes of weight + 128. With its activation x,
four sums take W x, (W >> 8) x, (W >> 16) x and (W >> 24) x, modulo 2**32. Sum i less 256 times
sum i + 1 is then the sum of (byte i) x: no byte is ever masked out. The 128 come off by the values
that the sums start with, or in the end. Loading one word takes 2 cycles, two 3, three 4: so
columns go by threes, 41 cycles for 12 products; and as there are registers for five operands and a
product, the activations run one column ahead.
"""

from __future__ import annotations

from ..arm import Kernel
from .pieces import far

SUMS = "r8", "r9", "r10", "r11"


def column(k: Kernel, w: str, x: str, product: str, *lanes: int) -> None:
    """A word times its activation, to the sums; lanes: where all but the first begin. Loses w."""
    for s, lane in zip(SUMS[1:], lanes, strict=False):
        k(f"lsrs {product}, {w}, #{lane}; muls {product}, {x}; add {s}, {product}")
    k(f"muls {w}, {x}; add {SUMS[0]}, {w}")


def unrolled(k: Kernel, loop: str, threes: int, *lanes: int, skip: str = "r6", then: str) -> None:
    """Sums of a row: r0 words, r1 activations, r12 where these end and one more.

    skip: bytes to jump over first, for the rest that the division by three leaves; in the word
    `then` those of the second jump, for columns that `threes` leave. See `jumps`.
    """
    k(f"""
        ldmia r1!, {{r7}}       @ from here on r7 is one activation ahead
        add pc, {skip}
        nop
    """)
    for _ in range(2):
        k("ldmia r0!, {r4}")
        column(k, "r4", "r7", "r3", *lanes)
        k("ldmia r1!, {r7}")
    k(f"""
        ldr r6, {then}; add pc, r6
        nop
    {loop}:
    """)
    for _ in range(threes):
        # The registers of columns that are done take the next operands.
        k("ldmia r0!, {r4-r6}")
        column(k, "r4", "r7", "r3", *lanes)
        k("ldmia r1!, {r2, r3, r7}")
        column(k, "r5", "r2", "r4", *lanes)
        column(k, "r6", "r3", "r4", *lanes)
    k("cmp r1, r12")
    if threes * bytes_of(len(lanes) + 1)[0] < 250:
        k(f"bne {loop}")
    else:
        far(k, "bne", loop)


def bytes_of(lanes: int) -> tuple[int, int]:
    """Bytes of code: three columns of `unrolled`, and one of the two in front of them."""
    each = 6 * (lanes - 1) + 4
    return 3 * each + 4, each + 4


def jumps(k: Kernel, threes: int, lanes: int = 0, many: bool = False) -> None:
    """A function: r3 columns -> where to enter code that is unrolled for so many threes.

    r4 from its first jump, r5 from its second; before, bytes of three columns and of one, unless
    `lanes` says. The rest of the division counts; many: of more columns than the product of 32
    bits takes. Changes r3, r6, r7.
    """
    columns = 3 * threes
    k("jumps:")
    if lanes:
        three, one = bytes_of(lanes)
        k(f"movs r4, #{three}; movs r5, #{one}")
    if many:
        k("""
            movs r6, #3; lsls r6, r6, #15
        many:
            cmp r3, r6; blo few
            subs r3, r3, r6
            b many
        few:
        """)
    k(f"""
        movs r6, #171; movs r7, #170; lsls r7, r7, #8; adds r6, r6, r7  @ 2**17 / 3, rounded up
        muls r6, r3; lsrs r6, r6, #{16 + threes.bit_length()}
        movs r7, #{columns}; muls r6, r7; subs r3, r3, r6
        movs r6, #11; muls r6, r3; lsrs r6, r6, #5                      @ threes
        subs r3, r3, r6; subs r3, r3, r6; subs r3, r3, r6               @ singles
        movs r7, #{threes}; subs r7, r7, r6; muls r7, r4
        cmp r3, #0; beq nosingles
        movs r4, #2; subs r4, r4, r3; muls r4, r5
        mov r5, r7
        bx lr
    nosingles:
        lsls r4, r5, #1; adds r4, #6; adds r4, r4, r7   @ past the singles and the second jump
        mov r5, r7
        bx lr
    """)
