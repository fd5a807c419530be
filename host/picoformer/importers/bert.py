"""BERT and DistilBERT as float graphs: classifiers, encoders, what labels words or answers.

An encoder without a classifier's head gives an embedding: of the positions' mean, unless the
files of sentence-transformers beside it say that it is the first position's.
"""

from __future__ import annotations

from dataclasses import replace

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
    Pool,
)
from .checkpoint import ACTIVATIONS, Config, Tensors
from .sentences import embed

# The names of a layer's parts: query, key, value, output, norm, up, down, norm.
BERT = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_DISTILBERT = (
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)


def read(config: Config, tensors: Tensors) -> Graph:
    """The graph of a BERT with one of the heads we know, or of its encoder. Raises Error."""
    classify, answer = "BertForSequenceClassification", "BertForQuestionAnswering"
    tag = "BertForTokenClassification"
    known = (classify, answer, tag, "BertModel", "BertForMaskedLM", "BertForPreTraining")
    kind = config.architecture(known)
    config.require(
        position_embedding_type="absolute", is_decoder=False, add_cross_attention=False
    )
    dim = config.number("hidden_size", 768)
    vocab = config.number("vocab_size", 30522)
    context = config.number("max_position_embeddings", 512)
    positions = tensors.get("embeddings.position_embeddings.weight", context, dim)
    count = config.number("type_vocab_size", 2)
    types = tensors.get("embeddings.token_type_embeddings.weight", count, dim)
    if kind == answer and count != 2:
        raise config.refusal("type_vocab_size", count, "2")
    if kind != answer:
        # every token is of type 0, so that a position's vector has that of the type in it
        positions = positions.astype(np.float64) + types[0].astype(np.float64)
    parts = Parts(tensors, dim, config.real("layer_norm_eps", 1e-12))
    nodes = parts.encoder(
        tensors.get("embeddings.word_embeddings.weight", vocab, dim),
        positions,
        [f"encoder.layer.{i}." for i in range(config.number("num_hidden_layers", 12))],
        BERT,
        config.number("num_attention_heads", 12),
        config.head_size(dim, config.number("num_attention_heads", 12)),
        config.number("intermediate_size", 3072),
        config.choice("hidden_act", ACTIVATIONS, "gelu"),
        types if kind == answer else None,
    )
    graph = Graph(nodes, vocab, context, meta={"architecture": "bert"})
    if kind == classify:
        parts.classifier(graph, config, "pooler.dense", "tanh")
    elif kind == answer:
        parts.spans(graph)
    elif kind == tag:
        parts.tags(graph, config)
    else:
        embed(graph, config.folder)
    # The heads of the pre-training, and the buffers and the pooler that are not used.
    tensors.check_used(r"(position|token_type)_ids$", r"^cls\.", r"^(bert\.)?pooler\.")
    return graph


def read_distilbert(config: Config, tensors: Tensors) -> Graph:
    """The graph of a DistilBERT with one of the heads we know, or of its encoder. Raises Error."""
    classify, answer = "DistilBertForSequenceClassification", "DistilBertForQuestionAnswering"
    tag = "DistilBertForTokenClassification"
    known = (classify, answer, tag, "DistilBertModel", "DistilBertForMaskedLM")
    kind = config.architecture(known)
    dim = config.number("dim", 768)
    heads = config.number("n_heads", 12)
    vocab = config.number("vocab_size", 30522)
    context = config.number("max_position_embeddings", 512)
    parts = Parts(tensors, dim, 1e-12)
    nodes = parts.encoder(
        tensors.get("embeddings.word_embeddings.weight", vocab, dim),
        # learned or sinusoidal: the file has the table
        tensors.get("embeddings.position_embeddings.weight", context, dim),
        [f"transformer.layer.{i}." for i in range(config.number("n_layers", 6))],
        _DISTILBERT,
        heads,
        config.head_size(dim, heads),
        config.number("hidden_dim", 4 * dim),
        config.choice("activation", ACTIVATIONS, "gelu"),
    )
    graph = Graph(nodes, vocab, context, meta={"architecture": "distilbert"})
    if kind == classify:
        parts.classifier(graph, config, "pre_classifier", "relu")
    elif kind == answer:
        parts.spans(graph)
    elif kind == tag:
        parts.tags(graph, config)
    else:
        embed(graph, config.folder)
    tensors.check_used(r"position_ids$", r"^vocab_(transform|layer_norm|projector)\.")
    return graph


