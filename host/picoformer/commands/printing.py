"""What several commands print: JSON, tables, bars, results."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from typing import Any

from .arguments import warned
from .texts import lines

CLASSES = 12  # of a confusion matrix in the terminal
LOGGED = 10  # seconds between two lines of a log
WIDE, SCREEN = 14, 100  # letters of a column's name, and of a line

def show_json(value: dict[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(value, ensure_ascii=False))


def size(n: int) -> str:
    return f"{n:,} bytes"


def table(rows: Iterable[tuple[str, ...]], right: bool = False) -> str:
    """Rows in columns, to the left; right: all but the first to the right."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(w) if right and i else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in listed
    )
    return "\n".join("  " + line.rstrip() for line in lines)


def bar(part: float, whole: float, width: int, mark: str = "#") -> str:
    """A bar for a part of a whole that is `width` characters wide."""
    return mark * round(width * part / whole)


class Stages:
    """What takes long, named, with a bar where it is counted; where a person can see it.

    Called with items it gives them, and counts them under the name that was last said.
    """

    def __init__(self, o: argparse.Namespace, unit: str = "") -> None:
        self._off = o.quiet or getattr(o, "json", False) or not sys.stderr.isatty()
        self._unit = unit
        self._what = ""
        self._shown = False

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def say(self, what: str) -> None:
        """What comes next."""
        self._clear()
        self._what = what
        if not self._off:
            print(f"{what} ...", end="", flush=True, file=sys.stderr)
            self._shown = True

    def _clear(self) -> None:
        if self._shown:
            print("\r\033[K", end="", flush=True, file=sys.stderr)
        self._shown = False

    def __call__(self, items: Iterable[Any]) -> Iterable[Any]:
        self._clear()
        if self._off:
            return items
        from tqdm import tqdm

        seen: Iterable[Any] = tqdm(items, desc=self._what, unit=self._unit, leave=False)
        return seen


class Bars:
    """A progress bar for each thing that is sent; in a log, without bars, a line now and then."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._what = ""
        self._said = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if not self._quiet and not sys.stderr.isatty():
            if time.monotonic() - self._said > LOGGED:
                self._said = time.monotonic()
                print(f"{what}: {done / max(total, 1):.0%}", file=sys.stderr, flush=True)
            return
        if what != self._what:
            self.close()
            self._what = what
            self._bar = tqdm(
                total=total, desc=what, unit="B", unit_scale=True, leave=False,
                disable=self._quiet,
            )  # fmt: skip
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def show_labels(
    o: argparse.Namespace, found: list[tuple[str, int]], shares: list[tuple[str, float]],
    **more: Any,
) -> None:  # fmt: skip
    """Print labels, best first, with their probabilities; of many texts, the best of each."""
    if o.json:
        rows = [
            {"label": label, "logit": logit, "probability": share}
            for (label, logit), (_, share) in zip(found, shares, strict=True)
        ]
        show_json({"label": found[0][0], "labels": rows, **more, "warnings": warned(o)})
        return
    if lines(o) == "piped":
        print(f"{shares[0][0]}\t{shares[0][1]:.1%}\t{more.get('prompt', '')}")
        return
    width = max(len(label) for label, _ in found)
    for label, share in shares:
        print(f"{label:{width}}  {share:6.1%}  {bar(share, 1, 30)}".rstrip())


def show_tags(o: argparse.Namespace, found: list[tuple[str, str, int]], **more: Any) -> None:
    """Print words with their labels."""
    if o.json:
        rows = [{"word": word, "label": label, "logit": n} for word, label, n in found]
        show_json({"words": rows, **more, "warnings": warned(o)})
    elif lines(o) == "piped":
        print(*(f"{word}/{label}" for word, label, _ in found))
    elif found:
        print(table((word, label) for word, label, _ in found))


def show_values(
    o: argparse.Namespace, values: Any, names: list[str], **more: Any
) -> None:  # fmt: skip
    """Print predicted numbers, with their names where they have any."""
    listed = [float(v) for v in values]
    if o.json:
        named = {"names": names} if names else {}
        show_json({"values": listed, **named, **more, "warnings": warned(o)})
    elif names:
        print(table(zip(names, (f"{v:.6g}" for v in listed), strict=True), right=True))
    else:
        print(*(f"{v:.6g}" for v in listed))


def confusion(labels: list[str], counts: list[list[int]]) -> str:
    """Counts, a row for each true label; of many labels, what is mistaken most."""
    if len(labels) > CLASSES:
        pairs = [
            (-n, labels[i], labels[j])
            for i, row in enumerate(counts)
            for j, n in enumerate(row)
            if i != j and n
        ]
        rows = [(true, "taken for", said, str(-n)) for n, true, said in sorted(pairs)[:CLASSES]]
        return "integers: " + ("what is mistaken most\n" + table(rows) if rows else "no mistake")
    named = [name[:WIDE] for name in labels]
    width = sum(max(len(n), len(str(max(r[i] for r in counts)))) + 2 for i, n in enumerate(named))
    # Long names stand at the rows alone, behind their numbers.
    if width + max(map(len, labels)) > SCREEN or len(set(named)) < len(named):
        named = [str(i) for i in range(len(labels))]
        labels = [f"{i} {name}" for i, name in enumerate(labels)]
    lines: list[tuple[str, ...]] = [("", *named)]
    lines += [(name, *map(str, row)) for name, row in zip(labels, counts, strict=True)]
    return "integers; a row for each true label, a column for each predicted one\n" + table(
        lines, right=True
    )


def show_embedding(o: argparse.Namespace, values: Any, **more: Any) -> None:
    """Print an embedding."""
    listed = [int(v) for v in values]
    if o.json:
        show_json({"embedding": listed, **more, "warnings": warned(o)})
    else:
        print(*listed)
