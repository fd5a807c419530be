"""What README, the beginning of docs/speed.md and the models' cards say of a microcontroller."""

from __future__ import annotations

from typing import Any

from picoformer.planning.speed import DSP
from tools.benchmarks.pico import ms
from tools.benchmarks.tables import CALLED, readers, silicon, silicon_ms, table, unix_rows
from tools.emulation.rp2040 import CLOCK_HZ

WAITING = "**estimated**, with the waits for its flash"
UNITS = {"an image": "patches", "a signal": "windows"}  # of what is no text


def at(result: dict[str, Any], position: int) -> float:
    """Tokens a second of eight positions around one."""
    cycles = result["cycles"]
    some = cycles[max(0, min(position, len(cycles) - 4) - 4) : position + 4]
    return float(CLOCK_HZ * len(some) / sum(some))


def calls(figures: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what one of our other models did, milliseconds, heap), as far as they are measured."""
    what = {"answer": "a question", "translate": "a sentence"}
    out = []
    for name in CALLED:
        if name in figures:
            r = figures[name]
            row, heap = r["calls"][-1], r["heap"]
            made = f", {row['written']} written" if "written" in row else ""
            unit = UNITS.get(row["given"], "tokens")
            given = what.get(r["task"], row["given"])
            out.append((
                f"our {r['model']} model, {given} of {row['tokens']} {unit}{made}",
                f"{ms(row['cycles']):.1f}",
                f"{heap['high_water']:,} of {heap['boot']:,}",
            ))  # fmt: skip
    return out


def best(result: dict[str, Any]) -> tuple[float, float]:
    """Tokens a second on one core and on both, the fastest way of each."""
    one, both = (
        max(w["tokens_per_second"] for w in result["rows"] if w["cores"] == cores)
        for cores in (1, 2)
    )
    return one, both


def both_cores(figures: dict[str, Any]) -> list[list[str]]:
    """stories260K on one core and on both: the fastest way of each board, first 128 positions."""
    out = []
    for r in figures.get("cores", []):
        one, both = best(r)
        bits = f"{r['weight_bits']}-bit weights, {r['key_bits']}-bit keys"
        out.append([
            f"{r['title'][0].upper()}{r['title'][1:]}, {bits}: [both cores](#both-cores), one",
            f"{both:.1f}, {one:.1f}", "",
        ])  # fmt: skip
    return out


def own_waits(tokens_per_second: float) -> float:
    """Of a Pico 2, whose weights are in RAM, when MicroPython's own code waits for the flash as
    `plan` counts it: one core does that alone.
    """
    return DSP.hz / (DSP.hz / tokens_per_second + DSP.word * DSP.others)


def readme(figures: dict[str, Any]) -> str:
    """README's table: stories260K, first 128 positions, tokens a second."""
    rows = []
    for r in figures.get("cores", []):
        one, both = best(r)
        prompt = max(w["prompt_tokens_per_second"] for w in r["rows"] if w["cores"] == 2)
        waits = "flash as fast as RAM" not in r["title"]
        name = r["title"][2:].partition(",")[0]
        said = WAITING if waits else "emulated"
        what = f"{name}, {said}, {r['weight_bits']}-bit weights"
        rows.append([what, *(f"{n:.0f}" for n in (one, both, prompt))])
        if "Pico 2" in name:
            what = f"{name}, {WAITING}, {r['weight_bits']}-bit weights"
            rows.append([what, *(f"{own_waits(n):.0f}" for n in (one, both)), ""])
    runs = figures["unix"]["runs"]
    others = {
        "viper, weights in ram": "a PC, MicroPython's unix port",
        "llama2.c run": "the same PC, llama2.c's `run` (C, float, -O3)",
    }
    for name, said in others.items():
        if name in runs:
            rows.append([said, f"{runs[name]['tokens_per_second']:,.0f}", "", ""])
    return table(["tokens a second", "one core", "both cores", "a prompt, both cores"], rows)


