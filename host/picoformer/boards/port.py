"""The serial ports that boards are on."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
from typing import Any

import serial
from serial.tools import list_ports

from .errors import LostError, PortError, SilentError

WRITE_LIMIT = 20.0  # seconds for the board to take a piece of what is sent
PIECE = 4096  # bytes
POLL = 0.05  # seconds between looks for bytes and at the clock
BAUD = 115200

PORT = "PICOFORMER_PORT"  # in the environment: the port of whoever names none

Usb = tuple[int, int, str | None]  # vendor, product and serial number


class SerialPort:
    """A real port, a pseudo-terminal or a pyserial URL. Raises PortError, LostError."""

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            kind = serial.serial_for_url(name, do_not_open=True)
            kind.baudrate = BAUD
            kind.timeout = POLL
            kind.write_timeout = WRITE_LIMIT
            if "://" not in name and sys.platform != "win32":
                kind.exclusive = True
            kind.open()
            network = getattr(kind, "_socket", None)
            if network is not None:  # or a small frame waits for the one before to be confirmed
                network.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, ValueError) as e:
            raise _cannot_open(name, e) from e
        self._serial: Any = kind

    def read(self, limit: float) -> bytes:
        deadline = time.monotonic() + limit
        try:
            while True:
                size = self._serial.in_waiting
                if size or limit > 0:
                    data: bytes = self._serial.read(size or 1)
                    if data:
                        while more := self._serial.in_waiting:  # sockets tell one at a time
                            data += self._serial.read(more)
                        return data
                if time.monotonic() >= deadline:
                    return b""
        except (OSError, TypeError) as e:  # TypeError: pyserial's, when closed meanwhile
            raise LostError(f"{self.name} is gone: was the board unplugged or reset? ({e})") from e

    def write(self, data: bytes) -> None:
        try:
            for i in range(0, len(data), PIECE):
                self._serial.write(data[i : i + PIECE])
        except serial.SerialTimeoutException as e:
            raise SilentError(
                f"the board on {self.name} takes nothing for {WRITE_LIMIT:.0f} s; reset it"
            ) from e
        except (OSError, TypeError) as e:
            raise LostError(f"{self.name} is gone: was the board unplugged or reset? ({e})") from e

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._serial.close()


def _cannot_open(name: str, e: Exception) -> PortError:
    code = getattr(e, "errno", None)
    words = str(e)
    if code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in words or "Access" in words:
        return PortError(
            f"{name} is in use by another program (a terminal, mpremote, an IDE?); close that "
            "one and try again"
        )
    if code == errno.EACCES:
        return PortError(
            f"no permission to open {name}; on Linux, add yourself to the group that owns it "
            "(often dialout) and log in again"
        )
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO) or "FileNotFound" in words:
        return PortError(f"there is no port {name}; `picoformer ports` lists those that are there")
    if code == errno.ENOTTY or "Inappropriate ioctl" in words:
        return PortError(f"{name} is no serial port; `picoformer ports` lists them")
    return PortError(f"cannot open {name}: {words}")


def ports() -> list[Any]:
    """The serial ports of this computer that a board may be on, as pyserial describes them."""
    # On-board ports of the PC have no USB ids and hold no boards.
    return sorted((p for p in list_ports.comports() if p.vid is not None), key=lambda p: p.device)


def find_port() -> str:
    """The port that PICOFORMER_PORT names, or that of the only board. Raises PortError."""
    if named := os.environ.get(PORT):
        return named
    found = ports()
    if len(found) == 1:
        return str(found[0].device)
    if not found:
        raise PortError(
            "no board is connected (no USB serial port is there); plug one in, name a port, or "
            "use --port emulator (or PICOFORMER_PORT=emulator for all commands)"
        )
    listed = ", ".join(f"{p.device} ({p.description})" for p in found)
    raise PortError(f"several boards may be connected: {listed}; choose one with --port")


def usb_of(name: str) -> Usb | None:
    """The USB numbers of the board on a port, by which to find it again; None if it has none."""
    for p in list_ports.comports():
        if p.device == name and p.vid is not None:
            return p.vid, p.pid, p.serial_number
    return None


def with_usb(usb: Usb) -> str | None:
    """The port that a board with these USB numbers is on now, None if it is on none."""
    for p in list_ports.comports():
        if (p.vid, p.pid, p.serial_number) == usb:
            return str(p.device)
    return None
