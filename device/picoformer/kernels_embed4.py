"""Rows of matrices of 4 bits, in viper: for thumb as well, as a row is little work."""

import micropython


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
