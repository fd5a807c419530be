"""picoformer on the PC: Transformers for microcontrollers with stock MicroPython.

    from picoformer import convert, Simulator
    convert("stories260K.bin", "stories.pft")
    print("".join(Simulator("stories.pft").generate("Once upon a time", 100)))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .board import Board
    from .converter import convert
    from .diagnosis import selftest
    from .errors import Error
    from .evaluation import evaluate
    from .simulator import Simulator

__version__ = "0.1.0"

_FROM = {
    "Board": "board",
    "convert": "converter",
    "Error": "errors",
    "evaluate": "evaluation",
    "Simulator": "simulator",
    "selftest": "diagnosis",
}
__all__ = ["Board", "Error", "Simulator", "convert", "evaluate", "selftest"]


def __getattr__(name: str) -> Any:
    # Loaded when first used: the command starts at once, and sets numpy up before it is imported.
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FROM[name]}", __name__), name)
