"""What the serial link costs, as a table: uploads and text, against the same without it.

    python -m tools.benchmarks.link [--port emulator] [--port emulator:pico] [--json]
    python -m tools.benchmarks.link --stream MODEL.pft [--tokens 16] [--context N] ...
    python -m tools.benchmarks.link --modelled [--bytes N]

upload    bytes a second into the board's flash, verified, with the link; and what a bare loop
          on the board reaches that reads the same bytes from the same port and writes them,
          with Ctrl-C alive, as the link has it, and with Ctrl-C switched off
text      tokens a second that arrive on the PC; and that the board reaches by itself (of the
          emulated Pico, both by its own clock)
stream    one sweep of a model that stays on the PC over the first tokens of its vocabulary: the
          bytes of weights that it takes, the bytes a second of a bare loop on the board that reads
          as many into a buffer, the seconds of the same sweep with nothing to wait for, and those
          of the real one, all by the PC's clock; its share of what the first three make

modelled  the same of an ESP32 behind its UART, on a clock of its own (tests/support/uartboard.py):
          uploads by the link, and files of the runtime by the REPL, each also as it was before
          frames were long; and a PING

Emulated boards start with an empty flash of their own. Medians of --runs turns; of a stream the
quickest of each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from picoformer import convert
from picoformer.boards import install
from picoformer.boards.board import Board
from picoformer.boards.emulated.pico import PicoBoard
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.boards.link import Link
from picoformer.boards.repl import Repl
from picoformer.runtime.platforms import Platform
from tools import ROOT

PROMPT = "Once upon a time"

# A write without any protocol: nothing is checked.
BARE = """
import micropython, sys
def bare(size, interrupt):
    buffer = bytearray(1024)
    read = sys.stdin.buffer.readinto
    micropython.kbd_intr(interrupt)
    try:
        with open("/bare.bin", "wb") as f:
            sys.stdout.buffer.write(b"!")
            while size:
                n = min(size, len(buffer))
                read(buffer, n)
                f.write(buffer if n == len(buffer) else memoryview(buffer)[:n])
                size -= n
    finally:
        micropython.kbd_intr(3)
    print("done")
bare({size}, {interrupt})
"""

ALONE = """
import time
from picoformer import Model
def alone(n):
    model = Model("/{name}.pft")
    for piece in model.generate({prompt!r}, 2):
        pass
    for _ in range({runs}):
        text = model.generate({prompt!r}, n)
        next(text)
        start = time.ticks_us()
        count = 0
        for piece in text:
            count += 1
        print(count, time.ticks_diff(time.ticks_us(), start))
    model.close()
alone({n})
"""


# A read without any protocol or flash.
LINE = """
import sys
def line(size):
    buffer = bytearray({tile})
    read = sys.stdin.buffer.readinto
    sys.stdout.buffer.write(b"!")
    while size:
        size -= read(buffer, min(size, len(buffer)))
    print("done")
line({size})
"""

LINE_BYTES = {"linux": 1 << 23, "darwin": 1 << 23, "rp2": 1 << 16}  # of it; others: 1 << 20

# A sweep whose weights are whatever the buffer holds.
SWEEP = """
import sys
from picoformer import Model
class Nothing:
    def fill(self, buffer, at, n, step, g):
        pass
def sweep(tokens):
    model = Model("/{name}.pft", {context}, Nothing())
    sys.stdout.buffer.write(b"!")
    model.logits(tokens)
    print("done")
    print(model._batch)
sweep({tokens})
"""


@contextlib.contextmanager
def port_of(name: str, folder: Path) -> Iterator[str]:
    """A port's name; emulated boards get a fresh flash."""
    if name == "emulator":
        with UnixBoard(folder / "unix") as unix:
            yield unix.port
    elif name == "emulator:pico":
        with PicoBoard(folder / "pico.flash") as pico:
            yield pico.port
    else:
        yield name


def timed(board: Board, script: str, data: bytes = b"") -> tuple[float, str]:
    """Seconds between a script's "!", when `data` is sent, and its "done"; what it says then."""
    board.exec("pass")  # the REPL has the port
    repl = board.connection.repl
    repl.start(script)
    repl.expect(b"!", 60)
    start = time.perf_counter()
    for i in range(0, len(data), 4096):
        repl.write(data[i : i + 4096])
    repl.expect(b"done", 1800)
    return time.perf_counter() - start, repl.finish()


