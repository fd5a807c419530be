"""How far the integers are from the float model, and how good both are, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .. import importers
from ..compile.channels import rescaled
from ..data.examples import Example, random_examples, random_kind, read_examples
from ..errors import Error
from ..graph.float_model import sample
from ..graph.nodes import Graph
from ..tokenizers.section import build
from .expected import compare
from .layers import layer_errors
from .scores import Scores
from .scoring import SCORING
from .simulator import Simulator

SEQUENCES = 8  # that a generative model writes itself when there is no data
LAYER_SEQUENCES = 4  # that the report on layers is taken from
RANDOM = 64  # random inputs, for what reads them and has no data


def evaluate(
    model: str | Path,
    reference: str | Path,
    *,
    data: str | Path | None = None,
    expect: str | Path | None = None,
    tokenizer: str | Path | None = None,
    config: str | Path | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Scores:
    """Measure what a model file lost against the float checkpoint that it was made of.

    model: path of the model file.
    reference: the checkpoint, as `convert` reads it.
    data: path of examples to measure with: a text file, .npy token ids, .tsv, .npz, or a folder
        with a folder for each label; docs/api.md says what each holds. By default text that the
        checkpoint writes, or random input for a model that only reads.
    expect: path of a .npy file of what another framework gives for `data`: (examples, positions,
        outputs), to compare both models with.
    tokenizer, config: as of `convert`.
    progress: wraps the iteration over examples, as tqdm.tqdm does.

    Returns Scores. Raises Error if a file cannot be read, or the checkpoint is another one.
    """
    if expect is not None and data is None:
        raise Error(f"{expect} has results: name the examples that they belong to, with --data")
    sim = Simulator(model)
    graph, vocabulary = importers.read(reference, tokenizer, config)
    parameters = sim.model.meta.get("parameters", graph.parameters)
    if graph.parameters != parameters or build(vocabulary) != sim.tokenizer.section:
        raise Error(
            f"{reference} ({graph.parameters:,} parameters) is not the checkpoint that {model} "
            f"({parameters:,} parameters) was made of, or its tokenizer is another one"
        )
    if graph.frames and graph.frames.mean is None:
        graph = _scaled(graph, sim, model)
    context = min(sim.context, graph.context)
    if data is not None:
        rows, said = read_examples(data, sim.tokenizer, context, graph), str(data)
    elif graph.task == "generate":
        ids, _ = sample(graph, SEQUENCES, context, seed=1)
        rows, said = [Example(row) for row in ids], "text that the float model wrote"
    else:
        rows = random_examples(graph, RANDOM, context, seed=1)
        said = random_kind(graph)
    scores = Scores(graph.task, said, len(rows), sum(len(e.tokens) for e in rows))
    if expect is not None:
        compare(scores, sim, graph, rows, expect, progress)
    SCORING[graph.task](scores, sim, graph, rows, progress)
    scores.layers = layer_errors(sim, graph, rows[:LAYER_SEQUENCES])
    return scores


def _scaled(graph: Graph, sim: Simulator, model: str | Path) -> Graph:
    """With the mean and the deviation of channels that the model file was given by its data."""
    known = sim.frames
    if not known or known.mean is None or known.std is None:
        raise Error(f"{model} does not say how large its channels are: convert it again")
    return rescaled(graph, known.mean, known.std)
