"""Running a graph in floating point: the reference, the calibration, samples of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .activations import ACTIVATIONS
from .nodes import (
    Add,
    Array,
    Attention,
    Embedding,
    Gate,
    Graph,
    HeadNorm,
    Keep,
    LayerNorm,
    Linear,
    Node,
    Norm,
    Patches,
    Pool,
    tensors,
)


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
            self.run(self.graph.encoder, {}, source, None, 0)
        past = self.past
        self.past += tokens.shape[1]
        return self.run(self.graph.nodes, {}, tokens, types, past)[self.graph.result]

    def run(
        self, nodes: list[Node], v: dict[str, Array], tokens: Array, types: Array | None,
        past: int,
    ) -> dict[str, Array]:  # fmt: skip
        """Run nodes on the values v, by name, and put there what they make; returns v.

        past: positions in front of these tokens.
        """
        for node in nodes:
            if isinstance(node, Keep):
                shape = (*tokens.shape[:2], node.heads, node.size)
                self.caches[node.k] = v[node.k].reshape(shape), v[node.v].reshape(shape)
                continue
            out = node.x if isinstance(node, Add | Pool) else node.out
            if isinstance(node, Embedding):
                y = self._embedding(node, v.get(out), tokens, types, past)
            elif isinstance(node, Patches):
                y = np.asarray(tokens, self.dtype)
            elif isinstance(node, Norm | LayerNorm):
                y = self._norm(node, v[node.x])
            elif isinstance(node, HeadNorm):
                heads = v[node.x].reshape(*v[node.x].shape[:2], node.heads, node.size)
                y = self._norm(node, heads).reshape(v[node.x].shape)
            elif isinstance(node, Linear):
                y = self._linear(node, v[node.x])
            elif isinstance(node, Gate):
                y = self._gate(node, v)
            elif isinstance(node, Pool):
                y = _pooled(node, v[node.x])
            elif isinstance(node, Add):
                y = v[node.x] + v[node.y]
            else:
                y = self._attention(node, v, tokens.shape[1])
            v[out] = y
            if self.tap and not isinstance(node, Pool):
                self.tap(out, y)
            self.amax[out] = max(self.amax.get(out, 0.0), float(np.abs(y).max()))
        return v

    def _w(self, tensor: Array) -> Array:
        return self.weights[id(tensor)]

    def _embedding(
        self, e: Embedding, x: Array | None, tokens: Array, types: Array | None, past: int
    ) -> Array:
        weight = self._w(e.weight)
        if e.by == "token":
            return weight[tokens]
        assert x is not None
        if e.by == "position":
            return x + weight[past : past + tokens.shape[1]]
        return x + weight[np.zeros_like(tokens) if types is None else types]

    def _norm(self, n: Norm | HeadNorm | LayerNorm, x: Array) -> Array:
        if isinstance(n, LayerNorm):
            x = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((x * x).mean(-1, keepdims=True) + self.dtype(n.eps))
        y = x / scale * self._w(n.gain)
        return y + self._w(n.bias) if isinstance(n, LayerNorm) else y

    def _linear(self, n: Linear, x: Array) -> Array:
        y = x @ self._w(n.weight).T
        return y if n.bias is None else y + self._w(n.bias)

    def _gate(self, n: Gate, v: dict[str, Array]) -> Array:
        y = ACTIVATIONS[n.activation](v[n.g]).astype(self.dtype)
        return y if n.u is None else y * v[n.u]

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


def _pooled(n: Pool, x: Array) -> Array:
    """Of all positions (batch, n, size) one, (batch, 1, size)."""
    one = {"first": x[:, :1], "last": x[:, -1:]}
    return one[n.how] if n.how in one else x.mean(1, keepdims=True)


def log_softmax(z: Array) -> Array:
    """Natural logarithm of softmax over the last axis."""
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def sample(
    graph: Graph, sequences: int, length: int, seed: int = 0, source: Array | None = None
) -> tuple[Array, FloatModel]:
    """Token ids (sequences, length) that the float model itself writes at temperature 1.

    source: what a translator translates, (n,), or (sequences, n) of each sequence its own.
    Sequences begin with BOS (or token 0). Returns the ids and the model that ran them, whose
    `amax` covers them.
    """
    rng = np.random.default_rng(seed)
    model = FloatModel(graph, np.float32)
    tokens = np.full((sequences, 1), max(graph.bos, 0), np.int64)
    out = [tokens]
    read = None
    if source is not None:
        read = np.broadcast_to(source, (sequences, np.asarray(source).shape[-1]))
    for i in range(length - 1):
        logits = model.forward(tokens, source=None if i else read)[:, -1]
        # Gumbel noise turns the largest into a sample.
        noise = -np.log(-np.log(rng.random(logits.shape) * 0.999999 + 5e-7))
        tokens = (logits + noise).argmax(-1)[:, None]
        out.append(tokens)
    model.forward(tokens)
    return np.concatenate(out, 1), model
