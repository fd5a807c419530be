"""What `convert` says that it did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..graph.nodes import Embedding, Graph, Linear
from .compiler import Compiled
from .distill import Training
from .matrices import Matrix4


@dataclass
class Report:
    """What `convert` did.

    path: the model file. name: its title. bytes: its size.
    sections: bytes of each section of the file, by name.
    parameters: number of the checkpoint's weights.
    context: context length in tokens. batch: positions that are run at once.
    cache_bytes: KV cache on the board, at that context. arena_bytes: activations there.
    errors: of each matrix the root mean square of its rounding error, relative to that of its
        weights; by the name of the value that it makes.
    bits: of each matrix, 8 or 4. tensors: what each is called.
    calibration: what it was calibrated on, in words.
    text: whether it reads text or images; False if it takes token ids alone.
    notes: what else you should know, in sentences.
    distilled: what training came to; None without training.
    seconds: how long it took.
    """

    path: str
    name: str
    bytes: int
    sections: dict[str, int]
    parameters: int
    context: int
    batch: int
    cache_bytes: int
    arena_bytes: int
    errors: dict[str, float] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    calibration: str = ""
    text: bool = True  # False: without a tokenizer, for token ids alone
    notes: list[str] = field(default_factory=list)  # what is to be known besides
    distilled: Training | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """All of it as a dict, for JSON."""
        found = asdict(self)
        if self.distilled is None:
            del found["distilled"]
        return found


def errors(compiled: Compiled) -> dict[str, float]:
    """The error of each matrix."""
    found = {}
    for value, (matrix, weight) in compiled.matrices.items():
        off = matrix.value - weight
        found[value] = float(np.sqrt((off**2).mean() / max((weight**2).mean(), 1e-30)))
    return found


def bits(compiled: Compiled) -> dict[str, int]:
    """The bits of each matrix."""
    return {k: 4 if isinstance(m, Matrix4) else 8 for k, (m, _) in compiled.matrices.items()}


def tensors(graph: Graph) -> dict[str, str]:
    """What matrices are called: by the values that they make, as the checkpoint has it."""
    out = {}
    for nodes, whose in ((graph.encoder, " of the encoder"), (graph.nodes, "")):
        for n in nodes:
            if isinstance(n, Linear) and n.name:
                out[n.out] = n.name
            elif isinstance(n, Embedding):
                value = n.out if n.by == "token" else f"{n.out}:{n.by}"
                out[value] = f"{n.by} embedding{whose}"
    return out
