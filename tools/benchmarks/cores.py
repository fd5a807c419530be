"""One core and both, weights in RAM or in flash: tokens a second on a board, by its own clock.

    python -m tools.benchmarks.cores SOURCE --port PORT [--context 256] [--tokens 128]
                                     [--spare 8192] [--weight-bits 8] [--key-bits 12]
                                     [--title "an emulated Pico"] [--json]

SOURCE, a checkpoint that generates, is converted and sent to a board that has two cores (a Pico, a
Pico 2, or an emulator of one that counts cycles, behind `socket://HOST:PORT`). Three ways each on
one core and on both: the weights in flash alone, copied to RAM as far as --spare bytes of the heap
stay free, and all of them in RAM, where there is room. The text has to be the simulator's. The
time is that of `time.ticks_us()`: so a board's flash counts as it is, an emulator's as it has it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from picoformer import Board, Error, Simulator, convert
from tools.benchmarks.inputs import add_bits, bits
from tools.command import finish

NAME = "cores"
WAYS = "flash", None, "ram"  # what Model is told of the weights
SCRIPT = """
import gc
from time import ticks_diff, ticks_us
from picoformer import Error, Model
gc.collect()
m = None
try:
    m = Model({path!r}, {context}, {weights!r}, spare={spare}, cores={cores})
    gc.collect()
    free = gc.mem_free()
    text = bytearray()
    start = ticks_us()
    for piece in m.generate("", {tokens}):
        text += piece.encode()
    writes = ticks_diff(ticks_us(), start)
    ids = list(m._tokens[:{tokens}])
    m.logits(ids[1:2])
    start = ticks_us()
    m.logits(ids)
    reads = ticks_diff(ticks_us(), start)
    print("is", m.cores, m.kernels, m.weights, m.in_ram, free, writes, reads, len(ids))
    print(text.decode(), end="")
except (Error, MemoryError) as e:
    print("no", e)
if m:
    m.close()
"""


def measure(
    source: str, port: str, context: int, tokens: int, spare: int, **options: Any
) -> dict[str, Any]:
    """What each way takes. Raises Error."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{NAME}.pft")
        convert(source, path, context=context, **options)
        sim = Simulator(path)
        text = "".join(sim.generate("", tokens))
        rows = []
        with Board(port) as board:
            board.deploy(path)
            machine = board.platform.machine
        ways = [(cores, weights) for cores in (1, 2) for weights in WAYS]
        for cores, weights in ways:
            print(f"cores {cores}, weights {weights or 'copied'} ...", file=sys.stderr)
            script = SCRIPT.format(
                path=f"/{NAME}.pft", context=context, weights=weights, spare=spare, cores=cores,
                tokens=tokens,
            )  # fmt: skip
            with Board(port) as board:
                said = board.exec(script, timeout=None)
            head, _, written = said.replace("\r", "").partition("\n")
            what, *words = head.split()
            if what == "no":
                continue
            if written != text:
                raise Error(f"the board writes {written[:60]!r}, expected {text[:60]!r}")
            if words[0] != str(cores):
                raise Error("the board's other core cannot be had")
            row = {"cores": cores, "asked": weights or "copied", "kernels": words[1]}
            row |= {"in_ram": int(words[3]), "free": int(words[4])}
            row["tokens_per_second"] = round(1e6 * tokens / int(words[5]), 1)
            row["prompt_tokens_per_second"] = round(1e6 * int(words[7]) / int(words[6]), 1)
            rows.append(row)
        with Board(port) as board:
            board.remove(NAME)
    return {
        "machine": machine, "parameters": sim.model.meta["parameters"],
        "context": context,
        "tokens": tokens, "weights": sim.model.sizes["weights"], **options, "rows": rows,
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The rows in Markdown."""
    lines = [
        "| cores | weights in RAM | free heap | tokens a second | of a prompt |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r['cores']} | {r['in_ram']:,} of {result['weights']:,} | {r['free']:,} "
        f"| {r['tokens_per_second']} | {r['prompt_tokens_per_second']} |"
        for r in result["rows"]
    ]
    return "\n".join(lines)


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--port", required=True)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--spare", type=int, default=8192, help="bytes of heap (default 8192)")
    add_bits(parser)
    parser.add_argument("--title", default="", help="what the board is, for docs/speed.md")
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    result = measure(o.source, o.port, o.context, o.tokens, o.spare, **bits(o))
    result = {"title": o.title or result["machine"], **result}
    print(json.dumps(result) if o.json else table(result))


if __name__ == "__main__":
    sys.exit(finish("cores", run))
