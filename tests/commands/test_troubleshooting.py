"""docs/troubleshooting.md quotes messages that there are."""

from __future__ import annotations

import ast
import re

import pytest

import models

PAGE = (models.ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
ROWS = re.findall(r"^\| (`[^|]+`) \| ([^|]+)\|", PAGE, re.M)


@pytest.fixture(scope="module")
def messages() -> str:
    """All the strings of the program, with a gap where a value goes."""
    found = []
    for folder in ("host", "device"):
        for path in (models.ROOT / folder / "picoformer").rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [v.value if isinstance(v, ast.Constant) else "\0" for v in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def test_there_are_many() -> None:
    assert len(ROWS) > 35


@pytest.mark.parametrize("symptom", [row[0] for row in ROWS])
def test_the_message_is_printed(symptom: str, messages: str) -> None:
    for part in symptom.strip("`").strip().split("..."):
        part = part.strip()
        # A value ends where a sentence goes on: the quote has what is fixed.
        words = re.escape(part).replace(r"\ ", r"\s")
        assert not part or re.search(words, messages), part


def test_it_is_linked() -> None:
    for page in ("README.md", "docs/api.md"):
        assert "troubleshooting.md" in (models.ROOT / page).read_text("utf-8"), page
