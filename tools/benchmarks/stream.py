"""What waits for the RP2040's flash cost, and how much of it the XIP stream saves.

    python -m tools.benchmarks.stream SOURCE [--context 256] [--weight-bits 8] [--key-bits 12]
                                      [--spare 8192] [--ways flash copied stream] [--json]

SOURCE, a checkpoint that generates, runs on an emulated Pico whose flash takes 45 cycles a word
(tools/emulation/stream.py says what is assumed): its weights used where they lie, copied to RAM as
far as --spare bytes of the heap stay free, and streamed. A prompt of --prompt tokens is read, then
--tokens are written, with their text; both have to be the simulator's. **None of this was measured
on silicon.** It takes a minute a way; tools/emulation/rp2040.py says how the emulator becomes
faster.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from picoformer import Error, Simulator, convert
from tools.benchmarks.inputs import add_bits, bits
from tools.command import finish
from tools.emulation.errors import mistakes
from tools.emulation.filesystem import runtime
from tools.emulation.rp2040 import CLOCK_HZ, CYCLES, RP2040, checked
from tools.emulation.stream import CYCLES_A_WORD, Flash

WAYS = {"flash": "flash", "copied": None, "stream": "stream"}  # what Model is told of the weights
# What runs before the mark loads the model, without waits.
SCRIPT = f"""
import gc, machine
from picoformer import Model
m = machine.mem32
model = Model("/model.pft", {{context}}, {{weights!r}}, spare={{spare}})
gc.collect()
print(model.weights, model.in_ram, gc.mem_free())
out = model.generate({{prompt!r}}, None)
m[{CYCLES}] = 1
at = m[{CYCLES}]
text = next(out)
print(m[{CYCLES}] - at & 0x3fffffff)
text += next(out)
m[{CYCLES}] = 2
at = m[{CYCLES}]
for i in range({{tokens}}):
    text += next(out)
print(m[{CYCLES}] - at & 0x3fffffff)
m[{CYCLES}] = 0
print(model._filled)
print(text, end="")
model.close()
"""


def measure(
    path: Path, weights: str | None, spare: int, context: int, n: int, tokens: int
) -> dict[str, Any]:
    """One way: cycles a token of a prompt of n, and of those behind it. Raises Error."""
    sim = Simulator(path)
    pieces = list(sim.generate("", n + tokens + 1))
    files = runtime()
    files["/model.pft"] = path.read_bytes()
    counts: dict[str, float] = {}
    prompt = "".join(pieces[: n - 1])  # BOS is the first
    with RP2040(files) as board:
        flash = Flash(board, waits=False)

        def mark(value: int) -> None:
            if value == 1:
                flash.watch()
            elif value == 2:
                counts.update(streamed=-flash.streamed, misses=-flash.misses)
            else:
                counts["streamed"] += flash.streamed
                counts["misses"] += flash.misses

        board.mark_hook = mark
        said = board.exec(
            SCRIPT.format(
                context=context, weights=weights, spare=spare, prompt=prompt, tokens=tokens
            ),
            timeout=3600,
        )
    what, reads, writes, filled, text = said.split("\n", 4)
    place, in_ram, free = what.split()
    last = n + tokens + 1
    if int(filled) != last:
        raise Error(f"the prompt has {int(filled) - tokens - 1} tokens, expected {n}")
    expected = "".join(sim.generate(prompt, tokens + 2))
    if text != expected:
        raise Error(f"the board writes {text!r}, expected {expected!r}")
    each = int(writes) / tokens
    return {
        "weights": place, "in_ram": int(in_ram), "free": int(free),
        "cycles_a_token": round(each), "tokens_per_second": round(CLOCK_HZ / each, 1),
        "prompt_tokens_per_second": round(CLOCK_HZ * n / int(reads), 1),
        **{k: round(v / tokens) for k, v in counts.items()},
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The rows in Markdown."""
    lines = [
        "| weights | bytes of them in RAM | heap left | tokens a second | of a prompt "
        "| misses a token | words streamed |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {way} | {r['in_ram']:,} | {r['free']:,} | {r['tokens_per_second']} "
        f"| {r['prompt_tokens_per_second']} | {r['misses']:,} | {r['streamed']:,} |"
        for way, r in result["rows"].items()
    ]
    return "\n".join(lines)


@mistakes()
def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--prompt", type=int, default=62, help="tokens of it, with BOS")
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--spare", type=int, default=8192, help="bytes of heap (default 8192)")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    add_bits(parser)
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    checked()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.pft")
        convert(o.source, path, context=o.context, **bits(o))
        for way in o.ways:
            print(f"{way} ...", file=sys.stderr)
            rows[way] = measure(path, WAYS[way], o.spare, o.context, o.prompt, o.tokens)
    result = {
        "context": o.context, "prompt": o.prompt, "tokens": o.tokens, **bits(o),
        "cycles_a_word": CYCLES_A_WORD, "rows": rows,
    }  # fmt: skip
    print(json.dumps(result) if o.json else table(result))


if __name__ == "__main__":
    sys.exit(finish("stream", run))
