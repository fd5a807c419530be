"""Beam search: the likeliest texts, the same on the PC and on boards."""

from __future__ import annotations

import math

import numpy as np
import pytest

from picoformer.compile.tables import exp2_table
from picoformer.device.beams import costs, log2, search
from picoformer.device.model import Model
from picoformer.device.sampling import sampling
from picoformer.errors import Error
from picoformer.graph.float_model import log_softmax
from picoformer.simulate.integers import exp2, rescale
from turns import some

END = 0


def tree(seed: int, vocab: int = 4):
    """likeliest(tokens, n) of random costs, the same for the same tokens."""

    def likeliest(tokens, n):
        rng = np.random.default_rng([seed, *tokens])
        costs = rng.integers(100, 4000, vocab)
        order = np.argsort(costs, kind="stable")[:n]
        return [(int(i), int(costs[i])) for i in order]

    return likeliest


def cheapest(likeliest, first: int, penalty: float, room: int) -> list[int]:
    """Of all texts, the one whose cost / length**penalty is the lowest."""
    best = math.inf, []

    def follow(tokens, cost):
        nonlocal best
        n = len(tokens)
        for token, more in likeliest(tokens, 99):
            rate = (cost + more) / n**penalty
            if token == END or n == room:
                text = tokens[1:] + ([] if token == END else [token])
                best = min(best, (rate, text))
            else:
                follow([*tokens, token], cost + more)

    follow([first], 0)
    return best[1]


def test_logarithms():
    rng = np.random.default_rng(1)
    values = [1, 2, 3, 5, 16383, 16384, 32767, 32768, 1 << 30, *rng.integers(1, 1 << 40, 300)]
    for v in map(int, values):
        assert abs(log2(v) - 1024 * math.log2(v)) < 2.5
    assert [log2(1 << i) for i in range(40)] == [1024 * i for i in range(40)]
    found = [log2(v) for v in range(1, 5000)]
    assert found == sorted(found)


@pytest.mark.parametrize("seed", range(20))
def test_few_texts_are_all_followed(seed):
    """With as many beams as there are texts, nothing is missed."""
    likeliest = tree(seed, 3)
    for penalty in 0, 1000, 2000:
        found = search(likeliest, 1, (END,), 8, penalty, 4)
        assert found == cheapest(likeliest, 1, penalty / 1000, 4)


def test_one_beam_is_not_what_more_find():
    """Behind the likeliest first token nothing likely comes; two beams see it."""
    costs = {(): [9999, 9999, 100, 200], (2,): [3000, 3000, 3000, 3000], (3,): [100, 5000, 900, 9]}

    def likeliest(tokens, n):
        row = costs.get(tuple(tokens[1:]), [10, 4000, 4000, 4000])
        order = sorted(range(4), key=lambda i: row[i])[:n]
        return [(i, row[i]) for i in order]

    assert search(likeliest, 1, (END,), 2, 0, 5) == [3, 3]


def test_of_equals_the_first():
    """Of texts that are followed the likelier token's, of those that are done the lower tokens."""

    def likeliest(tokens, n):
        return [(token, 1000) for token in (3, 2, 4)][:n]

    assert search(likeliest, 1, (END,), 2, 0, 3) == [3, 3, 2]
    assert search(likeliest, 1, (END,), 3, 0, 3) == [3, 3, 2]


def test_costs_are_those_of_softmax():
    rng = np.random.default_rng(2)
    table = exp2_table().astype(np.int64)
    for bits in 8, 12, 16:
        m, s, _ = sampling(1000, 1000, bits)
        logits = np.round(rng.normal(0, 3, 500) * 2**bits).astype(np.int64)
        best = logits.max()
        mass = int(exp2(rescale(np.minimum(best - logits, 1 << 24), m, s, 6), table).sum())
        found = costs(logits.tolist(), int(best), mass, m, s)
        exact = -log_softmax(logits / 2**bits) / np.log(2) * 1024
        # The weights lose what is below 2**-15 of the largest.
        assert np.abs(found - exact).max() < 25
        assert np.abs(np.diff(np.array(found) - exact)).max() <= 4


@pytest.mark.parametrize("name", some(["bart one", "bart one narrow"], 2, 1))
def test_a_board_finds_the_same(built, name):
    a = built(name)
    sim, board = a.sim(), Model(str(a.file()), kernels="portable")
    said = []
    for text, width, penalty in ("the tea", 2, 0.0), ("the tea", 3, 1.0), ("a cup", 3, 1.0):
        said.append(sim.translate(text, width, penalty))
        assert board.translate(text, width, penalty) == said[-1]
    assert board.translate(text, width, 1000) == said[-1]
    assert any(said)  # which of them are empty is a matter of the last digits of its weights
    sim.source(sim.encode("the tea"))
    found = sim.search(4, 1.0, 5)
    assert len(found) <= 5
    pieces = list(board.translation("the tea", 5, 4))
    assert len(pieces) >= len(found) and "".join(pieces).startswith(pieces[0])
    assert sim.search(4, 1.0, 0) == list(board.translation("the tea", 0, 4)) == []
    # What was searched leaves no trace.
    assert board.translate("the tea") == sim.translate("the tea")


@pytest.mark.parametrize(
    "width, penalty, words",
    [
        (0, 1000, "beams is 0"),
        (9, 1000, "beams is 9"),
        (2.5, 1000, "beams is 2.5"),
        (2, -1, "length_penalty is -1"),
        (2, 1, "length_penalty is 1: write 1.0, or 1000 thousandths"),
        (2, -0.5, "length_penalty is -0.5"),
        (2, 10001, "length_penalty is 10001"),
    ],
)
def test_what_is_refused(width, penalty, words):
    with pytest.raises(Error, match=words):
        search(tree(0), 1, (END,), width, penalty, 5)


def test_what_a_user_may_get_wrong(built):
    sim = built("bart one").sim()
    with pytest.raises(Error, match="beams is 9, expected a whole number, 1 to 8"):
        sim.translate("the tea", 9)
    with pytest.raises(Error, match=r"length_penalty is 11\.0, expected 0\.0 to 10\.0$"):
        sim.translate("the tea", 2, 11)
