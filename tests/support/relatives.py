"""Random checkpoints of the relatives of Llama, GPT-2 and BERT, as `architectures` has of those.

tests/data/relatives.json, which this script writes, has the shapes of their tensors besides what
transformers computes:

    python tests/support/relatives.py        (needs torch and transformers)
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import architectures
from architectures import CONTEXT, LLAMA3, VOCAB, WEATHER, Architecture

EXPECTED = Path(__file__).parents[1] / "data" / "relatives.json"
DIM = 48


def common(kind: str, layers: int = 2, **more: Any) -> dict[str, Any]:
    """What most have in common, by the names that most have for it."""
    return {
        "model_type": kind,
        "hidden_size": DIM,
        "intermediate_size": 83,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "vocab_size": VOCAB,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": None,
        **more,
    }


def llama(kind: str, **more: Any) -> dict[str, Any]:
    return common(kind, num_key_value_heads=2, rms_norm_eps=1e-5, **more)


def encoder(kind: str, **more: Any) -> dict[str, Any]:
    return {**common(kind), "pad_token_id": 0, **more}


WINDOW = [{"sliding_window": 16}, {"sliding_window": 99}]
GPTJ = {
    "model_type": "gptj", "n_embd": DIM, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT,
    "vocab_size": VOCAB, "rotary_dim": 8, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
NEO = {
    "model_type": "gpt_neo", "hidden_size": DIM, "num_layers": 3, "num_heads": 4,
    "max_position_embeddings": CONTEXT, "vocab_size": VOCAB, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LOCAL = {"attention_types": [[["global", "local", "local"], 1]], "window_size": 13}
GRANITE = {
    "embedding_multiplier": 12.0, "attention_multiplier": 0.4, "residual_multiplier": 0.22,
    "logits_scaling": 6.0,
}  # fmt: skip
ROTARY = {"rope_theta": 500.0, "partial_rotary_factor": 0.5}
A = Architecture
CASES = {
    "mistral": A("MistralForCausalLM", llama("mistral", **WINDOW[0])),
    "mistral-wide": A("MistralForCausalLM", llama("mistral", head_dim=10, **WINDOW[1])),
    "qwen2": A("Qwen2ForCausalLM", llama("qwen2", use_sliding_window=False, **WINDOW[0])),
    "qwen2-tied": A(
        "Qwen2ForCausalLM",
        llama("qwen2", tie_word_embeddings=True, rope_scaling=LLAMA3),
    ),
    "qwen3": A("Qwen3ForCausalLM", llama("qwen3", head_dim=10)),
    "qwen3-biased": A("Qwen3ForCausalLM", llama(
        "qwen3", head_dim=16, attention_bias=True, tie_word_embeddings=True
    )),
    "gemma": A("GemmaForCausalLM", llama("gemma", head_dim=16)),
    "gemma-untied": A(
        "GemmaForCausalLM",
        llama("gemma", head_dim=16, tie_word_embeddings=False, attention_bias=True),
    ),
    "gemma3": A("Gemma3ForCausalLM", llama(
        "gemma3_text", num_hidden_layers=4, head_dim=16, sliding_window=24,
        query_pre_attn_scalar=20, layer_types=["sliding_attention", "full_attention"] * 2,
    )),
    "gemma3-older": A("Gemma3ForCausalLM", llama(
        "gemma3_text", num_hidden_layers=3, head_dim=10, sliding_window=99,
        sliding_window_pattern=2,
        rope_theta=999.0, rope_local_base_freq=99.0, rope_scaling={
            "rope_type": "linear", "factor": 8.0
        }, tie_word_embeddings=False,
    )),
    "olmo2": A("Olmo2ForCausalLM", llama("olmo2", rope_theta=500.0)),
    "olmo2-tied": A("Olmo2ForCausalLM", {
        **llama("olmo2", tie_word_embeddings=True, attention_bias=True), "hidden_size": 42,
        "num_attention_heads": 3, "num_key_value_heads": 1,
    }),
    "phi3": A("Phi3ForCausalLM", llama("phi3", sliding_window=30)),
    "phi3-partial": A("Phi3ForCausalLM", llama("phi3", rope_parameters={
        "rope_type": "default", **ROTARY
    })),
    "granite": A("GraniteForCausalLM", llama("granite", tie_word_embeddings=True, **GRANITE)),
    "granite-untied": A("GraniteForCausalLM", llama(
        "granite", tie_word_embeddings=False, attention_bias=True, mlp_bias=True, **GRANITE
    )),
    "smollm3": A("SmolLM3ForCausalLM", llama("smollm3", num_hidden_layers=4)),
    "smollm3-given": A("SmolLM3ForCausalLM", llama(
        "smollm3", no_rope_layers=[0, 1], tie_word_embeddings=False, attention_bias=True
    )),
    "neox": A("GPTNeoXForCausalLM", common("gpt_neox", rotary_pct=0.5, rotary_emb_base=99)),
    "neox-sequential": A("GPTNeoXForCausalLM", common(
        "gpt_neox", 1, rotary_pct=1.0, use_parallel_residual=False, attention_bias=False,
        hidden_act="gelu_new", tie_word_embeddings=True,
    )),
    "neox-parameters": A("GPTNeoXForCausalLM", common("gpt_neox", 3, rope_parameters={
        "rope_type": "linear", "factor": 2.0, **ROTARY
    })),
    "gptj": A("GPTJForCausalLM", GPTJ),
    "gptj-whole": A("GPTJForCausalLM", {**GPTJ, "n_inner": 83, "rotary_dim": 12}),
    "phi": A("PhiForCausalLM", common("phi")),
    "phi-shared": A("PhiForCausalLM", common("phi", num_key_value_heads=2, rope_parameters={
        "rope_type": "default", "rope_theta": 99.0, "partial_rotary_factor": 1.0
    })),
    "stablelm": A("StableLmForCausalLM", common(
        "stablelm", num_key_value_heads=2, rope_parameters={"rope_type": "default", **ROTARY}
    )),
    "stablelm-parallel": A("StableLmForCausalLM", common(
        "stablelm", num_key_value_heads=4, use_parallel_residual=True, use_qkv_bias=True,
        rope_parameters={"rope_type": "default", **ROTARY},
    )),
    "starcoder2": A("Starcoder2ForCausalLM", common(
        "starcoder2", num_key_value_heads=2, sliding_window=20
    )),
    "starcoder2-bare": A("Starcoder2ForCausalLM", common(
        "starcoder2", num_key_value_heads=1, use_bias=False, tie_word_embeddings=False
    )),
    "gpt-neo": A("GPTNeoForCausalLM", {**NEO, **LOCAL}),
    "gpt-neo-global": A("GPTNeoForCausalLM", {
        **NEO, "attention_types": [[["global"], 3]], "intermediate_size": 83,
    }),
    "opt": A("OPTForCausalLM", common("opt", ffn_dim=83)),
    "opt-350m": A("OPTForCausalLM", common(
        "opt", ffn_dim=83, do_layer_norm_before=False, word_embed_proj_dim=20
    )),
    "opt-bare": A("OPTForCausalLM", common(
        "opt", ffn_dim=83, enable_bias=False, tie_word_embeddings=False,
        activation_function="gelu",
    )),
    "roberta": A("RobertaModel", encoder("roberta", pad_token_id=1, type_vocab_size=1)),
    "roberta-classes": A("RobertaForSequenceClassification", encoder(
        "roberta", pad_token_id=1, type_vocab_size=1, **WEATHER
    )),
    "roberta-answers": A("RobertaForQuestionAnswering", encoder(
        "roberta", pad_token_id=1, type_vocab_size=1
    )),
    "xlm-roberta": A("XLMRobertaModel", encoder("xlm-roberta", pad_token_id=1)),
    "camembert": A("CamembertModel", encoder("camembert", pad_token_id=1)),
    "electra": A("ElectraModel", encoder("electra", embedding_size=20)),
    "electra-classes": A("ElectraForSequenceClassification", encoder(
        "electra", embedding_size=20, **WEATHER
    )),
    "electra-same": A("ElectraForSequenceClassification", encoder(
        "electra", embedding_size=DIM
    )),
    "electra-answers": A("ElectraForQuestionAnswering", encoder("electra", embedding_size=20)),
    "albert": A("AlbertModel", encoder("albert", embedding_size=20, num_hidden_layers=3)),
    "albert-groups": A("AlbertForSequenceClassification", encoder(
        "albert", embedding_size=20, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2,
        hidden_act="gelu", **WEATHER
    )),
    "albert-answers": A("AlbertForQuestionAnswering", encoder("albert", embedding_size=DIM)),
}  # fmt: skip


def kept() -> dict[str, Any]:
    """What the file has of each case: shapes, tokens, result."""
    content: dict[str, Any] = json.loads(EXPECTED.read_text())
    return content


def write(folder: Path, name: str, shapes: dict[str, list[int]]) -> Path:
    """The checkpoint as a folder, without a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    a = CASES[name]
    config = {"architectures": [a.kind], **a.config}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {n: architectures.weight(n, tuple(shape)) for n, shape in shapes.items()}
    architectures.save(folder / "model.safetensors", tensors)
    return folder


