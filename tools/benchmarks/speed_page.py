"""docs/speed.md: what was measured, section by section."""

from __future__ import annotations

from typing import Any

from picoformer.planning.speed import DSP
from tools.benchmarks.figures import number
from tools.benchmarks.pico import HEAP_STEP, ms
from tools.benchmarks.profile import rows
from tools.benchmarks.summaries import best, overview, own_waits
from tools.benchmarks.tables import CALLED, readers, silicon, silicon_ms, table, unix_rows
from tools.emulation.rp2040 import CLOCK_HZ


def page(figures: dict[str, Any]) -> str:
    """The page."""
    return f"""\
# Speed and memory

{overview(figures)}
## The emulated Pico

{speeds(figures)}
### Where a token's cycles go

{cycles(figures["rp2040"])}
{texts(figures)}
### Heap

{heap(figures)}
## Kernels

Cycles on the emulated Pico, weights and all in SRAM, the call and the requantization included.
"Each" is one of the last column.

{kernels(figures["kernels"]["kernels"], "cycles")}
![cycles of each kernel](images/speed-kernels.png)

{with_dsp(figures)}{cores(figures)}{riscv(figures)}{VIPER}## The unix port

{unix_port(figures["unix"])}
## On silicon

{on_silicon(figures["rp2040"])}{pico2_waits(figures)}{streamed(figures)}
{AGAIN}"""


BOTH = """\
## Both cores

`Model(path, cores=2)` on a Pico and a Pico 2, beside one core: stories260K with keys of 8 bits,
context 256, the first 128 positions, and a prompt of as many. Weights are in flash, copied to RAM
while 8 KB of the heap stay free (`spare`), or all in RAM where that has room. Every text is the
simulator's.

The boards are emulated with both their cores (rp2350js, official firmware 1.26), by two models
that are not part of this project: of the M33's timing, after the RP2350 datasheet, and of the
flash behind its cache. A Pico's takes 45 cycles for each 4 bytes that are not in its 16 KB, a Pico
2's 36 for the 8 bytes behind the last ones, 62 for others, one core waiting for the other's. No
DMA reads ahead. **None of this was measured on silicon.** A board with its own clock is measured
by

    python -m tools.benchmarks.cores stories260K.bin --port PORT --key-bits 8 --json > cores.json
    python -m tools.benchmarks.documents --cores cores.json

"""

AGAIN = """\
## Measure it again

`tools/benchmarks/documents.py` writes this page from [speed.json](speed.json): change the tool,
not the page. All of it again, figures, pictures, this page and README's table, in half an hour on
a quiet PC with [stories260K](https://huggingface.co/karpathy/tinyllamas/tree/main/stories260K)
(`stories260K.bin` and `tok512.bin`), MicroPython's official RPI_PICO firmware in
`~/.cache/picoformer`, and, if you have built them, llama2.c's `run` (`gcc -O3 -o run run.c -lm`)
and MicroPython's port to QEMU for VIRT_RV32:

    make bench CHECKPOINT=stories260K.bin LLAMA2C=PATH/TO/run RISCV=PATH/TO/firmware.elf

One at a time, as a table, with `--json`, or with `--plot FILE.png`:

    python -m tools.benchmarks.pico stories260K.bin --context 256 --xip
    python -m tools.benchmarks.pico models/intents --tokens 16 --xip
    python -m tools.benchmarks.unix stories260K.bin --llama2c PATH/TO/run
    python -m tools.benchmarks.kernels
    python -m tools.benchmarks.riscv FIRMWARE.elf
"""

