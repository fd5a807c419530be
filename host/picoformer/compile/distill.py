"""Training a model for the board's integers, so that it gives what it gave before.

The model runs with what the board rounds; gradients pass through the rounding. What the float
model gives for the same inputs is what is to be met. Needs torch (the extra `distill`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..data.examples import Example
from ..errors import Error
from ..graph.nodes import TENSORS, Array, Graph, Node
from .compiler import KEY_BITS, VALUE_BITS
from .lessons import Batches, lessons
from .matrices import Rounded
from .student import Student, exact_tensors
from .torch_graph import Batch, TorchGraph, narrow

STEPS = 1000  # of training, by default
WARM = 0.05  # share of the steps over which the rate rises; then it falls to nothing


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
) -> tuple[Graph, dict[int, Rounded]]:  # fmt: skip
    """Train a rounded model; return its graph and its matrices, as `round_graph` does.

    In the graph only what is not rounded has changed. data: inputs to train on. progress: as
    `convert`'s. Raises Error.
    """
    torch = needed()
    say: Callable[[str], object] = getattr(progress, "say", str)
    say("writing what to learn from")
    batches = Batches(torch, lessons(graph, data, steps, seed, progress), seed)
    say("distilling")
    exact = exact_tensors(torch, graph)
    teacher = TorchGraph(torch, graph)
    model = TorchGraph(torch, graph, narrow(graph, set(rounded), key_bits, value_bits))
    student = Student(torch, graph, exact, rounded)
    optimizer = torch.optim.Adam(student.groups(), betas=(0.9, 0.98))
    rates = [g["lr"] for g in optimizer.param_groups]
    parameters = [p for g in optimizer.param_groups for p in g["params"]]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small matrices are not worth sharing
    try:
        for step in progress(range(steps)):
            slope = min(step / (WARM * steps), 1) * (1 + np.cos(np.pi * step / steps)) / 2
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * slope
            some = batches.next()
            with torch.no_grad():
                wanted = teacher.run(exact, some)
            loss = difference(torch, graph, wanted, model.run(student.weights(), some), some)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            student.settle()
    finally:
        torch.set_num_threads(threads)
    free, matrices = student.result()

    def renewed(nodes: list[Node]) -> list[Node]:
        return [_renewed(node, free) for node in nodes]

    return replace(graph, nodes=renewed(graph.nodes), encoder=renewed(graph.encoder)), matrices


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
