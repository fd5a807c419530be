"""State dicts of plain PyTorch: the float graph computes what PyTorch computes."""

from __future__ import annotations

import json
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import architectures
import models
import plain
from boardscripts import unix_logits
from closeness import cosine
from picoformer import Error, Simulator, convert, evaluate, importers
from picoformer.commands.main import main
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import compile_graph
from picoformer.compile.quantize import dequantized
from picoformer.data.pictures import cut
from picoformer.graph.float_model import FloatModel
from picoformer.graph.nodes import Embedding, Graph, Linear, Pool
from picoformer.importers import sinusoids
from plain import CASES, VOCAB, write
from turns import some

EXPECTED = json.loads(plain.EXPECTED.read_text())


def read(path: Path) -> Graph:
    graph, _ = importers.read(path)
    return graph


def run(graph: Graph, name: str, tokens: list[int]) -> np.ndarray:
    """The result (positions, outputs) for what `plain.inputs` makes of the tokens."""
    given = plain.inputs(CASES[name], tokens)
    if "image" in given:
        given = {"tokens": cut(given["image"], graph.image)[None]}
    return FloatModel(graph).forward(**given)[0]


# What is read


def test_expected_results_are_of_these_models():
    assert list(EXPECTED) == list(CASES)
    for name, entry in EXPECTED.items():
        assert entry["tokens"] == plain.tokens_of(name)


@pytest.mark.parametrize("name", CASES)
def test_float_graph_equals_pytorch(tmp_path, name):
    graph = read(write(tmp_path, CASES[name]))
    result = architectures.selected(run(graph, name, EXPECTED[name]["tokens"]))
    expected = np.array(EXPECTED[name]["result"])
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() < 1e-4
    assert graph.context == CASES[name].context
    assert graph.task == CASES[name].given["task"]


def simulated(path: Path, name: str, tokens: list[int]) -> np.ndarray:
    """The integers' result, in the model's units."""
    sim = Simulator(path)
    given = plain.inputs(CASES[name], tokens)
    if "image" in given:
        found = dict(sim.classify(given["image"]))
        return np.array([[found[label] for label in sim.labels]]) * sim.logit_scale
    if "source" in given:
        sim.source(given["source"][0].tolist())
    return sim.logits(given["tokens"][0].tolist()) * sim.logit_scale


@pytest.mark.parametrize("name", CASES)
def test_integers_are_close(tmp_path, name):
    """To the float graph of the weights that the integers stand for."""
    source = write(tmp_path, CASES[name])
    convert(source, tmp_path / "m.pft")
    graph = read(source)
    rounded = dequantized(graph, compile_graph(graph, calibrate(graph)).dequantized)
    tokens = EXPECTED[name]["tokens"]
    assert cosine(simulated(tmp_path / "m.pft", name, tokens), run(rounded, name, tokens)) > 0.9995


SPECIAL_SCRIPT = """
import json
from picoformer import Model
m = Model(FILE, kernels=KERNELS)
if SOURCE:
    m.source(SOURCE)
print(json.dumps(m.classify(IMAGE) if IMAGE else list(m.logits(TOKENS))))
"""


@pytest.mark.parametrize("name", some(CASES, 3))
def test_unix_equals_the_simulator(tmp_path, unix, families, name):
    path = tmp_path / "m.pft"
    convert(write(tmp_path, CASES[name]), path)
    sim = Simulator(path)
    given = plain.inputs(CASES[name], EXPECTED[name]["tokens"])
    for kernels in families:
        if "tokens" in given and "source" not in given:
            tokens = given["tokens"][0].tolist()
            expected = [sim.logits(tokens[:n])[-1] for n in (1, 4, len(tokens))]
            got = unix_logits(unix, path, tokens, [1, 4, len(tokens)], tmp_path / "out",
                              kernels=kernels)  # fmt: skip
            np.testing.assert_array_equal(got, expected)
            continue
        image = given.get("image")
        tokens, source = ([] if image is not None else given[n][0].tolist()
                          for n in ("tokens", "source"))  # fmt: skip
        if image is None:
            sim.source(source)
            expected = sim.logits(tokens)[-1].tolist()
            image = np.zeros(0, np.uint8)
        else:
            expected = [list(pair) for pair in sim.classify(image)]
        said = unix(SPECIAL_SCRIPT, FILE=str(path), KERNELS=kernels, SOURCE=source, TOKENS=tokens,
                    IMAGE=image.astype(np.uint8).tobytes())  # fmt: skip
        assert json.loads(said) == expected


