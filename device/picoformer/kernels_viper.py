"""Kernels in viper, for every port with a native code emitter. See portable.py for what they do.

Called as `kernel(record, arena)`; the loader has turned each operand into its byte distance from
the arena plus BIAS, which keeps the word positive on 64-bit ports, where ptr32 loads zero-extend.
Written for 64-bit and 32-bit registers alike: `m` is 2**31 and `mask` 2**32 - 1 in either width
(on 32 bits they wrap to the same bits), and `((v & mask) ^ m) - m` makes a word signed.

A magnitude of 2**31 stays negative on 32 bits; loops and table look-ups are written to end there.

The compiler keeps a function's first two locals, its arguments, in registers, all others on the
stack: so the arguments become what the innermost loop uses most, pointers or, as a `ptr32` too,
the activation. `a = w[0] * int(x) + a` is the shortest product: the left side of an operator
is where the last result is, the right side costs nothing if it has a register.

Compiler bugs kept out by construction: pointers are indexed with constants only (a register
index is shifted in place on 1.26 and 1.27), and there is no unary minus or `~` on a local.
"""

import micropython

BIAS = 0x20000000


@micropython.viper
def embed(rec: ptr32, arena: ptr32):
    m = 1
    m <<= 31
    base = int(arena) - 0x20000000
    stride = arena[3] << 2
    n = rec[2]
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
    while t < total:
        frame = t * stride
        token = ptr32(int(arena) + 64 + frame)[0]
        token = (token >> (position << 3)) & 0xFFFF
        if position == 1:
            token = arena[0] + t
        skip = ((token >> 2) - rec[6]) * (n + 2)
        run = ptr32(base + rec[1])
        while skip >= run[1]:
            skip -= run[1]
            run = ptr32(int(run) + 8)
        left = run[1] - skip
        p = base + run[0] + (skip << 2)
        # First to the multipliers behind the columns, then back over the columns.
        i = n + ((token & 3) >> 1)
        r = run
        s = left
        w = ptr32(p)
        while i >= s:
            i -= s
            r = ptr32(int(r) + 8)
            s = r[1]
            w = ptr32(base + r[0])
        w = ptr32(int(w) + (i << 2))
        mul = (w[0] >> ((token & 1) << 4)) & 0xFFFF
        lane = (token & 3) << 3
        out = ptr32(base + rec[0] + frame)
        i = n
        while i:
            if left == 0:
                run = ptr32(int(run) + 8)
                left = run[1]
                p = base + run[0]
            v = (((ptr32(p)[0] >> lane) & 255) - 128) * mul
            v = ((v << up) + rnd) >> down
            if position:
                v += out[0]
            out[0] = v
            out = ptr32(int(out) + 4)
            p += 4
            left -= 1
            i -= 1
        t += 1


@micropython.viper
def norm(x: ptr32, y: ptr32):
    rec = x
    arena = y
    m = 1
    m <<= 31
    base = int(arena) - 0x20000000
    stride = arena[3] << 2
    n = rec[2]
    f = 31 - rec[3]
    e0 = (rec[6] ^ m) - m
    t = 0
    while t < arena[1]:
        frame = t * stride
        e = e0
        if rec[4]:
            e += ptr32(base + rec[4] + frame)[0]
        q = ptr32(base + rec[1] + frame)
        end = int(q) + 16 + (n << 2)
        # Copy, and find the largest magnitude.
        x = ptr32(base + rec[0] + frame)
        y = ptr32(int(q) + 16)
        a = 0
        while int(y) < end:
            v = (x[0] ^ m) - m
            y[0] = v
            if v < 0:
                v = 0 - v
            if v > a:
                a = v
            x = ptr32(int(x) + 4)
            y = ptr32(int(y) + 4)
        c = rec[5]
        root = 0
        if rec[7]:
            # Root mean square, and times the gain.
            down = 0 - 15
            v = a
            while v > 0:
                v >>= 1
                down += 1
            up = 0
            k = ((rec[10] ^ m) - m) - (down << 1)
            if down < 0:
                up = 0 - down
                down = 0
            rnd = (1 << down) >> 1
            lg = rec[8]
            g = ptr32(base + rec[7])
            y = ptr32(int(q) + 16)
            square = 0
            a = 0
            while int(y) < end:
                v = (((((y[0] ^ m) - m) << up) + rnd)) >> down
                square += (v * v) >> lg
                v = v * ((g[0] ^ m) - m)
                y[0] = v
                if v < 0:
                    v = 0 - v
                if v > a:
                    a = v
                g = ptr32(int(g) + 4)
                y = ptr32(int(y) + 4)
            if k >= 0:
                if k > 15:
                    k = 15
                square += rec[9] << k
            else:
                k = 0 - k
                if k > 31:
                    k = 31
                square += rec[9] >> k
            k = 30
            v = square
            while v > 0:
                v >>= 1
                k -= 1
            k >>= 1
            if k >= 0:
                square <<= k << 1
            else:
                square >>= 2
            e += k - 1
            bit = 1 << 14
            while bit:
                v = root + bit
                if v * v <= square:
                    root = v
                bit >>= 1
            if root == 0:
                root = 1
        down = 0 - 15
        v = a
        while v > 0:
            v >>= 1
            down += 1
        e += down
        up = 0
        if down < 0:
            up = 0 - down
            down = 0
        rnd = (1 << down) >> 1
        a = ((a << up) + rnd) >> down
        if a == 0:
            a = 1
        r = (((1 << (31 - f - 1)) - 1) << f) // a
        half = 1 << (f - 1)
        total = 0
        y = ptr32(int(q) + 16)
        while int(y) < end:
            v = ((((((y[0] ^ m) - m) << up) + rnd) >> down) * r + half) >> f
            y[0] = v
            total += v
            y = ptr32(int(y) + 4)
        a *= c
        if root:
            a = (a << 1) // root
        down = 0 - 14
        v = a
        while v > 0:
            v >>= 1
            down += 1
        e += down
        if down > 0:
            a = (a + ((1 << down) >> 1)) >> down
        else:
            a <<= 0 - down
        q[0] = a
        q[1] = e
        q[2] = total
        t += 1


