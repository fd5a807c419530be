"""A board against the simulator, step by step: the first thing to send with a bug report."""

from __future__ import annotations

import contextlib
import json
import struct
from binascii import crc32, unhexlify
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..compile.modelfile import ModelFile
from ..compile.steps import CHANGE, Step, results, uses
from ..errors import Error
from ..graph.nodes import Array
from ..simulate.memory import Memory
from ..simulate.simulator import Simulator
from .board import Board
from .errors import ScriptError
from .install import Progress

TOKENS = 16  # of an input at most
TIMEOUT = 3600.0  # seconds; plain-Python kernels take minutes for a large model

STEPS = 16  # that the board is told at once: what it is told takes memory beside the model

# The model comes first, alone, where a heap that is nearly filled has room for it. Then every step
# is run by itself, as Model does; `steps` says a checksum of what each wrote and how long it took.
# A piece of what a step wrote is (first word, words, words from one frame to the next, frames).
# which: the step whose words are said as well.
LOAD = """
import gc
from picoformer import Model
held = None
Model._most = 0  # each step is a call, not several
model = Model({path!r}, context={context!r}, kernels={kernels!r})
gc.collect()
print([model.kernels, model.weights, gc.mem_free(), gc.mem_alloc()])
"""
RUN = """
import time
from binascii import crc32, hexlify
def begin(start, tokens):
    global held
    arena = model._arena
    n = len(tokens)
    arena[0] = start
    arena[1] = n
    arena[4] = start + n
    for i in range(n):
        arena[16 + i * model._stride] = tokens[i]
    if model.image:
        from picoformer.images import place
        size = model.image[0] * model.image[1] * model.image[2]
        place(model, bytes([i * 7 % 256 for i in range(size)]))
    if model.frames:
        from array import array
        from picoformer.frames import place
        rows, channels = model.frames
        numbers = array("h", bytes(2 * rows * channels))
        for i in range(len(numbers)):
            numbers[i] = i * 7919 % 65536 - 32768
        held = place(model, numbers)
def steps(encoder, first, pieces, which):
    view = memoryview(model._arena)
    parts = model._encoder if encoder else model._body + model._head
    for i in range(len(pieces)):
        kernel, record = parts[first + i]
        t = time.ticks_us()
        kernel(record, model._space)
        t = time.ticks_diff(time.ticks_us(), t)
        crc = 0
        for at, size, stride, count in pieces[i]:
            for frame in range(count):
                crc = crc32(view[at + frame * stride : at + frame * stride + size], crc)
        print([crc, t])
        if i == which:
            for at, size, stride, count in pieces[i]:
                for frame in range(count):
                    part = view[at + frame * stride : at + frame * stride + size]
                    print(hexlify(part).decode())
            return
"""


@dataclass
class StepTime:
    """What all steps of one kind took.

    op: the kind. calls: how many. us: microseconds. products: multiply-accumulates.
    """

    op: str
    calls: int = 0
    us: int = 0
    products: int = 0


@dataclass
class Difference:
    """The first step whose result is not the simulator's.

    step: its number in the program. op: its kind. value: name of its result.
    position: of the token. element: which number of the result; -1 if it was right the second
        time.
    board, simulator: what each of them has there.
    """

    step: int
    op: str
    value: str
    position: int
    element: int
    board: int
    simulator: int


@dataclass
class SelfTest:
    """What `selftest` found. Sizes are in bytes.

    model: its name on the board. board: what the board is, as `Board.info`.
    kernels, weights: how it ran. free_heap, taken_heap: with the model loaded.
    steps: how many were compared. times: a StepTime for each kind of step.
    difference: None, or the first step that is not the simulator's.
    """

    model: str
    board: dict[str, Any]
    kernels: str
    weights: str
    free_heap: int
    taken_heap: int
    steps: int = 0
    times: list[StepTime] = field(default_factory=list)
    difference: Difference | None = None

    @property
    def equal(self) -> bool:
        """Whether every step gave the simulator's integers."""
        return self.difference is None

    def to_dict(self) -> dict[str, Any]:
        """All of it as a dict, for JSON."""
        times = [vars(t) for t in self.times]
        difference = self.difference and vars(self.difference)
        return {**vars(self), "equal": self.equal, "times": times, "difference": difference}


