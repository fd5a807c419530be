"""Loading a model file: whatever is needed only until the model runs.

This module, `program` and `modelfile` are dropped afterwards: 12 KB of a Pico's heap.
"""

import gc
import sys
from array import array

from . import modelfile, program
from .errors import Error
from .tokenizer import Tokenizer, reader_of

_TILE = 1024  # words of the tile buffer, or one row group if that is longer
_LONG = 16384  # the same, where each tile takes a message, and memory is there
_REST = 28672  # bytes of heap for all but the large blocks, where these are sized


def _family(name):
    """The kernels `name`, or the fastest family that this port can compile."""
    # The native emitter's architecture: 4 to 8 are ARMv6-M to ARMv7E-M.
    arch = getattr(sys.implementation, "_mpy", 0) >> 10 & 15
    for family in ("thumb", "viper") if 4 <= arch <= 8 else ("viper",):
        if name in (None, family):
            try:
                if family == "thumb":
                    from . import kernels_thumb as kernels
                else:
                    from . import kernels_viper as kernels
                return kernels
            except (AttributeError, ImportError, MemoryError, SyntaxError, ValueError):
                # No emitter, an .mpy of another processor, or no memory to compile the source.
                gc.collect()
    if name in ("thumb", "viper"):
        raise Error("this port cannot run %s kernels; use kernels='portable'" % name)
    if name not in (None, "portable"):
        raise Error("no kernels %r: there are 'thumb', 'viper' and 'portable'" % name)
    from . import kernels_portable as portable

    return portable


def forget(*names):
    """Drop modules of this package that only loading needs."""
    package = sys.modules[__name__.rpartition(".")[0]]
    for name in names:
        sys.modules.pop(package.__name__ + "." + name, None)
        if hasattr(package, name):
            delattr(package, name)


def _array(n):
    """n words. It grows where it lies: array("i", bytes(4 * n)) would take the memory twice."""
    # Small, as it leaves a hole in front; not for what would grow too often.
    some = memoryview(array("i", bytes(256 if n < 32768 else 4096)))
    out = array("i", some[: n % len(some)])
    while len(out) < n:
        out.extend(some)
    return out


def _zeros(n, native):
    """n words; only plain Python indexes whole ones."""
    return bytearray(4 * n) if native else _array(n)


def _words(f, section, kind):
    out = _array(section[1] >> 2)
    modelfile.read(f, section, kind, out)
    return out


def load(model, f, path, context, weights, kernels):
    """Fill in `model`, a Model, from its open file; the rest are Model's arguments."""
    kernels = _family(kernels)
    source = weights if hasattr(weights, "fill") else None
    if not source and weights not in (None, "flash", "ram", "file"):
        raise Error("weights are in 'flash', 'ram' or a 'file', not in %r" % weights)
    parts = modelfile.sections(f, source)
    mapped = None
    if kernels.BIAS and weights in (None, "flash"):
        from . import flash

        mapped = flash.find(f, path, parts[4])
    if weights == "flash" and not mapped:
        raise Error("this board does not map the file into memory; use weights='file'")
    model._mapped = mapped
    if source:
        # With less and less of what only saves time.
        choices = ("host", 1), ("host", 2), ("host", 0)
    else:
        choices = (weights,) if weights else ("flash",) if mapped else ("ram", "file")
        choices = [(choice, 0) for choice in choices]
    for choice, ample in choices:
        gc.collect()
        try:
            return _fill(model, f, parts, context, choice, kernels, source, ample)
        except MemoryError:
            if (choice, ample) == choices[-1]:
                raise
            # What there is of the model goes before it is made anew.
            model._encoder = model._body = model._head = model.tokenizer = model._tokens = None


