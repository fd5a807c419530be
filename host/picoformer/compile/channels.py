"""The sizes of a signal's channels, where the checkpoint does not tell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..graph.nodes import Array, Graph, Linear, Node, Patches

LEAST = 0.5  # deviation of a channel of whole numbers that hardly changes


def scaled(graph: Graph, signals: Sequence[Array]) -> Graph:
    """The same model with the mean and the deviation that signals (rows, channels) have."""
    f = graph.frames
    assert f is not None
    values = np.concatenate([np.asarray(s, np.float64) for s in signals])
    mean, std = values.mean(0), values.std(0)
    if sum(f.padding) or f.tokens or f.across > 1:
        # Zeros are to stay what they are.
        mean, std = np.zeros(f.channels), np.sqrt(mean**2 + std**2)
    if f.across > 1:
        # One matrix reads all channels.
        std[:] = np.sqrt((std**2).mean())
    return rescaled(graph, mean, np.maximum(std, LEAST))


def rescaled(graph: Graph, mean: Array, std: Array) -> Graph:
    """The same model, which read numbers as they are, with a mean and a deviation of channels.

    What a window holds changes by them, and the linears that read it by the opposite.
    """
    f = graph.frames
    assert f is not None
    by, less = (np.tile(v[: f.size[1]], f.size[0]) for v in (std, mean))
    windows = next(n.out for n in graph.nodes if isinstance(n, Patches))
    nodes: list[Node] = []
    for n in graph.nodes:
        if isinstance(n, Linear) and n.x == windows:
            weight = n.weight.astype(np.float64)
            bias = weight @ less + (0 if n.bias is None else n.bias)
            n = replace(n, weight=weight * by, bias=bias if bias.any() else n.bias)
        nodes.append(n)
    return replace(graph, nodes=nodes, frames=replace(f, mean=mean, std=std))
