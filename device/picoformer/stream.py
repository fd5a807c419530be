"""Weights by an RP2040's XIP stream: Model(weights="stream"), while it runs.

A core that reads flash stands still for each word that the cache lacks. Here DMA fetches the words
of the next matrices into a ring in RAM, while the core computes with those that came before (see
tools/kernels/thumb/stream.py). Nothing is in flight where Python runs: flash may be written to.
**Nobody has tried this on silicon**, so what comes first is compared when a model is loaded.
"""

import sys
from _thread import allocate_lock

from .errors import Error

XIP = 0x14000000  # its STAT, STREAM_ADDR, STREAM_CTR and STREAM_FIFO lie 8, 20, 24 and 28 bytes on
_FIFO = 0x50400000
_DREQ = 37
_FAULT = 11  # of a model's state
_lock = allocate_lock()  # there is one stream for all models
SAID = (  # by the fault
    None,
    "the XIP stream does not bring the weights: load the model without weights='stream'",
    "something else uses the XIP stream: end that, or leave weights='stream' out",
)


def able(kernels, cores):
    """Raise Error where there is no such stream, or what runs the model cannot use it."""
    machine = getattr(sys.implementation, "_machine", "")
    if "RP2040" not in machine or kernels.__name__.rpartition("_")[2] != "thumb":
        raise Error("weights='stream' needs an RP2040 and its thumb kernels: leave it out")
    if cores > 1:
        raise Error("weights='stream' is for one core: leave it out, or cores=2")


def channel():
    """A DMA channel that brings what the stream has. Raises Error."""
    from machine import mem32
    from rp2 import DMA

    if mem32[XIP + 24] or not mem32[XIP + 8] & 2:
        raise Error(SAID[2])
    try:
        taken = DMA()
    except OSError:
        raise Error("no DMA channel is free: close one, or leave weights='stream' out")
    control = taken.pack_ctrl(inc_read=False, treq_sel=_DREQ)
    taken.config(read=_FIFO, count=0, ctrl=control)
    return taken


def guard(model, state):
    """Let a run have the stream for itself, and say what went wrong with it."""
    release = bool, _lock.release

    def alone(run):
        def runs(*given):
            mine = _lock.acquire(0)  # as Model does
            try:
                if not mine:
                    raise Error("another model is using the XIP stream: wait for it")
                state[_FAULT] = 0
                run(*given)
            finally:
                release[mine]()
                model._filled *= state[_FAULT] == 0
            if state[_FAULT]:
                raise Error(SAID[state[_FAULT]])

        return runs

    model._run, model._sweep = alone(model._run), alone(model._sweep)
