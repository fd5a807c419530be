"""Hugging Face folders: config.json, model.safetensors, tokenizer.json. Llama so far."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import Error
from ..graph import Array, Graph
from ..tokenizer import Vocabulary
from .llama import llama
from .tokenizers import read_tokenizer_json

# Fields that must have this value where they are present: what would change the result.
_REQUIRED: dict[str, Any] = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "rope_scaling": None,
    "sliding_window": None,
    "partial_rotary_factor": 1.0,
}


def read(folder: Path, tokenizer: str | Path | None = None) -> tuple[Graph, Vocabulary]:
    """Read a folder of a Llama model. Raises Error."""
    config = _config(folder / "config.json")
    kind = config.get("model_type")
    if kind != "llama":
        raise Error(f"{folder}: model_type is {kind!r}; supported: 'llama'")
    for name, expected in _REQUIRED.items():
        if config.get(name, expected) != expected:
            raise Error(
                f"{folder}: {name} is {config[name]!r}; supported: {expected!r}",
            )
    rope = config.get("rope_parameters") or {}  # where newer transformers keep it
    if not isinstance(rope, dict):
        raise Error(f"{folder}: rope_parameters is {rope!r}; expected an object")
    if rope.get("rope_type", "default") != "default":
        raise Error(f"{folder}: rope_type is {rope['rope_type']!r}; supported: 'default'")

    def number(name: str, default: int | None = None) -> int:
        v = config.get(name, default)
        if v is None and default is not None:
            v = default
        if not isinstance(v, int) or isinstance(v, bool) or not 0 < v < 1 << 24:
            raise Error(f"{folder}: {name} is {v!r} in config.json, expected a positive number")
        return v

    def real(name: str, default: float) -> float:
        v = config.get(name, rope.get(name, default))
        if not isinstance(v, int | float) or not v > 0:
            raise Error(f"{folder}: {name} is {v!r} in config.json, expected a positive number")
        return float(v)

    heads = number("num_attention_heads")
    dim = number("hidden_size")
    size = number("head_dim", dim // heads)
    kv_heads = number("num_key_value_heads", heads)
    vocab = number("vocab_size")
    hidden = number("intermediate_size")
    layers = number("num_hidden_layers")
    tied = bool(config.get("tie_word_embeddings", False))
    shapes: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj": (heads * size, dim),
        "self_attn.k_proj": (kv_heads * size, dim),
        "self_attn.v_proj": (kv_heads * size, dim),
        "self_attn.o_proj": (dim, heads * size),
        "mlp.gate_proj": (hidden, dim),
        "mlp.up_proj": (hidden, dim),
        "mlp.down_proj": (dim, hidden),
        "input_layernorm": (dim,),
        "post_attention_layernorm": (dim,),
        "embed_tokens": (vocab, dim),
        "lm_head": (vocab, dim),
        "norm": (dim,),
    }
    tensors = _tensors(folder / "model.safetensors")

    def tensor(name: str) -> Array:
        key = name if name in tensors else "model." + name
        if key not in tensors:
            raise Error(f"{folder}/model.safetensors has no tensor {name}")
        kind = ".".join(p for p in name.split(".")[:-1] if p != "layers" and not p.isdigit())
        if tensors[key].shape != shapes[kind]:
            raise Error(
                f"{folder}/model.safetensors: {name} has shape {tensors[key].shape}, "
                f"config.json says {shapes[kind]}"
            )
        return tensors[key]

    def special(name: str) -> int | None:
        v = config.get(name)
        v = v[0] if isinstance(v, list) and v else v
        return v if isinstance(v, int) and 0 <= v < vocab else None

    vocabulary = read_tokenizer_json(
        tokenizer or folder / "tokenizer.json",
        vocab,
        special("bos_token_id"),
        special("eos_token_id"),
    )
    graph = llama(
        tensor,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        size=size,
        frequencies=real("rope_theta", 10000.0) ** -(np.arange(0, size, 2) / size),
        eps=real("rms_norm_eps", 1e-6),
        vocab=vocab,
        context=number("max_position_embeddings", 2048),
        bos=vocabulary.bos,
        eos=vocabulary.eos,
        tied=tied,
        meta={"name": folder.resolve().name, "source": f"Hugging Face folder {folder.name}"},
    )
    return graph, vocabulary


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as e:
        raise Error(f"cannot read {path}: {e.strerror}; expected a Hugging Face folder") from e
    except ValueError as e:
        raise Error(f"{path} is not JSON: {e}") from e
    if not isinstance(config, dict):
        raise Error(f"{path} is not a JSON object")
    return config


def _tensors(path: Path) -> dict[str, Array]:
    """All tensors of a safetensors file as float32."""
    if not path.is_file():
        raise Error(f"{path} does not exist; expected the model's weights there")
    out: dict[str, Array] = {}
    try:
        with safe_open(path, framework="np") as f:
            for name in f.keys():  # noqa: SIM118
                kind = f.get_slice(name).get_dtype()
                if kind not in ("F16", "F32", "F64"):
                    raise Error(f"{path}: {name} is {kind}; supported: F16, F32")
                out[name] = f.get_tensor(name).astype(np.float32)
    except (SafetensorError, ValueError, OSError) as e:
        raise Error(f"{path} is truncated or not a safetensors file: {e}") from e
    return out
