"""A signal's numbers, where the kernel that cuts them into windows finds them."""

from array import array

from .errors import Error


def numbers(x, one, where):
    """(x as array('h') or what it was, a buffer; how many numbers of 16 bits it holds).

    one, where: what a number is called, and what they are of. Raises Error.
    """
    if isinstance(x, (list, tuple)):
        if x and not -32768 <= min(x) <= max(x) <= 32767:
            raise Error("%ss from %d to %d, not of 16 bits" % (one, min(x), max(x)))
        x = array("h", x)
    n = len(x)
    size = len(bytes(x[:1]))
    if size == 1:
        if n & 1:
            raise Error("%d bytes%s, expected two for each %s" % (n, where, one))
        n >>= 1
    elif n and size != 2:
        raise Error("%ss of %d bytes, expected array('h')" % (one, size))
    return x, n


def place(model, x):
    """Tell a model's first step where a signal is; returns (what must stay there, tokens).

    x: rows of a number for each channel, array('h') or any buffer of such; of bytes two are a
    number, the lower one first. They are not copied, unless they lie where the kernel cannot
    read them. Raises Error.
    """
    record = model._windows
    length, channels = model.frames
    x, n = numbers(x, "number", "")
    rows = n // channels
    if n % channels or not 0 < rows <= length:
        raise Error(
            "the signal has %d numbers, expected 1 to %d rows of %d" % (n, length, channels)
        )
    # As many windows as fit, side by side and one behind the other.
    down = (rows + record[9] + record[10] - record[5]) // record[7] + 1
    count = ((channels - record[6]) // record[8] + 1) * down
    if count < 1:
        least = record[5] - record[9] - record[10]
        raise Error("the signal has %d rows, expected %d to %d" % (rows, least, length))
    count += record[11]
    if count > model.context:
        raise Error("the signal has %d windows, the context is %d" % (count, model.context))
    if model.kernels == "portable":
        # Bytes, or numbers without a sign, as the other kernels read them.
        model._space[-1] = x = array("h", bytes(x))
    else:
        from uctypes import addressof

        if addressof(x) & 1:
            x = array("h", bytes(x))
        home = addressof(model._arena)
        d = addressof(x) - home + 0x20000000
        if (home >> 32 or addressof(x) >> 32) and not 0 <= d < 0x80000000:
            x = array("h", bytes(x))  # in the same heap
            d = addressof(x) - home + 0x20000000
            if not 0 <= d < 0x80000000:
                raise Error("the heap is too scattered for 32-bit operands")
        d &= 0xFFFFFFFF
        record[1] = d - (d >> 31 << 32)
    record[2] = rows
    return x, bytes(count)
