"""Mutated model files and checkpoints: each ends in an Error, or runs alike on PC and board.

    python -m tools.sweeps.fuzz [--count 1000] [--first 0] [--seed 1] [--kind NAME] [--change NAME]
                                [--progress FILE] [--failures FOLDER] [--pc]

Small random models of every kind are changed where they are something: words of the header,
fields of steps, whole steps, tables, weights, tokenizer, metadata, sizes. The checksums are made
good, so that a change reaches what lies behind them. The PC reads the file and runs it in the
simulator; the board's own loader does so in MicroPython's unix port (with viper kernels where it
has them: native code without bounds checks), with guard words around all that a kernel may write.
Both must refuse the file, or run it and compute the same. A crash, a hang, an exception that is
no Error, a guard word or a constant that changed, or another result is a failure; its file is
written to --failures. Every eighth file runs in plain Python, too, whose indices are checked.
Checkpoints are changed likewise, for the importers.

File i of a seed is always the same. With --progress the totals are kept in FILE, and the same
command goes on where it stopped. --pc leaves out MicroPython.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from picoformer import Error
from picoformer.boards.emulated.unix import find_micropython
from picoformer.compile import modelfile
from tools.command import finish
from tools.sweeps.checkpoints import SOURCES, check_source
from tools.sweeps.mutations import WEIGHTED, Random, mutant
from tools.sweeps.on_micropython import run_board
from tools.sweeps.on_pc import check_on_pc
from tools.sweeps.small_models import KINDS, OTHERS, SPECIAL
from tools.sweeps.trials import Case

BATCH = 250  # files for one process of MicroPython
MEMORY = 8 << 30  # bytes for this process
PREFIX = "checkpoint: "  # of the kinds that importers read
ALL = [*KINDS, *SPECIAL, *OTHERS]
ALL += [PREFIX + name for name in SOURCES]


@dataclass
class Totals:
    """What came of all files so far."""

    done: int = 0
    seconds: float = 0.0
    native: int = 0  # files that MicroPython has run
    words: int = 0  # guard words that were looked at
    plain: int = 0  # files that ran in plain Python
    outcomes: Counter[str] = field(default_factory=Counter)  # "change/outcome"
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def saved(self) -> dict[str, Any]:
        return {**vars(self), "outcomes": dict(self.outcomes), "kinds": dict(self.kinds)}

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> Totals:
        totals = cls(**saved)
        totals.outcomes, totals.kinds = Counter(saved["outcomes"]), Counter(saved["kinds"])
        return totals

    def table(self) -> str:
        """Changes and what came of them; the sums."""
        names = sorted({key.rpartition("/")[2] for key in self.outcomes})
        rows = [["change", *names, "files"]]
        for change in [*sorted({key.rpartition("/")[0] for key in self.outcomes})]:
            counts = [self.outcomes[f"{change}/{name}"] for name in names]
            rows.append([change, *(f"{n:,}" for n in counts), f"{sum(counts):,}"])
        sums = [sum(n for k, n in self.outcomes.items() if k.endswith("/" + m)) for m in names]
        rows.append(["all", *(f"{n:,}" for n in sums), f"{sum(sums):,}"])
        rows[1:1] = [["---", *("---:" for _ in rows[0][1:])]]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in sorted(self.kinds.items()))
        rate = self.done / max(self.seconds, 1e-9)
        lines += [
            "",
            f"{self.done:,} files in {self.seconds:,.0f} s, {rate:.0f} a second; "
            f"{self.native:,} ran on MicroPython, {self.plain:,} in plain Python; "
            f"{self.words:,} guard words looked at; {len(self.failures)} failures.",
            f"Kinds: {kinds}.",
        ]
        return "\n".join(lines)


def cases(
    first: int, count: int, seed: int, kinds: list[str], changes: list[str]
) -> Iterator[tuple[Case, Random]]:
    """Cases first to first + count of a seed; checkpoints are rarer than model files."""
    for index in range(first, first + count):
        rng = random.Random(f"{seed}/{index}")
        kind = rng.choices(kinds, [0.3 if k.startswith(PREFIX) else 1 for k in kinds])[0]
        yield Case(index, kind, rng.choice(changes)), rng


def sweep(
    totals: Totals, some: list[tuple[Case, Random]], folder: Path, board: bool,
    kernels: str | None = None,
) -> list[Case]:  # fmt: skip
    """Try some cases, at most BATCH; those that failed."""
    start = time.monotonic()
    loaded = []
    for case, rng in some:
        if case.kind.startswith(PREFIX):
            case.kind = case.kind[len(PREFIX) :]
            check_source(case, rng, folder)
            case.kind, case.change = PREFIX + case.kind, PREFIX + case.change
            continue
        case.data = case.data or mutant(case.kind, case.change, rng)
        check_on_pc(case, folder)
        totals.plain += case.index % 8 == 0 and case.refused is None
        loaded.append(case)
    if board and loaded:
        ran, words, _ = run_board(loaded, folder, kernels)
        totals.native += ran
        totals.words += words
    failed = []
    for case, _ in some:
        outcome = case.outcome
        if case.failure:
            outcome = "failed"
            failed.append(case)
        elif not outcome and case.refused is not None:
            outcome = "refused"
        elif not outcome:
            outcome = "left its range" if case.wanted is None else "ran"
        totals.outcomes[f"{case.change}/{outcome}"] += 1
        totals.kinds[case.kind] += 1
        totals.done += 1
    totals.seconds += time.monotonic() - start
    return failed


def so_far(progress: Path | None, same: dict[str, str]) -> Totals:
    """The totals that a file of the same arguments keeps, where there is one. Raises Error."""
    if not progress or not progress.exists():
        return Totals()
    try:
        saved = json.loads(progress.read_text())
    except (OSError, ValueError) as e:
        raise Error(str(e)) from e
    if saved["arguments"] != same:
        raise Error(f"{progress} is of {saved['arguments']}, not of {same}")
    return Totals.restored(saved["totals"])


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="files (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=ALL, help="may be repeated")
    parser.add_argument("--change", action="append", choices=sorted(set(WEIGHTED)))
    parser.add_argument("--kernels", choices=("viper", "portable"), help="MicroPython's")
    parser.add_argument("--progress", type=Path, help="where the totals are kept, to go on later")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--pc", action="store_true", help="without MicroPython")
    arguments = parser.parse_args()
    same = {k: str(v) for k, v in vars(arguments).items() if k not in ("count", "progress")}
    totals = so_far(arguments.progress, same)
    if not arguments.pc:
        find_micropython()
    # A checkpoint that asks for the whole memory is to fail, not the computer.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    todo = cases(
        arguments.first + totals.done, arguments.count - totals.done, arguments.seed,
        arguments.kind or ALL, arguments.change or WEIGHTED,
    )  # fmt: skip
    bar = tqdm(total=arguments.count, initial=totals.done, unit="file", smoothing=0.05)
    with tempfile.TemporaryDirectory() as folder, bar, contextlib.suppress(KeyboardInterrupt):
        while some := list(itertools.islice(todo, BATCH)):
            for case in sweep(totals, some, Path(folder), not arguments.pc, arguments.kernels):
                arguments.failures.mkdir(exist_ok=True)
                path = arguments.failures / f"{arguments.seed}-{case.index}"
                path.write_bytes(case.data)
                line = f"{path} ({case.kind}, {case.change}): {case.failure}"
                totals.failures.append(line)
                bar.write(line)
            bar.update(len(some))
            if arguments.progress:
                text = json.dumps({"arguments": same, "totals": totals.saved()})
                modelfile.write(arguments.progress, text.encode())
    print(totals.table())
    for line in totals.failures:
        print(line)
    return 1 if totals.failures else 0


if __name__ == "__main__":
    sys.exit(finish("fuzz", run))
