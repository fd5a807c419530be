"""`logmel`, a row of log-mel energies: the window, a Fourier transform, bands, logarithms."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import magnitude, more

HEAD = "rate window size hop bands first points none"


def logmel() -> Kernel:
    """r0 the table, r1 work, r2 samples, r3 out; docs/numerics.md has the steps by their numbers.

    18 cycles a sample, 42 a butterfly, 62 a point, 25 a point of bands.
    """
    k = Kernel("logmel", "a row of log-mel energies of a window of sound")
    k.ARGUMENTS = "r0, r1, r2, r3"  # type: ignore[misc]
    k.fields(HEAD)
    k("mov r4, r8; mov r5, r9; mov r6, r10; mov r7, r11")
    words = "TABLE ONE OTHER SOURCE TARGET TWIDDLES AT STEP LAST MORE COUNTS HIGH LOW BANDS"
    room = k.stack(words)
    k(f"""
        push {{r4-r7}}
        sub sp, #{room}
        str r0, TABLE
    """)
    window(k)
    transform(k)
    real(k)
    bands(k)
    k(f"""
        add sp, #{room}
        pop {{r4-r7}}
        mov r8, r4; mov r9, r5; mov r10, r6; mov r11, r7
        movs r0, #0
    """)
    return k


def window(k: Kernel) -> None:
    """1. r0 weights, r1 and its end the products, r2 samples, r3 all of their magnitudes."""
    k.registers(end="r8", last="r9")
    k("""
        ldr r4, [r1, #4]; lsls r4, r4, #1; adds r4, r4, r3; str r4, ONE
        ldr r4, [r1, #8]; lsls r4, r4, #1; adds r4, r4, r3; str r4, OTHER
        ldr r4, [r1, #0]; lsls r4, r4, #1; adds r2, r2, r4
        adds r1, #16; str r1, SOURCE
        ldr r4, [r0, .size]; lsls r4, r4, #2; str r4, LAST
        adds r4, r4, r1; str r4, TARGET
        ldr r4, [r0, .window]; lsls r4, r4, #1; adds r4, r4, r2; mov end, r4
        adds r0, #32
        movs r3, #0
    weigh:
        ldrh r4, [r2, #0]; adds r2, #2; sxth r4, r4
        ldrh r5, [r0, #0]; adds r0, #2
        muls r4, r5; stmia r1!, {r4}
    """)
    magnitude(k, "r4", "r5")
    k("""
        orrs r3, r4
        cmp r2, end; bne weigh
        str r0, TWIDDLES
        mov last, r1
        movs r4, #0
        ldr r5, TARGET
        b padded
    pad:
        stmia r1!, {r4}
    padded:
        cmp r1, r5; bne pad
        movs r5, #16; negs r5, r5   @ down: the bits of the largest, less 16
        b counted
    count:
        adds r5, #1; lsrs r3, r3, #1
    counted:
        cmp r3, #0; bne count
        str r5, MORE
        ldr r1, SOURCE
        movs r6, #0
        cmp r5, #0; bgt halve
        negs r5, r5
    double:
        ldr r4, [r1, #0]; lsls r4, r5; stmia r1!, {r4}
        cmp r1, last; bne double
        b weighed
    halve:
        ldr r4, [r1, #0]; asrs r4, r5; adcs r4, r6; stmia r1!, {r4}
        cmp r1, last; bne halve
    weighed:
    """)


def transform(k: Kernel) -> None:
    """2. r0 and r1 pairs, half of them apart, r2 the sums, other the differences behind them."""
    k.registers(re="r8", im="r9", other="r10", end="r11", middle="r12")
    k("""
        movs r7, #8         @ 8 s: bytes of the sums
    stage:
        str r7, STEP
        ldr r0, SOURCE
        ldr r6, LAST; lsrs r6, r6, #1
        adds r1, r0, r6; mov middle, r1
        ldr r2, TARGET
        ldr r3, TWIDDLES; str r3, AT
        adds r3, r2, r7
        mov end, r3; mov other, r3
    one:
    """)
    butterfly(k)
    k("""
        adds r6, #1; asrs r6, r6, #1; adds r7, #1; asrs r7, r7, #1
        mov r3, other; stmia r3!, {r6, r7}; mov other, r3
        cmp r2, end; bne one
        b turned
    turn:
        ldr r3, AT; ldr r4, STEP; adds r3, r3, r4; str r3, AT
        ldr r5, [r3, #0]; sxth r3, r5; mov re, r3; asrs r5, r5, #16; mov im, r5
        mov r2, other
        adds r3, r2, r4
        mov end, r3; mov other, r3
    pairs:
    """)
    butterfly(k)
    k("""
        mov r4, re; mov r5, im
        mov r3, r6; muls r3, r4; muls r6, r5
        muls r4, r7; muls r5, r7
        adds r3, r3, r5; subs r4, r4, r6
        movs r5, #0
        asrs r3, r3, #14; adcs r3, r5; asrs r4, r4, #14; adcs r4, r5
        mov r5, other; stmia r5!, {r3, r4}; mov other, r5
        cmp r2, end; bne pairs
    turned:
        cmp r0, middle; bne turn
        ldr r0, SOURCE; ldr r1, TARGET; str r0, TARGET; str r1, SOURCE
    """)
    more(k, "MORE", "#1")
    k("""
        ldr r7, STEP; lsls r7, r7, #1
        ldr r6, LAST
        cmp r7, r6; bne stage
    """)


def butterfly(k: Kernel) -> None:
    """Two pairs a and b: half their sum to r2, their difference r6, r7."""
    k("""
        ldmia r0!, {r4, r5}; ldmia r1!, {r6, r7}
        subs r6, r4, r6; lsls r4, r4, #1; subs r4, r4, r6
        subs r7, r5, r7; lsls r5, r5, #1; subs r5, r5, r7
        adds r4, #1; asrs r4, r4, #1; adds r5, #1; asrs r5, r5, #1
        stmia r2!, {r4, r5}
    """)


def real(k: Kernel) -> None:
    """3. r0 upwards, r1 downwards, r2 out, r3 twiddles; all of the magnitudes."""
    k.registers(sum="r8", difference="r9", real="r10", imaginary="r11", most="r12", end="lr")
    k("""
        ldr r0, SOURCE; adds r0, #8
        ldr r1, SOURCE; ldr r2, LAST; adds r1, r1, r2; mov end, r1
        ldr r2, TARGET
        ldr r3, TWIDDLES; adds r3, #4
        movs r4, #0; mov most, r4
    point:
        ldmia r0!, {r4, r5}
        subs r1, #8; ldr r6, [r1, #0]; ldr r7, [r1, #4]
        subs r6, r4, r6; lsls r4, r4, #1; subs r4, r4, r6; mov sum, r4
        adds r7, r5, r7; lsls r5, r5, #1; subs r5, r5, r7; mov difference, r5
        mov imaginary, r6; mov real, r7
        ldmia r3!, {r4}; sxth r5, r4; asrs r4, r4, #16
        muls r7, r5; muls r6, r4; subs r7, r7, r6
        mov r6, imaginary; muls r6, r5
        mov r5, real; muls r5, r4
        adds r6, r6, r5; negs r6, r6
        movs r4, #0
        asrs r7, r7, #13; adcs r7, r4; asrs r6, r6, #13; adcs r6, r4
        add r7, sum; add r6, difference
        stmia r2!, {r6, r7}
    """)
    magnitude(k, "r6", "r4")
    magnitude(k, "r7", "r4")
    k("""
        orrs r6, r7; mov r7, most; orrs r6, r7; mov most, r6
        cmp r0, end; bne point
    """)


def bands(k: Kernel) -> None:
    """4 and 5. r0 points, r1 weights, r2 shift, r3 how many are left; sums, and of what rises."""
    k.registers(half="r8", high="r9", low="r10", rise="r11", rises="r12")
    k("""
        movs r2, #14; negs r2, r2
        mov r3, rises       @ all of the magnitudes
        b known
    digit:
        adds r2, #1; lsrs r3, r3, #1
    known:
        cmp r3, #0; bne digit
        cmp r2, #0; bge shifted
        movs r2, #0
    shifted:
        movs r3, #1; lsls r3, r2; lsrs r3, r3, #1; mov half, r3
        ldr r3, MORE; adds r3, r3, r2; subs r3, #16; lsls r3, r3, #1; subs r3, #8; str r3, MORE
        ldr r4, TABLE
        ldr r0, [r4, .first]; subs r0, #1; lsls r0, r0, #3
        ldr r3, TARGET; adds r0, r0, r3
        ldr r3, LAST; lsrs r3, r3, #1; ldr r1, TWIDDLES; adds r3, r3, r1; str r3, COUNTS
        ldr r1, [r4, .bands]; str r1, BANDS
        adds r1, #1; lsls r1, r1, #2; adds r1, r1, r3
        movs r6, #0; mvns r6, r6; str r6, STEP  @ below 0: there is no band yet
    band:
        movs r4, #0
        mov high, r4; mov low, r4; mov rise, r4; mov rises, r4
        ldr r4, COUNTS; ldmia r4!, {r3}; str r4, COUNTS
        cmp r3, #0; beq none
    energy:
        ldmia r0!, {r4, r5}
        add r4, half; asrs r4, r2; muls r4, r4
        add r5, half; asrs r5, r2; muls r5, r5
        adds r4, r4, r5
        lsrs r5, r4, #16; uxth r4, r4
        add high, r5; add low, r4
        ldrh r6, [r1, #0]; adds r1, #2
        muls r5, r6; muls r4, r6
        add rise, r5; add rises, r4
        subs r3, #1; bne energy
    none:
        ldr r6, STEP; cmp r6, #0; blt begin
        mov r4, high; lsls r4, r4, #8; mov r6, rise; subs r4, r4, r6
        ldr r6, HIGH; adds r4, r4, r6
        mov r5, low; lsls r5, r5, #8; mov r6, rises; subs r5, r5, r6
        ldr r6, LOW; adds r5, r5, r6
        ldr r7, MORE
        movs r6, #1; lsls r6, r6, #13
        cmp r4, r6; bhs large
        lsls r4, r4, #16; adds r4, r4, r5
        b energies
    large:
        lsrs r5, r5, #16; adds r4, r4, r5
        adds r7, #16
    energies:
        cmp r4, #0; beq silent
        adds r7, #32
    top:
        subs r7, #1; lsls r4, r4, #1
        bhs found
        b top
    found:
        lsrs r4, r4, #17
        movs r5, #1; lsls r5, r5, #15; subs r5, r5, r4; muls r5, r4; lsrs r5, r5, #15
        movs r6, #11; muls r5, r6; lsrs r5, r5, #5
        adds r4, r4, r5; adds r4, #64; lsrs r4, r4, #7
        lsls r7, r7, #8; adds r4, r4, r7
        asrs r5, r4, #31; bics r4, r5
    silent:
        ldr r5, ONE; strh r4, [r5, #0]; adds r5, #2; str r5, ONE
        ldr r5, OTHER; strh r4, [r5, #0]; adds r5, #2; str r5, OTHER
    begin:
        mov r4, rise; str r4, HIGH
        mov r4, rises; str r4, LOW
        ldr r6, STEP; adds r6, #1; str r6, STEP
        ldr r5, BANDS; cmp r6, r5; bge finished
        b band
    finished:
    """)
