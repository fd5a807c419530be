"""A model file on its way into a board's flash, and where an upload that was cut is resumed."""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Callable
from dataclasses import dataclass, field

from ..device import server_frames as wire
from . import limits
from .errors import LinkError, SilentError
from .replies import Reader, refusal
from .session import Session, restarted

ATTEMPTS = 3  # at a block, before the upload fails
SMALL = 64  # bytes of a block's data that an unreliable link is brought down to
BATCH = 16384  # bytes of frames that are sent at once

Progress = Callable[[int, int], object]


@dataclass
class _Flight:
    """Blocks on their way: sequence number -> (end offset, bytes of the frame)."""

    sent: int  # the offset that they reach
    blocks: dict[int, tuple[int, int]] = field(default_factory=dict)
    next: tuple[int, int, bytes] | None = None  # one that waits for credit: number, end, frame

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.blocks.values())


class Upload:
    """Puts a model file into the board's flash, whole or not at all.

    progress(bytes in flash, all bytes) is called as they arrive.
    """

    def __init__(
        self, session: Session, name: str, data: bytes, progress: Progress | None = None
    ) -> None:
        self._session = session
        self._name = name
        self._data = data
        self._progress = progress
        self._block = session.hello.payload - 4  # bytes of a block's data
        self._credit = session.hello.credit
        self._failures = self._losses = 0
        self._patience = session.patience
        self._check = limits.FLASH + len(data) / limits.CHECK_RATE  # seconds

    def run(self) -> int:
        """Returns the offset at which an earlier upload of the same bytes had stopped."""
        at = resumed = self._begin()
        while True:
            self._reached(at)
            if at == len(self._data):
                break
            reached, sent, error = self.send(at)
            at = reached if error is None else self._resume(at, sent, error)
        self._session.request(wire.COMMIT, limit=self._check)
        self._session.block = 0
        return resumed

    def _begin(self) -> int:
        """The offset up to which the board has these bytes."""
        begin = struct.pack("<II", len(self._data), crc32(self._data))
        for fresh in b"\0", b"\1":
            body = begin + fresh + self._name.encode()
            r = Reader(self._session.request(wire.BEGIN, body, self._check))
            at, prefix = r.take("II")
            if r.left:  # of runtimes that take longer frames in an upload than else
                (self._session.block,) = r.take("H")
                self._block = max(self._session.block - 4, SMALL)
            if prefix == crc32(self._data[:at]):
                break
        return int(at)

    def _resume(self, start: int, sent: int, error: LinkError) -> int:
        """Where the board is, after a silence or something that was damaged.

        start, sent: the offsets from which on and up to which the last blocks were sent.
        """
        session = self._session
        if not isinstance(error, SilentError):
            session.unstick()
            while session.receive(limits.DRAIN):
                pass
        # littlefs looks for free blocks through all of the flash, now and then.
        (at,) = Reader(session.request(wire.DATA, bytes(4), limits.FLASH)).take("I")
        if at == sent:  # it was only late
            self._patience = max(2 * self._patience, session.patience)
            return int(at)
        self._failures = 1 if at > start else self._failures + 1
        if self._failures > ATTEMPTS:
            raise error
        if self._failures > 1:
            # Longer frames than others may be too long for what the board has in front of it.
            others = session.hello.payload - 4
            self._block = max(min(self._block // 4, others), SMALL)
        self._losses += 1
        if self._losses > ATTEMPTS:
            self._credit = 0  # one block at a time: the board may have less room than it says
        return int(at)

    def send(self, at: int) -> tuple[int, int, LinkError | None]:
        """Send from `at` on, within the credit; where the board got, up to where blocks were
        sent, and what went wrong."""
        session, size = self._session, len(self._data)
        flight = _Flight(at)
        done = at
        while done < size:
            batch = self._batch(flight)
            if batch:
                session.look()
                session.write(*batch)
            answer = session.receive(0 if batch and flight.sent < size else self._patience)
            if answer is None and batch:
                continue
            if answer is None:
                return done, flight.sent, SilentError(
                    "the board stopped answering in the middle of the upload; what arrived is "
                    "kept: deploy again to go on"
                )
            if answer.kind == wire.READY:
                raise restarted()
            if answer.kind == wire.DATA | 0x80 and answer.seq in flight.blocks:
                del flight.blocks[answer.seq]
                (done,) = Reader(answer.body).take("I")
                self._reached(done)
            elif answer.kind == wire.ERROR and answer.seq in (0, *flight.blocks):
                refused = refusal(answer.body)
                if refused.code not in (wire.BAD_CRC, wire.BAD_OFFSET):
                    raise refused
                return done, flight.sent, LinkError(
                    "the upload's blocks arrive damaged, again and again; check the cable, and "
                    "whether another program uses the port. What arrived is kept"
                )
        return done, flight.sent, None

    def _batch(self, flight: _Flight) -> list[bytes]:
        """As many more frames as the credit allows, up to BATCH bytes; they count as sent."""
        batch: list[bytes] = []
        while flight.sent < len(self._data) and sum(map(len, batch)) < BATCH:
            seq, end, frame = flight.next = flight.next or self._frame(flight.sent)
            if flight.blocks and flight.bytes + len(frame) > self._credit:
                break
            batch.append(frame)
            flight.blocks[seq] = end, len(frame)
            flight.sent, flight.next = end, None
        return batch

    def _frame(self, at: int) -> tuple[int, int, bytes]:
        """Number, end and bytes of the DATA frame from offset `at` on."""
        seq = self._session.next_seq()
        piece = self._data[at : at + self._block]
        frame = self._session.encode(wire.DATA, seq, struct.pack("<I", at) + piece)
        return seq, at + len(piece), frame

    def _reached(self, done: int) -> None:
        if self._progress:
            self._progress(done, len(self._data))
