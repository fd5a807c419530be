"""Inputs of which only nonsense can come: said in a line, and not of those that are good."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import models
from picoformer import Board
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands import doubts
from picoformer.commands.main import main
from picoformer.compile import modelfile

IMAGES = np.load(models.ROOT / "tests" / "data" / "fashion.npz")["images"]
LONG = "will it rain tomorrow in the old town " * 20


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_negatives_of_pictures(own):
    """Each of the model's own pictures is fine, and each of their negatives is not."""
    m = own("fashion").sim.model
    assert m.meta["pixels"] == [73, 90]
    for image in IMAGES:
        assert not doubts.of_image(m, image[..., None])
        (said,) = doubts.of_image(m, 255 - image[..., None])
        assert "edge is bright (255 of 255)" in said and "negative" in said
    # Of a model of bright pictures the other way round; of one that does not say, neither.
    bright = SimpleNamespace(meta={"pixels": [182, 90]})
    assert doubts.of_image(bright, IMAGES[0][..., None])
    assert not doubts.of_image(bright, 255 - IMAGES[0][..., None])
    for odd in ({}, {"pixels": None}, {"pixels": [1]}, {"pixels": ["a", 2]}, {"pixels": 7}):
        assert not doubts.of_image(SimpleNamespace(meta=odd), 255 - IMAGES[0][..., None])


def test_most_models_of_images_say_nothing(built):
    """Of photos, whose mean is in the middle, any edge may be: their files are what they were."""
    assert "pixels" not in modelfile.load(built("vit").file()).meta


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("intents", "will it rain tomorrow?", []),
        ("intents", "Zürich, café", []),
        ("intents", " \n", ["the text is empty"]),
        ("intents", LONG, ["the text has 180 tokens, the model reads the first 36: the rest is"]),
        ("intents", "東京 rain", ["characters that the model does not know: 東 京"]),
        ("intents", "x" * 200, ["word that the model does not know: xxxx"]),
        ("intents", "я" + LONG, ["the rest is cut", "character that the model does not know: я"]),
        ("english-french", "I am tired.", []),
        ("english-french", "ø " + "I am tired. " * 20, ["the rest is cut", "not know: ø"]),
        ("stories", "", []),
        ("stories", "Tom was \"sad\". He'd no 5.", []),
        ("digest", "Temperature in °C\n08:10 21.5\n08:20 21.3", []),
        ("digest", "hive temperature in °C", ["word that the model does not know: hive"]),
        ("stories", "дом", ["characters that the model does not know: д о м"]),
        ("fashion", IMAGES[0][..., None], []),
    ],
)  # fmt: skip
def test_inputs(own, name, text, said):
    found = doubts.of_input(own(name).sim.model, text)
    assert len(found) == len(said), found
    assert all(part in line for part, line in zip(said, found, strict=True)), found


def test_questions(own):
    m = own("facts").sim.model
    assert not doubts.of_input(m, "Where does Anna live?", "Anna lives in Lyon.")
    (said,) = doubts.of_input(m, "Where does Anna live?", "Anna lives in Lyon. " * 20)
    assert "the model reads the first" in said
    assert "the question is empty" in doubts.of_input(m, " ", "Anna lives in Lyon.")[0]
    assert "the text is empty" in doubts.of_input(m, "Where?", "")[0]


def test_what_is_cut_is_what_is_not_read(own):
    """The number that is told is the number of tokens that count."""
    sim = own("intents").sim
    ids = sim.tokenizer.encode(LONG)
    room = sim.context - 2
    (said,) = doubts.of_text(sim.model, LONG)
    assert f"{len(ids):,} tokens, the model reads the first {room}" in said
    words = LONG.split()
    n = next(n for n in range(len(words)) if len(sim.tokenizer.encode(" ".join(words[:n]))) > room)
    assert not doubts.of_text(sim.model, " ".join(words[: n - 1]))


def test_simulate_says_it(own, capsys):
    path = str(own("intents").path)
    assert main(["simulate", path, "--prompt", "東"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("warning: character that the model does not know: 東\n")
    assert main(["simulate", path, "--prompt", "東", "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert quiet.out == out and quiet.err == ""
    assert main(["simulate", path, "--prompt", "東", "--json"]) == 0
    seen = capsys.readouterr()
    assert json.loads(seen.out)["labels"] and seen.err.count("\n") == 1
    assert main(["simulate", path, "--prompt", "will it rain?", "--json"]) == 0
    assert capsys.readouterr().err == ""


def test_a_board_whose_model_is_known(own, cache, tmp_path, capsys, monkeypatch):
    """By what was deployed from here, by a file of that name, by --weights; else nothing."""
    reason = models.no_board()
    if reason:
        pytest.skip(reason)
    monkeypatch.chdir(tmp_path)
    path = own("intents").path
    with UnixBoard(tmp_path / "flash") as unix:
        with Board(unix.port) as board:
            board.deploy(path)
        asked = ["classify", "--port", unix.port, "東"]

        def warned(*more: str) -> bool:
            assert main([*asked, *more]) == 0
            return "does not know: 東" in capsys.readouterr().err

        assert not warned()
        assert main(["deploy", str(path), "--port", unix.port]) == 0
        said = capsys.readouterr().err
        assert f"next   picoformer classify --port {unix.port} --model intents" in said
        assert warned() and not warned("--quiet")
        (cache / "picoformer" / "deployed.json").write_text("[]")
        assert not warned()
        (tmp_path / "intents.pft").write_bytes(path.read_bytes())
        assert warned()
        (tmp_path / "intents.pft").write_bytes(own("sentiment").path.read_bytes())
        assert not warned()
        assert warned("--weights", str(path))
