"""What a vocabulary is, as a reader finds it and as the section holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_PIECE = 255  # bytes
FEW = 0.5  # of a model's tokens, that its tokenizer should have

Action = tuple[int, ...]
"""What becomes of a character: an operation of device/tokenizer_lookup.py, then code points."""
Item = tuple[int, int, int]
"""Of a template: 0 (a token), 1 (the text) or 2 (the second text); the token or 0; its type."""


@dataclass
class Template:
    """What stands around a text, and around a pair of texts where a model takes pairs."""

    single: Sequence[Item]
    pair: Sequence[Item] = ()


@dataclass
class AddedToken:
    """A token that a text gives where it has its name, whatever the model makes of the rest."""

    name: str
    token: int
    lstrip: bool = False
    """White space in front of it is a part of it."""
    rstrip: bool = False
    single_word: bool = False
    """Only where no letter, number or mark of a word is beside it."""
    normalized: bool = False
    """Looked for in the normalized text, by its normalized name, when the others are found."""


@dataclass
class AddedTokens:
    """Added tokens, and what a tokenizer does around them."""

    tokens: Sequence[AddedToken]
    first: bool = False
    """`prefix` holds for the beginning of a text alone, not behind an added token."""
    normalizes: bool = False
    """There is a normalizer: else those that are `normalized` are looked for in the text."""
    puts: bool = False
    """The normalizer adds the space of `prefix`, once for all between two that it did not see."""
    again: bool = False
    """... and the pre-tokenizer adds it where there is none."""
    spaces: bool = False
    """WordPiece: the normalizer keeps white space as it is. Unigram: runs become U+2581."""


@dataclass
class Vocabulary:
    """A byte-pair vocabulary, as an importer finds it. -1 stands for "none"."""

    pieces: Sequence[bytes]
    """What each token stands for: nothing for a control token, the raw byte for a byte token,
    and U+2581 already a space."""
    singles: Mapping[int, int] = field(default_factory=dict)
    """code point -> token"""
    merges: Mapping[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """(left token, right token) -> (rank, resulting token); the lowest rank merges first"""
    unk: int = -1
    bos: int = -1
    eos: int = -1
    byte_base: int = -1
    """Token of byte 0x00; the other 255 follow it."""
    prefix: bool = False
    """Encoding adds a space in front of the text, decoding drops it."""
    prefix_unless_space: bool = False
    """... but not in front of a text that begins with a space."""
    fuse_unknown: bool = False
    """A run of unknown characters gives one unk."""
    template: Template | None = None
    """None: `bos`, where there is one, before each text."""
    notes: list[str] = field(default_factory=list)
    """What whoever converts should know."""
    added: AddedTokens | None = None


@dataclass
class WordPieceVocabulary(Vocabulary):
    """Pieces that continue a word begin with ##."""

    characters: Sequence[tuple[int, int, Action]] = ()
    """First and last code point of ranges, and what becomes of each; what is absent is kept."""
    searched: Sequence[int] = ()
    """The tokens that a text may give."""
    longest: int = 100
    """Longer words, in characters, are unknown."""


@dataclass
class ByteLevelVocabulary(Vocabulary):
    """Byte-level BPE. `prefix`: a space in front of a text without one, which decoding keeps."""

    byte_tokens: Sequence[int] = ()
    """The token of each byte, -1 for none."""
    split: bool = True
    """Cut texts in words as GPT-2 does."""
    llama: bool = False
    """... as Llama 3 does."""
    digits: int = 0
    """Of a number that go together: 1, 3 or 0 for all."""
    apart: bool = False
    """No number has a space in front of it in its word."""
    pairs: Mapping[tuple[int, int], int] | None = None
    """Texts are in normal form C first, whose compositions these are; None: they are not. The
    characters then have their combining classes as well."""
    whole: Sequence[int] = ()
    """Tokens that a word of just these bytes gives, whatever the merges say."""
    characters: Sequence[tuple[int, int, Action]] = ()
    """Classes of code points, as WordPieceVocabulary's."""


@dataclass
class UnigramVocabulary(Vocabulary):
    """SentencePiece's unigram model. U+2581 is a space in the pieces and a character of texts."""

    scores: Sequence[float] = ()
    """Of each token; none above 0."""
    searched: Sequence[int] = ()
    """The tokens that a text may give."""
    unknown_score: float = 0.0
    """Of a character that no piece has."""
    characters: Sequence[tuple[int, int, Action]] = ()
    """The normalizer, as WordPieceVocabulary's."""
    split: bool = True
    """No piece crosses the beginning of a word."""
    collapse: bool = False
    """A run of spaces is one space, and there is none at the end."""
    pairs: Mapping[tuple[int, int], int] | None = None
    """Characters that small grapheme clusters become, by their first two; None: no clusters."""
    each_word: bool = False
    """Every word has one space in front, and no other spaces are left."""
    composed: Mapping[tuple[int, int], int] | None = None
    """What a character that two of `pairs` became becomes with the next one. None: not normalized
    as SentencePiece itself does, which takes the longest rule."""
    hangul: bool = False
    """... and it composes Jamo."""
    unlisted: Sequence[int] = ()
    """Tokens that a run of unknown characters gives, if it is just that piece."""


@dataclass
class PiecesVocabulary(UnigramVocabulary):
    """SentencePiece's BPE: neighbours that are a piece are joined, that of the best score first.

    Those of score 0 are taken whole wherever a text has them.
    """


def single_characters(ids: Mapping[str, int]) -> dict[int, int]:
    """A Vocabulary's `singles`: code point -> token, of those texts that are one character."""
    return {ord(text): token for text, token in ids.items() if len(text) == 1}


def begin_with_bos(v: Vocabulary) -> None:
    """Let `bos` stand in front of a text, unless the template puts something around it."""
    if v.template is not None and list(v.template.single) == [(1, 0, 0)]:
        v.template = None


def pad(v: Vocabulary, size: int | None) -> None:
    """Tokens that stand for nothing, where a model has more (`size`) than its tokenizer."""
    more = (size or 0) - len(v.pieces)
    if more > 0:
        few = ". Is it this model's tokenizer?" if len(v.pieces) < FEW * (size or 0) else ""
        v.notes.append(
            f"the model has {size} tokens and its tokenizer {len(v.pieces)}: the last {more} "
            f"stand for nothing{few}"
        )
        v.pieces = [*v.pieces, *[b""] * more]
