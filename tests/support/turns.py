"""Which of many like cases the quick tests run: the others are marked slow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some(values: Iterable[Any], every: int, first: int = 0) -> list[Any]:
    """Parameters: the value at `first` and each `every`-th after it are quick.

    Neighbouring tests begin elsewhere, so that each case is in some quick test of its kind.
    """
    return [
        value if i % every == first % every else pytest.param(value, marks=pytest.mark.slow)
        for i, value in enumerate(values)
    ]
