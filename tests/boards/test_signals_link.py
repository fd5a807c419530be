"""Signals over the link: what is sent, what is refused before, what boards say that they read."""

from __future__ import annotations

import itertools
from array import array

import numpy as np
import pytest

from fakeboard import FakeBoard, begin, drop, flip
from picoformer import Board, Error
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.boards.errors import BoardError
from picoformer.compile import modelfile
from picoformer.device import server_frames as wire


@pytest.fixture
def fake(built, tmp_path):
    """A link to a board with both models of signals, and the board."""
    for name in ("signal", "forecast"):
        (tmp_path / f"{name}.pft").write_bytes(built(name).file().read_bytes())
    board = FakeBoard(tmp_path)
    yield begin(board), board
    board.close()


@pytest.fixture
def narrow(built, tmp_path):
    """A link in payloads of 128 bytes, as a UART takes them, a board with `forecast`, `vit`, and
    the former, loaded.
    """
    for name in ("forecast", "vit"):
        (tmp_path / f"{name}.pft").write_bytes(built(name).file().read_bytes())
    board = FakeBoard(tmp_path)
    try:
        link = begin(board, payload=128, credit=256)
        link.load("forecast")
        yield link, board, built("forecast")
    finally:
        board.close()


def words(signal) -> bytes:
    return np.asarray(signal).astype("<i2").tobytes()


def test_every_task_of_a_signal(fake, built):
    link, _ = fake
    a = built("forecast")
    link.load("forecast")
    labels = link.labels()
    assert (labels.frames, labels.image, labels.names) == ((19, 11), (0, 0, 0), [])
    assert 2.0**-labels.bits == a.sim().logit_scale
    for rows in (19, 4):
        signal = a.signal(rows, seed=2)
        expected = a.sim().predict(signal) / a.sim().logit_scale
        np.testing.assert_array_equal(link.read(words(signal), "predict"), expected)
    with pytest.raises(BoardError, match="made to predict, not to classify"):
        link.read(words(signal), "classify")
    with pytest.raises(BoardError, match="made to predict, not to embed"):
        link.read(words(signal), "embed")
    a = built("signal")
    link.load("signal")
    labels = link.labels()
    assert (labels.frames, labels.names) == ((34, 5), a.graph.labels)
    signal = a.signal(seed=2)
    expected = a.sim().classify(signal)
    found = zip(labels.names, link.read(words(signal), "classify").tolist(), strict=True)
    assert sorted(found, key=lambda pair: -pair[1]) == expected
    # What a board that is asked by somebody else says.
    for payload, said in (
        (words(signal)[:-1], "expected two for each number"),
        (words(signal)[:-2], "expected 1 to 34 rows of 5"),
        (words(np.concatenate([signal, signal])), "expected 1 to 34 rows of 5"),
        (b"", "expected 1 to 34 rows of 5"),
    ):
        with pytest.raises(BoardError, match=said):
            link.read(payload, "classify")
    with pytest.raises(BoardError, match="reads signals: an array of up to 34 x 5"):
        link.read("a text", "classify")


def test_bytes_of_a_request(fake, built):
    """As docs/protocol.md has them: 2 for what is no text, 8 to predict."""
    link, _ = fake
    link.load("forecast")
    a = built("forecast")
    sent = []
    ask = link.request

    def request(kind, body=b"", *more):
        sent.append((kind, body))
        return ask(kind, body, *more)

    link.request = request
    link.read(words(a.signal(4, seed=2)), "predict")
    assert sent == [(wire.READ, b"\x0a" + words(a.signal(4, seed=2)))]


@pytest.mark.parametrize("damage", [flip, drop])
def test_a_signal_in_pieces_on_a_bad_line(narrow, damage):
    """Some of which arrive damaged."""
    link, board, a = narrow
    signal = a.signal(seed=3)
    at = board.to_board.count
    board.to_board.damage = dict.fromkeys(itertools.chain([at + 200], [at + 700]), damage)
    expected = a.sim().predict(signal) / a.sim().logit_scale
    np.testing.assert_array_equal(link.read(words(signal), "predict"), expected)


