"""The Llama architecture as a float graph, for every importer that meets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.nodes import (
    Add,
    Array,
    Attention,
    Embedding,
    Gate,
    Graph,
    HeadNorm,
    Linear,
    Node,
    Norm,
)
from .checkpoint import ACTIVATIONS, Config, Tensors
from .rotary import rotary, windowed

# Relatives of Llama, by model_type: their classes.
_CLASSES = {
    "llama": ("LlamaForCausalLM", "LlamaModel", "LLaMAForCausalLM"),
    "mistral": ("MistralForCausalLM", "MistralModel"),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Model"),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Model"),
    "gemma": ("GemmaForCausalLM", "GemmaModel"),
    "phi3": ("Phi3ForCausalLM", "Phi3Model"),
    "granite": ("GraniteForCausalLM", "GraniteModel"),
    "smollm3": ("SmolLM3ForCausalLM", "SmolLM3Model"),
}
_QKV = "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"
_GATED = "mlp.gate_proj", "mlp.up_proj"


def read(config: Config, tensors: Tensors) -> Graph:
    """The graph of a Hugging Face folder's language model, Llama's or a relative's. Raises Error.

    Mistral has a window; Qwen2 biases; Qwen3 norms of queries and keys; Gemma a scale of
    embeddings, and norms' gains less 1; Phi-3 products in one matrix; Granite factors everywhere;
    SmolLM3 layers without rotary positions.
    """
    kind = str(config.get("model_type"))
    config.architecture(_CLASSES[kind])
    stored = _Stored(config, tensors, kind)
    layers = config.number("num_hidden_layers")
    biased = config.flag("attention_bias")
    graph = llama(
        stored.tensor,
        layers=layers,
        heads=stored.heads,
        kv_heads=stored.kv_heads,
        size=stored.size,
        frequencies=stored.turned.frequencies,
        eps=config.real("rms_norm_eps", 1e-6 if kind != "phi3" else 1e-5),
        vocab=len(stored.embedding),
        context=windowed(
            config, stored.positions, kind not in ("qwen2", "qwen3", "smollm3"),
            4096 if kind == "mistral" else None,
        ),
        bos=-1,
        ends=(),
        tied=stored.tied,
        meta={"architecture": kind},
        activation=_activation(config, kind),
        attention_bias=kind == "qwen2" or biased,
        out_bias=kind != "qwen2" and biased,
        mlp_bias=config.flag("mlp_bias"),
        head_norms=kind == "qwen3",
        scale=config.real("attention_multiplier", 1.0) if kind == "granite" else None,
        turned=_turned(config, layers) if kind == "smollm3" else None,
    )  # fmt: skip
    tensors.check_used(r"rotary_emb\.inv_freq$")  # which older files keep
    return graph


class _Stored:
    """A folder's tensors as `llama` takes them, with what a relative has besides. Raises Error."""

    def __init__(self, config: Config, tensors: Tensors, kind: str) -> None:
        self.tensors, self.kind = tensors, kind
        self.heads = heads = config.number("num_attention_heads")
        self.dim = dim = config.number("hidden_size")
        self.size = size = config.number("head_dim", 256 if kind == "gemma" else dim // heads)
        self.kv_heads = config.number("num_key_value_heads", heads)
        hidden = config.number("intermediate_size")
        self.positions = config.number("max_position_embeddings", 2048)
        self.tied = config.flag("tie_word_embeddings", kind in ("gemma", "smollm3"))
        self.turned = rotary(config, size, self.positions, base=2e6 if kind == "smollm3" else 1e4)
        if self.turned.order is not None and kind != "phi3":
            raise config.refusal("partial_rotary_factor", "less than 1", "1.0")
        kv = self.kv_heads * size
        self.rows = {
            **dict(zip(_QKV, (heads * size, kv, kv), strict=True)),
            **dict.fromkeys(_GATED, hidden),
        }
        self.shapes: dict[str, tuple[int, ...]] = {
            **{name: (n, dim) for name, n in self.rows.items()},
            "self_attn.o_proj": (dim, heads * size),
            "mlp.down_proj": (dim, hidden),
            "input_layernorm": (dim,),
            "post_attention_layernorm": (dim,),
            "norm": (dim,),
            "self_attn.q_norm": (size,),
            "self_attn.k_norm": (size,),
        }
        self.embedding = tensors.get("embed_tokens.weight", config.number("vocab_size"), dim)
        self.own = tensors.head(self.embedding, self.tied)
        self.factors = {"norm": 1.0}
        self._scale(config)

    def _scale(self, config: Config) -> None:
        """Put the factors of Gemma and Granite into the tensors."""
        scale = self.dim**0.5 if self.kind == "gemma" else 1.0
        if self.kind == "granite":
            scale = config.real("embedding_multiplier", 1.0)
            self.factors["norm"] /= config.real("logits_scaling", 1.0)
            left = config.real("residual_multiplier", 1.0)
            self.factors |= {"self_attn.o_proj": left, "mlp.down_proj": left}
        if scale != 1:
            self.embedding = self.embedding * np.float32(scale)
            # The last norm undoes it where the embedding is the head as well.
            self.factors["norm"] /= scale if self.tied else 1.0

    def tensor(self, name: str) -> Array:
        """As `llama` asks for it."""
        if name in ("embed_tokens.weight", "lm_head.weight"):
            return self.embedding if self.tied or name != "lm_head.weight" else self.own
        words = [p for p in name.split(".") if p != "layers" and not p.isdigit()]
        part = ".".join(words[:-1])
        if self.kind == "phi3" and part in self.rows:
            t = self._fused(name, part)
        else:
            shape = self.shapes[part]
            t = self.tensors.get(name, *(shape[:1] if words[-1] == "bias" else shape))
        if part in _QKV[:2]:
            t = self.turned.rows(t, self.heads if part == _QKV[0] else self.kv_heads)
        if self.kind == "gemma" and len(self.shapes[part]) == 1:
            t = t + np.float32(1)
        factor = self.factors.get(part, 1.0)
        return t if factor == 1 else t * np.float32(factor)

    def _fused(self, name: str, part: str) -> Array:
        """The rows of one product of those that Phi-3 keeps in one matrix."""
        parts = _QKV if part in _QKV else _GATED
        stored = name.replace(part, "self_attn.qkv_proj" if part in _QKV else "mlp.gate_up_proj")
        at = [0, *np.cumsum([self.rows[p] for p in parts])]
        whole, i = self.tensors.get(stored, int(at[-1]), self.dim), parts.index(part)
        return whole[at[i] : at[i + 1]]


def _activation(config: Config, kind: str) -> str:
    if kind != "gemma":
        return config.choice("hidden_act", ACTIVATIONS, "silu")
    name = "hidden_act" if config.get("hidden_activation") is None else "hidden_activation"
    return config.choice(name, ACTIVATIONS, "gelu_pytorch_tanh")


def _turned(config: Config, layers: int) -> list[bool]:
    """Whether each layer has rotary positions. Raises Error."""
    every = config.number("no_rope_layer_interval", 4)
    default = [int((i + 1) % every != 0) for i in range(layers)]
    given = config.get("no_rope_layers", default)
    if not isinstance(given, list) or len(given) != layers or not set(given) <= {0, 1}:
        raise config.refusal("no_rope_layers", given, f"a list of {layers}, each 0 or 1")
    return [bool(v) for v in given]


def llama(
    tensor: Callable[[str], Array],
    *,
    layers: int,
    heads: int,
    kv_heads: int,
    size: int,
    frequencies: Array,
    eps: float,
    vocab: int,
    context: int,
    bos: int,
    ends: tuple[int, ...],
    tied: bool,
    meta: dict[str, Any],
    activation: str = "silu",
    attention_bias: bool = False,
    out_bias: bool = False,
    mlp_bias: bool = False,
    head_norms: bool = False,
    scale: float | None = None,
    turned: list[bool] | None = None,
) -> Graph:
    """A Llama graph from its tensors by their Hugging Face names (without "model.").

    tensor(name) gives a float array (rows, columns) or (dim,); q and k in Hugging Face's rotary
    order. size: of a head; frequencies: (size/2,) radians a position. attention_bias: of q, k and
    v; out_bias, mlp_bias: of the others. head_norms: of q and k. scale: of scores. turned: whether
    each layer is rotated.
    """
    embedding = tensor("embed_tokens.weight")
    nodes: list[Node] = [Embedding("x", embedding)]
    for i in range(layers):
        p = f"layers.{i}."

        def linear(x: str, out: str, name: str, p: str = p) -> Linear:
            biased = attention_bias if name in _QKV else mlp_bias
            biased = out_bias if name == "self_attn.o_proj" else biased
            bias = tensor(f"{p}{name}.bias") if biased else None
            name = f"{p}{name}.weight"
            return Linear(x, out, tensor(name), name, bias)

        def value(name: str, i: int = i) -> str:
            return f"{i}.{name}"

        a, q, k, v, o = (value(n) for n in ("a", "q", "k", "v", "o"))
        y, b, g, u, h, z = (value(n) for n in ("y", "b", "g", "u", "h", "z"))
        nodes += [
            Norm("x", a, tensor(p + "input_layernorm.weight"), eps),
            *(linear(a, out, name) for out, name in zip((q, k, v), _QKV, strict=True)),
        ]
        if head_norms:
            nodes[-3] = _mirrored(nodes[-3], heads)
            nodes[-2] = _mirrored(nodes[-2], kv_heads)
            nodes += [
                HeadNorm(q, q + "n", tensor(p + "self_attn.q_norm.weight"), eps, heads),
                HeadNorm(k, k + "n", tensor(p + "self_attn.k_norm.weight"), eps, kv_heads),
            ]  # fmt: skip
            q, k = q + "n", k + "n"
        nodes += [
            Attention(
                q, k, v, o, heads, kv_heads, size,
                frequencies if turned is None or turned[i] else None, scale=scale,
            ),
            linear(o, y, "self_attn.o_proj"),
            Add("x", y),
            Norm("x", b, tensor(p + "post_attention_layernorm.weight"), eps),
            linear(b, g, "mlp.gate_proj"),
            linear(b, u, "mlp.up_proj"),
            Gate(g, u, h, activation),
            linear(h, z, "mlp.down_proj"),
            Add("x", z),
        ]  # fmt: skip
    nodes.append(Norm("x", "n", tensor("norm.weight"), eps))
    head = embedding if tied else tensor("lm_head.weight")
    nodes.append(Linear("n", "logits", head, "lm_head.weight"))
    return Graph(nodes, vocab, context, bos, ends, {"architecture": "llama", **meta})


def _mirrored(n: Node, heads: int) -> Linear:
    """The linear that makes each head's elements, and behind them their negatives."""
    assert isinstance(n, Linear)

    def both(t: Array) -> Array:
        split = t.reshape(heads, -1, *t.shape[1:])
        return np.concatenate([split, -split], 1).reshape(-1, *t.shape[1:])

    return replace(n, weight=both(n.weight), bias=None if n.bias is None else both(n.bias))
