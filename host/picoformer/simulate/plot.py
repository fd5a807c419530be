"""A picture of an evaluation's scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.nodes import Array
from .scores import PICTURES, Scores


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
