"""Rounding weights to 4 bits so that what a model computes changes least.

Every matrix is rounded for the inputs that it sees, with the error of each column carried into
those that are still to be rounded (Frantar et al., "GPTQ", 2022, arXiv:2210.17323), the columns
that matter most first; then its scales and its weights are improved in turn, one at a time, for
as long as that pays. The matrices are taken in the order in which the model runs. Each is to give
what the float model has at that point, from inputs that the rounded matrices before it made; so
it makes up for part of their errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..data.examples import Example, random_examples
from ..graph.float_model import FloatModel, log_softmax, sample
from ..graph.nodes import Add, Array, Attention, Embedding, Graph, Linear, Node
from .quantize import Rounded

LOW, HIGH = -8, 7  # weights of 4 bits
TOP = 15  # scales of 4 bits
SAMPLES = (16, 256)  # sequences and tokens that a model is rounded on, by default
TRIED = 1024  # tokens on which each matrix is tried alone
DAMPING = 0.005  # of the mean moment, added to all: what rarely occurs is not quite free
TIED = 0.1  # share of an identity in the moments of an embedding that is the head as well
FEWEST_ROWS = 8  # a matrix of fewer takes as much space with 8 bits
_CLIPS = np.linspace(0.6, 1.05, 10)  # of the scale at which nothing is clipped
_ROUNDS = 4
_SWEEPS = 8


@dataclass
class Input:
    """Sequences of equal length that a model is run on.

    tokens (sequences, length), or patches (sequences, length, elements); types like tokens;
    source (sequences, length of the source): what a translator translates.
    """

    tokens: Array
    types: Array | None = None
    source: Array | None = None


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
        self.model._nodes([node], tokens, types, 0, self.values)
        if isinstance(node, Attention) and not node.cross:
            del self.model.caches[node.out]  # one pass sees the whole input


def inputs(graph: Graph, examples: list[Example] | None) -> list[Input]:
    """What to run a model on: the examples, or text that it writes itself, or random ones."""
    count, length = SAMPLES[0], min(SAMPLES[1], graph.context)
    if examples is None and graph.task == "generate":
        return [Input(sample(graph, count, length, seed=1)[0])]
    examples = examples or random_examples(graph, count, length, seed=1)
    # From everywhere: examples often lie label by label. Those of one length go together.
    order = np.random.default_rng(1).permutation(len(examples))
    most = count * length
    lengths: dict[tuple[int, int], list[Example]] = {}
    for i in order:
        e = examples[i]
        if e.source is not None and len(e.tokens) < 2:
            e = replace(e, tokens=sample(graph, 1, length, int(i), source=e.source)[0][0])
        if most > 0:
            key = len(e.tokens), 0 if e.source is None else len(e.source)
            lengths.setdefault(key, []).append(e)
        most -= len(e.tokens)

    def stack(listed: list[Array | None]) -> Array | None:
        there = [v for v in listed if v is not None]
        return np.stack(there) if there else None

    return [
        Input(
            np.stack([e.tokens for e in listed]),
            stack([e.types for e in listed]),
            stack([e.source for e in listed]),
        )
        for _, listed in sorted(lengths.items())
    ]


def matrices(graph: Graph) -> dict[int, Array]:
    """The weights that can have 4 bits, by their id."""
    nodes = (n for n in graph.encoder + graph.nodes if isinstance(n, Embedding | Linear))
    return {id(n.weight): n.weight for n in nodes if len(n.weight) >= FEWEST_ROWS}


def nearest(weight: Array, span: int) -> Rounded:
    """A matrix with each weight rounded on its own."""
    w = np.asarray(weight, np.float64)
    m = _Rounding(w, np.eye(w.shape[1]), span, *_scales(w, np.ones(w.shape[1]), span))
    m.carry_errors()  # there are none to carry
    return m.result()


def losses(
    graph: Graph, given: list[Input], span: int,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> dict[int, float]:  # fmt: skip
    """What it costs to round each matrix alone, by the id of its weight.

    That is nats a prediction, and for embeddings the squared distance relative to their size.
    """
    some: list[Input] = []
    for g in given:
        n = (TRIED - sum(s.tokens.size for s in some)) // g.tokens.shape[1]
        if n > 0 or not some:
            few = slice(max(n, 1))
            parts = (v if v is None else v[few] for v in (g.types, g.source))
            some.append(Input(g.tokens[few], *parts))

    def results(weights: dict[int, Array]) -> Iterator[Array]:
        for s in some:
            model = FloatModel(graph, np.float32)
            model.weights.update(weights)
            y = model.forward(s.tokens, s.types, s.source).astype(np.float64)
            if graph.task != "embed":
                y = log_softmax(y.swapaxes(1, 2) if graph.task == "answer" else y)
            yield y

    exact = list(results({}))
    out: dict[int, float] = {}
    for key, weight in progress(matrices(graph).items()):
        found = results({key: nearest(weight, span).value.astype(np.float32)})
        costs = [
            ((y - z) ** 2).sum(-1) / (y**2).sum(-1)
            if graph.task == "embed"
            else (np.exp(y) * (y - z)).sum(-1)
            for y, z in zip(exact, found, strict=True)
        ]
        out[key] = float(np.mean(np.concatenate([c.reshape(-1) for c in costs])))
    return out


def round_graph(
    graph: Graph, given: list[Input], span: int, keep: set[int] | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> dict[int, Rounded]:  # fmt: skip
    """Round the matrices of a graph to 4 bits, each for what it sees when `given` is run.

    span: columns that share a scale. keep: ids of weights that are left as they are. progress:
    wraps the iteration over nodes. Returns the matrices by the id of their weight.
    """
    wanted = matrices(graph).keys() - (keep or set())
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


def round_matrix(weight: Array, moments: Array, span: int) -> Rounded:
    """Round a matrix (rows, columns) to 4 bits with a scale of 4 bits for each `span` columns.

    moments (columns, columns): sum of x x^T over the inputs; positive definite. What is made
    small is the sum of (weight x - rounded x)^2.
    """
    weight = np.asarray(weight, np.float64)
    # What an error in a column costs when the others make up for it as well as they can.
    matters = 1 / np.diag(np.linalg.inv(moments))
    unit, scale = _scales(weight, matters, span)
    m = _Rounding(weight, moments, span, unit, scale)
    m.carry_errors()
    m.descend(_SWEEPS)
    for _ in range(_ROUNDS):
        m.fit_scales()
        m.descend(_SWEEPS)
        m.try_scales()
        m.descend(_SWEEPS)
    return m.result()


def _scales(weight: Array, matters: Array, span: int) -> tuple[Array, Array]:
    """Units (rows,) and scales (rows, groups) for rounding each weight on its own."""
    rows, cols = weight.shape
    groups = (cols + span - 1) // span
    pad = groups * span - cols
    w = np.pad(weight, ((0, 0), (0, pad))).reshape(rows, groups, span)
    cost = np.pad(matters, (0, pad)).reshape(groups, span)
    full = np.maximum(w.max(2) / HIGH, w.min(2) / LOW)
    best = np.full(rows, np.inf)
    unit, scale = np.ones(rows), np.ones((rows, groups))
    for clip in _CLIPS:
        u = np.maximum(full.max(1), 1e-12) * clip / TOP
        errors = np.full((rows, groups), np.inf)
        chosen = np.ones((rows, groups))
        for s in range(1, TOP + 1):
            step = (u * s)[:, None, None]
            off = np.clip(np.rint(w / step), LOW, HIGH) * step - w
            e = (off * off * cost).sum(2)
            better = e < errors
            errors[better], chosen[better] = e[better], s
        better = errors.sum(1) < best
        best[better], unit[better] = errors.sum(1)[better], u[better]
        scale[better] = chosen[better]
    return unit, scale


class _Rounding:
    """A matrix while it is rounded. Rows do not depend on one another."""

    def __init__(
        self, weight: Array, moments: Array, span: int, unit: Array, scale: Array
    ) -> None:
        self.weight = weight
        self.moments = moments
        self.span = span
        self.unit = unit
        self.scale = scale
        self.q = np.zeros_like(weight)

    def result(self) -> Rounded:
        q, scale = (v.astype(np.int64) for v in (self.q, self.scale))
        return Rounded(q, scale, self.unit, self.span)

    @property
    def step(self) -> Array:
        """What one unit of each weight stands for, (rows, columns)."""
        cols = self.weight.shape[1]
        return np.asarray(np.repeat(self.scale, self.span, 1)[:, :cols] * self.unit[:, None])

    def slope(self) -> Array:
        """Half the derivative of the cost by each rounded weight, (rows, columns)."""
        return np.asarray((self.q * self.step - self.weight) @ self.moments)

    def carry_errors(self) -> None:
        """Round column by column, the error of each carried into those that follow."""
        order = np.argsort(-np.diag(self.moments), kind="stable")
        inverse = np.linalg.inv(self.moments[np.ix_(order, order)])
        factor = np.linalg.cholesky(inverse).T
        w, step = self.weight[:, order], self.step[:, order]
        for j, column in enumerate(order):
            q = np.clip(np.rint(w[:, j] / step[:, j]), LOW, HIGH)
            error = (w[:, j] - q * step[:, j]) / factor[j, j]
            w[:, j + 1 :] -= error[:, None] * factor[j, j + 1 :]
            self.q[:, column] = q

    def descend(self, sweeps: int) -> None:
        """Set each weight in turn to the best that the others leave."""
        _descend(self.q, self.step, self.slope(), self.moments, sweeps)

    def groups(self) -> Iterator[tuple[int, slice]]:
        for g in range(self.scale.shape[1]):
            yield g, slice(g * self.span, (g + 1) * self.span)

    def fit_scales(self) -> None:
        """Set each group's scale to the best for its weights as they are, then the rows' units."""
        slope = self.slope()
        for g, at in self.groups():
            q, h = self.q[:, at], self.moments[at, at]
            change = -(q * slope[:, at]).sum(1)
            change /= np.maximum((q @ h * q).sum(1) * self.unit, 1e-30)
            new = np.clip(np.rint(self.scale[:, g] + change), 1, TOP)
            by = (new - self.scale[:, g]) * self.unit
            slope += (by[:, None] * q) @ self.moments[at]
            self.scale[:, g] = new
        v = self.q * np.repeat(self.scale, self.span, 1)[:, : self.q.shape[1]]
        h = v @ self.moments
        fit = (h * self.weight).sum(1) / np.maximum((h * v).sum(1), 1e-30)
        self.unit = np.where(fit > 0, fit, self.unit)

    def try_scales(self) -> None:
        """Take a neighbouring scale for a group where its weights then come to cost less."""
        slope, step = self.slope(), self.step
        for g, at in self.groups():
            h = self.moments[at, at]
            before = self.q[:, at] * step[:, at]
            # The cost of a change d of the group is d h d + 2 d slope.
            best = np.zeros(len(before))
            q, scale = self.q[:, at].copy(), self.scale[:, g].copy()
            for by in (-1, 1, -2, 2):
                tried = np.clip(self.scale[:, g] + by, 1, TOP)
                size = np.repeat((tried * self.unit)[:, None], q.shape[1], 1)
                t = np.clip(np.rint(before / size), LOW, HIGH)
                d = t * size - before
                _descend(t, size, slope[:, at] + d @ h, h, 3)
                d = t * size - before
                cost = ((d @ h + 2 * slope[:, at]) * d).sum(1)
                better = cost < best - 1e-12 * abs(best)
                best[better], q[better], scale[better] = cost[better], t[better], tried[better]
            self.q[:, at], self.scale[:, g] = q, scale
            after = q * (scale * self.unit)[:, None]
            slope += (after - before) @ self.moments[at]


def _descend(q: Array, step: Array, slope: Array, moments: Array, sweeps: int) -> None:
    """Change q (rows, columns) column by column, each to its best, until nothing changes."""
    for _ in range(sweeps):
        changed = False
        for j, h in enumerate(np.diag(moments)):
            new = np.clip(np.rint(q[:, j] - slope[:, j] / (h * step[:, j])), LOW, HIGH)
            rows = np.flatnonzero(new != q[:, j])
            if len(rows):
                changed = True
                by = (new - q[:, j])[rows] * step[rows, j]
                slope[rows] += by[:, None] * moments[j]
                q[:, j] = new
        if not changed:
            return
