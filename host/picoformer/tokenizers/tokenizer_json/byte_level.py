"""Byte-level BPE, as GPT-2 and RoBERTa have it."""

from __future__ import annotations

from ...errors import Error
from ..characters import byte_level_characters
from ..vocabulary import ByteLevelVocabulary
from .components import TokenizerJson
from .merges import listed_merges

# how byte-level BPE writes bytes: those that are no visible Latin-1 characters from U+0100 on
_VISIBLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_HIDDEN = [b for b in range(256) if b not in _VISIBLE]
_BYTE_OF = {chr(b): b for b in _VISIBLE} | {chr(256 + i): b for i, b in enumerate(_HIDDEN)}


def read(file: TokenizerJson) -> ByteLevelVocabulary:
    splitters = file.steps("pre_tokenizer")
    normalizers = file.steps("normalizer")
    decoders = file.steps("decoder")
    if len(splitters) != 1 or normalizers or any(s.get("type") != "ByteLevel" for s in decoders):
        raise Error(
            f"{file.path}: normalizer {file.brief('normalizer')}, pre-tokenizer "
            f"{file.brief('pre_tokenizer')}, decoder {file.brief('decoder')}; "
            "supported with byte-level BPE are no normalizer, and ByteLevel alone"
        )
    step = splitters[0]
    tokens = [-1] * 256
    for text, token in file.ids.items():
        if text in _BYTE_OF:
            tokens[_BYTE_OF[text]] = token
    split = bool(step.get("use_regex", True))
    return ByteLevelVocabulary(
        pieces=file.pieces(lambda text: _bytes_of(file, text)),
        byte_tokens=tokens,
        merges=listed_merges(file, False),
        unk=file.unknown(),
        prefix=bool(step.get("add_prefix_space", True)),
        fuse_unknown=bool(file.model.get("fuse_unk")),
        split=split,
        characters=byte_level_characters() if split else (),
    )


def _bytes_of(file: TokenizerJson, text: str) -> bytes:
    """A piece as byte-level BPE writes it; one that it cannot have written is text."""
    if all(c in _BYTE_OF for c in text):
        return bytes(_BYTE_OF[c] for c in text)
    return file.utf8(text)
