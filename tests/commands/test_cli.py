"""The `picoformer` command, as a user types it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import models
from picoformer import Simulator, __version__
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands.main import FAMILIES, main

ROOT = Path(__file__).resolve().parents[2]
STORIES = ROOT / "models" / "stories"
INTENTS = ROOT / "models" / "intents"


needs_board = pytest.mark.skipif(bool(models.no_board()), reason=models.no_board())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "stories.pft"
    assert main(["convert", str(STORIES), "-o", str(path), "--context", "64"]) == 0
    return path


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main([*arguments, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return dict(json.loads(out))


def test_convert_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.pft"
    report = run_json(capsys, "convert", str(STORIES), "-o", str(path), "--name", "Märchen")
    assert report["bytes"] == path.stat().st_size == 100 + sum(report["sections"].values())
    assert report["context"] == 256 and report["name"] == "Märchen"
    assert not list(tmp_path.glob("*.part"))
    assert main(["convert", str(STORIES), "-o", str(path)]) == 0
    assert f"{report['parameters']:,}" in capsys.readouterr().out


def test_convert_with_a_narrow_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "m.pft")
    wide = run_json(capsys, "convert", str(STORIES), "-o", path)
    options = ["--key-bits", "8", "--value-bits", "4"]
    narrow = run_json(capsys, "convert", str(STORIES), "-o", path, *options)
    assert (wide["cache_bytes"], narrow["cache_bytes"]) == (133_120, 71_680)
    said = run_json(capsys, "inspect", path)["meta"]["quantization"]
    assert said.endswith("keys int8, values int4")


def test_convert_names_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["convert", str(STORIES)]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["stories.pft"]


def test_convert_is_deterministic(tmp_path: Path, model: Path) -> None:
    again = tmp_path / "again.pft"
    assert main(["convert", str(STORIES), "-o", str(again), "--context", "64"]) == 0
    assert again.read_bytes() == model.read_bytes()


def test_simulate_up_to_a_stop_text(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["simulate", str(model), "--prompt", "Tom was", "-n", "40"]
    whole = str(run_json(capsys, *given)["text"])
    stops = whole[8:12], whole[20:22]
    said = run_json(capsys, *given, "--stop", stops[1], "--stop", stops[0])
    assert said["text"] == whole[: min(whole.index(s) for s in stops)]
    assert main([*given, "--stop", ""]) == 1
    assert "a stop text is ''" in capsys.readouterr().err


def test_inspect(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = run_json(capsys, "inspect", str(model))
    assert seen["context"] == 64 and seen["vocabulary"] == 512
    assert seen["bytes"] == model.stat().st_size
    assert seen["meta"]["picoformer"] == __version__
    assert main(["inspect", str(model), "--steps"]) == 0
    out = capsys.readouterr().out
    assert out.count("attend") == 5 and "all checks passed" in out


def test_simulate(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--prompt", "Tom", "-n", "12", "--temperature", "0.8", "--top-p", "0.9"]
    seen = run_json(capsys, "simulate", str(model), *options, "--seed", "3")
    expected = "".join(Simulator(model).generate("Tom", 12, 0.8, 0.9, 3))
    assert seen["text"] == expected and seen["tokens"] == 12
    assert main(["simulate", str(model), *options, "--seed", "3"]) == 0
    assert capsys.readouterr().out.startswith("Tom" + expected + "\n")


def test_eval(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "held_out.txt"
    text.write_text("Once upon a time there was a little boy. He liked to play in the park. " * 4)
    seen = run_json(
        capsys, "eval", str(model), "--reference", str(STORIES), "--data", str(text)
    )  # fmt: skip
    assert {"kl", "top1", "perplexity_float", "perplexity_int"} <= set(seen)
    assert 0 < seen["kl"] < 0.005 and seen["top1"] > 0.9
    assert seen["perplexity_int"] == pytest.approx(seen["perplexity_float"], rel=0.02)


def test_a_report_has_the_checkpoints_names(tmp_path: Path, capsys) -> None:
    path = tmp_path / "m.pft"
    report = run_json(capsys, "convert", str(ROOT / "models" / "english-french"), "-o", str(path))
    assert set(report["tensors"]) == set(report["errors"]) == set(report["bits"])
    assert report["tensors"]["x"] == "token embedding"
    names = list(report["tensors"].values())
    assert len(set(names)) == len(names) and "token embedding of the encoder" in names
    report = run_json(capsys, "convert", str(ROOT / "models" / "intents"), "-o", str(path))
    assert report["tensors"]["0.z"] == "transformer.layer.0.ffn.lin2.weight"
    assert main(["convert", str(ROOT / "models" / "intents"), "-o", str(path), "--report"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in report["tensors"].values())


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (("--at-most", "kl=0.005", "--at-least", "top1=0.9", "--at-least", "sequences=1"), "^$"),
        (("--at-most", "kl=0", "--at-least", "top1=0.5"), r"^kl is \S+, more than 0$"),
        (("--at-least", "kl=9", "--at-most", "top1=0.1"),
         r"^kl is \S+, less than 9; top1 is \d\S*, more than 0\.1$"),
        (("--at-most", "kl=nan"), "^kl is .*, more than nan$"),
        (("--at-least", "accuracy_int=0.9"), "no figure 'accuracy_int' was measured: .* kl, top1"),
        (("--at-least", "task=1"), "no figure 'task'"),
        (("--at-most", "kl"), "argument --at-most: 'kl', expected NAME=VALUE$"),
        (("--at-most", "kl=a"), "argument --at-most: 'kl=a', expected NAME=VALUE$"),
    ],
)  # fmt: skip
def test_limits_of_eval(model: Path, tmp_path: Path, capsys, limits, said) -> None:
    """For scripts: the figures come in any case, and the exit status says whether they hold."""
    text = tmp_path / "held_out.txt"
    text.write_text("Once upon a time there was a little boy.")
    argv = ["eval", str(model), "--reference", str(STORIES), "--data", str(text), *limits]
    status = 2 if "argument" in said else int(said != "^$")
    assert main(argv) == status
    out, err = capsys.readouterr()
    assert re.search(said, err.strip().partition("error: ")[2])
    assert ("top1" in out) == ("is" in said or said == "^$")
    assert main([*argv, "--json"]) == status
    seen = json.loads(capsys.readouterr().out)
    assert re.search(said, seen.get("error") or "; ".join(seen["beyond"]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["convert", "no-such-file"], "does not exist"),
        (["convert", str(ROOT / "LICENSE")], "LICENSE is text, not a checkpoint; expected"),
        (["convert", str(STORIES), "--context", "512"], "context is 512"),
        (["convert", str(STORIES), "--weight-bits", "3"], "3 bits, expected 8 or 4"),
        (["convert", str(STORIES), "--group-size", "16"], "are for weights of 4 bits"),
        (["convert", str(STORIES), "--max-bytes", "99999"], "are for weights of 4 bits"),
        (["convert", str(STORIES), "--distill", "0"], "expected at least 1"),
        (["convert", str(STORIES), "--weight-bits", "4", "--group-size", "20"], "multiple of 16"),
        (["convert", str(STORIES), "--weight-bits", "4", "--max-bytes", "9"], "more than 9;"),
        (["convert", str(STORIES), "--key-bits", "4"], "keys of 4 bits, expected 12 or 8"),
        (["convert", str(STORIES), "--value-bits", "12"], "values of 12 bits, expected 8 or 4"),
        (["convert", str(STORIES), "-o", str(ROOT)], "not a file"),
        (["convert", str(STORIES), "-o", os.devnull], "not a file"),
        (["convert", "MODEL", "-o", "MODEL"], "is an input as well"),
        (["convert", str(STORIES), "-o", "no/such/folder/m.pft"], "cannot write"),
        (["convert", str(STORIES), "--data", "no-such-file"], "cannot read"),
        (["inspect", str(ROOT / "LICENSE")], "not a picoformer model"),
        (["simulate", "no-such-file"], "cannot read model file"),
        (["simulate", "MODEL", "-n", "0"], "at least 1"),
        (["simulate", "MODEL", "--temperature", "-1"], "temperature is -1"),
        (["simulate", "MODEL", "--temperature", "nan"], "temperature is nan"),
        (["simulate", "MODEL", "--top-p", "2"], "top_p is 2"),
        (["simulate", "MODEL", "--prompt", "word " * 100], "the context"),
        (["eval", "MODEL", "--reference", "no-such-file"], "does not exist"),
        (["eval", "OTHER", "--reference", str(STORIES)], "is not the checkpoint"),
        (["emulate", "--board", "toaster"], "toaster"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    words: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "other.pft"
    if "OTHER" in arguments:
        shape = models.Shape(12, 20, 2, 2, 1, 512, 64, size=6)
        folder = models.write_hf(tmp_path / "hf", models.random_checkpoint(shape))
        assert main(["convert", str(folder), "-o", str(other), "--quiet"]) == 0
    before = model.read_bytes()
    names = {"MODEL": str(model), "OTHER": str(other)}
    assert main([names.get(a, a) for a in arguments]) == 1
    assert model.read_bytes() == before
    error = capsys.readouterr().err
    assert error.startswith("picoformer: error: ") and words in error
    assert error.count("\n") == 1


def test_a_reader_that_goes_away(model: Path) -> None:
    command = f"{sys.executable} -m picoformer inspect --steps {model} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Traceback" not in done.stderr


@needs_board
def test_demo(capsys: pytest.CaptureFixture[str]) -> None:
    seen = run_json(capsys, "demo", "-n", "40")
    assert seen["equal"] is True and seen["tokens"] == 40
    assert seen["tokens_per_second"] > 0 and seen["heap"] > 0
    assert main(["demo", "-n", "10", "--prompt", "Tom"]) == 0
    out = capsys.readouterr().out
    assert "verdict   equal" in out and "tokens a second" in out


def test_demo_without_a_board(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PC tells the story, and says what an emulated board needs."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert main(["demo", "-n", "10"]) == 0
    out = capsys.readouterr().out
    assert "pip install 'picoformer[emulator]'" in out and "Once upon a time" in out
    assert "verdict" not in out
    assert run_json(capsys, "demo", "-n", "10")["equal"] is None


@needs_board
def test_what_the_readme_does(model: Path, tmp_path: Path) -> None:
    """mpremote mip install and cp, then the script that the README shows."""
    with UnixBoard(tmp_path) as board:

        def mpremote(*arguments: str) -> str:
            command = [sys.executable, "-m", "mpremote", "connect", board.port, *arguments]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        mpremote("mip", "install", "package.json")
        mpremote("cp", str(model), ":/stories.pft")
        text = mpremote(
            "exec",
            "from picoformer import Model\n"
            "for piece in Model('/stories.pft').generate('Once upon a time', 30):\n"
            "    print(piece, end='')\n",
        )
    assert text == "".join(Simulator(model).generate("Once upon a time", 30))


def test_output_that_cannot_be_written(model: Path) -> None:
    command = f"{sys.executable} -m picoformer inspect --steps {model} > /dev/full"
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no /dev/full")
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith("picoformer: error: No space")
    assert "Traceback" not in done.stderr


def test_a_terminal_without_the_characters(model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "picoformer", "simulate", str(model), "--prompt", "é", "-n2"],
        capture_output=True, timeout=60, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.startswith(b"\\xe9")


def test_calibration_data_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "long.txt"
    text.write_text("Once upon a time there was a big red ball in the park. " * 3000)
    report = run_json(
        capsys, "convert", str(STORIES), "-o", str(tmp_path / "m.pft"), "--data", str(text)
    )  # fmt: skip
    assert report["calibration"].startswith("64 of ")


def test_a_command_is_found_where_it_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the modules of the command that is asked for are loaded; its help says what it says."""
    listed = [name for names in FAMILIES.values() for name in names]
    assert main([]) == 0
    shown = capsys.readouterr().out.split("COMMAND\n")[1].split("\n\n")[0]
    assert [line.split()[0] for line in shown.splitlines() if line[4] != " "] == listed
    for name in listed:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: picoformer {name} ")


def test_a_command_starts_without_the_others() -> None:
    script = "import sys; from picoformer.commands.main import main\n"
    script += "try: main(['emulate', '--help'])\nfinally: print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.endswith("False\n")
