"""Figures: how they are averaged, printed and kept."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def middle(values: Sequence[float]) -> float:
    """The mean without the lowest and the highest quarter."""
    values = sorted(values)
    cut = len(values) // 4
    return statistics.fmean(values[cut : len(values) - cut])


def number(value: float) -> str:
    """A number as a table shows it: small ones that are not whole with one decimal."""
    return f"{value:,.1f}" if abs(value) < 1000 and value != int(value) else f"{value:,.0f}"


def speeds(us: Sequence[float], first: int = 128) -> dict[str, float]:
    """Tokens a second of a text from the microseconds of each token.

    "all" and "first" (that many positions) are means over time; "last" over the last 8.
    """
    return {
        "all": round(1e6 * len(us) / sum(us), 1),
        "first": round(1e6 * len(us[:first]) / sum(us[:first]), 1),
        "last": round(1e6 * len(us[-8:]) / sum(us[-8:]), 1),
    }


def position_table(us: Sequence[float]) -> str:
    """Tokens a second at every 32nd position, each a mean over eight."""
    lines = [f"{'position':>9}{'tokens/s':>10}"]
    for at in [*range(0, len(us) - 8, 32), len(us) - 8]:
        some = us[max(at, 0) : at + 8]
        lines.append(f"{max(at, 0):>9}{1e6 * len(some) / sum(some):>10,.1f}")
    return "\n".join(lines)


def save(path: str | Path, result: dict[str, Any]) -> None:
    """Write a result as JSON that can be read and compared: a long list is one line."""
    Path(path).write_text(dumps(result) + "\n", encoding="utf-8")


def dumps(value: Any, indent: int = 1) -> str:
    """JSON with a line for each entry, but lists of numbers and small objects in one."""
    flat = json.dumps(value, ensure_ascii=False)
    nested = isinstance(value, dict | list) and value and len(flat) > 88
    if not nested or (isinstance(value, list) and not isinstance(value[0], dict | list)):
        return flat
    pad = "\n" + " " * indent
    if isinstance(value, list):
        return f"[{pad}" + f",{pad}".join(dumps(v, indent + 1) for v in value) + pad[:-1] + "]"
    items = (f"{json.dumps(k)}: {dumps(v, indent + 1)}" for k, v in value.items())
    return f"{{{pad}" + f",{pad}".join(items) + pad[:-1] + "}"
