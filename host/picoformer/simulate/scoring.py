"""The scores of each task: the integers' results against the float model's and the right ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from ..data.examples import Example
from ..device.spans import answer
from ..errors import Error
from ..graph.float_model import FloatModel, log_softmax
from ..graph.nodes import Array, Graph
from ..tokenizers.tokenizer import Tokenizer
from . import metrics
from .scores import PICTURES, Scores
from .simulator import Simulator

SHOWN = 6  # texts that were written, beside the wanted ones


@dataclass
class _Predictions:
    """How predictions of the integers are from the float model's."""

    kl: list[Array] = field(default_factory=list)
    same: list[Array] = field(default_factory=list)

    def add(self, floats: Array, ints: Array) -> tuple[Array, Array]:
        """Logits (n, classes) of both; returns their log probabilities."""
        exact, ours = log_softmax(floats), log_softmax(ints)
        self.kl.append((np.exp(exact) * (exact - ours)).sum(-1))
        self.same.append(exact.argmax(-1) == ours.argmax(-1))
        return exact, ours

    def put(self, scores: Scores) -> None:
        scores.kl = float(np.mean(np.concatenate(self.kl)))
        scores.top1 = float(np.mean(np.concatenate(self.same)))


def _next_tokens(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], progress: Any
) -> None:
    """The predictions of each next token, given those before it."""
    predictions = _Predictions()
    nats: list[tuple[float, float]] = []
    for e in progress(rows):
        exact, ours = predictions.add(
            e.run(FloatModel(graph)), sim.machine.example(e) * sim.logit_scale
        )
        if len(e.tokens) > 1:
            at = np.arange(len(e.tokens) - 1)
            nats.append((-exact[at, e.tokens[1:]].mean(), -ours[at, e.tokens[1:]].mean()))
    predictions.put(scores)
    if nats:
        float_nats, int_nats = np.mean(nats, axis=0)
        scores.perplexity_float = float(np.exp(float_nats))
        scores.perplexity_int = float(np.exp(int_nats))


def _generate(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], progress: Any
) -> None:
    if len(rows[0].tokens) < 2:
        raise Error(
            f"{scores.data}: sequences of {len(rows[0].tokens)} token, expected at least 2"
        )
    _next_tokens(scores, sim, graph, rows, progress)


def _several(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], progress: Any
) -> None:
    """Labels that hold or not, each by itself; accuracy is the share of these that are right."""
    targets = [[t for t in e.wanted[0].split(",") if t] for e in rows if e.wanted]
    _check_labels(scores, graph, [t for some in targets for t in some])
    predictions = _Predictions()
    holds: list[tuple[Array, Array]] = []
    for e in progress(rows):
        pair = e.run(FloatModel(graph))[-1], sim.machine.example(e)[-1] * sim.logit_scale
        # A sigmoid is the softmax of this logit and of 0.
        predictions.add(*(np.stack([np.zeros(len(v)), v], -1) for v in pair))
        holds.append((pair[0] > 0, pair[1] > 0))
    predictions.put(scores)
    if targets:
        true = np.array([[label in some for label in graph.labels] for some in targets])
        floats, ints = (np.array(v) for v in zip(*holds, strict=True))
        scores.accuracy_float = float(np.mean(floats == true))
        scores.accuracy_int = float(np.mean(ints == true))


def _check_labels(scores: Scores, graph: Graph, targets: list[str]) -> None:
    unknown = sorted(set(targets) - set(graph.labels))
    if unknown:
        raise Error(
            f"{scores.data}: label {unknown[0]!r} is not one of the model's: "
            + ", ".join(graph.labels)
        )


def _classify(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], progress: Any
) -> None:
    if graph.several:
        _several(scores, sim, graph, rows, progress)
        return
    targets = [e.wanted[0] for e in rows if e.wanted]
    _check_labels(scores, graph, targets)
    predictions = _Predictions()
    best: list[tuple[int, int]] = []
    for e in progress(rows):
        exact, ours = predictions.add(
            e.run(FloatModel(graph)), sim.machine.example(e) * sim.logit_scale
        )
        best.append((int(exact.argmax()), int(ours.argmax())))
    predictions.put(scores)
    scores.said = best
    floats, ints = np.array(best).T
    if targets:
        true = np.array([graph.labels.index(t) for t in targets])
        scores.accuracy_float = float(np.mean(floats == true))
        scores.accuracy_int = float(np.mean(ints == true))
        scores.labels = list(graph.labels)
        scores.confusion_float = _confusion(true, floats, len(graph.labels))
        scores.confusion_int = _confusion(true, ints, len(graph.labels))
    scores.pictures = [
        (e.pixels, "".join(e.wanted), graph.labels[a], graph.labels[b])
        for e, a, b in _spread(list(zip(rows, floats, ints, strict=True)))
        if e.pixels is not None
    ]


