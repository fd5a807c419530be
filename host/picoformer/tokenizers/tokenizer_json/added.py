"""Added tokens: their options, and what normalizer and pre-tokenizer do beside them."""

from __future__ import annotations

from ..sentencepiece import SPACE
from ..vocabulary import AddedToken, AddedTokens
from .components import TokenizerJson
from .metaspace import adds_space


def read_added(file: TokenizerJson) -> AddedTokens | None:
    """The added tokens of a tokenizer, None if it has none."""
    tokens = []
    for item in file.root.get("added_tokens") or []:
        name = item["content"]
        if name in file.added:
            file.utf8(name)
            special = bool(item.get("special"))
            token = AddedToken(name, file.added[name])
            token.normalized = bool(item.get("normalized", not special))
            for option in ("lstrip", "rstrip", "single_word"):
                setattr(token, option, bool(item.get(option)))
            tokens.append(token)
    steps = file.steps("normalizer")
    normalizers = [step.get("type") for step in steps]
    spaces = [step for step in file.steps("pre_tokenizer") if step.get("type") == "Metaspace"]
    return tokens and AddedTokens(
        tokens=tokens,
        first=any(step.get("prepend_scheme") == "first" for step in spaces),
        normalizes=bool(normalizers),
        puts="Prepend" in normalizers,
        again=any(adds_space(step) for step in spaces),
        spaces=any(
            step.get("type") == "Replace" and step.get("content") == SPACE
            or step.get("type") == "BertNormalizer" and not step.get("clean_text", True)
            for step in steps
        ),
    ) or None
