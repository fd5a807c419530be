"""Recordings of spoken digits, and windows of sound that are made of them: words, noise, pieces.

Importing this needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picoformer.data.sounds import loudest
from picoformer.features import LogMel
from picoformer.training.sounds import (
    Maker,
    Whole,
    clicks,
    counted,
    decibels,
    hum,
    level,
    murmur,
    padded,
    put,
)
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


# --- rows ------------------------------------------------------------------------------------


def alone(sound: NDArray[np.int16]) -> NDArray[np.int16]:
    """Rows of a recording as it is; of one longer than a second the loudest that lie together."""
    return padded(loudest(FRONT(sound), ROWS), ROWS)


def in_a_second(sound: NDArray[np.int16]) -> NDArray[np.int16]:
    """Rows of a second with the recording in its middle, and around it the faintest noise."""
    if len(sound) >= SAMPLES:
        return alone(sound)
    out = np.random.default_rng(len(sound)).normal(0, 1, SAMPLES)
    put(out, sound.astype(np.float64), (SAMPLES - len(sound)) // 2)
    return padded(FRONT(counted(out)), ROWS)


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
    maker = Maker(
        recordings, draw, lambda i: int(draw.choice(groups[i])), FRONT, ROWS, BACKGROUND, ALIKE
    )
    without = draw.choice(which, int(share * len(which)), replace=False)
    made = [(i, maker.spoken(i)) for i in which] + [(i, maker.background(i)) for i in without]
    rows = np.stack([padded(FRONT(window.samples), ROWS) for _, window in made])
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
            out[at:end] += 100 * murmur(end - at, draw, FRONT.rate)
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
            part += loud * murmur(len(part), draw, FRONT.rate)
        elif kind == "hum":
            part += loud * hum(len(part), draw, FRONT.rate)
        elif kind == "clicks":
            part += 3 * loud * clicks(len(part), draw, FRONT.rate)
        elif kind == "music":
            part += 1000 * np.hanning(len(part)) * hum(len(part), draw, FRONT.rate)
    return counted(out)
