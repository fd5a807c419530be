"""What is odd in the data that a classifier is to learn from, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

from ..errors import Error

FEW, LEAST = 30, 8  # examples of a label; of all to train on
TESTED = 20  # examples of a test part: of fewer, one that is wrong moves the figure much
UNEVEN = 10  # times as many has one label as another
SHOWN = 3
LABELS = 1000


def check(where: str, labels: Sequence[str], what: str) -> None:
    """Raises Error where a classifier can learn nothing."""
    counts = Counter(labels)
    if len(labels) < LEAST:
        raise Error(
            f"{where} has {len(labels)} {what}{'s'[: len(labels) != 1]}, expected at least "
            f"{LEAST}, and better {FEW} for each label"
        )
    if len(counts) == 1:
        raise Error(
            f"{where}: all {len(labels)} {what}s have the label {labels[0]!r}; a classifier needs "
            "two labels or more"
        )
    once = sum(n == 1 for n in counts.values())
    if len(counts) > LABELS or once > len(counts) / 2:
        raise Error(
            f"{where} has {len(counts)} labels for {len(labels)} {what}s, {once} of them once; "
            "are the columns label and text, in this order? --columns names others"
        )


def of_labels(labels: Sequence[str], what: str) -> list[str]:
    """Too few, too uneven, and labels that may be one."""
    counts = Counter(labels)
    out = []
    few = {label: n for label, n in counts.items() if n < FEW}
    if few:
        out.append(
            f"few {what}s: {_listed(few)}; take {FEW} or more of each, a hundred do better"
        )
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[most] > UNEVEN * counts[least]:
        out.append(
            f"uneven: {most!r} has {counts[most]} {what}s, {least!r} {counts[least]}; a model "
            "prefers what it saw often"
        )
    for one, other in _alike(list(counts)):
        out.append(
            f"the labels {one!r} ({counts[one]}) and {other!r} ({counts[other]}) may be one, "
            "spelled in two ways"
        )
    return out


def of_test(n: int, what: str) -> list[str]:
    """A test part whose figure says little."""
    if not 0 < n < TESTED:
        return []
    many = "s" * (n > 1)
    return [
        f"the test part has {n} {what}{many}: its figure says little; {TESTED} or more would do"
    ]


def of_texts(keys: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Doubles, and the same under two labels."""
    out = []
    by: dict[str, set[str]] = {}
    for key, label in zip(keys, labels, strict=True):
        by.setdefault(key, set()).add(label)
    if doubles := len(keys) - len(by):
        many = "s appear" if doubles > 1 else " appears"
        out.append(f"{doubles} text{many} more than once; all copies go to one part")
    torn = [key for key, some in by.items() if len(some) > 1]
    if torn:
        first = torn[0]
        out.append(
            f"{len(torn)} text{'s have' if len(torn) > 1 else ' has'} two labels: "
            f"{first[:60]!r} is "
            + " and ".join(map(repr, sorted(by[first])))
        )
    return out


def _listed(counts: dict[str, int]) -> str:
    """Labels with their counts, the fewest first, not all of many."""
    rows = sorted(counts.items(), key=lambda r: r[1])
    said = ", ".join(f"{label!r} has {n}" for label, n in rows[:SHOWN])
    return said + (f" and {len(rows) - SHOWN} more labels" if rows[SHOWN:] else "")


def _alike(labels: list[str]) -> list[tuple[str, str]]:
    """Pairs of labels that differ in case, marks or a letter."""
    plain = ["".join(c for c in label.casefold() if c.isalnum()) for label in labels]
    found = []
    for i, one in enumerate(plain):
        for j in range(i):
            other = plain[j]
            near = min(len(one), len(other)) > 4 and abs(len(one) - len(other)) < 2
            # Numbers tell labels apart.
            if near and [c for c in one if c.isdigit()] == [c for c in other if c.isdigit()]:
                near = SequenceMatcher(None, one, other).ratio() > 1 - 1.5 / max(len(one), 1)
            else:
                near = False
            if near or one and one == other:
                found.append((labels[j], labels[i]))
    return found[:SHOWN]
