"""Models of signals: the float graph of windows of numbers computes what the framework does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import architectures
import models
import plain
import signalmodels
from closeness import cosine
from picoformer import Error, Simulator, convert, evaluate, importers
from picoformer.compile import modelfile
from picoformer.compile.calibration import calibrate
from picoformer.compile.channels import scaled
from picoformer.compile.compiler import compile_graph
from picoformer.compile.convert import compiled_bytes
from picoformer.compile.quantize import dequantized
from picoformer.data.examples import Example
from picoformer.data.pictures import cut
from picoformer.graph.float_model import FloatModel
from picoformer.graph.nodes import Embedding, Graph, Linear, Patches
from picoformer.tokenizers.vocabulary import Vocabulary
from signalmodels import CASES, signal_of, write
from test_architectures import read as architecture
from test_pytorch import change, describe, refused
from turns import some

EXPECTED = json.loads(signalmodels.EXPECTED.read_text())


def read(path: Path) -> Graph:
    graph, vocabulary = importers.read(path)
    assert graph.frames and vocabulary.pieces == [b""]
    assert (graph.vocab, graph.context) == (1, graph.frames.positions(graph.frames.length))
    return graph


def known(graph: Graph) -> Graph:
    """With numbers that are read as they are, where nothing tells mean and deviation."""
    assert graph.frames
    if graph.frames.mean is None:
        n = graph.frames.channels
        graph.frames = replace(graph.frames, mean=np.zeros(n), std=np.ones(n))
    return graph


def run(graph: Graph, signal: np.ndarray) -> np.ndarray:
    """The result (1, outputs) of whole numbers (rows, channels)."""
    assert graph.frames
    windows = graph.frames.windows(graph.frames.signal(signal))
    return FloatModel(graph).forward(windows[None])[0]


# PyTorch


def test_expected_results_are_of_these_models():
    assert list(EXPECTED) == list(CASES)
    for name, entries in EXPECTED.items():
        assert [e["rows"] for e in entries] == signalmodels.lengths(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_float_graph_equals_pytorch(tmp_path, name):
    graph = known(read(write(tmp_path, CASES[name])))
    for entry in EXPECTED[name]:
        result = run(graph, signal_of(name, entry["rows"]))
        assert result.shape == (1, len(entry["result"]))
        assert np.abs(result - entry["result"]).max() < 1e-4
    assert graph.context == CASES[name].context
    assert graph.task == CASES[name].given["task"]


def integers(path: Path, graph: Graph, signal: np.ndarray) -> np.ndarray:
    """What the integers of a converted model make of a signal, (1, outputs)."""
    data = None
    if graph.frames.mean is None:
        data = path.with_name("signals.npy")
        np.save(data, signal[None])
    convert(path, path.with_suffix(".pft"), data=data)
    sim = Simulator(path.with_suffix(".pft"))
    if graph.task == "classify":
        found = dict(sim.classify(signal))
        return np.array([[found[label] for label in sim.labels]]) * sim.logit_scale
    made = sim.embed(signal) if graph.task == "embed" else sim.predict(signal)
    return np.asarray(made, np.float64)[None]


def compiled(graph: Graph, signals: list[np.ndarray]) -> tuple[bytes, Simulator, Graph]:
    """A model file, its simulator, and the float graph with the same weights as its integers."""
    assert graph.frames
    if graph.frames.mean is None:
        graph = scaled(graph, signals)
    graph.check()
    rows = [Example(graph.frames.windows(s), signal=s) for s in signals]
    made = compile_graph(graph, calibrate(graph, rows))
    data = compiled_bytes(graph, Vocabulary([b""]), made)
    return data, Simulator(modelfile.parse(data)), dequantized(graph, made.dequantized)


def check_same_weights(graph: Graph, signals: list[np.ndarray]) -> None:
    """Integers are those of floating point with the same weights."""
    signals = [graph.frames.signal(s) for s in signals]
    _, sim, same = compiled(graph, signals)
    exact = np.concatenate([run(same, s)[0] for s in signals])
    ours = np.concatenate([sim._read(s, graph.task) for s in signals])
    assert cosine(exact, ours * 1.0) >= 0.9995


def near(graph: Graph, made: np.ndarray, exact: np.ndarray) -> bool:
    """Whether a result of integers is that of the float graph."""
    if graph.task == "classify":  # in which only differences count
        made, exact = (v - v.mean() for v in (made, exact))
    if exact.size == 1:
        return abs((made - exact).item()) < 0.05
    return cosine(made, exact) > 0.999


@pytest.mark.parametrize("name", some(CASES, 6))
def test_integers_are_close(tmp_path, name):
    path, signal = write(tmp_path, CASES[name]), signal_of(name)
    graph = read(path)
    made = integers(path, graph, signal)
    assert near(graph, made, run(known(graph), signal))


@pytest.mark.parametrize("name", some(CASES, 4))
def test_integers_equal_the_same_weights(tmp_path, name):
    graph = read(write(tmp_path, CASES[name]))
    lengths = signalmodels.lengths(CASES[name])
    check_same_weights(graph, [signal_of(name, n, seed) for n in lengths for seed in (0, 1)])


def test_what_is_told_and_found(tmp_path):
    graphs = {name: read(write(tmp_path / name, CASES[name])) for name in CASES}
    rows, conv = graphs["rows"], graphs["conv1d"]
    assert rows.labels == ["walk", "run", "rest"]
    assert rows.frames.names == ("p", "a", "s") and rows.frames.unit is None
    np.testing.assert_array_equal(rows.frames.mean, signalmodels.MEAN)
    np.testing.assert_array_equal(rows.frames.std, signalmodels.STD)
    assert (conv.task, conv.labels, conv.frames.tokens) == ("predict", ["x", "y", "z"], 1)
    assert (conv.frames.size, conv.frames.padding) == ((5, 5), (2, 2))
    assert (conv.frames.least, conv.context) == (1, 9)
    np.testing.assert_array_equal(conv.frames.mean, [100] * 5)
    same = graphs["conv1d-same"]
    assert same.frames.padding == (1, 2)
    assert not any(isinstance(n, Embedding) for n in same.nodes)
    assert graphs["windows"].labels == ["no", "yes"]
    assert [type(n) for n in rows.nodes[:3]] == [Patches, Linear, Embedding]
    units = graphs["units"]
    np.testing.assert_allclose(units.frames.mean, [20000, -12, 5])
    np.testing.assert_allclose(units.frames.std, [7000, 20, 112.5])
    assert units.labels == [] and units.meta["architecture"] == "transformer"
    # of real values, which the linear makes of whole numbers
    unscaled = graphs["unscaled"].frames
    assert unscaled.mean is unscaled.std is None
    np.testing.assert_array_equal(unscaled.unit, [0.01, 0.02])


def test_units_that_differ_within_one_weight(tmp_path):
    """Narrow windows share their weight: mean and deviation make real values of the numbers."""
    c, tensors = CASES["patches"], signalmodels.tensors_of(CASES["patches"])
    unit = [0.5, 0.25, 1, 2, 0.125, 1]
    fields = {"length": 12, "channels": 6, "window": [4, 2], "unit": unit}
    path = describe(write(tmp_path / "a", c), input=fields)
    frames = read(path).frames
    np.testing.assert_array_equal(frames.mean, np.zeros(6))
    np.testing.assert_array_equal(frames.std, 1 / np.array(unit))
    path = describe(path, input={**fields, "unit": 0.5})
    graph = read(path)
    assert graph.frames.mean is None
    linear = next(n for n in graph.nodes if isinstance(n, Linear))
    np.testing.assert_allclose(linear.weight, tensors["project.weight"] * 0.5)


def test_positions_of_the_windows_alone(tmp_path):
    """A class token that goes in front behind the positions has none."""
    path = write(tmp_path, CASES["keywords"])
    table = signalmodels.tensors_of(CASES["keywords"])["pos_embedding"]
    table[:, 0] = 0
    whole = read(change(path, lambda t: t.update(pos_embedding=table)))
    graph = read(change(path, lambda t: t.update(pos_embedding=table[:, 1:].copy())))
    signal = signal_of("keywords")
    np.testing.assert_allclose(run(graph, signal), run(whole, signal))


def test_names_that_do_not_tell(tmp_path):
    """A linear in the head that would fit as well: the description names which is which."""
    path = write(tmp_path, CASES["rows"])
    before = run(read(path), signal_of("rows"))

    def rename(tensors: dict[str, np.ndarray]) -> None:
        for end in ".weight", ".bias":
            tensors["a" + end] = tensors.pop("project" + end)
            tensors["b" + end] = np.zeros((36, 36) if end == ".weight" else 36, np.float32)

    change(path, rename)
    refused(path, "a, b", "could be the input", '"modules": {"input": NAME}')
    describe(path, modules={"input": "a"}, unused=["b"])
    np.testing.assert_array_equal(run(read(path), signal_of("rows")), before)


def test_predictions_of_texts(tmp_path):
    """A regression over tokens: the mean of the positions, and the numbers' own mean."""
    c = plain.CASES["binary"]
    path = plain.write(tmp_path, c)
    graph, _ = importers.read(path)
    refused(describe(path, labels=None), '"task": "predict"', "model.json", "'labels'")
    given = {"task": "predict", "output": {"mean": [20], "std": 4, "names": ["degrees"]}}
    made, _ = importers.read(describe(path, **given))
    assert (made.task, made.labels, made.result) == ("predict", ["degrees"], "logits")
    tokens = np.array([[3, 1, 4, 1, 5]])
    difference = FloatModel(graph).forward(tokens)[0, 0, 1]
    predicted = FloatModel(made).forward(tokens)[0, 0]
    np.testing.assert_allclose(predicted, 20 + 4 * difference, atol=1e-5)


