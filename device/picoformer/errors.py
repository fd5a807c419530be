"""The one exception of the package, and what is left of the heap, for its messages."""

import gc


class Error(Exception):
    """A file, an argument or a board is not what it must be.

    The message says what was seen, what was expected and what to do.
    """


def free():
    """Bytes that are free in all. The PC's Python cannot tell: 0."""
    return getattr(gc, "mem_free", int)()


def largest():
    """Bytes of the largest block that the heap can give, to about 3 %."""
    gc.collect()
    low = 0
    high = free()
    while high - low > max(512, high >> 5):
        size = (low + high) >> 1
        try:
            bytearray(size)
            low = size
        except MemoryError:
            high = size
        gc.collect()
    return low
