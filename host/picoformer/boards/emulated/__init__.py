"""Emulated boards: each is a port, behind which MicroPython runs without a microcontroller."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_BOARDS = {
    "unix": ("unix", "UnixBoard"),
    "pico": ("pico", "PicoBoard"),
    "pico2": ("pico2", "Pico2Board"),
    "esp32": ("esp32", "Esp32Board"),
}

NAMES = tuple(_BOARDS)
PORT = "emulator"  # the port of the unix board; the others' are emulator:NAME


def board(name: str) -> Any:
    """The class of a board of `NAMES`; imported when asked for."""
    module, kind = _BOARDS[name]
    return getattr(import_module(f"{__name__}.{module}"), kind)


def port(name: str) -> str:
    """What --port takes for a board of `NAMES`."""
    return PORT if name == "unix" else f"{PORT}:{name}"


PORTS = {port(name): name for name in NAMES}


def listed(names: Any) -> str:
    """Names in a sentence."""
    *first, last = names
    return f"{', '.join(first)} and {last}"
