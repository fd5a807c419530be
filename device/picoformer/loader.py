"""Loading a model file: whatever is needed only until the model runs.

`check` and `program` are dropped before a model's large blocks are allocated; this module,
`modelfile` and `regions` afterwards. On a Pico that is 16 KB of heap.
"""

import gc
import sys
from array import array

from . import modelfile, regions
from .errors import Error

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


def _four(kernels):
    """The same family's kernels for weights of 4 bits."""
    if kernels.__name__[-5:] == "thumb":
        from . import kernels_thumb4 as four
    elif kernels.__name__[-5:] == "viper":
        from . import kernels_viper4 as four
    else:
        four = kernels
    return four


def reader_of(kind):
    """The class that reads tokenizer sections of a type, None if this version knows none."""
    if kind == 1:
        from .tokenizer_bytepair import BytePair as reader
    elif kind == 2:
        from .tokenizer_wordpiece import WordPiece as reader
    elif kind == 3:
        from .tokenizer_bytelevel import ByteLevel as reader
    elif kind == 4:
        from .tokenizer_unigram import Unigram as reader
    else:
        reader = None
    return reader


def tokenizer(section):
    """What encodes and decodes by a tokenizer section (bytes-like), which is kept, not copied.

    A section that breaks docs/tokenizer.md raises Error here, and nothing later does.
    """
    if len(section) < 40:
        raise Error("tokenizer: %d bytes, the header alone has 40" % len(section))
    kind = int.from_bytes(section[:4], "little")
    reader = reader_of(kind)
    if not reader:
        raise Error("tokenizer: type %d, this version reads types 1 to 4" % kind)
    return reader(section)


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
    words, tables = _proved(f, parts)
    gc.collect()
    four = _modules(f, parts[3], words, weights, kernels)
    gc.collect()
    modelfile.read(f, parts[0], modelfile.META)
    _describe(model, f, parts[0], words, context)
    model.kernels = kernels.__name__.rpartition("_")[2]
    model.tokenizer = _tokenizer(f, parts[3], model.vocab)
    memory = [None, tables, None, mapped and mapped.view]
    tiles = None
    if weights in ("file", "host"):
        if not source:
            modelfile.read(f, parts[4], modelfile.WEIGHTS)
        tiles = _tiles(source, f, parts[4][0], words, model.context, ample)
        memory[3] = tiles.buffer
    model._batch = min(words[1], model.context)
    bound = _bind(model, kernels, four, words, memory, tiles, parts[4][0])
    forget("program")
    _allocate(model, words, memory, parts[4][1] >> 2 if weights == "ram" else 0, native)
    if weights == "ram":
        modelfile.read(f, parts[4], modelfile.WEIGHTS, memory[3])
    arena = model._arena = memory[0]
    arena[2] = model.context
    arena[3] = model._stride
    if tiles:
        tiles.arena = arena
    model._space = memory
    if native:
        _relocate(model, memory, kernels.BIAS, bound, words)
        model._memory = memory  # keeps the regions alive
        model._space = arena


def _proved(f, parts):
    """The program and the tables of a file, once it is known that they are in bounds."""
    # Before what it checks: the names that an import brings stay, and are to lie low.
    from .check import check

    words = _words(f, parts[1], modelfile.PROGRAM)
    tables = _words(f, parts[2], modelfile.TABLES)
    check(words, tables, parts[4][1] >> 2)
    # The proof takes as much memory as a small model's program and tables: it goes first.
    forget("check")
    return words, tables


def _modules(f, section, words, weights, kernels):
    """Import what this model needs; returns the kernels for weights of 4 bits.

    Modules that stay when the model goes take its place, low, or they would part the heap.
    """
    from . import program

    f.seek(section[0])
    reader_of(int.from_bytes(f.read(4), "little"))
    if weights in ("file", "host"):
        from .weights import Tiles  # noqa: F401
    # Kernels that most models do not need, and some have no room for.
    if any(op in program.FOUR for op, _, _ in program.steps(words)[0]):
        return _four(kernels)


def _describe(model, f, section, words, context):
    """What the program's head and the metadata, a section of the file, say of a model."""
    from . import program

    limit = words[0]
    context = limit if context is None else context
    if not 2 <= context <= limit:
        raise Error("context is %r, this model has 2 to %d" % (context, limit))
    model.context = context = (context + 1) & ~1
    model.vocab = words[4]
    model.outputs = words[3]
    model.task = program.TASKS[words[12]]
    model._whole = words[13]
    model.labels = []
    model.image = ()
    if words[14]:
        model.image = program.image(words, _meta(f, section).get("image"))
        model._patch = words[14] >> 6
    if model.task == "classify":
        model.labels = program.labels(words, _meta(f, section).get("labels"))
    model.bos, model.eos = words[7], words[8]
    model._stride = words[2]
    model._logits = words[5] >> 6
    model.bits = words[6]
    model._tokens = array("H", bytes(2 * context))
    model._filled = 0
    model._turn = 0


