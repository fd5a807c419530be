"""What the commands print with --json is what docs/json.md says, field by field."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import models
from firmwares import uf2
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands.main import FAMILIES, main

DOC = models.ROOT / "docs" / "json.md"
TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
ELSEWHERE = {"emulate"}  # has no --json
LIKE = dict.fromkeys(("embed", "predict", "tag", "translate", "answer"), "classify")

Fields = dict[str, tuple[tuple[type, ...], bool]]


def documented() -> dict[str, Fields]:
    """By the heading: each field's types, and whether it is always there."""
    out: dict[str, Fields] = {}
    for section in re.split(r"^## ", DOC.read_text("utf-8"), flags=re.M)[1:]:
        rows = re.findall(r"^\| `([^`]+)`(\??) \| ([^|]+) \|", section, flags=re.M)
        out[section.split("\n", 1)[0].strip()] = {
            name: (tuple(TYPES.get(t, type(None)) for t in kinds.split(" or ")), not maybe)
            for name, maybe, kinds in ((n, m, k.strip()) for n, m, k in rows)
        }
    return out


DOCUMENTED = documented()


def flat(value: Any, fields: Fields, at: str = "") -> Iterator[tuple[str, Any]]:
    """(field as the page writes it, value) of an object, as deep as the page goes."""
    for key, inner in value.items():
        name = at + key
        if at + "*" in fields:
            yield at + "*", inner
        elif name in fields:
            yield name, inner
        elif isinstance(inner, dict) and inner:
            yield from flat(inner, fields, name + ".")
        elif isinstance(inner, list) and any(f.startswith(name + "[]") for f in fields):
            for element in inner:
                yield from flat(element, fields, name + "[].")
        else:
            yield name, inner


def holds(seen: dict[str, Any], section: str) -> None:
    fields = DOCUMENTED[section]
    found: set[str] = set()
    for name, value in flat(seen, fields):
        assert name in fields, f"{section}: {name} is not in {DOC.name}"
        kinds = fields[name][0]
        exact = type(value) in kinds or (float in kinds and type(value) is int)
        assert exact, f"{section}: {name} is {value!r}, expected {kinds}"
        found.add(name)
    missing = {name for name, (_, always) in fields.items() if always} - found
    assert not missing, f"{section}: {missing}"


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == status
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    seen = json.loads(out)
    assert isinstance(seen, dict)
    return seen


def test_every_command_is_there() -> None:
    commands = {name for names in FAMILIES.values() for name in names} - ELSEWHERE
    assert commands - set(LIKE) == set(DOCUMENTED) - {"Errors"}
    assert all(DOCUMENTED.values())


def test_convert_and_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "m.pft")
    holds(said(capsys, "convert", str(models.STORIES), "-o", path), "convert")
    holds(said(capsys, "inspect", path, "--steps"), "inspect")
    holds(said(capsys, "ports"), "ports")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("stories", ["--prompt", "Tom", "-n", "2"]),
        ("intents", ["--prompt", "will it rain?"]),
        ("english-french", ["--prompt", "I am tired."]),
        ("facts", ["--context", "Anna lives in Lyon.", "--prompt", "Where does Anna live?"]),
        ("motions", ["--input", str(models.ROOT / "models/motions/walking.csv")]),
    ],
)
def test_simulate(own, capsys: pytest.CaptureFixture[str], name: str, given: list[str]) -> None:
    holds(said(capsys, "simulate", str(own(name).path), *given), "simulate")


def test_warnings_are_in_it(own, capsys: pytest.CaptureFixture[str]) -> None:
    path, long = str(own("intents").path), "will it rain tomorrow in the old town " * 20
    for more in ([], ["--quiet"]):
        (text,) = said(capsys, "simulate", path, "--prompt", long, *more)["warnings"]
        assert text.endswith("the rest is cut")
    assert said(capsys, "simulate", path, "--prompt", "will it rain?")["warnings"] == []


def test_page(page_cache, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(page_cache))
    holds(said(capsys, "page", "-o", str(tmp_path / "site")), "page")


