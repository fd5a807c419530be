"""The bytes of the tokenizer section. docs/tokenizer.md defines them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from ..device import tokenizer_lookup as lookup
from ..device.reader import tokenizer as device_tokenizer
from ..errors import Error
from .added import with_added
from .vocabulary import (
    MAX_PIECE,
    Action,
    ByteLevelVocabulary,
    PiecesVocabulary,
    UnigramVocabulary,
    Vocabulary,
    WordPieceVocabulary,
)

TYPE_BPE, TYPE_WORDPIECE, TYPE_BYTE_LEVEL, TYPE_UNIGRAM, TYPE_PIECES = 1, 2, 3, 4, 5
FLAG_PREFIX = 1
FLAG_PREFIX_UNLESS_SPACE = 2
FLAG_WORDS = 4
FLAG_FUSE_UNKNOWN = 8
FLAG_TEMPLATE = 16
FLAG_COLLAPSE = 32
FLAG_EACH_WORD = 64
FLAG_CLUSTERS = 128
# of type 3
FLAG_LLAMA_WORDS = 32
FLAG_THREE_DIGITS = 64
FLAG_ONE_DIGIT = 128
FLAG_DIGITS_APART = 256
FLAG_NORMAL = 512
# of types 4 and 5
FLAG_SENTENCEPIECE = 256
FLAG_HANGUL = 512
FLAG_UNLISTED = 1024

_NONE = 0xFFFFFFFF
_NEVER = (1 << 30) - 1  # a cost
_MAX_TOKENS = 65535
_MAX_RANK = 65535
_MAX_BLOB = (1 << 24) - 1
_MAX_ACTIONS = 1 << 11  # that a range can name
_CODES = 0x110000


def build(vocabulary: Vocabulary) -> bytes:
    """The tokenizer section for `vocabulary`. Raises Error where the format cannot hold it."""
    v = vocabulary
    _check_vocabulary(v)
    if isinstance(v, WordPieceVocabulary):
        section = _build_wordpiece(v)
    elif isinstance(v, ByteLevelVocabulary):
        section = _build_byte_level(v)
    elif isinstance(v, UnigramVocabulary):
        section = _build_unigram(v)
    else:
        section = _build_bpe(v)
    device = device_tokenizer(section)  # what the board would refuse is not written
    if v.added is not None and v.added.tokens:
        section = with_added(section, device, v.added)
        device_tokenizer(section)
    return section


def _check_vocabulary(v: Vocabulary) -> None:
    size = len(v.pieces)
    if not 0 < size <= _MAX_TOKENS:
        raise Error(f"the vocabulary has {size} tokens; expected 1 to {_MAX_TOKENS}")
    for token, piece in enumerate(v.pieces):
        if len(piece) > MAX_PIECE:
            raise Error(
                f"token {token} ({piece[:20]!r}...) has {len(piece)} bytes; "
                f"expected at most {MAX_PIECE}"
            )
    total = sum(map(len, v.pieces))
    if total > _MAX_BLOB:
        raise Error(f"the pieces have {total} bytes in all; expected at most {_MAX_BLOB}")
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
    if v.template is not None:
        for kind, token, type_ in [*v.template.single, *v.template.pair]:
            if not (0 <= kind <= 2 and 0 <= token < size and 0 <= type_ <= 255):
                raise Error(f"template item {kind, token, type_}; there are {size} tokens")


def _build_bpe(v: Vocabulary) -> bytes:
    flags = FLAG_PREFIX * v.prefix
    flags |= FLAG_PREFIX_UNLESS_SPACE * (v.prefix and v.prefix_unless_space)
    flags |= FLAG_WORDS * _words_are_independent(v)
    flags |= FLAG_FUSE_UNKNOWN * v.fuse_unknown
    singles = sorted(v.singles.items())
    words = [key for key, _ in singles] + [value for _, value in singles]
    words += _merge_words(v)
    counts = (_NONE if v.byte_base < 0 else v.byte_base, len(singles), len(v.merges))
    return _section(v, TYPE_BPE, flags, counts, 4, _words(words))


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


def _merge_words(v: Vocabulary) -> list[int]:
    merges = sorted((a << 16 | b, rank << 16 | c) for (a, b), (rank, c) in v.merges.items())
    return [key for key, _ in merges] + [value for _, value in merges]


def _build_byte_level(v: ByteLevelVocabulary) -> bytes:
    flags = FLAG_PREFIX_UNLESS_SPACE * v.prefix
    flags |= FLAG_WORDS * v.split
    flags |= FLAG_FUSE_UNKNOWN * v.fuse_unknown
    flags |= FLAG_LLAMA_WORDS * v.llama | FLAG_DIGITS_APART * v.apart
    flags |= FLAG_THREE_DIGITS * (v.digits == 3) | FLAG_ONE_DIGIT * (v.digits == 1)
    if len(v.byte_tokens) != 256 or not all(-1 <= i < len(v.pieces) for i in v.byte_tokens):
        raise Error(f"byte tokens {v.byte_tokens!r:.60}; expected 256, each a token or -1")
    characters, count = _characters(v.characters, v.pairs is not None)
    tables = struct.pack("<256H", *(i & 0xFFFF for i in v.byte_tokens)) + characters
    if v.pairs is not None:
        flags |= FLAG_NORMAL
        low, high = (
            {
                (a & 0xFFFF, b & 0xFFFF): code & 0xFFFF
                for (a, b), code in v.pairs.items()
                if code >> 16 == plane
            }
            for plane in (0, 1)
        )
        tables += _words([len(low) | len(high) << 16]) + _pair_tables(low, high)
    tables += _words(_merge_words(v)) + _sorted_tokens(v, v.whole)
    counts = count, len(v.whole), len(v.merges)
    return _section(v, TYPE_BYTE_LEVEL, flags, counts, 0, tables)


def _build_wordpiece(v: WordPieceVocabulary) -> bytes:
    characters, count = _characters(v.characters)
    tables = characters + _sorted_tokens(v, v.searched)
    return _section(v, TYPE_WORDPIECE, 0, (v.longest, len(v.searched), count), 0, tables)


def _build_unigram(v: UnigramVocabulary) -> bytes:
    flags = FLAG_PREFIX * v.prefix
    flags |= FLAG_PREFIX_UNLESS_SPACE * (v.prefix and v.prefix_unless_space)
    flags |= FLAG_WORDS * v.split
    flags |= FLAG_COLLAPSE * v.collapse
    flags |= FLAG_EACH_WORD * v.each_word
    if v.composed is None:
        flags |= FLAG_CLUSTERS * (v.pairs is not None)
    else:
        flags |= FLAG_SENTENCEPIECE | FLAG_HANGUL * v.hangul
    first, more = v.pairs or {}, v.composed or {}
    kind = TYPE_PIECES if isinstance(v, PiecesVocabulary) else TYPE_UNIGRAM
    flags |= FLAG_UNLISTED * bool(v.unlisted)
    tokens = list(v.searched)
    scores = [*(v.scores[token] for token in tokens), v.unknown_score]
    if not all(-(1 << 20) < score <= 0 for score in scores):
        raise Error("a score is not from -2^20 to 0; expected logarithms of probabilities")
    *costs, unknown = _ranks(scores) if kind == TYPE_PIECES else _costs(scores)
    costs += [_NEVER] * len(v.unlisted)
    tokens += v.unlisted
    order = sorted(range(len(tokens)), key=lambda i: v.pieces[tokens[i]])
    costs = [costs[i] for i in order]
    characters, count = _characters(v.characters)
    tables = _words([_NONE if v.byte_base < 0 else v.byte_base, len(first) | len(more) << 16])
    tables += _pair_tables(first, more) + characters + _words(costs)
    tables += _sorted_tokens(v, tokens)
    return _section(v, kind, flags, (unknown, len(tokens), count), 0, tables)


def _pair_tables(*tables: Mapping[tuple[int, int], int]) -> bytes:
    """Pairs of characters below U+10000, and behind them what each becomes."""
    pairs = [pair for table in tables for pair in sorted(table.items())]
    if not all(0 <= c < 65536 for (a, b), c in pairs for c in (a, b, c)):
        raise Error("the normalizer composes characters above U+FFFF, not supported")
    codes = struct.pack(f"<{len(pairs)}H", *(c for _, c in pairs))
    return _words([a << 16 | b for (a, b), _ in pairs]) + codes


def _costs(scores: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to the scores.

    SentencePiece's scores are float32: at some power of two they are whole numbers, and sums of
    those are exact, here and as float64. Of others it is the finest that has room.
    """
    bits = 0
    while max(-s for s in scores) * (2 << bits) < 1 << 30 and bits < 40:
        if all((-s * (1 << bits)).is_integer() for s in scores):
            break
        bits += 1
    return [round(-s * (1 << bits)) for s in scores]


