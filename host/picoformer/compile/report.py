"""What `convert` says that it did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .compiler import Compiled
from .distill import Training
from .matrices import Matrix4


@dataclass
class Report:
    """What `convert` did. Sizes in bytes, errors relative to each matrix's root mean square.

    errors and bits: by the value that the matrix makes.
    """

    path: str
    name: str
    bytes: int
    sections: dict[str, int]
    parameters: int
    context: int
    batch: int
    cache_bytes: int
    arena_bytes: int
    errors: dict[str, float] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)
    calibration: str = ""
    text: bool = True  # False: without a tokenizer, for token ids alone
    notes: list[str] = field(default_factory=list)  # what is to be known besides
    distilled: Training | None = None  # what training came to
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        if self.distilled is None:
            del found["distilled"]
        return found


def errors(compiled: Compiled) -> dict[str, float]:
    """The error of each matrix."""
    found = {}
    for value, (matrix, weight) in compiled.matrices.items():
        off = matrix.value - weight
        found[value] = float(np.sqrt((off**2).mean() / max((weight**2).mean(), 1e-30)))
    return found


def bits(compiled: Compiled) -> dict[str, int]:
    """The bits of each matrix."""
    return {k: 4 if isinstance(m, Matrix4) else 8 for k, (m, _) in compiled.matrices.items()}
