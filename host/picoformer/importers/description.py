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

TASKS = {name: name for name in ("generate", "classify", "embed", "predict", "translate")}
POOLED = "classify", "embed", "predict"  # the tasks of all positions together
ACTIVATIONS = {name: name for name in ("relu", "gelu", "gelu_tanh", "silu")}
POOLING = {name: name for name in ("mean", "first", "last")}
PYTORCH_FILES = ".pt", ".pth", ".ckpt", ".safetensors"
KERAS_FILES = (".keras",)
_OUTPUT = "mean", "std", "names"
_LARGEST = 1e12  # of a mean or a deviation


def checkpoints(folder: Path) -> list[Path]:
    """The files in a folder that may have a description, none where it is no folder."""
    suffixes = PYTORCH_FILES + KERAS_FILES
    return sorted(p for p in folder.glob("*.*") if p.suffix in suffixes and p.is_file())


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

    def whole(self, name: str, value: Any, most: int, supported: str = "") -> int:
        """A field's whole number from 1 to most. Raises Error."""
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            supported = supported or f"a whole number from 1 to {most}"
            raise Error(f"{self.path}: {name} is {value!r}, expected {supported}")
        return value

    def numbers(self, name: str, value: Any, count: int, least: float = -np.inf) -> Array:
        """A field's number above `least` for each of `count`, or one for all. Raises Error."""
        listed = value if isinstance(value, list) else [value] * count
        good = len(listed) == count and all(
            isinstance(v, int | float)
            and not isinstance(v, bool)
            and least < v
            and abs(v) < _LARGEST
            for v in listed
        )
        if not good:
            kind = "numbers" if least < 0 else "positive numbers"
            seen = str(value)[:100]
            raise Error(f"{self.path}: {name} is {seen}, expected {count} {kind}, or one for all")
        return np.array(listed, np.float64)

    def listed(self, name: str, value: Any, count: int) -> list[str]:
        """A field's names of `count` things; [] if it has none. Raises Error."""
        if value is None:
            return []
        texts = isinstance(value, list) and all(isinstance(v, str) for v in value)
        if not texts or len(value) != count:
            raise Error(f"{self.path}: {name} is {str(value)[:100]}, expected {count} names")
        return list(value)

    def predicted(
        self, weight: Array, bias: Array | None, known: tuple[str, ...] = _OUTPUT
    ) -> tuple[Array, Array | None, list[str]]:
        """A last linear whose rows are the numbers themselves, and their names, if any.

        The model's own are less their mean, by their deviation, where "output" says so.
        """
        if self.get("labels") is not None:
            raise self.refusal("labels", self.get("labels"), 'to predict numbers "output.names"')
        fields = self.within("output", self.get("output", {}), known)
        n = len(weight)
        mean = self.numbers("output.mean", _or(fields.get("mean"), 0.0), n)
        std = self.numbers("output.std", _or(fields.get("std"), 1.0), n, 0)
        names = self.listed("output.names", fields.get("names"), n)
        if np.all(mean == 0) and np.all(std == 1):
            return weight, bias, names
        bias = mean if bias is None else bias * std + mean
        return weight * std[:, None], bias, names

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

    def background(self, graph: Graph) -> None:
        """Tell a classifier those of its labels that stand for nothing said. Raises Error."""
        if not (names := self.texts("background")):
            return
        if graph.task != "classify":
            raise self.refusal("background", names, "none where the task is " + graph.task)
        for name in names:
            if name not in graph.labels:
                raise Error(
                    f"{self.path}: background has {name!r}, expected some of the labels: "
                    f"{', '.join(graph.labels)}"
                )
        if len(set(names)) == len(graph.labels):
            raise Error(f"{self.path}: background has all labels; one at least must be an event")
        graph.meta["background"] = list(dict.fromkeys(names))

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


def _or(value: Any, default: Any) -> Any:
    """A field, or what stands for one that is null or absent."""
    return default if value is None else value