@micropython.viper
def linear(w: ptr8, x: ptr32):
    rec = ptr32(w)
    arena = x
    m = 1
    m <<= 31
    mask = m + m - 1
    base = int(arena) - 0x20000000
    stride = arena[3] << 2
    cols = rec[3]
    s0 = (rec[5] ^ m) - m
    room = rec[6]
    add = rec[7]
    total = arena[1]
    xs = base + rec[0]
    to = base + rec[1] + (rec[8] << 4)
    groups = rec[9]
    run0 = base + rec[2]
    p0 = base + ptr32(run0)[0]
    left0 = ptr32(run0)[1]
    while groups:
        groups -= 1
        frame = 0
        t = total
        while t:
            t -= 1
            run = run0
            left = left0
            w = ptr8(p0)
            p = ptr32(xs + frame)
            scale = p[0]
            s = s0 - ((p[1] ^ m) - m)
            bias = p[2] << 7
            p = ptr32(int(p) + 16)
            a0 = 0
            a1 = 0
            a2 = 0
            a3 = 0
            c = cols
            while c:
                if left == 0:
                    run += 8
                    w = ptr8(base + ptr32(run)[0])
                    left = ptr32(run)[1]
                k = c
                if left < k:
                    k = left
                c -= k
                left -= k
                # Eight columns a turn, each of four rows, a byte each. All modulo 2**32.
                end = int(w) + ((k >> 3) << 5)
                while int(w) < end:
                    x = ptr32(p[0])
                    a0 = w[0] * int(x) + a0
                    a1 = w[1] * int(x) + a1
                    a2 = w[2] * int(x) + a2
                    a3 = w[3] * int(x) + a3
                    x = ptr32(p[1])
                    a0 = w[4] * int(x) + a0
                    a1 = w[5] * int(x) + a1
                    a2 = w[6] * int(x) + a2
                    a3 = w[7] * int(x) + a3
                    x = ptr32(p[2])
                    a0 = w[8] * int(x) + a0
                    a1 = w[9] * int(x) + a1
                    a2 = w[10] * int(x) + a2
                    a3 = w[11] * int(x) + a3
                    x = ptr32(p[3])
                    a0 = w[12] * int(x) + a0
                    a1 = w[13] * int(x) + a1
                    a2 = w[14] * int(x) + a2
                    a3 = w[15] * int(x) + a3
                    x = ptr32(p[4])
                    a0 = w[16] * int(x) + a0
                    a1 = w[17] * int(x) + a1
                    a2 = w[18] * int(x) + a2
                    a3 = w[19] * int(x) + a3
                    x = ptr32(p[5])
                    a0 = w[20] * int(x) + a0
                    a1 = w[21] * int(x) + a1
                    a2 = w[22] * int(x) + a2
                    a3 = w[23] * int(x) + a3
                    x = ptr32(p[6])
                    a0 = w[24] * int(x) + a0
                    a1 = w[25] * int(x) + a1
                    a2 = w[26] * int(x) + a2
                    a3 = w[27] * int(x) + a3
                    x = ptr32(p[7])
                    a0 = w[28] * int(x) + a0
                    a1 = w[29] * int(x) + a1
                    a2 = w[30] * int(x) + a2
                    a3 = w[31] * int(x) + a3
                    w = ptr8(int(w) + 32)
                    p = ptr32(int(p) + 32)
                end = int(w) + ((k & 7) << 2)
                while int(w) < end:
                    x = ptr32(p[0])
                    a0 = w[0] * int(x) + a0
                    a1 = w[1] * int(x) + a1
                    a2 = w[2] * int(x) + a2
                    a3 = w[3] * int(x) + a3
                    w = ptr8(int(w) + 4)
                    p = ptr32(int(p) + 4)
            # s and k: how far to shift; see _rescale. Where k is not 0, s becomes 17.
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
            c = 4
            while c:
                if c & 1 == 0:
                    if left == 0:
                        run += 8
                        w = ptr8(base + ptr32(run)[0])
                        left = ptr32(run)[1]
                    left -= 1
                v = ((((a0 - bias) & mask) ^ m) - m) << k
                a0 = a1
                a1 = a2
                a2 = a3
                f = (ptr16(w)[0] * scale + 0x2000) >> 14
                w = ptr8(int(w) + 2)
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
        to += 16


