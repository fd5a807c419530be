"""Which file is a model's tokenizer, and who reads it."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import Error
from ..graph.nodes import Graph
from .files import JsonReader, read_json
from .sentencepiece_model import read_sentencepiece
from .tokenizer_json.read import read_tokenizer_json, vocabulary_from
from .vocab_files import config_of, vocab_and_merges, vocab_of_characters, vocab_txt
from .vocabulary import Vocabulary, begin_with_bos
from .words import Words, listed_words, read_words

# one of which a folder has
_SENTENCEPIECE = "tokenizer.model", "spiece.model"
_FILES = "tokenizer.json", "source.spm", *_SENTENCEPIECE, "vocab.txt", "vocab.json"
_MODELS = ".model", ".spm"  # suffixes of SentencePiece's own files


def vocabulary_of(
    graph: Graph,
    folder: Path,
    tokenizer: str | Path | None,
    needed: bool = True,
    words: Words | None = None,
) -> Vocabulary:
    """The vocabulary of a model: of the file `tokenizer` or of its folder.

    That file is as tokenizer.json, a list of words (.txt), or SentencePiece's (.model, .spm).
    words: the model's own.

    The graph's bos and eos hold where it has them; else it gets the tokenizer's. Where there is
    no tokenizer, and none is needed, tokens stand for nothing. A description's bos, which is no
    part of a tokenizer, begins texts whose tokenizer adds nothing. Raises Error.
    """
    if graph.image or graph.frames:
        return Vocabulary([b""])  # these have no tokens: one that stands for nothing
    special = [None if t < 0 else t for t in (graph.bos, _end(graph))]
    vocabulary: Vocabulary
    if tokenizer is not None and Path(tokenizer).suffix == ".txt":
        words = listed_words(tokenizer)
    elif tokenizer is not None:
        words = None
    if words is not None:
        vocabulary = read_words(words, graph.vocab, *special)
    elif tokenizer is not None and Path(tokenizer).suffix in _MODELS:
        around = _around(Path(tokenizer))
        vocabulary = read_sentencepiece(tokenizer, graph.vocab, special[0], special[1], around)
    elif tokenizer is not None:
        vocabulary = read_tokenizer_json(tokenizer, graph.vocab, *special)
    elif needed or any((folder / name).is_file() for name in _FILES):
        vocabulary = read_tokenizer(folder, graph.vocab, *special)
    else:
        return Vocabulary([b""] * graph.vocab, bos=graph.bos, eos=_end(graph))
    if not needed and graph.task == "generate" and special[0] is not None:
        begin_with_bos(vocabulary)
    graph.bos = vocabulary.bos
    if not graph.ends and vocabulary.eos >= 0:
        graph.ends = (vocabulary.eos,)
    return vocabulary


def _end(graph: Graph) -> int:
    """The token behind a text, -1 if there is none."""
    return next((t for t in graph.ends if t != graph.bos), max(graph.ends, default=-1))


def read_tokenizer(
    folder: str | os.PathLike[str],
    vocab_size: int | None = None,
    bos: int | None = None,
    eos: int | None = None,
) -> Vocabulary:
    """The vocabulary of a folder: tokenizer.json, or the older files of the same content.

    Those are SentencePiece's models (Marian's with vocab.json); vocab.txt (WordPiece); vocab.json
    with merges.txt (byte-level BPE); and vocab.json alone, of single characters. Each has its
    tokenizer_config.json where that is there. Arguments and errors as read_tokenizer_json's.
    """
    folder = Path(folder)
    if (folder / "tokenizer.json").is_file():
        return read_tokenizer_json(folder / "tokenizer.json", vocab_size, bos, eos)
    if (folder / "source.spm").is_file():
        return _marian(folder, vocab_size, bos, eos)
    for name in _SENTENCEPIECE:
        if (folder / name).is_file():
            around = _around(folder / name)
            return read_sentencepiece(folder / name, vocab_size, bos, eos, around)
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
            "tokenizer.model, spiece.model, source.spm with vocab.json (SentencePiece), or "
            "vocab.txt, or vocab.json with merges.txt (byte-level BPE) or without (characters)"
        )
    return vocabulary_from(JsonReader(str(path)), root, vocab_size, bos, eos)


def _marian(folder: Path, vocab_size: int | None, bos: int | None, eos: int | None) -> Vocabulary:
    """source.spm cuts a text, vocab.json has the tokens of its pieces. Raises Error."""
    path = folder / "vocab.json"
    reader = JsonReader(str(path))
    listed = reader.mapping(read_json(path), "the file")
    ids = {text: reader.token(token, f"the id of {text!r}") for text, token in listed.items()}
    if len(set(ids.values())) < len(ids):
        raise Error(f"{path}: two pieces have one token")
    if config_of(folder).get("separate_vocabs"):
        raise Error(
            f"{folder}: separate_vocabs, one for the source and one for the target; supported is "
            "one vocab.json for both"
        )
    return read_sentencepiece(folder / "source.spm", vocab_size, bos, eos, (False, True), ids)


def _around(path: Path) -> tuple[bool, bool]:
    """Whether bos stands in front of a text, and eos behind it, as transformers has it.

    T5's spiece.model has the latter; of a tokenizer.model tokenizer_config.json says it.
    """
    if path.name == "spiece.model":
        return False, True
    config = config_of(path.parent)
    return bool(config.get("add_bos_token")), bool(config.get("add_eos_token"))
