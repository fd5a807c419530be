"""GPT-2 as a float graph."""

from __future__ import annotations

import numpy as np

from ..graph.nodes import (
    Add,
    Array,
    Attention,
    Embedding,
    Gate,
    Graph,
    LayerNorm,
    Linear,
    Node,
)
from .checkpoint import ACTIVATIONS, Config, Tensors


def read(config: Config, tensors: Tensors) -> Graph:
    """The graph of a GPT-2 language model. Raises Error."""
    config.architecture(("GPT2LMHeadModel", "GPT2Model"))
    config.require(
        scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False
    )
    dim = config.number("n_embd", 768)
    heads = config.number("n_head", 12)
    size = config.head_size(dim, heads)
    hidden = config.number("n_inner", 4 * dim)
    vocab = config.number("vocab_size", 50257)
    context = config.number("n_positions", 1024)
    eps = config.real("layer_norm_epsilon", 1e-5)
    activation = config.choice("activation_function", ACTIVATIONS, "gelu_new")

    def norm(x: str, out: str, name: str) -> LayerNorm:
        return tensors.layer_norm(x, out, name, dim, eps)

    def conv1d(name: str, rows: int, columns: int) -> tuple[Array, Array]:
        # GPT-2 keeps its matrices transposed
        weight = tensors.get(name + ".weight", columns, rows)
        return np.ascontiguousarray(weight.T), tensors.get(name + ".bias", rows)

    def linear(x: str, out: str, name: str, rows: int, columns: int) -> Linear:
        weight, bias = conv1d(name, rows, columns)
        return Linear(x, out, weight, name + ".weight", bias)

    embedding = tensors.get("wte.weight", vocab, dim)
    positions = tensors.get("wpe.weight", context, dim)
    nodes: list[Node] = [Embedding("x", embedding), Embedding("x", positions, by="position")]
    for i in range(config.number("n_layer", 12)):
        p = f"h.{i}."
        a, q, k, v, o, y, b, g, h, z = (f"{i}.{n}" for n in "aqkvoybghz")
        weight, bias = conv1d(p + "attn.c_attn", 3 * dim, dim)
        parts = zip((q, k, v), np.split(weight, 3), np.split(bias, 3), strict=True)
        nodes += [
            norm("x", a, p + "ln_1"),
            *(
                Linear(a, out, w, f"{p}attn.c_attn.weight.{out[-1]}", part)
                for out, w, part in parts
            ),
            Attention(q, k, v, o, heads, heads, size),
            linear(o, y, p + "attn.c_proj", dim, dim),
            Add("x", y),
            norm("x", b, p + "ln_2"),
            linear(b, g, p + "mlp.c_fc", hidden, dim),
            Gate(g, None, h, activation),
            linear(h, z, p + "mlp.c_proj", dim, hidden),
            Add("x", z),
        ]
    nodes.append(norm("x", "n", "ln_f"))
    head = tensors.head(embedding, config.flag("tie_word_embeddings", True))
    nodes.append(Linear("n", "logits", head, "lm_head.weight"))
    tensors.check_used(r"\.attn\.(masked_)?bias$")  # the causal mask, which older files keep
    return Graph(nodes, vocab, context, meta={"architecture": "gpt2"})
