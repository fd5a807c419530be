"""What README, docs/speed.md and the models' cards say of speed, from docs/speed.json.

    python -m tools.benchmarks.documents                          # write the text again
    python -m tools.benchmarks.documents --plot                   # and the pictures
    python -m tools.benchmarks.documents --measure stories260K.bin [--llama2c PATH/TO/run]

--measure runs the benchmarks, one after the other, and writes figures, pictures and text; --only
rp2040,stories measures some of them (there are rp2040, stories, intents, sentiment,
fashion, facts, english-french, unix, kernels) and keeps the other figures. A test compares the
text with the figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from picoformer import Error
from tools.benchmarks import pico as pico_benchmark
from tools.benchmarks import shared as benchmarks
from tools.benchmarks import unix as unix_benchmark
from tools.benchmarks.pico import HEAP_STEP, ms
from tools.emulation.rp2040 import CLOCK_HZ

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "speed.json"
PAGE = ROOT / "docs" / "speed.md"
README = ROOT / "README.md"
IMAGES = ROOT / "docs" / "images"
BEGIN = "<!-- speed:begin: written by tools/benchmarks/documents.py -->\n"
END = "<!-- speed:end -->"
CONTEXT = 256
READERS = ("intents", "sentiment")  # the parts whose models take a text whole
CALLED = ("fashion", "facts", "english-french")  # those that take an image, a question, a sentence

# What is measured, and how: the tool and its options. {}: the checkpoint.
PARTS = {
    "rp2040": ("pico", ["{}", "--context", str(CONTEXT), "--xip"]),
    "stories": ("pico", ["--context", str(CONTEXT)]),
    "intents": ("pico", [str(ROOT / "models/intents"), "--tokens", "16", "--xip"]),
    "sentiment": ("pico", [str(ROOT / "models/sentiment"), "--tokens", "32", "--xip"]),
    **{name: ("pico", [str(ROOT / "models" / name)]) for name in CALLED},
    "unix": ("unix", ["{}"]),
    "kernels": ("kernels", []),
}


def measure(checkpoint: str, llama2c: str | None, only: list[str]) -> None:
    """Run the benchmarks and keep their figures. A part that fails keeps nothing of it."""
    figures: dict[str, Any] = figures_of(FIGURES) if FIGURES.exists() else {}
    for part in only:
        tool, options = PARTS[part]
        command = [sys.executable, "-m", f"tools.benchmarks.{tool}", "--json"]
        command += [checkpoint if option == "{}" else option for option in options]
        if tool == "unix" and llama2c:
            command += ["--llama2c", llama2c]
        print(f"{part}: {tool} ...", flush=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise Error(f"{tool} failed")
        figures[part] = json.loads(done.stdout)
        FIGURES.parent.mkdir(exist_ok=True)
        benchmarks.save(FIGURES, figures)


def figures_of(path: Path) -> dict[str, Any]:
    """The figures of a file that --measure wrote."""
    try:
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise Error(f"cannot read {path}: {e}; --measure writes it") from e
    return figures


def pictures(figures: dict[str, Any]) -> None:
    """Draw docs/images from the figures."""
    benchmarks.need_plots()
    IMAGES.mkdir(parents=True, exist_ok=True)
    pico_benchmark.plot(figures["rp2040"], str(IMAGES / "speed-rp2040.png"))
    unix_benchmark.plot(figures["unix"], str(IMAGES / "speed-unix.png"))
    benchmarks.plot_kernels(IMAGES / "speed-kernels.png", figures["kernels"]["kernels"])


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines).replace("|  |", "| |").replace("|  |", "| |") + "\n"


def at(result: dict[str, Any], position: int) -> float:
    """Tokens a second of eight positions around one."""
    cycles = result["cycles"]
    some = cycles[max(0, min(position, len(cycles) - 4) - 4) : position + 4]
    return float(CLOCK_HZ * len(some) / sum(some))


def silicon(result: dict[str, Any], which: str) -> str:
    """The estimated range of tokens a second on silicon."""
    high, low = (e[which] for e in result["xip"]["tokens_per_second"])
    return f"{low:.0f} to {high:.0f}"


def readers(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of the models that take a text whole, as far as they are measured."""
    return [figures[name] for name in READERS if name in figures]


