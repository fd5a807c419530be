"""A file and what became of it; what is run with it, on a board and here."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

GROUP = [1, 5, 7]  # tokens of one group
LONGER = [1, 5, 7, 3, 3, 11]  # and of two
TEXT = "ab cab ééé"
LIMIT = 30  # seconds after which a file on the PC hangs
PIXELS = 20000  # of an image that is run, and numbers of a signal


def numbers(rows: int, channels: int) -> list[int]:
    """Of a signal."""
    return [i * 7919 % 65536 - 32768 for i in range(rows * channels)]


def pixels(image: tuple[int, ...]) -> bytes:
    height, width, channels = image[:3]
    return bytes(37 * i & 255 for i in range(height * width * channels))


# The board's half; `simulated` is the PC's. Each result is a list of whole numbers or a message.
RUN = """
def numbers(m, tokens):
    if m.task == "translate":
        m.source(tokens[1:])
        return list(m.logits(tokens))
    if m.task in ("answer", "tag"):
        n = len(tokens)
        m._sweep(tokens, [int(2 * i > n) for i in range(n)] if m.task == "answer" else None)
        at = range(m._logits, m._logits + n * m._stride, m._stride)
        return [m._arena[i + k] for i in at for k in range(m.outputs)]
    if m.image:
        height, width, channels = m.image[:3]
        if height * width * channels > PIXELS:
            return []
        some = bytes([37 * i & 255 for i in range(height * width * channels)])
        return list(m.read(some, m.task))
    if m.frames:
        if len(tokens) % 2 == 0:
            return list(m.logits(bytes(len(tokens))))
        rows, channels = m.frames
        if rows * channels > PIXELS:
            return []
        if m.sound:  # whatever its tables make of it, it ends
            f = m.features()
            f.write(array("h", [i * 7919 % 65536 - 32768 for i in range(f.window + 2 * f.hop)]))
            assert f.rows == 3 and len(f.last()) == min(3, rows) * channels
        some = array("h", [i * 7919 % 65536 - 32768 for i in range(rows * channels)])
        return list(m.read(some, m.task))
    return list(m.logits(tokens))


def words(m):
    if m.task == "generate":
        greedy = list(m.generate(TEXT, 4))
        return greedy + list(m.generate(TEXT[:2], 4, 800, 900, 7))
    if m.task == "translate":
        return list(m.translation(TEXT, 4)) + list(m.translation(TEXT[:2], 4, 3, 600))
    if m.task == "answer":
        return [m.answer(TEXT, TEXT[:2])]
    if m.task == "tag":
        return ["%s %s %d" % found for found in m.tag(TEXT)]
    if m.task == "classify":
        return [label for label, _ in m.classify(TEXT)]
    return [str(v) for v in m.read(TEXT, m.task)]


def work(m, tokens, texts):
    out = []
    for some in tokens:
        try:
            out.append(numbers(m, some))
        except Error as e:
            out.append(str(e))
    if not texts:
        return out
    try:
        out.append([list(s.encode()) for s in words(m)])
    except Error as e:
        out.append(str(e))
    return out
"""


class Hang(BaseException):
    """A file took longer than LIMIT seconds."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Hang where the block takes longer."""

    def stop(number: int, where: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Case:
    """A mutated file, and what the PC made of it."""

    index: int
    kind: str
    change: str
    data: bytes = b""
    refused: str | None = None  # the PC's words
    wanted: list[Any] | None = None  # of a file that runs; None: it left its range
    context: int | None = None  # for the board
    tokens: list[list[int]] = field(default_factory=list)
    texts: bool = False
    failure: str = ""
    outcome: str = ""


def compare(case: Case, got: list[Any], who: str) -> None:
    if case.wanted is None:
        return
    # Of a smaller context texts are cut elsewhere, and an image has no room.
    n = 3 if case.context is None else 2
    small = case.context is not None and isinstance(got[0], str)
    if small and re.search("patches|windows", got[0]):
        n = 0
    if got[:n] != case.wanted[:n]:
        case.failure = f"{who}: {got[:n]!r:.300}, simulator: {case.wanted[:n]!r:.300}"
