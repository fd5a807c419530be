"""Lists of whole words: those of Keras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import Error
from .characters import word_characters
from .files import read_bytes
from .vocabulary import WordPieceVocabulary, pad


@dataclass
class Words:
    """What a Keras TextVectorization that splits at white space has.

    listed: as its get_vocabulary() gives them, padding and the unknown word first; where: what
    has them, for errors; standardize: "lower", "strip_punctuation", both or None.
    """

    listed: list[str]
    where: str
    standardize: str | None = "lower_and_strip_punctuation"


def listed_words(path: str | Path) -> Words:
    """The words of a text file that has one a line. Raises Error."""
    listed = read_bytes(path).decode("utf-8", "replace").removesuffix("\n").split("\n")
    return Words(listed, str(path))


def read_words(
    given: Words, vocab_size: int, bos: int | None = None, eos: int | None = None
) -> WordPieceVocabulary:
    """The vocabulary of whole words. Arguments and errors as read_tokenizer_json's."""
    words, where = given.listed, given.where
    if words[:2] != ["", "[UNK]"]:
        raise Error(
            f"{where} begins with {words[:2]}; expected an empty line, [UNK] and then a word a "
            "line, as TextVectorization's get_vocabulary() has them"
        )
    if len(words) > vocab_size:
        raise Error(f"{where}: has {len(words)} words, more than the checkpoint's {vocab_size}")
    if len(set(words)) < len(words):
        raise Error(f"{where} has a word twice")
    # A piece that begins with ## would continue a word.
    bad = [w for w in words[2:] if not w or w.startswith("##")]
    if bad:
        raise Error(f"{where}: {bad[0]!r} is not a word; supported: those without ## in front")
    v = WordPieceVocabulary(
        pieces=[b"", b"", *(w.encode() for w in words[2:])],
        unk=1,
        bos=-1 if bos is None else bos,
        eos=-1 if eos is None else eos,
        characters=word_characters(given.standardize),
        searched=range(2, len(words)),
        longest=max([1, *map(len, words)]),
    )
    pad(v, vocab_size)
    return v
