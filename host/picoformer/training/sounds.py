"""Windows of sound that are made of recordings: words at any place and pace, noise, pieces.

Importing this needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..features import LogMel

Sound = NDArray[np.float64]
Whole = NDArray[np.int64]
Generator = np.random.Generator


class Recorded(Protocol):
    """Recordings, and of each the number of its label."""

    @property
    def label(self) -> Whole: ...

    def sound(self, i: int) -> NDArray[np.int16]:
        """The samples of a recording."""


def at_pace(sound: Sound, pace: float, least: int) -> Sound:
    """The sound, so many times as fast, and as much higher; at least so many samples."""
    n = max(int(len(sound) / pace), least)
    spectrum = np.fft.rfft(sound)
    kept = np.zeros(n // 2 + 1, complex)
    both = min(len(kept), len(spectrum))
    kept[:both] = spectrum[:both]
    return np.fft.irfft(kept, n) * (n / len(sound))


def level(sound: Sound) -> float:
    """The root of the mean square, at least one."""
    return max(1.0, float(np.sqrt(np.mean(sound * sound)))) if len(sound) else 1.0


def decibels(value: float) -> float:
    """What as many decibels multiply by."""
    return float(10 ** (value / 20))


def murmur(n: int, draw: Generator, rate: int) -> Sound:
    """Noise of level one, of any colour: white, as traffic, as a fan, or as in some room."""
    frequency = np.fft.rfftfreq(n, 1 / rate)
    power = draw.choice([0.0, 0.5, 1.0, 1.5])
    shape = (np.maximum(frequency, 50) / 50) ** -power
    if draw.random() < 0.5:
        octaves = np.log2(np.maximum(frequency, 62.5) / 62.5)
        shape *= decibels(1) ** np.interp(octaves, np.arange(7), draw.normal(0, 6, 7))
    pair = draw.normal(size=(2, len(shape)))
    noise = np.fft.irfft(shape * (pair[0] + 1j * pair[1]), n)
    if draw.random() < 0.3:  # it swells
        depth, phase = draw.uniform(0.2, 0.9), draw.uniform(0, 2 * np.pi)
        t = np.arange(n) / rate
        noise *= 1 + depth * np.sin(2 * np.pi * draw.uniform(0.3, 4) * t + phase)
    return np.asarray(noise / np.sqrt(np.mean(noise * noise)))


def hum(n: int, draw: Generator, rate: int) -> Sound:
    """A tone with its harmonics, of level one: the mains, or a whistle."""
    mains = draw.random() < 0.7
    first = draw.choice([50.0, 60.0, 100.0, 120.0]) if mains else draw.uniform(150, 3000)
    t = np.arange(n) / rate
    out = np.zeros(n)
    for k in range(1, int(min(20, (rate / 2 - 1) // first)) + 1):
        strength = draw.uniform(0, 1) / k ** draw.uniform(0.3, 2)
        out += strength * np.sin(2 * np.pi * k * first * t + draw.uniform(0, 2 * np.pi))
    return out / max(1e-3, float(np.sqrt(np.mean(out * out))))


def clicks(n: int, draw: Generator, rate: int) -> Sound:
    """Knocks and clicks, the loudest with a peak of about one."""
    out = np.zeros(n)
    for _ in range(draw.integers(1, 6)):
        length = int(draw.uniform(8, 600))
        at = int(draw.integers(0, n - 1))
        fade = np.exp(-np.arange(length) / (length / 5))
        tone = np.sin(2 * np.pi * draw.uniform(60, 3500) * np.arange(length) / rate)
        knock = draw.uniform(0.2, 1) * fade * (tone if draw.random() < 0.5
                                               else draw.normal(size=length) / 2)  # fmt: skip
        out[at : at + length] += knock[: n - at]
    return out


def room(n: int, loud: float, draw: Generator, rate: int) -> Sound:
    """What is heard where nobody speaks, of about the level `loud`."""
    out = loud * murmur(n, draw, rate)
    if draw.random() < 0.2:
        out += loud * draw.uniform(0.1, 1.5) * hum(n, draw, rate)
    if draw.random() < 0.15:
        out += loud * draw.uniform(3, 15) * clicks(n, draw, rate)
    return out


def counted(sound: Sound) -> NDArray[np.int16]:
    """Whole numbers of 16 bits, as a microphone gives them."""
    return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)


@dataclass(frozen=True)
class Window:
    """Samples (n,) of a window or less, and the number of their label."""

    samples: NDArray[np.int16]
    label: int


class Maker:
    """Makes windows of recordings, by a generator.

    rows: of a window. others(i): a recording to take pieces of, that may be heard together with
    recording i. background: the number of the label of what nobody said; alike: labels of words
    that are nearly themselves when they are turned round.
    """

    def __init__(
        self, recordings: Recorded, draw: Generator, others: Callable[[int], int], front: LogMel,
        rows: int, background: int, alike: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.recordings, self.draw, self.others, self.front = recordings, draw, others, front
        self.samples = front.samples(rows)
        self.none, self.alike = background, alike

    def word(self, i: int) -> Sound:
        """A recording at another pace and of another level."""
        draw = self.draw
        sound = self.recordings.sound(i).astype(np.float64)
        if draw.random() < 0.7:
            pace = float(np.exp(draw.uniform(np.log(0.84), np.log(1.19))))
            sound = at_pace(sound, pace, self.front.window)
        if draw.random() < 0.7:
            return sound * (np.exp(draw.uniform(np.log(60), np.log(5000))) / level(sound))
        return sound * decibels(draw.uniform(-12, 6))

    def noise(self, n: int, loud: float) -> Sound:
        """What is heard behind a word of the level `loud`: next to nothing, or noise."""
        draw = self.draw
        if draw.random() < 0.25:
            return draw.normal(0, draw.choice([0.0, 0.4, 1.0, 3.0]), n)
        return room(n, max(loud * decibels(-draw.uniform(4, 40)), 0.4), draw, self.front.rate)

    def spoken(self, i: int) -> Window:
        """A window with the word of recording i in it, anywhere."""
        draw = self.draw
        word = self.word(i)
        label = int(self.recordings.label[i])
        loud, n = level(word), len(word)
        if draw.random() < 0.2 and n <= self.samples:
            return Window(counted(word + self.noise(n, loud)), label)
        out = np.zeros(self.samples)
        spare = self.samples - n
        if spare < 0:
            at = int(spare * draw.uniform(0.25, 0.75))
        elif draw.random() < 0.7:
            at = int(draw.integers(0, spare + 1))
        else:  # up to an eighth of the word is outside
            out_of = int(n * draw.uniform(0, 0.125))
            at = -out_of if draw.random() < 0.5 else spare + out_of
        put(out, word, at)
        if draw.random() < 0.25:
            self.beside(out, i, at, at + n)
        return Window(counted(out + self.noise(self.samples, loud)), label)

    def beside(self, out: Sound, i: int, begin: int, end: int) -> None:
        """Put a piece of another word in front of the word from begin to end, or behind it."""
        draw = self.draw
        other = self.word(self.others(i))
        gap = int(draw.uniform(500, 2000))
        before, after = begin - gap, self.samples - end - gap
        if max(before, after) < 200:
            return
        length = int(min(max(before, after), 0.45 * len(other)))
        if before >= after:
            put(out, other[len(other) - length :], 0 if length == before else before - length)
        else:
            put(out, other[:length], self.samples - length)

    def cut(self, i: int) -> Window:
        """The end of a word, or its beginning, or the end of one and the beginning of another."""
        draw = self.draw
        out = np.zeros(self.samples)
        loud = 1.0
        sides = draw.permutation(2)[: draw.integers(1, 3)]
        for side, which in zip(sides, (i, self.others(i)), strict=False):
            word = self.word(which)
            length = int(min(draw.uniform(0.05, 0.45) * len(word), self.samples / 2 - 400))
            put(out, *((word[-length:], 0) if side else (word[:length], self.samples - length)))
            loud = max(loud, level(word))
        return Window(counted(out + self.noise(self.samples, loud)), self.none)

    def other(self, i: int) -> Window:
        """What sounds like speech and is no word: a word played from its end."""
        draw = self.draw
        word = self.word(i)[::-1][:self.samples]
        out = np.zeros(self.samples)
        put(out, word, int(draw.integers(0, self.samples - len(word) + 1)))
        return Window(counted(out + self.noise(self.samples, level(word))), self.none)

    def quiet(self) -> Window:
        """A window of noise, of anything down to nothing at all."""
        draw = self.draw
        n = self.samples if draw.random() < 0.9 else int(draw.integers(1200, self.samples))
        kind = draw.random()
        loud = float(np.exp(draw.uniform(np.log(0.5), np.log(4000))))
        if kind < 0.15:
            out = draw.normal(0, draw.choice([0.0, 0.4, 1.0, 3.0]), n)
        elif kind < 0.3:
            out = loud * hum(n, draw, self.front.rate)
        elif kind < 0.4:
            out = draw.uniform(0.5, 3, 1) * murmur(n, draw, self.front.rate)
            out += 5 * loud * clicks(n, draw, self.front.rate)
        else:
            out = room(n, loud, draw, self.front.rate)
        return Window(counted(out), self.none)

    def background(self, i: int) -> Window:
        """A window without a word; the pieces in it, if any, are of recording i and the like."""
        kind = self.draw.random()
        if kind < 0.45:
            return self.quiet()
        if kind < 0.6 and self.recordings.label[i] not in self.alike:
            return self.other(i)
        return self.cut(i)


def put(out: Sound, piece: Sound, at: int) -> None:
    """Add what there is of a piece from `at` on in a window; it may begin in front of it."""
    begin, end = max(at, 0), min(at + len(piece), len(out))
    if begin < end:
        out[begin:end] += piece[begin - at : end - at]


def padded(rows: NDArray[np.int16], length: int) -> NDArray[np.int16]:
    """So many rows: -1 in those that there are not."""
    out = np.full((length, rows.shape[1]), -1, np.int16)
    out[: len(rows)] = rows
    return out
