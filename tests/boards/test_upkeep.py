"""A board in daily use: what is on it, what goes, what runs again, and what is wrong with it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import serial

import models
from picoformer.boards import connection, errors, repl, trouble
from picoformer.boards.board import Board
from picoformer.boards.emulated import pico
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.boards.frames import Decoder
from picoformer.boards.port import SerialPort
from picoformer.boards.replies import older, refusal
from picoformer.commands.main import main
from picoformer.compile import modelfile
from picoformer.device import server_frames as wire
from picoformer.device.server import Server
from picoformer.errors import Error
from picoformer.runtime import files as runtime
from picoformer.version import __version__
from turns import some

REASON = models.no_board()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture(scope="module")
def flash(tmp_path_factory):
    """A board's flash with the runtime in it."""
    folder = tmp_path_factory.mktemp("flash")
    with UnixBoard(folder) as unix, Board(unix.port) as board:
        assert board.update()
    return folder


@pytest.fixture
def ready(flash):
    for path in flash.iterdir():
        if path.is_file():
            path.unlink()
    with UnixBoard(flash) as unix:
        yield unix


@pytest.fixture(scope="module")
def small(case):
    """A small model file."""
    return case("size2").file()


def run_json(capsys, *arguments):
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def failed(capsys, *arguments):
    """The one line of a command that fails."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("picoformer: error: ") and error.count("\n") == 1
    return error


# The commands


def test_boards_says_what_is_there(ready, flash, small, capsys):
    size = small.stat().st_size
    data = small.read_bytes()
    with Board(ready.port) as board:
        board.deploy(small, "m")
        board.deploy(small, "far", weights="host")
        context, task = board.load("m").context, board.load("m").task
    (flash / "cut.pft.part").write_bytes(data[:500])
    (flash / "bad.pft").write_bytes(data[:500])
    (flash / "empty.pft").write_bytes(b"")
    (row,) = run_json(capsys, "boards", "--port", ready.port)["boards"]
    assert row["runtime"] == {"version": __version__, "current": True, "compiled": True}
    assert row["free_heap"] > 0 and row["flash"] > row["free_flash"] > 0 and not row["main"]
    found = {m["name"]: m for m in row["models"]}
    crc = modelfile.header_crc(data)
    assert found["m"] == {
        "name": "m", "bytes": size, "crc": crc, "task": task, "context": context,
        "weights": "board", "state": "whole",
    }  # fmt: skip
    assert found["far"]["weights"] == "host" and found["far"]["task"] == task
    assert found["far"]["bytes"] == len(modelfile.split(small)[0])
    assert [(m["name"], m["state"], m["task"]) for m in row["models"] if not m["task"]] == [
        ("bad", "damaged", ""), ("cut", "unfinished", ""), ("empty", "damaged", ""),
    ]  # fmt: skip
    assert main(["boards", "--port", ready.port]) == 0
    out, err = capsys.readouterr()
    assert f"runtime  {__version__}, this PC's" in out
    assert f"m  {size:,} bytes  {task}, {context} positions\n" in out
    assert "its weights on the PC" in out and "cut  500 bytes  unfinished" in out
    assert err.startswith(f"next   picoformer {task} --port {ready.port} --model ")


def test_boards_without_a_runtime_and_with_another(tmp_path, small, capsys):
    flash = tmp_path / "flash"
    lib = flash / "lib" / "picoformer"
    with UnixBoard(flash) as unix:
        (flash / "m.pft").write_bytes(small.read_bytes())
        (row,) = run_json(capsys, "boards", "--port", unix.port)["boards"]
        assert row["runtime"] is None and "error" not in row and "free_heap" not in row
        assert row["free_flash"] > 0 and [m["name"] for m in row["models"]] == ["m"]
        assert main(["boards", "--port", unix.port]) == 0
        out, err = capsys.readouterr()
        assert "none: picoformer update installs it" in out and "model    m" in out
        assert err == f"next   picoformer update --port {unix.port}\n"

        report = run_json(capsys, "update", "--port", unix.port)
        assert (report["before"], report["after"]) == ("", __version__)
        assert sorted(report["written"]) == sorted(p.name for p in lib.iterdir())
        assert not report["removed"] and report["compiled"]
        report = run_json(capsys, "update", "--port", unix.port)
        assert (report["before"], report["written"]) == (__version__, [])
        assert main(["update", "--port", unix.port]) == 0
        assert f"up to date: {__version__}, " in capsys.readouterr().out

        # An older one, of which a file is gone and one is there no more.
        init = lib / "__init__.mpy"
        init.write_bytes(init.read_bytes().replace(__version__.encode(), b"0.0.9"))
        (lib / "gone.mpy").write_bytes(b"gone")
        (lib / "model.mpy").unlink()
        (row,) = run_json(capsys, "boards", "--port", unix.port)["boards"]
        assert row["runtime"] == {"version": "0.0.9", "current": False, "compiled": True}
        assert main(["boards", "--port", unix.port]) == 0
        assert f"0.0.9, this PC's is {__version__}: picoformer up" in capsys.readouterr().out
        report = run_json(capsys, "update", "--port", unix.port)
        assert (report["before"], report["after"]) == ("0.0.9", __version__)
        assert report["removed"] == ["gone.mpy"]
        assert report["written"] == ["__init__.mpy", "model.mpy"]
        (lib / "sampling.mpy").unlink()
        assert main(["boards", "--port", unix.port]) == 0
        assert f"{__version__}, with other files than this PC's: picof" in capsys.readouterr().out


def test_remove(ready, flash, small, capsys):
    size = small.stat().st_size
    with Board(ready.port) as board:
        for name in "a", "b", "c":
            board.deploy(small, name)
    (flash / "b.pft.part").write_bytes(bytes(10))
    port = "--port", ready.port
    said = failed(capsys, "remove", "a", "x", "y", *port)
    assert "no model 'x' or 'y' on the board; there is a, b, c" in said
    assert "say what to remove: a NAME (on the board: a, b, c)" in failed(capsys, "remove", *port)
    assert sorted(p.name for p in flash.glob("*.pft*")) == [
        "a.pft", "b.pft", "b.pft.part", "c.pft",
    ]  # fmt: skip
    assert main(["remove", "a", "b.pft", *port]) == 0
    out, err = capsys.readouterr()
    assert f"a: {size:,} bytes removed\n" in out and "b: 10 bytes removed (unfinished)" in out
    assert "of flash are free" in out and "next   picoformer deploy" in err
    assert [p.name for p in flash.glob("*.pft*")] == ["c.pft"]
    report = run_json(capsys, "remove", "--all", *port)
    assert report["removed"] == [{"name": "c", "bytes": size}] and report["free_flash"] > 0
    assert not list(flash.glob("*.pft*")) and not report["runtime"]
    assert "there are none" in failed(capsys, "remove", "a", *port)
    # What reads tokenizers stays for the next model: the runtime is no less the PC's.
    with Board(ready.port) as board:
        assert board.runtime().current and not board.update()


def test_remove_needs_no_runtime_and_removes_it(tmp_path, small, capsys):
    flash = tmp_path / "flash"
    with UnixBoard(flash) as unix:
        (flash / "m.pft").write_bytes(small.read_bytes())
        assert run_json(capsys, "remove", "m", "--port", unix.port)["removed"]
        with Board(unix.port) as board:
            board.deploy(small, "m")
            board.load("m")
            (flash / "lib" / "picoformer" / "more").mkdir()
            (flash / "lib" / "picoformer" / "more" / "file").touch()
            board.remove(runtime=True)
            assert not (flash / "lib" / "picoformer").exists()
            assert not board.runtime().sums
            board.deploy(small, "n")
            assert [m.name for m in board.models()] == ["m", "n"]
            (gone,) = board.remove("m")
            assert (gone.name, gone.bytes) == ("m", small.stat().st_size)
            with pytest.raises(errors.NoModelError):
                board.load("m")
        report = run_json(capsys, "remove", "--all", "--runtime", "--port", unix.port)
        assert report["runtime"] and [m["name"] for m in report["removed"]] == ["n"]
        assert [p.name for p in flash.rglob("*")] == ["lib"]


# The board's own program

MAIN = """
import time
with open("/ran", "a") as f:
    f.write("x")
