"""SentencePiece models written by hand, without the library."""

from __future__ import annotations

import struct


def message(number: int, data: bytes) -> bytes:
    """A field of bytes, of a protocol buffer."""
    size = len(data)
    head = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
    return bytes([number << 3 | 2]) + (bytes([size]) if size < 128 else head) + data


def hand_made(
    *pieces: tuple[str, float, int], normalizer: bytes = b"", trainer: bytes = b""
) -> bytes:
    """A model of pieces (text, score, kind), with fields of its two specs."""
    data = b""
    for text, score, kind in pieces:
        body = message(1, text.encode()) + b"\x15" + struct.pack("<f", score)
        data += message(1, body + bytes([0x18, kind]))
    return data + message(2, trainer) + message(3, normalizer)


def small(size: int, kind: int = 2) -> bytes:
    """A model of `size` pieces. kind: 1 Unigram, 2 BPE."""
    names = [
        "<unk>",
        "<s>",
        "</s>",
        "<sep>",
        "\u2581",
        *"etaoinshrdlu",
        "\u2581t",
        "he",
        "\u2581the",
    ]
    names += [chr(0x100 + i) for i in range(size - len(names))]
    kinds = [2, 3, 3, 4, *[1] * size]
    pieces = [(name, -float(i), kinds[i]) for i, name in enumerate(names[:size])]
    return hand_made(*pieces, trainer=bytes([0x18, kind]))
