"""`eval --expect`: results that a framework gave."""

from __future__ import annotations

import json

import numpy as np
import pytest

import architectures
import plain
from architectures import CASES, SPECIAL
from picoformer import Error, convert, evaluate
from picoformer.commands.main import main
from picoformer.simulate.expected import ALIKE


@pytest.fixture
def writer(tmp_path):
    """(checkpoint, model, tokens, PyTorch's logits) of a language model."""
    path = plain.write(tmp_path, plain.CASES["lm"])
    convert(path, tmp_path / "m.pft")
    return path, tmp_path / "m.pft"


def saved(tmp_path, ids, results):
    np.save(tmp_path / "ids.npy", np.array(ids))
    np.save(tmp_path / "out.npy", np.asarray(results, np.float32))
    return {"data": tmp_path / "ids.npy", "expect": tmp_path / "out.npy"}


def results(path, ids):
    from picoformer import importers
    from picoformer.graph.float_model import FloatModel

    return FloatModel(importers.read(path)[0]).forward(np.array(ids))


def test_the_right_description_and_a_wrong_one(writer, tmp_path, capsys):
    path, model = writer
    ids = [[3, 1, 4, 1, 5, 9], [2, 7, 1, 8, 2, 8]]
    given = saved(tmp_path, ids, results(path, ids))
    s = evaluate(model, path, **given)
    assert s.expect_cosine_float > 1 - 1e-6 and s.expect_cosine_int > ALIKE
    assert s.expect_off_float < 1e-4 < s.expect_off_int < 0.5
    assert s.expect_top1_float == 1 and s.expect_top1_int > 0.5
    asked = ["eval", str(model), "--reference", str(path), "--data", str(given["data"])]
    asked += ["--expect", str(given["expect"])]
    assert main(asked) == 0
    assert "is what describes it right?" not in (said := capsys.readouterr().out)
    assert "expect_cosine_int" in said

    beside = path.with_suffix(".json")
    beside.write_text(json.dumps({**json.loads(beside.read_text()), "nhead": 2}))
    convert(path, model)
    s = evaluate(model, path, **given)
    assert s.expect_cosine_float < ALIKE and s.expect_off_float > 0.01
    assert main(asked) == 0
    assert "is what describes it right?" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["bert-classes", "bert-mean"])
def test_of_one_result_each(tmp_path, name):
    """What transformers gave, which the tests keep."""
    folder = architectures.write(tmp_path / "m", CASES[name])
    architectures.write_vocabulary(folder, CASES[name])
    convert(folder, tmp_path / "m.pft")
    kept = json.loads(architectures.EXPECTED.read_text())[name]
    expected = np.array(kept["result"])
    for shape in (-1,), (1, -1), (1, 1, -1):
        given = saved(tmp_path, [kept["tokens"]], 3 * expected.reshape(shape))
        s = evaluate(tmp_path / "m.pft", folder, **given)
        assert s.expect_cosine_float > 1 - 1e-6
        if s.task == "embed":  # whose length says nothing
            assert s.expect_top1_float is None and s.expect_off_float < 1e-5
        else:
            assert s.expect_top1_float == s.expect_top1_int == 1


def test_of_probabilities(writer, tmp_path):
    """What a softmax ends."""
    path, model = writer
    ids = [[3, 1, 4, 1, 5, 9]]
    right = np.exp(results(path, ids))
    s = evaluate(model, path, **saved(tmp_path, ids, right / right.sum(-1, keepdims=True)))
    assert s.expect_cosine_float > 1 - 1e-6 and s.expect_top1_float == 1
    assert s.expect_off_float < 1e-3 and s.expect_cosine_int > ALIKE


def test_of_answers(tmp_path):
    name = next(n for n in SPECIAL if "answer" in n or "Question" in SPECIAL[n].kind)
    folder = architectures.write(tmp_path / "m", SPECIAL[name])
    architectures.write_vocabulary(folder, SPECIAL[name])
    convert(folder, tmp_path / "m.pft")
    ids = [[3, 1, 4, 1, 5, 9]]
    s = evaluate(tmp_path / "m.pft", folder, **saved(tmp_path, ids, results(folder, ids)))
    assert s.expect_cosine_float > 1 - 1e-6 and s.expect_top1_float == 1


@pytest.mark.parametrize(
    "results, words",
    [
        (np.zeros((1, 5, 97), np.float32), r"shape \(1, 5, 97\), the model gives \(1, 6, 97\)"),
        (np.zeros((6, 96), np.float32), r"shape \(6, 96\)"),
        (np.zeros((6, 97), np.int32), "int32, expected one array of floats"),
        (np.full((6, 97), np.nan, np.float32), "NaN"),
    ],
)
def test_results_that_do_not_fit(writer, tmp_path, results, words):
    path, model = writer
    np.save(tmp_path / "ids.npy", np.array([[3, 1, 4, 1, 5, 9]]))
    np.save(tmp_path / "out.npy", results)
    with pytest.raises(Error, match=words):
        evaluate(model, path, data=tmp_path / "ids.npy", expect=tmp_path / "out.npy")


def test_files_that_do_not_fit(writer, tmp_path):
    path, model = writer
    with pytest.raises(Error, match="--data"):
        evaluate(model, path, expect=tmp_path / "out.npy")
    (tmp_path / "ids.npy").write_bytes(b"x")
    with pytest.raises(Error, match="cannot read"):
        evaluate(model, path, data=tmp_path / "ids.npy", expect=tmp_path / "out.npy")
    np.save(tmp_path / "ids.npy", np.array([[3, 1]]))
    with pytest.raises(Error, match="cannot read"):
        evaluate(model, path, data=tmp_path / "ids.npy", expect=tmp_path / "out.npy")
    np.savez(tmp_path / "out.npz", a=np.zeros(2))
    with pytest.raises(Error, match="several arrays"):
        evaluate(model, path, data=tmp_path / "ids.npy", expect=tmp_path / "out.npz")


def test_rows_of_ids_may_be_shorter_than_others(writer, tmp_path):
    """-1 fills them, and counts for nothing."""
    path, model = writer
    np.save(tmp_path / "ids.npy", np.array([[3, 1, 4, 1], [3, 1, -1, -1]]))
    assert evaluate(model, path, data=tmp_path / "ids.npy").tokens == 6
    for row in ([3, -1, 4, 1], [-1, -1, -1, -1], [-2, 1, 1, 1]):
        np.save(tmp_path / "ids.npy", np.array([[3, 1, 4, 1], row]))
        words = "from -2" if -2 in row else "row 2: -1 may only follow a row's ids"
        with pytest.raises(Error, match=words):
            evaluate(model, path, data=tmp_path / "ids.npy")
