"""The kernel of kernels_sound.py in plain Python, where there is no native code emitter."""

from .kernels_portable import _bits, _half, _shift, _signed


def _transform(y, table, at):
    """The transform of pairs y, halved at each stage; returns (it, stages)."""
    m = len(y) >> 1
    half = m >> 1
    s = 1
    stages = 0
    while half:
        out = [0] * len(y)
        for p in range(half):
            w = table[at + 2 * s * p]
            wr = _signed(w & 0xFFFF)
            wi = _signed(w >> 16 & 0xFFFF)
            for q in range(s):
                i = 2 * (q + s * p)
                a, c = y[i], y[i + 1]
                b, d = y[i + m], y[i + m + 1]
                k = i + 2 * s * p
                out[k] = a + b + 1 >> 1
                out[k + 1] = c + d + 1 >> 1
                a -= b
                c -= d
                k += 2 * s
                if p:
                    out[k] = a * wr + c * wi + 8192 >> 14
                    out[k + 1] = c * wr - a * wi + 8192 >> 14
                else:
                    out[k] = a + 1 >> 1
                    out[k + 1] = c + 1 >> 1
        y = out
        s <<= 1
        half >>= 1
        stages += 1
    return y, stages


def logmel(table, work, samples, out):
    n, size, bands, first = table[1], table[2], table[4], table[5]
    start = work[0]
    y = [_signed(samples[start + i] & 0xFFFF) * _half(table, 16 + i) for i in range(n)]
    down = _bits(max([abs(v) for v in y])) - 16
    y = [_shift(v, down) for v in y] + [0] * (size - n)
    at = 8 + (n >> 1)
    y, stages = _transform(y, table, at)
    m = size >> 1
    x = []
    most = 0
    for k in range(1, m):
        wr = _signed(table[at + k] & 0xFFFF)
        wi = _signed(table[at + k] >> 16 & 0xFFFF)
        a, c = y[2 * k], y[2 * k + 1]
        b, d = y[2 * (m - k)], y[2 * (m - k) + 1]
        re = a + b + ((c + d) * wr - (a - b) * wi + 4096 >> 13)
        im = c - d + (4096 - (a - b) * wr - (c + d) * wi >> 13)
        most |= abs(re) | abs(im)
        x.append((re, im))
    bits = max(_bits(most) - 14, 0)
    more = 2 * (bits + stages + down - 16) - 8
    at += m
    i = 0
    before = high = low = 0
    for s in range(bands + 1):
        rise = [0, 0, 0, 0]
        for _ in range(table[at + s]):
            re, im = x[first - 1 + i]
            re, im = _shift(re, bits), _shift(im, bits)
            p = re * re + im * im
            q = _half(table, 2 * (at + bands + 1) + i)
            for k, v in enumerate((p >> 16, p & 0xFFFF)):
                rise[k] += v * q
                rise[k + 2] += v * (256 - q)
            i += 1
        if s:
            high, low = before[0] + rise[2], before[1] + rise[3]
            e = more - 1
            if high >= 8192:
                t = high + (low >> 16)
                e += 16
            else:
                t = (high << 16) + low
            v = 0
            if t:
                n = _bits(t)
                t = (t << 16 >> n) - 32768
                t += (t * (32768 - t) >> 15) * 11 >> 5
                v = min(max((e + n << 8) + (t + 64 >> 7), 0), 32767)
            out[work[1] + s - 1] = out[work[2] + s - 1] = v
        before = rise
