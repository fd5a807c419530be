"""T5 and mT5 as float graphs: encoder and decoder, whose attention is biased by the distance."""

from __future__ import annotations

from math import log

import numpy as np

from ..errors import Error
from ..graph.nodes import Array, Graph, Linear
from .checkpoint import ACTIVATIONS, Config, Tensors
from .translator import Shape, arrange, generation, shared

_CONTEXT = 512  # of positions that are told by their distance alone, and so have no end
_ATTENTIONS = {"self": "SelfAttention", "cross": "EncDecAttention"}
# "gated-gelu" has always meant the approximation by a tangent.
_NETWORKS = {
    **ACTIVATIONS,
    **{"gated-" + name: graph for name, graph in ACTIVATIONS.items()},
    "gated-gelu": "gelu_tanh",
}


def buckets(context: int, both: bool, number: int, furthest: int) -> Array:
    """The bucket (2 * context - 1,) of each distance from 1 - context on.

    both: of what comes behind a position as well, which takes half of the buckets. Near distances
    have one each, further ones share them by their logarithm, up to `furthest`.
    """
    far = np.arange(1 - context, context)
    number = number // 2 if both else number
    first = number * (far > 0) if both else 0
    far = np.abs(far) if both else np.maximum(-far, 0)
    near = number // 2
    # In 32 bits, as it was trained.
    ratio = np.log(np.maximum(far, near).astype(np.float32) / np.float32(near))
    wide = ratio / np.float32(log(furthest / near)) * np.float32(number - near)
    shared_ones = np.minimum(near + wide.astype(np.int64), number - 1)
    return first + np.where(far < near, far, shared_ones)


def _name(name: str, gated: bool) -> str:
    """Hugging Face's name of "encoder.0.self.q" and its like."""
    part, layer, block, *rest = name.split(".")
    if layer == "last":
        return f"{part}.final_layer_norm"
    at = {"self": 0, "cross": 1, "network": 1 + (part == "decoder")}[block]
    p = f"{part}.block.{layer}.layer.{at}."
    if rest == ["norm"]:
        return p + "layer_norm"
    if block == "network":
        up = "wi_0" if gated else "wi"
        return p + "DenseReluDense." + {"up": up, "times": "wi_1", "down": "wo"}[rest[0]]
    return p + f"{_ATTENTIONS[block]}.{rest[0][0]}"


def read(config: Config, tensors: Tensors) -> Graph:
    """The graph of a T5 or mT5. Raises Error.

    Models whose logits' matrix is the embedding scale what it reads by 1 / sqrt(dim); mT5 never
    does. A context of 512 where config.json has no n_positions.
    """
    kind = str(config.get("model_type"))
    config.architecture((f"{kind.replace('t5', 'T5').replace('m', 'M')}ForConditionalGeneration",))
    config.require(is_encoder_decoder=True, is_decoder=False)
    dim, vocab = config.number("d_model", 512), config.number("vocab_size")
    layers, heads = config.number("num_layers", 6), config.number("num_heads", 8)
    hidden, size = config.number("d_ff", 2048), config.number("d_kv", 64)
    context = config.number("n_positions", _CONTEXT)
    number = config.number("relative_attention_num_buckets", 32)
    furthest = config.number("relative_attention_max_distance", 128)
    if number < 4 or furthest <= number // 2:
        raise Error(
            f"{config.folder}: {number} relative_attention_num_buckets up to a "
            f"relative_attention_max_distance of {furthest}; expected 4 or more, and a distance "
            "beyond half of their number"
        )
    network = "gated-gelu" if kind == "mt5" else "relu"
    activation = config.choice("feed_forward_proj", _NETWORKS, network)
    gated = str(config.get("feed_forward_proj", network)).startswith("gated-")
    start, pad = generation(config, config.token("pad_token_id") or 0)
    if pad is not None:
        raise config.refusal("bad_words_ids", config.get("bad_words_ids"), "none")
    tied = config.flag("tie_word_embeddings", True)
    scaled = kind == "t5" and config.flag("scale_decoder_outputs", tied)

    def linear(name: str, rows: int, columns: int) -> tuple[Array, None]:
        return tensors.get(_name(name, gated) + ".weight", rows, columns), None

    def norm(name: str) -> tuple[Array, None]:
        gain = tensors.get(_name(name, gated) + ".weight", dim)
        if scaled and name == "decoder.last.norm":
            gain = gain * np.float32(dim**-0.5)
        return gain, None

    def bias(part: str) -> tuple[Array, Array]:
        name = f"{part}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        rows = tensors.get(name, number, heads)
        return rows, buckets(context, part == "encoder", number, furthest)

    both = config.number("num_decoder_layers", layers)
    shape = Shape(
        dim, (layers, both), (heads, heads), (hidden, hidden), activation,
        config.real("layer_norm_epsilon", 1e-6), pre=True, size=size, scale=1.0, gated=gated,
    )  # fmt: skip
    names = "shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"
    table = shared(tensors, names, vocab, dim)
    biases = bias("encoder"), bias("decoder")
    encoder, nodes, last = arrange(shape, linear, norm, (table, table), (None, None), biases)
    own = "lm_head.weight" in tensors and not scaled
    nodes.append(Linear(last, "logits", tensors.head(table, not own), "lm_head.weight"))
    # The first checkpoints hold a table that no attention to the source reads.
    tensors.check_used(r"EncDecAttention\.relative_attention_bias")
    return Graph(
        nodes, vocab, context, start, meta={"architecture": kind}, task="translate",
        encoder=encoder,
    )  # fmt: skip
