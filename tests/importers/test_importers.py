"""Checkpoints of all forms give the same graph; what is not one gives one clear error."""

from __future__ import annotations

import json
import shutil
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import models
from models import CASES, LLAMA2C, Shape, random_checkpoint
from picoformer import Error, Simulator, convert, importers
from picoformer.graph.float_model import FloatModel
from picoformer.graph.nodes import Add, Attention, Gate, Linear, Norm
from turns import some


def reference(c: models.Checkpoint, tokens: list[int]) -> np.ndarray:
    """Logits (len(tokens), vocab) as llama2.c's run.c computes them, in float64.

    Written after run.c and with nothing of picoformer: one position at a time, one head at a
    time, rotating neighbouring pairs.
    """
    s = c.shape
    t = {name: w.astype(np.float64) for name, w in c.tensors.items()}
    size, kv = s.head, s.kv_heads * s.head
    keys = np.zeros((s.layers, len(tokens), kv))
    values = np.zeros((s.layers, len(tokens), kv))

    def rmsnorm(x, weight):
        return weight * (x * (1.0 / np.sqrt((x * x).sum() / x.size + 1e-5)))

    def rotate(vector, pos):
        for i in range(0, vector.size, 2):
            angle = pos / 10000.0 ** ((i % size) / size)
            a, b = vector[i], vector[i + 1]
            vector[i] = a * np.cos(angle) - b * np.sin(angle)
            vector[i + 1] = a * np.sin(angle) + b * np.cos(angle)

    out = []
    for pos, token in enumerate(tokens):
        x = t["embedding"][token].copy()
        for layer in range(s.layers):
            xb = rmsnorm(x, t["norm1"][layer])
            q = t["wq"][layer] @ xb
            k = t["wk"][layer] @ xb
            rotate(q, pos)
            rotate(k, pos)
            keys[layer, pos] = k
            values[layer, pos] = t["wv"][layer] @ xb
            xb = np.zeros(s.heads * size)
            for h in range(s.heads):
                at = h // (s.heads // s.kv_heads) * size
                mine = q[h * size : (h + 1) * size]
                score = np.array(
                    [mine @ keys[layer, p, at : at + size] / np.sqrt(size) for p in range(pos + 1)]
                )
                weight = np.exp(score - score.max())
                weight /= weight.sum()
                for p in range(pos + 1):
                    xb[h * size : (h + 1) * size] += weight[p] * values[layer, p, at : at + size]
            x += t["wo"][layer] @ xb
            xb = rmsnorm(x, t["norm2"][layer])
            hb = t["w1"][layer] @ xb
            hb *= 1.0 / (1.0 + np.exp(-hb))
            hb *= t["w3"][layer] @ xb
            x += t["w2"][layer] @ hb
        out.append((t["embedding"] if s.shared else t["head"]) @ rmsnorm(x, t["norm"]))
    return np.array(out)


def float_logits(graph, tokens):
    return FloatModel(graph).forward(np.array([tokens]))[0]


def assert_same_graph(a, b):
    assert (a.vocab, a.context, a.bos, set(a.ends)) == (b.vocab, b.context, b.bos, set(b.ends))
    assert len(a.nodes) == len(b.nodes)
    for one, other in zip(a.nodes, b.nodes, strict=True):
        assert type(one) is type(other)
        for name, value in vars(one).items():
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


# What is read


@pytest.mark.parametrize("name", some(LLAMA2C, 2))
def test_float_logits_equal_llama2c(case, name):
    c = case(name)
    tokens = c.tokens(12)
    expected = reference(c.checkpoint, tokens)
    assert np.abs(float_logits(c.graph, tokens) - expected).max() < 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("shared", [True, False])
def test_every_header_gives_the_same_graph(tmp_path, shared):
    c = random_checkpoint(Shape(12, 21, 2, 2, 1, 265, 10, shared=shared))
    legacy, words = importers.read(models.write_llama2c(tmp_path / "0", c, 0))
    first, words1 = importers.read(models.write_llama2c(tmp_path / "1", c, 1))
    assert_same_graph(legacy, first)
    assert words == words1
    # A shared classifier is one tensor: it is quantized and stored once.
    tied = legacy.nodes[-1].weight is legacy.nodes[0].weight
    assert tied == shared == (first.nodes[-1].weight is first.nodes[0].weight)
    assert legacy.parameters == sum(w.size for w in c.tensors.values())


