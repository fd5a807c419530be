"""The card of a model that was trained here: README.md, as hubs have it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..errors import Error
from ..simulate.plot import plot
from .files import save_atomically
from .fitting import Result
from .scores import share
from .shaping import per

WRONG = 12  # examples that are shown
WIDE = 30  # labels of a confusion at most
LETTERS = 100  # of an example
PICTURE = "scores.png"


def write(r: Result) -> None:
    """Write README.md, and the picture of the scores where matplotlib is there."""
    drawn = False
    if r.scores:
        try:
            plot(r.scores, r.folder / PICTURE)
            drawn = True
        except Error:
            drawn = False
    text = "\n".join(_lines(r, drawn)) + "\n"
    save_atomically(r.folder / "README.md", lambda p: p.write_text(text, "utf-8"))


def table(rows: Iterable[Sequence[str]], head: Sequence[str]) -> list[str]:
    """Lines of a table in Markdown; columns of numbers are to the right."""
    listed = [[_cell(c) for c in row] for row in rows]
    right = [
        bool(listed) and all(row[i][:1].isdigit() for row in listed) for i in range(len(head))
    ]
    return [
        "| " + " | ".join(map(_cell, head)) + " |",
        "|" + "|".join("---:" if r else "---" for r in right) + "|",
        *("| " + " | ".join(row) + " |" for row in listed),
        "",
    ]


def _cell(text: str) -> str:
    text = " ".join(str(text).split())
    short = text if len(text) <= LETTERS else text[: LETTERS - 3] + "..."
    return short.replace("\\", "\\\\").replace("|", "\\|")


def _lines(r: Result, drawn: bool) -> list[str]:
    job = r.job
    name = r.folder.resolve().name
    counts = job.counts()
    out = [f"# {name}: {job.title()}, {r.cost.parameters:,} parameters", ""]
    broken = "" if r.complete else ", broken off"
    out += [
        f"Trained by `{r.command}` in {r.seconds / 60:.1f} minutes, {r.steps:,} steps{broken}.",
        "",
        *table(
            [*job.described(r.shape), ("parameters", f"{r.cost.parameters:,}, as float16")],
            ("", ""),
        ),
        "## Scores",
        "",
        *_scores(r),
    ]
    if drawn:
        out += [f"![the scores]({PICTURE})", ""]
    out += ["## Data", ""]
    out += table([(part, f"{n:,}") for part, n in counts.items()], ("part", f"{job.what}s"))
    if job.labels and len(job.labels) <= WIDE:
        out += table(job.by_label(), ("label", *counts))
    out += [
        f"`{job.held_out}` is the test part. {job.divided()}",
        "",
        *(["Odd is:", "", *(f"- {d}" for d in job.doubts), ""] if job.doubts else []),
        "## Training",
        "",
        f"AdamW, rate {job.rate:g}, weights averaged over {job.average} steps; of all that was "
        "looked at the weights that did best on the validation part. " + job.augmentation(),
        "",
        "## On a board",
        "",
        f"By the plan: {r.cost.said(r.board, per(job))}, {r.cost.flash:,} bytes of flash. The "
        f"milliseconds are an estimate. The shape ({r.why}) was chosen by it.",
        "",
        "## Limits",
        "",
        job.limits(),
    ]
    return out


def _scores(r: Result) -> list[str]:
    s, job = r.scores, r.job
    rows = [(f"validation, float: {job.higher}", job.said(r.validation))]
    if s is None:
        return table(rows, ("", ""))
    n = s.sequences
    for name, a, b in (
        ("right", s.accuracy_float, s.accuracy_int),
        ("exact", s.exact_float, s.exact_int),
    ):
        for kind, value in (("float", a), ("a board's integers", b)):
            if value is not None:
                rows.append((f"test, {kind}: {name}", share(round(value * n), n)))
    for name, a, b in (
        ("chrF", s.chrf_float, s.chrf_int),
        ("perplexity", s.perplexity_float, s.perplexity_int),
    ):
        for kind, value in (("float", a), ("a board's integers", b)):
            if value is not None:
                rows.append((f"test, {kind}: {name}", f"{value:.2f}"))
    out = table(rows, ("", ""))
    if s.accuracy_int is not None or s.exact_int is not None:
        out += ["± is the standard error.", ""]
    if s.labels and job.held():
        out += [act(r), ""]
    if s.confusion_int and s.labels and len(s.labels) <= WIDE:
        out += ["The integers' answers: true labels (rows) and what was said (columns).", ""]
        pairs = zip(s.labels, s.confusion_int, strict=True)
        out += table([(label, *map(str, row)) for label, row in pairs], ("", *s.labels))
    count, examples = wrong(r, WRONG)
    if examples:
        out += [f"{count} are wrong, among them:", ""]
        out += table(examples, (job.what, "is", "was taken for"))
    if s.examples:
        out += ["Some of what was written:", ""]
        names = list(s.examples[0])
        out += table([[e[k] for k in names] for e in s.examples], names)
    return out


def act(r: Result) -> str:
    """From which share to act, as a sentence."""
    if r.threshold is None:
        return "No share is good to act from: the surest answers are often wrong. More data help."
    return f"Act from {r.threshold.said(r.job.what)}."


def wrong(r: Result, most: int) -> tuple[int, list[tuple[str, str, str]]]:
    """How many of the test part the integers get wrong; of so many what, its label, and theirs."""
    s, true = r.scores, r.job.parts["test"]
    if s is None or not s.said or not s.labels:
        return 0, []
    of = [i for i, (_, b) in enumerate(s.said) if s.labels[b] != true[i]]
    picked = np.linspace(0, len(of) - 1, min(most, len(of))).round().astype(int)
    rows = [(r.job.shown(of[i]), true[of[i]], s.labels[s.said[of[i]][1]]) for i in picked]
    return len(of), rows


def next_step(folder: Path, source: Path) -> str:
    """The command that comes next."""
    return f"picoformer convert {source} -o {folder.resolve().name}.pft"
