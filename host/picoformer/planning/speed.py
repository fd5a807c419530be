"""How fast a model writes on a board: the cycles of its steps, and its waits for the flash.

An estimate. What a step takes was measured on the emulated board (docs/speed.md) and is a number
for a call, for a row group and for each of its elements here; what a word of flash takes that is
not in the cache comes from data sheets, and nobody has checked it on silicon.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..compile.figures import Figures
from ..device import check, program

OVERLAP = 0.4  # of the time that both compute
POSITION = 64  # at which a text is looked at: the mean of its first 128


@dataclass(frozen=True)
class Matrix:
    """Cycles of a product: of its call, of a row group, of a multiply-accumulate."""

    call: float
    group: float
    mac: float


@dataclass(frozen=True)
class Rates:
    """Cycles on a kind of core.

    attend: of a head, of a position that it sees, and of an element of that. element: of one by
    the name of the step. python: of a token, around its steps. both: what two cores do of the
    steps that they share in the time of one. word: of a word that is not in the flash's cache;
    others: such words of a token that are no weights. saved: cycles and such words of a step that
    Python does not call by itself. piece: of a token of a text that is encoded.
    """

    hz: int
    linear: Matrix
    linear4: Matrix
    attend: tuple[float, float, float]
    element: dict[str, float]
    python: int
    both: float
    word: float
    others: int
    saved: tuple[int, int]
    piece: int


@dataclass(frozen=True)
class Speed:
    """Tokens a second at a position of a text: on one core and on both, without waits and with."""

    position: int
    tokens_per_second: float
    with_waits: float
    both_cores: float
    both_cores_with_waits: float


def words_swept(m: Figures) -> int:
    """Words of the matrices that are read for each token of a text."""
    n = 0
    for op, i in program.walk(m.words):
        if op in program.LINEAR or program.OPS[op][0] == "bias":
            groups, size = program.matrix(m.program, op, i)
            n += groups * size
    return n


def cycles(m: Figures, rates: Rates, position: int) -> tuple[float, float]:
    """Of a token at a position: in the steps that two cores share, and in all else."""
    shared, alone = 0.0, float(rates.python)
    words = m.words
    for op, i in program.walk(words):
        alone -= rates.saved[0]
        name = program.OPS[op][0]
        took = _step(words, rates, op, i, 1, position + 1)
        if op in program.LINEAR or name in ("attend", "store"):
            shared += took
        else:
            alone += took
    return shared, alone + rates.element["sample"] * m.outputs


def _step(words: list[int], rates: Rates, op: int, i: int, tokens: int, seen: int) -> float:
    """Cycles of a step whose fields begin at word i, of tokens that see so many positions."""
    name = program.OPS[op][0]
    if op in program.LINEAR:
        rate = rates.linear4 if op in program.FOUR else rates.linear
        groups, _ = program.matrix(words, op, i)
        columns, rows = int(words[i + 3]), 8 if op in program.FOUR else 4
        return rate.call + tokens * groups * (rate.group + rows * columns * rate.mac)
    if name == "attend":
        heads, size = int(words[i + 3]), int(words[i + 5])
        head, each, element = rates.attend
        return tokens * heads * (head + seen * (each + size * element))
    if name == "windows":
        return 0.0  # what copies numbers is nothing beside a product
    if name == "store":
        n = int(words[i + 3] * words[i + 4])
    elif name == "pool":
        n = int(words[i + 1])
    else:
        n = int(words[i + 2])
    if name == "norm" and not words[i + 7]:
        name = "norm without gain"
    return tokens * n * rates.element[name.removesuffix("4")]


def _waits(m: Figures, rates: Rates, copied: int | None) -> tuple[float, float]:
    """Cycles of a sweep that wait for the flash: for matrices, and for MicroPython's own code.

    copied: as speed's.
    """
    if copied is None:
        return 0.0, 0.0
    return rates.word * max(words_swept(m) - copied / 4, 0), rates.word * rates.others


def milliseconds(m: Figures, board: str, tokens: int, copied: int | None) -> float | None:
    """Of an answer to an input of so many tokens, windows or patches; of a text of so many tokens.

    A translation is as long as what it is of. With waits for flash, on one core; None where the
    board's rates are not known. copied: as speed's.
    """
    rates = RATES.get(board)
    if rates is None:
        return None
    total = 0.0
    words = m.words
    _, body, head = check.steps(words)
    reads = m.task not in ("generate", "translate")
    for k, (op, i) in enumerate(program.walk(words)):
        if reads or k < body:
            total += _step(words, rates, op, i, tokens if k < head else 1, tokens)
        else:
            total += tokens * _step(words, rates, op, i, 1, (tokens + 1) // 2)
    total += rates.python * (1 if reads else tokens)
    if m.task != "generate" and words[4] and not words[14] and not m.rows:
        total += rates.piece * tokens
    total += (1 if reads else tokens) * sum(_waits(m, rates, copied))
    return round(1000 * total / rates.hz, 1)


def speed(m: Figures, board: str, context: int, copied: int | None) -> Speed | None:
    """Of a model that generates on a board of a name; None for others.

    copied: bytes of its matrices that are in RAM and not in flash; None for all.
    """
    rates = RATES.get(board)
    if rates is None or m.task != "generate":
        return None
    position = min(POSITION, context - 1)
    shared, alone = cycles(m, rates, position)
    waits, alone_waits = _waits(m, rates, copied)
    if alone_waits:
        alone_waits -= rates.word * rates.saved[1] * len(list(program.walk(m.words)))
    half = shared / rates.both
    # One core computes while the other one waits, for some of the time; in what one does alone,
    # nobody does.
    felt = max(waits - OVERLAP * half, 0) + alone_waits
    took = shared, shared + waits + alone_waits, half, half + felt
    return Speed(position, *(round(float(rates.hz / (n + alone)), 1) for n in took))


# Armv6-M, on an RP2040 at 125 MHz. A word of flash: 8 clocks of address, 4 of waiting, 8 of data,
# at half the processor's rate, are 40 cycles; 50 were measured (docs/speed.md).
THUMB = Rates(
    hz=125_000_000,
    linear=Matrix(1025, 128, 3.463),
    linear4=Matrix(980, 335, 3.235),
    attend=(1511, 77, 6.75),
    element={
        "store": 98, "gate": 72, "norm": 73, "norm without gain": 32, "layernorm": 90,
        "embed": 34, "bias": 24, "pool": 20, "sample": 10,
    },
    python=95_000,
    both=1.92,
    word=45,
    others=3500,
    saved=(690, 14),
    piece=540_000,
)  # fmt: skip
# DSP instructions, on an RP2350's Cortex-M33 at 150 MHz, by a model of its timing. Flash comes in
# lines of 8 bytes, of which each is behind the last one.
DSP = Rates(
    hz=150_000_000,
    linear=Matrix(512, 64, 1.69),
    linear4=Matrix(500, 170, 1.8),
    attend=(800, 42, 3.7),
    element={
        "store": 55, "gate": 42, "norm": 42, "norm without gain": 18, "layernorm": 50,
        "embed": 20, "bias": 14, "pool": 12, "sample": 6,
    },
    python=62_000,
    both=1.92,
    word=18,
    others=3500,
    saved=(530, 14),
    piece=340_000,
)  # fmt: skip
RATES = {"pico": THUMB, "pico-w": THUMB, "pico2": DSP, "pico2-w": DSP}