def test_predicted_numbers_are_scored(tmp_path):
    """Of texts, with the numbers in front; of images, with arrays of them."""
    path = plain.write(tmp_path / "a", plain.CASES["classes"])
    describe(path, task="predict", labels=None, output={"names": ["x", "y", "z"]})
    vocabulary = tmp_path / "tokenizer.json"
    vocabulary.write_text(json.dumps(models.tokenizer_json(plain.VOCAB)))
    out, file = tmp_path / "m.pft", tmp_path / "numbers.tsv"
    file.write_text("1 -2 0.5\tthe tea\n3 4 5\tin the rain\n")
    convert(path, out, tokenizer=vocabulary, data=file)
    scores = evaluate(out, path, data=file, tokenizer=vocabulary)
    assert [o["name"] for o in scores.outputs] == ["x", "y", "z"] and scores.mae_float > 1
    for line in "1 2\tthe tea", "1 2 x\tthe tea", "1 2 nan\tthe tea":
        file.write_text(line)
        with pytest.raises(Error, match=r"line 1: .*expected 3 numbers"):
            evaluate(out, path, data=file, tokenizer=vocabulary)
    path = describe(plain.write(tmp_path / "b", plain.CASES["image"]), task="predict")
    convert(path, out)
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 12, 2)).astype(np.uint8)
    np.savez(tmp_path / "i.npz", images=images, labels=np.ones((3, 7)))
    assert len(evaluate(out, path, data=tmp_path / "i.npz").outputs) == 7
    np.savez(tmp_path / "i.npz", images=images, labels=np.ones((2, 7)))
    with pytest.raises(Error, match=r"\(2, 7\) labels of 3 images"):
        evaluate(out, path, data=tmp_path / "i.npz")


