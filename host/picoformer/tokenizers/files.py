"""A tokenizer's files: their bytes, their JSON, and errors that name the place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..errors import Error


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:
        raise Error(f"cannot read the tokenizer {path}: {e.strerror}") from None


def read_json(path: str | os.PathLike[str]) -> object:
    try:
        return json.loads(read_bytes(path).decode())
    except (ValueError, RecursionError) as e:
        raise Error(f"{path}: not JSON ({e}); expected a Hugging Face {Path(path).name}") from None


class JsonReader:
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
