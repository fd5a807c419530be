"""How often a token or a text misses the cache of the RP2040's flash, and what that may cost.

    python tools/xip.py [CHECKPOINT] [--context 128] [--tokens 16] [--json]

The emulator runs flash as fast as RAM. Here every instruction fetch and load of one token, or of
one text of --tokens tokens where a model takes its input whole, passes through a model of the
chip's XIP cache besides: 16 KB, two ways of 1024 lines of 8 bytes, each half of a line filled by
itself, as Raspberry Pi says (github.com/raspberrypi/pico-sdk/issues/1182). That the least recently
used of the two ways is given up is our assumption. The processor's prefetch behind a branch is not
modelled, nor is anything that another bus master reads.

A miss reads 4 bytes by the command that the firmware's second boot stage sets up (boot2_w25q080):
8 clocks of address and mode on four wires, 4 of waiting, 8 of data. With the divider of 2 that is
in the official image these are 40 cycles of the processor, the least a miss can cost; some 50 were
measured on silicon (oberon-rtk.org/description/flash-memory: about 400 ns a load). See
docs/speed.md.

It needs the emulator's pure-Python core, and so takes a minute or two.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_rp2040 import ROOT, checked, runtime
from benchmarks import add_bits, bits, text_of
from picoformer import Error, Simulator, convert
from picoformer.boards.emulated.rp2040 import FLASH_BASE, FS_OFFSET
from rp2040 import CYCLES, RP2040, RP2040Error

SETS = 1024
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


class Cache:
    """Two ways of lines with a valid bit for each half; counts reads and misses by region."""

    def __init__(self) -> None:
        self._sets: list[list[list[int]]] = [[[-1, 0], [-1, 0]] for _ in range(SETS)]
        self.clear()

    def clear(self) -> None:
        """Forget the counts, not the content."""
        self.reads = [0, 0]  # firmware, files
        self.misses = [0, 0]

    def read(self, offset: int) -> None:
        """One read at a byte offset of the flash."""
        files = int(offset >= FS_OFFSET)
        self.reads[files] += 1
        line = offset >> 3
        half = 1 + (offset >> 2 & 1)
        ways = self._sets[line & SETS - 1]
        if ways[0][0] != line:
            ways.reverse()  # the first is the one used last
            if ways[0][0] != line:
                ways[0][0] = line
                ways[0][1] = 0
        if not ways[0][1] & half:
            ways[0][1] |= half
            self.misses[files] += 1


def watch(board: RP2040, cache: Cache) -> Callable[[int], None]:
    """A mark hook: 1 begins to pass the chip's reads through the cache, 2 clears, 0 ends."""
    chip: Any = board._chip
    plain = {name: getattr(chip, name) for name in ("read_uint8", "read_uint16", "read_uint32")}
    end = FLASH_BASE + (1 << 24)
    depth = 0

    def watched(read: Callable[[int], int]) -> Callable[[int], int]:
        def through(address: int) -> int:
            nonlocal depth
            if FLASH_BASE <= address < end and not depth:
                cache.read(address - FLASH_BASE)
            depth += 1  # one read may be made of others
            try:
                return read(address)
            finally:
                depth -= 1

        return through

    def mark(value: int) -> None:
        if value == 1:
            for name, read in plain.items():
                setattr(chip, name, watched(read))
        elif value == 0:
            for name in plain:
                delattr(chip, name)
        else:
            cache.clear()

    return mark


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", nargs="?", default=str(ROOT / "models" / "stories"))
    parser.add_argument("--context", type=int, help="default: all, at most 256")
    add_bits(parser)
    parser.add_argument("--tokens", type=int, default=16, help="of a text that is taken whole")
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    checked()
    os.environ["RP2040PY_SKIP_CYTHON"] = "1"  # the compiled core's loads cannot be watched
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = convert(
            o.checkpoint, folder / "model.pft", context=o.context, **bits(o)
        )
        sim = Simulator(folder / "model.pft")
        files = runtime(folder)
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


def main() -> int:
    """The command line; returns the exit status."""
    try:
        run()
    except (Error, RP2040Error, TimeoutError) as e:
        print("xip: error: " + str(e).rpartition("\n")[2], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
