"""What `train` says of a classifier: from which share to act, what it cuts, what is wrong."""

from __future__ import annotations

import csv
import json
from collections import Counter

import numpy as np
import pytest

import models
from picoformer import Simulator, convert
from picoformer.commands.main import main
from picoformer.training import doubts
from picoformer.training.images import ImageJob
from picoformer.training.signals import SensorJob
from picoformer.training.sure import Threshold, least
from picoformer.training.text import LEAST, TextJob
from trainingdata import gestures, made, shapes, steps_for_seconds, write

TABLE = models.ROOT / "docs" / "files" / "commands.csv"


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ([(0.915, True), (0.999, True)], Threshold(0.91, 2, 2, 2)),
        ([(0.4, False), (0.6, True), (0.7, True)], Threshold(0.6, 2, 2, 3)),
        ([(0.5, False), *[(0.9, True)] * 49], Threshold(0.5, 50, 49, 50)),  # 98 %
        ([(0.5, False), *[(0.9, True)] * 48], Threshold(0.9, 48, 48, 49)),
        ([(1.0, True), (0.995, True), (0.994, False)], None),  # fewer than half
        ([(1.0, True), (1.0, True), (0.994, False)], Threshold(1.0, 2, 2, 3)),
        ([(1.0, False), *[(0.9, True)] * 19, *[(0.5, False)] * 3], Threshold(0.9, 20, 19, 23)),
        ([(1.0, False), *[(0.9, True)] * 9, *[(0.5, False)] * 3], Threshold(0.9, 10, 9, 13)),
        ([(0.9, True), (0.95, False)], None),
        ([], None),
    ],
)
def test_the_least_share(found, wanted):
    assert least(found) == wanted


def test_small_test_parts_are_said(tmp_path):
    assert "has 1 text:" in doubts.of_test(1, "text")[0]
    assert "has 19 pictures: its figure says little" in doubts.of_test(19, "picture")[0]
    assert not doubts.of_test(20, "text") and not doubts.of_test(0, "text")
    few = TextJob(write(tmp_path / "a.tsv", made(20)), 1)
    assert any("the test part has 6 texts" in d for d in few.doubts)
    assert any("20; take 30 or more of each" in d or "has 20" in d for d in few.doubts)
    assert not TextJob(write(tmp_path / "b.tsv", made(100)), 1).doubts[1:]


def test_short_texts_leave_room_for_longer_ones(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is missing")
    job = TextJob(write(tmp_path / "a.tsv", made()), 1)
    assert job.positions == LEAST > job.seen
    assert job.read() == f"24 tokens of a text, about {job.words} words; the rest is cut"
    assert 4 < job.words <= LEAST
    torch.manual_seed(1)
    model = job.model(job.shapes()[-1])
    table = model.distilbert.embeddings.position_embeddings.weight
    before = table.detach().clone()
    job.finished(model)
    assert torch.equal(table[: job.seen], before[: job.seen])
    assert torch.equal(table[job.seen], table[-1])  # none is what it was by chance
    assert not torch.equal(table[-1], before[-1])


def test_a_training_says_it_all(tmp_path, capsys):
    pytest.importorskip("torch", reason="torch is missing")
    # Some texts have a wrong label, so that some of the test part are taken for another.
    rows = [(("music" if i % 16 == 3 else label), t) for i, (label, t) in enumerate(made(80))]
    data, out = write(tmp_path / "a.tsv", rows), tmp_path / "kinds"
    given = ["train", "text", str(data), "-o", str(out), "--minutes", "2"]
    with steps_for_seconds():
        assert main(given) == 0
    said = capsys.readouterr().out
    assert "reads   24 tokens of a text" in said
    assert 1 <= said.count(", and was taken for ") <= 3 and "(+-" in said
    assert main([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["threshold"]
    wanted = f"from a share of {found['share']:.2f}: of {found['total']} texts of the validation"
    assert wanted in " ".join(said.split())
    assert f"Act {wanted}" in (out / "README.md").read_text()
    # The model file has these shares of the validation part.
    convert(out, tmp_path / "kinds.pft")
    sim = Simulator(tmp_path / "kinds.pft")
    best = [(sim.probabilities(sim.classify(t))[0], label) for t, label in TextJob(data, 1).held()]
    sure = [label == wanted for (label, share), wanted in best if share >= found["share"]]
    assert [len(sure), sum(sure), len(best)] == [found[k] for k in ("answered", "right", "total")]


def test_signals_and_pictures_are_held_as_a_model_reads_them(tmp_path):
    signals, labels = gestures(12)
    np.savez(tmp_path / "a.npz", signals=signals / 100, labels=labels)
    job = SensorJob(tmp_path / "a.npz", 1)
    held = job.held()
    assert [label for _, label in held] == job.parts["validation"] and held
    assert np.abs(held[0][0]).max() < 40 and held[0][0].shape == (60, 3)
    images, labels = shapes(12)
    np.savez(tmp_path / "b.npz", images=images, labels=labels)
    job = ImageJob(tmp_path / "b.npz", 1)
    held = job.held()
    assert [label for _, label in held] == job.parts["validation"]
    assert held[0][0].dtype == np.uint8 and held[0][0].shape[:2] == (16, 16)


def test_the_table_that_we_ship():
    with open(TABLE, encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["message", "intent"]
    counts = Counter(label for _, label in rows)
    assert set(counts) == {"light_on", "light_off", "time", "temperature", "door_open", "other"}
    assert min(counts.values()) >= 30 and counts["other"] == max(counts.values())
    assert TextJob(TABLE, 1, ["intent", "message"]).doubts == []
