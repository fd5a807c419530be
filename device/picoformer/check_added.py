"""The proof of a tokenizer's table of added tokens, dropped behind it; docs/tokenizer.md."""

import struct

from .errors import Error

_NORMAL = 8  # of a token
_NORMALIZED = 2  # of the table
_HEADER = 12  # bytes


def check(t, at):
    """Prove the table at byte `at` of a tokenizer's section; returns its bytes.

    Sets where it is, and what a text has that may have an added token. Raises Error.
    """
    s = t._s
    cut = len(s) < at + _HEADER
    n, size, bounds = (0, 0, 0) if cut else struct.unpack_from("<3I", s, at)
    how = n >> 16
    n &= 0xFFFF
    total = _HEADER + 4 * (n + bounds) + size + (-size & 3)
    if cut or not n or how > 31 or len(s) < at + total:
        raise Error("tokenizer: %d bytes, its added tokens are cut" % len(s))
    t._added = at
    entries = at + _HEADER + 4 * bounds
    last = -1
    for p in range(at + _HEADER, entries, 4):
        code = s[p] | s[p + 1] << 8 | s[p + 2] << 16
        if s[p + 3] or not last < code <= 0x110000:
            raise Error("tokenizer: the bound of words at byte %d is out of order" % p)
        last = code
    q = entries + 4 * n
    end = q + size
    longest = 255
    marks = set()
    for p in range(entries, entries + 4 * n, 4):
        k = s[p + 3]
        if (s[p] | s[p + 1] << 8) >= t.vocab_size or s[p + 2] > 15 or not 0 < k <= longest:
            raise Error("tokenizer: the added token at byte %d is malformed" % p)
        longest = k
        # With anything else in front it may be some other character that becomes this one.
        plain = s[q] < 0x80 and not (how & _NORMALIZED and s[p + 2] & _NORMAL)
        marks.add(chr(s[q]) if plain else "") if q < end else None
        k += q
        while q < k and k <= end:  # whole characters: no text is cut within one
            b = s[q]
            q = q + 1 + (b > 0xBF) + (b > 0xDF) + (b > 0xEF) if not 0x7F < b < 0xC0 else end + 1
        if q != k:
            raise Error("tokenizer: the name of the added token at byte %d is malformed" % p)
    for p in range(end, at + total):
        if s[p]:
            raise Error("tokenizer: padding at byte %d is not zero" % p)
    if q != end:
        raise Error("tokenizer: the added tokens end at byte %d, expected %d" % (q, end))
    t._marks = ("",) if "" in marks else tuple(marks)
    return total
