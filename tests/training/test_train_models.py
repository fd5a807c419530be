"""The checkpoints: what an importer reads gives the logits of the model that was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from picoformer import importers
from picoformer.data.examples import Example
from picoformer.data.pictures import cut
from picoformer.graph.float_model import FloatModel
from picoformer.training.images import ImageJob
from picoformer.training.job import Job
from picoformer.training.signals import SensorJob
from picoformer.training.text import TextJob
from trainingdata import gestures, made, shapes, write

TOLERANCE = 0.01  # weights are kept in 16 bits


def exported(job: Job, folder: Path):
    """The torch model, and the graph of its folder."""
    torch = pytest.importorskip("torch", reason="torch is missing")
    torch.manual_seed(1)
    shape = job.shapes()[-1]
    model = job.model(shape).eval()
    job.export(folder, shape, model.state_dict())
    return model, importers.read(job.source(folder))[0]


def test_text(tmp_path):
    job = TextJob(write(tmp_path / "a.tsv", made()), 1)
    model, graph = exported(job, tmp_path / "out")
    texts = ["play the song now", "is it cold in the house", "lamp"]
    ours = job.predict(model, texts)
    for text, logits in zip(texts, ours, strict=True):
        ids = np.array(job.tokenizer.encode(text).ids)
        np.testing.assert_allclose(
            Example(ids).run(FloatModel(graph))[0], logits, atol=TOLERANCE
        )


def test_images(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is missing")
    images, labels = shapes(12)
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    model, graph = exported(ImageJob(tmp_path / "a.npz", 1), tmp_path / "out")
    with torch.inference_mode():
        ours = model(torch.from_numpy(images[:, None]).float()).numpy()
    for one, logits in list(zip(images, ours, strict=True))[::7]:
        found = Example(cut(one, graph.image)).run(FloatModel(graph))[0]
        np.testing.assert_allclose(found, logits, atol=TOLERANCE)


def test_signals(tmp_path):
    values, labels = gestures(12)
    np.savez(tmp_path / "a.npz", signals=values, labels=labels)
    job = SensorJob(tmp_path / "a.npz", 1)
    model, graph = exported(job, tmp_path / "out")
    some = [values[0], values[20][:30], values[30]]  # one is shorter
    for one, logits in zip(some, job.predict(model, some), strict=True):
        found = Example(graph.frames.windows(one.astype(np.int64))).run(FloatModel(graph))[0]
        np.testing.assert_allclose(found, logits, atol=TOLERANCE)
