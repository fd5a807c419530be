"""Weights that come from an RP2040's flash by its XIP stream and DMA, while the core computes.

Words arrive by chunks in a ring. `pump`, which all of these kernels call, sees how much of one has
come, and starts the next where there is room for it: a chunk has DMA write it, and ends by its
count. So a matrix is multiplied by as many row groups as are there. A row group must not be cut by
the ring's end: its beginning is copied in front of the ring then, where there is room for that.

A chunk is in flight within one call of `series` only, which runs all steps of a model's part: so
never where Python runs, which collects garbage, writes to flash, is interrupted, or ends.

The words of the state: the next chunk and where they end; where in the ring the next one is put,
where those that are there end, and the first word that is not used yet. `wrap` is 0, or where the
words end that lie in front of the ring's end, when the next ones begin at its beginning again.
Where the ring begins and ends; whether a chunk is in flight; the registers of the DMA channel and
of the XIP; a fault (1: words did not come, 2: somebody else uses these registers), which is there
until Python has seen it, and stops all but the steps; the run that `linear` gets.
"""

from __future__ import annotations

from ..arm import Kernel
from .pieces import far, new

STATE = "next last put ready get wrap ring end flight channel xip fault run words"
STREAMED = "state kernel record size unit total held in_ram most"
REPEATED = "state kernel record times share by_vector by_cache by_bias"
BEGIN = "state chunks behind"
XIP_STAT, STREAM_ADDR, STREAM_CTR, STREAM_FIFO = 8, 20, 24, 28
CHAN_ABORT = 0x444  # of the DMA's registers
PATIENCE = 17  # log2 of how often is looked for words that do not come, before they are given up


def pump(k: Kernel) -> None:
    """A function: r4 the state. Changes r0 to r3."""
    k(f"""
    pump:
        ldr r0, [r4, .flight]
        cmp r0, #0; beq landed
        ldr r2, [r4, .channel]; ldr r1, [r2, #8]; ldr r0, [r2, #12]
        cmp r0, #0; bmi broken          @ an error of the bus
        lsls r0, r0, #7; bmi busy
        ldr r0, [r2, #8]
        cmp r0, #0; beq whole
    broken:
        movs r0, #1; str r0, [r4, .fault]
        bx lr
    whole:
        str r0, [r4, .flight]
        ldr r2, [r4, .put]; str r2, [r4, .ready]
        b landed
    busy:
        ldr r2, [r4, .put]
        adds r1, #2; lsls r1, r1, #2; subs r2, r2, r1   @ two may be on their way to RAM
        ldr r0, [r4, .ready]
        cmp r2, r0; bls flies
        str r2, [r4, .ready]
        b flies
    landed:
        ldr r0, [r4, .fault]
        cmp r0, #0; bne flies
        ldr r1, [r4, .next]; ldr r2, [r4, .last]
        cmp r1, r2; beq flies
        push {{r5-r7}}
        ldmia r1!, {{r2, r3}}             @ where in flash, bytes
        ldr r0, [r4, .put]; adds r6, r0, r3
        ldr r5, [r4, .get]
        ldr r7, [r4, .wrap]
        cmp r7, #0; bne behind
        ldr r7, [r4, .end]
        cmp r6, r7; bls start
        ldr r7, [r4, .ring]; adds r6, r7, r3
        cmp r6, r5; bhs full
        str r0, [r4, .wrap]
        mov r0, r7; str r0, [r4, .ready]
        b start
    behind:
        cmp r6, r5; bhs full
    start:
        str r6, [r4, .put]; str r1, [r4, .next]
        ldr r1, [r4, .xip]
        str r2, [r1, #{STREAM_ADDR}]; lsrs r2, r3, #2; str r2, [r1, #{STREAM_CTR}]
        ldr r1, [r4, .channel]
        str r0, [r1, #4]; str r2, [r1, #28]     @ its count starts it
        str r1, [r4, .flight]
    full:
        pop {{r5-r7}}
    flies:
        bx lr
    """)


def begin() -> Kernel:
    """A step in front of those whose matrices are streamed; its record: the chunks of them all.

    Nothing may be in flight: whatever is, is somebody else's.
    """
    k = Kernel("begin", "the first chunk")
    k.fields(STATE)
    k.fields(BEGIN)
    k(f"""
        mov r5, r0; ldr r4, [r5, .state]
        ldr r0, [r5, .chunks]; str r0, [r4, .next]
        ldr r0, [r5, .behind]; str r0, [r4, .last]
        ldr r0, [r4, .ring]; str r0, [r4, .put]; str r0, [r4, .ready]; str r0, [r4, .get]
        movs r0, #0; str r0, [r4, .wrap]
        ldr r1, [r4, .xip]
        ldr r0, [r1, #{STREAM_CTR}]
        cmp r0, #0; bne taken
        ldr r0, [r1, #{XIP_STAT}]; lsrs r0, r0, #2; blo taken     @ its FIFO is not empty
        ldr r1, [r4, .channel]; ldr r0, [r1, #12]; lsls r0, r0, #7; bpl free
    taken:
        movs r0, #2; str r0, [r4, .fault]
    free:
        bl pump
        b began
    """)
    pump(k)
    k("""
    began:
        movs r0, #0
    """)
    return k


