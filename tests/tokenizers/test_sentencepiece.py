"""SentencePiece's own models, against the library `sentencepiece`, and on MicroPython."""

import contextlib
import io
import json
import random
import shutil
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picoformer.errors import Error
from picoformer.tokenizers.charsmap import charsmap as rules_of_the_library
from picoformer.tokenizers.charsmap import composition
from picoformer.tokenizers.choose import read_tokenizer
from picoformer.tokenizers.section import build
from picoformer.tokenizers.sentencepiece_model import read_sentencepiece
from picoformer.tokenizers.tokenizer import Tokenizer
from spm import hand_made, message, small
from test_tokenizer import ASCII_SOUP, UNICODE, check_on_board
from test_tokenizer_types import CORPUS, LONG, MORE_TEXTS, SOURCE, charsmap
from turns import some

sentencepiece = pytest.importorskip("sentencepiece")

QUICK = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
T5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
LLAMA = {
    "model_type": "bpe",
    "normalization_rule_name": "identity",
    "byte_fallback": True,
    "remove_extra_whitespaces": False,
    "split_digits": True,
}
USER = {"user_defined_symbols": ["<sep>", "ab", "\u2581\u2581", "日本", "!?"]}
VARIANTS = {
    "unigram": {},
    "llama": LLAMA,
    "bpe": {"model_type": "bpe"},
    "t5": T5,
    "unigram_bytes": {"byte_fallback": True},
    "unigram_identity": {"normalization_rule_name": "identity"},
    "bpe_user": {**LLAMA, **USER, "byte_fallback": False},
    "unigram_user": {**USER, "normalization_rule_name": "identity"},
    "unigram_nfkc": {"normalization_rule_name": "nfkc", "remove_extra_whitespaces": False},
    "unigram_folded": {"normalization_rule_name": "nmt_nfkc_cf"},
    "characters": {"model_type": "char"},
    "no_prefix": {"add_dummy_prefix": False},
    "bpe_no_prefix": {**LLAMA, "add_dummy_prefix": False, "remove_extra_whitespaces": True},
    "across": {"split_by_whitespace": False},
    "bpe_bytes": {"model_type": "bpe", "byte_fallback": True},
}
MARKS = [
    "cafe\u0301 e\u0302\u0301 e\u0301\u0302 u\u031b\u0301 \u01b0\u0301 \u212b A\u030a\u0301",
    "\u1112\u1161\u11ab\u1100\u1161 \uac00\u11a8 \u3131\uffc2\u1161 \uffa1\uffc2 \u1161\u11a8",
    "\u2581 a\u2581 \u2581b \u2581",
    "\u2581",
    " \x01 a \x02 b\x7f ",
    "\ufb01\ufb02 \u00bd \u2126 \u33a1 \u1f71\u0345 \uff76\uff9e \U0001d7c2",
    "\u03b1\u0313\u0301\u0345",
    "<sep>ab<sep>  cab abab !? 日本日 <se p>",
]


def trained(folder, lines=SOURCE, size=400, **options):
    """A small model's file, and the library's processor for it."""
    held = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=held,
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    path = folder / "tokenizer.model"
    path.write_bytes(held.getvalue())
    return path, sentencepiece.SentencePieceProcessor(model_proto=held.getvalue())


@pytest.fixture(scope="module", params=some(VARIANTS, 5))
def model(request, tmp_path_factory):
    options = VARIANTS[request.param]
    lines = CORPUS[: len(SOURCE) + 18]
    size = 700 if options.get("byte_fallback") else 500
    path, library = trained(tmp_path_factory.mktemp("spm"), lines, size, **options)
    return Tokenizer(build(read_sentencepiece(path))), library, path


def test_odd_texts_equal_the_library(model):
    ours, library, _ = model
    for text in [*MORE_TEXTS, *MARKS, *CORPUS[::97], LONG[:3000]]:
        assert ours.encode(text) == library.encode(text), text


