"""Probabilities of labels, by the powers of two that the steps use. docs/numerics.md."""

from .errors import Error
from .sampling import sampling

# 2**-(i/32), then 2**-(j/1024), in 2**-15: 64 words of 16 bits, as a model file has them.
POWERS = (
    b"\x00\x80\x42\x7d\x93\x7a\xf2\x77\x60\x75\xdd\x72\x66\x70\xfe\x6d"
    b"\xa2\x6b\x54\x69\x12\x67\xdd\x64\xb4\x62\x96\x60\x84\x5e\x7e\x5c"
    b"\x82\x5a\x92\x58\xac\x56\xd1\x54\xff\x52\x38\x51\x7b\x4f\xc7\x4d"
    b"\x1c\x4c\x7a\x4a\xe2\x48\x52\x47\xcb\x45\x4c\x44\xd5\x42\x67\x41"
    b"\x00\x80\xea\x7f\xd4\x7f\xbe\x7f\xa7\x7f\x91\x7f\x7b\x7f\x65\x7f"
    b"\x4f\x7f\x39\x7f\x23\x7f\x0d\x7f\xf7\x7e\xe1\x7e\xcb\x7e\xb5\x7e"
    b"\x9f\x7e\x89\x7e\x73\x7e\x5d\x7e\x47\x7e\x32\x7e\x1c\x7e\x06\x7e"
    b"\xf0\x7d\xda\x7d\xc4\x7d\xaf\x7d\x99\x7d\x83\x7d\x6d\x7d\x58\x7d"
)


def probabilities(result, labels, bits, several):
    """[(label, 0 to 1)] for [(label, logit)] in its order, or for the logits of all `labels`.

    bits: fraction bits of the logits. several: each label holds or not by itself; otherwise they
    share 1. In units of 2**-15, which every float holds, so the same everywhere. Raises Error.
    """
    try:
        if not isinstance(result[0], tuple):
            result = list(zip(labels, result))
        result = [(label, int(logit)) for label, logit in result]
        best = max([logit for _, logit in result])
    except (IndexError, TypeError, ValueError):
        raise Error("expected [(label, logit)], as classify gives it, or a logit for each label")
    if len(result) != len(labels) and not several:
        raise Error("%d labels of %d: give all of them" % (len(result), len(labels)))
    m, s, _ = sampling(1000, 1000, bits)

    def weight(d):
        d = (d * m + (1 << (s - 1))) >> s
        if d >= 16384:
            return 0
        a = d >> 4 & 62
        b = 64 + (d << 1 & 62)
        coarse = POWERS[a] | POWERS[a + 1] << 8
        return (coarse * (POWERS[b] | POWERS[b + 1] << 8) + 16384) >> 15 + (d >> 10)

    found = []
    for _, logit in result:
        if several:
            best = max(logit, 0)
        found.append(weight(best - logit))
    mass = sum(found)
    for i in range(len(found)):
        label, logit = result[i]
        part = found[i]
        if several:  # a share of what it has with one of logit 0
            mass = part + weight(max(logit, 0))
        found[i] = label, ((part << 15) + (mass >> 1)) // mass / 32768
    return found