@pytest.mark.parametrize("name", LLAMA2C)
def test_hugging_face_gives_the_same_logits(case, tmp_path, name):
    """Half-rotated queries and keys, from the same checkpoint that llama2.c has in pairs."""
    c = case(name)
    graph, _ = importers.read(models.write_hf(tmp_path / "hf", c.checkpoint))
    tokens = c.tokens(10)
    expected = float_logits(c.graph, tokens)
    np.testing.assert_allclose(float_logits(graph, tokens), expected, rtol=0, atol=1e-9)


def test_head_size_that_is_not_dim_over_heads(case):
    """Only Hugging Face has these; the reference knows the head size too."""
    c = case("size10")
    tokens = c.tokens(12)
    expected = reference(c.checkpoint, tokens)
    np.testing.assert_allclose(float_logits(c.graph, tokens), expected, rtol=0, atol=1e-9)


def test_float16_is_read_exactly(tmp_path):
    c = random_checkpoint(CASES["size10"]).half()
    half, _ = importers.read(models.write_hf(tmp_path / "16", c, "float16"))
    full, _ = importers.read(models.write_hf(tmp_path / "32", c, "float32"))
    assert_same_graph(half, full)


def test_graph_of_a_llama(case):
    nodes = case("deep").graph.nodes
    assert len(nodes) == 1 + 8 * 13 + 2
    kinds = [Norm, Linear, Linear, Linear, Attention, Linear, Add]
    kinds += [Norm, Linear, Linear, Gate, Linear, Add]
    assert [type(n) for n in nodes[1:14]] == kinds


def test_tensor_names_without_the_prefix(tmp_path):
    folder = models.write_hf(tmp_path, random_checkpoint(CASES["size10"]))
    before, _ = importers.read(folder)
    file = folder / "model.safetensors"
    save_file({n.removeprefix("model."): t for n, t in load_file(file).items()}, file)
    after, _ = importers.read(folder)
    assert_same_graph(before, after)


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": 500.0},
        {"rope_theta": None, "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}},
    ],
)
def test_rotation_and_epsilon_come_from_the_config(tmp_path, changes):
    folder = models.write_hf(tmp_path, random_checkpoint(CASES["size10"]))
    edit(folder, rms_norm_eps=0.25, **changes)
    graph, _ = importers.read(folder)
    attention = next(n for n in graph.nodes if isinstance(n, Attention))
    np.testing.assert_allclose(attention.frequencies, 500.0 ** -(np.arange(0, 10, 2) / 10))
    assert {n.eps for n in graph.nodes if isinstance(n, Norm)} == {0.25}


def test_defaults_of_absent_fields(tmp_path):
    """Older folders leave out what equals the architecture's default."""
    c = random_checkpoint(Shape(12, 20, 1, 2, 2, 97, 2048))
    folder = models.write_hf(tmp_path, c)
    before, _ = importers.read(folder)
    edit(folder, head_dim=None, num_key_value_heads=None, max_position_embeddings=None,
         rope_theta=None, attention_bias=None, mlp_bias=None)  # fmt: skip
    after, _ = importers.read(folder)
    assert_same_graph(before, after)


def test_the_tokenizer_may_lie_elsewhere(tmp_path):
    path = models.write_llama2c(tmp_path / "a", random_checkpoint(CASES["size2"]))
    elsewhere = tmp_path / "words.bin"
    (path.parent / "tok.bin").rename(elsewhere)
    _, words = importers.read(path, elsewhere)
    assert len(words.pieces) == 259
    report = convert(path, tmp_path / "m.pft", tokenizer=elsewhere)
    assert report.context == 20
    assert Simulator(tmp_path / "m.pft").vocab == 259


def test_llama2c_without_a_tokenizer_takes_token_ids(tmp_path):
    """And of any vocabulary: as a PyTorch model without one."""
    path = models.write_llama2c(tmp_path / "a", random_checkpoint(Shape(8, 12, 1, 2, 1, 30, 12)))
    (path.parent / "tok.bin").unlink()
    assert not convert(path, tmp_path / "m.pft").text
    sim = Simulator(tmp_path / "m.pft")
    assert (sim.vocab, sim.model.bos, sim.model.ends) == (30, 1, (2, 1))
    assert sim.logits([1, 5]).shape == (2, 30)
    assert sim.tokenizer.encode("ab") == [] and "".join(sim.generate("", 5)) == ""