# What test_viper_takes_few_instructions counts, and mpy-cross makes of linear's innermost line.
VIPER = """\
## Viper

The compiler keeps the first two locals of a function in registers, all others on the stack, and
works on every operator by itself: the result of a load is in one register, the left side of an
operator has to be in a second one, the right side in a third or in a local's own. So the shortest
multiply-accumulate is `a = w[0] * int(x) + a`, with the pointer to the weights and the activation
in the two registers. Eight instructions:

| | Xtensa | x64 | what for |
|---|---|---|---|
| `w[0]` | `l8ui a10, a4, 0` | `movzx eax, [rbx]` | the weight, a byte |
| `*` | `mov.n a11, a10` | `mov rsi, rax` | to the left side |
| | `mull a11, a11, a5` | `imul rsi, r12` | |
| `a` | `l32i a10, a1, 60` | `mov rax, [rsp+n]` | the sum, from the stack |
| `+` | `mov.n a12, a10` | `mov rdx, rax` | to the right side |
| | `add.n a11, a11, a12` | `add rsi, rdx` | |
| `a =` | `mov.n a10, a11` | `mov rax, rsi` | a local is stored from there only |
| | `s32i a10, a1, 60` | `mov [rsp+n], rax` | |

The activation of a column is three more for four rows, the loop 18 for eight columns: 9.3 a
multiply-accumulate. With a sum in the second register each product would load its activation
beside its weight, and keep one of them on the stack meanwhile: 9, and two pointers to advance. No
32-bit multiplication holds two of these products, 20 bits each.

Instructions on Xtensa, the call and the requantization included, 64 x 64, each of a
multiply-accumulate: linear 12.0, linear4 12.5, of which 8 and 7 are the innermost lines. 256 x
256: 9.9 and 11.0.

"""


def speeds(figures: dict[str, Any]) -> str:
    """Tokens a second of the models that write."""
    pico, own = figures["rp2040"], figures["stories"]
    rows = []
    for r, name in ((pico, pico["model"]), (own, "our story model")):
        s = r["tokens_per_second"]
        rows.append([
            name, str(r["tokens"]), *(f"{s[n]:.1f}" for n in ("all", "first", "last")),
            f"{r['prompt']['tokens_per_second']:.1f}", f"{r['prompt']['times_generation']:.2f}",
        ])  # fmt: skip
    head = ["model", "tokens", "all of them", "first 128", "last 8",
            f"a prompt of {pico['prompt']['tokens']}", "times generation"]  # fmt: skip
    return f"""\
{pico["model"]} ({pico["parameters"]:,} parameters) and our own story model
({own["parameters"]:,}), greedy text, context {pico["context"]}, {pico["kernels"]} kernels, weights
used where they lie in flash, firmware {pico["micropython"]}, 125 MHz. Tokens a second, each token
with its text; the numbers that come out are the simulator's.

{table(head, rows)}
![tokens a second against position, and the profile](images/speed-rp2040.png)
"""


def cycles(pico: dict[str, Any]) -> str:
    """The profile of a token."""
    profile = pico["profile"]
    return f"""\
{pico["model"]} at position {profile["position"]}, by kind of step (MAC: multiply-accumulate):

{profile_table(profile, "step")}
By layer:

{profile_table(profile, "layer")}
The token is measured as a whole; the parts are measured apart from that, with the emulator's cycle
counter around each step, interrupts off. Reading the counter costs {profile["probe"]:,} cycles in
Python: an empty pair of readings says so, and it is taken out. A token's steps run in few calls
([architecture.md](architecture.md#steps-in-few-calls)). For this table each is called by itself,
and such a call without a step is taken out, too. The "interpreter's loop" makes those few calls;
the "generator" is what `generate` does with a step as its whole program, less that step, the
sampler and the tokenizer.
What the parts do not add up to is "not accounted for".
"""


def profile_table(measured: dict[str, Any], by: str) -> str:
    """A profile by "step" or by "layer"."""
    unit, total = measured["unit"], measured["total"]
    what = "**the text**" if "tokens" in measured else "**the token**"
    whole = [f"**{number(total)}**", "100.0%"]
    parts = rows(measured, by)
    shares = [[number(row["cost"]), f"{row['cost'] / total:.1%}"] for row in parts]
    if by == "layer":
        lines = [[row["name"], *cells] for row, cells in zip(parts, shares, strict=True)]
        return table(["layer", unit, "share"], [*lines, [what, *whole]])
    fine, factor = {"us": ("ns", 1000)}.get(unit, (unit, 1))
    lines = []
    for row, cells in zip(parts, shares, strict=True):
        each = factor * row["cost"] / row["work"] if row["work"] else 0.0
        calls = str(row["calls"] or "")
        lines.append([row["name"], calls, *cells, f"{each:.2f}" if each else ""])
    head = ["step", "calls", unit, "share", f"{fine} a MAC"]
    return table(head, [*lines, [what, "", *whole, ""]])


