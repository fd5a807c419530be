"""Probabilities of labels: one rule, the same numbers on every board and on the PC."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picoformer import Error
from picoformer.compile.tables import exp2_table
from picoformer.device.model import Model
from picoformer.device.probabilities import POWERS, probabilities

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)


def of(logits, bits, several=False):
    """The probabilities alone."""
    labels = [str(i) for i in range(len(logits))]
    found = probabilities(logits, labels, bits, several)
    assert [label for label, _ in found] == labels
    return [share for _, share in found]


def exact(logits, bits, several):
    z = np.asarray(logits, np.float64) / 2.0**bits
    if several:
        return np.exp(-np.logaddexp(0, -z))
    p = np.exp(z - z.max())
    return p / p.sum()


def test_the_powers_are_those_of_a_file():
    assert np.frombuffer(POWERS, "<u2").tolist() == exp2_table().tolist()


@settings(deadline=None, max_examples=300)
@given(st.lists(INT32, min_size=1, max_size=40), st.integers(0, 28), st.booleans())
def test_close_to_the_real_ones(logits, bits, several):
    ours = of(logits, bits, several)
    # Half a step of the exponent, and a unit of each weight.
    most = 4e-4 + len(logits) / 32768
    assert np.abs(ours - exact(logits, bits, several)).max() < most
    assert all(0 <= p <= 1 and (p * 32768).is_integer() for p in ours)
    if several:
        for one, other in zip(ours, of([-x for x in logits], bits, True), strict=True):
            assert abs(one + other - 1) <= 1 / 32768
    else:
        assert abs(sum(ours) - 1) <= len(ours) / 65536
    # What is likelier is not less likely.
    order = np.argsort(logits, kind="stable")
    assert (np.diff(np.array(ours)[order]) >= 0).all()


def test_known_values():
    assert of([5], 12) == [1.0]
    assert of([7, 7, 7, 7], 12) == [0.25] * 4
    assert of([0, 0], 12, True) == [0.5, 0.5]
    assert of([4096, 0], 12) == [0.73101806640625, 0.26898193359375]
    assert of([-(1 << 31), (1 << 31) - 1], 12, True) == of([-(1 << 31), (1 << 31) - 1], 12)


UNIX = """
import json
from picoformer.probabilities import probabilities
for logits, bits, several in RUNS:
    found = probabilities(logits, [str(i) for i in range(len(logits))], bits, several)
    units = [p * 32768 for _, p in found]
    print(json.dumps([int(u) for u in units]), [int(u) for u in units] == units)
"""


def test_micropython_gives_the_same(unix):
    rng = np.random.default_rng(1)
    runs, expected = [], []
    for i in range(60):
        bits = int(rng.integers(0, 24))
        logits = rng.normal(0, 4.0 ** (i % 5 - 1), 1 + i % 12) * 2**bits
        runs.append((logits.astype(np.int64).tolist(), bits, i % 2 > 0))
        expected.append(json.dumps([int(p * 32768) for p in of(*runs[-1])]) + " True")
    assert unix(UNIX, RUNS=runs).splitlines() == expected


BOARD = """
from picoformer import Model
with Model(FILE) as m:
    print(m.probabilities(m.classify(TEXT)))
    print([m.probabilities(m.classify(TEXT))[0][1] > 0.9])
"""


def test_of_a_model_on_the_board_and_on_the_pc(unix, own):
    text = "book a table for two in the old town"
    intents = own("intents")
    expected = intents.sim.probabilities(intents.sim.classify(text))
    assert expected[0][0] == "BookRestaurant" and f"{expected[0][1]:.1%}" == "99.7%"
    assert unix(BOARD, FILE=str(intents.path), TEXT=text) == f"{expected}\n[True]\n"


def test_of_labels_that_hold_or_not(built):
    """`tags` gives the logits of each word; all labels may hold."""
    a = built("tagged")
    sim, board = a.sim(), Model(str(a.file()), kernels="portable")
    assert sim.several and board.several
    for (_, ours), (_, theirs) in zip(sim.tags("the tea"), board.tags("the tea"), strict=True):
        found = board.probabilities(theirs)
        assert found == sim.probabilities(ours)
        assert [label for label, _ in found] == board.labels
        real = 1 / (1 + np.exp(-ours * sim.logit_scale))
        assert np.abs([p for _, p in found] - real).max() < 4e-4
        # Each by itself: some of them will do.
        assert board.probabilities(list(zip(board.labels, theirs, strict=True))[:2]) == found[:2]


@pytest.mark.parametrize(
    "result, words",
    [
        ([("a", 5)], "1 labels of 3: "),
        ([5, 6], "2 labels of 3: "),
        ([], "as classify gives it"),
        (5, "as classify gives it"),
        (None, "as classify gives it"),
        ([("word", "a", 5)], "as classify gives it"),  # of tag
        ([(0, [5, 6, 7])], "as classify gives it"),  # of tags, all of it
    ],
)
def test_what_is_no_result(result, words):
    with pytest.raises(Error, match=words):
        probabilities(result, ["a", "b", "c"], 12, False)


def test_a_model_without_labels(built):
    for model in (built("minilm").sim(), Model(str(built("minilm").file()), kernels="portable")):
        with pytest.raises(Error, match="or a logit for each label"):
            model.probabilities(model.embed("the tea"))
