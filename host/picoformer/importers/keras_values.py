"""What tensors of a Keras model are while its layers are walked, and how one becomes nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.frames import Frames
from ..graph.nodes import Array, Embedding, LayerNorm, Linear, Node, Patches
from ..tokenizers.words import Words
from .description import Description
from .keras_file import Call, KerasFile, Key, Ref
from .signals import Scale, embed_frames


@dataclass
class Text:
    """The text."""


@dataclass
class Tokens:
    """The token ids."""


@dataclass
class Signal:
    """The numbers of a signal, (number - mean) / std, both (channels,), in the Input's own units.

    told: a layer has them so. window: rows that lie side by side. flat: without an axis of 1
    behind the channels.
    """

    mean: Array
    std: Array
    told: bool = False
    window: int = 1
    flat: bool = True


@dataclass
class Steps:
    """One number of each position, whichever."""


@dataclass
class Index:
    """Of each position i the number slope * i + start; the positions are slope 1, start 0."""

    slope: int
    start: int


@dataclass
class Rows:
    """A sum of rows: by the token, and by the position; x, once that is made of it.

    Of a signal the token is a linear, of its windows.
    """

    token: Array | Linear | None = None
    position: Array | None = None
    made: bool = False


@dataclass
class Grid:
    """Rows that lie (down, across), each of so many units, as a Conv2D makes them: shape."""

    rows: Rows
    shape: tuple[int, int, int]


@dataclass
class Vector:
    """A value of the graph; version: of x, which changes. last: a linear still to be put down."""

    name: str
    version: int
    last: Linear | None = None
    end: str = ""  # softmax or sigmoid: nothing may follow


Value = Text | Tokens | Signal | Steps | Index | Rows | Grid | Vector


class Values(KerasFile):
    """A file, the nodes made so far, and the value of each tensor; `call` is the layer at hand."""

    def __init__(self, path: Path, given: Description) -> None:
        super().__init__(path)
        self.given = given
        self.words: Words | None = None
        self.uses: dict[Key, int] = {}  # that are still to come
        self.values: dict[Key, Value] = {}
        self.matrices: dict[str, Array] = {}
        self.makers: dict[str, str] = {}  # the layer of each value
        self.nodes: list[Node] = []
        self.version = 0  # of x
        self.changed = ""  # the layer that did it last
        self.pooled = False
        self.lengths: list[tuple[int, str]] = []  # positions there are, and what says so
        self.call = Call("", "", "", False, {}, [], {})
        self.vocab = 0
        self.frames: Frames | None = None
        self.scale: Scale | None = None  # as the description has it
        self.windowed = False  # a layer reads the windows

    def refusal(self, seen: str, supported: str) -> Error:
        """The error for what the layer at hand has."""
        c = self.call
        return Error(f"{self.path}: layer {c.name!r} ({c.kind}): {seen}; supported: {supported}")

    def tensor(self, part: str, index: int, *shape: int) -> Array:
        """A weight of the layer at hand; a size of 0 may be any. Raises Error."""
        return self.weight(f"{self.call.path}/{part}vars/{index}", *shape)

    def key(self, argument: Any) -> Key:
        if not isinstance(argument, Ref):
            raise self.refusal(f"an argument is {str(argument)[:60]}", "what a layer makes")
        return self.root_of(argument.key)

    def put(self, rows: Rows) -> Vector:
        """x, made of the sum of embeddings."""
        if not rows.made:
            if rows.token is None or any(
                isinstance(n, Embedding | Patches) for n in self.nodes
            ):
                raise self.refusal("it takes positions alone, or a second text", "one text")
            if isinstance(rows.token, Linear):
                assert self.frames
                t, self.vocab = rows.token, 1
                self.nodes += embed_frames(
                    self.frames, t.weight, t.bias, t.name, rows.position, None
                )
            else:
                self.nodes.append(Embedding("x", rows.token))
                if rows.position is not None:
                    self.nodes.append(Embedding("x", rows.position, by="position"))
            if rows.position is not None:
                self.lengths.append((len(rows.position), "the table of positions"))
            rows.made = True
        return Vector("x", 0)

    def fresh(self, v: Vector) -> None:
        """Raise Error if x has changed since."""
        if (v.last.x if v.last else v.name) == "x" and v.version != self.version:
            raise self.refusal(
                f"it takes what {self.changed!r} has changed in the meantime",
                "layers one behind the other, with residuals",
            )

    def vector(self, argument: Any) -> Vector:
        """A value that a layer reads, put down. Raises Error."""
        value = self.values[self.key(argument)]
        if isinstance(value, Rows):
            value = self.put(value)
        if isinstance(value, Signal):
            raise self.refusal(
                "it takes the signal itself", "a Dense, Conv1D or Conv2D in front of it"
            )
        if isinstance(value, Grid):
            units = value.shape[2]
            raise self.refusal("it takes patches in rows", f"Reshape((-1, {units})) in front")
        if not isinstance(value, Vector):
            raise self.refusal("it takes the tokens themselves", "an Embedding in front of it")
        if value.end:
            raise self.refusal(f"it takes a {value.end}", f"{value.end} at the end only")
        self.fresh(value)
        if value.last is not None:
            self.nodes.append(value.last)
            value.last = None
        return value

    def alone(self, argument: Any) -> bool:
        """Whether no layer behind the one at hand uses it."""
        return self.uses[self.key(argument)] == 0

    def x(self, argument: Any) -> None:
        """Take x, to change it. Raises Error where the argument is not x, or is used elsewhere."""
        v = self.vector(argument)
        if v.name != "x" or not self.alone(argument):
            raise self.refusal(
                f"it changes {v.name}, which others use" if v.name == "x" else "it takes a branch",
                "layers one behind the other, with residuals",
            )

    def change(self) -> Vector:
        self.version += 1
        self.changed = self.call.name
        return Vector("x", self.version)

    def option(self, name: str, *supported: Any) -> None:
        """Raise Error unless a field of the layer is absent or has one of these values."""
        value = self.call.config.get(name, supported[0])
        if value not in supported:
            raise self.refusal(f"{name} is {value!r}", repr(supported[0]))

    def one(self) -> Any:
        """The only argument that is a tensor."""
        found = list(self.call.inputs())
        if len(found) != 1:
            raise self.refusal(f"{len(found)} arguments", "one")
        return Ref(found[0])

    def plain(self) -> None:
        """Raise Error for weights that are not stored as they are."""
        for name in "quantization_config", "lora_rank":
            self.option(name, None)

    def linear(self, x: Vector, out: str, weight: Array, bias: Array | None) -> Linear:
        # A layer that is used twice has its matrix once.
        matrix = self.matrices.setdefault(
            f"{self.call.path}.{out.partition('.')[2]}", np.ascontiguousarray(weight)
        )
        return Linear(x.name, out, matrix, f"{self.call.name}.{out}", bias)

    def width(self, v: Vector) -> int:
        """Elements of a value."""
        for node in reversed(self.nodes):
            if getattr(node, "out", None) == v.name:
                if isinstance(node, Embedding):
                    return int(node.weight.shape[1])
                if isinstance(node, LayerNorm | Linear):
                    return len(node.gain if isinstance(node, LayerNorm) else node.weight)
        return 0  # of an activation: any
