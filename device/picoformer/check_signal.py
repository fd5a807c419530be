"""The proof of a signal's windows, and of a sound's tables. It is dropped with `check`."""

from .errors import Error
from .program import POOLED
from .regions import TABLES


def check_windows(steps, record):
    """Words of a window, of a step that `steps`, check's, have come to. Raises Error.

    record: the step's fields.
    """
    length, channels, height, width = record[3:7]
    before, behind = record[9:11]
    table = record[12]
    words, need = steps.words, steps.need
    first = steps.step == 0 and words[12] in POOLED and not words[14]
    # A region more is the input's.
    need(first and words[11] < 60, "windows where no signal is read")
    inside = width <= channels and max(before, behind) < height <= length + before + behind
    need(inside, "windows of %d x %d do not fit" % (height, width))
    at = steps.table(table, 3 * channels, "scale of channels")
    # So a product of 16 bits and the sum stay in 32.
    steps.contents(at, channels, 0, 32767, "factor")
    steps.contents(at + channels, channels, -1 << 30, 1 << 30, "offset")
    steps.contents(at + 2 * channels, channels, 0, 30, "shift")
    if words[17]:
        _sound(words[17], steps.tables, channels)
    return height * width


def _sound(operand, tables, channels):
    """Raise Error where the front end of a program breaks docs/format.md."""

    def need(condition, what):
        if not condition:
            raise Error("bad program: sound: " + what)

    at = operand >> 6
    room = len(tables) - at
    need(operand & 63 == TABLES and room > 8 and at > -1, "it is not in the tables")
    rate, window, size, hop, bands, first, points = tables[at : at + 7]
    need(size in (128, 256, 512, 1024) and 2 <= window <= size, "%d of %d points" % (window, size))
    need(window & 1 == 0 and 0 < hop <= window, "windows of %d, %d apart" % (window, hop))
    need(0 < rate <= 48000, "%d Hz" % rate)
    need(bands == channels and 0 < bands <= 128, "%d bands" % bands)
    need(min(first, points) > 0 and first + points <= size >> 1, "its points")
    words = 8 + (window >> 1) + (size >> 1) + bands + 1 + (points + 1 >> 1)
    need(words <= room, "it is outside the tables")

    def half(i):
        return tables[i >> 1] >> ((i & 1) << 4) & 0xFFFF

    at += 8
    for i in range(2 * at, 2 * at + window):
        need(half(i) < 32768, "weight of a sample")
    at += window >> 1
    for i in range(2 * at, 2 * at + size, 2):
        cos, sin = [(half(k) ^ 0x8000) - 0x8000 for k in (i, i + 1)]
        # Together no longer than 1, or stages would grow beyond 32 bits.
        need(max(abs(cos), abs(sin)) <= 8192 and cos * cos + sin * sin <= 8193 * 8193, "cosine")
    at += size >> 1
    i = 2 * (at + bands + 1)
    end = i + points
    rises = 0
    for s in range(bands + 1):
        n = tables[at + s]
        need(0 <= n <= end - i, "points of a band")
        total = 0
        for k in range(i, i + n):
            need(half(k) <= 256, "weight of a point")
            total += half(k)
        i += n
        # What rises to one peak falls from the one before.
        need(rises + 256 * n - total <= 16384, "weights of a band")
        rises = total
    need(i == end, "points of no band")
