"""What `linear` and `linear4` share: sweeping a matrix whose words may lie in several runs.

Words on the stack. W where weights begin, END where their run ends, RUN that run; OUT and STOP
where results of these rows begin and end, X where the vector's activations do. Several vectors
take row groups in turn, CHUNK bytes of results, so that what depends on a vector is computed once
for them, and weights from flash stay in its cache: XH is the vector, T of TOTAL are left, TO where
results of the first one begin and OUTEND where they all end; W0, RUN0 and END0 where these rows
begin. A vector is scaled by SCALE; K is a shift to the left, S to the right, and RND rounds.
"""

from __future__ import annotations

from ..arm import Kernel
from .pieces import far, more, operand

WORDS = "OUT STOP ADD BASE REC RUN END SIZE TOTAL T STRIDE XH OUTEND W0 RUN0 END0 TO XS CHUNK"


def begin(k: Kernel, negate: bool) -> None:
    """The record, in r0, and the arena, in r1, become words; r3 W, r6 END. Changes r3 to r6.

    ADD: whether the record says to add to what is there, negative if asked.
    """
    operand(k, "x", "XS", "XH")
    k("""
        ldr r3, [r0, .out]; adds r3, r3, r2
        ldr r4, [r0, .first]; lsls r4, r4, #4; adds r3, r3, r4
        str r3, TO; str r3, OUT     @ of the first row group, first vector
        ldr r4, [r0, .count]; lsls r4, r4, #4; adds r4, r4, r3
        str r4, OUTEND
        ldr r5, [r1, .total]; str r5, TOTAL; str r5, T
        subs r4, r4, r3
    """)
    far(k, "beq", "done")
    k("""
        cmp r5, #1; beq all
        cmp r4, #128; bls all
        movs r4, #128
    all:
        str r4, CHUNK
        adds r4, r4, r3; str r4, STOP
        ldr r4, [r1, .stride]; lsls r4, r4, #2; str r4, STRIDE
        ldr r4, [r0, .add]
    """)
    if negate:
        k("negs r4, r4")
    k("""
        str r4, ADD
        ldr r5, [r0, .weights]; adds r5, r5, r2; str r5, RUN; str r5, RUN0
        ldr r3, [r5, .start]; adds r3, r3, r2; str r3, W; str r3, W0
        ldr r6, [r5, .words]; lsls r6, r6, #2; adds r6, r6, r3; str r6, END; str r6, END0
    """)


def runs(k: Kernel, run: str, spare: str) -> None:
    """A function: the next run, r0 its first word, END. Changes two registers and r3."""
    k("nextrun:")
    more(k, "RUN", "#8", run)
    k(f"""
        ldr r0, [{run}, .start]; ldr {spare}, BASE; adds r0, r0, {spare}
        ldr r3, [{run}, .words]; lsls r3, r3, #2; adds r3, r3, r0; str r3, END
        bx lr
    """)


def advance(k: Kernel, whole: str) -> None:
    """These rows are done: the next vector takes the same, behind the last come the next rows.

    whole: what WMAX is made of, from END in r0, or nothing.
    """
    k("""
    next:
        ldr r0, TOTAL
        cmp r0, #1
    """)
    far(k, "beq", "done")
    k("""
        ldr r3, CHUNK
        ldr r0, T; subs r0, #1
        beq last
        str r0, T
        ldr r2, STRIDE
        ldr r0, XH; adds r0, r0, r2; str r0, XH
        ldr r0, OUT; adds r0, r0, r2; str r0, STOP
        subs r0, r0, r3; str r0, OUT
        ldr r0, W0; str r0, W
        ldr r0, RUN0; str r0, RUN
        ldr r0, END0; str r0, END
    """)
    k(whole)
    k("""
        b setup
    last:
        ldr r0, TO; adds r0, r0, r3
        ldr r1, OUTEND; subs r1, r1, r0
    """)
    far(k, "beq", "done")
    k("""
        cmp r1, r3; bhi chunked
        str r1, CHUNK; mov r3, r1
    chunked:
        str r0, TO; str r0, OUT
        adds r0, r0, r3; str r0, STOP
        ldr r0, TOTAL; str r0, T
        ldr r0, XS; str r0, XH
        ldr r0, W; str r0, W0
        ldr r0, RUN; str r0, RUN0
        ldr r0, END; str r0, END0
    """)
