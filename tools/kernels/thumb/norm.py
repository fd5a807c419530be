"""`norm`, which is `layernorm` as well."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import (
    at_most,
    bits,
    closed,
    divide,
    epilogue,
    far,
    kernel,
    largest,
    magnitude,
    more,
    prologue,
    shifts,
    times,
    vectors,
)


def functions(k: Kernel) -> None:
    """`amax`, the words from r0 to r1 -> r3, the largest magnitude, r4 its bits; `bits`."""
    k("amax:")
    largest(k)
    k("bits:")
    bits(k)
    k("bx lr")
    divide(k)
    shifts(k)


def start(k: Kernel) -> None:
    """A layernorm's record is taken as if it began a word before."""
    vectors(k)
    k("""
        movs r3, #0; str r3, AT; str r3, SHIFTED
        ldr r4, [r0, .bits]; lsrs r4, r4, #14
        beq squares
        subs r0, #4; str r0, REC
        ldr r3, [r0, .width]
    squares:
        str r3, N           @ 0: not layernorm
        b vector
    """)


def center(k: Kernel) -> None:
    """A layernorm's vector to 15 bits, then n times the distance from the mean.

    r0 x, r1 out and its end, r4, r5 and r6 shifts, r7 the sum, negative.
    """
    k.registers(start="r9", end="r12")
    k("""
    vector:
        ldr r0, REC
        ldr r2, BASE; ldr r3, AT; adds r2, r2, r3
        ldr r1, N
        cmp r1, #0; beq asitis
        ldr r5, [r0, .power]; negs r5, r5; str r5, E    @ what the root adds is then taken off
        lsls r1, r1, #2
        ldr r3, [r0, .to]; adds r3, r3, r2; str r3, Y; str r3, SOURCE
        adds r3, r3, r1; mov end, r3
        ldr r0, [r0, .from]; adds r0, r0, r2; mov start, r0
        adds r1, r1, r0
        bl amax
        subs r4, #15; str r4, SHIFTED
        bl shifts
        mov r0, start
        ldr r1, Y
        movs r7, #0
    mean:
        ldmia r0!, {r3}; lsls r3, r5; adds r3, r3, r6; asrs r3, r4
        subs r7, r7, r3
        stmia r1!, {r3}
        cmp r1, end; bne mean
        ldr r0, Y
        ldr r2, N
        movs r3, #0             @ has as many bits as the largest
    center:
        ldr r4, [r0, #0]; muls r4, r2; adds r4, r4, r7; stmia r0!, {r4}
        asrs r5, r4, #31; eors r4, r5; subs r4, r4, r5; orrs r3, r4
        cmp r0, end; bne center
        bl bits
        subs r4, #15
        ldr r0, REC
        ldr r1, [r0, .weight]
        b gain
    """)


def asitis(k: Kernel) -> None:
    """The next vector of a norm. The exponent E grows by that of `dyn`."""
    k("""
    asitis:
        ldr r5, [r0, .exponent]
        ldr r3, [r0, .dyn]
        cmp r3, #0; beq fixed
        adds r3, r3, r2; ldr r3, [r3, #0]; adds r5, r5, r3
    fixed:
        str r5, E
        ldr r1, [r0, .n]; lsls r1, r1, #2
        ldr r3, [r0, .out]; adds r3, r3, r2; adds r3, #16; str r3, Y
        adds r3, r3, r1; mov end, r3
        ldr r0, [r0, .x]; adds r0, r0, r2; str r0, SOURCE
        adds r1, r1, r0
        bl amax
        subs r4, #15
        ldr r0, REC
        ldr r1, [r0, .gain]; str r1, ROOT   @ 0: there is none
        cmp r1, #0; bne gain
        b last
    """)


def gain(k: Kernel) -> None:
    """Times the gain, with the sum of squares.

    r0 x, r1 y and its end, r2 gain, r4 and r5 shifts, r6 shift of a square; the total of squares,
    the peak.
    """
    k.registers(total="r8", peak="r9", half="r10", end="r12")
    k("""
    gain:
        ldr r5, [r0, .eps_e]
        ldr r6, SHIFTED; adds r6, r6, r4; lsls r6, r6, #1; subs r5, r5, r6
        str r5, EPSILON         @ its exponent, seen from the sum of squares
        bl shifts
        mov half, r6
        ldr r2, BASE; adds r2, r2, r1
        ldr r6, [r0, .lg]
        ldr r0, SOURCE
        ldr r1, Y; str r1, SOURCE   @ of what follows
        movs r3, #0; mov total, r3; mov peak, r3
    square:
        ldmia r0!, {r3}; lsls r3, r5; add r3, half; asrs r3, r4
        mov r7, r3; muls r7, r7; lsrs r7, r6; add total, r7
        ldmia r2!, {r7}; muls r3, r7; stmia r1!, {r3}
    """)
    magnitude(k, "r3", "r7")
    closed(k, "square", "r1, r12", "r3", "r9", "bhi")
    k("""
        ldr r0, REC
        ldr r4, [r0, .eps]
        ldr r5, EPSILON
        cmp r5, #0; blt tiny
    """)
    at_most(k, "r5", 15)
    k("""
        lsls r4, r5
        b added
    tiny:
        negs r5, r5
    """)
    at_most(k, "r5", 31)
    k("""
        lsrs r4, r5
    added:
        add r4, total
    """)


