"""Kernels in viper for weights of 4 bits; see kernels_viper.py and kernels_portable.py."""

import micropython


@micropython.viper
def linear4(w: ptr32, x: ptr32):
    rec = w
    arena = x
    m = 1
    m <<= 31
    base = int(arena) - 0x20000000
    stride = arena[3] << 2
    cols = rec[3]
    s0 = (rec[5] ^ m) - m
    room = rec[6]
    add = rec[7]
    total = arena[1]
    xs = base + rec[0]
    to = base + rec[1] + (rec[8] << 4)
    rows = rec[9] << 2
    span = rec[10]
    run0 = base + rec[2]
    p0 = base + ptr32(run0)[0]
    left0 = ptr32(run0)[1]
    while rows > 0:
        frame = 0
        t = total
        while t:
            t -= 1
            run = run0
            left = left0
            w = ptr32(p0)
            p = ptr32(xs + frame)
            scale = p[0]
            s = s0 - ((p[1] ^ m) - m)
            p = ptr32(int(p) + 16)
            a0 = 0
            a1 = 0
            a2 = 0
            a3 = 0
            a4 = 0
            a5 = 0
            a6 = 0
            a7 = 0
            scales = 0
            same = 0
            c = cols
            while c:
                if same == 0:
                    if left == 0:
                        run += 8
                        w = ptr32(base + ptr32(run)[0])
                        left = ptr32(run)[1]
                    scales = w[0]
                    w = ptr32(int(w) + 4)
                    left -= 1
                    same = span
                # Sixteen columns at most: in each of four sums, rows i and i + 4, 16 bits each.
                n = 16
                if c < n:
                    n = c
                c -= n
                same -= 16
                e0 = 0
                e1 = 0
                e2 = 0
                e3 = 0
                sum = 0
                while n:
                    if left == 0:
                        run += 8
                        w = ptr32(base + ptr32(run)[0])
                        left = ptr32(run)[1]
                    k = n
                    if left < k:
                        k = left
                    n -= k
                    left -= k
                    end = int(w) + ((k >> 2) << 4)
                    while int(w) < end:
                        x = ptr32(p[0])
                        sum += int(x)
                        e0 = (w[0] & 0x000F000F) * int(x) + e0
                        e1 = (w[0] >> 4 & 0x000F000F) * int(x) + e1
                        e2 = (w[0] >> 8 & 0x000F000F) * int(x) + e2
                        e3 = (w[0] >> 12 & 0x000F000F) * int(x) + e3
                        x = ptr32(p[1])
                        sum += int(x)
                        e0 = (w[1] & 0x000F000F) * int(x) + e0
                        e1 = (w[1] >> 4 & 0x000F000F) * int(x) + e1
                        e2 = (w[1] >> 8 & 0x000F000F) * int(x) + e2
                        e3 = (w[1] >> 12 & 0x000F000F) * int(x) + e3
                        x = ptr32(p[2])
                        sum += int(x)
                        e0 = (w[2] & 0x000F000F) * int(x) + e0
                        e1 = (w[2] >> 4 & 0x000F000F) * int(x) + e1
                        e2 = (w[2] >> 8 & 0x000F000F) * int(x) + e2
                        e3 = (w[2] >> 12 & 0x000F000F) * int(x) + e3
                        x = ptr32(p[3])
                        sum += int(x)
                        e0 = (w[3] & 0x000F000F) * int(x) + e0
                        e1 = (w[3] >> 4 & 0x000F000F) * int(x) + e1
                        e2 = (w[3] >> 8 & 0x000F000F) * int(x) + e2
                        e3 = (w[3] >> 12 & 0x000F000F) * int(x) + e3
                        w = ptr32(int(w) + 16)
                        p = ptr32(int(p) + 16)
                    end = int(w) + ((k & 3) << 2)
                    while int(w) < end:
                        x = ptr32(p[0])
                        sum += int(x)
                        e0 = (w[0] & 0x000F000F) * int(x) + e0
                        e1 = (w[0] >> 4 & 0x000F000F) * int(x) + e1
                        e2 = (w[0] >> 8 & 0x000F000F) * int(x) + e2
                        e3 = (w[0] >> 12 & 0x000F000F) * int(x) + e3
                        w = ptr32(int(w) + 4)
                        p = ptr32(int(p) + 4)
                # A weight is its four bits less 8. Both halves get 0x8000 more, which makes them
                # positive: they keep to themselves. Modulo 2**32.
                sum = sum * 0x00080008 - m - 0x8000
                x = ptr32(e0 - sum)
                a0 = ((int(x) & 0xFFFF) - 0x8000) * (scales & 15) + a0
                a4 = ((int(x) >> 16 & 0xFFFF) - 0x8000) * (scales >> 16 & 15) + a4
                x = ptr32(e1 - sum)
                a1 = ((int(x) & 0xFFFF) - 0x8000) * (scales >> 4 & 15) + a1
                a5 = ((int(x) >> 16 & 0xFFFF) - 0x8000) * (scales >> 20 & 15) + a5
                x = ptr32(e2 - sum)
                a2 = ((int(x) & 0xFFFF) - 0x8000) * (scales >> 8 & 15) + a2
                a6 = ((int(x) >> 16 & 0xFFFF) - 0x8000) * (scales >> 24 & 15) + a6
                x = ptr32(e3 - sum)
                a3 = ((int(x) & 0xFFFF) - 0x8000) * (scales >> 12 & 15) + a3
                a7 = ((int(x) >> 16 & 0xFFFF) - 0x8000) * (scales >> 28 & 15) + a7
            # s and k: how far to shift; see _rescale.
            k = 17 - s
            if k < 0:
                k = 0
            if k > room:
                k = room
            if s < 17:
                s = 17
            if s > 47:
                s = 47
            rnd = 1 << (s - 17)
            s -= 16
            x = ptr32(to + frame)
            c = 8
            if rows < c:
                c = rows
            while c:
                if c & 1 == 0:
                    if left == 0:
                        run += 8
                        w = ptr32(base + ptr32(run)[0])
                        left = ptr32(run)[1]
                    left -= 1
                v = a0
                a0 = a1
                a1 = a2
                a2 = a3
                a3 = a4
                a4 = a5
                a5 = a6
                a6 = a7
                v <<= k
                f = (ptr16(w)[0] * scale + 0x2000) >> 14
                w = ptr32(int(w) + 2)
                v = ((v >> 16) * f + (((v & 0xFFFF) * f) >> 16) + rnd) >> s
                if add:
                    v += x[0]
                x[0] = v
                x = ptr32(int(x) + 4)
                c -= 1
            frame += stride
        run0 = run
        left0 = left
        p0 = int(w)
        to += 32
        rows -= 8


