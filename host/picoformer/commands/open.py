"""The board that a command is about, opened; mistakes of its users told in full."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator

from ..boards.board import Board


@contextlib.contextmanager
def opened(o: argparse.Namespace) -> Iterator[Board]:
    """The board on --port; closed behind it."""
    with Board(o.port) as board:
        if board.connection.found and not o.quiet and not o.json:
            print(board.connection.found, file=sys.stderr)
        yield board
