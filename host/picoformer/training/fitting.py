"""A job from data to folder: shape, training that may be broken off, checkpoint, scores, card."""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..errors import Error
from ..planning.profiles import Profile, profile
from ..simulate.evaluation import evaluate
from ..simulate.scores import Scores
from .job import Job, Shape, needed
from .loop import Run, Timed, adamw, take_steps
from .shaping import Cost, choose, converted, cost, per
from .sure import Threshold, threshold

CHECKPOINT = "training.pt"
CHECKS = 25  # looks at the validation part, at most, in the time
PATIENCE = 0.5  # share of the time so far without gain after which it stops
LEAST = 0.4  # of the time, that it takes at least
EVERY = 1.0  # seconds from one word on the progress to the next


class Progress(Protocol):
    """What is told while it works."""

    def say(self, what: str) -> None:
        """What comes next."""

    def step(self, share: float, loss: float, score: str, left: float) -> None:
        """How far the training is; left: seconds."""


@dataclass
class Result:
    """What came of it.

    complete: whether the training was not broken off. threshold: from which share to act, of a
    classifier; None where no share is good for it.
    """

    job: Job
    folder: Path
    board: Profile
    shape: Shape
    why: str
    cost: Cost
    steps: int
    seconds: float
    validation: float
    complete: bool
    scores: Scores | None = None
    threshold: Threshold | None = None
    command: str = ""
    history: list[tuple[float, float]] = field(default_factory=list)


def fingerprint(
    job: Job, board: str, latency: float | None, parameters: int | None = None
) -> str:
    """What a training has to be of, to be gone on with."""
    of = [job.kind, job.seed, board, latency, job.fingerprint()]
    said = json.dumps(of if parameters is None else [*of, parameters])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def train(
    job: Job,
    folder: Path,
    board: str = "pico",
    *,
    latency: float | None = None,
    parameters: int | None = None,
    minutes: float = 10.0,
    tell: Callable[[str], None] = print,
    progress: Progress,
) -> Result:
    """Train a job's model and leave its checkpoint in the folder. Raises Error.

    What was begun there is gone on with. tell gets the sentence on the shape. KeyboardInterrupt
    ends the training: the best so far is kept.
    """
    torch = needed()
    lacking = [part for part, n in job.counts().items() if not n]
    if lacking:
        raise Error(
            f"{job.data} has nothing for the parts {' and '.join(lacking)}: expected 3 "
            f"{job.what}s or more of a label, and better 10"
        )
    torch.set_num_threads(1)  # so small matrices are not worth sharing
    path, of = folder / CHECKPOINT, fingerprint(job, board, latency, parameters)
    target = profile(board)
    torch.manual_seed(job.seed)
    state = _begun(path, of)
    if state is None:
        progress.say("shape")
        shape, found, why = choose(job, target, latency, parameters)
        tell(f"{why}: {found.said(target, per(job))}")
    else:
        shape, why = state["shape"], state["why"]
        job.recall(state.get("memory", ""))
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(job.seed)
    model = job.model(shape)
    job.begin(model)
    run = Run(model, adamw(model, job.decay, job.beta), path, job.average)
    run.state |= {
        "of": of, "shape": shape, "why": why, "score": None, "history": [],
        "memory": job.memory(),
    }  # fmt: skip
    if state is not None:
        run.resume()
        where = f"{run.state['seconds']:.0f} s and {run.state['step']} steps"
        tell(f"{why}; goes on behind {where}, in {path}")
    complete = _fitted(job, run, Timed(60 * minutes, cool=job.cool), progress)
    kept = copy.deepcopy(run.kept)
    if run.best is not None:
        kept.load_state_dict(run.best)
    job.finished(kept)
    weights = kept.state_dict()
    job.export(folder, shape, weights)
    job.write_test(folder)
    with tempfile.TemporaryDirectory(prefix="picoformer-") as temporary:
        made = converted(job, shape, weights, Path(temporary))
        found = cost(made, target, job.tokens)
        result = Result(
            job, folder, target, shape, why, found, run.state["step"], run.state["seconds"],
            float(run.state["score"] or 0.0), complete, history=run.state["history"],
        )  # fmt: skip
        if complete:
            progress.say("validation part, in integers")
            result.threshold = threshold(job, made)
            progress.say("test part, float model and integers")
            held = folder / job.held_out
            result.scores = evaluate(made, job.source(folder), data=held)
            result.scores.data = job.held_out
    return result


def _begun(path: Path, of: str) -> dict[str, Any] | None:
    """The state of a training that was begun; None where none was. Raises Error."""
    import torch

    if not path.exists():
        folder = path.parent
        if folder.exists() and not folder.is_dir():
            raise Error(f"{folder} is a file; expected a folder, or a name that is free")
        others = sorted(p for p in folder.glob("*") if p.name[:1] != ".")
        if others:
            raise Error(
                f"{folder} holds {others[0].name}, and no training that was begun there; "
                "choose an empty folder"
            )
        return None
    try:
        saved: dict[str, Any] = torch.load(path)
    except Exception as e:
        raise Error(f"cannot read {path}: {e}; remove it to begin anew") from e
    if saved.get("of") != of:
        raise Error(
            f"{path} is of a training on other data, or for another board; remove "
            f"{path.parent}, or choose another folder"
        )
    return saved


def _fitted(job: Job, run: Run, timed: Timed, progress: Progress) -> bool:
    """Whether the training went to its end."""
    state = run.state
    if state.get("end", 0) and timed.seconds > state["end"] + 1:
        state.pop("end"), state.pop("falls")  # more time than the last one had
    if state.get("end") and timed(state) is None:
        return True
    check = {"at": state["seconds"], "each": timed.seconds / CHECKS}

    def look(candidate: Any) -> None:
        score = job.score(candidate)
        state["history"].append((round(state["seconds"], 1), score))
        if state["score"] is None or score >= state["score"]:
            if state["score"] is None or score > state["score"]:
                state["gained"] = state["seconds"]
            state["score"] = score
            run.best = {k: v.clone() for k, v in candidate.state_dict().items()}
        since = state["seconds"] - state["gained"]
        spent = state["seconds"]
        if since > PATIENCE * spent and spent > LEAST * timed.seconds:
            timed.stop(state)

    def watch(step: int, candidate: Any) -> None:
        if state["seconds"] >= check["at"] + check["each"]:
            check["at"] = state["seconds"]
            look(candidate)

    def say(state: dict[str, Any], loss: float) -> None:
        end = timed.end(state)
        score = "" if state["score"] is None else job.said(state["score"])
        progress.step(state["seconds"] / end, loss, score, end - state["seconds"])

    progress.say("training")
    try:
        take_steps(
            run, lambda step: job.loss(run.model, step), timed, rate=job.rate, seed=job.seed,
            watch=watch, say=say, every=EVERY,
        )  # fmt: skip
        look(run.kept)
        run.save(complete=True)
    except KeyboardInterrupt:
        if run.best is None:
            look(run.kept)
        run.save()
        return False
    return True


