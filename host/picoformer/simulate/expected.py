"""Results that a user's framework gave, against those of the float graph and of the integers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..data.examples import Example
from ..errors import Error
from ..graph.float_model import FloatModel
from ..graph.nodes import Array, Graph
from .scores import Scores
from .simulator import Simulator

_SUM, _LEAST = 1e-3, 1e-30  # of probabilities: how far from 1 they add up, and the least
ALIKE = 0.999  # the least cosine of results that are those of one model, but for rounding


def compare(
    scores: Scores, sim: Simulator, graph: Graph, rows: list[Example], path: str | Path,
    progress: Callable[[Iterable[Any]], Iterable[Any]],
) -> None:  # fmt: skip
    """Score the results of examples by those in a .npy file. Raises Error.

    The file: of each example its results (positions, outputs), as the framework gives them for a
    batch, logits or probabilities; examples of one result each may have no positions, and one
    example may be alone.
    """
    results = [
        (e.run(FloatModel(graph)), sim.machine.example(e) * sim.logit_scale)
        for e in progress(rows)
    ]
    right = _load(Path(path), [r.shape for r, _ in results])
    values = [right, *(np.concatenate(part) for part in zip(*results, strict=True))]
    if graph.task == "predict":
        scores.expect_cosine_float, scores.expect_cosine_int = _alike(*values)
        scores.expect_off_float, scores.expect_off_int = _off(*values)
        return
    if graph.task == "embed":  # whose length says nothing
        values = [v / np.linalg.norm(v, axis=-1, keepdims=True) for v in values]
    elif (right >= 0).all() and np.abs(right.sum(-1) - 1).max() < _SUM:
        # Probabilities tell logits but for a number that is added to all of them.
        values[0] = np.log(np.maximum(right, _LEAST))
        values = [v - v.mean(-1, keepdims=True) for v in values]
    right, floats, ints = values
    scores.expect_cosine_float = _cosine(right, floats)
    scores.expect_cosine_int = _cosine(right, ints)
    scores.expect_off_float, scores.expect_off_int = _off(right, floats, ints)
    if graph.task != "embed":
        along = 0 if graph.task == "answer" else -1
        best = [v.argmax(along) for v in values]
        scores.expect_top1_float = float(np.mean(best[0] == best[1]))
        scores.expect_top1_int = float(np.mean(best[0] == best[2]))


def _alike(*values: Array) -> tuple[float, float]:
    """The cosines of the first of three arrays of numbers with the others, less its mean.

    The mean of each output, where there are several examples: it is what tells them apart.
    """
    mean = values[0].mean(0) if len(values[0]) > 1 else 0
    right, *others = (v.reshape(1, -1) for v in (v - mean for v in values))
    floats, ints = (_cosine(right, v) for v in others)
    return floats, ints


def _off(right: Array, floats: Array, ints: Array) -> tuple[float, float]:
    """The largest differences."""
    return float(np.abs(right - floats).max()), float(np.abs(right - ints).max())


def _cosine(a: Array, b: Array) -> float:
    """The mean of the cosines of rows."""
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return float(np.mean((a * b).sum(-1) / np.maximum(lengths, 1e-30)))


def _load(path: Path, shapes: list[tuple[int, ...]]) -> Array:
    """The results of all examples, one behind the other (positions, outputs)."""
    try:
        right = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as e:
        raise Error(f"cannot read {path}: {e}; expected what numpy.save writes") from e
    if not isinstance(right, np.ndarray) or right.dtype.kind != "f":
        seen = right.dtype if isinstance(right, np.ndarray) else "several arrays"
        raise Error(f"{path}: {seen}, expected one array of floats")
    positions, outputs = shapes[0]
    full = (len(shapes), positions, outputs)
    same = all(s == shapes[0] for s in shapes)
    legal: list[tuple[int, ...]] = [full] if same else []
    if same and positions == 1:
        legal.append((len(shapes), outputs))
    if len(shapes) == 1:
        legal += [(positions, outputs), (outputs,)] if positions == 1 else [(positions, outputs)]
    if not same:
        raise Error(
            f"{path}: the examples are of different lengths, {min(shapes)[0]} and "
            f"{max(shapes)[0]}; expected one, or as many positions in each"
        )
    if right.shape not in legal:
        raise Error(
            f"{path} has shape {right.shape}, the model gives {full}: examples, positions and "
            "outputs; is what it read the same (BOS, padding)?"
        )
    if not np.isfinite(right).all():
        raise Error(f"{path} has infinite or NaN values")
    return right.reshape(-1, outputs).astype(np.float64)
