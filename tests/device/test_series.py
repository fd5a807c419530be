"""Steps in few calls: what is put together, and that it computes what the steps do.

The machine code is tried in test_native.py, and whole models in test_rp2040.py.
"""

from __future__ import annotations

from array import array
from types import SimpleNamespace

import pytest

import models
from picoformer.device import regions, series
from turns import some

# Kernels of viper by their numbers, as assembler is called by its addresses.
LOAD = """
import struct, uctypes
import micropython
import picoformer.kernels_viper as viper
from picoformer import Model, regions
codes = []
calls = []
def run(record, arena):
    calls.append(0)
    while True:
        at, kernel = struct.unpack("<II", uctypes.bytearray_at(record, 8))
        if not kernel:
            return
        at |= arena & -1 << 32
        if abs(at - arena) >> 31:
            at += 1 << 32 if at < arena else -1 << 32
        codes[kernel - 1](at, arena)
        record += 8
@micropython.viper
def series(record, arena):
    run(record, arena)
def code(kernel):
    if kernel not in codes:
        codes.append(kernel)
    return codes.index(kernel) + 1
def load(path, most, **given):
    import picoformer.regions
    picoformer.regions.code = code
    Model._most = most
    viper.series = series
    return Model(path, **given)
"""
RUN = LOAD + """
for most in (0, 1, 3000, 1 << 17):
    with load(PATH, most, weights=WEIGHTS) as m:
        before = len(calls)
        if m.task == "translate":
            m.source(SOURCE)
        said = []
        for given in (TOKENS, MORE):
            said.append(list(m.logits(given)))
        print(len(calls) - before)
        print(said)
"""


def fewer(given, tokens, more, weights="ram") -> None:
    """What is in series computes what it does by itself, in the fewer calls the longer they are.

    tokens, more: two inputs.
    """
    said = models.run_unix(
        RUN, PATH=str(given.file()), TOKENS=tokens, MORE=more, SOURCE=given.tokens(7),
        WEIGHTS=weights,
    ).splitlines()  # fmt: skip
    alone, each, some, most = map(int, said[::2])
    assert alone == 0 and each > some >= most > 0
    assert said[3::2] == 3 * [said[1]]


@pytest.mark.parametrize("name", some(models.CASES, 3))
def test_steps_of_models(case, name):
    if reason := models.no_micropython():
        pytest.skip(reason)
    given = case(name)
    tokens = given.tokens(11)
    fewer(given, tokens, tokens[:6] + given.tokens(3))


@pytest.mark.parametrize("weights", ["ram", "file"])
@pytest.mark.parametrize(
    "name", some(("gpt2 four", "bart one", "gpt2 odd narrow"), 2)
)
def test_steps_of_other_architectures(built, name, weights):
    """Also where those with weights have to stay as they are."""
    if reason := models.no_micropython():
        pytest.skip(reason)
    given = built(name)
    fewer(given, given.tokens(9), given.tokens(5), weights)


@pytest.mark.parametrize("name", ["bert one", "signal"])
def test_what_takes_a_whole_input_stays(built, name):
    if reason := models.no_micropython():
        pytest.skip(reason)
    script = LOAD + "with load(PATH, 1 << 17) as m:\n    print(series in [k for k, _ in m._body])"
    assert models.run_unix(script, PATH=str(built(name).file())) == "False\n"


def parts(model, words, most):
    """What `fuse` makes of a model: its parts, and the table."""
    memory = []
    made = series.fuse(
        model, memory, words, kernel, most, lambda _: 1000, lambda k: len(k.__name__)
    )
    return made, memory[0].tolist(), memory[1]


def kernel(_record, _arena):
    pass


def norm(_record, _arena):
    pass


def program(*steps):
    """Words of a program without caches and end tokens."""
    words = array("i", bytes(4 * regions.HEAD))
    for op, *fields in steps:
        words.extend([op, len(fields), *fields])
    return words


def linear(cols, count):
    return 3, 0, 0, 0, cols, 1, 0, 0, 0, 0, count


def test_a_call_does_no_more_than_it_may():
    attend = 5, 0, 0, 0, 4, 2, 8, *[0] * 12
    words = program((2, 0, 0), linear(64, 16), attend, linear(64, 16), (7, 0), linear(10, 2))
    steps = [(norm, 11), (kernel, 22), (kernel, 33), (kernel, 44), (norm, 55), (kernel, 66)]
    model = SimpleNamespace(
        _encoder=[], _body=steps[:5], _head=steps[5:], _batch=2, context=32
    )
    other = 512
    work = [other, other + 2048, other + 4 * 8 * 32 * 2, other + 2048, other, other + 40]
    for most in (1, work[0] + work[1], sum(work[:3]), sum(work[:5]) - 1, sum(work), 0):
        (encoder, body, head), table, used = parts(model, words, most)
        assert encoder == [] and len(head) == 1
        assert {k for k, _ in body + head} == {kernel} and used == [kernel, norm]
        expected, left, record = [], 0, []
        for at, cost in zip((11, 22, 33, 44, 55), work, strict=False):
            if not record or most and cost > left:
                record = []
                expected.append(record)
                left = most
            left -= cost
            record.append(at)
        rows = [table[i : i + 2] for i in range(0, len(table), 2)]
        got = []
        for _, at in body + head:
            i = (at - 1000) // 8
            got.append([])
            while rows[i][1]:
                assert rows[i][1] == (4 if rows[i][0] in (11, 55) else 6)
                got[-1].append(rows[i][0])
                i += 1
        assert got == [*expected, [66]]


def test_what_is_no_assembler_stays():
    words = program((2, 0, 0), (2, 0, 0), linear(8, 8), (2, 0, 0))
    tiled = SimpleNamespace()
    steps = [(norm, 11), (norm, 22), (tiled, 33), (norm, 44)]
    model = SimpleNamespace(_encoder=[], _body=steps, _head=[], _batch=1, context=8)
    (_, body, _), table, used = parts(model, words, 1 << 17)
    assert body == [(kernel, 1000), (tiled, 33), (kernel, 1024)]
    assert table == [11, 4, 22, 4, 0, 0, 44, 4, 0, 0] and used == [kernel, norm]
