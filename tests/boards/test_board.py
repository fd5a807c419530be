"""A whole board behind the link: the unix port, on a pseudo-terminal, as a user has it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import serial

import models
from picoformer.boards import errors, frames, limits, port, probe, repl
from picoformer.boards.board import Board
from picoformer.boards.emulated import pico, pico2
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.boards.room import Room
from picoformer.commands import boards as boards_cli
from picoformer.compile import modelfile
from picoformer.errors import Error
from picoformer.runtime import files as runtime
from picoformer.runtime.platforms import Platform
from tools.sweeps.late import LateCable
from turns import some

PROMPT = "Once upon a time"


REASON = models.no_board()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture
def unix_board(tmp_path):
    with UnixBoard(tmp_path / "flash") as unix:
        yield unix


@pytest.fixture(scope="module")
def flash(tmp_path_factory):
    """A board's flash with the runtime in it, for tests that only need it there."""
    folder = tmp_path_factory.mktemp("flash")
    with UnixBoard(folder) as unix, Board(unix.port) as board:
        assert board.update()
        assert not board.update()
    return folder


@pytest.fixture
def ready(flash):
    for path in flash.glob("*.pft*"):
        path.unlink()
    with UnixBoard(flash) as unix:
        yield unix


def mpremote(port, code):
    done = subprocess.run(
        [sys.executable, "-m", "mpremote", "connect", port, "exec", code],
        capture_output=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.decode().replace("\r\n", "\n")


# The whole way


def test_the_designs_calls(unix_board, stories):
    sim = stories.sim
    tokens = sim.tokenizer.encode(PROMPT)
    seen = []
    with Board(unix_board.port) as board:
        name = board.deploy(stories.path, progress=lambda *step: seen.append(step))
        assert name == stories.path.stem
        logits = board.logits(name, tokens)
        assert logits.dtype == np.int32 and logits.shape == (sim.vocab,)
        assert (logits == sim.logits(tokens)[-1]).all()
        greedy = list(board.generate(name, PROMPT, max_tokens=40))
        assert greedy == list(sim.generate(PROMPT, 40))
        options = {"temperature": 0.8, "top_p": 0.9, "seed": 7}
        seeded = list(board.generate(name, PROMPT, max_tokens=40, **options))
        assert seeded == list(sim.generate(PROMPT, 40, **options))
        assert board.stats.tokens == 40 and board.stats.tokens_per_second > 0
        assert board.exec("print(6 * 7)") == "42\n"
        assert list(board.generate(name, PROMPT, max_tokens=3)) == greedy[:3]
        info = board.info
        assert info["loaded"] == name and info["free_heap"] >= info["largest_block"] > 0
        assert [m["name"] for m in info["models"]] == [name]
        assert [m.bytes for m in board.models()] == [stories.path.stat().st_size]
        board.remove(name)
        assert board.models() == []
        with pytest.raises(errors.NoModelError, match="deploy it first"):
            board.logits(name, tokens)
    assert {step[0] for step in seen} == {"runtime", name}
    assert mpremote(unix_board.port, "print('mine')") == "mine\n"


def test_stop_texts_and_a_raw_prompt(ready, stories):
    """The PC looks for stop texts, and the board then writes no more."""
    sim = stories.sim
    with Board(ready.port) as board:
        name = board.deploy(stories.path)
        for stop in (["\n", " little"], " Lily", "no such text", "."):
            said = "".join(board.generate(name, PROMPT, 70, stop=stop))
            assert said == "".join(sim.generate(PROMPT, 70, stop=stop))
            # It is never more than a window ahead.
            assert board.stats.stopped == (stop != "no such text")
            assert board.stats.tokens == 70 or board.stats.stopped
        raw = "".join(board.generate(name, PROMPT, 20, raw=True, seed=3, temperature=0.9))
        assert raw == "".join(sim.generate(PROMPT, 20, raw=True, seed=3, temperature=0.9))
        assert raw != "".join(board.generate(name, PROMPT, 20, seed=3, temperature=0.9))
        assert board.stats.tokens == 20


def test_the_runtime_is_compiled_where_it_can_be(flash, ready):
    names = sorted(p.name for p in (flash / "lib" / "picoformer").iterdir())
    with Board(ready.port) as board:
        architecture = board.platform.architecture
    if architecture:
        assert "server.mpy" in names and "kernels_viper.mpy" in names
    assert not [n for n in names if n.endswith(".part")]


def test_a_stale_runtime_is_replaced_and_sources_do(tmp_path, monkeypatch, stories):
    def missing(mpy, architecture):
        raise Error("there is no mpy-cross")

    monkeypatch.setattr(runtime, "compiled", missing)
    folder = tmp_path / "flash" / "lib" / "picoformer"
    folder.mkdir(parents=True)
    (folder / "model.mpy").write_bytes(b"an old one")
    (folder / "gone.py").write_text("pass")
    with UnixBoard(tmp_path / "flash") as unix, Board(unix.port) as board:
        board.deploy(stories.path)
        needed = runtime.readers([modelfile.tokenizer(stories.path.read_bytes())])
        wanted = runtime.wanted(board.platform, needed)
        text = "".join(board.generate(stories.path.stem, PROMPT, max_tokens=5))
        assert board.notice == wanted.notice and "no mpy-cross" in wanted.notice
    assert text == "".join(stories.sim.generate(PROMPT, 5))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == wanted.files


def test_a_context_that_was_asked_for_stays(ready, stories):
    with Board(ready.port) as board:
        name = board.deploy(stories.path)
        assert board.load(name, context=64).context == 64
        board.exec("pass")
        assert len(list(board.generate(name, PROMPT))) < 64
        ready._life.process.kill()
        assert len(list(board.generate(name, PROMPT))) < 64
        assert board.load(name).context == 256
        for context in (-1, 65536, 1, 257):
            with pytest.raises(Error, match=f"context is {context}"):
                board.load(name, context)
        board.load(name, context=64)
        board.remove(name)
        board.deploy(stories.path)
        assert board._load(name).load(name).context == 256


def test_a_heap_in_pieces_is_made_anew(ready, stories):
    with Board(ready.port) as board:
        name = board.deploy(stories.path)
        board.load(name)
        board.exec("import gc; kept = []; gc.collect()")
        board.exec("while gc.mem_free() > 120000: kept.append(bytearray(1500))")
        assert board.load(name).free_heap > 1_000_000
        tokens = stories.sim.tokenizer.encode(PROMPT)
        assert (board.logits(name, tokens) == stories.sim.logits(tokens)[-1]).all()


def test_what_cannot_be_sent(ready, stories):
    with Board(ready.port) as board:
        name = board.deploy(stories.path)
        for tokens in ([1.5], ["a"], [-1], [65536]):
            with pytest.raises(Error, match="whole number from 0 to 65535"):
                board.logits(name, tokens)
        with pytest.raises(Error, match="lone surrogate at index 1"):
            list(board.generate(name, "x\ud800"))
        with pytest.raises(Error, match="lone surrogate"):
            board.remove("\ud800")
        assert list(board.generate(name, "", max_tokens=0)) == []


ODD_TEXTS = ["", "\0", "\x01\x02\x03\x04\x05", "a\x1b[31m\r\n\t", "\x7f\x80\x9f", "~\x1f"]
ODD_TEXTS.append("\ufeff\u200b\u202e")


def test_texts_of_control_characters(ready, stories):
    """They are characters like others; none of them reaches the REPL, or ends a frame."""
    with Board(ready.port) as board:
        name = board.deploy(stories.path)
        for text in ODD_TEXTS:
            got = list(board.generate(name, text, max_tokens=6))
            assert got == list(stories.sim.generate(text, 6)), text
        with pytest.raises(Error, match="tokens, expected 1 to .* context"):
            list(board.generate(name, "a b " * stories.sim.context))
        with pytest.raises(Error, match=f"not in the vocabulary of {stories.sim.vocab}"):
            board.logits(name, [1, stories.sim.vocab])
        with pytest.raises(Error, match="0 tokens, expected 1 to"):
            board.logits(name, [])
        assert board.exec("print(1)") == "1\n"


def small_frames(ready):
    """A board whose link has the settings of a UART that drops bytes."""
    board = Board(ready.port)
    board.exec("from picoformer import server; server.PATIENT = ()")
    board._room = Room(1 << 30, (1 << 30,), 0)  # known: to ask, it would be reset
    return board


def test_small_frames(ready, flash, stories):
    sim = stories.sim
    with small_frames(ready) as board:
        name = board.deploy(stories.path)
        hello = board.connection.server().hello
        assert (hello.raw, hello.payload, hello.credit) == (True, 128, 256)
        assert (flash / stories.path.name).read_bytes() == stories.path.read_bytes()
        tokens = sim.tokenizer.encode(PROMPT) * 14
        assert 2 * len(tokens) > hello.payload
        assert (board.logits(name, tokens) == sim.logits(tokens)[-1]).all()
        for prompt in (PROMPT, PROMPT * 12):
            for options in (
                {},
                {"temperature": 0.8, "top_p": 0.9, "seed": 7},
                {"temperature": 0.005, "top_p": 0.009},  # as ints refused from users
            ):
                text = list(board.generate(name, prompt, max_tokens=20, **options))
                assert text == list(sim.generate(prompt, 20, **options))


def test_loading_another_model_frees_the_first(ready, stories):
    with Board(ready.port) as board:
        board.deploy(stories.path, "a")
        board.deploy(stories.path, "b")
        # Three of them would not fit into the board's heap.
        big = {name: board.load(name).heap for name in "abab"}
        assert board.info["loaded"] == "b"
        assert abs(big["a"] - big["b"]) < 20_000
        assert board.load("b", context=64).context == 64


# Mishaps


def cut_after(share):
    def progress(what, done, total):
        if what != "runtime" and done > share * total:
            raise KeyboardInterrupt

    return progress


def test_a_cut_deploy_goes_on_where_it_was(ready, flash, stories):
    with pytest.raises(KeyboardInterrupt), Board(ready.port) as board:
        board.deploy(stories.path, progress=cut_after(0.5))
    name = stories.path.name
    assert not (flash / name).exists()
    steps = []
    with Board(ready.port) as board:
        board.deploy(stories.path, progress=lambda *step: steps.append(step))
    assert steps[0][1] > 0.4 * steps[0][2]
    assert (flash / name).read_bytes() == stories.path.read_bytes()
    # And the same again has nothing to send.
    with Board(ready.port) as board:
        steps.clear()
        board.deploy(stories.path, progress=lambda *step: steps.append(step))
    assert len(steps) == 1


def test_the_old_model_works_until_the_new_one_is_whole(ready, case, stories):
    old = case("size2")
    tokens = old.tokens(5)
    with pytest.raises(KeyboardInterrupt), Board(ready.port) as board:
        board.deploy(old.file(), "m")
        board.deploy(stories.path, "m", progress=cut_after(0.5))
    with Board(ready.port) as board:
        assert (board.logits("m", tokens) == old.sim().logits(tokens)[-1]).all()
        board.deploy(stories.path, "m")
        tokens = stories.sim.tokenizer.encode(PROMPT)
        assert (board.logits("m", tokens) == stories.sim.logits(tokens)[-1]).all()


def test_a_reset_in_the_middle_of_an_upload(ready, flash, stories):
    resets = []

    def reset(what, done, total):
        if not resets and done > total // 2:
            resets.append(done)
            ready._life.process.kill()

    with Board(ready.port) as board:
        board.deploy(stories.path, progress=reset)
        assert resets
        assert board.models()[0].bytes == stories.path.stat().st_size
    assert (flash / stories.path.name).read_bytes() == stories.path.read_bytes()


def test_a_reset_in_the_middle_of_a_text(ready, stories):
    with Board(ready.port) as board:
        name = board.deploy(stories.path)
        text = []
        for piece in board.generate(name, PROMPT, max_tokens=120):
            text.append(piece)
            if len(text) == 30:
                ready._life.process.kill()
        assert text == list(stories.sim.generate(PROMPT, 120))


def test_closing_the_iterator_stops_the_board(ready, stories):
    with Board(ready.port) as board:
        name = board.deploy(stories.path)
        pieces = board.generate(name, PROMPT)
        first = [next(pieces), next(pieces)]
        pieces.close()
        assert board.stats.stopped and board.stats.tokens <= 64 + 2
        assert first == list(stories.sim.generate(PROMPT, 2))
        assert list(board.generate(name, PROMPT, max_tokens=2)) == first


def test_ctrl_c_from_elsewhere_gives_the_repl_back(ready):
    """A PC that has died leaves the server running: mpremote gets in, even in mid-frame."""
    raw, text = frames.encode_raw(6, 1, bytes(500)), frames.encode_text(6, 1, b"xyz")
    for rest in (b"", raw[:100], text[:9]):
        board = Board(ready.port)
        board.models()
        board.connection.serial.write(rest)
        board.connection.serial.close()
        assert mpremote(ready.port, "print('mine')") == "mine\n"
        board.connection.closed = True


def test_silence_gives_the_repl_back(ready):
    with Board(ready.port) as board:
        board.exec("from picoformer import server; server.SILENCE = 100")
        board.models()
        time.sleep(0.4)
        # The server has ended, and is started again.
        assert board.models() == []
        assert board.exec("print(1)") == "1\n"


def test_exec_reports_and_interrupts(ready):
    with Board(ready.port) as board:
        with pytest.raises(errors.ScriptError, match="ZeroDivisionError"):
            board.exec("1 // 0")
        with pytest.raises(Error, match="did not end within 0.3 s.*begun"):
            board.exec("print('begun')\nwhile True: pass", timeout=0.3)
        long = "# a long script\n" * 500 + "print('end')"
        assert board.exec(long) == "end\n"
        assert board.exec("") == ""


@pytest.mark.parametrize(
    "times", [1.5, *(pytest.param(t, marks=pytest.mark.slow) for t in (0.9, 2.4))]
)
def test_a_board_behind_a_late_cable(ready, monkeypatch, case, times):
    """The real ones, with limits 30 times shorter: the prompt comes after `times` its limit."""
    monkeypatch.setattr(repl, "RAW_LIMIT", 0.1)
    monkeypatch.setattr(limits, "RESEND", 0.05)
    c = case("size2")
    tokens = c.tokens(4)
    cable = contextlib.closing(LateCable(ready.port, 0.05 * times))
    with cable as late, Board(late.port) as board:
        name = board.deploy(c.file(), "late")
        assert (board.logits(name, tokens) == c.sim().logits(tokens)[-1]).all()
        text = list(board.generate(name, "the", max_tokens=40))
        assert text == list(c.sim().generate("the", 40))
        assert board.exec("print(6 * 7)") == "42\n"
        late.delay = 0.0
        ready._life.process.kill()
        assert [m.name for m in board.models()] == ["late"]


# Over the network


@pytest.fixture
def networked(flash):
    for path in flash.glob("*.pft*"):
        path.unlink()
    with UnixBoard(flash, socket=True) as unix:
        yield unix


def test_a_board_behind_a_socket(networked, flash, stories):
    sim = stories.sim
    tokens = sim.tokenizer.encode(PROMPT)
    for _ in range(2):  # the board outlives its client
        with Board(networked.port) as board:
            assert board.port.startswith("socket://127.0.0.1:")
            name = board.deploy(stories.path)
            assert (flash / stories.path.name).read_bytes() == stories.path.read_bytes()
            assert (board.logits(name, tokens) == sim.logits(tokens)[-1]).all()
            text = board.generate(name, PROMPT, max_tokens=100, temperature=0.8, seed=3)
            assert list(text) == list(sim.generate(PROMPT, 100, temperature=0.8, seed=3))
            assert board.exec("print(1)") == "1\n"


def test_a_second_client_of_a_socket_is_told_so(networked, monkeypatch):
    monkeypatch.setattr(repl, "RAW_LIMIT", 0.5)
    with Board(networked.port) as first:
        with pytest.raises(errors.NoBoardError, match="another program may have it.*close"):
            Board(networked.port)
        monkeypatch.undo()
        assert first.exec("print(1)") == "1\n"
    with Board(networked.port) as second:
        assert second.exec("print(2)") == "2\n"


def test_a_socket_that_breaks(networked, flash, stories):
    cuts = []

    def unplug(what, done, total):
        if not cuts and done > total // 2:
            cuts.append(done)
            networked._cable._client.shutdown(socket.SHUT_RDWR)

    with Board(networked.port) as board:
        name = board.deploy(stories.path, progress=unplug)
        assert cuts
        assert (flash / stories.path.name).read_bytes() == stories.path.read_bytes()
        text = []
        for piece in board.generate(name, PROMPT, max_tokens=120):
            text.append(piece)
            if len(text) == 30:
                networked._cable._client.shutdown(socket.SHUT_RDWR)
        assert text == list(stories.sim.generate(PROMPT, 120))


# Errors that say what to do


def test_errors_of_the_port(ready, tmp_path, monkeypatch):
    with pytest.raises(errors.PortError, match="/dev/null is no serial port; `picoformer ports`"):
        Board("/dev/null")
    with pytest.raises(errors.PortError, match="there is no port .*picoformer ports"):
        Board(str(tmp_path / "none"))
    with Board(ready.port), pytest.raises(errors.PortError, match="in use by another"):
        Board(ready.port)
    monkeypatch.setattr(port, "ports", list)
    with pytest.raises(errors.PortError, match="--port emulator"):
        Board()
    listed = "there are emulator, emulator:pico, emulator:pico2 and emulator:esp32"
    with pytest.raises(errors.PortError, match=listed):
        Board("emulator:atari")
    with pytest.raises(errors.PortError, match="cannot open"):
        Board("strange://port")


def test_a_board_that_is_alone_is_found(ready, monkeypatch):
    class Found:
        device = ready.port
        description = "a board"

    monkeypatch.setattr(port, "ports", lambda: [Found])
    with Board() as board:
        assert board.port == ready.port
    monkeypatch.setattr(port, "ports", lambda: [Found, Found])
    with pytest.raises(errors.PortError, match="choose one with --port"):
        Board()


@pytest.mark.parametrize("words", [b"", b"ets Jul 29 2019 waiting for download\r\n"])
def test_no_micropython(monkeypatch, words):
    monkeypatch.setattr(repl, "RAW_LIMIT", 0.1)
    master, slave = os.openpty()
    os.write(master, words)
    with pytest.raises(errors.NoBoardError) as caught:
        Board(os.ttyname(slave))
    assert "flash MicroPython" in str(caught.value)
    os.close(master)
    os.close(slave)


def test_other_pythons_and_old_ones():
    class Fake:
        def __init__(self, says):
            self.says = says

        def run(self, code, limit=1.0):
            return self.says

    with pytest.raises(errors.DeployError, match="runs circuitpython 9.0.0; picoformer needs"):
        probe.probe(Fake("('circuitpython', (9, 0, 0), 0, 'RP2040', '')"))
    with pytest.raises(errors.DeployError, match="1.20.0; picoformer needs 1.24"):
        probe.probe(Fake("('micropython', (1, 20, 0), 0, 'rp2', '')"))
    with pytest.raises(errors.DeployError, match="to the question what it is"):
        probe.probe(Fake("hm"))
    assert probe.probe(Fake("('micropython', (1, 26, 1), 4870, 'rp2', 'Pico')")).architecture == (
        "armv6m"
    )


def test_no_runtime_and_no_model_file(unix_board, tmp_path):
    with Board(unix_board.port) as board:
        with pytest.raises(errors.NoRuntimeError, match="picoformer update"):
            board.models()
        (tmp_path / "bad.pft").write_bytes(b"no model")
        with pytest.raises(Error, match="not a picoformer model"):
            board.deploy(tmp_path / "bad.pft")


# The commands


def picoformer(*arguments):
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "picoformer", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_commands(monkeypatch, tmp_path, stories):
    """On the emulator's own flash, which stays from one command to the next."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    out, err = picoformer(
        "deploy", stories.path, "--port", "emulator", "--name", "tales", "--json"
    ).communicate(timeout=60)
    assert json.loads(out)["bytes"] == stories.path.stat().st_size, err
    out, err = picoformer(
        "generate", "--port", "emulator", "--prompt", PROMPT, "-n", 20, "--json"
    ).communicate(timeout=60)
    result = json.loads(out)
    assert result["text"] == "".join(stories.sim.generate(PROMPT, 20)), err
    assert result["tokens"] == 20 and result["heap"] > 0 and result["tokens_per_second"] > 0
    out, err = picoformer("boards", "--port", "emulator").communicate(timeout=60)
    assert "tales" in out and "bytes free" in out, err
    assert result["cores"] == 1
    process = picoformer("generate", "--port", "emulator", "-n", 2, "--cores", 2)
    assert "it runs on one core: the board's other" in process.communicate(timeout=60)[1]
    process = picoformer("generate", "--port", "emulator", "--model", "none")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "deploy it first" in err and "Traceback" not in err


def interrupt_a_text(port, name):
    """Ctrl-C in `picoformer generate`: the text shown, and the tokens that the board counted."""
    process = picoformer("generate", "--port", port, "--model", name, "--prompt", PROMPT)
    assert process.stdout is not None and process.stderr is not None
    seen = process.stdout.read(len(PROMPT) + 20)
    process.send_signal(signal.SIGINT)
    seen += process.stdout.read()  # communicate() would not see what is in this one's buffer
    err = process.stderr.read()
    assert process.wait(20) == 130 and "Traceback" not in err, err
    assert mpremote(port, "print(1)") == "1\n"
    return seen.rstrip("\n").removeprefix(PROMPT), int(err.split()[0])


def test_ctrl_c_in_the_command(ready, stories):
    with Board(ready.port) as board:
        name = board.deploy(stories.path)
    text, count = interrupt_a_text(ready.port, name)
    # The command prints a piece of a text, and the board is at most a window ahead.
    assert "".join(stories.sim.generate(PROMPT, count)).startswith(text)
    assert count < 240


def test_mistakes_in_the_command(ready, stories):
    with Board(ready.port) as board:
        board.deploy(stories.path)
    for option, words in (
        (("--prompt", "\udcff"), "lone surrogate"),
        (("--prompt", "x" * 2000), "expected 1 to 256"),
        (("--temperature", "101"), "expected 0.0 to 100.0"),
        (("-n", "0"), "at least 1"),
    ):
        process = picoformer("generate", "--port", ready.port, *option)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (1, "")
        assert words in err and err.startswith("picoformer: error:") and err.count("\n") == 1


def test_the_repl_is_friendly_afterwards(ready):
    with Board(ready.port) as board:
        board.models()
    with serial.Serial(ready.port, timeout=10) as plain:
        plain.write(b"print(6 * 7)\r")
        assert b"42\r\n>>> " in plain.read_until(b"42\r\n>>> ")


def test_ports_as_a_table(capsys, monkeypatch):
    class Found:
        device, description, vid, pid, serial_number = "/dev/ttyX", "Board in FS mode", 1, 2, "E6"

    monkeypatch.setattr(boards_cli, "ports", lambda: [Found])
    boards_cli._ports(type("Options", (), {"json": False, "quiet": True}))
    assert capsys.readouterr().out == "/dev/ttyX  Board in FS mode  0001:0002  E6\n"


# The emulated Pico

PICO = pico.PicoBoard.missing()


@pytest.mark.skipif(bool(PICO), reason=PICO)
@pytest.mark.parametrize("over_socket", some([False, True], 2, 1))
def test_the_emulated_pico_is_a_board(tmp_path, over_socket):
    flash = tmp_path / "pico.flash"
    with pico.PicoBoard(flash, socket=over_socket) as emulated:
        assert emulated.port.startswith("socket://") == over_socket
        with pytest.raises(Error, match="another emulated Pico"):
            pico.PicoBoard(flash)
        with Board(emulated.port) as board:
            assert board.platform.platform == "rp2"
            assert board.platform.architecture == "armv6m"
            assert board.exec("open('/kept.txt', 'w').write('x'); print(6 * 7)") == "42\n"
            with pytest.raises(errors.NoRuntimeError):
                board.models()
            with pytest.raises(Error, match="did not end within"):
                board.exec("while True: pass", timeout=0.3)
        assert mpremote(emulated.port, "print('mine')") == "mine\n"
    with pico.PicoBoard(flash) as emulated, Board(emulated.port) as board:
        assert "kept.txt" in board.exec("import os; print(os.listdir())")
    with pytest.raises(Error, match="expected 1441792"):
        (tmp_path / "bad").write_bytes(b"?")
        pico.PicoBoard(tmp_path / "bad")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, stories):
    """A Pico's flash with the runtime and the story model in it."""
    from tools.emulation import filesystem, rp2040

    if reason := rp2040.missing():
        pytest.skip(reason)
    wanted = runtime.wanted(Platform((1, 26, 1), 4870, "rp2", ""))
    files = {f"{runtime.FOLDER}/{name}": data for name, data in wanted.files.items()}
    path = tmp_path_factory.mktemp("pico") / "prepared.flash"
    path.write_bytes(filesystem.flash_image(files | {"/stories.pft": stories.path.read_bytes()}))
    return path


@pytest.fixture(params=["pico", "pico2"])
def pico_board(request, tmp_path):
    """An emulated Pico, and a Pico 2, with the runtime and the story model in their flash."""
    flash = tmp_path / "pico.flash"
    if request.param == "pico":
        flash.write_bytes(request.getfixturevalue("prepared").read_bytes())
        with pico.PicoBoard(flash) as emulated:
            yield emulated
    elif reason := pico2.Pico2Board.missing():
        pytest.skip(reason)
    else:
        stories = request.getfixturevalue("stories")
        with pico2.Pico2Board(flash, put=[stories.path]) as emulated:
            yield emulated


@pytest.mark.slow
def test_mpremote_and_resets_on_the_emulated_pico(pico_board, stories):
    """In the middle of a text: nothing is left of it."""
    with Board(pico_board.port) as board:
        pieces = board.generate("stories", PROMPT)
        assert next(pieces) == next(stories.sim.generate(PROMPT))
    assert mpremote(pico_board.port, "import sys; print('picoformer' in sys.modules)") == "False\n"
    for hard in (False, True):
        with Board(pico_board.port) as board:
            assert next(board.generate("stories", PROMPT)) == next(stories.sim.generate(PROMPT))
            board.reset(hard)


@pytest.mark.slow
def test_ctrl_c_in_the_command_on_the_emulated_pico(pico_board, stories):
    text, count = interrupt_a_text(pico_board.port, "stories")
    shown = 0
    for piece in stories.sim.generate(PROMPT):
        if not text:
            break
        assert text.startswith(piece)
        text = text.removeprefix(piece)
        shown += 1
    assert not text
    # The one it was at, and what was on its way: a frame each 20 ms, in which a Pico 2 has two.
    assert shown <= count <= shown + {"pico": 2, "pico2": 8}[pico_board.name]


# A hard reset in the middle of an upload, as when the power fails: no file is closed.
POWER_CUT = """
import machine
from picoformer import server
def data(self, body, do=server.Server._data):
    if self._at > {}:
        machine.reset()
    return do(self, body)
server.Server._data = data
"""


@pytest.mark.slow
def test_mishaps_on_the_emulated_pico(pico_board, case):
    """An upload is cut, another loses power, and the old model works until the end."""
    old, new = case("size2"), case("outliers")
    size = new.file().stat().st_size
    kernels = {"pico": "thumb", "pico2": "dsp"}[pico_board.name]
    steps = []

    def works(board, expected):
        assert board.load("m", context=16).kernels == kernels
        tokens = expected.tokens(5)
        return (board.logits("m", tokens) == expected.sim().logits(tokens)[-1]).all()

    with pytest.raises(KeyboardInterrupt), Board(pico_board.port) as board:
        assert not board.update()
        board.deploy(old.file(), "m")
        assert works(board, old)
        board.deploy(new.file(), "m", progress=cut_after(0.3))
    with Board(pico_board.port) as board:
        assert works(board, old)
        board.kind()  # is asked by deploy as well, if not before, and resets the board
        board.connection.repl.run(POWER_CUT.format(int(0.8 * size)))
        board.deploy(new.file(), "m", progress=lambda *step: steps.append(step[1]))
        assert steps[0] > 0.3 * size and max(steps) == size
        again = next(b for a, b in zip(steps, steps[1:], strict=False) if b < a)
        assert again >= 32768  # bytes that had been made to stay
        assert works(board, new)


@pytest.mark.slow
@pytest.mark.skipif(bool(PICO), reason=PICO)
def test_the_whole_way_on_the_emulated_pico(tmp_path, case, stories):
    """Some minutes: the runtime alone is 50 KB, at some 4 KB a second."""
    small = case("size2")
    sim = small.sim()
    tokens = small.tokens(5)
    with pico.PicoBoard(tmp_path / "flash") as emulated, Board(emulated.port) as board:
        name = board.deploy(small.file())
        assert (board.logits(name, tokens) == sim.logits(tokens)[-1]).all()
        for options in ({}, {"temperature": 0.9, "top_p": 0.9, "seed": 5}):
            text = list(board.generate(name, "the", max_tokens=6, **options))
            assert text == list(sim.generate("the", 6, **options))
        with pytest.raises(KeyboardInterrupt):
            board.deploy(stories.path, progress=cut_after(0.05))
        pieces = board.generate(name, "the")
        next(pieces)
        pieces.close()
        assert board.info["free_heap"] > 100_000
    with pico.PicoBoard(tmp_path / "flash") as emulated, Board(emulated.port) as board:
        steps = []
        board.deploy(stories.path, progress=lambda *step: steps.append(step))
        assert steps[0][1] > 0
        loaded = board.load(stories.path.stem, context=128)
        assert loaded.free_heap > 20_000
        tokens = stories.sim.tokenizer.encode(PROMPT)
        logits = board.logits(stories.path.stem, tokens)
        assert (logits == stories.sim.logits(tokens)[-1]).all()


@pytest.mark.slow
@pytest.mark.skipif(bool(PICO), reason=PICO)
def test_a_full_context_beside_the_server_on_the_emulated_pico(tmp_path, stories260k):
    """256 positions of stories260K: the whole text is the simulator's, and 20 KB stay free."""
    with pico.PicoBoard(tmp_path / "flash") as emulated, Board(emulated.port) as board:
        name = board.deploy(stories260k.path)
        loaded = board.load(name)
        assert (loaded.context, loaded.weights, loaded.kernels) == (256, "flash", "thumb")
        assert list(board.generate(name)) == list(stories260k.sim.generate())
        assert board.stats.tokens == 256
        assert board.info["free_heap"] >= 20_480
