"""From a checkpoint to a model file: import, calibrate, quantize, compile, write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import importers
from ..data.examples import NO_SIZES, Example, random_kind, read_examples
from ..errors import Error
from ..graph.nodes import Graph
from ..tokenizers.section import build
from ..tokenizers.tokenizer import Tokenizer
from ..tokenizers.vocabulary import Vocabulary
from . import distill as training
from . import modelfile
from .calibration import calibrate, inputs, some
from .channels import scaled
from .choosing import choose
from .compiler import BATCH, KEY_BITS, VALUE_BITS, Compiled, compile_graph, legal_bits
from .matrices import Rounded
from .metadata import metadata
from .report import Report, bits, errors, tensors
from .rounding import round_graph

DEFAULT_CONTEXT = 256
DEFAULT_GROUP = 16  # columns that share a scale of 4-bit weights


def convert(
    source: str | Path,
    output: str | Path,
    *,
    context: int | None = None,
    tokenizer: str | Path | None = None,
    config: str | Path | None = None,
    data: str | Path | None = None,
    name: str | None = None,
    weight_bits: int = 8,
    group_size: int | None = None,
    max_bytes: int | None = None,
    distill: int | None = None,
    key_bits: int = KEY_BITS[0],
    value_bits: int = VALUE_BITS[0],
    batch: int = BATCH,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Report:
    """Convert a checkpoint to a model file for boards.

    source: the checkpoint, a file or a folder; docs/convert.md lists what is read.
    output: path of the model file to write (.pft).
    context: context length in tokens, by default the smaller of the model's and 256. Models of
        pictures and signals keep their own.
    tokenizer: path of the tokenizer, if it is not beside the source.
    config: path of the JSON description of a PyTorch or Keras file, by default the one beside it.
    data: path of examples to calibrate on, and to distill on, as `evaluate` takes them. By default
        text that the model writes, or random input for a model that only reads.
    name: title to store in the file, by default the checkpoint's.
    weight_bits: 8, with one scale for each row of a matrix, or 4, with one for each group.
    group_size: with 4 bits: columns of a group, a multiple of 16 (default: 16).
    max_bytes: with 4 bits: the matrices that lose most keep 8 bits, as long as the file has at
        most so many bytes.
    distill: steps of training after rounding, so that the model answers as the checkpoint does on
        `data`. Needs torch (`pip install 'picoformer[distill]'`). Some examples are set apart: if
        training gains nothing on these, the model stays as it was rounded.
    key_bits: bits of a key in the KV cache, 12 or 8.
    value_bits: bits of a value in the KV cache, 8 or 4.
    batch: positions of a prompt that are run at once, at most.
    progress: wraps what is iterated over for long, as tqdm.tqdm does. If it has a method `say`,
        that is told the name of each stage.

    Returns a Report. Raises Error if the checkpoint cannot be read or converted, or an argument is
    not one of those above. Nothing is written then.
    """
    start = time.perf_counter()
    _check_bits(weight_bits, key_bits, value_bits, group_size, max_bytes, distill)
    target = os.path.realpath(output)
    for used in (source, tokenizer, config, data):
        if used is not None and os.path.realpath(used) == target:
            raise Error(f"the output {output} is an input as well; give it another name")
    say: Callable[[str], object] = getattr(progress, "say", str)
    say("reading the checkpoint")
    graph, vocabulary = importers.read(source, tokenizer, config)
    tokens = not (graph.image or graph.frames)  # others need all their positions
    if context is None:
        context = min(graph.context, DEFAULT_CONTEXT) if tokens else graph.context
    graph, rows = _with_examples(graph, vocabulary, data)
    say("calibrating")
    amax = calibrate(graph, rows)

    def made(graph: Graph, rounded: dict[int, Rounded]) -> tuple[Compiled, bytes]:
        compiled = compile_graph(graph, amax, context, batch, rounded, key_bits, value_bits)
        return compiled, compiled_bytes(graph, vocabulary, compiled, name)

    rounded: dict[int, Rounded] = {}
    if weight_bits == 4:
        rounded = _to_4_bits(
            graph, rows, group_size, max_bytes, lambda r: len(made(graph, r)[1]), progress
        )
    trained = None
    if distill is not None:
        graph, rounded, trained = training.distill(
            graph, rounded, distill, rows, key_bits, value_bits, progress=progress
        )
    say("compiling")
    compiled, content = made(graph, rounded)
    model = modelfile.parse(content)  # what cannot be read back is not written
    modelfile.write(Path(output), content)
    return Report(
        path=str(output),
        name=model.meta["name"],
        bytes=len(content),
        sections=model.sizes,
        parameters=graph.parameters,
        context=model.context,
        batch=model.batch,
        cache_bytes=model.cache_bytes(model.context),
        arena_bytes=model.arena_bytes(model.context),
        errors=errors(compiled),
        bits=bits(compiled),
        tensors=tensors(graph),
        calibration=_calibrated_on(graph, rows, data),
        text=not tokens or any(vocabulary.pieces),
        notes=vocabulary.notes,
        distilled=trained,
        seconds=time.perf_counter() - start,
    )


def _with_examples(
    graph: Graph, vocabulary: Vocabulary, data: str | Path | None
) -> tuple[Graph, list[Example] | None]:
    """A model, and the examples of a file, which tell it the sizes of channels that nobody said.

    Raises Error.
    """
    f = graph.frames
    unsized = f is not None and f.mean is None
    if data is None:
        if unsized:
            raise Error(NO_SIZES)
        return graph, None
    if f is not None and unsized:  # it reads the numbers as they are
        plain = replace(f, mean=np.zeros(f.channels), std=np.ones(f.channels))
        graph = replace(graph, frames=plain)
    rows = read_examples(data, Tokenizer(build(vocabulary)), graph.context, graph)
    if unsized:
        graph = scaled(graph, [e.signal for e in rows if e.signal is not None])
        for e in rows:
            if graph.frames and e.signal is not None:
                e.tokens = graph.frames.windows(e.signal)
    return graph, rows


def _check_bits(
    weight_bits: int, key_bits: int, value_bits: int, group_size: int | None,
    max_bytes: int | None, distill: int | None,
) -> None:  # fmt: skip
    """Raise Error for options of `convert` that there are not, or not together."""
    if weight_bits not in (4, 8):
        raise Error(f"weights of {weight_bits} bits, expected 8 or 4")
    legal_bits(key_bits, value_bits)
    if (group_size, max_bytes) != (None, None) and weight_bits == 8:
        raise Error("group size and limit of bytes are for weights of 4 bits, not 8")
    if distill is not None:
        if distill < 1:
            raise Error(f"{distill} steps of training, expected at least 1")
        training.needed()
    span = DEFAULT_GROUP if group_size is None else group_size
    if not isinstance(span, int) or span % 16 or not 16 <= span <= 1 << 20:
        raise Error(f"a group of {span} columns, expected a multiple of 16")


def _to_4_bits(
    graph: Graph, rows: list[Example] | None, group_size: int | None, max_bytes: int | None,
    size: Callable[[dict[int, Rounded]], int],
    progress: Callable[[Iterable[Any]], Iterable[Any]],
) -> dict[int, Rounded]:  # fmt: skip
    """The matrices that get 4 bits, by the id of the node's weight.

    size: bytes of the file with these matrices. Others as `convert`'s.
    """
    say: Callable[[str], object] = getattr(progress, "say", str)
    span = DEFAULT_GROUP if group_size is None else group_size
    given = inputs(graph, rows)
    keep = None
    if max_bytes is not None:
        say("choosing matrices for 8 bits")
        keep = choose(graph, given, span, max_bytes, size, progress)
    say("rounding to 4 bits")
    return round_graph(graph, given, span, keep, progress)


def _calibrated_on(graph: Graph, rows: list[Example] | None, data: str | Path | None) -> str:
    if rows is not None:
        return f"{len(some(rows))} of {len(rows)} examples of {data}"
    if graph.task == "generate":
        return "text that the model wrote"
    return random_kind(graph)


def compiled_bytes(
    graph: Graph, vocabulary: Vocabulary, compiled: Compiled, name: str | None = None
) -> bytes:
    """The model file of a compiled graph."""
    return modelfile.encode(compiled, build(vocabulary), metadata(graph, compiled, name))
