"""The PC's end of the serial link; docs/protocol.md is the definition.

`Link` needs a port with `read(seconds)` and `write(bytes)`, and a clock: tests give it ports that
damage what passes, and boards that are no boards. What a board must be for the link to start,
`board.py` arranges.
"""

from __future__ import annotations

import contextlib
import math
import struct
import time
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64, crc32
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..device import server as wire
from ..errors import Error

# Time limits, in seconds. A request is repeated after RESEND, twice that, and so on.
RESEND = 1.5  # for a reply to a request that takes a board no time
REPLY_LIMIT = 12.0  # altogether, for such a request
LOAD_LIMIT = 180.0  # for a model to be checked and loaded
TOKEN_LIMIT = 180.0  # without a sign of life while a text is generated
DRAIN = 0.1  # of silence, before an upload that went wrong is taken up again
CHECK_RATE = 8_000  # bytes a second that any board reads, to bound the time of a check

ATTEMPTS = 3  # at an upload's block, before it fails
SMALL = 64  # bytes of a block's data that an unreliable link is brought down to
QUIET_LIMIT = 16.0  # between two questions whether the board still lives
STALL = 10.0  # without a word from a board that was sent weights, before it is asked
PIECE = 4096  # bytes of weights that are written at once: a board may take its time
LOSS = 2048  # bytes that a link may lose at once; a busy board has to read what makes up for them
BATCH = 16384  # bytes of frames that are sent at once
NOISE = 4096  # bytes kept of what the board says outside of frames

TEXT_MARK = b"~"
RAW_MARK = b"\x1f"
TILE_MARK = b"\x1e"
TILE_END = b"\n" * 8  # completes a tile that has lost some bytes
SKIP = 251  # bytes without a Ctrl-C that one byte of a tile's list stands for
CTRL_C = b"\x03"
# Printing characters first: control codes mean something to a REPL.
STAND_INS = [bytes([v]) for v in (*range(0x20, 0x100), 0, 1, 2, *range(4, 0x20))]
# What is seen where the REPL has the port again: the server has ended.
REPL_MARKS = (b"\x04", b"MPY: ", b">>> ", b"raw REPL")

Clock = Callable[[], float]


class LinkError(Error):
    """The link to the board failed."""


class SilentError(LinkError):
    """The board does not answer."""


class EndedError(LinkError):
    """The server on the board has ended, because the board was reset or interrupted."""


class LostError(LinkError):
    """The port is gone: unplugged, or the board was reset."""


class BoardError(Error):
    """The board refused a request. `code` and `number` are the protocol's."""

    code = 0
    number = 0


class NoSpaceError(BoardError):
    """The board's file system is full."""


class NoMemoryError(BoardError):
    """The board's heap is too small."""


class NoModelError(BoardError):
    """There is no such model on the board."""


class NoWeightsError(BoardError):
    """The board wants weights that were not given, or those of another file."""


class Port(Protocol):
    """What a link needs of a port. Both raise LostError."""

    def read(self, limit: float) -> bytes:
        """What has come; waits `limit` seconds for the first byte, then returns nothing."""
        ...

    def write(self, data: bytes) -> None: ...


@dataclass(frozen=True)
class Frame:
    kind: int
    seq: int
    body: bytes


def _pack(kind: int, seq: int, body: bytes) -> bytes:
    head = struct.pack("<BBBH", wire.MAJOR, kind, seq, len(body))
    whole = head + bytes([crc32(head) & 255]) + body
    return whole + struct.pack("<I", crc32(whole))


def _unpack(whole: bytes) -> Frame | None:
    if len(whole) < 10 or crc32(whole[:5]) & 255 != whole[5]:
        return None
    size = int.from_bytes(whole[3:5], "little")
    if len(whole) != size + 10 or crc32(whole[:-4]) != int.from_bytes(whole[-4:], "little"):
        return None
    return Frame(whole[1], whole[2], whole[6:-4])


def encode_text(kind: int, seq: int, body: bytes = b"") -> bytes:
    """A frame as a line of text."""
    return b"\n" + TEXT_MARK + b2a_base64(_pack(kind, seq, body))


