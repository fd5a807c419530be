"""Rounding to 4 bits: what it gains, what it keeps to, and the model files that come of it."""

from __future__ import annotations

import numpy as np
import pytest

import models
from models import STORIES, STORIES260K
from picoformer import Error, convert, evaluate
from picoformer.compile import calibration
from picoformer.compile.calibration import Input, inputs
from picoformer.compile.choosing import losses
from picoformer.compile.matrices import ROW_MAX, unpack4
from picoformer.compile.modelfile import load
from picoformer.compile.quantize import dequantized, stacked
from picoformer.compile.round_matrix import nearest, round_matrix
from picoformer.compile.rounding import round_graph, roundable
from picoformer.data.examples import Example
from picoformer.graph.float_model import FloatModel, log_softmax
from picoformer.graph.nodes import Embedding, Linear
from turns import some


def problem(rows: int, cols: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A matrix, and moments of inputs that depend on one another."""
    rng = np.random.default_rng([rows, cols, seed])
    weight = rng.normal(0, 0.1, (rows, cols)) * np.exp(rng.normal(0, 0.5, (rows, 1)))
    few = max(cols // 3, 1)
    x = rng.normal(0, 1, (4 * cols, few)) @ rng.normal(0, 1, (few, cols))
    x += rng.normal(0, 0.3, x.shape)
    return weight, x.T @ x


def cost(weight: np.ndarray, moments: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    d = rounded - weight
    return ((d @ moments) * d).sum(1)


@pytest.mark.parametrize("rows, cols, span", [(8, 64, 16), (20, 52, 16), (9, 100, 32), (5, 7, 64)])
def test_rounding_for_inputs_gains(rows, cols, span):
    weight, moments = problem(rows, cols)
    plain, ours = nearest(weight, span), round_matrix(weight, moments, span)
    for m in (plain, ours):
        assert m.q.min() >= -8 and m.q.max() <= 7
        assert m.scale.min() >= 1 and m.scale.max() <= 15
        assert m.scale.shape == (rows, (cols + span - 1) // span)
        assert (m.unit > 0).all()
        # No weight is off by more than a step and what was clipped.
        assert abs(m.value - weight).max() < abs(weight).max()
    before, after = (cost(weight, moments, m.value).sum() for m in (plain, ours))
    assert after < 0.5 * before


def test_no_single_change_gains_more():
    """At the end neither a weight nor a scale can be changed with profit, all else as it is."""
    weight, moments = problem(6, 40)
    m = round_matrix(weight, moments, 16)
    best = cost(weight, moments, m.value)
    for c in range(40):
        for by in (-1, 1):
            q = m.q.copy()
            q[:, c] = np.clip(q[:, c] + by, -8, 7)
            value = q * np.repeat(m.scale, 16, 1)[:, :40] * m.unit[:, None]
            assert (cost(weight, moments, value) >= best - 1e-9 * best.max()).all()


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30])
def test_weights_without_a_size(value):
    """Rows of zeros, and rows that are far smaller or larger than others."""
    weight, moments = problem(4, 20)
    weight[1] *= value
    m = round_matrix(weight, moments, 16)
    assert np.isfinite(m.value).all()
    if value == 0:
        assert not m.value[1].any()
    matrix = stacked([m])
    assert matrix.mantissa.min() > 0 and matrix.mantissa.max() <= ROW_MAX


@pytest.mark.parametrize("rows, cols, span", [(8, 16, 16), (13, 52, 16), (1, 1, 64), (17, 99, 48)])
def test_words_and_back(rows, cols, span):
    rng = np.random.default_rng(cols)
    m = stacked([
        nearest(rng.normal(0, 1, (rows, cols)), span), nearest(rng.normal(0, 2, (3, cols)), span)
    ])  # fmt: skip
    words = m.words()
    assert words.shape == ((rows + 3 + 7) // 8, cols + (cols + span - 1) // span + 4)
    again = unpack4(words, rows + 3, cols, span)
    for name in ("q", "scale", "mantissa"):
        np.testing.assert_array_equal(getattr(again, name), getattr(m, name))
    np.testing.assert_array_equal(m.rows(2, 5).value, m.value[2:5])


@pytest.mark.parametrize("kind", some([models.GPT2, models.BERT, models.MINILM, models.BART,
                                       models.VIT, models.ASKED], 4, 1))  # fmt: skip
def test_every_architecture_is_rounded(kind):
    """What comes out is closer to the float model than with each weight rounded on its own."""
    graph = models.architecture(kind, 32, 48, 1, 4, 97, 16, labels=9)
    given = inputs(graph, None)
    found = roundable(graph)
    small = {id(n.weight) for n in graph.encoder + graph.nodes
             if isinstance(n, Embedding | Linear) and len(n.weight) < 8}  # fmt: skip
    assert len(small) == (2 if kind == models.ASKED else 0)  # its types and its span
    ours = round_graph(graph, given, 16)
    assert ours.keys() == found.keys() and not small & ours.keys()
    plain = {key: nearest(w, 16) for key, w in found.items()}

    def result(rounded) -> np.ndarray:
        model = FloatModel(graph)
        model.weights.update({key: r.value for key, r in rounded.items()})
        return model.forward(given[0].tokens, given[0].types, given[0].source)

    exact = result({})
    errors = [np.linalg.norm(result(r) - exact) for r in (ours, plain)]
    assert errors[0] < 0.8 * errors[1]
    lost = losses(graph, given, 16)
    assert lost.keys() == found.keys() and min(lost.values()) > 0
    kept = set(list(found)[:2])
    assert round_graph(graph, given[:1], 32, kept).keys() == found.keys() - kept


def test_inputs_of_several_lengths():
    graph = models.architecture(models.GPT2, 20, 37, 1, 5, 101, 24)
    rows = [Example(np.arange(n)) for n in (5, 9, 5, 24)]
    assert [g.tokens.shape for g in inputs(graph, rows)] == [(2, 5), (1, 9), (1, 24)]
    many = [Example(np.arange(24))] * 1000
    assert sum(g.tokens.size for g in inputs(graph, many)) <= 16 * 24


@pytest.fixture
def few(monkeypatch):
    """Less text to be rounded on: quicker, not so good."""
    monkeypatch.setattr(calibration, "SAMPLES", (4, 64))


@pytest.mark.slow
def test_a_limit_of_bytes(few, tmp_path):
    """More bytes, more matrices of 8 bits."""
    shape = models.Shape(48, 96, 2, 4, 2, 97, 32, size=12)
    source = models.write_hf(tmp_path / "hf", models.random_checkpoint(shape))
    least = convert(source, tmp_path / "m.pft", weight_bits=4).bytes
    found = []
    for n in (None, least + 8_000):
        path = tmp_path / "m.pft"
        report = convert(source, path, weight_bits=4, max_bytes=n)
        assert report.bytes == path.stat().st_size <= (n or 1 << 20)
        if n:
            assert report.bytes > n - 3000, "room that is not used"
        ops = [s.op for s in load(path).steps]
        assert ("linear" in ops) == (8 in report.bits.values()) == (n is not None)
        found.append(sum(b == 8 for b in report.bits.values()))
    assert found[0] == 0 < found[1]
    with pytest.raises(Error, match=r"has \d\d,\d{3} bytes, more than 10,000"):
        convert(source, tmp_path / "m.pft", weight_bits=4, max_bytes=10_000)


@pytest.mark.slow
def test_our_model_with_4_bits(few, tmp_path):
    report = convert(STORIES, tmp_path / "m.pft", weight_bits=4, context=64)
    assert set(report.bits.values()) == {4}
    scores = evaluate(tmp_path / "m.pft", STORIES)
    assert 0 < scores.kl < 0.3
    assert "int4 per 16 columns, activations int9" in load(tmp_path / "m.pft").meta["quantization"]


@pytest.mark.slow
@pytest.mark.parametrize("limit, kl", [(165_000, 0.055), (190_000, 0.035)])
def test_the_real_checkpoint_with_4_bits(tmp_path, limit, kl):
    data = STORIES260K / "self_sampled.npy"
    source = STORIES260K / "stories260K.bin"
    if not source.is_file():
        pytest.skip(f"no {source}")
    path = tmp_path / "m.pft"
    report = convert(source, path, weight_bits=4, max_bytes=limit)
    assert report.bytes <= limit
    assert evaluate(path, source, data=data).kl <= kl


def test_the_head_is_rounded_for_what_it_reads():
    """Of an embedding that is the head as well, the head decides."""
    graph = models.architecture(models.GPT2, 24, 40, 1, 2, 97, 24)
    given = [Input(np.random.default_rng(2).integers(0, 97, (8, 24)))]
    table = next(n.weight for n in graph.nodes if isinstance(n, Embedding))
    keep = roundable(graph).keys() - {id(table)}
    ours = round_graph(graph, given, 16, keep)
    exact = log_softmax(FloatModel(graph).forward(given[0].tokens))
    errors = []
    for r in (ours[id(table)], nearest(table, 16)):
        model = FloatModel(dequantized_head(graph, r.value))
        errors.append(np.square(log_softmax(model.forward(given[0].tokens)) - exact).mean())
    assert errors[0] < errors[1]


def dequantized_head(graph, value):
    """The graph with another head, and the embedding as it was."""
    values = {n.out: value if n.out == "logits" else n.weight for n in graph.nodes
              if isinstance(n, Linear)}  # fmt: skip
    for n in graph.nodes:
        if isinstance(n, Embedding):
            values[n.out if n.by == "token" else f"{n.out}:{n.by}"] = n.weight
    return dequantized(graph, values)
