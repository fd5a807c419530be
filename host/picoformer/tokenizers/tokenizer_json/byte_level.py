"""Byte-level BPE, as GPT-2 and RoBERTa have it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

from ...errors import Error
from .. import unicode_data
from ..characters import byte_level_characters
from ..vocabulary import ByteLevelVocabulary
from .components import TokenizerJson
from .merges import listed_merges

# how byte-level BPE writes bytes: those that are no visible Latin-1 characters from U+0100 on
_VISIBLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_HIDDEN = [b for b in range(256) if b not in _VISIBLE]
_BYTE_OF = {chr(b): b for b in _VISIBLE} | {chr(256 + i): b for i, b in enumerate(_HIDDEN)}


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"'(?i:[sdmt]|ll|ve|re)"
_NUMBERS = {r"\p{N}{1,3}": 3, r"\p{N}": 1, r"\p{N}+": 0}
# what differs here gives the same words
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+", r"[^\r\n\p{L}\p{N}]?+\p{L}+"
_OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*", r" ?[^\s\p{L}\p{N}]++[\r\n]*"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+", r"\s*[\r\n]|\s+(?!\S)|\s+"


def llama_words(numbers: str) -> str:
    """Llama 3's regular expression, and Qwen 2's, by how they have the digits of a number."""
    return "|".join((_CONTRACTIONS[0], _LETTERS[0], numbers, _OTHERS[0], _SPACES[0]))


@dataclass(frozen=True)
class _Rule:
    """How a text is cut in words; ByteLevelVocabulary says what these are."""

    split: bool = True
    llama: bool = False
    digits: int = 0
    apart: bool = False


def _known() -> dict[str, _Rule]:
    """The regular expressions of Split whose rule the board has."""
    found = {_GPT2: _Rule()}
    for start, letters, number, others, spaces in product(
        _CONTRACTIONS, _LETTERS, _NUMBERS, _OTHERS, _SPACES
    ):
        pattern = "|".join((start, letters, number, others, spaces))
        found[pattern] = _Rule(llama=True, digits=_NUMBERS[number])
    return found


_KNOWN = _known()


def read(file: TokenizerJson) -> ByteLevelVocabulary:
    splitters = file.steps("pre_tokenizer")
    decoders = file.steps("decoder")
    rule = _rule(splitters)
    decoded = all(s.get("type") == "ByteLevel" for s in decoders)
    normalizers = [step.get("type") for step in file.steps("normalizer")]
    normal = normalizers == ["NFC"]
    if rule is None or normalizers and not normal or not decoded:
        raise Error(
            f"{file.path}: normalizer {file.brief('normalizer')}, pre-tokenizer "
            f"{file.brief('pre_tokenizer')}, decoder {file.brief('decoder')}; "
            "supported with byte-level BPE are NFC or no normalizer, and ByteLevel alone, behind "
            "Digits, or behind Split by GPT-2's, Llama 3's or Qwen 2's regular expression; a "
            "model that is trained anew could have one of these"
        )
    tokens = [-1] * 256
    for text, token in file.ids.items():
        if text in _BYTE_OF:
            tokens[_BYTE_OF[text]] = token
    v = ByteLevelVocabulary(
        pieces=file.pieces(lambda text: _bytes_of(file, text)),
        byte_tokens=tokens,
        merges=listed_merges(file, False),
        unk=file.unknown(),
        prefix=len(splitters) == 1 and bool(splitters[0].get("add_prefix_space", True)),
        fuse_unknown=bool(file.model.get("fuse_unk")),
        split=rule.split,
        llama=rule.llama,
        digits=rule.digits,
        apart=rule.apart,
        characters=byte_level_characters(normal) if rule.split or normal else (),
        pairs=unicode_data.compositions() if normal else None,
    )
    if file.model.get("ignore_merges"):
        v.whole = _whole(file, v)
    return v


def _rule(steps: list[dict[str, Any]]) -> _Rule | None:
    """How the pre-tokenizers cut a text, None where the board cannot."""
    *before, last = steps
    regex = bool(last.get("use_regex", True))
    if last.get("type") != "ByteLevel":
        return None
    if not before:
        return _Rule(split=regex)
    step = before[0]
    if len(before) > 1 or last.get("add_prefix_space", True):
        return None  # which would put a space in front of every part
    if step.get("type") == "Digits" and regex:
        return _Rule(digits=int(bool(step.get("individual_digits"))), apart=True)
    pattern = step.get("pattern")
    if step.get("type") != "Split" or regex or not isinstance(pattern, dict):
        return None
    # a text is matched everywhere, so what the matches are called makes no difference
    cut = str(step.get("behavior")), bool(step.get("invert"))
    if cut not in (("Isolated", False), ("Isolated", True), ("Removed", True)):
        return None
    return _KNOWN.get(str(pattern.get("Regex")))


def _whole(file: TokenizerJson, v: ByteLevelVocabulary) -> list[int]:
    """The tokens that merging does not give of their own bytes: with ignore_merges they hold."""
    found = []
    for text, token in file.ids.items():
        if text in file.added or not v.pieces[token]:
            continue
        ids = [v.byte_tokens[b] for b in v.pieces[token]]
        while True:
            pairs = [
                (v.merges[pair][0], i) for i, pair in enumerate(pairwise(ids)) if pair in v.merges
            ]
            if not pairs:
                break
            i = min(pairs)[1]
            ids[i : i + 2] = [v.merges[ids[i], ids[i + 1]][1]]
        if ids != [token]:
            found.append(token)
    return found


def _bytes_of(file: TokenizerJson, text: str) -> bytes:
    """A piece as byte-level BPE writes it; one that it cannot have written is text."""
    if all(c in _BYTE_OF for c in text):
        return bytes(_BYTE_OF[c] for c in text)
    return file.utf8(text)