def test_what_is_told_and_found(tmp_path):
    def graph(name: str) -> Graph:
        return read(write(tmp_path / name, CASES[name]))

    lm, pre = graph("lm"), graph("lm-pre")
    assert (lm.bos, lm.ends, lm.vocab) == (1, (2,), VOCAB) and (pre.bos, pre.ends) == (-1, ())
    assert pre.nodes[-1].weight is pre.nodes[0].weight
    assert graph("classes").labels == ["sun", "snow", "rain"]
    assert graph("binary").labels == ["no", "yes"]
    assert Pool("x", "last") in graph("binary").nodes
    assert graph("embed").nodes[-1] == Pool("x", "mean")
    shared, apart = graph("translator-pre"), graph("translator")
    assert shared.encoder[0].weight is shared.nodes[0].weight
    assert apart.encoder[0].weight is not apart.nodes[0].weight
    # what is read and what is written share their positions
    assert apart.encoder[1].weight is apart.nodes[1].weight
    assert graph("image").image == (9, 12, 2, 3, 1)
    assert graph("image-linear").image == (9, 12, 2, 3, 0)


def test_sinusoids():
    for dim in 2, 5, 52:
        assert np.abs(sinusoids.pytorch(9, dim) - plain.sinusoids(9, dim)).max() < 1e-6


def change(path: Path, edit: Any) -> Path:
    """edit(tensors) before they are saved again."""
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)
    return path


def describe(path: Path, **fields: Any) -> Path:
    file = path.with_suffix(".json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
    return path


def equal(a: Graph, b: Graph) -> None:
    for one, other in zip(a.encoder + a.nodes, b.encoder + b.nodes, strict=True):
        assert type(one) is type(other)
        for name, value in vars(one).items():
            if name != "name":
                np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def test_separate_projections(tmp_path):
    """q, k and v, each a tensor, as MultiheadAttention keeps them where their sizes differ."""
    path = write(tmp_path, CASES["lm"])
    before = read(path)

    def separate(tensors: dict[str, np.ndarray]) -> None:
        for name in [n for n in tensors if n.endswith("in_proj_weight")]:
            parts = np.split(tensors.pop(name), 3)
            for letter, part in zip("qkv", parts, strict=True):
                tensors[name.replace("in_proj", letter + "_proj")] = part.copy()

    equal(before, read(change(path, separate)))


def test_a_tied_head_that_is_stored_once(tmp_path):
    path = write(tmp_path / "a", CASES["lm-pre"])
    before = read(path)
    equal(before, read(change(path, lambda t: t.pop("head.weight"))))
    # with a bias of its own, which is all that is left of it
    bias = np.ones(VOCAB, np.float32)
    graph = read(change(path, lambda t: t.update({"head.bias": bias})))
    np.testing.assert_array_equal(graph.nodes[-1].bias, bias)


def test_masks_and_what_is_not_run(tmp_path):
    path = write(tmp_path, CASES["lm"])
    before = read(path)

    def add(tensors: dict[str, np.ndarray]) -> None:
        tensors["src_mask"] = np.triu(np.full((24, 24), -np.inf, np.float32))
        for name in [n for n in tensors if "layers.0." in n]:
            tensors[name.replace("transformer_encoder.layers.0", "encoder_layer")] = tensors[name]

    change(path, add)
    refused(path, "encoder_layer.linear1", '"modules": {"head": ["fc1", "relu", "fc2"]}')
    equal(before, read(describe(path, unused=["encoder_layer"])))


def test_layers_in_a_list_of_another_name(tmp_path):
    """nn.ModuleList of layers, modules of unusual names: the description names them."""
    path = write(tmp_path, CASES["lm-pre"])
    before = read(path)
    new = {
        "transformer_encoder.layers": "blocks", "transformer_encoder.norm": "ln_f",
        "embedding": "wte", "pos_embedding": "p", "head": "out",
    }  # fmt: skip

    def rename(tensors: dict[str, np.ndarray]) -> None:
        for old, name in new.items():
            for key in [k for k in tensors if k.startswith(old + ".")]:
                tensors[name + key[len(old) :]] = tensors.pop(key)

    change(path, rename)
    refused(path, "no table of positions", "positions", "sinusoidal")
    modules = {"positions": "p", "norm": "ln_f"}
    equal(before, read(describe(path, modules=modules)))
    modules |= {"encoder": "blocks", "embedding": "wte", "head": "out"}
    equal(before, read(describe(path, modules=modules)))
    refused(
        describe(path, modules={"positions": "p"}), "1 tensors", "ln_f.weight", "embedding_norm"
    )


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_half_precision(tmp_path, kind):
    path = write(tmp_path, CASES["lm"])
    whole = read(path)
    architectures.save(path, plain.tensors_of(CASES["lm"]), kind)
    off = whole.nodes[0].weight - read(path).nodes[0].weight
    assert 0 < np.abs(off).max() < 0.2


def test_the_command(tmp_path, capsys):
    """A description elsewhere, a tokenizer, and none."""
    path = write(tmp_path / "a", CASES["lm"])
    other = tmp_path / "other.json"
    path.with_suffix(".json").rename(other)
    (tmp_path / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(VOCAB)))
    out = tmp_path / "m.pft"
    assert main(["convert", str(path), "-o", str(out), "--config", str(other)]) == 0
    assert "token ids, no text" in capsys.readouterr().out
    assert not any(Simulator(out).tokenizer.decode([t]) for t in range(VOCAB))
    tokenizer = ["--tokenizer", str(tmp_path / "tokenizer.json")]
    convert_ = ["convert", str(path), "-o", str(out), "--config", str(other), *tokenizer]
    assert main(convert_) == 0
    assert "token ids" not in capsys.readouterr().out
    sim = Simulator(out)
    assert (sim.model.bos, sim.model.ends) == (1, (2,)) and sim.model.meta["name"] == "model"
    assert "".join(sim.generate("the ", 3)) != ""
    scores = evaluate(out, path, config=other, tokenizer=tokenizer[1])
    assert scores.kl is not None and scores.kl < 0.01
    asked = ["eval", str(out), "--reference", str(path), "--config", str(other), *tokenizer]
    assert main(asked) == 0


