"""Byte-pair tokenizer: text to token ids and back, from the model file's tokenizer section.

docs/tokenizer.md defines the section. It is read in place, byte by byte: ids, code points and
offsets then stay below 2^30, where an int on a board needs no heap. The PC runs this same file.
"""

import struct

from .errors import Error

_HEADER = 40  # bytes; the offsets follow
_NONE = 0xFFFFFFFF
_NO_MERGE = 65536  # one above the highest rank


class Tokenizer:
    """Encoder and streaming decoder over `section` (bytes-like), which is kept, not copied.

    vocab_size: number of tokens; bos, eos: their ids, -1 where the model has none.
    A section that breaks docs/tokenizer.md raises Error here, and nothing later does.
    """

    def __init__(self, section):
        if len(section) < _HEADER:
            raise Error("tokenizer: %d bytes, the header alone has 40" % len(section))
        words = struct.unpack_from("<10I", section)
        kind, flags, size, unk, bos, eos, base, singles, merges, blob = words
        if kind != 1:
            raise Error("tokenizer: type %d, this version reads type 1" % kind)
        if flags > 15:
            raise Error("tokenizer: flags 0x%x, this version knows 0x0 to 0xf" % flags)
        if not 0 < size < 65536:
            raise Error("tokenizer: %d tokens, expected 1 to 65535" % size)
        for i in (unk, bos, eos, base):
            if i >= size and i != _NONE:
                raise Error("tokenizer: special token %d of only %d tokens" % (i, size))
        self._s = section
        self._flags = flags
        self.vocab_size = size
        self.bos = -1 if bos == _NONE else bos
        self.eos = -1 if eos == _NONE else eos
        self._unk = -1 if unk == _NONE else unk
        self._base = -1 if base == _NONE else base
        self._n_singles = singles
        self._n_merges = merges
        self._singles = _HEADER + 4 * (size + 1)
        self._merges = self._singles + 8 * singles
        self._blob = self._merges + 8 * merges
        end = self._blob + blob
        total = end + (-blob & 3)
        if len(section) != total:
            raise Error("tokenizer: %d bytes, its counts need %d" % (len(section), total))
        for p in range(end, total):
            if section[p]:
                raise Error("tokenizer: padding at byte %d is not zero" % p)

        longest = self._check_offsets(blob)
        if self._base >= 0:
            self._check_byte_tokens()
        # words as two 16-bit halves: a code point, an id, a pair of ids, a rank and an id
        self._check_words("single", self._singles, singles, 0x11, 65536, True)
        self._check_words("single's id", self._singles + 4 * singles, singles, 1, size, False)
        self._check_words("merge", self._merges, merges, size, size, True)
        self._check_words("merge's id", self._merges + 4 * merges, merges, 65536, size, False)

        # Decoded text: each byte of a token, and what was pending, may turn into a 3-byte U+FFFD.
        # A view of every length, because taking a slice per token would use heap.
        self._out = bytearray(3 * longest + 3)
        view = memoryview(self._out)
        self._views = [view[:i] for i in range(len(view) + 1)]
        self.reset()

    def _check_offsets(self, blob):
        """Offsets rise from 0 to `blob`, at most 255 at a time; returns the longest piece."""
        s = self._s
        longest = last = 0
        for p in range(_HEADER, self._singles, 4):
            offset = s[p] | s[p + 1] << 8 | s[p + 2] << 16 | s[p + 3] << 24
            step = offset - last
            if not 0 <= step < (256 if p > _HEADER else 1):
                raise Error("tokenizer: offset %d after %d" % (offset, last))
            longest = max(longest, step)
            last = offset
        if last != blob or blob >> 24:
            raise Error("tokenizer: offsets end at %d of %d, at most 2^24-1" % (last, blob))
        return longest

    def _check_byte_tokens(self):
        """The token of each byte holds that byte."""
        if self._base + 256 > self.vocab_size:
            raise Error("tokenizer: byte tokens from %d exceed the vocabulary" % self._base)
        for b in range(256):
            at = self._start(self._base + b)
            if self._start(self._base + b + 1) - at != 1 or self._s[at] != b:
                raise Error("tokenizer: token %d is not byte %d" % (self._base + b, b))

    def _check_words(self, what, at, count, high, low, rising):
        """The `count` words at byte `at` have halves below `high` and `low`; sorted if rising."""
        s = self._s
        last_a = last_b = -1
        for p in range(at, at + 4 * count, 4):
            a = s[p + 2] | s[p + 3] << 8
            b = s[p] | s[p + 1] << 8
            if a >= high or b >= low:
                raise Error("tokenizer: %s 0x%04x%04x is out of range" % (what, a, b))
            if rising:
                if a < last_a or (a == last_a and b <= last_b):
                    raise Error("tokenizer: %s 0x%04x%04x is out of order" % (what, a, b))
                last_a = a
                last_b = b

    def _start(self, token):
        """Where in the section the bytes of `token` start; they end where the next one starts."""
        s = self._s
        p = _HEADER + 4 * token
        return self._blob + (s[p] | s[p + 1] << 8 | s[p + 2] << 16)

    def _find(self, at, count, high, low):
        """Binary search for a word in the `count` sorted ones at byte `at`.

        Returns the byte position of its value in the table behind them, 0 where it is absent.
        """
        s = self._s
        a = 0
        b = count
        while a < b:
            mid = (a + b) >> 1
            p = at + 4 * mid
            d = (s[p + 2] | s[p + 3] << 8) - high or (s[p] | s[p + 1] << 8) - low
            if d < 0:
                a = mid + 1
            elif d:
                b = mid
            else:
                return p + 4 * count
        return 0

    def _rank(self, left, right):
        p = self._find(self._merges, self._n_merges, left, right)
        return self._s[p + 2] | self._s[p + 3] << 8 if p else _NO_MERGE

    def encode(self, text):
        """The token ids of `text` (str), a list; no BOS."""
        if not text:
            return []
        if self._flags & 1 and not (self._flags & 2 and text[0] in " \u2581"):
            text = " " + text
        if not self._flags & 4:
            return self._word(text)
        ids = []
        spaces = ""  # those in front of the part, which belong to its word
        for part in text.split(" "):
            if part:
                ids.extend(self._word(spaces + part))
                spaces = ""
            spaces += " "
        if len(spaces) > 1:  # the last part is followed by no space
            ids.extend(self._word(spaces[1:]))
        return ids

    def _word(self, text):
        """The token ids of a text that needs no cutting."""
        s = self._s
        ids = []
        for c in text:
            code = ord(c)
            p = self._find(self._singles, self._n_singles, code >> 16, code & 0xFFFF)
            if p:
                ids.append(s[p] | s[p + 1] << 8)
            elif self._base >= 0:
                for b in c.encode():
                    ids.append(self._base + b)
            elif self._unk >= 0 and not (self._flags & 8 and ids and ids[-1] == self._unk):
                ids.append(self._unk)
        # min and index run in C: quadratic in the length of a word, with a small constant
        ranks = [self._rank(ids[i], ids[i + 1]) for i in range(len(ids) - 1)]
        while ranks:
            best = min(ranks)
            if best == _NO_MERGE:
                break
            i = ranks.index(best)
            p = self._find(self._merges, self._n_merges, ids[i], ids[i + 1])
            ids[i] = s[p] | s[p + 1] << 8
            ids.pop(i + 1)
            ranks.pop(i)
            if i:
                ranks[i - 1] = self._rank(ids[i - 1], ids[i])
            if i < len(ranks):
                ranks[i] = self._rank(ids[i], ids[i + 1])
        return ids

    def decode(self, token, previous):
        """The text that `token` completes, "" while its last character is incomplete.

        `previous` is the token before it: bos at the start of a text. Bytes that cannot form a
        character give U+FFFD, as Python's errors="replace" does. Uses no heap but for the str.
        """
        if not 0 <= token < self.vocab_size:
            raise Error("token %d, expected 0 to %d" % (token, self.vocab_size - 1))
        s = self._s
        out = self._out
        at = self._start(token)
        end = self._start(token + 1)
        if self._flags & 1 and previous == self.bos and at < end and s[at] == 0x20:
            at += 1
        size = self._size  # bytes in out
        done = 0  # of these in complete characters
        need = self._need  # bytes that the last character still lacks
        for p in range(at, end):
            b = s[p]
            if need:
                if self._low <= b <= self._high:
                    out[size] = b
                    size += 1
                    need -= 1
                    self._low = 0x80
                    self._high = 0xBF
                    if not need:
                        done = size
                    continue
                need = 0
                done = self._replace(done)
            if b < 0x80:
                out[done] = b
                done += 1
            elif 0xC2 <= b <= 0xF4:
                out[done] = b
                size = done + 1
                need = 1 + (b > 0xDF) + (b > 0xEF)
                # the second byte: no overlong forms, no surrogates, nothing above U+10FFFF
                self._low = 0xA0 if b == 0xE0 else 0x90 if b == 0xF0 else 0x80
                self._high = 0x9F if b == 0xED else 0x8F if b == 0xF4 else 0xBF
                continue
            else:
                done = self._replace(done)
            size = done
        text = str(self._views[done], "utf8") if done else ""
        for p in range(done, size):
            out[p - done] = out[p]
        self._size = size - done
        self._need = need
        return text

    def _replace(self, at):
        """Put U+FFFD at out[at:]; returns where it ends."""
        out = self._out
        out[at] = 0xEF
        out[at + 1] = 0xBF
        out[at + 2] = 0xBD
        return at + 3

    def flush(self):
        """At the end of a text: U+FFFD for a character left incomplete, or ""."""
        text = "\ufffd" if self._need else ""
        self.reset()
        return text

    def reset(self):
        """Forget an incomplete character: the next decode starts a text."""
        self._size = 0
        self._need = 0
        self._low = 0
        self._high = 0
