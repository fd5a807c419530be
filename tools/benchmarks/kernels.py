"""Cycles of every kernel in every family on the emulated Raspberry Pi Pico: table, JSON, picture.

    python -m tools.benchmarks.kernels [--families viper,thumb] [--quick] [--json]
                                       [--plot FILE.png]

Each kernel is called from MicroPython as the interpreter calls it; the call is included, and so is
the requantization of `linear`. Weights, arena and cache are in SRAM. The official firmware runs in
rp2040py (see tools/emulation/rp2040.py), which counts the cycles of every instruction. The
families must leave the same memory behind. The portable kernels run the smaller cases only, and
still take a minute; --quick leaves them out.

The shapes are those of a small story model: 64 wide, hidden 172, 8 heads of 8 sharing 4 heads of
keys and values, 64 positions seen, vocabulary 512.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from picoformer import Error
from picoformer.device import program
from tools.benchmarks import shared as benchmarks
from tools.benchmarks.pico import checked, runtime
from tools.emulation.rp2040 import CLOCK_HZ, CYCLES, RP2040, BoardError, RP2040Error

FAMILIES = ("portable", "viper", "thumb")
PORTABLE_WORK = 8192  # the largest case of the portable kernels
_HEADER = 16

# Loads a case, runs it `times` times on fresh memory, prints its cycles and a checksum.
SETUP = f"""
import gc, machine
from array import array
from picoformer import program

def load(n):
    global record, regions, fields
    record = regions = None
    f = open("/case%d.bin" % n, "rb")
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

def run(n, family, name, times):
    load(n)
    memory = regions
    if family.BIAS:
        relocate(family.BIAS)
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
        a = m[{CYCLES}]
        b = m[{CYCLES}]
        c = m[{CYCLES}]
        kernel(view, memory)
        d = m[{CYCLES}]
        on(s)
        best = min(best, ((d - c) - (b - a)) & 0x3FFFFFFF)
    check = 0
    for part in (arena, regions[4]):
        for v in part:
            check = (check * 31 + v) & 0xFFFFFF
    print(best, check)
