"""Records of every kernel, random and extreme, and what each must leave in memory.

A function runs one record on a core: `linear` against numpy, the others against
kernels_portable.py in plain Python. Every word of RAM must be equal afterwards.
"""

from __future__ import annotations

import numpy as np
import pytest

from cores import RAM, Core, Memory
from emulatedmodel import BIAS, FIELDS, halves, placed
from picoformer.compile.matrices import Matrix4
from picoformer.device import kernels_portable as portable
from picoformer.features import LogMel
from picoformer.simulate.integers import exp2, rescale

ENDS = -(1 << 31), (1 << 31) - 1  # of a word


def check(memory: Memory, left: np.ndarray, expected: np.ndarray) -> None:
    """Whether a call left the words that it should have."""
    wrong = np.flatnonzero(left != expected)
    if len(wrong):
        i = int(wrong[0])
        pytest.fail(
            f"{len(wrong)} words differ, first {RAM + 4 * i:#x}: {int(left[i]):#x}, expected "
            f"{int(expected[i]):#x} (before: {int(memory.words[i]):#x})"
        )


def packed(q: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Words (row groups, columns + 2) of int8 rows and their mantissas."""
    rows, cols = q.shape
    lanes = (q + 128).reshape(-1, 4, cols)
    words = sum(lanes[:, i] << 8 * i for i in range(4))
    pairs = m.reshape(-1, 2, 2)
    return np.concatenate([words, pairs[:, :, 0] | pairs[:, :, 1] << 16], 1)


def linear(
    cpu: Core, seed: object, cols: int, groups: int, total: int = 1, cuts: object = (),
    add: int = 0, first: int = 0, s0: int = 24, room: int = 2, extreme: int = 0, bits: int = 8,
    count: int | None = None, watch: bool = False, top_mantissa: int = 32767,
) -> None:  # fmt: skip
    """Run one product. `cuts`: words at which the matrix is cut into runs; `count`: row groups."""
    count = groups if count is None else count
    rng = np.random.default_rng(seed)
    top = (1 << (bits - 1)) - 1
    q = rng.integers(-128, 128, (4 * groups, cols))
    m = rng.integers(1, top_mantissa + 1, 4 * groups)
    x = rng.integers(-top, top + 1, (total, cols))
    if extreme:
        # Everything as large as it gets, with equal or opposite signs.
        q = np.full_like(q, -128 if extreme & 1 else 127)
        x = np.full_like(x, -top if extreme & 2 else top)
        m = np.full_like(m, top_mantissa)  # times the vector's: with bit 15
        m[1::3] //= 2
        q[1::4] = -q[1::4].clip(-127)
    scale = (
        rng.integers(1 << 13, 1 << 14, (total, 1)) if not extreme else np.full((total, 1), 16384)
    )
    if top_mantissa > 32767:
        scale[:] = 1 << 13  # or products would leave their range
    e = rng.integers(-6, 7, (total, 1))
    rows = 4 * (groups + first)
    stride = 1 + cols + 4 + rows + 3
    memory = Memory(rng)
    frames = rng.integers(-(1 << 28), 1 << 28, (total, stride))
    frames[:, 1:2], frames[:, 2:3] = scale, e
    frames[:, 3] = x.sum(1)
    frames[:, 5 : 5 + cols] = x
    arena = memory.put([0, total, 32, stride, *[0] * 12, *frames.reshape(-1)])
    words = packed(q, m).reshape(-1)
    cuts = [0, *cuts, len(words)]
    runs = []
    for a, b in zip(cuts, cuts[1:], strict=False):
        runs += [memory.put(words[a:b]) - arena + BIAS, b - a]
    x_at, to = 4 * 17, 4 * (16 + 5 + cols)
    record = memory.put(
        [x_at + BIAS, to + BIAS, memory.put(runs) - arena + BIAS, cols, groups, s0, room, add,
         first, count]
    )  # fmt: skip
    acc = x @ q.T
    y = rescale(acc, (m * scale + 0x2000) >> 14, s0 - e, room)
    left = cpu.call("linear", memory, record, arena, watch=watch)
    expected = memory.words.copy()
    out = frames[:, 5 + cols + 4 * first :][:, : 4 * count]
    out[:] = y[:, : 4 * count] + add * out
    at = (arena - RAM) // 4 + 16
    expected[at : at + frames.size] = (frames.reshape(-1) & 0xFFFFFFFF).astype(np.uint32)
    check(memory, left, expected)


def product(
    memory: Memory, rng: np.random.Generator, cols: int, groups: int, total: int
) -> tuple[int, int, np.ndarray]:
    """For a linear of assembler: an arena with vectors at word 17 of each frame, results behind
    them; the words of a frame; a matrix, row group by row group."""
    rows = 4 * groups
    stride = 1 + 4 + cols + rows
    frames = rng.integers(-(1 << 20), 1 << 20, (total, stride))
    x = rng.integers(-2047, 2048, (total, cols))
    frames[:, 1:5] = np.stack([np.full(total, 9000), -x[:, 0] % 3, x.sum(1), x[:, 0]], 1)
    frames[:, 5 : 5 + cols] = x
    arena = memory.put([0, total, 32, stride, *[0] * 12, *frames.reshape(-1)])
    q, m = rng.integers(-127, 128, (rows, cols)), rng.integers(1, 1 << 15, rows)
    return arena, stride, packed(q, m)


def like_portable(
    cpu: Core, rng: np.random.Generator, name: str, record: list[int], arena: list[int],
    tables: np.ndarray | list[int] = (), cache: np.ndarray | list[int] = (),
    runs: list[int] = (), matrix: np.ndarray | list[int] = (), watch: bool = False,
    scratch: int = 0, signal: list[int] = (),
) -> None:  # fmt: skip
    """Run a kernel here and in plain Python on the same memory.

    record: its operands as in a file (offset << 6 | region). scratch: the word of the arena from
    which on it may differ. signal: numbers of 16 bits, region 6.
    """
    parts = arena, tables, runs, matrix, cache, record, halves(signal)
    regions = [[int(v) for v in part] for part in parts]
    memory = Memory(rng)
    at = [memory.put(part) for part in regions]
    memory.set(at[2], placed(regions[2], "o-" * (len(runs) // 2), at))
    memory.set(at[5], placed(record, FIELDS[name], at))
    left = cpu.call(name, memory, at[5], at[0], watch=watch)
    getattr(portable, name)(regions[5], [*regions, signal])
    before, memory.words = memory.words, memory.words.copy()
    memory.set(at[0], regions[0])
    memory.set(at[4], regions[4])
    # A record keeps its operands, which are placed; the others may change.
    for i, (old, new) in enumerate(zip(record, regions[5], strict=True)):
        if old != new:
            memory.set(at[5] + 4 * i, [new])
    expected, memory.words = memory.words, before
    if scratch:
        some = slice((at[0] - RAM) // 4 + scratch, (at[0] - RAM) // 4 + len(arena))
        expected[some] = left[some]
    check(memory, left, expected)


def powers() -> np.ndarray:
    """The table of powers of two: 32 coarse ones, then 32 fine ones."""
    i = np.arange(32)
    both = np.concatenate([2.0 ** (-i / 32), 2.0 ** (-i / 1024)])
    return np.floor(both * 32768 + 0.5).astype(np.int64)


def rotations(rng: np.random.Generator, context: int, half: int) -> np.ndarray:
    angle = rng.uniform(0, 7, (context, half))
    cosine, sine = (np.round(32767 * f(angle)).astype(np.int64) for f in (np.cos, np.sin))
    return signed((sine & 0xFFFF) << 16 | cosine & 0xFFFF).reshape(-1)


def signed(words: np.ndarray) -> np.ndarray:
    return words.astype(np.uint32).astype(np.int32).astype(np.int64)


def header(pos: int, total: int, context: int, stride: int, end: int = 0) -> list[int]:
    return [pos, total, context, stride, end, *[0] * 11]


def linear4(
    cpu: Core, seed: object, cols: int, groups: int, total: int = 1, span: int = 16,
    cuts: object = (), add: int = 0, first: int = 0, count: int | None = None, s0: int = 28,
    room: int = 2, extreme: int = 0, watch: bool = False, top_mantissa: int = 32767,
) -> None:  # fmt: skip
    """Run one product with weights of 4 bits; the arguments are those of `linear`."""
    rng = np.random.default_rng(seed)
    rows = (groups + 1) // 2 * 8
    q = rng.integers(-8, 8, (rows, cols))
    scale = rng.integers(0, 16, (rows, (cols + span - 1) // span))
    m = rng.integers(0, top_mantissa + 1, rows)
    x = rng.integers(-255, 256, (total, cols))
    heads = rng.integers(1 << 13, 1 << 14, (total, 4))
    heads[:, 1] = rng.integers(-6, 7, total)
    if top_mantissa > 32767:
        heads[:, 0] = 1 << 13
    if extreme:
        q[:], scale[:], m[:], heads[:, 0] = -8, 15, top_mantissa, 16383
        q[1::3] = 7
        x = np.full_like(x, 255 if extreme & 1 else -255)
        if extreme & 2:
            x[:, 1::2] *= -1
    words = signed(Matrix4(q, scale, m, 0, span).words().reshape(-1))
    runs, words = cut(rng, words, cuts)
    out = rng.integers(-(1 << 28), 1 << 28, (total, 4 * (groups + first) + 3))
    frames = np.concatenate([np.ones((total, 1), np.int64), heads, x, out], 1)
    count = groups if count is None else count
    record = [17 << 6, (21 + cols) << 6, 2, cols, groups, s0, room, add, first, count, span]
    arena = [*header(0, total, 32, frames.shape[1]), *frames.reshape(-1)]
    like_portable(cpu, rng, "linear4", record, arena, runs=runs, matrix=words, watch=watch)


def logits(cpu: Core, seed: object, cols: int, groups: int, add: int = 0) -> None:
    """A product whose results lie behind the first frame."""
    rng = np.random.default_rng(seed)
    stride = 1 + cols + 4
    q = rng.integers(-128, 128, (4 * groups, cols))
    matrix = signed(packed(q, rng.integers(1, 32768, 4 * groups)).reshape(-1))
    x = rng.integers(-2047, 2048, cols)
    frame = [5, 12345, 3, int(x.sum()), 0, *x]
    results = rng.integers(-(1 << 24), 1 << 24, 4 * groups)
    record = [17 << 6, 16 + stride << 6, 2, cols, groups, 24, 2, add, 0, groups]
    arena = [*header(3, 1, 8, stride), *frame, *results]
    runs = [3, len(matrix)]
    like_portable(cpu, rng, "linear", record, arena, runs=runs, matrix=matrix, watch=True)


def cached(heads: int, size: int, context: int, bits: tuple[int, int]) -> tuple[int, int]:
    """Words of the keys and of the values of a cache."""
    groups = -(-context // (2 if bits[0] == 12 else 4))
    return heads * groups * size, heads * -(-size * bits[1] // 32) * context


def attend(
    cpu: Core, seed: object, length: int, size: int = 8, total: int = 1, heads: int = 2,
    kv_heads: int = 1, rope: bool = True, amax: int = 1 << 20, extreme: bool = False,
    watch: bool = False, end: int = 0, lean: int = 0, bits: tuple[int, int] = (12, 8),
    **fields: int,
) -> None:  # fmt: skip
    """Attend from the last `total` of `length` positions; to all before `end`, if it is given.

    lean: the largest bias of a score by its distance; bits: of keys and values.
    """
    rng = np.random.default_rng(seed)
    context = (max(length, end) + 1) & ~1
    half = size // 2
    tables = np.concatenate([rotations(rng, context, half), powers()])
    row = 2 * context - 1
    biases = rng.integers(-lean, lean + 1, heads * row)
    own = len(tables) + context - 1 << 6 | 1 if lean else 0
    tables = np.concatenate([tables, biases])
    keys, values = cached(kv_heads, size, context, bits)
    k = rng.integers(1 if bits[0] == 12 else 0, 1 << bits[0], (2 if bits[0] == 12 else 4, keys))
    v = rng.integers(0, 1 << bits[1], (32 // bits[1], values))
    mantissa = rng.integers(1024, 2048, (2, kv_heads * context))
    shift = rng.integers(8, 16, (2, kv_heads * context))
    n = heads * size
    stride = 1 + 2 * n + 3
    frames = rng.integers(-amax, amax + 1, (total, stride))
    if extreme:
        k[:], v[:], shift[:] = (1 << bits[0]) - 1, (1 << bits[1]) - 1, 31
        frames[:] = amax
    s = mantissa | shift << 11
    parts = [*(sum(x << 32 // len(part) * i for i, x in enumerate(part)) for part in (k, v)),
             s[0] | s[1] << 16]  # fmt: skip
    scores = 16 + total * stride
    number = {"mc": 24000, "se": 40, "vn": (1 << 29) + 12345, "ve": 20, "ps": 0} | fields
    record = [
        17 << 6, 17 + n << 6, 4, heads, kv_heads, size, 1 if rope else 0,
        context * half << 6 | 1, scores << 6, *number.values(), int(end > 0), own, row, *bits,
    ]  # fmt: skip
    arena = header(length - total, total, context, stride, end or 1)
    arena += [*frames.reshape(-1), *[77] * (context + 2)]
    # What is left where the scores were is nobody's.
    like_portable(
        cpu, rng, "attend", record, arena, tables, signed(np.concatenate(parts)), watch=watch,
        scratch=scores,
    )  # fmt: skip


BITS = [(12, 8), (8, 8), (8, 4), (12, 4)]


def store(
    cpu: Core, seed: object, pos: int, size: int, total: int = 1, heads: int = 1,
    rope: bool = True, amax: int = 1 << 20, extreme: bool = False,
    bits: tuple[int, int] = (12, 8),
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    context = (pos + total + 2) & ~1
    n = heads * size
    stride = 1 + 2 * n + 3
    frames = rng.integers(-amax, amax + 1, (total, stride))
    if extreme:
        frames[:] = amax
    words = sum(cached(heads, size, context, bits)) + heads * context
    cache = rng.integers(-(1 << 31), 1 << 31, words)
    record = [17 << 6, 17 + n << 6, 4, heads, size, 1 if rope else 0, *bits]
    arena = [*header(pos, total, context, stride), *frames.reshape(-1)]
    tables = rotations(rng, context, size // 2)
    like_portable(cpu, rng, "store", record, arena, tables, cache, watch=True)


def norm(
    cpu: Core, seed: object, n: int, bits: int = 8, total: int = 1, dyn: bool = False,
    gain: bool = True, amax: int = 1 << 20, extreme: bool = False, **fields: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    stride = 2 + n + 4 + n + 2
    frames = rng.integers(-amax, amax + 1, (total, stride))
    if extreme:
        frames[:] = amax
    frames[:, 1] = rng.integers(-40, 40, total)
    number = {"c": 25000, "e": -3, "lg": (n - 1).bit_length(), "eps": 20000, "eps_e": 3} | fields
    record = [
        18 << 6, 18 + n << 6, n, bits, 17 << 6 if dyn else 0, number["c"], number["e"],
        1 if gain else 0, number["lg"], number["eps"], number["eps_e"],
    ]  # fmt: skip
    # Operand 1 is the first word of the tables.
    tables = rng.integers(-32767, 32768, n)
    if extreme:
        tables[:] = 32767
    arena = [*header(0, total, 2, stride), *frames.reshape(-1)]
    like_portable(cpu, rng, "norm", record, arena, tables, watch=True)


def layernorm(
    cpu: Core, seed: object, n: int, total: int = 1, place: bool = False, bias: bool = True,
    amax: int = 1 << 20, extreme: bool = False, offset: int = 0, spread: int = 1, **fields: int,
) -> None:  # fmt: skip
    """place: the result replaces the input. offset: what all elements have in common; spread: as
    in `gate`.
    """
    rng = np.random.default_rng(seed)
    stride = 1 + 2 * n + 3
    frames = rng.integers(-amax, amax + 1, (total, stride)) >> rng.integers(
        0, spread, (total, stride)
    )
    frames += offset
    if extreme:
        # Equal ones, but for one or the half of them.
        frames[:] = amax
        frames[:, 17 - 16 : 17 - 16 + (n + 1) // 2 if seed else 2] = -amax
    number = {"scale": 25000, "e": 30, "lg": (n - 1).bit_length(), "eps": 20000, "eps_e": 3}
    number |= fields
    # A gain, something between, and a bias of any magnitude.
    tables = np.concatenate(
        [rng.integers(-32767, 32768, n + 3), rng.integers(-(1 << 31), 1 << 31, n)]
    )
    if extreme:
        tables[:n] = 32767
    record = [
        17 << 6, 17 + (0 if place else n) << 6, n, number["scale"], number["e"], 1,
        n + 3 << 6 | 1 if bias else 0, number["lg"], number["eps"], number["eps_e"],
    ]  # fmt: skip
    arena = [*header(0, total, 2, stride), *frames.reshape(-1)]
    like_portable(cpu, rng, "layernorm", record, arena, tables, watch=True)


def gate(
    cpu: Core, seed: object, n: int, f: int = 12, total: int = 1, amax: int = 1 << 15,
    extreme: int = 0, up: bool = True, table: bool = True, odd: bool = False, spread: int = 1,
) -> None:  # fmt: skip
    """spread: elements have up to so many bits less than the largest."""
    rng = np.random.default_rng(seed)
    stride = 1 + 2 * n + 3
    frames = rng.integers(-amax, amax + 1, (total, stride)) >> rng.integers(
        0, spread, (total, stride)
    )
    if extreme:
        frames[:] = extreme * amax
    elif odd:
        frames[:, 1 : 1 + n][rng.random((total, n)) < 0.1] = 0
    entries = rng.integers(0, 36600, 514)
    tables = signed(entries[::2] | entries[1::2] << 16)
    record = [
        17 << 6, 17 + n << 6 if up else 0, n, 1 if table else 0, f, 17 + 2 * n << 6 if up else 0,
        int(odd),
    ]  # fmt: skip
    arena = [*header(0, total, 2, stride), *frames.reshape(-1)]
    like_portable(cpu, rng, "gate", record, arena, tables, watch=True)


GATES = [
    {},
    {"table": False},
    {"up": False},
    {"up": False, "table": False},
    {"up": False, "odd": True},
]


def cut(rng: np.random.Generator, words: np.ndarray, cuts: object) -> tuple[list[int], list[int]]:
    """Words cut into runs that do not touch: (runs, matrix)."""
    matrix: list[int] = []
    runs: list[int] = []
    cuts = [0, *cuts, len(words)]
    for a, b in zip(cuts, cuts[1:], strict=False):
        runs += [len(matrix) << 6 | 3, b - a]
        matrix += [*signed(words[a:b]), int(rng.integers(1 << 20))]
    return runs, matrix


def embed(
    cpu: Core, seed: object, n: int, shift: int = 6, total: int = 1, cuts: object = (),
    window: tuple[int, int, int] = (0, 0, 0), position: int | None = None, types: bool = False,
) -> None:  # fmt: skip
    """position: the first one, whose row is added to what is there; types: theirs instead."""
    rng = np.random.default_rng(seed)
    groups = 5
    q = rng.integers(-127, 128, (4 * groups, n))
    words = packed(q, rng.integers(0, 1 << 15, 4 * groups)).reshape(-1)
    runs, matrix = cut(rng, words, cuts)
    stride = n + 4
    frames = rng.integers(-(1 << 31), 1 << 31, (total, stride))
    frames[:, 0] = rng.integers(4 * window[2], 4 * groups, total)
    if types:
        frames[:, 0] = rng.integers(0, 2, total) << 16 | 1
    record = [17 << 6, 2, n, shift, *window, int(position is not None) + types]
    arena = [*header(position or 0, total, 2, stride), *frames.reshape(-1)]
    like_portable(cpu, rng, "embed", record, arena, runs=runs, matrix=matrix, watch=True)


def embed4(
    cpu: Core, seed: object, n: int, shift: int = 6, total: int = 1, span: int = 16,
    cuts: object = (), window: tuple[int, int, int] = (0, 0, 0), position: int | None = None,
) -> None:  # fmt: skip
    """Rows of a matrix with weights of 4 bits; the arguments are those of `embed`."""
    rng = np.random.default_rng(seed)
    groups = 3
    q = rng.integers(-8, 8, (8 * groups, n))
    scale = rng.integers(0, 16, (8 * groups, (n + span - 1) // span))
    words = Matrix4(q, scale, rng.integers(0, 1 << 15, 8 * groups), 0, span).words().reshape(-1)
    runs, matrix = cut(rng, words, cuts)
    stride = n + 4
    frames = rng.integers(-(1 << 31), 1 << 31, (total, stride))
    frames[:, 0] = rng.integers(8 * window[2], 8 * groups, total)
    if position == 2:
        frames[:, 0] = rng.integers(0, 2, total) << 16
    record = [17 << 6, 2, n, shift, *window, position or 0, span]
    arena = [*header(5, total, 2, stride), *frames.reshape(-1)]
    like_portable(cpu, rng, "embed4", record, arena, runs=runs, matrix=matrix, watch=True)


def windows(
    cpu: Core, seed: object, rows: int, channels: int, size: tuple[int, int],
    stride: tuple[int, int], total: int, before: int = 0, tokens: int = 0, extreme: int = 0,
) -> None:  # fmt: skip
    """Windows of a signal. extreme: numbers and scales are as large as they may be, of a sign."""
    rng = np.random.default_rng(seed)
    signal = rng.integers(-(1 << 15), 1 << 15, rows * channels)
    factors = rng.integers(0, 1 << 15, channels)
    offsets = rng.integers(-(1 << 30), (1 << 30) + 1, channels)
    shifts = rng.integers(0, 31, channels)
    if extreme:
        signal[:] = (1 << 15) - 1 if extreme > 0 else -(1 << 15)
        factors[:], offsets[:], shifts[::2] = 32767, extreme << 30, 0
    n = size[0] * size[1]
    arena = [*header(0, total, 2, n + 3), *rng.integers(-(1 << 31), 1 << 31, total * (n + 3))]
    shape = 6, rows, 99, channels, *size, *stride, before, 0, tokens
    record = [17 << 6, *shape, 3 << 6 | 1]
    tables = [1, 2, 3, *factors, *offsets, *shifts]
    like_portable(cpu, rng, "windows", record, arena, tables, signal=signal.tolist(), watch=True)


def logmel(cpu: Core, seed: object, f: LogMel, x: np.ndarray) -> None:
    """A row of sound, against numpy."""
    rng = np.random.default_rng(seed)
    memory = Memory(rng)
    table = memory.put(f.table)
    first, one, other = (int(v) for v in rng.integers(0, 20, 3))
    other += one + f.bands
    work = memory.put([first, one, other, 0, *rng.integers(0, 1 << 32, 2 * f.size)])
    samples = memory.put(halves([*rng.integers(-9, 9, first), *x.tolist()]))
    before = rng.integers(-999, 999, other + f.bands + 3)
    out = memory.put(halves(before.tolist()))
    left = cpu.call("logmel", memory, table, work, samples, out, watch=True)
    row = f(x)[0]
    before[one : one + f.bands] = before[other : other + f.bands] = row
    memory.set(out, halves(before.tolist()))
    # The rest of work is for the kernel alone.
    at = memory.index(work) + 4
    memory.words[at : at + 2 * f.size] = left[at : at + 2 * f.size]
    check(memory, left, memory.words)


def bias(
    cpu: Core, seed: object, n: int, total: int = 1, add: int = 0, cuts: object = (),
    more: int = 0, logits: bool = False,
) -> None:  # fmt: skip
    """more: words that the last run has behind the vector, as a tile may."""
    rng = np.random.default_rng(seed)
    runs, matrix = cut(rng, rng.integers(0, 1 << 32, n + more), cuts)
    stride = 5 if logits else n + 4
    arena = [*header(0, total, 2, stride), *rng.integers(-(1 << 31), 1 << 31, total * (n + 5))]
    record = [16 + stride << 6 if logits else 17 << 6, 2, n, add]
    like_portable(cpu, rng, "bias", record, arena, runs=runs, matrix=matrix, watch=True)


def pool(cpu: Core, seed: object, n: int, total: int, how: int, top: int = 1 << 31) -> None:
    rng = np.random.default_rng(seed)
    stride = n + 3
    frames = rng.integers(-top, top, (total, stride))
    if how == 2:
        frames = frames // total
    arena = [*header(4, total, 2, stride), *frames.reshape(-1)]
    like_portable(cpu, rng, "pool", [17 << 6, n, how], arena, watch=n * total < 1000)


def closest(logits: np.ndarray, m: int, s: int, rng: np.random.Generator) -> list[int]:
    """States of the generator that draw the last of a token's share, and the first."""
    d = np.minimum(logits.max() - logits, 1 << 24)
    mass = np.cumsum(exp2(rescale(d, m, s, 6), powers()))
    states = rng.integers(1, 1 << 32, 1 << 15)
    x = (states ^ states << 13) & 0xFFFFFFFF
    x ^= x >> 17
    x = (x ^ x << 5) & 0xFFFFFFFF
    left = (mass[-1] * (x >> 2)) >> 30
    to_end = mass[np.searchsorted(mass, left, side="right")] - left
    since = left - np.append(0, mass)[np.searchsorted(mass, left, side="right")]
    return [int(states[np.argmin(far)]) for far in (to_end, since)]


def sample(
    cpu: Core, seed: object, n: int, m: int = 0, s: int = 0, top_p: int = 32768,
    logits: np.ndarray | None = None, state: int = 0,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    if logits is None:
        logits = rng.integers(-5000, 5000, n)
    state = state or int(rng.integers(-(1 << 31), 1 << 31))
    record = [16 << 6, n, 1, m, s, top_p, state, -1]
    like_portable(cpu, rng, "sample", record, [*header(0, 1, 2, 1), *logits], powers(), watch=True)