@micropython.viper
def store(x: ptr32, y: ptr32):
    rec = x
    arena = y
    m = 1
    m <<= 31
    base = int(arena) - 0x20000000
    stride = arena[3] << 2
    context = arena[2]
    heads = rec[3]
    size = rec[4]
    half = size >> 1
    lane = (rec[6] + 4) & 24
    groups = (context * lane + 31) >> 5
    quads = (size * rec[7] + 31) >> 5
    cache = base + rec[2]
    k_words = heads * groups * size
    t = 0
    while t < arena[1]:
        pos = arena[0] + t
        frame = t * stride
        h = 0
        while h < heads:
            scales = 0
            part = 0
            while part < 2:  # the key, then the value
                x0 = base + ptr32(int(rec) + (part << 2))[0] + frame + ((h * size) << 2)
                end = x0 + (size << 2)
                a = 0
                x = ptr32(x0)
                while int(x) < end:
                    v = (x[0] ^ m) - m
                    if v < 0:
                        v = 0 - v
                    if v > a:
                        a = v
                    x = ptr32(int(x) + 4)
                down = 0 - 15
                v = a
                while v > 0:
                    v >>= 1
                    down += 1
                if down < 0 - 10:
                    down = 0 - 10
                e = down + 10
                up = 0
                if down < 0:
                    up = 0 - down
                    down = 0
                rnd = (1 << down) >> 1
                a = ((a << up) + rnd) >> down
                x = ptr32(x0)
                while int(x) < end:
                    x[0] = ((((x[0] ^ m) - m) << up) + rnd) >> down
                    x = ptr32(int(x) + 4)
                bits = rec[7]
                if part == 0:
                    bits = rec[6]
                    if rec[5]:
                        a = 0
                        r = ptr32(base + rec[5] + ((pos * half) << 2))
                        x = ptr32(x0)
                        y = ptr32(x0 + (half << 2))
                        while int(y) < end:
                            c = ((r[0] & 0xFFFF) ^ 0x8000) - 0x8000
                            s = (((r[0] >> 16) & 0xFFFF) ^ 0x8000) - 0x8000
                            v = (x[0] ^ m) - m
                            w = (y[0] ^ m) - m
                            x[0] = (v * c - w * s + 0x4000) >> 15
                            w = (v * s + w * c + 0x4000) >> 15
                            y[0] = w
                            v = (x[0] ^ m) - m
                            if v < 0:
                                v = 0 - v
                            if w < 0:
                                w = 0 - w
                            if v > a:
                                a = v
                            if w > a:
                                a = w
                            x = ptr32(int(x) + 4)
                            y = ptr32(int(y) + 4)
                            r = ptr32(int(r) + 4)
                if a == 0:
                    a = 1
                # The scale in 11 mantissa bits, never below a.
                s = 0
                v = a >> 11
                while v > 0:
                    v >>= 1
                    s += 1
                a = (a + (1 << s) - 1) >> s
                if a == 2048:
                    a = 1024
                    s += 1
                scales |= (a | ((s + e) << 11)) << (part << 4)
                f = 31 - bits
                mul = ((1 << (bits - 1)) - 1) << f
                rnd = 1 << (f - 1)
                if bits == 4:
                    mul = 15 << 26
                    rnd = 0
                mul = mul // (a << s)
                x = ptr32(x0)
                # A word of the cache, and the bit from which on the element goes there.
                i = pos * lane
                v = (h * groups + (i >> 5)) * size
                i &= 31
                width = lane
                step = 32
                s = 4
                if part:
                    v = k_words + h * quads * context + pos
                    i = 0
                    width = bits
                    step = bits
                    s = context << 2
                y = ptr32(cache + (v << 2))
                width = (1 << width) - 1
                bits = 1 << (bits - 1)
                while int(x) < end:
                    w = (((x[0] ^ m) - m) * mul + rnd) >> f
                    x[0] = w
                    y[0] = y[0] ^ ((y[0] ^ ((w + bits) << i)) & (width << i))
                    x = ptr32(int(x) + 4)
                    i += step
                    if i > 31:
                        i -= 32
                        y = ptr32(int(y) + s)
                part += 1
            v = k_words + heads * quads * context + h * context + pos
            ptr32(cache + (v << 2))[0] = scales
            h += 1
        t += 1


