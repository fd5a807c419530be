"""What normalizers make of each character, as the section's tables have it.

Only what matters for a vocabulary is kept: a word with a character that no piece has is unknown
as a whole, whatever else that character becomes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import groupby

from ..device.tokenizer_lookup import (
    ALONE,
    ALONE_ALWAYS,
    ALONE_BECOMES,
    BECOMES,
    DROP,
    EXTENDS,
    HANGUL,
    KEEP,
    LETTER,
    NUMBER,
    PREPENDS,
    SEQUENCE,
    SPACE,
    SWALLOWS,
)
from ..errors import Error
from . import unicode_data
from .vocabulary import Action

Runs = list[tuple[int, int, Action]]

_CODES = 0x110000
_KEPT: list[Action] = [(KEEP,)] * 1024
_HANGUL = 0xAC00, 0xD7A3
_JAMO = 0x1100, 0x11FF
_SPACE = 0x2581  # SentencePiece's visible space
# as BERT's handle_chinese_chars has them
_CHINESE = [
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0x2F800, 0x2FA1F),
]


def _put(actions: list[Action], ranges: Iterable[tuple[int, int]], action: Action) -> None:
    for first, last in ranges:
        actions[first : last + 1] = [action] * (last - first + 1)


def _runs(actions: list[Action]) -> Runs:
    """Runs of equal actions; what becomes of a character is one run each."""
    runs: Runs = []
    for start in range(0, _CODES, len(_KEPT)):
        block = actions[start : start + len(_KEPT)]
        if block == _KEPT:  # nearly all of Unicode
            continue
        code = start
        for action, group in groupby(block):
            first, code = code, code + len(list(group))
            if runs and runs[-1][1:] == (first - 1, action):
                first = runs.pop()[0]
            if action != (KEEP,):
                runs.append((first, code - 1, action))
    return runs


def bert_characters(
    alphabet: set[int],
    clean: bool = False,
    chinese: bool = False,
    strip: bool = False,
    lowercase: bool = False,
) -> Runs:
    """BertNormalizer and BertPreTokenizer in one, for pieces of the characters in `alphabet`."""
    # what the pre-tokenizer does with a normalized character
    split: list[Action] = _KEPT * (_CODES // len(_KEPT))
    _put(split, unicode_data.punctuation(), (ALONE,))
    _put(split, unicode_data.spaces(), (SPACE,))
    actions = list(split)
    if chinese:
        _put(actions, _CHINESE, (ALONE,))

    maps: dict[int, list[int]] = {}
    if strip:
        marks = {c for first, last in unicode_data.marks() for c in range(first, last + 1)}
        _refuse_reordering(alphabet - marks)
        maps = {
            code: [c for c in parts if c not in marks]
            for code, parts in unicode_data.decompositions().items()
        }
        maps.update({code: [] for code in marks})
    if lowercase:
        lower = unicode_data.lower()
        for code in lower:
            maps.setdefault(code, [code])
        maps = {
            code: [x for c in parts for x in lower.get(c, [c])] for code, parts in maps.items()
        }
    for code, parts in maps.items():
        actions[code] = _normalized(code, parts, alphabet, split, actions[code])
    if strip and any(_within(c, _HANGUL) or _within(c, _JAMO) for c in alphabet):
        _put(actions, [_HANGUL], (HANGUL,))

    if clean:
        _put(actions, [(0, 0), (0xFFFD, 0xFFFD)], (DROP,))
        for code, action in enumerate(split[:0x3001]):
            if action == (SPACE,):
                actions[code] = action
        _put(actions, unicode_data.controls(), (DROP,))
    return _runs(actions)


# What TextVectorization of Keras takes for white space and for punctuation: ASCII alone.
_BLANKS = [(9, 13), (32, 32)]
_PUNCTUATION = [(33, 47), (58, 64), (91, 96), (123, 126)]


def word_characters(standardize: str | None) -> Runs:
    """What TextVectorization makes of each character before it splits at white space.

    standardize: "lower", "strip_punctuation", "lower_and_strip_punctuation" or None.
    """
    actions: list[Action] = _KEPT * (_CODES // len(_KEPT))
    _put(actions, _BLANKS, (SPACE,))
    if standardize in ("strip_punctuation", "lower_and_strip_punctuation"):
        _put(actions, _PUNCTUATION, (DROP,))
    if standardize in ("lower", "lower_and_strip_punctuation"):
        for code in range(ord("A"), ord("Z") + 1):
            actions[code] = (BECOMES, code + 32)
    return _runs(actions)


_NMT_DROPS = [(1, 8), (0xB, 0xB), (0xE, 0x1F), (0x7F, 0x7F), (0x8F, 0x8F), (0x9F, 0x9F)]
_NMT_SPACES = [
    *[(9, 0xA), (0xC, 0xD), (0x1680, 0x1680), (0x200B, 0x200F), (0x2028, 0x2029)],
    *[(_SPACE, _SPACE), (0xFEFF, 0xFEFF), (0xFFFD, 0xFFFD)],
]

Map = dict[int, list[int]]
"""code point -> what becomes of it, where that is another"""


def nmt_map() -> Map:
    found: Map = {c: [0x20] for a, b in _NMT_SPACES for c in range(a, b + 1)}
    found.update({c: [] for a, b in _NMT_DROPS for c in range(a, b + 1)})
    return found


def lower_map() -> Map:
    return dict(unicode_data.lower())


def space_map() -> Map:
    return {c: [0x20] for a, b in unicode_data.spaces() for c in range(a, b + 1)}


def chained(first: Map, second: Map) -> Map:
    """The second normalizer after the first."""
    both = {code: [x for c in parts for x in second.get(c, [c])] for code, parts in first.items()}
    return {**second, **both}


def mapped_characters(
    alphabet: set[int], maps: Map, strip: bool = False, precompiled: Map | None = None
) -> Runs:
    """A normalizer that replaces each character, for pieces of the characters in `alphabet`.

    strip: white space at the end of a text is dropped, so it must be known as such.
    precompiled: the characters among them that replace the whole of a small grapheme cluster,
    where the normalizer has clusters.
    """
    actions: list[Action] = _KEPT * (_CODES // len(_KEPT))
    if strip:
        _put(actions, [(c, c) for c in space_map() if c not in maps], (SPACE,))
    dropped = {} if precompiled is None else precompiled
    two = [c for c in _members(unicode_data.extending()) if 0x7F < c < 0x800]
    marks_known = any(not alphabet.isdisjoint(maps.get(c, [c])) for c in two)
    for code, parts in maps.items():
        known = code in alphabet or not alphabet.isdisjoint(parts)
        # an unknown character that others vanish with is not like any unknown character
        size = len(chr(code).encode())
        swallows = code in dropped and (size < 3 or size == 3 and (known or marks_known))
        if not parts:
            action: Action = (DROP,)
        elif len(parts) > 1 and parts[-1] == 0x20 and strip:
            raise Error(f"the normalizer makes {parts} of the character {code:#x}, not supported")
        elif parts == [code] or not known:
            action = (KEEP,)
        else:
            action = (BECOMES if len(parts) == 1 else SEQUENCE, *parts)
        actions[code] = (action[0] | SWALLOWS * swallows, *action[1:])
    if precompiled is not None:
        for codes, bit in [
            (_members(unicode_data.extending()), EXTENDS),
            (_members(unicode_data.prepending()), PREPENDS),
            (_members(unicode_data.breaking()), ALONE_ALWAYS),
        ]:
            for code in codes:
                actions[code] = (actions[code][0] | bit, *actions[code][1:])
    return _runs(actions)


def _members(ranges: Iterable[tuple[int, int]]) -> list[int]:
    return [c for first, last in ranges for c in range(first, last + 1)]


def byte_level_characters(normal: bool = False) -> Runs:
    """The classes of GPT-2's regular expression; normal: also what normal form C needs of them."""
    actions: list[Action] = _KEPT * (_CODES // len(_KEPT))
    _put(actions, unicode_data.spaces(), (SPACE,))
    _put(actions, unicode_data.letters(), (LETTER,))
    _put(actions, unicode_data.numbers(), (NUMBER,))
    if normal:
        for code, number in unicode_data.classes().items():
            actions[code] = (*actions[code], number)
        for code, parts in unicode_data.uncomposed().items():
            actions[code] = (BECOMES if len(parts) == 1 else SEQUENCE, *parts)
    return _runs(actions)


def _within(code: int, bounds: tuple[int, int]) -> bool:
    return bounds[0] <= code <= bounds[1]


def _normalized(
    code: int, parts: list[int], alphabet: set[int], split: list[Action], before: Action
) -> Action:
    """What becomes of a character that is normalized to `parts`."""
    if not parts:
        return (DROP,)
    kinds = {split[part] for part in parts}
    alone = before == (ALONE,) and kinds == {(KEEP,)} or kinds == {(ALONE,)}
    if kinds == {(SPACE,)}:
        return (SPACE,)
    if len(kinds) > 1 or alone and len(parts) > 1:
        raise Error(f"the normalizer makes {parts} of the character {code:#x}, not supported")
    # unknown before, unknown after
    if code not in alphabet and not alphabet.issuperset(parts):
        return (ALONE,) if alone else (KEEP,)
    if parts == [code]:
        return (ALONE,) if alone else (KEEP,)
    if len(parts) > 1:
        return (SEQUENCE, *parts)
    return (ALONE_BECOMES if alone else BECOMES, *parts)


def _refuse_reordering(alphabet: set[int]) -> None:
    """Normal forms sort combining characters by class; the tables know no neighbours."""
    classes = {unicodedata.combining(chr(c)) for c in alphabet} - {0}
    if len(classes) > 1:
        raise Error(
            "the vocabulary has combining characters of several classes "
            f"({sorted(classes)}), which strip_accents would reorder; not supported"
        )
