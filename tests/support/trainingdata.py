"""Small data that a model learns in seconds, and the command that learns them."""

from __future__ import annotations

import itertools
import json
import random
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from picoformer import Simulator, convert
from picoformer.commands.main import main
from picoformer.training import loop


@contextmanager
def steps_for_seconds() -> Iterator[None]:
    """A step of training takes a second, however busy the PC is: --minutes counts steps."""
    clock = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "time", SimpleNamespace(time=lambda: float(next(clock))))
        yield


WORDS = {
    "light": ["lamp", "light", "bulb", "dark", "bright"],
    "music": ["song", "tune", "play", "album", "band"],
    "weather": ["rain", "sun", "wind", "storm", "cold"],
}


def made(n: int = 40, seed: int = 1) -> list[tuple[str, str]]:
    """Texts that a few words tell apart."""
    draw = random.Random(seed)
    rest = ["please", "the", "a", "now", "for", "me", "in", "my", "house", "what", "is"]
    return [
        (label, " ".join(draw.sample(rest, 3) + [draw.choice(words)] + draw.sample(rest, 2)))
        for label, words in WORDS.items()
        for _ in range(n)
    ]


def write(path: Path, rows: list[tuple[str, ...]], mark: str = "\t") -> Path:
    path.write_text("".join(mark.join(row) + "\n" for row in rows), "utf-8")
    return path


def trained(
    capsys: pytest.CaptureFixture[str], kind: str, data: Path, out: Path, steps: int,
    more: Sequence[str] = (),
) -> tuple[dict[str, Any], Simulator]:
    """What the command says after so many steps, and the model that comes of its folder."""
    pytest.importorskip("torch", reason="torch is missing")
    given = ["train", kind, str(data), "-o", str(out), "--minutes", str(steps / 60), "--json"]
    given += more
    with steps_for_seconds():
        assert main(given) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] and found["kind"] == kind
    assert (out / "README.md").read_text().count("| ") > 10
    made = out.with_suffix(".pft")
    convert(found["source"], made)
    return found, Simulator(made)


def gestures(n: int = 20, rows: int = 60, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Signals (n, rows, 3), whole numbers: slow, fast, and none; and their labels."""
    draw = np.random.default_rng(seed)
    t = np.arange(rows)
    out, labels = [], []
    for label, pace in (("slow", 0.15), ("fast", 0.9), ("still", 0.0)):
        for _ in range(n):
            phase = draw.uniform(0, 6)
            v = np.stack([np.sin(pace * t + phase + k) * bool(pace) for k in range(3)], 1)
            out.append(np.rint(2000 * v + draw.normal(0, 150, v.shape)).astype(np.int16))
            labels.append(label)
    return np.stack(out), np.array(labels)


def write_wav(path: Path, samples: np.ndarray, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(np.clip(samples, -32768, 32767).astype("<i2").tobytes())


def tones(folder: Path, n: int = 16) -> Path:
    """Recordings of a low sound and a high one."""
    draw = np.random.default_rng(1)
    for label, hz in (("low", 300), ("high", 1800)):
        for i in range(n):
            t = np.arange(int(draw.uniform(2500, 4500))) / 8000
            wanted = hz * draw.uniform(0.95, 1.05)
            sound = sum(np.sin(2 * np.pi * wanted * k * t) / k for k in (1, 2))
            write_wav(folder / label / f"{i}.wav", 6000 * sound * np.hanning(len(t)))
    return folder


def shapes(n: int = 40, side: int = 16, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (n, side, side) of bars that lie or stand, and of none."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 40, (3 * n, side, side)).astype(np.uint8)
    labels = np.array(["lies", "stands", "empty"]).repeat(n)
    for one, label in zip(images, labels, strict=True):
        at = draw.integers(4, side - 6)
        if label == "lies":
            one[at : at + 2] = 220
        elif label == "stands":
            one[:, at : at + 2] = 220
    return images, labels
