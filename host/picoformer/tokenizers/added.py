"""Added tokens: from tokenizer.json to the table of the section. docs/tokenizer.md defines it."""

from __future__ import annotations

import struct
from typing import Any

from ..device import tokenizer_added as device_added
from ..errors import Error
from . import unicode_data
from .vocabulary import MAX_PIECE, AddedTokens

FLAG_ADDED = 0x8000
_LEFT, _RIGHT, _WORD, _NORMAL = 1, 2, 4, 8
_FIRST, _NORMALIZED, _PUT, _AGAIN, _SPACES = 1, 2, 4, 8, 16


def with_added(section: bytes, device: Any, added: AddedTokens) -> bytes:
    """A section with the table of added tokens. device: its reader. Raises Error."""
    late = any(t.normalized for t in added.tokens) and added.normalizes
    how = _FIRST * added.first
    if late:
        how |= _NORMALIZED | _PUT * added.puts | _AGAIN * (added.puts and added.again)
        how |= _SPACES * added.spaces
    entries: dict[tuple[bytes, int], int] = {}
    for t in added.tokens:
        name = t.name.encode()
        if t.normalized:
            name = device_added.normal(device, name, how)
        if not 0 < len(name) <= MAX_PIECE or not 0 <= t.token < device.vocab_size:
            if not name:
                continue  # which is nowhere in a text
            raise Error(
                f"added token {t.token} ({t.name[:20]!r}...) has {len(name)} bytes; expected at "
                f"most {MAX_PIECE}, and one of {device.vocab_size} tokens"
            )
        bits = _LEFT * t.lstrip | _RIGHT * t.rstrip | _WORD * t.single_word
        key = name, _NORMAL * t.normalized
        entries.setdefault(key, t.token | (bits | key[1]) << 16 | len(name) << 24)
    if not entries:
        return section
    ordered = sorted(entries, key=lambda key: (-len(key[0]), key))
    bounds: list[int] = []
    if any(t.single_word for t in added.tokens):
        bounds = [code for first, last in unicode_data.words() for code in (first, last + 1)]
    names = b"".join(name for name, _ in ordered)
    words = [len(entries) | how << 16, len(names), len(bounds), *bounds]
    words += [entries[key] for key in ordered]
    flags = struct.unpack_from("<I", section, 4)[0] | FLAG_ADDED
    table = struct.pack(f"<{len(words)}I", *words) + names + bytes(-len(names) % 4)
    return section[:4] + struct.pack("<I", flags) + section[8:] + table
