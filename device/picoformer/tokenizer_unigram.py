"""Unigram: type 4 of docs/tokenizer.md. Of all ways to cut a word in pieces, the likeliest."""

import struct

from .errors import Error
from .tokenizer import Base
from .tokenizer_lookup import (
    ALONE_ALWAYS,
    DROP,
    EXTENDS,
    PREPENDS,
    SPACE,
    SWALLOWS,
    Characters,
    Pieces,
)

_NEVER = (1 << 30) - 1  # the cost of a piece that only a run of unknown characters is
_MARK = b"\xe2\x96\x81"  # U+2581, SentencePiece's visible space


class Unigram(Base):
    """Each piece has a cost, and a word is cut where the sum is least."""

    def __init__(self, section):
        super().__init__(section, 0x7F7, 0)
        self._unknown, n, characters = self._counts
        if len(section) < self._tables + 8:
            raise Error("tokenizer: %d bytes, its tables are cut" % len(section))
        s = section
        p = self._tables
        self._pairs = None
        counts = struct.unpack_from("<I", section, p + 4)[0]
        if counts or self._flags & 384:
            from .tokenizer_composed import Pairs

            self._pairs = Pairs(section, p + 8, counts)
        if self._flags & 256 and self._flags & 0xC2:
            raise Error("tokenizer: flags 0x%x, which exclude each other" % self._flags)
        pairs = self._pairs.size if self._pairs else 0
        at = p + 8 + pairs
        self._characters = Characters(section, at, characters)
        self._costs = at + self._characters.size
        self._pieces = Pieces(self, self._costs + 4 * n, n)
        self._load(8 + pairs + self._characters.size + 6 * n)
        self._characters.check(0xF0 if self._flags & 128 else 0)
        self._pieces.check()
        if self._pairs:
            self._pairs.check()
        self._base = s[p] | s[p + 1] << 8 | s[p + 2] << 16
        if self._base == 0xFFFFFF and s[p + 3] == 255:
            self._base = -1
        elif self._base + 256 > self.vocab_size or s[p + 3]:
            raise Error("tokenizer: byte tokens from %d exceed the vocabulary" % self._base)
        # sums of a few costs stay below 2^30, where an int on a board needs no heap
        for p in range(self._costs + 3, self._costs + 4 * n, 4):
            if s[p] > 63:
                raise Error("tokenizer: the cost at byte %d is out of range" % (p - 3))
        if self.unk < 0 or self._unknown >> 30:
            raise Error("tokenizer: Unigram without an unknown token, or of too high a cost")

    def _encode(self, text, most):
        """See Base.encode."""
        return self._cut(self._normal(text)) if text else []

    def _normal(self, text):
        """What the normalizer makes of a text, UTF-8."""
        return self._composed(text) if self._flags & 256 else self._normalized(text)

    def _cut(self, raw):
        """The token ids of a normalized text, UTF-8."""
        flags = self._flags
        if flags & 32:
            while b"  " in raw:
                raw = raw.replace(b"  ", b" ")
        if flags & 64:
            words = [w if w[:3] == _MARK else b" " + w for w in raw.split(b" ") if w]
            raw = b"".join(words)
        elif flags & 256:
            if flags & 32:
                raw = raw.strip(b" ")
                while raw[-3:] == _MARK:
                    raw = raw[:-3].rstrip(b" ")
            if flags & 1 and (raw or not flags & 32):
                raw = b" " + raw
        elif flags & 1 and raw:
            if not (flags & 2 and (raw[0] == 0x20 or raw[:3] == _MARK)):
                raw = b" " + raw
        raw = raw.replace(_MARK, b" ")
        if not flags & 4:
            return self._word(raw) if raw else []
        ids = []
        i = 0
        while i < len(raw):
            j = raw.find(b" ", i + 1)
            if j < 0:
                j = len(raw)
            ids.extend(self._word(raw[i:j]))
            i = j
        return ids

    def _normalized(self, text):
        """`text` as UTF-8, each character replaced."""
        out = bytearray()
        self._solid = 0  # where the last character ends in it that is no white space
        find = self._characters.find
        cluster = []
        size = 0  # of the cluster, in bytes
        last = ALONE_ALWAYS  # what its last character does
        for c in text:
            code = ord(c)
            if not self._flags & 128:
                self._put(code, out)
                continue
            does = self._s[find(code) + 3]
            if not (
                does & EXTENDS
                and not last & ALONE_ALWAYS
                or last & PREPENDS
                and not does & ALONE_ALWAYS
                or code == 10
                and cluster == [13]
            ):
                self._put_cluster(cluster, size, out)
                cluster = []
                size = 0
            cluster.append(code)
            size += 1 + (code > 0x7F) + (code > 0x7FF) + (code > 0xFFFF)
            last = does
        self._put_cluster(cluster, size, out)
        return bytes(out[: self._solid] if self._flags & 32 else out)

    def _composed(self, text):
        """`text` as UTF-8, by the rules that reach furthest, as SentencePiece does it."""
        from .tokenizer_composed import syllable

        out = bytearray()
        last = -1  # what may still be composed with what follows
        more = False  # and has been
        for c in text:
            code = ord(c)
            p = self._characters.find(code)
            one = self._characters.one(code, p)
            if last >= 0:
                both = 0
                if one >= 0:
                    # a syllable goes on if it has been composed, as all that is composed does
                    if self._flags & 512 and more == (last > 0x1112):
                        both = syllable(last, one)
                    both = both or self._pairs.find(last, one, more)
                if both:
                    last = both
                    more = True
                    continue
                out.extend(chr(last).encode())
            last = one
            more = False
            if one < 0 and self._s[p + 3] & 15 != DROP:
                self._characters.put(code, p, out)
        if last >= 0:
            out.extend(chr(last).encode())
        return bytes(out)

    def _put_cluster(self, cluster, size, out):
        """As the library's Precompiled does it: in a small cluster, what is found first is all."""
        if len(cluster) > 1 and size < 6:
            if self._s[self._characters.find(cluster[0]) + 3] & SWALLOWS:
                return self._put(cluster[0], out)
            both = self._pairs.find(cluster[0], cluster[1])
            if both:
                out.extend(chr(both).encode())
                self._solid = len(out)
                return
        for code in cluster:
            self._put(code, out)

    def _put(self, code, out):
        p = self._characters.find(code)
        op = self._s[p + 3] & 15
        if op != DROP:
            self._characters.put(code, p, out)
            if op != SPACE and out[-1] != 0x20:
                self._solid = len(out)

    def _word(self, word):
        """The token ids of one word, UTF-8."""
        s = self._s
        pieces = self._pieces
        n = len(word)
        best = [0] * (n + 1)  # cost of the best way to get here
        start = [-1] * (n + 1)  # where its last piece starts
        last = [0] * (n + 1)  # and which token that is
        i = 0
        while i < n:
            b = word[i]
            size = min(n - i, 1 + (b > 0xBF) + (b > 0xDF) + (b > 0xEF))
            single = False
            low = k = 0
            high = pieces.count
            while i + k < n:
                low = pieces.first(low, high, k, word[i + k])
                high = pieces.first(low, high, k, word[i + k] + 1)
                if low == high:
                    break
                k += 1
                if pieces.ends(low, k):
                    p = self._costs + 4 * low
                    cost = s[p] | s[p + 1] << 8 | s[p + 2] << 16 | s[p + 3] << 24
                    if cost == _NEVER:
                        continue
                    cost += best[i]
                    if start[i + k] < 0 or cost < best[i + k]:
                        best[i + k] = cost
                        start[i + k] = i
                        last[i + k] = pieces.token(low)
                    single = single or k == size
            k = i + size
            if not single:
                cost = best[i] + self._unknown
                if start[k] < 0 or cost < best[k]:
                    best[k] = cost
                    start[k] = i
                    last[k] = self.unk
            i = k
        ids = []
        while n:
            token = last[n]
            if token != self.unk:
                ids.append(token)
            elif self._flags & 1024:
                k = n
                while n and last[n] == token:
                    n = start[n]
                low = pieces.find(word, n, k)
                ids.append(token if low < 0 else pieces.token(low))
                continue
            elif self._base >= 0:
                for p in range(n - 1, start[n] - 1, -1):
                    ids.append(self._base + word[p])
            elif not ids or ids[-1] != token:  # a run of unknown characters gives one
                ids.append(token)
            n = start[n]
        ids.reverse()
        return ids