def test_llama2c_tokenizers_of_the_checkpoints_name(tmp_path):
    path = models.write_llama2c(tmp_path / "a", random_checkpoint(CASES["size2"]))
    (path.parent / "tok.bin").rename(path.parent / "model_tok.bin")
    assert any(importers.read(path)[1].pieces)
    shutil.copy(path.parent / "model_tok.bin", path.parent / "model-tokens.bin")
    refused(path, "several tokenizers", "model-tokens.bin, model_tok.bin", "--tokenizer")


def test_our_own_model(stories):
    assert stories.report.parameters <= 261_000
    assert stories.report.context == 256
    assert (stories.sim.model.bos, stories.sim.model.ends) == (1, (2,))


def test_the_real_checkpoint(stories260k):
    """Acceptance: at most 300,000 bytes, in less than 5 s."""
    assert stories260k.report.parameters == 260_032
    assert stories260k.report.bytes <= 300_000
    assert stories260k.report.seconds < 5
    assert stories260k.report.context == 256
    tokens = stories260k.sim.tokenizer.encode("Once upon a time")
    assert tokens == [403, 407, 261, 378]


# What is refused


def refused(source, *words, **options):
    """The message of the one error that reading `source` gives; it has all the words."""
    with pytest.raises(Error) as caught:
        importers.read(source, **options)
    message = str(caught.value)
    assert type(caught.value) is Error
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    models.write_llama2c(folder / "0", random_checkpoint(CASES["size2"]), 0)
    models.write_llama2c(folder / "1", random_checkpoint(CASES["size2"]), 1)
    models.write_hf(folder / "hf", random_checkpoint(CASES["size10"]))
    return folder


@pytest.fixture
def old(good, tmp_path):
    """A good legacy checkpoint to spoil."""
    shutil.copytree(good / "0", tmp_path / "old")
    return tmp_path / "old" / "model.bin"


@pytest.fixture
def new(good, tmp_path):
    shutil.copytree(good / "1", tmp_path / "new")
    return tmp_path / "new" / "model.bin"


@pytest.fixture
def hf(good, tmp_path):
    shutil.copytree(good / "hf", tmp_path / "hf")
    return tmp_path / "hf"


def edit(folder, **changes):
    """Change fields of config.json; None takes one away."""
    path = folder / "config.json"
    fields = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))


def test_no_such_file(tmp_path):
    refused(tmp_path / "nothing.bin", "nothing.bin", "does not exist", "llama2.c")


def test_what_is_not_the_source_itself(tmp_path, case, hf):
    """A model that was converted already; a file of a folder."""
    refused(case("size26").file(), "is a picoformer model already", "llama2.c")
    refused(hf / "model.safetensors", "part of a Hugging Face folder: give the folder", "/hf")


@pytest.mark.parametrize("n", [0, 3, 27, 28, 100, 2000, -1])
def test_truncated_legacy_checkpoint(old, n):
    data = old.read_bytes()
    old.write_bytes(data[:n])
    words = "an empty file" if n == 0 else "too few" if 0 <= n < 28 else "truncated"
    refused(old, "model.bin", words)


@pytest.mark.parametrize("n", [4, 30, 255, 256, 5000, -4])
def test_truncated_version_1_checkpoint(new, n):
    new.write_bytes(new.read_bytes()[:n])
    refused(new, "model.bin", "too few" if 0 <= n < 28 else "truncated")


@pytest.mark.parametrize("extra", [1, 4, 4096])
def test_checkpoint_that_is_too_long(old, new, extra):
    for path in old, new:
        path.write_bytes(path.read_bytes() + bytes(extra))
        refused(path, "bytes", "its header", "says")


@pytest.mark.parametrize("data", [bytes(1000), b"\xff" * 1000], ids=["zeros", "ones"])
def test_foreign_file(old, data):
    old.write_bytes(data)
    refused(old, "not a llama2.c checkpoint")


@pytest.mark.parametrize("version", [0, 2, 3, -1])
def test_unsupported_version(new, version):
    data = bytearray(new.read_bytes())
    struct.pack_into("<i", data, 4, version)
    new.write_bytes(data)
    refused(new, f"version {version}", "supported")


@pytest.mark.parametrize(
    "field, value, word",
    [
        (0, 51, "dim 51"),  # not a multiple of the heads
        (0, -52, "dim is -52"),
        (1, 0, "hidden is 0"),
        (2, 1000, "layers is 1000"),
        (3, 52, "52 heads"),  # a head of one element
        (4, 5, "5 kv heads"),  # does not divide the heads
        (5, 0, "vocabulary is 0"),
        (6, -1, "context is -1"),
        (1, 98, "hidden 98"),  # and then the size is wrong
        (6, 21, "context 21"),
    ],
)
def test_impossible_dimensions(old, field, value, word):
    data = bytearray(old.read_bytes())
    struct.pack_into("<i", data, 4 * field, value)
    old.write_bytes(data)
    refused(old, word)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_checkpoint_that_is_not_finite(old, value):
    data = bytearray(old.read_bytes())
    struct.pack_into("<f", data, 28 + 4 * 500, value)
    old.write_bytes(data)
    refused(old, "infinite or NaN")


