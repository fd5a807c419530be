"""Loading a model file: whatever is needed only until the model runs.

What must be known of a file, `binder` reads: it is dropped, with the proof and the meaning of a
program's words, before a model's large blocks are allocated here; the rest is dropped behind it.
On a Pico that is 16 KB of heap, and then 6.
"""

import gc
import sys
from binascii import crc32

from . import regions
from .errors import Error, free

_GOING = "binder", "check", "modelfile", "program"  # modules that go before large blocks come


def load(model, f, path, context, weights, kernels, spare, cores):
    """Fill in `model`, a Model, from its open file; the rest are Model's arguments."""
    from . import modelfile

    kernels = modelfile.family(kernels)
    source = weights if hasattr(weights, "fill") else None
    if not source and weights not in (None, "flash", "ram", "file", "stream"):
        raise Error("weights are in 'flash', 'ram', a 'file' or a 'stream', not in %r" % weights)
    if not isinstance(spare, int) or spare < 0:
        raise Error("spare is %r, expected bytes of heap to leave free" % (spare,))
    if cores not in (1, 2):
        raise Error("cores is %r, expected 1 or 2" % (cores,))
    streamed = weights == "stream"
    if streamed:
        from .stream import able

        able(kernels, cores)
        weights = "flash"
    parts = modelfile.sections(f, source)
    mapped = None
    if weights == "flash" or kernels.BIAS and not weights:
        mapped = modelfile.mapped(f, path, parts[4], weights, kernels.BIAS)
    modelfile = None
    model._mapped = mapped
    if source:
        # With less and less of what only saves time.
        choices = ("host", 1), ("host", 2), ("host", 0)
    else:
        choices = (weights,) if weights else ("flash",) if mapped else ("ram", "file")
        choices = [(choice, 0) for choice in choices]
    for choice, ample in choices:
        last = (choice, ample) == choices[-1]
        gc.collect()
        try:
            model.weights = choice
            ram = parts[4][1] >> 2 if choice == "ram" else 0
            model.in_ram = 4 * ram
            tile = regions.TILE if choice == "file" else 0
            from . import modelfile

            held = modelfile.early(f, parts, context, ram, kernels.BIAS != 0, tile)
            modelfile = None
            if not held:
                gc.collect()
            if held is None and not last:
                continue
            if held:
                ample = 0  # frames have their places
            room = spare if streamed or not weights else None
            return _fill(
                model, f, parts, context, kernels, source, ample, room, held, cores, streamed
            )
        except MemoryError as e:
            # What there is of the model goes before it is made anew.
            model._encoder = model._body = model._head = model.tokenizer = model._tokens = None
            held = None
            if last:
                if "piece" in str(e):
                    raise
                raise MemoryError("%s; without the model %s" % (e, _left()))


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


def _fill(model, f, parts, context, kernels, source, ample, spare=None, held=(), cores=1,
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
    _reread(f, parts[3], model.tokenizer._s)
    native = kernels.BIAS != 0
    need = regions.sizes(words, model.context, model.in_ram >> 2)
    # Unless the file is another one by now.
    blocks = held[1] if held and held[0] == need else _allocate(model, words, need, native)
    held = None
    if blocks[0]:
        wrong = "model file is corrupt: checksum of its weights differs; convert or copy it again"
        _read(f, parts[4], blocks[0], wrong)
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
        if weights == "flash" and spare is not None and not streamed:
            copies = _bring(model, memory, matrices, spare)
        model._space = _relocate(model, memory, kernels.BIAS, words, operands, copies)
        if shared:
            share(model, memory, words, model._space, kernels.BIAS, *shared)
        share = None
        if streamed:
            from .stream_load import start

            start(model, memory, words, model._space - kernels.BIAS, spare)
            start = None
            regions.forget("stream_load")
        memory.append(words)
        model._memory = memory  # keeps alive what only addresses tell of


def _reread(f, section, tokens):
    """Collect garbage while a tokenizer's section is not there, and read it again.

    Among its bytes are some that look like an address: of what was dropped, they keep a part.
    """
    none = bytes(256)
    view = memoryview(tokens)
    for i in range(0, len(tokens), 256):
        view[i : i + 256] = none[: len(tokens) - i]
    gc.collect()
    wrong = "the model file has changed while it was read: load it again"
    _read(f, section, tokens, wrong)


def _read(f, section, into, wrong):
    """Read a section without `modelfile`, which is gone; raises Error(wrong)."""
    f.seek(section[0])
    f.readinto(into)
    if crc32(into) & 0xFFFFFFFF != section[2]:
        raise Error(wrong)


def _allocate(model, words, need, native):
    """The large blocks, of `need` words.

    All that leaves garbage between what stays was before: they come behind it, in one piece.
    """
    gc.collect()
    try:
        return regions.blocks(need, native)
    except MemoryError:
        pass  # and the blocks that there were go with that function
    left = _left()
    least = 4 * sum(regions.sizes(words, 2, need[0]))
    raise MemoryError(
        "a context of %d takes %d bytes%s, %d of them in one piece; %s; %s"
        % (model.context, 4 * sum(need), " with the weights" * (need[0] > 0), 4 * max(need), left,
           "take a smaller model" if model.image or least > free() else "choose a smaller context")
    )  # fmt: skip


def _left():
    from .errors import largest

    most = largest()
    return "%d are free, %d in one piece" % (free(), most)


def _bring(model, memory, matrices, spare):
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
