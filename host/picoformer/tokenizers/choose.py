"""Which file is a model's tokenizer, and who reads it."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import Error
from ..graph.nodes import Graph
from .files import JsonReader
from .tokenizer_json.read import read_tokenizer_json, vocabulary_from
from .vocab_files import vocab_and_merges, vocab_of_characters, vocab_txt
from .vocabulary import Vocabulary, begin_with_bos
from .words import Words, listed_words, read_words

_FILES = "tokenizer.json", "vocab.txt", "vocab.json"  # one of which a folder has


def vocabulary_of(
    graph: Graph,
    folder: Path,
    tokenizer: str | Path | None,
    needed: bool = True,
    words: Words | None = None,
) -> Vocabulary:
    """The vocabulary of a model: of the file `tokenizer` or of its folder.

    That file is as tokenizer.json, or a list of words (.txt). words: the model's own.

    The graph's bos and eos hold where it has them; else it gets the tokenizer's. Where there is
    no tokenizer, and none is needed, tokens stand for nothing. A description's bos, which is no
    part of a tokenizer, begins texts whose tokenizer adds nothing. Raises Error.
    """
    if graph.image:
        return Vocabulary([b""])  # images have no tokens: one that stands for nothing
    special = tuple(None if t < 0 else t for t in (graph.bos, graph.eos))
    vocabulary: Vocabulary
    if tokenizer is not None and Path(tokenizer).suffix == ".txt":
        words = listed_words(tokenizer)
    elif tokenizer is not None:
        words = None
    if words is not None:
        vocabulary = read_words(words, graph.vocab, *special)
    elif tokenizer is not None:
        vocabulary = read_tokenizer_json(tokenizer, graph.vocab, *special)
    elif needed or any((folder / name).is_file() for name in _FILES):
        vocabulary = read_tokenizer(folder, graph.vocab, *special)
    else:
        return Vocabulary([b""] * graph.vocab, bos=graph.bos, eos=graph.eos)
    if not needed and graph.task == "generate" and special[0] is not None:
        begin_with_bos(vocabulary)
    graph.bos, graph.eos = vocabulary.bos, vocabulary.eos
    return vocabulary


def read_tokenizer(
    folder: str | os.PathLike[str],
    vocab_size: int | None = None,
    bos: int | None = None,
    eos: int | None = None,
) -> Vocabulary:
    """The vocabulary of a folder: tokenizer.json, or the older files of the same content.

    Those are vocab.txt (WordPiece) and vocab.json with merges.txt (byte-level BPE), each with
    tokenizer_config.json where that is there; and vocab.json alone, of single characters.
    Arguments and errors as read_tokenizer_json's.
    """
    folder = Path(folder)
    if (folder / "tokenizer.json").is_file():
        return read_tokenizer_json(folder / "tokenizer.json", vocab_size, bos, eos)
    if (folder / "vocab.txt").is_file():
        path, root = folder / "vocab.txt", vocab_txt(folder)
    elif (folder / "vocab.json").is_file():
        path = folder / "vocab.json"
        listed = (folder / "merges.txt").is_file()
        root = vocab_and_merges(folder) if listed else vocab_of_characters(path)
    else:
        seen = sorted(p.name for p in folder.glob("*"))[:20] if folder.is_dir() else "no folder"
        raise Error(
            f"{folder}: no tokenizer found (seen: {seen}); expected tokenizer.json, or "
            "vocab.txt, or vocab.json with merges.txt (byte-level BPE) or without (characters)"
        )
    return vocabulary_from(JsonReader(str(path)), root, vocab_size, bos, eos)
