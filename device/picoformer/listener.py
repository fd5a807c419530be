"""Events in a sound that goes on: the same on a board and on a PC.

    for label, share, ms in Listener(model, microphone):
        print(label, share, ms)
"""

from array import array

from .errors import Error

_HOPS = 5  # of the front end, at most, that are read at once


class Listener:
    """Finds events in a sound that goes on: an iterator of (label, share, ms).

    model: a Model that classifies sound, or on a PC a Simulator.
    source: has readinto(buffer), which writes samples into the buffer, 16 bits each, the lower
        byte first, and returns how many bytes; 0 or None at the end. machine.I2S, an open file.
    hop: seconds from one window of sound to the next. A window is as long as the model reads.
    threshold: the least probability that is an event, 0 to 1, averaged over windows.
    smooth: how many windows are averaged.
    rest: seconds from one event to the next, at least.
    ignore: labels that are no events; None for the model's `background`.

    Of an event, label is a str, share its average probability, ms the milliseconds since the first
    sample. With `async for`, readinto is awaited, as of asyncio.StreamReader, and None is no end.

    features: what makes rows of the sound. windows: how many were classified.

    Raises Error if the model does not classify sound, or an argument is out of range.
    """

    def __init__(
        self, model, source, hop=0.25, threshold=0.7, smooth=3, rest=1.0, ignore=None
    ):
        hop, threshold, rest = _thousandths(hop, threshold, rest)
        if hop < 1 or not 0 <= threshold <= 1000 or smooth < 1 or rest < 0:
            raise Error(
                "hop %d ms, threshold %d thousandths, smooth %d, rest %d ms: expected a hop, "
                "threshold 0 to 1, smooth 1 or more" % (hop, threshold, smooth, rest)
            )
        self._model = model
        self._source = source
        self.features = f = model.features()
        self._labels = labels = model.labels
        if ignore is None:
            ignore = model.background
        elif isinstance(ignore, str):
            ignore = (ignore,)
        for label in ignore:
            if label not in labels:
                raise Error("no label %r to ignore: %s" % (label, ", ".join(labels)))
        self._heard = [i for i in range(len(labels)) if labels[i] not in ignore]
        hops = max(1, (hop * f.rate + 500 * f.hop) // (1000 * f.hop))
        self._hop = hops * f.hop
        self._first = f.window + (f.length - 1) * f.hop
        self._threshold = (threshold * 32768 + 500) // 1000
        self._rest = rest
        # The shares of the last windows, in units of 2**-15.
        self._shares = [array("H", bytes(2 * len(labels))) for _ in range(smooth)]
        samples = array("h", bytes(2 * f.hop * min(hops, _HOPS)))
        self._samples = memoryview(samples)
        self._bytes = _bytes_of(samples)
        self.reset()

    def reset(self):
        """Forget all that was heard."""
        self.features.reset()
        self.windows = self._ms = self._part = 0
        self._quiet = self._rest  # ms since the last event
        self._due = 2 * self._first  # bytes until the next window
        self._odd = 0  # of them there already: half a sample
        for shares in self._shares:
            for i in range(len(shares)):
                shares[i] = 0

    def __iter__(self):
        return self

    def __next__(self):
        while True:
            n = self._source.readinto(self._room())
            event = self._take(n) if n else self._end()
            if event:
                return event
            if not n:
                raise StopIteration

    def __aiter__(self):
        return self

    async def __anext__(self):
        while True:
            n = await self._source.readinto(self._room())
            if n is None:
                continue
            event = self._take(n) if n else self._end()
            if event:
                return event
            if not n:
                raise StopAsyncIteration

    def _room(self):
        """Where the next samples go: no more than are due, so that a read ends with a window."""
        n = min(len(self._bytes), self._due)
        if not self._odd and n == len(self._bytes):
            return self._bytes
        return self._bytes[self._odd : n]

    def _take(self, n):
        """Hear n bytes, which were read; the event that there was, or None."""
        n += self._odd
        self._odd = n & 1
        n -= self._odd
        half = n >> 1
        self.features.write(
            self._samples if half == len(self._samples) else self._samples[:half]
        )
        if self._odd:
            self._bytes[0] = self._bytes[n]
        self._due -= n
        if self._due:
            return None
        self._due = 2 * self._hop
        return self._window(self._hop if self.windows else self._first)

    def _end(self):
        """A sound that was shorter than a window is one, in the end."""
        if self.windows or not self.features.rows:
            return None
        return self._window(self._first - (self._due >> 1))

    def _window(self, samples):
        """Classify the newest rows, behind so many samples more; an event, or None."""
        model, labels = self._model, self._labels
        self._part += 1000 * samples
        ms = self._part // self.features.rate
        self._part -= ms * self.features.rate
        self._ms += ms
        self._quiet += ms
        shares = self._shares[self.windows % len(self._shares)]
        self.windows += 1
        for label, share in model.probabilities(model.classify(self.features.last())):
            shares[labels.index(label)] = int(share * 32768)
        n = min(self.windows, len(self._shares))
        best, at = -1, 0
        for i in self._heard:
            total = 0
            for shares in self._shares:
                total += shares[i]
            if total > best:
                best, at = total, i
        if best < self._threshold * n or self._quiet < self._rest:
            return None
        self._quiet = 0
        return labels[at], _share((best + (n >> 1)) // n), self._ms


def _thousandths(*values):
    """Of what a user says, as floats of a board have fewer bits than those of a PC."""
    try:
        return [int(v * 1000 + 0.5) for v in values]
    except (OverflowError, ValueError):
        raise Error("hop %s s, threshold %s, rest %s s: expected numbers" % values)


def _share(v):
    """Units of 2**-15 as what a user is told; every float holds them."""
    return v / 32768


def _bytes_of(samples):
    """The same memory as bytes."""
    try:
        return memoryview(samples).cast("B")
    except AttributeError:  # MicroPython's has no such method
        from uctypes import addressof, bytearray_at

        return memoryview(bytearray_at(addressof(samples), 2 * len(samples)))
