"""Vocabularies from other projects' files: llama2.c's and Hugging Face's."""

from __future__ import annotations

import base64
import json
import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Error
from ..graph.nodes import Graph
from .characters import (
    Map,
    bert_characters,
    byte_level_characters,
    chained,
    charsmap,
    lower_map,
    mapped_characters,
    nmt_map,
    space_map,
    word_characters,
)
from .tokenizer import (
    MAX_PIECE,
    ByteLevelVocabulary,
    Item,
    Template,
    UnigramVocabulary,
    Vocabulary,
    WordPieceVocabulary,
)

_FILES = "tokenizer.json", "vocab.txt", "vocab.json"  # one of which a folder has
_SPACE = "\u2581"  # SentencePiece's visible space
_BYTE_NAMES = [f"<0x{b:02X}>" for b in range(256)]

# llama2.c's code fixes these ids
_LLAMA2C_UNK, _LLAMA2C_BOS, _LLAMA2C_EOS = range(3)
_LLAMA2C_BYTES = 3
_LLAMA2C_PIECES = _LLAMA2C_BYTES + 256
_LLAMA2C_NEVER = -1e10  # it merges nothing that scores as low as this

_SUPPORTED = (
    "supported is BPE of the Llama type: normalizer Prepend \u2581 and Replace ' ' by \u2581, or "
    "pre-tokenizer Metaspace"
)
_CHARACTERS = (
    "supported are vocabularies of single characters and names such as <unk>, without normalizer, "
    "a text split in all its characters"
)
_CONTROL_NAMES = {
    "bos": ("<s>", "<bos>", "[BOS]", "<|endoftext|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "<|endoftext|>"),
}
# how byte-level BPE writes bytes: those that are no visible Latin-1 characters from U+0100 on
_VISIBLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_HIDDEN = [b for b in range(256) if b not in _VISIBLE]
_BYTE_OF = {chr(b): b for b in _VISIBLE} | {chr(256 + i): b for i, b in enumerate(_HIDDEN)}


def read_llama2c(path: str | os.PathLike[str], vocab_size: int) -> Vocabulary:
    """The vocabulary of a llama2.c `tokenizer.bin`, for a checkpoint of `vocab_size` tokens.

    Merging goes by the score of the result, so every split of a piece in two others is a merge.
    Raises Error for a file that is truncated, foreign or of another size.
    """
    data = _read(path)
    if vocab_size < _LLAMA2C_PIECES:
        raise Error(
            f"a vocabulary of {vocab_size} tokens has no room for llama2.c's 3 control and "
            f"256 byte tokens; expected at least {_LLAMA2C_PIECES}"
        )
    if len(data) < 4:
        raise Error(f"{path}: {len(data)} bytes are too few for a llama2.c tokenizer")
    (longest,) = struct.unpack_from("<i", data)
    if not 0 < longest <= MAX_PIECE:
        raise Error(
            f"{path}: begins with the length {longest}, expected that of the longest token, "
            f"1 to {MAX_PIECE}; this is not a llama2.c tokenizer"
        )
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
    for b, name in enumerate(_BYTE_NAMES):
        if pieces[_LLAMA2C_BYTES + b] != name.encode():
            raise Error(
                f"{path}: token {_LLAMA2C_BYTES + b} is {pieces[_LLAMA2C_BYTES + b]!r}, "
                f"expected {name}; this is not a llama2.c tokenizer"
            )

    ids: dict[bytes, int] = {}
    for token in range(_LLAMA2C_PIECES, vocab_size):
        ids.setdefault(pieces[token], token)
    splits: dict[tuple[int, int], int] = {}
    for piece, token in ids.items():
        if scores[token] <= _LLAMA2C_NEVER:
            continue
        for cut in range(1, len(piece)):
            left, right = ids.get(piece[:cut]), ids.get(piece[cut:])
            if left is not None and right is not None:
                splits[left, right] = token
    ordered = sorted({scores[token] for token in splits.values()}, reverse=True)
    ranks = {score: rank for rank, score in enumerate(ordered)}
    controls = [b""] * 3 + [bytes([b]) for b in range(256)]
    return Vocabulary(
        pieces=controls + pieces[_LLAMA2C_PIECES:],
        singles=_singles({_text(piece): token for piece, token in ids.items()}),
        merges={pair: (ranks[scores[token]], token) for pair, token in splits.items()},
        unk=_LLAMA2C_UNK,
        bos=_LLAMA2C_BOS,
        eos=_LLAMA2C_EOS,
        byte_base=_LLAMA2C_BYTES,
        prefix=True,
    )


def read_tokenizer(
    folder: str | os.PathLike[str],
    vocab_size: int | None = None,
    bos: int | None = None,
    eos: int | None = None,
) -> Vocabulary:
    """The vocabulary of a folder: tokenizer.json, or the older files of the same content.

    Those are vocab.txt (WordPiece) and vocab.json with merges.txt (byte-level BPE), each with
    tokenizer_config.json where that is there; and vocab.json alone, of single characters.
    Arguments and errors as read_tokenizer_json's.
    """
    folder = Path(folder)
    if (folder / "tokenizer.json").is_file():
        return read_tokenizer_json(folder / "tokenizer.json", vocab_size, bos, eos)
    if (folder / "vocab.txt").is_file():
        path, root = folder / "vocab.txt", _vocab_txt(folder)
    elif (folder / "vocab.json").is_file():
        path = folder / "vocab.json"
        listed = (folder / "merges.txt").is_file()
        root = _vocab_and_merges(folder) if listed else _vocab_of_characters(path)
    else:
        seen = sorted(p.name for p in folder.glob("*"))[:20] if folder.is_dir() else "no folder"
        raise Error(
            f"{folder}: no tokenizer found (seen: {seen}); expected tokenizer.json, or "
            "vocab.txt, or vocab.json with merges.txt (byte-level BPE) or without (characters)"
        )
    return _vocabulary(_Json(str(path)), root, vocab_size, bos, eos)


def vocabulary_of(
    graph: Graph,
    folder: Path,
    tokenizer: str | Path | None,
    needed: bool = True,
    words: Words | None = None,
) -> Vocabulary:
    """The vocabulary of a model: of the file `tokenizer` or of its folder.

    That file is as tokenizer.json, or a list of words (.txt). words: the model's own.

    The graph's bos and eos hold where it has them; else it gets the tokenizer's. Where there is
    no tokenizer, and none is needed, tokens stand for nothing. Raises Error.
    """
    if graph.image:
        return Vocabulary([b""])  # images have no tokens: one that stands for nothing
    special = tuple(None if t < 0 else t for t in (graph.bos, graph.eos))
    vocabulary: Vocabulary
    if tokenizer is not None and Path(tokenizer).suffix == ".txt":
        listed = _read(tokenizer).decode("utf-8", "replace").removesuffix("\n").split("\n")
        words = Words(listed, str(tokenizer))
    elif tokenizer is not None:
        words = None
    if words is not None:
        vocabulary = read_words(words, graph.vocab, *special)
    elif tokenizer is not None:
        vocabulary = read_tokenizer_json(tokenizer, graph.vocab, *special)
    elif needed or any((folder / name).is_file() for name in _FILES):
        vocabulary = read_tokenizer(folder, graph.vocab, *special)
    else:
        return Vocabulary([b""] * graph.vocab, bos=graph.bos, eos=graph.eos)
    graph.bos, graph.eos = vocabulary.bos, vocabulary.eos
    return vocabulary


def read_tokenizer_json(
    path: str | os.PathLike[str],
    vocab_size: int | None = None,
    bos: int | None = None,
    eos: int | None = None,
) -> Vocabulary:
    """The vocabulary of a Hugging Face `tokenizer.json`.

    vocab_size: the checkpoint's, where that is padded beyond the tokenizer's own; the further
    tokens stand for nothing. bos, eos: their ids, where the model's configuration gives them;
    otherwise they are taken from the file's post-processor, or by their usual names.
    Raises Error for what is malformed or of another type, and says what was seen.
    """
    reader = _Json(str(path))
    return _vocabulary(reader, _json(path), vocab_size, bos, eos)


@dataclass
class Words:
    """What a Keras TextVectorization that splits at white space has.

    listed: as its get_vocabulary() gives them, padding and the unknown word first; where: what
    has them, for errors; standardize: "lower", "strip_punctuation", both or None.
    """

    listed: list[str]
    where: str
    standardize: str | None = "lower_and_strip_punctuation"


def read_words(
    given: Words, vocab_size: int, bos: int | None = None, eos: int | None = None
) -> WordPieceVocabulary:
    """The vocabulary of whole words. Arguments and errors as read_tokenizer_json's."""
    words, where = given.listed, given.where
    if words[:2] != ["", "[UNK]"]:
        raise Error(
            f"{where} begins with {words[:2]}; expected an empty line, [UNK] and then a word a "
            "line, as TextVectorization's get_vocabulary() has them"
        )
    if len(words) > vocab_size:
        raise Error(f"{where}: has {len(words)} words, more than the checkpoint's {vocab_size}")
    if len(set(words)) < len(words):
        raise Error(f"{where} has a word twice")
    # A piece that begins with ## would continue a word.
    bad = [w for w in words[2:] if not w or w.startswith("##")]
    if bad:
        raise Error(f"{where}: {bad[0]!r} is not a word; supported: those without ## in front")
    return WordPieceVocabulary(
        pieces=[b"", b"", *(w.encode() for w in words[2:]), *[b""] * (vocab_size - len(words))],
        unk=1,
        bos=-1 if bos is None else bos,
        eos=-1 if eos is None else eos,
        characters=word_characters(given.standardize),
        searched=range(2, len(words)),
        longest=max([1, *map(len, words)]),
    )


def _json(path: str | os.PathLike[str]) -> object:
    try:
        return json.loads(_read(path).decode())
    except (ValueError, RecursionError) as e:
        raise Error(f"{path}: not JSON ({e}); expected a Hugging Face {Path(path).name}") from None


def _vocabulary(
    reader: _Json, file: object, vocab_size: int | None, bos: int | None, eos: int | None
) -> Vocabulary:
    root = reader.mapping(file, "the file")
    model = reader.mapping(root.get("model"), "model")
    # the oldest files do not name the type
    kind = model.get("type", "BPE" if "merges" in model else None)
    read = _TYPES.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise Error(
            f"{reader.path}: model type {kind!r}; supported are {', '.join(sorted(_TYPES))}"
        )
    ids: dict[str, int] = {}
    owners: dict[int, str] = {}
    listed = model.get("vocab")
    if kind == "Unigram":
        listed = _scored(reader, listed)
    for text, token in reader.mapping(listed, "model.vocab").items():
        ids[text] = reader.token(token, f"the id of {text!r}")
        if owners.setdefault(token, text) != text:
            raise Error(f"{reader.path}: {owners[token]!r} and {text!r} are both token {token}")
    added = _added_tokens(reader, root.get("added_tokens"))
    size = max([-1, *ids.values(), *added.values()]) + 1
    if vocab_size is not None and vocab_size < size:
        raise Error(f"{reader.path}: has {size} tokens, more than the checkpoint's {vocab_size}")
    v = read(reader, root, model, ids, added)
    v.pieces = [*v.pieces, *[b""] * ((vocab_size or size) - len(v.pieces))]
    names = {**ids, **added}
    v.template = _template(reader, root.get("post_processor"), names)
    first, last = _ends(v.template, names)
    v.bos = first if bos is None else bos
    v.eos = last if eos is None else eos
    if type(v) is Vocabulary:
        _drop_default_template(v, v.template)
    return v


def _pieces(ids: dict[str, int], added: dict[str, int], of: Callable[[str], bytes]) -> list[bytes]:
    """What each token stands for; nothing for what is added."""
    pieces = [b""] * (max([-1, *ids.values(), *added.values()]) + 1)
    for text, token in ids.items():
        pieces[token] = of(text)
    for token in added.values():
        pieces[token] = b""
    return pieces


def _read_bpe(
    reader: _Json, root: Any, model: Any, ids: dict[str, int], added: dict[str, int]
) -> Vocabulary:
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(option):
            raise Error(f"{reader.path}: model option {option} = {model[option]!r}; {_SUPPORTED}")
    splitters = _steps(reader, root.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers")
    if any(step.get("type") == "ByteLevel" for step in splitters):
        return _read_byte_level(reader, root, model, ids, added)
    plain = not root.get("normalizer") and not splitters
    if not model.get("merges") and (plain or _splits_characters(reader, root)):
        return _read_characters(reader, root, model, ids, added)
    prefix, unless_space, split = _preparation(reader, root)
    _check_decoder(reader, root.get("decoder"), prefix)
    if _SPACE not in ids:
        raise Error(
            f"{reader.path}: no token {_SPACE!r} in a vocabulary of {len(ids)}; {_SUPPORTED}"
        )
    pieces = _pieces(ids, added, lambda text: reader.utf8(text.replace(_SPACE, " ")))
    byte_base = _byte_base(reader, model, ids)
    if byte_base >= 0:
        for b in range(256):
            pieces[byte_base + b] = bytes([b])
    singles = _singles({text: token for text, token in ids.items() if text != " "})
    singles[0x20] = ids[_SPACE]  # which stays a name of itself as well
    return Vocabulary(
        pieces=pieces,
        singles=singles,
        merges=_listed_merges(reader, model, ids, split),
        unk=_unknown(reader, model, ids),
        byte_base=byte_base,
        prefix=prefix,
        prefix_unless_space=unless_space,
        fuse_unknown=bool(model.get("fuse_unk")),
    )


def _read_characters(
    reader: _Json, root: Any, model: Any, ids: dict[str, int], added: dict[str, int]
) -> Vocabulary:
    """Each character is a token: BPE or WordLevel of single characters, without normalizer."""
    controls = {text for text in ids if text in added or _is_control(text)}
    unk = _unknown(reader, model, ids)
    long = [text for text in ids if len(text) != 1 and text not in controls and ids[text] != unk]
    if long or model.get("merges") or root.get("normalizer"):
        raise Error(
            f"{reader.path}: pieces such as {long[:3]}, normalizer "
            f"{_brief(root.get('normalizer'))}; {_CHARACTERS}"
        )
    pieces = _pieces(
        {t: i for t, i in ids.items() if t not in controls},
        {**added, **{t: ids[t] for t in controls}},
        reader.utf8,
    )
    if unk >= 0:
        pieces[unk] = b""
    singles = {ord(text): i for text, i in ids.items() if len(text) == 1 and i != unk}
    return Vocabulary(
        pieces=pieces, singles=singles, unk=unk, fuse_unknown=bool(model.get("fuse_unk"))
    )


def _is_control(text: str) -> bool:
    return len(text) > 2 and text[0] + text[-1] in ("<>", "[]")


def _splits_characters(reader: _Json, root: Any) -> bool:
    splitters = _steps(reader, root.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers")
    if [(s.get("type"), s.get("behavior")) for s in splitters] != [("Split", "Isolated")]:
        return False
    every = ("", "(?m).", r"[\s\S]", r"[\S\s]", r".|\n")
    pattern = splitters[0].get("pattern")
    return pattern == {"String": ""} or pattern in [{"Regex": r} for r in every]


def _read_word_level(
    reader: _Json, root: Any, model: Any, ids: dict[str, int], added: dict[str, int]
) -> Vocabulary:
    if not _splits_characters(reader, root):
        raise Error(
            f"{reader.path}: WordLevel with pre-tokenizer {_brief(root.get('pre_tokenizer'))}; "
            + _CHARACTERS
        )
    return _read_characters(reader, root, model, ids, added)


def _read_byte_level(
    reader: _Json, root: Any, model: Any, ids: dict[str, int], added: dict[str, int]
) -> Vocabulary:
    splitters = _steps(reader, root.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers")
    normalizers = _steps(reader, root.get("normalizer"), "normalizer", "normalizers")
    decoders = _steps(reader, root.get("decoder"), "decoder", "decoders")
    if len(splitters) != 1 or normalizers or any(s.get("type") != "ByteLevel" for s in decoders):
        raise Error(
            f"{reader.path}: normalizer {_brief(root.get('normalizer'))}, pre-tokenizer "
            f"{_brief(root.get('pre_tokenizer'))}, decoder {_brief(root.get('decoder'))}; "
            "supported with byte-level BPE are no normalizer, and ByteLevel alone"
        )
    step = splitters[0]
    tokens = [-1] * 256
    for text, token in ids.items():
        if text in _BYTE_OF:
            tokens[_BYTE_OF[text]] = token
    split = bool(step.get("use_regex", True))
    return ByteLevelVocabulary(
        pieces=_pieces(ids, added, lambda text: _bytes_of(reader, text)),
        byte_tokens=tokens,
        merges=_listed_merges(reader, model, ids, False),
        unk=_unknown(reader, model, ids),
        prefix=bool(step.get("add_prefix_space", True)),
        fuse_unknown=bool(model.get("fuse_unk")),
        split=split,
        characters=byte_level_characters() if split else (),
    )


def _bytes_of(reader: _Json, text: str) -> bytes:
    """A piece as byte-level BPE writes it; one that it cannot have written is text."""
    if all(c in _BYTE_OF for c in text):
        return bytes(_BYTE_OF[c] for c in text)
    return reader.utf8(text)


def _unknown(reader: _Json, model: Any, ids: dict[str, int]) -> int:
    if model.get("unk_token") is None:
        return -1
    return reader.known(ids, model["unk_token"], "model.unk_token")


def _read_wordpiece(
    reader: _Json, root: Any, model: Any, ids: dict[str, int], added: dict[str, int]
) -> Vocabulary:
    prefix = model.get("continuing_subword_prefix", "##")
    if prefix != "##":
        raise Error(f"{reader.path}: continuing_subword_prefix {prefix!r}; supported is '##'")
    normalizers = _steps(reader, root.get("normalizer"), "normalizer", "normalizers")
    splitters = _steps(reader, root.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers")
    seen = [s.get("type") for s in (*normalizers, *splitters)]
    if seen not in (["BertNormalizer", "BertPreTokenizer"], ["BertPreTokenizer"]):
        raise Error(
            f"{reader.path}: normalizer {_brief(root.get('normalizer'))}, "
            f"pre-tokenizer {_brief(root.get('pre_tokenizer'))}; supported with WordPiece are "
            "BertNormalizer or none, and BertPreTokenizer"
        )
    decoders = _steps(reader, root.get("decoder"), "decoder", "decoders")
    if any((s.get("type"), s.get("prefix")) != ("WordPiece", "##") for s in decoders):
        raise Error(
            f"{reader.path}: decoder {_brief(root.get('decoder'))}; supported with WordPiece is "
            "WordPiece with the prefix '##'"
        )
    unk = reader.known(ids, model.get("unk_token", "[UNK]"), "model.unk_token")
    longest = model.get("max_input_chars_per_word", 100)
    if not isinstance(longest, int) or not 0 <= longest < 1 << 30:
        raise Error(f"{reader.path}: max_input_chars_per_word is {longest!r}, expected a number")
    pieces = _pieces(ids, added, reader.utf8)
    pieces[unk] = b""
    searched = [token for token, piece in enumerate(pieces) if piece]
    alphabet = {ord(c) for token in searched for c in pieces[token].decode()}
    options = {}
    if normalizers:
        step = normalizers[0]
        lowercase = bool(step.get("lowercase", True))
        strip = step.get("strip_accents")
        options = {
            "clean": bool(step.get("clean_text", True)),
            "chinese": bool(step.get("handle_chinese_chars", True)),
            "strip": lowercase if strip is None else bool(strip),
            "lowercase": lowercase,
        }
    try:
        characters = bert_characters(alphabet, **options)
    except Error as e:
        raise Error(f"{reader.path}: {e}") from None
    return WordPieceVocabulary(
        pieces=pieces, unk=unk, characters=characters, searched=searched, longest=longest
    )


def _scored(reader: _Json, listed: object) -> dict[str, int]:
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


def _read_unigram(
    reader: _Json, root: Any, model: Any, ids: dict[str, int], added: dict[str, int]
) -> Vocabulary:
    scores = [float(score) for _, score in model["vocab"]]
    unk = model.get("unk_id")
    if not isinstance(unk, int) or isinstance(unk, bool) or not 0 <= unk < len(ids):
        raise Error(f"{reader.path}: unk_id is {unk!r}, expected a token of the vocabulary")
    maps, collapse, rules, pairs = _unigram_normalizer(reader, root)
    splitters = _steps(reader, root.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers")
    seen = [step.get("type") for step in splitters]
    each_word = seen == ["WhitespaceSplit", "Metaspace"]
    if not each_word and seen != ["Metaspace"] or splitters[-1].get("replacement") != _SPACE:
        raise Error(
            f"{reader.path}: pre-tokenizer {_brief(root.get('pre_tokenizer'))}; supported with "
            "Unigram are Metaspace, and WhitespaceSplit followed by it"
        )
    prefix = _metaspace_prefixes(splitters[-1])
    split = bool(splitters[-1].get("split", True))
    if each_word:
        if not prefix or not split or splitters[-1].get("prepend_scheme") == "first":
            raise Error(
                f"{reader.path}: pre-tokenizer {_brief(root.get('pre_tokenizer'))}; after "
                "WhitespaceSplit supported is a Metaspace that prepends always and splits"
            )
        maps = chained(maps, space_map())
    _check_decoder(reader, root.get("decoder"), prefix)

    pieces = _pieces(ids, added, lambda text: reader.utf8(text.replace(_SPACE, " ")))
    pieces[unk] = b""
    byte_base = _byte_base(reader, model, ids)
    bytes_ = range(byte_base, byte_base + 256) if byte_base >= 0 else range(0)
    for b, token in enumerate(bytes_):
        pieces[token] = bytes([b])
    # a piece with a space of its own never occurs: U+2581 has taken its place
    searched = [i for text, i in ids.items() if pieces[i] and i not in bytes_ and " " not in text]
    alphabet = {ord(c) for i in searched for c in pieces[i].decode()} | {0x20, ord(_SPACE)}
    return UnigramVocabulary(
        pieces=pieces,
        unk=unk,
        byte_base=byte_base,
        prefix=prefix,
        prefix_unless_space=True,
        scores=scores + [0.0] * (len(pieces) - len(scores)),
        searched=searched,
        unknown_score=min(scores) - 10,
        characters=mapped_characters(alphabet, maps, collapse, rules),
        pairs=pairs,
        split=split,
        collapse=collapse,
        each_word=each_word,
    )


def _unigram_normalizer(
    reader: _Json, root: Any
) -> tuple[Map, bool, Map | None, dict[tuple[int, int], int] | None]:
    """What becomes of each character, and whether runs of spaces become one.

    Then, of a Precompiled, the rules for single characters and those for two.
    """
    steps = _steps(reader, root.get("normalizer"), "normalizer", "normalizers")
    maps: Map = {}
    strip = collapse = False
    rules: Map | None = None
    pairs: dict[tuple[int, int], int] | None = None
    for step in steps:
        kind = step.get("type")
        if kind == "Precompiled" and step is steps[0]:
            listed = reader.text(step.get("precompiled_charsmap"), "precompiled_charsmap")
            try:
                maps, pairs = charsmap(base64.b64decode(listed))
            except ValueError as e:
                raise Error(
                    f"{reader.path}: a precompiled_charsmap that is no base64: {e}"
                ) from None
            except Error as e:
                raise Error(f"{reader.path}: {e}") from None
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
            and step.get("content") in (" ", _SPACE)
        ):
            collapse = True
        else:
            raise Error(
                f"{reader.path}: normalizer {_brief(step)}; supported with Unigram are "
                "Precompiled in front, Nmt, Lowercase, and both Strip on the right and Replace "
                "of ' {2,}'"
            )
    if strip != collapse:
        raise Error(
            f"{reader.path}: normalizer {_brief(root.get('normalizer'))}; supported with Unigram "
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


def _vocab_txt(folder: Path) -> dict[str, Any]:
    """vocab.txt and tokenizer_config.json as one tokenizer.json."""
    path = folder / "vocab.txt"
    config = _config(folder)
    try:
        lines = _read(path).decode().split("\n")
    except UnicodeDecodeError as e:
        raise Error(f"{path}: not UTF-8 ({e}); expected one piece a line") from None
    if not lines[-1]:
        lines.pop()
    vocab = {line.rstrip("\r"): i for i, line in enumerate(lines)}
    names = {k: _special(config, f"{k}_token", f"[{k.upper()}]") for k in _BERT_NAMES}
    special = {name: vocab[name] for name in names.values() if name in vocab}
    around = {k: {"SpecialToken": {"id": names[k], "type_id": 0}} for k in ("cls", "sep")}
    second = {"SpecialToken": {"id": names["sep"], "type_id": 1}}
    texts = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]
    single = [around["cls"], texts[0], around["sep"]]
    return {
        "added_tokens": [
            {"id": i, "content": name, "special": True} for name, i in special.items()
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
            "strip_accents": config.get("strip_accents"),
            "lowercase": config.get("do_lower_case", True),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, texts[1], second],
        },
        "model": {"type": "WordPiece", "unk_token": names["unk"], "vocab": vocab},
    }


def _vocab_of_characters(path: Path) -> dict[str, Any]:
    """A list of characters, or an object with the token of each, as one tokenizer.json."""
    vocab = _json(path)
    if isinstance(vocab, list):
        names = [name for name in vocab if isinstance(name, str)]
        if len(set(names)) != len(vocab):
            raise Error(f"{path}: a list of {len(vocab)}; expected different characters")
        vocab = {name: i for i, name in enumerate(names)}
    known = vocab if isinstance(vocab, dict) else {}
    unk = next((name for name in ("<unk>", "[UNK]", "<UNK>") if name in known), None)
    return {
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated"},
        "model": {"type": "WordLevel", "unk_token": unk, "vocab": vocab},
    }


def _vocab_and_merges(folder: Path) -> dict[str, Any]:
    """vocab.json, merges.txt and tokenizer_config.json as one tokenizer.json."""
    config = _config(folder)
    vocab = _Json(str(folder / "vocab.json")).mapping(_json(folder / "vocab.json"), "the file")
    try:
        lines = _read(folder / "merges.txt").decode().split("\n")
    except UnicodeDecodeError as e:
        raise Error(f"{folder / 'merges.txt'}: not UTF-8 ({e}); expected a merge a line") from None
    merges = [m for m in (line.rstrip("\r") for line in lines) if m]
    if merges and merges[0].startswith("#version"):
        merges.pop(0)
    prefix = config.get("add_prefix_space", False)
    processor: dict[str, Any] | None = None
    names = {key: _special(config, f"{key}_token", name) for key, name in _ROBERTA_NAMES.items()}
    if names["cls"] in vocab and names["sep"] in vocab:
        processor = {"type": "RobertaProcessing", "cls": [names["cls"]], "sep": [names["sep"]]}
    special = [name for name in (*names.values(), "<|endoftext|>") if name in vocab]
    return {
        "added_tokens": [{"id": vocab[n], "content": n, "special": True} for n in special],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": prefix},
        "post_processor": processor,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    return _Json(str(path)).mapping(_json(path), "the file")


def _special(config: dict[str, Any], key: str, default: str) -> str:
    """A special token's text, which is written as such or as an object."""
    value = config.get(key, default)
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else default


_ROBERTA_NAMES = {
    "cls": "<s>",
    "sep": "</s>",
    "pad": "<pad>",
    "unk": "<unk>",
    "mask": "<mask>",
}
_BERT_NAMES = ("unk", "cls", "sep", "pad", "mask")
_TYPES: dict[str, Callable[..., Vocabulary]] = {
    "BPE": _read_bpe,
    "Unigram": _read_unigram,
    "WordLevel": _read_word_level,
    "WordPiece": _read_wordpiece,
}


class _Json:
    """Typed access to parsed JSON, with errors that name the place."""

    def __init__(self, path: str) -> None:
        self.path = path

    def _expected(self, what: str, expected: str, seen: object) -> Error:
        return Error(f"{self.path}: {what} is {repr(seen)[:60]}, expected {expected}")

    def mapping(self, value: object, what: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._expected(what, "an object", value)
        return value

    def items(self, value: object, what: str) -> list[Any]:
        if not isinstance(value, list):
            raise self._expected(what, "a list", value)
        return value

    def text(self, value: object, what: str) -> str:
        if not isinstance(value, str):
            raise self._expected(what, "a text", value)
        return value

    def token(self, value: object, what: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 65535:
            raise self._expected(what, "a number from 0 to 65534", value)
        return value

    def known(self, ids: dict[str, int], value: object, what: str) -> int:
        token = ids.get(self.text(value, what))
        if token is None:
            raise self._expected(what, "a token of the vocabulary", value)
        return token

    def utf8(self, text: str) -> bytes:
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise self._expected("a token", "Unicode text without surrogates", text) from None


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:
        raise Error(f"cannot read the tokenizer {path}: {e.strerror}") from None


def _text(piece: bytes) -> str:
    """A piece as text; one that is not UTF-8 gets a length that no character has."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return ""


def _singles(ids: dict[str, int]) -> dict[int, int]:
    return {ord(text): token for text, token in ids.items() if len(text) == 1}


def _steps(reader: _Json, value: object, what: str, members: str) -> list[dict[str, Any]]:
    """A component, a Sequence of them, or null, as a list."""
    if value is None:
        return []
    step = reader.mapping(value, what)
    if step.get("type") != "Sequence":
        return [step]
    inner = reader.items(step.get(members), f"{what}.{members}")
    return [reader.mapping(s, what) for s in inner]


def _preparation(reader: _Json, root: dict[str, Any]) -> tuple[bool, bool, bool]:
    """What happens to a text before BPE: prefix added, only unless it has one, words split."""
    normalizers = _steps(reader, root.get("normalizer"), "normalizer", "normalizers")
    splitters = _steps(reader, root.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers")
    seen = [s.get("type") for s in normalizers]
    metaspace: dict[str, Any] | None = None
    supported = seen in ([], ["Prepend", "Replace"], ["Replace"])
    for step in normalizers:
        if step.get("type") == "Prepend":
            supported &= step.get("prepend") == _SPACE
        else:
            supported &= step.get("pattern") == {"String": " "} and step.get("content") == _SPACE
    if [s.get("type") for s in splitters] == ["Metaspace"]:
        metaspace = splitters[0]
        supported &= metaspace.get("replacement") == _SPACE
    else:
        supported &= not splitters and bool(normalizers)
    if not supported:
        raise Error(
            f"{reader.path}: normalizer {_brief(root.get('normalizer'))}, "
            f"pre-tokenizer {_brief(root.get('pre_tokenizer'))}; {_SUPPORTED}"
        )
    if metaspace is None:
        return "Prepend" in seen, False, False
    if "Prepend" in seen:  # Metaspace then finds the text prefixed
        return True, False, bool(metaspace.get("split", True))
    return _metaspace_prefixes(metaspace), True, bool(metaspace.get("split", True))


def _metaspace_prefixes(step: dict[str, Any]) -> bool:
    # older files have add_prefix_space alone; "first" equals "always" where no token splits a text
    scheme = step.get("prepend_scheme")
    return scheme != "never" if scheme is not None else bool(step.get("add_prefix_space", True))


def _check_decoder(reader: _Json, decoder: object, prefix: bool) -> None:
    """The decoder undoes what the normalizer does."""
    drops = False
    steps = _steps(reader, decoder, "decoder", "decoders")
    for step in steps:
        kind = step.get("type")
        if kind == "Metaspace":
            drops |= _metaspace_prefixes(step)
        elif kind == "Strip" and (step.get("content"), step.get("stop")) == (" ", 0):
            drops |= step.get("start") == 1
        elif kind not in ("Replace", "ByteFallback", "Fuse"):
            raise Error(
                f"{reader.path}: decoder step {_brief(step)}; supported are Replace, "
                "ByteFallback, Fuse, Strip of one leading space, and Metaspace"
            )
    if steps and drops != prefix:
        adds, keeps = ("adds", "keeps") if prefix else ("adds no", "drops a")
        raise Error(
            f"{reader.path}: encoding {adds} leading space and decoding {keeps} leading space; "
            "expected that decoding drops what encoding adds"
        )


def _brief(step: object) -> str:
    text = json.dumps(step, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "..."


def _added_tokens(reader: _Json, value: object) -> dict[str, int]:
    """Added tokens that stand for no text. Encoding never finds them in a text."""
    added: dict[str, int] = {}
    for item in reader.items([] if value is None else value, "added_tokens"):
        item = reader.mapping(item, "an added token")
        text = reader.text(item.get("content"), "an added token's content")
        token = reader.token(item.get("id"), f"the id of {text!r}")
        if not item.get("special") and text[:1] + text[-1:] not in ("<>", "[]"):
            raise Error(
                f"{reader.path}: added token {text!r} is found in texts before BPE; "
                "supported are added tokens that are special or look like <name> or [name]"
            )
        added[text] = token
    return added


def _byte_base(reader: _Json, model: dict[str, Any], ids: dict[str, int]) -> int:
    """The token of byte 0x00, or -1 without byte fallback."""
    present = [name for name in _BYTE_NAMES if name in ids]
    if not model.get("byte_fallback") or not present:
        return -1
    base = ids.get(_BYTE_NAMES[0], -1)
    if any(ids.get(name) != base + b for b, name in enumerate(_BYTE_NAMES)):
        raise Error(
            f"{reader.path}: {len(present)} byte tokens, from {present[0]} to {present[-1]}; "
            "expected all of <0x00> to <0xFF> with consecutive ids"
        )
    return base


def _listed_merges(
    reader: _Json, model: dict[str, Any], ids: dict[str, int], split: bool
) -> dict[tuple[int, int], tuple[int, int]]:
    """(left, right) -> (rank, result) from the merges list.

    split: each U+2581 begins a word, and BPE does not cross words. No merge onto a piece that
    begins with it then ever happens, and leaving those out makes the splitting unnecessary.
    """
    merges: dict[tuple[int, int], tuple[int, int]] = {}
    listed = reader.items(model.get("merges"), "model.merges")
    if len(listed) > 65536:
        raise Error(f"{reader.path}: {len(listed)} merges, expected at most 65536")
    for rank, item in enumerate(listed):
        what = f"merge {rank}"
        pair = item.split(" ") if isinstance(item, str) else reader.items(item, what)
        if len(pair) != 2:
            raise Error(f"{reader.path}: {what} is {item!r}, expected two pieces")
        left, right = (reader.known(ids, piece, what) for piece in pair)
        result = reader.known(ids, pair[0] + pair[1], f"{what}'s result")
        if not (split and pair[1].startswith(_SPACE)):
            merges[left, right] = rank, result
    return merges


def _template(reader: _Json, processor: object, names: dict[str, int]) -> Template:
    """What a post-processor puts around a text, and around two."""
    steps = _steps(reader, processor, "post_processor", "processors")
    steps = [step for step in steps if step.get("type") != "ByteLevel"]  # which moves offsets
    if not steps:
        return Template([(1, 0, 0)], [(1, 0, 0), (2, 0, 1)])
    step = steps[0]
    kind = step.get("type")
    if len(steps) > 1 or kind not in ("TemplateProcessing", *_PROCESSORS):
        raise Error(
            f"{reader.path}: post-processor {_brief(processor)}; supported is one of "
            "TemplateProcessing, BertProcessing and RobertaProcessing"
        )
    if kind in _PROCESSORS:
        tokens: dict[str, int] = {}
        for key in ("cls", "sep"):
            listed = reader.items(step.get(key), f"post_processor.{key}")
            name = listed[0] if listed else None
            tokens[key] = reader.known(names, name, f"post_processor.{key}")
        return Template(*(_shape(shape, tokens) for shape in _PROCESSORS[str(kind)]))
    special = step.get("special_tokens")
    special = reader.mapping({} if special is None else special, "special_tokens")
    single, pair = (
        _template_items(reader, step.get(key) or [], special, names) for key in ("single", "pair")
    )
    texts = [kind for kind, *_ in single if kind], sorted(kind for kind, *_ in pair if kind)
    if texts[0] != [1] or texts[1] not in ([], [1, 2]):
        raise Error(f"{reader.path}: post-processor {_brief(processor)}; expected each text once")
    return Template(single, pair)


# what BERT's and RoBERTa's own processors put around a text and a pair; A and B have a type
_PROCESSORS = {
    "BertProcessing": ("cls0 A0 sep0", "cls0 A0 sep0 B1 sep1"),
    "RobertaProcessing": ("cls0 A0 sep0", "cls0 A0 sep0 sep0 B0 sep0"),
}


def _shape(shape: str, tokens: dict[str, int]) -> list[Item]:
    return [
        (("A", "B").index(name) + 1, 0, type_) if name in "AB" else (0, tokens[name], type_)
        for name, type_ in ((word[:-1], int(word[-1])) for word in shape.split())
    ]


def _template_items(
    reader: _Json, value: object, special: dict[str, Any], names: dict[str, int]
) -> list[Item]:
    items: list[Item] = []
    for item in reader.items(value, "a template"):
        item = reader.mapping(item, "a template's item")
        token = item.get("SpecialToken")
        step = reader.mapping(
            item.get("Sequence") if token is None else token, "a template's item"
        )
        type_ = step.get("type_id", 0)
        if not isinstance(type_, int) or not 0 <= type_ <= 255:
            raise Error(f"{reader.path}: type_id {type_!r} in a template, expected 0 to 255")
        name = reader.text(step.get("id"), "an id in a template")
        if token is None:
            if name not in ("A", "B"):
                raise Error(f"{reader.path}: text {name!r} in a template, expected A or B")
            items.append((1 + (name == "B"), 0, type_))
            continue
        listed = special.get(name)
        if listed is None:
            tokens = [reader.known(names, name, "a token in a template")]
        else:
            found = reader.items(reader.mapping(listed, name).get("ids"), f"the ids of {name!r}")
            tokens = [reader.token(i, f"the id of {name!r}") for i in found]
        items += [(0, i, type_) for i in tokens]
    return items


def _ends(template: Template, names: dict[str, int]) -> tuple[int, int]:
    """BOS and EOS: what the template puts around a text, else by name, else -1."""
    first, last = (
        next((names[name] for name in _CONTROL_NAMES[which] if name in names), -1)
        for which in ("bos", "eos")
    )
    before = True
    for kind, token, _ in template.single:
        if kind:
            before = False
        elif before:
            first = token
        else:
            last = token
    return first, last


def _drop_default_template(v: Vocabulary, template: Template) -> None:
    """No template where it is what a section without one means."""
    start: list[Item] = [(0, v.bos, 0)] if v.bos >= 0 else []
    both = [*start, (1, 0, 0), *start, (2, 0, 0)]
    if template.single == [*start, (1, 0, 0)] and template.pair in ([], both):
        v.template = None
