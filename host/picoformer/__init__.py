"""Transformers on microcontrollers with stock MicroPython: the side of the PC.

    from picoformer import Board, Simulator, convert

    convert("models/stories", "stories.pft")                # a checkpoint becomes one file
    sim = Simulator("stories.pft")                          # it runs here as on a board
    print("".join(sim.generate("Once upon a time", 50)))

    with Board() as board:                                  # the board that is connected
        name = board.deploy("stories.pft")
        print("".join(board.generate(name, "Once upon a time", 50)))   # the same text

convert     a checkpoint to a model file
evaluate    measure what that file lost; plot draws it
Simulator   run a model file on this PC, with a board's integers
Board       put models on a board, and run them there
Listener    find events in a sound that goes on
selftest    compare each step of a board with the simulator
Error       what all of them raise; the other errors are kinds of it

docs/api.md has all of it. The command `picoformer` does the same in a shell.
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


def __dir__() -> list[str]:
    # For help() and completion, which look for names that nobody has used yet.
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # Loaded when first used: the command starts at once, and sets numpy up before it is imported.
    if name in _BEFORE:
        return import_module(f".{name}", __name__)
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FROM[name]}", __name__), name)
