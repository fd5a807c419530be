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
    from .boards.errors import (
        BoardError,
        LinkError,
        NoBoardError,
        NoMemoryError,
        NoModelError,
        NoRuntimeError,
        NoSpaceError,
        NoWeightsError,
        PortError,
        ReadOnlyError,
        ScriptError,
    )
    from .boards.selftest import selftest
    from .compile.convert import convert
    from .device.listener import Listener
    from .errors import Error
    from .simulate.evaluation import evaluate
    from .simulate.plot import plot
    from .simulate.simulator import Simulator

from .version import __version__ as __version__

_FROM = {
    "Board": "boards.board",
    "BoardError": "boards.errors",
    "Error": "errors",
    "LinkError": "boards.errors",
    "Listener": "device.listener",
    "NoBoardError": "boards.errors",
    "NoMemoryError": "boards.errors",
    "NoModelError": "boards.errors",
    "NoRuntimeError": "boards.errors",
    "NoSpaceError": "boards.errors",
    "NoWeightsError": "boards.errors",
    "PortError": "boards.errors",
    "ReadOnlyError": "boards.errors",
    "ScriptError": "boards.errors",
    "Simulator": "simulate.simulator",
    "convert": "compile.convert",
    "evaluate": "simulate.evaluation",
    "plot": "simulate.plot",
    "selftest": "boards.selftest",
}
__all__ = [
    "Board",
    "BoardError",
    "Error",
    "LinkError",
    "Listener",
    "NoBoardError",
    "NoMemoryError",
    "NoModelError",
    "NoRuntimeError",
    "NoSpaceError",
    "NoWeightsError",
    "PortError",
    "ReadOnlyError",
    "ScriptError",
    "Simulator",
    "convert",
    "evaluate",
    "plot",
    "selftest",
]
# Modules that documented names were in before.
_BEFORE = ("board", "evaluation", "link")


def __getattr__(name: str) -> Any:
    # Loaded when first used: the command starts at once, and sets numpy up before it is imported.
    if name in _BEFORE:
        return import_module(f".{name}", __name__)
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FROM[name]}", __name__), name)
