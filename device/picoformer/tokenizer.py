"""Tokenizers: text to token ids and back, from the model file's tokenizer section.

docs/tokenizer.md defines the section. It is read in place, byte by byte: ids, code points and
offsets then stay below 2^30, where an int on a board needs no heap. The PC runs this same file.
Each type of tokenizer is a module of its own, because a model needs one.
"""

import struct

from .errors import Error

HEADER = 40  # bytes; the offsets follow
_NONE = 0xFFFFFFFF
_TEMPLATE, _ADDED = 16, 0x8000  # flags


class Base:
    """What all types share: the header, the pieces, decoding, and the template around a text.

    A type's __init__ calls this one, then `_load` with the size of its own tables.
    """

    def __init__(self, section, known, width):
        words = struct.unpack_from("<10I", section)
        _, flags, size, unk, bos, eos, a, b, c, blob = words
        if flags & ~(known | _ADDED):
            raise Error("tokenizer: flags 0x%x, this version knows 0x%x" % (flags, known))
        if not 0 < size < 65536:
            raise Error("tokenizer: %d tokens, expected 1 to 65535" % size)
        for i in (unk, bos, eos):
            if i >= size and i != _NONE:
                raise Error("tokenizer: special token %d of only %d tokens" % (i, size))
        self._s = section
        self._flags = flags
        self.vocab_size = size
        self.bos = -1 if bos == _NONE else bos
        self.eos = -1 if eos == _NONE else eos
        self.unk = -1 if unk == _NONE else unk
        self._counts = a, b, c
        # bytes of an offset
        self._width = width or (2 if blob < 65536 else 3)
        self._tables = HEADER + self._width * (size + 1)

    def _load(self, tables):
        """The pieces and the template, behind a type's own `tables` bytes of tables."""
        section = self._s
        blob = struct.unpack_from("<I", section, 36)[0]
        self._blob = self._tables + tables
        end = self._blob + blob
        total = end + (-end & 3)
        self._template = total + 8
        self._single = self._pair = 0
        if self._flags & _TEMPLATE:
            if len(section) < total + 8:
                raise Error("tokenizer: %d bytes, its template is cut" % len(section))
            self._single, self._pair = struct.unpack_from("<2I", section, total)
            total += 8 + 4 * (self._single + self._pair)
        self._marks = ()
        if self._flags & _ADDED:
            from .check_added import check

            total += check(self, total)
        if len(section) != total:
            raise Error("tokenizer: %d bytes, its counts need %d" % (len(section), total))
        for p in range(end, end + (-end & 3)):
            if section[p]:
                raise Error("tokenizer: padding at byte %d is not zero" % p)
        longest = self._check_offsets(blob)
        if self._flags & _TEMPLATE:
            self._check_template(self._template, self._single, 0)
            if self._pair:
                self._check_template(self._template + 4 * self._single, self._pair, 1)

        # Decoded text: each byte of a token, and what was pending, may turn into a 3-byte U+FFFD.
        # A view of every length, because taking a slice per token would use heap.
        self._out = bytearray(3 * longest + 3 + (self._width < 4))
        view = memoryview(self._out)
        self._views = [view[:i] for i in range(len(view) + 1)]
        self.reset()

    def _check_offsets(self, blob):
        """Offsets rise from 0 to `blob`, at most 255 at a time; returns the longest piece."""
        s = self._s
        width = self._width
        longest = last = 0
        for p in range(HEADER, self._tables, width):
            offset = s[p] | s[p + 1] << 8
            if width > 2:
                offset |= s[p + 2] << 16
            if width > 3:
                offset |= s[p + 3] << 24
            step = offset - last
            if not 0 <= step < (256 if p > HEADER else 1):
                raise Error("tokenizer: offset %d after %d" % (offset, last))
            longest = max(longest, step)
            last = offset
        if last != blob or blob >> 24:
            raise Error("tokenizer: offsets end at %d of %d, at most 2^24-1" % (last, blob))
        return longest

    def _check_template(self, at, count, pair):
        """The text is there once, and the second one in a template for pairs alone."""
        s = self._s
        seen = [0, 0, 0]
        for p in range(at, at + 4 * count, 4):
            if s[p + 3] > 2 or (s[p] | s[p + 1] << 8) >= (1 if s[p + 3] else self.vocab_size):
                raise Error("tokenizer: bad template at byte %d" % p)
            seen[s[p + 3]] += 1
        if seen[1] != 1 or seen[2] != pair:
            raise Error("tokenizer: the template does not have each text once")

    def prompt(self, text):
        """The token ids of a text that is to be continued; of none `bos`, where there is one."""
        return self.wrap(self.encode(text)) or [self.bos] * (self.bos >= 0)

    def encode(self, text, most=None):
        """The token ids of `text` (str), a list, without those that `wrap` adds.

        It may stop behind `most` of them: a long text takes seconds on a Pico.
        """
        for mark in self._marks:
            if mark in text:  # as it may have an added token
                from .tokenizer_added import encode

                return encode(self, text, most)
        return self._encode(text, most)

    def fit(self, text, positions):
        """The token ids of `text` with the special ones, cut so that they are not too many."""
        room = max(0, positions - len(self.wrap(())))
        ids = self.encode(text, room)
        return self.wrap(ids[:room] if len(ids) > room else ids)

    def wrap(self, ids, pair=None):
        """`ids` of a text, or of a pair of texts, with the special tokens the model expects."""
        return self._wrapped(ids, pair, False)

    def types(self, ids, pair=None):
        """The token type of each token that `wrap` gives."""
        return self._wrapped(ids, pair, True)

    def _wrapped(self, ids, pair, types):
        s = self._s
        out = []
        if not self._flags & _TEMPLATE:
            for part in (ids,) if pair is None else (ids, pair):
                if self.bos >= 0:
                    out.append(self.bos)
                out.extend(part)
            return [0] * len(out) if types else out
        at = self._template
        count = self._single
        if pair is not None:
            at += 4 * count
            count = self._pair
            if not count:
                raise Error("this model's tokenizer has no template for a pair of texts")
        for p in range(at, at + 4 * count, 4):
            kind = s[p + 3]
            part = pair if kind > 1 else ids
            if not kind:
                out.append(s[p + 2] if types else s[p] | s[p + 1] << 8)
            else:
                out.extend([s[p + 2]] * len(part) if types else part)
        return out

    def decode(self, token, previous):
        """The text that `token` completes, "" while its last character is incomplete.

        `previous` is the token before it: bos at the start of a text. Bytes that cannot form a
        character give U+FFFD, as Python's errors="replace" does. Uses no heap but for the str.
        """
        at = self._begin(token)
        end = self._end
        s = self._s
        # type 1 alone knows flag 1
        if previous == self.bos and self._flags & 1 and at < end and s[at] == 0x20:
            at += 1
        if self._size:
            return self._decode(at, False)
        # Most are ASCII.
        out = self._out
        n = 0
        for p in range(at, end):
            b = s[p]
            if b > 0x7F:
                return self._decode(at, False)
            out[n] = b
            n += 1
        return str(self._views[n], "utf8")

    def _begin(self, token):
        """Where the bytes of `token` start; sets where they end."""
        if not 0 <= token < self.vocab_size:
            raise Error("token %d, expected 0 to %d" % (token, self.vocab_size - 1))
        return self._piece(token)

    def _piece(self, token):
        """The same of one that is there: a lookup asks often."""
        s = self._s
        width = self._width
        blob = self._blob
        p = HEADER + width * token
        q = p + width
        at = s[p] | s[p + 1] << 8
        end = s[q] | s[q + 1] << 8
        if width > 2:
            at |= s[p + 2] << 16
            end |= s[q + 2] << 16
        self._end = blob + end
        return blob + at

    def _decode(self, at, space):
        """The text that the section's bytes from `at` to _end complete, after a space or not."""
        s = self._s
        out = self._out
        size = self._size  # bytes in out
        done = 0  # of these in complete characters
        need = self._need  # bytes that the last character still lacks
        if space:
            if need:
                need = 0
                done = self._replace(done)
            out[done] = 0x20
            size = done = done + 1
        for p in range(at, self._end):
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
        self._begun = False
        self._size = 0
        self._need = 0
        self._low = 0
        self._high = 0
