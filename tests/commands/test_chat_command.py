"""`--chat`: conversations with a model, simulated and on a board."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import models
from picoformer import Board, Error, Simulator
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands.main import main
from terminal import says

pytest.importorskip("jinja2")
STORIES = Path(__file__).resolve().parents[2] / "models" / "stories"
# Without BOS where there is no system message, as some have it.
TEMPLATE = (
    "{% for m in messages %}{{ bos_token + m.content if m.role == 'system' else m.content }} "
    "{% endfor %}{% if add_generation_prompt %}Then{% endif %}"
)

needs_board = pytest.mark.skipif(bool(models.no_board()), reason=models.no_board())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    shutil.copytree(STORIES, folder / "checkpoint")
    config = {"chat_template": TEMPLATE, "bos_token": "<s>"}
    (folder / "checkpoint" / "tokenizer_config.json").write_text(json.dumps(config))
    path = folder / "talks.pft"
    arguments = ["convert", str(folder / "checkpoint"), "-o", str(path), "--context", "64"]
    assert main(arguments) == 0
    return path


def turn(model: Path, prompt: str, n: int = 9) -> str:
    return "".join(Simulator(model).generate(prompt, n, raw=True))


def test_one_turn(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["simulate", str(model), "--chat", "-n", "9", "--prompt", "Tom was sad."]
    said = turn(model, "Tom was sad. Then")
    assert main(given) == 0
    assert capsys.readouterr().out == said + "\n"
    assert main([*given, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"prompt": "Tom was sad.", "text": said, "warnings": []}
    assert main([*given, "--system", "One day.", "--stop", "big"]) == 0
    said = turn(model, "<s>One day. Tom was sad. Then")
    assert "big" in said
    assert capsys.readouterr().out == said[: said.index("big")] + "\n"


def test_a_conversation_is_kept(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, "Tom was sad.", "  ", "He had a dog.")
    assert main(["simulate", str(model), "--chat", "-n", "9"]) == 0
    first = turn(model, "Tom was sad. Then")
    second = turn(model, f"Tom was sad. {first} He had a dog. Then")
    assert capsys.readouterr().out == f"{first}\n\n{second}\n\n\n"


def test_ctrl_c_ends_an_answer_only(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Simulator.generate

    def interrupted(self: Simulator, prompt: str, *given: object) -> Iterator[str]:
        pieces = real(self, prompt, *given)
        yield next(pieces)
        yield next(pieces)
        if "dog" not in prompt:
            raise KeyboardInterrupt
        yield from pieces

    monkeypatch.setattr(Simulator, "generate", interrupted)
    says(monkeypatch, "Tom was sad.", "He had a dog.")
    assert main(["simulate", str(model), "--chat", "-n", "9"]) == 0
    monkeypatch.setattr(Simulator, "generate", real)
    first = turn(model, "Tom was sad. Then", 2)
    second = turn(model, f"Tom was sad. {first} He had a dog. Then")
    assert capsys.readouterr().out == f"{first}\n\n{second}\n\n\n"
    monkeypatch.setattr(Simulator, "generate", interrupted)
    assert main(["simulate", str(model), "--chat", "--prompt", "Tom was sad."]) == 130


@pytest.mark.parametrize(
    "options, said",
    [
        (["--system", "x"], "--system is for --chat"),
        (["--chat", "-n", "0"], "-n is 0, expected at least 1"),
        (
            ["--chat", "--prompt", "Tom was sad. " * 20],
            "the conversation has become too long: .* expected 1 to 64",
        ),
    ],
)
def test_mistakes(
    model: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(model), *options]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    with pytest.raises(Error, match=said):
        raise Error(err)


def test_json_says_one_thing(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(model), "--chat", "--json"]) == 1
    out, err = capsys.readouterr()
    said = "--chat with --json sends one message: give it with --prompt"
    assert err == "" and json.loads(out) == {"error": said, "kind": "Error"}


def test_a_model_without_a_template(
    stories: models.Converted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(stories.path), "--chat", "--prompt", "Hi"]) == 1
    assert "has no chat template: convert it again" in capsys.readouterr().err


@needs_board
def test_on_a_board(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with UnixBoard(tmp_path / "flash") as unix:
        with Board(unix.port) as board:
            board.deploy(model)
            assert board.metadata("talks") == Simulator(model).model.meta
            with pytest.raises(Error, match="there is no model nothing on the board"):
                board.metadata("nothing")
        given = ["generate", "--port", unix.port, "--chat", "-n", "9"]
        assert main([*given, "--prompt", "Tom was sad.", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["text"] == turn(model, "Tom was sad. Then")
        says(monkeypatch, "Tom was sad.", "He had a dog.")
        assert main(given) == 0
        first = turn(model, "Tom was sad. Then")
        second = turn(model, f"Tom was sad. {first} He had a dog. Then")
        assert capsys.readouterr().out == f"{first}\n\n{second}\n\n\n"
        assert main([*given, "--prompt", "Tom was sad. " * 20]) == 1
        assert "the conversation has become too long" in capsys.readouterr().err


HEAP = """
import gc
from picoformer import Model
m = Model(FILE, context=16)
gc.collect()
print(gc.mem_alloc())
"""


@needs_board
def test_a_board_pays_nothing_for_a_template(model: Path) -> None:
    sim = Simulator(model)
    assert sim.model.meta["chat"]["template"] == TEMPLATE
    plain = model.with_name("plain.pft")
    assert main(["convert", str(STORIES), "-o", str(plain), "--context", "64"]) == 0
    used = [int(models.run_unix(HEAP, FILE=str(path))) for path in (model, plain)]
    assert abs(used[0] - used[1]) < 100
