"""What a reader of a page brings along: data for its walks, and how long they are trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

STEPS = "3"  # minutes, of a step a second: see steps_for_seconds

DATA: dict[str, list[Callable[[Path], None]]] = {}
