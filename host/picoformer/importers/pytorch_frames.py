"""What makes x of a signal in a PyTorch model: a linear or a convolution over its windows."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.frames import Frames
from ..graph.nodes import Array, Graph, Node
from .description import POOLED
from .pytorch_embeddings import embedding_scale, find_class_token, find_positions
from .pytorch_modules import Modules, some
from .signals import (
    CHANNELS,
    INPUT,
    LENGTH,
    check,
    embed_frames,
    real,
    scale_of,
    sizes,
    sound_of,
)

_INPUT = *INPUT, "channels", "stride", "padding", "window", "order"
_ORDERS = "tc", "ct"
_ABOUT_INPUT = re.compile(r"in(put|_?proj|_?lin)|emb|patch|front|stem|frame", re.I)


def embed_signal(m: Modules, made: Graph, dim: int) -> tuple[list[Node], int]:
    """(the nodes that make x of a signal, the context); tells the graph its frames."""
    given, state = m.given, m.state
    if made.task not in POOLED:
        raise given.refusal("task", made.task, f"{', '.join(POOLED)}, where an input is given")
    fields = given.within("input", given.get("input"), _INPUT)
    sound = sound_of(given, fields)
    length, channels = sizes(given, fields, sound)
    scale = scale_of(given, fields, channels)
    name = _find(m, dim, channels, _window(m, fields, channels))
    weight, size, stride = _read(m, name, fields, (dim, channels))
    token = find_class_token(m, dim)
    scale, weight = real(scale, weight, size)
    frames = Frames(
        length,
        channels,
        size,
        stride,
        _padding(m, fields, size, stride),
        int(token is not None),
        scale.mean,
        scale.std,
        scale.unit,
        scale.names,
        sound,
    )
    check(str(given.path), frames)
    made.frames = frames
    bias = state.biased(name, dim)
    factor = embedding_scale(given, dim)
    if factor != 1:
        weight, bias = weight * factor, None if bias is None else bias * factor
    table = _positions(m, made, frames, dim, fields, token is not None)
    nodes = embed_frames(frames, weight, bias, name + ".weight", table, token)
    return nodes, frames.positions(length)


def reads_frames(m: Modules, dim: int) -> list[str]:
    """The modules that may read frames of numbers: linears and convolutions to dim values."""
    found = [n for rank in (4, 3, 2) for n in m.of_rank(rank)]
    heads = m.head_names()
    return [n for n in found if m.state.shape(n + ".weight")[0] == dim and n not in heads]


def _find(m: Modules, dim: int, channels: int, window: tuple[int, int] | None) -> str:
    """The module that reads the windows: a convolution, else a linear of so many columns."""
    found = reads_frames(m, dim)
    ranks = {n: len(m.state.shape(n + ".weight")) for n in found}
    if convolutions := [n for n in found if ranks[n] > 2]:
        return m.pick("input", convolutions)
    step = channels if window is None else window[0] * window[1]
    fits = [n for n in found if m.state.shape(n + ".weight")[1] % step == 0]
    if not fits and not m.named("input"):
        seen = [f"{n} {m.state.shape(n + '.weight')}" for n in found]
        raise Error(
            f"{m.state.path}: nothing reads {'windows' if window else 'rows'} of {step} numbers "
            f"into {dim} (seen: {some(seen) or 'nothing'}); expected nn.Linear of {step} columns"
            + ("" if window else f" or a multiple, nn.Conv1d({channels}, {dim}, ...) or nn.Conv2d")
        )
    return m.pick("input", [n for n in fits if _ABOUT_INPUT.search(n)] or fits)


def _pair(m: Modules, name: str, v: Any, channels: int) -> tuple[int, int]:
    """Rows, or rows and channels, so many where it is rows alone. Raises Error."""
    given, full = m.given, f"input.{name}"
    if isinstance(v, list) and len(v) == 2:
        return given.whole(full + "[0]", v[0], LENGTH), given.whole(full + "[1]", v[1], CHANNELS)
    expected = f"rows, from 1 to {LENGTH}, or [rows, channels]"
    return given.whole(full, v, LENGTH, supported=expected), channels


def _window(m: Modules, fields: dict[str, Any], channels: int) -> tuple[int, int] | None:
    v = fields.get("window")
    return None if v is None else _pair(m, "window", v, channels)


def _order(m: Modules, fields: dict[str, Any]) -> str:
    order = fields.get("order", "tc")
    if not isinstance(order, str) or order not in _ORDERS:
        raise Error(f"{m.given.path}: input.order is {order!r}, expected tc or ct")
    return order


def _read(
    m: Modules, name: str, fields: dict[str, Any], shape: tuple[int, int]
) -> tuple[Array, tuple[int, int], tuple[int, int]]:
    """(the weight (dim, elements) of a module, the size of its windows, their stride)."""
    dim, channels = shape
    key, order = name + ".weight", _order(m, fields)
    window = _window(m, fields, channels)
    seen = m.state.shape(key)
    if len(seen) == 3:
        weight = m.state.get(key, dim, channels, 0).transpose(0, 2, 1)
    elif len(seen) == 4:
        weight = m.state.get(key, dim, 1, 0, 0)[:, 0]
        weight = weight if order == "tc" else weight.transpose(0, 2, 1)
    else:
        weight = m.state.get(key, dim, 0)
        rows, width = window or (weight.shape[1] // channels, channels)
        if rows * width != weight.shape[1] or not rows:
            columns = f"{rows * width}" if window else f"a multiple of {channels}"
            raise Error(
                f"{m.state.path}: {key} has {weight.shape[1]} columns, expected {columns}, as "
                f'"input" of {m.given.path.name} has it'
            )
        if order == "tc":
            weight = weight.reshape(dim, rows, width)
        else:
            weight = weight.reshape(dim, width, rows).transpose(0, 2, 1)
    size = weight.shape[1], weight.shape[2]
    if window not in (None, size):
        raise Error(
            f"{m.given.path}: input.window is {fields['window']!r}, but {key} reads windows of "
            f"{size[0]} rows and {size[1]} channels"
        )
    stride = fields.get("stride")
    if isinstance(stride, int) and len(seen) == 4:
        stride = [stride, stride]
    down, right = size if stride is None else _pair(m, "stride", stride, size[1])
    return np.ascontiguousarray(weight.reshape(dim, -1)), size, (down, right)


def _padding(
    m: Modules, fields: dict[str, Any], size: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
    """Rows of zeros in front and behind."""
    v = fields.get("padding", 0)
    if v == "same" and stride[0] == 1:
        return (size[0] - 1) // 2, size[0] // 2
    if not isinstance(v, list):
        v = [v, v]
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in v)
    if len(v) != 2 or not whole or not all(0 <= n < size[0] for n in v):
        raise Error(
            f"{m.given.path}: input.padding is {fields['padding']!r}; supported: rows of zeros on "
            f"each side, fewer than the {size[0]} of a window, [in front, behind], or with "
            'a stride of 1 "same"'
        )
    return v[0], v[1]


def _positions(
    m: Modules, made: Graph, frames: Frames, dim: int, fields: dict[str, Any], token: bool
) -> Array | None:
    """The table of positions (context, dim), in the order of the frames' windows."""
    context = frames.positions(frames.length)
    (table,), rows = find_positions(m, dim, 1, context)
    if table is None:
        return None
    if token and rows == context - 1:  # of the windows alone
        table = np.concatenate([np.zeros((1, dim), table.dtype), table])
    elif rows < context:
        raise Error(
            f"{m.state.path}: {rows} positions, but {frames.length} rows make {context}"
            + (", one of them the class token's" if token else "")
        )
    table = table[:context]
    if frames.across > 1 and _order(m, fields) == "ct":
        if m.given.get("causal"):
            raise m.given.refusal("causal", True, "false, where windows lie channel by channel")
        at = np.arange(context - token).reshape(frames.across, -1).T.reshape(-1)
        table = np.concatenate([table[:token], table[token:][at]])
    return table
