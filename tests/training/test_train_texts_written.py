"""`picoformer train pairs` and `stories`: what writes texts, from files to a model file."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from picoformer.errors import Error
from picoformer.training.pairs import PairJob
from picoformer.training.shaping import per
from picoformer.training.stories import StoryJob
from trainingdata import trained

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def numbers(path: Path, n: int = 400) -> Path:
    """Digits, and the words for them."""
    draw = random.Random(1)
    rows = set()
    while len(rows) < n:
        digits = [draw.randrange(10) for _ in range(draw.randint(1, 3))]
        rows.add(f"{' '.join(map(str, digits))}\t{' '.join(NUMBERS[d] for d in digits)}\n")
    path.write_text("".join(sorted(rows)))
    return path


def tales(path: Path, n: int = 400) -> Path:
    draw = random.Random(1)
    names, things = ["Tom", "Ann", "Lily", "Ben"], ["ball", "dog", "tree", "boat", "cake"]
    path.write_text("\n\n".join(
        f"One day {(name := draw.choice(names))} saw a {(thing := draw.choice(things))}. "
        f"{name} was {draw.choice(['happy', 'sad', 'glad'])}.\nThen {name} took the {thing} home "
        f"on day {i}."
        for i in range(n)
    ))  # fmt: skip
    return path


def test_pairs(tmp_path, capsys):
    data = numbers(tmp_path / "numbers.tsv")
    found, sim = trained(capsys, "pairs", data, tmp_path / "words", 200)
    assert found["parts"]["test"] == 40 and found["labels"] == []
    scores = found["scores"]
    assert scores["chrf_int"] > 60 and abs(scores["chrf_int"] - scores["chrf_float"]) < 5
    assert set(sim.translate("7 3").split()) <= set(NUMBERS)


def test_what_pairs_are_checked_for(tmp_path):
    data = tmp_path / "a.tsv"
    data.write_text("one\n")
    with pytest.raises(Error, match=r"line 1 has 1 column .*expected source and target"):
        PairJob(data, 1)
    data.write_text("one\tun\n")
    with pytest.raises(Error, match="has 1 pair, expected at least 8"):
        PairJob(data, 1)
    job = PairJob(numbers(tmp_path / "b.tsv", 100), 1)
    assert "100 pairs are few: some thousand teach it more" in job.doubts
    sources = {part: {s for s, _ in some} for part, some in job.pairs.items()}
    assert not sources["test"] & sources["train"]


def test_the_torch_model_is_the_importers(tmp_path):
    """The logits of the exported folder are those of the model that was trained."""
    torch = pytest.importorskip("torch", reason="torch is missing")
    from picoformer import importers
    from picoformer.graph.float_model import FloatModel

    job = PairJob(numbers(tmp_path / "b.tsv", 100), 1)
    shape = job.shapes()[-1]
    torch.manual_seed(1)
    model = job.model(shape).eval()
    job.export(tmp_path / "out", shape, model.state_dict())
    graph, _ = importers.read(tmp_path / "out")
    source, written = np.array([[5, 9, 3, 1]]), np.array([[0, 7, 8]])
    floats = FloatModel(graph).forward(written, None, source)
    with torch.inference_mode():
        ids = torch.from_numpy(source)
        ours = model(ids, ids != 0, torch.from_numpy(written)).numpy()
    np.testing.assert_allclose(floats[..., 1:], ours[..., 1:], atol=0.02)


def test_stories(tmp_path, capsys):
    data = tales(tmp_path / "tales.txt")
    found, sim = trained(capsys, "stories", data, tmp_path / "tales", 40)
    scores = found["scores"]
    assert scores["perplexity_int"] < 200
    assert scores["perplexity_int"] == pytest.approx(scores["perplexity_float"], rel=0.02)
    assert any("characters are few" in d for d in found["doubts"])
    assert "".join(sim.generate("One day", 10))


def test_what_stories_are_checked_for(tmp_path):
    data = tmp_path / "a.txt"
    data.write_text("Once upon a time.")
    with pytest.raises(Error, match="has 17 characters, expected at least 20,000"):
        StoryJob(data, 1)
    data.write_bytes(b"\xff" * 30_000)
    with pytest.raises(Error, match="no UTF-8"):
        StoryJob(data, 1)
    with pytest.raises(Error, match="is a folder; expected a file of text"):
        StoryJob(tmp_path, 1)
    job = StoryJob(tales(tmp_path / "b.txt"), 1)
    assert per(job) == "a text of 128 tokens"  # as many as the milliseconds are of
    assert not set(job.stories["test"]) & set(job.stories["train"])


def several(path: Path) -> Path:
    """Numbers with two targets each, of which the second is wanted."""
    lines = numbers(path).read_text().splitlines()
    path.write_text("".join(
        f"{source}\t{target}\n{source}\tno {target}\n"
        for source, target in (line.split("\t") for line in lines)
    ))  # fmt: skip
    return path


def test_a_source_with_several_targets_is_one_of_an_epoch(tmp_path):
    pytest.importorskip("torch", reason="torch is missing")
    job = PairJob(several(tmp_path / "a.tsv"), 1)
    assert len(job.sources) == len(job.pairs["train"]) // 2
    assert job.order.each == -(-len(job.sources) // 64)
    draw, source = random.Random(1), job.sources[0]
    assert {job._target(source, draw) for _ in range(30)} == set(job.targets[source])
    job.likeliest = {source: job.targets[source][1]}
    found = [job._target(source, draw) for _ in range(300)]
    assert 190 < found.count(job.targets[source][1]) < 260  # half, and half of the rest


def test_pairs_go_on_with_a_model(tmp_path, capsys):
    """It has that model's vocabulary and shape, and begins with its weights."""
    pytest.importorskip("torch", reason="torch is missing")
    data = several(tmp_path / "a.tsv")
    _, first = trained(capsys, "pairs", data, tmp_path / "one", 30)
    more = ["--start", str(tmp_path / "one")]
    found, _ = trained(capsys, "pairs", data, tmp_path / "two", 10, more)
    assert found["parameters"] == first.model.meta["parameters"]
    assert (tmp_path / "two/tokenizer.json").read_bytes() == (
        tmp_path / "one/tokenizer.json"
    ).read_bytes()
    job = PairJob(data, 1, start=tmp_path / "one")
    model = job.model(job.shapes()[0])
    random_score = job.score(model)
    job.begin(model)
    assert job.score(model) > random_score + 0.5
    assert set(job.likeliest) == set(job.sources)
    for given, said in (
        (tmp_path, "has no config.json: expected a folder that `train pairs` left"),
        (Path(__file__).resolve().parents[2] / "models/intents", "holds no translator"),
    ):
        with pytest.raises(Error, match=said):
            PairJob(data, 1, start=given)
