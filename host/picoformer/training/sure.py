"""From which share on a classifier's answer is worth acting on, by the validation part."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..simulate.simulator import Simulator
from .job import Job
from .splitting import spread

# Of what is accepted, right: the first one that leaves LEFT of all.
WANTED, LEFT = (0.98, 0.95, 0.9), 0.5
STEPS = 100  # to one: shares are told in hundredths


@dataclass(frozen=True)
class Threshold:
    """A share to act from: of `total` examples `answered` reach it, of which `right` are right."""

    share: float
    answered: int
    right: int
    total: int

    def said(self, what: str) -> str:
        """In words."""
        return (
            f"a share of {self.share:.2f}: of {self.total:,} {what}s of the validation part "
            f"{self.answered:,} reach it, {self.right:,} of these are right"
        )


def least(found: Iterable[tuple[float, bool]]) -> Threshold | None:
    """The least share from which 98 % are right, of (share, whether right) of examples.

    Where fewer than half of the examples reach it, that of 95 %, else of 90 %: of a few examples
    the surest may be wrong. It is the share of one of them, rounded down to hundredths: what is
    less sure than all of them is not accepted, even if all are right. None where no share does.
    """
    rows = list(found)
    steps = sorted({math.floor(STEPS * share) for share, _ in rows})
    tried = [(step, [ok for share, ok in rows if share >= step / STEPS]) for step in steps]
    for wanted in WANTED:
        for step, accepted in tried:
            if sum(accepted) >= wanted * len(accepted) and len(accepted) >= LEFT * len(rows):
                return Threshold(step / STEPS, len(accepted), sum(accepted), len(rows))
    return None


def threshold(job: Job, made: Path) -> Threshold | None:
    """That of a model file, in a board's integers. None where no share does, or without labels."""
    pairs = job.held()
    if not pairs:
        return None
    sim = Simulator(made)
    found = []
    for given, wanted in spread(pairs):
        label, share = sim.probabilities(sim.classify(given))[0]
        found.append((share, label == wanted))
    return least(found)