def test_predictions_of_images(tmp_path):
    path = plain.write(tmp_path, plain.CASES["image"])
    graph, _ = importers.read(path)
    made, _ = importers.read(describe(path, task="predict", output={"std": 2}))
    assert made.task == "predict" and made.labels == [] and made.image == graph.image
    np.testing.assert_allclose(made.nodes[-1].weight, 2 * graph.nodes[-1].weight)


# Hugging Face

FURTHER = json.loads(architectures.FURTHER_EXPECTED.read_text())


def patches(image: np.ndarray, down: int, across: int) -> np.ndarray:
    """Of pixels (height, width, channels), less 128, by channel, row and column; a token's."""
    height, width, _ = image.shape
    rows = [
        (image[y : y + down, x : x + across] - 128).transpose(2, 0, 1).ravel()
        for y in range(0, height, down)
        for x in range(0, width, across)
    ]
    return np.stack([np.zeros_like(rows[0]), *rows])


def further(folder: Path, name: str, tokens: list[int]) -> np.ndarray:
    graph = architecture(folder)
    given = np.array(tokens)
    if graph.image:
        image = architectures.inputs(architectures.FURTHER[name], tokens)["image"]
        *_, down, extra, across = graph.image if len(graph.image) == 6 else (*graph.image, 3)
        assert extra == 1
        given = patches(image, down, across)
    return FloatModel(graph).forward(given[None])[0]


@pytest.mark.parametrize("name", FURTHER)
def test_float_graph_equals_transformers(tmp_path, name):
    entry = FURTHER[name]
    assert entry["tokens"] == architectures.tokens_of(name)
    folder = architectures.write(tmp_path, architectures.FURTHER[name])
    result = further(folder, name, entry["tokens"])
    assert result.shape == np.shape(entry["result"])
    assert np.abs(result - entry["result"]).max() < 1e-4


