"""The commands that talk to a board: ports, boards, deploy, selftest, generate and so on."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

from ..boards.board import Board, ports
from ..boards.link import Loaded, Stats
from ..boards.selftest import selftest
from ..data.pictures import picture
from ..errors import Error
from ..planning.profiles import PROFILES, Profile
from ..version import __version__
from . import plan as plan_cli

PORT_HELP = "device path, pyserial URL, emulator or emulator:pico (default: the only board)"


def add_sampling(p: argparse.ArgumentParser) -> None:
    """Add the options of everything that writes text."""
    p.add_argument("--prompt", default="", metavar="TEXT", help="text to go on from")
    p.add_argument("-n", type=int, metavar="N", help="tokens at most (to the context's end)")
    p.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0 is greedy (default)"
    )
    p.add_argument("--top-p", type=float, default=1.0, metavar="P", help="default: 1")
    p.add_argument("--seed", type=int, default=1, metavar="S", help="default: 1")


def add_beams(p: argparse.ArgumentParser) -> None:
    """Add the options of everything that translates."""
    p.add_argument(
        "--beams", type=int, default=1, metavar="N",
        help="texts that are followed at a time, 1 (greedy, default) to 8",
    )  # fmt: skip
    p.add_argument(
        "--length-penalty", type=float, default=1.0, metavar="P",
        help="power of a text's length that its cost is divided by, with beams (default: 1)",
    )  # fmt: skip


def add_commands(commands: Any) -> None:
    """Add the commands to the subparsers of `picoformer`."""

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> Any:
        p = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        p.set_defaults(run=run)
        p.add_argument("--json", action="store_true", help="print one JSON object, for scripts")
        return p

    command("ports", _ports, "list the serial ports that a board may be on")

    p = command("boards", _boards, "say what is on the connected boards, and list those of plan")
    p.add_argument("--port", metavar="PORT", help=PORT_HELP.replace("the only board", "all"))

    p = command("deploy", _deploy, "put a model, and the runtime, on a board")
    p.add_argument("model", metavar="MODEL.pft")
    p.add_argument("--port", metavar="PORT", help=PORT_HELP)
    p.add_argument("--name", metavar="NAME", help="its name on the board (default: the file's)")
    p.add_argument(
        "--weights", choices=("board", "host"), default="board",
        help="host: they stay here, and are sent whenever the model runs (default: board)",
    )  # fmt: skip

    p = command("selftest", _selftest, "compare each step that a board makes with the simulator")
    p.add_argument("model", metavar="MODEL.pft")
    p.add_argument("--port", metavar="PORT", help=PORT_HELP)
    p.add_argument("--context", type=int, metavar="N", help="positions (default: the file's)")
    p.add_argument(
        "--kernels", choices=("thumb", "viper", "portable"), help="default: the board's fastest"
    )

    def add_place(p: argparse.ArgumentParser) -> None:
        p.add_argument("--port", metavar="PORT", help=PORT_HELP)
        p.add_argument("--model", metavar="NAME", help="default: the only one on the board")
        p.add_argument(
            "--positions", type=int, default=0, metavar="N", help="default: the file's context"
        )
        p.add_argument(
            "--weights", metavar="MODEL.pft",
            help="the file of a model that was deployed with --weights host",
        )  # fmt: skip

    p = command("generate", _generate, "let a board write text")
    add_place(p)
    add_sampling(p)

    for name, text in (
        ("classify", "let a board say what a text is"),
        ("embed", "let a board turn a text into a vector"),
    ):
        p = command(name, _read, text)
        p.add_argument("text", metavar="TEXT", nargs="?")
        p.add_argument("--image", metavar="PNG", help="a picture, scaled to the model's size")
        add_place(p)
        p.set_defaults(task=name)

    p = command("translate", _write, "let a board turn a text into another")
    p.add_argument("text", metavar="TEXT")
    add_place(p)
    add_beams(p)
    p.set_defaults(task="translate")

    p = command("answer", _write, "let a board find the answer to a question in a text")
    p.add_argument("text", metavar="QUESTION")
    p.add_argument("--context", required=True, metavar="TEXT", help="where the answer is")
    add_place(p)
    p.set_defaults(task="answer")


def _show(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False))


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
        _show({"ports": found})
        return
    for row in found:
        print("  ".join(str(v) for v in row.values() if v))
    if not found:
        print("no USB serial port; --port emulator is a board that is always there")


def _boards(o: argparse.Namespace) -> None:
    rows: list[dict[str, Any]] = []
    for port in [o.port] if o.port else [str(p.device) for p in ports()]:
        try:
            with Board(port) as board:
                try:
                    rows.append(board.info)
                except Error as e:
                    known = board.platform
                    rows.append(
                        {
                            "port": board.port,
                            "platform": known.platform,
                            "machine": known.machine,
                            "micropython": ".".join(map(str, known.version)),
                            "architecture": known.architecture,
                            "error": str(e),
                        }
                    )
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
        _show({"boards": rows} | ({"profiles": kinds} if kinds else {}))
        return
    for row in rows:
        print(f"{row['port']}  {row.get('machine', '')}")
        if "micropython" in row:
            native = row["architecture"] or "no native code"
            print(f"  MicroPython {row['micropython']} on {row['platform']}, {native}")
        if "error" in row:
            print(f"  {row['error']}")
            continue
        print(
            f"  heap   {row['free_heap']:,} bytes free, {row['largest_block']:,} in one piece\n"
            f"  flash  {row['free_flash']:,} bytes free"
        )
        for m in row["models"]:
            print(f"  model  {m['name']}  {m['bytes']:,} bytes")
    if not rows:
        print("no board is connected; --port emulator is one that is always there")
    if profiles:
        print("\nboards that picoformer plan --board knows, with bytes free at boot")
        head = ("", "heap", "", "in one piece", "filesystem", "kernels", "flash")
        print(plan_cli.table([head, *(_profile(p) for p in profiles)]))


def _profile(p: Profile) -> tuple[str, ...]:
    flash = f"{p.flash.bytes:,}" if p.flash.bytes else "a folder"
    where = "as memory" if p.mapped else "as files"
    heap = f"{p.heap.bytes:,}", p.heap.how, f"{p.largest.bytes:,}"
    return (p.name, *heap, flash, p.kernels, where)


class Bars:
    """A progress bar for each thing that is sent, where a person can see it."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if what != self._what:
            self.close()
            self._what = what
            self._bar = tqdm(
                total=total, desc=what, unit="B", unit_scale=True, leave=False,
                disable=True if self._quiet else None,
            )  # fmt: skip
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _deploy(o: argparse.Namespace) -> None:
    bars = Bars(o.json)
    start = time.perf_counter()
    try:
        with Board(o.port) as board:
            board.update(bars)
            b = board.budget(o.model)
            name = board.deploy(o.model, o.name, bars, o.weights)
            size = next(m.bytes for m in board.models() if m.name == name)
            port = board.port
    finally:
        bars.close()
    seconds = time.perf_counter() - start
    if o.json:
        budget = {"heap_needed": b.needed, "heap": b.heap, "fits": b.fits, "longest": b.longest}
        _show({"name": name, "bytes": size, "seconds": seconds, "port": port, **budget})
        return
    print(f"{name}: {size:,} bytes are on the board and verified, in {seconds:.1f} s")
    if o.weights == "host":
        print(f"its weights stay here: run it with --weights {o.model}")
        return
    print(f"it will need {b.needed:,} bytes of heap beside the server, of {b.heap:,}")
    if not b.fits:
        print(f"warning: {' '.join([b.verdict, *b.advice])}", file=sys.stderr)


