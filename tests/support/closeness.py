"""How close a result is to another."""

from __future__ import annotations

import numpy as np


def cosine(a, b) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