Piece = tuple[int, int, int, int]


@dataclass
class _Run:
    """One sweep: what the script is told, and what it should find."""

    encoder: bool
    start: int
    tokens: list[int]
    indices: list[int] = field(default_factory=list)
    pieces: list[list[Piece]] = field(default_factory=list)
    expected: list[list[Array]] = field(default_factory=list)


def _logits(m: ModelFile, step: Step) -> bool:
    """Whether a step writes the logits, which lie where frames were."""
    if m.framed:
        return False
    return step.kind in ("linear", "bias") and step["out"] == int(m.program[5])


def _known(step: Step, at: int, size: int, made: set[int]) -> int:
    """How many words of a result the program determines; `made` gets them.

    A linear adds whole groups of rows to a residual: behind its last element nobody wrote.
    """
    if any(step[field] >> 6 == at and how == CHANGE for field, _, how in uses(step)):
        size = next((n for n in range(size) if at + n not in made), size)
    made.update(range(at, at + size))
    return size


def _runs(sim: Simulator, context: int) -> list[_Run]:
    """The sweeps that try every step, with what the simulator finds after each."""
    m = sim.model
    rng = np.random.default_rng(1)
    batch = min(m.batch, TOKENS, context - 1)
    n = min(TOKENS, context) if m.whole else batch
    patches = signal = None
    if f := m.frames:
        numbers = np.arange(f.length * f.channels) * 7919 % 65536 - 32768
        signal = numbers.reshape(f.length, f.channels)
        n = f.positions(f.length)
        if n > context:
            raise Error(f"the signal has {n} windows, the context is {context}")
    if m.program[14]:
        height, width, channels = m.meta["image"][:3]
        pixels = (np.arange(height * width * channels) * 7 % 256).astype(np.uint8)
        patches = sim.patches(pixels.reshape(height, width, channels))
        n = len(patches)
        if n > context:
            raise Error(f"the image has {n} patches, the context is {context}")
    seen = patches is not None or signal is not None
    tokens = [0] * n if seen else rng.integers(0, m.vocab, n + 1).tolist()
    runs: list[_Run] = []
    current: list[_Run] = []

    made: set[int] = set()  # words of a frame that this run has made: others hold what was there

    def tap(i: int, step: Step, memory: Memory) -> None:
        run, pieces, values = current[-1], [], []
        pooled = m.task != "answer" and any(s.op == "pool" for s in m.steps[m.body : i + 1])
        single = pooled and not run.encoder
        for operand, size in results(step):
            if _logits(m, step):
                rows, size = memory.logits, m.outputs
            else:
                size = _known(step, operand >> 6, size, made)
                rows = memory.value(operand, size)
            rows = rows[-1:, :size] if single else rows[:, :size]
            pieces.append((operand >> 6, size, m.stride, len(rows)))
            values.append(rows.astype("<i4"))
        run.indices.append(i)
        run.pieces.append(pieces)
        run.expected.append(values)

    def run(encoder: bool, start: int, ids: list[int], types: list[int] | None = None) -> None:
        words = [t | (y << 16) for t, y in zip(ids, types or [0] * len(ids), strict=True)]
        current.append(_Run(encoder, start, words))
        made.clear()
        sim.machine.run(ids, start, types, encoder, patches, signal)
        runs.append(current[-1])

    sim.machine.tap = tap
    try:
        if m.task == "translate":
            run(True, 0, tokens[:n])
        types = [int(2 * i >= n) for i in range(n)] if m.task == "answer" else None
        first = batch if m.task == "translate" else n
        run(False, 0, tokens[:first], types)
        if not m.whole or m.task == "translate":
            run(False, first, tokens[-1:])
    finally:
        sim.machine.tap = None
    return runs


