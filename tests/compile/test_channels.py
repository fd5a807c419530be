"""Signals whose sizes the checkpoint does not tell: data do, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import models
from closeness import cosine
from picoformer import Error, Simulator, convert
from picoformer.compile import convert as module
from picoformer.compile.channels import scaled
from picoformer.graph.float_model import FloatModel
from picoformer.graph.nodes import Linear, Patches
from picoformer.tokenizers.vocabulary import Vocabulary


def as_they_are(name: str, **changes):
    """A model that reads the numbers as they are, and signals that it could have learned from."""
    graph = models.architecture(*models.SPECIAL[name])
    f = replace(graph.frames, **changes)
    signals = []
    rng = np.random.default_rng(0)
    for n in (f.length, f.length - 3, f.length):
        v = f.mean + f.std * rng.normal(0, 1, (n, f.channels))
        signals.append(np.clip(np.rint(v), -32768, 32767).astype(np.int64))
    patches = next(n for n in graph.nodes if isinstance(n, Patches))
    nodes = []
    for n in graph.nodes:
        if isinstance(n, Linear) and n.x == patches.out:
            std = np.tile(f.std, f.size[0]) if f.across == 1 else np.sqrt((f.std**2).mean())
            n = replace(n, weight=n.weight / std)
        nodes.append(n)
    n = f.channels
    plain = replace(f, mean=np.zeros(n), std=np.ones(n))
    return replace(graph, nodes=nodes, frames=plain), signals


@pytest.mark.parametrize(
    "name, changes, mean",
    [
        ("signal", {}, False),  # a class token
        ("signal", {"tokens": 0}, True),
        ("signal", {"tokens": 0, "padding": (1, 1)}, False),
        ("forecast", {}, False),
        ("forecast", {"size": (3, 11), "padding": (0, 0)}, True),
    ],
)
def test_the_same_model(name, changes, mean):
    if name == "forecast" and changes:
        graph = models.architecture(*models.SPECIAL[name])
        rng = np.random.default_rng(5)
        f = replace(graph.frames, **changes)
        first = Linear("frames", "x", rng.normal(0, 0.2, (30, f.elements)), "w")
        graph.nodes[:2] = [Patches("frames", f.elements), first]
        n = f.channels
        plain = replace(f, mean=np.zeros(n), std=np.ones(n))
        signals = [rng.integers(-900, 2000, (k, n)) for k in (19, 12)]
        graph = replace(graph, frames=plain)
    else:
        graph, signals = as_they_are(name, **changes)
    unknown = replace(graph, frames=replace(graph.frames, mean=None, std=None))
    found = scaled(unknown, signals)
    assert (found.frames.mean != 0).any() == mean
    found.check()
    for s in signals:
        a, b = (FloatModel(g).forward(g.frames.windows(s)[None])[0] for g in (graph, found))
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(a).max())
    windows = found.frames.windows(signals[0])
    assert 0.3 < np.sqrt((windows[found.frames.tokens :] ** 2).mean()) < 3


def test_data_tell_convert(monkeypatch, tmp_path):
    """Whose sizes differ a thousand times, and each of which counts."""
    graph, signals = as_they_are("signal")
    unknown = replace(graph, frames=replace(graph.frames, mean=None, std=None))
    monkeypatch.setattr(module.importers, "read", lambda *_: (unknown, Vocabulary([b""])))
    with pytest.raises(Error, match="does not tell how large they are: give some with --data"):
        convert("anything", tmp_path / "m.pft")
    full = [s for s in signals if len(s) == graph.frames.length]
    np.savez(tmp_path / "some.npz", signals=np.stack(full).astype(np.int16))
    convert("anything", tmp_path / "m.pft", data=tmp_path / "some.npz")
    sim = Simulator(tmp_path / "m.pft")
    for s in signals:
        exact = FloatModel(graph).forward(graph.frames.windows(s)[None])[0, 0]
        assert cosine(exact, sim._read(s, "classify") * sim.logit_scale) > 0.9995
