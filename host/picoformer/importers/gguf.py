"""GGUF files (llama.cpp's) of Llama, Qwen2 and 3, read as the Hugging Face folders they were."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ..errors import Error
from ..graph.nodes import Array, Graph
from ..tokenizers.tokenizer_json.byte_level import llama_words
from ..tokenizers.tokenizer_json.template import begins_with
from ..tokenizers.vocabulary import Vocabulary
from . import huggingface
from .gguf_file import GgufFile
from .rotary import turns

_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
_FIELDS = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "max_position_embeddings": "context_length",
}
_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER = re.compile(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)")
# Kinds of tokens, as SentencePiece has them.
_NORMAL, _UNKNOWN, _CONTROL, _USER = 1, 2, 3, 4
_SPACE = "\u2581"
# How texts are split in front of byte-level BPE: a regular expression, or GPT-2's own.
_SPLITS = {
    "gpt-2": "",
    "default": "",
    "llama-bpe": llama_words(r"\p{N}{1,3}"),
    "qwen2": llama_words(r"\p{N}"),
}
_DIGITS = ("smollm",)  # one by one, then as GPT-2


def read(path: Path, tokenizer: str | Path | None = None) -> tuple[Graph, Vocabulary]:
    """The graph of a GGUF file and its vocabulary. Raises Error.

    tokenizer: its file, where it is not that in the file.
    """
    file = GgufFile(path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fields = _config(file)
        (folder / "config.json").write_text(json.dumps(fields))
        save_file(_tensors(file, fields), folder / "model.safetensors")
        if tokenizer is None:
            (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(file)), "utf-8")
        try:
            graph, vocabulary = huggingface.read(folder, tokenizer)
        except Error as e:
            raise Error(str(e).replace(name, str(path))) from e
    graph.meta |= {"name": path.stem, "source": f"GGUF file {path.name}"}
    if isinstance(licence := file.fields.get("general.license"), str):
        graph.meta["licence"] = licence
    return graph, vocabulary


def _config(file: GgufFile) -> dict[str, Any]:
    """config.json's fields. Raises Error."""
    kind = file.get("general.architecture", str)
    if kind not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise Error(
            f"{file.path}: general.architecture is {kind!r}; supported: {known}; of others the "
            "Hugging Face folder can be converted"
        )
    fields = {new: file.get(f"{kind}.{old}", int) for new, old in _FIELDS.items()}
    heads, dim = fields["num_attention_heads"], fields["hidden_size"]
    if heads < 1 or "token_embd.weight" not in file.tensors:
        raise Error(f"{file.path}: {heads} heads, {len(file.tensors)} tensors: not a whole model")
    size = file.get(f"{kind}.attention.key_length", int, dim // heads)
    turned = file.get(f"{kind}.rope.dimension_count", int, size)
    if turned != size:
        raise Error(f"{file.path}: {kind}.rope.dimension_count is {turned}; supported: {size}")
    return {
        **fields,
        "model_type": kind,
        "architectures": [_ARCHITECTURES[kind]],
        "vocab_size": file.tensors["token_embd.weight"].shape[0],
        "head_dim": size,
        "num_key_value_heads": file.get(f"{kind}.attention.head_count_kv", int, heads),
        "rms_norm_eps": file.get(f"{kind}.attention.layer_norm_rms_epsilon", float),
        "rope_theta": file.get(f"{kind}.rope.freq_base", float, 10000.0),
        "rope_scaling": _scaling(file, kind, size),
        "attention_bias": "blk.0.attn_output.bias" in file.tensors,
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "bos_token_id": file.fields.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": file.fields.get("tokenizer.ggml.eos_token_id"),
    }


def _scaling(file: GgufFile, kind: str, size: int) -> dict[str, Any] | None:
    """rope_scaling. Raises Error."""
    if "rope_freqs.weight" in file.tensors:  # what became of Llama 3's
        factors = file.array("rope_freqs.weight")
        if factors.shape != (size // 2,) or not (factors > 0).all():
            raise Error(f"{file.path}: rope_freqs.weight is not {size // 2} positive numbers")
        return {"rope_type": "divided", "factors": factors.tolist()}
    scaling = file.get(f"{kind}.rope.scaling.type", str, "none")
    factor = file.fields.get(f"{kind}.rope.scaling.factor")
    return None if scaling == "none" else {"rope_type": scaling, "factor": factor}


def _tensors(file: GgufFile, fields: dict[str, Any]) -> dict[str, Array]:
    """The tensors by Hugging Face's names, rotary pairs in its order. Raises Error."""
    out = {}
    for name in file.tensors:
        match = _LAYER.fullmatch(name)
        if name == "rope_freqs.weight":
            continue
        if match is None or match[2] not in _NAMES:
            raise Error(f"{file.path}: tensor {name} is not one of a {fields['model_type']}")
        t = file.array(name)
        if fields["model_type"] == "llama" and match[2] in ("attn_q", "attn_k"):
            t = _halves(file, name, t, fields, match[2])
        layer = f"model.layers.{match[1]}." if match[1] else ""
        out[f"{layer}{_NAMES[match[2]]}.{match[3]}"] = np.ascontiguousarray(t)
    return out


def _halves(file: GgufFile, name: str, t: Array, fields: dict[str, Any], part: str) -> Array:
    """llama.cpp's converter put pairs of halves beside one another; back again."""
    size = fields["head_dim"]
    heads = fields["num_attention_heads" if part == "attn_q" else "num_key_value_heads"]
    if len(t) != heads * size or size < 2 or size % 2:
        raise Error(f"{file.path}: {name} has {len(t)} rows, expected {heads} heads of {size}")
    return turns(np.zeros(size // 2), size, neighbours=True).rows(t, heads)


def _tokenizer(file: GgufFile) -> dict[str, Any]:
    """tokenizer.json of the tokens in the file. Raises Error."""
    p = "tokenizer.ggml."
    kind = file.get(p + "model", str)
    tokens = file.get(p + "tokens", list)
    kinds = file.get(p + "token_type", list, [_NORMAL] * len(tokens))
    if len(kinds) != len(tokens) or not all(isinstance(t, str) for t in tokens):
        raise Error(f"{file.path}: {len(tokens)} tokens and {len(kinds)} types of them")
    vocab = {t: i for i, t in enumerate(tokens)}
    made: dict[str, Any]
    if kind == "llama":
        made = _sentencepiece(file, tokens, vocab)
    elif kind == "gpt2":
        made = _byte_level(file, vocab)
    else:
        raise Error(
            f"{file.path}: {p}model is {kind!r}; supported: llama, gpt2; name a tokenizer.json "
            "with --tokenizer"
        )
    made["added_tokens"] = [
        {"id": i, "content": t, "special": k != _USER, "normalized": False}
        for i, (t, k) in enumerate(zip(tokens, kinds, strict=True))
        if k in (_UNKNOWN, _CONTROL, _USER)
    ]
    bos = file.fields.get(p + "bos_token_id")
    default = kind == "llama"
    if file.get(p + "add_bos_token", bool, default) and isinstance(bos, int) and bos < len(tokens):
        made["post_processor"] = begins_with(tokens[bos])
    return made


def _sentencepiece(file: GgufFile, tokens: list[str], vocab: dict[str, int]) -> dict[str, Any]:
    """Of SentencePiece's BPE: whatever two pieces make a third merge, by that one's score."""
    scores = file.get("tokenizer.ggml.scores", list)
    if len(scores) != len(tokens):
        raise Error(f"{file.path}: {len(tokens)} tokens and {len(scores)} scores of them")
    merges = [
        (-scores[i], i, [t[:at], t[at:]])
        for i, t in enumerate(tokens)
        for at in range(1, len(t))
        if t[:at] in vocab and t[at:] in vocab
    ]
    unknown = file.get("tokenizer.ggml.unknown_token_id", int, 0)
    prefix = file.get("tokenizer.ggml.add_space_prefix", bool, True)
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    front = [{"type": "Prepend", "prepend": _SPACE}] if prefix else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*front, spaces]},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, *strip,
        ]},
        "model": {
            "type": "BPE", "unk_token": tokens[min(max(unknown, 0), len(tokens) - 1)],
            "fuse_unk": True, "byte_fallback": True, "vocab": vocab,
            "merges": [pair for _, _, pair in sorted(merges)],
        },
    }  # fmt: skip


def _byte_level(file: GgufFile, vocab: dict[str, int]) -> dict[str, Any]:
    """Of byte-level BPE, with the split in front of it."""
    merges = file.get("tokenizer.ggml.merges", list)
    split = file.get("tokenizer.ggml.pre", str, "default")
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    if split in _DIGITS:
        parts = [{"type": "Digits", "individual_digits": True}, {**level, "use_regex": True}]
    elif split in _SPLITS and not _SPLITS[split]:
        parts = [{**level, "use_regex": True}]
    elif split in _SPLITS:
        regex = {"Regex": _SPLITS[split]}
        cut = {"type": "Split", "pattern": regex, "behavior": "Isolated", "invert": False}
        parts = [cut, {**level, "use_regex": False}]
    else:
        known = ", ".join((*_SPLITS, *_DIGITS))
        raise Error(
            f"{file.path}: tokenizer.ggml.pre is {split!r}; supported: {known}; name a "
            "tokenizer.json with --tokenizer"
        )
    one = parts[0] if len(parts) == 1 else {"type": "Sequence", "pretokenizers": parts}
    return {
        "pre_tokenizer": one,
        "decoder": {**level, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }
