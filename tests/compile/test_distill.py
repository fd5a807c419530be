"""Training for the board's integers: the float graph in torch, and what training gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import models
from models import STORIES260K
from picoformer import convert, evaluate
from picoformer.compile import distill, lessons
from picoformer.compile.calibration import inputs
from picoformer.compile.rounding import round_graph
from picoformer.compile.student import Student, exact_tensors
from picoformer.compile.torch_graph import TorchGraph, narrow
from picoformer.data.examples import Example, random_examples
from picoformer.graph.float_model import FloatModel
from picoformer.graph.nodes import Graph, tensors
from turns import some

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
KINDS = [
    models.GPT2, models.BERT, models.MINILM, models.BART, models.T5, models.GATED_T5, models.VIT,
    models.ASKED, models.TAGS, models.SIGNAL, models.FORECAST, models.SOUND,
]  # fmt: skip


def graph_of(kind: str) -> Graph:
    framed = kind in (models.SIGNAL, models.FORECAST, models.SOUND)
    if kind == models.VIT:
        return models.architecture(*models.SPECIAL["vit"])
    return models.architecture(kind, 32, 48, 1, 4, *((1, 0) if framed else (97, 24)), labels=8)


def some_examples(graph: Graph, count: int, seed: int) -> list[Example]:
    """Random ones, shorter and shorter where they may be."""
    examples = random_examples(graph, count, graph.context, seed)
    rng = np.random.default_rng(seed)
    for i, e in enumerate(examples):
        if graph.encoder:
            e.tokens = rng.integers(0, graph.vocab, graph.context - i)
            e.source = e.source[: graph.context - 2 * i]
        elif not graph.image:
            e.tokens = e.tokens[: len(e.tokens) - i]
            e.types = None if e.types is None else e.types[: len(e.tokens)]
    return examples


@pytest.mark.parametrize("kind", some(KINDS, 2))
def test_torch_gives_what_the_float_model_gives(kind):
    """Side by side and padded, each as if it were alone."""
    graph = graph_of(kind)
    examples = some_examples(graph, 4, 1)
    found = TorchGraph(torch, graph).run(exact_tensors(torch, graph),
                                         lessons.batch(torch, examples))  # fmt: skip
    for e, ours in zip(examples, found.numpy(), strict=True):
        exact = e.run(FloatModel(graph))
        np.testing.assert_allclose(ours[: len(exact)], exact, atol=2e-3 * np.abs(exact).max())


def loss(graph: Graph, other: Graph, rounded: dict, examples: list[Example]) -> float:
    """How far the float model with other weights is from the first, as training has it."""
    found = []
    for g, changed in ((graph, {}), (other, rounded)):
        weights = exact_tensors(torch, g)
        weights |= {k: torch.tensor(r.value, dtype=torch.float32) for k, r in changed.items()}
        found.append(TorchGraph(torch, g).run(weights, lessons.batch(torch, examples)))
    return float(distill.difference(torch, graph, *found, lessons.batch(torch, examples)))


@pytest.fixture
def quick(monkeypatch):
    """Less to learn from, in smaller steps."""
    monkeypatch.setattr(lessons, "RANDOM", 256)
    monkeypatch.setattr(lessons, "TOKENS", 192)


@pytest.mark.parametrize("kind", some(KINDS, 3, 1))
def test_distilling_gains(kind, quick):
    """On inputs that it was not trained on; the float model stays as it is."""
    graph = graph_of(kind)
    before = [t.copy() for n in graph.encoder + graph.nodes for t in tensors(n)]
    examples = lessons.lessons(graph, None, 1, 5)[:8]
    rounded = round_graph(graph, inputs(graph, None), 16)
    trained, after = distill.distill(graph, rounded, 80)
    assert after.keys() == rounded.keys()
    for r in after.values():
        assert r.q.min() >= -8 and r.q.max() <= 7
        assert r.scale.min() >= 1 and r.scale.max() <= 15 and (r.unit > 0).all()
    assert loss(graph, trained, after, examples) < 0.9 * loss(graph, graph, rounded, examples)
    for t, was in zip(
        (t for n in graph.encoder + graph.nodes for t in tensors(n)), before, strict=True
    ):
        np.testing.assert_array_equal(t, was)


def test_the_same_again(quick):
    graph = graph_of(models.GPT2)
    rounded = round_graph(graph, inputs(graph, None), 16)
    first, second = (distill.distill(graph, rounded, 5)[1] for _ in range(2))
    for key, r in first.items():
        np.testing.assert_array_equal(second[key].q, r.q)
        np.testing.assert_array_equal(second[key].unit, r.unit)


def test_given_examples_are_what_is_learnt(quick):
    """Each comes once before one comes again."""
    examples = [Example(np.full(n % 7 + 2, n)) for n in range(20)]
    batches = lessons.Batches(torch, examples, 1)
    assert batches.size == 20
    batches.size = 8
    seen = [int(t) for _ in range(5) for t in batches.next().tokens[:, 0]]
    assert len(seen) == 40 and sorted(seen) == sorted([*range(20)] * 2)


def test_a_student_begins_as_it_was_rounded():
    """And what the board rounds beside the weights is rounded in between."""
    graph = graph_of(models.GPT2)
    rounded = round_graph(graph, inputs(graph, None), 16)
    weights = Student(torch, graph, exact_tensors(torch, graph), rounded).weights()
    for k, r in rounded.items():
        np.testing.assert_allclose(weights[k].detach().numpy(), r.value, rtol=1e-5, atol=1e-7)
    some = lessons.batch(torch, random_examples(graph, 2, 24))
    found = [
        TorchGraph(torch, graph, rounds).run(weights, some)
        for rounds in (None, narrow(graph, set(rounded), 12, 8), narrow(graph, set(), 8, 4))
    ]
    size = found[0].detach().std()
    assert 0 < (found[1] - found[0]).std() < (found[2] - found[0]).std() < 0.5 * size


def test_weights_that_turn_to_and_fro_are_settled():
    """In the middle of what they mostly were; one that turns once goes on."""
    graph = graph_of(models.GPT2)
    rounded = round_graph(graph, inputs(graph, None), 16)
    student = Student(torch, graph, exact_tensors(torch, graph), rounded)
    key, r = next(iter(rounded.items()))
    real = student.real[key].detach()
    restless, turning, still = np.argwhere(abs(r.q) < 5)[:3]
    before, low = real.clone(), int(r.q[tuple(restless)])
    for step in range(6):
        real[tuple(restless)] = low + (0.6 if step % 3 == 1 else 0.4)
        real[tuple(turning)] = before[tuple(turning)] + 1
        student.settle()
    assert real[tuple(restless)] == low
    assert real[tuple(turning)] == before[tuple(turning)] + 1
    assert real[tuple(still)] == before[tuple(still)]


@pytest.mark.parametrize("several", [False, True])
def test_what_is_compared(several):
    """A difference of nothing costs nothing; padding counts for nothing."""
    graph = replace(graph_of(models.TAGS), several=several)
    examples = some_examples(graph, 3, 2)
    batch = lessons.batch(torch, examples)
    wanted = TorchGraph(torch, graph).run(exact_tensors(torch, graph), batch)
    other = wanted.clone()
    other[~batch.valid] += torch.arange(8.0)
    assert float(distill.difference(torch, graph, wanted, other, batch)) < 1e-6
    other[0, 0] += torch.arange(8.0)
    assert float(distill.difference(torch, graph, wanted, other, batch)) > 1e-3


@pytest.mark.slow
def test_the_real_checkpoint(tmp_path):
    source, data = STORIES260K / "stories260K.bin", STORIES260K / "self_sampled.npy"
    if not source.is_file():
        pytest.skip(f"no {source}")
    path = tmp_path / "m.pft"
    report = convert(source, path, weight_bits=4, max_bytes=165_000, distill=300)
    assert report.bytes <= 165_000
    assert evaluate(path, source, data=data).kl <= 0.033


@pytest.mark.slow
@pytest.mark.parametrize("bits", [4, 8])
def test_a_classifier(tmp_path, bits):
    """8 bits with narrow caches, too."""
    source = models.ROOT / "models" / "intents"
    lost = []
    for steps in (None, 100):
        path = tmp_path / "m.pft"
        convert(source, path, weight_bits=bits, key_bits=8, value_bits=4, distill=steps)
        lost.append(evaluate(path, source).kl)
    assert lost[1] < lost[0]
