"""The way to a board: its port, its REPL, and the server that runs behind them.

Where the board is reset meanwhile, it is found again, and what was asked is asked again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..device import server_frames as wire
from ..errors import Error
from . import emulated
from .emulated.flash import running
from .errors import (
    BoardError,
    EndedError,
    LinkError,
    NoMemoryError,
    NoRuntimeError,
    PortError,
    ScriptError,
    SilentError,
)
from .link import Link
from .port import SerialPort, find_port, usb_of, with_usb
from .probe import probe
from .repl import Repl, lines
from .trouble import explain

# Time limits, in seconds.
START_LIMIT = 300.0  # for the runtime to be imported, as .py, or by an emulated ESP32
LIST_LIMIT = 60.0  # for the names of its files
REST = 0.2  # of silence, after which nothing more is on its way
LISTEN = 1.0  # to what a board says after a reset
TRACE_LIMIT = 5.0  # for a traceback to come
RETURN_LIMIT = 15.0  # for a port to come back after a reset

RECOVERIES = 2  # times that a request goes on after the board was reset

SERVE = "from picoformer.server import serve\nserve({})"

PROGRAMS = "import os\nprint([n for n in os.listdir() if n in ('boot.py', 'main.py')])"

# The watchdog of a main.py that was stopped would reset the board in the middle of our work.
# Where that can be, it is switched off until main.py starts it again: this bit enables it.
CALM = """
import sys
if sys.platform == "rp2":
    import machine
    at = 0x400D8000 if "RP2350" in sys.implementation._machine else 0x40058000
    machine.mem32[at + 0x3000] = 1 << 30
