"""Instructions of every kernel and of a token on an emulated RISC-V (RV32IMC): table, JSON.

    python -m tools.benchmarks.riscv FIRMWARE.elf [MODEL] [--families rv32,viper] [--json]

FIRMWARE.elf: MicroPython's port to QEMU, built for the board VIRT_RV32; qemu-system-riscv32 has to
be installed. Instructions are counted by the core's own counter (`instret`), QEMU with -icount
makes each of them one tick. Kernels run the cases of tools/benchmarks/kernel_cases.py, the call
and the requantization included; the families must leave the same memory behind. MODEL (default:
models/stories) writes a text, which must be the simulator's: instructions a token, MicroPython and
all, and a token of a prompt. A checkpoint is also converted for groups of 1 to 16 positions, which
sweep the weights together: instructions a token of the prompt, and the bytes of the frames.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from picoformer import Error, Simulator, convert
from picoformer.boards.emulated.program import free_port
from picoformer.boards.port import SerialPort
from picoformer.boards.repl import Repl
from picoformer.device import program
from picoformer.runtime.files import compiled
from picoformer.runtime.platforms import mpy_of
from picoformer.runtime.romfs import image
from tools import ROOT
from tools.benchmarks.kernel_cases import cases
from tools.benchmarks.kernels import LOAD
from tools.command import finish

FAMILIES = ("viper", "rv32")
TOKENS, PROMPT = 120, 127
ROM = 0x80610000  # where the port has its ROMFS
LIMIT = 600.0  # seconds that a script may take
GROUPS = 1, 2, 4, 8, 16

COUNT = """
@micropython.asm_rv32
def count():
    data(4, 0xC0202573)  # csrr a0, instret

def counted(f, *arguments):
    a = count()
    b = count()
    f(*arguments)
    return (count() - 2 * b + a) & 0x3FFFFFFF
"""
RUN = f"""{LOAD}{COUNT}
CASE = "/rom/case%d.pft"
def run(n, bias, family, name):
    load(n)
    relocate(bias)
    kernel = getattr(family, name)
    view = memoryview(record)
    arena = regions[0]
    gc.collect()
    cost = counted(lambda a, b: None, view, arena)
    print(counted(kernel, view, arena) - cost, check(arena, regions[4]))
"""
TEXT = f"""{COUNT}
import gc, json
from picoformer import Model
model = Model("/rom/model.pft", context=256, kernels=%r, weights="ram")
text = []
def write():
    for piece in model.generate("", %d):
        text.append(piece)
