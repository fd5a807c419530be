"""Weights by an RP2040's XIP stream: Model(weights="stream"), while it runs.

A core that reads flash stands still for each word that the cache lacks. Here DMA fetches the words
of the next matrices into a ring in RAM, while the core computes with those that came before (see
tools/kernels/thumb/stream.py). Nothing is in flight between two calls: flash may be written to.
**Nobody has tried this on silicon**, so what comes first is compared when a model is loaded.
"""

import sys

from .errors import Error

XIP = 0x14000000  # its STAT, STREAM_ADDR, STREAM_CTR and STREAM_FIFO lie 8, 20, 24 and 28 bytes on
_FIFO = 0x50400000
_DREQ = 37
BROKEN = "the XIP stream does not bring the weights: load the model without weights='stream'"


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
        raise Error("something else uses the XIP stream: end that, or leave weights='stream' out")
    try:
        taken = DMA()
    except OSError:
        raise Error("no DMA channel is free: close one, or leave weights='stream' out")
    control = taken.pack_ctrl(inc_read=False, treq_sel=_DREQ)
    taken.config(read=_FIFO, count=0, ctrl=control)
    return taken


def end(taken):
    """Give the channel back. What is in flight, which only a fault leaves, ends before."""
    from machine import mem32

    mem32[XIP + 24] = 0
    taken.active(0)
    while not mem32[XIP + 8] & 2:
        mem32[XIP + 28]  # its FIFO holds two words
    taken.close()


def guard(model, rest, state):
    """Let a run end with nothing in flight, however it ends."""
    run, sweep = model._run, model._sweep

    def ended():
        if rest(state, 0):
            raise Error(BROKEN)

    def runs(at, end):
        try:
            run(at, end)
        finally:
            ended()

    def sweeps(tokens, types=None, steps=None):
        try:
            sweep(tokens, types, steps)
        finally:
            ended()

    model._run, model._sweep = runs, sweeps