def overview(figures: dict[str, Any]) -> str:
    """The beginning of docs/speed.md."""
    pico, own, unix = figures["rp2040"], figures["stories"], figures["unix"]
    x = pico["xip"]
    rows = []
    for r in (pico, own):
        heap = r["heap"]
        name = f"{'our story model' if r is own else r['model']}, emulated Pico"
        rows.append([
            f"{name}, context {r['context']}, weights in flash, first 128 positions",
            f"{r['tokens_per_second']['first']:.1f}",
            f"{heap['high_water']:,} of {heap['boot']:,}",
        ])  # fmt: skip
        prompt = r["prompt"]
        rows.append([f"the same, at position {min(250, r['tokens'] - 4)}",
                     f"{at(r, 250):.1f}", ""])  # fmt: skip
        rows.append([f"the same, reading a prompt of {prompt['tokens']}",
                     f"{prompt['tokens_per_second']:.1f}", ""])  # fmt: skip
        if "xip" in r:
            rows.append(["the same on silicon, first 128 positions: **estimated**",
                         silicon(r, "first"), ""])  # fmt: skip
        if r is pico:
            rows += both_cores(figures)
    rows += unix_rows(unix, flat=True)
    misses = x["misses_files"] + x["misses_firmware"]
    low, high = x["cycles_per_miss"]
    reads: list[list[str]] = []
    for r in readers(figures):
        where = "" if reads else ", emulated Pico, weights in flash"
        heap = r["heap"]
        reads.append([
            f"our {r['model']} model, a text of {r['tokens']} tokens{where}",
            f"{ms(r['cycles']):.1f}", f"{heap['high_water']:,} of {heap['boot']:,}",
        ])  # fmt: skip
        if "xip" in r:
            reads.append(["the same on silicon: **estimated**", silicon_ms(r), ""])
    reads += map(list, calls(figures))
    linear = [r["cycles"]["thumb"] / r["work"] for r in figures["kernels"]["kernels"]
              if r["kernel"].startswith("linear")]  # fmt: skip
    return f"""\
Speed and memory, greedy text, the same integers everywhere. The Pico is an emulated RP2040 at
125 MHz with the official firmware ({pico["micropython"]}), counted cycle by cycle. The heap is the
least in which the model loads and runs, the runtime included.

{table(["", "tokens a second", "bytes of heap"], rows)}
{table(["", "milliseconds", "bytes of heap"], reads) if reads else ""}
**The emulator knows no flash wait states.** A real Pico reads the weights through a 16 KB cache,
4 bytes at a time. A token of {pico["model"]} misses it {misses:,} times, at
{low} to {high} cycles each: hence the estimates, which nobody has checked on a board yet.

The Pico's kernels are Cortex-M0+ assembler, which Python programs write: {min(linear):.1f} to
{max(linear):.1f} cycles a multiply-accumulate with requantization and the call, weights in RAM.
"""


def card(name: str, figures: dict[str, Any]) -> str:
    """What the card of one of our models says about a microcontroller."""
    r = figures[name]
    heap, task = r["heap"], r["task"]
    rows = [["model file, 8-bit weights", f"{r['model_bytes']:,} bytes"]]
    if task == "generate":
        speed, prompt = r["tokens_per_second"], r["prompt"]
        rows += [
            ["first 128 positions", f"{speed['first']:.1f} tokens a second"],
            [f"all {r['tokens']}", f"{speed['all']:.1f} tokens a second"],
            [f"reading a prompt of {prompt['tokens']}",
             f"{prompt['tokens_per_second']:.1f} tokens a second"],
        ]  # fmt: skip
    for row in r.get("texts", []):
        if row["tokens"] in (r["tokens"], r["context"]):
            what = f"`{task}` of a text of {row['tokens']} tokens"
            rows.append([what, f"{ms(row['cycles']):.1f} ms"])
    for row in r.get("calls", []):
        what = f"`{task}`, {row['tokens']} tokens"
        if task == "translate":
            what += f", {row['written']} written"
        elif row["given"] in UNITS:
            what = f"`{task}` of {row['given']}, {row['tokens']} {UNITS[row['given']]}"
        rows.append([what, f"{ms(row['cycles']):.1f} ms"])
    if "xip" in r and "texts" in r:
        said = f"{r['tokens']} tokens on silicon, **estimated**"
        rows.append([said, f"{silicon_ms(r)} ms"])
    needed = f"{heap['high_water']:,} bytes of {heap['boot']:,}"
    rows.append(["heap needed, weights in flash, the runtime included", needed])
    options = {"stories": f" --context {r['context']}"}.get(name, "")
    if "texts" in r:
        options = f" --tokens {r['tokens']}"
    return f"""\
{table(["on an emulated Pico", ""], rows)}
An RP2040 at 125 MHz with the official firmware ({r["micropython"]}), emulated and counted cycle
by cycle, the tokenizer included; its results are the simulator's. **Flash wait states are not
emulated**: a real Pico will be slower ([by how much](../../docs/speed.md#on-silicon)), and none
has run it yet. `python -m tools.benchmarks.pico models/{name}{options}` measures it again.
"""