print("main runs")
while True:
    time.sleep(0.02)
"""


def runs(folder: Path, times: int) -> bool:
    """Whether main.py has been started so many times, now or soon, and no more."""
    end = time.monotonic() + 5
    while not (folder / "ran").exists() or len((folder / "ran").read_text()) < times:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    time.sleep(0.2)
    return len((folder / "ran").read_text()) == times


@pytest.fixture
def product(flash):
    """A board whose main.py runs."""
    for path in flash.iterdir():
        if path.is_file():
            path.unlink()
    (flash / "main.py").write_text(MAIN)
    with UnixBoard(flash) as unix:
        assert runs(flash, 1)
        yield unix


def test_main_runs_again_where_it_ran(product, flash, small, capsys):
    with Board(product.port) as board:
        board.deploy(small, "m")
        assert board.stopped and board.load("m")
    assert runs(flash, 2)
    (row,) = run_json(capsys, "boards", "--port", product.port)["boards"]
    assert row["main"] and row["runs"] and runs(flash, 3)
    assert main(["deploy", str(small), "--name", "m", "--port", product.port]) == 0
    assert "its main.py ran, and runs again\n" in capsys.readouterr().out
    assert runs(flash, 4)
    # An error changes nothing of it.
    assert "no model 'x'" in failed(capsys, "remove", "x", "--port", product.port)
    assert runs(flash, 5)
    # A board that is reset in between.
    with Board(product.port) as board:
        board.models()
        product._life.process.kill()
        assert board.models()
    assert runs(flash, 7)


def test_where_nothing_ran_nothing_is_started(product, flash, capsys):
    with serial.Serial(product.port, timeout=10) as plain:
        plain.write(b"\x03")
        plain.read_until(b">>> ")
    with Board(product.port) as board:
        assert board.contents().program and not board.stopped
    assert runs(flash, 1)
    assert main(["boards", "--port", product.port]) == 0
    assert "main.py  does not run: picoformer reset starts it\n" in capsys.readouterr().out
    with serial.Serial(product.port, timeout=10) as plain:
        plain.write(b"print(6 * 7)\r")
        assert b"42\r\n>>> " in plain.read_until(b"42\r\n>>> ")


def test_a_board_that_has_just_begun_ran_nothing(product, flash, monkeypatch):
    """Its banner is that of a program that was stopped: there must be one."""
    enter = repl.Repl.enter

    def late(self):
        monkeypatch.undo()
        said = enter(self) + repl.BANNER  # as if it had just been plugged in
        self.stopped = True
        return said

    for there in True, False:
        monkeypatch.setattr(repl.Repl, "enter", late)
        with Board(product.port) as board:
            assert board.stopped is there
        assert runs(flash, 2)
        (flash / "main.py").unlink(missing_ok=True)


@pytest.mark.parametrize("hard", some([[], ["--hard"]], 2))
def test_reset(product, flash, monkeypatch, capsys, hard):
    monkeypatch.setattr(connection, "LISTEN", 3.0)
    reset = "reset", *hard, "--port", product.port
    report = run_json(capsys, *reset)
    assert report["main"] and report["hard"] == bool(hard) and "main runs" in report["said"]
    assert runs(flash, 2)
    (flash / "main.py").write_text("print('begun')\n1 // 0\n")
    monkeypatch.setattr(connection, "LISTEN", 20.0)  # or to the prompt
    assert main([*reset]) == 0
    assert "its program ended: ZeroDivisionError: " in capsys.readouterr().out


def test_reset_of_a_board_in_use(product, flash, capsys):
    with Board(product.port) as board:
        board.models()
        board.reset()
        with pytest.raises(Error, match="closed"):
            board.models()
    assert runs(flash, 2)
    reset = "reset", "--port", product.port
    assert main([*reset]) == 0
    said = capsys.readouterr().out
    assert "its main.py runs\nwithin a second it printed:\nmain runs\n" in said
    (flash / "main.py").unlink()
    assert main([*reset]) == 0
    assert "it has no main.py, and is at its prompt" in capsys.readouterr().out


def test_reset_where_main_ends(product, flash, monkeypatch, capsys):
    """What it printed is said, and that it has ended."""
    monkeypatch.setattr(connection, "LISTEN", 20.0)  # or to the prompt
    (flash / "main.py").write_text("print('hello from main')\n")
    reset = "reset", "--port", product.port
    assert main([*reset]) == 0
    assert capsys.readouterr().out == (
        "the board was reset: its main.py ran and ended, and it is at its prompt\n"
        "it printed:\nhello from main\n"
    )
    report = run_json(capsys, *reset)
    assert report["ended"] and report["printed"].strip() == "hello from main"
    (flash / "main.py").write_text("for i in range(30):\n    print('line', i)\n")
    assert main([*reset]) == 0
    said = capsys.readouterr().out
    assert "it printed, at the end of 30 lines:\nline 10\n" in said and "line 29\n" in said
    (flash / "main.py").write_text("pass\n")
    assert main([*reset]) == 0
    said = capsys.readouterr().out
    assert "ran and ended" in said and "printed" not in said
    (flash / "main.py").write_text("print('begun')\n1 // 0\n")
    assert main([*reset]) == 0
    said = capsys.readouterr().out
    assert "ended: ZeroDivisionError: " in said and "before that it printed:\nbegun\n" in said


# What is wrong, and the remedy, at once

READ_ONLY = """
import os, vfs
vfs.umount("/")
vfs.mount(vfs.VfsPosix({!r}), "/", readonly=True)
os.chdir("/")
"""


@pytest.fixture
def at_once():
    """No message waits for a time limit."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 25  # of such a limit are 30


