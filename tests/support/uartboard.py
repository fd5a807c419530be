"""An ESP32 behind its UART, modelled on a clock of its own: what would be lost there is lost here.

The board's end is the file that boards run. Figures: 115,200 baud; MicroPython's ring of 260 bytes
(ports/esp32/mphalport.c), which an interrupt fills and which drops what does not fit; whoever
waits for a byte sleeps to the next tick of FreeRTOS; 50 ms to erase a block of flash, in which
nothing is read. An emulated ESP32 answers a PING in 50 ms: hence what Python takes for a frame.
"""

from __future__ import annotations

import contextlib
import io
import types
from unittest import mock

from lateboard import LateBoard
from picoformer.device import server as server_module

RATE = 11520.0  # bytes a second
RING = 260  # bytes, of which one is never used
TICK = 0.01  # seconds
ERASE = 0.05  # seconds for a block
BLOCK = 4096  # bytes of flash
WORK = 0.042  # seconds for a frame
OLDER_BLOCK = 144  # bytes of a file of the runtime, that once were sent at a time


class Flash:
    """A file that is written to flash."""

    def __init__(self, board, file):
        self.board, self.file = board, file

    def write(self, data):
        before = self.file.tell()
        done = self.file.write(data)
        blocks = -(-(before + done) // BLOCK) - -(-before // BLOCK)
        self.board.sleep(blocks * ERASE)
        return done

    def flush(self):
        self.file.flush()

    def close(self):
        self.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class UartBoard(LateBoard):
    """A port whose `now` is its clock; within `modelled` only."""

    def __init__(self, folder, work=WORK, rate=RATE):
        super().__init__(folder, rate=rate, work=work, piece=16)

    def start(self):
        super().start()
        self.to_board.room = RING - 1

    def wait(self, limit):
        """As LateBoard's, but that time is only looked at when it ticks."""
        with self.turn:
            until = self.now + limit if limit is not None else 1e9
            while not self.has_input() and self.now < until:
                tick = (self.now // TICK + 1) * TICK
                self.block(tick if tick > self.now else tick + TICK, asleep=True)
            return self.has_input()

    def let(self, seconds):
        """The PC's sleep; what comes meanwhile waits to be read."""
        with self.turn:
            end, held = self.now + seconds, []
        while end - self.now > 1e-9:
            held.append(self.read(end - self.now))
        with self.turn:
            self.going[:0] = [(self.now, data) for data in held if data]

    def open(self, path, mode):
        file = open(path, mode)  # noqa: SIM115
        return file if mode == "rb" else Flash(self, file)


class ReplBoard(UartBoard):
    """The same board in its raw REPL, which runs scripts that read what comes behind them."""

    def run(self):
        stdin = types.SimpleNamespace(readinto=lambda view: self.readinto(view, len(view)))
        stdout = types.SimpleNamespace(write=self.say)
        streams = types.SimpleNamespace(
            stdin=types.SimpleNamespace(buffer=stdin), stdout=types.SimpleNamespace(buffer=stdout)
        )

        def importing(name, *rest):
            return streams if name == "sys" else __import__(name, *rest)

        out = io.StringIO()
        names = {
            "__builtins__": {
                **vars(__import__("builtins")),
                "__import__": importing,
                "open": self.open,
                "print": lambda *texts: out.write(" ".join(map(str, texts)) + "\n"),
            }
        }
        while (code := self.line()) is not None:
            self.say(b"OK")
            self.sleep(self.work)
            exec(code, names)
            self.say(out.getvalue().encode() + b"\x04\x04>")
            out.truncate(0)
            out.seek(0)

    def line(self):
        code = b""
        while (c := self.drain(1)) != b"\x04":
            if not c:
                return None
            code += c
        return code.decode()


def older(board):
    """Make a board's server what it was: no long frames, and all of them text."""
    begun = board.server._handlers[server_module.BEGIN]
    board.server._handlers[server_module.BEGIN] = lambda body: begun(body)[:8]
    greeting = board.server._greeting
    board.server._handlers[server_module.HELLO] = lambda body: (
        (said := greeting())[:2] + b"\0\0" + said[4:]
    )


@contextlib.contextmanager
def modelled():
    """A function that makes UartBoards, in turn: theirs are the server's files and its clock."""
    with contextlib.ExitStack() as stack:

        def patch(name, value):
            stack.enter_context(mock.patch.object(server_module, name, value, create=True))

        patch("PATIENT", ())

        def made(folder, **options):
            board = UartBoard(folder, **options)
            patch("ticks_ms", lambda: int(board.now * 1000))
            patch("open", board.open)
            return board

        yield made
