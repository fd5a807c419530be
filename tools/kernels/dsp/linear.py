"""`linear` for cores with DSP instructions: Cortex-M4, M7, M33 and later."""

from __future__ import annotations

from ..arm import Kernel
from . import sweep
from .pieces import epilogue, large, pair, prologue, rows, shifts

BLOCKS = 4  # of four columns, that are unrolled


def blocks(k: Kernel) -> None:
    """Fours of columns: r0 weights, r1 packed activations up to r12; r6 bytes of code to skip.

    `jumps` knows them. Changes r2 to r7, lr.
    """
    k("""
        add pc, r6
        nop
    turn:
    """)
    starts = [k.at]
    for _ in range(BLOCKS):
        k("""
            ldmia r0!, {r2-r5}
            ldmia r1!, {r6, r7}
        """)
        pair(k, "r2", "r3", "r6")
        pair(k, "r4", "r5", "r7")
        starts.append(k.at)
    assert starts[-1] - starts[0] == BLOCKS * BLOCK
    k("""
        cmp r1, r12
        bne.w turn
    """)


BLOCK = 84  # bytes of code


def jumps(k: Kernel, label: str) -> None:
    """r3 columns -> r6, where to enter `blocks`: past those that a whole turn has more.

    Without a four of columns, past them all. Changes r4. label: one of the kernel's own.
    """
    k(f"""
        movs r6, #{BLOCKS}
        lsrs r4, r3, #2
        beq {label}
        negs r4, r4
        movs r6, #{BLOCKS - 1}
        ands r6, r4
    {label}:
        movs r4, #{BLOCK}
        muls r6, r4
    """)


def every(k: Kernel) -> None:
    """r0 the first vector's elements, lr behind the last vector's frame. Changes r1, r2."""
    k("""
        ldr r0, XS
        adds r0, #16
        ldr r1, TOTAL
        ldr r2, STRIDE
        muls r1, r2
        add lr, r0, r1
    """)


def pack(k: Kernel) -> None:
    """The elements of all vectors, of 12 bits, become half-words where they are.

    Changes r0 to r7, lr.
    """
    every(k)
    k("""
    pack:
        mov r6, r0
        mov r7, r0
        ldr r3, COLS
        lsrs r2, r3, #2
        beq packrest
    packfour:
        ldmia r7!, {r1, r3-r5}
        pkhbt r1, r1, r3, lsl #16
        pkhbt r4, r4, r5, lsl #16
        subs r2, #1
        stmia r6!, {r1, r4}
        bne packfour
    packrest:
        ldr r2, REST
        cmp r2, #0
        beq packed
    packone:
        ldmia r7!, {r1}
        strh r1, [r6], #2
        subs r2, #1
        bne packone
    packed:
        ldr r1, STRIDE
        adds r0, r0, r1
        cmp r0, lr
        bne pack
    """)


def unpack(k: Kernel) -> None:
    """The elements become words again, the last one first. Changes r0 to r7, lr."""
    every(k)
    k("""
    unpack:
        ldr r3, COLS
        add r6, r0, r3, lsl #1
        add r7, r0, r3, lsl #2
        ldr r2, REST
        cmp r2, #0
        beq unpackfours
    unpackone:
        ldrsh r1, [r6, #-2]!
        str r1, [r7, #-4]!
        subs r2, #1
        bne unpackone
    unpackfours:
        lsrs r3, r3, #2
        beq unpacked
    unpackfour:
        ldmdb r6!, {r1, r4}
        asrs r2, r1, #16
        asrs r5, r4, #16
        sxth r1, r1
        sxth r4, r4
        stmdb r7!, {r1, r2, r4, r5}
        subs r3, #1
        bne unpackfour
    unpacked:
        ldr r1, STRIDE
        adds r0, r0, r1
        cmp r0, lr
        bne unpack
    """)


def begin(k: Kernel) -> None:
    """The record and the arena become words on the stack."""
    sweep.begin(k, 128)
    k("""
        adds r7, r3, #2
        lsls r7, r7, #2
        str r7, SIZE
        movs r4, #3
        ands r4, r3
        str r4, REST
        str r4, AFTER
    """)
    jumps(k, "nofour")
    k("str r6, JUMP")


