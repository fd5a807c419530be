"""Both cores: `pair` runs a kernel on each of them, `worker` is what the other one waits in.

They share a mailbox: whether there is work, the kernel, its record, the arena. Core 1 sleeps until
an event (`sev`), of which it may miss none: one that came before `wfe` ends it at once.
"""

from __future__ import annotations

from ..arm import Kernel

BOX = "work kernel record arena"


def worker() -> Kernel:
    """Called on core 1 with the mailbox. Kernel 0 ends it."""
    k = Kernel("worker", "runs what is in the mailbox")
    k.fields(BOX)
    k("""
        mov r4, r0
        movs r5, #0
    idle:
        ldr r3, [r4, .work]
        cmp r3, #0; bne run
        wfe
        b idle
    run:
        dmb
        ldr r2, [r4, .kernel]; ldr r0, [r4, .record]; ldr r1, [r4, .arena]
        cmp r2, #0; beq end
        blx r2
        dmb
        str r5, [r4, .work]
        sev
        b idle
    end:
        str r5, [r4, .work]
        sev
        movs r0, #0
    """)
    return k


def both(k: Kernel) -> None:
    """A kernel on both cores: the record in r0, the arena in r1. Changes what kernels may, r4."""
    k.fields(BOX)
    k.fields("box called theirs ours")
    k("""
        ldr r4, [r0, .box]; ldr r2, [r0, .called]; ldr r3, [r0, .theirs]; ldr r0, [r0, .ours]
        str r2, [r4, .kernel]; str r3, [r4, .record]; str r1, [r4, .arena]
        dmb
        movs r3, #1; str r3, [r4, .work]
        dmb
        sev
        cmp r2, #0; beq wait
        blx r2
        b wait
    sleep:
        wfe
    wait:
        ldr r3, [r4, .work]
        cmp r3, #0; bne sleep
        dmb
    """)


def pair() -> Kernel:
    """A step; its record: the mailbox, a kernel, two records of it, core 1's and this one's."""
    k = Kernel("pair", "a kernel on both cores")
    both(k)
    k("movs r0, #0")
    return k
