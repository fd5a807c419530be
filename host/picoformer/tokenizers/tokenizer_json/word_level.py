"""WordLevel, and BPE without merges: vocabularies of single characters."""

from __future__ import annotations

from ...errors import Error
from ..vocabulary import Vocabulary, single_characters
from .components import TokenizerJson

_CHARACTERS = (
    "supported are vocabularies of single characters and names such as <unk>, without normalizer, "
    "a text split in all its characters"
)


def read(file: TokenizerJson) -> Vocabulary:
    """The vocabulary of a WordLevel. Raises Error."""
    if not splits_characters(file):
        raise Error(
            f"{file.path}: WordLevel with pre-tokenizer {file.brief('pre_tokenizer')}; "
            + _CHARACTERS
        )
    return read_characters(file)


def splits_characters(file: TokenizerJson) -> bool:
    splitters = file.steps("pre_tokenizer")
    if [(s.get("type"), s.get("behavior")) for s in splitters] != [("Split", "Isolated")]:
        return False
    every = ("", "(?m).", r"[\s\S]", r"[\S\s]", r".|\n")
    pattern = splitters[0].get("pattern")
    return pattern == {"String": ""} or pattern in [{"Regex": r} for r in every]


def read_characters(file: TokenizerJson) -> Vocabulary:
    """Each character is a token: BPE or WordLevel of single characters, without normalizer."""
    ids, added = file.ids, file.added
    names = {text for text in ids if text not in added and _is_control(text)}
    controls = names | added.keys()
    unk = file.unknown()
    long = [text for text in ids if len(text) != 1 and text not in controls and ids[text] != unk]
    if long or file.model.get("merges") or file.root.get("normalizer"):
        raise Error(
            f"{file.path}: pieces such as {long[:3]}, normalizer "
            f"{file.brief('normalizer')}; {_CHARACTERS}"
        )
    pieces = file.pieces(lambda text: b"" if text in names else file.utf8(text))
    if unk >= 0:
        pieces[unk] = b""
    singles = single_characters({text: i for text, i in ids.items() if i != unk})
    return Vocabulary(
        pieces=pieces, singles=singles, unk=unk, fuse_unknown=bool(file.model.get("fuse_unk"))
    )


def _is_control(text: str) -> bool:
    return len(text) > 2 and text[0] + text[-1] in ("<>", "[]")
