"""SentencePiece's normalization rules in the form that it compiles them to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ..errors import Error
from .characters import Map

Pairs = dict[tuple[int, int], int]

_LONGEST = 64  # bytes of what a rule replaces
_MOST = 1 << 21  # nodes of a trie: nmt_nfkc has 455,000
_CLUSTER = 6  # bytes, above which the tokenizers library finds no rule
_DAMAGED = "a precompiled_charsmap that is damaged"


@lru_cache(4)  # many models have the same
def _rules(data: bytes) -> dict[str, str]:
    """What texts become. The trie is a double array, walked level by level. Raises Error."""
    if len(data) < 8:
        raise Error("a precompiled_charsmap of less than 8 bytes")
    size = int.from_bytes(data[:4], "little")
    if size % 4 or not 4 <= size <= len(data) - 4:
        raise Error(f"a precompiled_charsmap of {len(data)} bytes with a trie of {size}")
    units = np.frombuffer(data, "<u4", size // 4, 4).astype(np.int64)
    texts = data[4 + size :]
    bases = np.arange(len(units)) ^ (units >> 10 << ((units & 0x200) >> 6))
    # The child of label b lies at base ^ b: sorted by that base, children of a node are a run.
    labels = units & 0xFF
    children = np.nonzero((units >> 31 == 0) & (labels > 0))[0]
    parents = children ^ labels[children]
    order = np.argsort(parents, kind="stable")
    children, parents = children[order], parents[order]

    found: dict[str, str] = {}
    nodes, keys, walked = np.array([0]), [b""], 0
    for _ in range(_LONGEST):
        starts = np.searchsorted(parents, bases[nodes], "left")
        counts = np.searchsorted(parents, bases[nodes], "right") - starts
        walked += int(counts.sum())
        if not counts.any():
            return found
        if walked > _MOST:
            break
        owners = np.repeat(np.arange(len(nodes)), counts)
        within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        nodes = children[np.repeat(starts, counts) + within]
        keys = [
            keys[i] + bytes((b,))
            for i, b in zip(owners.tolist(), labels[nodes].tolist(), strict=True)
        ]
        for i in np.nonzero(units[nodes] >> 8 & 1)[0].tolist():
            try:
                start = int(units[bases[nodes[i]]]) & 0x7FFFFFFF
                found[keys[i].decode()] = texts[start : texts.index(b"\0", start)].decode()
            except (ValueError, IndexError):
                raise Error(_DAMAGED) from None
    raise Error(_DAMAGED)


def charsmap(data: bytes) -> tuple[Map, Pairs]:
    """SentencePiece's normalization rules as the tokenizers library applies them.

    It replaces grapheme clusters of less than 6 bytes by what their shortest beginning in the
    rules becomes, and other characters one by one: so rules of one character and, where the
    first has none, of two are all that matter.
    """
    found = {key: text for key, text in _rules(data).items() if len(key.encode()) < _CLUSTER}
    singles = _singles(found)
    pairs: Pairs = {}
    for rule, text in found.items():
        if len(rule) < 2 or ord(rule[0]) in singles:
            continue
        if len(rule) == 2 and len(text) == 1:
            pairs[ord(rule[0]), ord(rule[1])] = ord(text)
        elif len(rule) == 2 or rule[:2] not in found:
            raise Error(f"the rule {rule!r} of a precompiled_charsmap is not supported")
    return singles, pairs


def _singles(rules: dict[str, str]) -> Map:
    return {ord(key): [ord(c) for c in text] for key, text in rules.items() if len(key) == 1}


@dataclass
class Composition:
    """The rules as SentencePiece itself applies them, always the longest.

    The rules of NFKC for several characters all come of a few: each character is replaced by
    itself (`singles`), then the first two are composed (`pairs`), and what has been composed goes
    on with the next (`more`). hangul: Jamo are composed besides, by the arithmetic of Unicode.
    differ: how many texts of a rule's length these replace otherwise than the rules do.
    """

    singles: Map = field(default_factory=dict)
    pairs: Pairs = field(default_factory=dict)
    more: Pairs = field(default_factory=dict)
    hangul: bool = False
    differ: int = 0


@lru_cache(4)
def composition(data: bytes) -> Composition:
    """The rules of a precompiled_charsmap, none where there is none. Raises Error."""
    rules = _rules(data) if data else {}
    made = Composition(_singles(rules))
    # what each character of a rule becomes; "" is composed with nothing
    alone = {key: text if len(text) == 1 else "" for key, text in rules.items() if len(key) == 1}
    long = sorted((key for key in rules if len(key) > 1), key=len)
    for key in long:
        if len(rules[key]) == 1 and alone.keys().isdisjoint(key):
            first = _composed(made, key[:-1])
            if first:
                table = made.pairs if len(key) == 2 else made.more
                table.setdefault((ord(first), ord(key[-1])), ord(rules[key]))
    followed = sum(_composed(made, [alone.get(c, c) for c in key]) == rules[key] for key in long)
    made.differ = len(long) - followed + _ways(made, alone) - followed
    made.hangul = _drop_hangul(made)
    return made


def _composed(made: Composition, parts: Sequence[str]) -> str:
    """What characters become together, "" if nothing."""
    if not all(parts):
        return ""
    first = ord(parts[0])
    for i, part in enumerate(parts[1:]):
        first = (made.more if i else made.pairs).get((first, ord(part)), -1)
        if first < 0:
            return ""
    return chr(first)


def _ways(made: Composition, alone: dict[str, str]) -> int:
    """How many texts are composed, each character in all the ways in which it may be written."""
    written = Counter(alone.values())

    def ways(code: int) -> int:
        return written[chr(code)] + (chr(code) not in alone)

    total = 0
    found: Counter[int] = Counter()
    for (a, b), code in made.pairs.items():
        found[code] += ways(a) * ways(b)
    while found:
        total += found.total()
        before, found = found, Counter()
        for (a, b), code in made.more.items():
            if before[a]:
                found[code] += before[a] * ways(b)
        if total > _MOST:
            break
    return total


_JAMO = {
    (0x1100 + lead, 0x1161 + vowel): 0xAC00 + 588 * lead + 28 * vowel
    for lead in range(19)
    for vowel in range(21)
}


def _drop_hangul(made: Composition) -> bool:
    """Whether the Jamo are all composed as Unicode has it; those rules are then left out."""
    third = {(y, 0x11A7 + i): y + i for y in _JAMO.values() for i in range(1, 28)}
    if not (made.pairs.items() >= _JAMO.items() and made.more.items() >= third.items()):
        return False
    for table, known in (made.pairs, _JAMO), (made.more, third):
        for pair in known:
            del table[pair]
    return True
