"""From a checkpoint to a model file: import, calibrate, quantize, compile, write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import importers
from ..data.examples import Example, random_examples, read_examples
from ..errors import Error
from ..graph.float_model import FloatModel, sample
from ..graph.nodes import Graph
from ..tokenizers.tokenizer import Tokenizer, Vocabulary, build
from ..version import __version__
from . import distill as training
from . import modelfile, rounding
from .compiler import (
    ACTIVATION_BITS,
    BATCH,
    KEY_BITS,
    NARROW_BITS,
    VALUE_BITS,
    Compiled,
    compile_graph,
    legal_bits,
)
from .quantize import Matrix4, Rounded

DEFAULT_CONTEXT = 256
DEFAULT_GROUP = 16  # columns that share a scale of 4-bit weights
SLACK = 16  # bytes by which a file may yet grow when its weights are rounded
CALIBRATION = (8, 96)  # sequences and tokens that the model writes itself
CALIBRATION_ROWS = 64  # examples of given data at most; more move the largest values little


@dataclass
class Report:
    """What `convert` did. Sizes in bytes, errors relative to each matrix's root mean square.

    errors and bits: by the value that the matrix makes.
    """

    path: str
    name: str
    bytes: int
    sections: dict[str, int]
    parameters: int
    context: int
    batch: int
    cache_bytes: int
    arena_bytes: int
    errors: dict[str, float] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)
    calibration: str = ""
    text: bool = True  # False: without a tokenizer, for token ids alone
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


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
    for i, one in enumerate(_some(examples)):
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


def _some(examples: list[Example]) -> list[Example]:
    """At most CALIBRATION_ROWS, from everywhere: examples often lie label by label."""
    n = min(len(examples), CALIBRATION_ROWS)
    return [examples[i * len(examples) // n] for i in range(n)]


def compiled_bytes(
    graph: Graph, vocabulary: Vocabulary, compiled: Compiled, name: str | None = None
) -> bytes:
    """The model file of a compiled graph."""
    meta = {
        "name": name or graph.meta.get("name", ""),
        "task": graph.task,
        "architecture": graph.meta.get("architecture", ""),
        "source": graph.meta.get("source", ""),
        "licence": graph.meta.get("licence", ""),
        "parameters": graph.parameters,
        "quantization": f"{_weights(compiled)}, {_cache(compiled)}",
        "picoformer": __version__,
    }
    # Where a value stands in the program, for reports: its name and its fraction bits.
    meta["values"] = [[s.value, s.bits] if s.value else [] for s in compiled.steps]
    if graph.labels:
        meta["labels"] = graph.labels
    if graph.image:
        meta["image"] = list(graph.image)
    return modelfile.encode(compiled, build(vocabulary), meta)


def choose(
    graph: Graph, given: list[rounding.Input], span: int, limit: int,
    size: Callable[[dict[int, Rounded]], int],
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> set[int]:  # fmt: skip
    """The weights, by id, that get 8 bits so that most is gained in a file of `limit` bytes.

    size: bytes of the file with these matrices in 4 bits. Raises Error.
    """
    rounded = {k: rounding.nearest(w, span) for k, w in rounding.matrices(graph).items()}
    least = size(rounded) + SLACK
    if least > limit:
        raise Error(
            f"with weights of 4 bits in groups of {span} columns the file has {least:,} bytes, "
            f"more than {limit:,}; larger groups or a smaller context take less"
        )
    lost = rounding.losses(graph, given, span, progress)
    kept: set[int] = set()
    for key in sorted(lost, key=lambda k: -lost[k] / rounded[k].q.size):
        others = {k: r for k, r in rounded.items() if k not in kept | {key}}
        if size(others) + SLACK <= limit:
            kept.add(key)
    return kept


def _weights(compiled: Compiled) -> str:
    """How weights and activations are quantized, in words."""
    spans = sorted({m.span for m, _ in compiled.matrices.values() if isinstance(m, Matrix4)})
    kept = [k for k, (m, _) in compiled.matrices.items() if not isinstance(m, Matrix4)]
    if not spans:
        return f"weights int8 per row, activations int{ACTIVATION_BITS}"
    said = f"weights int4 per {spans[0]} columns"
    if kept:
        said += f" ({', '.join(kept)}: int8 per row)"
    return f"{said}, activations int{NARROW_BITS}"


def _cache(compiled: Compiled) -> str:
    """How keys and values are quantized, in words."""
    stores = [s.fields[-2:] for s in compiled.steps if s.op == "store"]
    return "keys int{}, values int{}".format(*stores[0]) if stores else "no cache"


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
    """Convert a checkpoint to a model file and return a report.

    source: what importers.SOURCES lists (docs/convert.md). context: positions, by default the
    smaller of the model's and 256. tokenizer: its file, if not beside the source; config: of a
    PyTorch or Keras file, its description likewise. data: examples to calibrate on, by default
    what the model writes itself. weight_bits: 8, with a scale a row, or 4, with one for
    `group_size` columns of it (a multiple of 16, by default 16). max_bytes: of the file; as many
    of the matrices that suffer most get 8 bits as fit in it. distill: steps of training behind
    the rounding, for a model that generates (needs torch). key_bits: 12 or 8, value_bits: 8 or 4,
    of what the cache keeps. progress: wraps the iteration over what takes long. Raises Error.
    """
    start = time.perf_counter()
    if weight_bits not in (4, 8):
        raise Error(f"weights of {weight_bits} bits, expected 8 or 4")
    legal_bits(key_bits, value_bits)
    if (group_size, max_bytes, distill) != (None, None, None) and weight_bits == 8:
        raise Error("group size, limit of bytes and distilling are for weights of 4 bits, not 8")
    if distill is not None and distill < 1:
        raise Error(f"{distill} steps of training, expected at least 1")
    span = DEFAULT_GROUP if group_size is None else group_size
    if not isinstance(span, int) or span % 16 or not 16 <= span <= 1 << 20:
        raise Error(f"a group of {span} columns, expected a multiple of 16")
    target = os.path.realpath(output)
    for used in (source, tokenizer, config, data):
        if used is not None and os.path.realpath(used) == target:
            raise Error(f"the output {output} is an input as well; give it another name")
    graph, vocabulary = importers.read(source, tokenizer, config)
    if context is None:
        context = min(graph.context, DEFAULT_CONTEXT)
    rows = None
    if data is not None:
        rows = read_examples(data, Tokenizer(build(vocabulary)), graph.context, graph)
    amax = calibrate(graph, rows)

    def made(rounded: dict[int, Rounded]) -> tuple[Compiled, bytes]:
        compiled = compile_graph(graph, amax, context, batch, rounded, key_bits, value_bits)
        return compiled, compiled_bytes(graph, vocabulary, compiled, name)

    rounded: dict[int, Rounded] = {}
    if weight_bits == 4:
        given = rounding.inputs(graph, rows)
        keep = None
        if distill is not None:
            training.needed(graph)
        if max_bytes is not None:
            keep = choose(graph, given, span, max_bytes, lambda r: len(made(r)[1]), progress)
        rounded = rounding.round_graph(graph, given, span, keep, progress)
        if distill is not None:
            graph, rounded = training.distill(graph, rounded, distill, progress=progress)
    compiled, content = made(rounded)
    model = modelfile.parse(content)  # what cannot be read back is not written
    modelfile.write(Path(output), content)
    errors = {}
    bits = {}
    for value, (matrix, weight) in compiled.matrices.items():
        bits[value] = 4 if isinstance(matrix, Matrix4) else 8
        off = matrix.value - weight
        errors[value] = float(np.sqrt((off**2).mean() / max((weight**2).mean(), 1e-30)))
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
        errors=errors,
        bits=bits,
        calibration=(
            f"{len(_some(rows))} of {len(rows)} examples of {data}"
            if rows is not None
            else "text that the model wrote"
            if graph.task == "generate"
            else "random pixels"
            if graph.image
            else "random tokens"
        ),
        text=bool(graph.image) or any(vocabulary.pieces),
        seconds=time.perf_counter() - start,
    )
