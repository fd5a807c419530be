"""The board that a command is about, opened; mistakes of its users told in full."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..boards.board import Board
from ..boards.errors import NoModelError
from .arguments import nearest
from .printing import Stages


@contextlib.contextmanager
def opened(o: argparse.Namespace) -> Iterator[Board]:
    """The board on --port; closed behind it."""
    with contextlib.ExitStack() as stack:
        with Stages(o) as stages:
            stages.say(f"connecting to {o.port}" if o.port else "connecting")
            board = stack.enter_context(Board(o.port, getattr(o, "cores", 1)))
        try:
            yield board
        except NoModelError as e:
            raise NoModelError(_which(board, str(e), getattr(o, "model", None) or "")) from e


def _which(board: Board, said: str, name: str) -> str:
    """What to say of a model that the board does not have: those that it has."""
    if not name:
        return said
    names = [m.name for m in board.models()]
    if name in names:
        return said
    stem = Path(name).name.removesuffix(".pft")
    near = stem if stem in names else nearest(name, names)
    mean = f"did you mean {near}? " if near else ""
    there = f"it has {', '.join(names)}" if names else "it has none"
    return f"there is no model {name!r} on the board: {mean}{there}; else deploy it first"


def at(o: argparse.Namespace) -> str:
    """The --port of a next command, as it was given."""
    return f" --port {o.port}" if o.port else ""
