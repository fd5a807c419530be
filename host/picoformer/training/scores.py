"""How good a model is, in words: shares with their standard error."""

from __future__ import annotations

import numpy as np


def share(right: int, total: int) -> str:
    """A share with its standard error, in words."""
    part = right / total
    error = (part * (1 - part) / total) ** 0.5
    return f"{100 * part:.2f} % ± {100 * error:.2f} ({right} of {total})"


def right(logits: np.ndarray, labels: np.ndarray) -> int:
    """How many labels are those of the largest logits."""
    return int((logits.argmax(1) == labels).sum())


def accuracy(logits: np.ndarray, labels: np.ndarray) -> str:
    """Accuracy with its standard error, in words."""
    return share(right(logits, labels), len(labels))
