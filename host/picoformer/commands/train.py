"""The command that makes a checkpoint of a user's data: train."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Error
from .arguments import add_json, command, then, warn
from .printing import confusion, show_json, table

if TYPE_CHECKING:
    from ..training.fitting import Result
    from ..training.job import Job

KINDS = {
    "text": "texts with labels: .tsv or .csv, or a folder with train.tsv and test.tsv",
    "pairs": "texts and what they become: .tsv or .csv, or a folder as above",
    "signals": "a folder of .wav, .csv or .npy files for each label; or .npz, .ts, .csv",
    "images": "a folder of pictures for each label; or .npz of images and labels",
    "stories": "one text file, with an empty line between two stories",
}
LEAST_PIECES = 300  # the letters are among them
WRONG, LETTERS = 3, 60  # examples that are shown, and letters of each
SAY = 15  # seconds between two lines where there is no terminal


def add_commands(commands: Any) -> None:
    """Add the commands to the subparsers of `picoformer`."""
    p = command(
        commands, "train", _train, "train a model on your data, small enough for a board",
        "text my-questions.tsv -o questions",
        "text my-messages.csv -o messages --columns kind,message",
        "text my-questions.tsv -o questions --board pico2 --latency 50 --minutes 30",
    )  # fmt: skip
    p.description = f"{p.description}\n\nKIND of data:\n{_kinds()}"
    p.add_argument("kind", choices=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    p.add_argument("data", metavar="DATA", help="file or folder with your data")
    p.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="folder for the checkpoint"
    )
    p.add_argument(
        "--board", default="pico", metavar="BOARD",
        help="board of `picoformer plan` that the model must fit (default: pico)",
    )  # fmt: skip
    p.add_argument(
        "--latency", type=float, metavar="MS",
        help="an answer may take at most MS milliseconds on the board, by our estimate",
    )  # fmt: skip
    p.add_argument(
        "--parameters", type=int, metavar="N",
        help="the model may have at most N parameters (default: what the data need and the board "
        "holds)",
    )  # fmt: skip
    p.add_argument(
        "--pieces", type=int, default=0, metavar="N",
        help="text, pairs: pieces of words in the vocabulary, at most (default: 2000 for text, "
        "1200 for pairs)",
    )  # fmt: skip
    p.add_argument(
        "--start", default="", metavar="FOLDER",
        help="pairs: go on with this model of `train pairs`; its shape and vocabulary stay",
    )  # fmt: skip
    p.add_argument(
        "--minutes", type=float, default=10.0, metavar="N",
        help="train for at most N minutes (default: 10)",
    )  # fmt: skip
    p.add_argument(
        "--columns", default="", metavar="NAME,NAME",
        help="text, pairs: the table's columns of label and text, or of source and target, by "
        "name or number",
    )  # fmt: skip
    p.add_argument(
        "--split", default="", metavar="NAME",
        help="text, pairs: the table's column that says train, validation or test (default: a "
        "hash of each text decides)",
    )  # fmt: skip
    p.add_argument(
        "--seed", type=int, default=1, metavar="N", help="seed of the random numbers (default: 1)"
    )
    add_json(p)


def _kinds() -> str:
    return "\n".join(f"  {name:8} {text}" for name, text in KINDS.items())


def _job(o: argparse.Namespace) -> Job:
    columns = [c.strip() for c in o.columns.split(",") if c.strip()]
    data = Path(o.data)
    if (columns or o.split) and o.kind not in ("text", "pairs"):
        raise Error(f"--columns and --split are for tables, and train {o.kind} reads none")
    if o.pieces and o.kind not in ("text", "pairs"):
        raise Error(f"train {o.kind} takes no --pieces: it has no vocabulary of merges to choose")
    if o.start and o.kind != "pairs":
        raise Error(f"train {o.kind} takes no --start: only pairs can go on with another model")
    if o.start and o.pieces:
        raise Error("--start has its vocabulary: leave --pieces out")
    if o.kind == "signals":
        from ..training.signals import signal_job

        return signal_job(data, o.seed)
    if o.kind == "images":
        from ..training.images import ImageJob

        return ImageJob(data, o.seed)
    if o.kind == "stories":
        from ..training.stories import StoryJob

        return StoryJob(data, o.seed)
    if o.kind == "pairs":
        from ..training.pairs import PairJob

        return PairJob(
            data, o.seed, columns, o.split, o.pieces, Path(o.start) if o.start else None
        )
    from ..training.text import TextJob

    return TextJob(data, o.seed, columns, o.split, o.pieces)


class _Progress:
    """How far it is: a line that is written anew on a terminal, else one now and then."""

    def __init__(self, o: argparse.Namespace) -> None:
        self._off = o.quiet or o.json
        self._live = sys.stderr.isatty()
        self._last = 0.0
        self._shown = False

    def say(self, what: str) -> None:
        self.close()
        if not self._off and self._live:
            print(f"{what} ...", end="", flush=True, file=sys.stderr)
            self._shown = True

    def step(self, share: float, loss: float, score: str, left: float) -> None:
        now = time.monotonic()
        if self._off or not self._live and now - self._last < SAY:
            return
        self._last = now
        done = f", validation {score}" if score else ""
        minutes, seconds = divmod(max(0, round(left)), 60)
        said = f"{min(share, 1):4.0%}  loss {loss:.3f}{done}, {minutes}:{seconds:02} left"
        if self._live:
            filled = round(20 * min(share, 1))
            bar = "#" * filled + "." * (20 - filled)
            print(f"\r\033[K{bar} {said}", end="", flush=True, file=sys.stderr)
            self._shown = True
        else:
            print(said, flush=True, file=sys.stderr)

    def close(self) -> None:
        if self._shown:
            print("\r\033[K", end="", flush=True, file=sys.stderr)
        self._shown = False


def _train(o: argparse.Namespace) -> int:
    from ..training import card
    from ..training.fitting import train
    from ..training.job import needed

    if not o.minutes > 0:
        raise Error(f"--minutes is {o.minutes:g}, expected more than 0")
    if o.latency is not None and not o.latency > 0:
        raise Error(f"--latency is {o.latency:g}, expected more than 0")
    if o.parameters is not None and o.parameters < 1:
        raise Error(f"--parameters is {o.parameters}, expected 1 or more")
    if o.pieces and o.pieces < LEAST_PIECES:
        raise Error(f"--pieces is {o.pieces}, expected at least {LEAST_PIECES}")
    needed()
    job = _job(o)
    parts = ", ".join(f"{n:,} {part}" for part, n in job.counts().items())
    if not o.json:
        labels = f", {len(job.labels)} labels" if job.labels else ""
        print(f"data    {parts}{labels}", flush=True)
        if job.read():
            print(f"reads   {job.read()}", flush=True)
    for doubt in job.doubts:
        warn(o, doubt)
    progress = _Progress(o)

    def tell(text: str) -> None:
        progress.close()
        if not o.json:
            print(f"shape   {text}", flush=True)

    result = train(
        job, Path(o.output), o.board, latency=o.latency, parameters=o.parameters,
        minutes=o.minutes, tell=tell, progress=progress,
    )  # fmt: skip
    progress.close()
    result.command = _again(o)
    card.write(result)
    if o.json:
        show_json(_dict(result))
        return 0 if result.complete else 130
    if not result.complete:
        print(
            f"interrupted after {result.seconds:.0f} s: {o.output} has the best so far, "
            f"validation {job.said(result.validation)}; the same command goes on, or:",
            file=sys.stderr,
        )  # fmt: skip
        then(o, card.next_step(result.folder, job.source(result.folder)))
        return 130
    _print(result)
    then(o, card.next_step(result.folder, job.source(result.folder)))
    return 0


def _again(o: argparse.Namespace) -> str:
    """The command that was given."""
    words = ["picoformer", "train", o.kind, o.data, "-o", o.output]
    for name, default in (
        ("board", "pico"), ("latency", None), ("parameters", None), ("pieces", 0), ("start", ""),
        ("minutes", 10.0), ("columns", ""), ("split", ""), ("seed", 1),
    ):  # fmt: skip
        value = getattr(o, name)
        if value != default:
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def _print(r: Result) -> None:
    from ..training import card

    s = r.scores
    assert s
    rows = [
        ("trained", f"{r.seconds:.0f} s, {r.steps:,} steps"),
        ("validation", r.job.said(r.validation)),
    ]
    if s.accuracy_float is not None and s.accuracy_int is not None:
        error = 100 * (s.accuracy_int * (1 - s.accuracy_int) / s.sequences) ** 0.5
        rows.append((
            "test", f"{s.accuracy_float:.2%} right in float, {s.accuracy_int:.2%} in a board's "
            f"integers, of {s.sequences:,} (+-{error:.1f})",
        ))  # fmt: skip
    if s.exact_int is not None:
        rows.append((
            "test", f"{s.exact_int:.2%} to the letter, chrF {s.chrf_float:.2f} in float, "
            f"{s.chrf_int:.2f} in a board's integers, of {s.sequences:,}",
        ))  # fmt: skip
    elif s.perplexity_int is not None:
        rows.append((
            "test", f"perplexity {s.perplexity_float:.3f} in float, {s.perplexity_int:.3f} in a "
            "board's integers",
        ))  # fmt: skip
    if r.threshold:
        rows.append(("act from", r.threshold.said(r.job.what)))
    elif s.labels and r.job.held():
        rows.append(("act from", "no share: the surest answers are often wrong; more data help"))
    count, wrong = card.wrong(r, WRONG)
    for what, is_, taken in wrong:
        rows.append(("wrong", f'"{_short(what)}" is {is_}, and was taken for {taken}'))
    if count > len(wrong):
        rows.append(("wrong", f"{count - len(wrong):,} more, some of them in the card"))
    rows.append(("card", f"{r.folder / 'README.md'}"))
    print(table(rows))
    if s.confusion_int and s.labels:
        print(confusion(s.labels, s.confusion_int))


def _short(text: str) -> str:
    """A text in a part of a line."""
    text = " ".join(text.split())
    return text if len(text) <= LETTERS else text[: LETTERS - 3] + "..."


def _dict(r: Result) -> dict[str, Any]:
    cost = r.cost
    found: dict[str, Any] = {
        "kind": r.job.kind,
        "folder": str(r.folder),
        "source": str(r.job.source(r.folder)),
        "board": r.board.name,
        "complete": r.complete,
        "shape": r.shape,
        "why": r.why,
        "parameters": cost.parameters,
        "heap": cost.heap,
        "flash": cost.flash,
        "milliseconds": cost.milliseconds,
        "labels": r.job.labels,
        "parts": r.job.counts(),
        "doubts": r.job.doubts,
        "steps": r.steps,
        "seconds": r.seconds,
        "validation": r.validation,
    }
    if r.threshold:
        found["threshold"] = asdict(r.threshold)
    return found | ({"scores": r.scores.to_dict()} if r.scores else {})
