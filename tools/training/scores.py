"""How good a classifier is: right answers with 8-bit weights as well, confusions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from picoformer.training.scores import accuracy, right


def classification(
    labels: np.ndarray, logits: np.ndarray, rounded: np.ndarray, confused: np.ndarray
) -> dict[str, Any]:
    """Right answers of a model, and with 8-bit rows; the confusion (rows: true) of `confused`."""
    confusion = np.zeros((logits.shape[1],) * 2, int)
    np.add.at(confusion, (labels, confused.argmax(1)), 1)
    return {
        "total": len(labels),
        "right": right(logits, labels),
        "right_int8_weights": right(rounded, labels),
        "accuracy": accuracy(logits, labels),
        "accuracy_int8_weights": accuracy(rounded, labels),
        "confusion": confusion.tolist(),
    }


def print_classification(
    part: str, result: dict[str, Any], names: Sequence[str], width: int
) -> None:
    """A classification's figures, and its confusion with the classes' names, so wide."""
    confusion = result.pop("confusion")
    print(f"{part}: {json.dumps(result, indent=2, ensure_ascii=False)}\nconfusion:")
    for name, line in zip(names, confusion, strict=True):
        print(f"{name:>{width}} " + " ".join(f"{n:4}" for n in line))
