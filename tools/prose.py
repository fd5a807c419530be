"""Long sentences, and words that a reader has to resolve, in README and the guides.

python -m tools.prose            README, CONTRIBUTING.md, the guides, the glossary: for `make lint`
python -m tools.prose PAGE...    these pages alone, whichever they are
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it.token import Token

from tools.markdown import Page
from tools.pages import READ_FIRST, ROOT

WORDS = 30  # of a sentence, at most

# Words that send a reader back, or that say nothing, and what to write.
PLAINER = {
    r"likewise": "say what is the same",
    r"(?:there|here|where)(?:of|in|by|to|from|upon|with)": 'say of what: "of the model", "in it"',
    r"the former|the latter": "name it again",
    r"respectively": "give each its own clause",
    r"as such": "leave it out, or say as what",
    r"aforementioned|aforesaid": "name it again",
    r"behind": '"after", "below", "on", or where it is',
    r"in order to": '"to"',
    r"utili[sz]e[ds]?": '"use"',
    r"obviously|of course|needless to say": "leave it out",
    r"blazing(?:ly)?|seamless(?:ly)?|cutting-edge|effortless(?:ly)?": "say what is measured",
    # British, with -ize.
    r"color(s|ed|ful)?": '"colour"',
    r"gr[a]y": '"grey"',
    r"neighbor(s|ing)?": '"neighbour"',
    r"behavior": '"behaviour"',
    r"favorite": '"favourite"',
    r"center(ed)?": '"centre"',
    r"mode(ling|led)|labe(ling|led)|cance(ling|led)": "with two l",
    r"(?:quant|normal|initial|optim|recogn|organ|minim|maxim|token|special|general|serial)"
    r"is(?:e[ds]?|ing|ation)|summaris(?:e[ds]?|ing)": "with -ize",
}
PATTERNS = [(re.compile(rf"\b(?:{p})\b", re.IGNORECASE), what) for p, what in PLAINER.items()]

CODE = "\ue000"  # what stands for a piece of code: one word, that may begin a sentence
BREAK = "\ue001"  # a line's end in the source
ENDS = re.compile(rf"(?<=[.!?…])[\"'”’)\]*]*[\s{BREAK}]+(?=[\"'“‘(\[]*[A-Z0-9{CODE}])")
ABBREVIATIONS = re.compile(r"\b(?:e\.g|i\.e|cf|vs)\.$", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    page: str
    line: int
    what: str
    text: str

    def __str__(self) -> str:
        text = self.text if len(self.text) <= 160 else self.text[:157].rstrip() + "..."
        return f'{self.page}:{self.line}: {self.what}: "{text}"'


@dataclass(frozen=True)
class Sentence:
    line: int
    text: str

    @property
    def words(self) -> int:
        return sum(any(c.isalnum() or c == CODE for c in word) for word in self.text.split())


def texts(tokens: list[Token]) -> Iterator[tuple[int, str]]:
    """Each piece of running text with its line: paragraphs, items, cells, headings, pictures."""
    line = 1
    for token in tokens:
        if token.map:
            line = token.map[0] + 1
        if token.type == "inline":
            pieces = [""]
            for child in token.children or []:
                if child.type == "text":
                    pieces[-1] += child.content
                elif child.type == "code_inline":
                    pieces[-1] += CODE
                elif child.type == "softbreak":
                    pieces[-1] += BREAK
                elif child.type == "hardbreak" or child.content.startswith("<br"):
                    pieces.append("")
                elif child.type == "image":
                    yield line + sum(p.count(BREAK) for p in pieces), child.content
            for piece in pieces:
                yield line, piece
                line += piece.count(BREAK)


def sentences(source: str) -> Iterator[Sentence]:
    """The sentences of a page of Markdown."""
    for line, text in texts(Page("", source).tokens):
        start = 0
        for end in [*ENDS.finditer(text), None]:
            stop = end.start() if end else len(text)
            if end and ABBREVIATIONS.search(text[start:stop]):
                continue
            one = text[start : end.end() if end else stop]
            if one.strip():
                yield Sentence(line, one.replace(BREAK, " ").strip())
            line += one.count(BREAK)
            start = end.end() if end else stop


def findings(page: str, source: str) -> list[Finding]:
    found = []
    for sentence in sentences(source):
        shown = sentence.text.replace(CODE, "`...`")
        if sentence.words > WORDS:
            found.append(Finding(page, sentence.line, f"{sentence.words} words", shown))
        for pattern, what in PATTERNS:
            for match in pattern.finditer(sentence.text):
                found.append(Finding(page, sentence.line, f"{match[0]} -> {what}", shown))
    return found


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.prose", description="Long sentences and riddles.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="these pages, not the list's")
    args = parser.parse_args(given)
    pages = args.pages or READ_FIRST
    found = []
    for page in pages:
        path = Path(page) if args.pages else ROOT / page
        if not path.is_file():
            print(f"tools.prose: error: no file {page}", file=sys.stderr)
            return 2
        found += findings(page, path.read_text("utf-8"))
    for one in found:
        print(one)
    if not found:
        print(f"prose: nothing to mend in {len(pages)} page{'s' * (len(pages) != 1)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
