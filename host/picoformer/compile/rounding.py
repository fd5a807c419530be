"""Rounding a model's weights to 4 bits so that what it computes changes least.

Every matrix is rounded for the inputs that it sees (round_matrix.py). The matrices are taken in
the order in which the model runs. Each is to give what the float model has at that point, from
inputs that the rounded matrices before it made; so it makes up for part of their errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph.float_model import FloatModel
from ..graph.nodes import Add, Array, Attention, Embedding, Graph, Linear, Node
from .calibration import Input
from .matrices import Rounded
from .round_matrix import round_matrix

DAMPING = 0.005  # of the mean moment, added to all: what rarely occurs is not quite free
TIED = 0.1  # share of an identity in the moments of an embedding that is the head as well
FEWEST_ROWS = 8  # a matrix of fewer takes as much space with 8 bits


@dataclass
class _Run:
    """A model on its way through its nodes: the values that are still needed."""

    model: FloatModel
    given: Input
    values: dict[str, Array] = field(default_factory=dict)

    def node(self, node: Node, encoder: bool) -> None:
        tokens = self.given.tokens
        if encoder:
            assert self.given.source is not None
            tokens = self.given.source
        types = None if encoder else self.given.types
        self.model.run([node], self.values, tokens, types, 0)
        if isinstance(node, Attention) and not node.cross:
            del self.model.caches[node.out]  # one pass sees the whole input


def roundable(graph: Graph) -> dict[int, Array]:
    """The weights that can have 4 bits, by their id."""
    nodes = (n for n in graph.encoder + graph.nodes if isinstance(n, Embedding | Linear))
    return {id(n.weight): n.weight for n in nodes if len(n.weight) >= FEWEST_ROWS}


def round_graph(
    graph: Graph, given: list[Input], span: int, keep: set[int] | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> dict[int, Rounded]:  # fmt: skip
    """Round the matrices of a graph to 4 bits, each for what it sees when `given` is run.

    span: columns that share a scale. keep: ids of weights that are left as they are. progress:
    wraps the iteration over nodes. Returns the matrices by the id of their weight.
    """
    wanted = roundable(graph).keys() - (keep or set())
    out: dict[int, Rounded] = {}
    exact = [_Run(FloatModel(graph, np.float32), g) for g in given]
    ours = [_Run(FloatModel(graph, np.float32), g) for g in given]
    weights = dict(exact[0].model.weights)
    for run in ours:
        run.model.weights = weights
    tied = _tied(graph, given)
    nodes = [(n, True) for n in graph.encoder] + [(n, False) for n in graph.nodes]
    last = {name: i for i, (n, _) in enumerate(nodes) for name in _values(n)}
    for i in progress(range(len(nodes))):
        node, encoder = nodes[i]
        key = id(getattr(node, "weight", None))
        if key in wanted and key not in out:
            if isinstance(node, Linear):
                after = nodes[i + 1][0] if i + 1 < len(nodes) else None
                add = after if isinstance(after, Add) and after.y == node.out else None
                weight, moments = _target(node, add, exact, ours)
            else:
                assert isinstance(node, Embedding)
                weight = np.asarray(node.weight, np.float64)
                moments = tied.get(key, np.eye(weight.shape[1]))
            out[key] = round_matrix(weight, moments, span)
            weights[key] = out[key].value.astype(np.float32)
        for run in exact + ours:
            run.node(node, encoder)
            for name in [name for name in run.values if last.get(name, i) <= i]:
                del run.values[name]
    return out


def _values(node: Node) -> Iterator[str]:
    """Names of the values that a node has to do with."""
    for name in ("x", "y", "q", "k", "v", "g", "u", "out"):
        value = getattr(node, name, None)
        if value is not None:
            yield value


def _tied(graph: Graph, given: list[Input]) -> dict[int, Array]:
    """Moments of the heads whose matrix is an embedding, too, by the id of the weight."""
    tables = {id(n.weight) for n in graph.encoder + graph.nodes if isinstance(n, Embedding)}
    heads = [n for n in graph.nodes if isinstance(n, Linear) and id(n.weight) in tables]
    out: dict[int, Array] = {}
    for g in given if heads else ():
        model = FloatModel(graph, np.float32)
        seen: dict[str, Array] = {}
        model.tap = seen.__setitem__
        model.forward(g.tokens, g.types, g.source)
        for n in heads:
            x = seen[n.x].reshape(-1, n.weight.shape[1]).astype(np.float64)
            out[id(n.weight)] = out.get(id(n.weight), 0) + x.T @ x
    for key, h in out.items():
        size = len(h)
        out[key] = (1 - TIED) * h * size / max(np.trace(h), 1e-30) + TIED * np.eye(size)
    return out


def _target(
    node: Linear, add: Add | None, exact: list[_Run], ours: list[_Run]
) -> tuple[Array, Array]:
    """(weights to come close to, moments of the inputs).

    The weights are those that make the most of the inputs as they are to give what the float
    model has; where the result is added to a residual, the error of that is to be made up for.
    """
    weight = np.asarray(node.weight, np.float64)
    cols = weight.shape[1]
    moments = np.zeros((cols, cols))
    wanted = np.zeros_like(weight)
    for one, other in zip(exact, ours, strict=True):
        x, y = (r.values[node.x].reshape(-1, cols).astype(np.float64) for r in (one, other))
        t = x @ weight.T
        if add:
            t += (one.values[add.x] - other.values[add.x]).reshape(t.shape)
        moments += y.T @ y
        wanted += t.T @ y
    moments, damping = _damped(moments)
    return np.linalg.solve(moments, (wanted + damping * weight).T).T, moments


def _damped(moments: Array) -> tuple[Array, float]:
    """Moments that can be inverted, and what was added to each."""
    damping = DAMPING * float(np.diag(moments).mean()) or 1.0
    return moments + damping * np.eye(len(moments)), damping
