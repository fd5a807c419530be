"""Speed and heap on the emulated Raspberry Pi Pico: a table, JSON, a picture.

    python -m tools.benchmarks.pico [CHECKPOINT] [--context 128] [--tokens N] [--position 64]
                                    [--weight-bits 4] [--key-bits 8] [--value-bits 4] [--xip]
                                    [--json] [--plot FILE.png]

Greedy text from the first position to the end of the context or N tokens: tokens a second
against position; a profile of one token, every step of the program in cycles, with what Python
costs around them; the heap, as it is and the least that would do. A model that takes its input
whole (a classifier, a sentence encoder) reads texts of 4 tokens to its whole context instead, and
the profile is of one of N tokens (16); one of images, questions or translations gets a few of
these, without a profile. --xip adds how often that token or that text misses the
flash's cache (tools/benchmarks/flash.py, a minute or two).

The official firmware runs in rp2040py (see tools/emulation/rp2040.py), which counts the cycles of
every instruction at 125 MHz. Flash wait states are not emulated: a real Pico is slower whenever it
reads code or data from flash; docs/speed.md estimates by how much. The runtime is installed as
.mpy, as `picoformer` will do on a board, and checked against the simulator.

The profile measures the token or the text as a whole and, apart from that, each part of it,
interrupts off; the clock's own cost is measured and taken out. What the parts leave over is
printed.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from picoformer import Error, Simulator, convert
from tools import ROOT
from tools.benchmarks.figures import position_table, speeds
from tools.benchmarks.inputs import add_bits, bits, counts, given_to, text_of
from tools.benchmarks.plots import need_plots, plot_model
from tools.benchmarks.profile import profile, profile_script, profile_table
from tools.command import finish
from tools.emulation.errors import BoardError, mistakes
from tools.emulation.filesystem import runtime
from tools.emulation.rp2040 import CLOCK_HZ, CYCLES, RP2040, checked

MASK = 0x3FFFFFFF
PROMPT_TOKENS = 127
HEAP_STEP = 1024

LOAD = """
import gc, machine, sys, time
gc.collect()
boot = gc.mem_free()
from picoformer import Model
gc.collect()
imported = gc.mem_free()
start = time.ticks_ms()
model = Model("/model.pft", spare=1 << 29)  # no copies of weights: the least that it needs
took = time.ticks_diff(time.ticks_ms(), start)
gc.collect()
version = "v" + ".".join(str(n) for n in sys.implementation.version[:3])
print(boot, imported, gc.mem_free(), took, model.kernels, model.weights, version)
"""

# Cycles of each token, the first with what comes before any text; the text behind them.
RUN = f"""
from array import array
def run(n, m):
    cycles = array("i", bytes(4 * n))
    text = []
    i = 0
    start = m[{CYCLES}]
    for piece in model.generate("", n):
        now = m[{CYCLES}]
        cycles[i] = (now - start) & {MASK}
        start = now
        text.append(piece)
        i += 1
    print(repr("".join(text)))
    print(list(cycles)[:i])
run({{tokens}}, machine.mem32)
gc.collect()
free = gc.mem_free()
gc.disable()
n = 0
for piece in model.generate("", {{few}}):
    if n == 0:
        before = gc.mem_free()
    n += 1
print(free, (before - gc.mem_free()) / max(n - 1, 1))
gc.enable()
"""

# The same tokens once more, as a prompt; another first token empties the cache.
PROMPT = f"""
def prompt(ids, m):
    model.logits([0])
    start = m[{CYCLES}]
    model.logits(ids)
    print((m[{CYCLES}] - start) & {MASK})
prompt({{ids}}, machine.mem32)
"""

# Texts that a model takes whole: token ids, cycles of it all, cycles from the ids on, the result.
READ = f"""
def read(texts, m):
    call = getattr(model, model.task)
    for text in texts:
        gc.collect()
        start = m[{CYCLES}]
        call(text)
        whole = (m[{CYCLES}] - start) & {MASK}
        ids = model.tokenizer.fit(text, model.context)
        gc.collect()
        start = m[{CYCLES}]
        result = model.logits(ids)
        print([ids, whole, (m[{CYCLES}] - start) & {MASK}, list(result)])
read({{texts!r}}, machine.mem32)
gc.collect()
print(gc.mem_free())
"""

# Whatever else a model does: cycles and result of each call, behind one that is not counted and
# imports what it needs.
CALL = f"""
def call(given, m):
    do = getattr(model, model.task)
    do(*given[0])
    for one in given:
        gc.collect()
        start = m[{CYCLES}]
        said = do(*one)
        print([(m[{CYCLES}] - start) & {MASK}, said])
