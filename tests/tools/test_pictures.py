"""The drawn pictures are what their tool draws, and whole SVG."""

from __future__ import annotations

from xml.etree import ElementTree

from tools.pictures import head
from tools.pictures.__main__ import FOLDER, explaining


def test_the_head_of_readme():
    drawn = head.draw()
    assert (FOLDER / "picoformer.svg").read_text("utf-8") == drawn
    root = ElementTree.fromstring(drawn)
    assert root.get("viewBox") == "0 0 800 464"
    assert head.PROMPT in root.get("aria-label", "")


def test_what_explains():
    drawn = explaining(head.ROOT / "models" / "stories", 256)
    shapes = {}
    for name, svg in drawn.items():
        root = ElementTree.fromstring(svg)
        assert (FOLDER / name).exists() and root.get("aria-label")
        width, height = (float(n) for n in root.get("viewBox", "").split()[2:])
        shapes[name] = words = [e for e in root.iter() if e.tag.endswith("text")]
        for word in words:
            assert 0 <= float(word.get("x", -1)) <= width
            assert 0 <= float(word.get("y", -1)) <= height
            assert float(word.get("font-size", 0)) >= 21  # 9 pixels on a phone
    said = {name: [w.text for w in words] for name, words in shapes.items()}
    assert "512 logits, one for each token" in said["how-token.svg"]
    assert "KV cache: 133,200" in said["how-bytes.svg"]
    assert "keys of 8 bits, values of 4: all of it" in said["how-context.svg"]
    assert "... 61 steps: a kernel, and a record of integers" in said["how-loop.svg"]