"""


@dataclass
class Case:
    title: str
    op: int  # of the program; 0: the sampler
    kernel: str
    work: int  # what its cycles are divided by
    unit: str
    record: list[int]
    frame: np.ndarray
    tables: np.ndarray
    matrix: np.ndarray
    cache: np.ndarray
    context: int = 128
    pos: int = 63

    def content(self) -> bytes:
        """The case as the board loads it: seven sizes, then six arrays of words."""
        arena = np.concatenate([
            [self.pos, 1, self.context, len(self.frame)], np.zeros(_HEADER - 4, np.int64),
            self.frame, np.zeros(max(self.context, 512), np.int64),
        ])  # fmt: skip
        runs = [3, len(self.matrix)] if len(self.matrix) else []
        parts = [self.record, arena, self.tables, runs, self.matrix, self.cache]
        words = [np.asarray(p, np.int64).astype(np.uint32).astype("<u4") for p in parts]
        head = np.array([self.op, *map(len, words)], "<i4")
        return b"".join([head.tobytes(), *(w.tobytes() for w in words)])


def at(word: int) -> int:
    """The operand of a word of the first frame."""
    return _HEADER + word << 6


def cases() -> list[Case]:
    rng = np.random.default_rng(1)
    none = np.zeros(0, np.int64)

    def matrix(rows: int, cols: int) -> np.ndarray:
        """Row groups of weights, each with two words of multipliers."""
        w = rng.integers(0, 1 << 32, (rows // 4, cols + 2))
        w[:, cols:] = rng.integers(1 << 8, 1 << 14, (rows // 4, 2)) * 0x10001
        return w.reshape(-1)

    def values(n: int, top: int) -> np.ndarray:
        return rng.integers(-top, top + 1, n)

    out = []
    for rows, cols in ((64, 64), (128, 64), (172, 64), (64, 172), (256, 256)):
        x = values(cols, 127)
        frame = np.concatenate([[0, 16000, 3, x.sum(), 0], x, np.zeros(rows, np.int64)])
        record = [at(1), at(5 + cols), 2, cols, rows // 4, 30, 4, 0, 0, rows // 4]
        out.append(Case(
            f"linear {rows} x {cols}", 3, "linear", rows * cols, "multiply-accumulate", record,
            frame, none, matrix(rows, cols), none,
        ))  # fmt: skip
    for rows, cols in ((64, 64), (128, 64), (344, 64), (64, 172), (256, 256)):
        x = values(cols, 255)
        frame = np.concatenate([[0, 16000, 3, x.sum(), 0], x, np.zeros(rows, np.int64)])
        record = [at(1), at(5 + cols), 2, cols, rows // 4, 30, 4, 0, 0, rows // 4, 16]
        w = rng.integers(0, 1 << 32, (rows // 8, cols + (cols + 15) // 16 + 4))
        w[:, -4:] = rng.integers(1 << 8, 1 << 14, (rows // 8, 4)) * 0x10001
        out.append(Case(
            f"linear4 {rows} x {cols}", 10, "linear4", rows * cols, "multiply-accumulate", record,
            frame, none, w.reshape(-1), none,
        ))  # fmt: skip
    n, hidden, heads, kv, size, context = 64, 172, 8, 4, 8, 128
    out.append(Case(
        "embed 64", 1, "embed", n, "element", [at(1), 2, n, 6, 0, 0, 0, 0],
        np.concatenate([[130], np.zeros(n, np.int64)]), none, matrix(512, n), none,
    ))  # fmt: skip
    frame = np.concatenate([[0], values(n, 1 << 22), np.zeros(n + 4, np.int64)])
    out.append(Case(
        "norm 64, with gain", 2, "norm", n, "element",
        [at(1), at(1 + n), n, 8, 0, 25000, -3, 1, 6, 20000, 3], frame,
        values(n, 32767), none, none,
    ))  # fmt: skip
    frame = np.concatenate([[0], values(hidden, 1 << 28), np.zeros(hidden + 4, np.int64)])
    out.append(Case(
        "norm 172", 2, "norm", hidden, "element",
        [at(1), at(1 + hidden), hidden, 8, 0, 25000, -3, 0, 0, 0, 0], frame, none, none, none,
    ))  # fmt: skip
    words = rng.integers(0, 36000, 257) * 0x10001
    out.append(Case(
        "gate 172", 6, "gate", hidden, "element",
        [at(1), at(1 + hidden), hidden, 1, 12, at(1 + 2 * hidden), 0],
        np.concatenate([[0], values(2 * hidden, 1 << 16), [0]]), words, none, none,
    ))  # fmt: skip
    frame = np.concatenate([[0], values(hidden, 1 << 16)])
    for title, table, odd in (("gelu", 1, 0), ("tanh", 1, 1), ("relu", 0, 0)):
        out.append(Case(
            f"gate 172, {title} alone", 6, "gate", hidden, "element",
            [at(1), 0, hidden, table, 12, 0, odd], frame, words, none, none,
        ))  # fmt: skip
    frame = np.concatenate([[0], values(n, 1 << 22)])
    out.append(Case(
        "layernorm 64", 8, "layernorm", n, "element",
        [at(1), at(1), n, 25000, 30, 1, n << 6 | 1, 6, 20000, 3], frame,
        np.concatenate([values(n, 32767), values(n, 1 << 20)]), none, none,
    ))  # fmt: skip
    frame = np.concatenate([[0], values(384, 1 << 22)])
    out.append(Case(
        "layernorm 384", 8, "layernorm", 384, "element",
        [at(1), at(1), 384, 25000, 30, 1, 384 << 6 | 1, 9, 20000, 3], frame,
        np.concatenate([values(384, 32767), values(384, 1 << 20)]), none, none,
    ))  # fmt: skip
    out.append(Case(
        "bias 64", 9, "bias", n, "element", [at(1), 2, n, 1],
        np.concatenate([[0], values(n, 1 << 22)]), none, values(n, 1 << 20), none,
    ))  # fmt: skip
    angle = rng.uniform(0, 7, context * size // 2)
    cos, sin = (np.round(32767 * f(angle)).astype(np.int64) for f in (np.cos, np.sin))
    i = np.arange(32)
    powers = np.concatenate([2.0 ** (-i / 32), 2.0 ** (-i / 1024)])
    tables = np.concatenate([
        (sin & 0xFFFF) << 16 | cos & 0xFFFF, np.floor(powers * 32768 + 0.5).astype(np.int64)
    ])  # fmt: skip
    s = rng.integers(1024, 2048, (2, kv * context)) | 10 << 11

    def cache(key_bits: int, value_bits: int) -> np.ndarray:
        lanes = 2 if key_bits == 12 else 4
        k = rng.integers(1, 1 << key_bits, (lanes, kv * context // lanes * size))
        v = rng.integers(0, 1 << 32, kv * (size * value_bits // 32) * context)
        k = sum(lane << 32 // lanes * j for j, lane in enumerate(k))
        return np.concatenate([k, v, s[0] | s[1] << 16])

    frame = np.concatenate([[0], values(2 * kv * size, 1 << 20)])
    for bits in ((12, 8), (8, 4)):
        title = "store 4 x 8" + ", keys 8, values 4" * (bits == (8, 4))
        out.append(Case(
            title, 4, "store", 2 * kv * size, "element",
            [at(1), at(1 + kv * size), 4, kv, size, 1, *bits], frame, tables, none, cache(*bits),
        ))  # fmt: skip
    frame = np.concatenate([[0], values(n, 1 << 20), np.zeros(n, np.int64)])
    biases = np.concatenate([tables, np.arange(heads * context)])
    own = len(tables) + context - 1 << 6 | 1
    for title, bias, listed, bits in (
        ("", 0, tables, (12, 8)), (", distances", own, biases, (12, 8)),
        (", keys 8", 0, tables, (8, 8)), (", keys 8, values 4", 0, tables, (8, 4)),
    ):  # fmt: skip
        out.append(Case(
            "attend 8 x 8, 64 positions" + title, 5, "attend", 2 * 64 * n, "multiply-accumulate",
            [at(1), at(1 + n), 4, heads, kv, size, 1, context * size // 2 << 6 | 1,
             at(len(frame)), 24000, 42, 1 << 29, 20, 0, 0, bias, context, *bits],
            frame, listed, none, cache(*bits),
        ))  # fmt: skip
    for title, multiplier in (("sample 512, greedy", 0), ("sample 512", 24000)):
        out.append(Case(
            title, 0, "sample", 512, "logit",
            [at(0), 512, context * size // 2 << 6 | 1, multiplier, 24, 30000, 1, 0],
            values(512, 1 << 16), tables, none, none,
        ))  # fmt: skip
    return out


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--quick", action="store_true", help="not the portable kernels")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", metavar="FILE.png")
    o = parser.parse_args()
    families = [f for f in o.families.split(",") if not (o.quick and f == "portable")]
    unknown = set(families) - set(FAMILIES)
    if unknown or not families:
        parser.error(f"families are {', '.join(FAMILIES)}, not {', '.join(sorted(unknown))}")
    if o.plot:
        benchmarks.need_plots()
    checked()
    listed = cases()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = runtime(Path(folder))
    for n, case in enumerate(listed):
        files[f"/case{n}.bin"] = case.content()
    with RP2040(files) as board:
        for n, case in enumerate(listed):
            cycles: dict[str, int] = {}
            checks: dict[str, int] = {}
            for family in families:
                if family == "portable" and case.work > PORTABLE_WORK:
                    continue
                times = 1 if family == "portable" else 3
                code = f"from picoformer import {family}\n"
                if case.op in program.FOUR:
                    code += f"{family}.four()\n"
                code += f"run({n}, {family}, {case.kernel!r}, {times})\n"
                board.soft_reset()  # the largest matrix needs most of the heap
                board.exec(SETUP)
                text = board.exec(code, timeout=1800).split()
                cycles[family], checks[family] = int(text[0]), int(text[1])
            rows.append({
                "kernel": case.title, "work": case.work, "unit": case.unit, "cycles": cycles,
                "equal": len(set(checks.values())) == 1,
            })  # fmt: skip
            if not o.json:
                if n == 0:
                    print(f"{'':44}{'cycles':>12}" + "            " * (len(families) - 1)
                          + "cycles each")  # fmt: skip
                    print(" " * 44 + "".join(f"{f:>12}" for f in families * 2))
                each = {f: c / case.work for f, c in cycles.items()}
                print(
                    f"{case.title:44}"
                    + "".join(f"{cycles[f]:12,}" if f in cycles else " " * 12 for f in families)
                    + "".join(f"{each[f]:12,.2f}" if f in each else " " * 12 for f in families)
                    + f"   per {case.unit}"
                    + ("" if rows[-1]["equal"] else "   THE FAMILIES DIFFER"),
                    flush=True,
                )
    if o.plot:
        benchmarks.plot_kernels(o.plot, rows)
    if o.json:
        print(json.dumps({"clock_hz": CLOCK_HZ, "kernels": rows}))
    if not all(row["equal"] for row in rows):
        raise Error("the families differ")


def main() -> int:
    """The command line; returns the exit status. A user's mistake is one line, no traceback."""
    try:
        run()
    except (Error, RP2040Error, TimeoutError) as e:
        last = str(e).rpartition("\n")[2]
        if isinstance(e, BoardError) and not last.startswith(("Error: ", "MemoryError: ")):
            raise  # a defect of ours: all of it
        print(f"kernels: error: {last}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
