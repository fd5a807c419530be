"""Which matrices get 8 bits where the others get 4: those that suffer most, as many as fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.float_model import FloatModel, log_softmax
from ..graph.nodes import Array, Graph
from .calibration import Input
from .matrices import Rounded
from .round_matrix import nearest
from .rounding import roundable

SLACK = 16  # bytes by which a file may yet grow when its weights are rounded
TRIED = 1024  # tokens on which each matrix is tried alone


def choose(
    graph: Graph, given: list[Input], span: int, limit: int,
    size: Callable[[dict[int, Rounded]], int],
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> set[int]:  # fmt: skip
    """The weights, by id, that get 8 bits so that most is gained in a file of `limit` bytes.

    size: bytes of the file with these matrices in 4 bits. Raises Error.
    """
    rounded = {k: nearest(w, span) for k, w in roundable(graph).items()}
    least = size(rounded) + SLACK
    if least > limit:
        raise Error(
            f"with weights of 4 bits in groups of {span} columns the file has {least:,} bytes, "
            f"more than {limit:,}; larger groups or a smaller context take less"
        )
    lost = losses(graph, given, span, progress)
    kept: set[int] = set()
    for key in sorted(lost, key=lambda k: -lost[k] / rounded[k].q.size):
        others = {k: r for k, r in rounded.items() if k not in kept | {key}}
        if size(others) + SLACK <= limit:
            kept.add(key)
    return kept


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
    for key, weight in progress(roundable(graph).items()):
        found = results({key: nearest(weight, span).value.astype(np.float32)})
        costs = [
            ((y - z) ** 2).sum(-1) / (y**2).sum(-1)
            if graph.task == "embed"
            else (np.exp(y) * (y - z)).sum(-1)
            for y, z in zip(exact, found, strict=True)
        ]
        out[key] = float(np.mean(np.concatenate([c.reshape(-1) for c in costs])))
    return out
