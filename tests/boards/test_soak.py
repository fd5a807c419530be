"""Long days: tools/sweeps/soak.py, shorter, and that it notices what it is there to notice."""

from __future__ import annotations

import pytest

import models
from picoformer.boards.emulated.unix import UnixBoard
from tools.sweeps import soak

REASON = models.no_board()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture
def soaked(tmp_path):
    with UnixBoard(tmp_path / "flash") as board:
        yield soak.Soak(board.port, tmp_path, 3)


@pytest.mark.parametrize("requests", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_mixed_requests_lose_no_heap(soaked, monkeypatch, requests):
    monkeypatch.setattr(soak, "PROBE", 5)
    report = soaked.run(requests, requests // 2, print)
    assert report.wrong == []
    assert report.requests.total() == requests and len(report.requests) == len(soaked.asks)
    assert report.reconnects == 1
    assert len(report.grown) == 2 and max(report.grown) <= soak.SHRINK
    table = report.table()
    assert f"| all | {requests:,} |" in table and "1 reconnects, 0 wrong answers" in table


def test_wrong_answers_and_lost_heap_are_noticed(soaked, monkeypatch):
    monkeypatch.setattr(soak, "PROBE", 1)

    def lose():
        soaked.board.exec("kept = globals().get('kept', []); kept.append(bytearray(1000))")
        return None, None

    def lie():
        return 1, 2

    soaked.asks = {"lose": lose, "lie": lie}
    report = soaked.run(12, 100, print)
    assert report.wrong and report.wrong[0].endswith("lie: 1, not 2")
    assert max(report.grown) > soak.SHRINK
