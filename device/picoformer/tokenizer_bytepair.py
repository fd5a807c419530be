"""Byte-pair encoding: type 1 of docs/tokenizer.md, and what type 3 shares with it."""

from .errors import Error
from .tokenizer import Base

_NO_MERGE = 65536  # one above the highest rank


class BytePair(Base):
    """Characters, with byte tokens for those that have none, merged by rank."""

    def __init__(self, section):
        super().__init__(section, 31, 4)
        base, singles, merges = self._counts
        size = self.vocab_size
        if base + 256 > size and base != 0xFFFFFFFF and (base >= size or self.unk < 0):
            raise Error("tokenizer: byte tokens from %d of only %d tokens" % (base, size))
        self._base = -1 if base == 0xFFFFFFFF else base
        self._n_singles = singles
        self._n_merges = merges
        self._singles = self._tables
        self._merges = self._singles + 8 * singles
        self._load(8 * (singles + merges))
        # words as two 16-bit halves: a code point, an id, a pair of ids, a rank and an id
        self._check_words("single", self._singles, singles, 0x11, 65536, True)
        self._check_words("single's id", self._singles + 4 * singles, singles, 1, size, False)
        self._check_merges()

    def _check_merges(self):
        at = self._merges
        n = self._n_merges
        size = self.vocab_size
        self._check_words("merge", at, n, size, size, True)
        self._check_words("merge's id", at + 4 * n, n, 65536, size, False)

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

    def _encode(self, text, most):
        """See Base.encode."""
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
                    b += self._base
                    ids.append(b if b < self.vocab_size else self.unk)
            elif self.unk >= 0 and not (self._flags & 8 and ids and ids[-1] == self.unk):
                ids.append(self.unk)
        return self._merge(ids)

    def _merge(self, ids):
        s = self._s
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