@pytest.mark.parametrize("name", FURTHER)
def test_integers_of_patches_and_numbers_are_close(tmp_path, name):
    a, tokens = architectures.FURTHER[name], FURTHER[name]["tokens"]
    folder, path = architectures.write(tmp_path / "m", a), tmp_path / "m.pft"
    (folder / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(architectures.VOCAB)))
    convert(folder, path)
    graph, sim = architecture(folder), Simulator(path)
    if graph.image:
        image = architectures.inputs(a, tokens)["image"]
        made = sim.machine.example(Example(cut(image, graph.image), pixels=image))
    else:
        made = sim.machine.example(Example(np.array(tokens)))
    exact = further(folder, name, tokens)
    assert near(graph, made.astype(np.float64) * sim.logit_scale, exact)


def test_what_is_told_of_patches_and_numbers(tmp_path):
    graphs = {
        name: architecture(architectures.write(tmp_path / name, a))
        for name, a in architectures.FURTHER.items()
    }
    assert [*FURTHER] == [*graphs]
    wide, number = graphs["vit-spectrogram"], graphs["vit-number"]
    assert (wide.image, wide.context) == ((12, 15, 1, 4, 1, 3), 16)
    assert graphs["vit-rows"].image == (10, 6, 3, 2, 1, 6)
    assert (wide.task, wide.labels) == ("classify", ["sun", "snow", "rain"])
    assert number.image == (12, 12, 2, 3, 1)
    assert (number.task, number.labels, number.several) == ("predict", ["angle"], False)
    numbers = graphs["bert-numbers"]
    assert (numbers.task, numbers.labels) == ("predict", ["high", "low", "wet"])
    assert graphs["distilbert-numbers"].labels == []  # names that say nothing


def test_rectangular_patches_of_pytorch(tmp_path):
    """A linear's and a convolution's, which have one weight in different orders."""
    c = plain.CASES["image"]
    weight = architectures.weight("projection", (52, 2, 3, 4))
    path = plain.write(tmp_path, c)
    fields = {**plain.IMAGE, "patch": [3, 4]}

    def put(tensors: dict[str, np.ndarray]) -> None:
        tensors["projection.weight"] = weight
        tensors["positions"] = tensors["positions"][:, :10].copy()

    graph, _ = importers.read(describe(change(path, put), image=fields))
    assert graph.image == (9, 12, 2, 3, 1, 4) and graph.context == 10
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 2))
    expected = FloatModel(graph).forward(patches(image, 3, 4)[None])
    line = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(52, -1)
    change(path, lambda t: t.update({"projection.weight": line}))
    graph, _ = importers.read(describe(path, image={**fields, "order": "hwc"}))
    np.testing.assert_allclose(FloatModel(graph).forward(patches(image, 3, 4)[None]), expected)
    refused(describe(path, image={**fields, "patch": [3, 5]}), "3 x 5", "9 x 12")
    refused(describe(path, image={**fields, "patch": [3, 4, 1]}), "image.patch is [3, 4, 1]")


# What is refused


def case(name: str, **changed: Any) -> dict[str, Any]:
    """The field "input" of a case, in which some are others; None leaves one out."""
    fields = {**CASES[name].input, **changed}
    return {"input": {n: v for n, v in fields.items() if v is not None}}


