"""The shipped story model is consistent; with torch, the code that trained it still works."""

import json
from pathlib import Path

import pytest

from picoformer.training import loop
from shipped import check_weights, llama_shapes, load, read_tensors

np = pytest.importorskip("numpy")
ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/stories"


@pytest.fixture(scope="module")
def config():
    return json.loads((MODEL / "config.json").read_text())


@pytest.fixture(scope="module")
def tensors():
    return read_tensors(MODEL)


def test_tensors_match_the_configuration(config, tensors):
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["tie_word_embeddings"] is True
    assert {name: t.shape for name, t in tensors.items()} == llama_shapes(config)
    assert sum(t.size for t in tensors.values()) == 248_512 <= 261_000


def test_weights_are_finite_float16_under_a_megabyte(tensors):
    check_weights(MODEL, tensors, 1_000_000)


def test_vocabulary_has_its_reserved_ids(config):
    model = json.loads((MODEL / "tokenizer.json").read_text())["model"]
    vocab = model["vocab"]
    assert model["type"] == "BPE" and model["byte_fallback"] is True
    assert sorted(vocab.values()) == list(range(config["vocab_size"])) == list(range(512))
    assert [vocab["<unk>"], vocab["<s>"], vocab["</s>"]] == [0, 1, 2]
    assert all(vocab[f"<0x{byte:02X}>"] == 3 + byte for byte in range(256))
    assert config["bos_token_id"] == 1 and config["eos_token_id"] == 2
    learned = [piece for piece, i in vocab.items() if i > 258]
    assert all("\u2581" not in piece[1:] for piece in learned), "the mark only begins a piece"
    merged = {"".join(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]}
    assert merged <= vocab.keys()
    assert all(len(piece) == 1 or piece in merged for piece in learned)


@pytest.fixture(scope="module")
def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    return tokenizers.Tokenizer.from_file(str(MODEL / "tokenizer.json"))


@pytest.mark.parametrize(
    "text",
    [
        "Once upon a time, there was a little girl named Lily.",
        'She said, "Hello!"\nThe cat ran.\n\nThe end.',
        " two  spaces ",
        "caf\u00e9, \u65e5\u672c and \U0001f600",
        "<0x41> 1984\t\x00",
    ],
)
def test_text_round_trips(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert 0 not in ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode(text).ids == [1, *ids]


def test_every_learned_piece_is_reached(tokenizer):
    for piece, i in tokenizer.get_vocab().items():
        if i > 258 and piece[0] == "\u2581" and len(piece) > 1:
            assert tokenizer.encode(piece[1:], add_special_tokens=False).ids == [i]


@pytest.fixture(scope="module")
def training():
    pytest.importorskip("torch")
    return load("stories")


@pytest.fixture(scope="module")
def tiny(training):
    return training.CONFIG | {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "head_dim": 8,
        "vocab_size": 64,
        "max_position_embeddings": 24,
    }


def test_cut_words_are_dropped(training):
    pieces = ["<unk>", "<s>", "</s>", " a", "b", " c", "\n"]
    ids = np.array([1, 3, 4, 5, 4, 6, 4])
    assert training.whole_words(ids, pieces := [p.encode() for p in pieces]).tolist() == [1, 3, 4]
    assert training.whole_words(np.array([1, 3, 1]), pieces).tolist() == [1, 3, 1]
    assert training.whole_words(np.array([1, 4, 4]), pieces).tolist() == [1]


def hugging_face_logits(tensors, c, ids):
    """A plain float64 reference of LlamaForCausalLM: (time,) ids -> (time, vocab)."""
    w = {name.removesuffix(".weight"): t.astype(np.float64) for name, t in tensors.items()}
    hd, time = c["head_dim"], len(ids)
    inverse = c["rope_theta"] ** -(np.arange(0, hd, 2) / hd)
    angle = np.tile(np.outer(np.arange(time), inverse), 2)[:, None]

    def norm(x, gain):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + c["rms_norm_eps"]) * gain

    def rotate(x):
        turned = np.concatenate([-x[..., hd // 2 :], x[..., : hd // 2]], -1)
        return x * np.cos(angle) + turned * np.sin(angle)

    x = w["model.embed_tokens"][ids]
    group = c["num_attention_heads"] // c["num_key_value_heads"]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = norm(x, w[p + "input_layernorm"])
        q, k, v = ((h @ w[f"{p}self_attn.{n}_proj"].T).reshape(time, -1, hd) for n in "qkv")
        q, k, v = rotate(q), rotate(k).repeat(group, 1), v.repeat(group, 1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(hd)
        scores[:, np.triu(np.ones((time, time), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", weights, v).reshape(time, -1)
        x = x + mixed @ w[p + "self_attn.o_proj"].T
        h = norm(x, w[p + "post_attention_layernorm"])
        gate = h @ w[p + "mlp.gate_proj"].T
        h = gate / (1 + np.exp(-gate)) * (h @ w[p + "mlp.up_proj"].T)
        x = x + h @ w[p + "mlp.down_proj"].T
    return norm(x, w["model.norm"]) @ w["model.embed_tokens"].T


def test_model_follows_hugging_face(training, tiny):
    import torch

    torch.manual_seed(3)
    tensors = training.to_tensors(training.Model(tiny))
    assert {name: t.shape for name, t in tensors.items()} == llama_shapes(tiny)
    model = training.from_tensors(tensors, tiny)
    ids = np.random.default_rng(5).integers(0, 64, 23)
    with torch.inference_mode():
        found = model(torch.from_numpy(ids)[None])[0].numpy()
    np.testing.assert_allclose(found, hugging_face_logits(tensors, tiny, ids), atol=1e-4)


def test_one_step_lowers_the_loss_and_padding_does_not_count(training, tiny):
    import torch

    torch.manual_seed(4)
    model = training.Model(tiny, mixed=True)
    rows = torch.randint(1, 64, (4, 25))
    optimizer = loop.adamw(model, 0.1, 0.98, fused=True)
    for group in optimizer.param_groups:
        group["lr"] = 3e-3
    before = model.loss(rows)
    before.backward()
    optimizer.step()
    assert model.loss(rows) < before
    padded = rows.clone()
    padded[:, 20:] = 0
    exact = model.loss(rows[:, :20])
    torch.testing.assert_close(model.loss(padded), exact, rtol=2e-2, atol=2e-2)
