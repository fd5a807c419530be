"""The pages of the documentation, in the order in which the site shows them.

One list: the site's navigation, the prose check and the tests of blocks and links all read it.
Paths are relative to the repository.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

HOME = "README.md"

GUIDES = [
    "docs/first-board.md",
    "docs/text.md",
    "docs/translation.md",
    "docs/images.md",
    "docs/signals.md",
    "docs/sound.md",
    "docs/train.md",
    "docs/product.md",
    "docs/page.md",
    "docs/troubleshooting.md",
    "docs/how-it-works.md",
    "docs/comparison.md",
]

REFERENCE = [
    "docs/api.md",
    "docs/commands.md",
    "docs/convert.md",
    "docs/json.md",
    "docs/board.md",
    "docs/boards.md",
    "docs/speed.md",
    "docs/memory.md",
    "docs/streaming.md",
]

EXACT = [
    "docs/numerics.md",
    "docs/format.md",
    "docs/protocol.md",
    "docs/tokenizer.md",
    "docs/trust.md",
    "docs/architecture.md",
]

GLOSSARY = "docs/glossary.md"
CONTRIBUTING = "CONTRIBUTING.md"
CHANGES = "CHANGES.md"

# What a person reads first: its sentences are short, its words plain, its blocks run.
READ_FIRST = [HOME, CONTRIBUTING, *GUIDES, GLOSSARY]


def cards() -> list[str]:
    """The cards of our models."""
    return sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("models/*/README.md"))
