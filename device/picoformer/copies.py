"""Copies of matrices from mapped flash: imported for these, and dropped when a model is loaded."""

import gc

from . import regions
from .errors import free


def bring(model, memory, matrices, spare):
    """Copy matrices from mapped flash, which is slower, while `spare` bytes of the heap are free.

    matrices: where the runs of each begin and end. Returns the copies, by place in the runs.
    """
    runs = memory[regions.RUNS]
    gc.collect()
    if model.sound:  # and what its Features take
        from .sound import sizes

        work, samples, rows = sizes(model.sound, model.frames[0])
        spare += 4 * work + 2 * samples + 2 * rows + 512
    room = free() - spare
    held = {}
    copies = {}  # by the first word in flash: a head may be the embedding
    for i in range(0, len(matrices), 2):
        first, end = matrices[i], matrices[i + 1]
        n = 0
        for k in range(first + 1, end, 2):
            n += 4 * runs[k]
        block = copies.get(runs[first])
        if not block or len(block) != n:
            if n + 64 > room:
                continue
            try:
                block = _copy(model, memory, first, end, n)
            except MemoryError:
                continue
            room -= n + 64
            copies[runs[first]] = block
        runs[first + 1] = n >> 2
        held[first] = block
    if 2 * len(held) == len(matrices):
        model.weights = "ram"
        model._mapped = memory[3] = None
        return held
    # The beginning of the matrix whose runs are the last ones, behind which there is one more.
    end = len(runs) - 2
    n = room - 64 & ~3
    for i in range(0, len(matrices), 2):
        first = matrices[i]
        while matrices[i + 1] == end and first not in held and n > 1024:
            try:
                held[first] = _copy(model, memory, first, end, n)
            except MemoryError:
                n = n >> 3 << 2
    return held


def _copy(model, memory, first, end, n):
    """A copy of the first n bytes of a matrix; its runs, from `first` to `end`, begin with it."""
    runs = memory[regions.RUNS]
    view = memory[3]
    block = bytearray(n)
    at = 0
    rest = []
    for k in range(first, end, 2):
        start = runs[k] >> 6 << 2
        size = min(4 * runs[k + 1], n - at)
        block[at : at + size] = view[start : start + size]
        at += size
        if size < 4 * runs[k + 1]:
            rest.append(runs[k] + (size << 4))
            rest.append(runs[k + 1] - (size >> 2))
    runs[first + 1] = n >> 2
    for k in range(len(rest)):
        runs[first + 2 + k] = rest[k]
    memory.append(block)
    model.in_ram += n
    return block
