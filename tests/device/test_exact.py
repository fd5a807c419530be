"""The integers: close to the float model, and the same ones everywhere.

The simulator is measured against the float model; everything else is compared with the simulator,
bit for bit. Kernels are also run on hand-made records that no model would give them.
"""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

import models
from boardscripts import EXTREMES, unix_logits
from models import CASES, DEVICE, STORIES260K
from picoformer import Simulator, convert, evaluate, importers
from picoformer.compile.quantize import dequantized
from picoformer.compile.steps import WRITE, results, uses
from picoformer.device.model import Model
from picoformer.graph.float_model import FloatModel, sample
from picoformer.simulate.steps import STEPS
from turns import some

PROMPT = "Once upon a time"
WORD = 1 << 31


# Against floating point


@pytest.mark.parametrize("seed", some(range(3), 3))
@pytest.mark.parametrize("name", some(CASES, 2, 1))
def test_close_to_the_float_model_with_the_same_weights(case, name, seed):
    """What activations, cache, softmax and so on lose; the weights are the integers' own."""
    c = case(name)
    sim = c.sim()
    tokens = c.tokens(min(c.shape.context, 64), seed)
    graph = dequantized(c.graph, c.compiled().dequantized)
    exact = FloatModel(graph).forward(np.array([tokens]))[0]
    ours = sim.logits(tokens) * sim.logit_scale

    def cosine(a, b):
        return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))

    # Weights of 4 bits take activations of 9, which a position of small logits feels most.
    loss = 4 if c.shape.span else 12 if c.shape.value_bits == 4 else 1
    assert cosine(exact.reshape(-1), ours.reshape(-1)) >= 1 - 0.0005 * loss
    assert cosine(exact, ours).min() >= 1 - (0.01 if c.shape.span else 0.003) * loss
    # The unit is right too, not the direction alone.
    assert abs(np.linalg.norm(ours) / np.linalg.norm(exact) - 1) < 0.01 * loss


def test_beyond_512_positions(case):
    """Where probabilities are kept in fewer bits."""
    c = case("long")
    assert any(s.op == "attend" and s["ps"] == 1 for s in c.sim().model.steps)
    tokens = c.tokens(600)
    graph = dequantized(c.graph, c.compiled().dequantized)
    exact = FloatModel(graph).forward(np.array([tokens]))[0, 512:]
    ours = c.sim().logits(tokens)[512:] * c.sim().logit_scale
    assert (exact * ours).sum() / np.linalg.norm(exact) / np.linalg.norm(ours) >= 0.9995


def accurate(model, data):
    """The bounds of the project's acceptance."""
    scores = evaluate(model.path, model.source, data=data)
    assert scores.kl <= 0.001
    assert scores.top1 >= 0.98
    assert abs(scores.perplexity_int / scores.perplexity_float - 1) <= 0.002
    return scores


@pytest.fixture
def self_sampled():
    """12 sequences of 256 tokens that stories260K wrote."""
    path = STORIES260K / "self_sampled.npy"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


@pytest.mark.slow
def test_accurate_on_the_real_checkpoint(stories260k, self_sampled, tmp_path):
    np.save(tmp_path / "two.npy", np.load(self_sampled)[:2])
    accurate(stories260k, tmp_path / "two.npy")


@pytest.mark.slow
def test_accurate_on_the_real_checkpoint_in_full(stories260k, self_sampled):
    scores = accurate(stories260k, self_sampled)
    assert (scores.sequences, scores.tokens) == (12, 12 * 256)


def test_our_model_is_accurate(stories, tmp_path):
    graph, _ = importers.read(stories.source)
    ids, _ = sample(graph, 2, 256, seed=5)
    np.save(tmp_path / "ids.npy", ids)
    accurate(stories, tmp_path / "ids.npy")


