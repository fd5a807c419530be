"""Tables that are the same, and a head that is a multiple of one, are kept once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .nodes import Array, Embedding, Graph, LayerNorm, Linear, Node, Norm

CLOSE = 1e-6  # of a weight: what float32 leaves between two that are the same


def tie(graph: Graph) -> Graph:
    """The same model; its equal tables, and a head that is a multiple of one, are one array.

    Many models scale the embedding, and not the head that is tied to it: the norm in front of the
    head makes up for that. A head without a norm, and no equal, stays as it is.
    """
    tables: list[Array] = []

    def shared(n: Node) -> Node:
        if not isinstance(n, Embedding):
            return n
        tables.append(next((t for t in tables if multiple(n.weight, t) == 1), n.weight))
        return replace(n, weight=tables[-1])

    encoder = [shared(n) for n in graph.encoder]
    nodes = [shared(n) for n in graph.nodes]
    *rest, norm, head = nodes
    if isinstance(head, Linear):
        for table in reversed(tables):  # a decoder's first
            factor = multiple(head.weight, table)
            if factor == 1:
                nodes = [*rest, norm, replace(head, weight=table)]
            elif factor and isinstance(norm, Norm | LayerNorm) and norm.out == head.x:
                norm = _times(norm, factor)
                nodes = [*rest, norm, replace(head, x=norm.out, weight=table)]
            else:
                continue
            break
    return replace(graph, nodes=nodes, encoder=encoder)


def multiple(weight: Array, table: Array) -> float:
    """What a table is to be multiplied by to be the weight; 0 where no number makes it that."""
    if weight is table:
        return 1.0
    if weight.shape != table.shape:
        return 0.0
    at = np.unravel_index(np.abs(table).argmax(), table.shape)
    if not table[at]:
        return 0.0
    factor = float(weight[at]) / float(table[at])
    if abs(factor - 1) <= CLOSE:
        factor = 1.0
    same = np.abs(weight - factor * table) <= CLOSE * np.abs(weight)
    return factor if same.all() else 0.0


def _times(n: Norm | LayerNorm, factor: float) -> Norm | LayerNorm:
    """A norm, its result multiplied; a residual that it would change stays as it was."""
    out = n.out if n.out != n.x else n.x + ".head"
    gain = (n.gain * factor).astype(n.gain.dtype)
    if isinstance(n, Norm):
        return replace(n, out=out, gain=gain)
    return replace(n, out=out, gain=gain, bias=(n.bias * factor).astype(n.bias.dtype))