def _tokenizer(f, section, vocab):
    tokens = bytearray(section[1])
    modelfile.read(f, section, modelfile.TOKENIZER, tokens)
    made = tokenizer(tokens)
    if made.vocab_size != vocab:
        raise Error(
            "model file is corrupt: tokenizer of %d tokens, model of %d" % (made.vocab_size, vocab)
        )
    return made


def _tiles(source, f, at, words, context, ample):
    """The buffer for weights that are read from a source, or from byte `at` of the file on."""
    from .weights import File, Tiles

    tile = _ample(words, context, ample) if ample else _TILE
    return Tiles(source or File(f, at), _array(max(tile, _longest(words))))


def _allocate(model, words, memory, weights, native):
    """Allocate caches, arena and `weights` words of weights.

    All that leaves garbage between what stays was before. These large blocks come behind it, in
    one piece.
    """
    gc.collect()
    context = model.context
    caches = range(words[11])
    try:
        if weights:
            memory[3] = _zeros(weights, native)
        for i in caches:
            memory.append(_zeros(regions.cache_words(words, i, context), native))
        memory[0] = _array(regions.arena_words(words, context))
    except MemoryError:
        del memory[3:]
        from .errors import free, largest

        most = largest()  # which collects what was got
        need = regions.arena_words(words, context) + weights
        for i in caches:
            need += regions.cache_words(words, i, context)
        raise MemoryError(
            "a context of %d takes %d bytes%s; %d are free, %d in one piece"
            % (context, 4 * need, " with the weights" * (weights > 0), free(), most)
        )


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
    from . import program

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
    free -= 4 * (regions.arena_words(words, context) + _TILE) + _REST
    for i in range(words[11]):
        free -= 4 * regions.cache_words(words, i, context)
    if free < 0:
        return _TILE
    free //= share
    words[1] = max(words[1], min(context, words[1] + 3 * (free >> 4) // words[2]))
    return min(_TILE + (free >> 4), _LONG)


def _bind(model, kernels, four, words, memory, tiles, offset):
    """Make the list of (kernel, record) that a token runs through.

    four: the kernels for weights of 4 bits; offset: of the weights in the file. Returns
    [(first field, types)] of the steps.
    """
    from . import program

    listing, body, head = program.steps(words)
    bound = []
    # A matrix is a list of runs (operand, words): a single one, or one a piece of flash.
    runs = []
    view = memoryview(words)
    model._encoder, model._body, model._head = [], [], []
    model._exp2 = 0
    for s in range(len(listing)):
        op, i, n = listing[s]
        name, letters, _ = program.OPS[op]
        bound.append((i, letters))
        kernel = getattr(four if op in program.FOUR else kernels, name)
        record = view[i : i + n]
        if name == "attend":
            record[8] = regions.scratch(words, model.context) << 6
            model._exp2 = record[7]
        k = letters.find("w")
        if k > 0:
            at = record[k] >> 6
            groups, size = program.matrix(words, op, i)
            record[k] = len(runs) << 6 | regions.RUNS
            if tiles:
                kernel = tiles.step(name, kernel, at, groups, size)
                pieces = ((0, 4 * tiles.words),)
            elif model.weights == "flash":
                pieces = model._mapped.section(offset + 4 * at, 4 * groups * size)
            else:
                pieces = ((4 * at, 4 * groups * size),)
            for at, size in pieces:
                runs.append(at >> 2 << 6 | regions.WEIGHTS)
                runs.append(size >> 2)
        part = model._encoder if s < body else model._body if s < head else model._head
        part.append((kernel, record))
    memory[2] = array("i", runs)
    # The sampler is one more step, whose record the interpreter writes.
    model._pick = array("i", (words[5], model.vocab, model._exp2, 0, 0, 0, 1, 0))
    model._sample = kernels.sample
    return bound


def _relocate(model, memory, bias, bound, words):
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

    runs = memory[regions.RUNS]
    for i in range(0, len(runs), 2):
        runs[i] = place(runs[i])
    for i, letters in bound:
        for k in range(len(letters)):
            # Operand 0, the arena's own header, stands for "none".
            if letters[k] != "-" and words[i + k]:
                words[i + k] = place(words[i + k])
    for k in (0, 2):
        if model._pick[k]:
            model._pick[k] = place(model._pick[k])