@pytest.mark.parametrize(
    "name, fields, words",
    [
        ("rows", case("rows", length=None), "input.length missing rows"),
        ("rows", case("rows", channels=None), "input.channels missing"),
        ("rows", case("rows", length=0), "input.length 0 32768"),
        ("rows", case("rows", length=1 << 16), "input.length 65536 32768"),
        ("rows", case("rows", channels=5000), "input.channels 5000 4096"),
        ("rows", case("rows", channels=2, mean=0, std=1, names=None),
         "rows of 2 numbers project (36, 3) nn.Conv1d(2, 36"),
        ("rows", case("rows", width=3), "unknown 'input.width' channels"),
        ("rows", {"input": 5}, "input 5 object"),
        ("rows", case("rows", std=0), "input.std 0 3 positive numbers"),
        ("rows", case("rows", std=[1, 1]), "input.std [1, 1] 3 positive"),
        ("rows", case("rows", std=[1, -1, 1]), "input.std [1, -1, 1]"),
        ("rows", case("rows", mean="0"), "input.mean 0 3 numbers"),
        ("rows", case("rows", mean=[1, True, 2]), "input.mean [1, True, 2]"),
        ("rows", case("rows", unit=0), "input.unit 0"),
        ("rows", case("rows", names=["a"]), "input.names ['a'] 3 names"),
        ("rows", case("rows", stride=14), "stride of 14 rows 13"),
        ("rows", case("rows", stride=0), "input.stride 0 [rows, channels]"),
        ("rows", case("rows", stride=[1, 2, 3]), "input.stride [1, 2, 3]"),
        ("rows", case("rows", padding=1), "input.padding 1 fewer the 1"),
        ("rows", case("rows", length=14), "13 positions 14 rows make 14"),
        ("rows", {"context": 13}, "context 13 none"),
        ("rows", {"task": "generate", "pooling": None, "labels": None}, "'generate' predict"),
        ("rows", {"image": {"height": 3}}, "image input one"),
        ("rows", {"labels": ["a"]}, "1 labels 3 classes"),
        ("rows", {"output": {"mean": 1}}, "output 'mean' classify"),
        ("rows", {"input": None}, 'nothing embedding project "input" "length" "image"'),
        ("rows", {"modules": {"input": "encoder.layers.0.linear2"}}, "50 columns multiple of 3"),
        ("conv1d", case("conv1d", channels=4, std=1), "project.weight (40, 5, 5) (40, 4, any)"),
        ("conv1d", case("conv1d", window=3), "input.window 3 5 rows and 5 channels"),
        ("conv1d", case("conv1d", padding=5), "input.padding 5 5 of a window"),
        ("conv1d", case("conv1d", padding="same"), "input.padding 'same' stride of 1"),
        ("conv1d", case("conv1d", padding=[1]), "input.padding [1] [in front, behind]"),
        ("conv1d", case("conv1d", length=3, padding=0), "windows of 5 x 5 3 x 5 fit"),
        ("conv1d", {"input": None}, 'project "input": {"length"'),
        ("conv1d", {"labels": ["a"]}, "labels output.names"),
        ("conv1d", {"output": {"mean": [1, 2]}}, "output.mean [1, 2] 3 numbers"),
        ("conv1d", {"output": {"std": 0}}, "output.std 0"),
        ("conv1d", {"output": {"names": "x"}}, "output.names x 3 names"),
        ("conv1d", {"output": {"unit": 2}}, "unknown 'output.unit' names"),
        ("conv1d", {"output": [1]}, "output [1] object"),
        ("windows", case("windows", window=5), "windows of 25 numbers project (36, 20)"),
        ("windows", {"labels": None}, "head one output predict labels"),
        ("patches", case("patches", window=[4, 5]), "windows of 20 numbers (36, 8)"),
        ("patches", case("patches", window=[2, 9]), "windows of 18 numbers"),
        ("unfold", case("unfold", order="hw"), "input.order 'hw' tc ct"),
        ("spectrogram", case("spectrogram", channels=2, stride=1), "windows of 4 x 3 14 x 2"),
        ("spectrogram-across", {"causal": True}, "causal True channel by channel"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(tmp_path, name, fields, words):
    path = describe(write(tmp_path, CASES[name]), **fields)
    refused(path, *words.split(" "))


def test_a_large_window(tmp_path):
    path = write(tmp_path, CASES["rows"])
    wide = np.zeros((36, 4098), np.float32)
    change(path, lambda t: t.update({"project.weight": wide}))
    refused(describe(path, **case("rows", length=2000)), "4098 numbers", "at most 4096")


def test_a_head_over_all_positions(tmp_path):
    path = write(tmp_path, CASES["rows"])
    wide = architectures.weight("head", (3, 36 * 13))
    change(path, lambda t: t.update({"head.weight": wide}))
    refused(path, "head reads all 13 positions side by side", "mean")


# With torch


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.FURTHER)
def test_random_checkpoints_equal_transformers(tmp_path, name):
    pytest.importorskip("transformers")
    a = architectures.FURTHER[name]
    folder = architectures.write(tmp_path, a)
    architectures.equals_framework(
        folder, a, lambda tokens: further(folder, name, tokens), (1, 12, architectures.CONTEXT), 0
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CASES)
def test_random_models_equal_pytorch(tmp_path, name, seed):
    torch = pytest.importorskip("torch")
    c = CASES[name]
    model = signalmodels.module(c, seed)
    path = tmp_path / "model.pt"
    torch.save(model.state_dict(), path)
    path.with_suffix(".json").write_text(json.dumps(c.description))
    graph = known(read(path))
    for rows in range(graph.frames.least, graph.frames.length + 1):
        if c.across and rows != graph.frames.length or rows < c.kernel[0]:
            continue
        signal = signal_of(name, rows, seed)
        expected = signalmodels.framework(c, signal, model)
        assert np.abs(run(graph, signal) - expected).max() < 1e-4


