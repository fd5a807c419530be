"""Where each value of a frame lies: buffers overlap once they are dead.

A frame holds the values of one position. Each has a size and a life, from the first step that
writes it to the last that reads it. Values are placed largest first, each at the lowest offset at
which it meets no value already placed whose life overlaps its own. That is first fit by size, the
usual greedy answer to a problem whose exact solution is not worth its time: it may leave a gap.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Life:
    """A value of `words` words, alive from step `first` to step `last`, both included."""

    words: int
    first: int
    last: int


def place(lives: dict[str, Life], start: int) -> tuple[dict[str, int], int]:
    """Offsets (words) of the values from `start` on, and the end of the highest."""
    at: dict[str, int] = {}
    end = start
    for name in sorted(lives, key=lambda n: (-lives[n].words, lives[n].first, n)):
        life = lives[name]
        busy = sorted(
            (at[other], at[other] + lives[other].words)
            for other in at
            if lives[other].first <= life.last and life.first <= lives[other].last
        )
        offset = start
        for low, high in busy:
            if offset + life.words <= low:
                break
            offset = max(offset, high)
        at[name] = offset
        end = max(end, offset + life.words)
    return at, end
