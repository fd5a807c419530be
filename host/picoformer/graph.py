"""The float graph: what an importer makes of a checkpoint, and what is quantized and compiled.

A graph is a list of nodes over named values; every value is a vector per position. Importers
know architectures, nothing behind them does: Llama, GPT-2 or BERT are arrangements of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Error

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
    """out = the pixels of a patch less 128, (elements,), zeros for a class token in front."""

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
    Embedding | Patches | Norm | LayerNorm | Linear | Keep | Attention | Gate | Add | Pool
)
TENSORS = "weight", "gain", "bias"


def tensors(node: Node) -> list[Array]:
    """The trained tensors of a node."""
    found = (getattr(node, name, None) for name in TENSORS)
    return [t for t in found if t is not None]


@dataclass
class Graph:
    """A model in floating point.

    task: "generate", "classify", "embed", "translate" or "answer". The result is the value
    "logits", whose size is the vocabulary or the number of labels; for embed the pooled value
    itself, for answer the value "span" of each position: logits of a start and of an end.
    encoder: nodes that run first, over a source. image: (height, width, channels, patch, class
    tokens) where patches of pixels are fed in the place of tokens.
    """

    nodes: list[Node]
    vocab: int
    context: int
    bos: int = -1
    eos: int = -1
    meta: dict[str, Any] = field(default_factory=dict)
    task: str = "generate"
    labels: list[str] = field(default_factory=list)
    encoder: list[Node] = field(default_factory=list)
    image: tuple[int, int, int, int, int] | None = None

    @property
    def whole(self) -> bool:
        """Whether an input must be run at once: attention looks ahead, or positions are pooled."""
        return self.task != "generate"

    @property
    def result(self) -> str:
        """The value that comes out."""
        if self.task == "embed":
            return next(n.x for n in self.nodes if isinstance(n, Pool))
        return "span" if self.task == "answer" else "logits"

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
        size: dict[str, int] = {}

        def expect(value: str, n: int, what: str) -> None:
            if size.get(value) != n:
                raise Error(f"{what}: {value} has {size.get(value)} elements, expected {n}")

        for node in self.encoder + self.nodes:
            for tensor in tensors(node):
                if not np.isfinite(tensor).all():
                    raise Error("the checkpoint has infinite or NaN values")
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
            elif isinstance(node, Linear):
                expect(node.x, node.weight.shape[1], node.name)
                size[node.out] = node.weight.shape[0]
            elif isinstance(node, Attention):
                expect(node.q, node.heads * node.size, "attention")
                expect(node.k, node.kv_heads * node.size, "attention")
                expect(node.v, node.kv_heads * node.size, "attention")
                odd = node.frequencies is not None and node.size % 2
                if odd or node.heads % node.kv_heads:
                    raise Error(
                        f"attention of {node.heads} heads of {node.size} over {node.kv_heads}: "
                        "a rotated head size must be even, and key heads must divide the heads"
                    )
                if node.bias is not None:
                    given = node.bias.shape, () if node.buckets is None else node.buckets.shape
                    if given != ((len(node.bias), node.heads), (2 * self.context - 1,)):
                        raise Error(
                            f"attention's bias and buckets have shapes {given}, expected (rows, "
                            f"{node.heads}) and ({2 * self.context - 1},)"
                        )
                    if node.cross:
                        raise Error("attention to another text has no distances to be biased by")
                size[node.out] = node.heads * node.size
            elif isinstance(node, Gate):
                if node.u is not None:
                    expect(node.u, size.get(node.g, 0), "gate")
                size[node.out] = size[node.g]
            elif isinstance(node, Add):
                expect(node.y, size.get(node.x, 0), "residual")
        expected = {"classify": len(self.labels), "answer": 2}.get(self.task, self.vocab)
        if self.task != "embed" and size.get(self.result) != expected:
            raise Error(f"the model makes {size.get(self.result)} logits, expected {expected}")


def silu(x: Array) -> Array:
    """x * sigmoid(x), by a tangent that no x overflows."""
    return x * (0.5 * np.tanh(0.5 * x) + 0.5)


def gelu(x: Array) -> Array:
    """x times the normal distribution's cumulative function, by erf (Hugging Face's "gelu")."""
    return 0.5 * x * (1 + _erf(x * np.sqrt(0.5).astype(x.dtype)))


# erf and its slope at multiples of 1/512, up to where erf is 1 in double precision
_ERF_STEPS = 512
_ERF_AT = np.array([erf(i / _ERF_STEPS) for i in range(6 * _ERF_STEPS + 1)])
_ERF_SLOPE = 2 / np.sqrt(np.pi) * np.exp(-((np.arange(_ERF_AT.size) / _ERF_STEPS) ** 2))


def _erf(x: Array) -> Array:
    """The error function in double precision: Taylor's series about the nearest table entry.

    The series' first term that is left out is below 3e-16.
    """
    # fmin: not a number counts as the end, and gelu multiplies by it
    a = np.fmin(np.abs(x), (_ERF_AT.size - 1) / _ERF_STEPS, dtype=np.float64)
    at = np.rint(a * _ERF_STEPS).astype(np.intp)
    c = at / _ERF_STEPS
    d = a - c
    c2 = c * c
    series = 1 + d * (-c + d * ((2 * c2 - 1) / 3 + d * (c * (3 - 2 * c2) / 6)))
    return np.copysign(_ERF_AT[at] + _ERF_SLOPE[at] * d * series, x)


def gelu_tanh(x: Array) -> Array:
    """The approximation by a tangent that GPT-2 uses (Hugging Face's "gelu_new")."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi).astype(x.dtype) * (x + 0.044715 * x**3)))


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": silu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": relu,
    "tanh": np.tanh,
}


