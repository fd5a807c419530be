"""How a tool ends: a user's mistake is one line, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from picoformer import Error


def finish(name: str, run: Callable[[], int | None]) -> int:
    """Run a tool; the exit status."""
    try:
        return run() or 0
    except Error as e:
        print(f"{name}: error: {e}", file=sys.stderr)
        return 1
