"""`store` for cores with DSP instructions."""

from __future__ import annotations

from ..arm import Kernel
from .attend_query import rotation
from .pieces import arguments, epilogue, excess, fifteen, prologue

WORDS = (
    "BASE REC T STRIDE POS KIN VIN CONTEXT VROW SIZE KROW KEYS VALUES SCALES KNUM KDROP VNUM "
    "VDROP Q V KTO VTO STO H ROPE SHIFT SCALE ODD"
)


def begin(k: Kernel) -> None:
    """The record, in r0, and the arena, in r1, become words on the stack; sizes are bytes."""
    arguments(k)
    k("""
        ldr r3, [r1, #0]
        str r3, POS
        ldr r3, [r0, #0]
        adds r3, r3, r2
        str r3, KIN
        ldr r3, [r0, #4]
        adds r3, r3, r2
        str r3, VIN
        ldr r4, [r1, #8]
        lsls r4, r4, #2
        str r4, CONTEXT
        ldr r3, [r0, #16]
        ldr r5, [r0, #28]
        muls r5, r3
        adds r5, #31
        lsrs r5, r5, #5
        muls r5, r4
        str r5, VROW        @ values of a head
        lsls r6, r3, #2
        str r6, SIZE
        ldr r6, [r0, #24]
        lsrs r6, r6, #2
        subs r6, #1
        lsls r4, r6         @ bits of the lanes of all positions: of 16 or 8 each
        adds r4, #31
        lsrs r4, r4, #5
        lsls r4, r4, #2
        muls r4, r3
        str r4, KROW        @ keys of a head
        ldr r3, [r0, #12]
        muls r4, r3
        muls r5, r3
        ldr r6, [r0, #8]
        adds r6, r6, r2
        str r6, KEYS
        adds r6, r6, r4
        str r6, VALUES
        adds r6, r6, r5
        str r6, SCALES
        ldr r5, [r0, #24]
        bl bits
        str r6, KDROP
        str r7, KNUM
        ldr r5, [r0, #28]
        cmp r5, #4
        it eq
        moveq r5, #5        @ 15 for the largest, of which one bit goes: 7.5
        bl bits
        str r6, VDROP
        str r7, VNUM
    """)


def position(k: Kernel) -> None:
    """The next position: its rotation, its places in the cache."""
    k("""
    position:
        ldr r0, KIN
        str r0, Q
        ldr r0, VIN
        str r0, V
        ldr r2, POS
        ldr r0, REC
        ldr r1, SIZE
        ldr r3, [r0, #20]
        cmp r3, #0
        beq still
        ldr r4, BASE
        adds r3, r3, r4
        lsrs r4, r1, #1
        muls r4, r2
        adds r3, r3, r4
    still:
        str r3, ROPE
        ldr r0, [r0, #24]
        lsrs r0, r0, #2
        adds r0, #1
        mov r3, r2
        lsls r3, r0
        lsrs r0, r3, #5
        muls r0, r1
        ldr r1, KEYS
        adds r0, r0, r1
        lsls r3, r3, #27
        lsrs r3, r3, #30
        adds r0, r0, r3
        str r0, KTO         @ one lane of its words
        lsls r2, r2, #2
        ldr r0, VALUES
        adds r0, r0, r2
        str r0, VTO
        ldr r0, SCALES
        adds r0, r0, r2
        str r0, STO
        ldr r0, REC
        ldr r0, [r0, #12]
        str r0, H
    """)


def key(k: Kernel) -> None:
    """The key of a head, rotated, in place and into the cache."""
    k("""
    head:
        ldr r0, Q
        bl prepare
    """)
    rotation(k)
    k("""
        ldr r6, KNUM
        bl pack
        str r7, SCALE
        ldr r0, Q
        ldr r1, SIZE
        adds r1, r1, r0
        str r1, Q
        ldr r3, KTO
        ldr r5, KDROP
        movs r6, #1
        lsls r6, r5
        lsrs r6, r6, #1
        mov r7, #0x40000000
        lsrs r7, r5         @ what makes a lane of it
        cmp r5, #19
        beq wide
    narrow:
        ldr r4, [r0, #0]
        mla r4, r4, r2, r6
        asrs r4, r5
        stmia r0!, {r4}
        adds r4, r4, r7
        strb r4, [r3], #4
        cmp r0, r1
        bne narrow
        b value
    wide:
        ldr r4, [r0, #0]
        mla r4, r4, r2, r6
        asrs r4, r4, #19
        stmia r0!, {r4}
        adds r4, r4, r7
        strh r4, [r3], #4
        cmp r0, r1
        bne wide
    """)


