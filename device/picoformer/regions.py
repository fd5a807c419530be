"""The memory that a program works on: its regions, and how many words they take."""

import gc
import sys
from array import array

# Bytes behind which garbage is collected; the PC's Python has no such thing.
threshold = getattr(gc, "threshold", int)
LOADING = "binder", "check", "loader", "modelfile", "program", "regions"  # what only that needs
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
    """n words, 0, as one block from the start: one that grows may meet the end of an area of the
    heap, and array("i", bytes(4 * n)) would take the memory twice.
    """
    out = array("i", range(n))
    view = memoryview(out)
    none = bytes(min(4 * n, 1024))
    some = memoryview(array("i", none))
    for i in range(0, n, 256):
        view[i : i + 256] = some[: n - i]
    return out


def sizes(words, context, weights):
    """Words of the large blocks: `weights` of those in RAM, the arena, each layer's cache."""
    out = [weights, arena_words(words, context)]
    for i in range(words[11]):
        out.append(cache_words(words, i, context))
    return out


def blocks(sizes, native, others=0):
    """Blocks of so many words, None for 0.

    The largest come first: where the heap is in areas, each has to lie in one.

    The sizes are those of `sizes` and, where there are others, the program's, the tables', the
    tokenizer's and the tile's. Bytes are enough for a tokenizer, and for what only native kernels
    read.
    """
    out = [None] * len(sizes)
    n = len(sizes) - others
    for k in sorted(range(len(sizes)), key=lambda k: -sizes[k]):
        if sizes[k]:
            bare = k == n + 2 or native and k != 1 and k < n
            out[k] = bytearray(4 * sizes[k]) if bare else array_of(sizes[k])
    return out


def forget(*names):
    """Drop modules of this package that only loading needs."""
    package = sys.modules[__name__.rpartition(".")[0]]
    for name in names:
        sys.modules.pop(package.__name__ + "." + name, None)
        if hasattr(package, name):
            delattr(package, name)
