"""`picoformer selftest`: each step of a board against the simulator, and broken kernels."""

from __future__ import annotations

import json

import pytest

import models
from picoformer import Board, Error
from picoformer.boards import install
from picoformer.boards.emulated import pico
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.boards.selftest import selftest
from picoformer.commands.main import main
from picoformer.runtime import files as runtime
from turns import some


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A board with an empty flash."""
    if reason := models.no_board():
        pytest.skip(reason)
    with UnixBoard(tmp_path_factory.mktemp("flash")) as emulated, Board(emulated.port) as b:
        yield b


OWN = ["stories", "intents", "facts", "fashion", "english-french", "motions", "digest"]


@pytest.mark.parametrize("name", some(OWN, 2))
def test_every_step_is_the_simulators(board, own, families, name):
    model = own(name)
    for kernels in families:
        r = selftest(board, model.path, kernels=kernels)
        assert r.equal and r.difference is None and r.kernels == kernels
        steps = model.sim.model.steps
        assert r.steps >= len(steps)
        assert {t.op for t in r.times} == {s.op for s in steps}
        assert all(t.products > 0 for t in r.times if t.op == "linear")
        assert sum(t.calls for t in r.times) == r.steps
        assert r.free_heap > 0 and r.taken_heap > 0


# Of dimension 30 and 21, too: behind a residual lie words of rows that there are not.
OTHERS = ["bart", "t5", "vit", "asked", "t5 gated", "tagged", "gpt2 odd narrow", "gpt2 deep"]
OTHERS += ["signal", "forecast"]


@pytest.mark.parametrize("name", some(OTHERS, 2))
def test_every_step_of_other_kinds(board, built, name):
    assert selftest(board, built(name).file()).equal


@pytest.mark.parametrize("name", some([n for n in models.CASES if models.CASES[n].span], 3))
def test_every_step_with_weights_of_4_bits(board, case, families, name):
    for kernels in families:
        r = selftest(board, case(name).file(), kernels=kernels)
        assert r.equal and "linear4" in {t.op for t in r.times}


def test_every_step_with_a_narrow_cache(board, case):
    r = selftest(board, case("narrow").file())
    assert r.equal and {"store", "attend"} <= {t.op for t in r.times}


def test_the_model_has_the_heap_to_itself(board, own, monkeypatch):
    """It is loaded first, on a new heap; steps are told a few at a time; nothing of it stays."""
    model = own("stories")
    free = "import gc\ngc.collect()\nprint(gc.mem_free())"
    board.exec("held = [bytearray(1000) for _ in range(100)]")
    told: list[str] = []
    run = Board.exec

    def spied(b: Board, code: str, *more: float) -> str:
        told.append(code)
        return run(b, code, *more)

    monkeypatch.setattr(Board, "exec", spied)
    r = selftest(board, model.path)
    monkeypatch.undo()
    assert r.equal and "Model(" in told[0] and "def " not in told[0]
    assert r.free_heap + r.taken_heap > int(board.exec(free)) > r.free_heap + 100_000
    pieces = [eval(code[5:])[2] for code in told if code.startswith("steps(")]
    assert sum(map(len, pieces)) == r.steps and max(map(len, pieces)) <= 16


def test_a_shorter_context(board, own):
    assert selftest(board, own("stories").path, context=32).equal
    with pytest.raises(Error, match="context is 1000, this model has 2 to 256"):
        selftest(board, own("stories").path, context=1000)
    with pytest.raises(Error, match=r"^this port cannot run thumb kernels; [^\n]*$"):
        selftest(board, own("stories").path, kernels="thumb")


# One rounding less in a file of the runtime, and the step that it spoils.
BROKEN = [
    ("portable", "m[at + i] = (a * c - b * s + 0x4000) >> 15", "+ 0x4000", "store"),
    ("portable", "m[at + i] = (m[i] * r + (1 << (f - 1))) >> f", "+ (1 << (f - 1))", "norm"),
    ("viper", "f = (ptr16(w)[0] * scale + 0x2000) >> 14", "+ 0x2000", "linear"),
]


@pytest.mark.parametrize("broken", some(BROKEN, 3, 2))
def test_a_wrong_rounding_is_named(families, own, tmp_path, monkeypatch, capsys, broken):
    kernels, line, rounding, op = broken
    if kernels not in families:
        pytest.skip(f"this MicroPython has no {kernels} kernels")
    if reason := models.no_board():
        pytest.skip(reason)
    files = runtime.sources()
    text = files[f"kernels_{kernels}.py"].decode()
    line = line.replace("m[at + i] = (m[i]", "m[i] = (m[i]")
    assert text.count(line) == 1
    files[f"kernels_{kernels}.py"] = text.replace(line, line.replace(f" {rounding}", "")).encode()
    monkeypatch.setattr(install, "wanted", lambda *_: runtime.Runtime(files))
    model = own("stories")
    with UnixBoard(tmp_path / "flash") as emulated:
        arguments = ["selftest", "--port", emulated.port, "--kernels", kernels, str(model.path)]
        assert main([*arguments, "--json"]) == 1
        result = json.loads(capsys.readouterr().out)
        d = result["difference"]
        assert result["equal"] is False and d["op"] == op
        steps = [s.op for s in model.sim.model.steps]
        assert steps[d["step"]] == op
        if kernels == "portable":
            assert d["step"] == steps.index(op), "the first of them"
        assert abs(d["board"] - d["simulator"]) >= 1
        assert main(arguments) == 1
        said = capsys.readouterr()
        assert f"error: step {d['step']}, {op}" in said.err and said.err.count("\n") == 1
        assert f"is {d['board']}, the simulator's is {d['simulator']}" in said.err
        assert f"{kernels} kernels" in said.out and "bit for bit" not in said.out


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_every_step_on_the_emulated_pico(own, tmp_path, name):
    if reason := pico.PicoBoard.missing():
        pytest.skip(reason)
    with pico.PicoBoard(tmp_path / "flash") as emulated, Board(emulated.port) as b:
        r = selftest(b, own(name).path)
        place = "ram" if name == "motions" else "flash"  # small enough to be copied whole
        assert r.equal and (r.kernels, r.weights) == ("thumb", place)
        print(f"\n{name}: {[(t.op, t.calls, t.us) for t in r.times]}")
