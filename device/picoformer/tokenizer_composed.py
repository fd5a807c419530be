"""Characters that become one together: pairs of them, Hangul, Unicode's normal form C."""

from .errors import Error
from .tokenizer_lookup import BECOMES, SEQUENCE


class Pairs:
    """Pairs of characters, below U+10000, and the one that each becomes, at byte `at`.

    There are two tables of them: `counts`, first | second << 16, says how many each has.
    """

    def __init__(self, section, at, counts):
        self._s = section
        self._at = at
        self._first = counts & 0xFFFF
        self._n = self._first + (counts >> 16)
        self.size = 6 * self._n  # bytes

    def check(self):
        s = self._s
        last = -1
        for p in range(self._at, self._at + 4 * self._n, 4):
            if p == self._at + 4 * self._first:
                last = -1
            key = s[p] | s[p + 1] << 8 | s[p + 2] << 16 | s[p + 3] << 24
            if key <= last:
                raise Error("tokenizer: the pair at byte %d is out of order" % p)
            last = key
        for p in range(self._at + 4 * self._n, self._at + self.size, 2):
            if s[p + 1] >> 3 == 27:
                raise Error("tokenizer: the pair's character at byte %d is a surrogate" % p)

    def find(self, a, b, second=False):
        """What two characters become by the first or the second table, or 0."""
        s = self._s
        low = self._first if second else 0
        high = self._n if second else self._first
        while low < high:
            mid = (low + high) >> 1
            p = self._at + 4 * mid
            d = (s[p + 2] | s[p + 3] << 8) - a or (s[p] | s[p + 1] << 8) - b
            if d < 0:
                low = mid + 1
            elif d:
                high = mid
            else:
                p = self._at + 4 * self._n + 2 * mid
                return s[p] | s[p + 1] << 8
        return 0

    def parts(self, code, second=False):
        """The two characters that become this one, or None."""
        s = self._s
        for i in range(self._first if second else 0, self._n if second else self._first):
            p = self._at + 4 * self._n + 2 * i
            if s[p] | s[p + 1] << 8 == code:
                p = self._at + 4 * i
                return s[p + 2] | s[p + 3] << 8, s[p] | s[p + 1] << 8


def syllable(a, b):
    """The Hangul syllable of two characters, or 0."""
    if 0x1100 <= a < 0x1113 and 0x1161 <= b < 0x1176:
        return 0xAC00 + 588 * (a - 0x1100) + 28 * (b - 0x1161)
    if 0xAC00 <= a <= 0xD7A3 and 0x11A8 <= b < 0x11C3 and not (a - 0xAC00) % 28:
        return a + b - 0x11A7
    return 0


def normal(text, characters, pairs):
    """`text` in Unicode's normal form C.

    characters: what they become, and their combining classes.
    """
    s = characters._s
    done = []
    codes = []  # a character and the marks behind it, in their order
    marks = []  # the class of each
    for c in text:
        p = characters.find(ord(c))
        if s[p + 3] == BECOMES:
            parts = (characters.value(p),)
        elif s[p + 3] == SEQUENCE:
            # one of them each, wherever they begin
            c = bytearray()
            characters.put(0, p, c)
            parts = [ord(c) for c in c.decode()]
        else:
            parts = (ord(c),)
        for code in parts:
            k = characters.value(characters.find(code))
            if not k:
                _join(pairs, codes, marks)
                both = _both(pairs, codes[0], code) if len(codes) == 1 else 0
                if both:
                    codes[0] = both
                    continue
                done.extend(codes)
                codes = [code]
                marks = [0]
                continue
            if marks and not marks[0]:
                _part(characters, pairs, codes, marks)
            i = len(codes)
            while i and marks[i - 1] > k:
                i -= 1
            codes.insert(i, code)
            marks.insert(i, k)
    _join(pairs, codes, marks)
    done.extend(codes)
    return "".join([chr(code) for code in done])


def _part(characters, pairs, codes, marks):
    """Take the marks out of the first character."""
    while codes[0] > 0x7F and codes[0] >> 17 == 0:
        plane = codes[0] >> 16
        parts = pairs.parts(codes[0] & 0xFFFF, plane)
        if not parts:
            return
        b = parts[1] | plane << 16
        k = characters.value(characters.find(b))
        if not k:
            return
        codes[0] = parts[0] | plane << 16
        codes.insert(1, b)
        marks.insert(1, k)


def _join(pairs, codes, marks):
    """Put marks into the first character, where nothing of their class is in between."""
    i = 1
    while i < len(codes) and not marks[0]:
        both = 0 if i > 1 and marks[i - 1] == marks[i] else _both(pairs, codes[0], codes[i])
        if both:
            codes[0] = both
            codes.pop(i)
            marks.pop(i)
        else:
            i += 1


def _both(pairs, a, b):
    """What two characters become together, or 0."""
    plane = a >> 16
    if plane > 1 or b >> 16 != plane:
        return 0
    both = pairs.find(a & 0xFFFF, b & 0xFFFF, plane)
    return both | plane << 16 if both else syllable(a, b)
