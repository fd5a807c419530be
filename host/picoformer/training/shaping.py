"""Which shape a model gets: the first that fits a board in memory and in time, by the plan."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compile.convert import convert
from ..errors import Error
from ..planning.planner import Planner
from ..planning.profiles import Profile
from ..planning.speed import milliseconds
from .job import Job, Shape

if TYPE_CHECKING:
    import torch

ROOM = 40_000  # bytes of the heap that are left to the user's own program


@dataclass(frozen=True)
class Cost:
    """What a model takes on a board, by the plan: bytes of heap and flash, milliseconds."""

    parameters: int
    heap: int
    heap_free: int
    flash: int
    milliseconds: float | None
    fits: bool

    def said(self, board: Profile, per: str) -> str:
        """In words."""
        time = f", {self.milliseconds:g} ms {per}" if self.milliseconds is not None else ""
        return (
            f"{self.parameters:,} parameters, on {board.title} {self.heap:,} bytes of "
            f"{self.heap_free:,} of heap{time}"
        )


def cost(path: Path, board: Profile, tokens: int) -> Cost:
    """What a model file takes; it has to leave ROOM, and fit beside the serial server."""
    planner = Planner(path, board)
    alone, served = planner.budget(), planner.budget(server=True)
    copied = alone.in_ram if alone.weights == "flash" else None
    took = milliseconds(planner.model, board.name, tokens, copied)
    fits = alone.fits and served.fits and alone.needed + ROOM <= alone.heap
    parameters = int(planner.model.meta["parameters"])
    return Cost(parameters, alone.needed, alone.heap, alone.model_flash, took, fits)


def converted(job: Job, shape: Shape, weights: dict[str, torch.Tensor], folder: Path) -> Path:
    """The model file of a job's checkpoint in a folder."""
    job.export(folder, shape, weights)
    made = folder / "model.pft"
    convert(job.source(folder), made)
    return made


def per(job: Job) -> str:
    """What the milliseconds are of, in words."""
    if job.kind == "stories":
        return f"a text of {job.tokens} tokens"
    unit = f" of {job.tokens} tokens" if job.kind in ("text", "pairs") else ""
    return f"a {job.what}{unit}"


def choose(
    job: Job, board: Profile, latency: float | None, parameters: int | None = None
) -> tuple[Shape, Cost, str]:
    """The shape, what it costs, and what it is and why, in words. Raises Error.

    latency, parameters: at most.
    """
    refused = ""
    shapes = job.shapes()
    for i, shape in enumerate(shapes):
        model: Any = job.model(shape)
        with tempfile.TemporaryDirectory(prefix="picoformer-") as temporary:
            path = converted(job, shape, model.state_dict(), Path(temporary))
            found = cost(path, board, job.tokens)
        if latency is not None and found.milliseconds is None:
            raise Error(
                f"--latency: no speed is known of {board.title}; choose a board that has one "
                "(pico, pico2), or leave it out"
            )
        said = found.said(board, per(job))
        slow = latency is not None and (found.milliseconds or 0) > latency
        large = parameters is not None and found.parameters > parameters
        if found.fits and not slow and not large:
            why = f"the next larger {refused}" if refused else "the largest that these data need"
            size = ", ".join(f"{name} {n}" for name, n in shape.items())
            return shape, found, f"{size}, {why}"
        if large:
            refused = f"would have {found.parameters:,} parameters"
        elif slow:
            refused = f"would take {found.milliseconds:g} ms"
        else:
            refused = "would leave too little heap"
        if i == len(shapes) - 1:
            if large:
                limit = f" with {parameters:,} parameters"
                wanted = "allow more --parameters, or take less --pieces"
            elif slow:
                limit, wanted = f" for {latency:g} ms", "allow a larger --latency"
            else:
                limit, wanted = "", "choose a larger board"
            raise Error(
                f"no model is small enough{limit} on {board.title}: the smallest has {said}; "
                f"{wanted}"
            )
    raise AssertionError
