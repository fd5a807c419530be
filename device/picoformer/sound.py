"""Rows of log-mel energies, which a model reads, of sound as it comes."""

from array import array

from .errors import Error
from .frames import numbers

SPARE = 8  # hops of samples that are kept beside a window


def sizes(table, length):
    """How many words Features has to work in, samples it keeps, and numbers of rows.

    table: of the front end; length: rows that the model reads.
    """
    _, window, size, hop, bands = table[:5]
    # Behind the samples of a row room for more of them; what is left goes to the front. Each row
    # is there twice, so that the newest ones lie in one piece.
    return 4 + 2 * size, window + SPARE * hop, 2 * length * bands


class Features:
    """Turns sound into the rows that a model reads; `Model.features` makes one.

    model: it reads sound. lock: a new one, which whoever writes has.

    rate: samples a second. window: samples of a row. hop: samples from one row to the next.
    bands: numbers of a row. length: rows that the model reads. rows: how many were made so far,
    modulo 2**29.
    """

    # The kernel has no bounds checks: whenever Ctrl-C comes, _begin, _end and _slot have to stay
    # inside their arrays, and what may come between two steps of `write` must not write as well.

    def __init__(self, model, lock):
        self._lock = lock
        self._release = bool, lock.release
        self._table = table = model.sound
        self.rate, self.window, _, self.hop, self.bands = table[:5]
        self.length = model.frames[0]
        if model.kernels == "portable":
            from .sound_portable import logmel
        elif model.kernels in ("thumb", "dsp"):
            from .kernels_thumb_sound import logmel
        else:
            from .kernels_sound import logmel
        self._logmel = logmel
        work, samples, rows = sizes(table, self.length)
        self._work = array("i", bytes(4 * work))
        self._samples = array("h", bytes(2 * samples))
        self._view = memoryview(self._samples)
        self._out = array("h", bytes(2 * rows))
        self.reset()

    def reset(self):
        """Forget all samples and rows."""
        mine = self._lock.acquire(0)  # as Model does
        try:
            if not mine:
                self._busy()
            self.rows = self._there = self._slot = 0
            self._begin = self._end = 0  # of the samples that no row has begun with
        finally:
            self._release[mine]()

    def write(self, samples):
        """Take more samples.

        samples: array('h'), or bytes, two for each, the lower byte first; any number of them.

        Returns how many rows they completed. Raises Error for anything else, or while another
        `write` is running.
        """
        samples, n = numbers(samples, "sample", " of sound")
        if n != len(samples):
            samples = array("h", bytes(samples))
        samples = memoryview(samples)
        mine = self._lock.acquire(0)
        try:
            if not mine:
                self._busy()
            return self._write(samples)
        finally:
            self._release[mine]()

    def _busy(self):
        raise Error("samples are being written: wait for them")

    def _write(self, samples):
        n = len(samples)
        room = len(self._samples)
        before = self.rows
        at = 0
        while at < n:
            if self._end == room:
                left = room - self._begin
                self._view[:left] = self._view[self._begin :]
                self._begin, self._end = 0, left
            k = min(n - at, room - self._end)
            self._view[self._end : self._end + k] = samples[at : at + k]
            at += k
            self._end += k
            while self._end - self._begin >= self.window:
                self._row()
        return self.rows - before & 0x1FFFFFFF

    def _row(self):
        work = self._work
        slot = self._slot
        work[0] = self._begin
        work[1] = slot * self.bands
        work[2] = (slot + self.length) * self.bands
        self._logmel(self._table, work, self._samples, self._out)
        self._begin += self.hop
        self._slot = (slot + 1) % self.length
        self.rows = self.rows + 1 & 0x1FFFFFFF
        self._there = min(self._there + 1, self.length)

    def last(self, n=None):
        """The newest n rows, a memoryview; as many as the model reads, or as there are."""
        n = min(self._there, self.length if n is None else n)
        end = self._slot + self.length
        return memoryview(self._out)[(end - n) * self.bands : end * self.bands]