def test_a_file_beside_is_named_by_default(tmp_path, monkeypatch, capsys):
    write(tmp_path, CASES["embed"])
    monkeypatch.chdir(tmp_path)
    assert main(["convert", "model.safetensors"]) == 0
    assert (tmp_path / "model.pft").is_file()


# What is refused

LAYER = "transformer_encoder.layers.0"


def refused(path: Path, *words: str, config: Path | None = None) -> None:
    """One error of one line, that has all the words."""
    with pytest.raises(Error) as caught:
        importers.read(path, config=config)
    message = str(caught.value)
    assert type(caught.value) is Error and "\n" not in message
    for word in words:
        assert word in message, message


def test_a_folder_with_one_described_checkpoint(tmp_path):
    """It is read as that file is; with none or several the error names the files."""
    folder = tmp_path / "mine"
    path = write(folder, CASES["lm"])
    (folder / "notes.json").write_text("{}")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    whole = read(path)
    equal(read(folder), whole)
    assert read(folder).meta == whole.meta and whole.meta["licence"] == "mit"
    (folder / "older.pt").write_bytes(b"")  # which has no description
    equal(read(folder), whole)
    (folder / "older.json").write_text("{}")
    refused(folder, "config.json", "mine has README.md", "name one of its", "older.pt")
    (folder / "older.pt").unlink()
    elsewhere = path.with_suffix(".json").rename(tmp_path / "elsewhere.json")
    refused(folder, "expected a Hugging Face folder, or", "to convert model.safetensors")
    equal(importers.read(folder, config=elsewhere)[0], whole)
    (folder / "config.json").write_text("{}")
    refused(folder, "model_type")


def test_no_description(tmp_path):
    path = write(tmp_path, CASES["lm"])
    path.with_suffix(".json").unlink()
    refused(path, "model.json", "--config", '"task"', '"nhead"')
    refused(path, "missing.json", "cannot read", config=tmp_path / "missing.json")
    path.with_suffix(".json").write_text("[]")
    refused(path, "not a JSON object")
    folder = models.write_hf(tmp_path / "hf", models.random_checkpoint(models.CASES["size10"]))
    refused(folder, "takes no --config", config=tmp_path / "m.json")
    refused(tmp_path / "none.pt", "does not exist", ".pt", "Hugging Face")