def _fill(model, f, parts, context, weights, kernels, source, ample):
    model.weights = weights
    native = kernels.BIAS != 0
    mapped = model._mapped
    # Before what it checks: the names that an import brings stay, and are to lie low.
    from .check import check

    words = _words(f, parts[1], modelfile.PROGRAM)
    tables = _words(f, parts[2], modelfile.TABLES)
    check(words, tables, parts[4][1] >> 2)
    # The proof takes as much memory as a small model's program and tables: it goes first.
    check = None
    forget("check")
    gc.collect()
    # Modules that stay when the model goes take its place, low, or they would part the heap.
    f.seek(parts[3][0])
    reader_of(int.from_bytes(f.read(4), "little"))
    if weights in ("file", "host"):
        from .weights import File, Tiles
    # Kernels that most models do not need, and some have no room for.
    if any(op in program.FOUR for op, _, _ in program.steps(words)[0]):
        kernels.four()
    gc.collect()
    limit = words[0]
    context = limit if context is None else context
    if not 2 <= context <= limit:
        raise Error("context is %r, this model has 2 to %d" % (context, limit))
    model.context = context = (context + 1) & ~1
    modelfile.read(f, parts[0], modelfile.META)
    model.vocab = words[4]
    model.outputs = words[3]
    model.task = program.TASKS[words[12]]
    model._whole = words[13]
    model.labels = []
    model.image = ()
    if words[14]:
        model.image = program.image(words, _meta(f, parts[0]).get("image"))
        model._patch = words[14] >> 6
    if model.task == "classify":
        model.labels = program.labels(words, _meta(f, parts[0]).get("labels"))
    model.bos, model.eos = words[7], words[8]
    model.kernels = kernels.__name__.rpartition("_")[2]
    model._stride = words[2]
    model._logits = words[5] >> 6
    model.bits = words[6]
    tokens = bytearray(parts[3][1])
    modelfile.read(f, parts[3], modelfile.TOKENIZER, tokens)
    model.tokenizer = Tokenizer(tokens)
    if model.tokenizer.vocab_size != model.vocab:
        raise Error(
            "model file is corrupt: tokenizer of %d tokens, model of %d"
            % (model.tokenizer.vocab_size, model.vocab)
        )
    model._tokens = array("H", bytes(2 * context))
    model._filled = 0
    model._turn = 0
    memory = [None, tables, None, mapped and mapped.view]
    tiles = None
    if weights in ("file", "host"):
        if not source:
            modelfile.read(f, parts[4], modelfile.WEIGHTS)
        tile = _ample(words, context, ample) if ample else _TILE
        tile = _array(max(tile, _longest(words)))
        tiles = Tiles(source or File(f, parts[4][0]), tile)
        memory[3] = tiles.buffer
    model._batch = min(words[1], context)
    listing = _bind(model, kernels, words, memory, tiles, parts[4][0])
    # All that leaves garbage between what stays. The large blocks come behind it, in one piece.
    gc.collect()
    caches = range(words[11])
    try:
        if weights == "ram":
            memory[3] = _zeros(parts[4][1] >> 2, native)
        for i in caches:
            memory.append(_zeros(program.cache_words(words, i, context), native))
        memory[0] = _array(program.arena_words(words, context))
    except MemoryError:
        del memory[3:]
        from .heap import free, largest

        most = largest()  # which collects what was got
        need = program.arena_words(words, context) + (parts[4][1] >> 2 if weights == "ram" else 0)
        for i in caches:
            need += program.cache_words(words, i, context)
        raise MemoryError(
            "a context of %d takes %d bytes%s; %d are free, %d in one piece"
            % (context, 4 * need, " with the weights" * (weights == "ram"), free(), most)
        )
    if weights == "ram":
        modelfile.read(f, parts[4], modelfile.WEIGHTS, memory[3])
    arena = model._arena = memory[0]
    arena[2] = context
    arena[3] = model._stride
    if tiles:
        tiles.arena = arena
    model._space = memory
    if native:
        _relocate(model, memory, kernels.BIAS, listing, words)
        model._memory = memory  # keeps the regions alive
        model._space = arena


