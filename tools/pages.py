"""The pages of the documentation, in the order in which the site shows them.

One list: the site's navigation, the prose check and the tests of blocks and links all read it.
Paths are relative to the repository; each has its title in the navigation.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

HOME = "README.md"

GUIDES = {
    "docs/first-board.md": "Your first board",
    "docs/text.md": "Text",
    "docs/translation.md": "Translation",
    "docs/images.md": "Images",
    "docs/signals.md": "Signals",
    "docs/sound.md": "Sound",
    "docs/train.md": "Training",
    "docs/your-commands.md": "Your own commands",
    "docs/product.md": "A product without a PC",
    "docs/page.md": "The page in a browser",
    "docs/troubleshooting.md": "Troubleshooting",
    "docs/how-it-works.md": "How it works",
    "docs/comparison.md": "How it compares",
}

REFERENCE = {
    "docs/api.md": "API",
    "docs/commands.md": "Commands",
    "docs/convert.md": "What convert reads",
    "docs/json.md": "JSON",
    "docs/board.md": "On the board",
    "docs/boards.md": "Boards",
    "docs/speed.md": "Speed",
    "docs/memory.md": "Memory",
    "docs/streaming.md": "Weights on the PC",
}

EXACT = {
    "docs/numerics.md": "Arithmetic",
    "docs/format.md": "Model file",
    "docs/protocol.md": "Serial link",
    "docs/tokenizer.md": "Tokenizer",
    "docs/trust.md": "Trust",
    "docs/architecture.md": "Architecture",
}

GLOSSARY = "docs/glossary.md"
CONTRIBUTING = "CONTRIBUTING.md"
CHANGES = "CHANGES.md"
LAST = {GLOSSARY: "Glossary", CONTRIBUTING: "Contributing", CHANGES: "Changes"}

# What a person reads first: its sentences are short, its words plain, its blocks run.
READ_FIRST = [HOME, CONTRIBUTING, *GUIDES, GLOSSARY]


def cards() -> dict[str, str]:
    """The cards of our models."""
    found = sorted(ROOT.glob("models/*/README.md"))
    return {p.relative_to(ROOT).as_posix(): p.parent.name for p in found}


def all_pages() -> list[str]:
    return [HOME, *GUIDES, *REFERENCE, *cards(), *EXACT, *LAST]
