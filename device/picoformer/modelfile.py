"""The model file's frame: header, sections, checksums. docs/format.md is the definition."""

import gc
import os
import struct
from array import array
from binascii import crc32

from .errors import Error

MAGIC = b"\x89PFT"
VERSION, OLD = 3, 2  # what is written, and what is read as well
META, PROGRAM, TABLES, TOKENIZER, WEIGHTS = 1, 2, 3, 4, 5
_NAMES = ("metadata", "program", "tables", "tokenizer", "weights")


def sections(f, cut=False):
    """Read and check the header of an open model file.

    cut: whether it may end where its weights would begin. Returns [(offset, bytes, crc)] of the
    five sections, in file order. Raises Error.
    """
    f.seek(0, 2)
    size = f.tell()
    f.seek(0)
    head = f.read(100)
    if head[:4] != MAGIC:
        raise Error(
            "not a picoformer model: it begins with %r, expected %r%s"
            % (head[:4], MAGIC, "" if head else "; the file is empty")
        )
    if len(head) < 100:
        raise Error("model file is truncated: %d bytes, its header alone has 100" % size)
    version, total, count = struct.unpack_from("<III", head, 4)
    if not OLD <= version <= VERSION:
        raise Error(
            "model file has format version %d, this picoformer reads %d and %d: %s"
            % (
                version,
                OLD,
                VERSION,
                "convert it again"
                if version < OLD
                else "install a newer one (on a board: picoformer update)",
            )
        )
    if crc32(head[:96]) & 0xFFFFFFFF != struct.unpack_from("<I", head, 96)[0]:
        raise Error("model file is corrupt: header checksum differs; convert or copy it again")
    if size == struct.unpack_from("<I", head, 84)[0] and size != total:
        if not cut:
            raise Error(
                "model file is without its weights (%d of %d bytes): they come over the serial "
                "link, or deploy it with them" % (size, total)
            )
    elif total != size:
        raise Error(
            "model file is truncated or too long: %d bytes, its header says %d; "
            "convert or copy it again" % (size, total)
        )
    if count != 5:
        raise Error("model file is corrupt: %d sections, expected 5" % count)
    out = []
    end = 100
    for i in range(5):
        kind, offset, n, crc = struct.unpack_from("<IIII", head, 16 + 16 * i)
        if kind != i + 1 or offset != end or n & 3 or n > total - end:
            raise Error(
                "model file is corrupt: section %d (%s) has kind %d, offset %d, %d bytes"
                % (i + 1, _NAMES[i], kind, offset, n)
            )
        end += n
        out.append((offset, n, crc))
    if end != total:
        raise Error("model file is corrupt: %d bytes behind the last section" % (total - end))
    return out


def read(f, section, kind, into=None):
    """Read a section into a buffer (or only check it, block by block) and verify its CRC32."""
    offset, n, crc = section
    f.seek(offset)
    seen = 0
    if into is not None:
        got = f.readinto(into) if n else 0
        seen = crc32(into)
    else:
        block = bytearray(min(n, 4096))
        got = 0
        while got < n:
            k = f.readinto(block)
            if not k:
                break
            if k > n - got:
                k = n - got
            seen = crc32(memoryview(block)[:k], seen)
            got += k
    if got != n or seen & 0xFFFFFFFF != crc:
        raise Error(
            "model file is corrupt: checksum of its %s differs; convert or copy it again"
            % _NAMES[kind - 1]
        )
    return into


def mapped(f, path, section, asked, native):
    """The file `f`, open at `path`, as flash.Mapped if its last section is in memory, else None.

    asked: by the user, to whom an Error says why it is not. native: whether kernels read it there.
    """
    size = section[0] + section[1]
    view = found = None
    why = "portable kernels read none"
    try:
        if native:
            view = memoryview(f)
            path = None
    except TypeError:
        why = "this MicroPython shows no file as memory (a Pico's does since 1.25)"
        try:
            import rp2

            view = memoryview(rp2.Flash())
            if path[:1] != "/":
                path = os.getcwd() + "/" + path
        except (ImportError, AttributeError, TypeError):
            pass
    if view:
        from . import flash

        seen = []
        at = flash.pieces(view, path, size, seen) if path else [0, size]
        why = "the file is not in the board's own littlefs"
        if at:
            # What is kept is made anew behind all that was only needed to find it.
            gc.collect()
            found = flash.Mapped(view, path, size, array("I", at), seen)
            whole = found.check(section)
            if not whole:
                found = None
                why = "its place holds something else"
                if whole is None:
                    why = "the file lies unaligned in its ROMFS, which picoformer romfs mends"
                    print("picoformer:", why)
    if asked and not found:
        raise Error("no weights in flash: %s; leave weights= out" % why)
    return found
