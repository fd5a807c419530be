"""What a board's replies hold: payloads taken apart, and what a refusal means."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any

from ..device import server_frames as wire
from ..planning.budget import placed
from .errors import BoardError, LinkError, NoMemoryError, NoModelError, NoSpaceError


class Reader:
    """Takes a payload apart."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        try:
            values = struct.unpack_from("<" + layout, self.body, self.at)
        except struct.error as e:
            raise LinkError(
                f"the board sent {len(self.body)} bytes where more were expected; its runtime "
                "may be another version: picoformer update"
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

    @classmethod
    def of(cls, body: bytes) -> Hello:
        r = Reader(body)
        major, minor, can, payload, credit = r.take("BBHHI")
        nonce = r.raw(4)
        (free,) = r.take("I")
        return cls(major, minor, bool(can & wire.RAW), payload, credit, nonce, free, r.text())


@dataclass
class Info:
    """The board's memory and versions; bytes."""

    free_heap: int
    largest_block: int
    free_flash: int
    machine: str
    version: str
    loaded: str  # name of the model in memory, or empty

    @classmethod
    def of(cls, body: bytes) -> Info:
        r = Reader(body)
        free, largest, flash = r.take("III")
        return cls(free, largest, flash, r.text(), r.text(), r.text())


@dataclass
class Loaded:
    """A model in the board's heap.

    context: context length in tokens. vocab: number of tokens. task: what it does.
    weights: where they are: "flash", "ram", "file" or "host". in_ram: bytes of them in RAM.
    kernels: what runs it. cores: how many.
    heap: bytes that it took. free_heap: bytes that are left. ms: milliseconds to load it.
    """

    context: int
    vocab: int
    free_heap: int
    heap: int
    ms: int
    weights: str
    kernels: str
    task: str
    in_ram: int = 0
    cores: int = 1

    @classmethod
    def of(cls, body: bytes) -> Loaded:
        """Take a reply apart; body: its payload."""
        r = Reader(body)
        context, vocab, free, heap, ms = r.take("HIIII")
        loaded = cls(context, vocab, free, heap, ms, r.text(), r.text(), r.text())
        if r.left:  # of runtimes that copy any
            (loaded.in_ram,) = r.take("I")
        if r.left:  # of those that know a second core
            (loaded.cores,) = r.take("B")
        return loaded

    @property
    def way(self) -> str:
        """What runs it, and where the weights are, in words."""
        both = " on both cores" if self.cores > 1 else ""
        return f"{self.kernels} kernels{both}, weights in {placed(self.weights, self.in_ram)}"


@dataclass
class Labels:
    """What a model's logits stand for, and the images or the signals that it reads."""

    names: list[str]
    bits: int  # fraction bits of a logit
    several: bool  # whether each label holds or not by itself
    image: tuple[int, int, int]  # height, width, channels; zeros if it reads none
    frames: tuple[int, int] = (0, 0)  # rows at most, and channels; zeros if it reads none


@dataclass
class Stats:
    """What the last text took on the board.

    tokens: how many. first_ms: milliseconds to the first, which is the prompt. ms: in all.
    free_heap: bytes. stopped: whether it was stopped.
    """

    tokens: int = 0
    first_ms: int = 0
    ms: int = 0
    free_heap: int = 0
    stopped: bool = False

    @classmethod
    def of(cls, body: bytes) -> Stats:
        """Take a reply apart; body: its payload."""
        stopped, count, first, ms, free = Reader(body).take("BHIII")
        return cls(count, first, ms, free, bool(stopped))

    @property
    def tokens_per_second(self) -> float:
        """Of the tokens after the first."""
        return max(self.tokens - 1, 0) / max(self.ms - self.first_ms, 1) * 1e3


@dataclass
class Stored:
    """A model in the board's flash.

    name: of the model. bytes: of its file. crc: CRC32 of its header.
    """

    name: str
    bytes: int
    crc: int  # of its header, which names all its parts' CRCs


def older(said: str) -> str:
    """What is to be said where a board refuses a model that is newer than its runtime, or "".

    Runtimes on boards may be of any version: said is what one of them says.
    """
    # A form of the file, of a tokenizer, flags, steps that it does not know.
    version = re.search(r"format version (\d+), this picoformer reads (?:\d+ and )?(\d+)", said)
    newer = version and int(version[1]) > int(version[2])
    if not newer and not re.search(r"this version (reads|knows)|unknown step", said):
        return ""
    told = re.split(r": convert|: install", said)[0]
    return (
        "the board's runtime is older than this model: picoformer update, with the picoformer "
        f"that made the model (the board said: {told})"
    )


def refusal(body: bytes) -> BoardError:
    """What an ERROR frame means, in words."""
    code, number = Reader(body).take("BI")
    text = body[5:].decode(errors="replace")
    kind: type[BoardError] = BoardError
    if code == wire.NO_SPACE:
        kind = NoSpaceError
        words = (
            f"the board's flash is full: {number:,} bytes are free, and the model needs more; "
            "remove one that is there (Board.remove(name))"
        )
    elif code == wire.NO_MEMORY or (code == wire.BAD_MODEL and "not enough memory" in text):
        kind = NoMemoryError
        words = f"the board has too little memory: {text.removeprefix('not enough memory: ')}"
        if code == wire.NO_MEMORY:
            words += f"; {number:,} bytes are free (picoformer plan --port says what is needed)"
    elif code == wire.NO_FILE:
        kind = NoModelError
        words = f"there is no model {text!r} on the board; deploy it first"
    else:
        words = {
            wire.BAD_VERSION: f"the board speaks version {number} of the link, this PC "
            f"{wire.MAJOR}: picoformer update brings its runtime up to date",
            wire.BAD_REQUEST: f"the board does not understand a request ({number}): {text}",
            wire.BAD_STATE: "the board is writing a text: read it to its end or close its iterator"
            if number == wire.GENERATE
            else f"the board cannot do this now: request {number} has to come first, or to end",
            wire.BAD_OFFSET: f"the board expects byte {number:,} of the upload",
            wire.BAD_NAME: f"{text!r} is not a name for a model: expected 1 to 64 bytes, without "
            "'/', '\\' and control characters, not beginning with '.'",
            wire.BAD_DATA: f"the model in the board's flash has CRC32 {number:08x}, not that of "
            "the file: its flash may be worn; deploy again",
            wire.BAD_MODEL: older(text) or text,
            wire.UNSUPPORTED: f"the board's runtime does not know request {number}: picoformer "
            "update brings it up to date",
        }.get(code, f"the board failed: {text or f'error {code}, {number}'}")
    error = kind(words)
    error.code, error.number = code, number
    return error
