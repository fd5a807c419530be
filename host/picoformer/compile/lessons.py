"""What a model is distilled on: examples, put together to batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..data.examples import Example, random_examples
from ..graph.float_model import sample
from ..graph.nodes import Array, Graph
from .torch_graph import Batch

LENGTH = 256  # tokens of a text that a float model writes, at most
PASSES = 3  # times that a text comes: one that comes often is learnt by heart
RANDOM = 2048  # random inputs, for what reads them and has no data
CHEAP = 8  # times as many, where they are tokens that nothing has to translate
TOKENS = 1024  # of a step, about
PADDED = 4 * TOKENS  # with the padding, at most
BATCH = (4, 128)  # sequences of a step, at least and at most
WRITTEN = 256  # texts that are written side by side
# Set apart to see what training gains: one example of so many, batches at most, and steps of
# training for each of these batches.
APART, APART_BATCHES, APART_STEPS = 8, 8, 20


def lessons(
    graph: Graph, data: list[Example] | None, steps: int, seed: int,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[Example]:  # fmt: skip
    """The examples to train on: those given, or text that the model writes, or random ones.

    A translation that nobody gave is what the model makes of the source. progress: wraps the
    iteration over what is written.
    """
    length = min(LENGTH, graph.context)
    if data is None and graph.task == "generate":
        size = batch_size([length])
        count = max(-(-steps * size // PASSES), size)
        starts = progress(range(0, count, WRITTEN))
        rows = [sample(graph, min(WRITTEN, count - i), length, seed + i)[0] for i in starts]
        return [Example(row) for row in np.concatenate(rows)]
    cheap = not (graph.image or graph.frames or graph.encoder)
    most = min(RANDOM * (CHEAP if cheap else 1), steps * BATCH[1])
    examples = data or random_examples(graph, most, length, seed)
    if not graph.encoder:
        return examples
    order = np.random.default_rng(seed).permutation(len(examples))
    return _translated(graph, [examples[i] for i in order[: steps * BATCH[1]]], seed, progress)


def _translated(
    graph: Graph, examples: list[Example], seed: int,
    progress: Callable[[Iterable[Any]], Iterable[Any]],
) -> list[Example]:  # fmt: skip
    """Examples of a translator, with what the model makes of sources that came alone."""
    out = [e for e in examples if len(e.tokens) > 1]
    lengths: dict[int, list[Example]] = {}
    for e in examples:
        if len(e.tokens) < 2:
            lengths.setdefault(_length(e.source), []).append(e)
    groups = [
        alike[at : at + WRITTEN]
        for alike in lengths.values()
        for at in range(0, len(alike), WRITTEN)
    ]
    for i, some in enumerate(progress(groups)):
        source = np.stack([e.source for e in some if e.source is not None])
        rows, _ = sample(graph, len(some), min(LENGTH, graph.context), seed + i, source)
        ended = np.isin(rows, graph.ends) & (np.arange(rows.shape[1]) > 0)
        ends = np.where(ended.any(1), ended.argmax(1), rows.shape[1])
        out += [replace(e, tokens=row[:n]) for e, row, n in zip(some, rows, ends, strict=True)]
    return out


def parts(
    graph: Graph, data: list[Example] | None, steps: int, seed: int,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[list[Example], list[Example]]:  # fmt: skip
    """(what to learn from, other examples that tell what was learnt)."""
    examples = lessons(graph, data, steps, seed, progress)
    if data is not None or graph.task != "generate":
        return set_apart(examples, steps, seed)
    rows = sample(graph, _most(examples, steps), len(examples[0].tokens), seed + len(examples))[0]
    return examples, [Example(row) for row in rows]


def _most(examples: list[Example], steps: int) -> int:
    """Examples to set apart, at most."""
    return batch_size(_lengths(examples)) * min(max(steps // APART_STEPS, 1), APART_BATCHES)


def set_apart(
    examples: list[Example], steps: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """(examples to learn from, others that tell what was learnt). One alone is both."""
    order = np.random.default_rng(seed).permutation(len(examples))
    n = min(max(len(examples) // APART, 1), _most(examples, steps))
    apart, rest = ([examples[i] for i in some] for some in (order[:n], order[n:]))
    return rest or apart, apart


def side_by_side(torch: Any, examples: list[Example]) -> list[Batch]:
    """All the examples, in batches of about the same size."""
    count = -(-len(examples) // batch_size(_lengths(examples)))
    return [batch(torch, examples[i::count]) for i in range(count)]


def batch_size(lengths: list[int]) -> int:
    """Sequences of a step, of sequences of these lengths."""
    size = min(TOKENS * len(lengths) // sum(lengths), PADDED // max(lengths))
    return min(max(size, BATCH[0]), BATCH[1])


class Batches:
    """Batches of examples, each example once before one comes again."""

    def __init__(self, torch: Any, examples: list[Example], seed: int) -> None:
        self.torch = torch
        self.examples = examples
        self.rng = np.random.default_rng(seed)
        self.size = min(batch_size(_lengths(examples)), len(examples))
        self.left: list[int] = []

    def next(self) -> Batch:
        """The next batch."""
        if len(self.left) < self.size:
            self.left += self.rng.permutation(len(self.examples)).tolist()
        some, self.left = self.left[: self.size], self.left[self.size :]
        return batch(self.torch, [self.examples[i] for i in some])


def batch(torch: Any, examples: list[Example]) -> Batch:
    """Examples side by side, padded with zeros."""
    tokens, valid = _padded(torch, [e.tokens for e in examples])
    types = [e.types for e in examples if e.types is not None]
    source = [e.source for e in examples if e.source is not None]
    read, read_valid = _padded(torch, source) if source else (None, None)
    return Batch(tokens, valid, _padded(torch, types)[0] if types else None, read, read_valid)


def _padded(torch: Any, rows: list[Array]) -> tuple[Any, Any]:
    """(rows side by side, what of them is no padding, or None where there is none)."""
    kind = torch.float32 if rows[0].ndim > 1 else torch.int64
    tensors = [torch.from_numpy(np.ascontiguousarray(r)).to(kind) for r in rows]
    lengths = torch.tensor([len(r) for r in rows])
    valid = torch.arange(int(lengths.max())) < lengths[:, None]
    padded = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
    return padded, None if valid.all() else valid


def _lengths(examples: list[Example]) -> list[int]:
    return [max(len(e.tokens), _length(e.source)) for e in examples]


def _length(row: Array | None) -> int:
    return 0 if row is None else len(row)