@micropython.viper
def attend(w: ptr8, x: ptr32):
    rec = ptr32(w)
    arena = x
    m = 1
    m <<= 31
    mask = m + m - 1
    base = int(arena) - 0x20000000
    stride = arena[3] << 2
    context = arena[2]
    heads = rec[3]
    kv_heads = rec[4]
    size = rec[5]
    half = size >> 1
    # Bits of a key's lane and of a value's; how many are lacking of 12 and of 8.
    k_up = 12 - rec[17]
    lane = 16 - (k_up << 1)
    groups = (context * lane + 31) >> 5
    v_bits = rec[18]
    v_up = 8 - v_bits
    quads = (size * v_bits + 31) >> 5
    cache = base + rec[2]
    values = cache + ((kv_heads * groups * size) << 2)
    scales = values + ((kv_heads * quads * context) << 2)
    exp2 = base + rec[7]
    scores = base + rec[8]
    se0 = (rec[10] ^ m) - m
    ve0 = (rec[12] ^ m) - m
    share = heads // kv_heads
    t = 0
    while t < arena[1]:
        pos = arena[0] + t
        length = pos + 1
        if rec[14]:
            length = ptr32(int(arena) + 12 + (rec[14] << 2))[0]
        frame = t * stride
        h = 0
        while h < heads:
            g = h // share
            # Query: to 15 bits, rotate, to 12 bits, in place.
            x0 = base + rec[0] + frame + ((h * size) << 2)
            eights = x0 + ((size >> 3) << 5)
            end = x0 + (size << 2)
            a = 0
            x = ptr32(x0)
            while int(x) < end:
                v = (x[0] ^ m) - m
                if v < 0:
                    v = 0 - v
                if v > a:
                    a = v
                x = ptr32(int(x) + 4)
            down = 0 - 15
            v = a
            while v > 0:
                v >>= 1
                down += 1
            se = se0 - down
            up = 0
            if down < 0:
                up = 0 - down
                down = 0
            rnd = (1 << down) >> 1
            a = ((a << up) + rnd) >> down
            x = ptr32(x0)
            while int(x) < end:
                x[0] = ((((x[0] ^ m) - m) << up) + rnd) >> down
                x = ptr32(int(x) + 4)
            if rec[6]:
                a = 0
                w = ptr8(base + rec[6] + ((pos * half) << 2))
                x = ptr32(x0)
                y = ptr32(x0 + (half << 2))
                while int(y) < end:
                    c = (ptr16(w)[0] ^ 0x8000) - 0x8000
                    s = (ptr16(w)[1] ^ 0x8000) - 0x8000
                    v = (x[0] ^ m) - m
                    d = (y[0] ^ m) - m
                    x[0] = (v * c - d * s + 0x4000) >> 15
                    d = (v * s + d * c + 0x4000) >> 15
                    y[0] = d
                    v = (x[0] ^ m) - m
                    if v < 0:
                        v = 0 - v
                    if d < 0:
                        d = 0 - d
                    if v > a:
                        a = v
                    if d > a:
                        a = d
                    x = ptr32(int(x) + 4)
                    y = ptr32(int(y) + 4)
                    w = ptr8(int(w) + 4)
            if a == 0:
                a = 1
            mul = (2047 << 19) // a
            bias = 0
            x = ptr32(x0)
            while int(x) < end:
                v = (((x[0] ^ m) - m) * mul + 0x40000) >> 19
                x[0] = v
                bias += v
                x = ptr32(int(x) + 4)
            bias <<= 11
            a *= rec[9]
            down = 0 - 15
            v = a
            while v > 0:
                v >>= 1
                down += 1
            a = (a + ((1 << down) >> 1)) >> down
            se -= down + 32
            # Scores: two positions a word, or a half-word.
            best = 0 - 0x1FFFFFFF
            e_max = 0
            w = ptr8(cache + ((g * groups * size) << 2))
            sc = scales + ((g * context) << 2)
            out = scores
            i = length
            while i > 0:
                a0 = 0
                a1 = 0
                p = ptr32(x0)
                if k_up:
                    while int(p) < end:
                        x = ptr32(p[0])
                        a0 = w[0] * int(x) + a0
                        a1 = w[1] * int(x) + a1
                        w = ptr8(int(w) + 4)
                        p = ptr32(int(p) + 4)
                    a0 <<= k_up
                    a1 <<= k_up
                    # The other half of these words, or the next ones.
                    w = ptr8(int(w) ^ 2)
                    if int(w) & 2:
                        w = ptr8(int(w) - (size << 2))
                k = size >> 3
                while int(p) < eights:
                    x = ptr32(p[0])
                    a0 = ptr16(w)[0] * int(x) + a0
                    a1 = ptr16(w)[1] * int(x) + a1
                    x = ptr32(p[1])
                    a0 = ptr16(w)[2] * int(x) + a0
                    a1 = ptr16(w)[3] * int(x) + a1
                    x = ptr32(p[2])
                    a0 = ptr16(w)[4] * int(x) + a0
                    a1 = ptr16(w)[5] * int(x) + a1
                    x = ptr32(p[3])
                    a0 = ptr16(w)[6] * int(x) + a0
                    a1 = ptr16(w)[7] * int(x) + a1
                    x = ptr32(p[4])
                    a0 = ptr16(w)[8] * int(x) + a0
                    a1 = ptr16(w)[9] * int(x) + a1
                    x = ptr32(p[5])
                    a0 = ptr16(w)[10] * int(x) + a0
                    a1 = ptr16(w)[11] * int(x) + a1
                    x = ptr32(p[6])
                    a0 = ptr16(w)[12] * int(x) + a0
                    a1 = ptr16(w)[13] * int(x) + a1
                    x = ptr32(p[7])
                    a0 = ptr16(w)[14] * int(x) + a0
                    a1 = ptr16(w)[15] * int(x) + a1
                    w = ptr8(int(w) + 32)
                    p = ptr32(int(p) + 32)
                while int(p) < end:
                    x = ptr32(p[0])
                    a0 = ptr16(w)[0] * int(x) + a0
                    a1 = ptr16(w)[1] * int(x) + a1
                    w = ptr8(int(w) + 4)
                    p = ptr32(int(p) + 4)
                x = ptr32(a0)
                k = 2
                if i == 1:
                    k = 1
                i -= 2
                while k:
                    x = ptr32((((int(x) - bias) & mask) ^ m) - m)
                    d = ptr16(sc)[0]
                    mul = (a * (d & 2047) + 1024) >> 11
                    s = se - (d >> 11)
                    if s < 0:
                        s = 0
                    if s > 30:
                        s = 30
                    x = ptr32((int(x) >> 16) * mul + (((int(x) & 0xFFFF) * mul) >> 16))
                    x = ptr32((int(x) + (1 << s)) >> (s + 1))
                    ptr32(out)[0] = int(x)
                    if int(x) > best:
                        best = int(x)
                    # The largest exponent stands in the largest scale.
                    d = ptr16(sc)[1]
                    if d > e_max:
                        e_max = d
                    sc += 4
                    out += 4
                    x = ptr32(a1)
                    k -= 1
            e_max >>= 11
            # What is added by the distance, and with it another best.
            end = scores + (length << 2)
            if rec[15]:
                best = 0 - 0x1FFFFFFF
                w = ptr8(base + rec[15] + ((h * rec[16] - pos) << 2))
                x = ptr32(scores)
                while int(x) < end:
                    v = ((x[0] + ptr32(w)[0]) & mask ^ m) - m
                    x[0] = v
                    if v > best:
                        best = v
                    w = ptr8(int(w) + 4)
                    x = ptr32(int(x) + 4)
            # Softmax, with the values' scales folded into the weights.
            down = 11 + rec[13] + e_max
            den = 0
            weight = 0
            w = ptr8(scales + ((g * context) << 2))
            x = ptr32(scores)
            while int(x) < end:
                d = best - ((x[0] ^ m) - m)
                v = 0
                if d < 16384:
                    v = ptr32(exp2 + ((d >> 3) & 124))[0]
                    v = (v * ptr32(exp2 + 128 + ((d & 31) << 2))[0] + 0x4000) >> 15
                    v >>= d >> 10
                den += v
                d = ptr16(w)[1]
                s = down - (d >> 11)
                if s > 31:
                    s = 31
                v = (v * (d & 2047) + (1 << (s - 1))) >> s
                x[0] = v
                weight += v
                w = ptr8(int(w) + 4)
                x = ptr32(int(x) + 4)
            # Weighted sum: four dimensions a word.
            fours = scores + ((length >> 2) << 4)
            s = 0
            v = den
            while v > 0:
                v >>= 1
                s += 1
            mul = rec[11] // (den >> (s - 16))
            s += ve0 - e_max
            room = 24
            v = weight
            while v > 0:
                v >>= 1
                room -= 1
            if room < 0:
                room = 0
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
            weight *= 128 - (v_up << 1)
            row = values + ((g * quads * context) << 2)
            out = base + rec[1] + frame + ((h * size) << 2)
            i = size
            while i > 0:
                w = ptr8(row)
                p = ptr32(scores)
                a0 = 0
                a1 = 0
                a2 = 0
                a3 = 0
                if v_up:
                    while int(p) < end:
                        x = ptr32(p[0])
                        a0 = w[0] * int(x) + a0
                        a1 = (w[0] >> 4) * int(x) + a1
                        a2 = w[1] * int(x) + a2
                        a3 = (w[1] >> 4) * int(x) + a3
                        w = ptr8(int(w) + 4)
                        p = ptr32(int(p) + 4)
                    # Sixteen times each: the low four bits are those less the high ones'.
                    a0 = (a0 << 4) - (a1 << 8)
                    a1 <<= 4
                    a2 = (a2 << 4) - (a3 << 8)
                    a3 <<= 4
                while int(p) < fours:
                    x = ptr32(p[0])
                    a0 = w[0] * int(x) + a0
                    a1 = w[1] * int(x) + a1
                    a2 = w[2] * int(x) + a2
                    a3 = w[3] * int(x) + a3
                    x = ptr32(p[1])
                    a0 = w[4] * int(x) + a0
                    a1 = w[5] * int(x) + a1
                    a2 = w[6] * int(x) + a2
                    a3 = w[7] * int(x) + a3
                    x = ptr32(p[2])
                    a0 = w[8] * int(x) + a0
                    a1 = w[9] * int(x) + a1
                    a2 = w[10] * int(x) + a2
                    a3 = w[11] * int(x) + a3
                    x = ptr32(p[3])
                    a0 = w[12] * int(x) + a0
                    a1 = w[13] * int(x) + a1
                    a2 = w[14] * int(x) + a2
                    a3 = w[15] * int(x) + a3
                    w = ptr8(int(w) + 16)
                    p = ptr32(int(p) + 16)
                while int(p) < end:
                    x = ptr32(p[0])
                    a0 = w[0] * int(x) + a0
                    a1 = w[1] * int(x) + a1
                    a2 = w[2] * int(x) + a2
                    a3 = w[3] * int(x) + a3
                    w = ptr8(int(w) + 4)
                    p = ptr32(int(p) + 4)
                c = 4
                if i < 4:
                    c = i
                i -= 4
                while c:
                    v = (((a0 - weight) & mask) ^ m) - m << k
                    a0 = a1
                    a1 = a2
                    a2 = a3
                    v = ((v >> 16) * mul + (((v & 0xFFFF) * mul) >> 16) + rnd) >> s
                    ptr32(out)[0] = v
                    out += 4
                    c -= 1
                row ^= v_up >> 1  # the other half of these words, or the next ones
                if row & 2 == 0:
                    row += context << 2
            h += 1
        t += 1


