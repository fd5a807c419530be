"""Keras 3 models: the float graph computes what Keras computes; Keras itself is not needed."""

from __future__ import annotations

import copy
import io
import json
import random
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import architectures
import kerasmodels
import models
from boardscripts import unix_logits
from closeness import cosine
from kerasmodels import CASES, FOLDER, VOCAB
from picoformer import Error, Simulator, convert, importers
from picoformer.commands.main import main
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import compile_graph
from picoformer.compile.quantize import dequantized
from picoformer.device.model import Model
from picoformer.graph.float_model import FloatModel
from picoformer.graph.nodes import Embedding, Graph, Linear, Pool
from turns import some

pytest.importorskip("h5py")
EXPECTED = json.loads(kerasmodels.EXPECTED.read_text())


def read(path: Path) -> Graph:
    graph, _ = importers.read(path)
    return graph


def centred(result: np.ndarray, name: str) -> np.ndarray:
    """As `kerasmodels.run` has them: of probabilities all logits less their mean."""
    if name in ("classifier", "pre-norm", "floats"):
        return result - result.mean(-1, keepdims=True)
    return result


def run(graph: Graph, name: str, tokens: list[int]) -> np.ndarray:
    return centred(FloatModel(graph).forward(np.array([tokens]))[0], name)


# What is read


@pytest.mark.parametrize("name", CASES)
def test_float_graph_equals_keras(name):
    graph = read(FOLDER / f"{name}.keras")
    tokens = EXPECTED[name]["tokens"]
    assert tokens == kerasmodels.tokens_of(name)
    expected = np.array(EXPECTED[name]["result"])
    result = architectures.selected(run(graph, name, tokens))
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() < 1e-4
    assert graph.context == kerasmodels.LENGTH and graph.vocab == VOCAB


@pytest.mark.parametrize("name", some(CASES, 2))
def test_integers_are_close_and_exact(tmp_path, unix, families, name):
    """To the float graph of the weights that they stand for; on a board the same."""
    source, path = FOLDER / f"{name}.keras", tmp_path / "m.pft"
    convert(source, path)
    graph, sim = read(source), Simulator(path)
    rounded = dequantized(graph, compile_graph(graph, calibrate(graph)).dequantized)
    tokens = EXPECTED[name]["tokens"]
    ours = centred(sim.logits(tokens) * sim.logit_scale, name)
    assert cosine(ours, run(rounded, name, tokens)) > 0.9995
    for kernels in families:
        steps = [1, 4, len(tokens)]
        expected = [sim.logits(tokens[:n])[-1] for n in steps]
        got = unix_logits(unix, path, tokens, steps, tmp_path / "out", kernels=kernels)
        np.testing.assert_array_equal(got, expected)


def test_what_is_told_and_found(tmp_path):
    graphs = {name: read(FOLDER / f"{name}.keras") for name in CASES}
    tasks = {name: g.task for name, g in graphs.items()}
    assert tasks == {
        "minigpt": "generate", "minigpt-deep": "generate", "classifier": "classify",
        "pre-norm": "generate", "binary": "classify", "sentence": "embed",
        "floats": "classify", "nested": "classify", "masked": "generate",
    }  # fmt: skip
    assert graphs["classifier"].labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert Pool("x", "first") in graphs["binary"].nodes
    # a layer that runs twice has its matrix once
    queries = [n.weight for n in graphs["binary"].nodes if getattr(n, "out", "").endswith(".q")]
    assert len(queries) == 2 and queries[0] is queries[1]
    path = tmp_path / "two.keras"
    shutil.copy(FOLDER / "binary.keras", path)
    given = {"labels": ["no", "yes"], "context": 9, "bos": 1, "eos": 2}
    path.with_suffix(".json").write_text(json.dumps(given))
    graph = read(path)
    assert (graph.labels, graph.context, graph.bos, graph.ends) == (["no", "yes"], 9, 1, (2,))