def test_a_flash_that_is_read_only(ready, flash, small, case, capsys, at_once):
    port = "--port", ready.port
    with Board(ready.port) as board:
        board.deploy(small, "m")
    (flash / "boot.py").write_text(READ_ONLY.format(str(flash)))
    other = case("outliers").file()
    for command in (
        ("deploy", other),  # a model, by the link
        ("remove", "m"),
        ("remove", "--runtime"),
    ):
        said = failed(capsys, *command, *port)
        assert "is read-only: its boot.py mounts it so" in said
    # The runtime, by the REPL.
    (flash / "lib" / "picoformer" / "sampling.mpy").rename(flash / "kept")
    try:
        assert "is read-only: its boot.py mounts it so" in failed(capsys, "update", *port)
        with Board(ready.port) as board:
            with pytest.raises(errors.ReadOnlyError, match="read-only"):
                board.deploy(other)
            assert [m.name for m in board.contents().models] == ["m"]
    finally:
        (flash / "kept").rename(flash / "lib" / "picoformer" / "sampling.mpy")


def test_refusals_of_a_file_system_are_told_apart(ready):
    """By number, whatever form the port gives it; without boot.py's doing."""
    with Board(ready.port) as board:
        bare = board.connection.repl

        def told(said):
            return str(trouble.explain(bare, said))

        assert "read-only: something has mounted it so" in told("OSError: [Errno 30] EROFS")
        assert "read-only" in told("the board failed: OSError(13,)")
        assert "flash does not answer" in told("OSError: [Errno 5] EIO")
        assert "none is mounted" in told("OSError: 19")
        assert "flash is full" in told("OSError: 28")
        assert "in the place of the folder /lib/picoformer" in told("OSError: 20")
        for said in "OSError: [Errno 2] ENOENT", "ZeroDivisionError: ", "the board failed: 5":
            assert trouble.explain(bare, said) is None


