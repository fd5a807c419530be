"""WordPiece, as BERT has it."""

from __future__ import annotations

from typing import Any

from ...errors import Error
from ..characters import bert_characters
from ..vocabulary import WordPieceVocabulary
from .components import TokenizerJson


def read(file: TokenizerJson) -> WordPieceVocabulary:
    prefix = file.model.get("continuing_subword_prefix", "##")
    if prefix != "##":
        raise Error(f"{file.path}: continuing_subword_prefix {prefix!r}; supported is '##'")
    normalizers = file.steps("normalizer")
    splitters = file.steps("pre_tokenizer")
    seen = [s.get("type") for s in (*normalizers, *splitters)]
    if seen not in (["BertNormalizer", "BertPreTokenizer"], ["BertPreTokenizer"]):
        raise Error(
            f"{file.path}: normalizer {file.brief('normalizer')}, "
            f"pre-tokenizer {file.brief('pre_tokenizer')}; supported with WordPiece are "
            "BertNormalizer or none, and BertPreTokenizer"
        )
    decoders = file.steps("decoder")
    if any((s.get("type"), s.get("prefix")) != ("WordPiece", "##") for s in decoders):
        raise Error(
            f"{file.path}: decoder {file.brief('decoder')}; supported with WordPiece is "
            "WordPiece with the prefix '##'"
        )
    unk = file.known(file.ids, file.model.get("unk_token", "[UNK]"), "model.unk_token")
    longest = file.model.get("max_input_chars_per_word", 100)
    if not isinstance(longest, int) or not 0 <= longest < 1 << 30:
        raise Error(f"{file.path}: max_input_chars_per_word is {longest!r}, expected a number")
    pieces = file.pieces(file.utf8)
    pieces[unk] = b""
    searched = file.searched(pieces)
    # An added token is looked for in a normalized text, too.
    alphabet = {ord(c) for piece in pieces for c in piece.decode()}
    options = _options(normalizers[0]) if normalizers else {}
    try:
        characters = bert_characters(alphabet, **options)
    except Error as e:
        raise Error(f"{file.path}: {e}") from None
    return WordPieceVocabulary(
        pieces=pieces, unk=unk, characters=characters, searched=searched, longest=longest
    )


def _options(step: dict[str, Any]) -> dict[str, bool]:
    """Of a BertNormalizer: the arguments of bert_characters."""
    lowercase = bool(step.get("lowercase", True))
    strip = step.get("strip_accents")
    return {
        "clean": bool(step.get("clean_text", True)),
        "chinese": bool(step.get("handle_chinese_chars", True)),
        "strip": lowercase if strip is None else bool(strip),
        "lowercase": lowercase,
    }
