"""Kernels in plain Python: the readable family, equal to every other bit for bit.

A kernel is called as `kernel(record, memory)`. `record` is an indexable of the step's words
(docs/format.md names them); `memory` is the list of the model's regions, each an indexable of
32-bit words. An operand is `offset << 6 | region`. docs/numerics.md defines each operation.

Reference for reading, and the fallback where a port has no native code emitter. It makes
temporary integers, so on such a port a token leaves garbage; the native families make none.
"""

BIAS = 0  # operands stay (region, offset) pairs: nothing to relocate


def _bits(v):
    """Number of bits of v >= 0."""
    n = 0
    while v:
        v >>= 1
        n += 1
    return n


def _shift(v, s):
    """v / 2**s, half added before the shift; exact to the left."""
    return (v + (1 << (s - 1))) >> s if s > 0 else v << -s


def _rescale(acc, m, s, room):
    """acc * m / 2**s with one rounding; s is held to 17 - room ... 47."""
    if s < 17 - room:
        s = 17 - room
    if s > 47:
        s = 47
    return (acc * m + (1 << (s - 1))) >> s


def _half(words, i):
    """The i-th 16-bit half of a word array."""
    return (words[i >> 1] >> ((i & 1) << 4)) & 0xFFFF


def _signed(h):
    return (h ^ 0x8000) - 0x8000


def _low(v):
    """The low 32 bits of v as a signed word, as a store makes them."""
    v &= 0xFFFFFFFF
    return v - 0x100000000 if v & 0x80000000 else v


def _group(memory, runs, skip, n):
    """n words of the matrix that `runs` describes, from word `skip` on."""
    table = memory[runs & 63]
    i = runs >> 6
    out = []
    while n:
        words = table[i + 1]
        if skip < words:
            piece = memory[table[i] & 63]
            start = (table[i] >> 6) + skip
            k = min(n, words - skip)
            for j in range(start, start + k):
                out.append(piece[j])
            n -= k
            skip += k
        skip -= words
        i += 2
    return out


def _amax(m, at, n):
    a = 0
    for i in range(at, at + n):
        a = max(a, abs(m[i]))
    return a


def _normalize(m, at, n, floor):
    """Shift n words in place so that the largest has 15 bits; return (largest, shift)."""
    a = _amax(m, at, n)
    s = max(_bits(a) - 15, floor)
    for i in range(at, at + n):
        m[i] = _shift(m[i], s)
    return max(_shift(a, s), 1), s


def _quantize(m, at, n, a, bits):
    """Words of magnitude <= a to `bits`-bit integers in place; return their sum."""
    f = 31 - bits
    r = (((1 << (bits - 1)) - 1) << f) // a
    total = 0
    for i in range(at, at + n):
        m[i] = (m[i] * r + (1 << (f - 1))) >> f
        total += m[i]
    return total


def _rotate(m, at, n, table, row):
    """Rotate the n words of one head in place, element i with element i + n/2; return amax."""
    half = n >> 1
    for i in range(half):
        w = table[row + i]
        c = _signed(w & 0xFFFF)
        s = _signed((w >> 16) & 0xFFFF)
        a = m[at + i]
        b = m[at + half + i]
        m[at + i] = (a * c - b * s + 0x4000) >> 15
        m[at + half + i] = (a * s + b * c + 0x4000) >> 15
    return max(_amax(m, at, n), 1)


def _frames(arena):
    """(stride, count) of the group of positions in the arena."""
    return arena[3], arena[1]


def embed(rec, memory):
    x, w, n, shift, first, count, base, position = (
        rec[0], rec[1], rec[2], rec[3], rec[4], rec[5], rec[6], rec[7],
    )  # fmt: skip
    arena = memory[0]
    stride, total = _frames(arena)
    for t in range(first, count or total):
        at = (x >> 6) + t * stride
        word = arena[16 + t * stride]
        row = (word & 0xFFFF, arena[0] + t, word >> 16)[position]
        group = _group(memory, w, ((row >> 2) - base) * (n + 2), n + 2)
        lane = row & 3
        m = (group[n + (lane >> 1)] >> ((lane & 1) << 4)) & 0xFFFF
        for c in range(n):
            v = _shift((((group[c] >> (lane << 3)) & 255) - 128) * m, shift)
            arena[at + c] = _low(arena[at + c] + v) if position else v


