"""What only loading needs of weights by an RP2040's XIP stream (see stream.py).

A linear becomes `streamed`, an attend `repeated`, with records of their own; `begin` stands in
front of the first one, `rest` behind the last one, and `series` makes all of them one step. What
the heap can spare holds a part of each matrix for good.
"""

import gc
from array import array

from . import kernels_stream as kernels
from . import regions
from .errors import Error, free
from .regions import address, code
from .stream import SAID, XIP, channel, guard

_ATTEND = 5
_HEADS = 4, _ATTEND  # head by head
_WHOLE = 2, 6, 8, 9  # norm, gate, layernorm, bias: they take long enough for a chunk to come
_LINEAR = 3, 10  # of 8 bits, of 4
_WINDOWS = 12  # no assembler; it comes first
_DMA = 0x50000000  # 64 bytes a channel
_BACK, _LEAST = 10240, 4096  # bytes of heap that loading gives back, and what it needs here
_RING = 8192
_CHUNK, _TAKEN = 4096, 2048  # bytes in flight at once, and taken at once, at most
_STATE = 14  # words
_RECORD, _OTHER = 9, 8
_BEGIN = 3


def _steps(model, words):
    """(part, place in it, operation, where its fields begin in the words) of each step."""
    start = address(words)
    for part in (model._encoder, model._body, model._head):
        for n in range(len(part)):
            i = part[n][1] - start >> 2
            yield part, n, words[i - 2], i


def _matrix(words, i):
    """(row groups, words of one, its rows by four) of a linear whose fields begin at word i."""
    cols = words[i + 3]
    if words[i - 2] == _LINEAR[0]:
        return words[i + 9], cols + 2, 1
    return words[i + 9] + 1 >> 1, cols + (cols + words[i + 10] - 1) // words[i + 10] + 4, 2


def _heads(words, i, attend, context):
    """A record of an attend or a store becomes that of its first head.

    Returns how many there are, and what comes from one to the next: see `repeated`.
    """
    count = words[i + 3]
    keys = words[i + 4] if attend else count
    size = words[i + 4 + attend]
    end = i + words[i - 1]
    cache = (context * (16 if words[end - 2] > 8 else 8) + 31 >> 5) * size
    cache = 4 * (cache + ((size * words[end - 1] + 31 >> 5) + 1) * context)
    words[i + 3] = 1
    if attend:
        words[i + 4] = 1
    bias = 4 * words[i + 16] if attend and words[i + 15] else 0
    return count, count // keys, 4 * size, cache, bias


