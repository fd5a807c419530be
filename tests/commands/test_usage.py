"""The command line for people: near names, the right usage, examples, what comes next."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

import models
from picoformer import Board, convert
from picoformer.boards.emulated.flash import announced, running
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.boards.errors import PortError
from picoformer.boards.port import find_port
from picoformer.commands import printing
from picoformer.commands.main import FAMILIES, main
from picoformer.commands.printing import Bars, Stages

COMMANDS = [name for names in FAMILIES.values() for name in names]
LIMIT = 30.0  # seconds for an emulated board to be there


def failed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    assert main(list(arguments)) == status
    out, err = capsys.readouterr()
    assert out == ""
    return err


@pytest.mark.parametrize(
    ("arguments", "words", "usage"),
    [
        (["gennerate"], "no command 'gennerate': did you mean generate?", ""),
        (["frobnicate"], "no command 'frobnicate': `picoformer --help`", ""),
        (["plan", "m.pft", "--bord", "pico"], "--bord (did you mean --board?) pico", "plan"),
        (["generate", "--promt=x"], "--promt=x (did you mean --prompt?)", "generate"),
        (["deploy", "m.pft", "--zzz"], "unrecognized arguments: --zzz", "deploy"),
        (["inspect"], "required: MODEL.pft", "inspect"),
        (["plan", "m.pft", "--positions", "x"], "invalid int value: 'x'", "plan"),
        (["--nope"], "unrecognized arguments: --nope", "[-h]"),
    ],
)
def test_usage(capsys, arguments, words, usage):
    said = failed(capsys, *arguments)
    last = said.splitlines()[-1]
    assert last.startswith("picoformer: error: ") and words in last
    assert said.startswith(f"usage: picoformer {usage}" if usage else "picoformer: error")


def test_names_of_files(stories, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stories.pft").write_bytes(stories.path.read_bytes())
    said = failed(capsys, "simulate", "storis.pft", status=1)
    assert "cannot read model file storis.pft: there is none; did you mean stories.pft?" in said
    folder = str(models.ROOT / "models" / "stories")
    part = f"{folder}/model.safetensors"
    said = failed(capsys, "deploy", part, status=1)
    assert f"{part} is a part of the checkpoint {folder}; convert that first: picoform" in said
    said = failed(capsys, "deploy", folder, "--port", "emulator", status=1)
    assert said.endswith(
        f"{folder} is a checkpoint, not a model file; convert it first: picoformer convert "
        f"{folder} -o stories.pft && picoformer deploy stories.pft --port emulator\n"
    )
    for name in ("simulate", "plan", "inspect", "selftest"):
        assert f"picoformer {name} stories.pft" in failed(capsys, name, folder, status=1)


def test_the_way_that_is_offered_works(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = failed(capsys, "inspect", str(models.STORIES), status=1)
    for command in said.split("first: ")[1].split(" && "):
        assert main(command.split()[1:]) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name, capsys):
    """And each of its words is taken."""
    with pytest.raises(SystemExit):
        main([name, "--help"])
    said = capsys.readouterr().out
    if name == "boards":  # nothing but its options
        return
    examples = re.findall(rf"^  picoformer {name}\b.*", said.split("example")[-1], re.M)
    assert examples, said
    taken = set(re.findall(r"--[a-z][\w-]*", said.split("example")[0]))
    for example in examples:
        assert set(re.findall(r"--[a-z][\w-]*", example)) <= taken, example


def test_positions_are_positions(stories, tmp_path, capsys):
    """By one name everywhere, and by that which they had."""
    path = tmp_path / "m.pft"
    for option in ("--positions", "--context"):
        assert main(["convert", str(models.STORIES), "-o", str(path), option, "64", "-q"]) == 0
        assert "64 positions" in capsys.readouterr().out
    commands = "selftest generate classify embed predict tag translate answer"
    for name in commands.split():
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert "--positions N" in capsys.readouterr().out


def test_what_comes_next(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["convert", str(models.ROOT / "models" / "facts"), "-o", "facts.pft"]
    assert main(given) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("next   picoformer simulate facts.pft --context ")
    assert said[1] == "       picoformer deploy facts.pft"
    command = said[0].removeprefix("next   ")
    done = subprocess.run(
        f"{sys.executable} -m {command}", shell=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "Lyon\n" and "next   picoformer deploy facts.pft" in done.stderr
    assert main([*given, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    script = Path(sys.executable).with_name("picoformer")
    if script.with_name("activate").exists() and script.exists():
        done = subprocess.run([script, *given], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "PATH": "/usr/bin:/bin"})  # fmt: skip
        assert re.match(r"next   [.] \S*/activate\n       picoformer simulate ", done.stderr)
    assert main(["plan", "facts.pft"]) == 0
    assert "next   picoformer plan facts.pft --board NAME" in capsys.readouterr().err


def test_inspect_has_no_raw_lists(own, capsys):
    for name in ("stories", "fashion", "english-french", "motions"):
        assert main(["inspect", str(own(name).path)]) == 0
        said = capsys.readouterr().out
        assert "[" not in said and "{" not in said, said
        assert max(map(len, said.splitlines())) < 120
    assert main(["inspect", str(own("fashion").path)]) == 0
    said = capsys.readouterr().out
    assert "28 x 28 pixels, grey, in patches of 4 x 4" in said
    assert "10: T-shirt/top, Trouser" in said and "and 2 more" in said


def test_4_bits_without_a_row_for_each_matrix(tmp_path, capsys, monkeypatch):
    shape = models.Shape(32, 64, 2, 2, 1, 512, 64, size=16)
    folder = str(models.write_hf(tmp_path / "hf", models.random_checkpoint(shape)))
    given = ["convert", folder, "-o", str(tmp_path / "m.pft"), "--weight-bits", "4"]
    assert main(given) == 0
    short = capsys.readouterr()
    assert " 4 bits " not in short.out and "--report lists all" in short.out
    assert main([*given, "--report"]) == 0
    long = capsys.readouterr().out
    assert long.count(" 4 bits ") > 5 and "--report" not in long
    # Much is said with what it means and the ways out.
    monkeypatch.setattr("picoformer.commands.convert.MUCH", 0.0)
    assert main(given) == 0
    said = capsys.readouterr().err
    assert said.startswith("warning: rounding has moved weights by ")
    assert all(way in said for way in ("picoformer eval", "--data FILE", "--max-bytes N"))


def test_a_default_port(monkeypatch):
    monkeypatch.setattr("picoformer.boards.port.ports", list)
    monkeypatch.delenv("PICOFORMER_PORT", raising=False)
    with pytest.raises(PortError, match="PICOFORMER_PORT"):
        find_port()
    monkeypatch.setenv("PICOFORMER_PORT", "/dev/ttyX")
    assert find_port() == "/dev/ttyX"
    with pytest.raises(PortError, match="there is no port /dev/ttyX"):
        Board()


def test_announcing(tmp_path):
    flash = tmp_path / "unix"
    assert running(flash) == ""
    with announced(flash, "/dev/pts/9"):
        assert running(flash) == "/dev/pts/9"
    assert running(flash) == "" and not list(tmp_path.iterdir())
    (tmp_path / "unix.port").write_text("/dev/pts/9")  # of one that was killed
    assert running(flash) == ""
    with announced(tmp_path / "no" / "unix", "/dev/pts/9"):
        assert running(tmp_path / "no" / "unix") == ""


def test_an_emulated_board_that_runs_already_is_used(tmp_path, stories):
    """`--port emulator` while `picoformer emulate` has the flash of that name."""
    reason = models.no_board()
    if reason:
        pytest.skip(reason)
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    env.pop("PICOFORMER_PORT", None)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "picoformer", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)

    command = [sys.executable, "-m", "picoformer", "emulate"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    emulator = subprocess.Popen(command, text=True, env=env, **pipes)
    try:
        assert emulator.stdout
        lines = [emulator.stdout.readline() for _ in range(5)]
        assert lines[3].startswith("next   picoformer deploy MODEL.pft --port emulator, ")
        port = lines[1].split()[1]
        end = time.monotonic() + LIMIT
        while running(tmp_path / "picoformer" / "unix") != port:
            assert time.monotonic() < end
            time.sleep(0.05)
        done = run("deploy", str(stories.path), "--port", "emulator")
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("next "), done.stderr  # that it runs already is no news
        assert (tmp_path / "picoformer" / "unix" / "stories.pft").is_file()
        done = run("generate", "--port", "emulator", "-n", "5", "--quiet")
        assert done.returncode == 0
        assert emulator.poll() is None  # it is not ours to switch off
    finally:
        emulator.send_signal(signal.SIGTERM)
        assert emulator.communicate(timeout=LIMIT)[1] == ""
    done = run("generate", "--port", "emulator", "-n", "5")  # now one of its own
    assert done.returncode == 0


def test_a_models_near_name(stories, tmp_path, capsys):
    reason = models.no_board()
    if reason:
        pytest.skip(reason)
    with UnixBoard(tmp_path / "flash") as unix:
        with Board(unix.port) as board:
            board.deploy(stories.path)
        for name in ("storiess", "stories.pft"):
            said = failed(capsys, "generate", "--port", unix.port, "--model", name, status=1)
            assert f"no model {name!r} on the board: did you mean stories?" in said
        said = failed(capsys, "generate", "--port", unix.port, "--model", "qwen", status=1)
        assert "it has stories; else deploy it first" in said and "mean" not in said


def test_what_takes_long_has_a_name(tmp_path):
    """Each stage of convert is told to who wants to show it, and items go through."""
    told: list[str] = []

    class Told:
        def say(self, what: str) -> None:
            told.append(what)

        def __call__(self, items: Iterable[object]) -> Iterable[object]:
            told.append("items")
            return items

    shape = models.Shape(32, 64, 2, 2, 1, 512, 64, size=16)
    folder = models.write_hf(tmp_path / "hf", models.random_checkpoint(shape))
    convert(folder, tmp_path / "a.pft", weight_bits=4, progress=Told())
    assert told[:2] == ["reading the checkpoint", "calibrating"] and told[-1] == "compiling"
    assert told[told.index("rounding to 4 bits") + 1] == "items"
    convert(folder, tmp_path / "b.pft", weight_bits=4)
    assert (tmp_path / "a.pft").read_bytes() == (tmp_path / "b.pft").read_bytes()


def test_bars_are_for_people(tmp_path, capsys):
    """On a terminal a stage is there until the next one; elsewhere nothing is written."""
    o = argparse.Namespace(quiet=False, json=False)
    with Stages(o) as stages:
        stages.say("calibrating")
        assert list(stages([1, 2])) == [1, 2]
    assert capsys.readouterr().err == ""
    stages = Stages(o)
    stages._off = False
    with stages:
        stages.say("calibrating")
        assert list(stages([1, 2])) == [1, 2]
        stages.say("compiling")
    said = capsys.readouterr().err
    assert said.startswith("calibrating ...\r") and "calibrating: " in said
    assert said.endswith("compiling ...\r\033[K")


def test_a_log_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no bar can be: an upload to a slow board would say nothing for minutes."""
    now = [100.0]
    monkeypatch.setattr(printing.time, "monotonic", lambda: now[0])
    for quiet, said in ((False, "m: 24%\nm: 48%\nm: 72%\nm: 96%\n"), (True, "")):
        bars = Bars(quiet)
        for done in range(101):
            bars("m", 1000 * done, 100_000)
            now[0] += 0.42
        bars.close()
        assert capsys.readouterr() == ("", said)
