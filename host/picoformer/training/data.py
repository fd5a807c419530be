"""Data in training: parts that a hash decides, batches, rows of one length.

Importing this needs no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

PAD = 0  # what rows are filled up with


def hashed_part(text: str, one_in: int) -> str:
    """Which part a text belongs to: a hash decides, one in so many test, as many validation."""
    bucket = int(hashlib.sha256(text.encode()).hexdigest(), 16) % one_in
    return {0: "test", 1: "validation"}.get(bucket, "train")


def batches(lengths: np.ndarray, size: int, seed: int) -> Iterator[np.ndarray]:
    """One epoch of index arrays, each of sentences of about one length, in random order."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    blocks = [order[i : i + 40 * size] for i in range(0, len(order), 40 * size)]
    cut = []
    for block in blocks:
        block = block[np.argsort(lengths[block], kind="stable")]
        cut += [block[i : i + size] for i in range(0, len(block), size)]
    for i in generator.permutation(len(cut)):
        yield cut[i]


class Epochs:
    """The batches of epoch after epoch, each in an order of its own; `each`: steps of one."""

    def __init__(self, lengths: Sequence[int] | np.ndarray, size: int, seed: int) -> None:
        self.lengths, self.size, self.seed = np.asarray(lengths), size, seed
        self.each = -(-len(lengths) // size)
        self._epoch, self._batches = -1, list[np.ndarray]()

    def rows(self, step: int) -> np.ndarray:
        """The indices of a step's rows; steps count from 1."""
        epoch, i = divmod(step - 1, self.each)
        if epoch != self._epoch:
            found = batches(self.lengths, self.size, self.seed * 1000 + epoch)
            self._epoch, self._batches = epoch, list(found)
        return self._batches[i]


def by_length(rows: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """The indices of all rows, so many at a time, the shortest rows first."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def pad(rows: Sequence[Any], width: int = 0) -> torch.Tensor:
    """Lists of ids -> (rows, width) int64, with PAD after the end; width 0: the longest one's."""
    import torch

    ids = np.full((len(rows), width or max(map(len, rows))), PAD, np.int64)
    for line, row in zip(ids, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(ids)
