"""BERT's relatives as float graphs: RoBERTa, ELECTRA and ALBERT, with the heads that BERT has."""

from __future__ import annotations

import numpy as np

from ..graph.nodes import Array, Graph
from .bert import BERT, Parts
from .checkpoint import ACTIVATIONS, Config, Tensors
from .sentences import embed

# The names of transformers' classes, by model_type.
_CLASSES = {
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "camembert": "Camembert",
    "electra": "Electra",
    "albert": "Albert",
}
_ALBERT = (
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.dense",
    "attention.LayerNorm",
    "ffn",
    "ffn_output",
    "full_layer_layer_norm",
)
# The heads of the pre-training, the buffers and the pooler, where they are not used.
_HARMLESS = (
    r"(position|token_type)_ids$",
    r"^(\w+\.)?pooler\.",
    r"^(lm_head|discriminator_predictions|generator_predictions|generator_lm_head)\.",
    r"^(predictions|sop_classifier)\.",
)


def read(config: Config, tensors: Tensors) -> Graph:
    """The graph of one of them with one of the heads we know, or of its encoder. Raises Error.

    RoBERTa's positions begin behind those of its padding; ELECTRA and ALBERT have narrower
    embeddings, and ALBERT's layers are one and the same.
    """
    kind = str(config.get("model_type"))
    name = _CLASSES[kind]
    kinds = "ForSequenceClassification", "ForQuestionAnswering", "ForTokenClassification"
    heads = [name + head for head in kinds]
    others = [name + head for head in ("Model", "ForMaskedLM", "ForPreTraining")]
    found = config.architecture((*heads, *others))
    config.require(position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    dim, vocab = config.number("hidden_size", 768), config.number("vocab_size")
    narrow = kind in ("electra", "albert")
    width = config.number("embedding_size", 128) if narrow else dim
    positions, types = _tables(config, tensors, kind, width)
    if found == heads[1] and len(types) == 2:
        both: Array | None = types
    else:
        both = None
        positions = positions.astype(np.float64) + types[0].astype(np.float64)
    parts = Parts(tensors, dim, config.real("layer_norm_eps", 1e-12))
    layers, wider = _layers(config, kind), ""
    if kind == "albert":
        wider = "encoder.embedding_hidden_mapping_in"
    elif width != dim:
        wider = "embeddings_project"
    n = config.number("num_attention_heads", 12)
    nodes = parts.encoder(
        tensors.get("embeddings.word_embeddings.weight", vocab, width),
        positions,
        layers,
        _ALBERT if kind == "albert" else BERT,
        n,
        config.head_size(dim, n),
        config.number("intermediate_size", 3072),
        config.choice("hidden_act", ACTIVATIONS, "gelu_new" if kind == "albert" else "gelu"),
        both,
        wider,
    )
    graph = Graph(nodes, vocab, len(positions), meta={"architecture": kind})
    if found == heads[0]:
        if kind == "albert":
            parts.classifier(graph, config, "pooler", "tanh")
        else:
            activation = "gelu" if kind == "electra" else "tanh"
            parts.classifier(graph, config, "classifier.dense", activation, "classifier.out_proj")
    elif found == heads[1]:
        parts.spans(graph)
    elif found == heads[2]:
        parts.tags(graph, config)
    else:
        embed(graph, config.folder)
    tensors.check_used(*_HARMLESS)
    return graph


def _tables(config: Config, tensors: Tensors, kind: str, width: int) -> tuple[Array, Array]:
    """(positions (context, width), types (count, width)). Raises Error."""
    rows = config.number("max_position_embeddings", 512)
    positions = tensors.get("embeddings.position_embeddings.weight", rows, width)
    count = config.number("type_vocab_size", 2)
    types = tensors.get("embeddings.token_type_embeddings.weight", count, width)
    if kind in ("electra", "albert"):
        return positions, types
    padding = config.get("pad_token_id", 1)
    if not isinstance(padding, int) or not 0 <= padding < rows - 1:
        raise config.refusal("pad_token_id", padding, f"a number below {rows - 1}")
    return positions[padding + 1 :], types


def _layers(config: Config, kind: str) -> list[str]:
    """What precedes the names of each layer. Raises Error."""
    count = config.number("num_hidden_layers", 12)
    if kind != "albert":
        return [f"encoder.layer.{i}." for i in range(count)]
    groups, inner = config.number("num_hidden_groups", 1), config.number("inner_group_num", 1)
    names = []
    for i in range(count):
        group = f"encoder.albert_layer_groups.{int(i / (count / groups))}.albert_layers."
        names += [f"{group}{j}." for j in range(inner)]
    return names