def test_a_server_that_may_not_remove(tmp_path, monkeypatch):
    """It is not said that the model is not there. Nor is a full flash an empty one."""
    sent = []
    server = Server(None, sent.append, None, f"{tmp_path}/")

    def answer(kind, body):
        sent.clear()
        server._last = None
        server._answer(kind, 1, memoryview(body))
        (frame,) = Decoder().feed(sent[0])
        return frame

    def refused(_):
        raise OSError(30, "EROFS")

    assert refusal(answer(wire.REMOVE, b"m").body).code == wire.NO_FILE
    (tmp_path / "m.pft").write_bytes(b"x")
    with monkeypatch.context() as m:
        m.setattr(os, "remove", refused)
        error = refusal(answer(wire.REMOVE, b"m").body)
    assert error.code == wire.INTERNAL and "OSError(30" in str(error)
    assert answer(wire.REMOVE, b"m").kind == wire.REMOVE | 0x80
    # littlefs counts more blocks as used than it has, when few are left.
    for free, said in (3, 3 * 4096), (2**32 - 2, 0), (-2, 0):
        monkeypatch.setattr(os, "statvfs", lambda _, free=free: (4096, 4096, 9, free, free))
        assert server._space() == said


@pytest.mark.parametrize(
    "name", ["struct.py", "binascii.mpy", "lib/select.py", "picoformer.py", "picoformer/x.py"]
)
def test_a_file_that_hides_what_we_import(name, ready, flash, small, capsys, at_once):
    path = flash / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x = 1\n")
    module = path.stem if path.parent.name != "picoformer" else "the runtime"
    shown = "/picoformer" if "/x" in name else f"/{name}"
    try:
        for command in "deploy", "update", "boards":
            given = [small] * (command == "deploy")
            if command == "boards" or (command == "update" and "picoformer" not in name):
                main([command, *given, "--port", ready.port])
                continue  # needs nothing of it, or says it among the rest
            said = failed(capsys, command, *given, "--port", ready.port)
            assert f"{shown} on the board hides" in said and "rename it" in said
            assert module in said
    finally:
        path.unlink()
        if path.parent.name == "picoformer":
            path.parent.rmdir()


