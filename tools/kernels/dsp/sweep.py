"""What products with a matrix share: the walk over runs, row groups and vectors."""

from __future__ import annotations

from ..arm import Kernel

WORDS = (
    "W SCALE K S RND OUT STOP ADD BASE REC XS XH COLS SIZE RUN END TOTAL T STRIDE TO OUTEND "
    "CHUNK W0 RUN0 END0"
)


def begin(k: Kernel, chunk: int) -> None:
    """The record, in r0, and the arena, in r1, become words on the stack.

    r3 is the columns then. Several vectors take `chunk` bytes of results in turn, so that what
    depends on a vector is computed once for them, and weights from flash stay in its cache.
    """
    k(f"""
        sub r2, r1, #0x20000000
        str r2, BASE
        str r0, REC
        ldr r4, [r0, #4]
        adds r4, r4, r2
        ldr r5, [r0, #32]
        add r4, r4, r5, lsl #4
        str r4, TO
        str r4, OUT
        ldr r5, [r0, #36]
        lsls r5, r5, #4
        beq.w nothing
        adds r6, r4, r5
        str r6, OUTEND
        ldr r7, [r1, #4]
        str r7, TOTAL
        str r7, T
        cmp r7, #1
        beq all
        cmp r5, #{chunk}
        it hi
        movhi r5, #{chunk}
    all:
        str r5, CHUNK
        adds r4, r4, r5
        str r4, STOP
        ldr r4, [r1, #12]
        lsls r4, r4, #2
        str r4, STRIDE
        ldr r4, [r0, #28]
        str r4, ADD
        ldr r3, [r0, #0]
        adds r3, r3, r2
        str r3, XS
        str r3, XH
        ldr r5, [r0, #8]
        adds r5, r5, r2
        str r5, RUN
        str r5, RUN0
        ldmia r5!, {{r4, r6}}
        adds r4, r4, r2
        str r4, W
        str r4, W0
        add r6, r4, r6, lsl #2
        str r6, END
        str r6, END0
        ldr r3, [r0, #12]
        str r3, COLS
    """)


def runs(k: Kernel) -> None:
    """`nextrun`: r0 the next run's first word. Changes r2, r3."""
    k("""
    nextrun:
        ldr r2, RUN
        adds r2, #8
        str r2, RUN
        ldmia r2!, {r0, r3}
        ldr r2, BASE
        adds r0, r0, r2
        add r3, r0, r3, lsl #2
        str r3, END
        bx lr
    """)


def store(k: Kernel) -> None:
    """Four results, in r2 to r5, go where the row group's are, or are added to what is there.

    r1 is OUT then, r6 STOP.
    """
    k("""
        ldr r7, ADD
        ldr r1, OUT
        cmp r7, #0
        beq store
        ldrd r6, r7, [r1, #0]
        adds r2, r2, r6
        adds r3, r3, r7
        ldrd r6, r7, [r1, #8]
        adds r4, r4, r6
        adds r5, r5, r7
    store:
        ldr r6, STOP
        stmia r1!, {r2-r5}
        str r1, OUT
    """)


def advance(k: Kernel) -> None:
    """Rows are done: the next vector takes the same, and behind the last come the next rows."""
    k("""
        str r0, W
        ldr r0, TOTAL
        cmp r0, #1
        beq.w done
        ldr r3, CHUNK
        ldr r0, T
        subs r0, #1
        beq last
        str r0, T
        ldr r2, STRIDE
        ldr r0, XH
        adds r0, r0, r2
        str r0, XH
        ldr r0, OUT
        adds r0, r0, r2
        str r0, STOP
        subs r0, r0, r3
        str r0, OUT
        ldr r0, W0
        str r0, W
        ldr r0, RUN0
        str r0, RUN
        ldr r0, END0
        str r0, END
        b.w vector
    last:
        ldr r0, TO
        adds r0, r0, r3
        ldr r1, OUTEND
        subs r1, r1, r0
        beq.w done
        cmp r1, r3
        bhi chunked
        str r1, CHUNK
        mov r3, r1
    chunked:
        str r0, TO
        str r0, OUT
        adds r0, r0, r3
        str r0, STOP
        ldr r0, TOTAL
        str r0, T
        ldr r0, XS
        str r0, XH
        ldr r0, W
        str r0, W0
        ldr r0, RUN
        str r0, RUN0
        ldr r0, END
        str r0, END0
        b.w vector
    """)
