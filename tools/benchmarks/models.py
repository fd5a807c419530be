"""How good our models are on what they were not trained on: tables of README and docs/convert.md.

    python -m tools.benchmarks.models                                  # write the tables again
    python -m tools.benchmarks.models intents --data intents-test.tsv  # and measure: 8 and 4 bits
    python -m tools.benchmarks.models intents --data intents-test.tsv --learn intents-train.tsv
                                      # and trained for the board's integers (torch, minutes)
    python -m tools.benchmarks.models intents --board    # and time a call on the emulated Pico

docs/models.json keeps what was measured; `python -m tools.training.NAME heldout` writes the parts.
README's milliseconds and heap are those of docs/speed.json. A test compares the tables with both.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from picoformer import Simulator, convert, evaluate, importers
from picoformer.compile.distill import STEPS
from picoformer.data.examples import read_examples
from picoformer.graph.float_model import FloatModel, log_softmax
from tools import ROOT
from tools.benchmarks import documents
from tools.benchmarks.call import on_board
from tools.benchmarks.figures import save
from tools.benchmarks.pico import ms
from tools.benchmarks.tables import marked, table
from tools.command import finish

FIGURES = ROOT / "docs" / "models.json"
FORMS = ROOT / "docs" / "convert.md"
# What each of our models does, and by which of eval's scores it is judged.
MODELS = {
    "stories": ("tells a story", "kl"),
    "intents": ("what a sentence asks for, of 7 intents", "accuracy"),
    "sentiment": ("whether a film is liked", "accuracy"),
    "facts": ("finds the answer in a text", "exact"),
    "english-french": ("translates short sentences (a toy)", "chrf"),
    "digest": ("sums up a sensor's log", "exact"),
    "fashion": ("which of 10 garments is in a picture", "accuracy"),
    "motions": ("what a wrist does, of 4 things", "accuracy"),
    "digits": ("hears ten words", "accuracy"),
}
FORM = (("8 bits", 8, None), ("4 bits, rounded", 4, None), ("4 bits, trained", 4, STEPS))
BOARD = {"8 bits": 8, "4 bits": 4}
TEXTS = {"intents": 16, "sentiment": 32}  # tokens of the text that is timed, as in docs/speed.json
SAID = {"accuracy": "{:.2f} % right", "exact": "{:.2f} % exact", "chrf": "chrF {:.2f}"}


def measure(name: str, data: Path, learn: Path | None) -> dict[str, Any]:
    """A model in each form (trained where there is what to learn from) on these data."""
    score = MODELS[name][1]
    source, forms = ROOT / "models" / name, {}
    card = (source / "README.md").read_text(encoding="utf-8")
    # What was trained, by the title: the graph has what a configuration gives, and lacks the rest.
    parameters = int(re.findall(r"^# .* ([\d,]+) parameters$", card, re.M)[0].replace(",", ""))
    found: dict[str, Any] = {"score": score, "data": data.name, "parameters": parameters}
    with tempfile.TemporaryDirectory() as folder:
        for form, bits, steps in FORM:
            if steps and not learn:
                continue
            path = Path(folder, "model.pft")
            convert(source, path, weight_bits=bits, distill=steps,
                    data=None if bits == 8 else learn)  # fmt: skip
            judged = summaries if name == "digest" else scored
            scores = judged(path, source, data)
            found["examples"] = scores["sequences"]
            per = 1 if score == "chrf" else 100
            if score != "kl":
                found["float"] = round(float(per * scores[f"{score}_float"]), 2)
            forms[form] = {"bytes": path.stat().st_size, "kl": float(f"{scores['kl']:.2g}")}
            if score != "kl":
                forms[form]["value"] = round(float(per * scores[f"{score}_int"]), 2)
            print(name, form, forms[form], flush=True)
    return {**found, "forms": forms}


def scored(path: Path, source: Path, data: Path) -> dict[str, Any]:
    """What eval says of a model file."""
    return asdict(evaluate(path, source, data=data))


def summaries(path: Path, source: Path, data: Path) -> dict[str, Any]:
    """The same of a model that sums up, by its summaries alone: how many it writes to the letter.

    It does if it prefers each of the tokens in turn.
    """
    sim, graph = Simulator(path), importers.read(source)[0]
    rows = read_examples(data, sim.tokenizer, sim.context, graph)
    nats, right = [], []
    begun = sim.tokenizer.prompt("")[-1]
    for e in rows:
        at = e.tokens.tolist().index(begun)
        both = e.run(FloatModel(graph)), sim.machine.example(e) * sim.logit_scale
        exact, ours = (log_softmax(logits[at:-1]) for logits in both)
        nats.append((np.exp(exact) * (exact - ours)).sum(-1))
        right.append([(v.argmax(-1) == e.tokens[at + 1 :]).all() for v in (exact, ours)])
    floats, ints = np.mean(right, axis=0)
    kl = float(np.concatenate(nats).mean())
    return {"sequences": len(rows), "kl": kl, "exact_float": floats, "exact_int": ints}


def models(figures: dict[str, Any], speed: dict[str, Any]) -> str:
    """README's table."""
    rows = []
    for name, (what, score) in MODELS.items():
        r, b = figures[name], speed.get(name, {})
        form = r["forms"]["8 bits"]
        if score == "kl":
            good = f"KL {form['kl']} nats a token"
        else:
            exact, ours = (SAID[score].format(v) for v in (r["float"], form["value"]))
            good = f"{exact}; {ours}" if exact != ours else f"{exact}, both"
        took = heap = ""
        if b:
            heap = f"{b['heap']['high_water']:,}"
            calls = b.get("calls") or [b]
            took = f"{ms(calls[-1]['cycles']):.0f} ms" if "tokens_per_second" not in b else (
                f"{b['tokens_per_second']['first']:.0f} tokens/s"
            )  # fmt: skip
        rows.append([f"[{name}](models/{name}): {what}", f"{r['parameters']:,}",
                     f"{form['bytes']:,}", good, took, heap])  # fmt: skip
    head = ["model", "parameters", "bytes", "float; integers", "a Pico*", "heap"]
    return table(head, rows)


