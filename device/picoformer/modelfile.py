"""What is done with a model file before it is bound, and is dropped then.

Its frame, of which docs/format.md is the definition: header, sections, checksums. Which kernels
run it, and where what is large of it comes to lie.
"""

import gc
import os
import struct
import sys
from array import array
from binascii import crc32

from . import regions
from .errors import Error, free

MAGIC = b"\x89PFT"
VERSION, OLD = 3, 2  # what is written, and what is read as well
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


def _miscompiled(arch):
    """Whether viper would come from source here, which MicroPython compiles wrongly for Xtensa
    before 1.26: without an error, and the kernels crash the board.
    """
    if arch not in (9, 10) or sys.implementation.version >= (1, 26):
        return False
    folder = sys.modules[__name__.rpartition(".")[0]].__path__  # an ESP8266 has no __file__
    try:
        # Beside an .mpy of that name, it is the one that would be imported.
        os.stat(folder + "/kernels_viper.py")
        return True
    except OSError:
        return folder[:7] == ".frozen"  # into a firmware of the same fault


def family(name):
    """The kernels `name`, or the fastest family that this port can compile; a family is one."""
    if hasattr(name, "BIAS"):
        return name
    # The native emitter's architecture: 4 to 8 are ARMv6-M to ARMv7E-M, 9 and 10 are Xtensa, 11
    # is RISC-V.
    arch = getattr(sys.implementation, "_mpy", 0) >> 10 & 15
    wrong = _miscompiled(arch)
    families = "dsp", "thumb", "viper", "rv32"
    able = families[2 - (3 < arch < 9) - (5 < arch < 9) : 3]
    for kind in ("rv32", "viper") if arch == 11 else able:
        if name in (None, kind) and not wrong:
            try:
                return __import__("kernels_" + kind, globals(), None, families, 1)
            except (AttributeError, ImportError, SyntaxError, ValueError):
                gc.collect()  # no emitter, no such core, or an .mpy of another
            except MemoryError:
                # Not the next one, six times slower, without a word.
                raise MemoryError("no room for %s kernels, which need less as .mpy files" % kind)
    if wrong and name == "viper":
        raise Error(
            "viper from .py crashes this board before MicroPython 1.26: put the .mpy files on it "
            "(picoformer deploy), or use kernels='portable'"
        )
    if name in families:
        can = family(None).__name__.rpartition("_")[2]
        raise Error("this port cannot run %s kernels; use kernels=%r" % (name, can))
    if name not in (None, "portable"):
        raise Error("no kernels %r: there are 'dsp', 'thumb', 'rv32', 'viper', 'portable'" % name)
    from . import kernels_portable as portable

    return portable


def _area(size):
    """Let the heap grow by one area of `size` bytes, or of as many as can be had, if it grows.

    Returns whether so many could be had. Collecting is off behind this: the first one would give
    the area back.
    """
    import io

    gc.disable()
    most = size
    while size:
        try:
            # Its buffer is free when it is closed, without a collection.
            io.BytesIO(size).close()
            break
        except MemoryError:
            size -= (size >> 6) + 1
    return size == most


def early(f, parts, context, weights, native, tile):
    """All blocks of a model that are not small, where the heap grows for them.

    An ESP32's grows by areas, when it is full: as large as what did not fit, or as all before.
    What is large has to come before what is small has filled the first of them.

    tile: words of the buffer that weights are swept through. Returns (sizes, blocks, (program,
    tables, tokenizer, tile)), the first two as `_allocate` has them, of a program that is not
    proved yet; () where the heap did not grow, None where there is no room.
    """
    if not free():
        return ()
    f.seek(4)
    old = 10 * (f.read(1) == b"\x02")
    f.seek(parts[1][0])
    words = array("i", f.read(min(parts[1][1], 400)))
    if old:  # as program.upgrade does
        words = words[:16] + array("i", bytes(4 * old)) + words[16:]
        words[8] = 2
    total = free() + gc.mem_alloc()
    on = gc.isenabled()
    try:
        need = regions.sizes(words, (context or words[0]) + 1 & ~1, weights)
        n = len(need)
        need += (parts[1][1] >> 2) + old, parts[2][1] >> 2, parts[3][1] >> 2, tile
        if min(need) < 0:
            return ()
        if 4 * max(need) > free():
            return None
        if _area(4 * sum(need) + 32 * len(need)) and free() + gc.mem_alloc() == total:
            return ()
        held = regions.blocks(need, native, 4)
    except MemoryError:
        return None
    except (ArithmeticError, IndexError, TypeError, ValueError):
        return ()  # Error later on
    finally:
        if on:
            gc.enable()
    return (need[:n], held[:n], held[n:]) if free() + gc.mem_alloc() != total else ()
