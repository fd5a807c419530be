"""The command that plans: what a model takes on a board, in the terminal and as a page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import Error
from ..planning.lifetimes import weights
from ..planning.page import HEAP, heap_parts, page
from ..planning.planner import Budget, Planner, profile
from ..planning.profiles import PROFILES

BAR = 50  # characters of a bar
FULL, EMPTY = "#", "."


def add_commands(commands: Any) -> None:
    """Add the command to the subparsers of `picoformer`."""
    text = "say what a model will take on a board, and whether it fits"
    p = commands.add_parser("plan", help=text, description=text[0].upper() + text[1:] + ".")
    p.set_defaults(run=_plan)
    p.add_argument("model", metavar="MODEL.pft")
    p.add_argument(
        "--board", metavar="BOARD", help=f"{', '.join(PROFILES)} (default: all of them)"
    )
    p.add_argument("--context", type=int, metavar="N", help="positions (default: the file's)")
    p.add_argument("--heap", type=int, metavar="BYTES", help="free at boot, of a board of yours")
    p.add_argument("--largest", type=int, metavar="BYTES", help="its largest single allocation")
    p.add_argument("--html", metavar="FILE", help="write pictures of it to a page")
    p.add_argument("--json", action="store_true", help="print one JSON object, for scripts")


def table(rows: Sequence[tuple[str, ...]], indent: str = "  ") -> str:
    """Rows in columns, the first to the left and the others to the right."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = (
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths)))  # noqa: B905
        for r in rows
    )
    return "\n".join(indent + line.rstrip() for line in lines)


def _plan(o: argparse.Namespace) -> None:
    for name in ("heap", "largest"):
        if getattr(o, name) is not None and getattr(o, name) < 1:
            raise Error(f"--{name} is {getattr(o, name)}, expected bytes")
    if o.board is None:
        if o.html or o.heap or o.largest:
            raise Error("--html, --heap and --largest are for one board: add --board")
        _all(o)
        return
    planner = Planner(o.model, profile(o.board).with_memory(o.heap, o.largest))
    alone, served = planner.budget(o.context), planner.budget(o.context, server=True)
    if o.html:
        try:
            Path(o.html).write_text(page(planner, alone, served), "utf-8")
        except OSError as e:
            raise Error(f"cannot write {o.html}: {e.strerror}") from e
    if o.json:
        print(json.dumps({**alone.to_dict(), "with_server": served.to_dict()}, ensure_ascii=False))
        return
    print(_report(planner, alone, served))
    if o.html:
        print(f"\n{o.html} shows it")


def _all(o: argparse.Namespace) -> None:
    budgets = [Planner(o.model, p).budget(o.context) for p in PROFILES.values()]
    if o.json:
        print(json.dumps({"boards": [b.to_dict() for b in budgets]}, ensure_ascii=False))
        return
    rows = [("board", "heap needed", "of", "longest context", "weights", "")]
    for b in budgets:
        row = (b.board, f"{b.needed:,}", f"{b.heap:,}", str(b.longest or "none"), b.weights)
        rows.append((*row, "fits" if b.fits else "does not fit"))
    print(f"{o.model} at {budgets[0].context} positions, alone in a script")
    print(table(rows))


def _line(name: str, n: int, whole: int) -> tuple[str, str, str]:
    return name, f"{n:,}", FULL * round(BAR * n / whole)


def _report(planner: Planner, b: Budget, served: Budget) -> str:
    board = planner.board
    out = [
        f"{b.model or 'the model'} on {board.title}, {b.context} positions, weights in "
        f"{b.weights}, {b.kernels} kernels",
        "",
        table(
            [
                ("", "needed", "there", "longest context", ""),
                *(
                    (name, f"{x.needed:,}", f"{x.heap:,}", str(x.longest or "none"),
                     "fits" if x.fits_heap else "does not fit")
                    for name, x in (("heap, alone in a script", b),
                                    ("heap, beside the serial server", served))
                ),
                (f"in one piece: {b.largest_part}", f"{b.largest:,}", f"{b.largest_free:,}", "",
                 "fits" if b.fits_block else "does not fit"),
                ("filesystem: model and runtime", f"{b.model_flash + b.runtime_flash:,}",
                 f"{b.flash:,}" if b.flash else "", "",
                 "fits" if b.fits_flash else "does not fit"),
            ]
        ),
        "",
        "heap at its fullest, alone",
    ]  # fmt: skip
    parts = heap_parts(b)
    whole = max(b.heap, b.needed)
    rows = [_line(name, parts[key], whole) for key, name, _ in HEAP]
    if b.heap > b.needed:
        free = b.heap - b.needed
        rows.append(("free", f"{free:,}", EMPTY * round(BAR * free / whole)))
    wide = max(len(r[0]) for r in rows)
    out += [f"  {name:{wide}} {n:>10}  {bar}".rstrip() for name, n, bar in rows]
    kinds: dict[str, int] = {}
    for w in weights(planner.model):
        kinds[w.kind] = kinds.get(w.kind, 0) + w.bytes
    out += [
        "",
        f"weights in the file, {sum(kinds.values()):,} bytes of {b.float_bytes:,} as float32",
    ]
    whole = max(kinds.values(), default=1)
    out += [
        f"  {name:{wide}} {n:>10,}  {FULL * round(BAR * n / whole)}" for name, n in kinds.items()
    ]
    figures = {
        "heap": board.heap, "largest block": board.largest, "filesystem": board.flash,
    }  # fmt: skip
    out += ["", "the board's figures"]
    out += [f"  {name:{wide}} {f.how}: {f.source}" for name, f in figures.items()]
    out += [f"  {'code':{wide}} {board.code_how}: docs/memory.md"]
    for name, x in (("", b), ("Beside the server: ", served)):
        if not x.fits:
            out += ["", name + " ".join([x.verdict, *x.advice])]
    return "\n".join(out)
