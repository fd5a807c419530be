"""Random checkpoints of each architecture, as Hugging Face folders, without torch.

The weights come from numpy's generators, seeded by the tensor's name; what transformers computes
with exactly these is kept in tests/data: architectures.json, special.json and further.json, which
this script writes:

    python tests/support/architectures.py        (needs torch and transformers)
"""

from __future__ import annotations

import json
import struct
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import models

EXPECTED = Path(__file__).parents[1] / "data" / "architectures.json"
SPECIAL_EXPECTED = Path(__file__).parents[1] / "data" / "special.json"
FURTHER_EXPECTED = Path(__file__).parents[1] / "data" / "further.json"
VOCAB, DIM, CONTEXT, LENGTH = 97, 52, 40, 12


@dataclass(frozen=True)
class Architecture:
    """A checkpoint: the class of transformers, its config and what else lies in the folder."""

    kind: str
    config: dict[str, Any] = field(default_factory=dict)
    dtype: str = "F32"
    prefix: bool = True  # the names have the prefix of a model with a head
    files: dict[str, Any] = field(default_factory=dict)


def llama(layers: int, heads: int, kv_heads: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": DIM,
        "intermediate_size": 97,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 26,
        "vocab_size": VOCAB,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **more,
    }


def gpt2(layers: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "n_embd": DIM,
        "n_layer": layers,
        "n_head": 4,
        "n_positions": CONTEXT,
        "vocab_size": VOCAB,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **more,
    }


def bert(layers: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "hidden_size": DIM,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 83,
        "max_position_embeddings": CONTEXT,
        "vocab_size": VOCAB,
        "hidden_act": "gelu",
        **more,
    }


def distilbert(layers: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "distilbert",
        "dim": DIM,
        "n_layers": layers,
        "n_heads": 4,
        "hidden_dim": 83,
        "max_position_embeddings": CONTEXT,
        "vocab_size": VOCAB,
        **more,
    }


def vit(layers: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "vit",
        "hidden_size": DIM,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 83,
        "image_size": 12,
        "patch_size": 3,
        "num_channels": 2,
        **more,
    }


def translator(kind: str, layers: int, **more: Any) -> dict[str, Any]:
    """Marian or BART; the decoder has a layer more."""
    return {
        "model_type": kind,
        "d_model": DIM,
        "encoder_layers": layers,
        "decoder_layers": layers + 1,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 83,
        "decoder_ffn_dim": 61,
        "max_position_embeddings": CONTEXT,
        "vocab_size": VOCAB,
        "pad_token_id": 95,
        "decoder_start_token_id": 95,
        "eos_token_id": 2,
        "forced_eos_token_id": 2,
        **more,
    }


def t5(kind: str, layers: int, **more: Any) -> dict[str, Any]:
    """T5 or mT5; heads whose sizes do not add up to the dimensions."""
    return {
        "model_type": kind,
        "d_model": DIM,
        "d_kv": 7,
        "d_ff": 61,
        "num_layers": layers,
        "num_decoder_layers": layers,
        "num_heads": 3,
        "vocab_size": VOCAB,
        "n_positions": CONTEXT,
        "relative_attention_num_buckets": 9,
        "relative_attention_max_distance": 20,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
        **more,
    }


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
WEATHER = {"id2label": {"2": "rain", "0": "sun", "1": "snow"}}


