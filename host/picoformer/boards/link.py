"""The PC's end of the serial link: what one may ask a board; docs/protocol.md is the definition.

`Link` needs a port with `read(seconds)` and `write(bytes)`, and a clock: tests give it ports that
damage what passes, and boards that are no boards. What a board must be for the link to start,
`connection.py` arranges.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Generator, Sequence

import numpy as np

from ..device import server_frames as wire
from . import limits
from .channel import Clock, Port
from .errors import EndedError, LinkError, SilentError
from .replies import Hello, Info, Labels, Loaded, Reader, Stats, Stored
from .session import Session
from .text import Text
from .upload import Progress, Upload

HELLO = bytes([wire.MAJOR, wire.MINOR])
TASKS = {"classify": 0, "embed": 1, "tag": 4, "predict": 8}  # of READ
ARGUMENT = 0xFFFF  # bytes of an argument that is sent ahead
ATTEMPTS = 3  # at a result that comes in parts


class Link(Session):
    """Requests to a board whose server runs.

    port: see Port. clock: seconds that only grow. Methods raise LinkError (SilentError,
    EndedError, LostError) and BoardError.
    """

    def __init__(self, port: Port, clock: Clock = time.monotonic) -> None:
        super().__init__(port, clock)
        self._labels: Labels | None = None
        self.loaded: tuple[str, Loaded] | None = None
        """The model in the board's memory, as far as this link knows."""
        self.stats = Stats()
        """What the last text took."""

    def start(self, limit: float) -> Hello:
        """Wait for the server's READY, and greet it."""
        deadline = self.clock() + limit
        while True:
            frame = self.receive(min(limits.STALL, deadline - self.clock()))
            if frame is None and self.clock() < deadline:
                self.write(self.encode(wire.HELLO, 0, HELLO))  # READY may be lost
            elif frame is None:
                heard = self.heard()
                raise SilentError(
                    f"picoformer on the board did not start within {limit:.0f} s"
                    + (f"; it said {heard[-300:]!r}" if heard else "")
                )
            elif frame.kind in (wire.READY, wire.HELLO | 0x80):
                return self.greet()

    def greet(self) -> Hello:
        """Say HELLO: agree on a version and learn what the board takes."""
        self.hello.raw = False
        self.hello = Hello.of(self.request(wire.HELLO, HELLO))
        return self.hello

    def ping(self, body: bytes = b"") -> bytes:
        """The same bytes, back from the board."""
        return self.request(wire.PING, body)

    def bye(self) -> None:
        """End the server, and wait until the REPL has the port again."""
        self.request(wire.BYE)
        with contextlib.suppress(EndedError):
            self.receive(limits.REPLY)
        self.end()

    def info(self) -> Info:
        return Info.of(self.request(wire.INFO, limit=limits.FLASH))

    # Models

    def models(self) -> list[Stored]:
        """The models in the board's flash."""
        found: list[Stored] = []
        while True:
            r = Reader(self.request(wire.LIST, bytes([len(found)])))
            (count,) = r.take("B")
            while r.left:
                size, crc = r.take("II")
                found.append(Stored(r.text(), size, crc))
            if len(found) >= count:
                return found

    def upload(self, name: str, data: bytes, progress: Progress | None = None) -> int:
        """Put a model file into the board's flash, whole or not at all.

        Goes on where an earlier upload of the same bytes stopped; returns that offset.
        progress(bytes in flash, all bytes) is called as they arrive.
        """
        return Upload(self, name, data, progress).run()

    def remove(self, name: str) -> None:
        self.request(wire.REMOVE, name.encode())

    def load(self, name: str, context: int = 0) -> Loaded:
        """Load a model (nothing is done if it is loaded). context 0: the file's."""
        self._labels = self.loaded = None
        body = struct.pack("<H", context) + name.encode()
        loaded = Loaded.of(self.request(wire.LOAD, body, limits.LOAD))
        self.loaded = name, loaded
        return loaded

    # Of the loaded model

    def generate(
        self, prompt: str, max_tokens: int | None, temperature: int, top_p: int, seed: int
    ) -> Generator[str, None, None]:
        """Yield the text of the loaded model, one str per token; closing stops the board.

        temperature and top_p in thousandths. `stats` holds the board's figures afterwards.
        """
        fixed = struct.pack("<HIHI", max_tokens or 0, temperature, top_p, seed & 0xFFFFFFFF)
        self.stats = Stats()
        text = Text(self, fixed + self.argue(prompt.encode(), len(fixed)))
        try:
            yield from text.pieces()
        finally:
            self.stats = text.stats

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """int32 logits (vocab,) behind the last of `tokens`, of the loaded model."""
        return self._result(wire.LOGITS, b"", np.asarray(tokens, "<u2").tobytes())

    def read(self, given: str | bytes, task: str) -> np.ndarray:
        """int32 result (outputs,) of the loaded model for a text, or for pixels or a signal.

        task: classify, embed, predict, or tag: of each word its number and the labels' logits.
        """
        kind = TASKS[task] | 2 * isinstance(given, bytes)
        return self._result(
            wire.READ, bytes([kind]), given.encode() if isinstance(given, str) else given
        )

    def answer(self, context: str, question: str) -> str:
        """The part of `context` that answers, by the loaded model."""
        text = context.encode()
        rest = self.argue(text + question.encode(), 2)
        head = struct.pack("<H", len(text))
        return self.request(wire.ANSWER, head + rest, limits.TOKEN).decode()

    def labels(self) -> Labels:
        """What the loaded model's logits stand for; asked for once."""
        found: list[str] = []
        while self._labels is None:
            r = Reader(self.request(wire.LABELS, struct.pack("<H", len(found))))
            bits, total, *shape = r.take("BHHHB")
            while len(found) < total and r.left:
                found.append(r.text())
            if len(found) == total:
                height, width, channels = shape
                image = (height, width, channels) if channels else (0, 0, 0)
                frames = (0, 0) if channels else (height, width)
                self._labels = Labels(found, bits & 127, bits > 127, image, frames)
        return self._labels

    def _result(self, kind: int, head: bytes, argument: bytes) -> np.ndarray:
        for _ in range(ATTEMPTS):
            parts: dict[int, bytes] = {}
            rest = self.argue(argument, len(head))
            body = self.request(kind, head + rest, limits.TOKEN, parts)
            (total,) = struct.unpack_from("<I", body, 4)
            values = np.frombuffer(b"".join(parts[at] for at in sorted(parts)), "<i4")
            if len(values) == total:
                return values.astype(np.int32)
        raise LinkError("the board's result did not come whole; check the cable")