def _meta(f, section):
    """The metadata, {} if they are none."""
    import json

    try:
        meta = json.loads(modelfile.read(f, section, modelfile.META, bytearray(section[1])))
        return meta if isinstance(meta, dict) else {}
    except (ValueError, RuntimeError):  # the latter: nested too deep
        return {}


def _longest(words):
    """Words of the longest row group, or vector, of the weights: a tile holds at least one."""
    longest = 0
    for op, i, _ in program.steps(words)[0]:
        if program.OPS[op][1].find("w") > 0:
            longest = max(longest, program.matrix(words, op, i)[1])
    return longest


def _ample(words, context, share):
    """Let a sweep serve as many positions as there is memory for; words of a long tile.

    Of a share of the heap that is left behind caches and frames three quarters are for more
    frames, the rest for the tile.
    """
    gc.collect()
    free = min(getattr(gc, "mem_free", int)(), 1 << 24)
    free -= 4 * (program.arena_words(words, context) + _TILE) + _REST
    for i in range(words[11]):
        free -= 4 * program.cache_words(words, i, context)
    if free < 0:
        return _TILE
    free //= share
    words[1] = max(words[1], min(context, words[1] + 3 * (free >> 4) // words[2]))
    return min(_TILE + (free >> 4), _LONG)


def _bind(model, kernels, words, memory, tiles, offset):
    """Make the list of (kernel, record) that a token runs through; returns that of the steps."""
    listing, body, head = program.steps(words)
    # A matrix is a list of runs (operand, words): a single one, or one a piece of flash.
    runs = []
    view = memoryview(words)
    model._encoder, model._body, model._head = [], [], []
    for s in range(len(listing)):
        op, i, n = listing[s]
        name, fields, _ = program.OPS[op]
        kernel = getattr(kernels, name)
        record = view[i : i + n]
        if op == 5:
            record[8] = program.scratch(words, model.context) << 6
        for k in range(n):
            if fields[k] == "w":
                at = record[k] >> 6
                groups, size = program.matrix(words, op, i)
                record[k] = len(runs) << 6 | program.RUNS
                if tiles:
                    kernel = tiles.step(name, kernel, at, groups, size)
                    pieces = ((0, 4 * tiles.words),)
                elif model.weights == "flash":
                    pieces = model._mapped.section(offset + 4 * at, 4 * groups * size)
                else:
                    pieces = ((4 * at, 4 * groups * size),)
                for at, size in pieces:
                    runs.append(at >> 2 << 6 | program.WEIGHTS)
                    runs.append(size >> 2)
        part = model._encoder if s < body else model._body if s < head else model._head
        part.append((kernel, record))
    memory[2] = array("i", runs)
    # The sampler is one more step, whose record the interpreter writes.
    table = 0
    for op, i, _ in listing:
        if op == 5:
            table = words[i + 7]
    model._exp2 = table
    model._pick = array("i", (words[5], model.vocab, table, 0, 0, 0, 1, 0))
    model._sample = kernels.sample
    return listing


def _relocate(model, memory, bias, listing, words):
    """Turn operands into byte distances from the arena, `bias` added."""
    from uctypes import addressof

    home = addressof(memory[0])
    # Wider than 32 bits only where pointers are; there the distance must stay positive.
    wide = home >> 32 or addressof(memory[1]) >> 32

    def place(operand):
        d = addressof(memory[operand & 63]) + 4 * (operand >> 6) - home + bias
        if wide and not 0 <= d < 0x80000000:
            raise Error("the heap is too scattered for 32-bit operands")
        d &= 0xFFFFFFFF
        return d - 0x100000000 if d & 0x80000000 else d

    runs = memory[program.RUNS]
    for i in range(0, len(runs), 2):
        runs[i] = place(runs[i])
    for op, i, n in listing:
        fields = program.OPS[op][1]
        for k in range(n):
            # Operand 0, the arena's own header, stands for "none".
            if fields[k] != "-" and words[i + k]:
                words[i + k] = place(words[i + k])
    for k in (0, 2):
        if model._pick[k]:
            model._pick[k] = place(model._pick[k])
