"""The tokenizer on the PC: a wrapper around the board's reader.

Encoding and decoding live in device/picoformer/tokenizer.py and its neighbours, and only there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from ..device.reader import tokenizer as device_tokenizer
from ..errors import Error
from .section import FLAG_WORDS, TYPE_BPE

_CACHED_WORDS = 1 << 14


class Tokenizer:
    """Text to tokens and back, as the board does it.

    section: the bytes that `build` wrote. vocab_size: number of tokens; bos, eos, unk: their ids,
    -1 where the model has none. Raises Error where the section is malformed.
    """

    def __init__(self, section: bytes) -> None:
        self.section = bytes(section)
        self._device = _caching(self.section)
        self.vocab_size: int = self._device.vocab_size
        self.bos: int = self._device.bos
        self.eos: int = self._device.eos
        self.unk: int = self._device.unk

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`, without BOS. Raises Error for a text that UTF-8 cannot hold."""
        return list(self._device.encode(utf8(text)))

    def prompt(self, text: str) -> list[int]:
        """The tokens of a text to be continued, as the template has them; of none BOS."""
        return list(self._device.prompt(utf8(text)))

    def fit(self, text: str, positions: int) -> list[int]:
        """The tokens of a text with the special ones, cut so that they are not too many."""
        return list(self._device.fit(utf8(text), positions))

    def before(self) -> list[int]:
        """The tokens that the template puts in front of a text."""
        wrapped = self.wrap([-1])
        return wrapped[: wrapped.index(-1)]

    def wrap(self, ids: Sequence[int], pair: Sequence[int] | None = None) -> list[int]:
        """`ids` of a text, or of a pair of texts, with the special tokens the model expects."""
        return self._device.wrap(ids, pair)

    def types(self, ids: Sequence[int], pair: Sequence[int] | None = None) -> list[int]:
        """The token type of each token that `wrap` gives."""
        return self._device.types(ids, pair)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of `tokens`, a whole text from its start, with or without BOS."""
        self._device.reset()
        text = "".join(_stream(self._device, tokens))
        return text + self._device.flush()

    def decoder(self) -> Any:
        """A new streaming decoder: the board's, with decode(token, previous), flush, reset."""
        return device_tokenizer(self.section)


def utf8(text: str) -> str:
    """`text`, which UTF-8 can hold. Raises Error."""
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise Error(
            f"the text has a lone surrogate at index {e.start}, which is not a character; "
            "expected text that can be written as UTF-8"
        ) from None
    return text


def _caching(section: bytes) -> Any:
    """The board's tokenizer, which remembers words: prose then encodes dozens of times faster."""
    device = device_tokenizer(section)
    if section[0] != TYPE_BPE or section[4] & FLAG_WORDS:
        device._word = lru_cache(_CACHED_WORDS)(device._word)
    return device


def _stream(device: Any, tokens: Iterable[int]) -> Iterator[str]:
    previous = device.bos
    for token in tokens:
        yield device.decode(int(token), previous)
        previous = int(token)