def length(name: str) -> int:
    """Tokens that are tried: no more than the narrowest window."""
    return 12 if name != "neox" else 1 + CONTEXT // 2


def tokens_of(name: str) -> list[int]:
    return np.random.default_rng(len(name)).integers(3, VOCAB, length(name)).tolist()


def shapes_of(name: str) -> dict[str, list[int]]:
    """The tensors that transformers saves of a case."""
    import safetensors
    import transformers

    a = CASES[name]
    kind = getattr(transformers, a.kind)
    with tempfile.TemporaryDirectory() as folder:
        kind(kind.config_class(**a.config)).save_pretrained(folder)
        with safetensors.safe_open(Path(folder) / "model.safetensors", "np") as file:
            return {n: list(file.get_slice(n).get_shape()) for n in sorted(file.keys())}


def main(names: list[str]) -> None:
    """Write all, or some beside those that there are."""
    found = kept() if names else {}
    for name in names or CASES:
        a = CASES[name]
        shapes = shapes_of(name)
        with tempfile.TemporaryDirectory() as folder:
            result = architectures.framework(write(Path(folder), name, shapes), a, tokens_of(name))
        rows = [[round(float(v), 5) for v in row] for row in architectures.selected(result)]
        found[name] = {"shapes": shapes, "tokens": tokens_of(name), "result": rows}
        print(name, result.shape, "largest", np.abs(result).max().round(3), flush=True)
    lines = [f"{json.dumps(n)}: {json.dumps(found[n], separators=(',', ':'))}" for n in CASES]
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