def sentence(mode: str) -> dict[str, Any]:
    """What sentence-transformers puts beside an encoder; "mean" or "cls"."""
    flags = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    return {
        "modules.json": [
            {"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": DIM,
            **{name: key == mode for key, name in flags.items()},
            "pooling_mode_max_tokens": False,
        },
    }


def number(*names: str) -> dict[str, Any]:
    """A head of numbers of these names."""
    return {"problem_type": "regression", "id2label": {str(i): n for i, n in enumerate(names)}}


A = Architecture
CASES = {
    "llama-tied": A("LlamaForCausalLM", llama(1, 2, 1, tie_word_embeddings=True)),
    "llama-deep": A("LlamaForCausalLM", llama(8, 2, 1, rope_theta=500.0), "BF16"),
    "llama-linear": A(
        "LlamaForCausalLM",
        llama(2, 4, 2, rope_scaling={"type": "linear", "factor": 2.5}),
        "F16",
    ),
    "llama-llama3": A("LlamaForCausalLM", llama(2, 2, 1, rope_scaling=LLAMA3)),
    "llama-dynamic": A(
        "LlamaForCausalLM",
        llama(1, 2, 2, rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e3}),
    ),
    "llama-biases": A(
        "LlamaForCausalLM",
        llama(1, 2, 1, attention_bias=True, mlp_bias=True, hidden_act="gelu_pytorch_tanh"),
    ),
    "gpt2": A("GPT2LMHeadModel", gpt2(1), "F16"),
    "gpt2-bare": A("GPT2LMHeadModel", gpt2(2, n_inner=97), prefix=False),
    "gpt2-deep": A(
        "GPT2LMHeadModel", gpt2(8, activation_function="relu", tie_word_embeddings=False), "BF16"
    ),
    "bert-classes": A("BertForSequenceClassification", bert(1, **WEATHER)),
    "bert-deep": A("BertForSequenceClassification", bert(8, hidden_act="gelu_new"), "F16"),
    "bert-mean": A("BertModel", bert(2, layer_norm_eps=1e-5), "BF16", prefix=False),
    "bert-first": A("BertModel", bert(1, hidden_act="relu"), prefix=False, files=sentence("cls")),
    "minilm": A("BertModel", bert(3), "F16", prefix=False, files=sentence("mean")),
    "bert-several": A(
        "BertForSequenceClassification",
        bert(1, **WEATHER, problem_type="multi_label_classification"),
    ),
    "bert-score": A("BertForSequenceClassification", bert(2, id2label={"0": "LABEL_0"}), "F16"),
    "bert-tags": A("BertForTokenClassification", bert(2, **WEATHER)),
    "distilbert-classes": A("DistilBertForSequenceClassification", distilbert(8, **WEATHER)),
    "distilbert-tags": A("DistilBertForTokenClassification", distilbert(1, **WEATHER), "BF16"),
    "distilbert-mean": A("DistilBertModel", distilbert(1), "BF16", prefix=False),
}
# Those that take more than a row of tokens: `inputs`.
SPECIAL = {
    "bert-answers": A("BertForQuestionAnswering", bert(2)),
    "bert-answers-deep": A("BertForQuestionAnswering", bert(8, hidden_act="relu"), "BF16"),
    "distilbert-answers": A("DistilBertForQuestionAnswering", distilbert(2), "F16"),
    "vit": A("ViTForImageClassification", vit(2, **WEATHER)),
    "vit-deep": A(
        "ViTForImageClassification",
        vit(8, image_size=[9, 12], num_channels=3, qkv_bias=False, hidden_act="gelu_new"),
        "F16",
        files={
            "preprocessor_config.json": {
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
            }
        },
    ),
    "vit-raw": A(
        "ViTForImageClassification",
        vit(1, num_channels=1),
        files={"preprocessor_config.json": {"do_normalize": False, "rescale_factor": 0.01}},
    ),
    "marian": A(
        "MarianMTModel", translator("marian", 1, scale_embedding=True, activation_function="swish")
    ),
    "marian-deep": A(
        "MarianMTModel",
        translator(
            "marian",
            7,
            share_encoder_decoder_embeddings=False,
            decoder_vocab_size=VOCAB,
            tie_word_embeddings=False,
            activation_function="relu",
        ),
        "BF16",
    ),
    "bart": A("BartForConditionalGeneration", translator("bart", 2), "F16"),
    "bart-scaled": A(
        "BartForConditionalGeneration",
        translator("bart", 1, scale_embedding=True, activation_function="gelu_new"),
    ),
    "t5": A("T5ForConditionalGeneration", t5("t5", 1)),
    "t5-gated": A(
        "T5ForConditionalGeneration",
        t5("t5", 2, tie_word_embeddings=False, feed_forward_proj="gated-gelu"),
        "BF16",
    ),
    "t5-deep": A(
        "T5ForConditionalGeneration",
        t5("t5", 5, num_decoder_layers=3, num_heads=5, d_kv=6, relative_attention_num_buckets=32),
    ),
    "mt5": A(
        "MT5ForConditionalGeneration",
        t5("mt5", 1, feed_forward_proj="gated-silu", d_kv=13, num_heads=4),
        "F16",
    ),
}
# Patches that are no squares, and heads of numbers.
FURTHER = {
    "vit-spectrogram": A(
        "ViTForImageClassification",
        vit(2, image_size=[12, 15], patch_size=[4, 3], num_channels=1, **WEATHER),
    ),
    "vit-rows": A(
        "ViTForImageClassification",
        vit(1, image_size=[10, 6], patch_size=[2, 6], num_channels=3),
        "F16",
    ),
    "vit-number": A("ViTForImageClassification", vit(1, **number("angle"))),
    "bert-numbers": A("BertForSequenceClassification", bert(2, **number("high", "low", "wet"))),
    "distilbert-numbers": A(
        "DistilBertForSequenceClassification", distilbert(2, **number("LABEL_0", "LABEL_1")), "F16"
    ),
}