@micropython.viper
def gate(g: ptr32, u: ptr32):
    rec = g
    arena = u
    m = 1
    m <<= 31
    base = int(arena) - 0x20000000
    stride = arena[3] << 2
    n = rec[2] << 2
    table = rec[3]
    if table:
        table += base
    f = rec[4]
    k = f - 5
    half = 1 << (k - 1)
    low = (1 << k) - 1
    odd = rec[6]
    down = 17 - f
    up = 0
    if odd:
        down -= 2
        if down < 0:
            down = 0
            up = 1
    rnd = (1 << down) >> 1
    t = 0
    while t < arena[1]:
        frame = t * stride
        # Activation in place: max(x, 0) less a table of |x|, or 1 less it with the sign of x.
        g = ptr32(base + rec[0] + frame)
        end = int(g) + n
        a = 0
        while int(g) < end:
            v = (g[0] ^ m) - m
            x = v
            if v < 0:
                x = 0 - v
            d = 0
            if table:
                if int(uint(x) >> k) < 512:
                    p = ptr16(table + ((x >> k) << 1))
                    d = p[0]
                    d += ((p[1] - d) * (x & low) + half) >> k
                    d = ((d << up) + rnd) >> down
            if odd:
                d = (1 << f) - d
                if v < 0:
                    v = 0 - d
                elif v:
                    v = d
            else:
                if v < 0:
                    v = 0
                v -= d
            g[0] = v
            if v < 0:
                v = 0 - v
            if v > a:
                a = v
            g = ptr32(int(g) + 4)
        if rec[1]:
            s = 0
            v = a >> 15
            while v > 0:
                v >>= 1
                s += 1
            u = ptr32(base + rec[1] + frame)
            end = int(u) + n
            a = 0
            while int(u) < end:
                v = (u[0] ^ m) - m
                if v < 0:
                    v = 0 - v
                if v > a:
                    a = v
                u = ptr32(int(u) + 4)
            x = 0
            v = a >> 15
            while v > 0:
                v >>= 1
                x += 1
            ptr32(base + rec[5] + frame)[0] = s + x
            rs = (1 << s) >> 1
            rx = (1 << x) >> 1
            g = ptr32(base + rec[0] + frame)
            u = ptr32(base + rec[1] + frame)
            while int(u) < end:
                v = (((g[0] ^ m) - m) + rs) >> s
                g[0] = v * ((((u[0] ^ m) - m) + rx) >> x)
                g = ptr32(int(g) + 4)
                u = ptr32(int(u) + 4)
        t += 1