def bare(board: Board, data: bytes, interrupt: int) -> float:
    """Bytes a second of the bare loop, up to its last word."""
    seconds, _ = timed(board, BARE.format(size=len(data), interrupt=interrupt), data)
    board.exec("import os; os.remove('/bare.bin')")
    return len(data) / seconds


def stream(
    board: Board, model: Path, tokens: Sequence[int], context: int = 0, runs: int = 1
) -> tuple[dict[str, Any], list[int]]:
    """Figures of a sweep of a model whose weights are here, and its logits.

    The bare loop reads LINE_BYTES at most.
    """
    name = board.deploy(model, weights="host")
    loaded = board.load(name, context)
    sizes: list[int] = []
    logits: list[int] = []
    seconds = line = compute = math.inf
    at_once = 0
    for _ in range(runs):
        # The bare loop on either side of it: a PC's speed may change in minutes.
        size = min(model.stat().st_size, LINE_BYTES.get(board.platform.platform, 1 << 20))
        bare = reading(board, size)
        taken, sizes, logits = sweep(board, name, tokens)
        bare = (bare + reading(board, size)) / 2 * sum(sizes)
        script = SWEEP.format(name=name, context=loaded.context, tokens=list(tokens))
        alone, said = timed(board, script)
        at_once = int(said)
        seconds, line, compute = min(seconds, taken), min(line, bare), min(compute, alone)
    return {
        "stream bytes": sum(sizes),
        "stream tiles": len(sizes),
        "stream line": sum(sizes) / line,
        "stream compute": compute,
        "stream seconds": seconds,
        "stream share": seconds / (line + compute),
        "positions": len(tokens),
        "positions of a sweep": at_once,
        "context": loaded.context,
        "heap of the model": loaded.heap,
        "free heap": loaded.free_heap,
    }, logits


def reading(board: Board, size: int) -> float:
    """Seconds that the bare loop takes for a byte."""
    # No Ctrl-C in it, as in `measure`.
    data = random.Random(1).randbytes(size).replace(b"\3", b"\4")
    seconds, _ = timed(board, LINE.format(tile=4096, size=size), data)
    return seconds / size


def sweep(board: Board, name: str, tokens: Sequence[int]) -> tuple[float, list[int], list[int]]:
    """Seconds of a model's logits, the bytes of each tile, the logits. Nothing is known before."""
    board.exec("pass")  # which ends the server, and forgets what the cache holds
    board.load(name, board._asked[1])
    link = board.connection.server()
    serve = link.streamer.serve
    sizes: list[int] = []

    def counting(crc: int, at: int, size: int) -> None:
        sizes.append(size)
        serve(crc, at, size)

    link.streamer.serve = counting  # type: ignore[method-assign]
    start = time.perf_counter()
    logits = board.logits(name, tokens)
    return time.perf_counter() - start, sizes, logits.tolist()


def upload(board: Board, data: bytes) -> tuple[float, float]:
    """Bytes a second until all is in flash, and until it is verified, too."""
    link = board.connection.server()
    reached = [0.0]

    def progress(done: int, total: int) -> None:
        if done == total:
            reached[0] = time.perf_counter()

    start = time.perf_counter()
    link.upload("bench", data, progress)
    end = time.perf_counter()
    link.remove("bench")
    return len(data) / (reached[0] - start), len(data) / (end - start)


def text(board: Board, name: str, n: int) -> tuple[float, float]:
    """Tokens a second after the first, as seen here, and as the board says."""
    pieces = board.generate(name, PROMPT, n)
    next(pieces)
    start = time.perf_counter()
    count = sum(1 for _ in pieces)
    return count / (time.perf_counter() - start), board.stats.tokens_per_second


def modelled(size: int) -> dict[str, float]:
    """Bytes a second into a modelled ESP32, as it is and as it was; milliseconds of a PING."""
    from tools.sweeps.support import uartboard

    data = random.Random(1).randbytes(size)
    rows: dict[str, float] = {}
    for name in ("", ", as it was"):
        with tempfile.TemporaryDirectory() as folder, uartboard.modelled() as made:
            board = made(Path(folder))
            if name:
                uartboard.older(board)
            link = Link(board, board.clock)
            link.start(60)
            start = board.now
            link.ping(b"hi")
            rows["modelled ping, ms"] = (board.now - start) * 1e3
            start = board.now
            link.upload("m", data)
            rows["modelled link" + name] = size / (board.now - start)
            board.close()
            board = uartboard.ReplBoard(Path(folder))
            repl = Repl(board, board.clock, board.let)
            repl.run(install.RECEIVE)
            block = uartboard.OLDER_BLOCK if name else install.LONE_BLOCK
            with mock.patch.object(install, "LONE_BLOCK", block):
                start = board.now
                esp32 = Platform((1, 24, 0), 0, "esp32", "")
                install._send(repl, esp32, f"{folder}/module.mpy", data)
                rows["modelled REPL" + name] = size / (board.now - start)
            board.close()
    return rows