def shapes(a: Architecture) -> dict[str, tuple[int, ...]]:
    """The tensors of a checkpoint by transformers' names."""
    c = a.config
    out: dict[str, tuple[int, ...]] = {}

    def linear(name: str, rows: int, columns: int, bias: bool = True) -> None:
        out[name + ".weight"] = rows, columns
        if bias:
            out[name + ".bias"] = (rows,)

    def norm(name: str) -> None:
        out[name + ".weight"] = out[name + ".bias"] = (DIM,)

    kind = c["model_type"]
    if kind in ("marian", "bart"):
        return _translator_shapes(c)
    if kind in ("t5", "mt5"):
        return _t5_shapes(c)
    prefix = {"llama": "model.", "gpt2": "transformer."}.get(kind, kind + ".")
    base = prefix if a.prefix else ""
    if kind == "llama":
        out[base + "embed_tokens.weight"] = VOCAB, DIM
        q, kv = (26 * c[n] for n in ("num_attention_heads", "num_key_value_heads"))
        hidden = c["intermediate_size"]
        for i in range(c["num_hidden_layers"]):
            p = f"{base}layers.{i}."
            for name, rows in ("q", q), ("k", kv), ("v", kv):
                linear(f"{p}self_attn.{name}_proj", rows, DIM, c["attention_bias"])
            linear(p + "self_attn.o_proj", DIM, q, c["attention_bias"])
            linear(p + "mlp.gate_proj", hidden, DIM, c["mlp_bias"])
            linear(p + "mlp.up_proj", hidden, DIM, c["mlp_bias"])
            linear(p + "mlp.down_proj", DIM, hidden, c["mlp_bias"])
            out[p + "input_layernorm.weight"] = out[p + "post_attention_layernorm.weight"] = (DIM,)
        out[base + "norm.weight"] = (DIM,)
    elif kind == "gpt2":
        out[base + "wte.weight"] = VOCAB, DIM
        out[base + "wpe.weight"] = CONTEXT, DIM
        hidden = c.get("n_inner") or 4 * DIM
        for i in range(c["n_layer"]):
            p = f"{base}h.{i}."
            norm(p + "ln_1")
            norm(p + "ln_2")
            for name, columns, rows in (
                ("attn.c_attn", DIM, 3 * DIM),
                ("attn.c_proj", DIM, DIM),
                ("mlp.c_fc", DIM, hidden),
                ("mlp.c_proj", hidden, DIM),
            ):
                out[f"{p}{name}.weight"] = columns, rows
                out[f"{p}{name}.bias"] = (rows,)
        norm(base + "ln_f")
    elif kind == "vit":
        channels, patch = c["num_channels"], _pair(c["patch_size"])
        height, width = _sides(c)
        out[base + "embeddings.cls_token"] = 1, 1, DIM
        context = 1 + height * width // (patch[0] * patch[1])
        out[base + "embeddings.position_embeddings"] = 1, context, DIM
        name = base + "embeddings.patch_embeddings.projection"
        out[name + ".weight"], out[name + ".bias"] = (DIM, channels, *patch), (DIM,)
        for i in range(c["num_hidden_layers"]):
            p = f"{base}encoder.layer.{i}."
            for part in "query", "key", "value":
                linear(f"{p}attention.attention.{part}", DIM, DIM, c.get("qkv_bias", True))
            linear(p + "attention.output.dense", DIM, DIM)
            linear(p + "intermediate.dense", c["intermediate_size"], DIM)
            linear(p + "output.dense", DIM, c["intermediate_size"])
            norm(p + "layernorm_before")
            norm(p + "layernorm_after")
        norm(base + "layernorm")
    else:
        out[base + "embeddings.word_embeddings.weight"] = VOCAB, DIM
        out[base + "embeddings.position_embeddings.weight"] = CONTEXT, DIM
        norm(base + "embeddings.LayerNorm")
        if kind == "bert":
            out[base + "embeddings.token_type_embeddings.weight"] = 2, DIM
            if "Question" not in a.kind and "Token" not in a.kind:
                linear(base + "pooler.dense", DIM, DIM)
            parts = ["attention.self.query", "attention.self.key", "attention.self.value"]
            parts += ["attention.output.dense", "attention.output.LayerNorm"]
            parts += ["intermediate.dense", "output.dense", "output.LayerNorm"]
            layers, hidden, p = c["num_hidden_layers"], c["intermediate_size"], "encoder.layer."
        else:
            parts = [f"attention.{n}_lin" for n in ("q", "k", "v", "out")]
            parts += ["sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"]
            layers, hidden, p = c["n_layers"], c["hidden_dim"], "transformer.layer."
        for i in range(layers):
            names = [f"{base}{p}{i}.{part}" for part in parts]
            for name in names[:4]:
                linear(name, DIM, DIM)
            norm(names[4])
            linear(names[5], hidden, DIM)
            linear(names[6], DIM, hidden)
            norm(names[7])
    if kind in ("llama", "gpt2") and not c.get("tie_word_embeddings", True):
        out["lm_head.weight"] = VOCAB, DIM
    if "Classification" in a.kind:
        linear("classifier", len(c.get("id2label", "ab")), DIM)
        if kind == "distilbert" and "Sequence" in a.kind:
            linear("pre_classifier", DIM, DIM)
    if "Question" in a.kind:
        linear("qa_outputs", 2, DIM)
    return out


