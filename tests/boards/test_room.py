"""What is free on a board, piece by piece: the script that asks, on a heap of numbers."""

from __future__ import annotations

import ast
import sys
import types

import pytest

from picoformer.boards.room import SCRIPT


class Piece:
    """What lies in the smallest block that holds it, until nobody knows it any more."""

    def __init__(self, blocks: list[int], n: int) -> None:
        fits = [b for b in blocks if b >= n]
        if not fits:
            raise MemoryError
        self.blocks, self.block = blocks, min(fits)
        blocks.remove(self.block)

    def __del__(self) -> None:
        if hasattr(self, "block"):
            self.blocks.append(self.block)


@pytest.mark.parametrize("most", [60_000, 59_900, 59_300])
def test_what_cannot_be_had_again_is_taken_smaller(most, monkeypatch, capsys):
    """As on an ESP32, which gives an area back between looking and taking: it had no pieces then.

    most: what can be had at once after the first ten looks.
    """
    blocks = [30_000, 60_000, 3000]
    looks = 0

    def take(n: int) -> Piece:
        nonlocal looks
        looks += 1
        if looks > 10 and n > most:
            raise MemoryError
        return Piece(blocks, n)

    for name, module in {
        "gc": {
            "collect": lambda: None,
            "mem_free": lambda: sum(blocks),
            "mem_alloc": lambda: 100_000 - sum(blocks),
        },
        "os": {"statvfs": lambda _: (4096, 4096, 10, 5), "listdir": lambda _: []},
    }.items():
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**module))
    exec(compile(SCRIPT % 0, "room", "exec"), {"bytearray": take})
    free, sizes, flash, mine, grows = ast.literal_eval(capsys.readouterr().out)
    assert (free, flash, mine, grows) == (93_000, 5 * 4096, 0, False)
    assert len(sizes) == 3 and most - 1000 < sizes[0] <= most
    assert 29_900 <= sizes[1] <= 30_000 and 2900 <= sizes[2] <= 3000
