"""A budget: what a model takes on a board beside what there is, and whether it fits."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .speed import Speed

# Words of what lies in the heap, in the order in which pictures show it.
HEAP = {
    "code": "the runtime's code",
    "weights": "weights",
    "cache": "KV cache",
    "arena": "activations",
    "tokenizer": "tokenizer",
    "tables": "tables",
    "steps": "program, steps and the rest",
    "loading": "while loading, or running",
}


def placed(weights: str, in_ram: int) -> str:
    """Where weights are, in words. in_ram: bytes of them in RAM, of those in flash as copies."""
    copied = weights == "flash" and in_ram
    return f"flash, {in_ram:,} bytes of them in RAM" if copied else weights


CRUMBS = 4096  # bytes of small free pieces that are used up, where there are no more
PARTED = 3000  # bytes that another piece costs, as what comes next does not end where it ends


def packs(needed: int, large: Iterable[int], heap: int, free: Sequence[int]) -> bool:
    """Whether what is needed in all has room in a heap of so many free bytes, in such pieces.

    The large single allocations go where they just fit, largest first. Of all that is small some
    lies in their pieces as well; in pieces that are too small for the largest it hardly does.
    """
    left = sorted(free)
    wanted = sorted(large, reverse=True)
    for n in wanted:
        i = bisect_left(left, n)
        if i == len(left):
            return False
        insort(left, left.pop(i) - n)
    used = [n for n in free if n >= wanted[0]]
    rest = heap - sum(used)
    return needed <= sum(used) - PARTED * (len(used) - 1) + rest * (rest <= CRUMBS)


@dataclass(frozen=True)
class Budget:
    """What a model needs on a board, and what there is. Sizes are in bytes.

    model: its title. board: the board's name. context: context length in tokens that this is for.
    file_context: the longest that the file has. longest: the longest that fits, 0 for none, as
        where the filesystem is too small for the file.
    weights: where they will be. in_ram: of those in flash, what will be copied to RAM.
    kernels: what will run it. server: whether the serial server is counted.
    parts: what the model's objects take in the heap, by name. code: the runtime's code there.
    loading, running: the most that is in use then. needed: the least heap that will do.
    heap: what is free. pieces: the large single allocations. free_pieces: what is free, in pieces.
    largest: the largest single allocation; largest_part: what it is; largest_free: the largest
        free piece.
    in_areas: whether all has its place in a heap that grows by areas, as an ESP32's; else None.
    model_flash, runtime_flash: in the filesystem. flash: what there is, 0 for a folder of the PC.
    float_bytes: the checkpoint as float32. speed: estimated, or None.
    narrower: (options of `convert`, longest context) of smaller caches that would help.
    advice: what to do if it does not fit, in sentences.
    """

    model: str
    board: str
    context: int
    file_context: int
    weights: str
    in_ram: int
    kernels: str
    server: bool
    parts: dict[str, int]
    code: int
    loading: int
    running: int
    needed: int
    heap: int
    largest: int
    largest_part: str
    largest_free: int
    model_flash: int
    runtime_flash: int
    flash: int
    longest: int
    float_bytes: int
    pieces: list[int]
    free_pieces: list[int]
    in_areas: bool | None = None
    speed: Speed | None = None
    narrower: list[tuple[str, int]] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    @property
    def fits_heap(self) -> bool:
        """Whether `needed` is at most `heap`."""
        return self.needed <= self.heap

    @property
    def fits_block(self) -> bool:
        """Whether the large allocations have room in the free pieces."""
        if not self.fits_heap:
            return self.largest <= self.largest_free
        if self.in_areas is not None:
            return self.in_areas
        return packs(self.needed, self.pieces, self.heap, self.free_pieces)

    @property
    def fits_flash(self) -> bool:
        """Whether model and runtime have room in the filesystem."""
        return not self.flash or self.model_flash + self.runtime_flash <= self.flash

    @property
    def fits(self) -> bool:
        """All three of `fits_heap`, `fits_block` and `fits_flash`."""
        return self.fits_heap and self.fits_block and self.fits_flash

    @property
    def place(self) -> str:
        """Where the weights are, in words."""
        return placed(self.weights, self.in_ram)

    @property
    def lacking(self) -> str:
        """What there is too little of, in words; empty where it fits."""
        found = [
            ("flash", self.fits_flash), ("heap", self.fits_heap), ("one piece", self.fits_block)
        ]  # fmt: skip
        return ", ".join([name for name, fits in found if not fits])

    @property
    def verdict(self) -> str:
        """Whether it fits, as a sentence."""
        if self.fits:
            return "It fits."
        where = [] if self.fits_flash else ["the filesystem"]
        if not self.fits_heap:
            where.append("the heap")
        if self.largest > self.largest_free:
            where.append(f"the largest block of the heap (its {self.largest_part})")
        elif not self.fits_block:
            where.append("the large blocks of the heap")
        return f"It does not fit {' nor '.join(where)}."

    def to_dict(self) -> dict[str, Any]:
        """All of it as a dict, for JSON."""
        verdict = {k: getattr(self, k) for k in ("fits", "fits_heap", "fits_block", "fits_flash")}
        return {**verdict, **asdict(self)}

    def in_heap(self) -> dict[str, int]:
        """Bytes of what is in the heap at its fullest, by the names of HEAP."""
        parts = {**self.parts, "code": self.code}
        parts["steps"] += sum(parts.pop(k) for k in ("program", "labels", "rest"))
        parts["loading"] = self.needed - sum(parts.values())
        return {name: parts[name] for name in HEAP}
