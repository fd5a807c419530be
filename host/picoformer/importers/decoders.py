"""Decoders with layer norms that read and write like GPT-2, each by the names of its parts.

GPT-NeoX (Pythia), GPT-J, Phi, StableLM and StarCoder2 turn queries and keys; GPT-Neo and OPT have
tables of positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..graph.nodes import Add, Array, Attention, Embedding, Gate, Graph, Linear, Node
from .checkpoint import ACTIVATIONS, Config, Tensors
from .rotary import Rotary, rotary, turns, windowed

_BUFFERS = r"inv_freq$|\.(attention|attn|self_attn)\.(masked_)?bias$"  # which older files keep


@dataclass(frozen=True)
class _Names:
    """Of a layer's parts, behind what precedes them all. No second norm: the first serves both."""

    first: str
    second: str
    q: str
    k: str
    v: str
    out: str
    up: str
    down: str
    gate: str = ""


@dataclass
class _Decoder:
    """A decoder while its nodes are put down. parallel: attention and network read the same x."""

    tensors: Tensors
    dim: int
    heads: int
    kv_heads: int
    hidden: int
    eps: float
    activation: str
    qkv_bias: bool = True
    out_bias: bool = True
    mlp_bias: bool = True
    turned: Rotary | None = None
    scale: float | None = None
    parallel: bool = False
    pre: bool = True  # norms in front of attention and network
    nodes: list[Node] = field(default_factory=list)

    def norm(self, x: str, out: str, name: str) -> str:
        self.nodes.append(self.tensors.layer_norm(x, out, name, self.dim, self.eps))
        return out

    def linear(self, x: str, out: str, name: str, rows: int, columns: int, bias: bool) -> Linear:
        return self.tensors.linear(x, out, name, rows, columns, bias)

    def products(self, a: str, names: tuple[str, ...], n: _Names) -> list[Linear]:
        """Queries, keys and values."""
        size = self.dim // self.heads
        made = []
        for out, name, heads in zip(
            names, (n.q, n.k, n.v), (self.heads, self.kv_heads, self.kv_heads), strict=True
        ):
            p = self.linear(a, out, name, heads * size, self.dim, self.qkv_bias)
            made.append(self.turn(p, heads) if name != n.v else p)
        return made

    def turn(self, p: Linear, heads: int) -> Linear:
        if self.turned is None:
            return p
        bias = None if p.bias is None else self.turned.rows(p.bias, heads)
        return Linear(p.x, p.out, self.turned.rows(p.weight, heads), p.name, bias)

    def layer(self, i: int, n: _Names) -> None:
        a, q, k, v, o, y, b, g, u, h, z = (f"{i}.{letter}" for letter in "aqkvoybguhz")
        a = self.norm("x", a, n.first) if self.pre else "x"
        frequencies = self.turned.frequencies if self.turned else None
        size = self.dim // self.heads
        attended: list[Node] = [
            self.linear(o, y, n.out, self.dim, self.dim, self.out_bias),
            Add("x", y),
        ]
        self.nodes += [
            *self.products(a, (q, k, v), n),
            Attention(
                q, k, v, o, self.heads, self.kv_heads, size, frequencies, scale=self.scale
            ),
        ]
        if not self.parallel:
            self.nodes += attended
            if not self.pre:
                self.norm("x", "x", n.first)
        # What comes behind the attention is of one position in the last layer: a second norm as
        # well.
        if not self.pre:
            b = "x"
        elif n.second:
            self.norm("x", b, n.second)
        else:
            b = a
        self.nodes.append(self.linear(b, g, n.gate or n.up, self.hidden, self.dim, self.mlp_bias))
        if n.gate:
            self.nodes.append(self.linear(b, u, n.up, self.hidden, self.dim, self.mlp_bias))
        self.nodes.append(Gate(g, u if n.gate else None, h, self.activation))
        if self.parallel:
            self.nodes += attended
        self.nodes += [
            self.linear(h, z, n.down, self.dim, self.hidden, self.mlp_bias),
            Add("x", z),
        ]
        if not self.pre:
            self.norm("x", "x", n.second)

    def graph(
        self, config: Config, context: int, last: str, head: Array, name: str = "lm_head",
        bias: bool = False,
    ) -> Graph:  # fmt: skip
        """The graph, with the last norm, if any, and the head. Raises Error."""
        x = self.norm("x", "n", last) if last else "x"
        if head.shape[1] != self.dim:
            part = "project_out"
            self.nodes.append(self.linear(x, "p", part, head.shape[1], self.dim, False))
            x = "p"
        biases = self.tensors.get(name + ".bias", len(head)) if bias else None
        self.nodes.append(Linear(x, "logits", head, name + ".weight", biases))
        self.tensors.check_used(_BUFFERS)
        kind = str(config.get("model_type"))
        return Graph(self.nodes, len(head), context, meta={"architecture": kind})