@pytest.mark.parametrize("name", some(CASES, 2))
def test_sums_are_proven_to_fit(case, name):
    """Whatever the input, no sum of a row leaves 32 bits, even with the room it is shifted by."""
    sim = case(name).sim()
    model = sim.model
    for step in model.steps:
        if step.kind != "linear":
            continue
        span = step["span"] if step.op == "linear4" else 0
        matrix = sim.machine.memory.matrix(
            step["weights"], 4 * step["groups"], step["cols"], span
        )
        bound, room = matrix.magnitude * (255 if span else 2047), step["room"]
        assert bound << room < 1 << 31
        assert room == 14 or bound << (room + 1) >= 1 << 30, "room that is not used"


def test_gates_of_any_size(tmp_path):
    """Far beyond the activation's table, where it is the identity or zero.

    What the gate multiplies is thousands of times smaller, and keeps fraction bits of its own.
    """
    c = models.random_checkpoint(models.Shape(12, 20, 2, 2, 1, 97, 16, size=6))
    c.tensors["w1"] *= 4000
    c.tensors["w2"] /= 4000
    path = tmp_path / "m.pft"
    convert(models.write_hf(tmp_path / "hf", c), path)
    sim = Simulator(path)
    tokens = [1, *range(5, 17)]
    exact = FloatModel(importers.read(tmp_path / "hf")[0]).forward(np.array([tokens]))[0]
    ours = sim.logits(tokens)
    assert (exact * ours).sum() / np.linalg.norm(exact) / np.linalg.norm(ours * 1.0) > 0.999
    model = Model(str(path), kernels="portable")
    assert list(model.logits(tokens)) == ours[-1].tolist()


# The simulator against itself


@pytest.mark.parametrize("name", some(CASES, 2))
def test_a_sequence_equals_its_positions_one_by_one(case, name):
    c = case(name)
    sim = c.sim()
    tokens = c.tokens(20)
    together = sim.logits(tokens)
    for i, token in enumerate(tokens):
        sim.machine.run([token], i)
        np.testing.assert_array_equal(sim.machine.result()[-1], together[i])
    for start, end in [(0, 7), (7, 8), (8, 20)]:
        sim.machine.run(tokens[start:end], start)
        np.testing.assert_array_equal(sim.machine.result(), together[start:end])


@pytest.mark.parametrize("name", some(CASES, 3, 2))
def test_greedy_text_is_the_largest_logits(case, name):
    c = case(name)
    sim = c.sim()
    tokens = sim.tokenizer.prompt("then")
    pieces = list(sim.generate("then", 10))
    decoder = sim.tokenizer.decoder()
    for piece in pieces:
        token = int(sim.logits(tokens)[-1].argmax())
        assert piece == decoder.decode(token, tokens[-1])
        tokens.append(token)


@pytest.mark.parametrize("name", some(CASES, 3))
def test_the_batch_changes_nothing(case, name):
    c = case(name)
    tokens = c.tokens(13)
    expected = c.sim(4).logits(tokens)
    for batch in 1, 3:
        assert c.sim(batch).model.batch == batch
        np.testing.assert_array_equal(c.sim(batch).logits(tokens), expected)


# The board's code under CPython, whose arrays refuse what does not fit 32 bits


def prefixes(model, tokens, steps):
    """Logits behind the prefixes of these lengths."""
    return np.array([model.logits(tokens[:n]) for n in steps])


# Groups of one position, whole batches, and batches with a rest.
@pytest.mark.parametrize(
    "batch, weights, steps", [(1, "ram", [2]), (3, "file", [3, 5]), (4, "ram", [1, 6, 7])]
)
@pytest.mark.parametrize("name", some(CASES, 2))
def test_portable_kernels_equal_the_simulator(case, name, batch, weights, steps):
    c = case(name)
    tokens = c.tokens(11)
    model = Model(str(c.file(batch)), kernels="portable", weights=weights)
    assert (model.kernels, model.weights) == ("portable", weights)
    expected = c.sim(batch).logits(tokens)[np.array(steps) - 1]
    np.testing.assert_array_equal(prefixes(model, tokens, steps), expected)
    model.close()