def test_the_command(tmp_path, capsys):
    out = tmp_path / "m.pft"
    assert main(["convert", str(FOLDER / "minigpt.keras"), "-o", str(out)]) == 0
    said = capsys.readouterr()
    assert "token ids, no text" in said.out
    assert Simulator(out).model.meta["name"] == "minigpt"
    # Without a tokenizer the next step takes token ids, and works.
    step = next(line for line in said.err.splitlines() if "python -c" in line)
    code = step.split('python -c "')[1].rstrip('"')
    assert str(out) in code
    exec(code, {})
    assert capsys.readouterr().out.startswith("[[")


# Texts

CLASSIFY = """
import json
from picoformer import Model
m = Model(FILE)
for text in TEXTS:
    print(json.dumps([m.tokenizer.encode(text), m.classify(text)]))
"""


def test_words_of_a_text_vectorization(tmp_path, unix):
    """The tokens and the result are Keras's, on the PC and on a board."""
    entries = json.loads(kerasmodels.EXPECTED_TEXTS.read_text())
    path = tmp_path / "m.pft"
    convert(FOLDER / "texts.keras", path)
    sim, graph = Simulator(path), read(FOLDER / "texts.keras")
    texts = [e["text"] for e in entries]
    assert texts == kerasmodels.TEXTS
    said = [json.loads(line) for line in unix(CLASSIFY, FILE=str(path), TEXTS=texts).splitlines()]
    for entry, (tokens, labels) in zip(entries, said, strict=True):
        assert sim.tokenizer.encode(entry["text"]) == entry["tokens"] == tokens
        result = FloatModel(graph).forward(np.array([tokens]))[0, 0]
        assert np.abs(result - result.mean() - entry["result"]).max() < 1e-4
        assert [tuple(pair) for pair in labels] == sim.classify(entry["text"])


def test_a_list_of_words(tmp_path, capsys):
    """As a tokenizer of a model that takes token ids: get_vocabulary(), a word a line."""
    words = ["", "[UNK]", "the", "cat", "sat"]
    file = tmp_path / "words.txt"
    out = tmp_path / "m.pft"
    convert_ = ["convert", str(FOLDER / "minigpt.keras"), "-o", str(out), "--tokenizer", str(file)]
    file.write_text("\n".join(words) + "\n")
    assert main(convert_) == 0
    sim = Simulator(out)
    assert sim.tokenizer.encode("The CAT, a cat, sat!") == [2, 3, 1, 3, 4]
    assert sim.tokenizer.decode([2, 3, 4]) == "the cat sat"
    for listed, words_ in [
        (["the", "cat"], ["['the', 'cat']", "[UNK]"]),
        ([*words, "cat"], ["twice"]),
        ([*words, "##s"], ["'##s'"]),
        ([*words, *map(str, range(VOCAB))], ["102 words", "97"]),
    ]:
        file.write_text("\n".join(listed))
        assert main(convert_) == 1
        said = capsys.readouterr().err
        assert all(word in said for word in words_), said


# What is refused


def edited(path: Path, name: str, edit: Callable[[Any], None], file: str = "config.json") -> Path:
    """A model whose config.json is another."""
    with zipfile.ZipFile(FOLDER / f"{name}.keras") as archive:
        content = {n: archive.read(n) for n in archive.namelist()}
    root = json.loads(content[file])
    edit(root)
    content[file] = json.dumps(root).encode()
    with zipfile.ZipFile(path / "m.keras", "w") as archive:
        for n, data in content.items():
            archive.writestr(n, data)
    return path / "m.keras"


def layer(root: Any, kind: str, index: int = 0) -> Any:
    """One of a kind, of a model inside where the outer one has none."""
    inside = root["config"]["layers"]
    found = [x for x in inside if x["class_name"] == kind]
    if not found:
        return layer(next(x for x in inside if "layers" in x["config"]), kind, index)
    return found[index]


def refused(path: Path, *words: str) -> None:
    with pytest.raises(Error) as caught:
        importers.read(path)
    message = str(caught.value)
    assert type(caught.value) is Error and "\n" not in message
    for word in words:
        assert word in message, message


def setting(kind: str, index: int = 0, **fields: Any) -> Callable[[Any], None]:
    """An edit of a layer's config."""
    return lambda root: layer(root, kind, index)["config"].update(fields)


def calling(kind: str, **fields: Any) -> Callable[[Any], None]:
    """An edit of how a layer is called."""
    return lambda root: layer(root, kind)["inbound_nodes"][0]["kwargs"].update(fields)


