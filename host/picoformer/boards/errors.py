"""What can go wrong with a board: the connection to it, or what it was asked for."""

from __future__ import annotations

from ..errors import Error


class LinkError(Error):
    """The link to the board failed."""


class SilentError(LinkError):
    """The board does not answer."""


class EndedError(LinkError):
    """The server on the board has ended, because the board was reset or interrupted."""


class LostError(LinkError):
    """The port is gone: unplugged, or the board was reset."""


class BoardError(Error):
    """The board refused a request. `code` and `number` are the protocol's."""

    code = 0
    number = 0


class NoSpaceError(BoardError):
    """The board's file system is full."""


class ReadOnlyError(BoardError):
    """The board's file system takes nothing."""


class NoMemoryError(BoardError):
    """The board's heap is too small."""


class NoModelError(BoardError):
    """There is no such model on the board."""


class NoWeightsError(BoardError):
    """The board wants weights that were not given, or those of another file."""


class PortError(LinkError):
    """The port cannot be opened."""


class NoBoardError(LinkError):
    """No MicroPython answers on the port."""


class ScriptError(Error):
    """A script raised on the board; the message is the board's traceback."""


class NoRuntimeError(Error):
    """The board has no picoformer, or one that does not start."""


class DeployError(Error):
    """The runtime cannot be put on the board."""


class EmulatorError(Error):
    """An emulated board cannot start or its flash is in use."""
