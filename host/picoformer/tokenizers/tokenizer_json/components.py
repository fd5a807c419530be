"""tokenizer.json in its components: normalizer, pre-tokenizer, model, post-processor, decoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..files import JsonReader
from ..sentencepiece import first_byte

# what the list of a component that is a Sequence is called
_MEMBERS = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}


class TokenizerJson(JsonReader):
    """A tokenizer.json: typed access to its components, with errors that name the place.

    root: the whole; model: of that; ids: the token of each piece; added: of each added token.
    """

    def __init__(
        self,
        path: str,
        root: dict[str, Any],
        model: dict[str, Any],
        ids: dict[str, int],
        added: dict[str, int],
    ) -> None:
        super().__init__(path)
        self.root = root
        self.model = model
        self.ids = ids
        self.added = added
        self.names = {**ids, **added}
        listed = root.get("added_tokens") or []
        self.special = {item["content"] for item in listed if item.get("special")} & added.keys()
        self.size = max([-1, *ids.values(), *added.values()]) + 1

    def steps(self, component: str) -> list[dict[str, Any]]:
        """A component, a Sequence of them, or null, as a list."""
        value = self.root.get(component)
        if value is None:
            return []
        step = self.mapping(value, component)
        if step.get("type") != "Sequence":
            return [step]
        members = _MEMBERS[component]
        inner = self.items(step.get(members), f"{component}.{members}")
        return [self.mapping(s, component) for s in inner]

    def brief(self, component: str) -> str:
        """A component as errors show it."""
        return brief(self.root.get(component))

    def pieces(self, of: Callable[[str], bytes]) -> list[bytes]:
        """What each token stands for; nothing for what is special."""
        pieces = [b""] * self.size
        for text, token in self.names.items():
            pieces[token] = b"" if text in self.special else of(text)
        return pieces

    def searched(self, pieces: list[bytes]) -> list[int]:
        """The tokens that the model itself finds in a text."""
        return sorted({token for token in self.ids.values() if pieces[token]})

    def unknown(self) -> int:
        """The token of what is unknown, or -1."""
        if self.model.get("unk_token") is None:
            return -1
        return self.known(self.ids, self.model["unk_token"], "model.unk_token")

    def byte_base(self) -> int:
        """The token of byte 0x00, or -1 without byte fallback."""
        return first_byte(self.path, self.ids) if self.model.get("byte_fallback") else -1


def brief(step: object) -> str:
    text = json.dumps(step, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "..."
