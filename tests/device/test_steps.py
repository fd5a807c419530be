"""The architectures beyond Llama: the same integers everywhere, close to floating point."""

from __future__ import annotations

import numpy as np
import pytest

import models
from boardscripts import EXTREMES, unix_logits
from closeness import cosine
from models import ARCHITECTURES
from picoformer.compile.quantize import dequantized
from picoformer.device.model import Model
from picoformer.graph.float_model import FloatModel
from turns import some


@pytest.mark.parametrize("seed", some(range(3), 3))
@pytest.mark.parametrize("name", some(ARCHITECTURES, 3, 1))
def test_close_to_the_float_model_with_the_same_weights(built, name, seed):
    a = built(name)
    sim = a.sim()
    graph = dequantized(a.graph, a.compiled().dequantized)
    for n in (1, 2, 7, a.graph.context):
        tokens = a.tokens(n, seed)
        exact = FloatModel(graph).forward(np.array([tokens]))[0]
        ours = sim.logits(tokens) * sim.logit_scale
        assert exact.shape == ours.shape
        # Weights of 4 bits take activations of 9.
        loss = 4 if name.endswith(models.FOUR) else 12 if name.endswith(models.NARROW) else 1
        assert cosine(exact, ours) >= 1 - 0.0005 * loss
        # The unit is right too; values of 4 bits are felt most where there are but two logits.
        off = abs(np.linalg.norm(ours) / np.linalg.norm(exact) - 1)
        assert off < (0.25 if name.endswith(models.NARROW) else 0.03)


def lengths(a) -> list[int]:
    return [1, 2, 3, 5, 8, a.graph.context] if a.whole else [1, 6, 7, 11]


@pytest.mark.parametrize("name", some(ARCHITECTURES, 2, 1))
@pytest.mark.parametrize("weights", ["ram", pytest.param("file", marks=pytest.mark.slow)])
def test_portable_kernels_equal_the_simulator(built, name, weights):
    """Weights in a file are read by the same code as a board's: that is tested there."""
    a = built(name)
    model = Model(str(a.file()), kernels="portable", weights=weights)
    tokens = a.tokens(a.graph.context)
    for n in [1, 6] if weights == "ram" else [3]:
        expected = a.sim().logits(tokens[:n])[-1]
        assert list(model.logits(tokens[:n])) == expected.tolist()
    model.close()


@pytest.mark.parametrize("kernels", ["viper", "portable"])
@pytest.mark.parametrize("name", some(ARCHITECTURES, 3))
def test_unix_equals_the_simulator(built, unix, families, tmp_path, name, kernels):
    if kernels not in families:
        pytest.skip(f"no {kernels} kernels on this port")
    a = built(name)
    tokens = a.tokens(a.graph.context)
    few = kernels == "portable"
    for weights, steps in (
        ("ram", [a.graph.context] if few else lengths(a)), ("file", [1, 6] if few else lengths(a))
    ):  # fmt: skip
        expected = np.array([a.sim().logits(tokens[:n])[-1] for n in steps])
        options = {"kernels": kernels, "weights": weights}
        got = unix_logits(unix, a.file(), tokens, steps, tmp_path / "out", **options)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", some(ARCHITECTURES, 2, 1))
def test_kernels_agree_on_extreme_values(built, unix, native, name):
    a = built(name)
    names = sorted({step.op for step in a.sim().model.steps})
    said = unix(EXTREMES, FILE=str(a.file()), NATIVE=native, POSITIONS=16, SEED=1)
    assert said == f"{names}\n"


@pytest.mark.parametrize("name", ["bert", "minilm"])
def test_a_smaller_context_takes_less_memory(built, name):
    a = built(name)
    model = Model(str(a.file()), context=6, kernels="portable")
    assert len(model._arena) < len(Model(str(a.file()), kernels="portable")._arena) / 2
    tokens = a.tokens(6)
    assert list(model.logits(tokens)) == a.sim().logits(tokens)[-1].tolist()
