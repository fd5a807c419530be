"""How far the integers are from the float model, and how good both are, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import importers
from .converter import read_examples
from .errors import Error
from .graph import Array, FloatModel, Graph, log_softmax, sample
from .simulator import Simulator
from .tokenizer import build

SEQUENCES = 8  # that a generative model writes itself when there is no data
LAYER_SEQUENCES = 4  # that the report on layers is taken from
RANDOM = 64  # inputs of random tokens for an encoder without data


@dataclass
class LayerError:
    """A value of the model: root mean square error of the integers, relative to its size."""

    value: str
    error: float


@dataclass
class Scores:
    """What was measured; None where it does not apply to the model or to the data.

    kl: Kullback-Leibler divergence of the integers from the float model, nats a prediction.
    top1: share of predictions that agree. perplexity_*: of the data's own next tokens.
    accuracy_*: share of examples whose label is predicted. cosine, cosine_min: mean and least
    cosine between the embeddings of both. confusion_*: counts, a row for each true label.
    layers: where the loss arises, in the program's order.
    """

    task: str
    data: str
    sequences: int
    tokens: int
    kl: float | None = None
    top1: float | None = None
    perplexity_float: float | None = None
    perplexity_int: float | None = None
    accuracy_float: float | None = None
    accuracy_int: float | None = None
    cosine: float | None = None
    cosine_min: float | None = None
    labels: list[str] | None = None
    confusion_float: list[list[int]] | None = None
    confusion_int: list[list[int]] | None = None
    layers: list[LayerError] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The figures that apply."""
        return {k: v for k, v in asdict(self).items() if v is not None}


