"""Models that read frames of numbers: the same integers everywhere, close to floating point."""

from __future__ import annotations

import json
from array import array

import numpy as np
import pytest

import models
from closeness import cosine
from picoformer.compile.quantize import dequantized
from picoformer.device.errors import Error as BoardError
from picoformer.device.model import Model
from picoformer.errors import Error
from picoformer.graph.float_model import FloatModel

NAMES = ["signal", "forecast", "signal four", "forecast narrow"]
READ = """
import json
from array import array
from picoformer import Model
m = Model(FILE, kernels=KERNELS, weights=WEIGHTS)
print(json.dumps(m.frames))
for numbers in SIGNALS:
    x = array("h", numbers)
    found = list(m.read(x, m.task))
    n = len(x)
    held = array("h", [1, 2, 3]) + x
    raw = bytearray(2 * n + 1)
    raw[1:] = bytes(x)
    # Where nothing is copied, what is not aligned, and what is no buffer.
    unsigned = array("H", bytes(x))
    for given in bytes(x), memoryview(held)[3:], memoryview(raw)[1:], numbers, unsigned:
        assert list(m.read(given, m.task)) == found, given
    print(json.dumps(found))
print(json.dumps(list(m.logits(bytes(3)))))
"""


def lengths(f) -> list[int]:
    return [f.length, f.least, f.least + 1, f.length - 2]


def results(a) -> list[list[int]]:
    """The simulator's, of signals of several lengths, and of none."""
    sim, f = a.sim(), a.graph.frames
    found = [sim._read(a.signal(n), a.graph.task).tolist() for n in lengths(f)]
    return [[f.length, f.channels], *found, sim.logits([0] * 3)[-1].tolist()]


@pytest.mark.parametrize("name", NAMES)
def test_close_to_the_float_model_with_the_same_weights(built, name):
    """Though the sizes of channels differ a thousand times."""
    a = built(name)
    f = a.graph.frames
    assert f.std.max() / f.std.min() > 900
    graph = dequantized(a.graph, a.compiled().dequantized)
    loss = 4 if name.endswith(models.FOUR) else 12 if name.endswith(models.NARROW) else 1
    for n in lengths(f):
        signal = a.signal(n, 1)
        exact = FloatModel(graph).forward(f.windows(signal)[None])[0, 0]
        ours = a.sim()._read(signal, a.graph.task) * a.sim().logit_scale
        assert cosine(exact, ours) >= 1 - 0.0005 * loss
        assert abs(np.linalg.norm(ours) / np.linalg.norm(exact) - 1) < 0.02 * loss


def test_each_channel_counts():
    """A channel of small numbers is as exact as one of large ones."""
    graph = models.architecture(*models.SPECIAL["signal"])
    f = graph.frames
    rng = np.random.default_rng(0)
    signal = np.rint(f.mean + f.std * rng.normal(0, 1, (f.length, f.channels))).astype(np.int64)
    from picoformer.compile.tables import channel_table

    words, bits = channel_table(f)
    factor, offset, shift = words.astype(np.int64)
    ours = ((signal * factor + offset) >> shift) / 2.0**bits
    np.testing.assert_allclose(ours, (signal - f.mean) / f.std, atol=2e-3, rtol=2e-4)
    assert np.abs(offset).max() <= 1 << 30 and factor.max() <= 32767


@pytest.mark.parametrize("name", NAMES)
def test_portable_kernels_equal_the_simulator(built, name):
    a = built(name)
    model = Model(str(a.file()), kernels="portable")
    shape, *expected, nothing = results(a)
    assert list(model.frames) == shape
    for n, wanted in zip(lengths(a.graph.frames), expected, strict=True):
        given = array("h", a.signal(n).reshape(-1).tolist())
        assert list(model.read(given, a.graph.task)) == wanted
    assert list(model.logits(bytes(3))) == nothing


@pytest.mark.parametrize("weights", ["ram", "file"])
@pytest.mark.parametrize("kernels", ["viper", "portable"])
@pytest.mark.parametrize("name", NAMES[:3])
def test_unix_equals_the_simulator(built, unix, families, name, kernels, weights):
    if kernels not in families:
        pytest.skip(f"no {kernels} kernels on this port")
    a = built(name)
    signals = [a.signal(n).reshape(-1).tolist() for n in lengths(a.graph.frames)]
    names = {"KERNELS": kernels, "WEIGHTS": weights, "SIGNALS": signals}
    said = unix(READ, FILE=str(a.file()), **names)
    assert [json.loads(line) for line in said.splitlines()] == results(a)


