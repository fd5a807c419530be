"""Protocol buffers, as far as a SentencePiece model needs them; nothing in them is trusted."""

from __future__ import annotations

import struct
from collections.abc import Iterator

Value = int | float | bytes

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field of a message, in their order.

    A value is an int, the bytes of a text or of a message, or a float (of 4 bytes; those of 8
    have none here: 0). Raises ValueError where the message is malformed.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind, value = key & 7, 0
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"a field of wire type {kind} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"a field of {size} bytes at byte {at} of {len(data)}")
        part = data[at : at + size]
        at += size
        if kind == _BYTES:
            yield key >> 3, part
        else:
            yield key >> 3, struct.unpack("<f", part)[0] if kind == _FOUR else 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number of at most 10 bytes, and where it ends."""
    value = 0
    for i in range(10):
        if at + i >= len(data):
            raise ValueError("a number that is cut at the end")
        value |= (data[at + i] & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            return value, at + i + 1
    raise ValueError(f"a number of more than 10 bytes at byte {at}")
