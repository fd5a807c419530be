"""picoformer on the PC: Transformers for microcontrollers with stock MicroPython.

    from picoformer import convert, Simulator
    convert("stories260K.bin", "stories.pft")
    print("".join(Simulator("stories.pft").generate("Once upon a time", 100)))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .boards.board import Board
    from .boards.selftest import selftest
    from .compile.convert import convert
    from .errors import Error
    from .simulate.evaluation import evaluate
    from .simulate.simulator import Simulator

from .version import __version__ as __version__

_FROM = {
    "Board": "boards.board",
    "convert": "compile.convert",
    "Error": "errors",
    "evaluate": "simulate.evaluation",
    "Simulator": "simulate.simulator",
    "selftest": "boards.selftest",
}
__all__ = ["Board", "Error", "Simulator", "convert", "evaluate", "selftest"]


def __getattr__(name: str) -> Any:
    # Loaded when first used: the command starts at once, and sets numpy up before it is imported.
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FROM[name]}", __name__), name)
