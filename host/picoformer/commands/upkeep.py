"""The commands that look after a board: update, remove and reset."""

from __future__ import annotations

import argparse
import time
from typing import Any

from ..boards.contents import Held
from ..errors import Error
from .arguments import add_json, add_port, command, then, warn
from .open import at, opened
from .printing import Bars, show_json, size

GREETING = 'Type "help()" for more'  # of MicroPython at its prompt
PRINTED = 20  # lines of what a program printed that are shown


def add_commands(commands: Any) -> None:
    """Add the commands to the subparsers of `picoformer`."""
    text = "install the runtime on a board, or bring it up to date"
    p = command(commands, "update", _update, text, "")
    add_json(p)
    add_port(p)

    text = "delete models, or the runtime, from a board"
    examples = "stories", "--all --runtime --port emulator"
    p = command(commands, "remove", _remove, text, *examples)
    add_json(p)
    p.add_argument(
        "names", metavar="NAME", nargs="*",
        help="model to delete, by its name in `picoformer boards`",
    )  # fmt: skip
    p.add_argument("--all", action="store_true", help="delete all models")
    p.add_argument(
        "--runtime", action="store_true", help="delete the runtime as well; alone: only that"
    )
    add_port(p)

    text = "restart a board, so that its main.py runs"
    p = command(commands, "reset", _reset, text, "", "--hard")
    add_json(p)
    p.add_argument(
        "--hard", action="store_true",
        help="restart as its reset button does (default: a soft reset)",
    )
    add_port(p)


def _update(o: argparse.Namespace) -> None:
    bars = Bars(o.json or o.quiet)
    start = time.perf_counter()
    try:
        with opened(o) as board:
            before = board.runtime()
            board.update(bars)
            after = board.runtime()
            models = board.contents().models
    finally:
        bars.close()
    seconds = time.perf_counter() - start
    written = sorted(n for n, crc in after.sums.items() if before.sums.get(n) != crc)
    removed = sorted(set(before.sums) - set(after.sums))
    if o.json:
        show_json(
            {
                "port": board.port,
                "before": before.version,
                "after": after.version,
                "written": written,
                "removed": removed,
                "compiled": after.compiled,
                "notice": board.notice,
                "seconds": seconds,
            }
        )
        return
    warn(o, board.notice)
    print(_updated(before, after, len(written), len(removed), seconds))
    if models:
        then(o, f"picoformer boards{at(o)}")
    else:
        then(o, f"picoformer deploy MODEL.pft{at(o)}")


def _updated(before: Held, after: Held, written: int, removed: int, seconds: float) -> str:
    """What became of a runtime, in words."""
    if not written and not removed:
        return f"the runtime is up to date: {after.version}, {len(after.sums)} files"
    if not before.sums:
        what = f"the runtime is installed: {after.version}"
    elif before.version == after.version:
        what = f"the runtime is up to date now: another {after.version}"
    else:
        was = before.version or "a part of one"
        what = f"the runtime is up to date now: {after.version}, it was {was}"
    return f"{what}; {written} files written, {removed} removed, in {seconds:.1f} s"


def _remove(o: argparse.Namespace) -> None:
    names = [name.removesuffix(".pft") for name in o.names]
    with opened(o) as board:
        there = sorted({m.name for m in board.contents().models})
        if not (names or o.all or o.runtime):
            listed = ", ".join(there) or "none"
            raise Error(f"say what to remove: a NAME (on the board: {listed}), --all or --runtime")
        files = board.remove(*(there if o.all else names), runtime=o.runtime)
        left = board.contents()
    if o.json:
        rows = [{"name": m.name, "bytes": m.bytes} for m in files]
        free = left.free
        port = board.port
        show_json({"port": port, "removed": rows, "runtime": o.runtime, "free_flash": free})
        return
    for m in files:
        print(f"{m.name}: {size(m.bytes)} removed" + f" ({m.odd})" * bool(m.odd))
    if o.all and not files:
        print("there was no model on the board")
    if o.runtime:
        print("the runtime is removed")
    print(f"{size(left.free)} of flash are free")
    if o.runtime:
        then(o, f"picoformer update{at(o)}    # if you want the runtime back")
    else:
        then(o, f"picoformer deploy MODEL.pft{at(o)}")


def _reset(o: argparse.Namespace) -> None:
    with opened(o) as board:
        program = board.contents().program
        said = board.reset(o.hard)
    printed, ended = _heard(said)
    if o.json:
        values = {"port": board.port, "hard": o.hard, "main": program}
        show_json({**values, "said": said, "printed": printed, "ended": ended})
        return
    before, trouble, trace = printed.partition("Traceback")
    if trouble:
        last = trace.rstrip().splitlines()
        error = next((line for line in last if line[:1].isalpha()), last[-1])
        print(f"the board was reset, and its program ended: {error}")
        _show_printed(before, "before that it printed")
        then(o, f"mpremote connect {board.port} resume repl    # Ctrl-D there runs it once more")
    elif not program:
        print("the board was reset: it has no main.py, and is at its prompt")
        _show_printed(printed, "it printed")
        then(o, f"picoformer boards{at(o)}")
    elif ended:
        print("the board was reset: its main.py ran and ended, and it is at its prompt")
        _show_printed(printed, "it printed")
        then(o, f"mpremote connect {board.port} resume repl    # Ctrl-D there runs it once more")
    else:
        print("the board was reset: its main.py runs")
        _show_printed(printed, "within a second it printed")
        then(o, f"mpremote connect {board.port} resume repl    # to see what it says")


def _heard(said: str) -> tuple[str, bool]:
    """What programs printed of what a board said after a reset; whether they have ended.

    Where they have, MicroPython's greeting comes next, and its prompt.
    """
    before, ended, _ = said.rpartition(GREETING)
    if not ended:
        return said, False
    start = before.rfind("MicroPython ")
    return before[: start if start >= 0 else None], True


def _show_printed(text: str, what: str) -> None:
    """The last lines of what a program printed, if it printed anything."""
    lines = text.strip().splitlines()
    if lines:
        cut = f", at the end of {len(lines)} lines" * (len(lines) > PRINTED)
        print("\n".join([f"{what}{cut}:", *lines[-PRINTED:]]))
