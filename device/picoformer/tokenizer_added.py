"""Added tokens, which a text gives where it has their names: docs/tokenizer.md#added-tokens.

Imported when a text may have one of them; `check_added` proves their table.
"""

_LEFT, _RIGHT, _WORD, _NORMAL = 1, 2, 4, 8  # of a token
_FIRST, _NORMALIZED, _PUT, _AGAIN, _SPACES = 1, 2, 4, 8, 16  # of the table
_HEADER = 12  # bytes
_MARK = b"\xe2\x96\x81"  # U+2581, SentencePiece's visible space


def encode(t, text, most):
    """The token ids of a text that may have added tokens. See Base.encode."""
    ids = []
    flags = t._flags
    how = t._s[t._added + 2]
    raw = text.encode()
    try:
        for start, end, token in _split(t, raw, 0):
            if token >= 0:
                ids.append(token)
                continue
            # the space of flag 1 may be there for the beginning of the text alone
            t._flags = flags & ~1 if start and how & _FIRST else flags
            part = normal(t, raw[start:end], how)
            if how & _PUT:  # done, but for what follows a token
                t._flags = flags | 2 if how & _AGAIN else flags & ~1
            for a, b, token in _split(t, part, _NORMAL):
                if token >= 0:
                    ids.append(token)
                    continue
                if a and how & _FIRST:
                    t._flags &= ~1
                left = most if most is None else max(0, most - len(ids))
                if how & _NORMALIZED and t._s[0] > 3:
                    ids.extend(t._cut(part[a:b]))
                else:
                    ids.extend(t._encode(str(part[a:b], "utf8"), left))
    finally:
        t._flags = flags
    return ids


def normal(t, raw, how):
    """What the normalizer makes of a text, both UTF-8, where there is one."""
    if not how & _NORMALIZED:
        return raw
    kind = t._s[0]
    if kind == 1:
        raw = raw.replace(b" ", _MARK)  # which is no white space any more
        return _MARK + raw if how & _PUT else raw
    text = str(raw, "utf8")
    if kind > 3:
        raw = t._normal(text)
        if t._flags & 32:
            raw = raw.replace(b"  ", b"\xff")
            for more in (b"\xff\xff", b"\xff "):
                while more in raw:
                    raw = raw.replace(more, b"\xff")
            raw = raw.replace(b"\xff", _MARK if how & _SPACES else b" ")
    if kind == 2:
        from .tokenizer_lookup import APART, DROP, SPACE

        find = t._characters.find
        out = bytearray()
        for c in text:
            p = find(ord(c))
            op = t._s[p + 3]
            # Chinese characters, but not punctuation, get spaces around them.
            apart = op in APART and _is_chinese(ord(c))
            if apart:
                out.append(0x20)
            if op != DROP:
                t._characters.put(ord(c) if op != SPACE or how & _SPACES else 0x20, p, out)
            if apart:
                out.append(0x20)
        raw = bytes(out)
    return raw


def _split(t, raw, normal):
    """Where added tokens are in a text (UTF-8): [(start, end, token, or -1 for text)].

    normal: _NORMAL for those that are looked for in a normalized text, 0 for the others.
    """
    s = t._s
    at = t._added
    entries = at + _HEADER + 4 * (s[at + 8] | s[at + 9] << 8 | s[at + 10] << 16)
    names = entries + 4 * (s[at] | s[at + 1] << 8)
    out = []
    done = 0  # what was found ends here
    i = 0
    while i < len(raw):
        q = names
        for p in range(entries, names, 4):
            n = s[p + 3]
            if s[q] == raw[i] and s[p + 2] & _NORMAL == normal and s[q : q + n] == raw[i : i + n]:
                break
            q += n
        else:
            i += 1
            continue
        bits = s[p + 2]
        start = i
        i += n
        end = i
        if bits & _WORD:
            if start and _in_word(t, _code(raw, _before(raw, start))):
                continue
            if end < len(raw) and _in_word(t, _code(raw, end)):
                continue
        if bits & _LEFT:
            while start > done and _is_space(_code(raw, _before(raw, start))):
                start = _before(raw, start)
            start = max(start, done)
        if bits & _RIGHT:
            while end < len(raw) and _is_space(_code(raw, end)):
                end += 1 + (raw[end] > 0xBF) + (raw[end] > 0xDF)
        if done < start:
            out.append((done, start, -1))
        if start < end:  # of a token of white space one before may have taken all
            out.append((start, end, s[p] | s[p + 1] << 8))
        done = end
    if done != len(raw):
        out.append((done, len(raw), -1))
    return out


def _before(raw, i):
    """Where the character in front of byte i begins."""
    i -= 1
    while raw[i] & 0xC0 == 0x80:
        i -= 1
    return i


def _code(raw, i):
    """The code point of the character at byte i."""
    b = raw[i]
    return ord(str(raw[i : i + 1 + (b > 0xBF) + (b > 0xDF) + (b > 0xEF)], "utf8"))


def _is_chinese(c):
    return 0x33FF < c < 0xA000 or 0xF8FF < c < 0xFB00 or c > 0x1FFFF


def _is_space(c):
    """Unicode's White_Space, as Rust's regular expressions have it."""
    return c == 32 or 8 < c < 14 or 0x1FFF < c < 0x200B or c in _BLANKS


_BLANKS = 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000


def _in_word(t, c):
    """Whether a character is of a word: behind an odd number of the table's bounds."""
    s = t._s
    p = t._added
    a = 0
    b = s[p + 8] | s[p + 9] << 8 | s[p + 10] << 16
    while a < b:
        mid = (a + b) >> 1
        q = p + _HEADER + 4 * mid
        if (s[q] | s[q + 1] << 8 | s[q + 2] << 16) <= c:
            a = mid + 1
        else:
            b = mid
    return a & 1
