"""Frames to and from a board, over a port on which some of their bytes may be lost or damaged."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

from .errors import EndedError, SilentError
from .frames import Decoder, Frame, encode_raw, encode_text
from .replies import Hello

LOSS = 2048  # bytes that a link may lose at once; a busy board has to read what makes up for them
DESPERATE = 2, 5  # the times that this much is sent, without an answer
PAUSE = 0.03  # seconds in which a UART brings 256 bytes, the least credit, and a board reads them

Clock = Callable[[], float]


class Port(Protocol):
    """What a link needs of a port. Both raise LostError."""

    def read(self, limit: float) -> bytes:
        """What has come; waits `limit` seconds for the first byte, then returns nothing."""
        ...

    def write(self, data: bytes) -> None: ...


class Channel:
    """Frames to and from a board.

    port: see Port. clock: seconds that only grow.
    """

    def __init__(self, port: Port, clock: Clock) -> None:
        self.port = port
        self.clock = clock
        self.hello = Hello(1, 0, False, 128, 256, b"", 0, "")
        """What the board has said of itself: the form and the size of the frames that it takes."""
        self.block = 0
        """The largest payload of an upload's frames, where that is more than of others."""
        self.longest = 0  # bytes of the frames that the board may be in the middle of
        self.stuck = 0  # times that such a frame was completed, without an answer
        self._decoder = Decoder()
        self._inbox: deque[Frame] = deque()
        self._seq = 0

    def next_seq(self) -> int:
        """The number of the next request."""
        self._seq = self._seq % 255 + 1  # 0 is the board's, where it cannot tell
        return self._seq

    def encode(self, kind: int, seq: int, body: bytes = b"") -> bytes:
        """A frame in the form that the board takes."""
        encode = encode_raw if self.hello.raw else encode_text
        return encode(kind, seq, body)

    def write(self, *frames: bytes) -> None:
        """Send frames, all at once."""
        self.longest = max(self.longest, *map(len, frames))
        self.port.write(b"".join(frames))

    def unstick(self) -> None:
        """Complete whatever frame the board may be waiting for the rest of.

        Where that did not help, it may be one whose damaged length has a good check byte. A UART
        has no room for so many line feeds, nor for frames that are so long; a board that computes
        has to read them all when it is done.
        """
        self.stuck += 1
        if self.stuck in DESPERATE and self.hello.raw:
            most = max(self.hello.payload, self.block)
            self.longest = max(self.longest, min(most, LOSS))
        left = 2 * self.longest + 8
        self.longest = 0
        while left > 0:
            some = min(left, max(self.hello.credit, 64))
            self.port.write(b"\n" * some)
            left -= some
            until = self.clock() + PAUSE
            while left and (more := until - self.clock()) > 0:
                self.feed(self.port.read(more))

    def repeat(self, frame: bytes) -> None:
        """Send a frame again that may be lost, behind what completes a broken one.

        That a port takes no more is no news: a board that computes does not read.
        """
        with contextlib.suppress(SilentError):
            self.unstick()
            self.write(frame)

    def answered(self) -> None:
        """The board is in step."""
        self.longest = self.stuck = 0

    def receive(self, limit: float) -> Frame | None:
        """The next frame, or None after `limit` seconds. Raises EndedError, LostError."""
        deadline = self.clock() + limit
        while not self._inbox:
            self._check()
            left = deadline - self.clock()
            if left <= 0:
                return None
            self.feed(self.port.read(left))
        return self._inbox.popleft()

    def look(self) -> None:
        """Before sending: is the server still there? Frames must not be typed into a REPL."""
        if data := self.port.read(0):
            self.feed(data)
        self._check()

    def _check(self) -> None:
        if self._decoder.ended:
            heard = self.heard()
            raise EndedError(
                "the board was reset or interrupted: its REPL has the port again"
                + (f", saying {heard[-300:]!r}" if heard else "")
            )

    def end(self) -> None:
        """From now on the REPL has the port."""
        self._decoder.ended = True

    def feed(self, data: bytes) -> None:
        """Take what the board sent."""
        self._inbox.extend(self._decoder.feed(data))

    def heard(self) -> str:
        """What the board said outside of frames."""
        return self._decoder.heard()
