"""Byte-pair encoding, of the Llama type here: of characters, with SentencePiece's spaces.

BPE of bytes is in byte_level.py, BPE that merges nothing in word_level.py.
"""

from __future__ import annotations

from typing import Any

from ...errors import Error
from ..sentencepiece import SPACE
from ..vocabulary import Vocabulary, single_characters
from . import byte_level, word_level
from .components import TokenizerJson
from .merges import listed_merges
from .metaspace import adds_space, check_decoder

_SUPPORTED = (
    "supported is BPE of the Llama type: normalizer Prepend \u2581 and Replace ' ' by \u2581, or "
    "pre-tokenizer Metaspace"
)


def read(file: TokenizerJson) -> Vocabulary:
    """The vocabulary of a BPE of any type. Raises Error."""
    splitters = file.steps("pre_tokenizer")
    of_bytes = any(step.get("type") == "ByteLevel" for step in splitters)
    options = ["dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"]
    for option in options[: 3 if of_bytes else 4]:
        if file.model.get(option):
            raise Error(
                f"{file.path}: model option {option} = {file.model[option]!r}; {_SUPPORTED}"
            )
    if of_bytes:
        return byte_level.read(file)
    plain = not file.root.get("normalizer") and not splitters
    if not file.model.get("merges") and (plain or word_level.splits_characters(file)):
        return word_level.read_characters(file)
    return _read_llama(file)


def _read_llama(file: TokenizerJson) -> Vocabulary:
    prefix, unless_space, split = _preparation(file)
    check_decoder(file, prefix)
    if SPACE not in file.ids:
        raise Error(
            f"{file.path}: no token {SPACE!r} in a vocabulary of {len(file.ids)}; " + _SUPPORTED
        )
    pieces = file.pieces(lambda text: file.utf8(text.replace(SPACE, " ")))
    byte_base = file.byte_base()
    if byte_base >= 0:
        for b in range(256):
            pieces[byte_base + b] = bytes([b])
    singles = single_characters({text: token for text, token in file.ids.items() if text != " "})
    singles[0x20] = file.ids[SPACE]  # which stays a name of itself as well
    return Vocabulary(
        pieces=pieces,
        singles=singles,
        merges=listed_merges(file, split),
        unk=file.unknown(),
        byte_base=byte_base,
        prefix=prefix,
        prefix_unless_space=unless_space,
        fuse_unknown=bool(file.model.get("fuse_unk")),
    )


def _preparation(file: TokenizerJson) -> tuple[bool, bool, bool]:
    """What happens to a text before BPE: prefix added, only unless it has one, words split."""
    normalizers = file.steps("normalizer")
    splitters = file.steps("pre_tokenizer")
    seen = [s.get("type") for s in normalizers]
    metaspace: dict[str, Any] | None = None
    if seen == ["Replace"] and [s.get("pattern") for s in splitters] == [{"String": " "}]:
        # Gemma's: where a space is, and there is none any more
        splitters = [s for s in splitters if s.get("type") != "Split"]
    supported = seen in ([], ["Prepend", "Replace"], ["Replace"])
    for step in normalizers:
        if step.get("type") == "Prepend":
            supported &= step.get("prepend") == SPACE
        else:
            supported &= step.get("pattern") == {"String": " "} and step.get("content") == SPACE
    if [s.get("type") for s in splitters] == ["Metaspace"]:
        metaspace = splitters[0]
        supported &= metaspace.get("replacement") == SPACE
    else:
        supported &= not splitters and bool(normalizers)
    if not supported:
        raise Error(
            f"{file.path}: normalizer {file.brief('normalizer')}, "
            f"pre-tokenizer {file.brief('pre_tokenizer')}; {_SUPPORTED}"
        )
    if metaspace is None:
        return "Prepend" in seen, False, False
    if "Prepend" in seen:  # Metaspace then finds the text prefixed
        return True, False, bool(metaspace.get("split", True))
    return adds_space(metaspace), True, bool(metaspace.get("split", True))
