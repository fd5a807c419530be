"""How good written text is: exact matches, character error rate, chrF; and predicted numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ..graph.nodes import Array

ORDERS = 6  # of chrF's n-grams


def exact(found: list[str], wanted: list[list[str]]) -> int:
    """How many texts are one of the several that are right, character for character."""
    return sum(text in several for text, several in zip(found, wanted, strict=True))


def distance(a: str, b: str) -> int:
    """Levenshtein's: the fewest characters to insert, delete or replace to make b of a."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def cer(found: list[str], wanted: list[list[str]]) -> float:
    """Character error rate: the distances' sum over the sum of the right texts' lengths.

    Of several right texts, the one that a text is nearest to for its length.
    """
    off = size = 0
    for text, several in zip(found, wanted, strict=True):
        pairs = [(distance(text, one), max(len(one), 1)) for one in several]
        least = min(pairs, key=lambda pair: pair[0] / pair[1])
        off, size = off + least[0], size + least[1]
    return off / max(size, 1)


def ngrams(text: str) -> list[Counter[str]]:
    """Of the orders 1 to 6, over the characters other than spaces."""
    text = "".join(text.split())
    return [
        Counter(text[i : i + n] for i in range(len(text) - n + 1)) for n in range(1, ORDERS + 1)
    ]


def chrf(found: list[str], wanted: list[list[str]]) -> float:
    """Corpus chrF2 (Popović 2015) in per cent: F2 of character n-grams.

    Of several right texts, the one that a text scores best with counts.
    """
    total = np.zeros((ORDERS, 3), np.int64)
    for text, several in zip(found, wanted, strict=True):
        total += max((_common(text, one) for one in several), key=_f2)
    return _f2(total)


def _common(text: str, one: str) -> Array:
    """(orders, 3): n-grams of the text, of the right one, and common ones."""
    rows = []
    for ours, theirs in zip(ngrams(text), ngrams(one), strict=True):
        rows.append([ours.total(), theirs.total(), (ours & theirs).total()])
    return np.array(rows, np.int64)


def _f2(counts: Array) -> float:
    """Over the orders that both sides have."""
    used = counts[(counts[:, 0] > 0) & (counts[:, 1] > 0)]
    if not len(used):
        return 0.0
    precision = float(np.mean(used[:, 2] / used[:, 0]))
    recall = float(np.mean(used[:, 2] / used[:, 1]))
    if precision + recall == 0:
        return 0.0
    return 100 * 5 * precision * recall / (4 * precision + recall)


# Numbers (examples, outputs)


def mae(found: Array, right: Array) -> float:
    """The mean of the errors' sizes."""
    return float(np.abs(found - right).mean())


def rmse(found: Array, right: Array) -> float:
    """The root of the mean of the errors' squares."""
    return float(np.sqrt(((found - right) ** 2).mean()))


def r2(found: Array, right: Array) -> float | None:
    """1 less the errors' squares over those of the right numbers' distances from their mean.

    The mean over the outputs whose right numbers differ; None if there are none such.
    """
    around = ((right - right.mean(0)) ** 2).sum(0)
    off = ((found - right) ** 2).sum(0)
    some = around > 0
    return float(np.mean(1 - off[some] / around[some])) if some.any() else None


def off(floats: Array, ints: Array) -> tuple[float, float]:
    """Mean and largest difference, each in its output's deviation over the examples.

    Of one that does not vary, as that of a single example, in its root mean square.
    """
    deviation = floats.std(0)
    size = np.sqrt((floats**2).mean(0))
    unit = np.where(deviation > 1e-9 * size, deviation, np.where(size > 0, size, 1))
    parts = np.abs(ints - floats) / unit
    return float(parts.mean()), float(parts.max())
