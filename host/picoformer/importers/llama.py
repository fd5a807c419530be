"""The Llama architecture as a float graph, for every importer that meets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graph import Add, Array, Attention, Embedding, Gate, Graph, Linear, Node, Norm


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
    eos: int,
    tied: bool,
    meta: dict[str, Any],
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
            name = f"{p}{name}.weight"
            return Linear(x, out, tensor(name), name)

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
            Gate(g, u, h, "silu"),
            linear(h, z, "mlp.down_proj"),
            Add("x", z),
        ]
    nodes.append(Norm("x", "n", tensor("norm.weight"), eps))
    head = embedding if tied else tensor("lm_head.weight")
    nodes.append(Linear("n", "logits", head, "lm_head.weight"))
    return Graph(nodes, vocab, context, bos, eos, {"architecture": "llama", **meta})
