"""The classes of characters in unicode_data.py are those of the `tokenizers` library."""

import pytest

from picoformer.tokenizers import unicode_data
from test_tokenizer_types import charsmap

hf = pytest.importorskip("tokenizers")
from tokenizers import models, normalizers, pre_tokenizers  # noqa: E402

EVERY = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]


def bert(**options):
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False}
    return normalizers.BertNormalizer(**{**off, "lowercase": False, **options}).normalize_str


def words(splitter, text):
    return len(splitter.pre_tokenize_str(text))


CLEAN = bert(clean_text=True)
STRIP = bert(strip_accents=True)
LOWER = bert(lowercase=True)
BERT = pre_tokenizers.BertPreTokenizer()
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
EXTENDED = normalizers.Precompiled(charsmap({"a": "b"})).normalize_str
BROKEN = normalizers.Precompiled(charsmap({"\u200c": "b"})).normalize_str

SINGLE = hf.Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
SINGLE.add_tokens([hf.AddedToken("@", single_word=True, normalized=False)])

CLASSES = {
    "controls": lambda c: not CLEAN(c) and c != "\ufffd",
    "marks": lambda c: not STRIP(c) and ord(c) not in unicode_data.decompositions(),
    "punctuation": lambda c: words(BERT, f"a{c}a") == 3,
    "spaces": lambda c: words(BERT, f"a{c}a") == 2,
    "letters": lambda c: words(BYTES, "a" + c) == 1,
    "numbers": lambda c: words(BYTES, "1" + c) == 1,
    "words": lambda c: not SINGLE.encode("@" + c).ids.count(1),
    # what the library takes for one cluster of less than 6 bytes it replaces as one
    "extending": lambda c: EXTENDED("a" + c) == "b",
    "prepending": lambda c: EXTENDED(f"{c}a\u0301") == f"{c}b\u0301",
    "breaking": lambda c: c != "\u200c" and BROKEN(f"{c}\u200c\u0301") == f"{c}b",
}


def members(name):
    ranges = getattr(unicode_data, name)()
    assert ranges == sorted(ranges)
    return {c for first, last in ranges for c in range(first, last + 1)} - {0}


@pytest.mark.parametrize("name", CLASSES)
def test_edges_of_classes(name):
    found = members(name)
    near = {c + d for c in found if c - 1 not in found or c + 1 not in found for d in (-1, 0, 1)}
    for c in (near & set(EVERY)) | set(range(1, 0x300)):
        assert CLASSES[name](chr(c)) == (c in found), hex(c)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_classes(name):
    assert {c for c in EVERY if CLASSES[name](chr(c))} == members(name)


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_lower_case(every):
    lower = unicode_data.lower()
    for c in {*EVERY[::every], *lower}:
        assert LOWER(chr(c)) == "".join(map(chr, lower.get(c, [c]))), hex(c)


NORMAL = normalizers.NFC().normalize_str


def test_combining_classes():
    """Two marks are sorted where the second one's class is lower, but not 0."""
    found, first = unicode_data.classes(), {number: c for c, number in CLASS_ITEMS}
    assert found.keys() >= {0x301, 0x323, 0x3099} and len(first) == 54
    near = {c + d for c in found for d in (-1, 0, 1)}
    for c in near:
        number = found.get(c, 0)
        if c not in unicode_data.uncomposed():
            text = f"q{chr(c)}\u0334"  # of class 1
            assert (NORMAL(text) != text) == (number > 1), hex(c)
            text = f"q\u0345{chr(c)}"  # of class 240
            assert (NORMAL(text) != text) == (0 < number < 240), hex(c)
    for number, c in sorted(first.items()):
        for other, d in sorted(first.items()):
            text = f"q{chr(c)}{chr(d)}"
            assert (NORMAL(text) != text) == (other < number)


CLASS_ITEMS = list(unicode_data.classes().items())


def test_compositions():
    pairs, other = unicode_data.compositions(), unicode_data.uncomposed()
    for (a, b), c in pairs.items():
        assert NORMAL(chr(a) + chr(b)) == chr(c)
    for c in EVERY:
        assert NORMAL(chr(c)) == "".join(map(chr, other.get(c, [c]))), hex(c)
    firsts, seconds = {a for a, _ in pairs}, {b for _, b in pairs}
    for a in firsts:
        for b in seconds:
            made = pairs.get((a, b))
            if made is None and a not in pairs.values():
                assert len(NORMAL(chr(a) + chr(b))) == 2


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_decompositions(every):
    found, marks = unicode_data.decompositions(), members("marks")
    for c in {*EVERY[::every], *found, *marks}:
        if not 0xAC00 <= c <= 0xD7A3:
            parts = [x for x in found.get(c, [c]) if x not in marks]
            assert STRIP(chr(c)) == "".join(map(chr, parts)), hex(c)