class FloatModel:
    """Runs a graph in floating point, position after position, for a batch of sequences.

    amax maps each value's name to the largest magnitude seen so far: the calibration.
    """

    def __init__(self, graph: Graph, dtype: Any = np.float64) -> None:
        self.graph = graph
        self.dtype = dtype
        self.amax: dict[str, float] = {}
        self.caches: dict[str, tuple[Array, Array]] = {}
        self.past = 0
        # Called with (name, value) for what each node makes, pooling aside: for inspection.
        self.tap: Callable[[str, Array], None] | None = None
        self.weights = {
            id(t): np.asarray(t, dtype)
            for n in graph.encoder + graph.nodes
            for t in tensors(n)
        }

    def forward(
        self, tokens: Array, types: Array | None = None, source: Array | None = None
    ) -> Array:
        """Append tokens (batch, n) to the sequences; return results (batch, n, outputs).

        n is 1 in the result where positions are pooled. For an image, tokens is (batch, n,
        elements). types (batch, n): 0 or 1, the text that a token is of. source (batch, m): what
        the encoder reads, with the first tokens.
        """
        if source is not None:
            self._nodes(self.graph.encoder, source, None, 0)
        past = self.past
        self.past += tokens.shape[1]
        return self._nodes(self.graph.nodes, tokens, types, past)[self.graph.result]

    def _nodes(
        self, nodes: list[Node], tokens: Array, types: Array | None, past: int,
        v: dict[str, Array] | None = None,
    ) -> dict[str, Array]:  # fmt: skip
        v = {} if v is None else v
        t_new = tokens.shape[1]

        def w(t: Array) -> Array:
            return self.weights[id(t)]

        for node in nodes:
            if isinstance(node, Embedding):
                out = node.out
                if node.by == "position":
                    y = v[out] + w(node.weight)[past : past + t_new]
                elif node.by == "type":
                    y = v[out] + w(node.weight)[np.zeros_like(tokens) if types is None else types]
                else:
                    y = w(node.weight)[tokens]
            elif isinstance(node, Patches):
                out, y = node.out, np.asarray(tokens, self.dtype)
            elif isinstance(node, Keep):
                shape = (*tokens.shape[:2], node.heads, node.size)
                self.caches[node.k] = v[node.k].reshape(shape), v[node.v].reshape(shape)
                continue
            elif isinstance(node, LayerNorm):
                x = v[node.x]
                x = x - x.mean(-1, keepdims=True)
                scale = np.sqrt((x * x).mean(-1, keepdims=True) + self.dtype(node.eps))
                out, y = node.out, x / scale * w(node.gain) + w(node.bias)
            elif isinstance(node, Norm):
                x = v[node.x]
                scale = np.sqrt((x * x).mean(-1, keepdims=True) + self.dtype(node.eps))
                out, y = node.out, x / scale * w(node.gain)
            elif isinstance(node, Linear):
                out, y = node.out, v[node.x] @ w(node.weight).T
                if node.bias is not None:
                    y = y + w(node.bias)
            elif isinstance(node, Gate):
                out, y = node.out, ACTIVATIONS[node.activation](v[node.g]).astype(self.dtype)
                if node.u is not None:
                    y = y * v[node.u]
            elif isinstance(node, Pool):
                out, x = node.x, v[node.x]
                one = {"first": x[:, :1], "last": x[:, -1:]}
                y = one[node.how] if node.how in one else x.mean(1, keepdims=True)
            elif isinstance(node, Add):
                out, y = node.x, v[node.x] + v[node.y]
            else:
                out, y = node.out, self._attention(node, v, t_new)
            v[out] = y
            if self.tap and not isinstance(node, Pool):
                self.tap(out, y)
            self.amax[out] = max(self.amax.get(out, 0.0), float(np.abs(y).max()))
        return v

    def _attention(self, a: Attention, v: dict[str, Array], t_new: int) -> Array:
        shape = (v[a.q].shape[0], t_new, -1, a.size)
        if a.cross:
            return self._weigh(a, v[a.q].reshape(shape), *self.caches[a.k], None, 0)
        past = self.caches[a.out][0].shape[1] if a.out in self.caches else 0
        frequencies = np.zeros(0) if a.frequencies is None else a.frequencies
        angle = np.outer(np.arange(past, past + t_new), frequencies)[:, None, :]
        cos, sin = np.cos(angle).astype(self.dtype), np.sin(angle).astype(self.dtype)

        def rotate(x: Array) -> Array:
            x = x.reshape(shape)
            if a.frequencies is None:
                return x
            x0, x1 = np.split(x, 2, axis=-1)
            return np.concatenate([x0 * cos - x1 * sin, x0 * sin + x1 * cos], -1)

        q, k, val = rotate(v[a.q]), rotate(v[a.k]), v[a.v].reshape(shape)
        if past:
            k = np.concatenate([self.caches[a.out][0], k], 1)
            val = np.concatenate([self.caches[a.out][1], val], 1)
        self.caches[a.out] = (k, val)
        allowed = np.arange(past + t_new)[None, :] <= past + np.arange(t_new)[:, None]
        return self._weigh(a, q, k, val, allowed if a.causal else None, past)

    def _weigh(
        self, a: Attention, q: Array, k: Array, val: Array, allowed: Array | None, past: int
    ) -> Array:
        share = a.heads // a.kv_heads
        kk = np.repeat(k, share, axis=2).transpose(0, 2, 3, 1)
        vv = np.repeat(val, share, axis=2).transpose(0, 2, 1, 3)
        s = q.transpose(0, 2, 1, 3) @ kk * self.dtype(a.factor)
        last = k.shape[1] - 1
        lean = a.lean(last, last)
        if lean is not None:
            far = np.arange(last + 1) - np.arange(past, past + q.shape[1])[:, None]
            s = s + lean.astype(self.dtype)[:, far + last]
        if allowed is not None:
            s = np.where(allowed, s, -np.inf)
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return (p @ vv).transpose(0, 2, 1, 3).reshape(*q.shape[:2], -1)


def log_softmax(z: Array) -> Array:
    """Natural logarithm of softmax over the last axis."""
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def sample(
    graph: Graph, sequences: int, length: int, seed: int = 0, source: Array | None = None
) -> tuple[Array, FloatModel]:
    """Token ids (sequences, length) that the float model itself writes at temperature 1.

    source (n,): what a translator translates. Sequences begin with BOS (or token 0). Returns the
    ids and the model that ran them, whose `amax` covers them.
    """
    rng = np.random.default_rng(seed)
    model = FloatModel(graph, np.float32)
    tokens = np.full((sequences, 1), max(graph.bos, 0), np.int64)
    out = [tokens]
    read = None if source is None else np.repeat(np.asarray(source)[None], sequences, 0)
    for i in range(length - 1):
        logits = model.forward(tokens, source=None if i else read)[:, -1]
        # Gumbel noise turns the largest into a sample.
        noise = -np.log(-np.log(rng.random(logits.shape) * 0.999999 + 5e-7))
        tokens = (logits + noise).argmax(-1)[:, None]
        out.append(tokens)
    model.forward(tokens)
    return np.concatenate(out, 1), model
