"""`embed` and `embed4`: rows of a matrix of 8 or 4 bits, whose words may lie in several runs."""

from __future__ import annotations

from ..arm import Kernel
from .pieces import epilogue, kernel, prologue, shifts


def start(k: Kernel, four: bool) -> None:
    """The positions, from NEXT on to LAST; RIGHT, LEFT and half a shift.

    Of 4 bits SIZE, the words of columns and of scales, one for each span of columns.
    """
    k.registers(arena="r8", half="r10")
    k("""
        mov arena, r1
        ldr r3, [r1, .stride]; lsls r3, r3, #2; str r3, STRIDE
        ldr r3, [r0, .count]
        cmp r3, #0; bne given
        ldr r3, [r1, .total]
    given:
        ldr r4, [r0, .first]; str r4, NEXT
        str r3, LAST
    """)
    if four:
        k("""
            ldr r3, [r0, .n]; mov r4, r3
            ldr r5, [r0, .span]
        spans:
            adds r3, #1
            subs r4, r4, r5
            bgt spans
            str r3, SIZE
        """)
    k("""
        ldr r4, [r0, .shift]
        bl shifts
        str r4, RIGHT; str r5, LEFT; mov half, r6
        b check
    """)
    shifts(k)


def token(k: Kernel) -> None:
    """A token, its position, or the type in its high half -> r3, which row.

    r4 is the position's number, `frame` its frame's distance from the first, r0 the record.
    """
    k.registers(arena="r8", frame="r9", which="r11")
    k("""
    token:
        ldr r2, STRIDE; muls r2, r4; mov frame, r2
        add r2, arena; adds r2, #64; ldr r3, [r2, #0]
        ldr r0, REC
        ldr r2, [r0, .position]
        cmp r2, #1; beq byposition
        lsls r2, r2, #3; lsrs r3, r2; uxth r3, r3
        b row
    byposition:
        mov r2, arena; ldr r3, [r2, .pos]; adds r3, r3, r4
    row:
        mov which, r3
    """)


def seek(k: Kernel, label: str) -> None:
    """r4 becomes the run that word r3 is in, r3 the word's place there. Changes r2."""
    k(f"""
    {label}:
        ldr r2, [r4, .words]
        cmp r3, r2; blo {label}found
        subs r3, r3, r2; adds r4, #8
        b {label}
    {label}found:
    """)


def place(k: Kernel, four: bool) -> None:
    """The run of the row's words and their place in it; r6 the row's multiplier, r5 BASE.

    A row group has 4 or 8 rows, a lane each; multipliers lie behind its columns, two a word.
    """
    which = 3 if four else 2  # bits of a row's number in its group
    k(f"lsrs r3, r3, #{which}; ldr r4, [r0, .base]; subs r3, r3, r4")
    k("ldr r7, SIZE" if four else "ldr r7, [r0, .n]")
    k(f"adds r5, r7, #{1 << which >> 1}; muls r3, r5    @ words in front of its row group")
    k("ldr r4, [r0, .weights]; ldr r5, BASE; adds r4, r4, r5")
    seek(k, "seek")
    k(f"""
        str r4, RUN; str r3, SKIP
        mov r6, which; lsls r6, r6, #{32 - which}; lsrs r6, r6, #{33 - which}
        adds r3, r3, r6; adds r3, r3, r7
    """)
    seek(k, "multiplier")
    k("""
        ldr r4, [r4, .start]; adds r4, r4, r5
        lsls r3, r3, #2; ldr r6, [r4, r3]
        mov r3, which; lsls r3, r3, #31; lsrs r3, r3, #27; lsrs r6, r3; uxth r6, r6
    """)


def row(k: Kernel, four: bool) -> None:
    """r0 words, r1 out, r3 lane, r4 shift, r6 multiplier, which takes a shift to the left.

    r7 -1 to add, else 0. Of 4 bits that multiplier is MUL, r6 that times a span's scale, and the
    next scale comes where the result is `span`.
    """
    k.registers(frame="r9", runend="r9", half="r10", which="r11", end="r12", span="lr")
    k("ldr r1, [r0, .x]; adds r1, r1, r5; add r1, frame")
    if four:
        k("mov span, r1; ldr r7, [r0, .n]")
    k(f"""
        lsls r7, r7, #2; adds r7, r7, r1; mov end, r7
        mov r3, which; lsls r3, r3, #{29 if four else 30}; lsrs r3, r3, #27
        ldr r7, [r0, .position]; negs r7, r7; asrs r7, r7, #31
        ldr r4, RUN
        ldr r0, [r4, .start]; adds r0, r0, r5
        ldr r2, [r4, .words]; lsls r2, r2, #2; adds r2, r2, r0; mov runend, r2
        ldr r2, SKIP; lsls r2, r2, #2; adds r0, r0, r2
        ldr r4, RIGHT
        ldr r5, LEFT; lsls r6, r5
    """)
    if four:
        k("str r6, MUL")
    k("""
    element:
        cmp r0, runend; beq runout
        ldmia r0!, {r2}; lsrs r2, r3
    """)
    if four:
        k("""
            lsls r2, r2, #28; lsrs r2, r2, #28
            cmp r1, span; beq scale
            subs r2, #8
        """)
    else:
        k("uxtb r2, r2; subs r2, #128")
    k("""
        muls r2, r6; add r2, half; asrs r2, r4
        ldr r5, [r1, #0]; ands r5, r7; adds r2, r2, r5
        stmia r1!, {r2}
        cmp r1, end; bne element
    """)


def advance(k: Kernel, four: bool) -> None:
    """The next position; the end of a run; the scale of a span."""
    k("""
        ldr r4, NEXT; adds r4, #1; str r4, NEXT
    check:
        ldr r4, NEXT
        ldr r3, LAST
        cmp r4, r3; bge done
        b token
    runout:
        ldr r2, RUN; adds r2, #8; str r2, RUN
        ldr r0, [r2, .start]; ldr r5, BASE; adds r0, r0, r5
        ldr r5, [r2, .words]; lsls r5, r5, #2; adds r5, r5, r0; mov runend, r5
        b element
    """)
    if four:
        k("""
        scale:
            ldr r6, MUL; muls r6, r2
            ldr r2, REC; ldr r2, [r2, .span]; lsls r2, r2, #2; add span, r2
            b element
        """)
    k("done:")


def _embed(k: Kernel, four: bool) -> Kernel:
    prologue(k, "BASE REC STRIDE NEXT LAST RIGHT LEFT RUN SKIP" + " SIZE MUL" * four)
    start(k, four)
    token(k)
    place(k, four)
    row(k, four)
    advance(k, four)
    epilogue(k)
    return k


def embed() -> Kernel:
    """19 cycles an element."""
    return _embed(kernel("embed", "rows of a matrix"), False)


def embed4() -> Kernel:
    """24 cycles an element."""
    return _embed(kernel("embed4", "rows of a matrix of 4 bits"), True)
