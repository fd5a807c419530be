"""The description beside a checkpoint: what PyTorch's and Keras's files do not tell.

A JSON object in a file of the checkpoint's name that ends in .json, or wherever the user says.
docs/convert.md lists the fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.nodes import Array, Graph
from .checkpoint import Config

TASKS = {name: name for name in ("generate", "classify", "embed", "translate")}
ACTIVATIONS = {name: name for name in ("relu", "gelu", "gelu_tanh", "silu")}
POOLING = {name: name for name in ("mean", "first", "last")}


class Description(Config):
    """The fields of a description, which may be absent where `needed` is empty.

    source: the checkpoint. path: the description, by default the file beside it. supported: the
    fields that it may have. needed: those that it must have, for the error.
    """

    def __init__(
        self, source: Path, path: str | Path | None, supported: tuple[str, ...], needed: str = ""
    ) -> None:
        beside = source.with_suffix(".json")
        if path is None and not beside.is_file():
            if needed:
                raise Error(
                    f"{source} does not tell all of its model: write {beside.name} beside it, or "
                    f"name a file with --config: a JSON object with at least {needed}"
                )
            self.path, self.folder = source, source.parent
            self.fields = {}
            return
        super().__init__(Path(path or beside), "a description of " + source.name)
        self.within("", self.fields, supported)

    def within(self, name: str, value: Any, supported: tuple[str, ...]) -> dict[str, Any]:
        """An object of these fields alone. Raises Error."""
        if not isinstance(value, dict):
            raise Error(f"{self.path}: {name} is {value!r}, expected an object of fields")
        for field in value:
            if field not in supported:
                full = f"{name}.{field}" if name else field
                raise Error(f"{self.path}: unknown field {full!r}; known: {', '.join(supported)}")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of names, or one. Raises Error."""
        v = self.get(name, [])
        v = [v] if isinstance(v, str) else v
        if not isinstance(v, list) or not all(isinstance(t, str) for t in v):
            raise Error(f"{self.path}: {name} is {str(v)[:100]}, expected a list of names")
        return v

    def specials(self, graph: Graph) -> tuple[int, tuple[int, ...]]:
        """`bos`, -1 where there is none, and `eos`, one id or a list of them. Raises Error."""
        bos, ends = self.get("bos", -1), self.get("eos", -1)
        ends = ends if isinstance(ends, list) else [ends]
        for name, v in (("bos", bos), *(("eos", v) for v in ends)):
            if not isinstance(v, int) or isinstance(v, bool) or not -1 <= v < graph.vocab:
                vocab = graph.vocab
                raise Error(f"{self.path}: {name} is {v!r}, expected a token's id below {vocab}")
        found = [v for v in ends if v >= 0]
        return bos, tuple(found + [bos] if graph.task == "translate" and bos >= 0 else found)

    def classes(self, count: int) -> list[str]:
        """The labels of so many classes. Raises Error."""
        labels = self.texts("labels") or [f"LABEL_{i}" for i in range(count)]
        if len(labels) != count:
            raise Error(f"{self.path}: {len(labels)} labels, the model has {count} classes")
        return labels


def two_classes(weight: Array, bias: Array | None) -> tuple[Array, Array | None]:
    """A linear of one row, whose sigmoid is the second class's probability, as one of two rows.

    The first class's logit is 0: the softmax of the two is that sigmoid.
    """
    if bias is not None:
        bias = np.concatenate([np.zeros(1, np.float32), bias])
    return np.concatenate([np.zeros_like(weight), weight]), bias