@pytest.mark.parametrize("name, context", [("size26", 8), ("deep", 13), ("long", 20)])
def test_a_smaller_context_gives_the_same(case, name, context):
    c = case(name)
    tokens = c.tokens(context)
    model = Model(str(c.file()), context=context, kernels="portable")
    steps = [3, context]
    expected = c.sim().logits(tokens)[np.array(steps) - 1]
    np.testing.assert_array_equal(prefixes(model, tokens, steps), expected)


@pytest.mark.parametrize("name", ["size2", "size26"])
def test_portable_kernels_to_the_end_of_the_context(case, name):
    c = case(name)
    n = c.shape.context
    tokens = c.tokens(n)
    model = Model(str(c.file()), kernels="portable")
    got = prefixes(model, tokens, range(1, n + 1))
    np.testing.assert_array_equal(got, c.sim().logits(tokens))


def filled(step):
    """(operand, words) of what is tried with any numbers."""
    if step.op in ("norm", "store", "attend", "gate", "layernorm"):
        for field, n, how in uses(step):
            if how != WRITE and field != "dyn":
                yield step[field], n


@pytest.mark.parametrize("name", [n for n in CASES if n != "long"])
def test_portable_steps_equal_the_simulators_on_extreme_values(case, name):
    """Step by step, each on values that the model itself does not give it."""
    c = case(name)
    sim = c.sim()
    memory = sim.machine.memory
    model = Model(str(c.file()), kernels="portable")
    arena, stride = model._arena, sim.model.stride
    rng = np.random.default_rng(3)
    at = 0
    while at < 8:
        n = int(rng.integers(1, 5))
        tokens = rng.integers(0, sim.vocab, n)
        memory.start, memory.frames = at, np.zeros((n, stride), np.int64)
        memory.frames[:, 0] = tokens
        memory.end = at + n
        arena[0], arena[1] = at, n
        for t in range(n):
            arena[16 + t * stride] = int(tokens[t])
        for step, (kernel, record) in zip(
            sim.model.steps, model._body + model._head, strict=True
        ):
            for operand, size in filled(step):
                bits = int(rng.choice([0, 1, 5, 11, 15, 20, 25]))
                x = rng.integers(-(1 << bits) + 1, 1 << bits, (n, size))
                if rng.random() < 0.3:
                    x[:, rng.integers(size)] = 1 << 27
                memory.value(operand, size)[:] = x
                for t in range(arena[1]):
                    for i in range(size):
                        source = t if arena[1] == n else n - 1
                        arena[(operand >> 6) + t * stride + i] = int(x[source, i])
            kernel(record, model._space)
            if step.op == "pool":
                continue
            STEPS[step.op](memory, **step.named)
            for operand, size in results(step):
                start = operand >> 6
                if operand == sim.model.program[5]:
                    got = list(arena[start : start + sim.vocab])
                    assert got == memory.logits[-1].tolist(), step
                    continue
                expected = memory.value(operand, size)
                expected = expected if arena[1] == n else expected[-1:]
                for t in range(arena[1]):
                    got = list(arena[start + t * stride : start + t * stride + size])
                    assert got == expected[t].tolist(), (at, t, step)
        at += n


# The unix port

@pytest.mark.parametrize("kernels", ["viper", "portable"])
@pytest.mark.parametrize("name", some(CASES, 3))
def test_unix_equals_the_simulator(case, unix, families, tmp_path, name, kernels):
    if kernels not in families:
        pytest.skip(f"no {kernels} kernels on this port")
    c = case(name)
    n = min(c.shape.context, 40) if kernels == "viper" else 8
    tokens = c.tokens(n)
    expected = c.sim().logits(tokens)
    for batch, weights, steps in [
        (4, "ram", range(1, n + 1)),
        (3, "file", [5, 6, n]),
        (1, "ram", [n]),
    ][: 3 if kernels == "viper" else 2]:
        options = {"kernels": kernels, "weights": weights}
        got = unix_logits(unix, c.file(batch), tokens, steps, tmp_path / "out", **options)
        np.testing.assert_array_equal(got, expected[np.array(steps) - 1])


