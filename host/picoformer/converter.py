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
from .graph import Array, FloatModel, Graph, sample
from .tokenizer import Tokenizer, Vocabulary, build

DEFAULT_CONTEXT = 256
CALIBRATION = (8, 96)  # sequences and tokens that the model writes itself
CALIBRATION_ROWS = 64  # sequences of given data at most; more move the largest values little
CALIBRATION_BATCH = 8  # sequences at a time, which bounds the memory


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
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def calibrate(graph: Graph, data: Array | None = None) -> dict[str, float]:
    """Largest magnitude of each value over `data` (sequences, tokens).

    By default over text that the model writes itself, or random tokens if it writes none.
    """
    if data is None and graph.task != "generate":
        rng = np.random.default_rng(0)
        data = rng.integers(0, graph.vocab, (CALIBRATION[0], min(CALIBRATION[1], graph.context)))
    if data is None:
        count, length = CALIBRATION
        _, model = sample(graph, count, min(length, graph.context))
        return model.amax
    amax: dict[str, float] = {}
    for at in range(0, min(len(data), CALIBRATION_ROWS), CALIBRATION_BATCH):
        model = FloatModel(graph, np.float32)
        model.forward(data[at : at + CALIBRATION_BATCH, : graph.context])
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
    if graph.labels:
        meta["labels"] = graph.labels
    return modelfile.encode(compiled, build(vocabulary), meta)


def read_tokens(path: str | Path, tokenizer: Tokenizer, context: int, vocab: int) -> Array:
    """Token ids (sequences, length) from a file.

    .npy: an integer array of ids. Other files: UTF-8 text, encoded and cut into sequences that
    begin with BOS, of the context's length; a shorter rest is left out unless it is all there is.
    """
    file = Path(path)
    try:
        if file.suffix == ".npy":
            ids = np.load(file, allow_pickle=False)
        else:
            text = file.read_text("utf-8")
    except (OSError, ValueError) as e:
        raise Error(f"cannot read {file}: {e}") from e
    if file.suffix == ".npy":
        if ids.dtype.kind not in "iu" or ids.ndim not in (1, 2) or not ids.size:
            raise Error(f"{file}: {ids.dtype} of shape {ids.shape}, expected rows of token ids")
        ids = np.atleast_2d(ids).astype(np.int64)
        if ids.min() < 0 or ids.max() >= vocab:
            raise Error(f"{file}: ids from {ids.min()} to {ids.max()}, the vocabulary has {vocab}")
        return np.asarray(ids[:, :context])
    bos = [tokenizer.bos] if tokenizer.bos >= 0 else []
    tokens = tokenizer.encode(text)
    n = min(context - len(bos), len(tokens))
    if n < 1:
        raise Error(f"{file} holds no text")
    rows = [bos + tokens[i : i + n] for i in range(0, len(tokens) - n + 1, n)]
    return np.array(rows, np.int64)


def convert(
    source: str | Path,
    output: str | Path,
    *,
    context: int | None = None,
    tokenizer: str | Path | None = None,
    data: str | Path | None = None,
    name: str | None = None,
    weight_bits: int = 8,
    key_bits: int = 12,
    batch: int = BATCH,
) -> Report:
    """Convert a checkpoint to a model file and return a report.

    source: a llama2.c `.bin` file or a Hugging Face folder. context: positions, by default the
    smaller of the model's and 256. tokenizer: its file, if not beside the source. data: text or
    token ids to calibrate on, by default what the model writes itself. Raises Error.
    """
    start = time.perf_counter()
    for what, bits, supported in (("weights", weight_bits, 8), ("keys", key_bits, 12)):
        if bits != supported:
            raise Error(f"{bits}-bit {what} are not supported yet, only {supported}-bit")
    target = os.path.realpath(output)
    for used in (source, tokenizer, data):
        if used is not None and os.path.realpath(used) == target:
            raise Error(f"the output {output} is an input as well; give it another name")
    graph, vocabulary = importers.read(source, tokenizer)
    if context is None:
        context = min(graph.context, DEFAULT_CONTEXT)
    rows = None
    if data is not None:
        rows = read_tokens(data, Tokenizer(build(vocabulary)), graph.context, graph.vocab)
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
            "text that the model wrote"
            if rows is None
            else f"{min(len(rows), CALIBRATION_ROWS)} of {len(rows)} sequences of {data}"
        ),
        seconds=time.perf_counter() - start,
    )