def selftest(
    board: Board,
    path: str | Path,
    *,
    context: int | None = None,
    kernels: str | None = None,
    progress: Progress | None = None,
) -> SelfTest:
    """Put a model on a board and compare each of its steps with the simulator.

    board: a Board. path: the model file.
    context: context length in tokens to test with (default: the file's).
    kernels: "dsp", "thumb", "rv32", "viper" or "portable" (default: the fastest that runs).
    progress: called with (what, done, all) as it goes on.

    Returns a SelfTest. Raises Error if the model cannot be loaded or run. A difference is no
    error: it is in the result.
    """
    sim = Simulator(path)
    name = board.deploy(path, progress=progress)
    info = board.info
    m = sim.model
    if context is not None and not 2 <= context <= m.context:
        raise Error(f"context is {context}, this model has 2 to {m.context}")
    runs = _runs(sim, context or m.context)

    load = LOAD.format(path=f"/{name}.pft", context=context, kernels=kernels)
    try:
        return _compared(board, m, runs, load, name, info)
    finally:
        with contextlib.suppress(Error):  # what ended the test is to be told
            board.connection.reset()


def _asked(board: Board, code: str) -> list[str]:
    """The lines that a script printed. Raises Error."""
    try:
        return board.exec(code, TIMEOUT).splitlines()
    except ScriptError as e:
        last = str(e).strip().rpartition("\n")[2]
        if last.startswith("Error: "):  # the runtime's own: no fault of the script
            raise Error(last.removeprefix("Error: ")) from None
        raise


def _said(
    board: Board, load: str, runs: list[_Run], dump: tuple[int, int] = (-1, -1)
) -> Iterator[str]:  # fmt: skip
    """What the board says: of the model, then of each step. dump: the run and the step that end
    it, with the step's words behind them. Raises Error.
    """
    board.connection.stop_server()
    board.connection.reset()  # what ran before has left the heap in pieces
    yield from _asked(board, load)
    _asked(board, RUN)
    for r, run in enumerate(runs):
        _asked(board, f"begin({run.start}, {run.tokens})")
        for at in range(0, len(run.pieces), STEPS):
            which = dump[1] - at if r == dump[0] else -1
            some = run.pieces[at : at + STEPS]
            yield from _asked(board, f"steps({run.encoder}, {at}, {some}, {which})")
            if 0 <= which < STEPS:
                return
        if run.encoder:
            _asked(board, f"model._arena[5] = {len(run.tokens)}")


def _compared(
    board: Board, m: ModelFile, runs: list[_Run], load: str, name: str, info: dict[str, Any]
) -> SelfTest:  # fmt: skip
    """What the steps gave. Raises Error."""
    found = _said(board, load, runs)
    loaded = json.loads(next(found).replace("'", '"'))
    result = SelfTest(name, info, *loaded)
    times: dict[str, StepTime] = {}
    for r, run in enumerate(runs):
        for s, values in enumerate(run.expected):
            step = m.steps[run.indices[s]]
            crc, us = json.loads(next(found))
            result.steps += 1
            t = times.setdefault(step.op, StepTime(step.op))
            t.calls += 1
            t.us += us
            if step.kind == "linear":
                t.products += step["cols"] * 4 * step["groups"] * len(values[0])
            if crc != crc32(b"".join(v.tobytes() for v in values)):
                lines = list(_said(board, load, runs, (r, s)))
                result.difference = _difference(m, run, s, lines)
                break
        if result.difference:
            break
    result.times = sorted(times.values(), key=lambda t: -t.us)
    return result


def _difference(m: ModelFile, run: _Run, s: int, lines: list[str]) -> Difference:
    """What exactly differs, from the lines that the board said about the step."""
    rows = sum(len(v) for v in run.expected[s])
    index, got = run.indices[s], lines[-rows:]
    named = m.meta.get("values", [])
    value = named[index][0] if len(named) == len(m.steps) and named[index] else ""
    for piece in run.expected[s]:
        for position, row in enumerate(piece):
            words = np.array(struct.unpack(f"<{len(row)}i", unhexlify(got.pop(0))))
            if (words != row).any():
                at = int((words != row).argmax())
                return Difference(
                    index, m.steps[index].op, value, run.start + position, at,
                    int(words[at]), int(row[at]),
                )  # fmt: skip
    # The same step, right the second time: the hardware, or memory that something else wrote.
    return Difference(index, m.steps[index].op, value, run.start, -1, 0, 0)
