"""Tables that several types of tokenizer search: characters and sorted pieces."""

from .errors import Error

# what becomes of a character; docs/tokenizer.md says more
KEEP, DROP, SPACE, ALONE, BECOMES, ALONE_BECOMES, SHIFT, SEQUENCE, HANGUL = range(9)
LETTER, NUMBER, EACH = 9, 10, 11
# Made once: within a function they would be an object for each character.
APART = ALONE, ALONE_BECOMES
_OTHERS = BECOMES, ALONE_BECOMES
_NOT_ONE = DROP, SEQUENCE, HANGUL
# type 4 adds what a character does in a cluster of characters
SWALLOWS, ALONE_ALWAYS, PREPENDS, EXTENDS = 0x10, 0x20, 0x40, 0x80


class Characters:
    """Ranges of code points at byte `at` of a section, and the actions behind them.

    `counts`: ranges | actions << 16.
    """

    def __init__(self, section, at, counts):
        self._s = section
        self._at = at
        self._n = counts & 0xFFFF
        self._actions = at + 4 * self._n
        self.size = 4 * (self._n + (counts >> 16))  # bytes
        self._low = self._high = 0  # the range that was found last, and its action
        self._found = 0

    def check(self, clusters=0, classes=0):
        """Raises Error unless every code point has an action that makes sense.

        clusters: the bits that an operation may have besides. classes: the greatest value of one
        that needs none.
        """
        s = self._s
        n = (self.size >> 2) - self._n
        for i in range(n):
            self._check_action(i, n, 15 | clusters, classes)
        end = 0x110000
        for i in range(self._n - 1, -1, -1):
            start = self._start(i)
            p = self._position(i)
            if not 0 <= start < end or p >= self._at + self.size:
                raise Error("tokenizer: character range %d is out of order" % i)
            op = s[p + 3] & 15
            last = end - 1
            if op == EACH:
                self._check_each(self.value(p), end - start, n)
            if op == SHIFT:
                shift = self.value(p) - 0x100000
                a = start + shift
                b = last + shift
                if a < 0 or b > 0x10FFFF or (a < 0xE000 and b > 0xD7FF):
                    raise Error("tokenizer: character range %d shifts too far" % i)
            if op == HANGUL and (start < 0xAC00 or last > 0xD7A3):
                raise Error("tokenizer: character range %d is not Hangul" % i)
            end = start
        if end:
            raise Error("tokenizer: the character ranges do not begin at 0")

    def _check_each(self, first, count, n):
        """The `count` actions from `first` on, one for each character of a range."""
        if first + count > n:
            raise Error("tokenizer: character actions from %d are out of range" % first)
        for p in range(self._actions + 4 * first, self._actions + 4 * (first + count), 4):
            if self._s[p + 3] & 15 in (SHIFT, HANGUL, EACH):
                raise Error("tokenizer: character action at byte %d is not one's own" % p)

    def _check_action(self, i, n, bits, classes):
        s = self._s
        p = self._actions + 4 * i
        op = s[p + 3] & 15
        value = self.value(p)
        bad = op > EACH or s[p + 3] & ~bits
        if op in _OTHERS:
            bad = bad or value > 0x10FFFF or 0xD800 <= value < 0xE000
        elif op == SHIFT:
            bad = bad or value > 0x1FFFFF
        elif op == SEQUENCE:
            first = value & 0xFFFF
            count = value >> 16
            bad = bad or not count or first + count > n
            if not bad:
                for q in range(self._actions + 4 * first, self._actions + 4 * (first + count), 4):
                    bad = bad or s[q + 3] != BECOMES
        elif op == EACH:
            pass  # its range says how many they are
        else:
            bad = bad or value > classes
        if bad:
            raise Error("tokenizer: character action %d is malformed" % i)

    def _start(self, i):
        s = self._s
        p = self._at + 4 * i
        return s[p + 1] >> 3 | s[p + 2] << 5 | s[p + 3] << 13

    def _position(self, i):
        """Byte position of the action of range i."""
        p = self._at + 4 * i
        return self._actions + 4 * (self._s[p] | (self._s[p + 1] & 7) << 8)

    def value(self, p):
        s = self._s
        return s[p] | s[p + 1] << 8 | s[p + 2] << 16

    def find(self, code):
        """Byte position of the action for a code point; what it does is at [+ 3]."""
        if self._low <= code < self._high:
            return self._found
        a = 0
        b = self._n
        while b - a > 1:
            mid = (a + b) >> 1
            if self._start(mid) <= code:
                a = mid
            else:
                b = mid
        p = self._position(a)
        if self._s[p + 3] & 15 == EACH:
            return self._actions + 4 * (self.value(p) + code - self._start(a))
        self._low = self._start(a)
        self._high = self._start(b) if b < self._n else 0x110000
        self._found = p
        return p

    def one(self, code, p):
        """The one character that a code point becomes by the action at p, or -1."""
        op = self._s[p + 3] & 15
        if op in _OTHERS:
            return self.value(p)
        if op == SHIFT:
            return code + self.value(p) - 0x100000
        return -1 if op in _NOT_ONE else code

    def put(self, code, p, out):
        """Append what a code point becomes by the action at p to `out`; how many characters."""
        op = self._s[p + 3] & 15
        if op == SEQUENCE:
            first = self._actions + 4 * (self._s[p] | self._s[p + 1] << 8)
            for q in range(first, first + 4 * self._s[p + 2], 4):
                out.extend(chr(self.value(q)).encode())
            return self._s[p + 2]
        elif op == HANGUL:
            code -= 0xAC00
            out.extend(chr(0x1100 + code // 588).encode())
            out.extend(chr(0x1161 + code % 588 // 28).encode())
            code %= 28
            if not code:
                return 2
            out.extend(chr(0x11A7 + code).encode())
            return 3
        code = self.one(code, p)
        if code < 0x80:  # without garbage
            out.append(code)
        else:
            out.extend(chr(code).encode())
        return 1


class Pieces:
    """The tokens that a text may give, sorted by their bytes: 16-bit ids at byte `at`."""

    def __init__(self, tokenizer, at, count):
        self._piece = tokenizer._piece  # made once: a method is an object for each look at it
        self._tokenizer = tokenizer
        self._size = tokenizer.vocab_size
        self._s = tokenizer._s
        self._at = at
        self.count = count

    def check(self):
        s = self._s
        last = b""
        for i in range(self.count):
            token = self.token(i)
            if token >= self._size:
                raise Error("tokenizer: sorted token %d is out of range" % token)
            at = self._piece(token)
            piece = bytes(s[at : self._tokenizer._end])
            if piece <= last:
                raise Error("tokenizer: sorted token %d is out of order" % token)
            last = piece

    def token(self, i):
        p = self._at + 2 * i
        return self._s[p] | self._s[p + 1] << 8

    def ends(self, i, k):
        """Whether piece i has k bytes."""
        at = self._piece(self.token(i))
        return self._tokenizer._end - at == k

    def find(self, raw, i, j):
        """Which piece the bytes raw[i:j] are, or -1."""
        low = 0
        high = self.count
        for k in range(j - i):
            low = self.first(low, high, k, raw[i + k])
            high = self.first(low, high, k, raw[i + k] + 1)
        return low if low < high and self.ends(low, j - i) else -1

    def first(self, low, high, k, value):
        """Of pieces that share k bytes, low to high: the first whose next is >= value, or high."""
        s = self._s
        at = self._at
        piece = self._piece
        tokenizer = self._tokenizer
        while low < high:
            mid = (low + high) >> 1
            p = at + 2 * mid
            p = piece(s[p] | s[p + 1] << 8) + k
            if p < tokenizer._end and s[p] >= value:
                high = mid
            else:
                low = mid + 1
        return low