def forms(figures: dict[str, Any]) -> str:
    """What 8 and 4 bits, rounded and trained, cost each model: docs/convert.md's table."""
    rows = []
    for name, (_, score) in MODELS.items():
        r = figures[name]
        eight, rounded, trained = (r["forms"].get(f[0], {}) for f in FORM)
        cells = [f"{form['bytes']:,}" if form else "" for form in (eight, rounded)]
        values = [r.get("float"), *(form.get("value") for form in (eight, rounded, trained))]
        cells += ["" if v is None else f"{v:.2f}" for v in values]
        cells += [f"{form.get('kl', '')}" for form in (rounded, trained)]
        calls = [r["board"][form] for form in BOARD] if "board" in r else []
        cells += [f"{ms(call['cycles']):,.0f}" for call in calls] or ["", ""]
        unit = {"chrf": "chrF", "kl": "", "exact": "exact, %", "accuracy": "right, %"}[score]
        rows.append([f"{name} {f'({unit})' if unit else ''}".strip(), *cells])
    head = ["", "bytes, 8 bits", "4 bits", "float", "8 bits", "4 bits, rounded", "4 bits, trained",
            "KL, rounded", "KL, trained", "ms on a Pico, 8 bits", "4 bits"]  # fmt: skip
    return table(head, rows)


def rendered() -> dict[Path, str]:
    """The files that depend on the figures, with what they should contain."""
    figures, speed = documents.figures_of(FIGURES), documents.figures_of(documents.FIGURES)
    return {
        documents.README: marked(documents.README, "models", models(figures, speed)),
        FORMS: marked(FORMS, "forms", forms(figures)),
    }


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", nargs="?", choices=MODELS, help="measure this model first")
    parser.add_argument("--data", type=Path, help="its test part")
    parser.add_argument("--learn", type=Path, help="its training part: to train 4 bits with")
    parser.add_argument("--board", action="store_true", help="time a call on the emulated Pico")
    o = parser.parse_args()
    if o.name:
        if not (o.data or o.board):
            parser.error("a model is measured on --data, or on a --board")
        new: dict[str, Any] = measure(o.name, o.data, o.learn) if o.data else {}
        if o.board:
            source, tokens = ROOT / "models" / o.name, TEXTS.get(o.name, 16)
            calls = {form: on_board(source, tokens, weight_bits=n) for form, n in BOARD.items()}
            new["board"] = calls
        figures = documents.figures_of(FIGURES)  # only now: others may have measured meanwhile
        figures[o.name] = {**figures.get(o.name, {}), **new}
        save(FIGURES, figures)
    for path, text in rendered().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    finish("models", run)
