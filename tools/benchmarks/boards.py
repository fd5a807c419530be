"""The tables of docs/boards.md and of README: the boards of the profiles, what ran, what fits.

    python -m tools.benchmarks.boards           # write them again, half a minute

docs/boards.json has what ran where, as it was measured; a test compares the tables with it and
with the profiles.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from picoformer import convert
from picoformer.planning.planner import Planner
from picoformer.planning.profiles import PROFILES, Profile
from tools import ROOT
from tools.benchmarks.tables import CALLED, READERS, marked, table
from tools.command import finish

PAGE = ROOT / "docs" / "boards.md"
RAN = ROOT / "docs" / "boards.json"
README = ROOT / "README.md"
MODELS = ("stories", *READERS, *CALLED)


def known() -> str:
    """The boards that a plan can be made for."""

    def row(p: Profile) -> list[str]:
        flash = f"{p.flash.bytes:,}" if p.flash.bytes else "the PC's"
        heap = f"{p.heap.bytes:,} ({p.heap.how})"
        return [
            f"`{p.name}`", p.title, p.architecture, heap, f"{p.largest.bytes:,}", flash,
            p.kernels, "flash or RAM" if p.mapped else "RAM, else file",
        ]  # fmt: skip

    head = ["board", "", "code", "heap at boot", "largest piece", "filesystem", "kernels",
            "weights"]  # fmt: skip
    return table(head, map(row, PROFILES.values()), numbers=False)


def ran() -> str:
    """What ran on which board."""
    records = json.loads(RAN.read_text(encoding="utf-8"))

    def row(r: dict[str, str]) -> list[str]:
        name = f"`{r['board']}`" if r["board"] in PROFILES else r["board"]
        return [name, r["firmware"], r["on"], r["kernels"], r["ran"], r["token"]]

    head = ["board", "firmware", "on", "kernels", "what ran", "a token of our story model"]
    return table(head, map(row, records), numbers=False)


def fits() -> str:
    """The longest contexts of the models that we ship, by the plan."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{name}.pft") for name in MODELS]
        for path in paths:
            convert(ROOT / "models" / path.stem, path)
        for p in PROFILES.values():
            plans = [Planner(path, p) for path in paths]
            cells = [f"{plan.longest()}, {plan.longest(server=True)}" for plan in plans]
            rows.append([f"`{p.name}`", *cells])
        full = [str(Planner(path, PROFILES["unix"]).model.context) for path in paths]
    return table(["board", *MODELS], [*rows, ["all", *full]], numbers=False)


def short() -> str:
    """README's table: of each board its memory, how much of a story it holds, what it ran on."""
    records = {r["board"]: r for r in json.loads(RAN.read_text(encoding="utf-8"))}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stories.pft")
        convert(ROOT / "models" / "stories", path)
        for p in PROFILES.values():
            plan, ran = Planner(path, p), records.get(p.name)
            where = f"{ran['on']}, firmware {ran['firmware'].split()[-1]}" if ran else "not tried"
            rows.append([p.title, f"{p.heap.bytes:,}", p.kernels, str(plan.longest()), where])
    head = ["board", "free memory", "kernels", "our story model: tokens", "tried on"]
    return table(head, rows, numbers=False)


TABLES = {"known": known, "ran": ran, "fits": fits}


def page(*names: str) -> str:
    """The page, with these of `TABLES` written again. Raises Error."""
    text = PAGE.read_text(encoding="utf-8")
    for name in names:
        text = marked(PAGE, name, TABLES[name](), text)
    return text


def readme() -> str:
    """README, with its table written again."""
    return marked(README, "boards", short())


def run() -> None:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    PAGE.write_text(page(*TABLES), encoding="utf-8")
    README.write_text(readme(), encoding="utf-8")


if __name__ == "__main__":
    finish("boards", run)
