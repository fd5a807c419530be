"""The loop that trainings share: it goes on from a checkpoint as if it had never stopped.

Importing this needs no torch.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Error
from .files import save_atomically

if TYPE_CHECKING:
    import torch

Schedule = Callable[[int], float]  # the share of the learning rate at a step; they count from 1
SAVE, SAY = 60, 15  # seconds between two checkpoints, between two lines


def half_cosine(steps: int, warm_up: float = 0.05) -> Schedule:
    """Up to one in a share of the steps, then half a cosine to zero."""

    def schedule(step: int) -> float:
        share = step / (warm_up * steps)
        if share > 1:
            share = 0.5 + 0.5 * np.cos(np.pi * (step / steps - warm_up) / (1 - warm_up))
        return float(share)

    return schedule


def trapezoid(steps: int, warm_up: float, cool_down: float) -> Schedule:
    """Up to one in so many steps, constant, and to zero in so many last steps."""
    return lambda step: min(1.0, step / warm_up, (steps - step) / cool_down)


def adamw(model: Any, decay: float, beta: float = 0.99, fused: bool = False) -> Any:
    """AdamW, with weight decay on matrices only. beta: of the squares; the rate is set later."""
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1.0, betas=(0.9, beta), fused=fused)


class Run:
    """A model, its optimizer and where its training stands: what a checkpoint holds.

    `state` are the numbers of a checkpoint, "step" and "seconds" among them. average: steps over
    which the weights are averaged, exponentially; 0: they are not. best: the weights that did best
    so far, where that is looked at.
    """

    def __init__(self, model: Any, optimizer: Any, checkpoint: Path, average: int = 0) -> None:
        self.model, self.optimizer, self.checkpoint = model, optimizer, checkpoint
        self.average = average
        self.averaged = copy.deepcopy(model) if average else None
        self.best: dict[str, torch.Tensor] | None = None
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0}

    @property
    def kept(self) -> Any:
        """The model with the weights that are exported: the average, where there is one."""
        return self.model if self.averaged is None else self.averaged

    def resume(self, **same: Any) -> bool:
        """Go on from the checkpoint, where there is one; these numbers of it must be the same."""
        import torch

        if not self.checkpoint.exists():
            self.state |= same
            return False
        saved = torch.load(self.checkpoint)
        for name, number in same.items():
            if saved[name] != number:
                raise Error(
                    f"{self.checkpoint} is of a run of {saved[name]} {name}: remove it"
                )
        self.model.load_state_dict(saved.pop("model"))
        self.best = saved.pop("best", None)
        optimizer = saved.pop("optimizer")
        if optimizer is not None:
            self.optimizer.load_state_dict(optimizer)
        if self.averaged is not None:
            self.averaged.load_state_dict(saved.pop("average"))
        self.state = saved
        return True

    def save(self, complete: bool = False) -> None:
        """Write the checkpoint; a complete one goes on no more, and holds no optimizer."""
        import torch

        saved = {"model": self.model.state_dict()}
        if self.best is not None:
            saved["best"] = self.best
        if self.averaged is not None:
            saved["average"] = self.averaged.state_dict()
        saved["optimizer"] = None if complete else self.optimizer.state_dict()
        save_atomically(self.checkpoint, lambda p: torch.save(saved | self.state, p))

    def descend(self, rate: float) -> None:
        """One step by the gradients, whose norm is cut to one."""
        import torch

        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state["step"] += 1
        if self.averaged is not None:
            step = self.state["step"]
            keep = min(1 - 1 / self.average, (1 + step) / (10 + step))
            pairs = zip(self.averaged.parameters(), self.model.parameters(), strict=True)
            with torch.no_grad():
                for mean, weight in pairs:
                    if weight.requires_grad:
                        mean.lerp_(weight, 1 - keep)


def fit(
    run: Run,
    loss_of: Callable[[int], torch.Tensor],
    *,
    steps: int,
    rate: float,
    schedule: Schedule,
    seed: int,
    watch: Callable[[int, Any], object] | None = None,
) -> float:
    """Minimize loss_of(step) in so many steps; returns the seconds it took, over restarts.

    A checkpoint is written every minute and at the end; with one at hand it goes on from there.
    loss_of must depend on nothing but the model, the step and torch's generator, which is seeded
    for each step. watch gets each step before it is taken, with the model as it would be kept.
    In the end the model has the weights that are kept.
    """

    def share(state: dict[str, Any]) -> float | None:
        return schedule(state["step"] + 1) if state["step"] < steps else None

    def say(state: dict[str, Any], loss: float) -> None:
        spent = state["seconds"]
        print(f"step {state['step']} of {steps}, loss {loss:.4f}, {spent:.0f} s", flush=True)

    if run.resume(steps=steps):
        done = run.state["step"]
        word = "complete" if done == steps else f"goes on at step {done} of {steps}"
        print(f"{run.checkpoint.name}: {word}", flush=True)
    take_steps(run, loss_of, share, rate=rate, seed=seed, watch=watch, say=say, every=SAY)
    if run.averaged is not None:
        run.model.load_state_dict(run.averaged.state_dict())
    return float(run.state["seconds"])


def take_steps(
    run: Run,
    loss_of: Callable[[int], torch.Tensor],
    share: Callable[[dict[str, Any]], float | None],
    *,
    rate: float,
    seed: int,
    watch: Callable[[int, Any], object] | None = None,
    say: Callable[[dict[str, Any], float], object],
    every: float,
) -> None:
    """The steps that are left, as `fit` takes them.

    share: of the rate, of the next step of a state; None when all are taken. say gets the state
    and the mean of the last losses, so often in seconds.
    """
    import torch

    before = run.state["seconds"]
    last_save = last_said = start = time.time()
    losses: list[float] = []
    now_share = share(run.state)
    while now_share is not None:
        step = run.state["step"] + 1
        if watch:
            watch(step, run.kept)
        run.model.train()
        torch.manual_seed(seed * 1_000_003 + step)  # the same after a restart
        loss = loss_of(step)
        loss.backward()
        run.descend(rate * now_share)
        losses.append(loss.item())
        now = time.time()
        run.state["seconds"] = before + now - start
        now_share = share(run.state)
        if now - last_said > every:
            say(run.state, float(np.mean(losses[-100:])))
            last_said = now
        if now - last_save > SAVE and now_share is not None:
            run.save()
            last_save = now
    if losses:
        run.save(complete=True)


class Timed:
    """Up to one, constant, and to zero, in so many seconds, or sooner where `stop` is called.

    Called with a run's state it gives the share of the rate, None when the time is over. cool:
    the share of the time in which the rate falls.
    """

    def __init__(self, seconds: float, warm_up: int = 100, cool: float = 0.35) -> None:
        self.seconds, self.warm_up, self.cool = seconds, warm_up, cool

    def __call__(self, state: dict[str, Any]) -> float | None:
        spent = state["seconds"]
        if "end" not in state and spent >= (1 - self.cool) * self.seconds:
            state["falls"], state["end"] = spent, self.seconds
        share = min(1.0, (state["step"] + 1) / self.warm_up)
        if "end" in state:
            left = (state["end"] - spent) / max(state["end"] - state["falls"], 1e-9)
            return None if left <= 0 else float(share * left)
        return share

    def stop(self, state: dict[str, Any]) -> None:
        """Let the rate fall from now on: nothing is gained by going on."""
        if "end" not in state:
            spent = state["seconds"]
            state["falls"] = spent
            state["end"] = min(self.seconds, spent / (1 - self.cool))

    def end(self, state: dict[str, Any]) -> float:
        """The seconds of all, as far as that is known."""
        return float(state.get("end", self.seconds))