def test_unix_beyond_512_positions(case, unix, native, tmp_path):
    c = case("long")
    tokens = c.tokens(600)
    steps = [511, 512, 513, *range(540, 601, 12)]
    got = unix_logits(unix, c.file(), tokens, steps, tmp_path / "out", kernels=native)
    np.testing.assert_array_equal(got, c.sim().logits(tokens)[np.array(steps) - 1])


GENERATE = """
import json
from picoformer import Model
m = Model(FILE, kernels=KERNELS)
print(json.dumps([[list(m.generate(PROMPT, *a)), list(m._tokens[:m._filled])] for a in RUNS]))
"""


def same_story(stories, unix, tmp_path, kernels, n):
    """Greedy text of n tokens, and then the logits at each of its positions."""
    sim = stories.sim
    said = unix(GENERATE, FILE=str(stories.path), KERNELS=kernels, PROMPT=PROMPT, RUNS=[[n]])
    pieces, tokens = json.loads(said)[0]
    assert pieces == list(sim.generate(PROMPT, n))
    prompt = [1, *sim.tokenizer.encode(PROMPT)]
    assert tokens[: len(prompt)] == prompt
    # A model may end its story early: fill up with its own samples, so that n positions run.
    rng = np.random.default_rng(0)
    while len(tokens) < n:
        tokens.append(int(rng.integers(3, sim.vocab)))
    tokens = tokens[:n]
    steps = range(1, n + 1)
    got = unix_logits(unix, stories.path, tokens, steps, tmp_path / "out", kernels=kernels)
    np.testing.assert_array_equal(got, sim.logits(tokens))


def test_a_story_of_100_tokens(stories, unix, native, tmp_path):
    same_story(stories, unix, tmp_path, native, 100)


def test_a_short_story_with_portable_kernels(stories, unix, tmp_path):
    same_story(stories, unix, tmp_path, "portable", 8)


@pytest.mark.slow
def test_a_story_of_200_tokens_with_portable_kernels(stories, unix, tmp_path):
    same_story(stories, unix, tmp_path, "portable", 200)


@pytest.mark.slow
def test_a_story_of_the_real_checkpoint(stories260k, unix, native, tmp_path):
    same_story(stories260k, unix, tmp_path, native, 200)


SAMPLED = [
    *((0.8, 0.9, seed) for seed in (0, 1, 2, 42, 0xFFFFFFFF, 1 << 40)),
    (1.0, 1.0, 7),
    (0.05, 1.0, 7),
    (2.5, 0.5, 7),
    (100.0, 0.001, 7),
    (1.3, 0.999, -1),
]


def test_seeded_text(stories, unix, families):
    runs = [[8, *given] for given in SAMPLED]
    expected = [list(stories.sim.generate(PROMPT, 8, t, p, seed)) for t, p, seed in SAMPLED]
    assert len({"".join(e) for e in expected}) > 3, "seeds should give different stories"
    for kernels in families:
        some = len(runs) if kernels == "viper" else 2
        if kernels == "portable":
            runs, expected = [[6, *run[1:]] for run in runs], [e[:6] for e in expected]
        said = unix(GENERATE, FILE=str(stories.path), KERNELS=kernels, PROMPT=PROMPT,
                    RUNS=runs[:some])  # fmt: skip
        assert [pieces for pieces, _ in json.loads(said)] == expected[:some]


@pytest.mark.parametrize("name", some(CASES, 3, 1))
def test_seeded_text_of_odd_models(case, unix, families, name):
    """Text of random models has every kind of token, and often ends early."""
    c = case(name)
    runs = [[4, 900, 950, 1], [12, 900, 950, 1], [5, 0, 1000, 0], [5, 3000, 1000, 2]]
    expected = [
        list(c.sim().generate("the", n, t / 1000, p / 1000, seed)) for n, t, p, seed in runs
    ]
    for kernels in families:
        some = len(runs) if kernels == "viper" else 1
        said = unix(GENERATE, FILE=str(c.file()), KERNELS=kernels, PROMPT="the", RUNS=runs[:some])
        assert [pieces for pieces, _ in json.loads(said)] == expected[:some]
    model = Model(str(c.file()), kernels="portable")
    assert [list(model.generate("the", *run)) for run in runs[3:]] == expected[3:]


