"""Training a model for the board's integers, so that it gives what it gave before.

The model runs with what the board rounds; gradients pass through the rounding. What the float
model gives for the same inputs is what is to be met. Needs torch (the extra `distill`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data.examples import Example
from ..errors import Error
from ..graph.nodes import TENSORS, Array, Graph, Node
from .compiler import KEY_BITS, VALUE_BITS
from .lessons import Batches, parts, side_by_side
from .matrices import Rounded
from .student import Student, exact_tensors
from .torch_graph import Batch, TorchGraph, narrow

STEPS = 1000  # of training, by default
WARM = 0.05  # share of the steps over which the rate rises; then it falls to nothing
# What the norms' vectors count for at first, beside the results; then less and less. Not where
# the model writes text: there each token has a result of its own, and it gained nothing.
ON_THE_WAY = 1.0
CHECKS = 10  # of the model on its way, on what was set apart
SLOWER = 0.5  # times the rate after a check that found it so many times as far away as it began;
WORSE = 2  # a little worse is no harm: it mostly makes up for that as the rate falls
GAIN = 0.02  # of the difference, that training has to take away: less is chance


@dataclass(frozen=True)
class Training:
    """What training came to.

    rounded, trained: how far the model was from the float one before, and was at best, on
    `examples` that it did not learn from: `unit` says in what. kept: whether the file has what was
    trained; else it gained nothing, and the file has what was rounded.
    """

    steps: int
    examples: int
    rounded: float
    trained: float
    unit: str
    kept: bool


UNITS = {"embed": "of the cosine", "predict": "of the variance"}  # others: nats a prediction


def needed() -> Any:
    """torch. Raises Error where it is not installed."""
    try:
        import torch
    except ImportError as e:
        raise Error("torch is not installed: pip install 'picoformer[distill]'") from e
    return torch


def distill(
    graph: Graph, rounded: dict[int, Rounded], steps: int = STEPS,
    data: list[Example] | None = None, key_bits: int = KEY_BITS[0],
    value_bits: int = VALUE_BITS[0], seed: int = 2,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[Graph, dict[int, Rounded], Training]:  # fmt: skip
    """Train a rounded model; return its graph, its matrices, as `round_graph` does, and what it
    gained. Where that is nothing both are as they were given.

    In the graph only what is not rounded has changed. data: inputs to train on. progress: as
    `convert`'s. Raises Error.
    """
    torch = needed()
    say: Callable[[str], object] = getattr(progress, "say", str)
    say("writing what to learn from")
    learnt, apart = parts(graph, data, steps, seed, progress)
    say("distilling")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small matrices are not worth sharing
    try:
        course = _Course(torch, graph, rounded, key_bits, value_bits, apart)
        course.run(Batches(torch, learnt, seed), steps, progress)
    finally:
        torch.set_num_threads(threads)
    kept = course.best < (1 - GAIN) * course.first
    unit = UNITS.get(graph.task, "nats a prediction")
    found = Training(steps, len(apart), course.first, course.best, unit, kept)
    if not kept:
        return graph, rounded, found
    free, matrices = course.student.result()

    def renewed(nodes: list[Node]) -> list[Node]:
        return [_renewed(node, free) for node in nodes]

    trained = replace(graph, nodes=renewed(graph.nodes), encoder=renewed(graph.encoder))
    return trained, matrices, found


class _Course:
    """A model in training, and the best that it was on what was set apart."""

    def __init__(
        self, torch: Any, graph: Graph, rounded: dict[int, Rounded], key_bits: int,
        value_bits: int, apart: list[Example],
    ) -> None:  # fmt: skip
        self.torch = torch
        self.graph = graph
        self.exact = exact_tensors(torch, graph)
        self.teacher = TorchGraph(torch, graph)
        self.model = TorchGraph(torch, graph, narrow(graph, set(rounded), key_bits, value_bits))
        self.student = Student(torch, graph, self.exact, rounded)
        self.apart = side_by_side(torch, apart)
        self.first = self.best = self._apart()
        self.state = self.student.state()

    def run(
        self, batches: Batches, steps: int, progress: Callable[[Iterable[Any]], Iterable[Any]]
    ) -> None:
        """Train; the student is then as it was at its best."""
        optimizer, slower = self._optimizer(), 1.0
        way = 0.0 if self.graph.task == "generate" else ON_THE_WAY
        checks = {round(i * steps / CHECKS) for i in range(1, CHECKS + 1)}
        for step in progress(range(steps)):
            slope = min(step / (WARM * steps), 1) * (1 + np.cos(np.pi * step / steps)) / 2
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * slope * slower
            self._step(optimizer, batches.next(), way * (1 - step / steps))
            if step + 1 in checks:
                off = self._apart()
                if off < self.best:
                    self.best, self.state = off, self.student.state()
                elif not off < WORSE * self.first:  # too fast
                    self.student.load(self.state)
                    optimizer, slower = self._optimizer(), slower * SLOWER
        self.student.load(self.state)

    def _optimizer(self) -> Any:
        groups = [{**group, "rate": group["lr"]} for group in self.student.groups()]
        return self.torch.optim.Adam(groups, betas=(0.9, 0.98))

    def _step(self, optimizer: Any, some: Batch, way: float) -> None:
        wanted_way: list[Any] = []
        found_way: list[Any] = []
        with self.torch.no_grad():
            wanted = self.teacher.run(self.exact, some, wanted_way)
        found = self.model.run(self.student.weights(), some, found_way)
        loss = difference(self.torch, self.graph, wanted, found, some)
        if way:
            loss = loss + way * astray(wanted_way, found_way)
        optimizer.zero_grad()
        loss.backward()
        parameters = [p for g in optimizer.param_groups for p in g["params"]]
        self.torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        self.student.settle()

    def _apart(self) -> float:
        """How far the model is from the float one, on what was set apart."""
        out = []
        with self.torch.no_grad():
            weights = self.student.weights()
            for some in self.apart:
                wanted = self.teacher.run(self.exact, some)
                found = self.model.run(weights, some)
                out.append(float(difference(self.torch, self.graph, wanted, found, some)))
        return float(np.mean(out))


def astray(wanted: list[Any], found: list[Any]) -> Any:
    """How far vectors on the way are from the wanted ones: the mean square, relative to theirs."""
    off = [(w - f).square().mean() / w.square().mean().clamp(min=1e-12)
           for w, f in zip(wanted, found, strict=True)]  # fmt: skip
    return sum(off) / max(len(off), 1)


def difference(torch: Any, graph: Graph, wanted: Any, found: Any, batch: Batch) -> Any:
    """How far results (sequences, positions, outputs) are from the wanted ones.

    That is nats a prediction; for embeddings the cosine that lacks to 1; for numbers the mean
    square in variances of the wanted ones.
    """
    if graph.task == "embed":
        return 1 - torch.nn.functional.cosine_similarity(wanted, found, dim=-1).mean()
    if graph.task == "predict":
        off = (wanted - found).square().mean((0, 1))
        return (off / wanted.var((0, 1), correction=0).clamp(min=1e-12)).mean()
    valid = batch.valid
    if graph.task == "answer":
        if valid is not None:
            hidden = ~valid[..., None]
            wanted, found = (v.masked_fill(hidden, -1e9) for v in (wanted, found))
        wanted, found = wanted.transpose(1, 2), found.transpose(1, 2)
    if graph.several:  # a sigmoid is the softmax of this logit and of 0
        wanted, found = (torch.stack([torch.zeros_like(v), v], -1) for v in (wanted, found))
    exact, ours = torch.log_softmax(wanted, -1), torch.log_softmax(found, -1)
    kl = (exact.exp() * (exact - ours)).sum(-1)
    each = graph.task in ("generate", "translate", "tag") and valid is not None
    return kl[valid].mean() if each else kl.mean()


def _renewed(node: Node, free: dict[int, Array]) -> Node:
    """The node with its tensors that were trained and are not rounded."""
    found = {name: getattr(node, name, None) for name in TENSORS}
    changes: dict[str, Any] = {k: free[id(t)] for k, t in found.items() if id(t) in free}
    return replace(node, **changes)
