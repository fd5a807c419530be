"""Marian and BART as float graphs: an encoder that reads a text, a decoder that writes one.

`arrange` lays the layers, of these or of one stack alone, which other importers fill as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import Error
from ..graph.nodes import (
    Add,
    Array,
    Attention,
    Embedding,
    Gate,
    Graph,
    Keep,
    LayerNorm,
    Linear,
    Node,
    Norm,
)
from .checkpoint import ACTIVATIONS, Config, Tensors, read_json

_BANNED = 100.0  # that the bias of a token never written is below all others


@dataclass(frozen=True)
class Shape:
    """Of an encoder and a decoder; pairs are of the two. Of one stack, each has one element."""

    dim: int
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    hidden: tuple[int, ...]
    activation: str
    eps: float
    pre: bool = False  # norms in front of attention and network
    first: bool = False  # a norm behind the embeddings
    size: int = 0  # of a head; 0: dim / heads
    scale: float | None = None  # of scores, as `Attention` has it
    gated: bool = False  # the network's activation is multiplied by a second product
    last: tuple[bool, ...] | None = None  # a norm at the end; None: where `pre` is
    causal: bool = True  # of one stack: it sees the positions so far
    within: bool = False  # of one stack: the last norm changes the residual, which is pooled


# linear(name, rows, columns) and norm(name): the tensors of "encoder.0.self.q" and its like. A
# norm without a bias is a root mean square's.
FindLinear = Callable[[str, int, int], tuple[Array, Array | None]]
FindNorm = Callable[[str], tuple[Array, Array | None]]


def arrange(
    s: Shape,
    find_linear: FindLinear,
    find_norm: FindNorm,
    tables: Sequence[Array],
    positions: Sequence[Array | None],
    biases: Sequence[tuple[Array, Array]] | None = None,
) -> tuple[list[Node], list[Node], str]:
    """(nodes of the encoder, of the decoder, the value that the logits are made of).

    tables (vocab, dim) and positions (context, dim): the embeddings of the encoder and of the
    decoder. biases: bias and buckets of their self-attentions. One stack alone has one of each;
    its nodes are the second list, its value is x, and where there are no tables the caller makes
    x.
    """
    dim = s.dim

    def linear(x: str, out: str, name: str, rows: int, columns: int) -> Linear:
        weight, bias = find_linear(name, rows, columns)
        return Linear(x, out, weight, name, bias)

    def norm(x: str, out: str, name: str) -> Node:
        gain, bias = find_norm(name)
        if bias is None:
            return Norm(x, out, gain, s.eps)
        return LayerNorm(x, out, gain, bias, s.eps)

    parts: list[list[Node]] = [[], []]
    ends: list[str] = []
    both = len(s.layers) == 2
    for which, (part, x) in enumerate((("encoder", "e" if both else "x"), ("decoder", "x"))):
        if which == len(s.layers):
            break
        nodes, heads, hidden = parts[which if both else 1], s.heads[which], s.hidden[which]
        size = s.size or dim // heads
        inner = heads * size
        bias, buckets = biases[which] if biases else (None, None)
        if tables:
            nodes.append(Embedding(x, tables[which]))
        at = positions[which]
        if at is not None:
            nodes.append(Embedding(x, at, by="position"))
        if s.first:
            nodes.append(norm(x, x, f"{part}.first.norm"))
        for i in range(s.layers[which]):
            p = f"{part}.{i}."
            n = {name: f"{x}{i}.{name}" for name in "aqkvoybruwcgthz"}
            a, b, c = (n[name] if s.pre else x for name in "abc")
            if s.pre:
                nodes.append(norm(x, a, p + "self.norm"))
            nodes += [linear(a, n[name], f"{p}self.{name}", inner, dim) for name in "qkv"]
            causal = part == "decoder" if both else s.causal
            nodes += [
                Attention(
                    n["q"], n["k"], n["v"], n["o"], heads, heads, size,
                    causal=causal, scale=s.scale, bias=bias, buckets=buckets,
                ),
                linear(n["o"], n["y"], p + "self.out", dim, inner),
                Add(x, n["y"]),
            ]
            if not s.pre:
                nodes.append(norm(x, x, p + "self.norm"))
            if part == "decoder":
                k, v = f"{i}.ck", f"{i}.cv"
                parts[0] += [
                    linear(ends[0], k, p + "cross.k", inner, dim),
                    linear(ends[0], v, p + "cross.v", inner, dim),
                    Keep(k, v, heads, size),
                ]
                if s.pre:
                    nodes.append(norm(x, b, p + "cross.norm"))
                nodes += [
                    linear(b, n["r"], p + "cross.q", inner, dim),
                    Attention(
                        n["r"], k, v, n["u"], heads, heads, size,
                        causal=False, cross=True, scale=s.scale,
                    ),
                    linear(n["u"], n["w"], p + "cross.out", dim, inner),
                    Add(x, n["w"]),
                ]
                if not s.pre:
                    nodes.append(norm(x, x, p + "cross.norm"))
            if s.pre:
                nodes.append(norm(x, c, p + "network.norm"))
            nodes.append(linear(c, n["g"], p + "network.up", hidden, dim))
            if s.gated:
                nodes.append(linear(c, n["t"], p + "network.times", hidden, dim))
            nodes += [
                Gate(n["g"], n["t"] if s.gated else None, n["h"], s.activation),
                linear(n["h"], n["z"], p + "network.down", dim, hidden),
                Add(x, n["z"]),
            ]
            if not s.pre:
                nodes.append(norm(x, x, p + "network.norm"))
        last = s.pre if s.last is None else s.last[which]
        ends.append(x + "n" if last and not s.within else x)
        if last:
            nodes.append(norm(x, ends[-1], f"{part}.last.norm"))
    return parts[0], parts[1], ends[-1]


def banned(bias: Array, tokens: Sequence[int]) -> Array:
    """The logits' bias by which these tokens are never written.

    They are far below all others, but not so far that the others lose precision.
    """
    at = np.array(tokens, np.intp)
    out = bias.copy()
    out[at] = np.delete(bias, at).min() - _BANNED
    return out


def sinusoids(positions: int, dim: int) -> Array:
    """Marian's table (positions, dim): of each position all sines, then all cosines."""
    j = np.arange(dim)
    angle = np.arange(positions)[:, None] / 10000.0 ** (2 * (j // 2) / dim)
    table = np.concatenate([np.sin(angle[:, 0::2]), np.cos(angle[:, 1::2])], 1)
    return table.astype(np.float32)


_PARTS = {
    "self": "self_attn",
    "cross": "encoder_attn",
    "q": "q_proj",
    "k": "k_proj",
    "v": "v_proj",
    "out": "out_proj",
    "up": "fc1",
    "down": "fc2",
}
_NORMS = {
    "self": "self_attn_layer_norm",
    "cross": "encoder_attn_layer_norm",
    "network": "final_layer_norm",
}


def _name(name: str) -> str:
    """Hugging Face's name of "encoder.0.self.q" and its like."""
    part, layer, block, *rest = name.split(".")
    if layer == "first":
        return f"{part}.layernorm_embedding"
    p = f"{part}.layers.{layer}."
    if rest == ["norm"]:
        return p + _NORMS[block]
    return p + (_PARTS[rest[0]] if block == "network" else f"{_PARTS[block]}.{_PARTS[rest[0]]}")


def read_marian(config: Config, tensors: Tensors) -> Graph:
    """The graph of a Marian translator. Raises Error."""
    config.architecture(("MarianMTModel",))
    config.require(
        normalize_before=False, normalize_embedding=False, add_final_layer_norm=False,
        static_position_embeddings=True,
    )  # fmt: skip
    dim, vocab = config.number("d_model", 1024), config.number("vocab_size", 58101)
    context = config.number("max_position_embeddings", 1024)
    separate = not config.flag("share_encoder_decoder_embeddings", True)
    if separate and config.number("decoder_vocab_size", vocab) != vocab:
        raise config.refusal("decoder_vocab_size", config.get("decoder_vocab_size"), str(vocab))
    if separate and (config.folder / "target_vocab.json").is_file():
        raise Error(
            f"{config.folder / 'target_vocab.json'}: a vocabulary of its own for what is written; "
            "supported: one for both languages"
        )
    positions = []
    for part in "encoder", "decoder":
        name = f"{part}.embed_positions.weight"
        stored = tensors.get(name, context, dim) if name in tensors else sinusoids(context, dim)
        positions.append(stored)
    return _read(config, tensors, separate, (positions[0], positions[1]), first=False)


def read_bart(config: Config, tensors: Tensors) -> Graph:
    """The graph of a BART that writes text. Raises Error."""
    config.architecture(("BartForConditionalGeneration",))
    config.require(
        normalize_before=False, normalize_embedding=True, add_final_layer_norm=False,
        static_position_embeddings=False, extra_pos_embeddings=2,
    )  # fmt: skip
    dim, context = config.number("d_model", 1024), config.number("max_position_embeddings", 1024)
    # the first two rows stand for nothing
    encoder, decoder = (
        np.ascontiguousarray(tensors.get(f"{part}.embed_positions.weight", context + 2, dim)[2:])
        for part in ("encoder", "decoder")
    )
    return _read(config, tensors, False, (encoder, decoder), first=True)


def _read(
    config: Config, tensors: Tensors, separate: bool, positions: tuple[Array, Array], first: bool
) -> Graph:
    """The graph of either; separate: encoder and decoder have different embeddings."""
    dim, vocab = config.number("d_model", 1024), config.number("vocab_size")
    start, pad = generation(config)
    encoder_shape, decoder_shape = (
        (
            config.number(part + "_layers", 12),
            config.number(part + "_attention_heads", 16),
            config.number(part + "_ffn_dim", 4096),
        )
        for part in ("encoder", "decoder")
    )
    layers, heads, hidden = zip(encoder_shape, decoder_shape, strict=True)
    for n in heads:
        config.head_size(dim, n)
    activation = config.choice("activation_function", ACTIVATIONS, "gelu")
    shape = Shape(dim, layers, heads, hidden, activation, 1e-5, first=first)

    def linear(name: str, rows: int, columns: int) -> tuple[Array, Array]:
        stored = _name(name)
        weight = tensors.get(stored + ".weight", rows, columns)
        return weight, tensors.get(stored + ".bias", rows)

    def norm(name: str) -> tuple[Array, Array]:
        stored = _name(name)
        return tensors.get(stored + ".weight", dim), tensors.get(stored + ".bias", dim)

    read, written = "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"
    if separate:
        source, target = tensors.get(read, vocab, dim), tensors.get(written, vocab, dim)
    else:
        source = target = shared(tensors, ("shared.weight", read, written), vocab, dim)
    head = tensors.head(target, config.flag("tie_word_embeddings", True))
    if config.flag("scale_embedding"):
        # which the matrix of the logits, though tied, is without
        scaled = (source * np.float64(np.sqrt(dim))).astype(np.float32)
        same = target is source
        target = scaled if same else (target * np.float64(np.sqrt(dim))).astype(np.float32)
        source = scaled
    encoder, nodes, last = arrange(shape, linear, norm, (source, target), positions)
    bias: Array | None = None
    if "final_logits_bias" in tensors:
        bias = tensors.get("final_logits_bias", 1, vocab)[0]
    if pad is not None:
        bias = banned(np.zeros(vocab, np.float32) if bias is None else bias, [pad])
    nodes.append(Linear(last, "logits", head, "lm_head.weight", bias))
    tensors.check_used()
    return Graph(
        nodes,
        vocab,
        positions[0].shape[0],
        start,
        meta={"architecture": str(config.get("model_type"))},
        task="translate",
        encoder=encoder,
    )


def shared(tensors: Tensors, names: tuple[str, ...], vocab: int, dim: int) -> Array:
    """The one table that has all these names, wherever it has one. Raises Error."""
    found = [name for name in names if name in tensors] or [names[0]]
    table = tensors.get(found[0], vocab, dim)
    for name in found[1:]:
        if not np.array_equal(tensors.get(name, vocab, dim), table):
            raise Error(f"{tensors.path}: {name} is not {found[0]}; config.json says it is")
    return table


def generation(config: Config, usual: int | None = None) -> tuple[int, int | None]:
    """The token that a text begins with, and one that is never written. Raises Error.

    usual: what a text begins with where no file says it.
    """
    path = config.folder / "generation_config.json"
    fields = read_json(path) if path.is_file() else {}
    if not isinstance(fields, dict):
        raise Error(f"{path} is not a JSON object")

    def given(name: str) -> object:
        return config.get(name) if fields.get(name) is None else fields[name]

    for name in "forced_bos_token_id", "suppress_tokens", "begin_suppress_tokens":
        if given(name) is not None:
            raise config.refusal(name, given(name), "none: every token is chosen by its logit")
    start = given("decoder_start_token_id")
    start = usual if start is None else start
    vocab = config.number("vocab_size")
    if not isinstance(start, int) or isinstance(start, bool) or not 0 <= start < vocab:
        raise Error(
            f"{config.folder}: decoder_start_token_id is {start!r}, expected a token below {vocab}"
        )
    pad = config.token("pad_token_id")
    banned = given("bad_words_ids")
    if banned not in (None, [[pad]]):
        raise config.refusal("bad_words_ids", banned, f"none, or the pad token {pad} alone")
    marian = config.get("model_type") == "marian"
    return start, pad if marian or banned is not None else None
