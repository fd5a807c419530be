"""The walks of docs/train.md: their commands, from data to a label on an emulated board."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import models
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands.main import main
from test_text_training import made, write
from trainingdata import shapes, steps_for_seconds, tones, write_wav

PAGE = (models.ROOT / "docs" / "train.md").read_text("utf-8")
STEPS = "3"  # minutes, of a step a second


def walk(heading: str) -> list[list[str]]:
    """The commands of a section."""
    section = re.split(r"^## ", PAGE.split(f"## {heading}\n", 1)[1], flags=re.M)[0]
    block = re.search(r"```sh\n(.*?)```", section, re.S)
    assert block
    return [shlex.split(line)[1:] for line in block[1].splitlines()]


def texts(folder: Path) -> None:
    rows = [(text, label) for label, text in made(60)]
    write(folder / "questions.csv", [("message", "intent"), *rows], ",")


def words(folder: Path) -> None:
    import numpy as np

    tones(folder / "words")
    (folder / "words/low").rename(folder / "words/lamp")
    (folder / "words/lamp/0.wav").rename(folder / "words/lamp/anna-1.wav")
    noise = np.random.default_rng(1).normal(0, 300, 80_000)
    write_wav(folder / "words/background/room.wav", noise)


def photos(folder: Path) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is missing")
    for i, (one, label) in enumerate(zip(*shapes(), strict=True)):
        name = {"lies": "screw", "stands": "nail"}.get(label, label)
        (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
        pil.fromarray(one).save(folder / "photos" / name / f"{i % 40 + 1}.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heading", "data", "label"),
    [
        ("Ten intents from a spreadsheet", texts, "light"),
        ("Your own spoken words", words, "lamp"),
        ("Pictures from a folder", photos, "screw"),
    ],
)
def test_a_walk(heading, data, label, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch", reason="torch is missing")
    reason = models.no_board()
    if reason:
        pytest.skip(reason)
    monkeypatch.chdir(tmp_path)
    data(tmp_path)
    commands = walk(heading)
    assert len(commands) <= 5
    with UnixBoard(tmp_path / "flash") as unix:
        monkeypatch.setenv("PICOFORMER_PORT", unix.port)
        for i, given in enumerate(commands):
            if given[0] == "train":
                behind = given[7:] if "--minutes" in given else given[5:]
                given = [*given[:5], "--minutes", STEPS, *behind]
            with steps_for_seconds():
                assert main(given) == 0
            said = capsys.readouterr()
            if i + 1 < len(commands):
                # Each prints the one that comes next, but for the names that the page chooses.
                assert f"picoformer {commands[i + 1][0]} " in said.err
    assert said.out.startswith(label)


def test_the_page_has_the_commands_kinds():
    from picoformer.commands.train import KINDS

    for kind in KINDS:
        assert f"| `train {kind}` |" in PAGE
    for heading in ("Ten intents from a spreadsheet", "Your own spoken words"):
        assert walk(heading)[0][0] == "train" and walk(heading)[-1][0] == "classify"
