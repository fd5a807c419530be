"""The flash of an emulated board: where it is kept from one run to the next, and who has it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import EmulatorError

with contextlib.suppress(ImportError):  # on Windows
    import fcntl


def cache() -> Path:
    """The folder in the user's cache that holds what emulated boards keep."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "picoformer"


def claim(file: int, board: str, flash: Path, advice: str) -> None:
    """Keep other emulators from a flash until `file` is closed. Raises EmulatorError."""
    try:
        _lock(file)
    except OSError as e:
        raise EmulatorError(
            f"another emulated {board}{_holder(file)} is using {flash} as its flash; {advice}"
        ) from e


@contextlib.contextmanager
def announced(flash: Path, port: str) -> Iterator[None]:
    """Tell others, meanwhile, on which port the board with this flash is."""
    path = _told(flash)
    with contextlib.ExitStack() as files:
        try:
            file = files.enter_context(open(path, "w"))
            files.callback(path.unlink, missing_ok=True)
            file.write(port)
            file.flush()
            file.seek(_MARK)
            _lock(file.fileno())
        except OSError:
            pass  # nobody is told, and all else goes on
        yield


def running(flash: Path) -> str:
    """The port on which a board with this flash was announced and runs; empty if none does."""
    path = _told(flash)
    try:
        with open(path, "r+") as file:
            port = file.read()
            file.seek(_MARK)
            try:
                _lock(file.fileno())
            except OSError:
                return port
    except OSError:
        pass
    return ""


_MARK = 4096  # behind what is read, as Windows keeps others from locked bytes


def _told(flash: Path) -> Path:
    return flash.with_name(flash.name + ".port")


def _lock(file: int) -> None:
    """Raises OSError if another process has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file: int) -> str:
    """` (pid N)`: the process whose lock keeps others from `file`; empty if not known."""
    try:
        locks = Path("/proc/locks").read_text()
    except OSError:
        return ""
    status = os.fstat(file)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in locks.splitlines():
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == device and int(words[4]) > 0:
            return f" (pid {words[4]})"
    return ""
