"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np


def save_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Call write(temporary path), then rename it to path: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    write(temporary)
    temporary.chmod(0o644)
    os.replace(temporary, path)


def save_array(path: Path, array: np.ndarray) -> None:
    """np.save to a temporary name, then rename."""
    _save_open(path, lambda file: np.save(file, array))


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """np.savez to a temporary name, then rename."""
    _save_open(path, lambda file: np.savez(file, **arrays))


def _save_open(path: Path, save: Callable[[IO[bytes]], Any]) -> None:
    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # given a path, numpy would append an ending to it
            save(file)

    save_atomically(path, write)
