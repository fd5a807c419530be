"""`store`: keys and values of positions go to the cache."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import (
    angles,
    bits,
    divide,
    epilogue,
    far,
    kernel,
    largest,
    more,
    operand,
    prologue,
    rotate,
    shifted,
    vectors,
)


def cache(k: Kernel, kv_heads: str, first: str) -> None:
    """Bytes: CONTEXT, SIZE, KROW and VROW, of a head's keys and values. Where each part begins.

    Of the cache, keys in a word named `first`; kv_heads: the record's field.
    """
    k("""
        ldr r4, [r1, .context]; lsls r4, r4, #2; str r4, CONTEXT
        ldr r3, [r0, .size]
        ldr r5, [r0, .value_bits]
    """)
    if "VBITS" in k.words:
        k("str r5, VBITS")
    k("""
        muls r5, r3; adds r5, #31; lsrs r5, r5, #5; muls r5, r4; str r5, VROW
        lsls r6, r3, #2; str r6, SIZE
        ldr r6, [r0, .key_bits]; lsrs r6, r6, #2; subs r6, #1
        lsls r4, r6     @ bits of the lanes of all positions: of 16 or 8 each
        adds r4, #31; lsrs r4, r4, #5; lsls r4, r4, #2; muls r4, r3; str r4, KROW
    """)
    k(f"""
        ldr r3, [r0, .{kv_heads}]
        muls r4, r3; muls r5, r3
        ldr r6, [r0, .cache]; adds r6, r6, r2; str r6, {first}
        adds r6, r6, r4; str r6, VALUES
        adds r6, r6, r5; str r6, SCALES
    """)


def normalize(k: Kernel) -> None:
    """A function: the vector at r0, of SIZE bytes, to 15 bits in place, at most 10 of them added.

    -> r3 its largest magnitude, SHIFT the bits dropped plus 10, r1 its end. Changes all but r7.
    """
    k("""
    normalize:
        mov r11, lr
        mov r10, r0
        ldr r1, SIZE; adds r1, r1, r0
    """)
    largest(k)
    k("""
        bl bits
        movs r0, #0
        subs r4, #15; adds r4, #10
        bge enough
        movs r4, #0
    enough:
        str r4, SHIFT; subs r4, #10
        mov r0, r10
    """)
    shifted(k, "bx r11")
    k("bx r11")


def pack(k: Kernel) -> None:
    """A function: r3 largest magnitude, r5 bits of the result -> r7 the scale for the cache.

    r2 what to multiply with, r5 bits to drop then. Changes the rest.
    """
    k("""
    pack:
        mov r11, lr
        mov r7, r5
        cmp r3, #0; bne some
        movs r3, #1
    some:
        mov r2, r3
        lsrs r3, r3, #11
        bl bits
        movs r5, #1; lsls r5, r4; subs r5, #1
        adds r2, r2, r5; lsrs r2, r4
        lsrs r5, r2, #11; beq fits
        lsrs r2, r2, #1; adds r4, #1
    fits:
        mov r1, r2; lsls r1, r4
        ldr r5, SHIFT; adds r5, r5, r4; lsls r5, r5, #11; orrs r5, r2
        movs r0, #1
        movs r6, #31; subs r6, r6, r7
        subs r7, #1
        lsls r0, r7; subs r0, #1; lsls r0, r6
        bl divide
        mov r7, r5
        mov r5, r6
        bx r11
    """)


def position(k: Kernel) -> None:
    """The next position: its places in the cache."""
    k("""
    position:
        ldr r0, K; str r0, KX
        ldr r0, V; str r0, VX
        ldr r2, POS
        ldr r0, REC
        ldr r0, [r0, .key_bits]; lsrs r0, r0, #2; adds r0, #1
        mov r3, r2; lsls r3, r0
        lsrs r0, r3, #5; ldr r1, SIZE; muls r0, r1
        ldr r1, KEYS; adds r0, r0, r1
        lsls r3, r3, #27; lsrs r3, r3, #30; adds r0, r0, r3
        str r0, KTO         @ where a key of this position goes: one lane of its words
        lsls r2, r2, #2
        ldr r0, VALUES; adds r0, r0, r2; str r0, VTO
        ldr r0, SCALES; adds r0, r0, r2; str r0, STO
        ldr r0, REC; ldr r0, [r0, .heads]; str r0, H
    """)


def key(k: Kernel) -> None:
    """The key of a head."""
    k("""
    head:
        ldr r0, KX
        bl normalize
        ldr r4, REC
        ldr r2, [r4, .rotation]
        cmp r2, #0; beq rotated
        ldr r5, BASE; adds r2, r2, r5
    """)
    angles(k, "r2")
    rotate(k, "KX")
    k("""
    rotated:
        ldr r5, REC; ldr r5, [r5, .key_bits]
        bl pack
        str r7, SCALE
        ldr r0, KX
        ldr r1, SIZE; adds r1, r1, r0; str r1, KX
        ldr r3, KTO
        movs r6, #1
        lsls r7, r6, #30; lsrs r7, r5
        lsls r6, r5; lsrs r6, r6, #1
    key:
        ldr r4, [r0, #0]; muls r4, r2; adds r4, r4, r6; asrs r4, r5
        stmia r0!, {r4}
        adds r4, r4, r7
        cmp r5, #19; beq wide
        strb r4, [r3, #0]
        b narrow
    wide:
        strh r4, [r3, #0]
    narrow:
        adds r3, #4
        cmp r0, r1; bne key
    """)


def value(k: Kernel) -> None:
    """Its value, of 8 bits: four dimensions a word, then on by the context."""
    k.registers(end="r12")
    k("""
        ldr r0, VX
        bl normalize
        ldr r5, REC; ldr r5, [r5, .value_bits]
        cmp r5, #4; bne whole
        movs r5, #5     @ 15 for the largest, of which one bit goes: 7.5
    whole:
        bl pack
        lsls r7, r7, #16; ldr r0, SCALE; orrs r7, r0
        ldr r0, STO; str r7, [r0, #0]
        ldr r0, VX
        ldr r1, SIZE; adds r1, r1, r0; mov end, r1; str r1, VX
        ldr r3, VTO
        ldr r7, CONTEXT; subs r7, #4
        cmp r5, #26; beq four
        movs r6, #1; lsls r6, r5; lsrs r6, r6, #1
    value:
        ldr r4, [r0, #0]; muls r4, r2; adds r4, r4, r6; asrs r4, r5
        stmia r0!, {r4}
        adds r4, #128; strb r4, [r3, #0]
        adds r3, #1
        lsls r4, r3, #30; bne sameword
        adds r3, r3, r7
    sameword:
        cmp r0, end; bne value
        b valued
    """)


def value4(k: Kernel) -> None:
    """Its value, of 4 bits: eight dimensions a word."""
    k("""
    four:
        ldr r4, [r0, #0]; muls r4, r2; asrs r4, r4, #27
        stmia r0!, {r4}
        adds r4, #8
        ldrb r1, [r3, #0]; lsrs r1, r1, #4; lsls r1, r1, #4; orrs r1, r4; strb r1, [r3, #0]
        cmp r0, end; beq valued
        ldr r4, [r0, #0]; muls r4, r2; asrs r4, r4, #27
        stmia r0!, {r4}
        adds r4, #8; lsls r4, r4, #4
        lsls r1, r1, #28; lsrs r1, r1, #28; orrs r1, r4; strb r1, [r3, #0]
        adds r3, #1
        lsls r4, r3, #30; bne samefour
        adds r3, r3, r7
    samefour:
        cmp r0, end; bne four
    valued:
    """)


def advance(k: Kernel) -> None:
    """On to the next head, and behind the last one to the next position."""
    for word, by in ("KTO", "KROW"), ("VTO", "VROW"), ("STO", "CONTEXT"):
        k(f"ldr r0, {word}; ldr r1, {by}; adds r0, r0, r1; str r0, {word}")
    k("ldr r0, H; subs r0, #1; str r0, H")
    far(k, "bne", "head")
    k("ldr r2, STRIDE")
    for word, by in ("K", "r2"), ("V", "r2"), ("POS", "#1"):
        more(k, word, by)
    k("ldr r0, T; subs r0, #1; str r0, T")
    far(k, "bne", "position")


def store() -> Kernel:
    """Keys as 16-bit lanes, positions 2 i and 2 i + 1 in a word, or as bytes.

    Values as bytes, four dimensions a word, or as halves of bytes.
    """
    k = kernel("store", "keys and values to the cache")
    prologue(
        k,
        "BASE REC POS T STRIDE K V CONTEXT VROW SIZE KROW KEYS VALUES SCALES SHIFT KX VX KTO VTO "
        "STO H SCALE",
    )
    k("ldr r3, [r1, .pos]; str r3, POS")
    vectors(k)
    operand(k, "k", "K")
    operand(k, "v", "V")
    cache(k, "heads", "KEYS")
    k("b position\nbits:")
    bits(k)
    k("bx lr")
    divide(k)
    for part in normalize, pack, position, key, value, value4, advance:
        part(k)
    epilogue(k)
    return k
