"""The older files of a tokenizer: vocab.txt, vocab.json, merges.txt and tokenizer_config.json.

Each form becomes what a tokenizer.json of the same content has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import Error
from .files import JsonReader, read_bytes, read_json
from .tokenizer_json.template import begins_with

_ROBERTA_NAMES = {
    "cls": "<s>",
    "sep": "</s>",
    "pad": "<pad>",
    "unk": "<unk>",
    "mask": "<mask>",
}
_BERT_NAMES = ("unk", "cls", "sep", "pad", "mask")


def vocab_txt(folder: Path) -> dict[str, Any]:
    """vocab.txt and tokenizer_config.json as one tokenizer.json."""
    path = folder / "vocab.txt"
    config = config_of(folder)
    try:
        lines = read_bytes(path).decode().split("\n")
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


def vocab_and_merges(folder: Path) -> dict[str, Any]:
    """vocab.json, merges.txt and tokenizer_config.json as one tokenizer.json."""
    config = config_of(folder)
    vocab = JsonReader(str(folder / "vocab.json")).mapping(
        read_json(folder / "vocab.json"), "the file"
    )
    try:
        lines = read_bytes(folder / "merges.txt").decode().split("\n")
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
    bos = _special(config, "bos_token", "<|endoftext|>")
    if config.get("add_bos_token") and bos in vocab:
        processor = begins_with(bos)
    special = [name for name in (*names.values(), "<|endoftext|>", bos) if name in vocab]
    mask = names["mask"]  # takes the space in front of it
    return {
        "added_tokens": [
            {"id": vocab[n], "content": n, "special": True, "lstrip": n == mask} for n in special
        ],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": prefix},
        "post_processor": processor,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }


def vocab_of_characters(path: Path) -> dict[str, Any]:
    """A list of characters, or an object with the token of each, as one tokenizer.json."""
    vocab = read_json(path)
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


def config_of(folder: Path) -> dict[str, Any]:
    """What a folder's tokenizer_config.json says, nothing where there is none."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    return JsonReader(str(path)).mapping(read_json(path), "the file")


def _special(config: dict[str, Any], key: str, default: str) -> str:
    """A special token's text, which is written as such or as an object."""
    value = config.get(key, default)
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else default