def test_predictions_are_the_integers_and_their_scale(built):
    a = built("forecast")
    signal = a.signal()
    numbers = a.sim().predict(signal)
    assert numbers.tolist() == (a.sim()._read(signal, "predict") * a.sim().logit_scale).tolist()
    model = Model(str(a.file()), kernels="portable")
    found = model.predict(array("h", signal.reshape(-1).tolist()))
    assert found.typecode == "f" and found == array("f", numbers.tolist())


def test_what_is_no_signal(built):
    a = built("signal")
    model = Model(str(a.file()), kernels="portable")
    rows, channels = model.frames
    for given, said in (
        (array("h", [0] * 7), "7 numbers, expected 1 to 34 rows of 5"),
        (array("h"), "0 numbers"),
        (array("h", [0] * 5 * (rows + 1)), "175 numbers"),
        (array("h", [0] * 5 * 3), "3 rows, expected 4 to 34"),
        (array("i", [0] * 5 * 9), "numbers of 4 bytes, expected array"),
        (bytes(2 * 5 * 9 + 1), "91 bytes, expected two for each"),
        ([0] * 44 + [40000], "from 0 to 40000, not of 16 bits"),
    ):
        with pytest.raises(BoardError, match=said):
            model.classify(given)
    with pytest.raises(BoardError, match="reads signals: an array of up to 34 x 5"):
        model.classify("a text")
    with pytest.raises(BoardError, match="made to classify, not to predict"):
        model.predict(array("h", [0] * 5 * 9))
    small = Model(str(a.file()), kernels="portable", context=4)
    with pytest.raises(BoardError, match="11 windows, the context is 4|12 windows"):
        small.classify(array("h", [0] * 5 * rows))
    sim = a.sim()
    for given, said in (
        (np.zeros((9, 4), int), r"shape \(9, 4\); expected \(rows, 5\)"),
        (np.zeros((rows + 1, 5), int), "35 rows, expected 4 to 34"),
        (np.full((9, 5), 40000), "values from 40000 to 40000"),
        (np.full((9, 5), np.nan), "infinite or NaN"),
        (np.array([["a"] * 5] * 9), "a signal of"),
    ):
        with pytest.raises(Error, match=said):
            sim.classify(given)
    with pytest.raises(Error, match="reads signals: an array of up to 34 x 5"):
        sim.classify("a text")
    with pytest.raises(Error, match="reads text"):
        built("bert").sim().classify(np.zeros((9, 5), int))


@pytest.mark.parametrize("name", NAMES[:2])
def test_thumb_equals_the_simulator(built, cpu, name):
    from emulatedmodel import emulated

    a = built(name)
    seen: set[str] = set()
    model = emulated(cpu, a, seen)
    for n, wanted in zip(lengths(a.graph.frames), results(a)[1:], strict=False):
        given = array("h", a.signal(n).reshape(-1).tolist())
        assert list(model.read(given, a.graph.task)) == wanted
    assert "windows" in seen


CTRL_C = """
from array import array
from picoformer import Model, frames
m = Model(FILE, kernels=KERNELS)
before = list(m.logits(bytes(3)))
place = frames.place
def interrupted(model, x):
    place(model, x)
    raise KeyboardInterrupt
frames.place = interrupted
try:
    m.classify(array("h", [1000] * m.frames[0] * m.frames[1]))
except KeyboardInterrupt:
    print(m._windows[2], list(m.logits(bytes(3))) == before)
"""


@pytest.mark.parametrize("kernels", ["viper", "portable"])
def test_ctrl_c_behind_a_signal_s_place(built, unix, families, kernels):
    """A run without a signal reads no rows of one that may be gone."""
    if kernels not in families:
        pytest.skip(f"no {kernels} kernels on this port")
    assert unix(CTRL_C, FILE=str(built("signal").file()), KERNELS=kernels) == "0 True\n"
