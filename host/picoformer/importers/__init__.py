"""Importers: each knows one kind of checkpoint and makes a float graph and a tokenizer of it."""

from __future__ import annotations

from pathlib import Path

from ..errors import Error
from ..graph import Graph
from ..tokenizer import Vocabulary
from . import ctranslate2, huggingface, llama2c


def read(source: str | Path, tokenizer: str | Path | None = None) -> tuple[Graph, Vocabulary]:
    """Read a checkpoint: a llama2.c `.bin` file, a Hugging Face or a CTranslate2 folder.

    tokenizer: its file, where it does not lie beside the checkpoint. Raises Error.
    """
    path = Path(source)
    if (path / "model.bin").is_file():
        if tokenizer is not None:
            raise Error(f"{path} is a CTranslate2 folder, which has its own vocabularies")
        graph, vocabulary = ctranslate2.read(path)
    elif path.is_dir():
        graph, vocabulary = huggingface.read(path, tokenizer)
    elif path.is_file():
        graph, vocabulary = llama2c.read(path, tokenizer)
    else:
        raise Error(
            f"{path} does not exist; expected a llama2.c checkpoint (.bin) or a Hugging Face "
            "folder"
        )
    graph.check()
    if len(vocabulary.pieces) != graph.vocab:
        raise Error(
            f"the tokenizer has {len(vocabulary.pieces)} tokens and the model {graph.vocab}: "
            "is it this checkpoint's tokenizer?"
        )
    return graph, vocabulary