def windows(rec, memory):
    """Cut the signal, each channel brought to its own scale, into windows of rows."""
    out, rows, channels, high, wide, down, right, before, tokens, table = (
        rec[0], rec[2], rec[4], rec[5], rec[6], rec[7], rec[8], rec[9], rec[11], rec[12],
    )  # fmt: skip
    arena = memory[0]
    stride, count = _frames(arena)
    at = table >> 6
    scales = memory[table & 63]
    x = memory[-1]
    row = -before
    column = 0
    for t in range(count):
        to = (out >> 6) + t * stride
        for y in range(row, row + high):
            for c in range(column, column + wide):
                v = 0
                if t >= tokens and 0 <= y < rows:
                    v = x[y * channels + c] * scales[at + c] + scales[at + channels + c]
                    v >>= scales[at + 2 * channels + c]
                arena[to] = v
                to += 1
        if t >= tokens:
            column += right
            if column + wide > channels:
                column = 0
                row += down


def _root(square, eps, shift):
    """(r, k): r * 2**-k is the root of square and an epsilon; r is 1 or more."""
    square += eps << min(shift, 15) if shift >= 0 else eps >> min(-shift, 31)
    k = (30 - _bits(square)) >> 1
    square = square << (2 * k) if k >= 0 else square >> 2
    root = 0
    bit = 1 << 14
    while bit:
        if (root + bit) * (root + bit) <= square:
            root += bit
        bit >>= 1
    return max(root, 1), k


def norm(rec, memory):
    x, q, n, bits, dyn, c, e, gain = (
        rec[0], rec[1], rec[2], rec[3], rec[4], rec[5], rec[6], rec[7],
    )  # fmt: skip
    arena = memory[0]
    stride, total = _frames(arena)
    for t in range(total):
        at = (x >> 6) + t * stride
        to = (q >> 6) + t * stride
        e_t = e + (arena[(dyn >> 6) + t * stride] if dyn else 0)
        for i in range(n):
            arena[to + 4 + i] = arena[at + i]
        a, s = _normalize(arena, to + 4, n, -15)
        if gain:
            g = memory[gain & 63]
            lg = rec[8]
            square = 0
            for i in range(n):
                v = arena[to + 4 + i]
                square += (v * v) >> lg
                arena[to + 4 + i] = v * g[(gain >> 6) + i]
            root, k = _root(square, rec[9], rec[10] - 2 * s)
            a, s = _normalize(arena, to + 4, n, -15)
            scale = (2 * a * c) // root
            e_t += k - 1
        else:
            scale = a * c
        total_q = _quantize(arena, to + 4, n, a, bits)
        b = _bits(scale) - 14
        arena[to] = _shift(scale, b)
        arena[to + 1] = e_t + s + b
        arena[to + 2] = total_q


def linear(rec, memory):
    x, out, w, cols, s0, room, add = rec[0], rec[1], rec[2], rec[3], rec[5], rec[6], rec[7]
    arena = memory[0]
    stride, total = _frames(arena)
    for g in range(rec[9]):
        group = _group(memory, w, g * (cols + 2), cols + 2)
        for t in range(total):
            at = (x >> 6) + t * stride
            to = (out >> 6) + t * stride + 4 * (rec[8] + g)
            for lane in range(4):
                acc = 0
                for c in range(cols):
                    acc += (((group[c] >> (lane << 3)) & 255) - 128) * arena[at + 4 + c]
                m = (group[cols + (lane >> 1)] >> ((lane & 1) << 4)) & 0xFFFF
                m = (m * arena[at] + 0x2000) >> 14
                v = _rescale(acc, m, s0 - arena[at + 1], room)
                arena[to + lane] = arena[to + lane] + v if add else v


def _pack(a):
    """A scale of 11 mantissa bits that is not below a: (mantissa, shift)."""
    t = max(_bits(a) - 11, 0)
    m = (a + (1 << t) - 1) >> t
    if m == 2048:
        m = 1024
        t += 1
    return m, t


def _quantize4(m, at, n, a):
    """Words of magnitude <= a to -8..7 in place; each stands for itself and a half, a for 7.5."""
    r = (15 << 26) // a
    for i in range(at, at + n):
        m[i] = (m[i] * r) >> 27


def _layout(cache, heads, size, context, k_bits, v_bits):
    """Of a cache: bits of a key's lane, words of a head's keys by their size and of its values by
    the context; where keys, values and scales begin.
    """
    lane = 16 if k_bits > 8 else 8
    groups = (context * lane + 31) >> 5
    quads = (size * v_bits + 31) >> 5
    keys = cache >> 6
    values = keys + heads * groups * size
    return lane, groups, quads, keys, values, values + heads * quads * context