class Parts:
    """The nodes that they and their relatives have, from their tensors; one for a name."""

    def __init__(self, tensors: Tensors, dim: int, eps: float) -> None:
        self.tensors = tensors
        self.dim = dim
        self.eps = eps
        self._norms: dict[str, LayerNorm] = {}
        self._linears: dict[str, Linear] = {}

    def norm(self, name: str, x: str = "x", dim: int = 0) -> LayerNorm:
        if name not in self._norms:
            self._norms[name] = self.tensors.layer_norm(x, x, name, dim or self.dim, self.eps)
        return self._norms[name]

    def linear(self, x: str, out: str, name: str, rows: int, columns: int) -> Linear:
        if name not in self._linears:
            self._linears[name] = self.tensors.linear(x, out, name, rows, columns)
        return replace(self._linears[name], x=x, out=out)

    def encoder(
        self,
        words: Array,
        positions: Array,
        layers: list[str],
        names: tuple[str, ...],
        heads: int,
        size: int,
        hidden: int,
        activation: str,
        types: Array | None = None,
        wider: str = "",
    ) -> list[Node]:
        """words (vocab, dim), positions (context, dim), types (2, dim).

        layers: what precedes each one's names. wider: the linear that makes dim elements of an
        embedding's, if there is one.
        """
        dim, linear, x = self.dim, self.linear, "e" if wider else "x"
        nodes: list[Node] = [Embedding(x, words), Embedding(x, positions, by="position")]
        if types is not None:
            nodes.append(Embedding(x, types, by="type"))
        width = words.shape[1]
        nodes.append(self.norm("embeddings.LayerNorm", x, width))
        if wider:
            nodes.append(linear("e", "x", wider, dim, width))
        for i, p in enumerate(layers):
            q, k, v, o, y, g, h, z = (f"{i}.{n}" for n in "qkvoyghz")
            query, key, value, output, norm1, up, down, norm2 = (p + name for name in names)
            nodes += [
                linear("x", q, query, dim, dim),
                linear("x", k, key, dim, dim),
                linear("x", v, value, dim, dim),
                Attention(q, k, v, o, heads, heads, size, causal=False),
                linear(o, y, output, dim, dim),
                Add("x", y),
                self.norm(norm1),
                linear("x", g, up, hidden, dim),
                Gate(g, None, h, activation),
                linear(h, z, down, dim, hidden),
                Add("x", z),
                self.norm(norm2),
            ]
        return nodes

    def classifier(
        self, graph: Graph, config: Config, pooler: str, activation: str, head: str = "classifier"
    ) -> None:
        """Add the head for classes or numbers, of the first position."""
        n = config.outputs(graph)
        graph.nodes += [
            Pool("x", "first"),
            self.linear("x", "p", pooler, self.dim, self.dim),
            Gate("p", None, "pt", activation),
            self.linear("pt", "logits", head, n, self.dim),
        ]

    def tags(self, graph: Graph, config: Config) -> None:
        """Add the head that gives each position a label."""
        graph.task, graph.labels = "tag", config.labels()
        n = len(graph.labels)
        graph.nodes.append(self.tensors.linear("x", "tags", "classifier", n, self.dim))

    def spans(self, graph: Graph) -> None:
        """Add the head that tells where an answer starts and ends."""
        graph.task = "answer"
        graph.nodes.append(self.tensors.linear("x", "span", "qa_outputs", 2, self.dim))
