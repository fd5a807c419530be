"""Cycles of every kernel in every family on the emulated Raspberry Pi Pico: table, JSON, picture.

    python -m tools.benchmarks.kernels [--families viper,thumb] [--quick] [--json]
                                       [--plot FILE.png]
    python -m tools.benchmarks.kernels --port PORT [--counter ADDRESS] [--families dsp,thumb]

Each kernel is called from MicroPython as the interpreter calls it; the call is included, and so is
the requantization of `linear`. Weights, arena and cache are in SRAM. The official firmware runs in
rp2040py (see tools/emulation/rp2040.py), which counts the cycles of every instruction. The
families must leave the same memory behind. The portable kernels run the smaller cases only, and
still take a minute; --quick leaves them out.

With --port they run on a board that has the runtime (`picoformer update`): any Cortex-M with a
cycle counter, by default the core's own (DWT, which an M0+ lacks). An emulator that counts cycles
may have its counter elsewhere. A file of up to 66 KB, /case.bin, is there meanwhile.

The shapes (tools/benchmarks/kernel_cases.py) are those of a small story model.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import Any

from picoformer import Board, Error
from picoformer.device import program
from tools.benchmarks.kernel_cases import Case, cases
from tools.benchmarks.plots import need_plots, plot_kernels
from tools.command import finish
from tools.emulation.errors import mistakes
from tools.emulation.filesystem import runtime
from tools.emulation.rp2040 import CLOCK_HZ, CYCLES, RP2040, checked

FAMILIES = ("portable", "viper", "thumb")
ON_BOARDS = ("dsp", "thumb")
TOGETHER = ("portable", "rv32")  # all kernels are in one module
DWT = 0xE0001004  # the cycle counter of a Cortex-M3 and later
COUNT = """
import machine
machine.mem32[0xE000EDFC] |= 1 << 24
machine.mem32[0xE0001000] |= 1
"""  # it counts
PIECE = 1024  # bytes of a file in a script
PORTABLE_WORK = 8192  # the largest case of the portable kernels

# Loads a case, runs it `times` times on fresh memory, prints its cycles and a checksum.
LOAD = """
import gc
from array import array
from picoformer import program

def load(n):
    global record, regions, fields
    record = regions = None
    f = open(CASE % n, "rb")
    sizes = array("i", bytes(28))
    f.readinto(sizes)
    fields = program.OPS[sizes[0]][1] if sizes[0] else "o-o-----"
    parts = []
    for size in sizes[1:]:
        gc.collect()
        parts.append(array("i", bytes(4 * size)))
        f.readinto(parts[-1])
    record, regions = parts[0], parts[1:]

def relocate(bias):
    from uctypes import addressof
    home = addressof(regions[0])
    def place(v):
        d = (addressof(regions[v & 63]) + 4 * (v >> 6) - home + bias) & 0xFFFFFFFF
        return d - 0x100000000 if d & 0x80000000 else d
    runs = regions[2]
    for i in range(0, len(runs), 2):
        runs[i] = place(runs[i])
    for i in range(len(record)):
        if fields[i] != "-" and record[i]:
            record[i] = place(record[i])

def check(*parts):
    check = 0
    for part in parts:
        for v in part:
            check = (check * 31 + v) & 0xFFFFFF
    return check
"""
SETUP = f"""{LOAD}
import machine
CASE = "/case%s.bin"

# Its locals that hold cycles are behind the 16 that cost less: all of them cost the same.
def run(n, bias, family, name, times):
    load(n)
    memory = regions
    if bias:
        relocate(bias)
        memory = regions[0]
    kernel = getattr(family, name)
    arena = regions[0]
    saved = arena[:] if times > 1 else None
    view = memoryview(record)
    best = 1 << 30
    m, off, on = machine.mem32, machine.disable_irq, machine.enable_irq
    for _ in range(times):
        if saved:
            for i in range(len(saved)):
                arena[i] = saved[i]
        gc.collect()
        s = off()
        a = m[COUNTER]
        b = m[COUNTER]
        c = m[COUNTER]
        kernel(view, memory)
        d = m[COUNTER]
        on(s)
        best = min(best, ((d - c) - (b - a)) & 0x3FFFFFFF)
    print(best, check(arena, regions[4]))
