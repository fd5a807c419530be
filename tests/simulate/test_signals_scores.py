"""What eval says of models of signals: numbers that are predicted, labels, results of others."""

from __future__ import annotations

import numpy as np
import pytest

from models import SIGNAL
from picoformer import Error, convert, evaluate, plot
from picoformer.commands.printing import confusion
from picoformer.data.examples import Example, random_examples
from picoformer.graph.float_model import FloatModel
from picoformer.importers import read
from picoformer.simulate import metrics
from picoformer.simulate.expected import compare
from picoformer.simulate.layers import layer_errors
from picoformer.simulate.scores import Scores
from picoformer.simulate.scoring import SCORING
from signalmodels import CASES, signal_of, write


def scored(a, rows: list[Example]) -> Scores:
    scores = Scores(a.graph.task, "made up", len(rows), sum(len(e.tokens) for e in rows))
    SCORING[a.graph.task](scores, a.sim(), a.graph, rows, iter)
    scores.layers = layer_errors(a.sim(), a.graph, rows[:2])
    return scores


def test_measures_of_numbers():
    right = np.array([[0.0, 5], [1, 5], [2, 5]])
    found = right + [[1, 0], [-1, 0], [0, 3]]
    assert metrics.mae(found, right) == 5 / 6
    assert metrics.rmse(found, right) == pytest.approx(np.sqrt(11 / 6))
    # Of the first: errors of 2 over 2; the second is always the same.
    assert metrics.r2(found, right) == 0
    assert metrics.r2(right, right) == 1
    assert metrics.r2(found[:, 1:], right[:, 1:]) is None
    # In deviations of each output, or its size where it does not vary.
    mean, largest = metrics.off(right, right + [[0.1, 1], [0, 0], [0, 0]])
    deviation = np.sqrt(2 / 3)
    assert largest == pytest.approx(1 / 5) and mean == pytest.approx((0.1 / deviation + 0.2) / 6)
    assert metrics.off(np.zeros((2, 1)), np.ones((2, 1))) == (1, 1)


def test_predicted_numbers_against_right_ones(built):
    a = built("forecast")
    rows = random_examples(a.graph, 24, 0, seed=3)
    s = scored(a, rows)
    assert s.mae_int is None and s.r2_float is None and s.outputs is None
    assert 0 < s.off_mean < s.off_max < 0.2 and "kl" not in s.to_dict()
    exact = np.stack([e.run(FloatModel(a.graph))[0] for e in rows])
    ours = np.stack([a.sim().predict(e.signal) for e in rows])
    assert s.off_max == pytest.approx((np.abs(ours - exact) / exact.std(0)).max())
    for e, value in zip(rows, exact, strict=True):
        e.target = value + [1, 0, -3]
    s = scored(a, rows)
    assert s.mae_float == pytest.approx(4 / 3) and s.rmse_float == pytest.approx(np.sqrt(10 / 3))
    assert s.mae_int == pytest.approx(4 / 3, abs=0.05) and s.r2_float < 1
    assert [one["name"] for one in s.outputs] == a.graph.labels
    assert s.outputs[1]["mae_float"] == 0 < s.outputs[1]["mae_int"] < 0.05
    assert s.outputs[1]["r2_float"] == 1 > s.outputs[1]["r2_int"] > 0.9
    assert set(s.outputs[0]) == {"name"} | {
        f"{n}_{k}" for n in ("mae", "rmse", "r2") for k in ("float", "int")
    }
    told = s.to_dict()
    assert "predictions" not in told and told["off_max"] == s.off_max
    # What is known of some of them alone is scored on those.
    for e in rows[:12]:
        e.target = None
    assert [v.shape for v in scored(a, rows).predictions] == [(12, 3)] * 3


def test_labels_of_signals(built):
    a = built("signal")
    rows = random_examples(a.graph, 12, 0, seed=4)
    for e in rows:
        e.wanted = [a.sim().classify(e.signal)[0][0]]
    s = scored(a, rows)
    assert s.accuracy_int == 1 and np.trace(s.confusion_int) == 12 and s.kl < 0.01
    assert s.layers and all(0 <= e.error < 0.1 for e in s.layers)
    rows[0].wanted = ["nothing of the kind"]
    with pytest.raises(Error, match="'nothing of the kind' is not one of the model's"):
        scored(a, rows)


