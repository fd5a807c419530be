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
    """Less to learn from, in smaller steps; enough of it apart to see what is gained."""
    monkeypatch.setattr(lessons, "RANDOM", 1024)
    monkeypatch.setattr(lessons, "TOKENS", 192)
    monkeypatch.setattr(lessons, "APART_BATCHES", 32)
    monkeypatch.setattr(lessons, "APART_STEPS", 10)


@pytest.mark.parametrize("kind", some(KINDS, 3, 1))
def test_distilling_gains(kind, quick):
    """On inputs that it was not trained on; the float model stays as it is."""
    graph = graph_of(kind)
    before = [t.copy() for n in graph.encoder + graph.nodes for t in tensors(n)]
    examples = lessons.lessons(graph, None, 40, 5)[:256]
    rounded = round_graph(graph, inputs(graph, None), 16)
    trained, after, found = distill.distill(graph, rounded, 160)
    assert found.kept and found.trained < found.rounded and found.steps == 160
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
    first, second = (distill.distill(graph, rounded, 5) for _ in range(2))
    assert first[2] == second[2]
    first, second = first[1], second[1]
    for key, r in first.items():
        np.testing.assert_array_equal(second[key].q, r.q)
        np.testing.assert_array_equal(second[key].unit, r.unit)


@pytest.mark.parametrize("rate", [0, 1e6])
def test_what_gains_nothing_is_not_kept(quick, monkeypatch, rate):
    """Neither where nothing changes nor where training is far too fast."""
    monkeypatch.setattr(Student, "groups", fast(Student.groups, rate))
    graph = graph_of(models.BERT)
    rounded = round_graph(graph, inputs(graph, None), 16)
    same, matrices, found = distill.distill(graph, rounded, 10)
    assert not found.kept and same is graph and matrices is rounded
    assert found.trained <= found.rounded and found.unit == "nats a prediction"


def fast(groups, times):
    return lambda self: [{**group, "lr": times * group["lr"]} for group in groups(self)]


def test_a_model_is_left_as_it_was_at_its_best(quick, monkeypatch):
    """Checks that find it twice as far away as it began make training slower, from the best on."""
    said = iter([1.0, 0.7, 0.8, 1.5, 0.5, 0.9, *[2.0] * 5])
    monkeypatch.setattr(distill._Course, "_apart", lambda self: next(said))
    states: list[list] = []
    load = Student.load
    monkeypatch.setattr(Student, "load", lambda s, t: (states.append(t), load(s, t))[1])
    graph = graph_of(models.GPT2)
    rounded = round_graph(graph, inputs(graph, None), 16)
    _, matrices, found = distill.distill(graph, rounded, 10)
    assert (found.rounded, found.trained, found.kept) == (1.0, 0.5, True)
    assert len(states) == 5 + 1 and next(said, None) is None
    real = dict(zip(rounded, states[-1][-2 * len(rounded) :], strict=False))
    for k, r in matrices.items():
        np.testing.assert_array_equal(r.q, np.clip(real[k].numpy(), -8, 7).round())


@pytest.mark.parametrize("count", [1, 2, 7, 100, 5000])
def test_some_are_set_apart(count):
    """Not more than an eighth, but always one; none is in both parts but the only one."""
    examples = [Example(np.arange(9)) for _ in range(count)]
    learnt, apart = lessons.set_apart(examples, 1000, 1)
    assert len(apart) == min(max(count // 8, 1), 8 * (1024 // 9))
    both = {id(e) for e in learnt} & {id(e) for e in apart}
    assert len(learnt) + len(apart) == count + len(both) and len(both) == (count == 1)
    assert len(lessons.set_apart(examples, 5, 1)[1]) <= 1024 // 9
    sizes = [len(b.tokens) for b in lessons.side_by_side(torch, apart)]
    assert sum(sizes) == len(apart) and max(sizes) <= min(min(sizes) + 1, 1024 // 9)


@pytest.mark.parametrize(
    "lengths, size",
    [([256] * 9, 4), ([31] * 9, 33), ([8] * 99, 128), ([2] * 9, 128), ([8] * 98 + [96], 42),
     ([8] * 999 + [4000], 4)],
)  # fmt: skip
def test_a_step_takes_about_as_many_tokens_whatever_is_the_longest(lengths, size):
    assert lessons.batch_size(lengths) == size


def test_text_to_judge_by_is_written_besides():
    graph = graph_of(models.GPT2)
    learnt, apart = lessons.parts(graph, None, 20, 3)
    same = lessons.lessons(graph, None, 20, 3)
    assert [e.tokens.tolist() for e in learnt] == [e.tokens.tolist() for e in same]
    assert len(apart) == 42 and {len(e.tokens) for e in apart} == {24}


def test_what_padding_would_give_on_the_way_counts_for_nothing():
    graph = graph_of(models.BART)
    examples = some_examples(graph, 3, 2)
    ways: list[list] = [[], []]
    for read, way in ((examples, ways[0]), (examples[:1], ways[1])):
        TorchGraph(torch, graph).run(exact_tensors(torch, graph), lessons.batch(torch, read), way)
    source, target = (sum(len(t) for t in each) for each in
                      zip(*((e.source, e.tokens) for e in examples), strict=True))  # fmt: skip
    assert {len(v) for v in ways[0]} == {source, target}
    for all_of, first in zip(*ways, strict=True):
        torch.testing.assert_close(all_of[: len(first)], first, rtol=1e-4, atol=1e-4)
    assert float(distill.astray(ways[0], ways[0])) == 0
    assert float(distill.astray(ways[0], [2 * v for v in ways[0]])) == pytest.approx(1)


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
    """8 bits with narrow caches, too. The same file where training gained nothing."""
    source, data = models.ROOT / "models" / "intents", tmp_path / "ids.npy"
    np.save(data, np.random.default_rng(9).integers(0, 1000, (256, 40)))
    lost, files = [], []
    for steps in (None, 300):
        path = tmp_path / f"{steps}.pft"
        report = convert(source, path, weight_bits=bits, key_bits=8, value_bits=4, distill=steps)
        lost.append(evaluate(path, source, data=data).kl)
        files.append(path.read_bytes())
    assert report.distilled.kept or bits == 8
    assert lost[1] < 1.02 * lost[0] if report.distilled.kept else files[0] == files[1]
