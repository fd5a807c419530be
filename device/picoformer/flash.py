"""Where a file lies in memory-mapped flash, so that its weights are used in place.

Boards with a ROMFS give out its files as memory. Boards of the rp2 port see the flash that holds
their littlefs as memory (rp2.Flash() is a buffer, firmware 1.25 and newer). There a file is not
contiguous, and a block that merely holds the right bytes may be a freed one: so the blocks are
found as littlefs finds them, from the directory entry along its own pointers, and checksums are
compared. Whatever is unclear gives None: the file is then read as a file. The on-disk format is
littlefs's SPEC.md (2.x).
"""

import gc
import os
import struct
from array import array
from binascii import crc32

_BLOCK = 4096


def _log(view, block):
    """(revision, {id order} entries, next pair) of one metadata block, or None if it is bad.

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
    return found


def _entry(view, pair, name, seen):
    """(type, data) of `name` in the directory that begins at a pair of blocks, or None.

    seen gets the blocks that were read.
    """
    for _ in range(256):
        seen.extend(pair)
        logs = [log for log in (_log(view, b) for b in pair) if log]
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


def pieces(view, path, size, seen):
    """Offsets and bytes, in turn, of the pieces of a file in its littlefs, or None.

    seen, a list, gets the blocks of directories that led there.
    """
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
    """A file of `size` bytes in memory: `view`, and where its pieces lie there."""

    def __init__(self, view, path, size, at):
        self.view = view
        self._path = path
        self._size = size
        self._at = at
        self._head = self._crc(0, min(size, 100))
        self._led = ()  # blocks of directories that lead here, and their checksum
        self._sum = 0

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
        """Whether a section (offset, bytes, CRC32) lies here, whole and aligned to words."""
        from uctypes import addressof

        return (
            not addressof(self.view) & 3
            and self._crc(section[0], section[1]) & 0xFFFFFFFF == section[2]
            and not any((at | k) & 3 for at, k in self.section(section[0], section[1]))
        )

    def moved(self):
        """Whether the file is another one now, or lies elsewhere: its blocks may be reused."""
        if not self._path:
            return False
        # While its directories are as they were, so is it: littlefs writes nothing over a file.
        if self._led and self._directories() == self._sum:
            return False
        self._led = []
        now = pieces(self.view, self._path, self._size, self._led)
        if now != self._at or self._crc(0, min(self._size, 100)) != self._head:
            self._led = ()
            return True
        self._sum = self._directories()
        return False

    def _directories(self):
        crc = 0
        for block in self._led:
            crc = crc32(self.view[block * _BLOCK : (block + 1) * _BLOCK], crc)
        return crc


def find(f, path, section):
    """The file `f`, open at `path`, as a Mapped if its last section is in memory, else None."""
    size = section[0] + section[1]
    view = None
    try:
        view = memoryview(f)
        path = None
    except TypeError:
        try:
            import rp2

            view = memoryview(rp2.Flash())
            if path[:1] != "/":
                path = os.getcwd() + "/" + path
        except (ImportError, AttributeError, TypeError):
            return None
    at = pieces(view, path, size, []) if path else [0, size]
    if not at:
        return None
    # What is kept is made anew behind all that was only needed to find it.
    gc.collect()
    mapped = Mapped(view, path, size, array("I", at))
    return mapped if mapped.check(section) else None
