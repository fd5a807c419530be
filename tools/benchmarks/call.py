"""What one call of a model takes on the emulated Pico, with weights of 8 and of 4 bits.

    python -m tools.benchmarks.call models/motions --weight-bits 4

One text of so many tokens (`--tokens`), an image, a signal, a question, a sentence; of a model
that generates what it writes behind its `sample.txt`, or else its first 128 tokens. The first call
is not counted: it imports what the model needs. tools/benchmarks/pico.py measures more.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from picoformer import Error, Simulator, convert
from tools.benchmarks import pico
from tools.benchmarks.inputs import add_bits, bits, text_of
from tools.command import finish
from tools.emulation.errors import mistakes
from tools.emulation.filesystem import runtime
from tools.emulation.rp2040 import CYCLES, RP2040, checked

WRITTEN = 128  # tokens, where there is no sample
TASKS = ("classify", "embed")  # of those that read texts here

WRITE = f"""
def write(prompt, n, m):
    for _ in model.generate("", 2):
        pass  # which leaves nothing of the prompt in the cache
    gc.collect()
    start = m[{CYCLES}]
    text = "".join(model.generate(prompt, n))
    print((m[{CYCLES}] - start) & {pico.MASK})
    print(repr(text))
write({{prompt!r}}, {{tokens}}, machine.mem32)
"""


def on_board(folder: Path, tokens: int = 16, **form: int) -> dict[str, int]:
    """Tokens that a call reads (and writes), its cycles; form: options of `convert`. Raises Error.

    tokens: of the text that a model gets.
    """
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary, "model.pft")
        convert(folder, model, **form)  # type: ignore[arg-type]
        files = {**runtime(), "/model.pft": model.read_bytes()}
        sim = Simulator(model)
    reads_text = not (sim.model.program[14] or sim.frames)
    with RP2040(files) as board:
        board.exec(pico.LOAD, timeout=600)
        if sim.model.task == "generate":
            found = _written(board, sim, folder / "sample.txt")
        elif reads_text and sim.model.task in TASKS:
            found = _read(board, sim, text_of(sim, tokens))
        else:
            row = pico.called(board, sim)[0]["calls"][-1]
            found = {k: row[k] for k in ("tokens", "written", "cycles", "equal") if k in row}
    if not found.pop("equal"):
        raise Error(f"the board and the simulator differ: {folder}, {form}")
    return found


def _read(board: RP2040, sim: Simulator, text: str) -> dict[str, Any]:
    """A text that is taken whole."""
    said = board.exec(pico.READ.format(texts=[text, text]), timeout=3600).splitlines()
    ids, cycles, _, result = json.loads(said[1])
    expected = sim.encode(text)
    equal = (ids, result) == (expected, sim.logits(expected)[-1].tolist())
    return {"tokens": len(ids), "cycles": cycles, "equal": equal}


def _written(board: RP2040, sim: Simulator, sample: Path) -> dict[str, Any]:
    """The text behind a sample, or one without."""
    prompt = sample.read_text(encoding="utf-8") if sample.exists() else ""
    most = None if prompt else WRITTEN
    said = board.exec(WRITE.format(prompt=prompt, tokens=most), timeout=3600)
    cycles, text = said.splitlines()
    pieces = list(sim.generate(prompt, most))
    equal = ast.literal_eval(text) == "".join(pieces)
    read = len(sim.tokenizer.prompt(prompt))
    return {"tokens": read, "written": len(pieces), "cycles": int(cycles), "equal": equal}


@mistakes()
def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--tokens", type=int, default=16, help="of a text (16)")
    add_bits(parser)
    o = parser.parse_args()
    checked()
    print(json.dumps(on_board(o.checkpoint, o.tokens, **bits(o))))


if __name__ == "__main__":
    sys.exit(finish("call", run))
