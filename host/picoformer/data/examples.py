"""What a model is tried and calibrated on: examples read from files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.float_model import FloatModel
from ..graph.frames import HIGH, LOW, Frames
from ..graph.nodes import Array, Graph
from ..tokenizers.tokenizer import Tokenizer
from .pictures import PICTURES, cut, picture
from .signals import read_signals
from .tables import is_number

FILL = -1  # in rows of token ids that are shorter than others, behind their end
NO_SIZES = (
    "this model reads frames of numbers, and its checkpoint does not tell how large they are: "
    "give some with --data FILE, or their mean and std in its description"
)


@dataclass
class Example:
    """What a model reads, and what is expected of it.

    tokens: ids (n,), or patches (n, elements) of an image; of a translator what the decoder reads,
    BOS and the first of the wanted texts. types (n,): 0 for a question's tokens, 1 for a text's.
    source (m,): what an encoder reads. text, context: as they were written. pixels: an image;
    signal (rows, channels): whole numbers, of which tokens are the windows. wanted: the label, or
    the right answers; target (outputs,): the numbers that are to be predicted.
    """

    tokens: Array
    types: Array | None = None
    source: Array | None = None
    text: str = ""
    context: str = ""
    pixels: Array | None = None
    signal: Array | None = None
    wanted: list[str] = field(default_factory=list)
    target: Array | None = None

    def run(self, model: FloatModel) -> Array:
        """The float model's results (n, outputs); n is 1 where positions are pooled."""
        types, source = (None if v is None else v[None] for v in (self.types, self.source))
        return np.asarray(model.forward(self.tokens[None], types, source)[0])


def random_examples(graph: Graph, count: int, length: int, seed: int = 0) -> list[Example]:
    """Examples of random tokens, pixels or frames, for what nobody has data for."""
    rng = np.random.default_rng(seed)
    if graph.image:
        height, width, channels = graph.image[:3]
        pixels = rng.integers(0, 256, (count, height, width, channels))
        return [_seen(p, [], graph) for p in pixels]
    if graph.frames:
        return [_heard(s, [], graph) for s in random_signals(graph.frames, count, rng)]
    ids = rng.integers(0, graph.vocab, (count, length))
    if graph.encoder:
        return [_translated(row, [], graph) for row in ids]
    half = np.arange(length) * 2 // length if graph.task == "answer" else None
    return [Example(row, half) for row in ids]


def random_kind(graph: Graph) -> str:
    """What random_examples are, in words."""
    return "random " + ("pixels" if graph.image else "signals" if graph.frames else "tokens")


def random_signals(f: Frames, count: int, rng: np.random.Generator) -> Array:
    """Whole numbers (count, rows, channels), of the mean and deviation that channels have."""
    if f.mean is None or f.std is None:
        raise Error(NO_SIZES)
    v = f.mean + f.std * rng.normal(0, 1, (count, f.length, f.channels))
    return np.clip(np.rint(v), LOW, HIGH).astype(np.int64)


def read_examples(
    path: str | Path, tokenizer: Tokenizer, context: int, graph: Graph
) -> list[Example]:
    """The examples of a file, for a model of `context` positions. Raises Error.

    .npy: rows of token ids, those of shorter ones filled with -1; of a translator its sources.
    .tsv: in each line label and text for a model that classifies, source and target for a
    translator (lines of one source are one example), text, question and answer for one that
    answers, numbers, with spaces between, and text for one that predicts. .npz (`images` and,
    if there are any, `labels`: names, or the numbers of one that predicts) or a folder with a
    folder of pictures for each label: for a model
    of images. What a model of signals takes, `signals.read_signals` says. Other files: UTF-8 text.
    It is one text for a generative model, encoded and cut into sequences that begin as the
    tokenizer has it, of the context's length (a shorter rest is left out unless it is all there
    is), and a text in each line for others.
    """
    file = Path(path)
    if graph.frames:
        return list(_signals(file, graph, graph.frames))
    if graph.image:
        found = list(_images(file, graph))
    elif file.suffix == ".npy":
        found = list(_ids(file, context, graph))
    else:
        try:
            text = file.read_text("utf-8")
        except (OSError, ValueError) as e:
            raise Error(f"cannot read {file}: {e}") from e
        if graph.task == "generate":
            return _pieces(file, text, tokenizer, context, graph)
        found = list(_lines(file, text, tokenizer, context, graph))
    if not found:
        raise Error(f"{file} holds no {'images' if graph.image else 'text'}")
    return found


