"""How far the integers are from the float model, measured through the quantized cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import importers
from .converter import read_tokens
from .errors import Error
from .graph import Array, FloatModel, log_softmax, sample
from .simulator import Simulator
from .tokenizer import build

SEQUENCES = 8  # that the model writes itself when there is no data


@dataclass
class Scores:
    """Means over all predicted tokens.

    kl: Kullback-Leibler divergence of the integers from the float model, nats a token. top1:
    share of tokens at which both prefer the same. perplexity_*: of the data's own next tokens.
    """

    kl: float
    top1: float
    perplexity_float: float
    perplexity_int: float
    tokens: int
    sequences: int
    data: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    model: str | Path,
    reference: str | Path,
    *,
    data: str | Path | None = None,
    tokenizer: str | Path | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Scores:
    """Score a model file against the float checkpoint that it was made of.

    data: text or a .npy file of token ids; by default text that the float model writes.
    progress: wraps the iteration over sequences. Raises Error.
    """
    sim = Simulator(model)
    graph, vocabulary = importers.read(reference, tokenizer)
    parameters = sim.model.meta.get("parameters", graph.parameters)
    if graph.parameters != parameters or build(vocabulary) != sim.tokenizer.section:
        raise Error(
            f"{reference} ({graph.parameters:,} parameters) is not the checkpoint that {model} "
            f"({parameters:,} parameters) was made of, or its tokenizer is another one"
        )
    context = min(sim.context, graph.context)
    if data is None:
        ids, _ = sample(graph, SEQUENCES, context, seed=1)
    else:
        ids = read_tokens(data, sim.tokenizer, context, sim.vocab)
    if ids.shape[1] < 2:
        raise Error(f"{data}: sequences of {ids.shape[1]} token, expected at least 2")
    kl: list[Array] = []
    same: list[Array] = []
    nats: list[tuple[float, float]] = []
    for row in progress(list(ids)):
        exact = log_softmax(FloatModel(graph).forward(row[None])[0])
        ours = log_softmax(sim.logits(row) * sim.logit_scale)
        kl.append((np.exp(exact) * (exact - ours)).sum(-1))
        same.append(exact.argmax(-1) == ours.argmax(-1))
        at = np.arange(len(row) - 1)
        nats.append((-exact[at, row[1:]].mean(), -ours[at, row[1:]].mean()))
    float_nats, int_nats = np.mean(nats, axis=0)
    return Scores(
        kl=float(np.mean(kl)),
        top1=float(np.mean(same)),
        perplexity_float=float(np.exp(float_nats)),
        perplexity_int=float(np.exp(int_nats)),
        tokens=int(ids.size),
        sequences=len(ids),
        data=str(data) if data else "text that the float model wrote",
    )
