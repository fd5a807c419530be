"""Training what rounding to 4 bits leaves free, so that the model predicts what it did before.

The model runs with rounded weights; gradients pass through the rounding as if it were not there
(Bengio et al., 2013, arXiv:1308.3432, "straight-through"). The float model's predictions over text
that it wrote itself are what is to be met, so no data are needed. The scales stay; weights, the
rows' units, gains, biases and what has 8 bits move. Needs torch (the extra `distill`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.float_model import sample
from ..graph.nodes import (
    TENSORS,
    Add,
    Array,
    Attention,
    Embedding,
    Gate,
    Graph,
    HeadNorm,
    LayerNorm,
    Linear,
    Node,
    Norm,
    tensors,
)
from .matrices import Rounded
from .round_matrix import HIGH, LOW

STEPS = 500  # of training, by default
BATCH = 8  # sequences of a step
TEXT = (64, 256)  # sequences and tokens that the float model writes
NEAR = 0.4  # how far from the middle of its step a weight begins at most
# The largest change in a step of training: of a rounded weight, in steps of its scale; of a unit,
# relative to it, of gains and biases; of other matrices, relative to the size of their weights.
TURN_RATE, UNIT_RATE, RATE = 5e-3, 2e-3, 2e-4
WARM = 0.05  # share of the steps over which the rate rises; then it falls to nothing


def needed(graph: Graph) -> Any:
    """torch. Raises Error where it is not installed, or this is no graph that can be trained."""
    known = Embedding | Norm | HeadNorm | LayerNorm | Linear | Attention | Gate | Add
    if graph.task != "generate" or not all(isinstance(n, known) for n in graph.nodes):
        raise Error(f"only models that generate can be distilled; this one is to {graph.task}")
    try:
        import torch
    except ImportError as e:
        raise Error("torch is not installed: pip install 'picoformer[distill]'") from e
    return torch


def distill(
    graph: Graph, rounded: dict[int, Rounded], steps: int = STEPS, seed: int = 2,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[Graph, dict[int, Rounded]]:  # fmt: skip
    """Train a rounded model; return its graph and its matrices, as `round_graph` does.

    In the graph only what is not rounded has changed. progress: wraps the iteration over steps.
    Raises Error.
    """
    torch = needed(graph)
    ids, _ = sample(graph, TEXT[0], min(TEXT[1], graph.context), seed)
    text = torch.from_numpy(ids)
    given = {id(t): t for n in graph.nodes for t in tensors(n)}
    exact = {k: torch.tensor(np.asarray(t, np.float32)) for k, t in given.items()}
    student = _Student(torch, exact, rounded)
    optimizer = torch.optim.Adam(student.groups(), betas=(0.9, 0.98))
    rates = [g["lr"] for g in optimizer.param_groups]
    parameters = [p for g in optimizer.param_groups for p in g["params"]]
    rng = np.random.default_rng(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small matrices are not worth sharing
    try:
        for step in progress(range(steps)):
            slope = min(step / (WARM * steps), 1) * (1 + np.cos(np.pi * step / steps)) / 2
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * slope
            some = text[rng.integers(len(text), size=BATCH)]
            with torch.no_grad():
                wanted = torch.log_softmax(_run(torch, graph, exact, some), -1)
            ours = torch.log_softmax(_run(torch, graph, student.weights(), some), -1)
            loss = (wanted.exp() * (wanted - ours)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
    finally:
        torch.set_num_threads(threads)
    free, matrices = student.result()
    return replace(graph, nodes=[_renewed(node, free) for node in graph.nodes]), matrices


def _renewed(node: Node, free: dict[int, Array]) -> Node:
    """The node with its tensors that were trained and are not rounded."""
    found = {name: getattr(node, name, None) for name in TENSORS}
    changes: dict[str, Any] = {k: free[id(t)] for k, t in found.items() if id(t) in free}
    return replace(node, **changes)


class _Student:
    """The parameters: rounded matrices as real weights, units and fixed scales; all others."""

    def __init__(self, torch: Any, exact: dict[int, Any], rounded: dict[int, Rounded]) -> None:
        self.torch = torch
        self.rounded = rounded
        self.free = {k: t.clone().requires_grad_() for k, t in exact.items() if k not in rounded}
        self.real: dict[int, Any] = {}
        self.unit: dict[int, Any] = {}
        self.scale: dict[int, Any] = {}
        for k, r in rounded.items():
            cols = r.q.shape[1]
            scale = torch.tensor(np.repeat(r.scale, r.span, 1)[:, :cols].astype(np.float32))
            unit = torch.tensor(r.unit[:, None].astype(np.float32))
            # In units of a step: what rounding has chosen, but towards the float weight, so that
            # those turn first that were moved to make up for others.
            off = exact[k] / (scale * unit) - torch.tensor(r.q.astype(np.float32))
            real = torch.tensor(r.q.astype(np.float32)) + off.clamp(-NEAR, NEAR)
            self.real[k] = real.requires_grad_()
            self.unit[k] = unit.log().requires_grad_()
            self.scale[k] = scale

    def groups(self) -> list[dict[str, Any]]:
        """What the optimizer moves, and how fast."""
        free = list(self.free.values())
        vectors = [t for t in free if t.dim() == 1]
        matrices = [t for t in free if t.dim() > 1]
        size = float(np.mean([t.std().item() for t in matrices])) if matrices else 1.0
        return [
            {"params": list(self.real.values()), "lr": TURN_RATE},
            {"params": list(self.unit.values()), "lr": UNIT_RATE},
            {"params": vectors, "lr": UNIT_RATE},
            {"params": matrices, "lr": RATE * size},
        ]

    def weights(self) -> dict[int, Any]:
        """All tensors, the rounded ones with gradients as if they were not."""
        out = dict(self.free)
        for k, real in self.real.items():
            held = real.clamp(LOW, HIGH)
            q = held + (held.round() - held).detach()
            out[k] = q * self.scale[k] * self.unit[k].exp()
        return out

    def result(self) -> tuple[dict[int, Array], dict[int, Rounded]]:
        free = {k: t.detach().numpy() for k, t in self.free.items()}
        matrices = {}
        for k, r in self.rounded.items():
            q = self.real[k].detach().clamp(LOW, HIGH).round().numpy().astype(np.int64)
            unit = self.unit[k].detach().exp().numpy()[:, 0].astype(np.float64)
            matrices[k] = replace(r, q=q, unit=unit)
        return free, matrices


def _run(torch: Any, graph: Graph, weights: dict[int, Any], tokens: Any) -> Any:
    """Logits (sequences, positions, vocab): what FloatModel does, with gradients."""
    functions = {
        "silu": torch.nn.functional.silu,
        "gelu": torch.nn.functional.gelu,
        "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "relu": torch.relu,
        "tanh": torch.tanh,
    }
    v: dict[str, Any] = {}
    n = tokens.shape[1]

    def w(t: Array) -> Any:
        return weights[id(t)]

    for node in graph.nodes:
        if isinstance(node, Embedding):
            y = w(node.weight)[:n] if node.by == "position" else w(node.weight)[tokens]
            v[node.out] = y if node.by == "token" else v[node.out] + y
        elif isinstance(node, Norm | HeadNorm):
            x = v[node.x].view(*v[node.x].shape[:2], -1, len(node.gain))
            y = x * (x.square().mean(-1, keepdim=True) + node.eps).rsqrt() * w(node.gain)
            v[node.out] = y.view(v[node.x].shape)
        elif isinstance(node, LayerNorm):
            x = v[node.x]
            v[node.out] = torch.layer_norm(x, x.shape[-1:], w(node.gain), w(node.bias), node.eps)
        elif isinstance(node, Linear):
            bias = None if node.bias is None else w(node.bias)
            v[node.out] = torch.nn.functional.linear(v[node.x], w(node.weight), bias)
        elif isinstance(node, Gate):
            y = functions[node.activation](v[node.g])
            v[node.out] = y if node.u is None else y * v[node.u]
        elif isinstance(node, Add):
            v[node.x] = v[node.x] + v[node.y]
        elif isinstance(node, Attention):
            v[node.out] = _attention(torch, node, v)
    return v["logits"]


def _attention(torch: Any, node: Attention, v: dict[str, Any]) -> Any:
    batch, n, _ = v[node.q].shape
    q, k, val = (v[name].view(batch, n, -1, node.size).transpose(1, 2)
                 for name in (node.q, node.k, node.v))  # fmt: skip
    if node.frequencies is not None:
        angle = torch.tensor(np.outer(np.arange(n), node.frequencies), dtype=torch.float32)
        cos, sin = angle.cos(), angle.sin()

        def turned(x: Any) -> Any:
            a, b = x.chunk(2, -1)
            return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

        q, k = turned(q), turned(k)
    share = node.heads // node.kv_heads
    k, val = (x.repeat_interleave(share, 1) for x in (k, val))
    y = torch.nn.functional.scaled_dot_product_attention(
        q, k, val, is_causal=node.causal, scale=node.factor
    )
    return y.transpose(1, 2).reshape(batch, n, -1)
