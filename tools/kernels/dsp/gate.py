"""`gate` for cores with DSP instructions."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import arguments, epilogue, excess, prologue


def begin(k: Kernel) -> None:
    """The record, in r0, and the arena, in r1, become words on the stack."""
    arguments(k)
    k("""
        ldr r3, [r0, #0]
        adds r3, r3, r2
        str r3, G
        ldr r3, [r0, #4]
        adds r3, r3, r2
        str r3, U
        ldr r3, [r0, #20]
        adds r3, r3, r2
        str r3, DYN
        ldr r3, [r0, #8]
        lsls r3, r3, #2
        str r3, N
    """)


def setup(k: Kernel) -> None:
    """What all elements need, and which of the activations it is.

    r0 the vector, r12 its end; r1 and r2 shift and mask of the fraction between two entries of the
    table, r11; r7 and r10 shift and rounding of an entry; r9 is 1.0.
    """
    k("""
    vector:
        ldr r6, REC
        ldr r2, BASE
        ldr r5, [r6, #12]
        adds r2, r2, r5
        mov r11, r2
        ldr r3, [r6, #16]
        rsb r7, r3, #17
        movs r4, #1
        mov r2, r4
        mov r0, r4
        lsls r4, r7
        lsrs r4, r4, #1
        mov r10, r4
        lsls r0, r3
        mov r9, r0
        subs r1, r3, #5
        lsls r2, r1
        subs r2, #1
        ldr r0, G
        ldr r3, N
        add r12, r0, r3
        cmp r5, #0
        beq relu
        ldr r3, [r6, #24]
        cmp r3, #0
        beq.w activate
    """)


def entry(k: Kernel, past: str, add: str = "") -> None:
    """r5 a magnitude -> r6 the table's value there, with the fraction between two entries.

    past: where to go behind the table's end; add: what to add to it. Changes r3, r4, r5.
    """
    k(f"""
        lsr r4, r5, r1
        cmp r4, #512
        bhs {past}
        add r3, r11, r4, lsl #1
        ldrh r6, [r3, #0]
        ldrh r4, [r3, #2]
        ands r5, r2
        subs r4, r4, r6
        muls r4, r5
        {add}
        asrs r4, r1
        adc r6, r6, r4      @ the carry is the last bit shifted out: it rounds
    """)


def activations(k: Kernel) -> None:
    """In place: odd ones, max(x, 0), and max(x, 0) less a table of |x|."""
    k("""
    odd:                    @ an entry has two fraction bits less, so it is taken four times
        ldr r5, [r0, #0]
        mov r8, r5
        movs r6, #0
        cmp r5, #0
        beq signed
        it lt
        rsblt r5, r5, #0
    """)
    entry(k, "near")
    k("""
        lsls r6, r6, #2
        add r6, r10
        lsrs r6, r7
        negs r6, r6
    near:
        add r6, r9
        mov r4, r8
        cmp r4, #0
        it lt
        rsblt r6, r6, #0
    signed:
        stmia r0!, {r6}
        cmp r0, r12
        bne odd
        b.w next
    relu:
        ldr r3, [r0, #0]
        bic r3, r3, r3, asr #31
        stmia r0!, {r3}
        cmp r0, r12
        bne relu
        b active
    activate:
        ldr r5, [r0, #0]
        bic r8, r5, r5, asr #31
        cmp r5, #0
        it lt
        rsblt r5, r5, #0
    """)
    entry(k, "beyond", "add r6, r10")
    k("""
        lsrs r6, r7
        sub r8, r8, r6
    beyond:                 @ past the table: nothing to take off
        str r8, [r0], #4
        cmp r0, r12
        bne activate
    """)


def drop(k: Kernel, loop: str) -> None:
    """The words from r0 to r1 -> r4, the bits to drop of each. loop: a label."""
    excess(k, loop)
    k("""
        cmp r4, #0
        it lt
        movlt r4, #0
    """)


def factor(k: Kernel, value: str, rounding: str, shift: str) -> None:
    """A value without the bits to drop."""
    k(f"""
        add {value}, {rounding}
        asr {value}, {value}, {shift}
    """)


def multiply(k: Kernel) -> None:
    """Both to 15 bits, multiplied; then the next vector. r7 and r4 shifts."""
    k("""
    active:
        ldr r0, REC
        ldr r3, [r0, #4]
        cmp r3, #0
        beq.w next
        ldr r0, G
        mov r1, r12
    """)
    drop(k, "gates")
    k("""
        mov r7, r4
        ldr r0, U
        ldr r1, N
        adds r1, r1, r0
    """)
    drop(k, "others")
    k("""
        ldr r0, DYN
        adds r5, r7, r4
        str r5, [r0, #0]
        ldr r0, G
        ldr r1, U
        movs r5, #1
        mov r6, r5
        lsls r5, r7
        lsrs r5, r5, #1
        lsls r6, r4
        lsrs r6, r6, #1
        sub r2, r12, r0
        lsls r2, r2, #29
        bpl product
        ldr r2, [r0, #0]    @ one of an odd number
        ldmia r1!, {r3}
    """)
    factor(k, "r2", "r5", "r7")
    factor(k, "r3", "r6", "r4")
    k("""
        muls r2, r3
        stmia r0!, {r2}
        cmp r0, r12
        beq next
    product:
        ldrd r2, r8, [r0, #0]
        ldmia r1!, {r3, r9}
    """)
    factor(k, "r2", "r5", "r7")
    factor(k, "r3", "r6", "r4")
    factor(k, "r8", "r5", "r7")
    k("muls r2, r3")
    factor(k, "r9", "r6", "r4")
    k("""
        mul r8, r8, r9
        stmia r0!, {r2, r8}
        cmp r0, r12
        bne product
    next:
        ldr r2, STRIDE
        ldr r0, G
        adds r0, r0, r2
        str r0, G
        ldr r0, U
        adds r0, r0, r2
        str r0, U
        ldr r0, DYN
        adds r0, r0, r2
        str r0, DYN
        ldr r0, T
        subs r0, #1
        str r0, T
        bne.w vector
    """)


def gate() -> Kernel:
    k = Kernel("gate", "an activation, and by choice times another vector")
    room = prologue(k, "BASE REC T STRIDE G U DYN N")
    for part in begin, setup, activations, multiply:
        part(k)
    epilogue(k, room)
    return k
