"""The drawn pictures are what their tool draws, and whole SVG."""

from __future__ import annotations

from xml.etree import ElementTree

from tools.pictures import head
from tools.pictures.__main__ import FOLDER


def test_the_head_of_readme():
    drawn = head.draw()
    assert (FOLDER / "picoformer.svg").read_text("utf-8") == drawn
    root = ElementTree.fromstring(drawn)
    assert root.get("viewBox") == "0 0 800 464"
    assert head.PROMPT in root.get("aria-label", "")
