"""Heaps that grow by areas, an ESP32's: how they grow, what has its place there, and the plan."""

from __future__ import annotations

import pytest

from picoformer.planning.areas import Areas, _Heap, block_for, pool
from picoformer.planning.planner import Planner
from picoformer.planning.profiles import profile

# Of ESP32_GENERIC 1.24.0 in Espressif's QEMU: the longest contexts that loaded and ran there, by
# trying: alone, beside the server over its cable. Caches take the same for four positions.
LONGEST = {
    "fashion": (50, 50),
    "intents": (38, 38),
    "facts": (64, 64),
    "stories": (200, 180),
    "english-french": (32, 28),
    "sentiment": (48, 48),
    "digest": (144, 144),
    "motions": (10, 10),
    "digits": (20, 20),
}


def test_it_grows_as_much_as_there_is():
    """By what did not fit, by as much as before, or by the whole block."""
    heap = _Heap([1000], [4352, 110_592], 54_848)
    assert heap.take(1000) and heap.blocks == [4352, 110_592]
    assert heap.take(16) and heap.free[1] == pool(block_for(54_848)) - 16
    assert heap.take(60_000) is False  # in none of the two halves
    heap = _Heap([1000], [4352, 110_592], 54_848)
    assert heap.take(107_800) and len(heap.free) == 2
    assert not _Heap([1000], [4352, 110_592], 54_848).take(108_000)


def test_small_things_first_part_it():
    """What the loader does, and why: 76 KB find no place once small objects made the heap grow."""
    late = _Heap([0], [10_240, 14_336, 110_592], 54_848)
    assert late.take(48) and not late.take(76_000)
    areas = Areas(54_848, (110_592, 14_336, 10_240))
    assert areas.holds(23_600, [76_000], 150_000)
    assert not areas.holds(23_600, [76_000, 76_000], 180_000)
    assert not areas.holds(23_600, [76_000], areas.total + 4000)
    assert not areas.holds(60_000, [1000], 61_500)  # the heap has grown before


def test_what_a_board_says():
    """Its free bytes count one block only; the pieces that it finds are all of them."""
    a = Areas.found(165_440, [107_812, 54_000, 13_800, 9600])
    assert abs(a.first - 54_848) < 300 and len(a.blocks) == 3
    assert a.total > 180_000 and a.pieces[0] > 107_800
    assert Areas.found(5000, []).total <= 5000
    p = profile("esp32").asked("COM3", 165_440, [107_812, 54_000, 13_800, 9600], 1 << 21, True)
    assert p.areas == a and not p.note and p.room == a.total


def test_machine_code_lies_elsewhere():
    some = Areas(1, (110_592, 14_336, 10_240))
    assert some.less(8704).blocks == (110_592, 10_240, 5632)
    assert Areas(1, (100,)).less(8704).blocks == (100,)


@pytest.mark.parametrize("name", LONGEST)
def test_the_longest_that_loads(own, name):
    """Never above what loads, and at most 4 % below it."""
    board = profile("esp32")
    planner = Planner(own(name).path, board)
    for server, tried in enumerate(LONGEST[name]):
        said = planner.longest(bool(server))
        assert 0.96 * tried <= said <= tried, (name, server, said)
        if said:
            b = planner.budget(said, bool(server))
            assert b.fits and b.in_areas and b.heap == board.room


def test_a_plan_says_what_does_not_fit(own):
    b = Planner(own("stories").path, profile("esp32")).budget()
    assert not b.fits and not b.in_areas and 160 <= b.longest < 256
    small = profile("esp32").with_memory(110_000, 52_000)
    b = Planner(own("fashion").path, small).budget()
    assert not b.fits and b.longest == 0
