"""The tests' random checkpoints and graphs, which the sweeps change and run: tests/support.

Its modules import each other by their bare names, as pytest lets them.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from tools import ROOT

SUPPORT = str(ROOT / "tests" / "support")
if SUPPORT not in sys.path:  # pytest has it there, a sweep run by itself has not
    sys.path.append(SUPPORT)

architectures: Any = importlib.import_module("architectures")
models: Any = importlib.import_module("models")
ggufs: Any = importlib.import_module("ggufs")
relatives: Any = importlib.import_module("relatives")
spm: Any = importlib.import_module("spm")
uartboard: Any = importlib.import_module("uartboard")
