"""Which examples a model learns from, which it is chosen by, and which test it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

PARTS = ("train", "validation", "test")
MOST = 2000  # examples of a test part: the integers of all of them are computed
SHARE = 0.1  # of the examples of a label for validation, and as many for the test


def digest(key: str) -> int:
    """A number that depends on nothing but the key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def digest_of(*values: Any) -> str:
    """Of whatever JSON holds."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def split(
    keys: Sequence[str], labels: Sequence[str], given: Sequence[str] = ()
) -> list[str]:
    """The part of each example. What has the same key is on one side.

    given: the parts that are known already, "" where one is not. Of each label a tenth of the
    keys, those whose hashes are least, test; the next tenth validate. Where there is a test part
    already none is added, and likewise with validation.
    """
    given = given or [""] * len(keys)
    known = {part for part in given if part}
    wanted = [part for part in ("test", "validation") if part not in known]
    # A training part that is named gives what is lacking.
    open_to = ("", "train") if known <= {"train", "test"} else ("",)
    first: dict[str, str] = {}
    for key, label, part in zip(keys, labels, given, strict=True):
        if part in open_to:
            first.setdefault(key, label)
    by: dict[str, list[str]] = {}
    for key, label in first.items():
        by.setdefault(label, []).append(key)
    part_of: dict[str, str] = {}
    for some in by.values():
        some.sort(key=digest)
        n = max(1, round(SHARE * len(some))) if len(some) > len(wanted) else 0
        for i, part in enumerate(wanted):
            part_of |= dict.fromkeys(some[i * n:(i + 1) * n], part)
    return [
        part_of.get(key, part or "train") if part in open_to else part
        for key, part in zip(keys, given, strict=True)
    ]


def spread(found: list[Any], most: int = MOST) -> list[Any]:
    """All, or so many of them, from everywhere."""
    n = min(most, len(found))
    return [found[i * len(found) // n] for i in range(n)]
