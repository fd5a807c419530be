"""`picoformer train text`: data and their faults, parts, shapes, a training from end to end."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from picoformer import Simulator, convert
from picoformer.commands.main import main
from picoformer.errors import Error
from picoformer.planning.profiles import profile
from picoformer.training import shaping
from picoformer.training.splitting import split
from picoformer.training.text import TextJob, mistype, sharpness
from trainingdata import WORDS, made, steps_for_seconds, write

SNIPS = Path(os.environ.get("PICOFORMER_SNIPS", ""))
LINES = "".join(f"{label}\t{text}\n" for label, text in made())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LINES + "what is\n", r"line 121 has 1 column \('what is'\), expected label and"),
        (LINES + "\tplay a song\n", "line 121 has no label"),
        (LINES + "music\t \n", "line 121 has no text"),
        ("music\tplay a song\n", "has 1 text, expected at least 8"),
        ("", "is empty, expected label, text"),
        ("".join(f"music\tplay song {i}\n" for i in range(20)), "all 20 texts have the label"),
        ("".join(f"a text {i}\tmusic\n" for i in range(20)), "20 labels for 20 texts.*--columns"),
        (LINES.encode() + "music\tcaf\u00e9\n".encode("latin-1"), "line 121: byte 0xe9 is no UTF"),
        (LINES.encode("utf-16"), "line 1: UTF-16 is no UTF-8 text; save it as UTF-8"),
        (LINES + "\0", "zero byte"),
    ],
)  # fmt: skip
def test_a_fault_is_one_clear_line(content, said, tmp_path):
    path = tmp_path / "data.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(Error, match=said) as e:
        TextJob(path, 1)
    assert "\n" not in str(e.value) and str(path) in str(e.value)


def test_what_is_no_table(tmp_path, monkeypatch):
    with pytest.raises(Error, match="there is none"):
        TextJob(tmp_path / "gone.tsv", 1)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(Error, match=r"is a folder of photo.jpg; expected a .tsv or .csv"):
        TextJob(tmp_path, 1)
    with pytest.raises(Error, match=r"photo.jpg: expected a .tsv file of label, tab, text"):
        TextJob(tmp_path / "photo.jpg", 1)
    large = tmp_path / "large.tsv"
    with open(large, "wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(Error, match=r"104,857,600 bytes, expected at most 33,554,432"):
        TextJob(large, 1)


def test_columns_by_their_names_and_parts_by_a_column(tmp_path):
    rows = [(t, label, ("train", "test", "dev")[i % 3]) for i, (label, t) in enumerate(made())]
    path = write(tmp_path / "a.csv", [("Message", "Kind", "Part"), *rows], ";")
    job = TextJob(path, 1, ["kind", "message"], "part")
    assert job.labels == sorted(WORDS) and job.counts()["validation"] == 40
    assert TextJob(path, 1, ["2", "1"], "part").texts == job.texts
    with pytest.raises(Error, match="no column 'colour'; its first line is Message, Kind, Part"):
        TextJob(path, 1, ["colour", "message"])
    with pytest.raises(Error, match="part 'lamp'|part 'light'|part 'music'"):
        TextJob(path, 1, ["message", "kind"], "kind")
    named = write(tmp_path / "b.csv", [("text", "label"), *((t, k) for t, k, _ in rows)], ",")
    assert set(TextJob(named, 1).labels) == set(WORDS)


def test_doubles_are_on_one_side_and_each_label_has_its_share():
    keys = [f"text {i % 300}" for i in range(600)]
    labels = [str(i % 3) for i in range(600)]
    parts = split(keys, labels)
    assert len(set(zip(keys, parts, strict=True))) == 300
    for label in "012":
        of = [p for p, one in zip(parts, labels, strict=True) if one == label]
        assert of.count("test") == of.count("validation") == 20
    # More data move no one: a hash decides.
    assert split(["a", "b"], ["x", "x"]) == ["train", "train"]
    given = ["test" if i < 60 else "train" for i in range(600)]
    again = split(keys, labels, given)
    assert again[:60] == ["test"] * 60 and again.count("test") == 60
    assert "validation" in again


def test_what_is_odd_is_said(tmp_path):
    rows = [*made(40), *made(4, 2)]
    rows = [*rows, ("Music", "play it"), ("weather", "play it"), rows[0]]
    rows += [("alarm", "wake me up at seven")] * 3
    path = write(tmp_path / "a.tsv", rows)
    path.write_text(path.read_text() + "\n\nlight\tlamp on\n")
    said = "\n".join(TextJob(path, 1).doubts)
    for part in (
        "'Music' has 1", "uneven: ", "'music' (44) and 'Music' (1) may be one",
        "more than once", "1 text has two labels: 'play it' is 'Music' and 'weather'",
        "2 empty lines",
    ):  # fmt: skip
        assert part in said, said


@pytest.mark.parametrize("suffix", [".tsv", ".csv"])
def test_the_end_of_a_file_is_no_empty_line(suffix, tmp_path):
    path = write(tmp_path / f"a{suffix}", made(40), "\t" if suffix == ".tsv" else ",")
    assert not any("empty" in said for said in TextJob(path, 1).doubts)
    path.write_text(path.read_text() + "\n")
    assert any("1 empty line" in said for said in TextJob(path, 1).doubts)


def test_typing_errors_change_a_letter_or_two():
    draw = random.Random(1)
    found = [mistype("turn on the lamp", draw, "abc") for _ in range(200)]
    assert sum(t != "turn on the lamp" for t in found) > 120
    assert all(abs(len(t) - 16) <= 2 for t in found)


def test_the_folder_of_a_data_set(tmp_path):
    write(tmp_path / "train.tsv", made(40))
    write(tmp_path / "test.tsv", [*made(5, 2), made(40)[0]])
    job = TextJob(tmp_path, 1)
    assert job.counts()["test"] == 16 and job.counts()["validation"] == 12
    assert any("of the test part were elsewhere" in d for d in job.doubts)
    assert job.texts["test"][-1] not in job.texts["train"]


def test_the_shape_fits_the_board_and_the_time(tmp_path):
    pytest.importorskip("torch", reason="torch is missing")
    job = TextJob(write(tmp_path / "a.tsv", made()), 1)
    pico = profile("pico")
    shape, cost, why = shaping.choose(job, pico, None)
    assert cost.fits and cost.heap + shaping.ROOM <= cost.heap_free
    assert "the largest that these data need" in why
    fast, less, why = shaping.choose(job, pico, cost.milliseconds - 1)
    assert less.milliseconds < cost.milliseconds and fast["dim"] <= shape["dim"]
    assert "the next larger would take" in why
    with pytest.raises(Error, match="no model is small enough for 1 ms on Raspberry Pi Pico"):
        shaping.choose(job, pico, 1)
    with pytest.raises(Error, match="no speed is known"):
        shaping.choose(job, profile("esp32"), 50)


def test_from_data_to_a_model_file(tmp_path, capsys):
    pytest.importorskip("torch", reason="torch is missing")
    data, out = write(tmp_path / "a.tsv", made(60)), tmp_path / "kinds"
    given = ["train", "text", str(data), "-o", str(out), "--minutes", "1.2"]
    with steps_for_seconds():
        assert main(given) == 0
    said = capsys.readouterr()
    assert "shape   dim 64" in said.out and f"next   picoformer convert {out}" in said.err
    convert(out, tmp_path / "kinds.pft")
    sim = Simulator(tmp_path / "kinds.pft")
    held = [line.split("\t") for line in (out / "test.tsv").read_text().splitlines()]
    right = [sim.classify(text)[0][0] == label for label, text in held]
    assert np.mean(right) > 0.9
    card = (out / "README.md").read_text()
    assert "`picoformer train text" in card and f"({sum(right)} of {len(held)})" in card
    # It is complete: the same command trains no more, more minutes go on.
    assert main([*given, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["complete"] and first["scores"]["accuracy_int"] > 0.9
    with steps_for_seconds():
        assert main([*given[:-1], "1.6", "--json"]) == 0
    more = json.loads(capsys.readouterr().out)
    assert more["steps"] > first["steps"] and more["seconds"] > first["seconds"]
    assert main([*given, "--seed", "2"]) == 1
    assert "is of a training on other data" in capsys.readouterr().err


def test_what_is_interrupted_goes_on(tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch", reason="torch is missing")
    data, out = write(tmp_path / "a.tsv", made(60)), tmp_path / "kinds"
    original = TextJob.loss

    def interrupted(self, model, step):
        if step == 40:
            raise KeyboardInterrupt
        return original(self, model, step)

    given = ["train", "text", str(data), "-o", str(out), "--minutes", "1.2"]
    monkeypatch.setattr(TextJob, "loss", interrupted)
    with steps_for_seconds():
        assert main(given) == 130
    assert "has the best so far" in capsys.readouterr().err
    convert(out, tmp_path / "kinds.pft")
    monkeypatch.setattr(TextJob, "loss", original)
    with steps_for_seconds():
        assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] > 40


def test_too_few_to_test_on(tmp_path, capsys):
    pytest.importorskip("torch", reason="torch is missing")
    rows = [(str(i % 4), f"text {i}") for i in range(8)]
    data = write(tmp_path / "a.tsv", rows)
    assert main(["train", "text", str(data), "-o", str(tmp_path / "out")]) == 1
    assert "nothing for the parts validation and test" in capsys.readouterr().err


def test_a_folder_with_other_things_is_left_alone(tmp_path, capsys):
    pytest.importorskip("torch", reason="torch is missing")
    data = write(tmp_path / "a.tsv", made(20))
    assert main(["train", "text", str(data), "-o", str(tmp_path), "--minutes", "0.1"]) == 1
    assert "holds a.tsv" in capsys.readouterr().err
    assert main(["train", "text", str(data), "-o", str(data), "--minutes", "0.1"]) == 1
    assert "is a file; expected a folder" in capsys.readouterr().err
    out = tmp_path / "out"
    assert main(["train", "text", str(data), "-o", str(out), "--latency", "0.1"]) == 1
    assert "no model is small enough for 0.1 ms" in capsys.readouterr().err and not out.exists()


@pytest.mark.slow
@pytest.mark.skipif(not SNIPS.name, reason="needs PICOFORMER_SNIPS, train.tsv and test.tsv")
def test_snips_in_ten_minutes(tmp_path, capsys):
    pytest.importorskip("torch", reason="torch is missing")
    assert main(["train", "text", str(SNIPS), "-o", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["sequences"] == 700 and found["scores"]["accuracy_int"] >= 0.975




def test_a_resumed_training_keeps_its_vocabulary(tmp_path, monkeypatch):
    """The pieces may come out in another order when they are learnt again: ids stay."""
    pytest.importorskip("torch", reason="torch is missing")
    from picoformer.training import text as module

    path = write(tmp_path / "a.tsv", made())
    first = TextJob(path, 1)
    learn = module.learn_pieces
    monkeypatch.setattr(module, "learn_pieces", lambda *given: learn(*given)[::-1])
    again = TextJob(path, 1)
    assert again.memory() != first.memory() and again.fingerprint() == first.fingerprint()
    again.recall(first.memory())
    assert again.memory() == first.memory()
    assert again.tokenizer.encode("the lamp").ids == first.tokenizer.encode("the lamp").ids
    again.recall("")
    assert again.memory() == first.memory()


def test_a_vocabulary_and_a_model_of_at_most_so_many(tmp_path):
    pytest.importorskip("torch", reason="torch is missing")
    path = write(tmp_path / "a.tsv", made())
    job = TextJob(path, 1, pieces=90)
    assert job.vocab == 90 and job.fingerprint() != TextJob(path, 1).fingerprint()
    board = profile("pico")
    shape, found, why = shaping.choose(job, board, None, 25_000)
    assert found.parameters <= 25_000 and "parameters" in why and shape["dim"] == 32
    with pytest.raises(Error, match="small enough with 500 parameters.*allow more --param"):
        shaping.choose(job, board, None, 500)


def test_shares_are_made_true(tmp_path):
    """One factor on the logits, so that a model of smoothed labels is as sure as it is right."""
    torch = pytest.importorskip("torch", reason="torch is missing")
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 3, 4000)
    chances = draw.dirichlet([0.3] * 3, 4000)
    labels = np.array([draw.choice(3, p=p) for p in chances])
    true = np.log(chances + 1e-9)
    assert sharpness(0.5 * true, labels) == pytest.approx(2, rel=0.1)
    assert sharpness(true / 1.7, labels) == pytest.approx(1.7, rel=0.1)
    job = TextJob(write(tmp_path / "a.tsv", made()), 1)
    torch.manual_seed(1)
    model = job.model(job.shapes()[-1])
    before = job.predict(model, job.texts["validation"])
    job.finished(model)
    after = job.predict(model, job.texts["validation"])
    assert (before.argmax(1) == after.argmax(1)).all()
    assert (before / after).std() < 1e-3 and not np.allclose(before, after)