"""


class OnPort:
    """A board on a port, used as an emulated one."""

    def __init__(self, port: str) -> None:
        self.board = Board(port)

    def soft_reset(self) -> None:
        self.board.connection.reset()

    def exec(self, code: str, timeout: float = 60) -> str:
        return self.board.exec(code, timeout)

    def put(self, content: bytes) -> None:
        """Write the case's file."""
        self.exec("from binascii import unhexlify\nf = open('/case.bin', 'wb')")
        for i in range(0, len(content), PIECE):
            self.exec(f"f.write(unhexlify('{content[i : i + PIECE].hex()}'))")
        self.exec("f.close()")

    def close(self) -> None:
        with contextlib.suppress(Error):
            self.exec("import os\nos.remove('/case.bin')")
        self.board.close()


def measured(
    board: RP2040 | OnPort, n: object, case: Case, families: list[str], counter: int = CYCLES
) -> dict[str, Any]:
    """Cycles of case n in each family, the best of three; whether they leave the same memory."""
    setup = SETUP.replace("COUNTER", hex(counter))
    if counter == DWT:
        setup = COUNT + setup.replace("s = off()\n", f"s = off()\n        m[{DWT}] = 0\n")
    cycles: dict[str, int] = {}
    checks: dict[str, int] = {}
    for family in families:
        if family == "portable" and case.work > PORTABLE_WORK:
            continue
        times = 1 if family == "portable" else 3
        apart = case.op in program.FOUR and family not in TOGETHER
        module = f"kernels_{family}" + "4" * apart
        code = f"from picoformer.kernels_{family} import BIAS\n"
        code += f"from picoformer import {module} as family\n"
        code += f"run({n!r}, BIAS, family, {case.kernel!r}, {times})\n"
        board.soft_reset()  # the largest matrix needs most of the heap
        board.exec(setup)
        text = board.exec(code, timeout=1800).split()
        cycles[family], checks[family] = int(text[0]), int(text[1])
    return {
        "kernel": case.title, "work": case.work, "unit": case.unit, "cycles": cycles,
        "equal": len(set(checks.values())) == 1,
    }  # fmt: skip


def print_head(families: list[str]) -> None:
    print(f"{'':44}{'cycles':>12}" + " " * 12 * (len(families) - 1) + "cycles each")
    print(" " * 44 + "".join(f"{f:>12}" for f in families * 2))


def print_row(row: dict[str, Any], families: list[str]) -> None:
    cycles = row["cycles"]
    each = {f: c / row["work"] for f, c in cycles.items()}
    print(
        f"{row['kernel']:44}"
        + "".join(f"{cycles[f]:12,}" if f in cycles else " " * 12 for f in families)
        + "".join(f"{each[f]:12,.2f}" if f in each else " " * 12 for f in families)
        + f"   per {row['unit']}"
        + ("" if row["equal"] else "   THE FAMILIES DIFFER"),
        flush=True,
    )


@mistakes()
def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--families")
    parser.add_argument("--port", help="of a board that has the runtime")
    parser.add_argument("--counter", metavar="ADDRESS", type=lambda text: int(text, 0),
                        default=DWT, help="where it counts cycles (its core's)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="not the portable kernels")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", metavar="FILE.png")
    o = parser.parse_args()
    asked = o.families or ",".join(ON_BOARDS if o.port else FAMILIES)
    families = [f for f in asked.split(",") if not (o.quick and f == "portable")]
    known = {*FAMILIES, *(ON_BOARDS if o.port else ())}
    unknown = set(families) - known
    if unknown or not families:
        parser.error(f"families are {', '.join(known)}, not {', '.join(sorted(unknown))}")
    if o.plot:
        need_plots()
    rows: list[dict[str, Any]] = []
    hz = CLOCK_HZ

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        if not o.json:
            if len(rows) == 1:
                print_head(families)
            print_row(row, families)

    listed = cases()
    if o.port:
        with contextlib.closing(OnPort(o.port)) as there:
            hz = int(there.exec("import machine\nprint(machine.freq())"))
            for case in listed:
                there.put(case.content())
                add(measured(there, "", case, families, o.counter))
    else:
        checked()
        files = runtime() | {f"/case{n}.bin": case.content() for n, case in enumerate(listed)}
        with RP2040(files) as board:
            for n, case in enumerate(listed):
                add(measured(board, n, case, families))
    if o.plot:
        plot_kernels(o.plot, rows)
    if o.json:
        print(json.dumps({"clock_hz": hz, "kernels": rows}))
    if not all(row["equal"] for row in rows):
        raise Error("the families differ")


if __name__ == "__main__":
    sys.exit(finish("kernels", run))