def rest() -> Kernel:
    """A step behind them; its record: the state. Nothing is in flight any more, come what may.

    Whoever has a fault, or waits too long, stops the channel and the stream.
    """
    k = Kernel("rest", "the end of what is in flight")
    k.fields(STATE)
    k(f"""
        mov r4, r0
        ldr r0, [r4, .flight]
        cmp r0, #0; beq done
        movs r5, #1; lsls r5, r5, #{PATIENCE}
    wait:
        ldr r0, [r4, .fault]
        cmp r0, #0; bne stop
        ldr r2, [r4, .channel]; ldr r0, [r2, #12]
        cmp r0, #0; bmi stop
        lsls r0, r0, #7; bpl came
        subs r5, #1; bne wait
        b stop
    came:
        ldr r0, [r2, #8]
        cmp r0, #0; beq landed
    stop:
        movs r0, #1; str r0, [r4, .fault]
        ldr r1, [r4, .xip]; ldr r2, [r4, .channel]
        movs r0, #0; str r0, [r1, #{STREAM_CTR}]
        lsls r3, r2, #20; lsrs r3, r3, #26      @ the channel's number
        movs r0, #1; lsls r0, r3
        lsrs r3, r2, #12; lsls r3, r3, #12; movs r5, #{CHAN_ABORT >> 6}; lsls r5, r5, #6
        adds r3, r3, r5; str r0, [r3, #{CHAN_ABORT & 63}]
        movs r5, #255
    stops:
        ldr r0, [r2, #12]
        lsls r3, r0, #7; bpl stopped
        subs r5, #1; bne stops
    stopped:
        movs r3, #3; lsls r3, r3, #29; orrs r0, r3; str r0, [r2, #16]   @ its errors, written off
        movs r5, #64                    @ a word may still be on its way to the FIFO
    drain:
        ldr r0, [r1, #{STREAM_FIFO}]
        subs r5, #1; bne drain
    landed:
        movs r0, #0; str r0, [r4, .flight]
    done:
        movs r0, #0
    """)
    return k


def there(k: Kernel) -> None:
    """r2 words that are there, r0 bytes of them, or of those that are taken at once; r3 rows left.

    Those in RAM come first. Where there is no whole row group, it is waited for.
    """
    k(f"""
    patient:
        movs r0, #1; lsls r0, r0, #{PATIENCE}; str r0, PATIENCE
    again:
        bl pump
        ldr r3, [r7, .in_ram]; ldr r1, [r6, .first]
        subs r3, r3, r1; bls stream
        ldr r2, AT
        ldr r0, [r7, .most]
        b some
    stream:
        ldr r0, [r4, .fault]
        cmp r0, #0
    """)
    far(k, "bne", "done")
    k("""
        ldr r2, [r4, .get]
        ldr r0, [r4, .wrap]
        cmp r0, #0; bne lap
        ldr r0, [r4, .ready]
    lap:
        subs r0, r0, r2
        ldr r3, [r7, .size]
        cmp r0, r3; bhs enough
        ldr r3, [r4, .wrap]
        cmp r3, #0; beq wait
        ldr r3, [r4, .ring]; subs r1, r3, r0; str r1, [r4, .get]
        b tail
    copy:
        ldmia r2!, {r0}; stmia r1!, {r0}
    tail:
        cmp r1, r3; bne copy
        movs r0, #0; str r0, [r4, .wrap]
        b again
    wait:
        ldr r0, PATIENCE; subs r0, #1; str r0, PATIENCE
        bne again
        movs r0, #1; str r0, [r4, .fault]
        b done
    enough:
        ldr r3, [r7, .most]
        cmp r0, r3; bls less
        mov r0, r3
    less:
        ldr r3, [r7, .total]; ldr r1, [r6, .first]; subs r3, r3, r1
    some:
    """)


