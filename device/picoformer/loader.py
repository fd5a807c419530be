"""A model from its file: whatever `opening` leaves to do until the model runs.

What must be known of a file, `binder` reads: it is dropped, with the proof and the meaning of a
program's words, before a model's large blocks are allocated here; the rest is dropped behind it.
On a Pico that is 16 KB of heap, and then 6.
"""

import gc
import sys

from . import regions
from .errors import Error, free

_GOING = "binder", "check", "modelfile", "program", "reader"  # go before large blocks come


def _going():
    """What binds a model, and is dropped before its large blocks come."""
    from . import binder, check  # noqa: F401

    return binder


def _binder(tokens):
    """`binder` and what it needs: behind the memory of all that stays, or they would part it.

    tokens: bytes of the tokenizer's section, which comes while they are there.
    """
    # Nothing of these modules stays, nor of the proof: what they leave may be collected later.
    regions.threshold(regions.LATER)
    binder = _going()
    if free():
        # That was for the names that an import brings: they stay, and are to lie low.
        binder = None
        regions.forget(*_GOING)
        gc.collect()
        need = 57344 if sys.maxsize >> 32 else 28672  # by what wide words are
        n = min(max(min(free(), 1 << 17) >> 1, tokens + 24576), free() - need)
        try:
            held = [bytearray(240) for _ in range(n >> 8)]  # noqa: F841
        except MemoryError:
            pass
        binder = _going()
    return binder


def fill(model, f, parts, context, kernels, source, ample, spare=None, held=(), cores=1,
         streamed=False):  # fmt: skip
    """held: what modelfile.early gives."""
    weights = model.weights
    place = held and held[2]
    binder = None if place else _binder(parts[3][1])
    gc.collect()
    from . import check

    words, tables = check.proved(f, parts, place)
    check = None
    if place:  # in what the proof has left
        gc.collect()
        from . import binder
    operands, memory, tiles, matrices = binder.bind(
        model, f, parts, words, tables, context, kernels, source, ample, place
    )
    binder = None
    regions.forget(*_GOING)
    if not place:
        regions.reread(f, parts[3], model.tokenizer._s)
    native = kernels.BIAS != 0
    bring = None
    if native and weights == "flash" and spare is not None and not streamed:
        from .copies import bring
    need = regions.sizes(words, model.context, model.in_ram >> 2)
    # Unless the file is another one by now.
    blocks = held[1] if held and held[0] == need else _allocate(model, words, need, native)
    held = None
    if blocks[0]:
        regions.read(f, parts[4], "weights", blocks[0])
        memory[3] = blocks[0]
    memory[0] = blocks[1]
    memory.extend(blocks[2:])
    arena = model._arena = memory[0]
    arena[2] = model.context
    arena[3] = model._stride
    if tiles:
        tiles.arena = arena
    model._space = memory
    if model.frames and not native:
        memory.append(None)  # where a signal comes
    if native:
        copies = {}
        shared = share = None
        if cores > 1:
            from .cores import prepare, share

            shared = prepare(model, words, memory[regions.RUNS])
            prepare = None
            regions.forget("cores")
        if bring:
            copies = bring(model, memory, matrices, spare)
        model._space = _relocate(model, memory, kernels.BIAS, words, operands, copies)
        operands = copies = None
        if shared:
            share(model, memory, words, model._space, kernels.BIAS, *shared)
        share = None
        if streamed:
            from . import series  # noqa: F401
            from .stream_load import start  # which takes all that the heap can spare

            start(model, memory, words, model._space - kernels.BIAS, spare, kernels.series)
            start = None
            regions.forget("stream_load")
        most = 0 if streamed else model._most
        # What takes a whole input gains nothing, and callbacks that read sensors come sooner.
        some = streamed or most and (model._encoder or not model._whole)
        if some and hasattr(kernels, "series"):
            try:
                from .series import fuse

                model._encoder, model._body, model._head = fuse(
                    model, memory, words, kernels.series, most, regions.address, regions.code
                )
            except MemoryError:
                if streamed:
                    raise
        memory.append(words)
        model._memory = memory  # keeps alive what only addresses tell of


def _allocate(model, words, need, native):
    """The large blocks, of `need` words.

    All that leaves garbage between what stays was before: they come behind it, in one piece.
    """
    gc.collect()
    try:
        return regions.blocks(need, native)
    except MemoryError:
        pass  # and the blocks that there were go with that function
    there = left()
    least = 4 * sum(regions.sizes(words, 2, need[0]))
    raise MemoryError(
        "a context of %d takes %d bytes%s, %d of them in one piece; %s; %s"
        % (model.context, 4 * sum(need), " with the weights" * (need[0] > 0), 4 * max(need), there,
           "take a smaller model" if model.image or least > free() else "choose a smaller context")
    )  # fmt: skip


def left():
    """What there is of the heap, in words."""
    from .errors import largest

    most = largest()
    return "%d are free, %d in one piece" % (free(), most)


def _relocate(model, memory, bias, words, operands, held):
    """Turn operands into byte distances from the arena, `bias` added; returns its address.

    held: copies of matrices, by place in the runs.
    """
    from uctypes import addressof

    home = addressof(memory[0])
    # Wider than 32 bits only where pointers are; there the distance must stay positive.
    wide = home >> 32 or addressof(memory[1]) >> 32

    def place(operand):
        return far(addressof(memory[operand & 63]) + 4 * (operand >> 6))

    def far(address):
        d = address - home + bias
        if wide and not 0 <= d < 0x80000000:
            raise Error("the heap is too scattered for 32-bit operands")
        return regions.signed(d)

    runs = memory[regions.RUNS]
    for i in range(0, len(runs), 2):
        if i in held:
            runs[i] = far(addressof(held[i]))
        elif memory[3]:
            runs[i] = place(runs[i])
    for i in operands:
        # Operand 0, the arena's own header, stands for "none".
        if words[i]:
            words[i] = place(words[i])
    for k in (0, 2):
        if model._pick[k]:
            model._pick[k] = place(model._pick[k])
    return home
