"""The raw REPL of boards that are slow, busy, or answer late, on a clock of their own."""

from __future__ import annotations

import itertools

import pytest

from picoformer.boards import errors, repl
from picoformer.boards.repl import Repl
from rawrepl import RawRepl

LONG = "x = 0\n" + "# of several pieces\n" * 40 + "print(6 * 7)"
DELAYS = 0.0, 0.4, 1.6, 2.9, 3.5, 5.0, 7.4


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(repl.time, "sleep", lambda seconds: None)


def session(board: RawRepl) -> None:
    """What a connection does, over and over: nothing of it may be hit by what came late."""
    r = Repl(board, board.clock)
    r.enter()
    for _ in range(2):
        r.reset()
        assert r.run(LONG) == "42\n"
        with pytest.raises(errors.ScriptError, match="ZeroDivisionError"):
            r.run("1 // 0")
    assert r.run("print(x)") == "0\n"
    r.enter()
    assert r.run("print(x + 1)") == "1\n"


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("work", [0.0, 0.3, 2.0])
def test_scripts_are_not_hit_by_what_comes_late(delay, work):
    for program in None, 0.0, 1.0, 3.2, 6.5:
        if 2 * delay + (program or 0) > 17:
            continue  # nothing tells such a board from a dead one
        for forgets in False, True:
            board = RawRepl(delay, work, program, forgets=forgets)
            session(board)
            assert board.killed == [] and board.resets == 2
            assert board.ran.count(LONG) == 2


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize(
    "boot, says", [(0.3, b""), (4.0, b"OK, raw REPL\r\n> soft\r\n"), (15, b"")]
)
def test_boot_runs_to_its_end(delay, boot, says):
    """However late its prompt: no Ctrl-C of ours ends what the user wrote there."""
    board = RawRepl(delay, 0.1, boot=boot, boot_says=says)
    session(board)
    assert board.killed == [] and board.resets == 2


def test_a_boot_that_never_ends_is_interrupted():
    board = RawRepl(0.1, 0.1, boot=1e6)
    r = Repl(board, board.clock)
    r.enter()
    r.reset()
    assert r.run("print(1)") == "1\n" and board.killed == ["boot.py"]


@pytest.mark.parametrize("delay", [0.0, 3.5])
def test_each_byte_lost_on_the_way_into_the_raw_repl(delay):
    clean = RawRepl(delay, 0.01, 0.2)
    Repl(clean, clean.clock).enter()
    for at in range(clean.sent):
        board = RawRepl(delay, 0.01, 0.2, drop=[at])
        r = Repl(board, board.clock)
        r.enter()
        assert r.run("print(6 * 7)") == "42\n", at
        assert LONG not in board.killed and board.now < 90


def test_answers_that_come_all_at_once(monkeypatch):
    """Nothing for eleven seconds, then all of it: with the prompts that were asked for again."""
    board = RawRepl(0.0, 0.01)
    read = board.read

    def held(limit):
        if board.now + limit < 11:
            board.now += limit
            return b""
        board.now = max(board.now, 11.0)
        return read(limit)

    board.read = held
    r = Repl(board, board.clock)
    r.enter()
    assert r.run("print(6 * 7)") == "42\n" and board.killed == []


def test_words_are_a_sign_of_life_but_not_for_ever():
    """A script that says a word now and then may take as long as it likes; chatter may not."""
    board = RawRepl()
    r = Repl(board, board.clock)
    r.enter()

    def talk(limit):
        board.now += min(limit, 8.0)
        return next(words)

    board.read = talk
    words = iter([b"."] * 6 + [b"done\x04\x04>"])
    start = board.now
    assert r.finish(10.0) == "......done" and board.now > start + 40
    words = iter([b"."] * 6)
    with pytest.raises(errors.SilentError, match="did not answer b'never'"):
        r.expect(b"never", 10.0, altogether=True)
    words = itertools.repeat(b".")
    with pytest.raises(errors.SilentError):
        r.expect(b"never", 10.0)
    assert board.now < start + 400


def test_a_port_that_says_nothing():
    board = RawRepl(delay=1e6)
    with pytest.raises(errors.NoBoardError, match="it said nothing"):
        Repl(board, board.clock).enter()
    assert board.now <= 18
