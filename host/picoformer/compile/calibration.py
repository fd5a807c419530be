"""What a model is run on before it is quantized: for its largest values, and to be rounded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..data.examples import Example, random_examples
from ..graph.float_model import FloatModel, sample
from ..graph.nodes import Array, Graph

CALIBRATION = (8, 96)  # sequences and tokens that the model writes itself
CALIBRATION_ROWS = 64  # examples of given data at most; more move the largest values little
SAMPLES = (16, 256)  # sequences and tokens that a model is rounded on, by default


def calibrate(graph: Graph, data: list[Example] | None = None) -> dict[str, float]:
    """Largest magnitude of each value over `data`.

    By default over text that the model writes itself; an encoder gets random tokens or pixels, a
    translator what it makes of random tokens.
    """
    count, length = CALIBRATION[0], min(CALIBRATION[1], graph.context)
    if graph.task == "generate" and data is None:
        _, model = sample(graph, count, length)
        return model.amax
    examples = data or random_examples(graph, count, length)
    found = []
    for i, one in enumerate(some(examples)):
        if one.source is not None and len(one.tokens) < 2:
            _, model = sample(graph, 1, length, i, source=one.source)
        else:
            model = FloatModel(graph, np.float32)
            one.run(model)
        found.append(model)
    amax: dict[str, float] = {}
    for model in found:
        for value, a in model.amax.items():
            amax[value] = max(amax.get(value, 0.0), a)
    return amax


def some(examples: list[Example]) -> list[Example]:
    """At most CALIBRATION_ROWS, from everywhere: examples often lie label by label."""
    n = min(len(examples), CALIBRATION_ROWS)
    return [examples[i * len(examples) // n] for i in range(n)]


@dataclass
class Input:
    """Sequences of equal length that a model is run on.

    tokens (sequences, length), or patches (sequences, length, elements); types like tokens;
    source (sequences, length of the source): what a translator translates.
    """

    tokens: Array
    types: Array | None = None
    source: Array | None = None


def inputs(graph: Graph, examples: list[Example] | None) -> list[Input]:
    """What to run a model on: the examples, or text that it writes itself, or random ones."""
    count, length = SAMPLES[0], min(SAMPLES[1], graph.context)
    if examples is None and graph.task == "generate":
        return [Input(sample(graph, count, length, seed=1)[0])]
    examples = examples or random_examples(graph, count, length, seed=1)
    # From everywhere: examples often lie label by label. Those of one length go together.
    order = np.random.default_rng(1).permutation(len(examples))
    most = count * length
    lengths: dict[tuple[int, int], list[Example]] = {}
    for i in order:
        e = examples[i]
        if e.source is not None and len(e.tokens) < 2:
            e = replace(e, tokens=sample(graph, 1, length, int(i), source=e.source)[0][0])
        if most > 0:
            key = len(e.tokens), 0 if e.source is None else len(e.source)
            lengths.setdefault(key, []).append(e)
        most -= len(e.tokens)

    def stack(listed: list[Array | None]) -> Array | None:
        there = [v for v in listed if v is not None]
        return np.stack(there) if there else None

    return [
        Input(
            np.stack([e.tokens for e in listed]),
            stack([e.types for e in listed]),
            stack([e.source for e in listed]),
        )
        for _, listed in sorted(lengths.items())
    ]