def _sizes(config: Config) -> tuple[int, int, int]:
    """(dim, heads, size of a head) by the usual names. Raises Error."""
    dim, heads = config.number("hidden_size"), config.number("num_attention_heads")
    return dim, heads, config.head_size(dim, heads)


class _Fused(_Decoder):
    """GPT-NeoX keeps query, key and value of each head in one matrix."""

    def products(self, a: str, names: tuple[str, ...], n: _Names) -> list[Linear]:
        size, rows = self.dim // self.heads, 3 * self.dim
        weight = self.tensors.get(n.q + ".weight", rows, self.dim)
        bias = self.tensors.get(n.q + ".bias", rows) if self.qkv_bias else None

        def part(t: Array, at: int) -> Array:
            split = t.reshape(self.heads, 3, size, *t.shape[1:])
            return np.ascontiguousarray(split[:, at].reshape(-1, *t.shape[1:]))

        made = [
            Linear(a, out, part(weight, at), f"{n.q}.weight.{out[-1]}",
                   None if bias is None else part(bias, at))
            for at, out in enumerate(names)
        ]  # fmt: skip
        return [*(self.turn(p, self.heads) for p in made[:2]), made[2]]


def read_neox(config: Config, tensors: Tensors) -> Graph:
    """The graph of a GPT-NeoX, as Pythia is. Raises Error."""
    config.architecture(("GPTNeoXForCausalLM", "GPTNeoXModel"))
    dim, heads, size = _sizes(config)
    context = config.number("max_position_embeddings", 2048)
    biased = config.flag("attention_bias", True)
    d = _Fused(
        tensors, dim, heads, heads, config.number("intermediate_size"),
        config.real("layer_norm_eps", 1e-5), config.choice("hidden_act", ACTIVATIONS, "gelu"),
        biased, biased, turned=rotary(config, size, context, 0.25, ("rotary_pct",)),
        parallel=config.flag("use_parallel_residual", True),
    )  # fmt: skip
    embedding = tensors.get("embed_in.weight", config.number("vocab_size"), dim)
    d.nodes.append(Embedding("x", embedding))
    for i in range(config.number("num_hidden_layers")):
        p = f"layers.{i}."
        qkv = p + "attention.query_key_value"
        d.layer(i, _Names(
            p + "input_layernorm", p + "post_attention_layernorm", qkv, qkv, qkv,
            p + "attention.dense", p + "mlp.dense_h_to_4h", p + "mlp.dense_4h_to_h",
        ))  # fmt: skip
    name = "embed_out" if "embed_out.weight" in tensors else "lm_head"
    head = tensors.head(embedding, config.flag("tie_word_embeddings"), name)
    return d.graph(config, context, "final_layer_norm", head, name)


