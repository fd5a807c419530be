"""Markdown tables, and what several of the documents say alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from picoformer import Error
from tools.benchmarks.pico import ms

READERS = ("intents", "sentiment")  # the parts whose models take a text whole
# Those that take an image, a signal, sound, a question, a sentence.
CALLED = ("fashion", "motions", "digits", "facts", "english-french")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = True) -> str:
    """A Markdown table; numbers: all columns but the first are, and stand to the right."""
    side = "---:|" if numbers else "---|"
    lines = ["| " + " | ".join(head) + " |", "|---|" + side * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines).replace("|  |", "| |").replace("|  |", "| |") + "\n"


def marked(path: Path, name: str, new: str, text: str | None = None) -> str:
    """A file, or `text` for it, with `new` between the marks of a name. Raises Error."""
    text = path.read_text(encoding="utf-8") if text is None else text
    marks = re.search(rf"(<!-- {name}:begin[^\n]*-->\n)(.*?)(<!-- {name}:end -->)", text, re.S)
    if not marks:
        raise Error(f"{path} lacks its marks {name}:begin and {name}:end")
    return text[: marks.end(1)] + new + text[marks.start(3) :]


def silicon(result: dict[str, Any], which: str) -> str:
    """The estimated range of tokens a second on silicon."""
    high, low = (e[which] for e in result["xip"]["tokens_per_second"])
    return f"{low:.0f} to {high:.0f}"


def readers(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of the models that take a text whole, as far as they are measured."""
    return [figures[name] for name in READERS if name in figures]


def silicon_ms(result: dict[str, Any]) -> str:
    """The estimated range of milliseconds of a text on silicon."""
    low, high = (ms(result["cycles"] + c) for c in result["xip"]["cycles"])
    return f"{low:.0f} to {high:.0f}"


def unix_rows(unix: dict[str, Any], flat: bool) -> list[list[str]]:
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
