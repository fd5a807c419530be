"""Requests to a board whose server runs, each repeated until it is answered."""

from __future__ import annotations

import struct

from ..device import server_frames as wire
from . import limits
from .channel import Channel, Clock, Port
from .errors import EndedError, SilentError
from .frames import Frame
from .replies import Reader, refusal
from .streaming import Streamer

TRIES = 6  # times that a reply may take what the last one took


def restarted() -> EndedError:
    """What a READY means that nobody waits for."""
    return EndedError("the board's server was started again in between")


class Session(Channel):
    """Requests to a board; while one runs, the board gets the weights that it asks for."""

    def __init__(self, port: Port, clock: Clock) -> None:
        super().__init__(port, clock)
        self.streamer = Streamer(self)
        self.requests = 0  # that were made
        self.ahead = False  # whether the board has parts of what is not all sent
        self.lag = 0.0
        """Seconds that the board took for the last request that takes no time."""

    @property
    def patience(self) -> float:
        """Seconds for a reply to a request that takes no time, before it is repeated."""
        return limits.RESEND + self.lag

    def receive(self, limit: float) -> Frame | None:
        """The next frame that is not about weights, or None after `limit` seconds.

        Raises EndedError, LostError, NoWeightsError.
        """
        deadline = self.clock() + limit
        frame = super().receive(limit)
        while frame and frame.kind == wire.WANT:
            self.streamer.answer(frame)
            frame = super().receive(deadline - self.clock())
        return frame

    def request(
        self,
        kind: int,
        body: bytes = b"",
        limit: float | None = None,
        parts: dict[int, bytes] | None = None,
    ) -> bytes:
        """Send a request until it is answered; the reply's payload.

        `limit`: seconds without a sign of life (default: limits.REPLY). Every frame is one, but
        that a frame was damaged says nothing new.
        `parts` takes the parts of a reply that begin with (offset, total) instead; the last
        comes when offset and items reach the total.
        """
        quick = limit is None
        limit = max(limits.REPLY if limit is None else limit, TRIES * self.patience)
        self.requests += 1
        seq = self.next_seq()
        frame = self.encode(kind, seq, body)
        resend = self.patience
        start = again = self.clock()
        end = again + limit
        stuck = False
        self.streamer.begin(kind not in (wire.STOP, wire.BYE))
        while True:
            now = self.clock()
            end = max(end, self.streamer.served + limit)
            again = max(again, self.streamer.served + limits.STALL)
            if now >= end:
                raise SilentError(
                    f"the board does not answer (request {kind}, {limit:.0f} s); interrupt it "
                    "with Ctrl-C in a terminal, or reset it"
                )
            if now >= again:
                if stuck:
                    self.repeat(frame)
                else:
                    self.write(frame)
                stuck = True
                again = now + resend
                resend *= 2
            answer = self.receive(max(min(again, end) - now, 0))
            if answer is None:
                continue
            if answer.kind == wire.ERROR and answer.seq in (0, seq):
                error = refusal(answer.body)
                if error.code == wire.BAD_CRC and stuck:
                    again = self.clock()  # repeat it at once, but not for ever
                    stuck = False
                elif answer.seq == seq:
                    raise error
            elif answer.kind == wire.READY:
                raise restarted()
            elif answer.kind == kind | 0x80 and answer.seq == seq:
                if quick:
                    self.lag = self.clock() - start
                self.answered()
                if parts is None or _last(answer.body, parts):
                    return answer.body
                end = max(end, self.clock() + limit)
            else:
                now = self.clock()
                end = max(end, now + (limits.REPLY if answer.kind == wire.BUSY else limit))
                if answer.kind == wire.BUSY:
                    self.stuck = 0
                elif answer.kind & 0x80:  # ours comes behind the replies to what was before it
                    again = max(again, now + resend)

    def argue(self, argument: bytes, fixed: int) -> bytes:
        """Send ahead what does not fit into one frame beside `fixed` bytes; the rest."""
        at = 0
        room = self.hello.payload - 2
        if self.ahead:  # an interrupt came in between
            self.request(wire.ARGUMENT, struct.pack("<H", 0))
        while len(argument) - at > self.hello.payload - fixed:
            self.ahead = True
            self.request(wire.ARGUMENT, struct.pack("<H", at) + argument[at : at + room])
            at = min(at + room, len(argument))
        self.ahead = False
        return argument[at:]


def _last(body: bytes, parts: dict[int, bytes]) -> bool:
    """Keep a part of a reply; whether it is the last."""
    offset, total = Reader(body).take("II")
    parts[offset] = body[8:]
    return bool(offset + len(body[8:]) // 4 >= total)
