"""tokenizer.json: of what type its model is, and what all types have."""

from __future__ import annotations

import os
from collections.abc import Callable

from ...errors import Error
from ..files import JsonReader, read_json
from ..vocabulary import Vocabulary
from . import bpe, unigram, word_level, wordpiece
from .added import read_added
from .components import TokenizerJson
from .template import drop_default_template, ends, read_template

_TYPES: dict[str, Callable[[TokenizerJson], Vocabulary]] = {
    "BPE": bpe.read,
    "Unigram": unigram.read,
    "WordLevel": word_level.read,
    "WordPiece": wordpiece.read,
}


def read_tokenizer_json(
    path: str | os.PathLike[str],
    vocab_size: int | None = None,
    bos: int | None = None,
    eos: int | None = None,
) -> Vocabulary:
    """The vocabulary of a Hugging Face `tokenizer.json`.

    vocab_size: the checkpoint's, where that is padded beyond the tokenizer's own; the further
    tokens stand for nothing. bos, eos: their ids, where the model's configuration gives them;
    otherwise they are taken from the file's post-processor, or by their usual names.
    Raises Error for what is malformed or of another type, and says what was seen.
    """
    reader = JsonReader(str(path))
    return vocabulary_from(reader, read_json(path), vocab_size, bos, eos)


def vocabulary_from(
    reader: JsonReader, parsed: object, vocab_size: int | None, bos: int | None, eos: int | None
) -> Vocabulary:
    """The vocabulary of a tokenizer.json that is parsed. Otherwise as read_tokenizer_json."""
    root = reader.mapping(parsed, "the file")
    model = reader.mapping(root.get("model"), "model")
    # the oldest files do not name the type
    kind = model.get("type", "BPE" if "merges" in model else None)
    read = _TYPES.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise Error(
            f"{reader.path}: model type {kind!r}; supported are {', '.join(sorted(_TYPES))}"
        )
    listed = model.get("vocab")
    ids = _ids(reader, unigram.without_scores(reader, listed) if kind == "Unigram" else listed)
    added = _added_tokens(reader, root.get("added_tokens"))
    file = TokenizerJson(reader.path, root, model, ids, added)
    if vocab_size is not None and vocab_size < file.size:
        raise Error(
            f"{reader.path}: has {file.size} tokens, more than the checkpoint's {vocab_size}"
        )
    v = read(file)
    v.pieces = [*v.pieces, *[b""] * ((vocab_size or file.size) - len(v.pieces))]
    v.template = read_template(file)
    first, last = ends(v.template, file.names)
    v.bos = first if bos is None else bos
    v.eos = last if eos is None else eos
    v.added = read_added(file)
    if type(v) is Vocabulary:
        drop_default_template(v, v.template)
    return v


def _ids(reader: JsonReader, listed: object) -> dict[str, int]:
    """The token of each piece, a number of its own."""
    ids: dict[str, int] = {}
    owners: dict[int, str] = {}
    for text, token in reader.mapping(listed, "model.vocab").items():
        ids[text] = reader.token(token, f"the id of {text!r}")
        if owners.setdefault(token, text) != text:
            raise Error(f"{reader.path}: {owners[token]!r} and {text!r} are both token {token}")
    return ids


def _added_tokens(reader: JsonReader, value: object) -> dict[str, int]:
    """The added tokens. `added.py` says what encoding does with them."""
    added: dict[str, int] = {}
    for item in reader.items([] if value is None else value, "added_tokens"):
        item = reader.mapping(item, "an added token")
        text = reader.text(item.get("content"), "an added token's content")
        token = reader.token(item.get("id"), f"the id of {text!r}")
        added[text] = token
    return added
