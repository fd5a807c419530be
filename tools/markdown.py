"""Pages of Markdown as GitHub reads them: headings and their anchors, links, pictures, blocks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tools.pages import ROOT

FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.S)
ID = re.compile(r'<\w+\b[^>]*\b(?:id|name)="([^"]+)"')
TARGET = re.compile(r'\b(href|src|srcset)="([^"]+)"')


def parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table")


def body(source: str) -> str:
    """A page without its front matter, its lines where they were."""
    return FRONT_MATTER.sub(lambda m: "\n" * m[0].count("\n"), source)


@dataclass(frozen=True)
class Block:
    """A fenced block: where its first line is, what the fence says, and what is in it."""

    line: int
    words: tuple[str, ...]  # "sh", "notest"
    code: str

    @property
    def language(self) -> str:
        return self.words[0] if self.words else ""


@dataclass(frozen=True)
class Link:
    line: int
    target: str
    picture: bool = False


@dataclass
class Page:
    """A page of the repository by its path, or of the text that is given."""

    path: str
    source: str | None = field(default=None, repr=False)
    tokens: list[Token] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if self.source is None:
            self.source = (ROOT / self.path).read_text("utf-8")
        self.tokens = parser().parse(body(self.source))
        self.headings = [
            self.tokens[i + 1] for i, t in enumerate(self.tokens) if t.type == "heading_open"
        ]
        seen: Counter[str] = Counter()
        self.anchors: list[str] = []  # of each heading
        for heading in self.headings:
            one = slug("".join(c.content for c in heading.children or []))
            self.anchors.append(f"{one}-{seen[one]}" if seen[one] else one)
            seen[one] += 1

    def names(self) -> set[str]:
        """What a link into the page may name: anchors, and ids in its HTML."""
        written = [t.content for _, t in walk(self.tokens) if t.type.startswith("html_")]
        return {*self.anchors, *ID.findall("\n".join(written))}

    def links(self) -> Iterator[Link]:
        for line, token in walk(self.tokens):
            if token.type == "link_open":
                yield Link(line, str(token.attrGet("href")))
            elif token.type == "image":
                yield Link(line, str(token.attrGet("src")), picture=True)
            elif token.type.startswith("html_"):
                for name, target in TARGET.findall(token.content):
                    yield Link(line, target, picture=name != "href")

    def blocks(self) -> list[Block]:
        return [
            Block(t.map[0] + 2, tuple(t.info.split()), t.content)
            for t in self.tokens
            if t.type == "fence" and t.map
        ]


def walk(tokens: list[Token]) -> Iterator[tuple[int, Token]]:
    """All tokens, those of a line of text as well, with their lines."""
    line = 1
    for token in tokens:
        if token.map:
            line = token.map[0] + 1
        yield line, token
        for child in token.children or []:
            yield line, child
            line += child.type == "softbreak" or child.type == "hardbreak"


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
