# What the planner's modules use of Python that MicroPython does not have.

from collections import OrderedDict

_MARKS = ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#x27;")


def joined(*parts):
    """{**a, **b}, in order."""
    out = OrderedDict()
    for part in parts:
        for key in part:
            out[key] = part[key]
    return out


def bit_length(n):
    count = 0
    while n >> count:
        count += 1
    return count


def removesuffix(text, end):
    return text[: -len(end)] if end and text.endswith(end) else text


def bisect_left(listed, n):
    i = 0
    while i < len(listed) and listed[i] < n:
        i += 1
    return i


def insort(listed, n):
    i = len(listed)
    while i and n < listed[i - 1]:
        i -= 1
    listed.insert(i, n)


def escape(text):
    for mark, name in _MARKS:
        text = text.replace(mark, name)
    return text


def copy(thing):
    out = object.__new__(type(thing))
    held = thing.__dict__
    for name in held:
        setattr(out, name, held[name])
    return out


def replace(thing, **changes):
    out = copy(thing)
    for name in changes:
        setattr(out, name, changes[name])
    return out


def asdict(thing):
    if hasattr(thing, "_fields"):
        return OrderedDict([(name, asdict(getattr(thing, name))) for name in thing._fields])
    if isinstance(thing, dict):
        return OrderedDict([(key, asdict(thing[key])) for key in thing])
    if isinstance(thing, (list, tuple)):
        return [asdict(v) for v in thing]
    return thing
