"""What a reader of a page brings along: data for its walks, and how long they are trained."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trainingdata import made, shapes, tones, write, write_wav

STEPS = "3"  # minutes, of a step a second: see steps_for_seconds


def texts(folder: Path) -> None:
    rows = [(text, label) for label, text in made(60)]
    write(folder / "questions.csv", [("message", "intent"), *rows], ",")


def words(folder: Path) -> None:
    tones(folder / "words")
    (folder / "words/low").rename(folder / "words/lamp")
    (folder / "words/lamp/0.wav").rename(folder / "words/lamp/anna-1.wav")
    noise = np.random.default_rng(1).normal(0, 300, 80_000)
    write_wav(folder / "words/background/room.wav", noise)


def photos(folder: Path) -> None:
    if importlib.util.find_spec("PIL") is None:
        return  # then the page's `pip install` ends its walk
    from PIL import Image

    for i, (one, label) in enumerate(zip(*shapes(), strict=True)):
        name = {"lies": "screw", "stands": "nail"}.get(label, label)
        (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(folder / "photos" / name / f"{i % 40 + 1}.png")


DATA: dict[str, list[Callable[[Path], None]]] = {"docs/train.md": [texts, words, photos]}

# What commands say of this data, where the page shows what they say of other data.
SAYS = {
    "picoformer train text questions.csv -o questions --columns intent,message":
        "data ... train,\n...\n  test ... right in float\n"
        "next   picoformer convert questions -o questions.pft",
    "picoformer deploy questions.pft": "next   picoformer classify",
    'picoformer classify --model questions "some light please"': "light",
    "picoformer train text docs/files/commands.csv -o commands --columns intent,message "
    "--minutes 3": "reads   24 tokens\n...\nnext   picoformer convert commands -o commands.pft",
    "picoformer convert words-model -o words.pft": "next   ... picoformer deploy words.pft",
    "picoformer classify --model words --input words/lamp/anna-1.wav": "lamp",
    "picoformer classify --model photos --image photos/screw/1.png": "screw",
}  # fmt: skip
