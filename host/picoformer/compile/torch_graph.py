"""The float graph in torch: what FloatModel computes, with gradients, over padded sequences.

Where it is told to, it rounds what the board rounds beside the weights: the vectors that matrices
of 4 bits read, and the caches' keys and values. Gradients pass as if it did not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.nodes import (
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
)

NARROW = 255  # the largest element of a vector of 9 bits


@dataclass(frozen=True)
class Batch:
    """Sequences side by side, padded to the longest, as tensors.

    tokens (sequences, positions), or (sequences, positions, elements); types like tokens, or
    None; valid (sequences, positions): what is no padding, None where nothing is. source and
    source_valid: likewise, what an encoder reads.
    """

    tokens: Any
    valid: Any = None
    types: Any = None
    source: Any = None
    source_valid: Any = None


@dataclass(frozen=True)
class Narrow:
    """What is rounded beside the weights: vectors, by their values, and a cache's numbers."""

    vectors: frozenset[str]
    key_bits: int
    value_bits: int


def narrow(graph: Graph, rounded: set[int], key_bits: int, value_bits: int) -> Narrow:
    """What the board rounds, with these weights, by id, of 4 bits."""
    nodes = graph.encoder + graph.nodes
    read = {n.x for n in nodes if isinstance(n, Linear) and id(n.weight) in rounded}
    exact = {n.out for n in nodes if isinstance(n, Patches)} if graph.image else set()
    return Narrow(frozenset(read - exact), key_bits, value_bits)


class TorchGraph:
    """Runs a graph with given tensors."""

    def __init__(self, torch: Any, graph: Graph, rounds: Narrow | None = None) -> None:
        self.torch = torch
        self.graph = graph
        self.rounds = rounds
        f = torch.nn.functional
        self.functions: dict[str, Callable[[Any], Any]] = {
            "silu": f.silu,
            "gelu": f.gelu,
            "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"),
            "relu": torch.relu,
            "tanh": torch.tanh,
        }

    def run(
        self, weights: dict[int, Any], batch: Batch, on_the_way: list[Any] | None = None
    ) -> Any:
        """Results (sequences, positions, outputs); weights: all tensors, by the id of the node's.

        There is one position where they are pooled. on_the_way: gets what each norm of a layer
        gives, (vectors, elements), in order, without padding.
        """
        kept: dict[str, Any] = {}
        if batch.source is not None:
            read = Batch(batch.source, batch.source_valid)
            first = _Pass(self, weights, read, kept, batch.source_valid, on_the_way)
            first.run(self.graph.encoder)
        last = _Pass(self, weights, batch, kept, batch.source_valid, on_the_way)
        return last.run(self.graph.nodes)[self.graph.result]


