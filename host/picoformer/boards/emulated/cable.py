"""The cable to an emulated board: the serial port that other programs open.

A pseudo-terminal, or a TCP socket of this computer where the system has none. One client at a
time has it (of a socket, the next one waits); a client may go and come back while the board runs.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Protocol

with contextlib.suppress(ImportError):  # on Windows
    import termios

CHUNK = 65536
CLIENT_POLL = 0.02  # seconds between looks for a client that has opened the port


class Cable(Protocol):
    """The board's end. Nothing in it blocks; select tells when it is worth a call."""

    name: str
    """What a client opens: a path, or a URL for pyserial."""

    @property
    def connected(self) -> bool:
        """Whether there is a client, as the last read saw it."""

    def fileno(self) -> int:
        """What select waits on while a client is there; without one, just read now and then."""

    def read(self) -> bytes:
        """What the client has sent; empty if nothing."""

    def write(self, data: bytes | bytearray) -> int:
        """Send what fits now; return how many bytes did. What nobody hears is lost."""

    def close(self) -> None:
        """Unplug it."""


def plug(over_socket: bool = False) -> Cable:
    """A socket if asked for or if there is no pseudo-terminal. Raises OSError."""
    if not over_socket and has_pty():
        try:
            return Pty()
        except OSError:  # none left, or none in this container
            pass
    return Socket()


def has_pty() -> bool:
    """Whether this system has pseudo-terminals."""
    return "termios" in globals() and hasattr(os, "openpty")


def open_pty() -> tuple[int, int]:
    """A pty in the state in which a program may open its slave: eight bits, no echo."""
    master, slave = os.openpty()
    os.set_blocking(master, False)
    mode = termios.tcgetattr(slave)
    mode[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.ISTRIP)
    mode[0] &= ~(termios.IXON | termios.BRKINT | termios.INPCK | termios.PARMRK)
    mode[1] &= ~termios.OPOST
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
    mode[3] &= ~termios.ISIG
    termios.tcsetattr(slave, termios.TCSANOW, mode)
    return master, slave


class Pty:
    """A pseudo-terminal; it has a client while somebody has its slave open."""

    def __init__(self) -> None:
        self._master, slave = open_pty()
        self.name = os.ttyname(slave)
        self.connected = False
        os.close(slave)

    def fileno(self) -> int:
        return self._master

    def read(self) -> bytes:
        try:
            data = os.read(self._master, CHUNK)
        except BlockingIOError:
            self.connected = True  # it is open, and nothing has been sent
            return b""
        except OSError:
            data = b""  # nobody has it open
        self.connected = bool(data)
        return data

    def write(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def close(self) -> None:
        os.close(self._master)


class Socket:
    """A TCP socket that listens on 127.0.0.1."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._client: socket.socket | None = None
        self.name = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connected(self) -> bool:
        return self._client is not None

    def fileno(self) -> int:
        return (self._client or self._listener).fileno()

    def read(self) -> bytes:
        try:
            if self._client is None:
                self._client, _ = self._listener.accept()
                self._client.setblocking(False)
                self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = self._client.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._hang_up()
        return data

    def write(self, data: bytes | bytearray) -> int:
        if self._client is None:
            return len(data)
        try:
            return self._client.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._hang_up()
            return len(data)

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self) -> None:
        self._hang_up()
        self._listener.close()
