"""llama2.c's tokenizer.bin."""

from __future__ import annotations

import math
import os
import struct

from ..errors import Error
from .files import read_bytes
from .sentencepiece import BYTE_NAMES
from .vocabulary import MAX_PIECE, Vocabulary, single_characters

# llama2.c's code fixes these ids
_UNK, _BOS, _EOS = range(3)
_BYTES = 3
_NEVER = -1e10  # it merges nothing that scores as low as this


def read_llama2c(path: str | os.PathLike[str], vocab_size: int) -> Vocabulary:
    """The vocabulary of a llama2.c `tokenizer.bin`, for a checkpoint of `vocab_size` tokens.

    Merging goes by the score of the result, so every split of a piece in two others is a merge.
    Raises Error for a file that is truncated, foreign or of another size.
    """
    data = read_bytes(path)
    if vocab_size <= _BYTES:
        raise Error(
            f"a vocabulary of {vocab_size} tokens has no room for more than llama2.c's "
            f"{_BYTES} control tokens"
        )
    if len(data) < 4:
        raise Error(f"{path}: {len(data)} bytes are too few for a llama2.c tokenizer")
    (longest,) = struct.unpack_from("<i", data)
    if not 0 < longest <= MAX_PIECE:
        raise Error(
            f"{path}: begins with the length {longest}, expected that of the longest token, "
            f"1 to {MAX_PIECE}; this is not a llama2.c tokenizer"
        )
    pieces, scores = _entries(path, data, longest, vocab_size)
    present = sum(name.encode() in pieces for name in BYTE_NAMES)
    if present:
        _check_bytes(path, pieces, present)
    first = _BYTES + 256 * (present > 0)
    ids: dict[bytes, int] = {}
    for token in range(first, vocab_size):
        ids.setdefault(pieces[token], token)
    controls = [b""] * _BYTES + [bytes([b]) for b in range(256)] * (present > 0)
    return Vocabulary(
        pieces=controls + pieces[first:],
        singles=single_characters({_text(piece): token for piece, token in ids.items()}),
        merges=_merges_by_score(ids, scores),
        unk=_UNK,
        bos=_BOS,
        eos=_EOS,
        # without byte pieces too: llama2.c then takes whatever stands in their places
        byte_base=_BYTES,
        # llama2.c looks this space up, and has no token -1 in its table
        prefix=present > 0 or b" " in ids,
    )


def no_tokens(vocab_size: int) -> Vocabulary:
    """That of a checkpoint without a tokenizer: llama2.c's ids, which stand for nothing."""
    bos, eos = (i if i < vocab_size else -1 for i in (_BOS, _EOS))
    return Vocabulary([b""] * vocab_size, bos=bos, eos=eos)


def _check_bytes(path: str | os.PathLike[str], pieces: list[bytes], present: int) -> None:
    """Raise Error unless the byte pieces, of which there are some, are all in their places."""
    for b, name in enumerate(BYTE_NAMES):
        seen = pieces[_BYTES + b] if _BYTES + b < len(pieces) else b"none"
        if seen != name.encode():
            raise Error(
                f"{path}: token {_BYTES + b} is {seen!r}, expected {name}: there are {present} "
                f"byte pieces, and llama2.c has all 256 from token {_BYTES} on, or none"
            )


def _entries(
    path: str | os.PathLike[str], data: bytes, longest: int, vocab_size: int
) -> tuple[list[bytes], list[float]]:
    """The pieces and their scores."""
    position = 4
    pieces: list[bytes] = []
    scores: list[float] = []
    for token in range(vocab_size):
        if position + 8 > len(data):
            raise Error(
                f"{path}: ends after {token} tokens, expected the checkpoint's {vocab_size}; "
                "is it the tokenizer of this checkpoint?"
            )
        score, length = struct.unpack_from("<fi", data, position)
        position += 8
        if not 0 < length <= longest or not math.isfinite(score):
            raise Error(
                f"{path}: token {token} has length {length} and score {score}, expected 1 to "
                f"{longest} and a finite score; this is not a llama2.c tokenizer"
            )
        if position + length > len(data):
            raise Error(f"{path}: ends inside token {token}; the file is truncated")
        pieces.append(data[position : position + length])
        scores.append(score)
        position += length
    if position != len(data):
        raise Error(
            f"{path}: {len(data) - position} bytes follow the checkpoint's {vocab_size} tokens; "
            "is it the tokenizer of this checkpoint?"
        )
    return pieces, scores


def _merges_by_score(
    ids: dict[bytes, int], scores: list[float]
) -> dict[tuple[int, int], tuple[int, int]]:
    """(left, right) -> (rank, result): every split of a piece in two others, by its score."""
    splits: dict[tuple[int, int], int] = {}
    for piece, token in ids.items():
        if scores[token] <= _NEVER:
            continue
        for cut in range(1, len(piece)):
            left, right = ids.get(piece[:cut]), ids.get(piece[cut:])
            if left is not None and right is not None:
                splits[left, right] = token
    ordered = sorted({scores[token] for token in splits.values()}, reverse=True)
    ranks = {score: rank for rank, score in enumerate(ordered)}
    return {pair: (ranks[scores[token]], token) for pair, token in splits.items()}


def _text(piece: bytes) -> str:
    """A piece as text; one that is not UTF-8 gets a length that no character has."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return ""