"""

T = TypeVar("T")


def _emulated(name: str) -> Any:
    """The emulated board that a name stands for, started, or the port of the one that runs; None
    for the name of a port.
    """
    if name.partition(":")[0] != emulated.PORT:
        return None
    if name not in emulated.PORTS:
        there = emulated.listed(emulated.PORTS)
        raise PortError(f"no emulated board {name!r}: there are {there}")
    kind = emulated.board(emulated.PORTS[name])
    return running(kind.default_flash()) or kind()


class Connection:
    """A connection to the board on a port, by a name as `Board` takes it. Soft resets the board.

    cores: of the board that models run on. Raises Error.
    """

    def __init__(self, port: str | None, cores: int = 1) -> None:
        if cores not in (1, 2):
            raise Error(f"cores are {cores}, expected 1 or 2")
        self.cores = cores
        name = port or find_port()
        self._emulator = _emulated(name)
        if isinstance(self._emulator, str):  # that of `picoformer emulate`, which goes on
            name, self._emulator = self._emulator, None
        self.port: str = self._emulator.port if self._emulator else name
        """The port's name."""
        self.link: Link | None = None
        """The link, while the server runs."""
        self.fresh = False
        """Whether the heap has held nothing since the last reset."""
        self.closed = False
        self.serial: SerialPort | None = None
        self.repl: Repl
        try:
            # By which to find a port again that has changed its name.
            self._usb = usb_of(self.port)
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave the board as it was, and close the port; harmless when done before.

        Where its main.py ran, that starts again; else the board is at its prompt.
        """
        if self.closed:
            return
        self.closed = True
        if self.serial:
            with contextlib.suppress(Error):
                self.stop_server()
                if not self._emulator:  # else it is switched off
                    self.repl.leave()
            self.serial.close()
        if self._emulator:
            self._emulator.close()

    def _open(self) -> None:
        stopped = self.serial is not None and self.repl.stopped
        self.serial = SerialPort(self.port)
        self.repl = Repl(self.serial)
        self.repl.stopped = stopped
        self.repl.drain(0.02)  # what was said to nobody, long ago: a banner, it may be
        self.repl.enter()
        self.reset()
        if self.repl.stopped:  # a banner alone is said by each board that has just begun
            self.repl.stopped = "py" in self.repl.run(PROGRAMS, LIST_LIMIT)
        self.platform = probe(self.repl)
        """The board's MicroPython."""

    def reset(self) -> None:
        """Soft reset, from the raw REPL to the raw REPL."""
        if self.repl.stopped:
            self.repl.run(CALM)
        self.repl.reset()
        self.fresh = True

    def reconnect(self) -> None:
        """Find the board again after it was reset."""
        self.link = None
        deadline = 0.0  # for a port that is gone
        while True:
            try:
                if deadline:
                    if self.serial:
                        self.serial.close()
                    self.port = (self._usb and with_usb(self._usb)) or self.port
                    self._open()
                else:
                    # What was on its way is being typed into a REPL: let it pass.
                    self.repl.drain(REST)
                    self.repl.enter()
                    self.reset()
                return
            except LinkError:
                # Its port may have gone and come back, under another name.
                if deadline and time.monotonic() > deadline:
                    raise
                deadline = deadline or time.monotonic() + RETURN_LIMIT
                time.sleep(0.2)

    def restart(self, hard: bool = False) -> str:
        """Reset the board so that its main.py runs; what it says for a moment. Closes the port."""
        assert self.serial
        self.stop_server()
        said = b""
        with contextlib.suppress(LinkError):  # its port may go with it
            if hard:
                self.repl.start("import machine\nmachine.reset()")
            else:
                self.repl.stopped = True
                self.repl.leave()
            said = self.repl.rest()
            end = time.monotonic() + LISTEN
            while time.monotonic() < end and not said.endswith(b"\n>>> "):
                said += self.serial.read(0.1)
        self.closed = True
        self.serial.close()
        end = time.monotonic() + RETURN_LIMIT
        while self._usb and not with_usb(self._usb) and time.monotonic() < end:
            time.sleep(0.1)
        return lines(said)

    # The server

    def stop_server(self) -> None:
        """Back to the raw REPL."""
        link, self.link = self.link, None
        if link is None:
            return
        with contextlib.suppress(LinkError):
            link.bye()
        self.repl.enter()

    def server(self) -> Link:
        """The link, with the server running behind it."""
        if self.closed:
            raise LinkError("this Board is closed; open another")
        if self.link is None:
            self.link = self._start_server()
        return self.link

    def _start_server(self) -> Link:
        assert self.serial
        link = Link(self.serial)
        link.lag = self.repl.lag
        self.repl.start(SERVE.format(self.cores if self.cores > 1 else ""))
        try:
            link.feed(self.repl.rest())
            link.start(START_LIMIT)
        except EndedError as e:
            heard = link.heard()
            end = time.monotonic() + TRACE_LIMIT
            while time.monotonic() < end and (more := self.serial.read(REST + link.lag)):
                heard += lines(more)  # the traceback
            heard = " ".join(heard.replace("\x04", "").strip("> ").split())
            self.repl.enter()
            if error := explain(self.repl, heard):
                raise error from e
            if "ImportError" in heard:
                raise NoRuntimeError(
                    "there is no picoformer on the board, or only part of it; `picoformer "
                    f"update` installs it. The board said: {heard[-200:]}"
                ) from e
            if "MemoryError" in heard:
                raise NoMemoryError(
                    "the board has too little memory for picoformer's server: its boot.py has to "
                    "keep less (picoformer plan MODEL.pft --port PORT says what is free)"
                ) from e
            raise NoRuntimeError(
                f"picoformer does not start on the board, and `picoformer update` may mend it: "
                f"{heard[-300:]}"
            ) from e
        except SilentError as e:
            self.repl.enter()
            if error := explain(self.repl, "ImportError"):
                raise error from e
            raise
        return link

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """What the board refuses is looked into: the error that comes has the reason for it."""
        try:
            yield
        except ScriptError as e:
            last = str(e).rpartition("\n")[2]
            raise explain(self.repl, str(e)) or ScriptError(f"the board says: {last}") from e
        except BoardError as e:
            if e.code != wire.INTERNAL and "needs more of the runtime" not in str(e):
                raise
            self.stop_server()
            raise explain(self.repl, str(e)) or e from e

    def attempts(self) -> Iterator[contextlib.AbstractContextManager[None]]:
        """Attempts at something over the link: another one where the board was reset meanwhile."""
        for left in range(RECOVERIES, -1, -1):
            yield self._attempt(left)

    @contextlib.contextmanager
    def _attempt(self, left: int) -> Iterator[None]:
        try:
            with self.explaining():
                yield
        except LinkError:
            if self.closed or not left:
                raise
            self.reconnect()

    def do(self, work: Callable[[Link], T]) -> T:
        """Do something over the link, again where the board was reset meanwhile."""
        for attempt in self.attempts():
            with attempt:
                return work(self.server())
        raise AssertionError
