"""Recordings of spoken digits, and windows of sound that are made of them: words, noise, pieces.

Importing this needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picoformer.data.sounds import loudest
from picoformer.features import LogMel
from tools.training.files import need_files

FILE = "spoken_digits.npz"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LABELS = (*WORDS, "background")
BACKGROUND = LABELS.index("background")
FRONT = LogMel(rate=8000)
ROWS = 98  # of a window
SAMPLES = FRONT.window + (ROWS - 1) * FRONT.hop  # of a window: a second
TEST, VALIDATION = range(5), range(5, 10)  # indices of a speaker's recordings of a digit
# Turned round these are nearly themselves.
ALIKE = [LABELS.index(name) for name in ("five", "six", "nine")]

Sound = NDArray[np.float64]
Whole = NDArray[np.int64]
Generator = np.random.Generator


@dataclass(frozen=True)
class Recordings:
    """Sounds, one behind the other from `start` (n + 1,), and of each what, by whom, which."""

    samples: NDArray[np.int16]
    start: Whole
    label: Whole
    speaker: Whole
    speakers: tuple[str, ...]
    index: Whole

    def __len__(self) -> int:
        return len(self.label)

    def sound(self, i: int) -> NDArray[np.int16]:
        """The samples of a recording."""
        return self.samples[self.start[i] : self.start[i + 1]]

    def part(self, name: str) -> Whole:
        """Which recordings are those for "test", "validation" or "train"."""
        test, validation = np.isin(self.index, TEST), np.isin(self.index, VALIDATION)
        wanted = {"test": test, "validation": validation, "train": ~test & ~validation}[name]
        return np.flatnonzero(wanted)


def read_recordings(data: Path) -> Recordings:
    """The recordings of a folder that holds spoken_digits.npz."""
    need_files(data, [FILE])
    with np.load(data / FILE) as file:
        lists = {name: file[name].astype(np.int64) for name in ("start", "label", "index")}
        speaker, speakers = file["speaker"].astype(np.int64), tuple(map(str, file["speakers"]))
        return Recordings(file["samples"], **lists, speaker=speaker, speakers=speakers)


# --- sounds ----------------------------------------------------------------------------------


def at_pace(sound: Sound, pace: float) -> Sound:
    """The sound, so many times as fast, and as much higher."""
    n = max(int(len(sound) / pace), FRONT.window)
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


def murmur(n: int, draw: Generator) -> Sound:
    """Noise of level one, of any colour: white, as traffic, as a fan, or as in some room."""
    frequency = np.fft.rfftfreq(n, 1 / FRONT.rate)
    power = draw.choice([0.0, 0.5, 1.0, 1.5])
    shape = (np.maximum(frequency, 50) / 50) ** -power
    if draw.random() < 0.5:
        octaves = np.log2(np.maximum(frequency, 62.5) / 62.5)
        shape *= decibels(1) ** np.interp(octaves, np.arange(7), draw.normal(0, 6, 7))
    pair = draw.normal(size=(2, len(shape)))
    noise = np.fft.irfft(shape * (pair[0] + 1j * pair[1]), n)
    if draw.random() < 0.3:  # it swells
        depth, phase = draw.uniform(0.2, 0.9), draw.uniform(0, 2 * np.pi)
        t = np.arange(n) / FRONT.rate
        noise *= 1 + depth * np.sin(2 * np.pi * draw.uniform(0.3, 4) * t + phase)
    return np.asarray(noise / np.sqrt(np.mean(noise * noise)))


def hum(n: int, draw: Generator) -> Sound:
    """A tone with its harmonics, of level one: the mains, or a whistle."""
    mains = draw.random() < 0.7
    first = draw.choice([50.0, 60.0, 100.0, 120.0]) if mains else draw.uniform(150, 3000)
    t = np.arange(n) / FRONT.rate
    out = np.zeros(n)
    for k in range(1, int(min(20, (FRONT.rate / 2 - 1) // first)) + 1):
        strength = draw.uniform(0, 1) / k ** draw.uniform(0.3, 2)
        out += strength * np.sin(2 * np.pi * k * first * t + draw.uniform(0, 2 * np.pi))
    return out / max(1e-3, float(np.sqrt(np.mean(out * out))))


def clicks(n: int, draw: Generator) -> Sound:
    """Knocks and clicks, the loudest with a peak of about one."""
    out = np.zeros(n)
    for _ in range(draw.integers(1, 6)):
        length = int(draw.uniform(8, 600))
        at = int(draw.integers(0, n - 1))
        fade = np.exp(-np.arange(length) / (length / 5))
        tone = np.sin(2 * np.pi * draw.uniform(60, 3500) * np.arange(length) / FRONT.rate)
        knock = draw.uniform(0.2, 1) * fade * (tone if draw.random() < 0.5
                                               else draw.normal(size=length) / 2)  # fmt: skip
        out[at : at + length] += knock[: n - at]
    return out


def room(n: int, loud: float, draw: Generator) -> Sound:
    """What is heard where nobody speaks, of about the level `loud`."""
    out = loud * murmur(n, draw)
    if draw.random() < 0.2:
        out += loud * draw.uniform(0.1, 1.5) * hum(n, draw)
    if draw.random() < 0.15:
        out += loud * draw.uniform(3, 15) * clicks(n, draw)
    return out


def counted(sound: Sound) -> NDArray[np.int16]:
    """Whole numbers of 16 bits, as a microphone gives them."""
    return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)


# --- windows ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """Samples (n,) of a window or less, and the number of their label."""

    samples: NDArray[np.int16]
    label: int


class Maker:
    """Makes windows of recordings, by a generator.

    others(i): a recording to take pieces of, that may be heard together with recording i.
    """

    def __init__(self, recordings: Recordings, draw: Generator, others: Callable[[int], int]):
        self.recordings, self.draw, self.others = recordings, draw, others

    def word(self, i: int) -> Sound:
        """A recording at another pace and of another level."""
        draw = self.draw
        sound = self.recordings.sound(i).astype(np.float64)
        if draw.random() < 0.7:
            sound = at_pace(sound, float(np.exp(draw.uniform(np.log(0.84), np.log(1.19)))))
        if draw.random() < 0.7:
            return sound * (np.exp(draw.uniform(np.log(60), np.log(5000))) / level(sound))
        return sound * decibels(draw.uniform(-12, 6))

    def noise(self, n: int, loud: float) -> Sound:
        """What is heard behind a word of the level `loud`: next to nothing, or noise."""
        draw = self.draw
        if draw.random() < 0.25:
            return draw.normal(0, draw.choice([0.0, 0.4, 1.0, 3.0]), n)
        return room(n, max(loud * decibels(-draw.uniform(4, 40)), 0.4), draw)

    def spoken(self, i: int) -> Window:
        """A window with the word of recording i in it, anywhere."""
        draw = self.draw
        word = self.word(i)
        label = int(self.recordings.label[i])
        loud, n = level(word), len(word)
        if draw.random() < 0.2 and n <= SAMPLES:
            return Window(counted(word + self.noise(n, loud)), label)
        out = np.zeros(SAMPLES)
        spare = SAMPLES - n
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
        return Window(counted(out + self.noise(SAMPLES, loud)), label)

    def beside(self, out: Sound, i: int, begin: int, end: int) -> None:
        """Put a piece of another word in front of the word from begin to end, or behind it."""
        draw = self.draw
        other = self.word(self.others(i))
        gap = int(draw.uniform(500, 2000))
        before, after = begin - gap, SAMPLES - end - gap
        if max(before, after) < 200:
            return
        length = int(min(max(before, after), 0.45 * len(other)))
        if before >= after:
            put(out, other[len(other) - length :], 0 if length == before else before - length)
        else:
            put(out, other[:length], SAMPLES - length)

    def cut(self, i: int) -> Window:
        """The end of a word, or its beginning, or the end of one and the beginning of another."""
        draw = self.draw
        out = np.zeros(SAMPLES)
        loud = 1.0
        sides = draw.permutation(2)[: draw.integers(1, 3)]
        for side, which in zip(sides, (i, self.others(i)), strict=False):
            word = self.word(which)
            length = int(min(draw.uniform(0.05, 0.45) * len(word), SAMPLES / 2 - 400))
            put(out, *((word[-length:], 0) if side else (word[:length], SAMPLES - length)))
            loud = max(loud, level(word))
        return Window(counted(out + self.noise(SAMPLES, loud)), BACKGROUND)

    def other(self, i: int) -> Window:
        """What sounds like speech and is no digit: a word played from its end."""
        draw = self.draw
        word = self.word(i)[::-1][:SAMPLES]
        out = np.zeros(SAMPLES)
        put(out, word, int(draw.integers(0, SAMPLES - len(word) + 1)))
        return Window(counted(out + self.noise(SAMPLES, level(word))), BACKGROUND)

    def quiet(self) -> Window:
        """A window of noise, of anything down to nothing at all."""
        draw = self.draw
        n = SAMPLES if draw.random() < 0.9 else int(draw.integers(1200, SAMPLES))
        kind = draw.random()
        loud = float(np.exp(draw.uniform(np.log(0.5), np.log(4000))))
        if kind < 0.15:
            out = draw.normal(0, draw.choice([0.0, 0.4, 1.0, 3.0]), n)
        elif kind < 0.3:
            out = loud * hum(n, draw)
        elif kind < 0.4:
            out = draw.uniform(0.5, 3, 1) * murmur(n, draw) + 5 * loud * clicks(n, draw)
        else:
            out = room(n, loud, draw)
        return Window(counted(out), BACKGROUND)

    def background(self, i: int) -> Window:
        """A window without a digit; the pieces in it, if any, are of recording i and the like."""
        kind = self.draw.random()
        if kind < 0.45:
            return self.quiet()
        if kind < 0.6 and self.recordings.label[i] not in ALIKE:
            return self.other(i)
        return self.cut(i)


def put(out: Sound, piece: Sound, at: int) -> None:
    """Add what there is of a piece from `at` on in a window; it may begin in front of it."""
    begin, end = max(at, 0), min(at + len(piece), len(out))
    if begin < end:
        out[begin:end] += piece[begin - at : end - at]


# --- rows ------------------------------------------------------------------------------------


def padded(rows: NDArray[np.int16]) -> NDArray[np.int16]:
    """Rows of a window (98, bands): -1 in those that there are not."""
    out = np.full((ROWS, FRONT.bands), -1, np.int16)
    out[: len(rows)] = rows
    return out


def alone(sound: NDArray[np.int16]) -> NDArray[np.int16]:
    """Rows of a recording as it is; of one longer than a second the loudest that lie together."""
    return padded(loudest(FRONT(sound), ROWS))


def in_a_second(sound: NDArray[np.int16]) -> NDArray[np.int16]:
    """Rows of a second with the recording in its middle, and around it the faintest noise."""
    if len(sound) >= SAMPLES:
        return alone(sound)
    out = np.random.default_rng(len(sound)).normal(0, 1, SAMPLES)
    put(out, sound.astype(np.float64), (SAMPLES - len(sound)) // 2)
    return padded(FRONT(counted(out)))


def groups_of(recordings: Recordings, which: Whole) -> dict[int, Whole]:
    """Of each recording those that may be heard together with it: of one speaker and one part.

    Otherwise a model would have heard something of what is left out.
    """
    held = np.isin(recordings.index, VALIDATION)
    key = 2 * recordings.speaker + held
    return {int(i): which[key[which] == key[i]] for i in which}


def made_pass(
    recordings: Recordings, which: Whole, seed: int, share: float
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    """One window of each recording, and as a share of them such without a digit.

    Returns rows (n, 98, bands), labels (n,) and the recording (n,) that a window is of.
    """
    draw = np.random.default_rng(seed)
    groups = groups_of(recordings, which)
    maker = Maker(recordings, draw, lambda i: int(draw.choice(groups[i])))
    without = draw.choice(which, int(share * len(which)), replace=False)
    made = [(i, maker.spoken(i)) for i in which] + [(i, maker.background(i)) for i in without]
    rows = np.stack([padded(FRONT(window.samples)) for _, window in made])
    labels = np.array([window.label for _, window in made], np.int16)
    return rows, labels, np.array([i for i, _ in made], np.int16)


# --- streams ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """A word in a stream: the number of its label, and where it lies, in samples."""

    label: int
    begin: int
    end: int


def stream(
    recordings: Recordings, which: Whole, seed: int, seconds: int = 60
) -> tuple[NDArray[np.int16], list[Said]]:
    """Sound of so many seconds, with recordings at random times between silence and noise.

    Silence (noise of level 2) and noise (of level 100, of any colour) take turns, 4 to 8 s each.
    In silence recordings are as they are, in noise 15 to 20 dB above it. Between two there is a
    second or more.
    """
    draw = np.random.default_rng(seed)
    n = seconds * FRONT.rate
    out = draw.normal(0, 2, n)
    noisy = np.zeros(n, bool)
    at, on = 0, bool(draw.integers(2))
    while at < n:
        end = min(n, at + int(draw.uniform(4, 8) * FRONT.rate))
        if on:
            out[at:end] += 100 * murmur(end - at, draw)
            noisy[at:end] = True
        at, on = end, not on
    sounds = [recordings.sound(i).astype(np.float64) for i in which]
    spare = n - sum(map(len, sounds)) - FRONT.rate * (len(sounds) + 1)
    if spare < 0:
        raise SystemExit(f"{len(sounds)} recordings are too many for {seconds} s")
    gaps = FRONT.rate + np.diff(np.sort(draw.integers(0, spare + 1, len(sounds))), prepend=0)
    said, at = [], 0
    for i, sound, gap in zip(which, sounds, gaps, strict=True):
        at += int(gap)
        if noisy[at : at + len(sound)].any():
            sound *= 100 * decibels(draw.uniform(15, 20)) / level(sound)
        put(out, sound, at)
        said.append(Said(int(recordings.label[i]), at, at + len(sound)))
        at += len(sound)
    return counted(out), said


@dataclass
class Heard:
    """What became of the words of streams: told right, told wrong, not told; told and not said."""

    found: int = 0
    wrong: int = 0
    missed: int = 0
    false: int = 0

    def add(self, events: list[tuple[int, int]], said: list[Said]) -> None:
        """Count the events (label, sample at which it was told) of a stream.

        An event belongs to a word that began before it and ended a second before it at most.
        """
        left = list(events)
        for word in said:
            of = [e for e in left if word.begin < e[1] <= word.end + FRONT.rate]
            left = [e for e in left if e not in of]
            if not of:
                self.missed += 1
            elif of[0][0] == word.label:
                self.found += 1
            else:
                self.wrong += 1
            self.false += len(of[1:])
        self.false += len(left)


UNSPOKEN = ("silence", "noise", "hum", "clicks", "music")


def unspoken(kind: str, seed: int, seconds: int = 120) -> NDArray[np.int16]:
    """Sound of so many seconds in which nobody speaks, another of its kind every few seconds."""
    draw = np.random.default_rng(seed)
    n = seconds * FRONT.rate
    out = draw.normal(0, 2, n)
    each = {"silence": n, "clicks": 2 * FRONT.rate, "music": FRONT.rate // 4}
    for at in range(0, n, each.get(kind, 5 * FRONT.rate)):
        part = out[at : at + each.get(kind, 5 * FRONT.rate)]
        loud = float(np.exp(draw.uniform(np.log(5), np.log(4000))))
        if kind == "noise":
            part += loud * murmur(len(part), draw)
        elif kind == "hum":
            part += loud * hum(len(part), draw)
        elif kind == "clicks":
            part += 3 * loud * clicks(len(part), draw)
        elif kind == "music":
            part += 1000 * np.hanning(len(part)) * hum(len(part), draw)
    return counted(out)
