"""Both cores of an RP2040 or RP2350 at the steps of a model: Model(cores=2).

The other core waits in `worker`, and computes half of the rows of a matrix, or of the heads of an
attention; whose cache is then two, of half as many heads each. All that only kernels of assembler
can do: they take no memory, so that core never meets the interpreter or its heap.
"""

import sys
from array import array

from . import regions

_LINEAR, _STORE, _ATTEND, _LINEAR4 = 3, 4, 5, 10


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
    from uctypes import addressof

    from . import kernels_pair as pairs

    pairs.users -= 1
    if pairs.users < 1:
        box = pairs.box
        box[4] = addressof(box)
        pairs.pair(addressof(box) + 16, 0)
        pairs.box = None


def _code(function):
    """Where the machine code of a function of assembler begins, as a branch has it."""
    from machine import mem32

    return mem32[id(function) + 8] | 1


def _signed(address):
    address &= 0xFFFFFFFF
    return address - 0x100000000 if address & 0x80000000 else address


def _matrix(words, i, four, runs, home):
    """Core 1's half of a linear, whose fields begin at word i: its record, its runs."""
    from uctypes import addressof

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
    k = home + words[i + 2] - addressof(runs) >> 2
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


def share(model, memory, words, home, bias):
    """Let both cores run a model's steps. home: its arena's address, from which operands count."""
    pairs = _start(model.kernels)
    if pairs:
        try:
            _share(model, memory, words, home, bias, pairs)
        except MemoryError:
            leave()
            raise


def _share(model, memory, words, home, bias, pairs):
    from uctypes import addressof

    base = home - bias
    start = addressof(words)
    scores = array("i", bytes(4 * ((model.context + 3 & ~3) + 2)))
    far = _signed(addressof(scores) - base)
    both = packed = pairs.pair
    if model.kernels == "dsp":
        from .kernels_dsp_pair import packed
    out = array("i")
    made = []
    for part in (model._encoder, model._body, model._head):
        for n in range(len(part)):
            kernel, record = part[n]
            if not isinstance(record, int):
                continue  # with weights from elsewhere
            i = record - start >> 2
            op = words[i - 2]
            half = None
            if op in (_LINEAR, _LINEAR4):
                half = _matrix(words, i, op == _LINEAR4, memory[regions.RUNS], base)
            elif op in (_STORE, _ATTEND):
                half = _heads(words, i, op, model.context, far)
            if half:
                made.append((part, n, len(out), packed if op == _LINEAR else both))
                box = _signed(addressof(pairs.box))
                out.extend((box, _code(kernel), len(half[0]), _signed(record)))
                for some in half:
                    out.extend(array("i", some))
    # It lies still now.
    at = addressof(out)
    for part, n, k, kernel in made:
        size = out[k + 2]
        if size in (10, 11):  # of a matrix
            out[k + 6] = _signed(at + 4 * (k + 4 + size) - base)
        out[k + 2] = _signed(at + 4 * (k + 4))
        part[n] = kernel, at + 4 * k
    memory.append(out)
    memory.append(scores)
    model.cores = 2
