"""Heaps in pieces: what is free in one piece is what counts, in plans, deploys and errors."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import models
from picoformer import Board
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.boards.errors import NoMemoryError
from picoformer.boards.replies import refusal
from picoformer.boards.room import Room
from picoformer.commands.main import main
from picoformer.device import loader
from picoformer.planning.budget import packs
from picoformer.planning.planner import Planner
from picoformer.planning.profiles import profile

HEAP_KB = 600
# Leaves free what is in `large`, and else pieces of about `hole` bytes.
BOOT = """
import gc
keep = []
large = [bytearray(n) for n in {large}]
for i in range({count}):
    hole = bytearray({hole})
    keep.append(bytearray(200))
    del hole
del large
gc.collect()
"""


@pytest.fixture(scope="module")
def board_with(tmp_path_factory):
    """board_with(large, hole): the folder of a board whose boot.py leaves its heap so."""
    reason = models.no_board()
    if reason:
        pytest.skip(reason)

    def made(large: list[int], hole: int, *models_there: Path) -> Path:
        folder = tmp_path_factory.mktemp("pieces")
        with UnixBoard(folder, HEAP_KB) as unix, Board(unix.port) as board:
            for path in models_there:
                board.deploy(path)
        (folder / "boot.py").write_text(
            BOOT.format(
                large=large, hole=hole, count=((HEAP_KB << 10) - sum(large)) // (hole + 300)
            )
        )
        return folder

    return made


def test_packing():
    assert packs(100, [40, 40], 100, [50, 50]) is False  # another piece costs
    assert packs(9000, [4000, 4000], 20_000, [8000, 6000])
    assert not packs(9000, [4000, 4000, 4000], 20_000, [6000, 6000, 4000 - 1])
    assert not packs(9000, [5000], 90_000, [4999] * 18)
    # What is too small for the largest allocation holds little of the rest.
    assert not packs(30_000, [5000], 90_000, [20_000] + [4000] * 17)
    assert packs(21_000, [5000], 23_000, [20_000, 1000])


@pytest.mark.parametrize(
    ("large", "hole"), [([30_000] * 3, 3000), ([30_000] * 6, 1500), ([20_000] * 10, 900)], ids=str
)
def test_the_longest_that_fits_loads(board_with, stories, large, hole):
    """In heaps in pieces of several kinds: what is planned loads, and the plan is no guess."""
    folder = board_with(large, hole, stories.path)
    with UnixBoard(folder, HEAP_KB) as unix, Board(unix.port) as board:
        b = board.budget(stories.path)
        assert b.heap > 1.9 * b.needed and not b.fits and 20 < b.longest < 256
        assert b.verdict == "It does not fit the large blocks of the heap."
        assert "heap is in pieces" in b.advice[0] and "boot.py" in b.advice[0]
        assert board.load("stories", b.longest).context == b.longest
        with pytest.raises(NoMemoryError, match="in one piece; .*heap is in pieces.* its boot.py"):
            board.load("stories", 256)


def test_no_piece_is_large_enough(board_with, stories, capsys, tmp_path):
    """As in the case of issue 16: 'fits' at 256, and nothing loads."""
    folder = str(board_with([], 1500, stories.path))
    path = str(stories.path)
    with UnixBoard(folder, HEAP_KB) as unix:
        port = "--port", unix.port
        assert main(["deploy", path, *port, "--json"]) == 1
        seen = json.loads(capsys.readouterr().out)
        assert "does not fit this board" in seen["error"] and "in pieces" in seen["error"]
        assert main(["plan", path, *port, "--json"]) == 1
        b = json.loads(capsys.readouterr().out)
        assert b["fits_heap"] and not b["fits_block"] and not b["fits"] and not b["longest"]
        assert b["free_pieces"][0] == b["largest_free"] < b["largest"] == b["pieces"][0]
        page = tmp_path / "plan.html"
        assert main(["plan", path, *port, "--html", str(page)]) == 1
        said = capsys.readouterr().out
        assert "boot.py has to keep less" in said and "measured: the board on" in said
        assert "It does not fit the largest block" in page.read_text()
        assert main(["generate", *port, "--positions", "16"]) == 1
        said = capsys.readouterr().err
        assert "heap is in pieces" in said and "context" not in said and said.count("\n") == 1


def test_plan_for_the_board_that_is_there(board_with, stories, capsys, tmp_path):
    """Without a runtime on it; its heap, not that of its kind."""
    with UnixBoard(tmp_path / "new", 220) as unix:
        assert main(["plan", str(stories.path), "--port", unix.port, "--json"]) == 1
        b = json.loads(capsys.readouterr().out)
        assert 200 << 10 < b["heap"] < 220 << 10 and 0 < b["longest"] < 256
        given = ["--positions", str(b["longest"]), "--json"]
        assert main(["plan", str(stories.path), "--port", unix.port, *given]) == 0
        assert json.loads(capsys.readouterr().out)["fits"]
        assert not (tmp_path / "new" / "lib" / "picoformer").exists()
        assert main(["plan", str(stories.path), "--port", unix.port, "--board", "pico"]) == 1
        assert "--port asks the board" in capsys.readouterr().err


def test_the_flash_that_is_there(stories):
    """What the runtime and the same model have of it counts as free; a full one is named."""
    p = profile("pico").asked("COM3", 240_000, [239_000], 300_000)
    b = Planner(stories.path, p).budget()
    assert b.fits_heap and not b.fits_flash and "picoformer remove" in b.advice[0]
    assert b.flash == 300_000 and p.flash.how == "measured"
    assert not Planner(stories.path, profile("pico")).budget().advice


def test_a_board_that_keeps_much(stories):
    p = profile("pico").asked("COM3", 120_000, [119_000], None)
    b = Planner(stories.path, p).budget(server=True)
    assert "120,000 bytes free after its boot.py, others of its kind 241,248" in b.advice[0]
    assert not profile("pico").asked("COM3", 240_000, [238_000], None).note


def test_room_is_asked_once(board_with, stories):
    """And again where a script may have changed boot.py."""
    folder = board_with([20_000] * 10, 900, stories.path)
    with UnixBoard(folder, HEAP_KB) as unix, Board(unix.port) as board:
        before = board.budget(stories.path)
        link = board.connection.server()
        assert board.budget(stories.path) == before and board.connection.link is link
        board.exec("import os; os.remove('/boot.py')")
        after = board.budget(stories.path)
        assert after.fits and after.largest_free > 500_000
        room = board._room
        assert isinstance(room, Room) and room.heap >= sum(room.pieces) and room.flash > 0


@pytest.mark.parametrize("name", ["stories", "fashion"])
def test_what_the_loader_says(own, monkeypatch, name):
    """The largest piece that is needed, and what helps: for an image no smaller context."""

    def none(n):
        raise MemoryError

    monkeypatch.setattr(loader.regions, "array_of", none)
    m = own(name).sim.model
    cache, arena = m.cache_bytes(m.context), m.arena_bytes(m.context)
    piece = max(arena, cache // m.program[11])
    model = SimpleNamespace(context=m.context, image=m.meta.get("image"))
    words = m.program.tolist()
    monkeypatch.setattr(loader, "free", lambda: 10**6)
    with pytest.raises(MemoryError) as e:
        loader._allocate(model, words, loader.regions.sizes(words, m.context, 0), False)
    said = f"{m.context} takes {cache + arena} bytes, {piece} of them in one piece; "
    assert said in str(e.value)
    assert ("smaller context" in str(e.value)) == (name == "stories")


def test_a_board_that_has_nothing_left(board_with, stories):
    """Not even for the script that asks."""
    folder = board_with([], 1500, stories.path)
    boot = "import gc\nkeep = []\nwhile gc.mem_free() > 6000:\n    keep.append(bytearray(600))\n"
    (folder / "boot.py").write_text(boot)
    with UnixBoard(folder, HEAP_KB) as unix, Board(unix.port) as board:
        b = board.budget(stories.path)
        assert not b.fits and not b.longest and b.heap < 20_000


def test_an_image_takes_all_its_positions(own, unix):
    """No smaller context is proposed for it, by the plan or by the board."""
    path = own("fashion").path
    fits = Planner(path, profile("pico")).budget()
    assert fits.fits and fits.longest == fits.file_context == 50
    b = Planner(path, profile("pico").with_memory(90_000, None)).budget()
    assert not b.fits and b.longest == 0
    assert b.advice == ["An image takes all its positions: take a smaller model."]
    script = """
