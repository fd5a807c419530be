"""The tokenizer on the PC: the writer of its section, and a wrapper around the board's reader.

Encoding and decoding live in device/picoformer/tokenizer.py, and only there.
docs/tokenizer.md defines the section.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .device.tokenizer import Tokenizer as DeviceTokenizer
from .errors import Error

TYPE_BPE = 1
FLAG_PREFIX = 1
FLAG_PREFIX_UNLESS_SPACE = 2
FLAG_WORDS = 4
FLAG_FUSE_UNKNOWN = 8
MAX_PIECE = 255  # bytes

_NONE = 0xFFFFFFFF
_MAX_TOKENS = 65535
_MAX_RANK = 65535
_MAX_BLOB = (1 << 24) - 1
_CACHED_WORDS = 1 << 14


@dataclass
class Vocabulary:
    """A byte-pair vocabulary, as an importer finds it. -1 stands for "none"."""

    pieces: Sequence[bytes]
    """What each token stands for: nothing for a control token, the raw byte for a byte token,
    and U+2581 already a space."""
    singles: Mapping[int, int]
    """code point -> token"""
    merges: Mapping[tuple[int, int], tuple[int, int]]
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


def build(vocabulary: Vocabulary) -> bytes:
    """The tokenizer section for `vocabulary`. Raises Error where the format cannot hold it."""
    v = vocabulary
    size = len(v.pieces)
    if not 0 < size <= _MAX_TOKENS:
        raise Error(f"the vocabulary has {size} tokens; expected 1 to {_MAX_TOKENS}")
    for token, piece in enumerate(v.pieces):
        if len(piece) > MAX_PIECE:
            raise Error(
                f"token {token} ({piece[:20]!r}...) has {len(piece)} bytes; "
                f"expected at most {MAX_PIECE}"
            )
    blob = b"".join(v.pieces)
    if len(blob) > _MAX_BLOB:
        raise Error(f"the pieces have {len(blob)} bytes in all; expected at most {_MAX_BLOB}")
    for code, token in v.singles.items():
        if not 0 <= code <= 0x10FFFF or not 0 <= token < size:
            raise Error(f"character {code:#x} is token {token}; there are {size} tokens")
    for (left, right), (rank, token) in v.merges.items():
        if not all(0 <= i < size for i in (left, right, token)) or not 0 <= rank <= _MAX_RANK:
            raise Error(
                f"merge {left} + {right} -> {token} of rank {rank}; expected tokens below {size} "
                f"and a rank of at most {_MAX_RANK}"
            )
    for token in (v.unk, v.bos, v.eos, v.byte_base):
        if not -1 <= token < size:
            raise Error(f"special token {token}; expected -1 (none) to {size - 1}")

    flags = FLAG_PREFIX * v.prefix
    flags |= FLAG_PREFIX_UNLESS_SPACE * (v.prefix and v.prefix_unless_space)
    flags |= FLAG_WORDS * _words_are_independent(v)
    flags |= FLAG_FUSE_UNKNOWN * v.fuse_unknown
    offsets = [0]
    for piece in v.pieces:
        offsets.append(offsets[-1] + len(piece))
    singles = sorted(v.singles.items())
    merges = sorted((a << 16 | b, rank << 16 | c) for (a, b), (rank, c) in v.merges.items())
    words = [TYPE_BPE, flags, size]
    words += [_NONE if i < 0 else i for i in (v.unk, v.bos, v.eos, v.byte_base)]
    words += [len(singles), len(merges), len(blob), *offsets]
    for table in (singles, merges):
        words += [key for key, _ in table]
        words += [value for _, value in table]
    section = struct.pack(f"<{len(words)}I", *words) + blob + bytes(-len(blob) % 4)
    DeviceTokenizer(section)  # what the board would refuse is not written
    return section


def _words_are_independent(v: Vocabulary) -> bool:
    """Whether no merge joins a piece to one that begins with a space, but after a space.

    An encoder may then treat each word, with the spaces in front of it, alone.
    """
    if 0x20 not in v.singles:
        return False
    return not any(
        v.pieces[right].startswith(b" ") and not v.pieces[left].endswith(b" ")
        for left, right in v.merges
    )


class _CachingTokenizer(DeviceTokenizer):
    """Remembers the words it has seen: prose then encodes a few dozen times faster."""

    def __init__(self, section: bytes) -> None:
        super().__init__(section)
        remembered = _CACHED_WORDS if self._flags & FLAG_WORDS else 0
        self._seen = lru_cache(remembered)(super()._word)

    def _word(self, text: str) -> list[int]:
        return self._seen(text)


class Tokenizer:
    """Text to tokens and back, as the board does it.

    section: the bytes that `build` wrote. vocab_size: number of tokens; bos, eos: their ids, -1
    where the model has none. Raises Error where the section is malformed.
    """

    def __init__(self, section: bytes) -> None:
        self.section = bytes(section)
        self._device = _CachingTokenizer(self.section)
        self.vocab_size: int = self._device.vocab_size
        self.bos: int = self._device.bos
        self.eos: int = self._device.eos

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`, without BOS. Raises Error for a text that UTF-8 cannot hold."""
        try:
            text.encode()
        except UnicodeEncodeError as e:
            raise Error(
                f"the text has a lone surrogate at index {e.start}, which is not a character; "
                "expected text that can be written as UTF-8"
            ) from None
        return self._device.encode(text)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of `tokens`, a whole text from its start, with or without BOS."""
        self._device.reset()
        text = "".join(_stream(self._device, tokens))
        return text + self._device.flush()

    def decoder(self) -> DeviceTokenizer:
        """A new streaming decoder: the board's, with decode(token, previous), flush, reset."""
        return DeviceTokenizer(self.section)


def _stream(device: DeviceTokenizer, tokens: Iterable[int]) -> Iterator[str]:
    previous = device.bos
    for token in tokens:
        yield device.decode(int(token), previous)
        previous = int(token)
