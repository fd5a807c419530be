"""What is left of the heap, for messages."""

import gc


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