def _selftest(o: argparse.Namespace) -> None:
    bars = Bars(o.json)
    try:
        with Board(o.port) as board:
            r = selftest(board, o.model, context=o.context, kernels=o.kernels, progress=bars)
    finally:
        bars.close()
    if o.json:
        _show(r.to_dict())
    else:
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


def _generate(o: argparse.Namespace) -> None:
    if o.n is not None and o.n < 1:
        raise Error(f"-n is {o.n}, expected at least 1 token")
    with Board(o.port) as board:
        name = o.model or _only_model(board)
        loaded = board.load(name, o.positions, o.weights)
        text = ""
        pieces = board.generate(name, o.prompt, o.n, o.temperature, o.top_p, o.seed)
        interrupted = False
        try:
            before = o.prompt  # with the first token: an error has its line to itself
            for piece in pieces:
                text += piece
                if not o.json:
                    print(before + piece, end="", flush=True)
                before = ""
        except KeyboardInterrupt:
            interrupted = True
        finally:
            pieces.close()
        _report(o, text, loaded, board.stats)
    if interrupted:
        raise KeyboardInterrupt


def _write(o: argparse.Namespace) -> None:
    with Board(o.port) as board:
        name = o.model or _only_model(board)
        loaded = board.load(name, o.positions, o.weights)
        start = time.perf_counter()
        if o.task == "translate":
            text = board.translate(name, o.text, o.beams, o.length_penalty)
        else:
            text = board.answer(name, o.context, o.text)
        ms = round(1000 * (time.perf_counter() - start))
    if o.json:
        _show({"text": text, "ms": ms, "heap": loaded.heap, "free_heap": loaded.free_heap})
        return
    print(text)
    print(
        f"\n{ms / 1000:.2f} s with the cable; {loaded.heap:,} bytes of heap "
        f"({loaded.kernels} kernels, weights in {loaded.weights}), {loaded.free_heap:,} free",
        file=sys.stderr,
    )


