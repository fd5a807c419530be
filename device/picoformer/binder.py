"""A model file becomes a Model's steps: all but the large blocks, which `loader` allocates."""

import gc
from array import array

from . import program, regions
from .errors import Error, free

_LONG = 16384  # the same, where each tile takes a message, and memory is there
_REST = 28672  # bytes of heap for all but the large blocks, where these are sized


def bind(model, f, parts, words, tables, context, kernels, source, ample, held):
    """Fill in `model` from its open file, whose sections are `parts`.

    words, tables: as check.proved gives them.
    source, ample: what else than the file the weights are read from, and by how much memory.
    held: where tokenizer and tile are to lie behind, if they have a place already; the former
    comes behind this then.
    Returns which of the program's words are operands, the list of its regions, what reads
    tiles, or None, and the runs of each matrix. Raises Error.
    """
    regions.threshold(regions.EARLY)
    gc.collect()
    tiled = model.weights in ("file", "host")
    if not held:
        from . import reader

        reader.kind_of(f, parts[3])
    others = _modules(words, kernels, tiled)
    gc.collect()
    regions.read(f, parts[0], "metadata")
    _describe(model, f, parts[0], words, tables, context)
    model.kernels = kernels.__name__.rpartition("_")[2]
    if not held:
        model.tokenizer = reader.read(f, parts[3], model.vocab)
    memory = [None, tables, None, model._mapped and model._mapped.view]
    tiles = None
    if tiled:
        if not source:
            regions.read(f, parts[4], "weights")
        from .weights import File, Tiles

        buffer = _tile(words, model.context, ample, held)
        source = source or File(f, parts[4][0])
        tiles = Tiles(source, buffer, 4 if kernels.BIAS else 64)
        memory[3] = buffer
    model._batch = min(words[1], model.context)
    # What is small now fills the holes that imports have left, so that nothing lies high.
    gc.collect()
    matrices = ()
    if tiles:
        memory[2] = array("i", (regions.WEIGHTS, tiles.words))
    else:
        memory[2], matrices = _runs(model, words, parts[4][0])
        gc.collect()
    operands = _steps(model, kernels, others, words, tiles)
    return operands, memory, tiles, matrices


def _modules(words, kernels, tiled):
    """Import what this model needs; returns the modules of kernels that are not in `kernels`.

    Modules that stay when the model goes take its place, low, or they would part the heap.
    """
    if tiled:
        from .weights import Tiles  # noqa: F401
    if words[12] == program.GENERATE:
        from . import sampling  # noqa: F401
    # Kernels that most models do not need, and some have no room for.
    others = {}
    if kernels.BIAS and program.signal(words):
        from . import kernels_windows

        others[program.WINDOWS] = kernels_windows
    if any(op in program.FOUR for op, _ in program.walk(words)):
        for op in program.FOUR:
            others[op] = _four(kernels)
    return others


def _four(kernels):
    """The same family's kernels for weights of 4 bits."""
    if hasattr(kernels, "linear4"):
        return kernels
    name = kernels.__name__.rpartition(".")[2] + "4"
    return __import__(name, globals(), None, (name,), 1)


def _describe(model, f, section, words, tables, context):
    """What the program's head and the metadata, a section of the file, say of a model."""
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
    model.frames = model.sound = ()
    i = program.signal(words)
    if i:
        model._windows = memoryview(words)[i : i + len(program.OPS[program.WINDOWS][1])]
        model.frames = words[i + 3], words[i + 4]
        if words[17]:
            model.sound = memoryview(tables)[words[17] >> 6 :]
    model.background = ()
    if words[12] in program.LABELLED:
        meta = _meta(f, section)
        labels = program.labels(words, meta.get("labels"))
        ground = meta.get("background")
        meta = None
        gc.collect()
        # Anew, close together: they were read among all else that the metadata say.
        model.labels = [name.encode().decode() for name in labels]
        if isinstance(ground, list):
            model.background = tuple([name for name in model.labels if name in ground])
    model.bos = words[7]
    model.ends = tuple(words[regions.HEAD : regions.caches(words)])
    model.several = words[16]
    model._stride = words[2]
    model._logits = words[5] >> 6
    model.bits = words[6]
    model._tokens = array("H", bytes(2 * context))
    model._filled = 0
    model._turn = 0


