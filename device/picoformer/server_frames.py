"""Frames of the serial link, as the board sends and takes them; docs/protocol.md defines them."""

import gc
import struct
import time
from binascii import a2b_base64, b2a_base64, crc32

MAJOR, MINOR = 1, 0
SILENCE = 60000  # ms without a word from the PC after which the REPL gets the port back
WINDOW = 64  # tokens that the PC need not have acknowledged

# Requests. A reply has bit 7 set.
HELLO, INFO, LIST, BEGIN, DATA, COMMIT, REMOVE, LOAD = 1, 2, 4, 5, 6, 7, 8, 9
ARGUMENT, LOGITS, GENERATE, TAKEN, STOP, PING, BYE = 10, 11, 12, 13, 14, 15, 16
READ, LABELS, ANSWER = 17, 18, 19
# What the board says of its own accord.
READY, TOKEN, BUSY, ERROR, WANT = 0x41, 0x42, 0x43, 0x44, 0x45

# What _receive gives besides frames, while weights are waited for; see server_stream.py.
TILE, DAMAGED, LOST, STALE = 256, 257, 258, 259

# Codes of ERROR.
BAD_CRC, BAD_VERSION, BAD_REQUEST, BAD_STATE, BAD_OFFSET, BAD_NAME = 1, 2, 3, 4, 5, 6
NO_FILE, NO_SPACE, NO_MEMORY, BAD_DATA, BAD_MODEL, UNSUPPORTED, INTERNAL = 7, 8, 9, 10, 11, 12, 13

RAW = 1  # capability: raw frames
BLOCK = 2048  # payload of an upload's frames where the link drops what is not read in time
# Platforms whose link makes the sender wait while the board is busy; others drop bytes.
PATIENT = ("rp2", "samd", "mimxrt", "pyboard", "linux", "darwin")

try:
    from time import ticks_diff, ticks_ms
except ImportError:  # the PC's tests run this file, too

    def ticks_ms():
        return int(time.monotonic() * 1000)

    def ticks_diff(a, b):
        return a - b


class Refused(Exception):
    """A request that is answered with ERROR: code, number, text."""


class Frames:
    """Takes frames from a line and puts them on it.

    read(n) and readinto(buffer, n) block until n bytes; ready(ms) waits for the first.
    """

    def __init__(self, read, write, ready, readinto=None):
        self._read = read
        self._readinto = readinto
        self._write = write
        self._ready = ready
        self._payload = 32768  # the largest of a request
        self._buffer = b""  # for the longer frames of an upload
        self._stream = None  # of a model whose weights are on the PC
        self.streaming = None  # the same, while it waits for a tile
        self._seq = 0  # of the request that is being done
        self.alive = True

    def _receive(self, wait):
        """The next good frame (kind, sequence, payload), None if nothing comes for `wait` ms."""
        read = self._read
        while self._ready(wait):
            c = read(1)
            try:
                if c == b"\x1e" and self._stream:
                    n = self._stream.take()
                    if n != STALE and self.streaming:
                        return n, 0, b""
                    continue
                if c == b"~":
                    head = a2b_base64(read(8))
                    n = self._size(head)
                    body = a2b_base64(read((n + 6) // 3 * 4))
                elif c == b"\x1f":
                    # The 3s are replaced: in the head by one byte, in the rest by a pair.
                    head = read(11)
                    pair = head[7:9]
                    more = head[9] - 4 + (head[10] - 4) * 252
                    head = head[1:7].replace(head[:1], b"\x03")
                    n = self._size(head)
                    body = self._long(n + 4 + min(max(more, 0), n + 4)).replace(pair, b"\x03")
                elif c:
                    if self.streaming and c != b"\n":
                        return LOST, 0, b""
                    continue
                else:
                    self.alive = False
                    return None
            except (ValueError, IndexError):  # no base64; cut off by the end of the input
                body = b""
            except MemoryError:  # nothing was asked for yet: as if it were damaged
                gc.collect()
                body = b""
            if body and len(body) == n + 4:
                view = memoryview(body)
                crc = crc32(view[:n], crc32(head)) & 0xFFFFFFFF
                if crc == struct.unpack_from("<I", body, n)[0]:
                    return head[1], head[2], view[:n]
            if self.streaming:
                return LOST, 0, b""
            self._fail(0, BAD_CRC, 0, "")
        return None

    def _long(self, n):
        """n bytes that come now. No memory is asked for: to collect it may take too long."""
        buffer = self._buffer
        if n > len(buffer):
            return self._read(n)
        self._readinto(buffer, n)
        return bytes(memoryview(buffer)[:n])

    def _size(self, head):
        """Bytes of the payload behind a frame's first six: what is no such head is not waited for.

        One in 256 that are damaged, and one of nothing but line feeds, has a good check byte.
        """
        if len(head) == 6 and crc32(head[:5]) & 255 == head[5]:
            n = head[3] | head[4] << 8
            most = BLOCK if self._buffer and head[1] == DATA else self._payload
            if (head[0] == MAJOR or head[1] == HELLO) and n <= most:
                return n
        raise ValueError

    def _frame(self, kind, seq, body):
        head = struct.pack("<BBBH", MAJOR, kind, seq, len(body))
        head += bytes((crc32(head) & 255,)) + body
        return b"\n~" + b2a_base64(head + struct.pack("<I", crc32(head) & 0xFFFFFFFF))

    def _send(self, kind, seq, body):
        self._write(self._frame(kind, seq, body))

    def _fail(self, seq, code, number, text):
        frame = self._frame(ERROR, seq, struct.pack("<BI", code, number) + text.encode())
        self._write(frame)
        return frame