def start(model, memory, words, home, spare, series):
    """Let a model's matrices be streamed. home: what operands count from; see loader."""
    runs = memory[regions.RUNS]
    gc.collect()
    at = address(runs)
    total = longest = chunks = matrices = 0
    n = 3 * _BEGIN
    for _, _, op, i in _steps(model, words):
        if op in _LINEAR:
            groups, size, _ = _matrix(words, i)
            total += groups * size
            longest = max(longest, size)
            matrices += 1
            k = home + words[i + 2] - at >> 2
            left = groups * size
            while left > 0:
                chunks += 1 + (4 * runs[k + 1] - 4) // _CHUNK
                left -= runs[k + 1]
                k += 2
            n += _RECORD
        elif op in _HEADS or op in _WHOLE:
            n += _OTHER
    ring = max(_RING, 2 * _CHUNK + 8 * longest) + 4 * longest
    out = array("i", bytes(4 * (_STATE + n)))
    table = array("i", bytes(8 * chunks))
    ring = bytearray(ring)
    # A part of each matrix, the same of all: so the stream has as long for each as it needs.
    gc.collect()
    room = max(free() - max(spare - _BACK, _LEAST) - 64 * matrices, 0)
    part = min((room << 8) // max(total, 1), 1024)  # of 1024
    _share(model, memory, words, home, out, table, ring, 4 * longest, part, series)
    memory.append(out)
    memory.append(table)
    memory.append(ring)
    model.weights = "stream"


def _recorder(out, state):
    """What writes one record behind the other, and says where each is."""
    k = _STATE

    def record(*fields):
        nonlocal k
        at = state + 4 * k
        for field in fields:
            out[k] = regions.signed(field)
            k += 1
        return at

    return record


def _share(model, memory, words, home, out, table, ring, front, part, series):
    runs = memory[regions.RUNS]
    at_runs, at_table, at_ring, state = map(address, (runs, table, ring, out))
    held = {}  # by the first word in flash, and how many
    used = []  # the kernels, of which only addresses tell
    ends = []
    last = want = 0
    record = _recorder(out, state)
    back = bytearray(1024)  # for what is small and comes when the copies have taken all

    def called(kernel):
        if kernel not in used:
            used.append(kernel)
        return code(kernel)

    for steps, n, op, i in _steps(model, words):
        if not n:
            ends.append([steps, int(op == _WINDOWS), last, 0])
        kernel, rec = steps[n]
        if op in _HEADS or op in _WHOLE:
            times = 1, 1, 0, 0, 0
            if op in _HEADS:
                times = _heads(words, i, op == _ATTEND, model.context)
            steps[n] = kernels.repeated, record(state, called(kernel), rec, *times)
        elif op in _LINEAR:
            groups, size, unit = _matrix(words, i)
            j = home + words[i + 2] - at_runs >> 2
            want += groups * size * part
            keep = min(want // (size << 10), groups)
            want -= (keep * size) << 10
            name = runs[j], keep
            block = held.get(name)
            if keep and block is None:
                try:
                    block = held[name] = bytearray(4 * keep * size)
                    model.in_ram += len(block)
                    memory.append(block)
                except MemoryError:
                    keep = 0
            last = _split(runs, j, home, groups * size, keep * size, block, table, last)
            where = address(block) if keep else 0
            total = words[i + 9]
            rows = min(unit * keep, total)
            words[i + 2] = regions.signed(state + 4 * (_STATE - 2) - home)
            most = max(_TAKEN, 4 * size)
            steps[n] = (
                kernels.streamed,
                record(state, called(kernel), rec, 4 * size, unit, total, where, rows, most),
            )
        ends[-1][3] = last
    back = None  # noqa: F841
    gc.collect()
    for steps, first, begins, last in ends:
        if last > begins:  # behind what is no assembler
            chunks = at_table + 4 * begins, at_table + 4 * last
            steps.insert(first, (kernels.begin, record(state, *chunks)))
            steps.append((kernels.rest, state))
    memory.append(used)
    taken = channel()
    out[6] = at_ring + front
    out[7] = at_ring + len(ring)
    out[9] = _DMA + 64 * taken.channel
    out[10] = XIP
    if last:
        try:
            _prove(out, table, state, series)
        except Error:
            taken.close()
            raise
    guard(model, out)
    model._stream = taken


def _split(runs, j, home, left, skip, block, table, last):
    """The words of a matrix to `block`, so many of them, the rest as chunks; where these end."""
    from uctypes import bytearray_at

    to = 0
    left -= skip
    while left > 0 or skip:
        at = home + runs[j] & 0xFFFFFFFF
        n = runs[j + 1]
        j += 2
        if skip:
            some = min(n, skip)
            block[to : to + 4 * some] = bytearray_at(at, 4 * some)
            to += 4 * some
            skip -= some
            at += 4 * some
            n -= some
        n = min(n, left)
        left -= n
        some = (4 * n + _CHUNK - 1) // _CHUNK
        most = n and (n + some - 1) // some  # the same for each chunk of a run
        while n:
            some = min(n, most)
            table[last] = at
            table[last + 1] = 4 * some
            last += 2
            at += 4 * some
            n -= some
    return last


def _prove(out, table, state, series):
    """Let the first chunk come, and compare it. Raises Error."""
    from uctypes import bytearray_at

    begun = array("i", (state, address(table), address(table) + 8))
    steps = address(begun), code(kernels.begin), state, code(kernels.rest), 0, 0
    steps = array("i", map(regions.signed, steps))
    series(address(steps), 0)
    # What came lies where the ring begins.
    same = bytearray_at(out[6], table[1]) == bytearray_at(table[0], table[1])
    if out[11] or not same:
        raise Error(SAID[out[11] or 1])