def _sides(c: dict[str, Any]) -> list[int]:
    """Height and width of an image."""
    return _pair(c["image_size"])


def _pair(size: int | list[int]) -> list[int]:
    return [size, size] if isinstance(size, int) else size


def _translator_shapes(c: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    out: dict[str, tuple[int, ...]] = {"final_logits_bias": (1, VOCAB)}
    if c.get("share_encoder_decoder_embeddings", True):
        out["model.shared.weight"] = VOCAB, DIM
    else:
        for part in "encoder", "decoder":
            out[f"model.{part}.embed_tokens.weight"] = VOCAB, DIM
    if not c.get("tie_word_embeddings", True):
        out["lm_head.weight"] = VOCAB, DIM
    for part in "encoder", "decoder":
        hidden = c[part + "_ffn_dim"]
        norms = []
        if c["model_type"] == "bart":
            out[f"model.{part}.embed_positions.weight"] = CONTEXT + 2, DIM
            norms.append(f"model.{part}.layernorm_embedding")
        for i in range(c[part + "_layers"]):
            p = f"model.{part}.layers.{i}."
            for attention in ("self_attn", "encoder_attn")[: 1 + (part == "decoder")]:
                for name in "q", "k", "v", "out":
                    out[f"{p}{attention}.{name}_proj.weight"] = DIM, DIM
                    out[f"{p}{attention}.{name}_proj.bias"] = (DIM,)
                norms.append(f"{p}{attention}_layer_norm")
            out[p + "fc1.weight"], out[p + "fc1.bias"] = (hidden, DIM), (hidden,)
            out[p + "fc2.weight"], out[p + "fc2.bias"] = (DIM, hidden), (DIM,)
            norms.append(p + "final_layer_norm")
        for name in norms:
            out[name + ".weight"] = out[name + ".bias"] = (DIM,)
    return out


def _t5_shapes(c: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    inner, hidden = c["num_heads"] * c["d_kv"], c["d_ff"]
    out: dict[str, tuple[int, ...]] = {"shared.weight": (VOCAB, DIM)}
    if not c.get("tie_word_embeddings", True):
        out["lm_head.weight"] = VOCAB, DIM
    for part, layers in ("encoder", "num_layers"), ("decoder", "num_decoder_layers"):
        for i in range(c[layers]):
            p = f"{part}.block.{i}.layer."
            kinds = ["SelfAttention", "EncDecAttention"][: 1 + (part == "decoder")]
            for at, kind in enumerate(kinds):
                for name in "qkv":
                    out[f"{p}{at}.{kind}.{name}.weight"] = inner, DIM
                out[f"{p}{at}.{kind}.o.weight"] = DIM, inner
                out[f"{p}{at}.layer_norm.weight"] = (DIM,)
            if i == 0:
                name = p + "0.SelfAttention.relative_attention_bias.weight"
                out[name] = c["relative_attention_num_buckets"], c["num_heads"]
            at = len(kinds)
            gated = c.get("feed_forward_proj", "relu").startswith("gated")
            for name in ("wi_0", "wi_1") if gated else ("wi",):
                out[f"{p}{at}.DenseReluDense.{name}.weight"] = hidden, DIM
            out[f"{p}{at}.DenseReluDense.wo.weight"] = DIM, hidden
            out[f"{p}{at}.layer_norm.weight"] = (DIM,)
        out[part + ".final_layer_norm.weight"] = (DIM,)
    return out


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor in float32, the same for a name and a shape on every machine."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), *shape])
    values = rng.normal(0, 1, shape)
    if len(shape) == 1:
        norm = "norm" in name.lower() or "ln_" in name
        values = 0.3 * values + (1 if norm and name.endswith("weight") else 0)
    elif (
        "embed" in name
        or name.endswith(("wte.weight", "wpe.weight", "_bias.weight"))
        or name == "shared.weight"
    ):
        values *= 0.7
    else:
        values /= np.sqrt(shape[1 if "c_" not in name else 0])
    return values.astype(np.float32)


def save(path: Path, tensors: dict[str, np.ndarray], dtype: str = "F32") -> None:
    """A safetensors file, written by hand: numpy has no bfloat16, which is truncated here."""
    header, parts, at = {}, [], 0
    for name, tensor in tensors.items():
        if dtype == "BF16":
            raw = (np.ascontiguousarray(tensor).view("<u4") >> 16).astype("<u2").tobytes()
        else:
            raw = tensor.astype({"F16": "<f2", "F32": "<f4"}[dtype]).tobytes()
        span = [at, at + len(raw)]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": span}
        parts.append(raw)
        at += len(raw)
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def tensors_of(a: Architecture) -> dict[str, np.ndarray]:
    return {name: weight(name, shape) for name, shape in shapes(a).items()}


def write(folder: Path, a: Architecture) -> Path:
    """The checkpoint as a folder, without a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"config.json": {"architectures": [a.kind], **a.config}, **a.files}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    save(folder / "model.safetensors", tensors_of(a), a.dtype)
    return folder


PIECES = ["the", "rain", "in", "spain", "##ing", "##ed", "un", "##s", "é", "日", "."]


def write_vocabulary(folder: Path, a: Architecture) -> None:
    """A tokenizer beside the checkpoint: byte pairs for a decoder, WordPiece for an encoder."""
    if "CausalLM" in a.kind or "LMHead" in a.kind:
        (folder / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(VOCAB)))
        return
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    pieces += ["##" + c for c in letters] + PIECES
    pieces += [f"[unused{i}]" for i in range(VOCAB - len(pieces))]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")


def tokens_of(name: str) -> list[int]:
    return np.random.default_rng(zlib.crc32(name.encode())).integers(0, VOCAB, LENGTH).tolist()


def selected(result: np.ndarray) -> np.ndarray:
    """The few numbers of a result (positions, outputs) that the file keeps."""
    return result[:, ::12] if len(result) > 1 and result.shape[1] > 2 else result


def inputs(a: Architecture, tokens: list[int]) -> dict[str, np.ndarray]:
    """What a model of SPECIAL takes, made of some tokens: tokens, and types, source or image."""
    n = len(tokens)
    if "Question" in a.kind:
        return {"tokens": np.array([tokens]), "types": np.arange(n)[None] * 3 // (2 * n)}
    if "Image" in a.kind:
        shape = *_sides(a.config), a.config["num_channels"]
        return {"image": np.random.default_rng(tokens).integers(0, 256, shape)}
    target = [a.config["decoder_start_token_id"], *tokens[::-1][: n // 2]]
    return {"tokens": np.array([target]), "source": np.array([tokens])}


def pixel_values(a: Architecture, image: np.ndarray) -> np.ndarray:
    """What the preprocessor makes of an image (height, width, channels)."""
    p = a.files.get("preprocessor_config.json", {})
    x = image * p.get("rescale_factor", 1 / 255)
    if p.get("do_normalize", True):
        x = (x - np.array(p.get("image_mean", 0.5))) / np.array(p.get("image_std", 0.5))
    return x.transpose(2, 0, 1)[None]


def framework(folder: Path, a: Architecture, tokens: list[int]) -> np.ndarray:
    """The result (positions, outputs) of transformers in float64; one position where pooled."""
    import torch
    import transformers

    kind = getattr(transformers, a.kind)
    model, report = kind.from_pretrained(folder, dtype=torch.float64, output_loading_info=True)
    assert not any(report.get(n) for n in ("missing_keys", "unexpected_keys")), report
    given: dict[str, Any] = {"input_ids": np.array([tokens])}
    if a in SPECIAL.values() or "Image" in a.kind:
        given = inputs(a, tokens)
        names = {"types": "token_type_ids", "tokens": "input_ids"}
        if "source" in given:
            names = {"source": "input_ids", "tokens": "decoder_input_ids"}
        if "image" in given:
            given = {"pixel_values": pixel_values(a, given["image"])}
        if a.config["model_type"] == "distilbert":
            del given["types"]
        given = {names.get(name, name): value for name, value in given.items()}
    with torch.no_grad():
        out = model.eval()(**{name: torch.tensor(value) for name, value in given.items()})
    if "start_logits" in out:
        return torch.stack([out.start_logits[0], out.end_logits[0]], 1).numpy()
    if "logits" in out:
        return out.logits[0].reshape(-1, out.logits.shape[-1]).numpy()
    hidden = out.last_hidden_state[0].numpy()
    pooling = a.files.get("1_Pooling/config.json", {})
    return hidden[:1] if pooling.get("pooling_mode_cls_token") else hidden.mean(0)[None]


def equals_framework(folder: Path, a: Architecture, run: Any, lengths: Any, first: int) -> None:
    """What run(tokens) gives is what transformers does, with tokens from `first` on."""
    for n in lengths:
        tokens = np.random.default_rng(n).integers(first, VOCAB, n).tolist()
        expected, result = framework(folder, a, tokens), run(tokens)
        assert result.shape == expected.shape
        assert np.abs(expected).max() > 0.1
        assert np.abs(result - expected).max() < 1e-4


def main() -> None:
    write_expected(EXPECTED, CASES)
    write_expected(SPECIAL_EXPECTED, SPECIAL)
    write_expected(FURTHER_EXPECTED, FURTHER)


def write_expected(path: Path, cases: dict[str, Architecture]) -> None:
    lines = []
    for name, a in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            result = framework(write(Path(folder), a), a, tokens_of(name))
        rows = [[round(float(v), 6) for v in row] for row in selected(result)]
        entry = {"tokens": tokens_of(name), "result": rows}
        lines.append(f"{json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}")
        print(name, result.shape, "largest", np.abs(result).max().round(3))
    path.parent.mkdir(exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
