"""From a float graph and its calibration to the sections of a model file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..device import program, regions
from ..device.check import check
from ..errors import Error
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
from . import emit
from .draft import LOGITS, Draft, DraftStep, Ref
from .matrices import Matrix, Matrix4, Rounded
from .placing import Life, place
from .steps import CODES
from .weights import Weights

KEY_BITS = (12, 8)  # of a cache's keys and values; the first is what is customary
VALUE_BITS = (8, 4)
SPREAD = 4  # bits by which the sizes of outputs that share a step may differ
BATCH = 4  # positions in a group, by default


@dataclass
class Compiled:
    """The sections of a model file, and what was made on the way to them."""

    program: Array  # int32 words
    tables: Array  # int32 words
    weights: Array  # uint32 words
    # By the value that each matrix makes: its integers, and the weights that they were.
    matrices: dict[str, tuple[Matrix | Matrix4, Array]] = field(default_factory=dict)
    steps: list[DraftStep] = field(default_factory=list)

    @property
    def dequantized(self) -> dict[str, Array]:
        """What the integers of the matrices stand for."""
        return {value: m.value for value, (m, _) in self.matrices.items()}


def legal_bits(key_bits: int, value_bits: int) -> None:
    """Raise Error for keys and values of a cache that no kernel knows."""
    for bits, legal, what in ((key_bits, KEY_BITS, "keys"), (value_bits, VALUE_BITS, "values")):
        if bits not in legal:
            raise Error(f"{what} of {bits} bits, expected {legal[0]} or {legal[1]}")


def compile_graph(
    graph: Graph, amax: dict[str, float], context: int | None = None, batch: int = BATCH,
    rounded: dict[int, Rounded] | None = None, key_bits: int = KEY_BITS[0],
    value_bits: int = VALUE_BITS[0],
) -> Compiled:  # fmt: skip
    """Quantize and compile a graph.

    amax: the largest magnitude of each value, from calibration (`FloatModel.amax`). context:
    positions, at most the graph's; batch: positions processed in one sweep of the weights.
    rounded: the matrices that get 4 bits, by the id of the node's weight; others get 8. key_bits:
    12 or 8, value_bits: 8 or 4, of the caches.
    """
    legal_bits(key_bits, value_bits)
    if graph.frames and graph.frames.mean is None:
        raise Error("the mean and the deviation of the channels are not known: give examples")
    context = graph.context if context is None else context
    if not isinstance(context, int) or not 2 <= context <= graph.context:
        raise Error(f"context is {context}, this model has 2 to {graph.context}")
    context += context % 2
    draft = Draft(graph, amax, context, Weights(context, rounded or {}), key_bits, value_bits)
    _part(draft, graph, graph.encoder, True)
    draft.body = len(draft.steps)
    _part(draft, graph, graph.nodes, False)
    if not draft.head:
        draft.head = len(draft.steps)
    return _laid_out(draft, graph, context if graph.whole else batch)


@dataclass
class _Product:
    """Linears of one input that become one step, and the residual that their result goes to."""

    linears: list[Linear]
    add: Add | None


@dataclass
class _Heads:
    """A norm of heads, and the residual that its result goes to."""

    norm: HeadNorm
    add: Add | None


def _fused(draft: Draft, nodes: list[Node]) -> Iterator[Node | _Product | _Heads]:
    """The nodes, linears and norms of heads with what becomes one step with them."""
    i = 0

    def added(out: str) -> Add | None:
        """The residual that comes next, if that is what `out` is added to."""
        add = nodes[i] if i < len(nodes) else None
        return add if isinstance(add, Add) and add.y == out else None

    while i < len(nodes):
        n = nodes[i]
        i += 1
        if isinstance(n, HeadNorm):
            yield _Heads(n, add := added(n.out))
            i += add is not None
            continue
        if not isinstance(n, Linear):
            yield n
            continue
        group = [n]
        # One step has one number of fraction bits: outputs of very different size would
        # cost the smaller ones their precision.
        while (
            i < len(nodes)
            and isinstance(m := nodes[i], Linear)
            and m.x == n.x
            and draft.weights.four(m) == draft.weights.four(n)
            and abs(draft.output_point(m) - draft.output_point(n)) <= SPREAD
        ):
            group.append(m)
            i += 1
        yield _Product(group, add := added(n.out))
        i += add is not None


def _part(draft: Draft, graph: Graph, nodes: list[Node], encoder: bool) -> None:
    """The steps of an encoder, or those of the rest."""
    if not nodes:
        return
    shared = encoder or (graph.whole and not graph.encoder)
    norms = {n.out: n for n in nodes if isinstance(n, Norm)}
    layernorms = {n.out: n for n in nodes if isinstance(n, LayerNorm) and n.out != n.x}
    # What layers add to; embeddings that are narrower lie elsewhere.
    residual = next(n.x for n in nodes if isinstance(n, Add))
    how = next((n.how for n in nodes if isinstance(n, Pool)), "last")
    # Behind the last layer's keys and values only one position matters, unless all do.
    final = [n.q for n in nodes if isinstance(n, Attention) and not n.cross][-1:]
    final += [n.x for n in nodes if isinstance(n, HeadNorm) and n.out in final]
    if encoder or how == "mean" or graph.task in ("answer", "tag"):
        final = []
    late: list[Linear] = []
    late_norms: list[HeadNorm] = []
    for n in _fused(draft, nodes):
        if isinstance(n, _Product):
            late += [m for m in n.linears if m.out in final]
            group = [m for m in n.linears if m.out not in final]
            if n.linears[0].out == "logits" and not draft.head:
                emit.pool(draft, residual, how)
            if group:
                emit.linear(draft, group, norms.get(group[0].x), n.add)
        elif isinstance(n, _Heads):
            if n.norm.out in final:
                late_norms.append(n.norm)
            else:
                emit.headnorm(draft, n.norm, n.add)
        elif isinstance(n, Attention):
            if not n.cross:
                emit.store(draft, n, shared)
            if late:
                emit.pool(draft, residual, how)
                if late[0].x in layernorms:
                    emit.layernorm(draft, layernorms[late[0].x])
                emit.linear(draft, late, norms.get(late[0].x), None)
                late = []
                for norm in late_norms:
                    emit.headnorm(draft, norm, None)
            emit.attend(draft, n)
        elif isinstance(n, Pool):
            if n.x != residual:
                raise Error("only the residual can be pooled")
            if not draft.head:
                emit.pool(draft, residual, how)
        else:
            _alone(draft, n)


def _alone(draft: Draft, n: Node) -> None:
    """The step of a node that has nothing to do with others."""
    if isinstance(n, Embedding):
        emit.embed(draft, n)
    elif isinstance(n, Patches):
        emit.patches(draft, n)
    elif isinstance(n, LayerNorm):
        emit.layernorm(draft, n)
    elif isinstance(n, Keep):
        emit.keep(draft, n)
    elif isinstance(n, Gate):
        emit.gate(draft, n)
    elif isinstance(n, Add):
        raise Error("a residual must follow the linear that it adds")


def _laid_out(draft: Draft, graph: Graph, batch: int) -> Compiled:
    """The sections, once each value has its place in the frame."""
    lives: dict[str, Life] = {}
    for s, step in enumerate(draft.steps):
        for f in step.fields.values():
            if isinstance(f, Ref) and f.value != LOGITS:
                life = lives.setdefault(f.value, Life(draft.words[f.value], s, s))
                life.last = s
    offsets, end = place(lives, regions.HEADER + 1)  # word 0 of a frame is its token
    stride = end - regions.HEADER
    offsets[LOGITS] = end

    def fix(f: int | Ref) -> int:
        if isinstance(f, Ref):
            return (offsets[f.value] + f.offset) << 6 | regions.ARENA
        return f

    parts: list[list[int]] = [[], [], []]
    for s, step in enumerate(draft.steps):
        words = [fix(f) for f in step.fields.values()]
        part = parts[(s >= draft.body) + (s >= draft.head)]
        part += [CODES[step.op], len(words), *words]
    result = LOGITS if graph.result == "logits" else graph.result
    head = [
        draft.context, batch, stride, draft.size[graph.result], graph.vocab, fix(Ref(result)),
        draft.bits[graph.result], graph.bos, len(graph.ends), len(parts[1]), len(parts[2]),
        len(draft.caches), program.TASKS.index(graph.task), int(graph.whole),
        fix(Ref(draft.patches)) if draft.patches else 0, len(parts[0]), int(graph.several),
        draft.sound,
    ]  # fmt: skip
    head += [0] * (regions.HEAD - len(head)) + list(graph.ends)
    out = Compiled(
        np.array(head + draft.caches + sum(parts, []), np.int32),
        draft.tables.words(),
        draft.weights.words(),
        draft.matrices,
        draft.steps,
    )
    check(out.program.tolist(), out.tables.tolist(), out.weights.size)
    return out