def root(k: Kernel) -> None:
    """The square root of the sum, shifted to 29 or 30 bits: bit by bit."""
    k("""
        mov r3, r4; mov r7, r4
        bl bits
        movs r5, #30; subs r5, r5, r4; asrs r5, r5, #1
        ldr r6, E; adds r6, r6, r5; subs r6, #1; str r6, E
        cmp r5, #0; blt huge
        lsls r5, r5, #1; lsls r7, r5
        b roots
    huge:
        lsrs r7, r7, #2
    roots:
        movs r0, #0
        movs r1, #1; lsls r1, r1, #14
    nextbit:
        adds r2, r0, r1
        mov r4, r2; muls r4, r4
        cmp r4, r7; bhi nobit
        mov r0, r2
    nobit:
        lsrs r1, r1, #1
        bne nextbit
        cmp r0, #0; bne rooted
        adds r0, #1     @ no `movs`: behind this `bne` it is a word like an address: keeps garbage
    rooted:
    """)


def rescale(k: Kernel) -> None:
    """A layernorm's result: products times scale / root, to 15 bits, and the bias.

    r0 out, r1 bias, r2 multiplier, r5 shift, r6 0, r7 -1, or 0 without a bias.
    """
    k("""
        ldr r2, N
        cmp r2, #0; beq noscale
        mov r1, r0
        ldr r0, REC; ldr r0, [r0, .factor]; lsls r0, r0, #15
        bl divide
        mov r3, r2
        bl bits
        subs r4, #15
        ldr r7, E; adds r7, r7, r4; mvns r7, r7     @ its negative, less 1, which the root took off
        subs r7, #16
        bgt short
        movs r7, #1
    short:
    """)
    at_most(k, "r7", 31)
    k("""
        bl shifts
        adds r2, r3, r6; lsrs r2, r4
        mov r5, r7
        ldr r0, REC; ldr r7, [r0, .offset]
        ldr r0, Y
        mov r1, r0
        movs r6, #0
        cmp r7, #0; beq rescale
        ldr r1, BASE; adds r1, r1, r7
        mvns r7, r6
    rescale:
        ldr r3, [r0, #0]
    """)
    times(k, "r3", "r2", "r4")
    k("""
        asrs r3, r5; adcs r3, r6
        ldmia r1!, {r4}; ands r4, r7; adds r3, r3, r4
        stmia r0!, {r3}
        cmp r0, end; bne rescale
        b next
    """)


def quantize(k: Kernel) -> None:
    """A norm's result: r3 the largest magnitude, r4 its bits less 15."""
    k.registers(total="r8", peak="r9", half="r10", half2="r11", end="r12")
    k("""
    noscale:
        str r0, ROOT
        mov r3, peak
        bl bits
        subs r4, #15
    last:
    """)
    more(k, "E", "r4", "r5")
    k("""
        bl shifts
        mov half, r6
        lsls r3, r5; adds r3, r3, r6; lsrs r3, r4
        bne nonzero
        movs r3, #1
    nonzero:
        mov peak, r3
        ldr r0, REC
        ldr r7, [r0, .bits]
        movs r6, #31; subs r6, r6, r7
        subs r7, #1
        movs r0, #1; lsls r0, r7; subs r0, #1; lsls r0, r6
        mov r1, r3
        bl divide
        movs r3, #1; lsls r3, r6; lsrs r3, r3, #1; mov half2, r3
        lsls r2, r5             @ once for all
        ldr r0, SOURCE
        ldr r1, Y
        movs r7, #0             @ the sum
    quantize:
        ldmia r0!, {r3}; add r3, half; asrs r3, r4
        muls r3, r2; add r3, half2; asrs r3, r6
        adds r7, r7, r3
        stmia r1!, {r3}
        cmp r1, end; bne quantize
        mov total, r7
    """)


def scale(k: Kernel) -> None:
    """The scale of the result, over the root if there is one; then the next vector."""
    k("""
        ldr r0, REC; ldr r0, [r0, .scale]
        mov r3, peak; muls r3, r0
        ldr r1, ROOT
        cmp r1, #0; beq noroot
        lsls r0, r3, #1
        bl divide
        mov r3, r2
    noroot:
        bl bits
        subs r4, #14
        ldr r7, E; adds r7, r7, r4
        bl shifts
        lsls r3, r5; adds r3, r3, r6; lsrs r3, r4
        mov r4, r7
        mov r5, total
        ldr r0, Y; subs r0, #16; stmia r0!, {r3-r5}
    next:
        ldr r0, AT; ldr r1, STRIDE; adds r0, r0, r1; str r0, AT
        ldr r0, T; subs r0, #1; str r0, T
    """)
    far(k, "bne", "vector")


def norm() -> Kernel:
    """First the largest magnitude; with a gain then the products with it, which need 15 bits.

    Their squares are summed; at last come the quantized values. Passes take 11, 24 and 14 cycles
    an element.

    It is `layernorm` as well, which has the same square root: instead of the bits, 12 at most,
    field 3 is then a scale, 2**14 at least. Its fields have other names here, a word further on:
    the last three are then where norm has them. Passes take 11, 11, 13, 24 and 19 cycles an
    element.
    """
    k = kernel("norm", "a vector with a root mean square of one, quantized; or a layernorm")
    k.fields("_ from to width factor power weight offset")
    prologue(k, "BASE REC T STRIDE AT E Y SOURCE ROOT EPSILON SHIFTED N")
    start(k)
    functions(k)
    for part in center, asitis, gain, root, rescale, quantize, scale:
        part(k)
    epilogue(k)
    return k
