"""Errors of the link to a board, for programs that import them from here.

`picoformer` itself has them, too.
"""

from .boards.errors import (
    BoardError,
    LinkError,
    NoMemoryError,
    NoModelError,
    NoSpaceError,
    NoWeightsError,
)

__all__ = [
    "BoardError",
    "LinkError",
    "NoMemoryError",
    "NoModelError",
    "NoSpaceError",
    "NoWeightsError",
]
