"""`sample`: the largest logit, or a random one among the most likely."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import at_least, at_most, epilogue, exp2, kernel, prologue, times


def best(k: Kernel) -> None:
    """`top` is the largest logit; it is chosen unless the record has a factor for the others."""
    k.registers(top="r9")
    k("""
        movs r3, #1; lsls r3, r3, #31
        adds r6, r4, #4
    largest:
        ldmia r4!, {r2}
        cmp r2, r3; ble smaller
        mov r3, r2; mov r6, r4
    smaller:
        cmp r4, r5; bne largest
        mov top, r3
        ldr r1, [r0, .factor]
        cmp r1, #0; bne weight
        ldr r4, START; subs r6, r6, r4; lsrs r6, r6, #2; subs r6, #1; str r6, [r0, .chosen]
        b done
    """)


def weigh(k: Kernel) -> None:
    """Weights, powers of two of what logits lack to the largest.

    r0 logits, r1 factor, r5 powers of two, r6 and r7 shifts; far: 2**24.
    """
    k.registers(total="r8", top="r9", far="r10", half="r11", end="r12")
    k("""
    weight:
        ldr r7, [r0, .shift]
        movs r6, #17; subs r6, r6, r7
    """)
    at_least(k, "r6", 0, compared=True)
    at_most(k, "r6", 6)
    k("adds r7, r7, r6; subs r7, #16")
    at_least(k, "r7", 1)
    at_most(k, "r7", 31)
    k("""
        ldr r5, [r0, .exp2]; ldr r3, BASE; adds r5, r5, r3
        movs r3, #0; mov total, r3
        movs r3, #1
        lsls r4, r3, #24; mov far, r4
        lsls r4, r3, #14; mov half, r4
        ldr r0, START
    weigh:
        ldr r3, [r0, #0]
        mov r2, top; subs r2, r2, r3
        cmp r2, far; bls close
        mov r2, far
    close:
        lsls r2, r6
    """)
    times(k, "r2", "r1", "r3", "lsrs")
    k("""
        movs r4, #0
        lsrs r2, r7; adcs r2, r4
        lsrs r3, r2, #14; bne nothing
    """)
    exp2(k, "r4", "r3")
    k("""
        add total, r4
    nothing:
        stmia r0!, {r4}
        cmp r0, end; bne weigh
        b weighed
    """)


def reached(k: Kernel) -> None:
    """A function: r2 a least weight -> r3 the sum of those that reach it. Changes r0, r4 to r7."""
    k("""
    sum:
        movs r3, #0
        ldr r0, START
        mov r1, end; subs r1, r1, r0; lsls r1, r1, #28; lsrs r1, r1, #28
        beq fours       @ bytes that four at a time leave over
        adds r1, r1, r0
    ones:
        ldmia r0!, {r4}
        cmp r4, r2; blt less0
        adds r3, r3, r4
    less0:
        cmp r0, r1; bne ones
        cmp r0, end; beq summed
    fours:
        ldmia r0!, {r4-r7}
    """)
    for r in "r4", "r5", "r6", "r7":
        k(f"""
            cmp {r}, r2; blt less{r}
            adds r3, r3, {r}
        less{r}:
        """)
    k("""
        cmp r0, end; bne fours
    summed:
        bx lr
    """)


def nucleus(k: Kernel) -> None:
    """The least weight that belongs to top-p, by halving."""
    k.registers(total="r8", low="r8", high="r9", reach="r10")
    k("""
    weighed:
        mov r3, total
        movs r2, #1
        ldr r0, REC
        ldr r1, [r0, .top_p]
        lsrs r4, r1, #15; bne chosen
        lsrs r4, r3, #15; muls r4, r1
        lsls r5, r3, #17; lsrs r5, r5, #17; muls r5, r1; lsrs r5, r5, #15
        adds r4, r4, r5; mov reach, r4
        mov low, r2
        lsls r3, r2, #15; adds r3, #1; mov high, r3
    halve:
        mov r3, high
        mov r2, low
        subs r4, r3, r2
        cmp r4, #1; ble halved
        adds r2, r2, r3; lsrs r2, r2, #1
        bl sum
        cmp r3, reach; bge enough
        mov high, r2
        b halve
    enough:
        mov low, r2
        b halve
    halved:
        bl sum
    chosen:
    """)


def pick(k: Kernel) -> None:
    """r2 least weight, r3 the sum: a random number (xorshift32) times the sum."""
    k.registers(end="r12")
    k("""
        ldr r0, REC
        ldr r4, [r0, .random]
        lsls r5, r4, #13; eors r4, r5
        lsrs r5, r4, #17; eors r4, r5
        lsls r5, r4, #5; eors r4, r5
        str r4, [r0, .random]
        lsrs r5, r3, #15; lsls r6, r3, #17; lsrs r6, r6, #17    @ both as halves of 15 bits
        lsrs r7, r4, #17; lsls r4, r4, #15; lsrs r4, r4, #17    @ of which this one has two more
        mov r1, r5; muls r1, r7
        muls r5, r4; muls r7, r6
        muls r6, r4; lsrs r6, r6, #15
        adds r5, r5, r6; adds r5, r5, r7; lsrs r5, r5, #15
        adds r1, r1, r5
        ldr r3, START
        mov r4, r3
    pick:
        ldmia r4!, {r5}
        cmp r5, r2; blt unlikely
        subs r1, r1, r5
        bmi picked
    unlikely:
        cmp r4, end; bne pick
        b done
    picked:
        subs r4, r4, r3; lsrs r4, r4, #2; subs r4, #1; str r4, [r0, .chosen]
    done:
    """)


def sample() -> Kernel:
    """Powers of two of the logits, then the least weight that belongs to top-p, a running sum."""
    k = kernel("sample", "the largest logit, or a random one among the most likely")
    prologue(k, "BASE REC START")
    k("""
        ldr r4, [r0, .logits]; adds r4, r4, r2; str r4, START
        ldr r5, [r0, .n]; lsls r5, r5, #2; adds r5, r5, r4; mov r12, r5
    """)
    for part in best, weigh, reached, nucleus, pick:
        part(k)
    epilogue(k)
    return k