def evaluate(
    model: str | Path,
    reference: str | Path,
    *,
    data: str | Path | None = None,
    tokenizer: str | Path | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Scores:
    """Score a model file against the float checkpoint that it was made of.

    data: text (.txt), label and text (.tsv) or token ids (.npy); by default text that the float
    model writes, or random tokens for an encoder. progress: wraps the iteration over sequences.
    Raises Error.
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
    targets: list[str] = []
    if data is not None:
        rows, targets = read_examples(data, sim.tokenizer, context, graph)
        said = str(data)
    elif graph.task == "generate":
        ids, _ = sample(graph, SEQUENCES, context, seed=1)
        rows, said = list(ids), "text that the float model wrote"
    else:
        ids = np.random.default_rng(1).integers(0, graph.vocab, (RANDOM, context))
        rows, said = list(ids), "random tokens"
    score = {"generate": _generate, "classify": _classify, "embed": _embed}[graph.task]
    scores = Scores(graph.task, said, len(rows), sum(map(len, rows)))
    score(scores, sim, graph, rows, targets, progress)
    scores.layers = layer_errors(sim, graph, rows[:LAYER_SEQUENCES])
    return scores


def _generate(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Array], _: list[str], progress: Any
) -> None:
    if len(rows[0]) < 2:
        raise Error(f"{scores.data}: sequences of {len(rows[0])} token, expected at least 2")
    kl: list[Array] = []
    same: list[Array] = []
    nats: list[tuple[float, float]] = []
    for row in progress(rows):
        exact = log_softmax(FloatModel(graph).forward(np.asarray(row)[None])[0])
        ours = log_softmax(sim.logits(row) * sim.logit_scale)
        kl.append((np.exp(exact) * (exact - ours)).sum(-1))
        same.append(exact.argmax(-1) == ours.argmax(-1))
        at = np.arange(len(row) - 1)
        nats.append((-exact[at, row[1:]].mean(), -ours[at, row[1:]].mean()))
    float_nats, int_nats = np.mean(nats, axis=0)
    scores.kl = float(np.mean(kl))
    scores.top1 = float(np.mean(same))
    scores.perplexity_float = float(np.exp(float_nats))
    scores.perplexity_int = float(np.exp(int_nats))


def _classify(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Array], targets: list[str],
    progress: Any,
) -> None:  # fmt: skip
    unknown = sorted(set(targets) - set(graph.labels))
    if unknown:
        raise Error(
            f"{scores.data}: label {unknown[0]!r} is not one of the model's: "
            + ", ".join(graph.labels)
        )
    kl: list[float] = []
    best: list[tuple[int, int]] = []
    for row in progress(rows):
        exact = log_softmax(FloatModel(graph).forward(np.asarray(row)[None])[0, 0])
        ours = log_softmax(sim.logits(row)[0] * sim.logit_scale)
        kl.append(float((np.exp(exact) * (exact - ours)).sum()))
        best.append((int(exact.argmax()), int(ours.argmax())))
    floats, ints = np.array(best).T
    scores.kl = float(np.mean(kl))
    scores.top1 = float(np.mean(floats == ints))
    if targets:
        true = np.array([graph.labels.index(t) for t in targets])
        scores.accuracy_float = float(np.mean(floats == true))
        scores.accuracy_int = float(np.mean(ints == true))
        scores.labels = list(graph.labels)
        scores.confusion_float = _confusion(true, floats, len(graph.labels))
        scores.confusion_int = _confusion(true, ints, len(graph.labels))


def _confusion(true: Array, predicted: Array, n: int) -> list[list[int]]:
    out = np.zeros((n, n), np.int64)
    np.add.at(out, (true, predicted), 1)
    return [[int(v) for v in row] for row in out]


def _embed(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Array], _: list[str], progress: Any
) -> None:
    cosines: list[float] = []
    for row in progress(rows):
        exact = FloatModel(graph).forward(np.asarray(row)[None])[0, 0]
        ours = sim.logits(row)[0].astype(np.float64)
        cosines.append(float(exact @ ours / np.sqrt((exact @ exact) * (ours @ ours))))
    scores.cosine = float(np.mean(cosines))
    scores.cosine_min = float(np.min(cosines))


def layer_errors(sim: Simulator, graph: Graph, rows: list[Array]) -> list[LayerError]:
    """The error of each value in the program's order, over some sequences.

    A value that changes in place comes once for every change. Empty if the file does not name
    its values.
    """
    named: list[list[Any]] = sim.model.meta.get("values", [])
    if len(named) != len(sim.model.steps):
        return []
    order: list[tuple[str, int]] = []
    sums: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        exact: dict[str, list[Array]] = {}
        model = FloatModel(graph)
        model.tap = lambda name, y, seen=exact: seen.setdefault(name, []).append(y[0])
        model.forward(np.asarray(row)[None])
        count: dict[str, int] = {}

        def tap(
            i: int, op: str, fields: list[int], frames: Array,
            exact: dict[str, list[Array]] = exact, count: dict[str, int] = count,
        ) -> None:  # fmt: skip
            if not named[i]:
                return
            joined, bits = named[i]
            operand = fields[0] if op in ("embed", "embed4", "gate") else fields[1]
            at = (operand >> 6) - 16
            for name in joined.split("+"):
                n = count[name] = count.get(name, 0) + 1
                if n > len(exact.get(name, [])):
                    continue
                want = exact[name][n - 1]
                size = want.shape[1]
                got = sim._logits if name == "logits" else frames[:, at : at + size]
                real = got * 2.0**-bits
                if op == "gate" and fields[5]:
                    real = real * 2.0 ** frames[:, (fields[5] >> 6) - 16][:, None]
                at += size
                want = want[: len(real)]
                if (name, n) not in sums:
                    order.append((name, n))
                s = sums.setdefault((name, n), [0.0, 0.0])
                s[0] += float(((real - want) ** 2).sum())
                s[1] += float((want**2).sum())

        sim.tap = tap
        try:
            sim.logits([int(t) for t in row])
        finally:
            sim.tap = None
    return [
        LayerError(name if n == 1 else f"{name}#{n}", float(np.sqrt(off / max(size, 1e-30))))
        for (name, n) in order
        for off, size in [sums[name, n]]
    ]


def plotter() -> Any:
    """matplotlib's pyplot, drawing to files. Raises Error where it is not installed."""
    try:
        import matplotlib
    except ImportError as e:
        raise Error("matplotlib is not installed: pip install 'picoformer[plot]'") from e
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def plot(scores: Scores, path: str | Path) -> None:
    """Draw the scores to a PNG file: confusion matrices, and where the loss arises."""
    pyplot = plotter()
    pairs = [
        (title, matrix, accuracy)
        for title, matrix, accuracy in (
            ("float", scores.confusion_float, scores.accuracy_float),
            ("integers", scores.confusion_int, scores.accuracy_int),
        )
        if matrix is not None
    ]
    figure = pyplot.figure(figsize=(11, 9 if pairs else 4.5), layout="constrained")
    rows = figure.subfigures(2 if pairs else 1, 1, squeeze=False)[:, 0]
    if pairs:
        axes = rows[0].subplots(1, 2, sharey=True)
        labels = scores.labels or []
        for axis, (title, matrix, accuracy) in zip(axes, pairs, strict=True):
            counts = np.array(matrix)
            shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
            axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            axis.set_title(f"{title}: {accuracy:.2%} right")
            axis.set_xticks(range(len(labels)), labels, rotation=35, ha="right")
            axis.set_yticks(range(len(labels)), labels)
            axis.set_xlabel("predicted")
            for (i, j), n in np.ndenumerate(counts):
                if n:
                    color = "white" if shares[i, j] > 0.5 else "black"
                    axis.text(j, i, str(n), ha="center", va="center", color=color, fontsize=9)
        axes[0].set_ylabel("true")
    axis = rows[-1].subplots()
    names = [e.value for e in scores.layers]
    axis.bar(range(len(names)), [100 * e.error for e in scores.layers], color="#3b75af")
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axis.set_ylabel("error, % of the value's size")
    axis.set_title("where the loss arises: the integers against the float model")
    axis.margins(x=0.01)
    try:
        figure.savefig(path, dpi=110, format="png")
    except OSError as e:
        raise Error(f"cannot write {path}: {e.strerror}") from e
    finally:
        pyplot.close(figure)
