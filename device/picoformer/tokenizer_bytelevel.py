"""Byte-level BPE as GPT-2 has it: type 3 of docs/tokenizer.md."""

import struct

from .errors import Error
from .tokenizer import Base
from .tokenizer_bytepair import BytePair
from .tokenizer_lookup import KEEP, LETTER, NUMBER, SPACE, Characters, Pieces

_NEWLINES = b"\r\n"


class ByteLevel(BytePair):
    """Words are cut by the classes of their characters; each byte is a token, then merges."""

    def __init__(self, section):
        Base.__init__(self, section, 0x3FE, 0)
        characters, whole, self._n_merges = self._counts
        self._bytes = self._tables
        self._characters = Characters(section, self._tables + 512, characters)
        self._merges = self._tables + 512 + self._characters.size
        normal = self._flags & 512
        if normal:
            p = self._merges
            self._merges += 4
            if len(section) < self._merges:
                raise Error("tokenizer: %d bytes, its tables are cut" % len(section))
            from .tokenizer_composed import Pairs

            self._pairs = Pairs(section, self._merges, struct.unpack_from("<I", section, p)[0])
            self._merges += self._pairs.size
        self._whole = Pieces(self, self._merges + 8 * self._n_merges, whole)
        self._load(self._merges - self._tables + 8 * self._n_merges + 2 * whole)
        self._characters.check(0, 254 if normal else 0)
        if normal:
            self._pairs.check()
        self._whole.check()
        for b in range(256):
            token = self._token(b)
            if token >= self.vocab_size and token != 0xFFFF:
                raise Error("tokenizer: byte %d is token %d" % (b, token))
        self._check_merges()

    def _token(self, b):
        p = self._bytes + 2 * b
        return self._s[p] | self._s[p + 1] << 8

    def _encode(self, text, most):
        """See Base.encode."""
        if not text:
            return []
        if self._flags & 512 and len(text.encode()) > len(text):
            from .tokenizer_composed import normal

            text = normal(text, self._characters, self._pairs)
        if self._flags & 2 and text[0] != " ":
            text = " " + text
        raw = text.encode()
        if not self._flags & 4:
            return self._word(raw)
        # the class of each character, at each of its bytes
        kinds = bytearray(len(raw))
        p = 0
        for c in text:
            code = ord(c)
            kind = self._s[self._characters.find(code) + 3]
            for _ in range(1 + (code > 0x7F) + (code > 0x7FF) + (code > 0xFFFF)):
                kinds[p] = kind
                p += 1
        ids = []
        i = 0
        while i < len(raw):
            j = self._cut(raw, kinds, i)
            ids.extend(self._word(raw[i:j]))
            i = j
        return ids

    def _cut(self, raw, kinds, i):
        """Where the word ends that begins at i."""
        n = len(raw)
        llama = self._flags & 32
        apart = self._flags & 256
        if raw[i] == 0x27:
            after = raw[i + 1 : i + 3]
            if llama:
                after = after.lower()
            if after[:1] in (b"s", b"t", b"m", b"d"):
                return i + 2
            if after in (b"re", b"ve", b"ll") or llama and after == b"\xc5\xbf":  # a long s
                return i + 3
        j = i
        if llama:
            if kinds[i] in (KEEP, SPACE) and raw[i] not in _NEWLINES:
                j = self._run(raw, kinds, i, 1)
            if j == n or kinds[j] != LETTER:  # any one character, then letters
                j = i
                if raw[i] == 0x20 and i + 1 < n and kinds[i + 1] == KEEP:
                    j += 1
        elif raw[i] == 0x20 and i + 1 < n and kinds[i + 1] != SPACE:
            if not (apart and kinds[i + 1] == NUMBER):
                j += 1
        kind = kinds[j]
        if kind == NUMBER and self._flags & 192:
            return self._run(raw, kinds, j, 3 if self._flags & 64 else 1)
        j = self._run(raw, kinds, j, n)
        if llama and kind == KEEP:
            while j < n and raw[j] in _NEWLINES:
                j += 1
        if kind != SPACE:
            return j
        last = j
        if llama:
            while last > i and raw[last - 1] not in _NEWLINES:
                last -= 1
            if last > i:
                return last
        if j < n and not (apart and kinds[j] == NUMBER):
            last = j - 1  # this space belongs to what follows
            while raw[last] & 0xC0 == 0x80:
                last -= 1
        return last if last > i else j

    def _run(self, raw, kinds, i, most):
        """Where characters of the kind of that at i end, or `most` of them."""
        n = len(raw)
        kind = kinds[i]
        while i < n and kinds[i] == kind and most:
            i += 1
            while i < n and raw[i] & 0xC0 == 0x80:
                i += 1
            most -= 1
        return i

    def _word(self, raw):
        """The token ids of the bytes of one word."""
        if self._whole.count:
            piece = self._whole.find(raw, 0, len(raw))
            if piece >= 0:
                return [self._whole.token(piece)]
        ids = []
        for b in raw:
            token = self._token(b)
            if token != 0xFFFF:
                ids.append(token)
            elif self.unk >= 0 and not (self._flags & 8 and ids and ids[-1] == self.unk):
                ids.append(self.unk)
        return self._merge(ids)
