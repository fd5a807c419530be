"""What makes x of an image in a PyTorch model: the patches, the class token, the positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import Error
from ..graph.nodes import Array, Graph, Node
from .description import POOLED, Description
from .pytorch_embeddings import find_class_token, find_positions
from .pytorch_modules import Modules
from .vit import brightness, channel_values, embed_patches, geometry, normalized

_IMAGE = "height", "width", "channels", "patch", "mean", "std", "order"
_ORDERS = "chw", "hwc"


def embed_image(m: Modules, made: Graph, dim: int) -> tuple[list[Node], int]:
    """(the nodes that make x of an image, the context); tells the graph its image."""
    given, state = m.given, m.state
    if made.task not in POOLED:
        raise given.refusal("task", made.task, f"{', '.join(POOLED)}, where an image is given")
    fields = given.within("image", given.get("image"), _IMAGE)
    height, width, channels, patch = _sizes(given, fields)
    elements = patch[0] * patch[1] * channels
    found = m.of_rank(4) + [
        n for n in m.of_rank(2) if state.shape(n + ".weight")[1] == elements
    ]
    name = m.pick("patches", found)
    weight = _projection(m, name, fields, (dim, channels, *patch))
    bias = state.biased(name, dim)
    token = find_class_token(m, dim)
    context = height // patch[0] * (width // patch[1]) + (token is not None)
    positions, rows = find_positions(m, dim, 1)
    table = positions[0]
    if table is None or rows != context:
        raise Error(f"{state.path}: {rows} positions, expected {context}, one for each patch")
    made.image = geometry((height, width), channels, patch, int(token is not None))
    mean, std = (
        _numbers(given, fields, name, default, least, channels)
        for name, default, least in (("mean", 0.0, -1e6), ("std", 1.0, 0))
    )
    bias = np.zeros(dim, np.float32) if bias is None else bias
    scale = normalized(1 / 255, mean, std)
    made.meta.update(brightness(scale))
    return embed_patches(weight, bias, name + ".weight", scale, table, token), context


def _sizes(given: Description, fields: dict[str, Any]) -> tuple[int, int, int, tuple[int, int]]:
    """(height, width, channels, height and width of a patch)."""

    def number(name: str, default: int | None = None, v: Any = None) -> int:
        v = fields.get(name, default) if v is None else v
        if not isinstance(v, int) or isinstance(v, bool) or not 0 < v < 1 << 12:
            raise Error(f"{given.path}: image.{name} is {v!r}, expected a positive number")
        return v

    height, width = number("height"), number("width")
    channels, sides = number("channels", 3), fields.get("patch")
    sides = sides if isinstance(sides, list) and len(sides) == 2 else [sides, sides]
    down, across = (number("patch", v=v) for v in sides)
    if height % down or width % across:
        raise Error(
            f"{given.path}: patches of {down} x {across} do not fill {height} x {width} pixels"
        )
    return height, width, channels, (down, across)


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
    """The weight (dim, channels, rows, columns) of a convolution or of a linear."""
    dim, channels, down, across = shape
    if len(m.state.shape(name + ".weight")) == 4:
        return m.state.get(name + ".weight", *shape)
    weight = m.state.get(name + ".weight", dim, channels * down * across)
    order = fields.get("order", "chw")
    if not isinstance(order, str) or order not in _ORDERS:
        raise Error(f"{m.given.path}: image.order is {order!r}, expected chw or hwc")
    if order == "chw":
        return weight.reshape(shape)
    return weight.reshape(dim, down, across, channels).transpose(0, 3, 1, 2)