class _Pass:
    """The values on the way through a part of the graph."""

    def __init__(
        self, model: TorchGraph, weights: dict[int, Any], batch: Batch, kept: dict[str, Any],
        source_valid: Any, on_the_way: list[Any] | None = None,
    ) -> None:  # fmt: skip
        self.model = model
        self.torch = model.torch
        self.weights = weights
        self.batch = batch
        self.kept = kept  # what the encoder keeps, by the name of a value
        self.source_valid = source_valid
        self.on_the_way = on_the_way
        self.v: dict[str, Any] = {}
        self.narrowed: dict[str, tuple[Any, Any]] = {}

    def run(self, nodes: list[Node]) -> dict[str, Any]:
        v = self.v
        for node in nodes:
            if isinstance(node, Embedding):
                v[node.out] = self._embedding(node)
            elif isinstance(node, Patches):
                v[node.out] = self.batch.tokens
            elif isinstance(node, Keep):
                self.kept[node.k], self.kept[node.v] = v[node.k], v[node.v]
            elif isinstance(node, Norm | HeadNorm):
                x = v[node.x].unflatten(-1, (-1, len(node.gain)))
                y = x * (x.square().mean(-1, keepdim=True) + node.eps).rsqrt() * self._w(node.gain)
                v[node.out] = y.flatten(-2)
            elif isinstance(node, LayerNorm):
                x, gain, bias = v[node.x], self._w(node.gain), self._w(node.bias)
                v[node.out] = self.torch.layer_norm(x, x.shape[-1:], gain, bias, node.eps)
            elif isinstance(node, Linear):
                x = self._read(node.x)
                bias = None if node.bias is None else self._w(node.bias)
                v[node.out] = self.torch.nn.functional.linear(x, self._w(node.weight), bias)
            elif isinstance(node, Gate):
                y = self.model.functions[node.activation](v[node.g])
                v[node.out] = y if node.u is None else y * v[node.u]
            elif isinstance(node, Add):
                v[node.x] = v[node.x] + v[node.y]
            elif isinstance(node, Pool):
                v[node.x] = self._pooled(node)
            else:
                v[node.out] = self._attention(node)
            if self.on_the_way is not None and isinstance(node, Norm | LayerNorm):
                self.on_the_way.append(self._vectors(v[node.out]))
        return v

    def _vectors(self, x: Any) -> Any:
        """A value's vectors side by side, without those of padding."""
        valid = self.batch.valid
        there = valid is not None and x.shape[:2] == valid.shape
        return x[valid] if there else x.flatten(0, -2)

    def _w(self, tensor: Array) -> Any:
        return self.weights[id(tensor)]

    def _read(self, name: str) -> Any:
        """A value as linears read it."""
        x = self.v[name]
        rounds = self.model.rounds
        if rounds is None or name not in rounds.vectors:
            return x
        if name not in self.narrowed or self.narrowed[name][0] is not x:
            self.narrowed[name] = x, self._steps(x, NARROW)
        return self.narrowed[name][1]

    def _steps(self, x: Any, largest: float, middle: bool = False) -> Any:
        """Vectors in whole steps, the largest element so many; or halfway between the steps."""
        with self.torch.no_grad():
            step = x.abs().amax(-1, keepdim=True).clamp(min=1e-20) / largest
            y = x / step
            whole = y.floor().clamp(-largest - 0.5, largest - 0.5) + 0.5 if middle else y.round()
            off = whole * step - x
        return x + off

    def _embedding(self, e: Embedding) -> Any:
        weight, tokens = self._w(e.weight), self.batch.tokens
        if e.by == "token":
            return weight[tokens]
        x = self.v[e.out]
        if e.by == "position":
            return x + weight[: tokens.shape[1]]
        types = self.batch.types
        return x + (weight[0] if types is None else weight[types])

    def _pooled(self, n: Pool) -> Any:
        x, valid = self.v[n.x], self.batch.valid
        if n.how == "first":
            return x[:, :1]
        if valid is None:
            return x[:, -1:] if n.how == "last" else x.mean(1, keepdim=True)
        if n.how == "last":
            return x[self.torch.arange(len(x)), valid.sum(1) - 1][:, None]
        return (x * valid[..., None]).sum(1, keepdim=True) / valid.sum(1)[:, None, None]

    def _attention(self, a: Attention) -> Any:
        torch, rounds = self.torch, self.model.rounds

        def heads(x: Any) -> Any:
            return x.unflatten(-1, (-1, a.size)).transpose(1, 2)

        held = self.kept if a.cross else self.v
        q, k, val = heads(self.v[a.q]), heads(held[a.k]), heads(held[a.v])
        if a.frequencies is not None:
            q, k = self._turned(q, a.frequencies), self._turned(k, a.frequencies)
        if rounds is not None:
            if rounds.key_bits < 12:  # an error of 12 bits is not worth the time
                k = self._steps(k, 2 ** (rounds.key_bits - 1) - 1)
            four = rounds.value_bits == 4
            val = self._steps(val, 7.5 if four else 2 ** (rounds.value_bits - 1) - 1, four)
        share = a.heads // a.kv_heads
        k, val = (x.repeat_interleave(share, 1) if share > 1 else x for x in (k, val))
        mask = self._mask(a, q.shape[2])
        y = torch.nn.functional.scaled_dot_product_attention(
            q, k, val, attn_mask=mask, is_causal=a.causal and mask is None, scale=a.factor
        )
        return y.transpose(1, 2).flatten(-2)

    def _turned(self, x: Any, frequencies: Array) -> Any:
        angle = np.outer(np.arange(x.shape[2]), frequencies)
        table = self.torch.tensor(angle, dtype=self.torch.float32)
        cos, sin = table.cos(), table.sin()
        first, second = x.chunk(2, -1)
        return self.torch.cat([first * cos - second * sin, first * sin + second * cos], -1)

    def _mask(self, a: Attention, n: int) -> Any:
        """What is added to the scores; None where that is nothing, or what comes later alone."""
        valid = self.source_valid if a.cross else self.batch.valid
        # Behind a causal mask no padding is seen, as it lies at the end.
        hidden = valid is not None and not a.causal
        if a.bias is None and not hidden:
            return None
        torch = self.torch
        mask = torch.zeros(())
        if hidden:
            mask = torch.zeros(valid.shape).masked_fill(~valid, -torch.inf)[:, None, None]
        if a.bias is not None and a.buckets is not None:
            far = np.arange(n) - np.arange(n)[:, None] + len(a.buckets) // 2
            rows = torch.from_numpy(np.asarray(a.buckets)[far].astype(np.int64))
            mask = mask + self._w(a.bias)[rows].permute(2, 0, 1)
            if a.causal:
                later = torch.ones(n, n, dtype=torch.bool).triu(1)
                mask = mask.masked_fill(later, -torch.inf)
        return mask
