"""The Llama architecture as a float graph, for every importer that meets it."""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any

import numpy as np

from ..graph.nodes import Add, Array, Attention, Embedding, Gate, Graph, Linear, Node, Norm
from .checkpoint import ACTIVATIONS, Config, Tensors

_ROPE = "default, linear, dynamic, llama3"


def read(config: Config, tensors: Tensors) -> Graph:
    """The graph of a Hugging Face folder's Llama language model. Raises Error."""
    config.architecture(("LlamaForCausalLM", "LlamaModel", "LLaMAForCausalLM"))
    config.require(sliding_window=None)
    heads = config.number("num_attention_heads")
    dim = config.number("hidden_size")
    size = config.number("head_dim", dim // heads)
    kv_heads = config.number("num_key_value_heads", heads)
    vocab = config.number("vocab_size")
    hidden = config.number("intermediate_size")
    context = config.number("max_position_embeddings", 2048)
    tied = config.flag("tie_word_embeddings")
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
        "norm": (dim,),
    }
    embedding = tensors.get("embed_tokens.weight", vocab, dim)

    def tensor(name: str) -> Array:
        if name == "embed_tokens.weight":
            return embedding
        if name == "lm_head.weight":
            return tensors.head(embedding, tied=False)
        words = [p for p in name.split(".") if p != "layers" and not p.isdigit()]
        shape = shapes[".".join(words[:-1])]
        return tensors.get(name, *(shape[:1] if words[-1] == "bias" else shape))

    graph = llama(
        tensor,
        layers=config.number("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        size=size,
        frequencies=rope_frequencies(config, size, context),
        eps=config.real("rms_norm_eps", 1e-6),
        vocab=vocab,
        context=context,
        bos=-1,
        ends=(),
        tied=tied,
        meta={},
        activation=config.choice("hidden_act", ACTIVATIONS, "silu"),
        attention_bias=config.flag("attention_bias"),
        mlp_bias=config.flag("mlp_bias"),
    )
    if tied:
        tensors.head(embedding, tied=True)
    tensors.check_used(r"rotary_emb\.inv_freq$")  # which older files keep
    return graph


def rope_frequencies(config: Config, size: int, context: int) -> Array:
    """The rotary frequencies (size/2,), radians a position, scaled as config.json declares.

    Raises Error for a scaling that is not supported.
    """
    key = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    rope = config.get(key, {})
    if not isinstance(rope, dict):
        raise config.refusal(key, rope, "an object")
    config.require(partial_rotary_factor=1.0)
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise config.refusal("partial_rotary_factor", rope["partial_rotary_factor"], "1.0")
    theta = config.real("rope_theta", config.get("rope_theta", 10000.0), rope)
    frequencies = theta ** -(np.arange(0, size, 2) / size)
    kind = rope.get("rope_type", rope.get("type", "default"))
    # Dynamic scaling begins behind max_position_embeddings, where a graph's context ends.
    if kind in ("default", "dynamic"):
        return frequencies
    if kind == "linear":
        return frequencies / config.real("factor", None, rope)
    if kind != "llama3":
        raise config.refusal("rope_type", kind, _ROPE)
    factor = config.real("factor", None, rope)
    low = config.real("low_freq_factor", None, rope)
    high = config.real("high_freq_factor", None, rope)
    if not low < high:
        raise config.refusal("high_freq_factor", high, f"more than low_freq_factor, {low}")
    trained = config.real("original_max_position_embeddings", context, rope)
    # Turns within the length that it was trained with: from `low` down divided by the factor,
    # from `high` up unchanged, between the two a blend.
    turns = trained * frequencies / (2 * pi)
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return frequencies * (blend + (1 - blend) / factor)


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
    mlp_bias: bool = False,
) -> Graph:
    """A Llama graph from its tensors by their Hugging Face names (without "model.").

    tensor(name) gives a float array (rows, columns) or (dim,); q and k in Hugging Face's rotary
    order. size: of a head; frequencies: (size/2,) radians a position.
    """
    embedding = tensor("embed_tokens.weight")
    nodes: list[Node] = [Embedding("x", embedding)]
    for i in range(layers):
        p = f"layers.{i}."

        def linear(x: str, out: str, name: str, p: str = p) -> Linear:
            biased = attention_bias if name.startswith("self_attn.") else mlp_bias
            bias = tensor(f"{p}{name}.bias") if biased else None
            name = f"{p}{name}.weight"
            return Linear(x, out, tensor(name), name, bias)

        def value(name: str, i: int = i) -> str:
            return f"{i}.{name}"

        a, q, k, v, o = (value(n) for n in ("a", "q", "k", "v", "o"))
        y, b, g, u, h, z = (value(n) for n in ("y", "b", "g", "u", "h", "z"))
        nodes += [
            Norm("x", a, tensor(p + "input_layernorm.weight"), eps),
            linear(a, q, "self_attn.q_proj"),
            linear(a, k, "self_attn.k_proj"),
            linear(a, v, "self_attn.v_proj"),
            Attention(q, k, v, o, heads, kv_heads, size, frequencies),
            linear(o, y, "self_attn.o_proj"),
            Add("x", y),
            Norm("x", b, tensor(p + "post_attention_layernorm.weight"), eps),
            linear(b, g, "mlp.gate_proj"),
            linear(b, u, "mlp.up_proj"),
            Gate(g, u, h, activation),
            linear(h, z, "mlp.down_proj"),
            Add("x", z),
        ]
    nodes.append(Norm("x", "n", tensor("norm.weight"), eps))
    head = embedding if tied else tensor("lm_head.weight")
    nodes.append(Linear("n", "logits", head, "lm_head.weight"))
    return Graph(nodes, vocab, context, bos, ends, {"architecture": "llama", **meta})
