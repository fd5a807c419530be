"""What 4-bit weights cost and gain each of our models: the table of docs/convert.md.

    python -m tools.benchmarks.bits                                   # write the table again
    python -m tools.benchmarks.bits --board motions,digits            # milliseconds, emulated Pico
    python -m tools.benchmarks.bits --scores motions --test test.npz --train train.npz

--board measures one call of each model with weights of 8 and of 4 bits (see
tools/benchmarks/pico.py). --scores converts a model with 8 bits, 4 bits, and 4 bits that were
trained (`--distill`, which needs torch) on --train, and scores each on --test, as `picoformer eval
--data` does; without --test it is text that the model writes. Both keep their figures in
docs/bits.json. A test compares the table with the figures.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from picoformer import Error, Simulator, convert, evaluate
from picoformer.simulate.scores import Scores
from tools import ROOT
from tools.benchmarks import pico
from tools.benchmarks.figures import save
from tools.benchmarks.inputs import text_of
from tools.benchmarks.tables import table
from tools.command import finish
from tools.emulation.errors import mistakes
from tools.emulation.filesystem import runtime
from tools.emulation.rp2040 import CYCLES, RP2040, checked

FIGURES = ROOT / "docs" / "bits.json"
PAGE = ROOT / "docs" / "convert.md"
BEGIN = "<!-- bits:begin: written by tools/benchmarks/bits.py -->\n"
END = "<!-- bits:end -->"
FORMS = {"8": {"weight_bits": 8}, "4": {"weight_bits": 4}}
TEXTS = {"intents": 16, "sentiment": 32}  # tokens of the text that is timed
WRITTEN = 128  # tokens that are written where nothing is given
# The score that is told, by task: its field in Scores, and its name.
TOLD = {
    "classify": ("accuracy", "accuracy, %"),
    "answer": ("exact", "exact, %"),
    "translate": ("chrf", "chrF"),
    "generate": (None, ""),
}

WRITE = f"""
def write(prompt, n, m):
    for _ in model.generate(prompt, 2):
        pass
    n = n or None
    gc.collect()
    start = m[{CYCLES}]
    text = "".join(model.generate(prompt, n))
    print((m[{CYCLES}] - start) & {pico.MASK})
    print(repr(text))
write({{prompt!r}}, {{tokens}}, machine.mem32)
"""


def on_board(name: str, weight_bits: int) -> dict[str, Any]:
    """What one call of a model takes on the emulated Pico: tokens, cycles, bytes of the file."""
    folder = ROOT / "models" / name
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary, "model.pft")
        report = convert(folder, model, weight_bits=weight_bits)
        files = {**runtime(), "/model.pft": model.read_bytes()}
        sim = Simulator(model)
    with RP2040(files) as board:
        board.exec(pico.LOAD, timeout=600)
        if sim.model.task == "generate":
            measured = _written(board, sim, folder / "sample.txt")
        elif name in TEXTS:
            text = text_of(sim, TEXTS[name])
            line, _ = board.exec(pico.READ.format(texts=[text]), timeout=3600).splitlines()
            ids, cycles, _, result = json.loads(line)
            equal = result == sim.logits(sim.encode(text))[-1].tolist()
            measured = {"tokens": len(ids), "cycles": cycles, "equal": equal}
        else:
            row = pico.called(board, sim)[0]["calls"][-1]
            measured = {k: row[k] for k in ("tokens", "cycles", "equal", "written") if k in row}
    if not measured.pop("equal"):
        raise Error(f"{name} with weights of {weight_bits} bits: board and simulator differ")
    return {"bytes": report.bytes, **measured}


def _written(board: RP2040, sim: Simulator, sample: Path) -> dict[str, Any]:
    """The text behind a sample's, or some text without one; sim: what says whether it is right."""
    prompt, most = sample.read_text(encoding="utf-8") if sample.exists() else "", None
    if not prompt:
        most = WRITTEN
    script = WRITE.format(prompt=prompt, tokens=most)
    cycles, text = board.exec(script, timeout=3600).splitlines()
    pieces = list(sim.generate(prompt, most))
    return {
        "tokens": len(sim.tokenizer.prompt(prompt)), "written": len(pieces),
        "cycles": int(cycles), "equal": ast.literal_eval(text) == "".join(pieces),
    }  # fmt: skip


