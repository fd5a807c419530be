"""A person at the terminal."""

from __future__ import annotations

import builtins

import pytest


def says(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """What a user types, and then Ctrl-D."""
    left = list(lines)

    def typed(prompt: str) -> str:
        assert prompt == "> "
        if not left:
            raise EOFError
        return left.pop(0)

    monkeypatch.setattr(builtins, "input", typed)
