"""The pages as one folder, as Zensical wants it.

README becomes index.md, a card models/NAME/README.md becomes models/NAME.md, and docs/ lies at
the top. Blocks are HTML already, by the parser that the tests of pages use too: it reads Markdown
as GitHub does. Only headings stay Markdown, for Zensical makes its contents and search of them.

A link to a page leads to it. A link to another file leads to a copy, Python on a page of its own.
A link to a folder becomes its text, as the repository has no address.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from tools import pages
from tools.markdown import Page, parser
from tools.pages import ROOT

HERE = Path(__file__).parent
TITLE = "Transformers on microcontrollers"  # of the home page, for a browser's tab
FILES = "files"  # where copies of other files of the repository lie
SHOWN = {".py": "python"}  # on a page, in its language
ATTRIBUTE = re.compile(r'(\b(?:srcset|href|src)=")([^"]+)')


def place(path: str) -> str:
    """Where a page or another file of the repository lies in the site's folder."""
    if path == pages.HOME:
        return "index.md"
    if path in (pages.CONTRIBUTING, pages.CHANGES):
        return path.lower()
    if path.startswith("docs/"):
        return path[len("docs/") :]
    if path in pages.cards():
        return posixpath.dirname(path) + ".md"
    return f"{FILES}/{path}" + (".md" if Path(path).suffix in SHOWN else "")


class Stage:
    """Writes the pages, and notes what else they need."""

    def __init__(self) -> None:
        self.pages = set(pages.all_pages())
        self.files: set[str] = set()
        self.markdown = parser()
        self.markdown.add_render_rule("fence", fence)

    def address(self, page: str, link: str) -> str | None:
        """What a link of a page becomes; None where the site has nothing to lead to."""
        target, hash_, anchor = link.partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return link
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        if (ROOT / path / "README.md").is_file():
            path = posixpath.join(path, "README.md")
        if not (ROOT / path).is_file():
            return None
        if path not in self.pages:
            self.files.add(path)
        there = posixpath.relpath(place(path), posixpath.dirname(place(page)) or ".")
        return re.sub(r"\.md$", ".html", there) + hash_ + anchor

    def turned(self, page: str, tokens: list[Token]) -> None:
        """Turn the links of a page's tokens to where they lead on the site."""
        for token in tokens:
            if token.type in ("html_block", "html_inline"):
                token.content = ATTRIBUTE.sub(
                    lambda m: m[1] + (self.address(page, m[2]) or m[2]), token.content
                )
            name = {"link_open": "href", "image": "src"}.get(token.type)
            if name:
                address = self.address(page, str(token.attrGet(name)))
                if address is None:
                    token.tag, token.attrs = "span", {}
                    closing = tokens[tokens.index(token) :]
                    next(t for t in closing if t.type == "link_close").tag = "span"
                else:
                    token.attrSet(name, address)
            self.turned(page, token.children or [])

    def written(self, path: str) -> str:
        """A page as Zensical gets it."""
        page = Page(path)
        self.turned(path, page.tokens)
        parts = [f"---\ntitle: {TITLE}\n---\n"] if path == pages.HOME else []
        for block in blocks(page.tokens):
            if block[0].type == "heading_open":
                text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", block[1].content)
                anchor = page.anchors[page.headings.index(block[1])]
                parts.append(f"{block[0].markup} {text} {{#{anchor}}}\n")
            else:
                parts.append(self.markdown.renderer.render(block, self.markdown.options, {}))
        return "\n".join(parts)

    def shown(self, path: str) -> str:
        """A page that shows a file."""
        source = (ROOT / path).read_text("utf-8")
        return f"# {path}\n\n" + block_of(source, SHOWN[Path(path).suffix])


def blocks(tokens: list[Token]) -> Iterator[list[Token]]:
    """The tokens of each block at the top."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def block_of(code: str, language: str) -> str:
    try:
        lexer = get_lexer_by_name(language or "text")
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    inside = highlight(code, lexer, HtmlFormatter(nowrap=True))
    return f'<div class="highlight"><pre><code>{inside}</code></pre></div>\n'


def fence(
    _self: RendererHTML, tokens: list[Token], i: int, _options: OptionsDict, _env: object
) -> str:
    words = tokens[i].info.split()  # "sh notest": a block of sh
    return block_of(tokens[i].content, words[0] if words else "")


def navigation() -> list[object]:
    """What Zensical calls nav."""

    def of(titles: dict[str, str]) -> list[dict[str, str]]:
        return [{title: place(path)} for path, title in titles.items()]

    return [
        {"Home": place(pages.HOME)},
        {"Guides": of(pages.GUIDES)},
        {"Reference": of(pages.REFERENCE)},
        {"Models": of(pages.cards())},
        {"Exact": of(pages.EXACT)},
        *of(pages.LAST),
    ]


def toml(value: object) -> str:
    """A value in TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def write(folder: Path) -> None:
    """Write what Zensical makes the site of into a folder; it makes the site in `site` there."""
    stage = Stage()
    made = {place(path): stage.written(path).encode() for path in sorted(stage.pages)}
    for path in sorted(stage.files):
        shown = Path(path).suffix in SHOWN
        made[place(path)] = stage.shown(path).encode() if shown else (ROOT / path).read_bytes()
    made |= {name: (HERE / name).read_bytes() for name in ("site.css", "iframe-worker.js")}
    texts = folder / "pages"
    for old in texts.rglob("*") if texts.is_dir() else ():
        if old.is_file() and old.relative_to(texts).as_posix() not in made:
            old.unlink()
    for name, data in made.items():
        save(texts / name, data)
    settings = {"docs_dir": "pages", "site_dir": "site", "nav": navigation()}
    lines = "".join(f"{name} = {toml(value)}\n" for name, value in settings.items())
    config = (HERE / "zensical.toml").read_text("utf-8")
    config = config.replace("[project]\n", f"[project]\n{lines}", 1)
    save(folder / "zensical.toml", config.encode())


def save(path: Path, data: bytes) -> None:
    """Write a file, unless it is the same already: who looks at times sees what has changed."""
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
