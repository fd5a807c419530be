"""A table that several nodes are multiples of is kept once: graph/tied.py."""

import numpy as np
import pytest

import architectures
import models
import relatives
from picoformer import importers
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import compile_graph
from picoformer.graph.float_model import FloatModel
from picoformer.graph.nodes import Embedding, Graph, LayerNorm, Linear, Norm
from picoformer.graph.tied import tie
from picoformer.importers import huggingface

RNG = np.random.default_rng(5)
TABLE = RNG.normal(0, 1, (11, 8)).astype(np.float32)
GAIN, BIAS = RNG.normal(1, 0.2, (2, 8)).astype(np.float32)


def graph(head, norm, source=None):
    """An embedding, a norm and a head; an encoder with another embedding if there is one."""
    x = norm[-1].out if norm else "x"
    nodes = [Embedding("x", TABLE), *norm, Linear(x, "logits", head, "")]
    encoder = [] if source is None else [Embedding("e", source)]
    return Graph(nodes, 11, 8, 0, encoder=encoder)


def logits(g):
    return FloatModel(Graph(g.nodes, 11, 8, 0), np.float64).forward(np.arange(11)[None])


NORMS = {
    "rms": [Norm("x", "n", GAIN, 1e-5)],
    "layer": [LayerNorm("x", "n", GAIN, BIAS, 1e-5)],
    "in place": [LayerNorm("x", "x", GAIN, BIAS, 1e-5)],
}


@pytest.mark.parametrize("factor", [1, 1 / np.sqrt(80), 0.125, -3.7, 1e3])
@pytest.mark.parametrize("norm", NORMS)
def test_a_head_that_is_a_multiple_is_the_table(norm, factor):
    head = (TABLE * np.float64(factor)).astype(np.float32)
    before = graph(head, NORMS[norm])
    after = tie(before)
    assert after.nodes[-1].weight is TABLE
    assert after.parameters == before.parameters - TABLE.size
    assert np.allclose(logits(after), logits(before), rtol=1e-5, atol=1e-6)


def test_what_is_no_multiple_stays():
    other = TABLE * np.float32(0.5)
    other[3, 4] *= 1.0001
    more = np.vstack([TABLE, TABLE])
    for head in other, TABLE[:, ::-1].copy(), np.zeros_like(TABLE), more:
        assert tie(graph(head, NORMS["rms"])).nodes[-1].weight is head
    scaled = TABLE * np.float32(0.5)
    assert tie(graph(scaled, [])).nodes[-1].weight is scaled  # no norm would make up for it
    assert tie(graph(TABLE.copy(), [])).nodes[-1].weight is TABLE


def test_tables_that_are_equal():
    after = tie(graph(TABLE * np.float32(0.5), NORMS["rms"], source=TABLE.copy()))
    assert after.encoder[0].weight is after.nodes[0].weight is after.nodes[-1].weight
    halved = TABLE * np.float32(0.5)  # a source's embedding has no norm of its own
    assert tie(graph(TABLE, NORMS["rms"], source=halved)).encoder[0].weight is halved


@pytest.mark.parametrize("name", ["marian", "bart-scaled", "t5", "gemma"])
def test_importers_keep_one_table(tmp_path, name):
    if name in relatives.CASES:
        folder = relatives.write(tmp_path, name, relatives.kept()[name]["shapes"])
    else:
        folder = architectures.write(tmp_path, architectures.SPECIAL[name])
    g = tie(huggingface.graph(folder))
    tokens = [n for n in g.encoder + g.nodes if isinstance(n, Embedding) and n.by == "token"]
    assert all(n.weight is g.nodes[-1].weight for n in tokens)
    steps = compile_graph(g, calibrate(g)).steps
    kept = [s.fields["weights"] for s in steps if s.op in ("embed", "linear")]
    assert kept[0] == kept[-1]


def test_reading_ties():
    g, _ = importers.read(models.ROOT / "models" / "english-french")
    assert g.encoder[0].weight is g.nodes[0].weight is g.nodes[-1].weight