from picoformer import Error, Model
try:
    Model(FILE)
except Error as e:
    print(e)
"""
    said = unix(script, heap="190K", FILE=str(path))
    assert "not enough memory: " in said and "in one piece" in said and "smaller" not in said


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ([], 0),
        (["--board", "pico"], 0),
        (["--board", "pico", "--heap", "100000"], 1),
        (["--board", "esp32"], 1),
        (["--board", "esp32", "--positions", "64"], 0),
        (["--board", "esp32", "--context", "64"], 0),
    ],
)
def test_the_exit_status_is_the_verdict(stories, capsys, options, status):
    assert main(["plan", str(stories.path), *options]) == status
    assert main(["plan", str(stories.path), *options, "--json"]) == status
    json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_model_that_no_board_holds(stories, monkeypatch, capsys):
    few = {"pico": profile("pico").with_memory(50_000, None)}
    monkeypatch.setattr("picoformer.commands.plan.PROFILES", few)
    assert main(["plan", str(stories.path)]) == 1
    assert "does not fit" in capsys.readouterr().out


def test_what_a_board_says_is_passed_on_as_it_is():
    said = str(refusal(bytes([11, 0, 0, 0, 0]) + b"not enough memory: for an image; 9 are free"))
    assert said == "the board has too little memory: for an image; 9 are free"
