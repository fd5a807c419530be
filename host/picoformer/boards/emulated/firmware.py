"""MicroPython's firmware for emulated boards: which file it is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import EmulatorError
from .flash import cache


@dataclass(frozen=True)
class Firmware:
    """MicroPython's firmware for one kind of board.

    board: micropython.org's name of it; form: how the file's name ends; names: a pattern of the
    names that are taken for it; variable: the one of the environment that names a file;
    elsewhere: another folder that may hold such files.
    """

    title: str
    board: str
    form: str
    names: str
    variable: str
    elsewhere: str = ""

    def find(self) -> Path:
        """The image to boot. Nothing is downloaded. Raises EmulatorError.

        Looked for in the variable (a file), then in `picoformer/` in the user's cache, then
        elsewhere; of several, the last by what stands behind their boards' names: the newest.
        """
        named = os.environ.get(self.variable)
        if named:
            path = Path(named).expanduser()
            if not path.is_file():
                raise EmulatorError(f"{self.variable} names {named}, which is no file")
            return path
        folders = [cache()]
        if self.elsewhere:
            folders.append(Path(self.elsewhere).expanduser())
        for folder in folders:
            found = [p for p in folder.glob(f"*{self.form}") if re.match(self.names, p.name)]
            if found:
                return max(found, key=lambda p: (p.name.partition("-")[2], p.name))
        raise EmulatorError(
            f"there is no firmware for the emulated {self.title}; download {self.board} "
            f"({self.form}) from micropython.org/download/{self.board} into {cache()}, or name it "
            f"in {self.variable}"
        )
