"""The raw REPL of a board: scripts run there, and resets."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Protocol

from .channel import Clock, Port
from .errors import NoBoardError, ScriptError, SilentError

# Time limits, in seconds without a word of the board; longer where its answers come late.
RAW_LIMIT = 3.0  # for the raw REPL's prompt
RESET_LIMIT = 20.0  # for boot.py, after a soft reset
EXEC_LIMIT = 10.0  # for a short script of ours

ATTEMPTS = 1, 1, 4  # at the prompt, and how many times RAW_LIMIT each of them waits
PATIENCE = 4  # times that an answer has taken, which the next one may take
CHATTER = 20  # times a limit, after which words that nobody waits for are no sign of life
HAMMERS = 250  # times Ctrl-C, where one is not enough
HAMMER_PAUSE = 0.002  # between two of them

CHUNK = 256  # bytes to the raw REPL at once: it has no flow control
CHUNK_PAUSE = 0.01

RAW_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
INTERRUPT = b"\r\x03\x03"
ENTER_RAW = b"\r\x01"
LEAVE_RAW = b"\r\x02"
RUN = b"\x04"
PROMPT = b">>>"
REBOOT = b"soft reboot"
BANNER = b'Type "help()" for more'  # of the friendly REPL: when main.py has ended, or boot.py


class NamedPort(Port, Protocol):
    """What a REPL needs of a port."""

    name: str


class Repl:
    """The raw REPL of the board on a port. clock: seconds that only grow; sleep: lets them."""

    def __init__(
        self,
        port: NamedPort,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], object] = lambda seconds: time.sleep(seconds),
    ) -> None:
        self.port = port
        self.clock = clock
        self.sleep = sleep
        self.lag = 0.0
        """Seconds that the board took to answer, the last time that nothing else was to do."""
        self._seen = bytearray()
        self.stopped = False
        """Whether `enter` has stopped the board's own program."""

    def write(self, data: bytes) -> None:
        self.port.write(data)

    def expect(self, mark: bytes, limit: float, altogether: bool = False) -> bytes:
        """What comes before `mark`. Raises SilentError, with what was seen.

        limit: seconds without a word of the board, or altogether.
        """
        self._wait((mark,), limit, altogether)
        before, _, after = bytes(self._seen).partition(mark)
        self._seen = bytearray(after)
        return before

    def mark(self, mark: bytes, limit: float) -> None:
        """Wait for what a script says. Raises ScriptError where it has ended instead."""
        self._wait((mark, RUN), limit)
        if RUN in self._seen.partition(mark)[0]:
            try:
                self.finish()
            finally:
                self.enter()  # what was on its way to the script is being typed into the REPL
        self.expect(mark, limit)

    def _wait(self, marks: tuple[bytes, ...], limit: float, altogether: bool = False) -> None:
        """Read until one of the marks has come."""
        limit = max(limit, PATIENCE * self.lag)
        start = heard = self.clock()
        while not any(mark in self._seen for mark in marks):
            end = start + limit
            if not altogether:
                end = min(heard + limit, start + CHATTER * limit)
            left = end - self.clock()
            if left <= 0:
                seen = bytes(self._seen[-300:])
                raise SilentError(
                    f"the board did not answer {marks[0]!r} within {limit:g} s; "
                    + (f"it said {seen!r}" if seen else "it said nothing")
                )
            if data := self.port.read(left):
                self._seen += data
                heard = self.clock()

    def rest(self) -> bytes:
        """What has been read too far."""
        rest = bytes(self._seen)
        self._seen.clear()
        return rest

    def drain(self, quiet: float = 0.1) -> None:
        """Drop what is still coming."""
        self._seen.clear()
        limit = self.clock() + CHATTER * quiet
        while self.port.read(quiet) and self.clock() < limit:
            pass

    def enter(self) -> bytes:
        """Interrupt whatever runs and enter the raw REPL; what the board said meanwhile.

        A prompt may come after it was asked for once more, and that second Ctrl-C would hit
        whatever is sent next. So a script of ours is sent behind, and its answer says that the
        board has read all there was. Raises NoBoardError.
        """
        seen, talks = b"", 0
        self._seen.clear()
        self.lag = 0.0
        start = self.clock()
        limits = [times * RAW_LIMIT for times in ATTEMPTS]
        while limits and talks < 2:
            if talks:
                self._hammer()
            self.write(INTERRUPT + ENTER_RAW)
            try:
                seen += self.expect(RAW_PROMPT, limits.pop(0), altogether=True)
                if not self.lag:  # it lives: what fails from now on was lost on its way
                    self.lag = self.clock() - start
                    limits = [RAW_LIMIT] * len(ATTEMPTS)
                seen += self._echo()
                self.stopped |= BANNER in seen
                return seen
            except SilentError:
                said = self.rest()
                seen += said
                talks += bool(said) and PROMPT not in said and not self.lag
        raise unanswered(self.port.name, lines(seen).strip(), talks > 1)

    def _hammer(self) -> None:
        """Ctrl-C again and again.

        A program that catches one, as a bare `except:` does, may be ended by the next, if that
        comes while it is about it.
        """
        for _ in range(HAMMERS):
            self.write(b"\x03")
            self.sleep(HAMMER_PAUSE)

    def _echo(self) -> bytes:
        """Let the board answer what nobody else has asked; what it said before."""
        answer = secrets.token_hex(6)
        start = self.clock()
        # In halves: a friendly REPL says again what it reads.
        self.write(f"print({answer[:6]!r}{answer[6:]!r},end='')".encode() + RUN)
        seen = self.expect(answer.encode(), RAW_LIMIT)
        self.lag = self.clock() - start
        self.expect(RUN, RAW_LIMIT)
        self.expect(RUN + b">", RAW_LIMIT)
        return seen

    def reset(self) -> None:
        """Soft reset: a fresh heap, in which nothing is imported."""
        for left in range(len(ATTEMPTS) - 1, -1, -1):
            self.write(RUN)
            try:
                self.expect(REBOOT, RAW_LIMIT)
                break
            except SilentError:
                if REBOOT in self.enter():  # it came late
                    return
                if not left:
                    raise
        try:
            self.expect(RAW_PROMPT, RESET_LIMIT)
        except SilentError:  # boot.py keeps it busy
            self.enter()

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
                self.sleep(max(CHUNK_PAUSE, self.lag / 2))
            self.write(data[at : at + CHUNK])
        self.write(RUN)
        self.expect(b"OK", EXEC_LIMIT)

    def finish(self, limit: float | None = EXEC_LIMIT, altogether: bool = False) -> str:
        """Wait for the script's end; what it printed. Raises ScriptError, TimeoutError's kin.

        limit: seconds without a word of it, or altogether; None for none.
        """
        if limit is None:
            limit = 1e9
        try:
            output = self.expect(RUN, limit, altogether)
        except SilentError as e:
            said = self.rest().decode(errors="replace")
            self.enter()
            raise SilentError(
                f"the script did not end within {limit:g} s, and was interrupted; it had printed "
                f"{said[-300:]!r}"
            ) from e
        trace = self.expect(RUN + b">", EXEC_LIMIT)
        if trace:
            raise ScriptError(lines(trace).strip())
        return lines(output)

    def run(self, code: str, limit: float | None = EXEC_LIMIT, altogether: bool = False) -> str:
        """Run a script and return what it printed; see `finish`."""
        self.start(code)
        return self.finish(limit, altogether)


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