def _put(words, i, lane, bits, v):
    """Put v into `bits` bits of a word, from bit `lane` on; the others stay."""
    words[i] = _low(words[i] & ~(((1 << bits) - 1) << lane) | v << lane)


def store(rec, memory):
    k, v, cache, heads, size, rope, k_bits, v_bits = (
        rec[0], rec[1], rec[2], rec[3], rec[4], rec[5], rec[6], rec[7],
    )  # fmt: skip
    arena = memory[0]
    stride, total = _frames(arena)
    context = arena[2]
    mem = memory[cache & 63]
    width, groups, quads, k_at, v_at, s_at = _layout(cache, heads, size, context, k_bits, v_bits)
    for t in range(total):
        pos = arena[0] + t
        for h in range(heads):
            at = (k >> 6) + t * stride + h * size
            a, s = _normalize(arena, at, size, -10)
            if rope:
                a = _rotate(arena, at, size, memory[rope & 63], (rope >> 6) + pos * (size >> 1))
            m, e = _pack(a)
            scales = m | (s + e + 10) << 11
            _quantize(arena, at, size, m << e, k_bits)
            lane = pos * width
            to = k_at + (h * groups + (lane >> 5)) * size
            for i in range(size):
                _put(mem, to + i, lane & 31, width, arena[at + i] + (1 << (k_bits - 1)))
            at = (v >> 6) + t * stride + h * size
            a, s = _normalize(arena, at, size, -10)
            m, e = _pack(a)
            scales |= (m | (s + e + 10) << 11) << 16
            if v_bits == 4:
                _quantize4(arena, at, size, m << e)
            else:
                _quantize(arena, at, size, m << e, v_bits)
            to = v_at + h * quads * context + pos
            for i in range(size):
                lane = i * v_bits
                v_i = arena[at + i] + (1 << (v_bits - 1))
                _put(mem, to + (lane >> 5) * context, lane & 31, v_bits, v_i)
            mem[s_at + h * context + pos] = _low(scales)


def attend(rec, memory):
    q, out, cache, heads, kv_heads, size, rope, table, scores = (
        rec[0], rec[1], rec[2], rec[3], rec[4], rec[5], rec[6], rec[7], rec[8],
    )  # fmt: skip
    mc, se, vn, ve, ps, whole = rec[9], rec[10], rec[11], rec[12], rec[13], rec[14]
    bias, k_bits, v_bits = rec[15], rec[17], rec[18]
    lean = memory[bias & 63]
    arena = memory[0]
    stride, total = _frames(arena)
    context = arena[2]
    mem = memory[cache & 63]
    tab = memory[table & 63]
    exp2 = table >> 6
    width, groups, quads, k_at, v_at, s_at = _layout(
        cache, kv_heads, size, context, k_bits, v_bits
    )
    # Keys count as of 12 bits, values as of 8.
    k_zero, k_up, k_mask = 1 << (k_bits - 1), 12 - k_bits, (1 << width) - 1
    v_zero, v_up, v_mask = 128 if v_bits == 8 else 120, 8 - v_bits, (1 << v_bits) - 1
    sc = scores >> 6
    for t in range(total):
        pos = arena[0] + t
        length = arena[3 + whole] if whole else pos + 1
        for h in range(heads):
            g = h // (heads // kv_heads)
            at = (q >> 6) + t * stride + h * size
            a, s = _normalize(arena, at, size, -15)
            if rope:
                a = _rotate(arena, at, size, memory[rope & 63], (rope >> 6) + pos * (size >> 1))
            _quantize(arena, at, size, a, 12)
            a *= mc
            la = _bits(a)
            a = _shift(a, la - 15)
            best = -0x7FFFFFFF
            e_max = 0
            for p in range(length):
                lane = p * width
                row = k_at + (g * groups + (lane >> 5)) * size
                lane &= 31
                acc = 0
                for i in range(size):
                    acc += (((mem[row + i] >> lane) & k_mask) - k_zero) * arena[at + i]
                w = mem[s_at + g * context + p]
                m = (a * (w & 2047) + 1024) >> 11
                v = _rescale(acc << k_up, m, se - la - s - ((w >> 11) & 31), 0)
                if bias:
                    v += lean[(bias >> 6) + h * rec[16] + p - pos]
                arena[sc + p] = v
                best = max(best, v)
                e_max = max(e_max, (w >> 27) & 31)
            den = 0
            weight = 0
            for p in range(length):
                d = best - arena[sc + p]
                v = 0
                if d < 16384:
                    v = (tab[exp2 + (d >> 5 & 31)] * tab[exp2 + 32 + (d & 31)] + 0x4000) >> 15
                    v >>= d >> 10
                den += v
                w = mem[s_at + g * context + p] >> 16
                v = _shift(v * (w & 2047), min(11 + ps + e_max - (w >> 11 & 31), 31))
                arena[sc + p] = v
                weight += v
            bits = _bits(den)
            m = vn // (den >> (bits - 16))
            room = max(24 - _bits(weight), 0)
            to = (out >> 6) + t * stride + h * size
            for i in range(size):
                lane = i * v_bits
                row = v_at + (g * quads + (lane >> 5)) * context
                lane &= 31
                acc = 0
                for p in range(length):
                    n = (mem[row + p] >> lane) & v_mask
                    acc += ((n << v_up) - v_zero) * arena[sc + p]
                arena[to + i] = _rescale(acc, m, ve + bits - e_max, room)


