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
    which the weights are averaged, exponentially; 0: they are not.
    """

    def __init__(self, model: Any, optimizer: Any, checkpoint: Path, average: int = 0) -> None:
        self.model, self.optimizer, self.checkpoint = model, optimizer, checkpoint
        self.average = average
        self.averaged = copy.deepcopy(model) if average else None
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0}

    @property
    def kept(self) -> Any:
        """The model with the weights that are exported: the average, where there is one."""
        return self.model if self.averaged is None else self.averaged

    def resume(self, **same: int) -> bool:
        """Go on from the checkpoint, where there is one; these numbers of it must be the same."""
        import torch

        if not self.checkpoint.exists():
            self.state |= same
            return False
        saved = torch.load(self.checkpoint)
        for name, number in same.items():
            if saved[name] != number:
                said = f"{self.checkpoint} is of a run of {saved[name]} {name}: remove it"
                raise Error(said)
        self.model.load_state_dict(saved.pop("model"))
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
    """Minimize loss_of(step); returns the seconds it took, over restarts.

    A checkpoint is written every minute and at the end; with one at hand it goes on from there.
    loss_of must depend on nothing but the model, the step and torch's generator, which is seeded
    for each step. watch gets each step before it is taken, with the model as it would be kept.
    In the end the model has the weights that are kept.
    """
    import torch

    if run.resume(steps=steps):
        done = run.state["step"]
        word = "complete" if done == steps else f"goes on at step {done} of {steps}"
        print(f"{run.checkpoint.name}: {word}", flush=True)
    done, before = run.state["step"], run.state["seconds"]
    last_save = last_said = start = time.time()
    losses: list[float] = []
    for step in range(done + 1, steps + 1):
        if watch:
            watch(step, run.kept)
        run.model.train()
        torch.manual_seed(seed * 1_000_003 + step)  # the same after a restart
        loss = loss_of(step)
        loss.backward()
        run.descend(rate * schedule(step))
        losses.append(loss.item())
        now = time.time()
        run.state["seconds"] = before + now - start
        if now - last_said > SAY:
            mean, spent = np.mean(losses[-100:]), run.state["seconds"]
            print(f"step {step} of {steps}, loss {mean:.4f}, {spent:.0f} s", flush=True)
            last_said = now
        if now - last_save > SAVE and step < steps:
            run.save()
            last_save = now
    if done < steps:
        run.save(complete=True)
    if run.averaged is not None:
        run.model.load_state_dict(run.averaged.state_dict())
    return float(run.state["seconds"])