def test_text_comes_back_as_the_library_has_it(model):
    ours, library, _ = model
    for text in CORPUS[:: len(CORPUS) // 40]:
        ids = [i for i in library.encode(text) if i != library.unk_id()]
        assert ours.decode(ids) == library.decode(ids)


@QUICK
@given(
    st.one_of(
        UNICODE,
        ASCII_SOUP,
        st.text("aeio\u0301\u0308\u0302\u0323 \u2581ab<sep>1ﬁ한\u1112\u1161", max_size=60),
    )
)
def test_random_text_equals_the_library(model, text):
    ours, library, _ = model
    assert ours.encode(text) == library.encode(text), text


def check_every_character(model, step):
    ours, library, _ = model
    codes = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    codes = codes[:0x600] + codes[0x600:0x20000:step] + codes[0x20000 :: 61 * step]
    for first in range(0, len(codes), 512):
        text = " ".join(f"a{chr(c)}e {chr(c)}\u0301" for c in codes[first : first + 512])
        assert ours.encode(text) == library.encode(text)


def test_many_characters_equal_the_library(model):
    check_every_character(model, 397)


@pytest.mark.slow
def test_every_character_equals_the_library(model):
    check_every_character(model, 1)


def test_board_equals_pc(model, tmp_path):
    check_on_board(tmp_path, model[0].section, [*MORE_TEXTS, *MARKS])


def test_shape(model):
    ours, library, _ = model
    assert (ours.vocab_size, ours.unk) == (library.vocab_size(), library.unk_id())
    assert ours.eos == library.eos_id()
    assert ours.wrap([7]) == [7]  # which is what the library does


# --- in folders


def test_llama_folder(tmp_path):
    """tokenizer.model alone: its configuration says what stands around a text."""
    path, library = trained(tmp_path, **LLAMA, size=600)
    text = "the parser  is\na x é"
    for config, front, behind in [
        ({}, [], []),
        ({"add_bos_token": True}, [1], []),
        ({"add_bos_token": True, "add_eos_token": True}, [1], [2]),
    ]:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        ours = Tokenizer(build(read_tokenizer(tmp_path, 640)))
        assert ours.prompt(text) == [*front, *library.encode(text), *behind]
        assert (ours.vocab_size, ours.bos, ours.eos) == (640, 1, 2)
        assert ours.decode(library.encode(text)) == text


def test_t5_folder(tmp_path):
    path, library = trained(tmp_path, **T5)
    path.rename(tmp_path / "spiece.model")
    v = read_tokenizer(tmp_path, 520, 0, 1)
    assert "the last 120 stand for nothing" in v.notes[0]
    ours = Tokenizer(build(v))
    assert ours.wrap(ours.encode("a  parser")) == [*library.encode("a parser"), 1]
    assert (ours.bos, ours.eos, ours.unk) == (0, 1, 2)


def test_marian_folder(tmp_path):
    """vocab.json has its own tokens, of both languages' pieces."""
    path, library = trained(tmp_path)
    path.rename(tmp_path / "source.spm")
    shutil.copy(tmp_path / "source.spm", tmp_path / "target.spm")
    names = [library.id_to_piece(i) for i in range(library.vocab_size())]
    known = ["</s>", "<unk>", *random.Random(1).sample(names[3:], len(names) - 3)]
    known += ["\u2581œuvre", "é", "日本", "ï", "<pad>"]
    ids = {name: i for i, name in enumerate(known)}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    pad = ids["<pad>"]
    v = read_tokenizer(tmp_path, len(ids), pad, 0)
    ours = Tokenizer(build(v))
    assert v.notes == [] and (ours.bos, ours.eos, ours.unk) == (pad, 0, 1)
    for text in [*MORE_TEXTS, *MARKS]:
        pieces = library.encode(text, out_type=str)
        assert ours.wrap(ours.encode(text)) == [*(ids.get(p, 1) for p in pieces), 0]
    given = [ours.encode(text)[1:] for text in ("é", "日本", "日", "日本é", "éaé")]
    e, japan, a = (ids[name] for name in ("é", "日本", "a"))
    assert given == [[e], [japan], [1], [1], [e, a, e]]
    check_on_board(tmp_path, ours.section, [*MORE_TEXTS[:3], "日本é", "éaé"])
    assert ours.decode([pad, ids["\u2581œuvre"], 1, 0, ids["s"]]) == "œuvres"
    ids.pop("s")
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    assert "1 pieces of source.spm have no token, such as 's'" in read_tokenizer(tmp_path).notes[0]
    (tmp_path / "tokenizer_config.json").write_text('{"separate_vocabs": true}')
    with pytest.raises(Error, match="separate_vocabs"):
        read_tokenizer(tmp_path)


@pytest.mark.slow
def test_what_is_not_followed_is_said(tmp_path):
    path, _ = trained(
        tmp_path, normalization_rule_name="nmt_nfkc_cf", user_defined_symbols=["<SEP>"]
    )
    notes = read_sentencepiece(path).notes
    assert "'<SEP>', which is user-defined, is normalized" in notes[0]
    assert "1132 texts of several characters are normalized otherwise" in notes[1]


# --- what is refused


def test_every_truncation(tmp_path):
    path, _ = trained(tmp_path, model_type="bpe")
    data = path.read_bytes()
    refused = 0
    for length in range(0, len(data), 1 + len(data) // 60):
        path.write_bytes(data[:length])
        try:
            Tokenizer(build(read_sentencepiece(path))).encode("ab é")
        except Error:
            refused += 1
    assert refused > 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 pieces in 0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\n", "expected a SentencePiece model"),
        (b"\x0a\x04\x0a\x02\xff\xfe", "expected a SentencePiece model"),
        (b"\x80" * 40, "more than 10 bytes"),
        (b"\x08\x01", "where a message belongs"),
    ],
)
def test_no_model(tmp_path, data, message):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(data)
    with pytest.raises(Error, match=message):
        read_sentencepiece(path)


