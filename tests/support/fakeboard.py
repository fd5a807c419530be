"""The board's end of the serial link in a thread of this Python, and a line with faults to it.

What runs there is the file that boards run.
"""

from __future__ import annotations

import contextlib
import threading
import time

from picoformer.boards.link import Link
from picoformer.device.server import Server

STALL = 0.05  # seconds


class Line:
    """Bytes in one direction. `damage` maps the number of a byte to what becomes of it."""

    def __init__(self):
        self.arrived = threading.Condition()
        self.bytes = bytearray()
        self.closed = False
        self.count = 0
        self.damage = {}
        self.room = None  # bytes that wait to be read, beyond which more are lost
        self.lost = 0
        self.dead = self.stall = 1 << 62  # the number of a byte from which on nothing passes
        self.held = bytearray()  # behind a stall, for a while

    def write(self, data):
        with self.arrived:
            if self.passes(len(data)):
                self.bytes += data
                self.count += len(data)
            else:
                for value in data:
                    self.take(value)
            self.arrived.notify_all()
        return len(data)

    def passes(self, n):
        """Whether nothing befalls the next n bytes."""
        end = self.count + n
        if self.room is not None or min(self.dead, self.stall) <= end:
            return False
        return not any(self.count <= at < end for at in self.damage)

    def take(self, value):
        if self.room is not None and len(self.bytes) >= self.room:
            self.lost += 1
            return
        if self.count == self.stall:
            threading.Timer(STALL, self.release).start()
        some = self.damage.get(self.count, lambda v: bytes([v]))(value)
        self.count += 1
        if self.count <= self.dead:
            held = self.count > self.stall
            (self.held if held else self.bytes).extend(some)

    def release(self):
        with self.arrived:
            self.stall = 1 << 62
            self.bytes += self.held
            self.held.clear()
            self.arrived.notify_all()

    def wait(self, size, limit):
        with self.arrived:
            return self.arrived.wait_for(lambda: self.closed or len(self.bytes) >= size, limit)

    def read(self, size):
        with self.arrived:
            taken = bytes(self.bytes[:size])
            del self.bytes[:size]
        return taken

    def close(self):
        with self.arrived:
            self.closed = True
            self.arrived.notify_all()


class FakeBoard:
    """A port with a board's server behind it, whose flash is a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.to_board, self.to_pc = Line(), Line()
        self.interrupted = False
        self.server = None
        self.start()

    def start(self):
        def read(size):
            data = self.drain(size)
            if self.interrupted:
                raise KeyboardInterrupt
            return data

        self.server = Server(
            read,
            self.say,
            lambda ms: self.wait(ms / 1000),
            f"{self.folder}/",
            self.readinto,
        )
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def drain(self, size):
        """So many bytes, or fewer at the end; as they come, so that the line has room for more."""
        data = b""
        while len(data) < size and self.wait(None):
            some = self.to_board.read(size - len(data))
            if not some:
                break
            data += some
        return data

    def wait(self, limit):
        """Whether a byte comes, or the end of all, within so many seconds."""
        return self.to_board.wait(1, limit)

    def say(self, data):
        return self.to_pc.write(data)

    def readinto(self, buffer, size):
        data = self.drain(size)
        buffer[: len(data)] = data

    def run(self):
        with contextlib.suppress(KeyboardInterrupt):
            self.server.run()
        self.server.close()
        self.to_pc.dead = 1 << 62
        self.say(b"\x04\x04>")

    def read(self, limit):
        self.to_pc.wait(1, limit)
        return self.to_pc.read(1 << 20)

    def write(self, data):
        self.to_board.write(data)

    def reset(self):
        """Everything stops, and the REPL has the port; returns what the line then carries."""
        self.interrupted = True
        self.to_pc.dead = self.to_pc.count
        self.to_board.close()
        return b""

    def interrupt(self):
        """Ctrl-C: the REPL comes back, wherever the board is."""
        self.interrupted = True
        self.close()

    def close(self):
        self.to_board.close()
        self.thread.join(5)
        assert not self.thread.is_alive()


def begin(board, raw=True, payload=1024, credit=4096):
    link = Link(board, getattr(board, "clock", time.monotonic))
    link.start(60)
    link.hello.raw, link.hello.payload, link.hello.credit = raw, payload, credit
    board.server._payload = payload
    return link


# Damages: what becomes of a byte


def flip(value):
    return bytes([value ^ 0x10])


def drop(value):
    return b""


def double(value):
    return bytes([value, value])
