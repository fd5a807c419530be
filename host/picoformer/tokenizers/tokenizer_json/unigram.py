"""SentencePiece's unigram model, as T5 and Marian have it."""

from __future__ import annotations

import base64

from ...errors import Error
from ..characters import Map, chained, lower_map, mapped_characters, nmt_map, space_map
from ..charsmap import charsmap
from ..files import JsonReader
from ..sentencepiece import SPACE
from ..vocabulary import UnigramVocabulary
from .components import TokenizerJson, brief
from .metaspace import adds_space, check_decoder


def without_scores(reader: JsonReader, listed: object) -> dict[str, int]:
    """Unigram lists pieces with their scores: the pieces with their ids."""
    rows = [reader.items(row, "a scored piece") for row in reader.items(listed, "model.vocab")]
    found: dict[str, int] = {}
    for i, row in enumerate(rows):
        if len(row) != 2 or not isinstance(row[1], int | float) or isinstance(row[1], bool):
            raise Error(f"{reader.path}: piece {i} is {row!r:.60}, expected a text and a score")
        text = reader.text(row[0], f"piece {i}")
        if text in found:
            raise Error(f"{reader.path}: {text!r} is token {found[text]} and token {i}")
        found[text] = i
    return found


def read(file: TokenizerJson) -> UnigramVocabulary:
    scores = [float(score) for _, score in file.model["vocab"]]
    unk = file.model.get("unk_id")
    if not isinstance(unk, int) or isinstance(unk, bool) or not 0 <= unk < len(file.ids):
        raise Error(f"{file.path}: unk_id is {unk!r}, expected a token of the vocabulary")
    maps, collapse, rules, pairs = _normalizer(file)
    prefix, split, each_word = _words(file)
    if each_word:
        maps = chained(maps, space_map())
    check_decoder(file, prefix)

    pieces = file.pieces(lambda text: file.utf8(text.replace(SPACE, " ")))
    pieces[unk] = b""
    byte_base = file.byte_base()
    bytes_ = range(byte_base, byte_base + 256) if byte_base >= 0 else range(0)
    for b, token in enumerate(bytes_):
        pieces[token] = bytes([b])
    # a piece with a space of its own never occurs: U+2581 has taken its place
    searched = [
        i for text, i in file.ids.items() if pieces[i] and i not in bytes_ and " " not in text
    ]
    alphabet = {ord(c) for i in searched for c in pieces[i].decode()} | {0x20, ord(SPACE)}
    alphabet |= {ord(c) for text in file.added.keys() - file.special for c in text}
    if byte_base >= 0:  # then nothing is unknown
        alphabet = set(range(0x110000))
    return UnigramVocabulary(
        pieces=pieces,
        unk=unk,
        byte_base=byte_base,
        prefix=prefix,
        prefix_unless_space=True,
        scores=(scores + [0.0] * len(pieces))[: len(pieces)],
        searched=searched,
        unknown_score=min(scores) - 10,
        characters=mapped_characters(alphabet, maps, collapse, rules),
        pairs=pairs,
        split=split,
        collapse=collapse,
        each_word=each_word,
    )


def _words(file: TokenizerJson) -> tuple[bool, bool, bool]:
    """The pre-tokenizer: prefix added, words split, a space in front of each word."""
    splitters = file.steps("pre_tokenizer")
    seen = [step.get("type") for step in splitters]
    each_word = seen == ["WhitespaceSplit", "Metaspace"]
    if not each_word and seen != ["Metaspace"] or splitters[-1].get("replacement") != SPACE:
        raise Error(
            f"{file.path}: pre-tokenizer {file.brief('pre_tokenizer')}; supported with "
            "Unigram are Metaspace, and WhitespaceSplit followed by it"
        )
    prefix = adds_space(splitters[-1])
    split = bool(splitters[-1].get("split", True))
    always = prefix and splitters[-1].get("prepend_scheme") != "first"
    if each_word and not (always and split):
        raise Error(
            f"{file.path}: pre-tokenizer {file.brief('pre_tokenizer')}; after "
            "WhitespaceSplit supported is a Metaspace that prepends always and splits"
        )
    return prefix, split, each_word


def _normalizer(
    file: TokenizerJson,
) -> tuple[Map, bool, Map | None, dict[tuple[int, int], int] | None]:
    """What becomes of each character, and whether runs of spaces become one.

    Then, of a Precompiled, the rules for single characters and those for two.
    """
    steps = file.steps("normalizer")
    maps: Map = {}
    strip = collapse = False
    rules: Map | None = None
    pairs: dict[tuple[int, int], int] | None = None
    for step in steps:
        kind = step.get("type")
        if kind == "Precompiled" and step is steps[0]:
            listed = file.text(step.get("precompiled_charsmap"), "precompiled_charsmap")
            try:
                maps, pairs = charsmap(base64.b64decode(listed))
            except ValueError as e:
                raise Error(
                    f"{file.path}: a precompiled_charsmap that is no base64: {e}"
                ) from None
            except Error as e:
                raise Error(f"{file.path}: {e}") from None
            rules = maps
        elif kind == "Lowercase":
            maps, pairs = chained(maps, lower_map()), _composed(pairs, lower_map())
        elif kind == "Nmt":
            maps, pairs = chained(maps, nmt_map()), _composed(pairs, nmt_map())
        elif kind == "Strip" and not step.get("strip_left") and step.get("strip_right"):
            strip = True
        elif (
            kind == "Replace"
            and step.get("pattern") == {"Regex": " {2,}"}
            and step.get("content") in (" ", SPACE)
        ):
            collapse = True
        else:
            raise Error(
                f"{file.path}: normalizer {brief(step)}; supported with Unigram are "
                "Precompiled in front, Nmt, Lowercase, and both Strip on the right and Replace "
                "of ' {2,}'"
            )
    if strip != collapse:
        raise Error(
            f"{file.path}: normalizer {file.brief('normalizer')}; supported with Unigram "
            "is Strip on the right together with Replace of ' {2,}'"
        )
    return maps, collapse, rules, pairs


def _composed(
    pairs: dict[tuple[int, int], int] | None, after: Map
) -> dict[tuple[int, int], int] | None:
    """What pairs become, after one more normalizer. No composed character becomes several."""
    if pairs is None:
        return None
    return {pair: after.get(code, [code])[0] for pair, code in pairs.items()}
