"""Stop texts: `until`, the model in plain Python, MicroPython and the simulator."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from picoformer import Error
from picoformer.device.model import Model
from picoformer.device.stops import until


class Pieces:
    """An iterator of pieces that notes that it was closed, and what was asked for."""

    def __init__(self, pieces):
        self.left = list(pieces)
        self.closed = False

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        return self.left.pop(0)

    def close(self):
        self.closed = True


def cut(text, stops):
    """The definition: the stop text that is complete first, of those the longest."""
    for end in range(len(text) + 1):
        ending = [s for s in stops if text[:end].endswith(s)]
        if ending:
            return text[: end - max(map(len, ending))]
    return text


ALPHABET = st.text("abé🙂", max_size=3)


@given(st.lists(ALPHABET, max_size=12), st.lists(ALPHABET.filter(bool), min_size=1, max_size=4))
def test_any_pieces_give_what_the_whole_text_gives(pieces, stops):
    given = Pieces(pieces)
    said = list(until(given, stops))
    assert "".join(said) == cut("".join(pieces), stops)
    assert given.closed


@given(st.lists(ALPHABET, max_size=12), st.lists(ALPHABET.filter(bool), min_size=1, max_size=4))
def test_no_more_waits_than_has_to(pieces, stops):
    """All that cannot be the beginning of a stop text any more has been given."""
    read = ""
    said = ""
    for piece, out in zip(pieces, until(Pieces(pieces), stops), strict=False):
        read += piece
        said += out
        if any(s in read for s in stops):
            break
        waits = read[len(said) :]
        assert said + waits == read
        assert not waits or any(s.startswith(waits) for s in stops)


def test_nothing_is_asked_for_behind_a_stop_text():
    pieces = Pieces(["a", "b", "S", "T", "OP", "c"])
    assert list(until(pieces, "STOP")) == ["a", "b", "", "", ""]
    assert pieces.left == ["c"]


@pytest.mark.parametrize("stop", [[""], ["a", ""], [b"a"], [7]])
def test_what_is_no_stop_text(stop):
    with pytest.raises(Error, match="a stop text is .*, expected a str that is not empty"):
        list(until(Pieces("a"), stop))


def stops_of(text):
    """Stop texts that a text has, in tokens and across them, and one that it has not."""
    n = len(text)
    return [
        text[n // 2 : n // 2 + 5], [text[-3:], text[n // 3 : n // 3 + 2]], ["\x00", text[:1]],
        "\x00", text[n // 4 :], [],
    ]  # fmt: skip


def test_model_and_simulator(stories):
    model = Model(str(stories.path), kernels="portable")
    text = "".join(model.generate("Tom was", 5))
    for stop in stops_of(text):
        wanted = cut(text, [stop] if isinstance(stop, str) else stop)
        assert "".join(model.generate("Tom was", 5, stop=stop)) == wanted
        assert "".join(stories.sim.generate("Tom was", 5, stop=stop)) == wanted
    with pytest.raises(Error, match="a stop text"):
        next(model.generate("Tom", stop=[""]))


SCRIPT = """
import json, sys
from picoformer import Model
m = Model(FILE)
before = "picoformer.stops" in sys.modules
out = ["".join(m.generate("Tom was", 24, 800, stop=stop)) for stop in STOPS]
out += ["".join(m.generate("Tom", 20, raw=True)), before, "picoformer.stops" in sys.modules]
print(json.dumps(out))
"""


@pytest.mark.skipif(bool(models.no_micropython()), reason=models.no_micropython())
def test_micropython(stories):
    sim = stories.sim
    stops = stops_of("".join(sim.generate("Tom was", 24, 0.8)))
    *said, raw, before, after = json.loads(
        models.run_unix(SCRIPT, FILE=str(stories.path), STOPS=stops)
    )
    assert said == ["".join(sim.generate("Tom was", 24, 0.8, stop=stop)) for stop in stops]
    assert len(set(said)) == 5
    assert (before, after) == (False, True)
    assert raw == "".join(sim.generate("Tom", 20, raw=True))


def test_a_raw_prompt_has_nothing_in_front(case):
    sim = case("size26").sim()
    tokens = sim.tokenizer.encode("ab")
    runs = []
    run = sim.machine.run
    sim.machine.run = lambda tokens, *rest: (runs.append(list(tokens)), run(tokens, *rest))
    next(sim.generate("ab", 1, raw=True))
    next(sim.generate("ab", 1))
    assert runs == [tokens, [sim.model.bos, *tokens]]
