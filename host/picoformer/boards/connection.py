"""The way to a board: its port, its REPL, and the server that runs behind them.

Where the board is reset meanwhile, it is found again, and what was asked is asked again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..errors import Error
from .errors import EndedError, LinkError, NoRuntimeError, PortError, SilentError
from .link import Link
from .port import SerialPort, find_port, usb_of, with_usb
from .probe import probe
from .repl import LEAVE_RAW, Repl, lines

# Time limits, in seconds.
START_LIMIT = 120.0  # for the runtime to be imported, as .py on a slow board
REST = 0.2  # of silence, after which nothing more is on its way
TRACE_LIMIT = 5.0  # for a traceback to come
RETURN_LIMIT = 15.0  # for a port to come back after a reset

RECOVERIES = 2  # times that a request goes on after the board was reset

SERVE = "from picoformer.server import serve\nserve()"

T = TypeVar("T")


def _emulated(name: str) -> Any:
    """The emulated board that a name stands for, started; None for the name of a port."""
    if name == "emulator":
        from .emulated.unix import UnixBoard

        return UnixBoard()
    if name == "emulator:pico":
        from .emulated.pico import PicoBoard

        return PicoBoard()
    if name.startswith("emulator:"):
        raise PortError(f"no emulated board {name!r}: there are emulator and emulator:pico")
    return None


class Connection:
    """A connection to the board on a port, by a name as `Board` takes it. Soft resets the board.

    Raises Error.
    """

    def __init__(self, port: str | None) -> None:
        name = port or find_port()
        self._emulator = _emulated(name)
        self.port: str = self._emulator.port if self._emulator else name
        """The port's name."""
        self.link: Link | None = None
        """The link, while the server runs."""
        self.fresh = False
        """Whether the heap has held nothing since the last reset."""
        self.closed = False
        self.serial: SerialPort | None = None
        try:
            # By which to find a port again that has changed its name.
            self._usb = usb_of(self.port)
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave the board at its prompt and close the port; harmless when done before."""
        if self.closed:
            return
        self.closed = True
        if self.serial:
            with contextlib.suppress(Error):
                self.stop_server()
                self.serial.write(LEAVE_RAW)
            self.serial.close()
        if self._emulator:
            self._emulator.close()

    def _open(self) -> None:
        self.serial = SerialPort(self.port)
        self.repl = Repl(self.serial)
        self.repl.enter()
        self.reset()
        self.platform = probe(self.repl)
        """The board's MicroPython."""

    def reset(self) -> None:
        """Soft reset, from the raw REPL to the raw REPL."""
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
        self.repl.start(SERVE)
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
            if "ImportError" in heard:
                raise NoRuntimeError(
                    "there is no picoformer on the board, or only part of it; `picoformer "
                    f"deploy` installs it. The board said: {heard[-200:]}"
                ) from e
            raise NoRuntimeError(f"picoformer does not start on the board: {heard}") from e
        except SilentError:
            self.repl.enter()
            raise
        return link

    def attempts(self) -> Iterator[contextlib.AbstractContextManager[None]]:
        """Attempts at something over the link: another one where the board was reset meanwhile."""
        for left in range(RECOVERIES, -1, -1):
            yield self._attempt(left)

    @contextlib.contextmanager
    def _attempt(self, left: int) -> Iterator[None]:
        try:
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
