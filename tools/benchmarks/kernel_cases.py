"""The cases of the kernels' benchmark: records, frames, tables, matrices and caches.

The shapes are those of a small story model: 64 wide, hidden 172, 8 heads of 8 sharing 4 heads of
keys and values, 64 positions seen, vocabulary 512. The numbers are random, but always the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_HEADER = 16
NONE = np.zeros(0, np.int64)
WIDTH, HIDDEN, HEADS, KV_HEADS, SIZE, CONTEXT = 64, 172, 8, 4, 8, 128


@dataclass
class Case:
    title: str
    op: int  # of the program; 0: the sampler
    kernel: str
    work: int  # what its cycles are divided by
    unit: str
    record: list[int]
    frame: np.ndarray
    tables: np.ndarray = field(default_factory=lambda: NONE)
    matrix: np.ndarray = field(default_factory=lambda: NONE)
    cache: np.ndarray = field(default_factory=lambda: NONE)
    context: int = CONTEXT
    pos: int = 63

    def content(self) -> bytes:
        """The case as the board loads it: seven sizes, then six arrays of words."""
        arena = np.concatenate([
            [self.pos, 1, self.context, len(self.frame)], np.zeros(_HEADER - 4, np.int64),
            self.frame, np.zeros(max(self.context, 512), np.int64),
        ])  # fmt: skip
        runs = [3, len(self.matrix)] if len(self.matrix) else []
        parts = [self.record, arena, self.tables, runs, self.matrix, self.cache]
        words = [np.asarray(p, np.int64).astype(np.uint32).astype("<u4") for p in parts]
        head = np.array([self.op, *map(len, words)], "<i4")
        return b"".join([head.tobytes(), *(w.tobytes() for w in words)])


def at(word: int) -> int:
    """The operand of a word of the first frame."""
    return _HEADER + word << 6


def cases() -> list[Case]:
    """All of them, in the order of the table."""
    draw = Draw()
    found = [*linear_cases(draw), *linear4_cases(draw), *element_cases(draw)]
    tables = rotation_and_powers(draw)
    return [*found, *cache_cases(draw, tables), *sample_cases(draw, tables)]


class Draw:
    """Random numbers of the kinds that a kernel reads."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)

    def words(self, *shape: int) -> np.ndarray:
        return self.rng.integers(0, 1 << 32, shape)

    def multipliers(self, *shape: int) -> np.ndarray:
        return self.rng.integers(1 << 8, 1 << 14, shape) * 0x10001

    def values(self, n: int, top: int) -> np.ndarray:
        return self.rng.integers(-top, top + 1, n)

    def matrix(self, rows: int, cols: int) -> np.ndarray:
        """Row groups of weights, each with two words of multipliers."""
        w = self.words(rows // 4, cols + 2)
        w[:, cols:] = self.multipliers(rows // 4, 2)
        return w.reshape(-1)

    def matrix4(self, rows: int, cols: int) -> np.ndarray:
        """The same of 4 bits: row groups with scales and four words of multipliers."""
        w = self.words(rows // 8, cols + (cols + 15) // 16 + 4)
        w[:, -4:] = self.multipliers(rows // 8, 4)
        return w.reshape(-1)

    def layer_norm(self, n: int) -> np.ndarray:
        """Gains and biases of a LayerNorm."""
        return np.concatenate([self.values(n, 32767), self.values(n, 1 << 20)])


def linear(draw: Draw, rows: int, cols: int, top: int) -> tuple[list[int], np.ndarray]:
    """The record and the frame of a matrix product."""
    x = draw.values(cols, top)
    frame = np.concatenate([[0, 16000, 3, x.sum(), 0], x, np.zeros(rows, np.int64)])
    return [at(1), at(5 + cols), 2, cols, rows // 4, 30, 4, 0, 0, rows // 4], frame


def linear_cases(draw: Draw) -> Iterator[Case]:
    for rows, cols in ((64, 64), (128, 64), (172, 64), (64, 172), (256, 256)):
        record, frame = linear(draw, rows, cols, 127)
        yield Case(
            f"linear {rows} x {cols}", 3, "linear", rows * cols, "multiply-accumulate", record,
            frame, matrix=draw.matrix(rows, cols),
        )  # fmt: skip


def linear4_cases(draw: Draw) -> Iterator[Case]:
    for rows, cols in ((64, 64), (128, 64), (344, 64), (64, 172), (256, 256)):
        record, frame = linear(draw, rows, cols, 255)
        yield Case(
            f"linear4 {rows} x {cols}", 10, "linear4", rows * cols, "multiply-accumulate",
            [*record, 16], frame, matrix=draw.matrix4(rows, cols),
        )  # fmt: skip


def element_cases(draw: Draw) -> Iterator[Case]:
    """What costs something for each element of a vector."""

    def case(
        title: str, op: int, n: int, record: list[int], frame: list[Any], **more: Any
    ) -> Case:
        kernel = title.partition(" ")[0]
        return Case(title, op, kernel, n, "element", record, np.concatenate(frame), **more)

    n, hidden = WIDTH, HIDDEN
    yield case(
        "embed 64", 1, n, [at(1), 2, n, 6, 0, 0, 0, 0], [[130], np.zeros(n, np.int64)],
        matrix=draw.matrix(512, n),
    )  # fmt: skip
    yield case(
        "norm 64, with gain", 2, n, [at(1), at(1 + n), n, 8, 0, 25000, -3, 1, 6, 20000, 3],
        [[0], draw.values(n, 1 << 22), np.zeros(n + 4, np.int64)], tables=draw.values(n, 32767),
    )  # fmt: skip
    yield case(
        "norm 172", 2, hidden, [at(1), at(1 + hidden), hidden, 8, 0, 25000, -3, 0, 0, 0, 0],
        [[0], draw.values(hidden, 1 << 28), np.zeros(hidden + 4, np.int64)],
    )  # fmt: skip
    words = draw.rng.integers(0, 36000, 257) * 0x10001
    yield case(
        "gate 172", 6, hidden, [at(1), at(1 + hidden), hidden, 1, 12, at(1 + 2 * hidden), 0],
        [[0], draw.values(2 * hidden, 1 << 16), [0]], tables=words,
    )  # fmt: skip
    frame = [[0], draw.values(hidden, 1 << 16)]
    for title, table, odd in (("gelu", 1, 0), ("tanh", 1, 1), ("relu", 0, 0)):
        yield case(
            f"gate 172, {title} alone", 6, hidden, [at(1), 0, hidden, table, 12, 0, odd], frame,
            tables=words,
        )  # fmt: skip
    for n, shift in ((64, 6), (384, 9)):
        yield case(
            f"layernorm {n}", 8, n,
            [at(1), at(1), n, 25000, 30, 1, n << 6 | 1, shift, 20000, 3],
            [[0], draw.values(n, 1 << 22)], tables=draw.layer_norm(n),
        )  # fmt: skip
    n = WIDTH
    yield case(
        "bias 64", 9, n, [at(1), 2, n, 1], [[0], draw.values(n, 1 << 22)],
        matrix=draw.values(n, 1 << 20),
    )  # fmt: skip


def rotation_and_powers(draw: Draw) -> np.ndarray:
    """The tables of attention and the sampler: cosines and sines of random angles, powers of 2."""
    angle = draw.rng.uniform(0, 7, CONTEXT * SIZE // 2)
    cos, sin = (np.round(32767 * f(angle)).astype(np.int64) for f in (np.cos, np.sin))
    i = np.arange(32)
    powers = np.concatenate([2.0 ** (-i / 32), 2.0 ** (-i / 1024)])
    return np.concatenate([
        (sin & 0xFFFF) << 16 | cos & 0xFFFF, np.floor(powers * 32768 + 0.5).astype(np.int64)
    ])  # fmt: skip


def cache_cases(draw: Draw, tables: np.ndarray) -> Iterator[Case]:
    """What writes and reads the cache of keys and values."""
    n, heads, kv, size, context = WIDTH, HEADS, KV_HEADS, SIZE, CONTEXT
    s = draw.rng.integers(1024, 2048, (2, kv * context)) | 10 << 11

    def cache(key_bits: int, value_bits: int) -> np.ndarray:
        lanes = 2 if key_bits == 12 else 4
        k = draw.rng.integers(1, 1 << key_bits, (lanes, kv * context // lanes * size))
        v = draw.words(kv * (size * value_bits // 32) * context)
        k = sum(lane << 32 // lanes * j for j, lane in enumerate(k))
        return np.concatenate([k, v, s[0] | s[1] << 16])

    frame = np.concatenate([[0], draw.values(2 * kv * size, 1 << 20)])
    for bits in ((12, 8), (8, 4)):
        title = "store 4 x 8" + ", keys 8, values 4" * (bits == (8, 4))
        yield Case(
            title, 4, "store", 2 * kv * size, "element",
            [at(1), at(1 + kv * size), 4, kv, size, 1, *bits], frame, tables, cache=cache(*bits),
        )  # fmt: skip
    frame = np.concatenate([[0], draw.values(n, 1 << 20), np.zeros(n, np.int64)])
    biases = np.concatenate([tables, np.arange(heads * context)])
    own = len(tables) + context - 1 << 6 | 1
    for title, bias, listed, bits in (
        ("", 0, tables, (12, 8)), (", distances", own, biases, (12, 8)),
        (", keys 8", 0, tables, (8, 8)), (", keys 8, values 4", 0, tables, (8, 4)),
    ):  # fmt: skip
        yield Case(
            "attend 8 x 8, 64 positions" + title, 5, "attend", 2 * 64 * n, "multiply-accumulate",
            [at(1), at(1 + n), 4, heads, kv, size, 1, context * size // 2 << 6 | 1,
             at(len(frame)), 24000, 42, 1 << 29, 20, 0, 0, bias, context, *bits],
            frame, listed, cache=cache(*bits),
        )  # fmt: skip


def sample_cases(draw: Draw, tables: np.ndarray) -> Iterator[Case]:
    for title, multiplier in (("sample 512, greedy", 0), ("sample 512", 24000)):
        yield Case(
            title, 0, "sample", 512, "logit",
            [at(0), 512, CONTEXT * SIZE // 2 << 6 | 1, multiplier, 24, 30000, 1, 0],
            draw.values(512, 1 << 16), tables,
        )  # fmt: skip
