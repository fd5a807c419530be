"""Boards that are twenty times slower, and whose answers come late, over the link."""

from __future__ import annotations

import zlib

import pytest

import test_protocol as protocol
from fakeboard import begin
from lateboard import LateBoard
from picoformer.boards import errors
from picoformer.boards.link import Link
from picoformer.device import server as server_module
from test_protocol import DATA, EXCHANGES, TRIED, Bench, FakeModel, counts, spoil
from uartboard import modelled

LATE = {
    "slow": {"work": 0.4, "rate": 600},
    "late": {"delay": 2.5},
    "very late": {"delay": 4.5},
    "in bursts": {"burst": 4.0, "work": 0.05},
}


@pytest.fixture(params=[*LATE, "uart"])
def kind(request, monkeypatch):
    """A late board; its clock is the server's, too."""
    if request.param == "uart":
        with modelled() as made:
            made.name = request.param
            yield made
        return

    def made(folder):
        board = LateBoard(folder, **LATE[request.param])
        monkeypatch.setattr(server_module, "ticks_ms", lambda: int(board.now * 1000))
        return board

    made.name = request.param
    yield made


SIZES = {}


def clean(kind, exchange, folder):
    """Bytes of an exchange without faults, for both forms of frames."""
    if (kind.name, exchange) not in SIZES:
        SIZES[kind.name, exchange] = {
            raw: counts(folder / f"clean {raw}", exchange, raw, kind) for raw in (True, False)
        }
    return SIZES[kind.name, exchange]


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("raw", [True, False])
def test_what_comes_late_is_right(tmp_path, kind, exchange, raw):
    bench = Bench(tmp_path / "flash", raw, kind)
    assert bench.run(exchange) == (EXCHANGES[exchange][1], [])
    bench.close()


def test_an_upload_of_many_blocks(tmp_path, kind):
    """Nothing is lost, so nothing is sent twice, nor in smaller blocks."""
    board = kind(tmp_path)
    link = begin(board, credit=256 if board.to_board.room else 4096)
    before = board.to_board.count
    link.upload("m", DATA * 8)
    assert (tmp_path / "m.pft").read_bytes() == DATA * 8
    assert board.to_board.count - before < 1.03 * len(DATA * 8)
    board.close()


# One thing at a time


@pytest.fixture
def board(tmp_path, monkeypatch):
    made = LateBoard(tmp_path)
    monkeypatch.setattr(server_module, "ticks_ms", lambda: int(made.now * 1000))
    made.server._model = FakeModel()
    made.server._model.sleep = made.sleep
    yield made
    made.close()


@pytest.mark.parametrize("seconds", [20, 170, 500])
def test_a_board_that_computes_for_long_says_nothing_and_is_waited_for(board, seconds):
    link = begin(board)
    answer = board.server._model.answer

    def slowly(*texts):
        board.sleep(seconds)
        return answer(*texts)

    board.server._model.answer = slowly
    assert link.answer("the text", "?") == "text?"
    before = board.to_board.count
    board.server._model.delay = seconds
    assert list(link.generate("abc", 9, 0, 1000, 1)) == list("abcabcdef")
    # The questions whether it lives are few: it has to read them all.
    assert board.to_board.count - before < 25_000


def test_a_board_that_looks_for_long_through_its_flash(board):
    """As littlefs does to count its free blocks, on a slow flash with many files."""
    link = begin(board)
    space = board.server._space
    board.server._space = lambda: board.sleep(40) or space()
    write, blocks = board.server._handlers[server_module.DATA], []

    def slowly(body):
        blocks.append(body)
        board.sleep(30 * (len(blocks) == 2))
        return write(body)

    board.server._handlers[server_module.DATA] = slowly
    link.upload("m", DATA)
    assert (board.folder / "m.pft").read_bytes() == DATA


def test_slow_tokens_are_stopped(board):
    link = begin(board)
    board.server._model.delay = 25
    text = link.generate("abc", None, 0, 1000, 1)
    assert [next(text), next(text)] == ["a", "b"]
    text.close()
    assert link.stats.stopped and link.stats.tokens <= 3
    assert link.ping(b"x") == b"x"


def test_a_port_that_takes_no_repeats(board):
    """A board that computes does not read, and its buffers are full: that is not its death."""
    link = begin(board)
    board.server._model.delay = 40
    write, sent = board.write, []

    def full(data):
        sent.append(data)
        if len(sent) > 1:
            board.now += 20
            raise errors.SilentError("the board takes nothing")
        write(data)

    board.write = full
    assert next(link.generate("abc", 3, 0, 1000, 1)) == "a"
    assert len(sent) > 1
    board.write = write


def test_a_gap_is_asked_for_once(board):
    """However many tokens behind it were on their way."""
    board.delay = 3.0
    board.server._model.delay = 0.1
    link = begin(board)
    asked = []
    write = board.write

    def seen(data):
        asked.extend(data.split(b"\n~AQ0")[1:])
        write(data)

    board.write, link.hello.raw = seen, False
    board.to_pc.damage[board.to_pc.count + 90] = protocol.flip
    assert list(link.generate("abc", 120, 0, 1000, 1)) == protocol.expected(120, "abc")
    assert 2 < len(asked) < 15


def test_a_ready_that_is_lost(tmp_path):
    board = LateBoard(tmp_path)
    board.read(1)
    link = Link(board, board.clock)
    assert link.start(60).nonce == board.server._nonce and board.now < 15
    assert link.ping(b"x") == b"x"
    board.close()


# Faults

FAULTS = [*protocol.DAMAGES, "reset", "unplug"]
STEPS = pytest.mark.parametrize("step", [2999, pytest.param(5, marks=pytest.mark.slow)])


@STEPS
@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_anywhere_on_a_late_board(tmp_path, kind, exchange, fault, step):
    """As `test_one_fault_anywhere`: the right answer, and the old model or the new one."""
    name = getattr(fault, "__name__", fault)
    sizes = clean(kind, exchange, tmp_path)
    for direction in ("to_board", "to_pc"):
        first = zlib.crc32(f"{exchange}{name}{kind.name}{direction}".encode()) % step
        for at in range(first, sizes[True][direction], step):
            raw = at // step % 2 == 0
            if at >= sizes[raw][direction]:
                continue
            bench = Bench(tmp_path / f"{direction} {at}", raw, kind)
            spoil(bench, fault, direction, at)
            got, met = bench.run(exchange)
            assert got == EXCHANGES[exchange][1]
            assert not met or fault in ("reset", "unplug"), (at, met)
            assert bench.board.now < 400
            bench.close()
            TRIED.faults[f"{name}, {kind.name}"] += 1