def grow(k: Kernel) -> None:
    """As many row groups as `there` allows -> r5 bytes, r1 rows. Changes r0, r3, r12, lr."""
    k("""
        movs r1, #0; movs r5, #0
        mov r12, r2; mov lr, r4
        ldr r2, [r7, .unit]; ldr r4, [r7, .size]
    grow:
        adds r5, r5, r4; adds r1, r1, r2
        cmp r1, r3; bhs all
        subs r0, r0, r4
        cmp r0, r4; bhs grow
        b grown
    all:
        mov r1, r3
    grown:
        mov r4, lr; mov r2, r12
    """)


def streamed() -> Kernel:
    """A step that is `linear` or `linear4`.

    Its record: the state, the kernel and its record; bytes of a row group, and what it counts of
    rows by four; all of these. The first `in_ram` of them are held in RAM. At `most` so many bytes
    are taken at once, so that the next chunk is not late.
    """
    k = Kernel("streamed", "a matrix, as its words arrive")
    k.fields(STATE)
    k.fields(STREAMED)
    k.fields("x out weights cols groups shift room add first count")
    room = k.stack("ARENA AT PATIENCE")
    k(f"""
        sub sp, #{room}
        str r1, ARENA
        mov r7, r0
        ldr r4, [r7, .state]; ldr r6, [r7, .record]
        ldr r0, [r7, .held]; str r0, AT
        movs r0, #0; str r0, [r6, .first]
    """)
    there(k)
    grow(k)
    k("""
        str r1, [r6, .count]
        ldr r1, ARENA
        movs r0, #1; lsls r0, r0, #29; subs r0, r1, r0
        subs r0, r2, r0; str r0, [r4, .run]
        lsrs r0, r5, #2; str r0, [r4, .words]
        adds r2, r2, r5
        ldr r0, [r7, .in_ram]; ldr r3, [r6, .first]
        cmp r3, r0; blo held
        str r2, [r4, .get]              @ nothing comes there before `pump`
    held:
        str r2, AT
        mov r0, r6; ldr r3, [r7, .kernel]; blx r3
        ldr r0, [r6, .first]; ldr r1, [r6, .count]; adds r0, r0, r1; str r0, [r6, .first]
        ldr r1, [r7, .total]
        cmp r0, r1; bhs done
        b patient
    """)
    pump(k)
    k(f"""
    done:
        add sp, #{room}
        movs r0, #0
    """)
    return k


def repeated() -> Kernel:
    """A step that is `attend` or `store`, head by head, so that no chunk is late.

    Its record: the state, the kernel, its record for the first head; how many there are, and how
    many of them share a head of the keys; what is added to the places of the vectors and, if there
    is one, the bias from one to the next, and from one of the keys to the next to that of the
    cache, which is then several, of one head each.
    """
    k = Kernel("repeated", "an attention, head by head")
    k.fields(STATE)
    k.fields(REPEATED)
    k.fields("first second cache")
    k.places["bias"] = 60
    saved = {"first": "FIRST", "second": "SECOND", "cache": "CACHE", "bias": "BIAS"}
    room = k.stack(f"ARENA LEFT SHARED {' '.join(saved.values())}")
    k(f"""
        sub sp, #{room}
        str r1, ARENA
        mov r7, r0
        ldr r4, [r7, .state]; ldr r6, [r7, .record]
        ldr r0, [r7, .times]; str r0, LEFT
        ldr r0, [r7, .share]; str r0, SHARED
    """)

    def each(what: str) -> None:
        for field, word in saved.items():
            if field == "bias":
                none = new(k, "none")
                k(f"ldr r1, [r7, .by_bias]; cmp r1, #0; beq {none}")
            k(what.format(field=field, word=word))
            if field == "bias":
                k(f"{none}:")

    each("ldr r0, [r6, .{field}]; str r0, {word}")
    k("""
    again:
        bl pump
        mov r0, r6; ldr r1, ARENA; ldr r3, [r7, .kernel]; blx r3
    """)
    k("""
        ldr r2, SHARED; subs r2, #1
        beq others
        movs r1, #0; b same
    others:
        ldr r2, [r7, .share]; ldr r1, [r7, .by_cache]
    same:
        str r2, SHARED
        ldr r0, [r6, .cache]; adds r0, r0, r1; str r0, [r6, .cache]
    """)
    for field in saved:
        if field != "cache":
            by = "bias" if field == "bias" else "vector"
            none = new(k, "none")
            k(f"""
                ldr r1, [r7, .by_{by}]
                cmp r1, #0; beq {none}
                ldr r0, [r6, .{field}]; adds r0, r0, r1; str r0, [r6, .{field}]
            {none}:
            """)
    k("""
        ldr r0, LEFT; subs r0, #1; str r0, LEFT
        bne again
    """)
    each("ldr r0, {word}; str r0, [r6, .{field}]")
    k("b done")
    pump(k)
    k(f"""
    done:
        add sp, #{room}
        movs r0, #0
    """)
    return k
