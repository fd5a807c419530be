"""A text that a board writes: its tokens, as they come, and its end."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Generator

from ..device import server_frames as wire
from . import limits
from .errors import LinkError, NoWeightsError, SilentError
from .frames import Frame
from .replies import Reader, Stats, refusal
from .session import Session, restarted


class Text:
    """A text of the loaded model. body: the request's payload."""

    def __init__(self, session: Session, body: bytes) -> None:
        self._session = session
        self._seq = session.next_seq()
        self._frame = session.encode(wire.GENERATE, self._seq, body)
        self._done = 0  # tokens that came
        self._taken = 0  # that the board knows to have come
        self._gap = -1  # the token behind which some were asked for again
        self._slowest = 0.0  # seconds that the board has been silent
        self._pace = 0.0  # the most of them between two tokens
        self._finished = False
        self.stats = Stats()
        """The board's figures, once it has ended."""

    def pieces(self) -> Generator[str, None, None]:
        """Yield one str per token; closing stops the board."""
        session = self._session
        session.streamer.begin()
        session.look()
        session.write(self._frame)
        wait, quiet = session.patience, 0.0
        heard = session.clock()
        try:
            while not self._finished:
                answer = session.receive(wait)
                self._slowest = max(self._slowest, session.clock() - heard)
                if answer is None:
                    if session.clock() >= session.streamer.served + limits.STALL:
                        quiet += wait
                        wait = max(wait, min(2 * wait, limits.QUIET))
                        self._ask(quiet)
                elif answer.kind == wire.ERROR and answer.seq in (0, self._seq):
                    self._fault(answer)
                elif answer.kind == wire.READY:
                    raise restarted()
                elif answer.kind == wire.TOKEN and answer.seq == self._seq:
                    if self._done:
                        self._pace = max(self._pace, session.clock() - heard)
                    wait, quiet = max(session.patience, min(2 * self._pace, limits.TOKEN / 2)), 0.0
                    session.stuck = 0
                    yield from self._tokens(answer)
                    heard = session.clock()
                elif answer.kind == wire.GENERATE | 0x80 and answer.seq == self._seq:
                    self._end(answer)
        except LinkError:
            self._finished = True  # there is nobody to stop
            raise
        finally:
            if not self._finished:
                # The next request finds out.
                with contextlib.suppress(LinkError, NoWeightsError):
                    self._stop()

    def _tokens(self, frame: Frame) -> Generator[str, None, None]:
        """Yield those of a TOKEN frame that are new."""
        r = Reader(frame.body)
        (index,) = r.take("H")
        if index > self._done:
            if self._gap != self._done:  # once: more may be on their way
                self._gap = self._done
                self._take(again=True)
            return
        while r.left:
            piece = r.raw(r.take("H")[0]).decode(errors="replace")
            index += 1
            if index > self._done:
                self._done = index
                yield piece
                if self._done - self._taken >= wire.WINDOW // 4:
                    self._taken = self._done
                    self._take()

    def _end(self, frame: Frame) -> None:
        """The board has ended the text, unless tokens are missing."""
        stats = Stats.of(frame.body)
        if self._done < stats.tokens:
            self._take(again=True)
            return
        self._finished = True
        self.stats = stats
        self._session.answered()

    def _ask(self, quiet: float) -> None:
        """Ask a board that has been silent for `quiet` seconds whether it lives."""
        if quiet > limits.TOKEN:
            raise SilentError(
                f"the board has not said a word for {quiet:.0f} s; a large model may "
                "be this slow, or the board hangs: reset it"
            )
        self._repeat(again=True)

    def _fault(self, frame: Frame) -> None:
        """An ERROR frame."""
        error = refusal(frame.body)
        if error.code != wire.BAD_CRC:
            self._finished = True
            raise error
        # What was damaged went to the board: the request, or an acknowledgement.
        self._repeat()

    def _repeat(self, again: bool = False) -> None:
        """Send again what may not have arrived.

        Line feeds first: the board may have lost step, and would not find it among repeats.
        """
        taken = self._session.encode(wire.TAKEN, self._seq, self._body(again))
        self._session.repeat(taken if self._done else self._frame)

    def _take(self, again: bool = False) -> None:
        """Acknowledge the tokens that came; again: those behind them are to come again."""
        self._session.write(self._session.encode(wire.TAKEN, self._seq, self._body(again)))

    def _body(self, again: bool) -> bytes:
        return struct.pack("<HB", self._done, again)

    def _stop(self) -> None:
        """Stop the text, and wait for its end."""
        session = self._session
        # It is heard between two tokens.
        session.request(wire.STOP, limit=limits.REPLY + 2 * self._slowest)
        while last := session.receive(session.patience):
            if (last.kind, last.seq) == (wire.GENERATE | 0x80, self._seq):
                self.stats = Stats.of(last.body)
                return
