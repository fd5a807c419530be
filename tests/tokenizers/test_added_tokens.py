"""Special and added tokens in a text: against the `tokenizers` library, and on MicroPython."""

import json
import random
import struct
import sys

import pytest

from picoformer.errors import Error
from picoformer.tokenizers.choose import read_tokenizer
from picoformer.tokenizers.section import build
from picoformer.tokenizers.tokenizer import Tokenizer
from picoformer.tokenizers.tokenizer_json.read import read_tokenizer_json
from test_tokenizer import check_on_board

hf = pytest.importorskip("tokenizers")
from test_tokenizer_types import (  # noqa: E402
    T5_REAL,
    byte_level,
    characters,
    metaspace,
    unigram,
    wordpiece,
)
from tokenizers import AddedToken, decoders, models, normalizers, trainers  # noqa: E402
from turns import some  # noqa: E402

CORPUS = ["the cat sat on the mat and began it all again, 12 times. Größe naïve café"] * 3


def llama(folder, normalizer=None, splitter=None):
    """BPE with SentencePiece's spaces, of a few words."""
    library = hf.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    library.normalizer = normalizer
    if splitter:
        library.pre_tokenizer = splitter
    known = [*[f"<0x{b:02X}>" for b in range(256)], "▁"]
    trainer = trainers.BpeTrainer(
        vocab_size=380, special_tokens=["<unk>", "<s>", "</s>", *known], show_progress=False
    )
    library.train_from_iterator([t.replace(" ", "▁") for t in CORPUS], trainer)
    strip = [decoders.Strip(" ", 1, 0)] if splitter is None or "never" not in str(splitter) else []
    library.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    # Those were special for the trainer's sake alone.
    root = json.loads(library.to_str())
    root["added_tokens"] = root["added_tokens"][:3]
    return folder, hf.Tokenizer.from_str(json.dumps(root))


LLAMA = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
VARIANTS = {
    "llama_prepend": lambda d: llama(d, LLAMA),
    "llama_prepend_metaspace": lambda d: llama(d, LLAMA, metaspace()),
    "llama_always": lambda d: llama(d, None, metaspace()),
    "llama_first": lambda d: llama(d, None, metaspace(prepend_scheme="first", split=False)),
    "bert": lambda d: wordpiece(d),
    "bert_cased": lambda d: wordpiece(d, lowercase=False),
    "bert_dirty": lambda d: wordpiece(d, clean_text=False, handle_chinese_chars=False),
    "gpt2": lambda d: byte_level(d),
    "roberta": lambda d: byte_level(d, prefix=True, roberta=True),
    "unigram": lambda d: unigram(d),
    "unigram_t5": lambda d: unigram(d, T5_REAL),
    "unigram_first": lambda d: unigram(d, None, metaspace(prepend_scheme="first")),
    "characters": lambda d: characters(d),
}
# As models have them, and such as overlap, are white space, begin as others or have no ASCII.
NAMES = [
    "<|im_start|>", "<|im_end|>", "<|im|>", "<|", "[MASK]", "<mask>", "<think>", "began", "cat",
    "  ", "\n\n", "é", "naïve", "｜User｜", "<Big>", " lead", "trail ", "É", "ﬁ", "12", "▁x",
    "日本",
]  # fmt: skip
PARTS = [
    *NAMES, *" \t\n\u00a0\u3000\u200b.,_1aEéß日x<>|[]▁\u0301\u00b2", "the ", "cat", "<s>", "</s>",
    "[CLS]", "<pad>", "<BIG>", "[mask]", "began", "İ", "ſ", "  ", "fi", "hello",
]  # fmt: skip


def with_added(folder, library, rng, names=NAMES):
    """Some of the names as added tokens, with random options."""
    # Two of one normalized name: which of them the library takes is by chance. One of none
    # at all: it cuts the text behind every character.
    normal = library.normalizer.normalize_str if library.normalizer else str
    seen = {"", *(normal(t.content) for t in library.get_added_tokens_decoder().values())}
    for name in rng.sample(names, rng.randrange(1, len(names))):
        if normal(name) in seen:
            continue
        seen.add(normal(name))
        options = {k: rng.random() < 0.3 for k in ("lstrip", "rstrip", "single_word")}
        token = AddedToken(name, normalized=rng.random() < 0.5, **options)
        # Not of the model's own: one that is special stands for nothing here.
        special = rng.random() < 0.5 and library.token_to_id(name) is None
        (library.add_special_tokens if special else library.add_tokens)([token])
    library.save(str(folder / "tokenizer.json"))
    # As a program that loads the file has it.
    return Tokenizer(build(read_tokenizer(folder))), hf.Tokenizer.from_file(
        str(folder / "tokenizer.json")
    )


def random_text(rng):
    return "".join(rng.choice(PARTS) for _ in range(rng.randrange(1, 14)))


def check(ours, library, text):
    try:
        expected = library.encode(text, add_special_tokens=False).ids
    except BaseException as e:  # a panic of Rust: of tokens of white space that overlap
        assert "bad split" in str(e)
        return
    assert ours.encode(text) == expected, (text, library.get_added_tokens_decoder())
    # A text that is too long for the model need not be read to its end.
    most = len(text) // 3
    assert ours._device.encode(text, most)[:most] == expected[:most]


