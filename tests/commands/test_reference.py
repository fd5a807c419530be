"""docs/commands.md is what the parsers say; the examples of the help are commands that work."""

from __future__ import annotations

import shlex
import shutil

import pytest

import models
from picoformer import Board
from picoformer.boards.emulated.flash import announced
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands.main import main, parser_of
from tools import reference

COMMANDS = reference.commands()
EXAMPLES = [
    line.split(" ", 1)[1] for _, parser in COMMANDS.values() for line in reference.examples(parser)
]
NAMES = "stories", "intents", "facts", "fashion", "motions", "digits", "english-french"


def test_the_page_is_written_anew():
    assert reference.page() == reference.PAGE.read_text("utf-8"), "python -m tools.reference"


@pytest.mark.parametrize("name", COMMANDS)
def test_all_of_it_is_told(name):
    """Each argument has its help, which begins like the others."""
    text, parser = COMMANDS[name]
    assert text and not text.endswith(".")
    for a in parser._actions:
        assert a.help, a
        assert not a.help.startswith("default") and not a.help.endswith("."), a.help


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_name_what_there_is(example):
    """Models of ours, files of ours, or such as are plainly the reader's."""
    words = shlex.split(example)
    options, unknown = parser_of(words[0]).parse_known_args(words)
    assert not unknown
    for word in words[1:]:
        if "/" in word:
            assert (models.ROOT / word).exists(), word
    model = getattr(options, "model", None)
    if model and not model.startswith("my-"):
        assert model.removesuffix(".pft") in NAMES


@pytest.mark.slow
def test_examples_run(tmp_path, monkeypatch, capsys, own):
    """With our models beside the board and on it."""
    reason = models.no_board()
    if reason:
        pytest.skip(reason)
    pytest.importorskip("PIL")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PICOFORMER_PORT", "emulator")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(models.ROOT / "models")
    for name in NAMES:
        shutil.copy(own(name).path, f"{name}.pft")
    run = [e for e in EXAMPLES if "my-" not in e and not e.startswith(("emulate", "page"))]
    run = [e for e in run if not e.startswith("reset --hard")]  # no emulated board has that button
    assert len(run) > 35
    with UnixBoard() as unix, announced(unix.folder, unix.port):
        for example in run:
            with Board(unix.port) as board:
                for name in NAMES:
                    board.deploy(f"{name}.pft")
            status = main(shlex.split(example))
            said = capsys.readouterr()
            assert status == 0, (example, said.err)
