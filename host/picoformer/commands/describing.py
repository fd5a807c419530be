"""Model files in words: what they say of themselves, and how to run them."""

from __future__ import annotations

import shlex
from typing import Any

from ..compile.modelfile import ModelFile
from ..data.signals import shape_of
from ..graph.frames import Frames

SHOWN = 8  # labels, of many
SOUND = "f.last()"  # what a program gives a model of sound, behind _ROWS
_ROWS = "f = m.features(); f.write(samples); "

# What a task needs, by its name: behind `picoformer simulate MODEL.pft`, and on a board.
_TRY = {
    "generate": '--prompt "Once upon a time" -n 50',
    "classify": '--prompt "a text"',
    "embed": '--prompt "a text"',
    "tag": '--prompt "Anna lives in Lyon"',
    "predict": '--prompt "a text"',
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


def how_to_simulate(m: ModelFile, path: str, text: bool = True) -> str:
    """A command line that runs a model on the PC. text: False if it takes token ids alone."""
    if not text:
        ids = list(range(min(m.vocab, m.context, 3)))
        run = f"from picoformer import Simulator; print(Simulator({path!r}).logits({ids}))"
        return f"python -c {shlex.quote(run)}" if set(run) & set('"$`!') else f'python -c "{run}"'
    given = _file(m) or _TRY[m.task]
    return f"picoformer simulate {shlex.quote(path)} {given}"


def how_to_run(m: ModelFile, name: str, port: str | None, weights: str = "") -> str:
    """A command line that runs a model on a board."""
    given = _file(m) or _ON_A_BOARD.get(m.task, '"a text"')
    where = f" --port {port}" if port else ""
    more = f" --weights {weights}" if weights else ""
    return f"picoformer {m.task}{where} --model {shlex.quote(name)}{more} {given}"


def _file(m: ModelFile) -> str:
    """The option that a model's input is given with, where that is no text; else nothing."""
    if m.frames:
        return "--input SOUND.wav" if m.frames.sound else "--input SIGNAL.csv"
    return "--image PICTURE.png" if m.program[14] else ""


def in_python(task: str, name: str, given: str = '"a text"') -> str:
    """Statements that run a model in a program on the board, on what is given."""
    call = _IN_PYTHON.get(task, f"print(m.{task}({given}))")
    call = _ROWS + call if given == SOUND else call
    return f'on the board: from picoformer import Model; m = Model("/{name}.pft"); {call}'


def meta_rows(m: ModelFile) -> list[tuple[str, str]]:
    """What a file says of itself, in words: no raw lists, no whole templates."""
    rows = []
    if m.frames:
        rows += _signal(m.frames)
    for key, value in m.meta.items():
        if key in ("values", "frames", "sound") or value in ("", None, [], {}):
            continue
        rows.append((str(key), _words(key, value)))
    if not m.program[14] and not m.frames:
        bos = f", begins with token {m.bos}" if m.bos >= 0 else ""
        ends = ", ends with " + " or ".join(map(str, m.ends)) if m.ends else ""
        rows.append(("vocabulary", f"{m.vocab:,} tokens{bos}{ends}"))
    return rows


def _signal(f: Frames) -> list[tuple[str, str]]:
    """What a model of signals reads."""
    rows, (height, width), (down, right) = shape_of(f), f.size, f.stride
    window = f"windows of {height} rows" if height > 1 else "windows of 1 row"
    if width < f.channels:
        window += f" of {width}"
    apart = f", one every {down}" if down != height else ""
    if width < f.channels and right != width:
        apart = f", one every {down} rows and {right} channels"
    found = [("frames", f"{rows} channels, in {window}{apart}")]
    if f.channels == 1:
        found = [("frames", f"{rows} of one channel, in {window}{apart}")]
    if f.names:
        found.append(("channels", _words("names", list(f.names))))
    if f.unit is not None:
        steps = dict.fromkeys(f"{u:g}" for u in f.unit.tolist())
        listed = list(steps) if len(steps) == 1 else [f"{u:g}" for u in f.unit.tolist()]
        more = ", ..." if len(listed) > SHOWN else ""
        found.append(("unit", f"{', '.join(listed[:SHOWN])}{more}: what a step of one is worth"))
    if h := f.sound:
        each, hop = (f"{1000 * n / h.rate:g} ms" for n in (h.window, h.hop))
        bands = f"{h.bands} bands from {h.low:g} to {h.high:g} Hz"
        found.insert(0, ("sound", f"{h.rate:,} Hz, in rows of {each}, one every {hop}; {bands}"))
    return found


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