@pytest.mark.parametrize(
    "name, fields, words",
    [
        ("lm", {"nhead": None}, "nhead None positive"),
        ("lm", {"nhead": 5}, "5 heads 52"),
        ("lm", {"task": None}, "task '' generate translate"),
        ("lm", {"task": "write"}, "task 'write' generate"),
        ("lm", {"heads": 4}, "unknown field 'heads' nhead"),
        ("lm", {"activation": "tanh"}, "activation 'tanh' relu gelu_tanh"),
        ("lm", {"norm_first": 1}, "norm_first 1 true"),
        ("lm", {"layer_norm_eps": -1}, "layer_norm_eps -1"),
        ("lm", {"embedding_scale": "sqrt(d)"}, "embedding_scale 'sqrt(d)'"),
        ("lm", {"positions": "rotary"}, "positions 'rotary' stored sinusoidal none"),
        ("lm", {"positions": "none"}, "context None positive"),
        ("lm", {"context": 9}, "context 9 positions"),
        ("lm", {"positions": "sinusoidal", "context": 9}, "1 tensors pos_encoder.pe"),
        ("lm", {"pooling": "mean"}, "pooling 'mean' none"),
        ("lm", {"causal": False}, "causal False"),
        ("lm", {"bos": VOCAB}, "bos 97"),
        ("lm", {"unused": ["x"]}, "'x' unused"),
        ("lm", {"unused": 3}, "unused 3"),
        ("lm", {"modules": ["head"]}, "modules ['head']"),
        ("lm", {"modules": {"tail": "x"}}, "modules.tail head"),
        ("lm", {"modules": {"embedding": 3}}, "modules.embedding 3"),
        ("lm", {"modules": {"embedding": "x"}}, "x.weight no tensor"),
        ("lm", {"modules": {"encoder": "head"}}, "head has no layers"),
        ("lm", {"modules": {"head": "linear"}}, "modules.head 'linear' no tensors gelu_tanh"),
        ("lm", {"modules": {"head": ["gelu", "head"]}}, "modules.head gelu"),
        ("lm", {"modules": {"norm": "head"}}, "head.weight shape (97, 52) (52)"),
        ("lm", {"task": "translate"}, "nothing decoder modules"),
        ("lm", {"task": "classify"}, "pooling None mean first last"),
        ("embed", {"pooling": "max"}, "pooling 'max' mean"),
        ("embed", {"task": "classify"}, "nothing head modules"),
        ("embed", {"modules": {"patches": "x"}, "image": {}}, "image.height None"),
        ("classes", {"labels": ["a", "b"]}, "2 labels 3 classes"),
        ("binary", {"labels": None}, "head one output regression labels"),
        ("classes", {"modules": {}}, "2 tensors norm_in.weight embedding_norm"),
        ("classes-pre", {"modules": {}}, "up, down head modules"),
        ("translator", {"bos": None}, "bos -1"),
        ("image", {"image": {**plain.IMAGE, "patch": 5}}, "5 9 12"),
        ("image", {"image": {**plain.IMAGE, "depth": 5}}, "image.depth height"),
        ("image", {"image": {**plain.IMAGE, "mean": [1]}}, "image.mean [1] 2"),
        ("image", {"image": {**plain.IMAGE, "height": 12}}, "13 positions 17"),
        ("image", {"task": "generate", "pooling": None}, "task 'generate' classify"),
        ("image-linear", {"image": {**plain.IMAGE, "order": "wh"}}, "image.order 'wh' hwc"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, name, fields, words):
    path = describe(write(tmp_path, CASES[name]), **fields)
    refused(path, *words.split(" "))


@pytest.mark.parametrize(
    "name, edit, words",
    [
        ("lm", lambda t: t.clear() or t.update(x=np.ones(3, "f4")), "no layers linear seen: x"),
        ("lm", lambda t: t.pop("embedding.weight"), "nothing embedding"),
        ("lm", lambda t: t.pop(f"{LAYER}.norm1.bias"), ""),
        ("lm", lambda t: t.pop(f"{LAYER}.linear2.weight"), "no tensor linear2.weight"),
        ("lm", lambda t: t.update({"a.weight": np.ones(3, "f4")}), "1 tensors a.weight unused"),
        (
            "lm",
            lambda t: t.update({f"{LAYER}.self_attn.bias_k": np.ones((1, 1, 52), "f4")}),
            "1 tensors self_attn.bias_k",
        ),
        (
            "lm",
            lambda t: t.update({"embedding.weight": np.ones((97, 52), np.int32)}),
            "embedding.weight I32 BF16",
        ),
        (
            "translator",
            lambda t: t.update({"src_embedding.weight": np.ones((90, 52), "f4")}),
            "90 97 one vocabulary",
        ),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit(tmp_path, name, edit, words):
    path = change(write(tmp_path, CASES[name]), edit)
    if words:
        refused(path, *[w for w in words.split(" ") if w != "linear"])
    else:
        assert read(path).task == "generate"  # a norm may go without its bias


@pytest.mark.parametrize(
    "name, words",
    [
        ("_orig_mod.transformer.h.0.attn.c_attn.weight", "GPT-2 nanoGPT"),
        ("model.layers.1.self_attn.q_proj.weight", "Llama"),
        ("layers.0.attention.wq.weight", "Llama export.py"),
        ("bert.encoder.layer.0.attention.self.query.weight", "BERT"),
        ("conv.weight", "no layers of nn.TransformerEncoder, such as"),
    ],
)
def test_models_of_others(tmp_path, name, words):
    """Which no description makes readable: what they are, and in what form they are read."""
    save_file({name: np.ones((2, 2), "f4"), "x.y": np.ones(2, "f4")}, tmp_path / "m.safetensors")
    way = "" if "conv" in name else " save_pretrained(FOLDER)"
    refused(tmp_path / "m.safetensors", *f"{words}{way}".split(" "))


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
def test_pt_files_without_torch(tmp_path):
    path = write(tmp_path, CASES["lm"])
    path.with_suffix(".pt").write_bytes(pickle.dumps({}))
    refused(path.with_suffix(".pt"), "model.pt", "pip install torch", "safetensors")


# With torch


@pytest.mark.slow
def test_the_example_of_the_guide(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(models.example("PyTorch"), names)
    assert main(["convert", "writer.pt"]) == 0
    tokens = np.arange(40) * 7 % VOCAB
    with torch.no_grad():
        expected = names["model"].eval()(torch.tensor(tokens[None]))[0].numpy()
    graph = read(tmp_path / "writer.pt")
    assert np.abs(FloatModel(graph).forward(tokens[None])[0] - expected).max() < 1e-4
    sim = Simulator("writer.pft")
    assert cosine(sim.logits(tokens.tolist()) * sim.logit_scale, expected) > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CASES)
def test_random_models_equal_pytorch(tmp_path, name, seed):
    """A .pt file of PyTorch's own initial weights: the graph, then the integers of the weights
    that they stand for, are the framework's."""
    torch = pytest.importorskip("torch")
    c = CASES[name]
    model = plain.module(c, seed)
    path = tmp_path / "model.pt"
    tensors = {c.prefix + n: t for n, t in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": tensors}, path)
    path.with_suffix(".json").write_text(json.dumps(c.description))
    graph = read(path)
    for n in 2, 7, c.context:
        tokens = np.random.default_rng(n).integers(0, VOCAB, n).tolist()
        expected = plain.framework(c, tokens, model)
        assert np.abs(run(graph, name, tokens) - expected).max() < 1e-4
    convert(path, tmp_path / "m.pft")
    rounded(torch, c, graph, model)
    off = cosine(simulated(tmp_path / "m.pft", name, tokens), plain.framework(c, tokens, model))
    print(f"\n{name} {seed}: cosine {off:.6f}")
    assert off >= 0.9995


def rounded(torch: Any, c: plain.Case, graph: Graph, model: Any) -> None:
    """Put the weights that the integers stand for into the framework's model."""
    weights = compile_graph(graph, calibrate(graph)).dequantized
    places = model.state_dict()

    def put(name: str, value: np.ndarray, rows: slice = slice(None)) -> None:
        place = places[name.removeprefix(c.prefix)]
        place[rows] = torch.tensor(value).reshape(place[rows].shape)

    def scaled(value: np.ndarray) -> np.ndarray:
        scale = c.given.get("embedding_scale", 1)
        return value / (np.sqrt(c.dim) if scale == "sqrt" else scale)

    both = len(c.layers) == 2
    for n in graph.encoder + graph.nodes:
        if isinstance(n, Embedding):
            value = weights[n.out if n.by == "token" else f"{n.out}:{n.by}"]
            if n.by == "token":
                separate = n.out == "e" and not c.tied
                put("src_embedding.weight" if separate else "embedding.weight", scaled(value))
            elif c.positions and not c.patches:
                name = {"pe": "pos_encoder.pe", "learned": "pos_embedding.weight"}
                put(name.get(c.positions, "positions"), value)
        if not isinstance(n, Linear):
            continue
        value = weights[n.out]
        part, _, rest = n.name.partition(".")
        if part in ("encoder", "decoder"):
            layer, block, what = rest.split(".")
            stack = f"transformer.{part}" if both else "transformer_encoder"
            p = f"{stack}.layers.{layer}."
            attention = p + {"self": "self_attn.", "cross": "multihead_attn."}.get(block, "")
            if block == "network":
                put(p + {"up": "linear1", "down": "linear2"}[what] + ".weight", value)
            elif what == "out":
                put(attention + "out_proj.weight", value)
            else:
                at = "qkv".index(what) * c.dim
                put(attention + "in_proj_weight", value, slice(at, at + c.dim))
        elif n.name != "projection.weight":
            put(n.name, value[-1:] if c.outputs == 1 else value)
