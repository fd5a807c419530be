"""The page's end of the serial link, in node: its frames against the documents', its requests
against the board's server, and a whole board behind MicroPython's unix port.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from array import array
from binascii import b2a_base64, crc32
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from conftest import no_node
from documentframes import DOC, EXAMPLES, documented
from fakeboard import FakeBoard, double, drop, flip
from picoformer import Board
from picoformer.boards import limits
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.boards.frames import encode_raw, encode_text
from picoformer.boards.port import SerialPort
from picoformer.boards.repl import Repl
from picoformer.device import server_frames as wire
from picoformer.device.probabilities import probabilities
from picoformer.device.stops import until
from picoformer.runtime import files
from picoformer.runtime.platforms import Platform, mpy_of

SCRIPT = Path(__file__).with_name("link.mjs")
PROMPT = "Once upon a time"
FULL = "def picoformer_receive(*_):\n    raise OSError(28)"
BEAMS = {"beams": 3, "lengthPenalty": 0.5}
DRAWN = {"maxTokens": 60, "temperature": 0.8, "topP": 0.9, "seed": 5}


pytestmark = pytest.mark.skipif(bool(no_node()), reason=no_node())


def node(name: str, given: Any = None, limit: float = 60) -> Any:
    """What a scenario of link.mjs says."""
    done = subprocess.run(
        ["node", str(SCRIPT), name],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=limit,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


# Frames


def test_the_numbers_are_the_protocols():
    said = node("numbers")
    kept = said.pop("limits")
    assert said == {name: getattr(wire, name) for name in said}
    rows = re.findall(r"^\| (\d+|0x[0-9A-F]+) \| ([A-Z_]+) \|", DOC, re.M)
    assert {name: int(number, 0) for number, name in rows} == said
    del kept["LEAVE"]  # of the page alone
    assert kept == {name: getattr(limits, name) for name in kept}


def framed(cases: list[tuple[int, int, bytes]]) -> list[dict[str, Any]]:
    said = node("frames", [[kind, seq, body.hex()] for kind, seq, body in cases])
    for case, got in zip(cases, said, strict=True):
        kind, seq, body = case
        assert got["back"] == [[kind, seq, body.hex()]]
        assert got["crc32"] == crc32(body)
        assert got["base64"] == b2a_base64(body, newline=False).decode()
    return said


def test_the_documents_examples():
    for name, got in zip(EXAMPLES, framed(list(EXAMPLES.values())), strict=True):
        text, raw = documented(name)
        assert bytes.fromhex(got["text"]) == text
        if raw is not None:
            assert bytes.fromhex(got["raw"]) == raw


def test_frames_are_the_pcs():
    rng = random.Random(0)
    cases = [(wire.PING, 1, bytes(range(256)))]
    for size in (*range(8), 255, 257, 1024, 32768):
        cases.append((rng.randrange(256), rng.randrange(256), rng.randbytes(size)))
        cases.append((3, 3, b"\3" * size))
        cases.append((6, 1, bytes(rng.choices(b'\x03 !"', k=size))))
    for case, got in zip(cases, framed(cases), strict=True):
        assert bytes.fromhex(got["text"]) == encode_text(*case)
        assert bytes.fromhex(got["raw"]) == encode_raw(*case)


def test_the_decoder_skips_what_is_no_frame():
    noise = b"printed\r\n~not base64!\n~AAAA\n~AQ=B\nno end of line"
    data = noise + encode_text(wire.PING, 1, b"x") + b"warning: low\n"
    said = node("decoder", {"data": data.hex()})
    assert said == {"frames": [[wire.PING, 1, b"x".hex()]], "ended": False, "then": True}


# What the board and the PC have in Python


def test_literals():
    text = "it's \"x\"\\\n\té😀"
    values = [(1, -2, None, True, False), text, [], {"a.mpy": 3, "b": None}, b"\x89P\x03'\0"]
    said = node("literals", [repr(v) for v in values])
    assert said[:-1] == json.loads(json.dumps(values[:-1]))
    assert said[-1].encode("latin-1") == values[-1]
    cases = [["a = {}\nf(%r)", ["/", text]], ["serve({})", ""], ["{path!r} {path}", {"path": "x"}]]
    (listed, *others) = node("filled", cases)
    assert eval(listed.removeprefix("a = {}\nf")) == ["/", text]
    assert others == ["serve()", "'x' x"]


def test_probabilities_are_the_runtimes():
    rng = random.Random(1)
    cases = []
    for _ in range(60):
        bits, n = rng.randrange(0, 24), rng.randrange(1, 9)
        spread = rng.choice((3, 12, 400)) << bits
        drawn = [rng.randrange(-spread, spread + 1) for _ in range(n)]
        logits = [max(min(v, 2**31 - 1), -(2**31)) for v in drawn]
        cases.append({"logits": logits, "bits": bits, "several": rng.random() < 0.5})
    for case, got in zip(cases, node("probabilities", cases), strict=True):
        names = [str(i) for i in range(len(case["logits"]))]
        expected = probabilities(case["logits"], names, case["bits"], case["several"])
        assert got == [share for _, share in expected], case


def test_stop_texts():
    rng = random.Random(2)
    cases: list[tuple[list[str], list[str]]] = []
    for _ in range(200):
        pieces = ["".join(rng.choices("ab.", k=rng.randrange(4))) for _ in range(8)]
        lengths = [rng.randrange(1, 4) for _ in range(rng.randrange(1, 4))]
        stop = ["".join(rng.choices("ab.", k=n)) for n in lengths]
        cases.append((pieces, stop))
    expected = ["".join(until((p for p in pieces), stop)) for pieces, stop in cases]
    assert node("stops", cases) == expected


@pytest.fixture(scope="module")
def site(page_files, tmp_path_factory) -> Path:
    """The site's runtime/."""
    folder = tmp_path_factory.mktemp("site")
    for path in (p for p in page_files if p.startswith("runtime/")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(page_files[path])
    return folder / "runtime"


def test_the_runtimes_files_are_those_that_the_pc_chooses(site):
    platforms = [
        Platform((1, 26, 1), mpy_of("armv6m"), "rp2", ""),
        Platform((1, 27, 0), mpy_of("rv32imc"), "rp2", ""),
        Platform((1, 27, 0), mpy_of("rv32imc"), "esp32", ""),
        Platform((1, 26, 0), mpy_of("xtensawin"), "esp32", ""),
        Platform((1, 26, 0), mpy_of("x64"), "linux", ""),
        Platform((1, 26, 0), mpy_of(""), "webassembly", ""),
        Platform((1, 25, 0), 5 | mpy_of("xtensawin") & ~255, "esp32", ""),  # another .mpy
        Platform((1, 29, 0), 7 | mpy_of("armv7emsp") & ~255, "pyboard", ""),
        Platform((1, 29, 0), 0, "unix", ""),
    ]
    sections = [None, [], [struct.pack("<2I", 3, 0)], [struct.pack("<2I", 1, 0xFFFF)],
                [struct.pack("<2I", kind, 0) for kind in range(7)]]  # fmt: skip
    cases = [(p, s) for p in platforms for s in sections]
    said = node("runtime", {
        "boards": json.loads((site / "boards.json").read_text()),
        "platforms": [
            {**vars(p), "sections": s and [x.hex() for x in s] if s is not None else None}
            for p, s in cases
        ],
    })  # fmt: skip
    for (platform, some), got in zip(cases, said, strict=True):
        expected = files.wanted(platform, None if some is None else files.readers(some))
        assert got["files"] == {name: crc32(data) for name, data in expected.files.items()}
        assert bool(got["notice"]) == bool(expected.notice), platform


def test_what_a_browser_says():
    said = node("browser")
    assert said["none"]["code"] == "unsupported"
    assert "Chrome, Edge and Opera" in said["none"]["error"]
    assert "picoformer deploy" in said["none"]["error"]
    assert said["name"] == "Raspberry Pi Pico" and said["filters"] > 9 and said["all"] == {}
    assert said["cancelled"]["code"] == "cancelled" and said["known"] == 1
    assert "close Thonny" in said["taken"]["error"] and said["taken"]["code"] == "port"


def test_a_port_of_another_connection_is_left_alone(site):
    """It is closed once, by whoever has opened it; who closes it again waits for that."""
    said = node("ports", {"site": str(site)})
    assert said["second"]["code"] == "port" and "open already" in said["second"]["error"]
    assert said["events"] == [True, "closed", False]
    assert said["page"]["code"] == "page" and "runtime/boards.json" in said["page"]["error"]


def test_what_is_no_answer():
    for said in node("noise", ["(1, 2tick", "tick!\n[1]", "'\\U00110000'", "'\\xzz'", "['a"]):
        assert said["code"] == "no-board" and "something else prints there" in said["error"]


# The board's server, over a line that loses, damages and doubles bytes


class Bridge:
    """A fake board's line as a TCP socket of this computer."""

    def __init__(self, board: FakeBoard) -> None:
        self.board = board
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        client, _ = self.listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def down() -> None:
            while not self.board.to_pc.closed:
                if data := self.board.read(0.05):
                    client.sendall(data)

        threading.Thread(target=down, daemon=True).start()
        while data := client.recv(65536):
            self.board.write(data)

    def close(self) -> None:
        self.listener.close()
        self.board.close()
        self.board.to_pc.close()


@pytest.fixture
def fake(tmp_path) -> Iterator[Bridge]:
    (tmp_path / "flash").mkdir()
    bridge = Bridge(FakeBoard(tmp_path / "flash"))
    yield bridge
    bridge.close()


QUICK = {"RESEND": 0.05, "DRAIN": 0.01, "STALL": 0.5}
SHORT = {"raw": True, "payload": 256, "credit": 1024}
DATA = random.Random(1).randbytes(6000) + bytes(range(256)) * 3


def served(bridge: Bridge, *does: list[Any], form: dict[str, Any] = SHORT) -> list[Any]:
    server = bridge.board.server
    greeting = server._greeting

    def modest() -> bytes:
        told = greeting()
        server._payload = form["payload"]
        return told

    server._greeting = modest
    given = {"port": bridge.port, "quick": QUICK, "form": form, "does": does}
    return node("server", given)


def test_requests(fake, tmp_path):
    (tmp_path / "m.pft").write_bytes(DATA)
    for i in range(40):
        (fake.board.folder / f"model with a long name {i:03}.pft").write_bytes(bytes(100 + i))
    said = served(
        fake,
        ["ping", "there"],
        ["models"],
        ["upload", "m", str(tmp_path / "m.pft"), 1 << 30],
        ["remove", "m"],
        ["remove", "m"],
        ["load", "m"],
        ["request", 99, ""],
        ["request", wire.HELLO, "0200"],
        ["upload", "../m", str(tmp_path / "m.pft"), 1 << 30],
        ["bye"],
        ["ping", "gone"],
    )
    ping, listed, upload, removed, again, load, what, old, name, bye, gone = said
    assert ping == {"value": "there"}
    assert [m["bytes"] for m in listed["value"]] == [100 + i for i in range(40)]
    assert upload["value"]["resumed"] == 0
    assert upload["value"]["seen"][-1] == [len(DATA), len(DATA)]
    assert "value" not in removed or removed["value"] is None
    assert "no model 'm'" in again["error"] and again["code"] == "no-model"
    assert load["code"] == "no-model"
    assert "does not know request 99" in what["error"]
    assert "speaks version 1" in old["error"]
    assert "is not a name for a model" in name["error"]
    assert "error" not in bye and gone["code"] == "ended"


def test_a_stopped_upload_goes_on(fake, tmp_path):
    (tmp_path / "m.pft").write_bytes(DATA)
    (fake.board.folder / "m.pft").write_bytes(b"old")
    file = str(tmp_path / "m.pft")
    first, alive, second = served(
        fake, ["upload", "m", file, 2000], ["ping", "x"], ["upload", "m", file, 1 << 30]
    )
    assert first["code"] == "stopped" and "deploy again" in first["error"]
    assert alive == {"value": "x"}
    assert 2000 <= second["value"]["resumed"] < len(DATA)
    assert (fake.board.folder / "m.pft").read_bytes() == DATA


def test_full_flash(fake, tmp_path, monkeypatch):
    (tmp_path / "m.pft").write_bytes(DATA)
    monkeypatch.setattr(fake.board.server, "_space", lambda: 1000)
    (said,) = served(fake, ["upload", "m", str(tmp_path / "m.pft"), 1 << 30])
    assert said["code"] == "no-space" and "1,000 bytes are free" in said["error"]


def swap(value: int) -> bytes:
    """A mark in the place of anything else, and nothing in its place."""
    return b"\x1f" if value != 0x1F else b" "


SLOW = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 40)]


