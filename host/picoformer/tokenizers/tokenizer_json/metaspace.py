"""Metaspace, a space in front of words, and the decoders that drop it again."""

from __future__ import annotations

from typing import Any

from ...errors import Error
from .components import TokenizerJson, brief


def adds_space(step: dict[str, Any]) -> bool:
    """Whether a Metaspace puts a space in front of a text."""
    # older files have add_prefix_space alone; "first" equals "always" where no token splits a text
    scheme = step.get("prepend_scheme")
    return scheme != "never" if scheme is not None else bool(step.get("add_prefix_space", True))


def check_decoder(file: TokenizerJson, prefix: bool) -> None:
    """The decoder undoes what the normalizer does."""
    drops = False
    steps = file.steps("decoder")
    for step in steps:
        kind = step.get("type")
        if kind == "Metaspace":
            drops |= adds_space(step)
        elif kind == "Strip" and (step.get("content"), step.get("stop")) == (" ", 0):
            drops |= step.get("start") == 1
        elif kind not in ("Replace", "ByteFallback", "Fuse"):
            raise Error(
                f"{file.path}: decoder step {brief(step)}; supported are Replace, "
                "ByteFallback, Fuse, Strip of one leading space, and Metaspace"
            )
    if steps and drops != prefix:
        adds, keeps = ("adds", "keeps") if prefix else ("adds no", "drops a")
        raise Error(
            f"{file.path}: encoding {adds} leading space and decoding {keeps} leading space; "
            "expected that decoding drops what encoding adds"
        )