def _ids(file: Path, context: int, graph: Graph) -> Iterator[Example]:
    ids = _load(file)
    if ids.dtype.kind not in "iu" or ids.ndim not in (1, 2) or not ids.size:
        raise Error(f"{file}: {ids.dtype} of shape {ids.shape}, expected rows of token ids")
    ids = np.atleast_2d(ids).astype(np.int64)
    if ids.min() < FILL or ids.max() >= graph.vocab:
        raise Error(
            f"{file}: ids from {ids.min()} to {ids.max()}, the vocabulary has {graph.vocab}"
        )
    for number, row in enumerate(ids[:, :context], 1):
        row = row[: int((row != FILL).sum())]
        if not row.size or FILL in row:
            raise Error(f"{file}, row {number}: {FILL} may only follow a row's ids")
        yield _translated(row, [], graph) if graph.encoder else Example(row)


def _load(file: Path) -> Any:
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError) as e:
        raise Error(f"cannot read {file}: {e}") from e


def _pieces(
    file: Path, text: str, tokenizer: Tokenizer, context: int, graph: Graph
) -> list[Example]:
    before = tokenizer.before()
    tokens = tokenizer.encode(text)
    n = min(context - len(before), len(tokens))
    if n < 1:
        raise Error(f"{file} holds no text")
    return [
        Example(np.array(before + tokens[i : i + n], np.int64))
        for i in range(0, len(tokens) - n + 1, n)
    ]


# What a line of a .tsv holds, by the model's task; the last column is what is wanted.
COLUMNS = {
    "classify": ["label", "text"],
    "embed": ["label", "text"],
    "translate": ["source", "target"],
    "answer": ["text", "question", "answer"],
    "tag": ["text"],
    "predict": ["numbers", "text"],
}


def _lines(
    file: Path, text: str, tokenizer: Tokenizer, context: int, graph: Graph
) -> Iterator[Example]:
    columns = COLUMNS[graph.task]
    if graph.task == "answer" and file.suffix != ".tsv":
        raise Error(f"{file}: expected a .tsv of {', '.join(columns)}")
    sources: dict[str, Example] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        row = line.split("\t") if file.suffix == ".tsv" else [line]
        if file.suffix == ".tsv" and len(row) < len(columns):
            raise Error(
                f"{file}, line {number}: {len(row) - 1 or 'no'} tab, "
                f"expected {', tab, '.join(columns)}"
            )
        if graph.task == "answer":
            yield _asked(row[0], row[1], row[2:3], tokenizer, context)
            continue
        of = row[0] if graph.encoder or len(row) < 2 else "\t".join(row[1:])
        ids = np.array(tokenizer.fit(of, context), np.int64)
        if not ids.size:
            raise Error(f"{file}, line {number}: no tokens")
        if not graph.encoder:
            made = Example(ids, text=of)
            if len(row) > 1 and graph.task == "predict":
                made.target = _numbers(f"{file}, line {number}", row[0].split(), graph)
            elif len(row) > 1:
                made.wanted = row[:1]
            yield made
        elif of in sources:
            sources[of].wanted += row[1:2]
        else:
            target = tokenizer.encode(row[1])[: context - 1] if len(row) > 1 else []
            if tokenizer.decode(target) != row[-1]:
                target = []  # a target's tokens are not those of a source of the same text
            sources[of] = made = _translated(ids, target, graph)
            made.text, made.wanted = of, row[1:2]
    yield from sources.values()


def _numbers(where: str, values: Any, graph: Graph) -> Array:
    """What is to be predicted. Raises Error."""
    count = graph.sizes()[graph.result]
    try:
        made = np.array(values, np.float64).reshape(-1)
    except ValueError:
        made = np.zeros(0)
    if made.shape != (count,) or not np.isfinite(made).all():
        raise Error(f"{where}: {str(values)[:60]}, expected {count} numbers")
    return made


def _translated(source: Array, target: list[int], graph: Graph) -> Example:
    return Example(np.array([graph.bos, *target], np.int64), source=source)


def _asked(
    text: str, question: str, wanted: list[str], tokenizer: Tokenizer, context: int
) -> Example:
    asked, ids = tokenizer.encode(question), tokenizer.encode(text)
    ids = ids[: max(0, context - len(tokenizer.wrap(asked, [])))]
    types = np.array(tokenizer.types(asked, ids), np.int64)
    tokens = np.array(tokenizer.wrap(asked, ids), np.int64)
    return Example(tokens, types, text=question, context=text, wanted=wanted)


# images


