"""The licence that a model card names goes along in the model file."""

import pytest

import models
from picoformer.compile.convert import convert
from picoformer.compile.modelfile import load
from picoformer.importers.card import licence

CARDS = {
    "---\nlicense: mit\n---\n# A model": "mit",
    "---\ntags:\n- x\nlicense: 'apache-2.0'  # as ever\n---\n": "apache-2.0",
    "---\nlicense: other\nlicense_name: gemma\nlicense_link: x\n---\n": "gemma",
    "---\nlicense:\n- cc-by-4.0\n- mit\n---\n": "cc-by-4.0",
    "---\nlicense: " + "x" * 100 + "\n---\n": "x" * 64,
    "---\nlicense:\n---\n": "",
    "---\nlanguage: en\n---\nlicense: mit\n": "",
    "---\nlicense: mit\n": "",
    "# A model\n\nlicense: mit\n": "",
    "": "",
}


@pytest.mark.parametrize("text", CARDS)
def test_cards(tmp_path, text):
    (tmp_path / "README.md").write_text(text, "utf-8")
    assert licence(tmp_path) == CARDS[text]


def test_what_is_no_card(tmp_path):
    assert licence(tmp_path) == licence(tmp_path / "gone") == ""
    (tmp_path / "README.md").write_bytes(b"---\nlicense: m\xffit\n---\n\x00")
    assert licence(tmp_path) == "m\ufffdit"
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").mkdir()
    assert licence(tmp_path) == ""


@pytest.mark.parametrize("name", ["stories", "english-french", "fashion", "motions", "digest"])
def test_our_models_say_theirs(tmp_path, name):
    convert(models.ROOT / "models" / name, tmp_path / "m.pft")
    assert load(tmp_path / "m.pft").meta["licence"] == "mit"