def scored(name: str, train: Path | None, test: Path | None, steps: int | None) -> dict[str, Any]:
    """What `eval` says of a model with 8 bits, with 4, and with 4 that were trained."""
    folder = ROOT / "models" / name
    forms: dict[str, dict[str, Any]] = {**FORMS, "trained": {"weight_bits": 4, "distill": steps}}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for form, options in forms.items():
            path = Path(temporary, "model.pft")
            report = convert(folder, path, data=train, **options)
            scores = evaluate(path, folder, data=test)
            found[form] = {"bytes": report.bytes, "kl": scores.kl, **_told(scores)}
            print(f"{name}, {form}: {found[form]}", flush=True)
    return {"task": scores.task, "examples": scores.sequences, **found}


def _told(scores: Scores) -> dict[str, float]:
    """The score of a task, in the units in which it is told."""
    field, unit = TOLD.get(scores.task, (None, ""))
    pair = [getattr(scores, f"{field}_{kind}", None) for kind in ("float", "int")]
    if field is None or None in pair:
        return {}
    size = 1.0 if unit == "chrF" else 100.0
    return dict(zip(("float", "int"), (size * float(v or 0) for v in pair), strict=True))


def figures() -> dict[str, Any]:
    """What is kept, by the model's name."""
    if not FIGURES.exists():
        return {}
    kept: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return kept


def keep(name: str, **parts: Any) -> None:
    """Keep figures of a model."""
    kept = figures()
    kept[name] = {**kept.get(name, {}), **parts}
    save(FIGURES, kept)


def rows(kept: dict[str, Any]) -> list[list[str]]:
    """The rows of the table."""
    out = []
    for name, of in kept.items():
        if "scores" not in of:
            continue
        eight, four, trained = (of["scores"][form] for form in ("8", "4", "trained"))
        unit = TOLD.get(of["scores"]["task"], (None, ""))[1]
        told = [f"{v:.2f}" for v in _four(eight, four, trained)] if "int" in eight else [""] * 4
        board = of.get("board")
        times = [f"{pico.ms(board[form]['cycles']):,.0f}" for form in FORMS] if board else ["", ""]
        out.append([
            name, f"{eight['bytes']:,}", f"{trained['bytes']:,}", *times, unit, *told,
            f"{four['kl']:.2g}", f"{trained['kl']:.2g}",
        ])  # fmt: skip
    return out


def _four(eight: dict[str, float], *fours: dict[str, float]) -> list[float]:
    return [eight["float"], eight["int"], *(f["int"] for f in fours)]


HEAD = [
    "", "bytes, 8 bits", "4 bits", "ms, 8 bits", "4 bits", "score", "float", "8 bits",
    "4 bits, rounded", "4 bits, trained", "KL, rounded", "trained",
]  # fmt: skip


def rendered() -> str:
    """The page with the table of the figures."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Error(f"{PAGE} lacks its marks {BEGIN.strip()} and {END}")
    return before + begin + table(HEAD, rows(figures())) + end + after


@mistakes()
def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--board", metavar="NAMES", help="measure on the emulated Pico")
    parser.add_argument("--scores", metavar="NAME", help="convert and score this model")
    parser.add_argument("--train", metavar="FILE", type=Path, help="what it learns from")
    parser.add_argument("--test", metavar="FILE", type=Path, help="what it is scored on")
    parser.add_argument("--steps", type=int, default=1000, help="of training (1000)")
    o = parser.parse_args()
    for name in o.board.split(",") if o.board else []:
        checked()
        keep(name, board={form: on_board(name, int(form)) for form in FORMS})
        print(f"{name}: {figures()[name]['board']}", flush=True)
    if o.scores:
        keep(o.scores, scores=scored(o.scores, o.train, o.test, o.steps))
    PAGE.write_text(rendered(), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(finish("bits", run))