# Kernels on records of their own: each matrix in one run, then in runs split in every way

KERNEL = """
import struct
from array import array
from uctypes import addressof
import picoformer.kernels_viper as kernels
import picoformer.kernels_viper4 as kernels4

kernel = getattr(kernels4 if NAME[-1] == "4" else kernels, NAME)


def words(f, n):
    a = array("i", bytes(4 * n))
    assert n == 0 or f.readinto(a) == 4 * n
    return a


def place(a, word=0):
    return addressof(a) + 4 * word - addressof(arena) + kernels.BIAS


def run(pieces):
    runs = array("i")
    for piece in pieces:
        runs.append(place(piece, 1))  # a guard word in front, and two behind
        runs.append(len(piece) - 3)
    record = array("i", fields)
    for k in range(3):
        if k == MATRIX:
            record[k] = place(runs)
        elif record[k] and OPERANDS[k] == "o":
            record[k] = place(arena, record[k])
    arena[:] = before
    kernel(record, arena)
    return bytes(arena)


def cut(*at):
    at = (0,) + at + (len(weights),)
    guard = array("i", [0x5A5A5A5A])
    return [guard + weights[a:b] + guard + guard for a, b in zip(at, at[1:])]


splits = 0
with open(CASES, "rb") as f, open(OUT, "wb") as out:
    while True:
        head = f.read(12)
        if not head:
            break
        n, m, k = struct.unpack("<III", head)
        fields = words(f, n)
        before = words(f, m)
        weights = words(f, k)
        arena = array("i", before)
        whole = run(cut())
        out.write(whole)
        ways = [(i,) for i in range(1, k)]
        ways += [(i, i + 1) for i in range(1, k - 1, 3)]
        ways += [tuple(range(p, k, p)) for p in (1, 2, 3, 5, 8)]
        for way in ways:
            splits += 1
            if run(cut(*way)) != whole:
                print(NAME, "differs: fields", fields, "cut at", way)
                raise SystemExit(1)
print(splits)
"""


def run_kernel(unix, tmp_path, name, matrix, operands, cases):
    """Arenas after `name` has run on (fields, arena, weights), however the weights are split."""
    file, out = tmp_path / "cases", tmp_path / "out"
    with open(file, "wb") as f:
        for parts in cases:
            f.write(struct.pack("<III", *map(len, parts)))
            for part in parts:
                f.write(np.asarray(part, np.int64).astype("<u4").tobytes())
    said = unix(
        KERNEL, NAME=name, MATRIX=matrix, OPERANDS=operands, CASES=str(file), OUT=str(out)
    )
    assert int(said) > 15 * len(cases)
    data = np.fromfile(out, "<i4").astype(np.int64)
    arenas = []
    for _, arena, _ in cases:
        arenas.append(data[: len(arena)])
        data = data[len(arena) :]
    assert not data.size
    return arenas


def packed(q, mantissa):
    """Rows (4 groups) of bytes 0..255 and mantissas as the file has them; written out by hand."""
    rows, cols = q.shape
    out = []
    for r in range(0, rows, 4):
        for c in range(cols):
            out.append(sum(int(q[r + lane, c]) << 8 * lane for lane in range(4)))
        out.append(int(mantissa[r]) | int(mantissa[r + 1]) << 16)
        out.append(int(mantissa[r + 2]) | int(mantissa[r + 3]) << 16)
    return out


def draw(rng, kind, low, high, size):
    """Integers low..high: random, or only the extreme ones."""
    if kind == "random":
        return rng.integers(low, high + 1, size)
    if kind == "low":
        return np.full(size, low)
    if kind == "high":
        return np.full(size, high)
    return rng.choice([low, high], size)


