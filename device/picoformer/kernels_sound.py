"""The kernel in viper that makes a row of log-mel energies of a window of sound."""

import micropython


@micropython.viper
def logmel(table: ptr32, work: ptr32, samples: ptr16, out: ptr16):
    """A row of the samples from index work[0] on, to indices work[1] and work[2] of out.

    table: as a model file has it. work: behind four words, two for each point of the transform.
    """
    m = 1
    m <<= 31
    n = table[1]
    size = table[2]
    # Times the window, to where the numbers are pairs already.
    first = int(work) + 16
    second = first + (size << 2)
    p = ptr16(int(samples) + (work[0] << 1))
    w = ptr16(int(table) + 32)
    y = ptr32(first)
    most = 0
    i = n
    while i:
        v = ((p[0] ^ 0x8000) - 0x8000) * w[0]
        y[0] = v
        if v < 0:
            v = 0 - v
        if v > most:
            most = v
        p = ptr16(int(p) + 2)
        w = ptr16(int(w) + 2)
        y = ptr32(int(y) + 4)
        i -= 1
    down = 0 - 16
    while most:
        most >>= 1
        down += 1
    up = 0
    more = down
    if down < 0:
        up = 0 - down
        down = 0
    half = (1 << down) >> 1
    y = ptr32(first)
    i = n
    while i:
        y[0] = ((((y[0] ^ m) - m) << up) + half) >> down
        y = ptr32(int(y) + 4)
        i -= 1
    i = size - n
    while i:
        y[0] = 0
        y = ptr32(int(y) + 4)
        i -= 1
    # The transform of size / 2 pairs, by halves.
    s = 1
    half = size >> 2
    far = size << 1
    x = ptr32(first)
    while half:
        more += 1
        y = ptr32(second)
        k = int(w)
        left = half
        while left:
            wr = (ptr32(k)[0] & 0xFFFF ^ 0x8000) - 0x8000
            wi = (ptr32(k)[0] >> 16 & 0xFFFF ^ 0x8000) - 0x8000
            q = s
            if left == half:
                while q:
                    z = ptr32(int(x) + far)
                    a = (x[0] ^ m) - m
                    b = (z[0] ^ m) - m
                    c = (x[1] ^ m) - m
                    d = (z[1] ^ m) - m
                    y[0] = (a + b + 1) >> 1
                    y[1] = (c + d + 1) >> 1
                    z = ptr32(int(y) + (s << 3))
                    z[0] = (a - b + 1) >> 1
                    z[1] = (c - d + 1) >> 1
                    x = ptr32(int(x) + 8)
                    y = ptr32(int(y) + 8)
                    q -= 1
            while q:
                z = ptr32(int(x) + far)
                a = (x[0] ^ m) - m
                b = (z[0] ^ m) - m
                y[0] = (a + b + 1) >> 1
                a -= b
                b = (x[1] ^ m) - m
                d = (z[1] ^ m) - m
                y[1] = (b + d + 1) >> 1
                b -= d
                z = ptr32(int(y) + (s << 3))
                z[0] = (a * wr + b * wi + 8192) >> 14
                z[1] = (b * wr - a * wi + 8192) >> 14
                x = ptr32(int(x) + 8)
                y = ptr32(int(y) + 8)
                q -= 1
            y = ptr32(int(y) + (s << 3))
            k += s << 3
            left -= 1
        x = ptr32(second)
        second = first
        first = int(x)
        s <<= 1
        half >>= 1
    # Of real numbers, times two: points 1 to size / 2 - 1.
    z = ptr32(first + (size << 2))
    y = ptr32(second)
    k = int(w)
    most = 0
    i = (size >> 1) - 1
    while i:
        x = ptr32(int(x) + 8)
        z = ptr32(int(z) - 8)
        k += 4
        wr = (ptr32(k)[0] & 0xFFFF ^ 0x8000) - 0x8000
        wi = (ptr32(k)[0] >> 16 & 0xFFFF ^ 0x8000) - 0x8000
        a = (x[0] ^ m) - m
        b = (z[0] ^ m) - m
        c = (x[1] ^ m) - m
        d = (z[1] ^ m) - m
        v = a + b
        a -= b
        b = c - d
        c += d
        v += (c * wr - a * wi + 4096) >> 13
        b += (4096 - a * wr - c * wi) >> 13
        y[0] = v
        y[1] = b
        if v < 0:
            v = 0 - v
        if b < 0:
            b = 0 - b
        most |= v | b
        y = ptr32(int(y) + 8)
        i -= 1
    down = 0 - 14
    while most:
        most >>= 1
        down += 1
    if down < 0:
        down = 0
    more = ((more + down - 16) << 1) - 8
    # Sums over the triangles: of what falls from the peak before, and rises to the next.
    half = (1 << down) >> 1
    y = ptr32(second + ((table[5] - 1) << 3))
    k = int(w) + (size << 1)
    w = ptr16(k + (table[4] << 2) + 4)
    c = 0
    d = 0
    s = 0
    while s <= table[4]:
        a = 0
        b = 0
        n = 0
        v = 0
        i = ptr32(k)[0]
        while i:
            p0 = (((y[0] ^ m) - m) + half) >> down
            p1 = (((y[1] ^ m) - m) + half) >> down
            p0 = p0 * p0 + p1 * p1
            p1 = p0 >> 16
            p0 &= 0xFFFF
            q = w[0]
            a += p1 * q
            b += p0 * q
            q = 256 - q
            n += p1 * q
            v += p0 * q
            w = ptr16(int(w) + 2)
            y = ptr32(int(y) + 8)
            i -= 1
        if s:
            c += n
            d += v
            e = more - 1
            if c >= 8192:
                c += d >> 16
                e += 16
            else:
                c = (c << 16) + d
            # The logarithm
            v = 0
            if c:
                d = c
                q = 16
                while d:
                    d >>= 1
                    e += 1
                    q -= 1
                if q < 0:
                    c >>= 0 - q
                else:
                    c <<= q
                c -= 32768
                c += (((c * (32768 - c)) >> 15) * 11) >> 5
                v = (e << 8) + ((c + 64) >> 7)
                if v < 0:
                    v = 0
                if v > 32767:
                    v = 32767
            i = work[1] + s - 1
            ptr16(int(out) + (i << 1))[0] = v
            i = work[2] + s - 1
            ptr16(int(out) + (i << 1))[0] = v
        c = a
        d = b
        k += 4
        s += 1