@pytest.mark.parametrize("name", ["forecast", SIGNAL])
def test_results_of_a_framework(built, tmp_path, name):
    a = built(name)
    rows = random_examples(a.graph, 6, 0, seed=5)
    exact = np.stack([e.run(FloatModel(a.graph)) for e in rows])
    path = tmp_path / "out.npy"
    for right in (exact, exact[:, 0]):
        np.save(path, right.astype(np.float32))
        s = Scores(a.graph.task, "", 6, 0)
        compare(s, a.sim(), a.graph, rows, path, iter)
        assert s.expect_cosine_float > 1 - 1e-9 and 0.99 < s.expect_cosine_int < 1
        assert s.expect_off_float < 1e-5 < s.expect_off_int
        assert s.expect_top1_float == (None if name == "forecast" else 1)
    # Numbers that add up to 1 are no probabilities where numbers are predicted.
    if name == "forecast":
        path.write_bytes(b"")
        part = np.abs(exact[:, 0]) / np.abs(exact[:, 0]).sum(-1, keepdims=True)
        np.save(path, part)
        compare(s, a.sim(), a.graph, rows, path, iter)
        assert s.expect_off_float == np.abs(part - exact[:, 0]).max()
        # A mean that all have is nothing in common.
        np.save(path, 1000 + np.random.default_rng(0).normal(0, 1, part.shape))
        compare(s, a.sim(), a.graph, rows, path, iter)
        assert s.expect_cosine_float < 0.9
    np.save(path, exact[:3])
    with pytest.raises(Error, match=r"has shape \(3, 1, \d\), the model gives \(6, 1, \d\)"):
        compare(s, a.sim(), a.graph, rows, path, iter)


def test_the_pictures(tmp_path):
    pytest.importorskip("matplotlib", reason="the Python package matplotlib is missing")
    rng = np.random.default_rng(1)
    for count, outputs, known in ((40, 1, True), (9, 24, True), (5, 3, False), (1, 24, True)):
        floats = rng.normal(0, 1, (count, outputs))
        s = Scores("predict", "", count, 0, mae_float=1.0, mae_int=1.0, off_mean=0.1)
        if not known:
            s.mae_float = None
        s.predictions = floats + 0.1 if known else None, floats, floats - 0.01
        plot(s, tmp_path / "a.png")
        assert (tmp_path / "a.png").stat().st_size > 20000


def test_a_confusion_matrix_in_letters():
    said = confusion(["run", "sit down"], [[12, 0], [3, 100]]).splitlines()
    assert said == [
        "integers; a row for each true label, a column for each predicted one",
        "            run  sit down",
        "  run        12         0",
        "  sit down    3       100",
    ]
    # Long names are columns of numbers, and of very many labels there are the mistakes alone.
    long = [f"{i} is a label with a long name" for i in range(12)]
    said = confusion(long, np.eye(12, dtype=int).tolist()).splitlines()
    assert said[1].split() == [str(i) for i in range(12)]
    assert said[4].startswith("  2 2 is a label") and max(map(len, said)) < 100
    many = [str(i) for i in range(13)]
    counts = 9 * np.eye(13, dtype=int)
    assert confusion(many, counts.tolist()) == "integers: no mistake"
    counts[3, 4], counts[5, 1] = 2, 7
    assert [line.split() for line in confusion(many, counts.tolist()).splitlines()[1:]] == [
        ["5", "taken", "for", "1", "7"], ["3", "taken", "for", "4", "2"],
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["conv1d", "windows", "unscaled"])
def test_checkpoints_of_pytorch(tmp_path, name):
    """Predicted numbers; the last position's labels; channels that data tell the sizes of."""
    source = write(tmp_path, CASES[name])
    signals = np.stack([signal_of(name, seed=i) for i in range(12)])
    np.savez(tmp_path / "d.npz", X=signals)
    convert(source, tmp_path / "m.pft", data=tmp_path / "d.npz")
    for data in (None, tmp_path / "d.npz"):
        s = evaluate(tmp_path / "m.pft", source, data=data)
        assert s.sequences == (12 if data else 64)
        assert (s.kl is None or s.kl < 1e-3) and (s.off_max is None or s.off_max < 0.2)
        assert s.layers and all(e.error < 0.05 for e in s.layers), s.layers
    graph, _ = read(source)
    if graph.frames.mean is None:
        with pytest.raises(Error, match="--data FILE"):
            convert(source, tmp_path / "n.pft")
