"""How often a token or a text misses the cache of the RP2040's flash, and what that may cost.

    python -m tools.benchmarks.flash [CHECKPOINT] [--context 128] [--tokens 16] [--json]

Every instruction fetch and load of one token, or of one text of --tokens tokens where a model
takes its input whole, passes through a model of the cache (tools/emulation/xip.py).

A miss reads 4 bytes by the command that the firmware's second boot stage sets up (boot2_w25q080):
8 clocks of address and mode on four wires, 4 of waiting, 8 of data. With the divider of 2 that is
in the official image these are 40 cycles of the processor, the least a miss can cost; some 50 were
measured on silicon (oberon-rtk.org/description/flash-memory: about 400 ns a load). See
docs/speed.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from picoformer import Simulator, convert
from tools import ROOT
from tools.benchmarks.inputs import add_bits, bits, text_of
from tools.command import finish
from tools.emulation.errors import mistakes
from tools.emulation.filesystem import runtime
from tools.emulation.rp2040 import CYCLES, RP2040, checked
from tools.emulation.xip import Cache, watch

WORD = 4  # bytes of one fill
CYCLES_PER_MISS = (40, 50)

# What runs first in the trace only fills the cache.
SCRIPT = f"""
import gc, machine
from picoformer import Model
m = machine.mem32
model = Model("/model.pft", weights="flash")
call, what = getattr(model, model.task), {{text!r}}
if model.task == "generate":
    call, what = next, model.generate("", None)
call(what)
gc.collect()
m[{CYCLES}] = 1
call(what)
m[{CYCLES}] = 2
call(what)
m[{CYCLES}] = 0
"""


@mistakes()
def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", nargs="?", default=str(ROOT / "models" / "stories"))
    parser.add_argument("--context", type=int, help="default: all, at most 256")
    add_bits(parser)
    parser.add_argument("--tokens", type=int, default=16, help="of a text that is taken whole")
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    checked()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = convert(o.checkpoint, folder / "model.pft", context=o.context, **bits(o))
        sim = Simulator(folder / "model.pft")
        files = runtime()
        files["/model.pft"] = (folder / "model.pft").read_bytes()
    cache = Cache()
    counts: list[tuple[list[int], list[int]]] = []
    with RP2040(files) as board:
        mark = watch(board, cache)

        def hook(value: int) -> None:
            if value == 0:
                counts.append((cache.reads, cache.misses))
            mark(value)

        board.mark_hook = hook
        board.exec(SCRIPT.format(text=text_of(sim, o.tokens)), timeout=3600)
    ((reads, misses),) = counts
    row: dict[str, Any] = {
        "model": report.name,
        "reads_firmware": reads[0],
        "reads_files": reads[1],
        "misses_firmware": misses[0],
        "misses_files": misses[1],
        "bytes_filled": WORD * sum(misses),
        "cycles_per_miss": list(CYCLES_PER_MISS),
        "cycles": [c * sum(misses) for c in CYCLES_PER_MISS],
    }
    if o.json:
        print(json.dumps(row))
    else:
        for key, value in row.items():
            print(f"{key:16} {value}")


if __name__ == "__main__":
    sys.exit(finish("flash", run))
