"""The package's exceptions: `Error`, shared with the board's code."""

from .device.errors import Error

__all__ = ["Error"]