def calls(figures: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what one of our other models did, milliseconds, heap), as far as they are measured."""
    what = {"classify": "an image", "answer": "a question", "translate": "a sentence"}
    out = []
    for name in CALLED:
        if name in figures:
            r = figures[name]
            row, heap = r["calls"][-1], r["heap"]
            made = f", {row['written']} written" if "written" in row else ""
            unit = "patches" if r["task"] == "classify" else "tokens"
            out.append((
                f"our {r['model']} model, {what[r['task']]} of {row['tokens']} {unit}{made}",
                f"{ms(row['cycles']):.1f}",
                f"{heap['high_water']:,} of {heap['boot']:,}",
            ))  # fmt: skip
    return out


def silicon_ms(result: dict[str, Any]) -> str:
    """The estimated range of milliseconds of a text on silicon."""
    low, high = (ms(result["cycles"] + c) for c in result["xip"]["cycles"])
    return f"{low:.0f} to {high:.0f}"


def _unix_rows(unix: dict[str, Any], flat: bool) -> list[list[str]]:
    names = {
        "viper, weights in ram": f"{unix['model']}, unix port on a PC, {unix['tokens']} tokens, "
        "weights in RAM",
        "viper, weights in file": "the same, weights read from the file for every token",
        "portable, weights in ram": "the same, plain-Python kernels",
        "llama2.c run": "llama2.c's `run` (C, float, -O3) in turn on the same PC",
    }
    out = []
    for name, row in unix["runs"].items():
        needed = f"{row['high_water']:,}" if "high_water" in row else ""
        cells = [names[name] if flat else name, f"{row['tokens_per_second']:,.0f}"]
        if not flat:
            low, high = row["range"]
            cells += [f"{low:,.0f} to {high:,.0f}", f"{row['heap']:,}" if "heap" in row else ""]
        out.append([*cells, needed])
    return out


def section(figures: dict[str, Any]) -> str:
    """The README's section, without its marks."""
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
    rows += _unix_rows(unix, flat=True)
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

The Pico's kernels are Cortex-M0+ assembler, written in MicroPython: {min(linear):.1f} to
{max(linear):.1f} cycles a multiply-accumulate with requantization and the call, weights in RAM.
[docs/speed.md](docs/speed.md) shows where a token's cycles go, the speed of each kernel, what
flash may cost on silicon and why, and how to measure it all again (`make bench`).
"""


def _profile(profile: dict[str, Any], by: str) -> str:
    unit, total = profile["unit"], profile["total"]
    fine, factor = {"us": ("ns", 1000)}.get(unit, (unit, 1))
    rows = []
    for row in benchmarks.rows(profile, by):
        cells = [row["name"]]
        if by == "step":
            cells.append(str(row["calls"] or ""))
        cells += [benchmarks.number(row["cost"]), f"{row['cost'] / total:.1%}"]
        if by == "step":
            each = factor * row["cost"] / row["work"] if row["work"] else 0.0
            cells.append(f"{each:.2f}" if each else "")
        rows.append(cells)
    what = "the text" if "tokens" in profile else "the token"
    rows.append([f"**{what}**", *([""] * (by == "step")), f"**{benchmarks.number(total)}**",
                 "100.0%", *([""] * (by == "step"))])  # fmt: skip
    head = ["step", "calls", unit, "share", f"{fine} a MAC"] if by == "step" else [
        "layer", unit, "share"]  # fmt: skip
    return table(head, rows)


def _kernels(kernels: list[dict[str, Any]]) -> str:
    families = list(kernels[0]["cycles"])
    rows = [
        [
            row["kernel"],
            *(f"{row['cycles'][f]:,}" if f in row["cycles"] else "" for f in families),
            *(
                f"{row['cycles'][f] / row['work']:,.2f}" if f in row["cycles"] else ""
                for f in families
            ),
            row["unit"],
        ]
        for row in kernels
    ]
    return table(["kernel", *families, *(f"{f}, each" for f in families), "one of"], rows)


def _readers(figures: dict[str, Any]) -> str:
    """The part of docs/speed.md on models that take a text whole."""
    results = readers(figures)
    if not results:
        return ""
    names = [f"our {r['model']} model" for r in results]
    counts = sorted({row["tokens"] for r in results for row in r["texts"]})
    speeds, misses = [], []
    for name, r in zip(names, results, strict=True):
        of = {row["tokens"]: row["cycles"] for row in r["texts"]}
        speeds.append([name, *(f"{ms(of[n]):.1f}" if n in of else ""
                               for n in counts)])  # fmt: skip
        if x := r.get("xip"):
            misses.append([
                f"{name}, {r['tokens']} tokens", f"{x['misses_files']:,}",
                f"{x['misses_firmware']:,}", f"{ms(r['cycles']):.1f}", silicon_ms(r),
            ])  # fmt: skip
    head = ["", "misses, weights", "misses, MicroPython", "ms", "ms on silicon, estimated"]
    estimate = (
        ""
        if not misses
        else f"""\