def encode_raw(kind: int, seq: int, body: bytes = b"") -> bytes:
    """A frame as bytes without Ctrl-C. At most 60000 bytes of payload."""
    whole = _pack(kind, seq, body)
    head, rest = whole[:6], whole[6:]
    stand_in = next(a for a in STAND_INS if a not in head)
    # There are more pairs than such a frame has bytes.
    pair = next(a + b for a in STAND_INS for b in STAND_INS if a != b and a + b not in rest)
    high, low = divmod(rest.count(CTRL_C), 252)
    return b"".join(
        (
            RAW_MARK,
            stand_in,
            head.replace(CTRL_C, stand_in),
            pair,
            bytes([low + 4, high + 4]),
            rest.replace(CTRL_C, pair),
        )
    )


def encode_tile(at: int, data: bytes) -> bytes:
    """Bytes `at` and on of the weights, without Ctrl-C, as a board reads them into its memory."""
    where = np.flatnonzero(np.frombuffer(data, np.uint8) == CTRL_C[0])
    skips, rest = np.divmod(np.diff(where, prepend=-1) - 1, SKIP)
    fixes = np.full(int(skips.sum()) + len(where), 255, np.uint8)
    fixes[np.cumsum(skips + 1) - 1] = rest + 4
    head = struct.pack("<II", at, len(data))
    head += struct.pack("<I", crc32(data, crc32(head))) + len(fixes).to_bytes(3, "little")
    head += bytes([crc32(head) & 255])
    return b"".join(
        (
            TILE_MARK,
            b2a_base64(head, newline=False),
            data.replace(CTRL_C, b"\2"),
            fixes.tobytes(),
            TILE_END,
        )
    )


class Decoder:
    """Takes a board's output apart into frames and all else."""

    def __init__(self) -> None:
        self.noise = bytearray()  # the end of what was not a frame
        self.ended = False  # has the REPL been seen?
        self._line = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""
        frames = []
        lines = data.split(b"\n")
        for i, line in enumerate(lines):
            self._line += line
            if i == len(lines) - 1:
                break
            whole = bytes(self._line)
            self._line.clear()
            if whole.startswith(TEXT_MARK):
                try:
                    frame = _unpack(a2b_base64(whole[1:]))
                except Base64Error:
                    frame = None
                if frame:
                    frames.append(frame)
                    continue
            self._noise(whole + b"\n")
        if any(mark in self._line for mark in REPL_MARKS):
            self._noise(bytes(self._line))
            self._line.clear()
        return frames

    def _noise(self, data: bytes) -> None:
        if any(mark in data for mark in REPL_MARKS):
            self.ended = True
        self.noise += data
        del self.noise[:-NOISE]

    def heard(self) -> str:
        """The noise, for a message."""
        return (self.noise + self._line).decode(errors="replace").strip("\x04>\r\n ")


@dataclass
class Hello:
    """What a board says of itself when the link starts."""

    major: int
    minor: int
    raw: bool
    payload: int  # bytes of the largest payload that the board takes
    credit: int  # bytes of frames that may be on their way to it
    nonce: bytes  # another one: the server has forgotten all
    free_heap: int
    platform: str


@dataclass
class Info:
    """The board's memory and versions; bytes."""

    free_heap: int
    largest_block: int
    free_flash: int
    machine: str
    version: str
    loaded: str  # name of the model in memory, or empty


@dataclass
class Loaded:
    """A model in the board's memory."""

    context: int
    vocab: int
    free_heap: int  # bytes
    heap: int  # bytes that the model took
    ms: int  # to load it
    weights: str
    kernels: str
    task: str


@dataclass
class Stats:
    """What the board measured while it wrote a text."""

    tokens: int = 0
    first_ms: int = 0  # to the first token: the prompt
    ms: int = 0  # altogether
    free_heap: int = 0
    stopped: bool = False

    @property
    def tokens_per_second(self) -> float:
        """Of the tokens behind the first, whose time is the prompt's."""
        return max(self.tokens - 1, 0) / max(self.ms - self.first_ms, 1) * 1e3


@dataclass
class Stored:
    """A model in the board's flash."""

    name: str
    bytes: int
    crc: int  # of its header, which names all its parts' CRCs


@dataclass
class _Flight:
    """An upload's blocks on their way: sequence number -> (end offset, bytes of the frame)."""

    blocks: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.blocks.values())