@micropython.viper
def pool(rec: ptr32, arena: ptr32):
    m = 1
    m <<= 31
    mask = m + m - 1
    to = ptr32(int(arena) - 0x20000000 + rec[0])
    stride = arena[3] << 2
    n = rec[1]
    count = arena[1]
    if rec[2] == 0:
        x = ptr32(int(to) + (count - 1) * stride)
        while n:
            to[0] = x[0]
            to = ptr32(int(to) + 4)
            x = ptr32(int(x) + 4)
            n -= 1
        arena[0] += count - 1
    elif rec[2] == 2 and count > 1:
        # One more bit for 2 and 3 than the definition has keeps sums of 32 bits in range, and
        # changes nothing; one vector is its own mean.
        s = 14
        v = count | 4
        while v > 0:
            v >>= 1
            s += 1
        mul = (1 << s) // count
        s -= 16
        while n:
            x = to
            v = 0
            t = count
            while t:
                v += x[0]
                x = ptr32(int(x) + stride)
                t -= 1
            v = ((v & mask) ^ m) - m
            v = (v >> 16) * mul + int(uint((v & 0xFFFF) * mul) >> 16)
            to[0] = (v >> s) + ((v >> (s - 1)) & 1)
            to = ptr32(int(to) + 4)
            n -= 1
    arena[1] = 1