def _images(file: Path, graph: Graph) -> Iterator[Example]:
    assert graph.image
    height, width, channels = graph.image[:3]
    if file.is_dir():
        for folder in sorted(p for p in file.iterdir() if p.is_dir()):
            for one in sorted(folder.iterdir()):
                if one.suffix.lower() in PICTURES:
                    pixels = picture(one, (height, width, channels))
                    yield _seen(pixels, [folder.name], graph)
        return
    if file.suffix != ".npz":
        raise Error(f"{file}: expected a .npz of images and labels, or a folder for each label")
    arrays = _load(file)
    if "images" not in arrays:
        raise Error(f"{file} holds {', '.join(arrays) or 'nothing'}, expected images and labels")
    images = arrays["images"]
    if images.shape[1:] not in ((height, width), (height, width, channels)) or (
        images.ndim == 3 and channels != 1
    ):
        raise Error(
            f"{file}: images of shape {images.shape[1:]}, expected {height} x {width} x {channels}"
        )
    if images.dtype != np.uint8:
        raise Error(f"{file}: images are {images.dtype}, expected uint8")
    labels = arrays.get("labels")
    seen = () if labels is None else labels.shape[:1] if graph.task == "predict" else labels.shape
    if labels is not None and seen != images.shape[:1]:
        raise Error(f"{file}: {labels.shape} labels of {len(images)} images")
    for i, pixels in enumerate(images):
        made = _seen(pixels, [], graph)
        if labels is not None and graph.task == "predict":
            made.target = _numbers(f"{file}: labels of image {i}", labels[i], graph)
        elif labels is not None:
            made.wanted = [_label(file, labels[i], graph)]
        yield made


def _label(file: Path, label: Any, graph: Graph) -> str:
    """A label's name; a number counts the model's labels."""
    if np.asarray(label).dtype.kind not in "iu":
        return str(label)
    if not 0 <= label < len(graph.labels):
        raise Error(f"{file}: label {label}, the model has {len(graph.labels)}")
    return graph.labels[int(label)]


def _seen(pixels: Array, wanted: list[str], graph: Graph) -> Example:
    assert graph.image
    return Example(cut(pixels, graph.image), pixels=pixels, wanted=wanted)


# signals


def _heard(signal: Array, wanted: list[str], graph: Graph) -> Example:
    assert graph.frames
    return Example(graph.frames.windows(signal), signal=signal, wanted=wanted)


def _signals(file: Path, graph: Graph, frames: Frames) -> Iterator[Example]:
    found = read_signals(file, frames)
    if graph.task == "predict":
        outputs = graph.sizes()[graph.result]
        for signal, wanted in found:
            e = _heard(signal, [], graph)
            e.target = None if wanted is None else _target(file, wanted, outputs)
            yield e
    elif graph.task == "embed":
        yield from (_heard(signal, [], graph) for signal, _ in found)
    else:
        given = [w if isinstance(w, str | None) else _written(file, w, graph) for _, w in found]
        # Numbers are those of labels, unless all are the names of some.
        numbers = [w for w in given if isinstance(w, int)]
        if all(str(n) in graph.labels for n in numbers):
            given = [str(w) if isinstance(w, int) else w for w in given]
        for (signal, _), w in zip(found, given, strict=True):
            labels = [_label(file, w, graph)] if w is not None else []
            yield _heard(signal, labels, graph)


def _written(file: Path, numbers: Array, graph: Graph) -> str | int:
    """The number of a label; of labels that hold or not by themselves the names that do."""
    if numbers.size == 1 and np.isfinite(numbers[0]) and numbers[0] == np.rint(numbers[0]):
        return int(numbers[0])
    if graph.several and numbers.size == len(graph.labels) and np.isin(numbers, (0, 1)).all():
        return ",".join(label for label, n in zip(graph.labels, numbers, strict=True) if n)
    shown = " ".join(f"{n:g}" for n in numbers[:4])
    raise Error(f"{file}: label {shown}, expected a name, or one whole number")


def _target(file: Path, wanted: str | Array, outputs: int) -> Array:
    """What is to be predicted, (outputs,)."""
    if isinstance(wanted, str):
        if not is_number(wanted):
            raise Error(f"{file}: {wanted!r} is to be predicted, expected numbers")
        wanted = np.array([float(wanted)])
    if wanted.size != outputs or not np.isfinite(wanted).all():
        shown = " ".join(f"{n:g}" for n in wanted[:4])
        raise Error(
            f"{file}: {wanted.size} numbers are to be predicted ({shown}), the model predicts "
            f"{outputs}"
        )
    return wanted.astype(np.float64)