def gate(rec, memory):
    g, u, n, table, f, dyn, odd = rec[0], rec[1], rec[2], rec[3], rec[4], rec[5], rec[6]
    arena = memory[0]
    stride, total = _frames(arena)
    tab = memory[table & 63]
    at0 = (table >> 6) << 1
    k = f - 5
    for t in range(total):
        at = (g >> 6) + t * stride
        up = (u >> 6) + t * stride
        for i in range(n):
            v = arena[at + i]
            x = abs(v)
            d = 0
            if table and (x >> k) < 512:
                j = at0 + (x >> k)
                d = _half(tab, j)
                d += ((_half(tab, j + 1) - d) * (x & ((1 << k) - 1)) + (1 << (k - 1))) >> k
                d = _shift(d, (15 if odd else 17) - f)
            if odd:
                d = (1 << f) - d if v else 0
                arena[at + i] = d if v > 0 else -d
            else:
                arena[at + i] = max(v, 0) - d
        if not u:
            continue
        a, s = _normalize(arena, at, n, 0)
        s2 = max(_bits(_amax(arena, up, n)) - 15, 0)
        for i in range(n):
            arena[at + i] *= _shift(arena[up + i], s2)
        arena[(dyn >> 6) + t * stride] = s + s2


def pool(rec, memory):
    arena = memory[0]
    stride, total = _frames(arena)
    at = rec[0] >> 6
    how = rec[2]
    if how == 0:
        for i in range(rec[1]):
            arena[at + i] = arena[at + i + (total - 1) * stride]
        arena[0] += total - 1
    elif how == 2:
        b = _bits(total)
        m = (1 << (14 + b)) // total
        for i in range(rec[1]):
            v = 0
            for t in range(total):
                v += arena[at + i + t * stride]
            arena[at + i] = _rescale(v, m, 14 + b, 2)
    arena[1] = 1


def layernorm(rec, memory):
    x, out, n, scale, e, gain, bias, lg = (
        rec[0], rec[1], rec[2], rec[3], rec[4], rec[5], rec[6], rec[7],
    )  # fmt: skip
    arena = memory[0]
    stride, total = _frames(arena)
    g = memory[gain & 63]
    b = memory[bias & 63]
    for t in range(total):
        at = (x >> 6) + t * stride
        to = (out >> 6) + t * stride
        for i in range(n):
            arena[to + i] = arena[at + i]
        _, s = _normalize(arena, to, n, -15)
        mean = 0
        for i in range(n):
            mean += arena[to + i]
        for i in range(n):
            arena[to + i] = n * arena[to + i] - mean
        _, s2 = _normalize(arena, to, n, -15)
        square = 0
        for i in range(n):
            v = arena[to + i]
            square += (v * v) >> lg
        root, k = _root(square, rec[8], rec[9] - 2 * (s + s2))
        m = (scale << 15) // root
        d = _bits(m) - 15
        m = _shift(m, d)
        for i in range(n):
            v = _rescale(arena[to + i] * g[(gain >> 6) + i], m, e - d - k, 0)
            arena[to + i] = _low(v + b[(bias >> 6) + i]) if bias else v


