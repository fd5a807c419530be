"""GGUF files of Hugging Face folders, as llama.cpp's converter makes them, written by hand."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

P = "tokenizer.ggml."
BYTE_NAMES = {f"<0x{b:02X}>" for b in range(256)}
NAMES = {
    "embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def pairs(t: np.ndarray, heads: int) -> np.ndarray:
    """`permute` of llama.cpp's converter: halves of a head to neighbours."""
    return t.reshape(heads, 2, len(t) // heads // 2, *t.shape[1:]).swapaxes(1, 2).reshape(t.shape)


def tensors(folder: Path) -> dict[str, np.ndarray]:
    """A folder's tensors by the names of GGUF."""
    config = json.loads((folder / "config.json").read_text())
    out = {}
    for name, t in load_file(folder / "model.safetensors").items():
        parts = name.removeprefix("model.").split(".")
        layer = f"blk.{parts[1]}." if parts[0] == "layers" else ""
        part = ".".join(parts[2 if layer else 0 : -1])
        if config["model_type"] == "llama" and part in ("self_attn.q_proj", "self_attn.k_proj"):
            q = part.endswith("q_proj")
            t = pairs(t, config["num_attention_heads" if q else "num_key_value_heads"])
        out[f"{layer}{NAMES[part]}.{parts[-1]}"] = t
    return out


def fields(folder: Path, **more: Any) -> dict[str, Any]:
    """What the file says of a folder's model."""
    c = json.loads((folder / "config.json").read_text())
    kind = c["model_type"]
    size = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    made = {
        "embedding_length": c["hidden_size"],
        "block_count": c["num_hidden_layers"],
        "feed_forward_length": c["intermediate_size"],
        "attention.head_count": c["num_attention_heads"],
        "attention.head_count_kv": c["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": c["rms_norm_eps"],
        "attention.key_length": size,
        "rope.dimension_count": size,
        "rope.freq_base": c.get("rope_theta", 10000.0),
        "context_length": c["max_position_embeddings"],
    }
    return {
        "general.architecture": kind,
        **{f"{kind}.{name}": value for name, value in made.items()},
        "tokenizer.ggml.bos_token_id": c["bos_token_id"],
        "tokenizer.ggml.eos_token_id": c["eos_token_id"],
        **more,
    }


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _typed(value: Any) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, _text(value)
    items = [_typed(v) for v in value]
    head = struct.pack("<IQ", items[0][0] if items else 8, len(items))
    return 9, head + b"".join(data for _, data in items)


Raw = tuple[int, tuple[int, ...], bytes]


def save(path: Path, says: dict[str, Any], stored: dict[str, Raw]) -> Path:
    """A file of fields, and of tensors: (type, shape, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(stored), len(says))
    for name, value in says.items():
        kind, data = _typed(value)
        head += _text(name) + struct.pack("<I", kind) + data
    at, parts = 0, []
    for name, (kind, shape, data) in stored.items():
        head += _text(name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *shape[::-1]) + struct.pack("<IQ", kind, at)
        data += bytes(-len(data) % 32)
        parts.append(data)
        at += len(data)
    path.write_bytes(head + bytes(-len(head) % 32) + b"".join(parts))
    return path


def floats(t: np.ndarray) -> Raw:
    return 0, t.shape, t.astype("<f4").tobytes()


def halves(t: np.ndarray) -> Raw:
    return (1, t.shape, t.astype("<f2").tobytes()) if t.ndim > 1 else floats(t)


def q8_0(t: np.ndarray) -> Raw:
    """Blocks of 32 with a scale; vectors, and rows of other lengths, are left in floats."""
    if t.ndim < 2 or t.shape[1] % 32:
        return floats(t)
    blocks = t.reshape(-1, 32)
    scale = (np.abs(blocks).max(1, keepdims=True) / 127).astype("<f2")
    q = np.rint(blocks / np.maximum(scale.astype("<f4"), 1e-9)).clip(-127, 127).astype("i1")
    return 8, t.shape, np.concatenate([scale.view("u1"), q.view("u1")], 1).tobytes()


def tokens_of(folder: Path) -> dict[str, Any]:
    """The tokenizer of a folder as SentencePiece's tokens, scores and kinds."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    rank = {"".join(m if isinstance(m, list) else m.split(" ")): -float(i)
            for i, m in reversed(list(enumerate(model["merges"])))}  # fmt: skip
    kinds = [2, 3, 3, *(6 if t in BYTE_NAMES else 1 for t in tokens[3:])]
    return {
        P + "model": "llama", P + "tokens": tokens, P + "token_type": kinds,
        P + "scores": [rank.get(t, -1e6) for t in tokens], P + "unknown_token_id": 0,
    }  # fmt: skip


def write(path: Path, folder: Path, how: Any = floats, **more: Any) -> Path:
    """A folder's model as a GGUF file; how: what becomes of each tensor."""
    stored = {name: how(t) for name, t in tensors(folder).items()}
    return save(path, fields(folder, **more), stored)
