"""An emulated board in a process of its own, which takes all of a processor.

    ProcessBoard -- python -m MODULE FLASH FIRMWARE [...] -- the emulator
                 <- the port's name, one line on standard output
                 -> the end of standard input: keep the flash, and end

Here is what starts such a process, and what is the same in each of them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from ..closing import Closing
from ..errors import EmulatorError
from .firmware import Firmware
from .flash import cache, claim

END_LIMIT = 10.0  # seconds for the process to keep its flash and end


class ProcessBoard(Closing):
    """An emulated board on a serial port; a context manager.

    flash: the file that is its flash (default: in the user's cache); one emulator at a time may
    use it. firmware: see Firmware.find. socket: a TCP socket instead of a pseudo-terminal; where
    there is none, or the emulator has a socket of its own, it is one anyway. put: files that lie
    in the board's root before it starts.
    """

    name: ClassVar[str]
    """What --board calls it; its flash is NAME.flash."""
    title: ClassVar[str]
    """What messages call it."""
    described: ClassVar[str]
    """What it is, in a few words."""
    kind: ClassVar[Firmware]
    module: ClassVar[str]
    start_limit: ClassVar[float]

    def __init__(
        self,
        flash: str | os.PathLike[str] | None = None,
        firmware: str | os.PathLike[str] | None = None,
        socket: bool = False,
        put: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        reason = self.unsupported()
        if reason:
            raise EmulatorError(reason)
        self.flash = Path(flash or self.default_flash()).expanduser().absolute()
        """The file that is the board's flash."""
        chosen = Path(firmware or self.kind.find())
        program = f"{__package__}.{self.module}"
        command = [sys.executable, "-m", program, str(self.flash), str(chosen)]
        command += ["--socket"] * socket
        for path in put:
            command += ["--put", str(path)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C is not for it
        )
        assert self._process.stdout is not None
        overdue = threading.Timer(self.start_limit + END_LIMIT, self._kill)
        overdue.start()
        try:
            self.port = self._process.stdout.readline().strip()
            """The path of the board's serial port, or its `socket://` URL."""
        finally:
            overdue.cancel()
        if not self.port:
            _, said = self._process.communicate()
            last = said.strip().split("\n")[-1]
            late = f"the emulated {self.title} did not start in {self.start_limit:.0f} s"
            raise EmulatorError(last or late)

    @classmethod
    def default_flash(cls) -> Path:
        """The file that holds the flash from one run to the next."""
        return cache() / f"{cls.name}.flash"

    @classmethod
    def unsupported(cls) -> str:
        """Which program or package this computer lacks for it; empty if none."""
        raise NotImplementedError

    @classmethod
    def missing(cls) -> str:
        """Why none can be emulated here; empty if one can."""
        reason = cls.unsupported()
        if reason:
            return reason
        try:
            cls.kind.find()
        except EmulatorError as e:
            return str(e)
        return ""

    def stopped(self, limit: float) -> str:
        """Why it has stopped by itself; empty where it has not within `limit` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit)
            return f"the emulated {self.title} stopped"
        return ""

    def close(self) -> None:
        """Switch it off, after its flash has been kept; harmless when done before."""
        if self._process.poll() is None:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            try:
                self._process.wait(END_LIMIT)
            except subprocess.TimeoutExpired:
                self._kill()
                self._process.wait()

    def _kill(self) -> None:
        """End it at once, and what it has started, where that is known."""
        if sys.platform == "win32":
            self._process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


# In the process


@contextlib.contextmanager
def claimed(flash: Path, title: str) -> Iterator[None]:
    """Keep other emulators from a flash meanwhile. Raises EmulatorError."""
    flash.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{flash}.lock", "w") as mine:
        claim(mine.fileno(), title, flash, "stop that one first")
        yield


def input_end() -> socket.socket:
    """What becomes readable when standard input ends: select takes that one everywhere."""
    ended, end = socket.socketpair()

    def wait() -> None:
        while os.read(0, 1):
            pass
        end.close()

    threading.Thread(target=wait, daemon=True).start()
    return ended


def ready(port: str) -> None:
    """Tell the ProcessBoard that its board is up."""
    print(port, flush=True)


def run(serve: Callable[[argparse.Namespace], object], arguments: list[str] | None = None) -> int:
    """The process: serve gets `flash`, `firmware`, `socket` and `put`; errors are one line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("flash", type=Path)
    parser.add_argument("firmware", type=Path)
    parser.add_argument("--socket", action="store_true")
    parser.add_argument("--put", type=Path, action="append", default=[])
    o = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(o)
    except (EmulatorError, OSError) as e:
        print(e, file=sys.stderr)
        return 1
    return 0
