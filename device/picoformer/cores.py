"""Both cores of an RP2040 or RP2350 at the steps of a model: Model(cores=2).

The other core waits in `worker`, and computes half of the rows of a matrix, or of the heads of an
attention; whose cache is then two, of half as many heads each. All that only kernels of assembler
can do: they take no memory, so that core never meets the interpreter or its heap.
"""

import sys
from array import array

from . import regions
from .regions import address, code

_LINEAR, _STORE, _ATTEND, _LINEAR4 = 3, 4, 5, 10
_SHARED = _LINEAR, _STORE, _ATTEND, _LINEAR4


def _start(kernels):
    """The module whose worker waits on the other core; None where that cannot be had."""
    # Before 1.25 a write to flash behind a soft reset may wait for that core for ever.
    old = sys.implementation.version < (1, 25)
    if sys.platform != "rp2" or kernels not in ("dsp", "thumb") or old:
        return None
    import _thread
    from time import sleep_ms

    from . import kernels_pair as pairs

    if getattr(pairs, "box", None):
        pairs.users += 1
        return pairs
    before = _thread.stack_size(2048)
    try:
        for _ in range(10):
            try:
                pairs.users = 1
                pairs.box = array("i", bytes(32))  # and the record of a step that ends the worker
                _thread.start_new_thread(pairs.worker, (pairs.box, 0))
                return pairs
            except OSError:  # the user's own thread has it, or one that is just ending
                pairs.box = None
                sleep_ms(2)
    finally:
        _thread.stack_size(before)


def leave():
    """A model has no use for the worker any more; behind the last one the core is free."""
    from . import kernels_pair as pairs

    pairs.users -= 1
    if pairs.users < 1:
        at = address(pairs.box)
        pairs.box[4] = at
        pairs.pair(at + 16, 0)
        pairs.box = None


def _matrix(words, i, four, runs, home):
    """Core 1's half of a linear, whose fields begin at word i: its record, its runs."""
    count = words[i + 9]
    cols = words[i + 3]
    size = cols + 2
    unit = 1  # rows / 4 of a row group
    if four:
        unit = 2
        size = cols + (cols + words[i + 10] - 1) // words[i + 10] + 4
    groups = (count + unit - 1) // unit
    left = groups >> 1
    if not left:
        return None
    ours = unit * (groups - left)
    skip = (groups - left) * size
    left *= size
    k = home + words[i + 2] - address(runs) >> 2
    where = []
    while left:
        n = runs[k + 1]
        if n > skip:
            where.append(regions.signed(runs[k] + 4 * skip))
            where.append(n - skip)
            left -= min(left, n - skip)
            skip = 0
        else:
            skip -= n
        k += 2
    if not four:
        words[i + 4] = -1  # kernels with DSP instructions: `packed` has packed the vectors
    record = list(words[i : i + words[i - 1]])
    words[i + 9] = ours
    record[1] = regions.signed(record[1] + 16 * ours)
    record[9] = count - ours
    return record, where


def _heads(words, i, attend, context, scores):
    """Core 1's half of an attend or a store; scores: where it has room for those."""
    count = words[i + 3]
    keys = words[i + 4] if attend else count
    size = words[i + 4 + attend]
    theirs = keys >> 1
    ours = count // keys * (keys - theirs)
    if not theirs:
        if not attend or count < 2:
            return None
        ours = count - (count >> 1)  # one head of the keys, which both read
    record = list(words[i : i + words[i - 1]])
    words[i + 3] = ours
    record[3] = count - ours
    for k in (0, 1):
        record[k] = regions.signed(record[k] + 4 * ours * size)
    if theirs:
        first = _cache(keys - theirs, size, context, *record[-2:])
        record[2] = regions.signed(record[2] + first)
    if attend:
        if theirs:
            words[i + 4] = keys - theirs
            record[4] = theirs
        if record[15]:
            record[15] = regions.signed(record[15] + 4 * record[16] * ours)
        record[8] = scores
    return record, ()


def _cache(heads, size, context, key_bits, value_bits):
    """Bytes of a cache of so many heads."""
    keys = (context * (16 if key_bits > 8 else 8) + 31 >> 5) * size
    return 4 * heads * (keys + ((size * value_bits + 31 >> 5) + 1) * context)


def prepare(model, words, runs):
    """Take the other core, and the memory that `share` needs: (worker's module, scores, steps).

    None where that core cannot be had. This comes before a model takes what the heap can spare.
    """
    pairs = _start(model.kernels)
    if not pairs:
        return None
    try:
        start = address(words)
        n = len(runs)
        for part in (model._encoder, model._body, model._head):
            for _, record in part:
                i = record - start >> 2 if isinstance(record, int) else 0
                if i and words[i - 2] in _SHARED:
                    n += 4 + words[i - 1] + 2  # the pair's record, core 1's, and a run
        scores = array("i", bytes(4 * ((model.context + 3 & ~3) + 2)))
        return pairs, scores, regions.array_of(n)
    except MemoryError:
        leave()
        raise


def share(model, memory, words, home, bias, pairs, scores, out):
    """Let both cores run a model's steps, with what `prepare` gave.

    home: its arena's address, from which operands count.
    """
    try:
        _share(model, memory[regions.RUNS], words, home - bias, pairs, scores, out)
    except MemoryError:
        leave()
        raise
    memory.append(out)
    memory.append(scores)
    model.cores = 2


def _share(model, runs, words, base, pairs, scores, out):
    both = packed = pairs.pair
    if model.kernels == "dsp":
        from .kernels_dsp_pair import packed
    start = address(words)
    box = regions.signed(address(pairs.box))
    at = address(out)
    far = regions.signed(address(scores) - base)
    k = 0
    for part in (model._encoder, model._body, model._head):
        for n in range(len(part)):
            kernel, record = part[n]
            if not isinstance(record, int):
                continue  # with weights from elsewhere
            i = record - start >> 2
            op = words[i - 2]
            half = None
            if op in (_LINEAR, _LINEAR4):
                half = _matrix(words, i, op == _LINEAR4, runs, base)
            elif op in (_STORE, _ATTEND):
                half = _heads(words, i, op == _ATTEND, model.context, far)
            if half:
                theirs, where = half
                part[n] = packed if op == _LINEAR else both, at + 4 * k
                j = k + 4
                if where:
                    theirs[2] = regions.signed(at + 4 * (j + len(theirs)) - base)
                ours, behind = regions.signed(record), regions.signed(at + 4 * j)
                for word in (box, code(kernel), behind, ours):
                    out[k] = word
                    k += 1
                for some in half:
                    for word in some:
                        out[k] = word
                        k += 1