call({{given!r}}, machine.mem32)
gc.collect()
print(gc.mem_free())
"""

# Whether the model loads and runs while something else holds a part of the heap.
HELD = """
import gc
held = bytearray({bytes})
from picoformer import Model
model = Model("/model.pft", kernels={kernels!r}, weights={weights!r})
{use}
"""
WRITES = "for _ in model.generate('', 3): pass"
READS = "getattr(model, model.task)(*{!r})"


def headroom(board: RP2040, free: int, kernels: str, weights: str, use: str) -> int:
    """Bytes of the heap that something else may hold while the model loads and runs.

    free: bytes that are free once it is loaded; use: the script that runs it. Exact to HEAP_STEP.
    """
    fits, too_much = 0, free // HEAP_STEP + 1
    while too_much - fits > 1:
        middle = (fits + too_much) // 2
        board.soft_reset()
        code = HELD.format(bytes=middle * HEAP_STEP, kernels=kernels, weights=weights, use=use)
        try:
            board.exec(code, timeout=600)
            fits = middle
        except BoardError as e:
            if "Error: " not in str(e).rpartition("\n")[2]:
                raise
            too_much = middle
    return fits * HEAP_STEP


def measure(o: argparse.Namespace) -> dict[str, Any]:
    """Everything of one model, as the JSON has it. Times are in cycles, sizes in bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.pft"
        report = convert(o.checkpoint, model, context=o.context, **bits(o))
        files = runtime()
        code = sum(map(len, files.values()))
        files["/model.pft"] = model.read_bytes()
        sim = Simulator(model)
    with RP2040(files) as board:
        loaded = board.exec(LOAD, timeout=300).split()
        boot, imported, free, ms, kernels, weights, version = loaded
        if sim.model.task == "generate":
            use, measured, after = WRITES, *written(board, sim, o.tokens, o.position)
        elif sim.model.program[14] or sim.frames or sim.model.task in ("answer", "translate"):
            use = READS.format(given_to(sim)[-1])
            measured, after = called(board, sim)
        else:
            use = READS.format((text_of(sim, sim.context),))
            measured, after = taken_whole(board, sim, o.tokens or 16)
        more = headroom(board, int(free), kernels, weights, use)
    return {
        "board": "emulated Raspberry Pi Pico, 125 MHz",
        "micropython": version,
        "model": report.name,
        "task": sim.model.task,
        "parameters": report.parameters,
        "context": report.context,
        "kernels": kernels,
        "weights": weights,
        "clock_hz": CLOCK_HZ,
        "load_ms": int(ms),
        "heap": {
            "boot": int(boot), "imported": int(imported), "free": int(free), **after,
            "high_water": int(boot) - more,
        },
        "runtime_bytes": code,
        "model_bytes": report.bytes,
        **measured,
    }  # fmt: skip


def profiled(board: RP2040, sim: Simulator, at: int, argument: object) -> dict[str, Any]:
    """The profile of the token at a position, or of `argument`, a text of so many tokens."""
    script = profile_script(f"m[{CYCLES}]", MASK)
    script += f"profile(model, {argument!r}, 1, machine.mem32, machine.disable_irq, "
    script += "machine.enable_irq)\n"
    rounds = [json.loads(board.exec(script, timeout=3600))]
    return profile(sim.model, at, rounds, "cycles")