def test_a_file_that_hides_what_only_loading_imports(ready, flash, own, capsys, at_once):
    """json, of which a model with labels has need: a name missing, and an error of its own."""
    with Board(ready.port) as board:
        board.deploy(own("intents").path)
    for text in "x = 1", "raise AttributeError('mine')":
        (flash / "json.py").write_text(text)
        said = failed(capsys, "classify", "hello", "--port", ready.port)
        assert "/json.py on the board hides MicroPython's module json" in said
    # A harmless one is left in peace.
    (flash / "json.py").write_text("from ujson import *\n")
    assert main(["classify", "hello", "--port", ready.port]) == 0


def test_a_path_without_lib(ready, flash, small, capsys, at_once):
    (flash / "boot.py").write_text("import sys\nsys.path.remove('/lib')\n")
    said = failed(capsys, "generate", "--port", ready.port)
    assert "without /lib, where the runtime is: look in its boot.py" in said


def test_mpy_files_of_another_firmware(tmp_path, small, capsys, at_once):
    lib = tmp_path / "flash" / "lib" / "picoformer"
    with UnixBoard(tmp_path / "flash") as unix:
        with Board(unix.port) as board:
            name = board.deploy(small)
        for path in lib.glob("*.mpy"):
            data = path.read_bytes()
            path.write_bytes(data[:1] + b"\x05" + data[2:])
        said = failed(capsys, "generate", "--port", unix.port)
        assert "for another firmware or processor: picoformer update replaces them" in said
        run_json(capsys, "update", "--port", unix.port)
        assert "kernels" in run_json(capsys, "generate", "-n", 1, "--port", unix.port)
        # Of another processor alone: the same text, slowly, and it is said why.
        for path in lib.glob("kernels_v*.mpy"):
            data = path.read_bytes()
            path.write_bytes(data[:2] + bytes([data[2] & 3 | 4 << 2]) + data[3:])
        with Board(unix.port) as board:
            assert board.load(name).kernels == "portable"
            assert "a hundred times slower" in board.notice and "picoformer up" in board.notice
            assert board.update() and not board.notice
            assert board.load(name).kernels == "viper" and not board.notice


NEWER = {
    "format version 4, this picoformer reads 3 and 2: convert the model again with": True,
    "model file has format version 3, this picoformer reads 2: convert the model": True,
    "model file has format version 1, this picoformer reads 2 and 3: convert it again": False,
    "tokenizer: type 6, this version reads types 1 to 5": True,
    "tokenizer: flags 0x80, this version knows 0x7f": True,
    "bad program: unknown step 12 at word 40": True,
    "model file is corrupt: header checksum differs; convert or copy it again": False,
}


@pytest.mark.parametrize("said", NEWER)
def test_a_model_that_is_newer_than_the_runtime(said):
    """What runtimes say, of this version and of those before it."""
    body = bytes([wire.BAD_MODEL]) + bytes(4) + said.encode()
    told = str(refusal(body))
    remedy = "the board's runtime is older than this model: picoformer update"
    assert told.startswith(remedy) == NEWER[said]
    assert "convert the model" not in told and (NEWER[said] or told == said)
    assert bool(older(said)) == NEWER[said]