@pytest.mark.parametrize("kind", ["random", "ends", "low", "high"])
def test_linear_on_hand_made_records(unix, native, tmp_path, kind):
    """1 to 17 columns and more, against exact arithmetic of whole numbers."""
    rng = np.random.default_rng(len(kind))
    cases, expected = [], []
    for cols in [*range(1, 18), 33]:
        groups, total, add = int(rng.integers(1, 4)), int(rng.integers(1, 4)), cols & 1
        rows = 4 * groups
        q = draw(rng, kind, 0, 255, (rows, cols))
        mantissa = draw(rng, kind, 0, 32700, rows)
        x = draw(rng, kind, -2047, 2047, (total, cols))
        scale = draw(rng, kind, 1 << 13, 1 << 14, total)
        # From shifts far below what they are held to, to far above.
        exponent = rng.integers(-20, 21, total)
        s0 = int(rng.integers(8, 40))
        bound = int(np.abs(q - 128).sum(1).max()) * 2047
        room = min(31 - bound.bit_length(), 14)
        first = int(rng.integers(0, 3))  # a window, as tiles have
        stride = 2 + 4 + cols + 4 * first + rows + 3
        arena = rng.integers(-(1 << 28), 1 << 28, 16 + total * stride)
        arena[1], arena[3] = total, stride
        at, to = 16 + 2, 16 + 2 + 4 + cols
        after = arena.copy()
        for t in range(total):
            source = at + t * stride
            arena[source : source + 3] = scale[t], exponent[t], x[t].sum()
            arena[source + 4 : source + 4 + cols] = x[t]
            after[source : source + 4 + cols] = arena[source : source + 4 + cols]
            for r in range(rows):
                acc = sum((int(w) - 128) * int(v) for w, v in zip(q[r], x[t], strict=True))
                m = (int(mantissa[r]) * int(scale[t]) + (1 << 13)) >> 14
                s = min(max(s0 - int(exponent[t]), 17 - room), 47)
                y = (acc * m + (1 << (s - 1))) >> s
                assert abs(acc) << room < 1 << 31
                place = to + t * stride + 4 * first + r
                after[place] = int(after[place]) * add + y
        # The fields: x, out, w, cols, groups, shift, room, add, first group, groups to do.
        fields = [at, to, 0, cols, 99, s0, room, add, first, groups]
        cases.append((fields, arena, packed(q, mantissa)))
        expected.append(after)
    for got, want in zip(
        run_kernel(unix, tmp_path, "linear", 2, "oow", cases), expected, strict=True
    ):
        np.testing.assert_array_equal(got, want)