@pytest.mark.parametrize("variant", some(VARIANTS, 3))
def test_random_texts_with_random_tokens_equal_the_library(variant, tmp_path):
    rng = random.Random(variant)
    folder, library = VARIANTS[variant](tmp_path)
    original = library.to_str()
    for _ in range(6):
        ours, library = with_added(folder, hf.Tokenizer.from_str(original), rng)
        for _ in range(50):
            check(ours, library, random_text(rng))


@pytest.mark.parametrize("variant", some(VARIANTS, 4, 1))
def test_board_equals_pc(variant, tmp_path):
    rng = random.Random(variant)
    ours, _ = with_added(*VARIANTS[variant](tmp_path), rng)
    check_on_board(tmp_path, ours.section, [random_text(rng) for _ in range(60)])


def chat(folder):
    """As chat models have it: byte-level BPE, tokens of turns, one that is not special."""
    folder, library = byte_level(folder)
    library.add_special_tokens([AddedToken("<|im_start|>"), AddedToken("<|im_end|>")])
    library.add_tokens([AddedToken("<think>", normalized=False)])
    library.save(str(folder / "tokenizer.json"))
    return Tokenizer(build(read_tokenizer(folder))), library


def test_turns_of_a_chat(tmp_path):
    ours, library = chat(tmp_path)
    text = "<|im_start|>user\nHi <|im_end|>\n<|im_start|>assistant\n<think> so</s>"
    ids = ours.encode(text)
    assert ids == library.encode(text, add_special_tokens=False).ids
    start, end, think = (
        library.token_to_id(t) for t in ("<|im_start|>", "<|im_end|>", "<think>")
    )
    assert [i for i in ids if i in (start, end, think)] == [start, end, start, think]
    # Special ones stand for nothing, others for their names.
    assert ours.decode(ids) == library.decode(ids) == "user\nHi \nassistant\n<think> so"


def test_what_finds_them_is_imported_when_a_text_may_have_one(tmp_path):
    ours, _ = chat(tmp_path)
    device, name = ours._device, "picoformer.device.tokenizer_added"
    kept = sys.modules.pop(name)
    try:
        device.encode("Hello, world > |im_start|>")
        assert name not in sys.modules
        device.encode("a < b")
        assert name in sys.modules
    finally:
        sys.modules[name] = kept


def test_without_added_tokens_there_is_no_table(tmp_path):
    folder, library = llama(tmp_path, LLAMA)
    root = json.loads(library.to_str())
    sections = []
    for added in (root["added_tokens"], []):
        path = folder / "tokenizer.json"
        path.write_text(json.dumps({**root, "added_tokens": added}))
        sections.append(build(read_tokenizer_json(path, bos=1, eos=2)))
    assert [s[5] for s in sections] == [0x80, 0]
    assert Tokenizer(sections[1])._device._marks == ()
    assert Tokenizer(sections[0]).encode("<s>") == [1]
    assert Tokenizer(sections[1]).encode("<s>") != [1]


def test_masks_of_older_files(tmp_path):
    """RoBERTa's <mask> takes the space in front of it, BERT's [MASK] does not."""
    folder, library = byte_level(tmp_path)
    root = json.loads(library.to_str())["model"]
    (folder / "tokenizer.json").unlink()
    vocab = {**root["vocab"], "<mask>": len(root["vocab"])}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    merges = [" ".join(m) for m in root["merges"]]
    (folder / "merges.txt").write_text("\n".join(merges))
    ours = Tokenizer(build(read_tokenizer(folder)))
    assert ours.encode("a <mask> b")[1:2] == [vocab["<mask>"]]
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    assert Tokenizer(build(read_tokenizer(folder))).encode("a [MASK] b") == [5, 4, 6]


def test_a_name_that_is_too_long(tmp_path):
    folder, library = byte_level(tmp_path)
    library.add_special_tokens(["x" * 256])
    library.save(str(folder / "tokenizer.json"))
    with pytest.raises(Error, match="added token 900 .*has 256 bytes; expected at most 255"):
        build(read_tokenizer(folder))


def broken(section, at, change):
    """A section with a byte of its table of added tokens changed."""
    section = bytearray(section)
    section[at] = change
    return bytes(section)


def test_malformed_tables_are_refused(tmp_path):
    folder, library = byte_level(tmp_path)
    library.add_tokens([AddedToken("<é>", single_word=True), AddedToken("<x>y")])
    library.save(str(folder / "tokenizer.json"))
    section = build(read_tokenizer(folder))
    at = Tokenizer(section)._device._added
    n, size, bounds = struct.unpack_from("<3I", section, at)
    assert (n, size) == (5, 20)
    entries = at + 12 + 4 * bounds
    names = entries + 4 * n
    for what, place, value in [
        ("cut", at, 0),
        ("cut", at + 2, 32),
        ("cut", at + 4, 255),
        ("malformed", at + 4, 16),
        ("out of order", at + 16, 1),
        ("out of order", at + 15, 1),
        ("malformed", entries + 1, 255),
        ("malformed", entries + 2, 16),
        ("malformed", entries + 3, 0),
        ("malformed", entries + 7, 255),
        ("end at byte|malformed", entries + 3, 4),
        ("name of the added token", names + section[names:].index("é".encode()), 0xA9),
        ("name of the added token", names + section[names:].index("é".encode()), 0xF0),
    ]:
        with pytest.raises(Error, match=what):
            Tokenizer(broken(section, place, value))
    for n in range(at - 4, len(section)):
        with pytest.raises(Error):
            Tokenizer(section[:n])