def test_two_tokenizers(old):
    shutil.copy(old.parent / "tok.bin", old.parent / "tok2.bin")
    refused(old, "tok.bin, tok2.bin", "--tokenizer")


def test_named_tokenizer_is_not_there(old, hf):
    refused(old, "missing.bin", tokenizer=old.parent / "missing.bin")
    refused(hf, "missing.json", tokenizer=hf / "missing.json")


def test_tokenizer_of_another_size(old, hf):
    (old.parent / "tok.bin").write_bytes(models.tokenizer_bytes(270))
    refused(old, "259", "tokenizer of this checkpoint")
    (old.parent / "tok.bin").write_bytes(models.tokenizer_bytes(259)[:-20])
    refused(old, "tok.bin", "ends")
    (hf / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(99)))
    refused(hf, "99 tokens", "97")


def test_tokenizer_that_is_something_else(old):
    """The checkpoint itself, and the other format's tokenizer."""
    refused(old, "not a llama2.c tokenizer", tokenizer=old)
    other = old.parent / "tokenizer.json"
    other.write_text(json.dumps(models.tokenizer_json(97)))
    refused(old, "not a llama2.c tokenizer", tokenizer=other)


@pytest.mark.parametrize(
    "name, word",
    [("config.json", "config.json"), ("model.safetensors", "model.safetensors"),
     ("tokenizer.json", "tokenizer.json")],
)  # fmt: skip
def test_missing_file_in_a_folder(hf, name, word):
    (hf / name).unlink()
    refused(hf, word)


def test_empty_folder(tmp_path):
    refused(tmp_path, "config.json", "Hugging Face")


@pytest.mark.parametrize("text", ["", "{", "[1]", '"llama"', "null", "\x00\x01", "{}"])
def test_config_that_is_not_one(hf, text):
    (hf / "config.json").write_text(text)
    refused(hf, "model_type" if text == "{}" else "config.json")


def test_config_in_another_encoding(hf):
    (hf / "config.json").write_bytes(b"\xff\xfe{\x00}\x00")
    refused(hf, "config.json")


@pytest.mark.parametrize(
    "field, value, seen",
    [
        ("model_type", "gemma3", "'gemma3'"),
        ("hidden_act", "quick_gelu", "'quick_gelu'"),
        ("architectures", ["LlamaForSequenceClassification"], "LlamaForSequenceClassification"),
        ("attention_bias", "yes", "'yes'"),
        ("mlp_bias", 1, "1"),
        ("quantization_config", {"quant_method": "awq"}, "awq"),
        ("rope_scaling", {"type": "yarn", "factor": 2.0}, "yarn"),
        ("partial_rotary_factor", 0.5, "0.5"),
        ("rope_parameters", {"rope_type": "longrope", "rope_theta": 1e4}, "longrope"),
        ("rope_parameters", {"rope_theta": 1e4, "partial_rotary_factor": 0.5}, "0.5"),
        ("rope_parameters", [1, 2], "[1, 2]"),
        ("hidden_size", "64", "'64'"),
        ("hidden_size", 64.5, "64.5"),
        ("num_hidden_layers", 0, "0"),
        ("num_attention_heads", -3, "-3"),
        ("vocab_size", True, "True"),
        ("rms_norm_eps", 0, "0"),
        ("rms_norm_eps", "small", "'small'"),
        ("rope_theta", -1.0, "-1.0"),
        ("head_dim", 1 << 30, str(1 << 30)),
    ],
)
def test_unsupported_config(hf, field, value, seen):
    edit(hf, **{field: value})
    names = {"yarn": "rope_type", "longrope": "rope_type", "0.5": "partial_rotary_factor"}
    refused(hf, names.get(seen, field), seen)


@pytest.mark.parametrize(
    "field", ["hidden_size", "vocab_size", "num_hidden_layers", "intermediate_size"]
)
def test_missing_dimension(hf, field):
    edit(hf, **{field: None})
    refused(hf, field, "None")


