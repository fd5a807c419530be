"""What a board on a port is: its own answer, in the raw REPL."""

from __future__ import annotations

import ast

from ..runtime.platforms import OLDEST, Platform
from .errors import DeployError
from .repl import Repl

PROBE = """
import sys
i = sys.implementation
print((i.name, tuple(i.version)[:3], getattr(i, "_mpy", 0), sys.platform,
    getattr(i, "_machine", "")))
"""


def probe(repl: Repl) -> Platform:
    """Ask the board what it is. Raises DeployError where that is no MicroPython we can use."""
    said = repl.run(PROBE)
    try:
        name, version, mpy, platform, machine = ast.literal_eval(said.strip())
    except (ValueError, SyntaxError) as e:
        raise DeployError(f"the board says {said[-200:]!r} to the question what it is") from e
    numbers = ".".join(map(str, version))
    if name != "micropython":
        raise DeployError(
            f"the board runs {name} {numbers}; picoformer needs MicroPython: flash the stock "
            "firmware from micropython.org/download"
        )
    if tuple(version[:2]) < OLDEST:
        raise DeployError(
            f"the board runs MicroPython {numbers}; picoformer needs {OLDEST[0]}.{OLDEST[1]} or "
            "newer: flash a newer firmware from micropython.org/download"
        )
    return Platform(tuple(version), int(mpy), platform, machine)
