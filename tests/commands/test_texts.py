"""Texts that a command reads from standard input, typed or piped, one after the other."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import models
from picoformer import Simulator, convert
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands.main import main
from terminal import says

TEXTS = ["will it rain tomorrow?", "  play some jazz", "a table for two, please"]
ASKED = "Where does Anna live?"
LONG = "play " * 99 + "jazz"
needs_board = pytest.mark.skipif(bool(models.no_board()), reason=models.no_board())


@pytest.fixture(scope="module")
def intents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "intents.pft"
    convert(models.ROOT / "models" / "intents", path)
    return path


@pytest.fixture(scope="module")
def french(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "french.pft"
    convert(models.ROOT / "models" / "english-french", path)
    return path


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("texts") / "facts.pft"
    convert(models.ROOT / "models" / "facts", path)
    return ["simulate", str(path), "--context", "Anna lives in Lyon. Max has two cats."]


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """What a person types where standard input is a terminal, and then Ctrl-D."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    says(monkeypatch, *lines)


def best(path: Path, text: str) -> str:
    sim = Simulator(path)
    label, share = sim.probabilities(sim.classify(text))[0]
    return f"{label}\t{share:.1%}\t{text}\n"


def test_a_line_for_each_text_of_a_file(intents, monkeypatch, capsys):
    piped(monkeypatch, "\r\n\n".join([*TEXTS, ""]).encode())
    assert main(["simulate", str(intents)]) == 0
    assert capsys.readouterr().out == "".join(best(intents, text) for text in TEXTS)


def test_an_object_for_each_text_with_its_own_warnings(intents, monkeypatch, capsys):
    piped(monkeypatch, "\n".join([LONG, *TEXTS]).encode())
    assert main(["simulate", str(intents), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["prompt"] for row in rows] == [LONG, *TEXTS]
    assert [bool(row["warnings"]) for row in rows] == [True, False, False, False]


def test_translations_line_for_line(french, monkeypatch, capsys):
    piped(monkeypatch, b"I am tired.\nGo away.")
    assert main(["simulate", str(french)]) == 0
    sim = Simulator(french)
    said = sim.translate("I am tired."), sim.translate("Go away.")
    assert capsys.readouterr().out == "{}\n{}\n".format(*said)


def test_the_text_that_cannot_be_read_is_named(facts, monkeypatch, capsys):
    piped(monkeypatch, ASKED.encode() + b"\n" + 40 * b"Where does Anna live? ")
    assert main(facts) == 1
    out, err = capsys.readouterr()
    assert out == "Lyon\n"
    wanted = "text 2, 'Where does Anna live? Where does Anna li': the question has 200 tokens"
    assert f"error: {wanted}" in err


@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "error: give a --prompt, or texts on standard input, a line each\n"),
        (b"play some jazz\n\xff\xfe", "error: standard input is no UTF-8 text: "),
    ],
)
def test_what_is_no_text(intents, monkeypatch, capsys, data, said):
    piped(monkeypatch, data)
    assert main(["simulate", str(intents)]) == 1
    assert said in capsys.readouterr().err


def test_a_person_types_and_goes_on_after_an_error(facts, monkeypatch, capsys):
    typed(monkeypatch, ASKED, "", 40 * ASKED, "Who has two cats?")
    assert main(facts) == 0
    out, err = capsys.readouterr()
    assert out == "Lyon\nMax\n\n"
    assert err.count("picoformer: error: ") == 1 and "next" not in err


def test_who_types_sees_all_labels(intents, monkeypatch, capsys):
    typed(monkeypatch, TEXTS[0])
    assert main(["simulate", str(intents)]) == 0
    many = capsys.readouterr().out
    assert main(["simulate", str(intents), "--prompt", TEXTS[0]]) == 0
    assert many == capsys.readouterr().out + "\n"


@pytest.fixture(scope="module")
def port(intents, french, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with UnixBoard(tmp_path_factory.mktemp("board")) as board:
        for path in (intents, french):
            assert main(["deploy", str(path), "--port", board.port, "-q"]) == 0
        yield board.port


@needs_board
def test_a_board_reads_one_text_after_the_other(port, intents, french, monkeypatch, capsys):
    piped(monkeypatch, "\n".join(TEXTS).encode())
    assert main(["classify", "--port", port, "--model", "intents"]) == 0
    out, err = capsys.readouterr()
    assert out == "".join(best(intents, text) for text in TEXTS)
    assert "\n3 texts, each " in err
    piped(monkeypatch, b"Go away.\n")
    assert main(["translate", "--port", port, "--model", "french", "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["prompt"], seen["text"]) == ("Go away.", Simulator(french).translate("Go away."))
    typed(monkeypatch, "Go away.")
    assert main(["translate", "--port", port, "--model", "french"]) == 0
    out, err = capsys.readouterr()
    assert out == Simulator(french).translate("Go away.") + "\n\n" and "with the cable" not in err
    piped(monkeypatch, b"")
    assert main(["classify", "--port", port, "--model", "intents"]) == 1
    wanted = "give a TEXT, an --image or an --input, one of them, or texts on standard input"
    assert wanted in capsys.readouterr().err