def measure(port: str, model: Path, size: int, tokens: int, runs: int) -> dict[str, Any]:
    # No Ctrl-C in it, so that the bare loop need not switch that off. (The pseudo-terminal of the
    # unix board is several times faster where it does.) The link's frames never hold one.
    data = random.Random(1).randbytes(size).replace(b"\3", b"\4")
    rows: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        board = stack.enter_context(Board(stack.enter_context(port_of(port, folder))))
        board.update()
        for _ in range(runs):
            note("upload bare", bare(board, data, 3))
            note("upload bare, no Ctrl-C", bare(board, data, -1))
            arrived, verified = upload(board, data)
            note("upload link", arrived)
            note("upload link, verified", verified)
        if tokens:
            board.deploy(model)
            name = model.stem
            figures = board.load(name)
            list(board.generate(name, PROMPT, 2))
            for _ in range(runs):
                here, there = text(board, name, tokens)
                note("text link", here)
                note("text link, board's clock", there)
            free = board.stats.free_heap
            script = ALONE.format(name=name, prompt=PROMPT, n=tokens, runs=runs)
            for line in board.exec(script, timeout=1800).split("\n")[:-1]:
                count, us = map(int, line.split())
                note("text alone", count / us * 1e6)
    result: dict[str, Any] = {k: statistics.median(v) for k, v in rows.items()}
    result["upload share"] = result["upload link"] / result["upload bare"]
    result["upload share, verified"] = result["upload link, verified"] / result["upload bare"]
    if tokens:
        # The emulated Pico's clock is not the wall's: compare what it measured itself.
        seen = "text link, board's clock" if port == "emulator:pico" else "text link"
        result["text share"] = result[seen] / result["text alone"]
        result |= {"heap of the model": figures.heap, "free heap": free}
        result |= {"context": figures.context}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", action="append", help="default: emulator")
    parser.add_argument("--model", help="a checkpoint (default: models/stories)")
    parser.add_argument("--bytes", type=int, help="of an upload (default: 64 KB, unix 4 MB)")
    parser.add_argument("--tokens", type=int, help="default: 200 (0: uploads only), streamed 16")
    parser.add_argument("--context", type=int, help="of the model")
    parser.add_argument("--stream", type=Path, metavar="MODEL.pft", help="only measure this")
    parser.add_argument("--modelled", action="store_true", help="only measure an ESP32's model")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    if o.modelled:
        results["an ESP32 behind its UART, modelled"] = modelled(o.bytes or 40_000)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.pft"
        if not (o.stream or o.modelled):
            convert(o.model or ROOT / "models" / "stories", model, context=o.context)
        for port in [] if o.modelled else o.port or ["emulator"]:
            if o.stream:
                with port_of(port, Path(folder)) as name, Board(name) as board:
                    tokens = range(o.tokens or 16)
                    results[port], _ = stream(board, o.stream, tokens, o.context or 0, o.runs)
                continue
            # 64 KB take the unix port a few ms: a switch between processes would count.
            size = o.bytes or (1 << 22 if port == "emulator" else 1 << 16)
            count = 200 if o.tokens is None else o.tokens
            results[port] = measure(port, model, size, count, o.runs)
    if o.json:
        print(json.dumps({"load": os.getloadavg()[0], "ports": results}))
        return
    units = {"upload": "B/s", "text": "tokens/s", "stream line": "B/s", "modelled": "B/s"}
    units["modelled ping, ms"] = "ms"
    for port, rows in results.items():
        print(port)
        for name, value in rows.items():
            unit = units.get(name, units.get(name.split()[0], ""))
            shown = f"{value:12,.0f} {unit}"
            if "share" in name:
                shown = f"{value:12.0%}"
            elif name in ("stream compute", "stream seconds"):
                shown = f"{value:12.2f} s"
            print(f"  {name:26}{shown}")


if __name__ == "__main__":
    main()