def test_room_for_an_input(narrow):
    """An ESP32's heap has no room for a signal that is put together from ever longer parts."""
    link, board, a = narrow
    signal = words(a.signal(seed=3))
    expected = a.sim().predict(a.signal(seed=3)) / a.sim().logit_scale
    room = board.server._argument
    assert len(room) == len(signal) == modelfile.load(a.file()).input_bytes
    for _ in range(2):
        np.testing.assert_array_equal(link.read(signal, "predict"), expected)
        assert board.server._argument is room
    with pytest.raises(BoardError, match="expected 1 to 19 rows of 11"):
        link.read(signal + signal, "predict")
    assert len(board.server._argument) == len(signal)
    with pytest.raises(BoardError, match="reads signals"):
        link.read("a text" * 400, "predict")
    np.testing.assert_array_equal(link.read(signal, "predict"), expected)
    link.load("vit")
    assert len(board.server._argument) == np.prod(link.labels().image)


def test_what_was_interrupted_is_not_part_of_the_next(narrow, monkeypatch):
    link, _, a = narrow
    plain = link.request

    def interrupted(*given):
        plain(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(link, "request", interrupted)
    with pytest.raises(KeyboardInterrupt):
        link.read(words(a.signal(seed=3)), "predict")
    monkeypatch.undo()
    short = a.signal(4, seed=2)
    expected = a.sim().predict(short) / a.sim().logit_scale
    np.testing.assert_array_equal(link.read(words(short), "predict"), expected)


def test_on_a_board(built, tmp_path):
    sims = {}
    with UnixBoard(tmp_path / "flash") as emulated, Board(emulated.port) as board:
        for name in ("signal", "forecast", "vit"):
            path = tmp_path / f"{name}.pft"
            path.write_bytes(built(name).file().read_bytes())
            assert board.deploy(path) == name
            sims[name] = built(name).sim()
        a = built("forecast")
        assert board.frames_shape("forecast") == (19, 11)
        assert board.image_shape("forecast") == (0, 0, 0)
        signal = a.signal(seed=3)
        expected = sims["forecast"].predict(signal)
        # Whatever it is that holds whole numbers.
        for given in (
            signal, signal.astype(np.int16), signal.astype(np.float64), signal.tolist(),
            array("h", signal.reshape(-1).tolist()), signal.astype(">i4"),
        ):  # fmt: skip
            found = board.predict("forecast", given)
            assert found.dtype == np.float64
            np.testing.assert_array_equal(found, expected)
        assert board.logit_scale == sims["forecast"].logit_scale
        short = a.signal(5, seed=4)
        np.testing.assert_array_equal(
            board.predict("forecast", short), sims["forecast"].predict(short)
        )
        asked = board.connection.server().requests
        for given, said in (
            (signal + 0.5, r"has fractions \(.*\), and this model knows no unit: give the sensor"),
            (signal[:, :10], r"shape \(19, 10\); expected \(rows, 11\)"),
            (np.concatenate([signal, signal]), "a signal of 38 rows, expected 1 to 19"),
            (signal + 40000, "expected whole numbers from -32768 to 32767"),
            (signal * np.nan, "infinite or NaN"),
            (b"12", r"shape \(\); expected \(rows, 11\)"),
        ):
            with pytest.raises(Error, match=said):
                board.predict("forecast", given)
        assert board.connection.server().requests == asked, "nothing of it was sent"
        with pytest.raises(Error, match="reads signals"):
            board.predict("forecast", "a text")
        with pytest.raises(Error, match="expected 1 to 19|has . rows"):
            board.predict("forecast", signal[:0])

        signal = built("signal").signal(seed=3)
        assert board.classify("signal", signal) == sims["signal"].classify(signal)
        found = board.classify("signal", signal)
        assert board.probabilities(found) == sims["signal"].probabilities(found)
        with pytest.raises(Error, match="the signal has 3 rows, expected 4 to 34"):
            board.classify("signal", signal[:3])
        with pytest.raises(Error, match="made to classify, not to embed"):
            board.embed("signal", signal)
        # A model of images has none.
        assert board.frames_shape("vit") == (0, 0)
        image = np.random.default_rng(0).integers(0, 256, (9, 12, 2))
        assert board.classify("vit", image) == sims["vit"].classify(image)
        with pytest.raises(Error, match="pixels are|expected 9 x 12 x 2"):
            board.classify("vit", signal)
