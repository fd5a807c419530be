"""The command that plans: what a model takes on a board, in the terminal and as a page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..compile.modelfile import load
from ..errors import Error
from ..planning.budget import HEAP, Budget
from ..planning.lifetimes import weights
from ..planning.page import page
from ..planning.planner import Planner
from ..planning.profiles import PROFILES, Profile, profile
from .arguments import add_json, add_model, add_positions, command, then
from .open import opened
from .printing import bar, show_json, table

WIDE = 50  # characters of a bar
NAMES = max(map(len, HEAP.values()))  # characters of what a bar is of


def add_commands(commands: Any) -> None:
    """Add the command to the subparsers of `picoformer`."""
    text = "say what a model will take on a board, and whether it fits"
    p = command(
        commands, "plan", _plan, text, "stories.pft", "stories.pft --port emulator",
        "stories.pft --board pico --html plan.html",
    )  # fmt: skip
    add_model(p)
    p.add_argument(
        "--board", metavar="BOARD",
        help=f"plan for one board: {', '.join(PROFILES)} (default: all of them)",
    )
    p.add_argument(
        "--port", metavar="PORT",
        help="plan for the board on this port, with the heap and flash that it has free",
    )  # fmt: skip
    add_positions(p, old=True)
    p.add_argument(
        "--heap", type=int, metavar="BYTES", help="plan for another board: bytes of free heap"
    )
    p.add_argument(
        "--largest", type=int, metavar="BYTES", help="with --heap: bytes of its largest piece"
    )
    p.add_argument("--html", metavar="FILE", help="draw the plan on a web page")
    add_json(p)


def _plan(o: argparse.Namespace) -> int:
    """The exit status is 1 where it does not fit, alone in a script; of several boards, any."""
    for name in ("heap", "largest"):
        if getattr(o, name) is not None and getattr(o, name) < 1:
            raise Error(f"--{name} is {getattr(o, name)}, expected bytes")
    if o.port and (o.board or o.heap or o.largest):
        raise Error("--port asks the board: leave out --board, --heap and --largest")
    if o.board is None and o.port is None:
        if o.html or o.heap or o.largest:
            raise Error("--html, --heap and --largest are for one board: add --board")
        return _all(o)
    planner = Planner(o.model, _board(o))
    alone, served = planner.budget(o.positions), planner.budget(o.positions, server=True)
    if o.html:
        try:
            Path(o.html).write_text(page(planner, alone, served), "utf-8")
        except OSError as e:
            raise Error(f"cannot write {o.html}: {e.strerror}") from e
    if o.json:
        show_json({**alone.to_dict(), "with_server": served.to_dict()})
        return not alone.fits
    print(_report(planner, alone, served))
    if o.html:
        print(f"\n{o.html} shows it")
    elif alone.fits or served.fits:
        then(o, f"picoformer deploy {o.model} --port {o.port or 'PORT'}")
    return not alone.fits


def _board(o: argparse.Namespace) -> Profile:
    if o.port is None:
        return profile(o.board).with_memory(o.heap, o.largest)
    load(o.model)  # a file that is none needs no board
    with opened(o) as board:
        return board.kind(o.model)


def _all(o: argparse.Namespace) -> int:
    budgets = [Planner(o.model, p).budget(o.positions) for p in PROFILES.values()]
    none = not any(b.fits for b in budgets)
    if o.json:
        show_json({"boards": [b.to_dict() for b in budgets]})
        return none
    rows = [("board", "heap needed", "of", "longest context", "weights", "")]
    for b in budgets:
        row = (b.board, f"{b.needed:,}", f"{b.heap:,}", str(b.longest or "none"), b.weights)
        rows.append((*row, "fits" if b.fits else f"does not fit: {b.lacking}"))
    print(f"{o.model} at {budgets[0].context} positions, alone in a script")
    print(table(rows, right=True))
    then(o, f"picoformer plan {o.model} --board NAME", "or --port PORT for a connected one")
    return none


def _report(planner: Planner, b: Budget, served: Budget) -> str:
    out = [
        f"{b.model or 'the model'} on {planner.board.title}, {b.context} positions, weights in "
        f"{b.place}, {b.kernels} kernels",
        _needs(b, served),
        f"heap at its fullest, alone\n{_heap(b)}",
        *_listening(planner),
        *_speed(b),
        _weights(planner, b),
        f"the board's figures\n{_sources(planner)}",
    ]
    said = [" ".join([x.verdict, *x.advice]) * (not x.fits) for x in (b, served)]
    if said[0] and said[0] == said[1]:
        out.append(f"Alone and beside the server: {said[0]}")
    else:
        whose = zip(("", "Beside the server: "), said, strict=True)
        out += [f"{who}{text}" for who, text in whose if text]
    return "\n\n".join(out)


def _listening(planner: Planner) -> list[str]:
    """What else a model of sound takes."""
    n = planner.listening
    if not n:
        return []
    return [f"to listen\n  {n:,} bytes more of the heap, for the newest rows of sound and what "
            "makes them, and a microphone's buffer"]  # fmt: skip


def _speed(b: Budget) -> list[str]:
    """How fast it writes, where that can be told."""
    s = b.speed
    if s is None or not b.fits:
        return []
    rows = [
        ("", "one core", "cores=2"),
        ("as emulated", f"{s.tokens_per_second:.0f}", f"{s.both_cores:.0f}"),
        ("with waits for flash", f"{s.with_waits:.0f}", f"{s.both_cores_with_waits:.0f}"),
    ]
    head = f"tokens a second at position {s.position}, estimated (docs/speed.md)"
    return [f"{head}\n{table(rows, right=True)}"]


def _needs(b: Budget, served: Budget) -> str:
    """What it needs and what is there, line by line."""

    def fits(yes: bool) -> str:
        return "fits" if yes else "does not fit"

    rows = [("", "needed", "there", "longest context", "")]
    for name, x in (("alone in a script", b), ("beside the serial server", served)):
        longest = str(x.longest or "none")
        rows.append(
            (f"heap, {name}", f"{x.needed:,}", f"{x.heap:,}", longest, fits(x.fits_heap))
        )
    largest, files = b.largest, b.model_flash + b.runtime_flash
    free, flash = f"{b.largest_free:,}", f"{b.flash:,}" if b.flash else ""
    rows += [
        (f"in one piece: {b.largest_part}", f"{largest:,}", free, "", fits(b.fits_block)),
        ("filesystem: model and runtime", f"{files:,}", flash, "", fits(b.fits_flash)),
    ]
    return table(rows, right=True)


def _heap(b: Budget) -> str:
    """What the heap holds, as bars."""
    whole = max(b.heap, b.needed)
    rows = [(HEAP[key], n, "#") for key, n in b.in_heap().items()]
    if b.heap > b.needed:
        rows.append(("free", b.heap - b.needed, "."))
    return "\n".join(
        f"  {name:{NAMES}} {n:>10,}  {bar(n, whole, WIDE, mark)}".rstrip()
        for name, n, mark in rows
    )


def _weights(planner: Planner, b: Budget) -> str:
    """The weights in the file by their kind, as bars."""
    kinds: dict[str, int] = {}
    for w in weights(planner.model):
        kinds[w.kind] = kinds.get(w.kind, 0) + w.bytes
    whole = max(kinds.values(), default=1)
    return "\n".join(
        [
            f"weights in the file, {sum(kinds.values()):,} bytes of {b.float_bytes:,} as float32",
            *(f"  {name:{NAMES}} {n:>10,}  {bar(n, whole, WIDE)}" for name, n in kinds.items()),
        ]
    )


def _sources(planner: Planner) -> str:
    """Where the board's figures come from."""
    board = planner.board
    figures = {"heap": board.heap, "largest block": board.largest, "filesystem": board.flash}
    lines = [f"  {name:{NAMES}} {f.how}: {f.source}" for name, f in figures.items()]
    return "\n".join([*lines, f"  {'code':{NAMES}} {board.code_how}: docs/memory.md"])