@pytest.mark.parametrize("seed", [1, 3, *SLOW[1:]])
def test_faults(fake, tmp_path, seed):
    """Whatever befalls the bytes, the file arrives as it was and the answers are right."""
    rng = random.Random(seed)
    damages = (flip, drop, double, swap, lambda v: bytes([v]) + b"\x1f~\n")
    form = {**SHORT, "raw": bool(seed % 3)}
    for line in (fake.board.to_board, fake.board.to_pc):
        at = 200  # behind the greeting
        for _ in range(12):
            at += rng.randrange(30, 900)
            line.damage[at] = rng.choice(damages)
    (tmp_path / "m.pft").write_bytes(DATA)
    pings = [["ping", f"word {i}"] for i in range(20)]
    upload = ["upload", "m", str(tmp_path / "m.pft"), 1 << 30]
    said = served(fake, *pings, upload, upload, ["models"], form=form)
    assert [s.get("value") for s in said[:20]] == [text for _, text in pings], said
    first, again, there = said[20:]
    assert "value" in first or "What arrived is kept" in first["error"]
    assert again["value"]["seen"][-1] == [len(DATA), len(DATA)]
    assert (fake.board.folder / "m.pft").read_bytes() == DATA
    assert [m["name"] for m in there["value"]] == ["m"]


