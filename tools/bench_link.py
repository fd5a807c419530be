"""What the serial link costs, as a table: uploads and text, against the same without it.

    python tools/bench_link.py [--port emulator] [--port emulator:pico] [--json]

upload    bytes a second into the board's flash, verified, with the link; and what a bare loop
          on the board reaches that reads the same bytes from the same port and writes them,
          with Ctrl-C alive, as the link has it, and with Ctrl-C switched off
text      tokens a second that arrive on the PC; and that the board reaches by itself (of the
          emulated Pico, both by its own clock)

Emulated boards start with an empty flash of their own. Medians of --runs turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from picoformer import convert
from picoformer.board import Board
from picoformer.emulator import UnixBoard
from picoformer.pico import PicoBoard

ROOT = Path(__file__).resolve().parents[1]
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


def bare(board: Board, data: bytes, interrupt: int) -> float:
    """Bytes a second of the bare loop, up to its last word."""
    board.exec("pass")  # the REPL has the port
    repl = board._repl
    repl.start(BARE.format(size=len(data), interrupt=interrupt))
    repl.expect(b"!", 30)
    start = time.perf_counter()
    repl.write(data)
    repl.expect(b"done", 600)
    seconds = time.perf_counter() - start
    repl.finish()
    board.exec("import os; os.remove('/bare.bin')")
    return len(data) / seconds


def upload(board: Board, data: bytes) -> tuple[float, float]:
    """Bytes a second until all is in flash, and until it is verified, too."""
    link = board._server()
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
    parser.add_argument("--tokens", type=int, default=200, help="0: uploads only")
    parser.add_argument("--context", type=int, help="of the model")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.pft"
        convert(o.model or ROOT / "models" / "stories", model, context=o.context)
        for port in o.port or ["emulator"]:
            # 64 KB take the unix port a few ms: a switch between processes would count.
            size = o.bytes or (1 << 22 if port == "emulator" else 1 << 16)
            results[port] = measure(port, model, size, o.tokens, o.runs)
    if o.json:
        print(json.dumps({"load": os.getloadavg()[0], "ports": results}))
        return
    for port, rows in results.items():
        print(port)
        for name, value in rows.items():
            unit = {"upload": "B/s", "text": "tokens/s"}.get(name.split()[0], "")
            shown = f"{value:12.0%}" if "share" in name else f"{value:12,.0f} {unit}"
            print(f"  {name:26}{shown}")


if __name__ == "__main__":
    main()
