"""A picture of an evaluation's scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.nodes import Array
from .scores import PICTURES, Scores

CURVES = 6  # outputs, or examples of many outputs, that are drawn
EXAMPLES = 400  # of a curve: more is no line
RIGHT = {"label": "right", "color": "0.55", "linewidth": 3}
FLOAT = {"label": "float", "color": "#3b75af", "linewidth": 1.5}
INTEGERS = {"label": "integers", "color": "firebrick", "linewidth": 1, "linestyle": "--"}
DOTS = {"linestyle": "", "marker": ".", "markersize": 3}


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
    """Draw scores to a PNG file: confusion matrices, pictures, predictions, layers.

    scores: what `evaluate` returned. path: the file to write.

    Raises Error if matplotlib is missing (`pip install 'picoformer[plot]'`).
    """
    pyplot = plotter()
    pairs = [
        (title, matrix, accuracy)
        for title, matrix, accuracy in (
            ("float", scores.confusion_float, scores.accuracy_float),
            ("integers", scores.confusion_int, scores.accuracy_int),
        )
        if matrix is not None
    ]
    tall = [4.5] * bool(scores.pictures) + [4.5]
    if pairs:
        tall.insert(0, max(4.5, 0.3 * len(pairs[0][1])))
    if scores.predictions:
        tall.insert(0, _height(scores))
    figure = pyplot.figure(figsize=(11, sum(tall)), layout="constrained")
    rows = figure.subfigures(len(tall), 1, squeeze=False, height_ratios=tall)[:, 0]
    if scores.predictions:
        _predictions(rows[0], scores)
    if scores.pictures:
        _pictures(rows[-2].subplots(*PICTURES).reshape(-1), scores)
    if pairs:
        axes = rows[0].subplots(1, 2, sharey=True)
        for axis, (title, matrix, accuracy) in zip(axes, pairs, strict=True):
            axis.set_title(f"{title}: {accuracy:.2%} right")
            _confusion(axis, np.array(matrix), scores.labels or [])
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


def _pictures(axes: Any, scores: Scores) -> None:
    for axis in axes:
        axis.set_axis_off()
    for axis, (pixels, true, exact, ours) in zip(axes, scores.pictures, strict=False):
        axis.imshow(pixels, cmap="gray" if pixels.ndim == 2 or pixels.shape[2] == 1 else None)
        wrong = f", not {true}" if true and ours != true else ""
        other = f"\nfloat: {exact}" if exact != ours else ""
        color = "firebrick" if wrong else "black"
        axis.set_title(ours + wrong + other, fontsize=7, color=color)


def _few(scores: Scores) -> int:
    """Outputs that are drawn over the examples; 0 where each example is a curve of its own."""
    assert scores.predictions
    examples, outputs = scores.predictions[1].shape
    return outputs if outputs <= CURVES or scores.labels or examples < 3 else 0


def _height(scores: Scores) -> float:
    return 3.0 * min(_few(scores) or CURVES // 2, CURVES)


def _predictions(figure: Any, scores: Scores) -> None:
    """Each output over the examples, and against what is right; of many, some examples."""
    assert scores.predictions
    right, floats, ints = scores.predictions
    names = scores.labels or [f"output {i}" for i in range(floats.shape[1])]
    if not _few(scores):
        _forecasts(figure, right, floats, ints)
        return
    shown = min(_few(scores), CURVES)
    axes = figure.subplots(shown, 2, squeeze=False, width_ratios=(3, 1))
    some = slice(0, EXAMPLES)
    for i, (curve, cloud) in enumerate(axes):
        for v, style in ((right, RIGHT), (floats, FLOAT), (ints, INTEGERS)):
            if v is not None:
                curve.plot(v[some, i], **style)
        curve.set_ylabel(names[i])
        curve.margins(x=0.01)
        against = floats if right is None else right
        if right is not None:
            cloud.plot(right[:, i], floats[:, i], **(FLOAT | DOTS))
        cloud.plot(against[:, i], ints[:, i], **(INTEGERS | DOTS))
        both = [float(f(v[:, i])) for f in (np.min, np.max) for v in (against, ints)]
        cloud.plot([min(both), max(both)], [min(both), max(both)], color="0.6", linewidth=0.8)
        cloud.set_xlabel("float" if right is None else "right")
        cloud.set_ylabel("predicted")
    axes[0][0].legend(fontsize=8)
    axes[-1][0].set_xlabel("example")
    axes[0][0].set_title(_said(scores))


def _forecasts(figure: Any, right: Array | None, floats: Array, ints: Array) -> None:
    """Some examples, each with its numbers in their order."""
    n = min(CURVES, len(floats))
    axes = figure.subplots(-(-n // 2), 2, squeeze=False).reshape(-1)
    for axis in axes[n:]:
        axis.set_axis_off()
    for axis, i in zip(axes, (k * len(floats) // n for k in range(n)), strict=False):
        for v, style in ((right, RIGHT), (floats, FLOAT), (ints, INTEGERS)):
            if v is not None:
                axis.plot(v[i], **style)
        axis.set_title(f"example {i}", fontsize=8)
    axes[0].legend(fontsize=8)


def _said(scores: Scores) -> str:
    if scores.mae_float is None:
        return f"the integers are off by {scores.off_mean:.2%} of the deviation, the mean"
    return f"mean error: float {scores.mae_float:.4g}, integers {scores.mae_int:.4g}"


def _confusion(axis: Any, counts: Array, labels: list[str]) -> None:
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(labels)), labels, rotation=35, ha="right")
    axis.set_yticks(range(len(labels)), labels)
    axis.set_xlabel("predicted")
    for (i, j), n in np.ndenumerate(counts):
        if n:
            color = "white" if shares[i, j] > 0.5 else "black"
            axis.text(j, i, str(n), ha="center", va="center", color=color, fontsize=9)
