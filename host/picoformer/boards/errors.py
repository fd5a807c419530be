"""What can go wrong with a board: the connection to it, or what it was asked for."""

from __future__ import annotations

from ..errors import Error


class LinkError(Error):
    """The connection to the board failed: the cable, the port, or a board that does not answer."""


class SilentError(LinkError):
    """The board does not answer."""


class EndedError(LinkError):
    """The server on the board has ended, because the board was reset or interrupted."""


class LostError(LinkError):
    """The port is gone: unplugged, or the board was reset."""


class BoardError(Error):
    """The board refused a request.

    code, number: what it said, as docs/protocol.md lists them.
    """

    code = 0
    number = 0


class NoSpaceError(BoardError):
    """The board's flash is full."""


class ReadOnlyError(BoardError):
    """The board's filesystem cannot be written to."""


class NoMemoryError(BoardError):
    """The board's heap is too small for the model."""


class NoModelError(BoardError):
    """There is no model of that name on the board."""


class NoWeightsError(BoardError):
    """The weights of this model stay on the PC, and were not given, or are another file's."""


class PortError(LinkError):
    """The serial port is not there, is in use, or cannot be opened."""


class NoBoardError(LinkError):
    """No MicroPython answers on the port."""


class ScriptError(Error):
    """A script failed on the board; the message is the board's traceback."""


class NoRuntimeError(Error):
    """The board has no picoformer runtime, or one that does not start."""


class DeployError(Error):
    """The runtime cannot be put on this board."""


class EmulatorError(Error):
    """An emulated board cannot start, or another command uses its flash."""
