"""MicroPython's raw REPL in plain Python, on a port with a clock of its own.

It does with each byte what shared/runtime/pyexec.c does. Scripts are Python's, with their output.
Bytes take their time in each direction, and so does what the board does: a Ctrl-C may come where
nobody wants it.
"""

from __future__ import annotations

import contextlib
import io
import math
import traceback
from collections import deque

BANNER = b"raw REPL; CTRL-B to exit\r\n>"


class RawRepl:
    """A port whose `now` is its clock.

    delay: seconds that a byte takes, to the board and back. work: seconds that the board takes
    for a script. program: seconds that main.py goes on after Ctrl-C, None where there is none.
    boot: seconds of boot.py. drop: numbers of bytes from the PC that are lost. forgets: whether
    input that nobody has read is lost where something begins to run and where it ends.
    """

    name = "a board"

    def __init__(self, delay=0.0, work=0.0, program=None, boot=0.0, boot_says=b"", drop=(),
                 forgets=False):  # fmt: skip
        self.now = 0.0
        self.delay, self.work, self.boot, self.boot_says = delay, work, boot, boot_says
        self.drop = set(drop)
        self.forgets = forgets
        self.sent = 0
        self.program = program
        self.mode = "friendly" if program is None else "program"
        self.line = bytearray()
        self.to_board: deque[tuple[float, int]] = deque()  # when it arrives, and the byte
        self.to_pc: deque[tuple[float, bytes]] = deque()
        self.running = None  # until when, and what follows: its argument says whether it was hit
        self.names: dict = {}
        self.resets = 0
        self.killed: list[str] = []  # scripts that a Ctrl-C hit
        self.ran: list[str] = []  # and those that ran to their end, or to an error of theirs

    # The PC's end

    def clock(self):
        return self.now

    def write(self, data):
        for value in data:
            if self.sent not in self.drop:
                self.to_board.append((self.now + self.delay, value))
            self.sent += 1

    def read(self, limit):
        deadline = self.now + limit
        while True:
            self.work_until(self.now)
            data = b""
            while self.to_pc and self.to_pc[0][0] <= self.now:
                data += self.to_pc.popleft()[1]
            if data:
                return data
            times = [self.to_pc[0][0]] if self.to_pc else []
            if self.running:
                times.append(min(self.running[0], self.interrupt()))
            elif self.to_board:
                times.append(self.to_board[0][0])
            if not times or min(times) > deadline:
                self.now = deadline
                return b""
            self.now = max(self.now, min(times))

    # The board's

    def say(self, data, at):
        at += self.delay
        self.to_pc.append((max(at, self.to_pc[-1][0]) if self.to_pc else at, data))

    def work_until(self, now):
        """Take the bytes that have come, as fast as the board does."""
        at = 0.0
        while True:
            if self.running:
                end, then = self.running
                hit = self.interrupt()
                at = min(end, hit)
                if at > now:
                    return
                self.running = None
                if hit < end:  # what came before it is lost
                    while self.to_board.popleft()[1] != 3:
                        pass
                then(at, hit < end)
                self.forget(at)
            elif self.to_board and max(self.to_board[0][0], at) <= now:
                at = max(self.to_board[0][0], at)
                self.byte(self.to_board.popleft()[1], at)
            else:
                return

    def run(self, at, seconds, then):
        self.forget(at)
        self.running = at + seconds, then

    def forget(self, at):
        while self.forgets and self.to_board and self.to_board[0][0] <= at:
            self.to_board.popleft()

    def interrupt(self):
        """When the next Ctrl-C comes."""
        return next((at for at, value in self.to_board if value == 3), math.inf)

    def byte(self, value, at):
        if self.mode == "program":
            if value == 3:
                self.mode = "friendly"
                done = b"\r\nKeyboardInterrupt: \r\n>>> "
                self.run(at, self.program, lambda at, hit: self.say(done, at))
        elif self.mode == "friendly":
            if value == 1:
                self.mode = "raw"
                self.line.clear()
                self.say(BANNER, at)
            elif value == 4 and not self.line:
                self.reset(at)
            elif value in (3, 13):
                self.line.clear()
                self.say(b"\r\n>>> ", at)
            elif value != 4:
                self.line.append(value)
                self.say(bytes([value]), at)  # its echo
        elif value == 1:
            self.line.clear()
            self.say(BANNER, at)
        elif value == 2:
            self.mode = "friendly"
            self.line.clear()
            self.say(b"\r\n>>> ", at)
        elif value == 3:
            self.line.clear()
        elif value == 4:
            self.say(b"OK", at)
            if self.line:
                self.execute(at)
            else:
                self.say(b"\r\n", at)
                self.reset(at)
        else:
            self.line.append(value)

    def execute(self, at):
        code = self.line.decode()
        self.line.clear()

        def then(at, hit):
            out, trace = io.StringIO(), ""
            if hit:
                self.killed.append(code)
                trace = "KeyboardInterrupt: "
            else:
                self.ran.append(code)
                try:
                    with contextlib.redirect_stdout(out):
                        exec(code, self.names)
                except Exception:
                    trace = traceback.format_exc()
            said = out.getvalue() + "\x04" + trace + "\x04>"
            self.say(said.replace("\n", "\r\n").encode(), at)

        self.run(at, self.work, then)

    def reset(self, at):
        """A soft reset, into the REPL that there was; boot.py may be interrupted."""
        self.resets += 1
        self.names = {}
        self.say(b"MPY: soft reboot\r\n" + self.boot_says, at)

        def then(at, hit):
            if hit:
                self.killed.append("boot.py")
            self.say(BANNER if self.mode == "raw" else b">>> ", at)

        self.run(at, self.boot, then)
