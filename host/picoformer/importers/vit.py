"""ViT as a float graph: a classifier of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import Error
from ..graph.nodes import (
    Add,
    Array,
    Attention,
    Embedding,
    Gate,
    Graph,
    Linear,
    Node,
    Patches,
    Pool,
)
from .checkpoint import ACTIVATIONS, Config, Tensors, read_json

_MIDDLE = 128  # which the patches' pixels are less


def read(config: Config, tensors: Tensors) -> Graph:
    """The graph of a ViT classifier. Raises Error."""
    config.architecture(("ViTForImageClassification",))
    dim = config.number("hidden_size", 768)
    config.head_size(dim, config.number("num_attention_heads", 12))
    hidden = config.number("intermediate_size", 3072)
    eps = config.real("layer_norm_eps", 1e-12)
    activation = config.choice("hidden_act", ACTIVATIONS, "gelu")
    biased = config.flag("qkv_bias", True)
    channels = config.number("num_channels", 3)
    height, width = _pair(config, "image_size", 224)
    patch = _pair(config, "patch_size", 16)
    if height % patch[0] or width % patch[1]:
        raise Error(
            f"{config.folder}: patches of {patch[0]} x {patch[1]} in images of {height} x "
            f"{width}; supported: those that fill the image"
        )
    name = "embeddings.patch_embeddings.projection"
    normalization = _normalization(config, channels)
    context = 1 + height // patch[0] * (width // patch[1])
    nodes = embed_patches(
        tensors.get(name + ".weight", dim, channels, *patch),
        tensors.get(name + ".bias", dim),
        name + ".weight",
        normalization,
        tensors.get("embeddings.position_embeddings", 1, context, dim)[0],
        tensors.get("embeddings.cls_token", 1, 1, dim)[0, 0],
    )
    nodes += _layers(config, tensors, dim, hidden, eps, activation, biased)
    graph = Graph(
        nodes,
        1,
        context,
        meta={"architecture": "vit", **brightness(normalization)},
        image=geometry((height, width), channels, patch, 1),
    )
    nodes += [
        Pool("x", "first"),
        tensors.layer_norm("x", "n", "layernorm", dim, eps),
        tensors.linear("n", "logits", "classifier", config.outputs(graph), dim),
    ]
    tensors.check_used()
    return graph


def _layers(
    config: Config,
    tensors: Tensors,
    dim: int,
    hidden: int,
    eps: float,
    activation: str,
    biased: bool,
) -> list[Node]:
    """biased: query, key and value have biases."""
    heads, linear = config.number("num_attention_heads", 12), tensors.linear
    nodes: list[Node] = []
    for i in range(config.number("num_hidden_layers", 12)):
        p = f"encoder.layer.{i}."
        a, q, k, v, o, y, b, g, h, z = (f"{i}.{n}" for n in "aqkvoybghz")
        nodes += [
            tensors.layer_norm("x", a, p + "layernorm_before", dim, eps),
            linear(a, q, p + "attention.attention.query", dim, dim, biased),
            linear(a, k, p + "attention.attention.key", dim, dim, biased),
            linear(a, v, p + "attention.attention.value", dim, dim, biased),
            Attention(q, k, v, o, heads, heads, dim // heads, causal=False),
            linear(o, y, p + "attention.output.dense", dim, dim),
            Add("x", y),
            tensors.layer_norm("x", b, p + "layernorm_after", dim, eps),
            linear(b, g, p + "intermediate.dense", hidden, dim),
            Gate(g, None, h, activation),
            linear(h, z, p + "output.dense", dim, hidden),
            Add("x", z),
        ]
    return nodes


def embed_patches(
    weight: Array,
    bias: Array,
    name: str,
    normalization: tuple[Array, Array],
    positions: Array,
    token: Array | None,
) -> list[Node]:
    """The nodes that make x of an image's patches, as `pixels` has them.

    weight (dim, channels, rows, columns), bias (dim,): the projection, of this name.
    normalization: scale and offset of each channel, as of `normalized`. positions (context, dim),
    the first of which is that of the class token (dim,) if there is one.
    """
    scale, offset = normalization
    weight = weight.astype(np.float64)
    bias = bias + (weight.sum((2, 3)) * offset).sum(1)
    weight = (weight * scale[:, None, None]).reshape(len(weight), -1)
    positions = positions.astype(np.float64)
    if token is not None:
        # The class token's patch is all zeros, of which the projection makes its bias.
        positions[0] += token - bias
    return [
        Patches("pixels", weight.shape[1]),
        Linear("pixels", "x", weight, name, bias),
        Embedding("x", positions, by="position"),
    ]


def geometry(
    size: tuple[int, int], channels: int, patch: tuple[int, int], tokens: int
) -> tuple[int, ...]:
    """`Graph.image` of images and patches (height, width), with so many class tokens."""
    height, width = patch
    return (*size, channels, height, tokens, *((width,) if height != width else ()))


def normalized(factor: float, mean: Array, std: Array) -> tuple[Array, Array]:
    """(scale, offset): (pixel * factor - mean) / std, of a pixel less 128."""
    return factor / std, (_MIDDLE * factor - mean) / std


def brightness(normalization: tuple[Array, Array]) -> dict[str, list[int]]:
    """{"pixels": [mean, deviation]} of the pixels that a model was trained on, 0 to 255, where
    they were mostly dark or mostly bright: then their negatives are something else to it.
    """
    scale, offset = normalization
    mean, deviation = float((_MIDDLE - offset / scale).mean()), float((1 / scale).mean())
    one_sided = 0 < mean < 255 and not 0.4 < mean / 255 < 0.6 and deviation < 128
    return {"pixels": [round(mean), round(deviation)]} if one_sided else {}


def channel_values(v: list[Any], channels: int, least: float) -> Array | None:
    """So many numbers above `least`, or None where they are not that."""
    good = len(v) == channels and all(
        isinstance(n, int | float) and not isinstance(n, bool) and least < n < 1e6 for n in v
    )
    return np.array(v, np.float64) if good else None


def _pair(config: Config, name: str, default: int) -> tuple[int, int]:
    """A size that is one number or two: (height, width). Raises Error."""
    v = config.get(name, default)
    v = [v, v] if isinstance(v, int) else v
    if (
        not isinstance(v, list)
        or len(v) != 2
        or not all(isinstance(n, int) and not isinstance(n, bool) and 0 < n < 1 << 12 for n in v)
    ):
        raise config.refusal(name, config.get(name), "a positive number, or two: height and width")
    return v[0], v[1]


def _normalization(config: Config, channels: int) -> tuple[Array, Array]:
    """(scale, offset) of each channel: a pixel less 128, times scale, plus offset, is what the
    preprocessor makes of the pixel. Raises Error."""
    path = config.folder / "preprocessor_config.json"
    fields: Any = read_json(path) if path.is_file() else {}
    if not isinstance(fields, dict):
        raise Error(f"{path} is not a JSON object")

    def given(name: str, default: object) -> Any:
        return default if fields.get(name) is None else fields[name]

    def numbers(name: str, least: float) -> Array:
        v = given(name, 0.5)
        v = v if isinstance(v, list) else [v] * channels
        found = channel_values(v, channels, least)
        if found is None:
            raise Error(f"{path}: {name} is {fields.get(name)!r}, expected {channels} numbers")
        return found

    for name in "do_rescale", "do_normalize":
        if not isinstance(given(name, True), bool):
            raise Error(f"{path}: {name} is {fields[name]!r}, expected true or false")
    factor = given("rescale_factor", 1 / 255) if given("do_rescale", True) else 1.0
    if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 < factor < 1e6:
        raise Error(f"{path}: rescale_factor is {factor!r}, expected a positive number")
    if given("do_normalize", True):
        mean, std = numbers("image_mean", -1e6), numbers("image_std", 0)
    else:
        mean, std = np.zeros(channels), np.ones(channels)
    return normalized(factor, mean, std)
