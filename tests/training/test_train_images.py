"""`picoformer train images`: pictures, from files to a model file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from picoformer.commands.main import main
from picoformer.errors import Error
from picoformer.training.images import ImageJob
from trainingdata import shapes, trained

FASHION = Path(os.environ.get("PICOFORMER_FASHION", ""))


def test_pictures_from_an_archive(tmp_path, capsys):
    images, labels = shapes()
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    found, sim = trained(capsys, "images", tmp_path / "a.npz", tmp_path / "bars", 150)
    assert found["labels"] == ["empty", "lies", "stands"]
    assert found["scores"]["accuracy_int"] > 0.9
    images, labels = shapes(5, seed=2)
    told = [sim.classify(one)[0][0] for one in images]
    assert np.mean(told == labels) > 0.9


def test_pictures_from_folders(tmp_path):
    pil = pytest.importorskip("PIL.Image", reason="Pillow is missing")
    images, labels = shapes(12, 40)
    for i, (one, label) in enumerate(zip(images, labels, strict=True)):
        (tmp_path / "train" / label).mkdir(parents=True, exist_ok=True)
        pil.fromarray(one).save(tmp_path / "train" / label / f"{i}.png")
    job = ImageJob(tmp_path, 1)
    assert (job.side, job.channels) == (32, 1) and job.counts()["test"] == 3
    assert job.names[0].startswith("empty/")
    assert all(job.side % s["patch"] == 0 for s in job.shapes())


def test_mirrored_pictures_are_used_where_they_are_alike(tmp_path):
    draw = np.random.default_rng(1)
    images = draw.integers(0, 30, (400, 16, 16)).astype(np.uint8)
    labels = np.arange(400) % 2
    arrows = images.copy()
    for i in range(400):
        row = draw.integers(2, 12)
        images[i, row : row + 3, :] = 200 if labels[i] else 100
        side = slice(0, 8) if labels[i] else slice(8, 16)
        arrows[i, row : row + 3, side] = 200
    for name, some, said in (("a", images, True), ("b", arrows, False)):
        np.savez(tmp_path / f"{name}.npz", images=some, labels=labels)
        assert ImageJob(tmp_path / f"{name}.npz", 1).mirror is said


def test_a_fault_is_one_clear_line(tmp_path):
    images, labels = shapes(4)
    for arrays, said in (
        ({"images": images}, "holds images, expected images and labels"),
        ({"images": images / 255, "labels": labels}, "images of float64"),
        ({"images": images[:, :8], "labels": labels}, r"shape \(12, 8, 16, 1\); expected uint8"),
        ({"images": images, "labels": labels[:5]}, r"\(5,\) labels of 12 images"),
        ({"images": images, "labels": labels[:1].repeat(12)}, "all 12 pictures have the label"),
    ):
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(Error, match=said):
            ImageJob(tmp_path / "a.npz", 1)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(Error, match="is a folder of a.npz, notes.txt; expected a folder of pic"):
        ImageJob(tmp_path, 1)
    with pytest.raises(Error, match="notes.txt: expected a folder"):
        ImageJob(tmp_path / "notes.txt", 1)


@pytest.mark.slow
@pytest.mark.skipif(not FASHION.name, reason="needs PICOFORMER_FASHION, Fashion-MNIST's files")
def test_fashion_in_twenty_minutes(tmp_path, capsys):
    pytest.importorskip("torch", reason="torch is missing")
    from tools.training.vision import LABELS, read_file

    for part, name in (("train", "train"), ("test", "t10k")):
        images = read_file(FASHION, f"{name}-images-idx3-ubyte.gz")
        numbers = read_file(FASHION, f"{name}-labels-idx1-ubyte.gz")
        np.savez(tmp_path / f"{part}.npz", images=images, labels=np.array(LABELS)[numbers])
    out = str(tmp_path / "out")
    given = ["train", "images", str(tmp_path), "-o", out, "--minutes", "20", "--json"]
    assert main(given) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["accuracy_int"] >= 0.88
