"""The site that `make docs` makes: whole, without warnings, and nothing of it from elsewhere."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from picoformer import Error
from tools.markdown import Page
from tools.pages import all_pages

pytest.importorskip("zensical", reason="the extra `docs` is missing (`make docs` installs it)")

from tools.site import __main__ as command  # noqa: E402
from tools.site import stage  # noqa: E402

PAGES = all_pages()
LOADS = {
    ("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "srcset"),
}  # fmt: skip


class Read(HTMLParser):
    """What a page of the site has: tags in its article, ids, links, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: set[str] = set()
        self.links: list[tuple[str, str, str]] = []
        self.article = False
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.article |= tag == "article"
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            elif name in ("href", "src", "srcset") and value:
                self.links.append((tag, name, value))
        if self.article:
            self.tags[tag] += 1

    def handle_endtag(self, tag):
        self.article &= tag != "article"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    assert command.main([str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def read(site) -> dict[str, Read]:
    return {p.relative_to(site).as_posix(): Read(p) for p in site.rglob("*.html")}


def test_every_page_is_there_as_github_shows_it(read):
    for path in PAGES:
        one, page = read[stage.place(path).replace(".md", ".html")], Page(path)
        assert set(page.anchors) <= one.ids, path
        kinds = Counter(t.tag for t in page.tokens if t.nesting == 1)
        for tag in ("h2", "h3", "h4", "table", "tr", "ul", "ol", "li"):
            assert one.tags[tag] == kinds[tag], (path, tag)


def test_links_lead_somewhere(site, read):
    for name, one in read.items():
        for tag, _, link in one.links:
            parts = urlsplit(link)
            if parts.scheme or link == "#" or (name == "404.html" and link.startswith("/")):
                continue
            file = site / name
            if parts.path:
                file = (file.parent / unquote(parts.path)).resolve()
            assert file.exists(), (name, tag, link)
            if parts.fragment and file.suffix == ".html":
                ids = read[file.relative_to(site).as_posix()].ids
                assert unquote(parts.fragment) in ids, (name, link)


def test_nothing_is_loaded_from_elsewhere(site, read):
    for name, one in read.items():
        for tag, attribute, link in one.links:
            if (tag, attribute) in LOADS:
                assert not re.match(r"(\w+:)?//", link), (name, link)
    for sheet in [*site.rglob("*.css")]:
        assert not re.search(r"url\(['\"]?https?:|@import", sheet.read_text("utf-8")), sheet


def test_the_search_has_all_pages(site):
    items = json.loads((site / "search.json").read_text("utf-8"))["items"]
    found = {item["location"].split("#")[0] for item in items}
    assert {stage.place(p).replace(".md", ".html") for p in PAGES} <= found


def test_what_is_not_a_site_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(Error, match="no site that this has made"):
        command.main([str(tmp_path / "mine")])


def test_addresses():
    made = stage.Stage()
    assert made.address("README.md", "docs/api.md#errors") == "api.html#errors"
    assert made.address("docs/api.md", "../README.md") == "index.html"
    assert made.address("docs/api.md", "../models/stories") == "models/stories.html"
    assert made.address("models/stories/README.md", "../../docs/api.md") == "../api.html"
    assert made.address("docs/api.md", "#errors") == "#errors"
    assert made.address("docs/api.md", "https://micropython.org") == "https://micropython.org"
    assert made.address("docs/api.md", "../tools/mip.py") == "files/tools/mip.py.html"
    assert made.address("docs/api.md", "../tools") is None and not {"tools"} & made.files


def test_pages_that_stay_as_they_are_are_not_written_again(tmp_path):
    stage.write(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    (tmp_path / "pages" / "gone.md").write_text("# Gone\n")
    stage.write(tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
