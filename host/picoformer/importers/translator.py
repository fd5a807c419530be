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
from . import sinusoids
from .checkpoint import ACTIVATIONS, Config, Tensors

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
    both = len(s.layers) == 2
    encoder: list[Node] = []
    decoder: list[Node] = []
    source = ""  # the value that an encoder ends with
    for which in range(len(s.layers)):
        last = not both or which == 1
        stack = _Stack(
            s, which, find_linear, find_norm, ("encoder", "decoder")[which],
            "x" if last else "e", decoder if last else encoder, encoder,
        )  # fmt: skip
        stack.embed(tables[which] if tables else None, positions[which])
        bias, buckets = biases[which] if biases else (None, None)
        for i in range(s.layers[which]):
            stack.attend(i, s.causal if not both else last, bias, buckets)
            if which:
                stack.attend_to(i, source)
            stack.network(i)
        source = stack.end()
    return encoder, decoder, source


@dataclass
class _Stack:
    """The layers of an encoder, of a decoder, or of one stack alone, over the residual x.

    part: its name in the tensors' names; nodes: what it adds to; sources: the encoder's nodes,
    which end with the keys and values that the decoder attends to.
    """

    s: Shape
    which: int
    find_linear: FindLinear
    find_norm: FindNorm
    part: str
    x: str
    nodes: list[Node]
    sources: list[Node]

    @property
    def heads(self) -> tuple[int, int]:
        """Heads and their size."""
        return self.s.heads[self.which], self.s.size or self.s.dim // self.s.heads[self.which]

    def name(self, i: int, letter: str) -> str:
        """A value of layer i."""
        return f"{self.x}{i}.{letter}"

    def linear(self, x: str, out: str, name: str, rows: int, columns: int) -> Linear:
        weight, bias = self.find_linear(name, rows, columns)
        return Linear(x, out, weight, name, bias)

    def norm(self, x: str, out: str, name: str) -> None:
        gain, bias = self.find_norm(name)
        if bias is None:
            self.nodes.append(Norm(x, out, gain, self.s.eps))
        else:
            self.nodes.append(LayerNorm(x, out, gain, bias, self.s.eps))

    def before(self, out: str, name: str) -> str:
        """What a block reads: x, or its norm where that stands in front."""
        if not self.s.pre:
            return self.x
        self.norm(self.x, out, name)
        return out

    def behind(self, name: str) -> None:
        if not self.s.pre:
            self.norm(self.x, self.x, name)

    def embed(self, table: Array | None, position: Array | None) -> None:
        if table is not None:
            self.nodes.append(Embedding(self.x, table))
        if position is not None:
            self.nodes.append(Embedding(self.x, position, by="position"))
        if self.s.first:
            self.norm(self.x, self.x, f"{self.part}.first.norm")

    def attend(self, i: int, causal: bool, bias: Array | None, buckets: Array | None) -> None:
        """Self-attention."""
        heads, size = self.heads
        p = f"{self.part}.{i}.self."
        a = self.before(self.name(i, "a"), p + "norm")
        q, k, v, o, y = (self.name(i, letter) for letter in "qkvoy")
        for out, letter in ((q, "q"), (k, "k"), (v, "v")):
            self.nodes.append(self.linear(a, out, p + letter, heads * size, self.s.dim))
        self.nodes += [
            Attention(
                q, k, v, o, heads, heads, size,
                causal=causal, scale=self.s.scale, bias=bias, buckets=buckets,
            ),
            self.linear(o, y, p + "out", self.s.dim, heads * size),
            Add(self.x, y),
        ]  # fmt: skip
        self.behind(p + "norm")

    def attend_to(self, i: int, source: str) -> None:
        """Attention to what the encoder ends with."""
        heads, size = self.heads
        p = f"{self.part}.{i}.cross."
        k, v = f"{i}.ck", f"{i}.cv"
        self.sources += [
            self.linear(source, k, p + "k", heads * size, self.s.dim),
            self.linear(source, v, p + "v", heads * size, self.s.dim),
            Keep(k, v, heads, size),
        ]
        b = self.before(self.name(i, "b"), p + "norm")
        r, u, w = (self.name(i, letter) for letter in "ruw")
        self.nodes += [
            self.linear(b, r, p + "q", heads * size, self.s.dim),
            Attention(
                r, k, v, u, heads, heads, size, causal=False, cross=True, scale=self.s.scale
            ),
            self.linear(u, w, p + "out", self.s.dim, heads * size),
            Add(self.x, w),
        ]
        self.behind(p + "norm")

    def network(self, i: int) -> None:
        """The feed-forward network."""
        dim, hidden = self.s.dim, self.s.hidden[self.which]
        p = f"{self.part}.{i}.network."
        c = self.before(self.name(i, "c"), p + "norm")
        g, t, h, z = (self.name(i, letter) for letter in "gthz")
        self.nodes.append(self.linear(c, g, p + "up", hidden, dim))
        if self.s.gated:
            self.nodes.append(self.linear(c, t, p + "times", hidden, dim))
        self.nodes += [
            Gate(g, t if self.s.gated else None, h, self.s.activation),
            self.linear(h, z, p + "down", dim, hidden),
            Add(self.x, z),
        ]
        self.behind(p + "norm")

    def end(self) -> str:
        """The value that the stack ends with, its last norm put down."""
        s = self.s
        last = s.pre if s.last is None else s.last[self.which]
        if not last:
            return self.x
        out = self.x if s.within else self.x + "n"
        self.norm(self.x, out, f"{self.part}.last.norm")
        return out


def banned(bias: Array, tokens: Sequence[int]) -> Array:
    """The logits' bias by which these tokens are never written.

    They are far below all others, but not so far that the others lose precision.
    """
    at = np.array(tokens, np.intp)
    out = bias.copy()
    out[at] = np.delete(bias, at).min() - _BANNED
    return out


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
        made = None if name in tensors else sinusoids.marian(context, dim)
        positions.append(tensors.get(name, context, dim) if made is None else made)
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
        source, target = (
            (t * np.float64(np.sqrt(dim))).astype(np.float32) for t in (source, target)
        )
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
    given = config.generation
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
