"""Model files in words: what they say of themselves, and how to run them."""

from __future__ import annotations

import shlex
from typing import Any

from ..compile.modelfile import ModelFile

SHOWN = 8  # labels, of many

# What a task needs, by its name: behind `picoformer simulate MODEL.pft`, and on a board.
_TRY = {
    "generate": '--prompt "Once upon a time" -n 50',
    "classify": '--prompt "a text"',
    "embed": '--prompt "a text"',
    "tag": '--prompt "Anna lives in Lyon"',
    "translate": '--prompt "I am tired."',
    "answer": '--context "Anna lives in Lyon." --prompt "Where does Anna live?"',
}
_ON_A_BOARD = {
    "generate": '--prompt "Once upon a time" -n 50',
    "answer": '--context "Anna lives in Lyon." "Where does Anna live?"',
}
# What is written in a program on the board, behind `m = Model(path)`.
_IN_PYTHON = {
    "generate": 'print("".join(m.generate("Once upon a time", 50)))',
    "translate": 'print(m.translate("I am tired."))',
    "answer": 'print(m.answer("Anna lives in Lyon.", "Where does Anna live?"))',
}


def how_to_simulate(m: ModelFile, path: str) -> str:
    """A command line that runs a model on the PC."""
    given = "--image PICTURE.png" if m.program[14] else _TRY[m.task]
    return f"picoformer simulate {shlex.quote(path)} {given}"


def how_to_run(m: ModelFile, name: str, port: str | None, weights: str = "") -> str:
    """A command line that runs a model on a board."""
    given = _ON_A_BOARD.get(m.task, '"a text"')
    if m.program[14]:
        given = "--image PICTURE.png"
    where = f" --port {port}" if port else ""
    more = f" --weights {weights}" if weights else ""
    return f"picoformer {m.task}{where} --model {shlex.quote(name)}{more} {given}"


def in_python(task: str, name: str, image: bool = False) -> str:
    """Statements that run a model in a program on the board."""
    given = "pixels" if image else '"a text"'
    call = _IN_PYTHON.get(task, f"print(m.{task}({given}))")
    return f'on the board: from picoformer import Model; m = Model("/{name}.pft"); {call}'


def meta_rows(m: ModelFile) -> list[tuple[str, str]]:
    """What a file says of itself, in words: no raw lists, no whole templates."""
    rows = []
    for key, value in m.meta.items():
        if key == "values" or value in ("", None, [], {}):
            continue
        rows.append((str(key), _words(key, value)))
    if not m.program[14]:
        bos = f", begins with token {m.bos}" if m.bos >= 0 else ""
        ends = ", ends with " + " or ".join(map(str, m.ends)) if m.ends else ""
        rows.append(("vocabulary", f"{m.vocab:,} tokens{bos}{ends}"))
    return rows


def _words(key: Any, value: Any) -> str:
    if key == "image" and isinstance(value, list) and len(value) >= 4:
        height, width, channels, patch = value[:4]
        colours = "grey" if channels == 1 else f"{channels} channels"
        return f"{height} x {width} pixels, {colours}, in patches of {patch} x {patch}"
    if isinstance(value, list):
        more = f" and {len(value) - SHOWN} more" if len(value) > SHOWN else ""
        return f"{len(value)}: {', '.join(map(str, value[:SHOWN]))}{more}"
    if isinstance(value, dict):
        return ", ".join(map(str, value))
    if isinstance(value, str) and (len(value) > 120 or "\n" in value):
        return f"{len(value):,} characters"
    return f"{value:,}" if type(value) is int else str(value)