class FakeModel:
    """Writes words by what it is asked, and none of them takes a moment."""

    task, vocab, context = "generate", 100, 512
    bits, several, image, frames = 8, False, (), ()
    labels = [f"label {i}" for i in range(150)]

    def generate(self, prompt, n=None, *numbers, raw=0):
        for i in range(n or 400):
            yield f"{prompt[-9:]}{i} é"[i % 2 * 3 :]

    def logits(self, tokens):
        return array("i", [t * 1000 - 5 for t in tokens] * 50)

    def read(self, given, task):
        return array("i", [len(given), -7])

    def close(self):
        pass


def test_texts_and_results_over_a_line_with_faults(fake):
    """The same tokens, each once; what is longer than a frame goes in pieces, comes in parts."""
    model = fake.board.server._model = FakeModel()
    rng = random.Random(7)
    for line, first in ((fake.board.to_pc, 300), (fake.board.to_board, 60)):
        for at in range(first, 30_000, 1200):
            line.damage[at + rng.randrange(1000)] = rng.choice((flip, drop, double))
    prompt, tokens = "é" * 700, list(range(60))
    text, long, stopped, alive, labels, logits, read = served(
        fake,
        ["text", "p", {"maxTokens": 300}],
        ["text", prompt, {"maxTokens": 5}],
        ["text", "p", {}, 5],
        ["ping", "x"],
        ["labels"],
        ["logits", tokens],
        ["read", "éa", "classify"],
    )
    assert text["value"]["pieces"] == list(model.generate("p", 300))
    assert text["value"]["stats"]["tokens"] == 300
    assert long["value"]["pieces"] == list(model.generate(prompt, 5))
    # Of a text that was stopped the end may be lost: then nobody waits for its figures.
    figures = stopped["value"]["stats"]
    assert len(stopped["value"]["pieces"]) == 5 and (figures is None or figures["stopped"])
    assert alive == {"value": "x"}
    assert labels["value"]["names"] == model.labels and labels["value"]["bits"] == 8
    assert logits["value"] == model.logits(tokens).tolist()
    assert read["value"] == [2, -7]


