"""Tokenizer files in the forms that people have: against the library that wrote them."""

import json
import re

import pytest

from picoformer.errors import Error
from picoformer.tokenizers.section import build
from picoformer.tokenizers.tokenizer import Tokenizer
from picoformer.tokenizers.tokenizer_json.read import read_tokenizer_json
from test_tokenizer_types import MORE_TEXTS, byte_level, minimal, unigram, wordpiece
from turns import some

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


# --- more tokens than the model, or fewer


def added(content, token, special=True):
    return {
        "id": token,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }


@pytest.mark.parametrize("make", [wordpiece, byte_level, unigram])
@pytest.mark.parametrize("listed", some([False, True], 2, 1))
def test_a_pad_token_beyond_the_model(tmp_path, make, listed):
    """As fine-tuning scripts leave it: among the added tokens, or in the vocabulary as well."""
    _, library = make(tmp_path)
    path = tmp_path / "tokenizer.json"
    size = library.get_vocab_size()
    plain = read_tokenizer_json(path, size)

    def change(root):
        root["added_tokens"] += [added("<more>", size), added("<pad2>", size + 1)]
        vocab = root["model"]["vocab"]
        if listed and isinstance(vocab, dict):
            vocab.update({"<more>": size, "<pad2>": size + 1})
        elif listed:
            vocab += [["<more>", -1.0], ["<pad2>", -1.0]]

    put(path, change)
    library = hf.Tokenizer.from_file(str(path))
    v = read_tokenizer_json(path, size)
    assert v.notes == [
        f"the tokenizer has {size + 2} tokens and the model {size}: <more> ({size}), "
        f"<pad2> ({size + 1}) left out"
    ]
    v.notes = []
    assert build(v) == build(plain)
    ours = Tokenizer(build(v))
    for text in MORE_TEXTS:
        for special in library.get_added_tokens_decoder().values():
            text = re.sub(re.escape(special.content), "", text, flags=re.IGNORECASE)
        assert ours.encode(text) == library.encode(text, add_special_tokens=False).ids
    # what would be the token is text, and no index outside of the model's table
    assert max(ours.encode("<more> <pad2>")) < size
    # and where the model has them, they are control tokens
    assert read_tokenizer_json(path, size + 2).pieces[size:] == [b"", b""]


def test_pieces_beyond_the_model(tmp_path):
    wordpiece(tmp_path)
    with pytest.raises(Error, match="900 tokens, the model 890.*such as.*resize_token_embeddings"):
        read_tokenizer_json(tmp_path / "tokenizer.json", 890)


def test_a_template_beyond_the_model(tmp_path):
    wordpiece(tmp_path)
    path = tmp_path / "tokenizer.json"

    def change(root):
        root["added_tokens"].append(added("<start>", 900))
        root["post_processor"]["special_tokens"]["[CLS]"].update(ids=[900])

    put(path, change)
    with pytest.raises(Error, match=r"puts '\[CLS\]' \(token 900\) around.*900 tokens"):
        read_tokenizer_json(path, 900)
    assert read_tokenizer_json(path, 901).bos == 900


def test_a_vocabulary_padded_to_a_multiple(tmp_path):
    wordpiece(tmp_path)
    v = read_tokenizer_json(tmp_path / "tokenizer.json", 960)
    assert v.notes == [
        "the model has 960 tokens and its tokenizer 900: the last 60 stand for nothing"
    ]
    ours = Tokenizer(build(v))
    assert (ours.vocab_size, ours.decode([899, 900, 959])) == (960, ours.decode([899]))
    assert read_tokenizer_json(tmp_path / "tokenizer.json", 900).notes == []
