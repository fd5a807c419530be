"""What makes x of an image in a PyTorch model: the patches, the class token, the positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import Error
from ..graph.nodes import Array, Graph, Node
from .description import POOLED, Description
from .pytorch_embeddings import find_class_token, find_positions
from .pytorch_modules import Modules
from .vit import brightness, channel_values, embed_patches, normalized

_IMAGE = "height", "width", "channels", "patch", "mean", "std", "order"
_ORDERS = "chw", "hwc"


def embed_image(m: Modules, made: Graph, dim: int) -> tuple[list[Node], int]:
    """(the nodes that make x of an image, the context); tells the graph its image."""
    given, state = m.given, m.state
    if made.task not in POOLED:
        raise given.refusal("task", made.task, f"{', '.join(POOLED)}, where an image is given")
    fields = given.within("image", given.get("image"), _IMAGE)
    height, width, channels, patch = _sizes(given, fields)
    found = m.of_rank(4) + [
        n for n in m.of_rank(2) if state.shape(n + ".weight")[1] == patch**2 * channels
    ]
    name = m.pick("patches", found)
    weight = _projection(m, name, fields, (dim, channels, patch, patch))
    bias = state.biased(name, dim)
    token = find_class_token(m, dim)
    context = height // patch * (width // patch) + (token is not None)
    positions, rows = find_positions(m, dim, 1)
    table = positions[0]
    if table is None or rows != context:
        raise Error(f"{state.path}: {rows} positions, expected {context}, one for each patch")
    made.image = height, width, channels, patch, int(token is not None)
    mean, std = (
        _numbers(given, fields, name, default, least, channels)
        for name, default, least in (("mean", 0.0, -1e6), ("std", 1.0, 0))
    )
    bias = np.zeros(dim, np.float32) if bias is None else bias
    scale = normalized(1 / 255, mean, std)
    made.meta.update(brightness(scale))
    return embed_patches(weight, bias, name + ".weight", scale, table, token), context


def _sizes(given: Description, fields: dict[str, Any]) -> tuple[int, int, int, int]:
    """(height, width, channels, pixels of a patch's side)."""

    def number(name: str, default: int | None = None) -> int:
        v = fields.get(name, default)
        if not isinstance(v, int) or isinstance(v, bool) or not 0 < v < 1 << 12:
            raise Error(f"{given.path}: image.{name} is {v!r}, expected a positive number")
        return v

    height, width = number("height"), number("width")
    channels, patch = number("channels", 3), number("patch")
    if height % patch or width % patch:
        raise Error(f"{given.path}: patches of {patch} do not fill {height} x {width} pixels")
    return height, width, channels, patch


def _numbers(
    given: Description, fields: dict[str, Any], name: str, default: float, least: float, n: int
) -> Array:
    """A field with a number for each of n channels, or one for all."""
    v = fields.get(name, default)
    v = v if isinstance(v, list) else [v] * n
    found = channel_values(v, n, least)
    if found is None:
        raise Error(f"{given.path}: image.{name} is {v!r}, expected {n} numbers")
    return found


def _projection(
    m: Modules, name: str, fields: dict[str, Any], shape: tuple[int, int, int, int]
) -> Array:
    """The weight (dim, channels, patch, patch) of a convolution or of a linear."""
    dim, channels, patch, _ = shape
    if len(m.state.shape(name + ".weight")) == 4:
        return m.state.get(name + ".weight", *shape)
    weight = m.state.get(name + ".weight", dim, channels * patch * patch)
    order = fields.get("order", "chw")
    if not isinstance(order, str) or order not in _ORDERS:
        raise Error(f"{m.given.path}: image.order is {order!r}, expected chw or hwc")
    if order == "chw":
        return weight.reshape(shape)
    return weight.reshape(dim, patch, patch, channels).transpose(0, 3, 1, 2)