def test_a_newer_model_on_the_board(ready, flash, small, capsys):
    data = bytearray(small.read_bytes())
    data[4] += 1
    (flash / "m.pft").write_bytes(data)
    said = failed(capsys, "generate", "--port", ready.port)
    assert "the board's runtime is older than this model: picoformer update" in said
    assert "format version 4, this picoformer reads 2 and 3)" in said


# A flash of N blocks of 4,096 bytes, with littlefs, in a file.
DISK = """
import os, vfs
class Disk:
    def __init__(self, path, n):
        try:
            self.f = open(path, "r+b")
        except OSError:
            with open(path, "wb") as f:
                for _ in range(n):
                    f.write(bytes(4096))
            self.f = open(path, "r+b")
        self.n = n
    def readblocks(self, n, buffer, at=0):
        self.f.seek(n * 4096 + at)
        self.f.readinto(buffer)
    def writeblocks(self, n, buffer, at=0):
        self.f.seek(n * 4096 + at)
        self.f.write(buffer)
    def ioctl(self, op, _):
        return self.n if op == 4 else 4096 if op == 5 else 0
vfs.mount(vfs.VfsPosix({!r}), "/pc")
disk = Disk("/pc/disk", {})
try:
    flash = vfs.VfsLfs2(disk)
except OSError:
    vfs.VfsLfs2.mkfs(disk)
    flash = vfs.VfsLfs2(disk)
vfs.umount("/")
vfs.mount(flash, "/")
os.chdir("/")
"""


def test_a_flash_that_is_full_of_models(tmp_path, small, own, capsys, at_once):
    (tmp_path / "boot.py").write_text(DISK.format(str(tmp_path), 110))
    facts = own("facts").path
    with UnixBoard(tmp_path) as unix:
        port = "--port", unix.port
        with Board(unix.port) as board:
            board.deploy(small, "old")
            board.exec("with open('/cut.pft.part', 'wb') as f: f.write(bytes(9000))")
            room = board.contents()
            assert room.total == 110 * 4096
        size, free = facts.stat().st_size, room.free
        assert free < size
        said = failed(capsys, "deploy", facts, *port)
        with Board(unix.port) as board:
            free = board.contents().free  # more of the runtime came
        assert f"{size:,} bytes more, {free:,} are free, {size - free:,} are missing" in said
        listed = f"old ({small.stat().st_size:,} bytes), cut (9,000 bytes, unfinished)"
        assert f"`picoformer remove NAME` frees those of a model: {listed}. Or leave" in said
        left = run_json(capsys, "remove", "cut", "old", *port)["free_flash"]
        assert left > free


