"""The raw REPL of a board: scripts run there, and resets."""

from __future__ import annotations

import time

from .errors import NoBoardError, ScriptError, SilentError
from .port import SerialPort

# Time limits, in seconds.
RAW_LIMIT = 3.0  # for the raw REPL's prompt, each time it is asked for
RESET_LIMIT = 10.0  # for a soft reset
EXEC_LIMIT = 10.0  # for a short script of ours

POLL = 0.1  # between looks at the clock
HAMMERS = 250  # times Ctrl-C, where one is not enough
HAMMER_PAUSE = 0.002  # between two of them

RAW_ATTEMPTS = 3
CHUNK = 256  # bytes to the raw REPL at once: it has no flow control
CHUNK_PAUSE = 0.01

RAW_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
INTERRUPT = b"\r\x03\x03"
ENTER_RAW = b"\r\x01"
LEAVE_RAW = b"\r\x02"
RUN = b"\x04"
BANNER = b'Type "help()" for more'  # of the friendly REPL: when main.py has ended, or boot.py


class Repl:
    """The raw REPL of the board on a port."""

    def __init__(self, port: SerialPort) -> None:
        self.port = port
        self._seen = bytearray()
        self.stopped = False
        """Whether `enter` has stopped the board's own program."""

    def write(self, data: bytes) -> None:
        self.port.write(data)

    def expect(self, mark: bytes, limit: float) -> bytes:
        """What comes before `mark`. Raises SilentError, with what was seen."""
        deadline = time.monotonic() + limit
        while mark not in self._seen:
            left = deadline - time.monotonic()
            if left <= 0:
                seen = bytes(self._seen[-300:])
                raise SilentError(
                    f"the board did not answer {mark!r} within {limit:g} s; "
                    + (f"it said {seen!r}" if seen else "it said nothing")
                )
            self._seen += self.port.read(left)
        before, _, after = bytes(self._seen).partition(mark)
        self._seen = bytearray(after)
        return before

    def mark(self, mark: bytes, limit: float) -> None:
        """Wait for a byte that a script says. Raises ScriptError where it has ended instead."""
        seen, deadline = self._seen, time.monotonic() + limit
        while mark not in seen and RUN not in seen and time.monotonic() < deadline:
            seen += self.port.read(POLL)
        if RUN in seen and mark not in seen.partition(RUN)[0]:
            try:
                self.finish()
            finally:
                self.enter()  # what was on its way to the script is being typed into the REPL
        self.expect(mark, 0)

    def rest(self) -> bytes:
        """What has been read too far."""
        rest = bytes(self._seen)
        self._seen.clear()
        return rest

    def drain(self, quiet: float = 0.1) -> None:
        """Drop what is still coming."""
        self._seen.clear()
        limit = time.monotonic() + 20 * quiet
        while self.port.read(quiet) and time.monotonic() < limit:
            pass

    def enter(self) -> None:
        """Interrupt whatever runs and enter the raw REPL. Raises NoBoardError."""
        seen, talks = b"", 0
        for _ in range(RAW_ATTEMPTS):
            self._seen.clear()
            if seen:
                self._hammer()
            self.write(INTERRUPT + ENTER_RAW)
            try:
                seen += self.expect(RAW_PROMPT, RAW_LIMIT)
                self.stopped |= BANNER in seen
                self.drain(0.02)
                return
            except SilentError:
                seen += bytes(self._seen)
                talks += bool(self._seen)
            if talks > 1:
                break
        raise unanswered(self.port.name, lines(seen).strip(), talks > 1)

    def _hammer(self) -> None:
        """Ctrl-C again and again.

        A program that catches one, as a bare `except:` does, may be ended by the next, if that
        comes while it is about it.
        """
        for _ in range(HAMMERS):
            self.write(b"\x03")
            time.sleep(HAMMER_PAUSE)

    def reset(self) -> None:
        """Soft reset: a fresh heap, in which nothing is imported."""
        for left in range(RAW_ATTEMPTS - 1, -1, -1):
            self.write(RUN)
            try:
                self.expect(b"soft reboot", RAW_LIMIT)
                break
            except SilentError:
                if not left:
                    raise
                self.enter()
        try:
            self.expect(RAW_PROMPT, RESET_LIMIT)
        except SilentError:  # boot.py keeps it busy
            self.enter()
        self.drain(0.02)

    def leave(self) -> None:
        """To the prompt; the board's own program, where `enter` has stopped one, starts again."""
        self.write(LEAVE_RAW)
        if self.stopped:
            self.restart()

    def restart(self) -> None:
        """Soft reset from the prompt, so that boot.py and main.py run."""
        self.write(RUN)
        self.expect(b"soft reboot\r\n", RAW_LIMIT)

    def start(self, code: str) -> None:
        """Start a script; what it prints comes next.

        Not by raw paste, in which Ctrl-C does not reach scripts on every unix port.
        """
        data = code.encode() or b"\n"
        self._seen.clear()
        for at in range(0, len(data), CHUNK):
            if at:
                time.sleep(CHUNK_PAUSE)
            self.write(data[at : at + CHUNK])
        self.write(RUN)
        self.expect(b"OK", EXEC_LIMIT)

    def finish(self, limit: float | None = EXEC_LIMIT) -> str:
        """Wait for the script's end; what it printed. Raises ScriptError, TimeoutError's kin."""
        try:
            output = self.expect(RUN, limit if limit is not None else 1e9)
        except SilentError as e:
            said = bytes(self._seen).decode(errors="replace")
            self.enter()
            raise SilentError(
                f"the script did not end within {limit:g} s, and was interrupted; it had printed "
                f"{said[-300:]!r}"
            ) from e
        trace = self.expect(RUN + b">", EXEC_LIMIT)
        if trace:
            raise ScriptError(lines(trace).strip())
        return lines(output)

    def run(self, code: str, limit: float | None = EXEC_LIMIT) -> str:
        """Run a script and return what it printed."""
        self.start(code)
        return self.finish(limit)


def unanswered(port: str, heard: str, talks: bool) -> NoBoardError:
    """What it means that the raw REPL's prompt does not come. talks: something goes on talking."""
    if talks:
        return NoBoardError(
            f"a program that ignores Ctrl-C runs on {port}; it says {heard[-60:]!r}. Where the "
            "port outlives a reset (ESP32), reset the board and try again at once, before its "
            "main.py begins; on a Pyboard hold USR at reset, for its safe mode; on a Pico hold "
            "BOOTSEL and copy flash_nuke.uf2, which erases all files, and then MicroPython. In "
            "main.py a bare `except:` catches Ctrl-C, `except Exception:` does not"
        )
    if not heard and port.startswith("socket://"):
        return NoBoardError(
            f"{port} says nothing: another program may have it (an emulated board serves one at a "
            "time); close that one and try again"
        )
    return NoBoardError(
        f"no MicroPython answers on {port}: "
        + (f"it said {heard[-200:]!r}" if heard else "it said nothing")
        + "; expected the raw REPL. Check the port, reset the board (a program on it may ignore "
        "Ctrl-C), or flash MicroPython (micropython.org/download)"
    )


def lines(data: bytes) -> str:
    """What a board printed, with the line ends of the PC."""
    return data.decode(errors="replace").replace("\r\n", "\n")
