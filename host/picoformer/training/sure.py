"""From which share on a classifier's answer is worth acting on, by the validation part."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..simulate.simulator import Simulator
from .job import Job
from .splitting import spread

WANTED = 0.98  # of what is accepted, right
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
    """The least share from which WANTED are right, of (share, whether right) of examples.

    It is the share of one of them, rounded down to hundredths: what is less sure than all of them
    is not accepted, even if all are right. None where no share does.
    """
    rows = list(found)
    for step in sorted({math.floor(STEPS * share) for share, _ in rows}):
        accepted = [ok for share, ok in rows if share >= step / STEPS]
        if sum(accepted) >= WANTED * len(accepted):
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
