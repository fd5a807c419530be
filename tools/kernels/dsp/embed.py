"""`embed` and `bias` for cores with DSP instructions: words that may lie in several runs."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import epilogue, prologue


def seek(k: Kernel, label: str) -> None:
    """r4 becomes the run that word r3 is in, r3 its place there. Changes r1."""
    k(f"""
    {label}:
        ldr r1, [r4, #4]
        cmp r3, r1
        blo {label}ed
        subs r3, r3, r1
        adds r4, #8
        b {label}
    {label}ed:
    """)


def row(k: Kernel) -> None:
    """Of a token, its position, or the type in its high half: r3, its frame's distance in r10."""
    k("""
    token:
        ldr r5, STRIDE
        muls r5, r4
        mov r10, r5
        ldr r1, ARENA
        adds r2, r1, r5
        ldr r3, [r2, #64]
        ldr r0, REC
        ldr r2, [r0, #28]
        cmp r2, #1
        beq positions
        lsls r2, r2, #3
        lsrs r3, r2
        uxth r3, r3
        b row
    positions:
        ldr r3, [r1, #0]
        adds r3, r3, r4
    row:
    """)


def place(k: Kernel) -> None:
    """Where it is: r8 the run, r9 words to skip, r6 the byte of a word; r3 its mantissa."""
    k("""
        movs r6, #3
        ands r6, r3
        lsrs r3, r3, #2
        ldr r4, [r0, #24]
        subs r3, r3, r4
        ldr r7, [r0, #8]
        adds r4, r7, #2
        muls r3, r4         @ words in front of its row group
        ldr r4, [r0, #4]
        ldr r2, BASE
        adds r4, r4, r2
    """)
    seek(k, "find")
    k("""
        mov r8, r4
        mov r9, r3
        lsrs r1, r6, #1
        adds r3, r3, r1
        adds r3, r3, r7
    """)
    seek(k, "seek")
    k("""
        ldr r4, [r4, #0]
        adds r4, r4, r2
        lsls r3, r3, #2
        ldr r3, [r4, r3]
        lsls r1, r6, #31
        lsrs r1, r1, #27
        lsrs r3, r1
        uxth r3, r3
    """)


def elements(k: Kernel) -> None:
    """r0 weights, r1 rounding, r2 out, r3 mantissa, r4 shift, r7 where a run ends, r11 mask of
    what is added to, r12 where the row ends, lr byte of a word.
    """
    k("""
        movs r1, #1
        ldr r4, [r0, #12]
        cmp r4, #0
        blt up
        lsls r1, r4
        lsrs r1, r1, #1
        b down
    up:
        negs r4, r4
        lsls r3, r4
        movs r4, #0
        movs r1, #0
    down:
        ldr r5, [r0, #28]
        negs r5, r5
        asrs r5, r5, #31
        mov r11, r5
        ldr r5, [r0, #0]
        adds r2, r2, r5
        add r2, r10
        add r12, r2, r7, lsl #2
        mov lr, r6
    piece:
        mov r7, r8
        ldmia r7!, {r0, r5}
        mov r8, r7
        mov r6, r9
        subs r5, r5, r6
        add r0, r0, r6, lsl #2
        add r0, lr
        ldr r6, BASE
        adds r0, r0, r6
        sub r6, r12, r2
        lsls r5, r5, #2
        cmp r5, r6
        it hi
        movhi r5, r6
        adds r7, r2, r5
        movs r6, #0
        mov r9, r6
        cmp r5, #0
        beq piece
    element:
        ldrb r5, [r0], #4
        ldr r6, [r2, #0]
        subs r5, #128
        and r6, r6, r11
        mla r5, r5, r3, r1
        asrs r5, r4
        adds r5, r5, r6
        stmia r2!, {r5}
        cmp r2, r7
        bne element
        cmp r2, r12
        bne piece
        ldr r4, NEXT
        adds r4, #1
    """)


def embed() -> Kernel:
    k = Kernel("embed", "rows of a matrix, by token, position or type")
    room = prologue(k, "BASE REC ARENA STRIDE NEXT LAST")
    k("""
        sub r2, r1, #0x20000000
        str r2, BASE
        str r0, REC
        str r1, ARENA
        ldr r3, [r1, #12]
        lsls r3, r3, #2
        str r3, STRIDE
        ldr r3, [r0, #20]
        cmp r3, #0
        bne given
        ldr r3, [r1, #4]
    given:
        str r3, LAST
        ldr r4, [r0, #16]
        b check
    """)
    row(k)
    place(k)
    elements(k)
    k("""
    check:
        str r4, NEXT
        ldr r3, LAST
        cmp r4, r3
        blt.w token
    """)
    epilogue(k, room)
    return k


def bias() -> Kernel:
    """r0 words, r1 where a run ends in out, r2 -1 to add, else 0, r3 out, r6 the next run, r7 the
    end of out, r12 positions left, lr what is added to distances.
    """
    k = Kernel("bias", "a vector becomes a result, or is added to it")
    room = prologue(k, "REC ARENA")
    k("""
        str r0, REC
        str r1, ARENA
        sub lr, r1, #0x20000000
        ldr r3, [r0, #0]
        add r3, lr
        ldr r12, [r1, #4]
    vector:
        ldr r0, REC
        ldr r7, [r0, #8]
        add r7, r3, r7, lsl #2
        ldr r6, [r0, #4]
        add r6, lr
        ldr r2, [r0, #12]
        negs r2, r2
    run:
        ldmia r6!, {r0, r1}
        add r0, lr
        subs r5, r7, r3
        lsls r1, r1, #2
        beq run
        cmp r1, r5
        it hi
        movhi r1, r5
        adds r1, r1, r3
        subs r5, r1, r3
        lsls r5, r5, #29
        bpl two
        ldmia r0!, {r4}     @ one of an odd number
        ldr r5, [r3, #0]
        ands r5, r2
        adds r4, r4, r5
        stmia r3!, {r4}
        cmp r3, r1
        beq ended
    two:
        ldmia r0!, {r4, r5}
        ldrd r8, r9, [r3, #0]
        and r8, r8, r2
        and r9, r9, r2
        add r4, r8
        add r5, r9
        stmia r3!, {r4, r5}
        cmp r3, r1
        bne two
    ended:
        cmp r3, r7
        bne run
        ldr r0, REC
        ldr r4, [r0, #8]
        ldr r0, ARENA
        ldr r5, [r0, #12]
        subs r5, r5, r4
        add r3, r3, r5, lsl #2
        sub r12, r12, #1
        cmp r12, #0
        bne vector
    """)
    epilogue(k, room)
    return k