def named(kind: str, **fields: Any) -> Callable[[Any], None]:
    """An edit of what a layer is."""
    return lambda root: layer(root, kind).update(fields)


def table(value: Any) -> dict[str, Any]:
    """A constant, as the file has it."""
    return {"class_name": "__tensor__", "config": {"value": value, "dtype": "float32"}}


def crossed(root: Any) -> None:
    """Attention over something else."""
    args = layer(root, "MultiHeadAttention")["inbound_nodes"][0]["args"]
    args[1] = copy.deepcopy(args[0])
    args[1]["config"]["keras_history"][0] = layer(root, "Embedding")["name"]


def dropped(root: Any) -> None:
    """A dropout that takes itself."""
    x = layer(root, "Dropout")
    x["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = x["name"]


def ring(root: Any) -> None:
    """A layer that takes what is made of it."""
    first, last = layer(root, "Add"), layer(root, "LayerNormalization", -1)
    first["inbound_nodes"] = last["inbound_nodes"]
    last["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = first["name"]


@pytest.mark.parametrize(
    "name, edit, words",
    [
        ("minigpt", named("Dropout", class_name="Lambda"), ["(Lambda)", "Dense"]),
        (
            "minigpt",
            named("Embedding", class_name="TokenAndPositionEmbedding", module=None,
                  registered_name="mine>TokenAndPositionEmbedding"),
            ["TokenAndPositionEmbedding", "code", "functional", "docs/convert.md"],
        ),
        (
            "minigpt",
            lambda root: root.update(class_name="Net", module="__main__"),
            ["class Net", "functional and sequential"],
        ),
        ("minigpt", setting("Dense", activation="elu"), ["'elu'", "gelu, silu"]),
        ("minigpt", setting("Dense", activation={"class_name": "f"}), ["class_name", "gelu"]),
        ("minigpt", setting("Dense", quantization_config={"a": 1}), ["quantization_config"]),
        ("minigpt", setting("Dense", activation="sigmoid"), ["sigmoid at each", "softmax"]),
        ("minigpt", setting("MultiHeadAttention", use_gate=True), ["use_gate is True"]),
        ("minigpt", setting("MultiHeadAttention", value_dim=7), ["value_dim is 7", "key_dim, 13"]),
        ("minigpt", setting("MultiHeadAttention", num_heads=3), ["(52, 4, 13)", "(any, 3, 13)"]),
        ("minigpt", crossed, ["differ", "self-attention"]),
        ("minigpt", calling("MultiHeadAttention", attention_mask=1), ["a mask", "use_causal"]),
        ("minigpt", calling("MultiHeadAttention", use_causal_mask=False), ["looks ahead"]),
        ("minigpt", setting("LayerNormalization", axis=[1]), ["axis is [1]"]),
        ("minigpt", setting("Cumsum", axis=0), ["(Cumsum)", "axis is 0"]),
        ("minigpt", setting("InputLayer", dtype="bool"), ["bool", "token ids"]),
        ("nested", setting("Cast", dtype="bool"), ["(Cast)", "to bool", "tokens or positions"]),
        ("masked", calling("MultiHeadAttention", attention_mask=table([[1, 1], [0, 1]])),
         ["a mask", "constants of that"]),
        ("masked", calling("MultiHeadAttention", attention_mask=table([1, 1])), ["a mask"]),
        ("minigpt", dropped, ["go in a circle"]),
        ("minigpt", ring, ["reads its own output"]),
        ("texts", setting("TextVectorization", split="character"), ["split is 'character'"]),
        ("texts", setting("TextVectorization", ngrams=[2]), ["ngrams is [2]"]),
        ("texts", setting("TextVectorization", standardize={"f": 1}), ["standardize is {"]),
        ("texts", setting("InputLayer", dtype="int64"), ["it takes no text"]),
        ("pre-norm", setting("Softmax", axis=1), ["axis is 1"]),
        ("classifier", setting("Dense", -1, activation="sigmoid"), ["3 outputs, sigmoid"]),
        ("classifier", calling("GlobalAveragePooling1D", mask=[1]), ["a mask", "padded"]),
        ("classifier", named("GlobalAveragePooling1D", class_name="GlobalMaxPooling1D"),
         ["(GlobalMaxPooling1D)", "GlobalAveragePooling1D"]),
        ("classifier", setting("InputLayer", 1, batch_shape=[None, 4, 4, 4]), ["[None, 4, 4, 4]"]),
        ("binary", setting("Dense", -1, activation=None), ["1 outputs, no activation", "softmax"]),
        ("minigpt", lambda root: root["config"].update(layers=3), ["config.json is not as"]),
        ("minigpt", lambda root: root["config"].update(output_layers=[["x", 0, 0]]), ["as Keras"]),
        ("minigpt", lambda root: layer(root, "Dense")["inbound_nodes"][0].pop("args"), ["args"]),
        ("sentence", lambda root: layer(root, "Add")["inbound_nodes"][0]["args"][0].pop(),
         ["a sum of one thing"]),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(tmp_path, name, edit, words):
    refused(edited(tmp_path, name, edit), *words)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value of a JSON file."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, inside in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inside, (*at, key))


@pytest.mark.parametrize("seed", some(range(2), 2))
@pytest.mark.parametrize("name", ["binary", "classifier", "texts"])
def test_a_spoiled_file_is_an_error_or_another_model(tmp_path, name, seed):
    """Whatever config.json says, there is no traceback."""
    rng = random.Random(seed)
    odd = [None, -1, 0, 10**12, "x", "", [], {}, True, 1.5, ["a", 0, 0], float("nan")]

    def spoil(root: Any) -> None:
        way = rng.choice([w for w in places(root) if not str(w[-1]).endswith("_initializer")])
        inside = root
        for key in way[:-1]:
            inside = inside[key]
        if rng.random() < 0.3:
            inside.pop(way[-1])
        else:
            inside[way[-1]] = rng.choice(odd)

    failed = 0
    for _ in range(40):
        path = edited(tmp_path, name, spoil)
        try:
            read(path)
        except Error as e:
            assert "\n" not in str(e)
            failed += 1
    assert failed > 5


def test_two_outputs(tmp_path):
    """As Keras's example has them: the logits and what they are made of."""

    def two(root: Any) -> None:
        made = layer(root, "LayerNormalization", -1)["name"]
        root["config"]["output_layers"] = [root["config"]["output_layers"], [made, 0, 0]]

    path = edited(tmp_path, "minigpt", two)
    logits = layer(json.loads(zipfile.ZipFile(path).read("config.json")), "Dense", -1)["name"]
    refused(path, "output is None", logits, '"output" in m.json')
    path.with_suffix(".json").write_text(json.dumps({"output": logits}))
    tokens = EXPECTED["minigpt"]["tokens"]
    result = architectures.selected(run(read(path), "minigpt", tokens))
    assert np.abs(result - EXPECTED["minigpt"]["result"]).max() < 1e-4


def test_context_that_nothing_tells(tmp_path):
    path = edited(tmp_path, "sentence", setting("InputLayer", batch_shape=[None, None]))
    refused(path, "number of positions", '"context": N in m.json')
    path.with_suffix(".json").write_text('{"context": 40}')
    assert read(path).context == 40
    path = edited(tmp_path, "minigpt", lambda root: None)
    refused(path, "context is 40", "16")


def test_other_files(tmp_path, monkeypatch):
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    refused(tmp_path / "m.h5", "HDF5", "Keras 3", "NAME.keras")
    path = edited(tmp_path, "minigpt", lambda m: m.update(keras_version="2.15.0"), "metadata.json")
    refused(path, "Keras 2.15.0", "Keras 3")
    path.write_bytes((FOLDER / "minigpt.keras").read_bytes()[:999])
    refused(path, "truncated or not a Keras 3 file", "model.save")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    refused(path, "not a Keras 3 file")
    with zipfile.ZipFile(path, "w") as archive:
        for name in "config.json", "model.weights.h5", "metadata.json":
            archive.writestr(name, '{"keras_version": "3.0.0"}')
    refused(path, "model.weights.h5 cannot be read")
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(FOLDER / "minigpt.keras", "pip install 'picoformer[keras]'")


def test_weights_that_are_elsewhere(tmp_path):
    """A link to another file is not followed."""
    import h5py

    with zipfile.ZipFile(FOLDER / "minigpt.keras") as archive:
        content = {n: archive.read(n) for n in archive.namelist()}
    data = io.BytesIO(content["model.weights.h5"])
    (tmp_path / "other.h5").write_bytes(data.getvalue())
    name = "layers/embedding/vars/0"
    for link in None, h5py.ExternalLink(str(tmp_path / "other.h5"), name):
        with h5py.File(data, "r+") as file:
            if name in file:
                del file[name]
            if link:
                file[name] = link
        content["model.weights.h5"] = data.getvalue()
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
            for n, part in content.items():
                archive.writestr(n, part)
        refused(tmp_path / "m.keras", f"has no {name}")


# With Keras


@pytest.mark.slow
def test_the_example_of_the_guide(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(models.example("Keras"), names)
    assert main(["convert", "minigpt.keras"]) == 0
    tokens = [i * 7 % VOCAB for i in range(64)]
    expected = kerasmodels.run(names["model"], tokens)
    graph = read(tmp_path / "minigpt.keras")
    assert np.abs(FloatModel(graph).forward(np.array([tokens]))[0] - expected).max() < 1e-4
    sim = Simulator("minigpt.pft")
    assert cosine(sim.logits(tokens) * sim.logit_scale, expected) > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_random_models_equal_keras(tmp_path, monkeypatch, name, seed):
    """Saved by Keras: the graph, then the integers of the weights that they stand for, are
    Keras's."""
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    model = kerasmodels.make(name, seed)
    path = tmp_path / "m.keras"
    model.save(path)
    graph = read(path)
    n = kerasmodels.LENGTH
    tokens = np.random.default_rng(seed).integers(1, VOCAB, n).tolist()
    assert np.abs(run(graph, name, tokens) - kerasmodels.run(model, tokens)).max() < 1e-4
    convert(path, tmp_path / "m.pft")
    sim = Simulator(tmp_path / "m.pft")
    rounded(keras, graph, model)
    ours = centred(sim.logits(tokens) * sim.logit_scale, name)
    close = cosine(ours, kerasmodels.run(model, tokens))
    print(f"\n{name} {seed}: cosine {close:.6f}")
    assert close >= 0.9995


def arrangements(keras: Any) -> dict[str, tuple[Callable[[Any], Any], str]]:
    """What a model makes of x, and what is said of those that are refused."""
    L = keras.layers

    def attend(x: Any, **more: Any) -> Any:
        return L.MultiHeadAttention(4, 5)(x, x, **more)

    def network(x: Any) -> Any:
        return L.Dense(20)(L.Dense(30, "relu")(x))

    def write(x: Any) -> Any:
        return L.Dense(VOCAB)(x)

    def label(x: Any) -> Any:
        return L.Dense(3, "softmax")(x)

    def mean(x: Any) -> Any:
        return L.GlobalAveragePooling1D()(x)

    def parallel(x: Any) -> Any:
        n = L.LayerNormalization()(x)
        return write(L.Add()([x, attend(n, use_causal_mask=True), network(n)]))

    def network_first(x: Any) -> Any:
        n = L.LayerNormalization()(x)
        return write(L.Add()([network(n), attend(n, use_causal_mask=True), x]))

    def used_later(x: Any) -> Any:
        return write(L.LayerNormalization()(x + attend(x, use_causal_mask=True)) + x)

    def branch(x: Any) -> Any:
        h = L.Dense(20)(x)
        return write(x + attend(L.LayerNormalization()(x), use_causal_mask=True) + h)

    def last(x: Any) -> Any:
        for _ in range(2):
            x = L.LayerNormalization()(x + attend(x, use_causal_mask=True))
        return label(x[:, -1])

    def last_of_all(x: Any) -> Any:
        for _ in range(2):
            x = x + attend(L.LayerNormalization()(x))
            x = x + network(L.LayerNormalization()(x))
        return label(L.LayerNormalization()(x)[:, -1, :])

    def head(x: Any) -> Any:
        x = L.LayerNormalization()(mean(x + attend(x)))
        return label(L.Dropout(0.1)(L.LayerNormalization()(L.Dense(10, "gelu")(x))))

    def norms(x: Any) -> Any:
        n = L.LayerNormalization()(L.LayerNormalization()(x))
        return label(mean(n + attend(n)))

    return {
        "parallel": (parallel, ""),
        "head": (head, ""),
        "last": (last, ""),
        "last of all": (last_of_all, ""),
        "norms": (norms, ""),
        "network first": (network_first, "in front of the last attention"),
        "used later": (used_later, "which others use"),
        "branch": (branch, "which others use"),
        "no residual": (lambda x: label(mean(attend(x))), "it takes a branch"),
        "largest": (lambda x: label(L.GlobalMaxPooling1D()(x + attend(x))), "GlobalMaxPooling1D"),
        "side by side": (lambda x: label(mean(L.Concatenate()([x, attend(x)]))), "Concatenate"),
        "looks ahead": (lambda x: write(x + attend(x)), "looks ahead"),
        "no attention": (lambda x: label(mean(x)), "no MultiHeadAttention"),
        "code": (lambda x: label(mean(L.Lambda(lambda v: 2 * v)(x + attend(x)))), "Lambda"),
    }


@pytest.mark.slow
def test_arrangements_of_layers(tmp_path, monkeypatch):
    """Each is Keras's, and on a board the simulator's; or it is refused."""
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    path = tmp_path / "m.keras"
    for name, (rest, words) in arrangements(keras).items():
        tokens = keras.Input((kerasmodels.LENGTH,), dtype="int32", name="tokens")
        positions = keras.ops.cumsum(keras.ops.ones_like(tokens), axis=-1) - 1
        x = keras.layers.Embedding(VOCAB, 20)(tokens)
        x = x + keras.layers.Embedding(kerasmodels.LENGTH, 20)(positions)
        model = kerasmodels.spread(keras.Model(tokens, rest(x)), 3)
        model.save(path)
        if words:
            refused(path, words)
            continue
        graph = read(path)
        ids = np.random.default_rng(3).integers(1, VOCAB, kerasmodels.LENGTH).tolist()
        expected = kerasmodels.run(model, ids)
        result = FloatModel(graph).forward(np.array([ids]))[0]
        result = centred(result, "classifier" if graph.task == "classify" else "")
        assert np.abs(result - expected).max() < 1e-4, name
        convert(path, tmp_path / "m.pft")
        sim, board = (make(str(tmp_path / "m.pft")) for make in (Simulator, Model))
        for n in 1, 5, len(ids):
            assert list(board.logits(ids[:n])) == sim.logits(ids[:n])[-1].tolist(), name


def rounded(keras: Any, graph: Graph, model: Any) -> None:
    """Put the weights that the integers stand for into Keras's model."""
    weights = compile_graph(graph, calibrate(graph)).dequantized
    layers = {x.name: x for x in model._flatten_layers()}
    parts = {"q": "query_dense", "k": "key_dense", "v": "value_dense", "y": "output_dense"}
    for n in graph.nodes:
        if isinstance(n, Linear):
            name, _, value = n.name.partition(".")
            dense = layers[name]
            if isinstance(dense, keras.layers.MultiHeadAttention):
                dense = getattr(dense, parts[value[-1]])
            kernel = dense._kernel if hasattr(dense, "_kernel") else dense.kernel
            rows = weights[n.out][-len(n.weight) :]
            kernel.assign(
                rows[-int(np.prod(kernel.shape)) // rows.shape[1] :].T.reshape(kernel.shape)
            )
    for x in layers.values():
        if isinstance(x, keras.layers.Embedding) and x.input_dim == VOCAB:
            table = keras.ops.convert_to_numpy(x.embeddings)
            used = next(n for n in graph.nodes if isinstance(n, Embedding)).weight
            factor = np.abs(used).max() / np.abs(table).max()
            x.embeddings.assign(weights["x"] / factor)
        elif isinstance(x, keras.layers.Embedding):
            table = np.array(keras.ops.convert_to_numpy(x.embeddings))
            table[len(table) - kerasmodels.LENGTH :] = weights["x:position"]
            x.embeddings.assign(table)
