"""Both cores of an RP2040 or RP2350 at the steps of a model: Model(cores=2).

The other core waits in `worker`, and computes half of the rows of a matrix, or of the heads of an
attention; whose cache is then two, of half as many heads each. All that only kernels of assembler
can do: they take no memory, so that core never meets the interpreter or its heap.
"""

import sys
from array import array

from . import regions

_LINEAR, _STORE, _ATTEND, _LINEAR4 = 3, 4, 5, 10
# Words of a step for both cores: the pair's record, core 1's, and a run.
_WORDS = {_LINEAR: 4 + 10 + 2, _STORE: 4 + 8, _ATTEND: 4 + 19, _LINEAR4: 4 + 11 + 2}


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
        at = _address(pairs.box)
        pairs.box[4] = at
        pairs.pair(at + 16, 0)
        pairs.box = None


def _address(words):
    from uctypes import addressof

    return addressof(words)


def _code(function):
    """Where the machine code of a function of assembler begins, as a branch has it."""
    from machine import mem32

    return mem32[id(function) + 8] | 1


def _signed(address):
    address &= 0xFFFFFFFF
    return address - 0x100000000 if address & 0x80000000 else address


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
    k = home + words[i + 2] - _address(runs) >> 2
    where = []
    while left:
        n = runs[k + 1]
        if n > skip:
            where.append(_signed(runs[k] + 4 * skip))
            where.append(n - skip)
            left -= min(left, n - skip)
            skip = 0
        else:
            skip -= n
        k += 2
    if not four:
        words[i + 4] = -1  # kernels with DSP instructions: `packed` has packed the vectors
    record = list(words[i : i + (11 if four else 10)])
    words[i + 9] = ours
    record[1] = _signed(record[1] + 16 * ours)
    record[9] = count - ours
    return record, where


def _heads(words, i, op, context, scores):
    """Core 1's half of an attend or a store; scores: where it has room for those."""
    count = words[i + 3]
    keys = words[i + 4] if op == _ATTEND else count
    theirs = keys >> 1
    size = words[i + (5 if op == _ATTEND else 4)]
    if op == _STORE:
        if not theirs:
            return None
        record = list(words[i : i + 8])
        ours = words[i + 3] = keys - theirs
        record[3] = theirs
        record[0] = _signed(record[0] + 4 * ours * size)
        record[1] = _signed(record[1] + 4 * ours * size)
        record[2] = _signed(record[2] + _cache(ours, size, context, record[6], record[7]))
        return record, ()
    share = count // keys
    record = list(words[i : i + 19])
    if theirs:
        ours = share * (keys - theirs)
        record[2] = _signed(record[2] + _cache(keys - theirs, size, context, *record[17:]))
        words[i + 4] = keys - theirs
        record[4] = theirs
    elif count > 1:  # one head of the keys, which both read
        ours = count - (count >> 1)
    else:
        return None
    words[i + 3] = ours
    record[3] = count - ours
    record[0] = _signed(record[0] + 4 * ours * size)
    record[1] = _signed(record[1] + 4 * ours * size)
    if record[15]:
        record[15] = _signed(record[15] + 4 * record[16] * ours)
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
        start = _address(words)
        n = len(runs)
        for part in (model._encoder, model._body, model._head):
            for _, record in part:
                if isinstance(record, int):
                    n += _WORDS.get(words[(record - start >> 2) - 2], 0)
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
    start = _address(words)
    box = _signed(_address(pairs.box))
    at = _address(out)
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
                half = _heads(words, i, op, model.context, _signed(_address(scores) - base))
            if half:
                theirs, where = half
                part[n] = packed if op == _LINEAR else both, at + 4 * k
                j = k + 4
                if where:
                    theirs[2] = _signed(at + 4 * (j + len(theirs)) - base)
                for word in (box, _code(kernel), _signed(at + 4 * j), _signed(record)):
                    out[k] = word
                    k += 1
                for some in half:
                    for word in some:
                        out[k] = word
                        k += 1