# A whole board


@pytest.fixture(scope="module")
def flash(tmp_path_factory) -> Path:
    """A board's flash, which the tests fill in their order."""
    if reason := models.no_micropython():
        pytest.skip(reason)
    return tmp_path_factory.mktemp("flash")


@pytest.fixture
def unix(flash) -> Iterator[UnixBoard]:
    with UnixBoard(flash, socket=True) as board:
        yield board


def boarded(unix: UnixBoard, site: Path, *does: list[Any], **more: Any) -> Any:
    port = int(unix.port.rpartition(":")[2])
    return node("board", {"port": port, "site": str(site), "does": does, **more})


def has_repl(unix: UnixBoard) -> None:
    """Whether the board's REPL answers another program."""
    port = SerialPort(unix.port)
    repl = Repl(port)
    repl.enter()
    assert repl.run("print(6 * 7)") == "42\n"
    repl.leave()
    port.close()


def test_a_bare_board(unix, site, stories, own):
    """From nothing to a text, and the port given back."""
    intents = own("intents")
    question = "will it rain in Lyon tomorrow?"
    said = boarded(
        unix,
        site,
        ["info"],
        ["generate", {"prompt": PROMPT}],
        ["deploy", "stories", str(stories.path)],
        ["generate", {"prompt": PROMPT}],
        ["load", "stories"],
        ["generate", {"prompt": PROMPT, "maxTokens": 60}],
        ["generate", {"prompt": PROMPT, **DRAWN}],
        ["generate", {"prompt": PROMPT, "stop": "."}],
        ["generate", {"prompt": PROMPT}, 3],
        ["busy", {"prompt": PROMPT}],
        ["logits", stories.sim.tokenizer.encode(PROMPT)],
        ["pixels", [1, 2, 3]],
        ["deploy", "intents", str(intents.path)],
        ["load", "intents"],
        ["classify", question],
        ["generate", {"prompt": PROMPT}],
        ["metadata", "intents"],
        ["install"],
        ["remove", "intents"],
        ["remove", "intents"],
    )
    told = iter(said["told"])
    assert said["closed"] and said["reason"] is None and len(said["statuses"]) == 3

    info = next(told)["value"]
    assert info["platform"] == "linux" and info["freeHeap"] > 1_000_000
    assert info["largest"] > 1_000_000 and info["freeFlash"] > 0
    assert not info["runtime"]["installed"] and len(info["runtime"]["missing"]) > 30
    assert "load one first" in next(told)["error"]

    deployed = next(told)["value"]
    assert deployed["resumed"] == 0
    (model,) = deployed["models"]
    assert (model["name"], model["state"], model["task"]) == ("stories", "whole", "generate")
    assert {at["what"] for at in deployed["seen"]} == {"runtime", "stories"}
    assert deployed["seen"][-1]["done"] == deployed["seen"][-1]["total"] == model["bytes"]
    assert (unix.folder / "stories.pft").read_bytes() == stories.path.read_bytes()

    assert "load one first" in next(told)["error"]
    loaded = next(told)["value"]
    assert (loaded["task"], loaded["context"]) == ("generate", stories.sim.context)
    assert loaded["vocab"] == stories.sim.vocab and loaded["labels"] == []
    text = next(told)["value"]
    assert text["text"] == "".join(text["pieces"])
    assert text["text"] == "".join(stories.sim.generate(PROMPT, max_tokens=60))
    assert (text["tokens"], text["stopped"]) == (60, "length") and text["ms"] >= text["firstMs"]
    drawn = stories.sim.generate(PROMPT, max_tokens=60, temperature=0.8, top_p=0.9, seed=5)
    assert next(told)["value"]["text"] == "".join(drawn)
    sentence = next(told)["value"]
    assert sentence["text"] == "".join(stories.sim.generate(PROMPT, stop="."))
    assert sentence["stopped"] == "stop"
    assert next(told)["value"]["stopped"] == "user"
    busy = next(told)["value"]
    assert busy["second"]["code"] == "busy" and busy["stopped"] == "user"
    logits = stories.sim.logits(stories.sim.tokenizer.encode(PROMPT))
    assert next(told)["value"] == logits[-1].tolist()
    assert "reads text" in next(told)["error"]

    assert len(next(told)["value"]["models"]) == 2
    assert next(told)["value"]["task"] == "classify"
    expected = intents.sim.classify(question)
    shares = intents.sim.probabilities(expected)
    results = next(told)["value"]["results"]
    assert [(r["label"], r["logit"]) for r in results] == expected
    assert [(r["label"], r["probability"]) for r in results] == list(shares)
    assert "made to classify" in next(told)["error"]
    assert next(told)["value"]["task"] == "classify"
    update = next(told)["value"]
    assert not update["written"] and update["runtime"]["current"]
    assert [m["name"] for m in next(told)["value"]] == ["stories"]
    assert "no model 'intents'" in next(told)["error"]
    has_repl(unix)
    with Board(unix.port) as board:  # it is the PC's runtime
        assert not board.update()


