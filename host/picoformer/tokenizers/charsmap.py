"""SentencePiece's normalization rules in the form that it compiles them to."""

from __future__ import annotations

import numpy as np

from ..errors import Error
from .characters import Map


def charsmap(data: bytes) -> tuple[Map, dict[tuple[int, int], int]]:
    """SentencePiece's normalization rules as the library applies them.

    It replaces grapheme clusters of less than 6 bytes by what their shortest beginning in the
    rules becomes, and other characters one by one: so rules of one character and, where the
    first has none, of two are all that matter.
    """
    if len(data) < 8:
        raise Error("a precompiled_charsmap of less than 8 bytes")
    size = int.from_bytes(data[:4], "little")
    if size % 4 or not 4 <= size <= len(data) - 4:
        raise Error(f"a precompiled_charsmap of {len(data)} bytes with a trie of {size}")
    units = np.frombuffer(data, "<u4", size // 4, 4).astype(np.int64)
    texts = data[4 + size :]
    labels = np.arange(1, 256)
    found: dict[str, list[int]] = {}
    stack = [(0, b"")]
    while stack:
        at, key = stack.pop()
        unit = int(units[at])
        base = at ^ (unit >> 10 << ((unit & 0x200) >> 6))
        try:
            if key and unit >> 8 & 1:
                start = int(units[base]) & 0x7FFFFFFF
                text = texts[start : texts.index(b"\0", start)]
                found[key.decode()] = [ord(c) for c in text.decode()]
        except (ValueError, IndexError):
            raise Error("a precompiled_charsmap that is damaged") from None
        if len(key) == 5:
            continue
        places = base ^ labels
        inside = places < len(units)
        places = places[inside]
        fits = units[places] & 0x800000FF == labels[inside]
        for place, label in zip(places[fits], labels[inside][fits], strict=True):
            stack.append((int(place), key + bytes([label])))
        if len(stack) > 1 << 20:
            raise Error("a precompiled_charsmap that is damaged")
    singles = {ord(key): parts for key, parts in found.items() if len(key) == 1}
    pairs: dict[tuple[int, int], int] = {}
    for rule, parts in found.items():
        if len(rule) < 2 or ord(rule[0]) in singles:
            continue
        if len(rule) == 2 and len(parts) == 1:
            pairs[ord(rule[0]), ord(rule[1])] = parts[0]
        elif len(rule) == 2 or rule[:2] not in found:
            raise Error(f"the rule {rule!r} of a precompiled_charsmap is not supported")
    return singles, pairs
