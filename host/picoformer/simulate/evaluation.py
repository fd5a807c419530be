"""How far the integers are from the float model, and how good both are, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .. import importers
from ..data.examples import Example, random_examples, read_examples
from ..device.answers import answer
from ..errors import Error
from ..graph.float_model import FloatModel, log_softmax, sample
from ..graph.nodes import Array, Graph
from ..tokenizers.tokenizer import Tokenizer, build
from . import metrics
from .simulator import Simulator

SEQUENCES = 8  # that a generative model writes itself when there is no data
LAYER_SEQUENCES = 4  # that the report on layers is taken from
RANDOM = 64  # random inputs, for what reads them and has no data
SHOWN = 6  # texts that were written, beside the wanted ones
PICTURES = (4, 8)  # rows and columns of images in the plot


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
    accuracy_*: share of examples whose label is predicted. exact_*, cer_*, chrf_*: texts equal to
    a wanted one (a share), character error rate, chrF in per cent; examples: a few of them.
    cosine, cosine_min: mean and least cosine between the embeddings of both. confusion_*: counts,
    a row for each true label. pictures: images with the true label and the predicted ones.
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
    exact_float: float | None = None
    exact_int: float | None = None
    cer_float: float | None = None
    cer_int: float | None = None
    chrf_float: float | None = None
    chrf_int: float | None = None
    cosine: float | None = None
    cosine_min: float | None = None
    labels: list[str] | None = None
    confusion_float: list[list[int]] | None = None
    confusion_int: list[list[int]] | None = None
    layers: list[LayerError] = field(default_factory=list)
    examples: list[dict[str, str]] = field(default_factory=list)
    pictures: list[tuple[Array, str, str, str]] = field(default_factory=list, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The figures that apply; not the pictures."""
        found = asdict(replace(self, pictures=[]))
        return {k: v for k, v in found.items() if v is not None and k != "pictures"}


def evaluate(
    model: str | Path,
    reference: str | Path,
    *,
    data: str | Path | None = None,
    tokenizer: str | Path | None = None,
    config: str | Path | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Scores:
    """Score a model file against the float checkpoint that it was made of.

    data: a file of examples (`examples.read_examples` says of what form); by default text that the
    float model writes, or random tokens or pixels for a model that reads. tokenizer, config: as
    convert's. progress: wraps the iteration over examples. Raises Error.
    """
    sim = Simulator(model)
    graph, vocabulary = importers.read(reference, tokenizer, config)
    parameters = sim.model.meta.get("parameters", graph.parameters)
    if graph.parameters != parameters or build(vocabulary) != sim.tokenizer.section:
        raise Error(
            f"{reference} ({graph.parameters:,} parameters) is not the checkpoint that {model} "
            f"({parameters:,} parameters) was made of, or its tokenizer is another one"
        )
    context = min(sim.context, graph.context)
    if data is not None:
        rows, said = read_examples(data, sim.tokenizer, context, graph), str(data)
    elif graph.task == "generate":
        ids, _ = sample(graph, SEQUENCES, context, seed=1)
        rows, said = [Example(row) for row in ids], "text that the float model wrote"
    else:
        rows = random_examples(graph, RANDOM, context, seed=1)
        said = "random pixels" if graph.image else "random tokens"
    score = {
        "generate": _generate, "classify": _classify, "embed": _embed, "translate": _translate,
        "answer": _answer,
    }[graph.task]  # fmt: skip
    scores = Scores(graph.task, said, len(rows), sum(len(e.tokens) for e in rows))
    score(scores, sim, graph, rows, progress)
    scores.layers = layer_errors(sim, graph, rows[:LAYER_SEQUENCES])
    return scores


def _integers(sim: Simulator, e: Example) -> Array:
    """The integers' results for an example, (n, outputs)."""
    if e.pixels is not None:
        sim._run([0] * len(e.tokens), 0, patches=e.tokens)
        return sim._result()
    if e.source is not None:
        sim.source(e.source.tolist())
    sim._run(sim._check(e.tokens.tolist()), 0, None if e.types is None else e.types.tolist())
    return sim._result()


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
            e.run(FloatModel(graph)), _integers(sim, e) * sim.logit_scale
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


def _classify(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], progress: Any
) -> None:
    targets = [e.wanted[0] for e in rows if e.wanted]
    unknown = sorted(set(targets) - set(graph.labels))
    if unknown:
        raise Error(
            f"{scores.data}: label {unknown[0]!r} is not one of the model's: "
            + ", ".join(graph.labels)
        )
    predictions = _Predictions()
    best: list[tuple[int, int]] = []
    for e in progress(rows):
        exact, ours = predictions.add(
            e.run(FloatModel(graph)), _integers(sim, e) * sim.logit_scale
        )
        best.append((int(exact.argmax()), int(ours.argmax())))
    predictions.put(scores)
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
        if token in (graph.eos, graph.bos):
            break
        tokens.append(token)
    return tokenizer.decode(tokens[1:])


def _answer(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], progress: Any
) -> None:
    predictions = _Predictions()
    floats, ints, texts = [], [], []
    for e in progress(rows):
        predictions.add(e.run(FloatModel(graph)).T, _integers(sim, e).T * sim.logit_scale)
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
        ours = _integers(sim, e)[0].astype(np.float64)
        cosines.append(float(exact @ ours / np.sqrt((exact @ exact) * (ours @ ours))))
    scores.cosine = float(np.mean(cosines))
    scores.cosine_min = float(np.min(cosines))


def layer_errors(sim: Simulator, graph: Graph, rows: list[Example]) -> list[LayerError]:
    """The error of each value in the program's order, over some examples.

    A value that changes in place comes once for every change. Empty if the file does not name
    its values.
    """
    named: list[list[Any]] = sim.model.meta.get("values", [])
    if len(named) != len(sim.model.steps):
        return []
    order: list[tuple[str, int]] = []
    sums: dict[tuple[str, int], list[float]] = {}
    for e in rows:
        exact: dict[str, list[Array]] = {}
        model = FloatModel(graph)
        model.tap = lambda name, y, seen=exact: seen.setdefault(name, []).append(y[0])
        e.run(model)
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
            _integers(sim, e)
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
    """Draw the scores to a PNG file: confusion matrices, pictures, and where the loss arises."""
    pyplot = plotter()
    pairs = [
        (title, matrix, accuracy)
        for title, matrix, accuracy in (
            ("float", scores.confusion_float, scores.accuracy_float),
            ("integers", scores.confusion_int, scores.accuracy_int),
        )
        if matrix is not None
    ]
    parts = 1 + bool(pairs) + bool(scores.pictures)
    figure = pyplot.figure(figsize=(11, 4.5 * parts), layout="constrained")
    rows = figure.subfigures(parts, 1, squeeze=False)[:, 0]
    if scores.pictures:
        for axis, (pixels, true, exact, ours) in zip(
            rows[-2].subplots(*PICTURES).flat, scores.pictures, strict=False
        ):
            axis.imshow(pixels, cmap="gray" if pixels.ndim == 2 or pixels.shape[2] == 1 else None)
            wrong = f", not {true}" if true and ours != true else ""
            other = f"\nfloat: {exact}" if exact != ours else ""
            color = "firebrick" if wrong else "black"
            axis.set_title(ours + wrong + other, fontsize=7, color=color)
        for axis in rows[-2].axes:
            axis.set_axis_off()
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
