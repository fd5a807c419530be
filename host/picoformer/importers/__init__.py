"""Importers: each knows one kind of checkpoint and makes a float graph and a tokenizer of it."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import Error
from ..graph.nodes import Graph
from ..graph.tied import tie
from ..tokenizers.choose import vocabulary_of
from ..tokenizers.vocabulary import Vocabulary
from . import ctranslate2, gguf, huggingface, keras, llama2c, pytorch
from .card import licence
from .description import KERAS_FILES as _KERAS
from .description import PYTORCH_FILES as _PYTORCH
from .description import checkpoints
from .recognize import GGUF, KERAS, PICKLE, SAFETENSORS, TORCH, named, recognize, refusal

SUFFIXES = (".bin", ".gguf", *_PYTORCH, *_KERAS)  # of the sources that are files
SOURCES = (
    "a Hugging Face folder, a CTranslate2 folder, a GGUF file, a llama2.c checkpoint (.bin), a "
    "PyTorch state dict (.pt, .pth, .safetensors), a Keras model (.keras), or a folder with one "
    "of the last two and its description (.json)"
)
# What a file is to be read as, by what it is and, where nothing tells, by its name.
_BY_CONTENT = {TORCH: "pytorch", PICKLE: "pytorch", SAFETENSORS: "pytorch"}
_BY_CONTENT |= {KERAS: "keras", GGUF: "gguf"}
_BY_NAME = {**dict.fromkeys(_PYTORCH, "pytorch"), **dict.fromkeys(_KERAS, "keras")}
_LISTS = "config.json", "modules.json", "model.bin"  # each tells what its folder is
_HUB = re.compile(r"\w[\w-]*(\.\d[\w.-]*)?(/\w[\w.-]*)?")  # a model's name there


def read(
    source: str | Path, tokenizer: str | Path | None = None, config: str | Path | None = None
) -> tuple[Graph, Vocabulary]:
    """Read a checkpoint: one of SOURCES.

    tokenizer: its file, where it does not lie beside the checkpoint. config: likewise the
    description of a PyTorch or Keras file. Raises Error.
    """
    path = _chosen(Path(source), config is not None)
    kind = _kind(path)
    if config is not None and kind not in _BY_NAME.values():
        kinds = ", ".join(_PYTORCH + _KERAS)
        raise Error(f"{path} takes no --config: that describes files of {kinds}")
    if kind == "ctranslate2":
        if tokenizer is not None:
            raise Error(f"{path} is a CTranslate2 folder, which has its own vocabularies")
        graph, vocabulary = ctranslate2.read(path)
    elif kind == "folder":
        graph, vocabulary = huggingface.read(path, tokenizer)
    elif kind == "gguf":
        graph, vocabulary = gguf.read(path, tokenizer)
    elif kind == "llama2c":
        graph, vocabulary = llama2c.read(path, tokenizer)
    else:
        alone = config is not None or path.with_suffix(".json").is_file()
        if not alone and (path.parent / "config.json").is_file():
            folder = path.parent
            raise Error(f"{path} is a part of a Hugging Face folder: give the folder, {folder}")
        words = None
        if kind == "keras":
            graph, words = keras.read(path, config)
        else:
            graph = pytorch.read(path, config)
        vocabulary = vocabulary_of(graph, path.parent, tokenizer, False, words)
    graph.meta.setdefault("licence", licence(path if path.is_dir() else path.parent))
    graph.check()
    graph = tie(graph)
    if len(vocabulary.pieces) != graph.vocab:
        raise Error(
            f"the tokenizer has {len(vocabulary.pieces)} tokens and the model {graph.vocab}: "
            "is it this checkpoint's tokenizer?"
        )
    return graph, vocabulary


def _chosen(path: Path, described: bool) -> Path:
    """A folder's only checkpoint that has its description beside it; else the path itself.

    described: whether the description is elsewhere. Folders with files of their own are left.
    """
    if any((path / name).is_file() for name in _LISTS):
        return path
    found = checkpoints(path)
    if not described:
        found = [file for file in found if file.with_suffix(".json").is_file()]
    return found[0] if len(found) == 1 else path


def _kind(path: Path) -> str:
    """What a source is to be read as. Raises Error for what is none."""
    if (path / "model.bin").is_file():
        return "ctranslate2"
    if path.is_dir():
        return "folder"
    if not path.is_file():
        way = ""
        if _HUB.fullmatch(str(path)):
            way = f" (if it is a model's name on a hub: `hf download {path} --local-dir FOLDER`)"
        raise Error(f"{path} does not exist{way}; expected {SOURCES}")
    seen = recognize(path) or named(path)
    if seen and seen not in _BY_CONTENT:
        raise refusal(path, seen, SOURCES)
    return _BY_CONTENT.get(seen) or _BY_NAME.get(path.suffix, "llama2c")
