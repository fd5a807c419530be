"""tokenizer.json: of what type its model is, and what all types have."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ...errors import Error
from ..files import JsonReader, read_json
from ..vocabulary import Vocabulary, pad
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
    kind = model["type"] if "type" in model else _untyped(reader, model)
    read = _TYPES.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise Error(
            f"{reader.path}: model type {kind!r}; supported are {', '.join(sorted(_TYPES))}"
        )
    listed = model.get("vocab")
    ids = _ids(reader, unigram.without_scores(reader, listed) if kind == "Unigram" else listed)
    added = _added_tokens(reader, root.get("added_tokens"))
    notes = [] if vocab_size is None else _cut(reader.path, ids, added, vocab_size)
    file = TokenizerJson(reader.path, root, model, ids, added)
    v = read(file)
    v.notes += notes
    pad(v, vocab_size)
    v.template = read_template(file)
    first, last = ends(v.template, file.names)
    v.bos = first if bos is None else bos
    v.eos = last if eos is None else eos
    v.added = read_added(file)
    if type(v) is Vocabulary:
        drop_default_template(v, v.template)
    return v


# What the oldest files, which do not name the type, must have to be of one; in this order.
_FIELDS = {
    "BPE": ("vocab", "merges"),
    "WordPiece": ("vocab", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word"),
    "WordLevel": ("vocab", "unk_token"),
    "Unigram": ("vocab",),
}


def _untyped(reader: JsonReader, model: dict[str, Any]) -> str:
    """The type of a model that does not name it: the first that it can be, as the library has it.

    Only Unigram lists its vocabulary. Raises Error.
    """
    listed = isinstance(model.get("vocab"), list)
    for kind, fields in _FIELDS.items():
        if listed == (kind == "Unigram") and None not in map(model.get, fields):
            return kind
    raise Error(
        f"{reader.path}: a model without a type, of {', '.join(sorted(model)) or 'nothing'}; "
        "expected the fields of one: "
        + "; ".join(f"{kind} {', '.join(fields)}" for kind, fields in _FIELDS.items())
    )


def _ids(reader: JsonReader, listed: object) -> dict[str, int]:
    """The token of each piece, a number of its own."""
    ids: dict[str, int] = {}
    owners: dict[int, str] = {}
    for text, token in reader.mapping(listed, "model.vocab").items():
        ids[text] = reader.token(token, f"the id of {text!r}")
        if owners.setdefault(token, text) != text:
            raise Error(f"{reader.path}: {owners[token]!r} and {text!r} are both token {token}")
    return ids


def _cut(path: str, ids: dict[str, int], added: dict[str, int], size: int) -> list[str]:
    """Leave out tokens that a model of `size` does not have, and no text gives; what to say of it.

    As transformers loads them: a `<pad>` that was added, say. Raises Error for other tokens.
    """
    beyond = {text: i for text, i in {**ids, **added}.items() if i >= size}
    most = max(beyond.values(), default=0) + 1
    given = [text for text in beyond if text not in added]
    if given:
        raise Error(
            f"{path}: has {most} tokens, the model {size}, and texts give those that it lacks, "
            f"such as {given[0]!r} (token {beyond[given[0]]}): is it this model's tokenizer? If "
            "so, give the model as many (transformers: model.resize_token_embeddings)"
        )
    for text in beyond:
        ids.pop(text, None)
        added.pop(text, None)
    names = ", ".join(f"{text} ({i})" for text, i in list(beyond.items())[:3])
    what = names if len(beyond) < 4 else f"{names} and {len(beyond) - 3} more"
    text = f"the tokenizer has {most} tokens and the model {size}: {what} left out"
    return [text] if beyond else []


def _added_tokens(reader: JsonReader, value: object) -> dict[str, int]:
    """The added tokens. `added.py` says what encoding does with them."""
    added: dict[str, int] = {}
    for item in reader.items([] if value is None else value, "added_tokens"):
        item = reader.mapping(item, "an added token")
        text = reader.text(item.get("content"), "an added token's content")
        token = reader.token(item.get("id"), f"the id of {text!r}")
        added[text] = token
    return added
