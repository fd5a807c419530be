"""What is trained: a model's tensors, the matrices rounded as the board has them.

Gradients pass through the rounding as if it were not there (Bengio et al., 2013,
arXiv:1308.3432, "straight-through").
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.nodes import Array, Embedding, Graph, Linear, tensors
from .matrices import Rounded
from .round_matrix import HIGH, LOW

NEAR = 0.4  # how far from the middle of its step a weight begins at most
# A weight that turns to and fro is settled (Nagel et al., 2022, arXiv:2203.11086): what is kept of
# its turns, and of its mean, from one step of training to the next, and how many are too many.
MEMORY, TURNS = 0.98, 1.5
# The largest change in a step of training: of a rounded weight, in steps of its scale; of a unit,
# relative to it, of gains and biases; of other matrices, relative to the size of their weights.
TURN_RATE, UNIT_RATE, RATE = 4e-3, 1e-3, 2e-4


def exact_tensors(torch: Any, graph: Graph) -> dict[int, Any]:
    """The tensors of a graph, by the id of the node's."""
    given = {id(t): t for n in graph.encoder + graph.nodes for t in tensors(n)}
    return {k: torch.tensor(np.asarray(t, np.float32)) for k, t in given.items()}


class Student:
    """The parameters: matrices of 4 bits as real weights and units; all others.

    The scales stay: they have few steps, and one that turns moves all the weights of its group.
    """

    def __init__(
        self, torch: Any, graph: Graph, exact: dict[int, Any], rounded: dict[int, Rounded]
    ) -> None:
        self.torch = torch
        self.rounded = rounded
        nodes = graph.encoder + graph.nodes
        matrices = {id(n.weight) for n in nodes if isinstance(n, Embedding | Linear)}
        self.eight = matrices - rounded.keys()
        self.free = {k: t.clone().requires_grad_() for k, t in exact.items() if k not in rounded}
        self.real: dict[int, Any] = {}
        self.scale: dict[int, Any] = {}
        self.unit: dict[int, Any] = {}
        for k, r in rounded.items():
            q = torch.tensor(r.q.astype(np.float32))
            scale = np.repeat(r.scale, r.span, 1)[:, : r.q.shape[1]]
            self.scale[k] = torch.tensor(scale.astype(np.float32))
            unit = torch.tensor(r.unit[:, None].astype(np.float32))
            # In units of a step: what rounding has chosen, but towards the float weight, so that
            # those turn first that were moved to make up for others.
            off = exact[k] / (self.scale[k] * unit) - q
            self.real[k] = (q + off.clamp(-NEAR, NEAR)).requires_grad_()
            self.unit[k] = unit.log().requires_grad_()
        self._begin()

    def _begin(self) -> None:
        # Of each weight: what it is, was in the mean, and how often it has turned of late.
        self.whole = {k: real.detach().round() for k, real in self.real.items()}
        self.mean = {k: q.clone() for k, q in self.whole.items()}
        self.turns = {k: self.torch.zeros_like(q) for k, q in self.whole.items()}

    def state(self) -> list[Any]:
        """The parameters, as they are."""
        return [t.detach().clone() for t in self._parameters()]

    def load(self, state: list[Any]) -> None:
        """Go back to these."""
        with self.torch.no_grad():
            for t, was in zip(self._parameters(), state, strict=True):
                t.copy_(was)
        self._begin()

    def _parameters(self) -> list[Any]:
        return [*self.free.values(), *self.real.values(), *self.unit.values()]

    def groups(self) -> list[dict[str, Any]]:
        """What the optimizer moves, and how fast."""
        free = list(self.free.values())
        vectors = [t for t in free if t.dim() == 1]
        matrices = [t for t in free if t.dim() > 1]
        sizes = [t.detach().square().mean().sqrt().item() for t in matrices]
        size = float(np.mean(sizes)) if sizes else 1.0
        return [
            {"params": list(self.real.values()), "lr": TURN_RATE},
            {"params": list(self.unit.values()), "lr": UNIT_RATE},
            {"params": vectors, "lr": UNIT_RATE},
            {"params": matrices, "lr": RATE * size},
        ]

    def weights(self) -> dict[int, Any]:
        """All tensors, the rounded ones with gradients as if they were not."""
        out = dict(self.free)
        for k in self.eight:
            out[k] = self._eight(self.free[k])
        for k, real in self.real.items():
            held = real.clamp(LOW, HIGH)
            q = held + (held.round() - held).detach()
            out[k] = q * self.scale[k] * self.unit[k].exp()
        return out

    def settle(self) -> None:
        """After a step: put weights that turn to and fro into the middle of what they mostly were.

        They would be left wherever they are when training ends, and disturb all others until then.
        """
        with self.torch.no_grad():
            for k, real in self.real.items():
                q = real.clamp(LOW, HIGH).round()
                turns = self.turns[k].mul_(MEMORY).add_(q != self.whole[k])
                mean = self.mean[k].lerp_(q, 1 - MEMORY)
                restless = turns > TURNS
                real.copy_(self.torch.where(restless, mean.round(), real))
                turns.masked_fill_(restless, 0)
                self.whole[k] = self.torch.where(restless, mean.round(), q)

    def result(self) -> tuple[dict[int, Array], dict[int, Rounded]]:
        """The tensors that have 8 bits or are no matrices, and the matrices of 4 bits."""
        free = {k: t.detach().numpy() for k, t in self.free.items()}
        matrices = {}
        for k, r in self.rounded.items():
            q = self.real[k].detach().clamp(LOW, HIGH).round().numpy().astype(np.int64)
            unit = self.unit[k].detach().exp().numpy()[:, 0].astype(np.float64)
            matrices[k] = replace(r, q=q, unit=unit)
        return free, matrices

    def _eight(self, w: Any) -> Any:
        """A matrix of 8 bits with a scale a row."""
        with self.torch.no_grad():
            step = (w.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-20)
            off = (w / step).round() * step - w
        return w + off