def test_eval(own, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "d.tsv"
    data.write_text("GetWeather\twill it rain\nPlayMusic\tplay a song\n")
    reference = "--reference", str(models.ROOT / "models" / "intents"), "--data", str(data)
    seen = said(capsys, "eval", str(own("intents").path), *reference)
    holds(seen, "eval")
    assert seen["warnings"] == []


def test_eval_doubts_another_checkpoint(own, tmp_path: Path, capsys) -> None:
    """Of the same shape, with its weights in another order."""
    other = tmp_path / "other"
    shutil.copytree(models.ROOT / "models" / "motions", other)
    random = np.random.default_rng(0)
    for path in other.glob("*.safetensors"):
        tensors = load_file(path)
        save_file({k: random.permuted(v) for k, v in tensors.items()}, path)
    seen = said(capsys, "eval", str(own("motions").path), "--reference", str(other))
    (text,) = seen["warnings"]
    assert "is not the checkpoint that" in text


def test_plan(stories, capsys: pytest.CaptureFixture[str]) -> None:
    one = said(capsys, "plan", str(stories.path), "--board", "pico")
    holds(one, "plan")
    holds(one["with_server"], "plan")
    for b in said(capsys, "plan", str(stories.path))["boards"]:
        holds(b, "plan")
    holds(said(capsys, "plan", str(stories.path), "--board", "esp32", status=1), "plan")


def test_romfs(stories, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    holds(said(capsys, "romfs", str(stories.path), "-o", str(tmp_path / "m.img")), "romfs")


def test_on_a_board(own, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reason = models.no_board()
    if reason:
        pytest.skip(reason)
    with UnixBoard(tmp_path / "flash") as unix:
        port = "--port", unix.port
        for name in ("stories", "intents", "english-french", "facts"):
            holds(said(capsys, "deploy", str(own(name).path), *port), "deploy")
        some = "--positions", "4"
        holds(said(capsys, "selftest", str(own("stories").path), *port, *some), "selftest")
        holds(said(capsys, "generate", *port, "--model", "stories", "-n", "2"), "generate")
        holds(said(capsys, "classify", *port, "--model", "intents", "rain"), "classify")
        empty = said(capsys, "classify", *port, "--model", "intents", " ")
        holds(empty, "classify")
        assert empty["warnings"] == ["the text is empty: the result means nothing"]
        french = "--model", "english-french", "I am tired."
        holds(said(capsys, "translate", *port, *french), "classify")
        facts = "--model", "facts", "--context", "Anna lives in Lyon.", "Where is Anna?"
        holds(said(capsys, "answer", *port, *facts), "classify")
        no = said(capsys, "generate", *port, "--model", "storis", status=1)
        holds(no, "Errors")
        assert no["kind"] == "NoModelError" and "did you mean stories" in no["error"]
        holds(said(capsys, "update", *port), "update")
        holds(said(capsys, "boards", *port), "boards")
        holds(said(capsys, "remove", "stories", *port), "remove")
        holds(said(capsys, "remove", "--all", "--runtime", *port), "remove")
        holds(said(capsys, "boards", *port), "boards")
        holds(said(capsys, "reset", *port), "reset")


def test_boards_that_plan_knows(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("PICOFORMER_PORT", raising=False)
    monkeypatch.setattr("picoformer.commands.boards.ports", list)
    seen = said(capsys, "boards")
    holds(seen, "boards")
    assert seen["boards"] == [] and "pico" in seen["profiles"]


def test_demo(capsys: pytest.CaptureFixture[str]) -> None:
    reason = models.no_board()
    if reason:
        pytest.skip(reason)
    holds(said(capsys, "demo", "-n", "3"), "demo")


@pytest.mark.parametrize(
    ("arguments", "status", "kind"),
    [
        (["inspect", "no-such-file"], 1, "Error"),
        (["inspect"], 2, "UsageError"),
        (["inspect", "m.pft", "--nope"], 2, "UsageError"),
        (["inspec", "m.pft"], 2, "UsageError"),
        (["plan", "m.pft", "--positions", "many"], 2, "UsageError"),
        (["generate", "--port", "/dev/no-such-port"], 1, "PortError"),
    ],
)
def test_mistakes(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, kind: str
) -> None:
    seen = said(capsys, *arguments, status=status)
    holds(seen, "Errors")
    assert seen["kind"] == kind and capsys.readouterr().err == ""


def test_firmware(own, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("littlefs", reason="the Python package littlefs-python is missing")
    base, out = uf2(tmp_path / "base.uf2"), tmp_path / "all.uf2"
    more = "--micropython", str(base), "-o", str(out)
    holds(said(capsys, "firmware", str(own("intents").path), *more), "firmware")