def _tile(words, context, ample, held):
    """The buffer for weights that are read piece by piece."""
    tile = _ample(words, context, ample) if ample else regions.TILE
    n = max(tile, _longest(words))
    return held[3] if held and held[3] and n == regions.TILE else regions.array_of(n)


def _meta(f, section):
    """The metadata, {} if they are none."""
    import json

    try:
        meta = json.loads(regions.read(f, section, "metadata", bytearray(section[1])))
        return meta if isinstance(meta, dict) else {}
    except (ValueError, RuntimeError):  # the latter: nested too deep
        return {}


def _longest(words):
    """Words of the longest row group of the weights: a tile holds at least one."""
    longest = 0
    for op, i in program.walk(words):
        if program.OPS[op][1].find("w") > 0:
            longest = max(longest, program.matrix(words, op, i)[1])
    return longest


def _ample(words, context, share):
    """Let a sweep serve as many positions as there is memory for; words of a long tile.

    Of a share of the heap that is left behind caches and frames three quarters are for more
    frames, the rest for the tile.
    """
    gc.collect()
    room = min(free(), 1 << 24)
    room -= 4 * (sum(regions.sizes(words, context, 0)) + regions.TILE) + _REST
    if room < 0:
        return regions.TILE
    room //= share
    words[1] = max(words[1], min(context, words[1] + 3 * (room >> 4) // words[2]))
    return min(regions.TILE + (room >> 4), _LONG)


def _runs(model, words, offset):
    """Where the matrices lie: runs (operand, words), one of each matrix or of each piece of flash.

    Operands of matrices become those of their first runs. offset: of the weights in the file.
    Also returns where the runs of each matrix begin and end; what is swept for every token stands
    in front of what is looked up.
    """
    runs = []
    swept = []
    looked = []
    for op, i in program.walk(words):
        k = program.OPS[op][1].find("w")
        if k > 0:
            at = words[i + k] >> 4
            groups, size = program.matrix(words, op, i)
            pieces = ((at, 4 * groups * size),)
            if model.weights == "flash":
                pieces = model._mapped.section(offset + at, 4 * groups * size)
            words[i + k] = len(runs) << 6 | regions.RUNS
            part = looked if program.OPS[op][0][:5] == "embed" else swept
            part.append(len(runs))
            for at, size in pieces:
                runs.append(at >> 2 << 6 | regions.WEIGHTS)
                runs.append(size >> 2)
            part.append(len(runs))
    if model.weights == "flash":
        runs.extend((0, 0))  # for a matrix whose beginning is copied
    return array("i", runs), array("H", swept + looked)


def _steps(model, kernels, others, words, tiles):
    """Make the lists of (kernel, record) that a token runs through.

    others: modules of kernels, by operation, in the place of `kernels`. A record is a view of its
    words, or their address: native kernels, which take both, find it sooner. Returns which words
    are operands.
    """
    operands = regions.array_of(program.operands(words))
    n = 0
    view = memoryview(words)
    at = 0
    if kernels.BIAS:
        from uctypes import addressof

        at = addressof(words)
    body = regions.caches(words) + words[11] + words[15]
    head = body + words[9]
    model._encoder, model._body, model._head = [], [], []
    model._exp2 = 0
    for op, i in program.walk(words):
        name, letters, _ = program.OPS[op]
        kernel = getattr(others.get(op, kernels), name)
        if name == "attend":
            words[i + 8] = regions.scratch(words, model.context) << 6
            model._exp2 = words[i + 7]
        k = letters.find("w")
        tiled = tiles and k > 0
        if tiled:
            kernel = tiles.step(name, kernel, words[i + k] >> 6, *program.matrix(words, op, i))
            words[i + k] = regions.RUNS  # the only one
        record = at + 4 * i if at and not tiled else view[i : i + len(letters)]
        for k in range(len(letters)):
            if letters[k] != "-":
                operands[n] = i + k
                n += 1
        part = model._encoder if i < body else model._body if i < head else model._head
        part.append((kernel, record))
    # The sampler is one more step, whose record the interpreter writes.
    model._pick = array("i", (words[5], model.vocab, model._exp2, 0, 0, 0, 1, 0))
    model._sample = kernels.sample
    return operands
