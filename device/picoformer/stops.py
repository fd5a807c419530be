"""A text that ends in front of a stop text."""

from .errors import Error


def until(pieces, stop):
    """Yield `pieces`, strs, up to the stop text that is complete first; that one is not yielded.

    stop: a str or several; of two that end together the longer one. What may be the beginning of
    one waits until that is settled. There the pieces are closed. Raises Error.
    """
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    for text in stops:
        if not isinstance(text, str) or not text:
            raise Error("a stop text is %r, expected a str that is not empty" % (text,))
    waits = ""
    try:
        for piece in pieces:
            waits += piece
            first = None
            for text in stops:
                i = waits.find(text)
                if i >= 0 and (first is None or (i + len(text), i) < first):
                    first = i + len(text), i
            if first:
                yield waits[: first[1]]
                return
            i = 0  # where what waits begins
            while i < len(waits) and not any(t.startswith(waits[i:]) for t in stops):
                i += 1
            yield waits[:i]
            waits = waits[i:]
        if waits:
            yield waits
    finally:
        pieces.close()