def riscv(figures: dict[str, Any]) -> str:
    """Instructions on RISC-V, where they were counted."""
    if "riscv" not in figures:
        return ""
    r = figures["riscv"]
    families = list(r["written"])
    lines = [[f, f"{r['written'][f]:,}", f"{r['read'][f]:,}"] for f in families]
    head = ["kernels", "a token, its text", f"a token of a prompt of {r['prompt']}"]
    return f"""\
## RISC-V

Instructions, not cycles, of an emulated RV32IMC core: MicroPython's port to QEMU (VIRT_RV32). Our
story model writes {r["tokens"]} tokens, MicroPython and all, weights in RAM; the text is the
simulator's.

{table(head, lines)}
The kernels of [above](#kernels):

{kernels(r["kernels"], "instructions")}
{sweeps(r)}
The rv32 kernels need MicroPython's assembler for RISC-V, which an RP2350 has in its RISC-V build.
Espressif's chips (ESP32-C3, C6) have none in their firmware and run viper.

"""


def sweeps(r: dict[str, Any]) -> str:
    """A prompt by the positions that sweep the weights together."""
    families = list(r["written"])
    lines, least = [], r["groups"][0]["arena"]
    for g in r["groups"]:
        counts = [f"{g['instructions'][f]:,}" for f in families]
        lines.append([str(g["group"]), f"{g['arena'] - least:,}", *counts])
    return f"""\
A token of that prompt, by the positions of a group, which sweep the weights together
(`convert(batch=...)`, 4 by default), and the bytes of heap that its frames take beyond one:

{table(["positions", "bytes", *families], lines)}
Four are enough where the weights are as near as RAM: more would save less than a hundredth. Where
they are not, the wait for them is divided by the group, too: see [below](#on-silicon). Whole
inputs go in one group; where weights come over the cable, the loader takes the largest that the
heap has room for.
"""


def kernels(measured: list[dict[str, Any]], what: str) -> str:
    """Cycles or instructions of each kernel by family, of all and of one unit of its work."""
    families = list(measured[0][what])
    lines = []
    for row in measured:
        cycles, work = row[what], row["work"]
        lines.append([
            row["kernel"],
            *(f"{cycles[f]:,}" if f in cycles else "" for f in families),
            *(f"{cycles[f] / work:,.2f}" if f in cycles else "" for f in families),
            row["unit"],
        ])  # fmt: skip
    return table(["kernel", *families, *(f"{f}, each" for f in families), "one of"], lines)


def with_dsp(figures: dict[str, Any]) -> str:
    """The kernels on a core with DSP instructions."""
    if "dsp" not in figures:
        return ""
    measured = figures["dsp"]
    return f"""\
The same on an emulated Pico 2 W (RP2350, a Cortex-M33 at {measured["clock_hz"] // 10**6} MHz). The
cycles are those of a model of the M33's timing that runs in rp2350js and is not part of this
project; of a board with a Cortex-M3, M4, M7 or M33 this takes the core's own counter:

    python -m tools.benchmarks.kernels --port PORT --json > dsp.json
    python -m tools.benchmarks.documents --dsp dsp.json

{kernels(measured["kernels"], "cycles")}
"""