def test_a_page_that_is_closed_in_the_middle_of_a_text(unix, site, stories):
    boarded(unix, site, ["load", "stories"], ["leave", {"prompt": PROMPT}])
    has_repl(unix)
    said = boarded(unix, site, ["load", "stories"], ["hurry", {"prompt": PROMPT}])
    assert said["closed"] and "error" not in said["told"][0]
    has_repl(unix)
    said = boarded(unix, site, ["load", "stories"], ["generate", {"maxTokens": 5}])
    assert said["told"][1]["value"]["tokens"] == 5


def test_an_upload_that_is_cut_goes_on(unix, site, own):
    """By the cable: one clear error. By a reset: the page goes on."""
    sentiment, path = own("sentiment"), str(own("sentiment").path)
    size = sentiment.path.stat().st_size
    done = boarded(unix, site, ["deploy", "sentiment", path], cutAt=size // 2)
    (told,) = done["told"]
    assert told["code"] == "lost" and "unplugged or reset" in told["error"]
    assert done["reason"] == told["error"] and done["open"] is False

    done = boarded(unix, site, ["info"], ["deploy", "sentiment", path], ["load", "sentiment"],
                   ["classify", "a delight"], resetAt=size // 3)  # fmt: skip
    info, deploy, _, results = (told["value"] for told in done["told"])
    (part,) = [m for m in info["models"] if m["name"] == "sentiment"]
    assert part["state"] == "unfinished" and size // 4 < part["bytes"] < size
    assert done["reset"]
    assert part["bytes"] <= deploy["resumed"] < size
    got = [(r["label"], r["logit"]) for r in results["results"]]
    assert got == sentiment.sim.classify("a delight")
    (unix.folder / "sentiment.pft").unlink()


def test_every_task(built, own, site, tmp_path):
    """Pixels, rows and texts; what is read and what is said is the simulator's."""
    if reason := models.no_micropython():
        pytest.skip(reason)
    shipped = {name: own(name) for name in ("facts", "fashion", "motions", "english-french")}
    sims = {name: model.sim for name, model in shipped.items()}
    flash = tmp_path / "flash"
    flash.mkdir()
    for model in shipped.values():
        shutil.copy(model.path, flash)
    for name in ("tagged", "forecast", "minilm"):
        (flash / f"{name}.pft").write_bytes(built(name).file().read_bytes())
        sims[name] = built(name).sim()
    with np.load(models.ROOT / "tests" / "data" / "fashion.npz") as arrays:
        image = arrays["images"][0]
    walking = models.ROOT / "models" / "motions" / "walking.csv"
    rows = np.loadtxt(walking, np.int16, delimiter=",", skiprows=1)
    signal = built("forecast").signal(5, seed=4)
    context = "Anna lives in Lyon. She has two dogs. " + "The red box is under the table. " * 20
    does: dict[str, list[Any]] = {
        "facts": [["answer", context, "Where does Anna live?"], ["classify", "a"]],
        "fashion": [["pixels", image.ravel().tolist()], ["pixels", [1, 2]], ["classify", "a"]],
        "motions": [["rows", rows.ravel().tolist(), "classify"], ["rows", [1] * 7, "classify"]],
        "english-french": [["translate", "Tom is here.", {}], ["translate", "I am ill.", BEAMS]],
        "tagged": [["tag", "a the\ttea"]],
        "forecast": [["rows", signal.ravel().tolist(), "predict"]],
        "minilm": [["embed", "the tea"]],
    }
    steps = [step for name, some in does.items() for step in (["load", name], *some)]
    with UnixBoard(flash, socket=True) as unix:
        told = iter(boarded(unix, site, ["install"], *steps)["told"])
    assert next(told)["value"]["written"]
    said = {name: [next(told) for _ in range(1 + len(some))] for name, some in does.items()}

    def named(told: dict[str, Any]) -> list[tuple[str, int]]:
        return [(r["label"], r["logit"]) for r in told["value"]["results"]]

    _, answer, task = said["facts"]
    assert answer["value"]["text"] == sims["facts"].answer(context, "Where does Anna live?")
    assert "made to answer" in task["error"]
    loaded, pixels, few, text = said["fashion"]
    assert loaded["value"]["image"] == [28, 28, 1] and loaded["value"]["frames"] is None
    assert named(pixels) == sims["fashion"].classify(image)
    assert "expected 28 x 28 x 1" in few["error"] and "reads images" in text["error"]
    loaded, motions, few = said["motions"]
    assert loaded["value"]["frames"] == list(rows.shape) and loaded["value"]["outputs"] > 3
    assert named(motions) == sims["motions"].classify(rows)
    assert "rows of" in few["error"]
    _, plain, beams = said["english-french"]
    assert plain["value"]["text"] == sims["english-french"].translate("Tom is here.")
    assert beams["value"]["text"] == sims["english-french"].translate("I am ill.", 3, 0.5)
    words = [tuple(row.values()) for row in said["tagged"][1]["value"]["words"]]
    assert words == sims["tagged"].tag("a the\ttea")
    assert said["forecast"][1]["value"]["numbers"] == sims["forecast"].predict(signal).tolist()
    assert said["minilm"][1]["value"]["vector"] == sims["minilm"].embed("the tea").tolist()


def test_a_program_of_the_boards_own(site, tmp_path):
    """It is stopped, and starts again when the page gives the port back."""
    if reason := models.no_micropython():
        pytest.skip(reason)
    ran = tmp_path / "ran"
    (tmp_path / "main.py").write_text(
        "import time\nf = open('/ran', 'a')\nf.write('x')\nf.close()\nwhile True: time.sleep(1)"
    )
    with UnixBoard(tmp_path, socket=True) as unix:
        (info,) = boarded(unix, site, ["info"])["told"]
        end = time.monotonic() + 5
        while ran.read_text() == "x" and time.monotonic() < end:
            time.sleep(0.05)
    assert info["value"]["program"] and ran.read_text() == "xx"


def test_damaged_model_files(unix, site, stories, tmp_path):
    data = bytearray(stories.path.read_bytes())
    files = {}
    for name, at in (("header", 40), ("weights", len(data) - 100)):
        some = bytearray(data)
        some[at] ^= 1
        files[name] = tmp_path / f"{name}.pft"
        files[name].write_bytes(some)
    files["short"] = tmp_path / "short.pft"
    files["short"].write_bytes(data[:-8])
    files["text"] = tmp_path / "text.pft"
    files["text"].write_bytes(b"What is this?")
    (front,) = struct.unpack_from("<I", data, 84)
    (unix.folder / "away.pft").write_bytes(data[:front])  # without its weights
    said = boarded(
        unix,
        site,
        *(["deploy", name, str(path)] for name, path in files.items()),
        ["load", "weights"],
        ["load", "stories"],
        ["remove", "weights"],
        ["load", "away"],
        ["remove", "away"],
        ["load", "away"],
    )["told"]
    header, weights, short, text, load, alive, _, away, _, gone = said
    assert away["code"] == "no-weights" and "Deploy the whole model" in away["error"]
    assert gone["code"] == "no-model" and "deploy it first" in gone["error"]
    assert header["error"] == "header cannot be deployed: its header is damaged."
    assert "value" in weights
    assert "cut off" in short["error"] and "no model file" in text["error"]
    assert load["code"] == "board"
    assert load["error"].startswith("model file is corrupt: checksum of its weights differs")
    assert alive["value"]["name"] == "stories"


def test_an_installation_that_is_stopped_goes_on(unix, site):
    library = unix.folder / "lib" / "picoformer"
    shutil.rmtree(library)
    first, second = boarded(unix, site, ["install", 40_000], ["install"])["told"]
    assert first["code"] == "stopped" and "Install again" in first["error"]
    there = second["value"]
    assert there["written"] and there["runtime"]["current"] and there["runtime"]["compiled"]
    assert not list(library.glob("*.part"))
    assert set(library.glob("*")) == set(library.glob("*.mpy"))


def test_a_board_that_no_mpy_files_are_for(unix, site, tmp_path):
    """It gets the .py files, in the place of what it has."""
    plain = tmp_path / "runtime"
    shutil.copytree(site, plain)
    boards = json.loads((site / "boards.json").read_text())
    (plain / "boards.json").write_text(json.dumps({**boards, "targets": []}))
    said = boarded(unix, plain, ["install"], ["info"], ["load", "stories"])["told"]
    assert said[0]["value"]["written"] and said[0]["value"]["runtime"]["current"]
    assert "as .py" in said[1]["value"]["notice"]
    library = unix.folder / "lib" / "picoformer"
    assert set(library.glob("*")) == set(library.glob("*.py"))
    assert said[2]["value"]["kernels"] == "viper"

    # A board whose flash is full.
    full = {**boards, "scripts": {**boards["scripts"], "receive": FULL}}
    (plain / "boards.json").write_text(json.dumps(full))
    (said,) = boarded(unix, plain, ["install"])["told"]
    assert said["code"] == "no-space" and "Remove a model to make room: stories" in said["error"]

    (plain / "boards.json").write_text(json.dumps({**boards, "targets": []}))
    (plain / "py" / "model.py").write_text("damaged")
    shutil.rmtree(library)
    (damaged,) = boarded(unix, plain, ["install"])["told"]
    assert damaged["code"] == "page" and "py/model.py" in damaged["error"]
    assert not library.exists()