def _spread(rows: list[Any]) -> list[Any]:
    """As many as the plot has place for, from everywhere in the data."""
    n = min(PICTURES[0] * PICTURES[1], len(rows))
    return [rows[i * len(rows) // n] for i in range(n)]


def _translate(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], progress: Any
) -> None:
    texts = [e for e in rows if e.wanted and e.text]
    passes = iter(progress(rows + texts))  # one bar for both
    _next_tokens(scores, sim, graph, rows, lambda _: islice(passes, len(rows)))
    floats, ints = [], []
    for e in passes:
        floats.append(_written(graph, sim.tokenizer, e, sim.context))
        ints.append(sim.translate(e.text))
    if texts:
        _compare(scores, texts, floats, ints)


def _written(graph: Graph, tokenizer: Tokenizer, e: Example, context: int) -> str:
    """What a float model writes about a source, greedy."""
    model = FloatModel(graph)
    tokens = [graph.bos]
    source = None if e.source is None else e.source[None]
    while len(tokens) <= context:
        logits = model.forward(np.array([tokens[-1:]]), None, source)[0, -1]
        source = None
        token = int(logits.argmax())
        if token in graph.ends:
            break
        tokens.append(token)
    return tokenizer.decode(tokens[1:])


def _answer(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], progress: Any
) -> None:
    predictions = _Predictions()
    floats, ints, texts = [], [], []
    for e in progress(rows):
        predictions.add(e.run(FloatModel(graph)).T, sim.machine.example(e).T * sim.logit_scale)
        if e.wanted:

            def run(ids: list[int], types: list[int]) -> tuple[list[float], list[float]]:
                both = Example(np.array(ids), np.array(types)).run(FloatModel(graph))
                starts, ends = both.T.tolist()
                return starts, ends

            texts.append(e)
            floats.append(str(answer(sim.tokenizer, run, sim.context, e.context, e.text)))
            ints.append(sim.answer(e.context, e.text))
    predictions.put(scores)
    if texts:
        _compare(scores, texts, floats, ints)


def _tag(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], progress: Any
) -> None:
    """The labels of each token."""
    predictions = _Predictions()
    for e in progress(rows):
        predictions.add(e.run(FloatModel(graph)), sim.machine.example(e) * sim.logit_scale)
    predictions.put(scores)


def _compare(scores: Scores, rows: list[Example], floats: list[str], ints: list[str]) -> None:
    """Score texts that both wrote."""
    wanted = [e.wanted for e in rows]
    scores.exact_float = metrics.exact(floats, wanted) / len(rows)
    scores.exact_int = metrics.exact(ints, wanted) / len(rows)
    scores.cer_float, scores.cer_int = metrics.cer(floats, wanted), metrics.cer(ints, wanted)
    scores.chrf_float, scores.chrf_int = metrics.chrf(floats, wanted), metrics.chrf(ints, wanted)
    # Those on which both differ tell most.
    order = sorted(range(len(rows)), key=lambda i: floats[i] == ints[i])
    for i in order[:SHOWN]:
        e = rows[i]
        shown = {"context": e.context} if e.context else {}
        shown |= {"text": e.text, "wanted": " | ".join(e.wanted)}
        scores.examples.append(shown | {"float": floats[i], "int": ints[i]})


def _confusion(true: Array, predicted: Array, n: int) -> list[list[int]]:
    out = np.zeros((n, n), np.int64)
    np.add.at(out, (true, predicted), 1)
    return [[int(v) for v in row] for row in out]


def _embed(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], progress: Any
) -> None:
    cosines: list[float] = []
    for e in progress(rows):
        exact = e.run(FloatModel(graph))[0]
        ours = sim.machine.example(e)[0].astype(np.float64)
        cosines.append(float(exact @ ours / np.sqrt((exact @ exact) * (ours @ ours))))
    scores.cosine = float(np.mean(cosines))
    scores.cosine_min = float(np.min(cosines))


def _predict(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], progress: Any
) -> None:
    """Numbers, in the units that the checkpoint's own results have."""
    pairs = [
        (e.run(FloatModel(graph))[-1], sim.machine.example(e)[-1] * sim.logit_scale)
        for e in progress(rows)
    ]
    floats, ints = (np.stack(part) for part in zip(*pairs, strict=True))
    scores.off_mean, scores.off_max = metrics.off(floats, ints)
    known = [i for i, e in enumerate(rows) if e.target is not None]
    if not known:
        scores.predictions = None, floats, ints
        return
    right = np.stack([t for e in rows if (t := e.target) is not None])
    floats, ints = floats[known], ints[known]
    scores.predictions = right, floats, ints
    scores.mae_float, scores.mae_int = metrics.mae(floats, right), metrics.mae(ints, right)
    scores.rmse_float, scores.rmse_int = metrics.rmse(floats, right), metrics.rmse(ints, right)
    scores.r2_float, scores.r2_int = metrics.r2(floats, right), metrics.r2(ints, right)
    names = graph.labels or [str(i) for i in range(right.shape[1])]
    scores.outputs = [
        {"name": name}
        | {
            f"{figure.__name__}_{kind}": figure(v[:, i : i + 1], right[:, i : i + 1])
            for figure in (metrics.mae, metrics.rmse, metrics.r2)
            for kind, v in (("float", floats), ("int", ints))
        }
        for i, name in enumerate(names)
    ]


# By the task: (scores to fill, simulator, float graph, examples, what wraps their iteration).
SCORING: dict[str, Callable[[Scores, Simulator, Graph, list[Example], Any], None]] = {
    "generate": _generate,
    "classify": _classify,
    "embed": _embed,
    "translate": _translate,
    "answer": _answer,
    "tag": _tag,
    "predict": _predict,
}
