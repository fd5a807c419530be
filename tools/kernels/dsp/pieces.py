"""What kernels have in common."""

from __future__ import annotations

from ..arm import Kernel


def prologue(k: Kernel, words: str) -> int:
    """Save the registers that MicroPython does not, and take room for words on the stack.

    Returns the bytes of it, for `epilogue`. MicroPython saves r4 to r7 and lr.
    """
    room = k.stack(words)
    k(f"""
        push {{r8-r11}}
        sub sp, #{room}
    """)
    return room


def arguments(k: Kernel) -> None:
    """The record, in r0, and the arena, in r1, become words: REC and BASE, vectors T, STRIDE.

    r2 is BASE then. Changes r3.
    """
    k("""
        sub r2, r1, #0x20000000
        str r2, BASE
        str r0, REC
        ldr r3, [r1, #4]
        str r3, T
        ldr r3, [r1, #12]
        lsls r3, r3, #2
        str r3, STRIDE
    """)


def epilogue(k: Kernel, room: int = 0) -> None:
    """Give back what `prologue` took; the result is a number, so that nothing is allocated."""
    if room:
        k(f"add sp, #{room}")
    k("""
        pop {r8-r11}
        movs r0, #0
    """)


def pair(k: Kernel, first: str, second: str, x: str, spare: str = "lr") -> None:
    """Add two columns, two words of weights, times a word with two activations, to four sums."""
    k(f"""
        pkhbt {spare}, {first}, {second}, lsl #16    @ rows 0 and 1 of both columns
        pkhtb {second}, {second}, {first}, asr #16    @ rows 2 and 3
        uxtb16 {first}, {spare}
        uxtb16 {spare}, {spare}, ror #8
        smlad r8, {first}, {x}, r8
        smlad r9, {spare}, {x}, r9
        uxtb16 {first}, {second}
        uxtb16 {second}, {second}, ror #8
        smlad r10, {first}, {x}, r10
        smlad r11, {second}, {x}, r11
    """)


SUMS = "r8", "r9", "r10", "r11"  # of four rows
RESULTS = "r2", "r3", "r4", "r5"


def rows(k: Kernel) -> None:
    """The sums of four rows become results, in r2 to r5.

    r2 and r4: mantissas of rows, two a word; r6: the vector's mantissa times 8. Words on the
    stack: K, how far a sum is shifted to the left; RND and S, which round the product with it less
    16 bits, and shift it. Changes r6, r7; the sums are shifted.

    mul = (mantissa * vector's mantissa + 2**13) >> 14, which is half of 1 more than >> 13. As
    vectors have mantissas of 2**14 at most, which `norm` sees to, mul has no more bits than the
    row's: 15 by the format. `large` has what to do with 16, as nobody looks before they are here.
    """
    k("""
        movs r7, #1
        orr r3, r2, r4
        tst r3, #0x80008000
        bne.w large
        smlawt r3, r6, r2, r7
        smlawb r2, r6, r2, r7
        smlawt r5, r6, r4, r7
        smlawb r4, r6, r4, r7
        lsrs r2, r2, #1
        lsrs r3, r3, #1
        lsrs r4, r4, #1
        lsrs r5, r5, #1
        ldr r6, K
        ldr r7, RND
    """)
    for s in SUMS:
        k(f"lsl {s}, {s}, r6")
    k("ldr r6, S")
    for m, s in zip(RESULTS, SUMS, strict=True):
        k(f"smlawb {m}, {s}, {m}, r7")
    k("shifted:")
    for m in RESULTS:
        k(f"asrs {m}, r6")


def large(k: Kernel) -> None:
    """`rows` where a mantissa has 16 bits: a factor that looks negative takes a sum too much."""
    k("""
    large:
        lsrs r6, r6, #3
        mov r7, #0x2000
        lsrs r3, r2, #16
        uxth r2, r2
        lsrs r5, r4, #16
        uxth r4, r4
    """)
    for m in RESULTS:
        k(f"mla {m}, {m}, r6, r7")
    for m in RESULTS:
        k(f"lsrs {m}, {m}, #14")
    k("""
        ldr r6, K
        ldr r7, RND
    """)
    for m, s in zip(RESULTS, SUMS, strict=True):
        k(f"""
            lsl {s}, {s}, r6
            tst {m}, #0x8000
            smlawb {m}, {s}, {m}, r7
            it ne
            addne {m}, {s}
        """)
    k("""
        ldr r6, S
        b.w shifted
    """)


def shifts(k: Kernel) -> None:
    """K, RND and S for a vector: r0 its record's `shift`, r1 `room`, r3 the vector's exponent.

    A shift below 17 moves the sum to the left instead, as far as there is room. Changes r2, r4.
    """
    k("""
        subs r0, r0, r3
        rsb r4, r0, #17
        cmp r4, #0
        it lt
        movlt r4, #0
        cmp r4, r1
        it gt
        movgt r4, r1
        str r4, K
    """)
    rounding(k)


def rounding(k: Kernel) -> None:
    """RND and S for a shift by r0. Changes r0, r2."""
    k("""
        cmp r0, #17
        it lt
        movlt r0, #17
        cmp r0, #47
        it gt
        movgt r0, #47
        subs r0, #17
        movs r2, #1
        lsls r2, r0
        str r2, RND
        adds r0, #1
        str r0, S
    """)


def largest(k: Kernel, value: str) -> None:
    """r3 becomes the magnitude of a value if it is larger. Changes the value."""
    k(f"""
        cmp {value}, #0
        it lt
        rsblt {value}, {value}, #0
        cmp {value}, r3
        it hi
        movhi r3, {value}
    """)


def fifteen(k: Kernel, name: str) -> None:
    """The words from r0 to r1 are to lose r4 bits, negative: to get some, which they do here.

    r5 becomes what they are multiplied with then, for the upper half of the product, rounded: so
    the largest, r3, is changed. Changes r0, r2, r4. name: of labels.
    """
    k(f"""
        cmp r4, #2
        bge {name}
        rsb r4, r4, #16
        lsls r3, r4
    {name}left:
        ldr r2, [r0, #0]
        lsls r2, r4
        stmia r0!, {{r2}}
        cmp r0, r1
        bne {name}left
        movs r4, #16
    {name}:
        rsb r4, r4, #32
        movs r5, #1
        lsls r5, r4
        smmulr r3, r3, r5
    """)


def excess(k: Kernel, loop: str) -> None:
    """The words from r0 to r1 -> r3 the largest magnitude, r4 its bits above 15. Changes r0, r2.

    loop: a label.
    """
    k(f"""
        sub r2, r1, r0
        movs r3, #0
        lsls r2, r2, #29
        bpl {loop}
        ldmia r0!, {{r2}}   @ one of an odd number
    """)
    largest(k, "r2")
    k(f"""
        cmp r0, r1
        beq {loop}s
    {loop}:
        ldmia r0!, {{r2, r4}}
    """)
    largest(k, "r2")
    largest(k, "r4")
    k(f"""
        cmp r0, r1
        bne {loop}
    {loop}s:
        clz r4, r3
        rsb r4, r4, #17     @ bits above 15
    """)