def bias(rec, memory):
    out, n, add = rec[0], rec[2], rec[3]
    arena = memory[0]
    stride, total = _frames(arena)
    v = _group(memory, rec[1], 0, n)
    for t in range(total):
        at = (out >> 6) + t * stride
        for i in range(n):
            # A word of the weights may come unsigned.
            arena[at + i] = _low(arena[at + i] + v[i] if add else v[i])


def sample(rec, memory):
    logits, n, table, m, s, top_p = rec[0], rec[1], rec[2], rec[3], rec[4], rec[5]
    arena = memory[logits & 63]
    at = logits >> 6
    best = 0
    for i in range(1, n):
        if arena[at + i] > arena[at + best]:
            best = i
    if m == 0:
        rec[7] = best
        return
    tab = memory[table & 63]
    exp2 = table >> 6
    top = arena[at + best]
    mass = 0
    for i in range(n):
        d = min(top - arena[at + i], 1 << 24)
        d = _rescale(d, m, s, 6)
        v = 0
        if d < 16384:
            v = (tab[exp2 + (d >> 5 & 31)] * tab[exp2 + 32 + (d & 31)] + 0x4000) >> 15
            v >>= d >> 10
        arena[at + i] = v
        mass += v
    low = 1
    if top_p < 32768:
        keep = (mass * top_p) >> 15
        high = 32769
        while high - low > 1:
            mid = (low + high) >> 1
            part = 0
            for i in range(n):
                if arena[at + i] >= mid:
                    part += arena[at + i]
            if part >= keep:
                low = mid
            else:
                high = mid
        mass = 0
        for i in range(n):
            if arena[at + i] >= low:
                mass += arena[at + i]
    r = rec[6] & 0xFFFFFFFF
    r = (r ^ (r << 13)) & 0xFFFFFFFF
    r ^= r >> 17
    r = (r ^ (r << 5)) & 0xFFFFFFFF
    rec[6] = _low(r)
    left = (mass * (r >> 2)) >> 30
    for i in range(n):
        if arena[at + i] >= low:
            left -= arena[at + i]
            if left < 0:
                rec[7] = i
                return


# Weights of 4 bits


def _size4(cols, span):
    """Words of a row group of eight rows: columns, scales, multipliers."""
    return cols + (cols + span - 1) // span + 4


def _row4(group, lane, cols, span):
    """(weights times the scales of their groups, multiplier) of a row of a row group."""
    out = []
    i = scale = 0
    for c in range(cols):
        if c % span == 0:
            scale = group[i] >> (lane << 2) & 15
            i += 1
        out.append(((group[i] >> (lane << 2) & 15) - 8) * scale)
        i += 1
    return out, (group[i + (lane >> 1)] >> ((lane & 1) << 4)) & 0xFFFF


def embed4(rec, memory):
    x, w, n, shift, first, count, base, position, span = (
        rec[0], rec[1], rec[2], rec[3], rec[4], rec[5], rec[6], rec[7], rec[8],
    )  # fmt: skip
    arena = memory[0]
    stride, total = _frames(arena)
    size = _size4(n, span)
    for t in range(first, count or total):
        at = (x >> 6) + t * stride
        word = arena[16 + t * stride]
        row = (word & 0xFFFF, arena[0] + t, word >> 16)[position]
        group = _group(memory, w, ((row >> 3) - base) * size, size)
        q, m = _row4(group, row & 7, n, span)
        for c in range(n):
            v = _shift(q[c] * m, shift)
            arena[at + c] = _low(arena[at + c] + v) if position else v


def linear4(rec, memory):
    x, out, w, cols, s0, room, add, span = (
        rec[0], rec[1], rec[2], rec[3], rec[5], rec[6], rec[7], rec[10],
    )  # fmt: skip
    arena = memory[0]
    stride, total = _frames(arena)
    size = _size4(cols, span)
    rows = 4 * rec[9]
    for g in range(0, rows, 8):
        group = _group(memory, w, (g >> 3) * size, size)
        for lane in range(min(8, rows - g)):
            q, m0 = _row4(group, lane, cols, span)
            for t in range(total):
                at = (x >> 6) + t * stride
                to = (out >> 6) + t * stride + 4 * rec[8] + g + lane
                acc = 0
                for c in range(cols):
                    acc += q[c] * arena[at + 4 + c]
                m = (m0 * arena[at] + 0x2000) >> 14
                v = _rescale(acc, m, s0 - arena[at + 1], room)
                arena[to] = arena[to] + v if add else v