def test_a_flash_without_room_for_the_runtime(tmp_path, capsys, at_once):
    """It is no damage; once there is room, the same command goes through."""
    with UnixBoard(tmp_path / "other") as unix, Board(unix.port) as board:
        files = runtime.wanted(board.platform).files
    blocks = sum(-(-len(data) // 4096) for data in files.values()) + 20
    (tmp_path / "boot.py").write_text(DISK.format(str(tmp_path), blocks))
    with UnixBoard(tmp_path) as unix:
        port = "--port", unix.port
        with Board(unix.port) as board:
            board.exec("with open('/big.pft', 'wb') as f: f.write(bytes(30 * 4096))")
            free = board.contents().free
        said = failed(capsys, "update", *port)
        assert "the board's flash is full: the runtime takes" in said and "damaged;" not in said
        assert "remove NAME` frees those of a model: big (122,880 bytes, damaged)" in said
        with Board(unix.port) as board:
            held = board.runtime()
            assert held.sums and not held.current
            assert not [name for name in held.sums if name.endswith(".part")]
            assert board.contents().free < free
        run_json(capsys, "remove", "big", *port)
        assert run_json(capsys, "update", *port)["after"] == __version__
        (row,) = run_json(capsys, "boards", *port)["boards"]
        assert row["runtime"]["current"] and "error" not in row


def test_a_script_that_ends_instead_of_answering(ready, at_once):
    with Board(ready.port) as board:
        bare = board.connection.repl
        bare.start("print('begun')\n1 // 0")
        with pytest.raises(errors.ScriptError, match="ZeroDivisionError"):
            bare.mark(b"!", 30)
        bare.start("print('noise!')")
        bare.mark(b"!", 30)
        assert bare.finish() == "\n"


# A program that ignores Ctrl-C

IGNORES = """
import time
while True:
    try:
        print("tick")
        time.sleep(0.02)
    except:
        {}
"""


def test_a_program_that_ignores_ctrl_c(tmp_path, monkeypatch, capsys):
    """The unix port is given one Ctrl-C at a time, so that none can come in time."""
    monkeypatch.setattr(repl, "RAW_LIMIT", 0.5)
    (tmp_path / "main.py").write_text(IGNORES.format("print('error ignored')"))
    with UnixBoard(tmp_path) as unix:
        start = time.monotonic()
        said = failed(capsys, "boards", "--port", unix.port)
        assert time.monotonic() - start < 5
        assert f"a program that ignores Ctrl-C runs on {unix.port}; it says" in said
        assert "tick" in said and "except Exception" in said and "flash_nuke.uf2" in said
        assert "no MicroPython" not in said


PICO = pico.PicoBoard.missing()


@pytest.mark.skipif(bool(PICO), reason=PICO)
@pytest.mark.parametrize("handler", some(["pass", "print('error ignored')"], 2, 1))
def test_ctrl_c_again_and_again_ends_it_on_the_emulated_pico(tmp_path, monkeypatch, handler):
    """And then it runs again, as it did before."""
    from tools.emulation import filesystem

    monkeypatch.setattr(repl, "RAW_LIMIT", 1.0)
    path = tmp_path / "flash"
    path.write_bytes(filesystem.flash_image({"/main.py": IGNORES.format(handler).encode()}))

    def ticks(port):
        said = b""
        while b"tick" not in said and (more := port.read(10)):
            said += more
        return bool(said)

    with pico.PicoBoard(path) as emulated:
        port = SerialPort(emulated.port)
        assert ticks(port)
        port.close()
        with monkeypatch.context() as m:
            m.setattr(repl, "HAMMERS", 0)
            with pytest.raises(errors.NoBoardError, match="ignores Ctrl-C.*tick"):
                Board(emulated.port)
        with Board(emulated.port) as board:
            assert board.exec("print(6 * 7)") == "42\n" and board.stopped
        port = SerialPort(emulated.port)
        assert ticks(port)
        port.close()


WATCHED = """
import machine, time
dog = machine.WDT(timeout=8000)
while True:
    dog.feed()
    print("tick")
    time.sleep(0.02)
"""


@pytest.mark.skipif(bool(PICO), reason=PICO)
def test_a_watchdog_is_off_while_we_work_on_the_emulated_pico(tmp_path):
    """And on again with main.py. In one write: an idle emulated board's clock leaps to its end."""
    from tools.emulation import filesystem

    path = tmp_path / "flash"
    path.write_bytes(filesystem.flash_image({"/main.py": WATCHED.encode()}))
    with pico.PicoBoard(path) as emulated:
        port = SerialPort(emulated.port)
        bare = repl.Repl(port)
        bare.expect(b"tick", 60)
        script = connection.CALM + "print('cal' + 'med', machine.mem32[at] >> 30 & 1)"
        port.write(repl.INTERRUPT + repl.ENTER_RAW + script.encode() + repl.RUN)
        assert bare.expect(b"calmed 0", 60)
        time.sleep(1)
        assert b"tick" not in port.read(0.5)
        bare.leave()
        bare.restart()
        bare.expect(b"tick", 60)
        script = "import machine; print('on', machine.mem32[0x40058000] >> 30 & 1)"
        port.write(repl.INTERRUPT + repl.ENTER_RAW + script.encode() + repl.RUN)
        bare.expect(b"on 1", 60)
        port.close()


def test_the_watchdog_of_what_was_stopped_is_asked_for(product, monkeypatch):
    ran = []
    run = repl.Repl.run
    monkeypatch.setattr(repl.Repl, "run", lambda r, code, *a: ran.append(code) or run(r, code, *a))
    with Board(product.port) as board:
        assert board.stopped and ran[0] == connection.CALM
    ran.clear()
    with serial.Serial(product.port, timeout=10) as plain:
        plain.write(b"\x03")
        plain.read_until(b">>> ")
    with Board(product.port):
        assert connection.CALM not in ran
