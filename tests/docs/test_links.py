"""Links of README, docs/, the models' cards and the rest: files, anchors, pictures are there."""

from __future__ import annotations

import posixpath
import re
from functools import cache

import pytest

from tools.markdown import Page, slug
from tools.pages import ROOT, all_pages

PAGES = all_pages()


@cache
def page(path: str) -> Page:
    return Page(path)


def inside(path: str) -> list[tuple[int, str, str, bool]]:
    """The links of a page that stay in the repository: line, file, anchor, whether a picture."""
    found = []
    for link in page(path).links():
        target, _, anchor = link.target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        found.append((link.line, file if target else path, anchor, link.picture))
    return found


def test_every_page_is_in_the_list_once():
    there = (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("models/*/*.md"))
    assert sorted(PAGES) == sorted(p.relative_to(ROOT).as_posix() for p in there), "tools/pages.py"
    assert not list(ROOT.glob("docs/*/*.md")), "docs/ is flat"


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_somewhere(path):
    for line, file, anchor, _ in inside(path):
        assert (ROOT / file).exists(), f"{path}:{line}: no {file}"
        if not anchor:
            continue
        if (ROOT / file).is_dir():
            file += "/README.md"
        assert file.endswith(".md"), f"{path}:{line}: #{anchor} of {file}"
        assert anchor in page(file).names(), f"{path}:{line}: no #{anchor} in {file}"


@pytest.mark.parametrize("path", PAGES)
def test_addresses_of_the_web_are_whole(path):
    for link in page(path).links():
        if re.match(r"[a-z]+:", link.target):
            assert re.match(r"https://[\w.-]+\.\w+(/|$)", link.target), f"{path}:{link.line}"
            assert not link.picture, f"{path}:{link.line}: a picture that is fetched"


def test_every_picture_is_shown_or_linked():
    shown = {file for path in PAGES for _, file, _, _ in inside(path)}
    there = {p.relative_to(ROOT).as_posix() for p in (ROOT / "docs" / "images").iterdir()}
    assert there - shown == set(), "pictures that no page shows"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_one_title_and_names_that_differ(path):
    one = page(path)
    assert [t.tag for t in one.tokens if t.type == "heading_open"].count("h1") == 1
    assert one.anchors and "" not in one.anchors and len(set(one.anchors)) == len(one.anchors)


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("The runtime", "the-runtime"),
        ("What `convert` reads", "what-convert-reads"),
        ("Will it fit?", "will-it-fit"),
        ("A & B, c/d", "a--b-cd"),
        ("0.2.0 (soon)", "020-soon"),
        ("Für_uns", "für_uns"),
    ],
)
def test_anchors_are_those_of_github(heading, anchor):
    one = Page("", f"# {heading}\n\n## {heading}\n")
    assert one.anchors == [anchor, f"{anchor}-1"]
    assert slug(heading.replace("`", "")) == anchor
