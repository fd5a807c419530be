"""A program while it is made: its steps, and what is known of the values between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import Error
from ..graph.nodes import Array, Gate, Graph, Linear, Node
from .matrices import Matrix, Matrix4
from .steps import FIELDS
from .tables import Tables
from .weights import Weights

LOGITS = ":logits"  # behind the first frame, once that is planned


@dataclass(frozen=True)
class Ref:
    """A word of a value in the frame; becomes an operand once the frame is planned."""

    value: str
    offset: int = 0


@dataclass
class DraftStep:
    """One step before planning: an operation and its fields, in their order."""

    op: str
    fields: dict[str, int | Ref]
    value: str = ""  # what it makes
    bits: int = 0  # fraction bits of that


class Draft:
    """The steps so far, with the tables, the weights and the caches that they name.

    amax: the largest magnitude of each value, from calibration. context: positions. key_bits,
    value_bits: of the caches.
    """

    def __init__(
        self, graph: Graph, amax: dict[str, float], context: int, weights: Weights,
        key_bits: int, value_bits: int,
    ) -> None:  # fmt: skip
        self.nodes: list[Node] = graph.encoder + graph.nodes
        self.amax = amax
        self.context = context
        self.weights = weights
        self.tables = Tables()
        self.key_bits = key_bits
        self.value_bits = value_bits
        self.steps: list[DraftStep] = []
        # By the value that each makes: the integers, and the weights that they were.
        self.matrices: dict[str, tuple[Matrix | Matrix4, Array]] = {}
        self.body = 0  # first step behind the encoder
        self.head = 0  # and behind the body
        # Values
        self.size = graph.sizes()  # elements
        self.words: dict[str, int] = {}  # of each in the frame
        self.bits: dict[str, int] = {}  # fraction bits
        self.inside: dict[str, tuple[str, int]] = {}  # value -> (buffer, offset)
        self.dynamic: dict[str, Ref] = {}  # value -> the word with its own exponent
        self.version: dict[str, int] = {}  # how often a value has changed in place
        self.patches = ""  # that an image's patches are
        self.frames = graph.frames
        self.sound = 0  # operand of what makes its rows
        self.gates = {n.g for n in self.nodes if isinstance(n, Gate)}
        self.narrow = {n.x for n in self.nodes if isinstance(n, Linear) and weights.four(n)}
        # Caches
        self.caches: list[int] = []  # words of each for two positions
        self.cache_of: dict[tuple[int, int], int] = {}  # by heads and size, where they are shared
        self.cache = 0  # that was stored last
        self.kept: dict[str, int] = {}  # of a source, by the keys' name

    def emit(self, op: str, value: str = "", **fields: int | Ref) -> None:
        """A step, by all of its fields' names. value: what it makes. `check` has the limits."""
        if fields.keys() != FIELDS[op].keys():
            raise TypeError(f"the fields of {op} are {[*FIELDS[op]]}, not {[*fields]}")
        ordered = {name: fields[name] for name in FIELDS[op]}
        self.steps.append(DraftStep(op, ordered, value, self.bits.get(value, 0)))

    def ref(self, value: str) -> Ref:
        return Ref(*self.inside.get(value, (value, 0)))

    def changed(self, value: str) -> None:
        """What was made of the value's former content is of no use any more."""
        self.version[value] = self.version.get(value, 0) + 1

    def point(self, value: str, top: int, limit: int = 24) -> int:
        """Fraction bits that bring the calibrated largest magnitude below 2**top."""
        amax = max(self.amax.get(value, 0.0), 2.0**-20)
        if not np.isfinite(amax):
            raise Error(
                f"{value!r} grows to {amax} in the float model: its weights are too large for "
                "float32; is the checkpoint damaged?"
            )
        return min(limit, top - int(np.ceil(np.log2(amax))))

    def output_point(self, n: Linear) -> int:
        """Fraction bits of a linear's output; a gate's activation takes 8 to 16."""
        if n.out in self.gates:
            return max(self.point(n.out, 19, 16), 8)
        return self.point(n.out, 19)