def packed4(q, scale, mantissa, span):
    """Rows (a multiple of 8) of numbers 0..15, scales and mantissas; written out by hand."""
    rows, cols = q.shape
    out = []
    for r in range(0, rows, 8):
        for c in range(cols):
            if c % span == 0:
                out.append(sum(int(scale[r + i, c // span]) << 4 * i for i in range(8)))
            out.append(sum(int(q[r + i, c]) << 4 * i for i in range(8)))
        out += [int(mantissa[r + i]) | int(mantissa[r + i + 1]) << 16 for i in (0, 2, 4, 6)]
    return out


@pytest.mark.parametrize("kind", ["random", "ends", "low", "high"])
def test_linear4_on_hand_made_records(unix, native, tmp_path, kind):
    """1 to 18 columns and more, against exact arithmetic of whole numbers."""
    rng = np.random.default_rng(len(kind))
    cases, expected = [], []
    for cols in [*range(1, 19), 37, 52]:
        groups, total, add = int(rng.integers(1, 6)), int(rng.integers(1, 4)), cols & 1
        span = int(rng.choice([16, 32, 1024]))
        rows, padded = 4 * groups, (groups + 1) // 2 * 8
        q = draw(rng, kind, 0, 15, (padded, cols))
        by = draw(rng, kind, 0, 15, (padded, (cols + span - 1) // span))
        mantissa = draw(rng, kind, 0, 32700, padded)
        x = draw(rng, kind, -255, 255, (total, cols))
        scale = draw(rng, kind, 1 << 13, 1 << 14, total)
        exponent = rng.integers(-20, 21, total)
        s0, room = int(rng.integers(8, 40)), int(rng.integers(0, 5))
        first = 2 * int(rng.integers(0, 3))  # a window, as tiles have
        stride = 2 + 4 + cols + 4 * first + rows + 3
        arena = rng.integers(-(1 << 28), 1 << 28, 16 + total * stride)
        arena[1], arena[3] = total, stride
        at, to = 16 + 2, 16 + 2 + 4 + cols
        after = arena.copy()
        for t in range(total):
            source = at + t * stride
            arena[source : source + 2] = scale[t], exponent[t]
            arena[source + 4 : source + 4 + cols] = x[t]
            after[source : source + 4 + cols] = arena[source : source + 4 + cols]
            for r in range(rows):
                acc = sum(
                    (int(q[r, c]) - 8) * int(by[r, c // span]) * int(x[t, c]) for c in range(cols)
                )
                m = (int(mantissa[r]) * int(scale[t]) + (1 << 13)) >> 14
                s = min(max(s0 - int(exponent[t]), 17 - room), 47)
                assert abs(acc) << room < 1 << 31
                place = to + t * stride + 4 * first + r
                after[place] = int(after[place]) * add + ((acc * m + (1 << (s - 1))) >> s)
        fields = [at, to, 0, cols, 99, s0, room, add, first, groups, span]
        cases.append((fields, arena, packed4(q, by, mantissa, span)))
        expected.append(after)
    for got, want in zip(
        run_kernel(unix, tmp_path, "linear4", 2, "oow", cases), expected, strict=True
    ):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", ["random", "ends"])
def test_embed4_on_hand_made_records(unix, native, tmp_path, kind):
    rng = np.random.default_rng(len(kind))
    cases, expected = [], []
    for n in [*range(1, 19), 37]:
        span = int(rng.choice([16, 32, 1024]))
        rows, total = 16, int(rng.integers(1, 5))
        q = draw(rng, kind, 0, 15, (rows, n))
        by = draw(rng, kind, 0, 15, (rows, (n + span - 1) // span))
        mantissa = draw(rng, kind, 1, 32700, rows)
        shift = int(rng.choice([-8, -3, 0, 1, 7, 15, 30]))
        base, by_position = int(rng.integers(0, 50)), n & 1
        start, count = (1, total) if total > 2 else (0, 0)
        stride = 1 + 2 + n + 2
        arena = rng.integers(-(1 << 30), 1 << 30, 16 + total * stride)
        arena[1], arena[3] = total, stride
        tokens = rng.integers(0, rows, total)
        if by_position:
            tokens = rng.integers(0, rows - total + 1) + np.arange(total)
            arena[0] = 8 * base + tokens[0]
        for t in range(total):
            arena[16 + t * stride] = WORD - 1 if by_position else 8 * base + tokens[t]
        after = arena.copy()
        for t in range(start, total):
            row = tokens[t]
            for c in range(n):
                v = (int(q[row, c]) - 8) * int(by[row, c // span]) * int(mantissa[row])
                v = v << -shift if shift <= 0 else (v + (1 << (shift - 1))) >> shift
                at = 16 + t * stride + 3 + c
                after[at] = (v + int(after[at]) * by_position + WORD) % (2 * WORD) - WORD
        fields = [16 + 3, 0, n, shift, start, count, base, by_position, span]
        cases.append((fields, arena, packed4(q, by, mantissa, span)))
        expected.append(after)
    for got, want in zip(
        run_kernel(unix, tmp_path, "embed4", 1, "ow-", cases), expected, strict=True
    ):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", ["random", "ends"])
def test_embed_on_hand_made_records(unix, native, tmp_path, kind):
    rng = np.random.default_rng(len(kind))
    cases, expected = [], []
    for n in range(1, 18):
        groups, total = 3, int(rng.integers(1, 5))
        q = draw(rng, kind, 0, 255, (4 * groups, n))
        mantissa = draw(rng, kind, 1, 32700, 4 * groups)
        shift = int(rng.choice([-8, -3, 0, 1, 7, 15, 30]))
        base = int(rng.integers(0, 50))  # a window, as tiles have
        start, count = (1, total) if total > 2 else (0, 0)
        stride = 1 + 2 + n + 2
        arena = rng.integers(-(1 << 30), 1 << 30, 16 + total * stride)
        arena[1], arena[3] = total, stride
        after = None
        position = n & 1  # rows by position are added
        tokens = rng.integers(0, 4 * groups, total)
        if position:
            tokens = rng.integers(0, 4 * groups - total + 1) + np.arange(total)
            arena[0] = 4 * base + tokens[0]
        for t in range(total):
            arena[16 + t * stride] = WORD - 1 if position else 4 * base + tokens[t]
        after = arena.copy()
        for t in range(start, total):
            row = tokens[t]
            for c in range(n):
                v = (int(q[row, c]) - 128) * int(mantissa[row])
                v = v << -shift if shift <= 0 else (v + (1 << (shift - 1))) >> shift
                at = 16 + t * stride + 3 + c
                after[at] = (v + int(after[at]) * position + WORD) % (2 * WORD) - WORD
        fields = [16 + 3, 0, n, shift, start, count, base, position]
        cases.append((fields, arena, packed(q, mantissa)))
        expected.append(after)
    for got, want in zip(
        run_kernel(unix, tmp_path, "embed", 1, "ow-", cases), expected, strict=True
    ):
        np.testing.assert_array_equal(got, want)


def test_bias_on_hand_made_records(unix, native, tmp_path):
    rng = np.random.default_rng(5)
    cases, expected = [], []
    for n in [*range(2, 18), 33]:
        total, add = int(rng.integers(1, 5)), n & 1
        v = draw(rng, rng.choice(["random", "ends", "low", "high"]), -WORD, WORD - 1, n)
        stride = 2 + n + 3
        arena = rng.integers(-WORD, WORD, 16 + total * stride)
        arena[1], arena[3] = total, stride
        after = arena.copy()
        for t in range(total):
            to = after[16 + t * stride + 2 :][:n]
            to[:] = (to * add + v + WORD) % (2 * WORD) - WORD
        cases.append(([16 + 2, 0, n, add], arena, v % (2 * WORD)))
        expected.append(after)
    for got, want in zip(
        run_kernel(unix, tmp_path, "bias", 1, "ow-", cases), expected, strict=True
    ):
        np.testing.assert_array_equal(got, want)


# Every kernel on values that no model gives it: native against portable, step by step


@pytest.mark.parametrize("name", some([n for n in CASES if n != "long"], 2))
def test_kernels_agree_on_extreme_values(case, unix, native, name):
    c = case(name)
    said = unix(EXTREMES, FILE=str(c.file()), NATIVE=native, POSITIONS=16, SEED=1)
    assert said == f"{sorted({step.op for step in c.sim().model.steps})}\n"


def test_the_family_of_native_kernels_is_complete():
    """Each module defines each operation and the sampler, by the same names."""
    import ast

    from picoformer.device import program

    wanted = {name for name, _, _ in program.OPS.values()} | {"sample"}
    families = "kernels_portable", "kernels_viper", "kernels_thumb", "kernels_rv32", "kernels_dsp"
    for family in families:
        defined = set()
        for module in (DEVICE / "picoformer").glob(f"{family}*.py"):
            for n in ast.parse(module.read_text()).body:
                if isinstance(n, ast.FunctionDef):
                    defined.add(n.name)
                elif isinstance(n, ast.ImportFrom):
                    defined |= {a.name for a in n.names}
                elif isinstance(n, ast.Assign):
                    defined |= {t.id for t in n.targets if isinstance(t, ast.Name)}
        if family != "kernels_portable":  # the others share it
            defined.add("windows")
        assert wanted <= defined, family