def read_gptj(config: Config, tensors: Tensors) -> Graph:
    """The graph of a GPT-J, whose pairs are neighbours. Raises Error."""
    config.architecture(("GPTJForCausalLM", "GPTJModel"))
    dim, heads = config.number("n_embd", 4096), config.number("n_head", 16)
    size, context = config.head_size(dim, heads), config.number("n_positions", 2048)
    turned = config.number("rotary_dim", size)
    if turned > size or turned % 2 or size % 2:
        raise config.refusal("rotary_dim", turned, f"an even number up to {size}")
    frequencies = 10000.0 ** -(np.arange(0, turned, 2) / turned)
    d = _Decoder(
        tensors, dim, heads, heads, config.number("n_inner", 4 * dim),
        config.real("layer_norm_epsilon", 1e-5),
        config.choice("activation_function", ACTIVATIONS, "gelu_new"), False, False,
        turned=turns(frequencies, size, neighbours=True), parallel=True,
    )  # fmt: skip
    embedding = tensors.get("wte.weight", config.number("vocab_size"), dim)
    d.nodes.append(Embedding("x", embedding))
    for i in range(config.number("n_layer", 28)):
        p = f"h.{i}."
        q, k, v, out = (f"{p}attn.{n}_proj" for n in ("q", "k", "v", "out"))
        d.layer(i, _Names(p + "ln_1", "", q, k, v, out, p + "mlp.fc_in", p + "mlp.fc_out"))
    head = tensors.head(embedding, config.flag("tie_word_embeddings"))
    return d.graph(config, context, "ln_f", head, bias=True)


def read_phi(config: Config, tensors: Tensors) -> Graph:
    """The graph of a Phi (1, 1.5, 2). Raises Error."""
    config.architecture(("PhiForCausalLM", "PhiModel"))
    config.require(qk_layernorm=False)
    dim, heads, size = _sizes(config)
    context = config.number("max_position_embeddings", 2048)
    d = _Decoder(
        tensors, dim, heads, config.number("num_key_value_heads", heads),
        config.number("intermediate_size"), config.real("layer_norm_eps", 1e-5),
        config.choice("hidden_act", ACTIVATIONS, "gelu_new"),
        turned=rotary(config, size, context, 0.5), parallel=True,
    )  # fmt: skip
    embedding = tensors.get("embed_tokens.weight", config.number("vocab_size"), dim)
    d.nodes.append(Embedding("x", embedding))
    for i in range(config.number("num_hidden_layers")):
        p = f"layers.{i}."
        q, k, v = (f"{p}self_attn.{n}_proj" for n in "qkv")
        d.layer(i, _Names(
            p + "input_layernorm", "", q, k, v, p + "self_attn.dense", p + "mlp.fc1", p + "mlp.fc2"
        ))  # fmt: skip
    head = tensors.head(embedding, config.flag("tie_word_embeddings"))
    return d.graph(config, context, "final_layernorm", head, bias=True)


def read_stablelm(config: Config, tensors: Tensors) -> Graph:
    """The graph of a StableLM, or a StarCoder2. Raises Error."""
    stable = config.get("model_type") == "stablelm"
    name = "StableLm" if stable else "Starcoder2"
    config.architecture((f"{name}ForCausalLM", f"{name}Model"))
    config.require(qk_layernorm=False)
    dim, heads, size = _sizes(config)
    context = config.number("max_position_embeddings", 4096)
    biased = not stable and config.flag("use_bias", True)
    parallel = stable and config.flag("use_parallel_residual")
    d = _Decoder(
        tensors, dim, heads, config.number("num_key_value_heads", heads),
        config.number("intermediate_size"),
        config.real("layer_norm_eps" if stable else "norm_epsilon", 1e-5),
        config.choice("hidden_act", ACTIVATIONS, "silu" if stable else "gelu_pytorch_tanh"),
        config.flag("use_qkv_bias") if stable else biased, biased, biased,
        turned=rotary(config, size, context, 0.25 if stable else 1.0), parallel=parallel,
    )  # fmt: skip
    embedding = tensors.get("embed_tokens.weight", config.number("vocab_size"), dim)
    d.nodes.append(Embedding("x", embedding))
    for i in range(config.number("num_hidden_layers")):
        p = f"layers.{i}."
        q, k, v, o = (f"{p}self_attn.{n}_proj" for n in "qkvo")
        second = "" if parallel else p + "post_attention_layernorm"
        names = ("up_proj", "down_proj", "gate_proj") if stable else ("c_fc", "c_proj")
        mlp = [f"{p}mlp.{n}" for n in names]
        d.layer(i, _Names(p + "input_layernorm", second, q, k, v, o, *mlp))
    head = tensors.head(embedding, config.flag("tie_word_embeddings", not stable))
    return d.graph(config, windowed(config, context), "norm", head)


