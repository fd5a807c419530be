"""The memory that a program works on: its regions, how many words they take, reading."""

import gc
import sys
from array import array
from binascii import crc32

from .errors import Error

# Bytes behind which garbage is collected; the PC's Python has no such thing.
threshold = getattr(gc, "threshold", int)
# What only loading needs.
LOADING = (
    "binder", "check", "copies", "loader", "modelfile", "opening", "program", "reader", "regions",
    "series",
)  # fmt: skip
EARLY, LATER = 4096, 32768
TILE = 1024  # words of the tile buffer, or one row group if that is longer

ARENA, TABLES, RUNS, WEIGHTS, CACHE = 0, 1, 2, 3, 4  # regions; layer i's cache is CACHE + i
HEADER = 16  # words in front of the arena's frames
HEAD = 24  # words in front of the program's end tokens


def arena_words(words, context):
    """Words of the arena: header, frames, a scratch for scores, and two spare words.

    The logits lie behind the first frame: the head needs no other. Kernels load one element ahead,
    and make scores by fours: what they find or leave in the spare words is not used.
    """
    stride = words[2]
    return max(scratch(words, context) + context, HEADER + stride + ((words[3] + 3) & ~3)) + 2


def scratch(words, context):
    """Where in the arena the scores lie: behind the frames of a group."""
    return HEADER + min(words[1], context) * words[2]


def caches(words):
    """Where in the program what it says of its caches begins: behind its end tokens."""
    return HEAD + words[8]


def cache_words(words, layer, context):
    """Words of one layer's cache of keys, values and scales; keys may lie four to a word."""
    return words[caches(words) + layer] * ((context + 3) >> 2) << 1


def pair_words(heads, size, key_bits, value_bits):
    """Words of a cache for two positions."""
    keys = heads * size * (16 if key_bits > 8 else 8) + 15 >> 4
    return keys + 2 * heads * ((size * value_bits + 31 >> 5) + 1)


def array_of(n):
    """n words. It grows where it lies: array("i", bytes(4 * n)) would take the memory twice."""
    # Small, as it leaves a hole in front; not for what would grow too often.
    some = memoryview(array("i", bytes(256 if n < 32768 else 4096)))
    out = array("i", some[: n % len(some)])
    while len(out) < n:
        out.extend(some)
    return out


def _whole(n):
    """n words at once: one that grows may meet the end of an area of the heap."""
    out = array("i", range(n))
    for i in range(n):
        out[i] = 0
    return out


def sizes(words, context, weights):
    """Words of the large blocks: `weights` of those in RAM, the arena, each layer's cache."""
    out = [weights, arena_words(words, context)]
    for i in range(words[11]):
        out.append(cache_words(words, i, context))
    return out


def blocks(sizes, native, others=0):
    """Blocks of so many words, None for 0: of `sizes`.

    Where the heap is in areas, there are others: the program's, the tables', the tokenizer's and
    the tile's; the largest come first then, as each has to lie in one area. Bytes are enough for
    a tokenizer, and for what only native kernels read.
    """
    n = len(sizes) - others
    out = [None] * len(sizes)
    order = [0] + list(range(2, n)) + [1]
    if others:
        order = sorted(range(len(sizes)), key=lambda k: -sizes[k])
    for k in order:
        size = sizes[k]
        if size:
            if k == n + 2 or native and k != 1 and k < n:
                out[k] = bytearray(4 * size)
            else:
                out[k] = _whole(size) if others else array_of(size)
    return out


def read(f, section, name, into=None):
    """Read a section of a file into a buffer (or only check it, block by block), by its CRC32."""
    offset, n, crc = section
    f.seek(offset)
    seen = 0
    if into is not None:
        got = f.readinto(into) if n else 0
        seen = crc32(into)
    else:
        block = bytearray(min(n, 1024))  # there may be no longer piece
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
            "model file is corrupt: checksum of its %s differs; convert or copy it again" % name
        )
    return into


def reread(f, section, tokens):
    """Collect garbage while a tokenizer's section is not there, and read it again.

    Among its bytes are some that look like an address: of what was dropped, they keep a part.
    """
    none = bytes(256)
    view = memoryview(tokens)
    for i in range(0, len(tokens), 256):
        view[i : i + 256] = none[: len(tokens) - i]
    gc.collect()
    try:
        read(f, section, "tokenizer", tokens)
    except Error:
        raise Error("the model file has changed while it was read: load it again")


def signed(n):
    """The word of 32 bits that a distance is."""
    n &= 0xFFFFFFFF
    return n - 0x100000000 if n & 0x80000000 else n


def address(words):
    from uctypes import addressof

    return addressof(words)


def code(function):
    """Where the machine code of a function of assembler begins, as a branch has it."""
    from uctypes import bytearray_at

    return int.from_bytes(bytearray_at(id(function) + 8, 4), "little") | 1


def forget(*names):
    """Drop modules of this package that only loading needs."""
    package = sys.modules[__name__.rpartition(".")[0]]
    for name in names:
        sys.modules.pop(package.__name__ + "." + name, None)
        if hasattr(package, name):
            delattr(package, name)