What flash may cost on silicon, estimated as [below](#on-silicon):

{table(head, misses)}"""
    )
    first = results[0]
    sizes = " and ".join(f"{r['model']} ({r['parameters']:,} parameters)" for r in results)
    return f"""\
### A text taken whole

Our classifiers {sizes} on the same board: milliseconds of `classify(text)`, tokenizer and all,
against the number of tokens, special ones included. The results are the simulator's.

{table(["tokens", *map(str, counts)], speeds)}
{names[0]}, a text of {first["tokens"]} tokens, as above ("call" is what `classify` does besides):

{_profile(first["profile"], "step")}
{estimate}{_calls(figures)}"""


def _calls(figures: dict[str, Any]) -> str:
    """The part of docs/speed.md on images, questions and translations."""
    rows = [
        [f"{name}: {row['given']}", str(row["tokens"]), str(row.get("written", "")),
         f"{ms(row['cycles']):.1f}"]
        for name in CALLED
        for row in figures.get(name, {"calls": []})["calls"]
    ]  # fmt: skip
    if not rows:
        return ""
    return f"""
### Images, questions, sentences

Milliseconds of a call of our other models on the same board, tokenizer and all; tokens that the
model read (patches of an image) and wrote.

{table(["", "read", "written", "ms"], rows)}"""


def page(figures: dict[str, Any]) -> str:
    """docs/speed.md."""
    pico, own, unix = figures["rp2040"], figures["stories"], figures["unix"]
    x, profile, heap = pico["xip"], pico["profile"], pico["heap"]
    names = ["all", "first", "last"]
    named = [pico["model"], "our story model"]
    rows = []
    for r in (pico, own):
        s = r["tokens_per_second"]
        rows.append([
            named[r is own], str(r["tokens"]), *(f"{s[n]:.1f}" for n in names),
            f"{r['prompt']['tokens_per_second']:.1f}", f"{r['prompt']['times_generation']:.2f}",
        ])  # fmt: skip
    head = ["model", "tokens", "all of them", "first 128", "last 8",
            f"a prompt of {pico['prompt']['tokens']}", "times generation"]  # fmt: skip
    heaps = []
    kept = ("boot", "imported", "free", "free_after", "high_water")
    for r in (pico, own, *readers(figures), *(figures[n] for n in CALLED if n in figures)):
        name = r["model"] if r is pico else f"our {r['model'].replace('stories', 'story')} model"
        each = f"{r['heap']['per_token']:.0f}" if "per_token" in r["heap"] else ""
        heaps.append([name, *(f"{r['heap'][k]:,}" for k in kept), each])
    heap_head = ["model", "free at boot", "runtime imported", "model loaded", "after it ran",
                 "needed", "a token, its text"]  # fmt: skip
    unix_head = ["", "tokens a second", "from, to", "heap taken", "heap needed"]
    low, high = x["cycles_per_miss"]
    cheap, dear = x["cycles"]
    first = pico["cycles"][: min(128, pico["tokens"])]
    mean = sum(first) / len(first)
    python = sum(profile["python"].values())
    return f"""\
# Speed and memory

Written by `tools/benchmarks/documents.py` from [speed.json](speed.json): change the tool, not
this page.

All of it again, figures, pictures, this page and the README's section, in half an hour on a quiet
PC with [stories260K](https://huggingface.co/karpathy/tinyllamas/tree/main/stories260K)
(`stories260K.bin` and `tok512.bin`), MicroPython's official RPI_PICO firmware in
`~/.cache/picoformer`, and llama2.c's `run` if you have built it (`gcc -O3 -o run run.c -lm`):

    make bench CHECKPOINT=stories260K.bin LLAMA2C=PATH/TO/run

One at a time, as a table, with `--json`, or with `--plot FILE.png`:

    python -m tools.benchmarks.pico stories260K.bin --context 256 --xip
    python -m tools.benchmarks.pico models/intents --tokens 16 --xip
    python -m tools.benchmarks.unix stories260K.bin --llama2c PATH/TO/run
    python -m tools.benchmarks.kernels

## The emulated Pico

{pico["model"]} ({pico["parameters"]:,} parameters) and our own story model
({own["parameters"]:,}), greedy text, context {pico["context"]}, {pico["kernels"]} kernels, weights
used where they lie in flash, firmware {pico["micropython"]}, 125 MHz. Tokens a second, each token
with its text; the numbers that come out are the simulator's.

{table(head, rows)}
![tokens a second against position, and the profile](images/speed-rp2040.png)

### Where a token's cycles go

{pico["model"]} at position {profile["position"]}, by kind of step (MAC: multiply-accumulate):

{_profile(profile, "step")}
By layer:

{_profile(profile, "layer")}
The token is measured as a whole; the parts are measured apart from that, with the emulator's cycle
counter around each call as the interpreter makes it, interrupts off. Reading the counter costs
{profile["probe"]:,} cycles in Python: an empty pair of readings says so, and it is taken out.
The "interpreter's loop" fetches a kernel and its record from the list; the "generator" is what
`generate` does with a step as its whole program, less that step, the sampler and the tokenizer.
What the parts do not add up to is "not accounted for".

{_readers(figures)}
### Heap

Bytes. "Needed" is the least heap, the runtime included, in which the model loads and gives its
first tokens, or reads a text as long as its context; found by letting something else hold the rest
({HEAP_STEP} bytes exact).

{table(heap_head, heaps)}
## Kernels

Cycles on the emulated Pico, weights and all in SRAM, the call and the requantization included.
"Each" is one of the last column.

{_kernels(figures["kernels"]["kernels"])}
![cycles of each kernel](images/speed-kernels.png)

## The unix port

{unix["model"]}, {unix["tokens"]} tokens, on the PC that also wrote this page; medians. The runs
take turns with one another and with llama2.c's. Portable kernels give fewer tokens.

{table(unix_head, _unix_rows(unix, flat=False))}
![tokens a second against position, and the profile](images/speed-unix.png)

{unix["model"]} at position {unix["profile"]["position"]}, viper kernels, weights in RAM, in
microseconds, the calmer half of the rounds. The clock's step is one microsecond, so small parts
are means. What is not accounted for is probably that parts measured alone find the PC's caches
warmer:

{_profile(unix["profile"], "step")}
## On silicon

**No real Pico has run this yet. The emulator reads flash as fast as RAM, a Pico does not.** What
that may cost, from what is known:

- The flash is read through a cache of 16 KB, two ways of 8-byte lines, but filled
  [4 bytes at a time](https://github.com/raspberrypi/pico-sdk/issues/1182): filling a line would be
  two such reads. The weights of {pico["model"]} are larger than that by far and are read from
  end to end for each token, so nothing of them stays.
- The second boot stage in the official image (boot2_w25q080) sets the divider to 2, so 62.5 MHz on
  four wires at 125 MHz. A fill is 8 clocks of address and mode, 4 of waiting and 8 of data: 20
  clocks, {low} cycles of the processor, which stands still meanwhile. [Klipper's
  author](https://github.com/Klipper3d/klipper/pull/6464) gives the same 320 ns as the minimum;
  [about 400 ns](https://oberon-rtk.org/description/flash-memory), {high} cycles, were measured for
  a load.
- `tools/benchmarks/flash.py` lets every fetch and load of one token pass through a model of that
  cache. Of {x["reads_files"]:,} loads of weights {x["misses_files"]:,} miss; of
  {x["reads_firmware"]:,} fetches and loads of MicroPython's own code and constants
  {x["misses_firmware"]:,}.

| | cycles a token | tokens a second |
|---|---:|---:|
| emulated, mean of the first {len(first)} positions | {mean:,.0f} | {CLOCK_HZ / mean:.1f} |
| {low} cycles a miss | {mean + cheap:,.0f} | {CLOCK_HZ / (mean + cheap):.1f} |
| {high} cycles a miss | {mean + dear:,.0f} | {CLOCK_HZ / (mean + dear):.1f} |
| {high} cycles a miss, at position {pico["tokens"] - 1} | \
{pico["cycles"][-1] + dear:,.0f} | {CLOCK_HZ / (pico["cycles"][-1] + dear):.1f} |

So expect **{silicon(pico, "first")} tokens a second** of {pico["model"]} on a Pico as it comes.
The weights are {x["misses_files"] / (x["misses_files"] + x["misses_firmware"]):.0%} of it; the
Python around the steps, {python:,.0f} cycles a token as emulated, runs from flash too and waits
for another {low * x["misses_firmware"]:,.0f} to {high * x["misses_firmware"]:,.0f} cycles, because
each matrix drives it out of the cache. The kernels themselves lie in RAM. A prompt reads the
weights once for several positions, so it suffers less.

Assumed, not known: that the cache gives up the least recently used way; that nothing overlaps with
a fill; no prefetch of the processor behind a branch; other flash chips and other boot stages
differ. A board with faster access to its flash, or a model that fits into RAM, has nothing to wait
for. At {heap["boot"]:,} bytes of heap a Pico has no room for these weights.
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
        elif task == "classify":
            what = f"`classify` of an image, {row['tokens']} patches"
        rows.append([what, f"{ms(row['cycles']):.1f} ms"])
    if "xip" in r and "texts" in r:
        said = f"{r['tokens']} tokens on silicon, **estimated**"
        rows.append([said, f"{silicon_ms(r)} ms"])
    needed = f"{heap['high_water']:,} bytes of {heap['boot']:,}"
    rows.append(["heap needed, weights in flash, the runtime included", needed])
    options = {"stories": f" --context {CONTEXT}"}.get(name, "")
    if "texts" in r:
        options = f" --tokens {r['tokens']}"
    return f"""\
{table(["on an emulated Pico", ""], rows)}
An RP2040 at 125 MHz with the official firmware ({r["micropython"]}), emulated and counted cycle
by cycle, the tokenizer included; its results are the simulator's. **Flash wait states are not
emulated**: a real Pico will be slower ([by how much](../../docs/speed.md#on-silicon)), and none
has run it yet. `python -m tools.benchmarks.pico models/{name}{options}` measures it again.
"""


def between(path: Path, text: str) -> str:
    """A file with other text between its marks. Raises Error."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Error(f"{path} lacks its marks {BEGIN.strip()} and {END}")
    return before + begin + text + end + after


def rendered(figures: dict[str, Any]) -> dict[Path, str]:
    """The files that depend on the figures, with what they should contain."""
    out = {README: between(README, section(figures)), PAGE: page(figures)}
    for name in ("stories", *READERS, *CALLED):
        if name in figures:
            path = ROOT / "models" / name / "README.md"
            out[path] = between(path, card(name, figures))
    return out


def stale() -> list[Path]:
    """The files that are not what the figures say."""
    files = rendered(figures_of(FIGURES))
    return [p for p, s in files.items() if not p.exists() or p.read_text(encoding="utf-8") != s]


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--measure", metavar="CHECKPOINT", help="run the benchmarks first")
    parser.add_argument("--llama2c", metavar="RUN", help="llama2.c's program, to compare")
    parser.add_argument("--only", default=",".join(PARTS), help="of " + ",".join(PARTS))
    parser.add_argument("--plot", action="store_true", help="draw the pictures again")
    o = parser.parse_args()
    only = o.only.split(",")
    if not set(only) <= set(PARTS):
        raise Error(f"--only is {o.only}, there are {', '.join(PARTS)}")
    if o.measure or o.plot:
        benchmarks.need_plots()
    if o.measure:
        measure(o.measure, o.llama2c, only)
    figures = figures_of(FIGURES)
    if o.measure or o.plot:
        pictures(figures)
    for path, text in rendered(figures).items():
        path.write_text(text, encoding="utf-8")


def main() -> int:
    """The command line; returns the exit status. A user's mistake is one line, no traceback."""
    try:
        run()
    except Error as e:
        print(f"documents: error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