@pytest.mark.parametrize(
    "field, value, word",
    [
        ("hidden_size", 48, "has shape"),
        ("intermediate_size", 96, "has shape"),
        ("num_hidden_layers", 2, "layers.1"),
        ("num_attention_heads", 4, "has shape"),
        ("vocab_size", 98, "has shape"),
        ("head_dim", 12, "has shape"),
    ],
)
def test_config_that_does_not_fit_the_weights(hf, field, value, word):
    edit(hf, **{field: value})
    refused(hf, word)


def test_odd_head_size(hf, tmp_path):
    c = random_checkpoint(Shape(12, 20, 1, 3, 1, 97, 16, size=10))
    folder = models.write_hf(tmp_path / "odd", c)
    t = load_file(folder / "model.safetensors")
    for name in list(t):
        if "q_proj" in name or "k_proj" in name or "v_proj" in name:
            heads = 3 if "q_proj" in name else 1
            t[name] = np.ascontiguousarray(t[name][: heads * 9])
        if "o_proj" in name:
            t[name] = np.ascontiguousarray(t[name][:, :27])
    save_file(t, folder / "model.safetensors")
    edit(folder, head_dim=9)
    refused(folder, "even")


def test_heads_that_cannot_share(tmp_path):
    c = random_checkpoint(Shape(12, 20, 1, 3, 1, 97, 16, size=4))
    folder = models.write_hf(tmp_path, c)
    t = load_file(folder / "model.safetensors")
    for name in list(t):
        if "k_proj" in name or "v_proj" in name:
            t[name] = np.concatenate([t[name], t[name]])
    save_file(t, folder / "model.safetensors")
    edit(folder, num_key_value_heads=2)
    refused(folder, "3 heads", "2")


@pytest.mark.parametrize("n", [0, 4, 8, 200, 3000, -1])
def test_truncated_safetensors(hf, n):
    path = hf / "model.safetensors"
    path.write_bytes(path.read_bytes()[:n])
    refused(hf, "model.safetensors", "truncated")


def test_foreign_safetensors(hf):
    (hf / "model.safetensors").write_bytes(b"PK\x03\x04" + bytes(range(256)) * 40)
    refused(hf, "model.safetensors", "zip archive", "what safetensors or torch.save")


@pytest.mark.parametrize("kind, width", [("F8_E4M3", 1), ("I8", 1), ("I64", 8)])
def test_other_types_of_numbers_are_named(hf, kind, width):
    """Written by hand: numpy has no 8-bit floats."""
    path = hf / "model.safetensors"
    parts, header, at = [], {}, 0
    for name, tensor in load_file(path).items():
        n = tensor.size * width
        header[name] = {
            "dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, at + n],
        }  # fmt: skip
        parts.append(bytes(n))
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    refused(hf, f"is {kind}", "BF16", "F32")


def test_missing_tensor(hf):
    path = hf / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, path)
    refused(hf, "layers.0.mlp.up_proj")


def test_untied_without_a_head(hf):
    path = hf / "model.safetensors"
    tensors = load_file(path)
    del tensors["lm_head.weight"]
    save_file(tensors, path)
    refused(hf, "lm_head")
    edit(hf, tie_word_embeddings=True)
    importers.read(hf)


def test_not_finite_in_a_folder(hf):
    path = hf / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"][3] = np.nan
    save_file(tensors, path)
    refused(hf, "infinite or NaN")


@pytest.mark.parametrize("context", [0, 1, 21, 22, -2])
def test_impossible_context(old, tmp_path, context):
    with pytest.raises(Error, match=f"context is {context}"):
        convert(old, tmp_path / "m.pft", context=context)
    assert not (tmp_path / "m.pft").exists()


def test_convert_leaves_nothing_behind_on_error(old, tmp_path):
    old.write_bytes(old.read_bytes()[:-4])
    with pytest.raises(Error, match="truncated"):
        convert(old, tmp_path / "m.pft")
    assert not list(tmp_path.glob("m.pft*"))
    with pytest.raises(Error, match="cannot write"):
        convert(models.STORIES, tmp_path / "no" / "such" / "m.pft")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["size26", "deep", "long"])
def test_float_logits_equal_transformers(case, tmp_path, name):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    c = case(name)
    folder = models.write_hf(tmp_path / "hf", c.checkpoint)
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float64)
    graph, _ = importers.read(folder)
    tokens = c.tokens(min(c.shape.context, 30))
    with torch.no_grad():
        expected = model(torch.tensor([tokens])).logits[0].numpy()
    # transformers rotates with tables in float32.
    assert np.abs(float_logits(graph, tokens) - expected).max() < 1e-4
