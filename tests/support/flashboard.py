"""MicroPython's raw REPL and the link's server, on a file system in memory that loses its power.

The unix port runs the boards' own files; a block device in its heap counts what is written to it
and erased, and dies in the middle of one: half of the block is as it should be, and from then on
nothing is answered. `power(k)` switches it on again, with what was left.
"""

from __future__ import annotations

import os
import select
import subprocess

import models
from picoformer.boards.errors import LostError
from picoformer.boards.link import Link
from picoformer.boards.repl import Repl

BOARD = r"""
import sys, os, vfs, gc
from picoformer.server import serve
import picoformer.server

class Cut(BaseException):
    pass

class Flash:
    def __init__(self, block, count):
        self.block, self.count = block, count
        self.bytes = bytearray(b"\xff" * (block * count))
        self.kept = None
        self.left = -1
        self.dead = False
        self.done = 0

    def spend(self, size):
        # How many of so many bytes are still written.
        if self.dead:
            raise Cut
        self.done += 1
        if self.left == 0:
            self.dead = True
            return size // 2
        self.left -= 1
        return size

    def readblocks(self, n, buffer, offset=0):
        if self.dead:
            raise Cut
        at = n * self.block + offset
        buffer[:] = memoryview(self.bytes)[at : at + len(buffer)]

    def writeblocks(self, n, buffer, offset=0):
        at = n * self.block + offset
        size = self.spend(len(buffer))
        self.bytes[at : at + size] = memoryview(buffer)[:size]
        if self.dead:
            raise Cut

    def ioctl(self, op, arg):
        if op == 4:
            return self.count
        if op == 5:
            return self.block
        if op == 6:
            at = arg * self.block
            size = self.spend(self.block) if KIND == "littlefs" else 0
            self.bytes[at : at + size] = b"\xff" * size
            if self.dead:
                raise Cut
            return 0

def mounted():
    if KIND == "littlefs":
        return vfs.VfsLfs2(flash, progsize=256)  # as on the rp2 port
    return vfs.VfsFat(flash)

def power(left):
    # The board comes up, and dies again before so many operations are done; -1: it does not.
    flash.dead = False
    flash.left, flash.done = -1, 0
    try:
        vfs.umount("/")
    except (OSError, Cut):
        pass
    vfs.mount(mounted(), "/")
    gc.collect()
    flash.left, flash.done = left, 0

def keep():
    flash.kept = bytes(flash.bytes)

def back():
    flash.bytes[:] = flash.kept

def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return None

flash = Flash(*SIZE)
(vfs.VfsLfs2 if KIND == "littlefs" else vfs.VfsFat).mkfs(flash)
vfs.umount("/")
vfs.mount(mounted(), "/")

def repl():
    names = globals()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    line = bytearray()
    while True:
        c = source.read(1)
        if not c:
            break
        if c == b"\x01":
            line[:] = b""
            sink.write(b"raw REPL; CTRL-B to exit\r\n>")
        elif c == b"\x03":
            line[:] = b""
        elif c != b"\x04":
            line.extend(c)
        else:
            sink.write(b"OK")
            code, line = line, bytearray()
            trace = b""
            try:
                exec(str(code, "utf8"), names)
            except BaseException as error:
                trace = repr(error).encode() or b"?"
            sink.write(b"\x04" + trace + b"\x04>")
repl()
"""

SIZES = {"littlefs": (4096, 64), "fat": (512, 512)}


class FlashBoard:
    """A port, and the REPL on it. kind: littlefs or fat."""

    name = "a board"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        head = f"KIND, SIZE = {kind!r}, {SIZES[kind]!r}\n"
        self.process = subprocess.Popen(
            [models.find_micropython(), "-X", "heapsize=8M", "-c", head + BOARD],
            env={**os.environ, "MICROPYPATH": f"{models.DEVICE}:.frozen"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self.repl = Repl(self)

    def read(self, limit: float) -> bytes:
        assert self.process.stdout
        if not select.select([self.process.stdout], [], [], limit)[0]:
            return b""
        data = os.read(self.process.stdout.fileno(), 65536)
        if not data:
            raise LostError("MicroPython has ended")
        return data

    def write(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)

    def ask(self, expression: str):
        """What an expression is on the board."""
        return eval(self.repl.run(f"print(repr({expression}))"))

    def files(self, folder: str = "/") -> dict[str, bytes]:
        """The files of a folder."""
        found = f"[n[0] for n in os.ilistdir({folder!r}) if n[1] == 0x8000]"
        return self.ask(f"{{n: read({folder.rstrip('/')!r} + '/' + n) for n in {found}}}")

    def server(self) -> Link:
        """The link to the server, which starts."""
        link = Link(self)
        self.repl.start("serve()")
        link.feed(self.repl.rest())
        link.start(20)
        return link

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for file in self.process.stdin, self.process.stdout:
            assert file
            file.close()
