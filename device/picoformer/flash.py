"""Where a file lies in memory-mapped flash, so that its weights are used in place.

Boards with a ROMFS give out its files as memory. Boards of the rp2 port see the flash that holds
their littlefs as memory (rp2.Flash() is a buffer, firmware 1.25 and newer). There a file is not
contiguous, and a block that merely holds the right bytes may be a freed one: so the blocks are
found as littlefs finds them, from the directory entry along its own pointers, and checksums are
compared. Whatever is unclear gives None: the file is then read as a file. The on-disk format is
littlefs's SPEC.md (2.x).
"""

import struct
from array import array
from binascii import crc32

_BLOCK = 4096


def _log(view, block):
    """(revision, {id order} entries, next pair, end) of a metadata block, or None if it is bad.

    An entry is [name, type, data] and the position in the list is its id.
    """
    base = block * _BLOCK
    if base + _BLOCK > len(view):
        return None
    found = None
    entries = []
    tail = None
    start = base
    at = base + 4
    before = 0xFFFFFFFF
    while at + 4 <= base + _BLOCK:
        tag = struct.unpack_from(">I", view, at)[0] ^ before
        if tag >> 31:
            break
        before = tag
        kind = tag >> 20 & 0x7FF
        i = tag >> 10 & 0x3FF
        n = tag & 0x3FF
        if n == 0x3FF:
            n = 0
        if at + 4 + n > base + _BLOCK or n < (4 if kind & 0x780 == 0x500 else 0):
            break
        data = view[at + 4 : at + 4 + n]
        if kind & 0x780 == 0x500:
            # A checksum ends a commit; only what is behind a good one counts.
            if crc32(view[start : at + 4]) ^ 0xFFFFFFFF != struct.unpack_from("<I", data)[0]:
                break
            found = (struct.unpack_from("<I", view, base)[0], [list(e) for e in entries], tail)
            before ^= (kind & 1) << 31
            start = at + 4 + n
        elif kind == 0x401:
            entries.insert(i, [None, 0, None])
        elif kind == 0x4FF:
            entries.pop(i)
        elif kind >> 8 == 0 or kind >> 8 == 2:
            while len(entries) <= i:
                entries.append([None, 0, None])
            if kind >> 8 == 0:
                entries[i][0] = bytes(data)
            else:
                entries[i][1] = kind
                entries[i][2] = bytes(data)
        elif kind == 0x601 and n == 8:
            tail = struct.unpack("<II", data)
        elif kind == 0x600:
            tail = None
        at += 4 + n
    return found and found + (at,)


def _entry(view, pair, name, seen):
    """(type, data) of `name` in the directory that begins at a pair of blocks, or None."""
    for _ in range(256):
        logs = [log for log in (_log(view, b) for b in pair) if log]
        # A block that is written to has another revision, or more behind its end.
        seen += [b * _BLOCK for b in pair] + [log[3] for log in logs if log[3] & 4095]
        if not logs:
            return None
        log = logs[0]
        # Revisions wrap around: the newer one is less than half the range ahead.
        if len(logs) == 2 and (logs[1][0] - log[0]) & 0xFFFFFFFF < 0x80000000:
            log = logs[1]
        for entry in log[1]:
            if entry[0] == name:
                return entry[1], entry[2]
        if log[2] is None:
            return None
        pair = log[2]
    return None


def pieces(view, path, size, seen=None):
    """Offsets and bytes, in turn, of the pieces of a file in its littlefs, or None.

    The list `seen` gets the offsets of words one of which changes whenever the file may.
    """
    seen = [] if seen is None else seen
    try:
        kind, data = 0x200, b"\0\0\0\0\1\0\0\0"
        for name in path.encode().split(b"/"):
            if name and name != b".":
                if kind != 0x200 or len(data) != 8:
                    return None
                kind, data = _entry(view, struct.unpack("<II", data), name, seen)
        if kind != 0x202 or len(data) != 8:
            return None
        head, length = struct.unpack("<II", data)
        if length != size:
            return None
        # The list is linked backwards; block n begins with ctz(n) + 1 pointers, the first to n-1.
        heads = []
        n = left = 0
        while left < size:
            skip = 0
            if n:
                skip = 4
                while not n >> (skip >> 2) - 1 & 1:
                    skip += 4
            heads.append(skip)
            left += _BLOCK - skip
            n += 1
        out = []
        left = size - left
        for skip in reversed(heads):
            at = head * _BLOCK
            if at + _BLOCK > len(view):
                return None
            # Backwards, like the list.
            out.append(_BLOCK - skip + left)
            out.append(at + skip)
            left = 0
            if skip:
                head = struct.unpack_from("<I", view, at)[0]
        out.reverse()
        return array("I", out)
    except (TypeError, ValueError, IndexError):
        return None


class Mapped:
    """A file of `size` bytes in memory: `view`, and where its pieces lie there.

    seen: as `pieces` has it.
    """

    def __init__(self, view, path, size, at, seen=()):
        self.view = view
        self._path = path
        self._size = size
        self._at = at
        self._head = self._crc(0, min(size, 100))
        self._mark(seen)

    def _mark(self, seen):
        self._seen = array("I", seen)
        self._words = b"".join([bytes(self.view[i : i + 4]) for i in seen])

    def section(self, offset, n):
        """[(offset in the view, bytes)] of a part of the file."""
        out = []
        for i in range(0, len(self._at), 2):
            at = self._at[i]
            k = self._at[i + 1]
            if offset < k and n:
                k = min(n, k - offset)
                out.append((at + offset, k))
                n -= k
                offset = 0
            else:
                offset -= min(offset, k)
        return out

    def _crc(self, offset, n):
        crc = 0
        for at, k in self.section(offset, n):
            crc = crc32(self.view[at : at + k], crc)
        return crc

    def check(self, section):
        """Whether a section (offset, bytes, CRC32) lies here, whole; None where not in words."""
        from uctypes import addressof

        for at, k in self.section(section[0], section[1]):
            if (addressof(self.view) | at | k) & 3:
                return None
        return self._crc(section[0], section[1]) & 0xFFFFFFFF == section[2]

    def moved(self):
        """Whether the file is another one now, or lies elsewhere: its blocks may be reused."""
        view = self.view
        words = self._words
        k = 0
        for i in self._seen:
            if view[i : i + 4] != words[k : k + 4]:
                break
            k += 4
        else:
            if k or not self._path:
                return False
        seen = []
        now = pieces(view, self._path, self._size, seen)
        if now != self._at or self._crc(0, min(self._size, 100)) != self._head:
            return True
        self._mark(seen)
        return False