@micropython.viper
def layernorm(x: ptr32, y: ptr32):
    rec = x
    arena = y
    m = 1
    m <<= 31
    base = int(arena) - 0x20000000
    stride = arena[3] << 2
    n = rec[2]
    lg = rec[7]
    t = 0
    while t < arena[1]:
        frame = t * stride
        q = base + rec[1] + frame
        end = q + (n << 2)
        # Copy, and find the largest magnitude.
        x = ptr32(base + rec[0] + frame)
        y = ptr32(q)
        a = 0
        while int(y) < end:
            v = (x[0] ^ m) - m
            y[0] = v
            if v < 0:
                v = 0 - v
            if v > a:
                a = v
            x = ptr32(int(x) + 4)
            y = ptr32(int(y) + 4)
        down = 0 - 15
        v = a
        while v > 0:
            v >>= 1
            down += 1
        s = down
        up = 0
        if down < 0:
            up = 0 - down
            down = 0
        rnd = (1 << down) >> 1
        mean = 0
        y = ptr32(q)
        while int(y) < end:
            v = ((((y[0] ^ m) - m) << up) + rnd) >> down
            y[0] = v
            mean += v
            y = ptr32(int(y) + 4)
        # n times the distance from the mean, which is exact.
        a = 0
        y = ptr32(q)
        while int(y) < end:
            v = n * ((y[0] ^ m) - m) - mean
            y[0] = v
            if v < 0:
                v = 0 - v
            if v > a:
                a = v
            y = ptr32(int(y) + 4)
        down = 0 - 15
        v = a
        while v > 0:
            v >>= 1
            down += 1
        s += down
        up = 0
        if down < 0:
            up = 0 - down
            down = 0
        rnd = (1 << down) >> 1
        square = 0
        y = ptr32(q)
        while int(y) < end:
            v = ((((y[0] ^ m) - m) << up) + rnd) >> down
            y[0] = v
            square += (v * v) >> lg
            y = ptr32(int(y) + 4)
        k = ((rec[9] ^ m) - m) - (s << 1)
        if k >= 0:
            if k > 15:
                k = 15
            square += rec[8] << k
        else:
            k = 0 - k
            if k > 31:
                k = 31
            square += rec[8] >> k
        k = 30
        v = square
        while v > 0:
            v >>= 1
            k -= 1
        k >>= 1
        if k >= 0:
            square <<= k << 1
        else:
            square >>= 2
        root = 0
        bit = 1 << 14
        while bit:
            v = root + bit
            if v * v <= square:
                root = v
            bit >>= 1
        if root == 0:
            root = 1
        mul = (rec[3] << 15) // root
        down = 0 - 15
        v = mul
        while v > 0:
            v >>= 1
            down += 1
        mul = (mul + ((1 << down) >> 1)) >> down
        s = ((rec[4] ^ m) - m) - down - k
        if s < 17:
            s = 17
        if s > 47:
            s = 47
        rnd = 1 << (s - 17)
        s -= 16
        g = ptr32(base + rec[5])
        b = ptr32(base + rec[6])
        y = ptr32(q)
        while int(y) < end:
            v = ((y[0] ^ m) - m) * ((g[0] ^ m) - m)
            v = ((v >> 16) * mul + (((v & 0xFFFF) * mul) >> 16) + rnd) >> s
            if rec[6]:
                v += b[0]
                b = ptr32(int(b) + 4)
            y[0] = v
            g = ptr32(int(g) + 4)
            y = ptr32(int(y) + 4)
        t += 1