def _read(o: argparse.Namespace) -> None:
    if (o.text is None) == (o.image is None):
        raise Error("give a TEXT or an --image, one of them")
    with Board(o.port) as board:
        name = o.model or _only_model(board)
        loaded = board.load(name, o.positions, o.weights)
        given = o.text if o.image is None else picture(o.image, board.image_shape(name))
        start = time.perf_counter()
        if o.task == "classify":
            pairs = board.classify(name, given)
        else:
            values = board.embed(name, given)
        ms = round(1000 * (time.perf_counter() - start))
        figures = {
            "ms": ms,
            "heap": loaded.heap,
            "free_heap": loaded.free_heap,
            "context": loaded.context,
            "weights": loaded.weights,
            "kernels": loaded.kernels,
        }
        if o.task == "classify":
            show_labels(o, pairs, board.logit_scale, **figures)
        else:
            show_embedding(o, values, **figures)
    if not o.json:
        print(
            f"\n{ms / 1000:.2f} s with the cable; {loaded.heap:,} bytes of heap "
            f"({loaded.kernels} kernels, weights in {loaded.weights}), {loaded.free_heap:,} free",
            file=sys.stderr,
        )


def show_labels(
    o: argparse.Namespace, pairs: list[tuple[str, int]], scale: float, **more: Any
) -> None:
    """Print labels, best first, with the probabilities that the logits stand for."""
    best = max(logit for _, logit in pairs)
    weights = [math.exp((logit - best) * scale) for _, logit in pairs]
    shares = [w / sum(weights) for w in weights]
    if o.json:
        rows = [
            {"label": label, "logit": logit, "probability": share}
            for (label, logit), share in zip(pairs, shares, strict=True)
        ]
        _show({"label": pairs[0][0], "labels": rows, **more})
        return
    width = max(len(label) for label, _ in pairs)
    for (label, _), share in zip(pairs, shares, strict=True):
        print(f"{label:{width}}  {share:6.1%}  {'#' * round(30 * share)}".rstrip())


def show_embedding(o: argparse.Namespace, values: Any, **more: Any) -> None:
    """Print an embedding."""
    listed = [int(v) for v in values]
    if o.json:
        _show({"embedding": listed, **more})
    else:
        print(*listed)


def _only_model(board: Board) -> str:
    names = [m.name for m in board.models()]
    if len(names) == 1:
        return names[0]
    if not names:
        raise Error("there is no model on the board; deploy one: picoformer deploy MODEL.pft")
    raise Error(f"there are several models on the board, choose with --model: {', '.join(names)}")


def _report(o: argparse.Namespace, text: str, loaded: Loaded, stats: Stats) -> None:
    figures = {
        "tokens": stats.tokens,
        "tokens_per_second": stats.tokens_per_second,
        "prompt_ms": stats.first_ms,
        "ms": stats.ms,
        "stopped": stats.stopped,
        "heap": loaded.heap,
        "free_heap": stats.free_heap,
        "context": loaded.context,
        "weights": loaded.weights,
        "kernels": loaded.kernels,
    }
    if o.json:
        _show({"prompt": o.prompt, "text": text, **figures})
        return
    print("\n")
    print(
        f"{stats.tokens} tokens, {stats.tokens_per_second:,.1f} a second on the board; "
        f"{stats.first_ms / 1000:.2f} s to the first",
        file=sys.stderr,
    )
    print(
        f"model {loaded.heap:,} bytes of heap ({loaded.kernels} kernels, weights in "
        f"{loaded.weights}, {loaded.context} positions), {stats.free_heap:,} free",
        file=sys.stderr,
    )
