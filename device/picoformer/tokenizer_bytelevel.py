"""Byte-level BPE as GPT-2 has it: type 3 of docs/tokenizer.md."""

from .errors import Error
from .tokenizer import Base
from .tokenizer_bytepair import BytePair
from .tokenizer_lookup import SPACE, Characters


class ByteLevel(BytePair):
    """Words are cut by the classes of their characters; each byte is a token, then merges."""

    def __init__(self, section):
        Base.__init__(self, section, 30, 0)
        characters, reserved, self._n_merges = self._counts
        if reserved:
            raise Error("tokenizer: word 7 is %d, expected 0" % reserved)
        self._bytes = self._tables
        self._characters = Characters(section, self._tables + 512, characters)
        self._merges = self._tables + 512 + self._characters.size
        self._load(512 + self._characters.size + 8 * self._n_merges)
        self._characters.check()
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
        if raw[i] == 0x27:
            if raw[i + 1 : i + 2] in (b"s", b"t", b"m", b"d"):
                return i + 2
            if raw[i + 1 : i + 3] in (b"re", b"ve", b"ll"):
                return i + 3
        j = i
        if raw[i] == 0x20 and i + 1 < n and kinds[i + 1] != SPACE:
            j += 1
        kind = kinds[j]
        while j < n and kinds[j] == kind:
            j += 1
        if kind == SPACE and j < n:  # the last space belongs to what follows
            last = j - 1
            while raw[last] & 0xC0 == 0x80:
                last -= 1
            if last > i:
                return last
        return j

    def _word(self, raw):
        """The token ids of the bytes of one word."""
        ids = []
        for b in raw:
            token = self._token(b)
            if token != 0xFFFF:
                ids.append(token)
            elif self.unk >= 0 and not (self._flags & 8 and ids and ids[-1] == self.unk):
                ids.append(self.unk)
        return self._merge(ids)
