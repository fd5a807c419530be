"""From a checkpoint to a model file: import, calibrate, quantize, compile, write."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, importers, modelfile
from .compiler import BATCH, Compiled, compile_graph
from .errors import Error
from .examples import Example, random_examples, read_examples
from .graph import FloatModel, Graph, sample
from .tokenizer import Tokenizer, Vocabulary, build

DEFAULT_CONTEXT = 256
CALIBRATION = (8, 96)  # sequences and tokens that the model writes itself
CALIBRATION_ROWS = 64  # examples of given data at most; more move the largest values little


@dataclass
class Report:
    """What `convert` did. Sizes in bytes, errors relative to each matrix's root mean square."""

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
    for i, one in enumerate(examples[:CALIBRATION_ROWS]):
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
        "quantization": "weights int8 per row, activations int12, keys int12, values int8",
        "picoformer": __version__,
    }
    # Where a value stands in the program, for reports: its name and its fraction bits.
    meta["values"] = [[s.value, s.bits] if s.value else [] for s in compiled.steps]
    if graph.labels:
        meta["labels"] = graph.labels
    if graph.image:
        meta["image"] = list(graph.image)
    return modelfile.encode(compiled, build(vocabulary), meta)


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
    key_bits: int = 12,
    batch: int = BATCH,
) -> Report:
    """Convert a checkpoint to a model file and return a report.

    source: what importers.SOURCES lists (docs/convert.md). context: positions, by default the
    smaller of the model's and 256. tokenizer: its file, if not beside the source; config: of a
    PyTorch or Keras file, its description likewise. data: text or token ids to calibrate on, by
    default what the model writes itself. Raises Error.
    """
    start = time.perf_counter()
    for what, bits, supported in (("weights", weight_bits, 8), ("keys", key_bits, 12)):
        if bits != supported:
            raise Error(f"{bits}-bit {what} are not supported yet, only {supported}-bit")
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
    compiled = compile_graph(graph, calibrate(graph, rows), context, batch)
    content = compiled_bytes(graph, vocabulary, compiled, name)
    model = modelfile.parse(content)  # what cannot be read back is not written
    modelfile.write(Path(output), content)
    errors = {}
    for value, (matrix, weight) in compiled.matrices.items():
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
        calibration=(
            f"{min(len(rows), CALIBRATION_ROWS)} of {len(rows)} examples of {data}"
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
