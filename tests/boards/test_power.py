"""The power fails at each operation of the flash: an upload, a removal, an update of the runtime.

On littlefs, as on the Pico, and on FAT, by MicroPython's own file systems and the boards' files.
"""

from __future__ import annotations

import contextlib
import random

import pytest

import models
from flashboard import FlashBoard
from picoformer.boards import errors
from picoformer.boards import install as boards_install
from picoformer.boards.install import install
from picoformer.runtime import files as runtime
from test_install import OLD as RUNTIMES
from test_install import SMALL, platform
from test_protocol import TRIED
from turns import some

REASON = models.no_micropython()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

OLD, NEW, OTHER = (random.Random(n).randbytes(n) for n in (9_000, 38_000, 21_000))
CROWD = 5  # other files, behind which a name of FAT and its .part lie in two sectors

ALL = pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])


@pytest.fixture(params=["littlefs", "fat", "a crowded fat"])
def board(request):
    made = FlashBoard(request.param.rpartition(" ")[2])
    made.repl.enter()
    for i in range(CROWD * (request.param == "a crowded fat")):
        made.repl.run(f"open('/some file {i}.txt', 'w').close()")
    yield made
    made.close()


def cuts(count, every):
    """The operations at which the power fails: each, or some and the last ones."""
    return [k for k in range(count) if every or k % 17 == 5 or k > count - 5]


def request(board, ask):
    """Ask the server for something, until it is done or the power fails; whether it is done."""
    try:
        link = board.server()
        with contextlib.suppress(errors.NoModelError):  # it was done before
            ask(link)
        link.bye()
    except errors.EndedError:
        board.repl.enter()
        return False
    board.repl.enter()
    return True


def on(board):
    return {name: data for name, data in board.files().items() if not name.endswith(".txt")}


# Models


def upload(data, name="m"):
    return lambda link: link.upload(name, data)


def beside(link):
    with contextlib.suppress(errors.NoModelError):
        link.remove("m")
    link.upload("n", OTHER)


# What is there before and after, and how it gets there.
CHANGES = {
    "new": ({}, {"m.pft": NEW}, upload(NEW)),
    "replaced": ({"m.pft": OLD}, {"m.pft": NEW}, upload(NEW)),
    "removed": ({"m.pft": OLD}, {}, lambda link: link.remove("m")),
}


@ALL
@pytest.mark.parametrize("change", CHANGES)
def test_a_models_way(board, change, every):
    before, after, ask = CHANGES[change]
    for data in before.values():
        assert request(board, upload(data))
    board.repl.run("keep(); power(-1)")
    assert request(board, ask) and on(board) == after
    for k in cuts(board.ask("flash.done"), every):
        board.repl.run(f"back(); power({k})")
        assert not request(board, ask)
        TRIED.faults["power"] += 1
        board.repl.run("power(-1); cut = bytes(flash.bytes)")
        found = on(board)
        part = found.pop("m.pft.part", b"")
        # FAT cannot replace: between two of its operations there is but the part, which is whole.
        replacing = board.kind == "fat" and change == "replaced" and part == NEW
        assert found in (before, after) or (replacing and not found), k
        # Whatever comes next goes well, and nothing of it harms another file.
        for then, there in (
            (ask, after), (upload(OTHER), {"m.pft": OTHER}), (beside, {"n.pft": OTHER}),
        ):  # fmt: skip
            board.repl.run("flash.bytes[:] = cut; power(-1)")
            assert request(board, then) and on(board) == there, k


# The runtime

LIB = "/lib/picoformer"
FILES = {name: data * (1 + 2000 * (name == "same.mpy")) for name, data in SMALL.items()}


def whole(there, new):
    """Whether what MicroPython imports, a .py before an .mpy, is of one version or starts not."""
    seen = {n: d for n, d in there.items() if n.endswith(".py") or n[:-3] + "py" not in there}
    seen = {n: d for n, d in seen.items() if n.endswith((".py", ".mpy"))}
    starts = {n.partition(".")[0] for n in seen} & {"__init__", "server"}
    return not starts or any(seen.items() <= version.items() for version in new)


@ALL
@pytest.mark.parametrize("old", some(RUNTIMES, 2))
def test_an_update_of_the_runtime(board, monkeypatch, old, every):
    monkeypatch.setattr(boards_install, "wanted", lambda *_: runtime.Runtime(FILES))
    monkeypatch.setattr(boards_install, "LONE_BLOCK", 4096)
    monkeypatch.setattr(boards_install, "PIECE", 8192)
    rp2 = platform("armv6m")
    for folder in "/lib", LIB:
        board.repl.run(f"os.mkdir({folder!r})")
    for name, data in RUNTIMES[old].items():
        board.repl.run(f"f = open('{LIB}/{name}', 'wb'); f.write({data!r}); f.close()")
    before = board.files(LIB)
    board.repl.run("keep(); power(-1)")
    install(board.repl, rp2)
    assert board.files(LIB) == FILES
    for k in cuts(board.ask("flash.done"), every):
        board.repl.run(f"back(); power({k})")
        with pytest.raises((errors.ScriptError, errors.SilentError)):
            install(board.repl, rp2)
        board.repl.enter()
        TRIED.faults["power"] += 1
        board.repl.run("power(-1)")
        assert whole(board.files(LIB), (before, FILES)), k
        install(board.repl, rp2)
        assert board.files(LIB) == FILES, k
        assert not install(board.repl, rp2)[1]