def written(
    board: RP2040, sim: Simulator, tokens: int | None, position: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What there is to say of a model that generates, and of the heap after that."""
    pieces = list(sim.generate("", tokens or sim.context))
    # Running positions 0 to n-1 is what generating n tokens does.
    ids = [sim.model.bos, *sim.tokenizer.encode("".join(pieces))][: len(pieces)]
    prompt = ids[:PROMPT_TOKENS]
    position = min(position, len(pieces) - 3)
    script = RUN.format(tokens=len(pieces), few=min(len(pieces), 16))
    text, listed, low = board.exec(script, timeout=3600).splitlines()
    prompt_cycles = int(board.exec(PROMPT.format(ids=prompt), timeout=3600))
    parts = profiled(board, sim, position, position) if position > 0 else None
    cycles: list[int] = json.loads(listed)
    prompt_speed = CLOCK_HZ * len(prompt) / prompt_cycles
    alike = CLOCK_HZ * len(prompt) / sum(cycles[: len(prompt)])
    return {
        "tokens": len(cycles),
        "equal": text == repr("".join(pieces)),
        "tokens_per_second": speeds([c * 1e6 / CLOCK_HZ for c in cycles]),
        "prompt": {
            "tokens": len(prompt), "cycles": prompt_cycles,
            "tokens_per_second": round(prompt_speed, 1),
            "times_generation": round(prompt_speed / alike, 2),
        },
        "cycles": cycles,
        "profile": parts,
    }, {"free_after": int(low.split()[0]), "per_token": float(low.split()[1])}  # fmt: skip


def taken_whole(
    board: RP2040, sim: Simulator, tokens: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What there is to say of a model that reads a text at once, and of the heap after that."""
    texts = [text_of(sim, n) for n in counts(sim.context, tokens)]
    text = text_of(sim, tokens)
    *lines, free = board.exec(READ.format(texts=texts), timeout=3600).splitlines()
    read = [json.loads(line) for line in lines]
    expected = [[sim.encode(text), sim.logits(sim.encode(text))[-1].tolist()] for text in texts]
    rows = [{"tokens": len(ids), "cycles": c, "from_ids": d} for ids, c, d, _ in read]
    n = len(sim.encode(text))
    return {
        "tokens": n,
        "equal": [[ids, result] for ids, _, _, result in read] == expected,
        "cycles": next(row["cycles"] for row in rows if row["tokens"] == n),
        "texts": rows,
        "profile": profiled(board, sim, n, text),
    }, {"free_after": int(free)}


def called(board: RP2040, sim: Simulator) -> tuple[dict[str, Any], dict[str, Any]]:
    """What there is to say of a model that is called with one input, and of the heap."""
    given = given_to(sim)
    *lines, free = board.exec(CALL.format(given=given), timeout=3600).splitlines()
    got = [ast.literal_eval(line) for line in lines]
    task, rows = sim.model.task, []
    for one, (cycles, said) in zip(given, got, strict=True):
        if sim.model.program[14]:
            pixels = np.frombuffer(one[0], np.uint8).reshape(sim.model.meta["image"][:3])
            expected, name, tokens = sim.classify(pixels), "an image", len(sim.patches(pixels))
        elif sim.frames:
            signal = np.frombuffer(one[0], "<i2").reshape(-1, sim.frames.channels)
            expected, name = getattr(sim, task)(signal), "a signal"
            tokens = sim.frames.positions(len(signal))
        else:
            expected, name = getattr(sim, task)(*one), one[-1]
            wrap, encode = sim.tokenizer.wrap, sim.tokenizer.encode
            tokens = len(wrap(encode(one[-1]), *map(encode, one[:-1])))
        row = {"given": name, "tokens": tokens, "cycles": cycles, "equal": said == expected}
        if task == "translate":
            row["written"] = len(list(sim._write([sim.model.bos], None, (0, 0, 0), 1)))
        rows.append(row)
    return {
        "tokens": rows[-1]["tokens"],
        "equal": all(row["equal"] for row in rows),
        "calls": rows,
        "profile": None,
    }, {"free_after": int(free)}


def flash(o: argparse.Namespace, result: dict[str, Any]) -> dict[str, Any]:
    """What tools/benchmarks/flash.py counts, and what it makes of the measured speed."""
    command = [sys.executable, "-m", "tools.benchmarks.flash", o.checkpoint, "--json"]
    command += ["--context", str(result["context"]), "--tokens", str(result["tokens"])]
    for option, n in bits(o).items():
        command += ["--" + option.replace("_", "-"), str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Error("tools/benchmarks/flash.py: " + done.stderr.strip().rpartition("\n")[2])
    counted: dict[str, Any] = json.loads(done.stdout)
    if "texts" in result:
        return counted
    estimates = []
    for cost in counted["cycles"]:
        us = [(c + cost) * 1e6 / CLOCK_HZ for c in result["cycles"]]
        estimates.append(speeds(us))
    return {**counted, "tokens_per_second": estimates}


def ms(cycles: float) -> float:
    """Milliseconds of cycles."""
    return cycles * 1e3 / CLOCK_HZ


def table(result: dict[str, Any]) -> str:
    """A result as text."""
    heap = result["heap"]
    each = f"; {heap['per_token']:.0f} a token, its text" if "per_token" in heap else ""
    lines = [
        f"{result['model']} on an {result['board']}: context {result['context']}, "
        f"{result['kernels']} kernels, weights in {result['weights']}",
        *([] if "calls" in result else _texts_lines(result) if "texts" in result
          else _tokens_lines(result)),
        f"loaded in {result['load_ms']} ms; {result['runtime_bytes']:,} bytes of runtime and "
        f"{result['model_bytes']:,} of model in flash",
        f"heap: {heap['boot']:,} bytes free at boot, {heap['imported']:,} with the runtime, "
        f"{heap['free']:,} with the model; at most {heap['high_water']:,} needed{each}",
        "equal to the simulator" if result["equal"] else "NOT EQUAL TO THE SIMULATOR",
        "",
    ]
    if "texts" in result:
        lines.append(f"{'tokens':>9}{'ms':>10}{'cycles':>14}{'from ids on':>14}")
        for row in result["texts"]:
            lines.append(
                f"{row['tokens']:>9}{ms(row['cycles']):>10.1f}{row['cycles']:>14,}"
                f"{row['from_ids']:>14,}"
            )
    elif "calls" in result:
        lines.append(f"{'tokens':>9}{'written':>9}{'ms':>10}{'cycles':>14}  {result['task']}")
        for row in result["calls"]:
            lines.append(
                f"{row['tokens']:>9}{row.get('written', ''):>9}{ms(row['cycles']):>10.1f}"
                f"{row['cycles']:>14,}  {row['given']}"
            )
    else:
        lines.append(position_table([1e3 * ms(c) for c in result["cycles"]]))
    if result["profile"]:
        lines += ["", profile_table(result["profile"])]
    if "xip" in result:
        x = result["xip"]
        if "texts" in result:
            fast, slow = (ms(result["cycles"] + cost) for cost in x["cycles"])
            what, speed = "text", f"a text takes {fast:.0f} to {slow:.0f} ms"
        else:
            fast, slow = (e["first"] for e in x["tokens_per_second"])
            what = "token"
            speed = (
                f"the first {min(result['tokens'], 128)} tokens come at {slow} to {fast} a second"
            )
        lines += [
            "",
            f"flash: a {what} misses the cache {x['misses_files']:,} times for weights and "
            f"{x['misses_firmware']:,} times for MicroPython; at {x['cycles_per_miss'][0]} to "
            f"{x['cycles_per_miss'][1]} cycles each, {speed} on silicon (an estimate)",
        ]
    return "\n".join(lines)


def _tokens_lines(result: dict[str, Any]) -> list[str]:
    speed, prompt, n = result["tokens_per_second"], result["prompt"], result["tokens"]
    return [
        f"tokens a second: {speed['all']} over all {n}, {speed['first']} over the first "
        f"{min(n, 128)}, {speed['last']} over the last {min(n, 8)}; a prompt of "
        f"{prompt['tokens']}: {prompt['tokens_per_second']} "
        f"({prompt['times_generation']} times the generation)"
    ]


def _texts_lines(result: dict[str, Any]) -> list[str]:
    return [f"a text of {result['tokens']} tokens: {ms(result['cycles']):.1f} ms"]


def plot(result: dict[str, Any], path: str) -> None:
    """The picture of a result."""
    texts = result.get("texts", [])
    cycles = [row["cycles"] for row in texts] or result["cycles"]
    where = f"{result['model']} on an {result['board']}"
    series = {"emulated: flash as fast as RAM": [1e3 * ms(c) for c in cycles]}
    if "xip" in result and not texts:  # misses of one text say nothing about longer ones
        x = result["xip"]
        for each, cost in zip(x["cycles_per_miss"], x["cycles"], strict=True):
            name = f"silicon, estimated: {each} cycles a miss"
            series[name] = [1e3 * ms(c + cost) for c in cycles]
    plot_model(path, where, series, result["profile"], [row["tokens"] for row in texts])


@mistakes()
def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", nargs="?", default=str(ROOT / "models" / "stories"))
    parser.add_argument("--context", type=int, help="default: all, at most 256")
    add_bits(parser)
    parser.add_argument("--tokens", type=int, help="to write: all of the context; to read: 16")
    parser.add_argument("--position", type=int, default=64, help="of the profiled token (64)")
    parser.add_argument("--xip", action="store_true", help="count misses of the flash's cache")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", metavar="FILE.png")
    o = parser.parse_args()
    if o.tokens is not None and o.tokens < 1:
        raise Error(f"--tokens is {o.tokens}, expected at least 1")
    if o.position < 1:
        raise Error(f"--position is {o.position}, expected at least 1")
    if o.plot:
        need_plots()
    checked()
    result = measure(o)
    if "calls" in result and (o.xip or o.plot):
        raise Error(f"--xip and --plot are not for a model that does {result['task']}")
    if o.xip:
        result["xip"] = flash(o, result)
    if o.plot:
        if not result["profile"]:
            raise Error(f"--plot needs more than the {result['tokens']} tokens there are")
        plot(result, o.plot)
    print(json.dumps(result) if o.json else table(result))
    if not result["equal"]:
        raise Error("the board and the simulator differ")


if __name__ == "__main__":
    sys.exit(finish("pico", run))