@micropython.viper
def embed4(rec: ptr32, arena: ptr32):
    m = 1
    m <<= 31
    base = int(arena) - 0x20000000
    stride = arena[3] << 2
    n = rec[2]
    span = rec[8]
    down = (rec[3] ^ m) - m
    up = 0
    if down < 0:
        up = 0 - down
        down = 0
    rnd = (1 << down) >> 1
    position = rec[7]
    t = rec[4]
    total = rec[5]
    if total == 0:
        total = arena[1]
    size = n + (n + span - 1) // span
    while t < total:
        frame = t * stride
        row = ptr32(int(arena) + 64 + frame)[0]
        row = (row >> (position << 3)) & 0xFFFF
        if position == 1:
            row = arena[0] + t
        skip = ((row >> 3) - rec[6]) * (size + 4)
        run = ptr32(base + rec[1])
        while skip >= run[1]:
            skip -= run[1]
            run = ptr32(int(run) + 8)
        left = run[1] - skip
        p = base + run[0] + (skip << 2)
        # First to the multipliers behind the columns, then back over the columns.
        i = size + ((row & 7) >> 1)
        r = run
        s = left
        w = ptr32(p)
        while i >= s:
            i -= s
            r = ptr32(int(r) + 8)
            s = r[1]
            w = ptr32(base + r[0])
        w = ptr32(int(w) + (i << 2))
        mul = (w[0] >> ((row & 1) << 4)) & 0xFFFF
        lane = (row & 7) << 2
        out = ptr32(base + rec[0] + frame)
        scale = 0
        same = 0
        i = n
        while i:
            if left == 0:
                run = ptr32(int(run) + 8)
                left = run[1]
                p = base + run[0]
            v = ptr32(p)[0] >> lane & 15
            p += 4
            left -= 1
            if same == 0:
                same = span
                scale = v * mul
            else:
                same -= 1
                v = (v - 8) * scale
                v = ((v << up) + rnd) >> down
                if position:
                    v += out[0]
                out[0] = v
                out = ptr32(int(out) + 4)
                i -= 1
        t += 1
