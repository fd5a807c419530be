"""Errors of a board's port and scripts, for programs that import them from here.

`picoformer` itself has them, too.
"""

from .boards.errors import NoBoardError, NoRuntimeError, PortError, ScriptError

__all__ = ["NoBoardError", "NoRuntimeError", "PortError", "ScriptError"]
