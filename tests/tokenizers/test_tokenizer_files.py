"""Tokenizer files in the forms that people have: against the library that wrote them."""

import json

import pytest

from picoformer.errors import Error
from picoformer.tokenizers.section import build
from picoformer.tokenizers.tokenizer import Tokenizer
from picoformer.tokenizers.tokenizer_json.read import read_tokenizer_json
from test_tokenizer_types import minimal, unigram, wordpiece

hf = pytest.importorskip("tokenizers")


def put(path, change):
    """Change the JSON of a file."""
    root = json.loads(path.read_text(encoding="utf8"))
    change(root)
    path.write_text(json.dumps(root), encoding="utf8")
    return root


# --- without model.type, as the library wrote them before 0.9


@pytest.mark.parametrize("make", [wordpiece, unigram])
def test_without_a_type(tmp_path, make):
    _, library = make(tmp_path)
    path = tmp_path / "tokenizer.json"
    expected = build(read_tokenizer_json(path))
    put(path, lambda root: root["model"].pop("type"))
    assert build(read_tokenizer_json(path)) == expected
    assert hf.Tokenizer.from_file(str(path)).encode("a text").ids == library.encode("a text").ids


@pytest.mark.parametrize("kind", ["WordPiece", "BPE", "Unigram", "WordLevel"])
def test_the_type_is_the_librarys(tmp_path, kind):
    root = minimal(kind)
    model = root["model"]
    if kind == "WordPiece":
        model.update(continuing_subword_prefix="##", max_input_chars_per_word=100)
    elif kind == "BPE":  # a BPE that has all fields of the others
        model.update(continuing_subword_prefix=None, max_input_chars_per_word=100)
    elif kind == "WordLevel":
        model.update(merges=None)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(root), encoding="utf8")
    expected = build(read_tokenizer_json(path))
    del model["type"]
    put(path, lambda root: root.update(model=model))
    library = hf.Tokenizer.from_str(json.dumps({"model": model}))
    assert type(library.model).__name__ == kind
    assert build(read_tokenizer_json(path)) == expected


@pytest.mark.parametrize("model", [{"vocab": {"a": 0}}, {"merges": []}, {"type": None}, {}])
def test_of_no_type(tmp_path, model):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": model}), encoding="utf8")
    with pytest.raises(Exception, match="untagged enum"):
        hf.Tokenizer.from_file(str(path))
    with pytest.raises(Error, match="without a type.*expected the fields of one|type None"):
        Tokenizer(build(read_tokenizer_json(path)))
