"""Weights that the PC sends, tile by tile, while a model runs; docs/protocol.md defines how."""

import struct
from binascii import a2b_base64, crc32

from .errors import Error
from .server_frames import (
    BAD_STATE,
    BUSY,
    DAMAGED,
    GENERATE,
    LOST,
    SILENCE,
    STALE,
    TILE,
    WANT,
    Refused,
)

AGAIN = 2000  # ms of silence after which tiles are asked for again
QUIET = 100  # ms of silence that end what is not understood
AHEAD = 8  # tiles asked for, where the link makes the PC wait with those that have no room yet


class Stream:
    """What `Model` reads its weights from; see weights.File.

    server: who talks to the PC. crc: of the model file's header, by which the PC knows the file.
    """

    def __init__(self, server, crc):
        self._server = server
        self._crc = crc
        self._buffer = None  # of the tile that is waited for
        self._bytes = None  # the same, byte by byte
        self._at = self._n = 0
        self._flight = 0  # tiles on their way, of which the first begins at `due`
        self._due = 0
        self._step = None  # behind them the next one to ask for: its step and row group
        self._g = 0

    def fill(self, buffer, at, n, step, g):
        server = self._server
        if buffer is not self._buffer:
            self._buffer = buffer
            self._bytes = _bytes(buffer)
        self._at = at
        self._n = n
        try:
            if at != self._due:
                self._flight = 0
            self._due = -1  # should this be interrupted
            server.streaming = self
            self._ask(step, g)
            silent = 0
            while True:
                frame = server._receive(AGAIN)
                kind = frame[0] if frame else LOST
                if kind == TILE:
                    break
                if kind not in (DAMAGED, LOST):
                    self._heed(*frame)
                    continue
                if not frame:
                    silent += AGAIN
                elif kind == LOST:
                    self._drain()
                if silent >= SILENCE or not server.alive:
                    server.alive = False
                    raise Error("the PC has stopped sending weights")
                self._flight = 0
                self._ask(step, g)
        finally:
            server.streaming = None
        self._flight -= 1
        if self._flight:
            more = g + step.some < step.groups
            self._due = at + n if more else step.next.at

    def _ask(self, step, g):
        """Ask for the tile that is waited for, if that is to be done, and for those behind it."""
        server = self._server
        ahead = AHEAD if server.patient else 1
        if self._flight > ahead >> 1:
            return
        asked = b""
        if not self._flight:
            self._step = step
            self._g = g
            if not step:
                asked = struct.pack("<II", self._at, self._n)
                self._flight = 1
        while self._step and self._flight < ahead:
            step = self._step
            n = min(step.some, step.groups - self._g)
            asked += struct.pack("<II", step.at + self._g * step.size, n * step.size)
            self._flight += 1
            self._g += n
            if self._g == step.groups:
                self._g = 0
                self._step = step.next
        if asked:
            server._send(WANT, server._now[1], struct.pack("<I", self._crc) + asked)

    def _heed(self, kind, seq, body):
        """What the PC says while a tile is waited for."""
        server = self._server
        if (kind, seq) == server._now and kind != GENERATE:
            server._send(BUSY, seq, b"")
            return
        server._heed(kind, seq, body)
        if server._stop:
            raise Refused(BAD_STATE, server._now[0], "")

    def _drain(self):
        """Drop what comes, until nothing comes."""
        server = self._server
        while server._ready(QUIET):
            if not server._read(1):
                server.alive = False
                break

    def take(self):
        """Read a tile, behind its mark.

        Returns TILE if it is the one that is waited for, STALE if it is another one, DAMAGED if
        its bytes are not what they were, LOST if nobody can tell where it ends.
        """
        server = self._server
        read = server._read
        head = a2b_base64(read(24))
        if len(head) != 16 or crc32(head[:15]) & 255 != head[15]:
            return LOST
        at, n, crc = struct.unpack_from("<III", head)
        fixes = head[12] | head[13] << 8 | head[14] << 16
        if server.streaming is not self or at != self._at or n != self._n:
            n += fixes
            while n > 0:
                n -= len(read(min(n, 256))) or n
            return STALE
        data = self._bytes
        server._readinto(data, n)
        # A 3, which would be Ctrl-C, is told by its distance from the one before it.
        i = 0
        while fixes > 0:
            some = read(min(fixes, 256))
            fixes -= len(some) or fixes
            for v in some:
                i += v - 4
                if v < 255 and 0 <= i < n:
                    data[i] = 3
                    i += 1
        good = crc32(memoryview(data)[:n], crc32(head[:8])) & 0xFFFFFFFF == crc
        return TILE if good else DAMAGED


def _bytes(words):
    """The bytes of an array of words."""
    try:
        from uctypes import addressof, bytearray_at
    except ImportError:  # the PC's tests
        return memoryview(words).cast("B")
    return bytearray_at(addressof(words), 4 * len(words))