def cores(figures: dict[str, Any]) -> str:
    """One core and both, on boards that were measured by their own clocks."""
    if "cores" not in figures:
        return ""
    out = BOTH
    for title in dict.fromkeys(r["title"] for r in figures["cores"]):
        lines = []
        for r in figures["cores"]:
            if r["title"] == title:
                for row in r["rows"]:
                    rates = "tokens_per_second", "prompt_tokens_per_second"
                    where = f"{row['in_ram']:,} of {r['weights']:,}"
                    lines.append([
                        str(r["weight_bits"]), where, str(row["cores"]), f"{row['free']:,}",
                        *(f"{row[rate]:.1f}" for rate in rates),
                    ])  # fmt: skip
        head = ["bits", "bytes of weights in RAM", "cores", "heap left", "tokens a second"]
        out += f"{title[0].upper()}{title[1:]}:\n\n{table([*head, 'of a prompt'], lines)}\n"
    return out


def texts(figures: dict[str, Any]) -> str:
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

{profile_table(first["profile"], "step")}
{_most(first)}
{estimate}{calls(figures)}"""


def _most(reader: dict[str, Any]) -> str:
    """What the profile of a text says in a word: what its tokenizer takes of it."""
    profile = reader["profile"]
    total, own = profile["total"], profile["python"]["tokenizer"]
    return f"""\
The tokenizer, which is Python, takes {own / total:.0%} of this text's time. The table adds up to
{ms(total):.1f} ms, with interrupts off; the {ms(reader["cycles"]):.1f} ms above are with them.
"""


def calls(figures: dict[str, Any]) -> str:
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
### Images, signals, questions, sentences

Milliseconds of a call of our other models on the same board, tokenizer and all; tokens that the
model read (patches of an image, windows of a signal) and wrote.

{table(["", "read", "written", "ms"], rows)}"""


def heap(figures: dict[str, Any]) -> str:
    """The heap of every model."""
    pico = figures["rp2040"]
    rows = []
    kept = ("boot", "imported", "free", "free_after", "high_water")
    measured = (figures[n] for n in CALLED if n in figures)
    for r in (pico, figures["stories"], *readers(figures), *measured):
        name = r["model"] if r is pico else f"our {r['model'].replace('stories', 'story')} model"
        each = f"{r['heap']['per_token']:.0f}" if "per_token" in r["heap"] else ""
        rows.append([name, *(f"{r['heap'][k]:,}" for k in kept), each])
    head = ["model", "free at boot", "runtime imported", "model loaded", "after it ran",
            "needed", "a token, its text"]  # fmt: skip
    return f"""\
Bytes. "Needed" is the least heap, the runtime included, in which the model loads and gives its
first tokens, or reads a text as long as its context; found by letting something else hold the rest
({HEAP_STEP} bytes exact).

{table(head, rows)}"""


def unix_port(unix: dict[str, Any]) -> str:
    """Tokens a second on the PC, and the profile of a token there."""
    head = ["", "tokens a second", "from, to", "heap taken", "heap needed"]
    return f"""\
{unix["model"]}, {unix["tokens"]} tokens, on the PC that also wrote this page; medians. The runs
take turns with one another and with llama2.c's. Portable kernels give fewer tokens.

{table(head, unix_rows(unix, flat=False))}
![tokens a second against position, and the profile](images/speed-unix.png)

{unix["model"]} at position {unix["profile"]["position"]}, viper kernels, weights in RAM, in
microseconds, the calmer half of the rounds. The clock's step is one microsecond, so small parts
are means. What is not accounted for is probably that parts measured alone find the PC's caches
warmer:

{profile_table(unix["profile"], "step")}"""


