"""WordPiece: type 2 of docs/tokenizer.md. Words of a normalized text, longest piece first."""

from .errors import Error
from .tokenizer import Base
from .tokenizer_lookup import APART, DROP, SPACE, Characters, Pieces


class WordPiece(Base):
    """Pieces that continue a word begin with ##."""

    def __init__(self, section):
        super().__init__(section, 16, 0)
        self._limit, pieces, characters = self._counts
        self._characters = Characters(section, self._tables, characters)
        self._pieces = Pieces(self, self._tables + self._characters.size, pieces)
        self._load(self._characters.size + 2 * pieces)
        self._characters.check()
        self._pieces.check()
        if self.unk < 0:
            raise Error("tokenizer: WordPiece without a token for unknown words")
        first = self._pieces.first
        low = first(0, pieces, 0, 0x23)
        low = first(low, first(low, pieces, 0, 0x24), 1, 0x23)
        self._more = low, first(low, first(low, pieces, 0, 0x24), 1, 0x24)

    def _encode(self, text, most):
        """See Base.encode."""
        s = self._s
        characters = self._characters
        ids = []
        word = bytearray()
        length = 0  # of the word, in characters
        for c in text:
            code = ord(c)
            p = characters.find(code)
            op = s[p + 3]
            if op == DROP:
                continue
            if most is not None and len(ids) >= most:
                return ids
            alone = op in APART
            if (alone or op == SPACE) and length:
                ids.extend(self._word(bytes(word), length))
                word[:] = b""
                length = 0
            if op != SPACE and length <= self._limit:  # one too long is unknown anyway
                length += characters.put(code, p, word)
            if alone:
                ids.extend(self._word(bytes(word), length))
                word[:] = b""
                length = 0
        if length:
            ids.extend(self._word(bytes(word), length))
        return ids

    def _word(self, word, length):
        """The token ids of one word, UTF-8 of `length` characters."""
        if length > self._limit:
            return [self.unk]
        ids = []
        pieces = self._pieces
        at = 0
        low = 0
        high = pieces.count
        k = 0  # bytes that the pieces from low to high share
        while at < len(word):
            token = -1
            p = at
            while p < len(word):
                low = pieces.first(low, high, k, word[p])
                high = pieces.first(low, high, k, word[p] + 1)
                if low == high:
                    break
                p += 1
                k += 1
                if pieces.ends(low, k):
                    token = pieces.token(low)
                    at = p
            if token < 0:
                return [self.unk]
            ids.append(token)
            low, high = self._more
            k = 2
        return ids

    def decode(self, token, previous):
        """The text of `token`, with a space before each word but the first. See Base.decode."""
        s = self._s
        at = self._begin(token)
        if at == self._end:
            return ""
        space = self._begun
        self._begun = True
        if space and self._end - at > 1 and s[at] == 0x23 and s[at + 1] == 0x23:
            at += 2
            space = False
        return self._decode(at, space)
