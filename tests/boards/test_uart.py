"""What passes an ESP32's UART, modelled: how fast, and that nothing is lost."""

from __future__ import annotations

import random

import pytest

import test_protocol as protocol
from fakeboard import begin
from picoformer.boards import install
from picoformer.boards.link import Link
from picoformer.boards.repl import Repl
from picoformer.device import server as server_module
from picoformer.runtime.platforms import Platform
from test_protocol import DAMAGES, TRIED, Bench
from uartboard import RATE, ReplBoard, modelled, older

DATA = random.Random(4).randbytes(40_000)
FAST = 5000  # bytes a second


@pytest.fixture
def made():
    with modelled() as making:
        yield making


def uploading(board, data):
    """Bytes a second of an upload, verified, behind which the file is there."""
    link = Link(board, board.clock)
    link.start(60)
    start = board.now
    link.upload("m", data)
    seconds = board.now - start
    assert (board.folder / "m.pft").read_bytes() == data
    assert link.ping(b"x") == b"x"
    return len(data) / seconds


def test_an_upload_is_fast_and_nothing_is_lost(made, tmp_path):
    board = made(tmp_path)
    read, asked = board.server._read, []
    board.server._read = lambda n: asked.append(n) or read(n)
    assert uploading(board, DATA) > FAST
    assert max(asked) < 100  # long frames come into memory that is there
    assert board.to_board.lost == 0
    assert board.to_board.count < 1.1 * len(DATA)  # and nothing is sent twice
    assert not board.server._buffer  # whose memory a model may need
    board.close()


def test_the_model_is_the_emulated_board_and_an_older_runtime_is_served(made, tmp_path):
    """A PING of 50 ms and 1.5 to 1.9 KB/s: what an emulated ESP32 did with these frames."""
    board = made(tmp_path)
    older(board)
    assert 1500 < uploading(board, DATA[:10_000]) < 1900
    assert board.to_board.lost == 0
    link = begin(board, False, 128, 256)
    start = board.now
    link.ping(b"hi")
    assert 0.04 < board.now - start < 0.06
    board.close()


def test_a_heap_without_room_for_long_frames(made, tmp_path, monkeypatch):
    def full(size=0):
        if size == server_module.BLOCK + 256:
            raise MemoryError
        return bytearray(size)

    board = made(tmp_path)
    monkeypatch.setattr(server_module, "bytearray", full, raising=False)
    assert 1000 < uploading(board, DATA[:2000]) < FAST
    assert board.to_board.lost == 0
    board.close()


@pytest.mark.parametrize("value", [3, 0x1F, 0x0A])
def test_bytes_that_mean_something(made, tmp_path, value):
    """A frame of nothing but 3s takes twice its length, and more than there was asked for."""
    board = made(tmp_path)
    uploading(board, bytes([value]) * 9000)
    assert board.to_board.lost == 0
    board.close()


@pytest.mark.parametrize("step", [1999, pytest.param(7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", [*DAMAGES, "reset", "unplug"])
def test_one_fault_anywhere_in_long_frames(made, tmp_path, monkeypatch, fault, step):
    new = DATA[:5000]
    monkeypatch.setattr(protocol, "NEW", new)
    monkeypatch.setitem(protocol.EXCHANGES, "upload", (protocol.upload, new))
    for direction, last in ("to_board", 5150), ("to_pc", 250):
        for at in range(step // 3, last, step if direction == "to_board" else step // 16 + 1):
            bench = Bench(tmp_path / f"{direction} {at}", True, made)
            protocol.spoil(bench, fault, direction, at)
            got, met = bench.run("upload")
            assert got == new
            assert not met or fault in ("reset", "unplug"), (at, met)
            assert bench.board.now < 60
            bench.close()
            TRIED.faults[f"{getattr(fault, '__name__', fault)}, long frames"] += 1


@pytest.mark.parametrize("rate, least", [(RATE, 6500), (1e6, 6500)])
def test_the_runtime_is_installed_as_fast(tmp_path, rate, least):
    """By a UART, and by native USB that brings all at once into the same ring."""
    board = ReplBoard(tmp_path, rate=rate)
    repl = Repl(board, board.clock, board.let)
    repl.run(install.RECEIVE)
    start = board.now
    path = str(tmp_path / "module.mpy")
    install._send(repl, Platform((1, 24, 0), 0, "esp32", ""), path, DATA)
    assert len(DATA) / (board.now - start) > least
    assert board.to_board.lost == 0
    assert (tmp_path / "module.mpy").read_bytes() == DATA
    board.close()
