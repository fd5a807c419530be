"""The float graph: what an importer makes of a checkpoint, and what is quantized and compiled.

A graph is a list of nodes over named values; every value is a vector per position. Importers
know architectures, nothing behind them does: Llama, GPT-2 or BERT are arrangements of these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Error
from .frames import Frames

Array = NDArray[Any]


@dataclass(frozen=True)
class Embedding:
    """out = weight[token], weight (vocab, dim).

    Or added to out: by the "position", weight (context, dim), or the "type" of the token: of the
    first or the second text, weight (2, dim).
    """

    out: str
    weight: Array
    by: str = "token"


@dataclass(frozen=True)
class Patches:
    """out = a patch of the input, (elements,), zeros for a class token in front.

    Of an image pixels less 128, of frames a window as `Frames` has it.
    """

    out: str
    elements: int


@dataclass(frozen=True)
class Keep:
    """The keys and values (heads, size) of a source, which `Attention` of that k and v reads."""

    k: str
    v: str
    heads: int
    size: int


@dataclass(frozen=True)
class Norm:
    """out = x / sqrt(mean(x^2) + eps) * gain (RMSNorm); gain (dim,)."""

    x: str
    out: str
    gain: Array
    eps: float


@dataclass(frozen=True)
class HeadNorm:
    """out = each head of x as `Norm` has it; x (heads, size), gain (size,), the same for all.

    What an attention or a residual takes, not a linear: `Norm` is for those.
    """

    x: str
    out: str
    heads: int
    size: int
    gain: Array
    eps: float


@dataclass(frozen=True)
class LayerNorm:
    """out = (x - mean) / sqrt(variance + eps) * gain + bias; out may be x. gain, bias (dim,)."""

    x: str
    out: str
    gain: Array
    bias: Array
    eps: float


@dataclass(frozen=True)
class Linear:
    """out = weight @ x + bias; weight (rows, columns), bias (rows,) or None."""

    x: str
    out: str
    weight: Array
    name: str
    bias: Array | None = None


@dataclass(frozen=True)
class Attention:
    """Attention of q (heads, size) over k, v (kv_heads, size) of all positions.

    causal: of the positions so far. q and k are rotated first, where there are frequencies:
    element i of a head with element i + size/2, by the angle position * frequencies[i] (Hugging
    Face's convention; frequencies (size/2,), radians). A score is the product of q and k times
    scale, 1 / sqrt(size) where that is None, plus bias[buckets[context - 1 + j - i]] for q at
    position i and k at j: bias (rows, heads), buckets (2 * context - 1,) rows of it.
    """

    q: str
    k: str
    v: str
    out: str
    heads: int
    kv_heads: int
    size: int
    frequencies: Array | None = None
    causal: bool = True
    cross: bool = False  # over what the encoder kept
    scale: float | None = None
    bias: Array | None = None
    buckets: Array | None = None

    @property
    def factor(self) -> float:
        """What a product of q and k is multiplied by."""
        return float(1 / np.sqrt(self.size)) if self.scale is None else self.scale

    def lean(self, behind: int, ahead: int) -> Array | None:
        """The bias (heads, behind + 1 + ahead) of distances from -behind to ahead, if any."""
        if self.bias is None or self.buckets is None:
            return None
        own = len(self.buckets) // 2
        # An odd context is run with a position more, which is as far as the one before it.
        at = np.clip(np.arange(own - behind, own + ahead + 1), 0, len(self.buckets) - 1)
        return np.ascontiguousarray(self.bias[self.buckets[at]].T)

    def check(self, context: int) -> None:
        """Raise Error for heads that do not fit, or a bias not made for a context."""
        odd = self.frequencies is not None and self.size % 2
        if odd or self.heads % self.kv_heads:
            raise Error(
                f"attention of {self.heads} heads of {self.size} over {self.kv_heads}: "
                "a rotated head size must be even, and key heads must divide the heads"
            )
        if self.bias is not None:
            given = self.bias.shape, () if self.buckets is None else self.buckets.shape
            if given != ((len(self.bias), self.heads), (2 * context - 1,)):
                raise Error(
                    f"attention's bias and buckets have shapes {given}, expected (rows, "
                    f"{self.heads}) and ({2 * context - 1},)"
                )
            if self.cross:
                raise Error("attention to another text has no distances to be biased by")


@dataclass(frozen=True)
class Gate:
    """out = activation(g) * u, element by element; activation(g) where u is None."""

    g: str
    u: str | None
    out: str
    activation: str = "silu"


@dataclass(frozen=True)
class Add:
    """x += y: the residual connection."""

    x: str
    y: str


@dataclass(frozen=True)
class Pool:
    """x of the "first" or "last" position, or the "mean" of all; the nodes behind it see one."""

    x: str
    how: str


Node = (
    Embedding | Patches | Norm | HeadNorm | LayerNorm | Linear | Keep | Attention | Gate | Add
    | Pool
)
TENSORS = "weight", "gain", "bias"


def tensors(node: Node) -> list[Array]:
    """The trained tensors of a node."""
    found = (getattr(node, name, None) for name in TENSORS)
    return [t for t in found if t is not None]


@dataclass
class Graph:
    """A model in floating point.

    task: "generate", "classify", "embed", "translate", "answer", "tag" or "predict". The result is
    the value "logits", whose size is the vocabulary or the number of labels, or the numbers that
    are predicted; for embed the pooled value itself, for answer the value "span" of each position:
    logits of a start and of an end; for tag "tags" of each: logits of labels. labels: of predicted
    numbers their names, if they have any. several: each label holds or not by itself. ends: tokens
    that end a text. encoder: nodes that run first, over a source. image: (height, width,
    channels, patch, class tokens) where patches of pixels are fed in the place of tokens; frames:
    where windows of a signal are. chat: as in the metadata.
    """

    nodes: list[Node]
    vocab: int
    context: int
    bos: int = -1
    ends: tuple[int, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    task: str = "generate"
    labels: list[str] = field(default_factory=list)
    several: bool = False
    encoder: list[Node] = field(default_factory=list)
    image: tuple[int, ...] | None = None
    frames: Frames | None = None
    chat: dict[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether an input must be run at once: attention looks ahead, or positions are pooled."""
        return self.task != "generate"

    @property
    def result(self) -> str:
        """The value that comes out."""
        if self.task == "embed":
            return next(n.x for n in self.nodes if isinstance(n, Pool))
        return {"answer": "span", "tag": "tags"}.get(self.task, "logits")

    @property
    def parameters(self) -> int:
        """Number of trained parameters; a shared matrix counts once."""
        seen: dict[int, int] = {}
        for node in self.encoder + self.nodes:
            for tensor in tensors(node):
                seen[id(tensor)] = tensor.size
        return sum(seen.values())

    def check(self) -> None:
        """Raise Error if shapes do not fit one another or a tensor is not finite."""
        if self.frames:
            self.frames.check()
        for node in self.encoder + self.nodes:
            for tensor in tensors(node):
                if not np.isfinite(tensor).all():
                    raise Error("the checkpoint has infinite or NaN values")
        size = self.sizes()
        labels = len(self.labels)
        expected = {"classify": labels, "tag": labels, "answer": 2}.get(self.task, self.vocab)
        if self.task == "predict":  # as many as the head makes
            expected = labels or size.get(self.result, 1)
        if self.task != "embed" and size.get(self.result) != expected:
            raise Error(f"the model makes {size.get(self.result)} logits, expected {expected}")

    def sizes(self) -> dict[str, int]:
        """The elements of each value. Raises Error if shapes do not fit one another."""
        size: dict[str, int] = {}

        def expect(value: str, n: int, what: str) -> None:
            if size.get(value) != n:
                raise Error(f"{what}: {value} has {size.get(value)} elements, expected {n}")

        for node in self.encoder + self.nodes:
            if isinstance(node, Embedding):
                if node.by != "token":
                    expect(node.out, node.weight.shape[1], f"{node.by} embedding")
                    if node.by == "position" and len(node.weight) < self.context:
                        raise Error(f"{len(node.weight)} positions for {self.context} tokens")
                size[node.out] = node.weight.shape[1]
            elif isinstance(node, Patches):
                size[node.out] = node.elements
            elif isinstance(node, Keep):
                expect(node.k, node.heads * node.size, "kept keys")
                expect(node.v, node.heads * node.size, "kept values")
            elif isinstance(node, Norm | LayerNorm):
                expect(node.x, node.gain.shape[0], "norm")
                size[node.out] = node.gain.shape[0]
            elif isinstance(node, HeadNorm):
                expect(node.x, node.heads * node.size, "norm of heads")
                if node.gain.shape != (node.size,):
                    raise Error(f"{node.gain.shape} gains of heads of {node.size}")
                size[node.out] = size[node.x]
            elif isinstance(node, Linear):
                expect(node.x, node.weight.shape[1], node.name)
                size[node.out] = node.weight.shape[0]
            elif isinstance(node, Attention):
                expect(node.q, node.heads * node.size, "attention")
                expect(node.k, node.kv_heads * node.size, "attention")
                expect(node.v, node.kv_heads * node.size, "attention")
                node.check(self.context)
                size[node.out] = node.heads * node.size
            elif isinstance(node, Gate):
                if node.u is not None:
                    expect(node.u, size.get(node.g, 0), "gate")
                size[node.out] = size[node.g]
            elif isinstance(node, Add):
                expect(node.y, size.get(node.x, 0), "residual")
        return size
