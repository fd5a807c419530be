"""Byte-pair vocabularies from other projects' files: llama2.c's and Hugging Face's."""

from __future__ import annotations

import json
import math
import os
import struct
from typing import Any

from ..errors import Error
from ..tokenizer import MAX_PIECE, Vocabulary

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
_CONTROL_NAMES = {"bos": ("<s>", "<bos>", "[BOS]"), "eos": ("</s>", "<eos>", "[EOS]")}


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


def read_tokenizer_json(
    path: str | os.PathLike[str],
    vocab_size: int | None = None,
    bos: int | None = None,
    eos: int | None = None,
) -> Vocabulary:
    """The vocabulary of a Hugging Face `tokenizer.json` of the Llama type.

    vocab_size: the checkpoint's, where that is padded beyond the tokenizer's own; the further
    tokens stand for nothing. bos, eos: their ids, where the model's configuration gives them;
    otherwise they are taken from the file's post-processor, or by their usual names.
    Raises Error for what is malformed or of another type, and says what was seen.
    """
    try:
        root = json.loads(_read(path).decode())
    except (ValueError, RecursionError) as e:
        raise Error(f"{path}: not JSON ({e}); expected a Hugging Face tokenizer.json") from None
    reader = _Json(str(path))
    root = reader.mapping(root, "the file")
    model = reader.mapping(root.get("model"), "model")
    # the oldest files do not name the type
    if model.get("type", "BPE" if "merges" in model else None) != "BPE":
        raise Error(f"{path}: model type {model.get('type')!r}; {_SUPPORTED}")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(option):
            raise Error(f"{path}: model option {option} = {model[option]!r}; {_SUPPORTED}")
    prefix, unless_space, split = _preparation(reader, root)
    _check_decoder(reader, root.get("decoder"), prefix)

    ids: dict[str, int] = {}
    for text, token in reader.mapping(model.get("vocab"), "model.vocab").items():
        ids[text] = reader.token(token, f"the id of {text!r}")
    if _SPACE not in ids:
        raise Error(f"{path}: no token {_SPACE!r} in a vocabulary of {len(ids)}; {_SUPPORTED}")
    added = _added_tokens(reader, root.get("added_tokens"))
    size = max([*ids.values(), *added.values()]) + 1
    if vocab_size is not None and vocab_size < size:
        raise Error(f"{path}: has {size} tokens, more than the checkpoint's {vocab_size}")
    pieces = [b""] * (vocab_size or size)
    owners: dict[int, str] = {}
    for text, token in ids.items():
        if owners.setdefault(token, text) != text:
            raise Error(f"{path}: {owners[token]!r} and {text!r} are both token {token}")
        pieces[token] = reader.utf8(text.replace(_SPACE, " "))
    for token in added.values():
        pieces[token] = b""
    byte_base = _byte_base(reader, model, ids)
    if byte_base >= 0:
        for b in range(256):
            pieces[byte_base + b] = bytes([b])

    singles = _singles({text: token for text, token in ids.items() if text != " "})
    singles[0x20] = ids[_SPACE]  # which stays a name of itself as well
    unk = -1
    if model.get("unk_token") is not None:
        unk = reader.known(ids, model["unk_token"], "model.unk_token")
    names = {**ids, **added}
    first, last = _template(root.get("post_processor"), names)
    return Vocabulary(
        pieces=pieces,
        singles=singles,
        merges=_listed_merges(reader, model, ids, split),
        unk=unk,
        bos=first if bos is None else bos,
        eos=last if eos is None else eos,
        byte_base=byte_base,
        prefix=prefix,
        prefix_unless_space=unless_space,
        fuse_unknown=bool(model.get("fuse_unk")),
    )


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


def _template(processor: object, names: dict[str, int]) -> tuple[int, int]:
    """BOS and EOS: what the post-processor puts around a text, else by name, else -1."""
    first, last = (
        next((names[name] for name in _CONTROL_NAMES[which] if name in names), -1)
        for which in ("bos", "eos")
    )
    steps = processor.get("single") if isinstance(processor, dict) else None
    before = True
    for step in steps if isinstance(steps, list) else []:
        special = step.get("SpecialToken") if isinstance(step, dict) else None
        name = special.get("id") if isinstance(special, dict) else None
        if not isinstance(name, str):
            before = False
        elif before:
            first = names.get(name, first)
        else:
            last = names.get(name, last)
    return first, last
