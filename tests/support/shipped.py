"""What the tests of the models that are shipped, and of the tools that trained them, share."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> Any:
    """The module tools/training/NAME.py."""
    return importlib.import_module(f"tools.training.{name}")


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """The tensors of a folder."""
    load_file = pytest.importorskip("safetensors.numpy").load_file
    found: dict[str, np.ndarray] = load_file(folder / "model.safetensors")
    return found


# Hugging Face's names and shapes.


def norm(name: str, d: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (d,), f"{name}.bias": (d,)}


def linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def torch_shapes(d: int, hidden: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Of an nn.TransformerEncoder called `encoder`, with a norm behind its layers."""
    shapes = norm("encoder.norm", d)
    for i in range(layers):
        at = f"encoder.layers.{i}."
        shapes |= {
            at + "self_attn.in_proj_weight": (3 * d, d),
            at + "self_attn.in_proj_bias": (3 * d,),
            **linear(at + "self_attn.out_proj", d, d),
            **linear(at + "linear1", hidden, d),
            **linear(at + "linear2", d, hidden),
            **norm(at + "norm1", d),
            **norm(at + "norm2", d),
        }
    return shapes


def bert_shapes(c: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Of BERT without a pooler and a head."""
    d, hidden = c["hidden_size"], c["intermediate_size"]
    at = "bert.embeddings."
    shapes = {
        at + "word_embeddings.weight": (c["vocab_size"], d),
        at + "position_embeddings.weight": (c["max_position_embeddings"], d),
        at + "token_type_embeddings.weight": (c["type_vocab_size"], d),
        **norm(at + "LayerNorm", d),
    }
    for i in range(c["num_hidden_layers"]):
        at = f"bert.encoder.layer.{i}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= linear(f"{at}attention.{part}", d, d)
        shapes |= norm(at + "attention.output.LayerNorm", d)
        shapes |= linear(at + "intermediate.dense", hidden, d)
        shapes |= linear(at + "output.dense", d, hidden) | norm(at + "output.LayerNorm", d)
    return shapes


def llama_shapes(c: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Of a Llama whose classifier is its embedding."""
    d, hidden = c["hidden_size"], c["intermediate_size"]
    q, kv = (c[k] * c["head_dim"] for k in ("num_attention_heads", "num_key_value_heads"))
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (c["vocab_size"], d),
        "model.norm.weight": (d,),
    }
    for i in range(c["num_hidden_layers"]):
        layer: dict[str, tuple[int, ...]] = {
            "input_layernorm": (d,),
            "self_attn.q_proj": (q, d),
            "self_attn.k_proj": (kv, d),
            "self_attn.v_proj": (kv, d),
            "self_attn.o_proj": (d, q),
            "post_attention_layernorm": (d,),
            "mlp.gate_proj": (hidden, d),
            "mlp.up_proj": (hidden, d),
            "mlp.down_proj": (d, hidden),
        }
        shapes |= {f"model.layers.{i}.{n}.weight": shape for n, shape in layer.items()}
    return shapes


def check_weights(folder: Path, tensors: dict[str, np.ndarray], limit: int) -> None:
    """Finite float16, in a file of less than `limit` bytes."""
    assert (folder / "model.safetensors").stat().st_size < limit
    for key, tensor in tensors.items():
        assert tensor.dtype == np.float16, key
        assert np.isfinite(tensor).all(), key


def check_rows(tensors: dict[str, np.ndarray]) -> None:
    """A row has one 8-bit scale: its largest weight must not dwarf the others."""
    for key, tensor in tensors.items():
        if tensor.ndim in (2, 4):
            rows = tensor.astype(np.float32).reshape(len(tensor), -1)
            peak = np.abs(rows).max(1) / np.sqrt((rows**2).mean(1) + 1e-12)
            assert np.median(peak) < 5, key


def check_pieces(model: dict[str, Any], size: int, special: list[str]) -> None:
    """The model of a tokenizer.json is WordPiece, and knows every ASCII word."""
    vocab = model["vocab"]
    assert model["type"] == "WordPiece" and model["unk_token"] == "[UNK]"
    assert sorted(vocab.values()) == list(range(size))
    assert [vocab[piece] for piece in special] == [0, 1, 2, 3]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    assert all(c in vocab and f"##{c}" in vocab for c in letters), "ASCII words never are [UNK]"


def percent(right: int, total: int) -> str:
    """A share with its standard error, as cards have it."""
    share = right / total
    return f"{100 * share:.2f} % \u00b1 {100 * (share * (1 - share) / total) ** 0.5:.2f}"


def check_card(folder: Path, stored: dict[str, int], keys: tuple[str, ...]) -> None:
    """A card states the figures of these keys; 8 bits lose 0.3 points at most."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    for key in keys:
        assert percent(stored[key], stored["total"]) in card, key
        assert f"{stored[key]:,} of {stored['total']:,}" in card, key
    assert f"{stored['parameters']:,}" in card
    assert stored["right"] - stored["int8"] <= 0.003 * stored["total"]


class Stop(Exception):
    """What ends a training behind its first checkpoint."""


@contextmanager
def stopped(
    monkeypatch: pytest.MonkeyPatch, module: Any, clock: Iterator[int]
) -> Iterator[None]:
    """Training in `module` ends where it first saves; the clock makes it do so early."""

    def interrupted(path: Path, write: Callable[[Path], Any]) -> None:
        original(path, write)
        raise Stop

    original = module.save_atomically
    monkeypatch.setattr(module.time, "time", lambda: next(clock))
    monkeypatch.setattr(module, "save_atomically", interrupted)
    with pytest.raises(Stop):
        yield
    monkeypatch.setattr(module, "save_atomically", original)
