"""The Llama architecture as a float graph, for every importer that meets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from .rotary import kinds, layered, rotary, windowed

# Relatives of Llama, by model_type: their classes.
_CLASSES = {
    "llama": ("LlamaForCausalLM", "LlamaModel", "LLaMAForCausalLM"),
    "mistral": ("MistralForCausalLM", "MistralModel"),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Model"),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Model"),
    "gemma": ("GemmaForCausalLM", "GemmaModel"),
    "gemma3_text": ("Gemma3ForCausalLM", "Gemma3TextModel"),
    "olmo2": ("Olmo2ForCausalLM", "Olmo2Model"),
    "phi3": ("Phi3ForCausalLM", "Phi3Model"),
    "granite": ("GraniteForCausalLM", "GraniteModel"),
    "smollm3": ("SmolLM3ForCausalLM", "SmolLM3Model"),
}
_QKV = "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"
_OUT = "self_attn.o_proj"
_GATED = "mlp.gate_proj", "mlp.up_proj"
_DOWN = "mlp.down_proj"
_QK_NORMS = "self_attn.q_norm", "self_attn.k_norm"
# Where config.json does not tell:
_SIZES = {"gemma": 256, "gemma3_text": 256, "qwen3": 128}  # of heads
_BASES = {"smollm3": 2e6, "gemma3_text": 1e6}  # of rotary positions
_EPS = {"phi3": 1e-5, "olmo2": 1e-5}
_GEMMA = "gemma", "gemma3_text"


@dataclass(frozen=True)
class Norms:
    """The norms of a layer, by their tensors' names: in front of attention and of the network, and
    behind each, "" where there is none; heads: whether queries and keys are normed as well, each
    head by gains that all share, or all at once, as the size of the gains says.
    """

    attention: str = "input_layernorm"
    network: str = "post_attention_layernorm"
    behind_attention: str = ""
    behind_network: str = ""
    heads: bool = False


_BEHIND = "post_attention_layernorm", "post_feedforward_layernorm"
_NORMS = {
    "qwen3": Norms(heads=True),
    "gemma3_text": Norms("input_layernorm", "pre_feedforward_layernorm", *_BEHIND, True),
    "olmo2": Norms("", "", *_BEHIND, True),
}


def read(config: Config, tensors: Tensors) -> Graph:
    """The graph of a Hugging Face folder's language model, Llama's or a relative's. Raises Error.

    Mistral has a window; Qwen2 biases; Qwen3 norms of queries and keys; Gemma a scale of
    embeddings, and norms' gains less 1; Gemma 3 and OLMo 2 also norms behind attention and
    network; Phi-3 products in one matrix; Granite factors everywhere; SmolLM3 layers without
    rotary positions.
    """
    kind = str(config.get("model_type"))
    config.architecture(_CLASSES[kind])
    stored = _Stored(config, tensors, kind)
    layers = config.number("num_hidden_layers")
    graph = llama(
        stored.tensor,
        layers=layers,
        heads=stored.heads,
        kv_heads=stored.kv_heads,
        size=stored.size,
        frequencies=_frequencies(config, stored, layers),
        eps=config.real("rms_norm_eps", _EPS.get(kind, 1e-6)),
        vocab=len(stored.embedding),
        context=windowed(
            config, stored.positions, kind not in ("qwen2", "qwen3", "smollm3"),
            4096 if kind == "mistral" else None,
        ),
        bos=-1,
        ends=(),
        meta={"architecture": kind},
        activation=_activation(config, kind),
        biased=_biased(config, kind),
        scale=_scale(config, kind),
        norms=_NORMS.get(kind, Norms()),
    )  # fmt: skip
    tensors.check_used(r"rotary_emb\.inv_freq$")  # which older files keep
    return graph


class _Stored:
    """A folder's tensors as `llama` takes them, with what a relative has besides. Raises Error."""

    def __init__(self, config: Config, tensors: Tensors, kind: str) -> None:
        self.tensors, self.kind = tensors, kind
        self.heads = heads = config.number("num_attention_heads")
        self.dim = dim = config.number("hidden_size")
        self.size = size = config.number("head_dim", _SIZES.get(kind, dim // heads))
        self.kv_heads = config.number("num_key_value_heads", heads)
        hidden = config.number("intermediate_size")
        self.positions = config.number("max_position_embeddings", 2048)
        self.tied = config.flag("tie_word_embeddings", kind in (*_GEMMA, "smollm3"))
        positions = layered(config, "full_attention") if kind == "gemma3_text" else config
        base = _BASES.get(kind, 1e4)
        self.turned = rotary(positions, size, self.positions, base=base)
        if self.turned.order is not None and kind != "phi3":
            raise config.refusal("partial_rotary_factor", "less than 1", "1.0")
        kv = self.kv_heads * size
        self.rows = {
            **dict(zip(_QKV, (heads * size, kv, kv), strict=True)),
            **dict.fromkeys(_GATED, hidden),
        }
        self.shapes: dict[str, tuple[int, ...]] = {
            **{name: (n, dim) for name, n in self.rows.items()},
            _OUT: (dim, heads * size),
            _DOWN: (dim, hidden),
            **dict.fromkeys(("input_layernorm", "pre_feedforward_layernorm", "norm"), (dim,)),
            **dict.fromkeys(_BEHIND, (dim,)),
            **dict.fromkeys(_QK_NORMS, (size,)),
        }
        if kind == "olmo2":  # of all heads at once
            self.shapes |= {n: (self.rows[r],) for n, r in zip(_QK_NORMS, _QKV[:2], strict=True)}
        self.embedding = tensors.get("embed_tokens.weight", config.number("vocab_size"), dim)
        self.own = tensors.head(self.embedding, self.tied)
        self.factors = {"norm": 1.0}
        self._scale(config)

    def _scale(self, config: Config) -> None:
        """Put the factors of Gemma and Granite into the tensors."""
        scale = self.dim**0.5 if self.kind in _GEMMA else 1.0
        if self.kind == "granite":
            scale = config.real("embedding_multiplier", 1.0)
            self.factors["norm"] /= config.real("logits_scaling", 1.0)
            left = config.real("residual_multiplier", 1.0)
            self.factors |= {_OUT: left, _DOWN: left}
        if scale != 1:
            self.embedding = self.embedding * np.float32(scale)

    def tensor(self, name: str) -> Array:
        """As `llama` asks for it."""
        if name in ("embed_tokens.weight", "lm_head.weight"):
            return self.own if name == "lm_head.weight" else self.embedding
        words = [p for p in name.split(".") if p != "layers" and not p.isdigit()]
        part = ".".join(words[:-1])
        if self.kind == "phi3" and part in self.rows:
            t = self._fused(name, part)
        else:
            shape = self.shapes[part]
            t = self.tensors.get(name, *(shape[:1] if words[-1] == "bias" else shape))
        if part in _QKV[:2]:
            t = self.turned.rows(t, self.heads if part == _QKV[0] else self.kv_heads)
        if self.kind in _GEMMA and len(self.shapes[part]) == 1:
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
    if kind not in _GEMMA:
        return config.choice("hidden_act", ACTIVATIONS, "silu")
    name = "hidden_act" if config.get("hidden_activation") is None else "hidden_activation"
    return config.choice(name, ACTIVATIONS, "gelu_pytorch_tanh")


def _biased(config: Config, kind: str) -> tuple[str, ...]:
    """The products with a bias."""
    attention = config.flag("attention_bias")
    return (
        *(_QKV if attention or kind == "qwen2" else ()),
        *([_OUT] if attention and kind != "qwen2" else ()),
        *((*_GATED, _DOWN) if config.flag("mlp_bias") else ()),
    )


def _scale(config: Config, kind: str) -> float | None:
    """That of scores, None for the usual one. Raises Error."""
    if kind == "granite":
        return config.real("attention_multiplier", 1.0)
    if kind == "gemma3_text":
        config.require(
            attn_logit_softcapping=None, final_logit_softcapping=None,
            use_bidirectional_attention=False,
        )  # fmt: skip
        return config.real("query_pre_attn_scalar", 256.0) ** -0.5
    return None


def _frequencies(config: Config, stored: _Stored, layers: int) -> Array | list[Array | None]:
    """Of all layers, or of each. Raises Error."""
    whole = stored.turned.frequencies
    if stored.kind == "smollm3":
        return [whole if turned else None for turned in _turned(config, layers)]
    if stored.kind == "gemma3_text":
        near = rotary(layered(config, "sliding_attention"), stored.size, stored.positions)
        found = {"full_attention": whole, "sliding_attention": near.frequencies}
        return [found[kind] for kind in kinds(config, layers)]
    return whole


def _turned(config: Config, layers: int) -> list[bool]:
    """Whether each layer has rotary positions. Raises Error."""
    every = config.number("no_rope_layer_interval", 4)
    default = [int((i + 1) % every != 0) for i in range(layers)]
    given = config.get("no_rope_layers", default)
    if not isinstance(given, list) or len(given) != layers or not set(given) <= {0, 1}:
        raise config.refusal("no_rope_layers", given, f"a list of {layers}, each 0 or 1")
    return [bool(v) for v in given]


@dataclass(frozen=True)
class _Layer:
    """The nodes of a layer's tensors, whose names begin with p. biased: products with a bias."""

    tensor: Callable[[str], Array]
    p: str
    eps: float
    biased: tuple[str, ...]

    def before(self, out: str, name: str) -> list[Node]:
        """The residual as a part of the layer reads it: under this name, or as it is."""
        return [Norm("x", out, self.tensor(f"{self.p}{name}.weight"), self.eps)] if name else []

    def linear(self, x: str, out: str, name: str) -> Linear:
        bias = self.tensor(f"{self.p}{name}.bias") if name in self.biased else None
        name = f"{self.p}{name}.weight"
        return Linear(x, out, self.tensor(name), name, bias)

    def normed(self, x: str, size: int, name: str) -> list[Node]:
        """x, of `size` elements, as `xn`; the gains say how many heads it has."""
        gain = self.tensor(f"{self.p}{name}.weight")
        return [HeadNorm(x, f"{x}n", size // len(gain), len(gain), gain, self.eps)]

    def added(self, y: str, size: int, name: str) -> list[Node]:
        """The residual with what a part of the layer gives, normed first where there is a name."""
        return [*self.normed(y, size, name), Add("x", f"{y}n")] if name else [Add("x", y)]


def llama(
    tensor: Callable[[str], Array],
    *,
    layers: int,
    heads: int,
    kv_heads: int,
    size: int,
    frequencies: Array | list[Array | None],
    eps: float,
    vocab: int,
    context: int,
    bos: int,
    ends: tuple[int, ...],
    meta: dict[str, Any],
    activation: str = "silu",
    biased: tuple[str, ...] = (),
    scale: float | None = None,
    norms: Norms = Norms(),
) -> Graph:
    """A Llama graph from its tensors by their Hugging Face names (without "model.").

    tensor(name) gives a float array (rows, columns) or (dim,); q and k in Hugging Face's rotary
    order. size: of a head; frequencies: (size/2,) radians a position, or each layer's, None where
    it has no positions. biased: products with a bias. scale: of scores.
    """
    embedding = tensor("embed_tokens.weight")
    dim = embedding.shape[1]
    nodes: list[Node] = [Embedding("x", embedding)]
    for i in range(layers):
        layer = _Layer(tensor, f"layers.{i}.", eps, biased)
        a, q, k, v, o, y, b, g, u, h, z = (f"{i}.{n}" for n in "aqkvoybguhz")
        nodes += layer.before(a, norms.attention)
        x = a if norms.attention else "x"
        nodes += [layer.linear(x, *n) for n in zip((q, k, v), _QKV, strict=True)]
        if norms.heads:
            nodes += layer.normed(q, heads * size, _QK_NORMS[0])
            nodes += layer.normed(k, kv_heads * size, _QK_NORMS[1])
            q, k = f"{q}n", f"{k}n"
        turned = frequencies[i] if isinstance(frequencies, list) else frequencies
        nodes += [
            Attention(q, k, v, o, heads, kv_heads, size, turned, scale=scale),
            layer.linear(o, y, _OUT),
            *layer.added(y, dim, norms.behind_attention),
            *layer.before(b, norms.network),
        ]
        x = b if norms.network else "x"
        nodes += [
            layer.linear(x, g, "mlp.gate_proj"),
            layer.linear(x, u, "mlp.up_proj"),
            Gate(g, u, h, activation),
            layer.linear(h, z, _DOWN),
            *layer.added(z, dim, norms.behind_network),
        ]
    nodes.append(Norm("x", "n", tensor("norm.weight"), eps))
    nodes.append(Linear("n", "logits", tensor("lm_head.weight"), "lm_head.weight"))
    return Graph(nodes, vocab, context, bos, ends, {"architecture": "llama", **meta})