def _ranks(scores: Sequence[float]) -> list[int]:
    """The number of scores that are better; the best one is 0."""
    ranks = {score: rank for rank, score in enumerate(sorted({0.0, *scores}, reverse=True))}
    return [ranks[score] for score in scores]


def _sorted_tokens(v: Vocabulary, tokens: Sequence[int]) -> bytes:
    ordered = sorted(tokens, key=lambda token: v.pieces[token])
    return struct.pack(f"<{len(ordered)}H", *ordered)


def _words(values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def _section(
    v: Vocabulary, kind: int, flags: int, counts: tuple[int, int, int], width: int, tables: bytes
) -> bytes:
    """Header, offsets of `width` bytes (0: as the pieces need), tables, pieces, template."""
    blob = b"".join(v.pieces)
    offsets = [0]
    for piece in v.pieces:
        offsets.append(offsets[-1] + len(piece))
    width = width or (2 if len(blob) < 65536 else 3)
    if v.template is not None:
        flags |= FLAG_TEMPLATE
    header = [kind, flags, len(v.pieces)]
    header += [_NONE if i < 0 else i for i in (v.unk, v.bos, v.eos)]
    section = _words([*header, *counts, len(blob)])
    section += b"".join(offset.to_bytes(width, "little") for offset in offsets)
    section += tables + blob
    section += bytes(-len(section) % 4)
    if v.template is not None:
        items = [*v.template.single, *v.template.pair]
        section += _words([len(v.template.single), len(v.template.pair)])
        section += _words([kind << 24 | type_ << 16 | token for kind, token, type_ in items])
    return section


def _characters(
    runs: Sequence[tuple[int, int, Action]], listed: bool = False
) -> tuple[bytes, int]:
    """The tables of ranges and actions, and their sizes as the header has them.

    listed: no action stands for another one that does the same.
    """
    table: dict[Action, int] = {}
    entries: list[tuple[int, Action]] = []
    whole = list(_whole(runs))
    for first, action in [] if listed else _covered(whole):
        if not entries or entries[-1][1] != action:
            entries.append((first, action))
            table.setdefault(action, len(table))
    each: list[Action] = []
    if listed or len(table) > _MAX_ACTIONS:
        entries, each = _each(whole)
        table = {}
        for _, action in entries:
            table.setdefault(action, len(table))
    actions: list[int] = [0] * (len(table) + len(each))
    for i, action in [*((i, action) for action, i in table.items()), *enumerate(each, len(table))]:
        op, *values = action
        value = values[0] if values else 0
        if op & 15 == lookup.SHIFT:
            value += 0x100000
        elif op & 15 == lookup.SEQUENCE:
            value = len(values) << 16 | len(actions)
            actions += [lookup.BECOMES << 24 | code for code in values]
        elif op & 15 == lookup.EACH:
            value += len(table)
        actions[i] = op << 24 | value
    if len(table) > _MAX_ACTIONS or len(actions) > 65535 or len(entries) > 65535:
        raise Error(
            f"the normalizer does {len(table)} different things to characters of the "
            f"vocabulary; expected at most {_MAX_ACTIONS}"
        )
    packed = _words([first << 11 | table[action] for first, action in entries] + actions)
    return packed, len(entries) | len(actions) << 16


_GAP = 8  # characters of one action between ranges that have an action for each


def _each(
    runs: list[tuple[int, int, Action]],
) -> tuple[list[tuple[int, Action]], list[Action]]:
    """Ranges as _covered's, where many characters become what no other does.

    Neighbours have a list of actions, one each, in which a range names the first.
    """
    entries: list[tuple[int, Action]] = []
    each: list[Action] = []
    inside = False
    for first, last, action in runs:
        if last - first >= _GAP or action[0] & 15 == lookup.HANGUL:
            entries.append((first, action))
            inside = False
            continue
        if not inside:
            entries.append((first, (lookup.EACH, len(each))))
        inside = True
        each += [action] * (last - first + 1)
    return entries, each


def _whole(runs: Sequence[tuple[int, int, Action]]) -> Iterator[tuple[int, int, Action]]:
    """`runs` with what is absent in between, and cut where BECOMES differs from character on."""
    last = -1
    for first, end, action in runs:
        if first > last + 1:
            yield last + 1, first - 1, (lookup.KEEP,)
        yield first, end, action
        last = end
    if last < _CODES - 1:
        yield last + 1, _CODES - 1, (lookup.KEEP,)


def _covered(runs: list[tuple[int, int, Action]]) -> Iterator[tuple[int, Action]]:
    """Fewer ranges that do the same: first code point and action of each.

    A character that becomes itself is kept, so A-Z is one shift, and "Aa" can be one constant.
    """
    i = 0
    while i < len(runs):
        first, last, action = runs[i]
        best, reached = action, i + 1
        for candidate in _candidates(first, last, action):
            j = i
            while j < len(runs) and candidate in _candidates(*runs[j]):
                j += 1
            if j > reached:
                best, reached = candidate, j
        yield first, best
        i = reached


def _candidates(first: int, last: int, action: Action) -> list[Action]:
    bits = action[0] & ~15
    if action[0] & 15 == lookup.BECOMES and first == last:
        return [action, (lookup.SHIFT | bits, action[1] - first)]
    if action[0] & 15 == lookup.KEEP and first == last:
        return [action, (lookup.BECOMES | bits, first)]
    return [action]
