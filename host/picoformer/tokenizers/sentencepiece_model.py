"""SentencePiece's own models: tokenizer.model, spiece.model, source.spm.

What is read is sentencepiece_model.proto's ModelProto; what it means is the library's code.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import Error
from .characters import mapped_characters
from .charsmap import composition
from .files import read_bytes
from .protobuf import Value, fields
from .sentencepiece import BYTE_NAMES, SPACE, first_byte
from .vocabulary import PiecesVocabulary, Template, UnigramVocabulary, pad

_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = range(1, 7)
_UNIGRAM, _BPE, _WORD, _CHAR = range(1, 5)
_KINDS = "Unigram", "BPE", "words", "characters"
_PENALTY = 10  # an unknown character's score is so much below the least
_BONUS = 0.1  # what the library gives a user-defined piece for each byte but one: it wins
_SHIFT = 0.125  # taken from every byte's score then, which changes no choice, as none is above 0
_GRID = 64  # parts of 1 in which bonuses are given


@dataclass
class Piece:
    text: str
    score: float = 0.0
    kind: int = _NORMAL


@dataclass
class Model:
    """What a model file says."""

    path: str
    pieces: list[Piece] = field(default_factory=list)
    kind: int = _UNIGRAM
    bytes_: bool = False  # characters without a piece are bytes
    suffix: bool = False  # spaces belong to the word before
    charsmap: bytes = b""
    prefix: bool = True
    remove_spaces: bool = True
    escape: bool = True
    unk: int = -1
    bos: int = -1
    eos: int = -1


def read_model(path: str | os.PathLike[str]) -> Model:
    """A SentencePiece model. Raises Error."""
    data = read_bytes(path)
    model = Model(str(path))
    try:
        for number, value in fields(data):
            if number == 1:
                model.pieces.append(_piece(_message(value)))
            elif number == 2:
                for option, given in fields(_message(value)):
                    _trainer(model, option, given)
            elif number == 3:
                for option, given in fields(_message(value)):
                    _normalizer(model, option, given)
    except ValueError as e:
        raise Error(
            f"{path}: {e}; expected a SentencePiece model (a protocol buffer of {len(data)} bytes)"
        ) from None
    _check(model, len(data))
    return model


def _message(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f"{value!r} where a message belongs")
    return value


def _piece(data: bytes) -> Piece:
    piece = Piece("")
    for number, value in fields(data):
        if number == 1:
            piece.text = _message(value).decode()
        elif number == 2 and isinstance(value, float):
            piece.score = value
        elif number == 3 and isinstance(value, int):
            piece.kind = value
    return piece


def _trainer(model: Model, number: int, value: Value) -> None:
    if number == 3 and isinstance(value, int):
        model.kind = value
    elif number == 24:
        model.suffix = bool(value)
    elif number == 35:
        model.bytes_ = bool(value)


def _normalizer(model: Model, number: int, value: Value) -> None:
    if number == 2:
        model.charsmap = _message(value)
    elif number == 3:
        model.prefix = bool(value)
    elif number == 4:
        model.remove_spaces = bool(value)
    elif number == 5:
        model.escape = bool(value)


def _check(model: Model, size: int) -> None:
    """Raise Error for what is no model, or not one that a board can follow."""
    kinds = [piece.kind for piece in model.pieces]
    unknown = [i for i, kind in enumerate(kinds) if kind == _UNKNOWN]
    if len(unknown) != 1 or not all(_NORMAL <= kind <= _BYTE for kind in kinds):
        raise Error(
            f"{model.path}: {len(kinds)} pieces in {size} bytes, {len(unknown)} of them the "
            "unknown one; expected a SentencePiece model, which has one"
        )
    model.unk = unknown[0]
    controls = {p.text: i for i, p in enumerate(model.pieces) if p.kind == _CONTROL}
    model.bos, model.eos = controls.get("<s>", -1), controls.get("</s>", -1)
    seen: dict[str, int] = {}
    for i, piece in enumerate(model.pieces):
        if not piece.text or seen.setdefault(piece.text, i) != i:
            raise Error(f"{model.path}: piece {i} is {piece.text!r}, empty or there before")
        if not math.isfinite(piece.score):
            raise Error(f"{model.path}: piece {i} has the score {piece.score}")
    what = _KINDS[model.kind - 1] if _UNIGRAM <= model.kind <= _CHAR else f"type {model.kind}"
    if what not in _KINDS or model.kind == _WORD or model.suffix or not model.escape:
        raise Error(
            f"{model.path}: a SentencePiece model of {what}, white space "
            f"{'behind' if model.suffix else 'in front of'} words, "
            f"{'' if model.escape else 'not '}escaped; supported are Unigram, BPE and "
            "characters, with escaped white space in front of words"
        )
    if model.kind != _UNIGRAM and _UNUSED in kinds:
        raise Error(f"{model.path}: BPE with unused pieces; supported is one without")


def read_sentencepiece(
    path: str | os.PathLike[str],
    vocab_size: int | None = None,
    bos: int | None = None,
    eos: int | None = None,
    around: tuple[bool, bool] = (False, False),
    ids: Mapping[str, int] | None = None,
) -> UnigramVocabulary:
    """The vocabulary of a SentencePiece model.

    around: whether bos stands in front of a text, eos behind it. ids: the tokens by the pieces'
    names, where they are not the model's own (Marian's). Others, and errors, as
    read_tokenizer_json's.
    """
    m = read_model(path)
    known = {piece.text: i for i, piece in enumerate(m.pieces)} if ids is None else dict(ids)
    size = max(known.values(), default=-1) + 1
    if vocab_size is not None and size > vocab_size:
        raise Error(
            f"{path}: has {size} tokens, the model {vocab_size}: is it this model's tokenizer?"
        )
    v = (UnigramVocabulary if m.kind == _UNIGRAM else PiecesVocabulary)([b""] * size)
    v.unk = known.get(m.pieces[m.unk].text, -1)
    if v.unk < 0:
        raise Error(f"{path}: its unknown piece {m.pieces[m.unk].text!r} has no token")
    v.bos = known.get("<s>", -1) if bos is None else bos
    v.eos = known.get("</s>", -1) if eos is None else eos
    _pieces(v, m, known)
    _texts(v, m)
    front = [(0, v.bos, 0)] if around[0] and v.bos >= 0 else []
    behind = [(0, v.eos, 0)] if around[1] and v.eos >= 0 else []
    v.template = Template([*front, (1, 0, 0), *behind])
    pad(v, vocab_size)
    return v


def _pieces(v: UnigramVocabulary, m: Model, known: Mapping[str, int]) -> None:
    """What each token stands for, and which of them a text may give at what score."""
    kinds = {piece.text: piece.kind for piece in m.pieces}
    pieces = [b""] * len(v.pieces)
    for text, token in known.items():
        kind = kinds.get(text, _NORMAL)
        if kind == _BYTE and text in BYTE_NAMES:
            pieces[token] = bytes([BYTE_NAMES.index(text)])
        elif kind in (_NORMAL, _USER, _UNUSED) and not _named(text, kinds):
            pieces[token] = text.replace(SPACE, " ").encode()
    v.pieces = pieces
    normal = [p.score for p in m.pieces if p.kind == _NORMAL] or [0.0]
    best, least = max(normal), min(normal)
    shift = _SHIFT * any(p.kind == _USER for p in m.pieces)
    if m.bytes_:
        listed = {p.text: known[p.text] for p in m.pieces if p.kind == _BYTE and p.text in known}
        v.byte_base = first_byte(m.path, listed)
    scores = [0.0] * len(v.pieces)
    missing, searched = [], []
    for piece in m.pieces:
        if piece.kind not in (_NORMAL, _USER) or " " in piece.text:  # no text has one by then
            continue
        token = known.get(piece.text, -1)
        if token < 0 or not v.pieces[token]:
            missing.append(piece.text)
            continue
        searched.append(token)
        if m.kind != _UNIGRAM:
            scores[token] = 0.0 if piece.kind == _USER else min(piece.score - best, 0.0) - 1
        else:
            length = len(piece.text.encode())
            bonus = round(_BONUS * (length - 1) * _GRID) / _GRID
            scores[token] = (bonus if piece.kind == _USER else piece.score) - shift * length
    v.searched = searched
    if m.kind == _UNIGRAM and not m.bytes_:
        v.unlisted = [
            token
            for text, token in known.items()
            if text not in kinds and v.pieces[token] and not {" ", SPACE} & set(text)
        ]
    if missing:
        v.notes.append(
            f"{len(missing)} pieces of {os.path.basename(m.path)} have no token, such as "
            f"{missing[0]!r}: a text that has them is cut otherwise"
        )
    v.scores, v.unknown_score = scores, least - _PENALTY - shift


def _named(text: str, kinds: Mapping[str, int]) -> bool:
    """Whether a piece that the model does not know is the name of a control token."""
    return text not in kinds and text[:1] + text[-1:] in ("<>", "[]") and len(text) > 2


def _texts(v: UnigramVocabulary, m: Model) -> None:
    """The normalizer, and where words begin."""
    try:
        rules = composition(m.charsmap)
    except Error as e:
        raise Error(f"{m.path}: {e}") from None
    texts = [v.pieces[token].decode() for token in v.searched]
    others = [v.pieces[token].decode() for token in v.unlisted]
    alphabet = {ord(c) for text in texts + others for c in text} | {0x20, ord(SPACE)}
    if m.bytes_:  # then nothing is unknown
        alphabet = set(range(0x110000))
    v.pairs, v.composed, v.hangul = {}, {}, rules.hangul
    for (a, b), code in rules.pairs.items():
        if max(a, b, code) < 0x10000 and not alphabet.isdisjoint((a, b, code)):
            v.pairs[a, b] = code
    reached = set(v.pairs.values())
    for (a, b), code in rules.more.items():  # what three become before what four do
        if max(a, b, code) < 0x10000 and a in reached:
            v.composed[a, b] = code
            reached.add(code)
    alphabet.update(c for pair in [*v.pairs, *v.composed] for c in pair)
    if rules.hangul:
        alphabet.update(range(0x1100, 0x1200))
    v.characters = mapped_characters(alphabet, rules.singles)
    v.prefix, v.collapse = m.prefix, m.remove_spaces
    v.split = " " in texts and not any(" " in text[1:] for text in texts)
    changed = [
        piece.text
        for piece in m.pieces
        if piece.kind == _USER and not rules.singles.keys().isdisjoint(map(ord, piece.text))
    ]
    if changed:
        v.notes.append(f"{changed[0]!r}, which is user-defined, is normalized in texts as well")
    if rules.differ:
        v.notes.append(
            f"{rules.differ} texts of several characters are normalized otherwise than "
            f"{os.path.basename(m.path)} says"
        )