def test_words_are_refused(tmp_path):
    path, _ = trained(tmp_path, model_type="word", size=100)
    with pytest.raises(Error, match="model of words.*supported are Unigram, BPE and characters"):
        read_sentencepiece(path)
    path, _ = trained(tmp_path, treat_whitespace_as_suffix=True)
    with pytest.raises(Error, match="white space behind words"):
        read_sentencepiece(path)


def test_by_hand(tmp_path):
    path = tmp_path / "m.model"
    path.write_bytes(hand_made(("<unk>", 0, 2), ("\u2581a", -1, 1), ("b", -2, 1)))
    assert Tokenizer(build(read_sentencepiece(path))).encode("ab c") == [1, 2, 0]
    for pieces, message_ in [
        ([("a", -1, 1)], "0 of them the unknown"),
        ([("<unk>", 0, 2), ("a", -1, 1), ("a", -2, 1)], "'a', empty or there before"),
        ([("<unk>", 0, 2), ("a", float("nan"), 1)], "has the score nan"),
        ([("<unk>", 0, 2), ("a", -1, 9)], "expected a SentencePiece model"),
        ([("<unk>", 0, 2), ("a", 3, 1)], "score is not"),
    ]:
        path.write_bytes(hand_made(*pieces))
        with pytest.raises(Error, match=message_):
            build(read_sentencepiece(path))
    path.write_bytes(small(30))
    library = sentencepiece.SentencePieceProcessor(str(path))
    for text in ["the other", "<sep>the <sep", " xx\u0101 he"]:
        assert Tokenizer(build(read_sentencepiece(path))).encode(text) == library.encode(text)
    rules = message(2, struct.pack("<I4I", 16, 1 << 10, 0, 0x80000001, 7) + b"x")
    path.write_bytes(hand_made(("<unk>", 0, 2), ("a", -1, 1), normalizer=rules))
    Tokenizer(build(read_sentencepiece(path)))


@settings(QUICK, max_examples=60)
@given(st.data())
def test_mutated_models_raise_errors_only(tmp_path_factory, data):
    path, raw = mutable(tmp_path_factory)
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(changed)
    try:
        tokenizer = Tokenizer(build(read_sentencepiece(path)))
    except Error:
        return
    assert all(0 <= i < tokenizer.vocab_size for i in tokenizer.encode("ab é x  y"))


_KEPT = []


def mutable(factory):
    if not _KEPT:
        path, _ = trained(factory.mktemp("mutable"), normalization_rule_name="identity")
        _KEPT.append((path, path.read_bytes()))
    return _KEPT[0]


@settings(QUICK, max_examples=100)
@given(st.data())
def test_mutated_rules_raise_errors_only(data):
    rules = bytearray(charsmap({"A": "a", "e\u0301": "\xe9", "e\u0301\u0323": "x"}))
    for _ in range(data.draw(st.integers(0, 3))):
        rules[data.draw(st.integers(0, len(rules) - 1))] = data.draw(st.integers(0, 255))
    for read in composition, rules_of_the_library:
        with contextlib.suppress(Error):
            read(bytes(rules[: data.draw(st.sampled_from([None, 7, 2000]))]))
