"""Importers: each knows one kind of checkpoint and makes a float graph and a tokenizer of it."""

from __future__ import annotations

from pathlib import Path

from ..device import modelfile
from ..errors import Error
from ..graph.nodes import Graph
from ..tokenizers.choose import vocabulary_of
from ..tokenizers.vocabulary import Vocabulary
from . import ctranslate2, huggingface, keras, llama2c, pytorch

_PYTORCH = ".pt", ".pth", ".safetensors"
_KERAS = (".keras",)
_OLD_KERAS = ".h5", ".hdf5"
SUFFIXES = (".bin", *_PYTORCH, *_KERAS)  # of the sources that are files
SOURCES = (
    "a Hugging Face folder, a CTranslate2 folder, a llama2.c checkpoint (.bin), a PyTorch state "
    "dict (.pt, .pth, .safetensors) or a Keras model (.keras)"
)


def read(
    source: str | Path, tokenizer: str | Path | None = None, config: str | Path | None = None
) -> tuple[Graph, Vocabulary]:
    """Read a checkpoint: one of SOURCES.

    tokenizer: its file, where it does not lie beside the checkpoint. config: likewise the
    description of a PyTorch or Keras file. Raises Error.
    """
    path = Path(source)
    described = path.suffix in _PYTORCH + _KERAS and path.is_file()
    alone = config is not None or path.with_suffix(".json").is_file()
    if described and not alone and (path.parent / "config.json").is_file():
        raise Error(f"{path} is a part of a Hugging Face folder: give the folder, {path.parent}")
    if config is not None and not described:
        kinds = ", ".join(_PYTORCH + _KERAS)
        raise Error(f"{path} takes no --config: that describes files of {kinds}")
    if (path / "model.bin").is_file():
        if tokenizer is not None:
            raise Error(f"{path} is a CTranslate2 folder, which has its own vocabularies")
        graph, vocabulary = ctranslate2.read(path)
    elif path.is_dir():
        graph, vocabulary = huggingface.read(path, tokenizer)
    elif described:
        words = None
        if path.suffix in _KERAS:
            graph, words = keras.read(path, config)
        else:
            graph = pytorch.read(path, config)
        vocabulary = vocabulary_of(graph, path.parent, tokenizer, False, words)
    elif path.suffix in _OLD_KERAS and path.is_file():
        raise Error(
            f"{path} is of Keras's older format; expected what model.save('NAME.keras') of "
            "Keras 3 writes"
        )
    elif path.is_file():
        with path.open("rb") as f:
            if f.read(len(modelfile.MAGIC)) == modelfile.MAGIC:
                raise Error(f"{path} is a picoformer model already; expected {SOURCES}")
        graph, vocabulary = llama2c.read(path, tokenizer)
    else:
        raise Error(f"{path} does not exist; expected {SOURCES}")
    graph.check()
    if len(vocabulary.pieces) != graph.vocab:
        raise Error(
            f"the tokenizer has {len(vocabulary.pieces)} tokens and the model {graph.vocab}: "
            "is it this checkpoint's tokenizer?"
        )
    return graph, vocabulary