def read_neo(config: Config, tensors: Tensors) -> Graph:
    """The graph of a GPT-Neo, as TinyStories' models are. Raises Error.

    Where a layer's attention is local, the context ends with its window.
    """
    config.architecture(("GPTNeoForCausalLM", "GPTNeoModel"))
    dim, heads = config.number("hidden_size", 2048), config.number("num_heads", 16)
    config.head_size(dim, heads)
    layers, positions = config.number("num_layers", 24), config.number("max_position_embeddings")
    d = _Decoder(
        tensors, dim, heads, heads, config.number("intermediate_size", 4 * dim),
        config.real("layer_norm_epsilon", 1e-5),
        config.choice("activation_function", ACTIVATIONS, "gelu_new"), qkv_bias=False, scale=1.0,
    )  # fmt: skip
    embedding = tensors.get("wte.weight", config.number("vocab_size"), dim)
    table = tensors.get("wpe.weight", positions, dim)
    d.nodes += [Embedding("x", embedding), Embedding("x", table, by="position")]
    for i in range(layers):
        p = f"h.{i}."
        q, k, v, out = (f"{p}attn.attention.{n}_proj" for n in ("q", "k", "v", "out"))
        up, down = p + "mlp.c_fc", p + "mlp.c_proj"
        d.layer(i, _Names(p + "ln_1", p + "ln_2", q, k, v, out, up, down))
    local = "local" in str(config.get("attention_types", config.get("attention_layers", "local")))
    context = min(positions, config.number("window_size", 256)) if local else positions
    head = tensors.head(embedding, config.flag("tie_word_embeddings", True))
    return d.graph(config, context, "ln_f", head)


_OFFSET = 2  # rows of OPT's table of positions that come before the first


def read_opt(config: Config, tensors: Tensors) -> Graph:
    """The graph of an OPT. Raises Error."""
    config.architecture(("OPTForCausalLM", "OPTModel"))
    config.require(layer_norm_elementwise_affine=True)
    dim, heads, _ = _sizes(config)
    context, vocab = config.number("max_position_embeddings", 2048), config.number("vocab_size")
    before, biased = config.flag("do_layer_norm_before", True), config.flag("enable_bias", True)
    d = _Decoder(
        tensors, dim, heads, heads, config.number("ffn_dim", 4 * dim), 1e-5,
        config.choice("activation_function", ACTIVATIONS, "relu"), biased, biased, biased,
        pre=before,
    )  # fmt: skip
    narrow = config.number("word_embed_proj_dim", dim)
    stored = embedding = tensors.get("embed_tokens.weight", vocab, narrow)
    if narrow != dim:
        embedding = embedding @ tensors.get("project_in.weight", dim, narrow).T
    table = tensors.get("embed_positions.weight", context + _OFFSET, dim)[_OFFSET:]
    d.nodes += [Embedding("x", embedding), Embedding("x", table, by="position")]
    for i in range(config.number("num_hidden_layers")):
        p = f"layers.{i}."
        q, k, v, out = (f"{p}self_attn.{n}_proj" for n in ("q", "k", "v", "out"))
        first, second = p + "self_attn_layer_norm", p + "final_layer_norm"
        d.layer(i, _Names(first, second, q, k, v, out, p + "fc1", p + "fc2"))
    last = before and not config.flag("_remove_final_layer_norm")
    head = tensors.head(stored, config.flag("tie_word_embeddings", True))
    return d.graph(config, context, "final_layer_norm" if last else "", head)