class _Reader:
    """Takes a payload apart."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        try:
            values = struct.unpack_from("<" + layout, self.body, self.at)
        except struct.error as e:
            raise LinkError(
                f"the board sent {len(self.body)} bytes where more were expected; its picoformer "
                "may be another version: deploy again"
            ) from e
        self.at += struct.calcsize("<" + layout)
        return values

    def raw(self, size: int) -> bytes:
        self.at += size
        return self.body[self.at - size : self.at]

    def text(self) -> str:
        return self.raw(self.take("B")[0]).decode(errors="replace")

    @property
    def left(self) -> int:
        return len(self.body) - self.at


def _stats(body: bytes) -> Stats:
    stopped, count, first, ms, free = _Reader(body).take("BHIII")
    return Stats(count, first, ms, free, bool(stopped))


def refusal(code: int, number: int, text: str) -> Error:
    """What an ERROR frame means, in words."""
    kind: type[BoardError] = BoardError
    if code == wire.NO_SPACE:
        kind = NoSpaceError
        words = (
            f"the board's flash is full: {number:,} bytes are free, and the model needs more; "
            "remove one that is there (Board.remove(name))"
        )
    elif code == wire.NO_MEMORY or (code == wire.BAD_MODEL and "not enough memory" in text):
        kind = NoMemoryError
        words = f"the board has too little memory: {text or f'{number:,} bytes are free'}"
        if "context" not in words:
            words += "; convert the model with a smaller --context"
    elif code == wire.NO_FILE:
        kind = NoModelError
        words = f"there is no model {text!r} on the board; deploy it first"
    else:
        words = {
            wire.BAD_VERSION: f"the board speaks version {number} of the link, this PC "
            f"{wire.MAJOR}: deploy again, with this picoformer",
            wire.BAD_REQUEST: f"the board does not understand a request ({number}): {text}",
            wire.BAD_STATE: "the board is writing a text: read it to its end or close its iterator"
            if number == wire.GENERATE
            else f"the board cannot do this now: request {number} has to come first, or to end",
            wire.BAD_OFFSET: f"the board expects byte {number:,} of the upload",
            wire.BAD_NAME: f"{text!r} is not a name for a model: expected 1 to 64 bytes, without "
            "'/', '\\' and control characters, not beginning with '.'",
            wire.BAD_DATA: f"the model in the board's flash has CRC32 {number:08x}, not that of "
            "the file: its flash may be worn; deploy again",
            wire.BAD_MODEL: text,
            wire.UNSUPPORTED: f"the board's picoformer does not know request {number}: deploy "
            "again, with this picoformer",
        }.get(code, f"the board failed: {text or f'error {code}, {number}'}")
    error = kind(words)
    error.code, error.number = code, number
    return error


class Link:
    """Requests to a board whose server runs.

    port: see Port. clock: seconds that only grow. Methods raise LinkError (SilentError,
    EndedError, LostError) and BoardError.
    """

    def __init__(self, port: Port, clock: Clock = time.monotonic) -> None:
        self._port = port
        self._clock = clock
        self._decoder = Decoder()
        self._inbox: deque[Frame] = deque()
        self._seq = 0
        self.requests = 0  # that were made
        self._labels: tuple[list[str], int, tuple[int, int, int]] | None = None
        self._longest = 0  # bytes of the frames that the board may be in the middle of
        self._stuck = 0  # times that such a frame was completed, without an answer
        self._served = -math.inf  # when the board was last sent weights, for this request
        self._serving = True  # not while it is to end what it needs them for
        self.hello = Hello(1, 0, False, 128, 256, b"", 0, "")
        self.weights: tuple[int, bytes] | None = None
        """CRC32 of a model file's header, and its weights, for a board that has only the rest."""
        self.stats = Stats()
        """What the last text took."""

    # Frames

    def _next(self) -> int:
        self._seq = self._seq % 255 + 1  # 0 is the board's, where it cannot tell
        return self._seq

    def _encode(self, kind: int, seq: int, body: bytes) -> bytes:
        encode = encode_raw if self.hello.raw else encode_text
        return encode(kind, seq, body)

    def _write(self, frame: bytes) -> None:
        self._longest = max(self._longest, len(frame))
        self._port.write(frame)

    def _unstick(self) -> None:
        """Complete whatever frame the board may be waiting for the rest of.

        Where that did not help, it may be one whose damaged length has a good check byte. A UART
        has no room for so many line feeds, nor for frames that are so long.
        """
        self._stuck += 1
        if self._stuck > 1 and self.hello.raw:
            self._longest = max(self._longest, min(self.hello.payload, LOSS))
        self._port.write(b"\n" * (2 * self._longest + 8))
        self._longest = 0

    def _answered(self) -> None:
        """The board is in step."""
        self._longest = self._stuck = 0

    def receive(self, limit: float) -> Frame | None:
        """The next frame, or None after `limit` seconds. Raises EndedError, LostError.

        A board that wants weights gets them here. Raises NoWeightsError.
        """
        deadline = self._clock() + limit
        while True:
            while not self._inbox:
                self._check()
                left = deadline - self._clock()
                if left <= 0:
                    return None
                self.feed(self._port.read(left))
            frame = self._inbox.popleft()
            if frame.kind != wire.WANT:
                return frame
            r = _Reader(frame.body)
            (crc,) = r.take("I")
            while r.left and self._serving:
                self._serve(crc, *r.take("II"))

    def _serve(self, crc: int, at: int, size: int) -> None:
        """Send the board a tile of its model's weights."""
        known, weights = self.weights or (0, b"")
        if self.weights is None or crc != known or at + size > len(weights):
            self._write(self._encode(wire.STOP, self._next(), b""))
            raise NoWeightsError(
                f"the board asks for weights of the model file with CRC32 {crc:08x}, "
                + (f"and has been given {known:08x}'s" if self.weights else "and none were given")
                + "; name the model file that was deployed with --weights"
            )
        tile = encode_tile(at, weights[at : at + size])
        self._longest = len(tile)  # should this be interrupted
        for i in range(0, len(tile), PIECE):
            self._port.write(tile[i : i + PIECE])
        self._longest = min(len(tile), LOSS)
        self._served = self._clock()

    def _check(self) -> None:
        if self._decoder.ended:
            heard = self._decoder.heard()
            raise EndedError(
                "the board was reset or interrupted: its REPL has the port again"
                + (f", saying {heard[-300:]!r}" if heard else "")
            )

    def _look(self) -> None:
        """Before sending: is the server still there? Frames must not be typed into a REPL."""
        if data := self._port.read(0):
            self.feed(data)
        self._check()

    def feed(self, data: bytes) -> None:
        """Take what the board sent."""
        self._inbox.extend(self._decoder.feed(data))

    def heard(self) -> str:
        """What the board said outside of frames."""
        return self._decoder.heard()

    def request(
        self,
        kind: int,
        body: bytes = b"",
        limit: float | None = None,
        parts: dict[int, bytes] | None = None,
    ) -> bytes:
        """Send a request until it is answered; the reply's payload.

        `limit`: seconds altogether (default: REPLY_LIMIT).
        `parts` takes the parts of a reply that begin with (offset, total) instead; the last
        comes when offset and items reach the total.
        """
        limit = REPLY_LIMIT if limit is None else limit
        self.requests += 1
        seq = self._next()
        frame = self._encode(kind, seq, body)
        resend = RESEND
        end = self._clock() + limit
        again = self._clock()
        stuck = False
        self._serving = kind not in (wire.STOP, wire.BYE)
        self._served = -math.inf
        while True:
            now = self._clock()
            end = max(end, self._served + limit)
            again = max(again, self._served + STALL)
            if now >= end:
                raise SilentError(
                    f"the board does not answer (request {kind}, {limit:.0f} s); interrupt it "
                    "with Ctrl-C in a terminal, or reset it"
                )
            if now >= again:
                if stuck:
                    self._unstick()
                stuck = True
                self._write(frame)
                again = now + resend
                resend *= 2
            answer = self.receive(max(min(again, end) - now, 0))
            if answer is None:
                continue
            if answer.kind == wire.ERROR and answer.seq in (0, seq):
                code, number = _Reader(answer.body).take("BI")
                if code == wire.BAD_CRC and stuck:
                    again = self._clock()  # repeat it at once, but not for ever
                    stuck = False
                    continue
                if answer.seq == seq:
                    raise refusal(code, number, answer.body[5:].decode(errors="replace"))
            elif answer.kind == wire.BUSY and answer.seq == seq:
                self._stuck = 0
                end = max(end, self._clock() + REPLY_LIMIT)
            elif answer.kind == wire.READY:
                raise EndedError("the board's server was started again in between")
            elif answer.kind == kind | 0x80 and answer.seq == seq:
                self._answered()
                if parts is None:
                    return answer.body
                offset, total = _Reader(answer.body).take("II")
                parts[offset] = answer.body[8:]
                if offset + len(answer.body[8:]) // 4 >= total:
                    return answer.body

    # Requests

    def start(self, limit: float) -> Hello:
        """Wait for the server's READY, and greet it."""
        deadline = self._clock() + limit
        while True:
            frame = self.receive(deadline - self._clock())
            if frame is None:
                heard = self._decoder.heard()
                raise SilentError(
                    f"picoformer on the board did not start within {limit:.0f} s"
                    + (f"; it said {heard[-300:]!r}" if heard else "")
                )
            if frame.kind == wire.READY:
                return self.greet()

    def greet(self) -> Hello:
        """Say HELLO: agree on a version and learn what the board takes."""
        self.hello.raw = False
        r = _Reader(self.request(wire.HELLO, bytes([wire.MAJOR, wire.MINOR])))
        major, minor, can, payload, credit = r.take("BBHHI")
        nonce = r.raw(4)
        (free,) = r.take("I")
        raw = bool(can & wire.RAW)
        self.hello = Hello(major, minor, raw, payload, credit, nonce, free, r.text())
        return self.hello

    def ping(self, body: bytes = b"") -> bytes:
        """The same bytes, back from the board."""
        return self.request(wire.PING, body)

    def bye(self) -> None:
        """End the server, and wait until the REPL has the port again."""
        self.request(wire.BYE)
        with contextlib.suppress(EndedError):
            self.receive(REPLY_LIMIT)
        self._decoder.ended = True

    def info(self) -> Info:
        r = _Reader(self.request(wire.INFO, limit=4 * REPLY_LIMIT))
        free, largest, flash = r.take("III")
        return Info(free, largest, flash, r.text(), r.text(), r.text())

    def models(self) -> list[Stored]:
        """The models in the board's flash."""
        found: list[Stored] = []
        while True:
            r = _Reader(self.request(wire.LIST, bytes([len(found)])))
            (count,) = r.take("B")
            while r.left:
                size, crc = r.take("II")
                found.append(Stored(r.text(), size, crc))
            if len(found) >= count:
                return found

    def remove(self, name: str) -> None:
        self.request(wire.REMOVE, name.encode())

    def load(self, name: str, context: int = 0) -> Loaded:
        """Load a model (nothing is done if it is loaded). context 0: the file's."""
        self._labels = None
        body = struct.pack("<H", context) + name.encode()
        r = _Reader(self.request(wire.LOAD, body, LOAD_LIMIT))
        context, vocab, free, heap, ms = r.take("HIIII")
        return Loaded(context, vocab, free, heap, ms, r.text(), r.text(), r.text())

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """int32 logits (vocab,) behind the last of `tokens`, of the loaded model."""
        return self._result(wire.LOGITS, b"", np.asarray(tokens, "<u2").tobytes())

    def read(self, given: str | bytes, task: str) -> np.ndarray:
        """int32 result (outputs,) of the loaded model for a text or pixels.

        task: classify or embed.
        """
        kind = (task == "embed") | 2 * isinstance(given, bytes)
        return self._result(
            wire.READ, bytes([kind]), given.encode() if isinstance(given, str) else given
        )

    def answer(self, context: str, question: str) -> str:
        """The part of `context` that answers, by the loaded model."""
        text = context.encode()
        rest = self._argue(text + question.encode(), 2)
        head = struct.pack("<H", len(text))
        return self.request(wire.ANSWER, head + rest, TOKEN_LIMIT).decode()

    def labels(self) -> tuple[list[str], int, tuple[int, int, int]]:
        """What the loaded model's logits stand for, their fraction bits, and its images' shape.

        Asked for once.
        """
        found: list[str] = []
        while self._labels is None:
            r = _Reader(self.request(wire.LABELS, struct.pack("<H", len(found))))
            bits, total, *shape = r.take("BHHHB")
            while len(found) < total and r.left:
                found.append(r.text())
            if len(found) == total:
                self._labels = found, bits, (shape[0], shape[1], shape[2])
        return self._labels

    def _result(self, kind: int, head: bytes, argument: bytes) -> np.ndarray:
        for _ in range(ATTEMPTS):
            parts: dict[int, bytes] = {}
            rest = self._argue(argument, len(head))
            body = self.request(kind, head + rest, TOKEN_LIMIT, parts)
            (total,) = struct.unpack_from("<I", body, 4)
            values = np.frombuffer(b"".join(parts[at] for at in sorted(parts)), "<i4")
            if len(values) == total:
                return values.astype(np.int32)
        raise LinkError("the board's result did not come whole; check the cable")

    def _argue(self, argument: bytes, fixed: int) -> bytes:
        """Send ahead what does not fit into one frame beside `fixed` bytes; the rest."""
        at = 0
        room = self.hello.payload - 2
        while len(argument) - at > self.hello.payload - fixed:
            self.request(wire.ARGUMENT, struct.pack("<H", at) + argument[at : at + room])
            at = min(at + room, len(argument))
        return argument[at:]

    # Text

    def generate(
        self, prompt: str, max_tokens: int | None, temperature: int, top_p: int, seed: int
    ) -> Generator[str, None, None]:
        """Yield the text of the loaded model, one str per token; closing stops the board.

        temperature and top_p in thousandths. `stats` holds the board's figures afterwards.
        """
        fixed = struct.pack("<HIHI", max_tokens or 0, temperature, top_p, seed & 0xFFFFFFFF)
        self.stats = Stats()
        body = fixed + self._argue(prompt.encode(), len(fixed))
        seq = self._next()
        frame = self._encode(wire.GENERATE, seq, body)
        done = taken = 0  # tokens that came, and that the board knows to have come
        wait, quiet = RESEND, 0.0
        self._serving = True
        self._served = -math.inf
        self._look()
        self._write(frame)
        finished = False
        try:
            while True:
                answer = self.receive(wait)
                if answer is None and self._clock() < self._served + STALL:
                    continue
                if answer is None:
                    quiet += wait
                    if quiet > TOKEN_LIMIT :
                        raise SilentError(
                            f"the board has not said a word for {quiet:.0f} s; a large model may "
                            "be this slow, or the board hangs: reset it"
                        )
                    wait = min(2 * wait, QUIET_LIMIT)
                    self._unstick()
                    if done:
                        self._take(seq, done, again=True)
                    else:
                        self._write(frame)
                    continue
                if answer.kind == wire.ERROR and answer.seq in (0, seq):
                    code, number = _Reader(answer.body).take("BI")
                    if code != wire.BAD_CRC:
                        finished = True
                        raise refusal(code, number, answer.body[5:].decode(errors="replace"))
                    # What was damaged went to the board: this request, or an acknowledgement. Line
                    # feeds first: it may have lost step, and would not find it among repeats.
                    self._unstick()
                    self._write(frame) if not done else self._take(seq, done)
                elif answer.kind == wire.READY:
                    raise EndedError("the board's server was started again in between")
                elif answer.seq == seq and answer.kind == wire.TOKEN:
                    wait, quiet = RESEND, 0.0
                    self._stuck = 0
                    r = _Reader(answer.body)
                    (index,) = r.take("H")
                    if index > done:
                        self._take(seq, done, again=True)
                        continue
                    while r.left:
                        piece = r.raw(r.take("H")[0]).decode(errors="replace")
                        index += 1
                        if index > done:
                            done = index
                            yield piece
                            if done - taken >= wire.WINDOW // 4:
                                taken = done
                                self._take(seq, done)
                elif answer.seq == seq and answer.kind == wire.GENERATE | 0x80:
                    stats = _stats(answer.body)
                    if done < stats.tokens:
                        self._take(seq, done, again=True)
                        continue
                    finished = True
                    self.stats = stats
                    self._answered()
                    return
        except LinkError:
            finished = True  # there is nobody to stop
            raise
        finally:
            if not finished:
                # The next request finds out.
                with contextlib.suppress(LinkError, NoWeightsError):
                    self._stop(seq)

    def _stop(self, seq: int) -> None:
        """Stop the text of request `seq`, and wait for its end."""
        self.request(wire.STOP)
        while last := self.receive(RESEND):
            if (last.kind, last.seq) == (wire.GENERATE | 0x80, seq):
                self.stats = _stats(last.body)
                return

    def _take(self, seq: int, index: int, again: bool = False) -> None:
        self._write(self._encode(wire.TAKEN, seq, struct.pack("<HB", index, again)))

    # Upload

    def upload(
        self, name: str, data: bytes, progress: Callable[[int, int], object] | None = None
    ) -> int:
        """Put a model file into the board's flash, whole or not at all.

        Goes on where an earlier upload of the same bytes stopped; returns that offset.
        progress(bytes in flash, all bytes) is called as they arrive.
        """
        size = len(data)
        check = REPLY_LIMIT + size / CHECK_RATE
        crc = crc32(data)
        begin = struct.pack("<II", size, crc)
        at, prefix = _Reader(
            self.request(wire.BEGIN, begin + b"\0" + name.encode(), check)
        ).take("II")  # fmt: skip
        if prefix != crc32(data[:at]):
            at, _ = _Reader(
                self.request(wire.BEGIN, begin + b"\1" + name.encode(), check)
            ).take("II")  # fmt: skip
        resumed = int(at)
        block = self.hello.payload - 4
        credit = self.hello.credit
        failures = losses = 0
        while True:
            if progress:
                progress(at, size)
            if at == size:
                break
            reached, error = self._stream(data, at, block, credit, progress)
            if error is None:
                at = reached
                continue
            # Something was lost or damaged: wait for silence, then ask where the board is.
            failures = 1 if reached > at else failures + 1
            if failures > ATTEMPTS:
                raise error
            if failures > 1:
                block = max(block // 4, SMALL)
            losses += 1
            if losses > ATTEMPTS:
                credit = 0  # one block at a time: the board may have less room than it says
            self._unstick()
            while self.receive(DRAIN):
                pass
            at = struct.unpack("<I", self.request(wire.DATA, bytes(4)))[0]
        self.request(wire.COMMIT, limit=check)
        return resumed

    def _stream(
        self,
        data: bytes,
        at: int,
        block: int,
        credit: int,
        progress: Callable[[int, int], object] | None,
    ) -> tuple[int, LinkError | None]:
        """Send from `at` on, within the credit; where the board got, and what went wrong."""
        flight = _Flight()
        sent = done = at
        size = len(data)
        frame, end, seq = b"", at, 0
        while done < size:
            batch = b""
            while sent < size:
                if not frame:
                    seq = self._next()
                    frame, end = self._block(data, sent, block, seq)
                if flight.blocks and flight.bytes + len(frame) > credit:
                    break
                flight.blocks[seq] = end, len(frame)
                self._longest = max(self._longest, len(frame))
                batch += frame
                sent, frame = end, b""
                if len(batch) >= BATCH:
                    break
            if batch:
                self._look()
                self._port.write(batch)
            answer = self.receive(0 if batch and sent < size else RESEND)
            if answer is None and batch:
                continue
            if answer is None:
                return done, SilentError(
                    "the board stopped answering in the middle of the upload; what arrived is "
                    "kept: deploy again to go on"
                )
            if answer.kind == wire.READY:
                raise EndedError("the board's server was started again in between")
            if answer.kind == wire.DATA | 0x80 and answer.seq in flight.blocks:
                del flight.blocks[answer.seq]
                done = struct.unpack("<I", answer.body)[0]
                if progress:
                    progress(done, size)
            elif answer.kind == wire.ERROR and answer.seq in (0, *flight.blocks):
                code, number = _Reader(answer.body).take("BI")
                if code not in (wire.BAD_CRC, wire.BAD_OFFSET):
                    raise refusal(code, number, answer.body[5:].decode(errors="replace"))
                return done, LinkError(
                    "the upload's blocks arrive damaged, again and again; check the cable, and "
                    "whether another program uses the port. What arrived is kept"
                )
        return done, None

    def _block(self, data: bytes, at: int, block: int, seq: int) -> tuple[bytes, int]:
        """The DATA frame from offset `at` on, and where it ends."""
        piece = data[at : at + block]
        return self._encode(wire.DATA, seq, struct.pack("<I", at) + piece), at + len(piece)