def on_silicon(pico: dict[str, Any]) -> str:
    """What flash may cost on silicon, and why."""
    x, heap = pico["xip"], pico["heap"]
    low, high = x["cycles_per_miss"]
    cheap, dear = x["cycles"]
    first = pico["cycles"][: min(128, pico["tokens"])]
    mean = sum(first) / len(first)
    python = sum(pico["profile"]["python"].values())
    return f"""\
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
the matrices drive it out of the cache. The kernels themselves lie in RAM. A prompt reads the
weights once for the positions of a group, so it suffers less. Of a prompt of
{pico["prompt"]["tokens"]} tokens, if the waits for the weights alone are counted, tokens a second:

{group_table(pico)}
A model for such a board may be converted with `batch=8` or `16` if its heap has the room. Nothing
else gains, and nobody has measured it on silicon, so 4 is the default.

Assumed, not known: that the cache gives up the least recently used way; that nothing overlaps with
a fill; no prefetch of the processor behind a branch; other flash chips and other boot stages
differ. A board with faster access to its flash, or a model that fits into RAM, has nothing to wait
for. At {heap["boot"]:,} bytes of heap a Pico has no room for these weights.
"""


def pico2_waits(figures: dict[str, Any]) -> str:
    """What a Pico 2 waits for, whose weights are in RAM."""
    found = [best(r) for r in figures.get("cores", []) if "Pico 2" in r["title"]]
    if not found:
        return ""
    one, both = (f"{own_waits(n):.0f}" for n in found[0])
    before = [f"{n:.0f}" for n in found[0]]
    return f"""
A Pico 2 has the weights in RAM. MicroPython's own code waits there, too: `plan` counts
{DSP.others:,} words a token, {DSP.word} cycles each. With that it writes **{one} tokens a second
on one core and {both} on both**, {before[0]} and {before[1]} without. That is estimated from the
Pico's count of words, and not measured.
"""


STREAMED = """
### Weights by DMA

`Model(path, weights="stream")` fetches the weights by the chip's XIP stream and DMA, while the
core computes ([board.md](board.md#weights-by-dma)). **It was never tried on silicon.** Below is
stories260K with keys of 8 bits and a context of {context} on the emulated Pico: tokens {first} to
{last} of a text, behind a prompt of {prompt}. The text is the simulator's. "Copied" is
`weights=None`. In both, RAM holds what the heap can spare.

Each word of the flash takes {cycles} cycles, for a miss of the processor and for the stream. A
miss goes first, but does not break off a word that is on its way. `tools/emulation/stream.py` is
that model, and says what else it assumes. Each of the first two commands takes three minutes of a
PC's processor.

    python -m tools.benchmarks.stream stories260K.bin --key-bits 8 --json > 8.json
    python -m tools.benchmarks.stream stories260K.bin --key-bits 8 --weight-bits 4 --json > 4.json
    python -m tools.benchmarks.documents --stream 8.json 4.json

"""


def streamed(figures: dict[str, Any]) -> str:
    """The waits for flash, without and with the XIP stream."""
    if "stream" not in figures:
        return ""
    x = figures["stream"][0]
    lines = [
        [
            str(r["weight_bits"]), way, f"{row['in_ram']:,}", f"{row['free']:,}",
            f"{row['tokens_per_second']:.1f}", f"{row['prompt_tokens_per_second']:.1f}",
            f"{row['misses']:,}", f"{row['streamed']:,}",
        ]
        for r in figures["stream"]
        for way, row in r["rows"].items()
    ]  # fmt: skip
    head = ["bits", "weights", "bytes of them in RAM", "heap left", "tokens a second"]
    head += ["of a prompt", "misses a token", "words streamed"]
    about = STREAMED.format(
        context=x["context"], prompt=x["prompt"], first=x["prompt"] + 2,
        last=x["prompt"] + 1 + x["tokens"], cycles=x["cycles_a_word"],
    )  # fmt: skip
    return about + table(head, lines)


def group_table(pico: dict[str, Any]) -> str:
    """A prompt on silicon, estimated, for some groups of positions; computing as in one of 4."""
    x, prompt = pico["xip"], pico["prompt"]
    lines = []
    for group in (4, 8, 16):
        each = prompt["cycles"] / prompt["tokens"]
        waits = [misses * x["misses_files"] / group for misses in x["cycles_per_miss"]]
        lines.append([str(group), *(f"{CLOCK_HZ / (each + w):.0f}" for w in waits)])
    return table(["positions", *(f"{n} cycles a miss" for n in x["cycles_per_miss"])], lines)