@micropython.viper
def bias(p: ptr32, out: ptr32):
    rec = p
    arena = out
    base = int(arena) - 0x20000000
    stride = arena[3] << 2
    add = rec[3]
    t = 0
    while t < arena[1]:
        run = ptr32(base + rec[1])
        left = run[1]
        p = ptr32(base + run[0])
        out = ptr32(base + rec[0] + t * stride)
        n = rec[2]
        while n:
            if left == 0:
                run = ptr32(int(run) + 8)
                left = run[1]
                p = ptr32(base + run[0])
            v = p[0]
            if add:
                v += out[0]
            out[0] = v
            p = ptr32(int(p) + 4)
            out = ptr32(int(out) + 4)
            left -= 1
            n -= 1
        t += 1


@micropython.viper
def sample(x: ptr32, arena: ptr32):
    rec = x
    m = 1
    m <<= 31
    base = int(arena) - 0x20000000
    start = base + rec[0]
    end = start + (rec[1] << 2)
    x = ptr32(start)
    best = (x[0] ^ m) - m
    pick = 0
    i = 0
    while int(x) < end:
        v = (x[0] ^ m) - m
        if v > best:
            best = v
            pick = i
        i += 1
        x = ptr32(int(x) + 4)
    mul = rec[3]
    if mul == 0:
        rec[7] = pick
        return
    s = (rec[4] ^ m) - m
    k = 17 - s
    if k < 0:
        k = 0
    if k > 6:
        k = 6
    if s < 17:
        s = 17
    if s > 47:
        s = 47
    exp2 = base + rec[2]
    mass = 0
    x = ptr32(start)
    while int(x) < end:
        d = best - ((x[0] ^ m) - m)
        if d < 0 or d > 0x1000000:  # 32 bits wrap
            d = 0x1000000
        d <<= k
        d = ((d >> 16) * mul + (((d & 0xFFFF) * mul) >> 16) + (1 << (s - 17))) >> (s - 16)
        v = 0
        if d < 16384:
            v = ptr32(exp2 + ((d >> 3) & 124))[0]
            v = (v * ptr32(exp2 + 128 + ((d & 31) << 2))[0] + 0x4000) >> 15
            v >>= d >> 10
        x[0] = v
        mass += v
        x = ptr32(int(x) + 4)
    low = 1
    if rec[5] < 32768:
        keep = (mass >> 15) * rec[5] + (((mass & 32767) * rec[5]) >> 15)
        high = 32769
        while high - low > 1:
            mid = (low + high) >> 1
            part = 0
            x = ptr32(start)
            while int(x) < end:
                if x[0] >= mid:
                    part += x[0]
                x = ptr32(int(x) + 4)
            if part >= keep:
                low = mid
            else:
                high = mid
        mass = 0
        x = ptr32(start)
        while int(x) < end:
            if x[0] >= low:
                mass += x[0]
            x = ptr32(int(x) + 4)
    # xorshift32; a store and a load cut it to 32 bits on 64-bit ports.
    v = rec[6]
    rec[6] = v ^ (v << 13)
    v = rec[6]
    v = v ^ int(uint(v) >> 17)
    rec[6] = v ^ (v << 5)
    v = int(uint(rec[6]) >> 2)
    # floor(mass * v / 2**30), in two halves of 15 bits each
    a = mass >> 15
    b = mass & 32767
    c = v >> 15
    d = v & 32767
    left = a * c + ((a * d + b * c + ((b * d) >> 15)) >> 15)
    i = 0
    x = ptr32(start)
    while int(x) < end:
        if x[0] >= low:
            left -= x[0]
            if left < 0:
                rec[7] = i
                return
        i += 1
        x = ptr32(int(x) + 4)