def value(k: Kernel) -> None:
    """Its value, four dimensions at a time: a word of the cache, or half of one.

    r2 and r6 quantize, r11 drops bits; r3 place in the cache, r10 on to its next word; r12 the end
    of the fours. Both scales.
    """
    k("""
    value:
        ldr r0, V
        bl prepare
        ldr r6, VNUM
        bl pack
        lsls r7, r7, #16
        ldr r0, SCALE
        orrs r7, r0
        ldr r0, STO
        str r7, [r0, #0]
        ldr r0, V
        ldr r1, SIZE
        adds r1, r1, r0
        str r1, V
        movs r7, #15
        sub r4, r1, r0
        bics r4, r7
        add r12, r0, r4
        ldr r3, VTO
        ldr r4, VDROP
        ldr r7, CONTEXT
        mov r10, r7
        movs r6, #1
        lsls r6, r4
        lsrs r6, r6, #1     @ rounding
        cmp r4, #26
        bne eight
        adds r4, #1         @ of 4 bits: half of one is dropped
        movs r6, #0
    eight:
        mov r11, r4
        cmp r0, r12
        beq rest
    quad:
        ldmia r0, {r4, r7, r8, r9}
    """)
    lanes = "r4", "r7", "r8", "r9"
    for r in lanes:
        k(f"smmulr {r}, {r}, r5")
    for r in lanes:
        k(f"mla {r}, {r}, r2, r6")
    for r in lanes:
        k(f"asr {r}, {r}, r11")
    k("""
        stmia r0!, {r4, r7, r8, r9}
        cmp r6, #0
        beq half
        add r4, r4, r7, lsl #8
        add r8, r8, r9, lsl #8
        add r4, r4, #0x80808080
        add r4, r4, r8, lsl #16
        str r4, [r3, #0]
        add r3, r10
        cmp r0, r12
        bne quad
        b rest
    half:
        add r4, r4, r7, lsl #4
        add r8, r8, r9, lsl #4
        add r4, r4, #0x8800
        add r4, r4, r8, lsl #8
        adds r4, #0x88
        strh r4, [r3], #2
        lsls r4, r3, #30
        bne same
        subs r3, #4
        add r3, r10
    same:
        cmp r0, r12
        bne quad
    """)


def rest(k: Kernel) -> None:
    """Up to three dimensions more, into lanes of a word: r7 the first bit of one.

    r8 bits of a lane, r9 its mask, r10 what makes a lane of a value.
    """
    k("""
    rest:
        cmp r0, r1
        beq stored
        lsls r7, r3, #30
        lsrs r7, r7, #27
        movs r4, #3
        bics r3, r4
        str r1, ODD
        ldr r1, REC
        ldr r1, [r1, #28]
        mov r8, r1
        movs r4, #1
        lsls r4, r1
        subs r4, #1
        mov r9, r4
        adds r4, #1
        lsrs r4, r4, #1
        mov r10, r4
    single:
        ldr r4, [r0, #0]
        smmulr r4, r4, r5
        mla r4, r4, r2, r6
        asr r4, r4, r11
        stmia r0!, {r4}
        add r4, r10
        lsls r4, r7
        mov r1, r9
        lsls r1, r7
        mov r12, r4
        ldr r4, [r3, #0]
        bics r4, r1
        mov r1, r12
        orrs r4, r1
        str r4, [r3, #0]
        add r7, r8
        ldr r1, ODD
        cmp r0, r1
        bne single
    """)


def advance(k: Kernel) -> None:
    """On to the next head, and behind the last of them to the next position."""
    k("""
    stored:
        ldr r0, KTO
        ldr r1, KROW
        adds r0, r0, r1
        str r0, KTO
        ldr r0, VTO
        ldr r1, VROW
        adds r0, r0, r1
        str r0, VTO
        ldr r0, STO
        ldr r1, CONTEXT
        adds r0, r0, r1
        str r0, STO
        ldr r0, H
        subs r0, #1
        str r0, H
        bne.w head
        ldr r2, STRIDE
        ldr r0, KIN
        adds r0, r0, r2
        str r0, KIN
        ldr r0, VIN
        adds r0, r0, r2
        str r0, VIN
        ldr r0, POS
        adds r0, #1
        str r0, POS
        ldr r0, T
        subs r0, #1
        str r0, T
        bne.w position
        b.w done
    """)


def helpers(k: Kernel) -> None:
    """`bits`: r5 bits of a result -> r6 bits to drop, r7 the largest before that.

    `prepare`: a vector at r0, which r5 makes one of 15 bits; r3 its largest magnitude, r1 its end.
    `pack`: r3 a largest magnitude, r6 as `bits` has it -> r7 the scale, r2 what to multiply with.
    """
    k("""
    bits:
        rsb r6, r5, #31
        movs r7, #1
        subs r5, #1
        lsls r7, r5
        subs r7, #1
        lsls r7, r6
        bx lr
    prepare:
        ldr r1, SIZE
        mov r6, r0
        adds r1, r1, r0
    """)
    excess(k, "magnitude")
    k("""
        adds r4, #10
        it mi
        movmi r4, #0        @ at most 10 are added
        str r4, SHIFT
        subs r4, #10
        mov r0, r6
    """)
    fifteen(k, "enough")
    k("""
        bx lr
    pack:
        cmp r3, #0
        it eq
        moveq r3, #1
        clz r4, r3
        rsb r4, r4, #21
        cmp r4, #0
        it lt
        movlt r4, #0
        movs r0, #1
        lsls r0, r4
        subs r0, #1
        adds r3, r3, r0
        lsrs r3, r4         @ 11 bits that are not too small
        lsrs r0, r3, #11
        lsrs r3, r0
        adds r4, r4, r0
        ldr r7, SHIFT
        adds r7, r7, r4
        lsls r7, r7, #11
        orrs r7, r3
        lsls r3, r4
        udiv r2, r6, r3
        bx lr
    """)


def store() -> Kernel:
    """K, V: those of this head; KTO, VTO, STO: where they go in the cache."""
    k = Kernel("store", "keys and values of some positions to the cache")
    room = prologue(k, WORDS)
    for part in begin, position, key, value, rest, advance, helpers:
        part(k)
    k("done:")
    epilogue(k, room)
    return k
