"""Keras models of signals: the float graph of windows of numbers computes what Keras does."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kerassignals
from kerassignals import CASES, FOLDER, signal_of
from picoformer import Error, importers
from picoformer.graph.nodes import Graph, Linear, Pool
from test_keras import layer, refused, setting, table
from test_signals import check_same_weights, integers, known, near, read, run
from turns import some

pytest.importorskip("h5py")
EXPECTED = json.loads(kerassignals.EXPECTED.read_text())
PROBABILITIES = "rows", "causal", "pictured"


def place(folder: Path, name: str, edit: Any = None, **described: Any) -> Path:
    """The file of a case with its description beside it; None leaves a field out.

    edit: of its config.json.
    """
    path = folder / "m.keras"
    shutil.copy(FOLDER / f"{name}.keras", path)
    if edit is not None:
        with zipfile.ZipFile(path) as archive:
            content = {n: archive.read(n) for n in archive.namelist()}
        root = json.loads(content["config.json"])
        edit(root)
        content["config.json"] = json.dumps(root).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for n, data in content.items():
                archive.writestr(n, data)
    given = {n: v for n, v in {**CASES[name][1], **described}.items() if v is not None}
    path.with_suffix(".json").write_text(json.dumps(given))
    return path


def result(graph: Graph, name: str, signal: np.ndarray) -> np.ndarray:
    made = run(known(graph), signal)
    return made - made.mean(-1, keepdims=True) if name in PROBABILITIES else made


@pytest.mark.parametrize("name", CASES)
def test_float_graph_equals_keras(tmp_path, name):
    expected = np.array([EXPECTED[name]])
    made = result(read(place(tmp_path, name)), name, signal_of(name))
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() < 1e-4


@pytest.mark.parametrize("name", some(CASES, 4))
def test_integers_are_close(tmp_path, name):
    path, signal = place(tmp_path, name), signal_of(name)
    graph = read(path)
    made = integers(path, graph, signal)
    assert near(graph, made, run(known(graph), signal))


@pytest.mark.parametrize("name", some(CASES, 3, 1))
def test_integers_equal_the_same_weights(tmp_path, name):
    check_same_weights(read(place(tmp_path, name)), [signal_of(name)])


def test_what_is_told_and_found(tmp_path):
    assert [*EXPECTED] == [*CASES]
    graphs = {name: read(place(tmp_path, name)) for name in CASES}
    tasks = {name: g.task for name, g in graphs.items()}
    assert tasks == {
        "rows": "classify", "same": "classify", "valid": "predict", "causal": "classify",
        "windows": "embed", "spectrogram": "classify", "pictured": "classify",
        "number": "predict",
    }  # fmt: skip
    frames = {name: g.frames for name, g in graphs.items()}
    np.testing.assert_allclose(frames["rows"].mean, kerassignals.MEAN)
    np.testing.assert_allclose(frames["rows"].std, kerassignals.STD)
    assert frames["rows"].names == ("p", "a", "s")
    np.testing.assert_allclose(frames["same"].mean, [64] * 4)
    np.testing.assert_allclose(frames["same"].std, [128] * 4)
    # 5 windows of 6 rows, 4 apart, reach over 22: two rows of zeros in front of 18, two behind
    assert (frames["same"].padding, graphs["same"].context) == ((2, 2), 5)
    assert graphs["same"].labels == ["no", "yes"]
    assert (frames["causal"].padding, frames["valid"].padding) == ((2, 0), (0, 0))
    # 2 * (x - [100, -40]) / 50, of x = (number * 0.25 - 5) / 2
    np.testing.assert_allclose(frames["causal"].mean, [820, -300])
    np.testing.assert_allclose(frames["causal"].std, [200, 200])
    assert graphs["valid"].labels == ["x", "y"]
    assert frames["windows"].size == (4, 3)
    assert (frames["spectrogram"].stride, frames["spectrogram"].across) == ((3, 2), 4)
    assert (frames["pictured"].padding, frames["pictured"].channels) == ((1, 1), 8)
    assert frames["number"].mean is None and frames["number"].length == 11
    assert Pool("x", "last") in graphs["causal"].nodes


def test_rows_that_tensorflow_pads_unevenly(tmp_path):
    """Of an odd number of rows of zeros the one more lies behind."""
    path = place(tmp_path, "same", setting("InputLayer", batch_shape=[None, 17, 4]))
    assert read(path).frames.padding == (2, 3)


def test_without_a_deviation_the_unit_is_in_the_linear(tmp_path):
    plain = next(n for n in read(place(tmp_path, "number", input={"length": 11})).nodes
                 if isinstance(n, Linear))  # fmt: skip
    graph = read(place(tmp_path, "number"))
    linear = next(n for n in graph.nodes if isinstance(n, Linear))
    np.testing.assert_allclose(linear.weight, plain.weight * [0.001, 0.25, 2])
    path = place(tmp_path, "number", input={"length": 11, "mean": [1, 2, 3], "unit": 0.5})
    frames = read(path).frames
    np.testing.assert_allclose(frames.mean, [2, 4, 6])
    np.testing.assert_allclose(frames.std, [2, 2, 2])


def last(**fields: Any) -> Any:
    return lambda root: layer(root, "Dense", -1)["config"].update(fields)


def renamed(kind: str, other: str) -> Any:
    return lambda root: layer(root, kind).update(class_name=other)


def constant(kind: str, value: Any) -> Any:
    """An edit of a constant that a layer takes."""

    def edit(root: Any) -> None:
        layer(root, kind)["inbound_nodes"][0]["args"][1] = table(value)

    return edit


@pytest.mark.parametrize(
    "name, edit, described, words",
    [
        ("number", None, {"input": None}, "[None, None, 3] length m.json ROWS"),
        ("number", None, {"input": {"length": 0}}, "input.length 0"),
        ("number", None, {"input": {"length": 11, "channels": 3}}, "unknown 'input.channels'"),
        ("number", None, {"task": None}, "1 outputs, no activation predict m.json"),
        ("number", None, {"task": "embed"}, "task 'embed' classify predict"),
        ("number", None, {"labels": ["a"]}, "labels output.names"),
        ("number", None, {"context": 9}, "context 9 none length"),
        ("number", None, {"output": {"mean": [1, 2]}}, "output.mean [1, 2] 1 numbers"),
        ("number", None, {"output": {"size": 1}}, "output.size layer"),
        ("rows", None, {"output": {"mean": 1}}, "output.mean"),
        ("rows", None, {"task": "predict"}, "softmax no activation"),
        ("rows", None, {"input": {"length": 12}}, "[None, 13, 3] input.length 12"),
        ("rows", None, {"input": {"names": ["a"]}}, "input.names 3 names"),
        ("rows", None, {"input": {"std": 0}}, "input.std 0 3 positive"),
        ("windows", None, {"task": "predict"}, "task 'predict' no Dense"),
        ("rows", setting("InputLayer", batch_shape=[None, 14, 3]), {}, "14 positions, 13"),
        ("rows", setting("InputLayer", batch_shape=[None, 13, 3, 2]), {}, "[None, 13, 3, 2]"),
        ("rows", setting("InputLayer", batch_shape=[None, 13, 5000]), {}, "at most 4096"),
        ("rows", setting("InputLayer", batch_shape=[None, 13, None]), {}, "(length, channels)"),
        ("rows", setting("Normalization", invert=True), {}, "invert True"),
        ("rows", setting("Normalization", axis=[1]), {}, "axis [1]"),
        ("rows", setting("Normalization", mean=[1, 2], variance=[1, 2]), {}, "shape 3 channels"),
        ("rows", setting("Dense", activation="relu"), {}, "'relu' reads the signal"),
        ("rows", renamed("Dense", "LayerNormalization"), {}, "Dense, Conv1D or Conv2D"),
        ("same", setting("Rescaling", scale=-1.0), {}, "factor of -1 positive"),
        ("same", setting("Rescaling", scale=0.0), {}, "factor of 0 positive"),
        ("same", setting("Conv1D", dilation_rate=[2]), {}, "dilation_rate [2]"),
        ("same", setting("Conv1D", data_format="channels_first"), {}, "data_format"),
        ("same", setting("Conv1D", groups=2), {}, "groups 2"),
        ("same", setting("Conv1D", padding="reflect"), {}, "padding 'reflect'"),
        ("same", setting("Conv1D", strides=[0]), {}, "strides [0]"),
        ("same", setting("Conv1D", strides=[19], padding="valid"), {}, "stride of 19 18"),
        ("same", setting("Conv1D", activation="gelu"), {}, "'gelu' reads"),
        ("same", setting("InputLayer", batch_shape=[None, 18, 3]), {}, "(6, 4, 36) (any, 3, any)"),
        ("valid", setting("BatchNormalization", axis=1), {}, "axis 1"),
        ("causal", constant("Subtract", [1.0, 2.0, 3.0]), {}, "(3,) 2 channels"),
        ("causal", constant("TrueDivide", -1.0), {}, "factor of -1"),
        ("windows", setting("Reshape", target_shape=[8, 8]), {}, "[8, 8] (24 / K, 3 * K)"),
        ("spectrogram", setting("ExpandDims", axis=1), {}, "axis 1"),
        ("spectrogram", setting("Reshape", target_shape=[4, 4, 36]), {}, "[4, 4, 36] (-1, 36)"),
        ("spectrogram", setting("Conv2D", padding="same"), {}, "adds channels"),
        ("spectrogram", renamed("Conv2D", "Conv1D"), {}, "Input((length, channels))"),
        ("pictured", renamed("Reshape", "LayerNormalization"), {}, "Reshape((-1, 24))"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(tmp_path, name, edit, described, words):
    refused(place(tmp_path, name, edit, **described), *words.split(" "))


def test_an_input_of_a_model_of_texts(tmp_path):
    import kerasmodels

    path = tmp_path / "m.keras"
    shutil.copy(kerasmodels.FOLDER / "classifier.keras", path)
    path.with_suffix(".json").write_text(json.dumps({"input": {"unit": 2}}))
    refused(path, "input is", "none", "tokens")
    # numbers that a text predicts
    given = {"task": "predict", "output": {"std": 2, "names": ["a", "b", "c"]}}
    path.with_suffix(".json").write_text(json.dumps(given))
    refused(path, "softmax", "no activation")
    shutil.copy(kerasmodels.FOLDER / "nested.keras", path)
    graph, _ = importers.read(path)
    assert (graph.task, graph.labels) == ("predict", ["a", "b", "c"])
    path.with_suffix(".json").unlink()
    before, _ = importers.read(path)
    assert before.task == "classify"
    np.testing.assert_allclose(graph.nodes[-1].weight, 2 * before.nodes[-1].weight)


def test_a_spoiled_file_is_an_error_or_another_model(tmp_path):
    """Whatever config.json says of the layers in front, there is no traceback."""
    rng = random.Random(0)
    odd = [None, -1, 0, 10**12, "x", [], {}, True, 1.5, ["a", 0, 0], float("nan"), [0], [-1, 3]]
    kinds = "InputLayer", "Normalization", "Rescaling", "Conv1D", "Conv2D", "Reshape"
    failed = 0
    for name in "rows", "same", "windows", "pictured":
        with zipfile.ZipFile(FOLDER / f"{name}.keras") as archive:
            root = json.loads(archive.read("config.json"))
        for x in root["config"]["layers"]:
            if x["class_name"] not in kinds:
                continue
            for field in x["config"]:
                for value in rng.sample(odd, 2):
                    edit = setting(x["class_name"], **{field: value})
                    try:
                        read(place(tmp_path, name, edit))
                    except Error as e:
                        assert "\n" not in str(e)
                        failed += 1
    assert failed > 40


# With Keras


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_random_models_equal_keras(tmp_path, monkeypatch, name, seed):
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    model = kerassignals.make(name, seed)
    path = place(tmp_path, name)
    model.save(path)
    signal = signal_of(name, seed)
    expected = kerassignals.run(model, name, signal)
    assert np.abs(result(read(path), name, signal) - expected).max() < 1e-4