gc.collect()
cost = counted(write)
prompt = %r
model.logits([2])
gc.collect()
print(json.dumps([cost, counted(model.logits, prompt), "".join(text)]))
"""
READ = f"""{COUNT}
import gc
from picoformer import Model
model = Model("/rom/model.pft", context=256, kernels=%r, weights="ram")
model.logits([2])
gc.collect()
print(counted(model.logits, %r))
"""


@contextmanager
def board(firmware: Path, files: dict[str, bytes]) -> Iterator[Repl]:
    """The REPL of an emulated board with the runtime and files, NAME.pft, in its ROMFS."""
    rom, _ = image(files, compiled(mpy_of("rv32imc"), "rv32imc"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rom")
        path.write_bytes(rom)
        port = free_port()
        command = [
            "qemu-system-riscv32", "-machine", "virt", "-cpu", "rv32", "-bios", str(firmware),
            "-icount", "shift=0", "-nographic", "-monitor", "null", "-semihosting",
            "-serial", f"tcp:127.0.0.1:{port},server=on,wait=off",
            "-device", f"loader,file={path},addr={ROM:#x},force-raw=on",
        ]  # fmt: skip
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        except OSError as e:
            raise Error(f"qemu-system-riscv32 does not run: {e}") from e
        try:
            time.sleep(3)  # it listens, and the firmware is at its prompt
            repl = Repl(SerialPort(f"socket://127.0.0.1:{port}"))
            repl.enter()
            yield repl
        finally:
            process.kill()
            process.wait()


def kernels(firmware: Path, families: list[str]) -> Iterator[dict[str, Any]]:
    """Instructions of each case and family, and whether these leave the same memory."""
    listed = cases()
    with board(firmware, {f"case{n}": c.content() for n, c in enumerate(listed)}) as repl:
        for n, case in enumerate(listed):
            counts, checks = {}, set()
            for family in families:
                four = family == "viper" and case.op in program.FOUR
                module = f"kernels_{family}" + "4" * four
                code = f"{RUN}from picoformer.kernels_{family} import BIAS\n"
                code += f"from picoformer import {module} as family\n"
                code += f"run({n}, BIAS, family, {case.kernel!r})\n"
                count, check = repl.run(code, LIMIT).split()
                counts[family] = int(count)
                checks.add(check)
            if len(checks) > 1:
                raise Error(f"{case.title}: the families differ")
            yield {
                "kernel": case.title, "work": case.work, "unit": case.unit,
                "instructions": counts,
            }  # fmt: skip


def text(firmware: Path, model: Path, families: list[str]) -> dict[str, Any]:
    """Instructions of a token that is written, and of one of a prompt, by family."""
    with tempfile.TemporaryDirectory() as folder:
        path = model
        if model.suffix != ".pft":
            path = Path(folder, "model.pft")
            convert(model, path)
        sim = Simulator(path)
        expected = "".join(sim.generate("", TOKENS))
        prompt = [sim.tokenizer.bos, *sim.tokenizer.encode(expected)][:PROMPT]
        written, read = {}, {}
        with board(firmware, {"model": path.read_bytes()}) as repl:
            for family in families:
                said = repl.run(TEXT % (family, TOKENS, prompt), LIMIT)
                cost, whole, got = json.loads(said)
                if got != expected:
                    raise Error(f"{family}: the text is not the simulator's: {got}")
                written[family] = round(cost / TOKENS)
                read[family] = round(whole / len(prompt))
    return {
        "model": model.stem, "tokens": TOKENS, "written": written, "prompt": len(prompt),
        "read": read,
    }  # fmt: skip


def groups(firmware: Path, source: Path, families: list[str]) -> Iterator[dict[str, Any]]:
    """Instructions of a token of a prompt, and bytes of heap, by positions of a group."""
    for group in GROUPS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.pft")
            arena = convert(source, path, batch=group).arena_bytes
            sim = Simulator(path)
            written = "".join(sim.generate("", TOKENS))
            prompt = [sim.tokenizer.bos, *sim.tokenizer.encode(written)][:PROMPT]
            with board(firmware, {"model": path.read_bytes()}) as repl:
                counts = {f: int(repl.run(READ % (f, prompt), LIMIT)) for f in families}
        each = {f: round(c / len(prompt)) for f, c in counts.items()}
        yield {"group": group, "arena": arena, "instructions": each}


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("firmware", metavar="FIRMWARE.elf", type=Path)
    parser.add_argument("model", nargs="?", type=Path, default=ROOT / "models" / "stories")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    if not o.firmware.exists():
        raise Error(f"there is no {o.firmware}")
    families = o.families.split(",")
    result = text(o.firmware, o.model, families)
    if not o.json:
        for family in families:
            print(f"{family}: {result['written'][family]:,} instructions a token, "
                  f"{result['read'][family]:,} a token of a prompt")  # fmt: skip
    result["groups"] = []
    if o.model.suffix != ".pft":
        for row in groups(o.firmware, o.model, families):
            result["groups"].append(row)
            if not o.json:
                counts = row["instructions"]
                print(f"groups of {row['group']:2}: arena {row['arena']:7,} bytes"
                      + "".join(f"{c:11,}" for c in counts.values()), flush=True)  # fmt: skip
    rows = []
    for row in kernels(o.firmware, families):
        rows.append(row)
        if not o.json:
            counts = row["instructions"]
            print(f"{row['kernel']:48}" + "".join(f"{c:11,}" for c in counts.values())
                  + "".join(f"{c / row['work']:9.2f}" for c in counts.values())
                  + f"   per {row['unit']}", flush=True)  # fmt: skip
    if o.json:
        print(json.dumps({**result, "kernels": rows}))


if __name__ == "__main__":
    sys.exit(finish("riscv", run))
