"""What goes wrong with an emulated board."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from picoformer import Error


class RP2040Error(RuntimeError):
    """The emulated board could not be built, booted or talked to."""


class BoardError(RP2040Error):
    """A script raised on the board. The message is the board's traceback.

    `output` is what the script had printed before.
    """

    def __init__(self, traceback: str, output: str) -> None:
        super().__init__(traceback)
        self.output = output


@contextmanager
def mistakes() -> Iterator[None]:
    """What a board says of a user's mistake is an Error; a defect of ours stays what it is."""
    try:
        yield
    except (RP2040Error, TimeoutError) as e:
        last = str(e).rpartition("\n")[2]
        if isinstance(e, BoardError) and not last.startswith(("Error: ", "MemoryError: ")):
            raise
        raise Error(last) from e
