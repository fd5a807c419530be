"""The commands about boards: ports, boards, deploy and selftest."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from ..boards.board import Board
from ..boards.contents import Held
from ..boards.port import PORT as NAMED
from ..boards.port import ports
from ..boards.selftest import SelfTest, selftest
from ..compile.modelfile import load
from ..errors import Error
from ..planning.profiles import PROFILES, Profile
from ..version import __version__
from .arguments import PORT, add_json, add_model, add_port, add_positions, command, then, warn
from .describing import how_to_run
from .doubts import remember
from .open import opened
from .printing import Bars, show_json, table

RUNS = "ran, and runs again"


def add_commands(commands: Any) -> None:
    """Add the commands to the subparsers of `picoformer`."""
    text = "list the serial ports that may have a board"
    p = command(commands, "ports", _ports, text, "")
    add_json(p)

    text = "show what is on the connected boards, and which ones plan knows"
    p = command(commands, "boards", _boards, text, "", "--port emulator")
    add_json(p)
    p.add_argument(
        "--port", metavar="PORT", help=PORT.replace("the only connected board", "all of them")
    )

    p = command(
        commands, "deploy", _deploy, "put a model, and the runtime that it needs, on a board",
        "stories.pft", "stories.pft --port emulator", "stories.pft --name far --weights host",
    )  # fmt: skip
    add_json(p)
    add_model(p)
    add_port(p)
    p.add_argument(
        "--name", metavar="NAME", help="name of the model on the board (default: the file's)"
    )
    p.add_argument(
        "--weights", choices=("board", "host"), default="board",
        help="host: the weights stay on this PC, which sends them whenever the model runs "
        "(default: board)",
    )  # fmt: skip

    text = "compare each step of a model on a board with the simulator"
    p = command(commands, "selftest", _selftest, text, "stories.pft")
    add_json(p)
    add_model(p)
    add_port(p)
    add_positions(p, old=True)
    p.add_argument(
        "--kernels",
        choices=("dsp", "thumb", "rv32", "viper", "portable"),
        help="implementation to test (default: the fastest that the board has)",
    )


def _ports(o: argparse.Namespace) -> None:
    found = [
        {
            "port": p.device,
            "description": p.description,
            "usb": f"{p.vid:04x}:{p.pid:04x}",
            "serial_number": p.serial_number,
        }
        for p in ports()
    ]
    if o.json:
        show_json({"ports": found})
        return
    for row in found:
        print("  ".join(str(v) for v in row.values() if v))
    if not found:
        print("no USB serial port; --port emulator is a board that is always there")
    port = found[0]["port"] if found else "emulator"
    then(o, f"picoformer boards --port {port}")


def _boards(o: argparse.Namespace) -> None:
    o.port = o.port or os.environ.get(NAMED)
    rows: list[dict[str, Any]] = []
    for port in [o.port] if o.port else [str(p.device) for p in ports()]:
        try:
            with Board(port) as board:
                rows.append(_what_is_on(board))
        except Error as e:
            if o.port:
                raise
            rows.append({"port": port, "error": str(e)})
    profiles = [] if o.port else list(PROFILES.values())
    if o.json:
        kinds = {
            p.name: {k: vars(getattr(p, k)) for k in ("heap", "largest", "flash")}
            | {"title": p.title, "kernels": p.kernels, "mapped_flash": p.mapped}
            for p in profiles
        }
        show_json({"boards": rows} | ({"profiles": kinds} if kinds else {}))
        return
    for row in rows:
        _print_board(row)
    if len(rows) == 1:
        _after_boards(o, rows[0])
    if not rows:
        print("no board is connected; --port emulator is one that is always there")
    if profiles:
        print("\nboards that picoformer plan --board knows, with bytes free at boot")
        head = ("", "heap", "", "in one piece", "filesystem", "kernels", "flash")
        print(table([head, *(_profile(p) for p in profiles)], right=True))


def _what_is_on(board: Board) -> dict[str, Any]:
    """What a board is and has; where its runtime does not say the heap, without it, and why."""
    known, there = board.platform, board.contents()
    held: Held | None = None
    row: dict[str, Any] = {
        "port": board.port,
        "platform": known.platform,
        "machine": known.machine,
        "micropython": ".".join(map(str, known.version)),
        "architecture": known.architecture,
        "free_flash": there.free,
        "flash": there.total,
        "main": there.program,
        "runs": board.stopped,
        "runtime": None,
    }
    try:
        held = board.runtime()
        if held.sums:
            row["runtime"] = {
                "version": held.version,
                "current": held.current,
                "compiled": held.compiled,
            }
            row = board.info | row
    except Error as e:
        row["error"] = str(e)
    return row | {"models": [vars(m) for m in there.models]}


def _print_board(row: dict[str, Any]) -> None:
    print(f"{row['port']}  {row.get('machine', '')}")
    if "micropython" not in row:
        print(f"  {row['error']}")
        return
    native = row["architecture"] or "no native code"
    print(f"  MicroPython {row['micropython']} on {row['platform']}, {native}")
    if row["runtime"] or "error" not in row:
        print(f"  runtime  {_runtime(row['runtime'])}")
    if "error" in row:
        print(f"  error    {row['error']}")
    if "free_heap" in row:
        free, largest = row["free_heap"], row["largest_block"]
        print(f"  heap     {free:,} bytes free, {largest:,} in one piece")
    print(f"  flash    {row['free_flash']:,} bytes free of {row['flash']:,}")
    for m in row["models"]:
        what = f"{m['task']}, {m['context']} positions" if m["task"] else m["state"]
        host = ", its weights on the PC" if m["weights"] == "host" else ""
        print(f"  model    {m['name']}  {m['bytes']:,} bytes  {what}{host}")
    if not row["models"]:
        print("  model    none")
    if row["main"]:
        print(f"  main.py  {RUNS if row['runs'] else 'does not run: picoformer reset starts it'}")


def _runtime(held: dict[str, Any] | None) -> str:
    """What there is of the runtime, in words."""
    if not held:
        return "none: picoformer update installs it"
    version = held["version"] or "a part of one"
    form = "" if held["compiled"] else ", as .py"
    if held["current"]:
        return f"{version}{form}, this PC's"
    if version == __version__:
        return f"{version}{form}, with other files than this PC's: picoformer update"
    return f"{version}{form}, this PC's is {__version__}: picoformer update"


def _after_boards(o: argparse.Namespace, row: dict[str, Any]) -> None:
    """The next step with a board."""
    port = f"--port {o.port or row['port']}"
    whole = [m for m in row.get("models", ()) if m["task"]]
    if "error" in row:
        return  # it has the remedy
    if not (row["runtime"] or {}).get("current"):
        then(o, f"picoformer update {port}")
    elif not whole:
        then(o, f"picoformer deploy MODEL.pft {port}")
    else:
        task, name = whole[0]["task"], whole[0]["name"]
        given = {"generate": "--prompt TEXT", "answer": "--context TEXT QUESTION"}
        given["predict"] = "--input SIGNAL.csv"
        then(o, f"picoformer {task} {port} --model {name} {given.get(task, 'TEXT')}")


def _profile(p: Profile) -> tuple[str, ...]:
    flash = f"{p.flash.bytes:,}" if p.flash.bytes else "a folder"
    where = "as memory" if p.mapped else "as files"
    heap = f"{p.heap.bytes:,}", p.heap.how, f"{p.largest.bytes:,}"
    return (p.name, *heap, flash, p.kernels, where)


def _deploy(o: argparse.Namespace) -> None:
    m = load(o.model)  # a file that is none needs no board
    bars = Bars(o.json or o.quiet)
    start = time.perf_counter()
    try:
        with opened(o) as board:
            board.update(bars, o.model)
            b = board.budget(o.model)
            name = board.deploy(o.model, o.name, bars, o.weights)
            size = next(m.bytes for m in board.models() if m.name == name)
            port = board.port
    finally:
        bars.close()
    seconds = time.perf_counter() - start
    warn(o, board.notice)
    remember(o.model)
    if o.json:
        budget = {"heap_needed": b.needed, "heap": b.heap, "fits": b.fits, "longest": b.longest}
        show_json({"name": name, "bytes": size, "seconds": seconds, "port": port, **budget})
        return
    print(f"{name}: {size:,} bytes are on the board and verified, in {seconds:.1f} s")
    if o.weights == "host":
        print(f"its weights stay here: run it with --weights {o.model}")
        then(o, how_to_run(m, name, o.port, o.model))
        return
    print(f"it will need {b.needed:,} bytes of heap beside the server, of {b.heap:,}")
    if board.stopped:
        print(f"its main.py {RUNS}")
    if not b.fits:
        warn(o, " ".join([b.verdict, *b.advice]))
    then(o, how_to_run(m, name, o.port))


def _selftest(o: argparse.Namespace) -> int:
    """The exit status is 1 where a step differs."""
    bars = Bars(o.json or o.quiet)
    try:
        with opened(o) as board:
            r = selftest(board, o.model, context=o.positions, kernels=o.kernels, progress=bars)
    finally:
        bars.close()
    warn(o, board.notice)
    if o.json:
        show_json(r.to_dict())
        return not r.equal
    _print_selftest(r)
    if d := r.difference:
        where = f" ({d.value})" if d.value else ""
        said = (
            f"element {d.element} of position {d.position} is {d.board}, the simulator's is "
            f"{d.simulator}"
            if d.element >= 0
            else "but it was right when it ran again: look for what else writes to memory"
        )
        raise Error(
            f"step {d.step}, {d.op}{where}, is not the simulator's: {said}. Please report it, "
            "with all of the above"
        )
    then(o, how_to_run(load(o.model), r.model, o.port))
    return 0


def _print_selftest(r: SelfTest) -> None:
    i = r.board
    print(
        f"{i['machine']}, MicroPython {i['micropython']}, picoformer {__version__}\n"
        f"{r.model}: {r.kernels} kernels, weights in {r.weights}, {r.taken_heap:,} bytes of "
        f"heap taken, {r.free_heap:,} free\n\n"
        f"{'step':10} {'calls':>6} {'ms':>10}"
    )
    for t in r.times:
        each = f"  {t.products / max(t.us, 1):.2f} million products a second"
        print(f"{t.op:10} {t.calls:6} {t.us / 1000:10.1f}{each if t.products else ''}")
    print(f"\n{r.steps} steps are the simulator's, bit for bit" if r.equal else "")
