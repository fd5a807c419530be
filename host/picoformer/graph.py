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
    """out = weight[token], weight (vocab, dim); or by position, added, weight (context, dim)."""

    out: str
    weight: Array
    position: bool = False


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
    Face's convention; frequencies (size/2,), radians).
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
    """x of the "first" position, or the "mean" of all; the nodes behind it see one position."""

    x: str
    how: str


Node = Embedding | Norm | LayerNorm | Linear | Attention | Gate | Add | Pool
TENSORS = "weight", "gain", "bias"


def tensors(node: Node) -> list[Array]:
    """The trained tensors of a node."""
    found = (getattr(node, name, None) for name in TENSORS)
    return [t for t in found if t is not None]


@dataclass
class Graph:
    """A model in floating point.

    task: "generate", "classify" or "embed". The result is the value "logits", whose size is the
    vocabulary or the number of labels, or for embed the pooled value itself.
    """

    nodes: list[Node]
    vocab: int
    context: int
    bos: int = -1
    eos: int = -1
    meta: dict[str, Any] = field(default_factory=dict)
    task: str = "generate"
    labels: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether an input must be run at once: attention looks ahead, or positions are pooled."""
        return any(
            isinstance(n, Pool) or (isinstance(n, Attention) and not n.causal) for n in self.nodes
        )

    @property
    def result(self) -> str:
        """The value that comes out."""
        if self.task == "embed":
            return next(n.x for n in self.nodes if isinstance(n, Pool))
        return "logits"

    @property
    def parameters(self) -> int:
        """Number of trained parameters; a shared matrix counts once."""
        seen: dict[int, int] = {}
        for node in self.nodes:
            for tensor in tensors(node):
                seen[id(tensor)] = tensor.size
        return sum(seen.values())

    def check(self) -> None:
        """Raise Error if shapes do not fit one another or a tensor is not finite."""
        size: dict[str, int] = {}

        def expect(value: str, n: int, what: str) -> None:
            if size.get(value) != n:
                raise Error(f"{what}: {value} has {size.get(value)} elements, expected {n}")

        for node in self.nodes:
            for tensor in tensors(node):
                if not np.isfinite(tensor).all():
                    raise Error("the checkpoint has infinite or NaN values")
            if isinstance(node, Embedding):
                if node.position:
                    expect(node.out, node.weight.shape[1], "position embedding")
                    if len(node.weight) < self.context:
                        raise Error(f"{len(node.weight)} positions for {self.context} tokens")
                size[node.out] = node.weight.shape[1]
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
                size[node.out] = node.heads * node.size
            elif isinstance(node, Gate):
                if node.u is not None:
                    expect(node.u, size.get(node.g, 0), "gate")
                size[node.out] = size[node.g]
            elif isinstance(node, Add):
                expect(node.y, size.get(node.x, 0), "residual")
        expected = {"generate": self.vocab, "classify": len(self.labels)}.get(self.task)
        if expected is not None and size.get("logits") != expected:
            raise Error(f"the model makes {size.get('logits')} logits, expected {expected}")


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
            for n in graph.nodes
            for t in tensors(n)
        }

    def forward(self, tokens: Array) -> Array:
        """Append tokens (batch, n) to the sequences; return results (batch, n, outputs).

        n is 1 in the result where positions are pooled.
        """
        v: dict[str, Array] = {}
        t_new = tokens.shape[1]
        past = self.past
        self.past += t_new

        def w(t: Array) -> Array:
            return self.weights[id(t)]

        for node in self.graph.nodes:
            if isinstance(node, Embedding):
                out = node.out
                if node.position:
                    y = v[out] + w(node.weight)[past : past + t_new]
                else:
                    y = w(node.weight)[tokens]
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
                y = x[:, :1] if node.how == "first" else x.mean(1, keepdims=True)
            elif isinstance(node, Add):
                out, y = node.x, v[node.x] + v[node.y]
            else:
                out, y = node.out, self._attention(node, v, t_new)
            v[out] = y
            if self.tap and not isinstance(node, Pool):
                self.tap(out, y)
            self.amax[out] = max(self.amax.get(out, 0.0), float(np.abs(y).max()))
        return v[self.graph.result]

    def _attention(self, a: Attention, v: dict[str, Array], t_new: int) -> Array:
        shape = (v[a.q].shape[0], t_new, -1, a.size)
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
        share = a.heads // a.kv_heads
        kk = np.repeat(k, share, axis=2).transpose(0, 2, 3, 1)
        vv = np.repeat(val, share, axis=2).transpose(0, 2, 1, 3)
        s = q.transpose(0, 2, 1, 3) @ kk / np.sqrt(a.size).astype(self.dtype)
        allowed = np.arange(past + t_new)[None, :] <= past + np.arange(t_new)[:, None]
        s = np.where(allowed | (not a.causal), s, -np.inf)
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return (p @ vv).transpose(0, 2, 1, 3).reshape(*shape[:2], -1)


def log_softmax(z: Array) -> Array:
    """Natural logarithm of softmax over the last axis."""
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def sample(graph: Graph, sequences: int, length: int, seed: int = 0) -> tuple[Array, FloatModel]:
    """Token ids (sequences, length) that the float model itself writes at temperature 1.

    Sequences begin with BOS (or token 0). Returns the ids and the model that ran them, whose
    `amax` covers them.
    """
    rng = np.random.default_rng(seed)
    model = FloatModel(graph, np.float32)
    tokens = np.full((sequences, 1), max(graph.bos, 0), np.int64)
    out = [tokens]
    for _ in range(length - 1):
        logits = model.forward(tokens)[:, -1]
        # Gumbel noise turns the largest into a sample.
        noise = -np.log(-np.log(rng.random(logits.shape) * 0.999999 + 5e-7))
        tokens = (logits + noise).argmax(-1)[:, None]
        out.append(tokens)
    model.forward(tokens)
    return np.concatenate(out, 1), model