def runs(k: Kernel) -> None:
    """Columns of a row group that the end of a run cuts, as many at once as there are in one."""
    sweep.runs(k)
    k("""
    slow:
        movs r3, #4
        str r3, AFTER
        ldr r3, COLS
        str r3, C
    piece:                  @ C columns left
        ldr r3, C
        cmp r3, #0
        beq multipliers
        ldr r2, END
        subs r2, r2, r0
        bne have
        bl nextrun
        b piece
    have:
        lsrs r2, r2, #2
        cmp r2, r3
        bls within
        mov r2, r3
    within:
        lsls r4, r1, #30
        bmi odd             @ half a word of activations: one column, or they would be misaligned
        cmp r2, #4
        blo few
        movs r4, #3
        bics r2, r4
        subs r3, r3, r2
        str r3, C
        add r12, r1, r2, lsl #1
        mov r3, r2
    """)
    jumps(k, "nofours")
    k("""
        b.w enter
    odd:
        movs r2, #1
    few:
        subs r3, r3, r2
        str r3, C
        mov r4, r2
    """)


def singles(k: Kernel) -> None:
    """r4 columns, one by one: those that fours leave over."""
    k("""
    single:
        ldr r2, [r0], #4
        ldrsh r3, [r1], #2
        uxtb16 r5, r2
        uxtb16 r2, r2, ror #8
        smlabb r8, r5, r3, r8
        smlatb r10, r5, r3, r10
        smlabb r9, r2, r3, r9
        smlatb r11, r2, r3, r11
        subs r4, #1
        bne single
        ldr r4, AFTER
        ldr r6, SCALE
        cmp r4, #4
        beq piece
        b.w finish
    """)


def mantissas(k: Kernel) -> None:
    """Those of a row group that was cut, each of whose words may be in another run."""
    k("""
    multipliers:
        ldr r2, END
        cmp r0, r2
        bne first
        bl nextrun
        b multipliers
    first:
        ldmia r0!, {r4}
    behind:
        ldr r2, END
        cmp r0, r2
        bne second
        bl nextrun
        b behind
    second:
        mov r2, r4
        ldmia r0!, {r4}
        ldr r3, END
        ldr r5, SIZE
        subs r3, r3, r5
        str r3, WMAX
        ldr r3, REST
        str r3, AFTER
        ldr r12, XB
        ldr r6, SCALE
        b.w scales
    """)


def setup(k: Kernel) -> None:
    """What depends on a vector alone."""
    k("""
    vector:
        ldr r0, END
        ldr r1, SIZE
        subs r0, r0, r1
        str r0, WMAX
        ldr r0, XH
        ldmia r0!, {r2-r4}  @ mantissa, exponent, sum
        adds r0, #4
        str r0, X
        lsls r2, r2, #3
        str r2, SCALE
        lsls r4, r4, #7     @ the 128 that weights have too many
        negs r4, r4
        str r4, INIT
        ldr r4, COLS
        lsrs r4, r4, #2
        add r4, r0, r4, lsl #3
        str r4, XB
        ldr r4, REC
        ldr r0, [r4, #20]
        ldr r1, [r4, #24]
    """)
    shifts(k)


def linear() -> Kernel:
    """Sums: r0 weights, r1 packed activations, r8 to r11 rows 0 to 3, r12 end of the fours.

    INIT is what sums begin with, XB where the fours of activations end, WMAX the last address at
    which the run holds a whole row group, JUMP the bytes of `blocks` to skip. AFTER counts the
    columns that the fours leave over, or is 4 where the group is cut, C columns of which are left
    then.
    """
    k = Kernel("linear", "vectors times a matrix, with requantization")
    room = prologue(k, f"X INIT XB WMAX JUMP REST AFTER C {sweep.WORDS}")
    begin(k)
    k("""
        ldr r4, REC
        ldr r5, [r4, #16]
        cmp r5, #0
        blt vector          @ they are packed: see cores.py
    """)
    pack(k)
    setup(k)
    k("""
        ldr r0, W
        ldr r12, XB
    group:
        ldr r2, INIT
        ldr r4, WMAX
        ldr r1, X
        ldr r6, JUMP
        mov r8, r2
        mov r9, r2
        mov r10, r2
        mov r11, r2
        cmp r0, r4
        bhi.w slow
    enter:
    """)
    blocks(k)
    k("""
        ldr r4, AFTER       @ columns that are left; 4: the run has ended
        ldr r6, SCALE
        cmp r4, #0
        bne.w after
    finish:
        ldmia r0!, {r2, r4}
    scales:
    """)
    rows(k)
    sweep.store(k)
    k("""
        cmp r1, r6
        bne.w group
    """)
    sweep.advance(k)
    k("""
    after:
        cmp r4, #4
        bne single
        b.w piece
    """)
    runs(k)
    singles(k)
    mantissas(k)
    large(k)
    k("""
    done:
        ldr r4, REC
        ldr r5, [r4, #16]
        cmp r5, #0
        blt nothing
    """)
    unpack(k)
    k("nothing:")
    epilogue(k, room)
    return k
