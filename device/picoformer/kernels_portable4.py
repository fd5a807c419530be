"""Kernels in plain Python for weights of 4 bits; see portable.py."""

from .kernels_portable import _frames, _group, _low, _rescale, _shift


def _size(cols, span):
    """Words of a row group of eight rows: columns, scales, multipliers."""
    return cols + (cols + span - 1) // span + 4


def _row(group, lane, cols, span):
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
    size = _size(n, span)
    for t in range(first, count or total):
        at = (x >> 6) + t * stride
        word = arena[16 + t * stride]
        row = (word & 0xFFFF, arena[0] + t, word >> 16)[position]
        group = _group(memory, w, ((row >> 3) - base) * size, size)
        q, m = _row(group, row & 7, n, span)
        for c in range(n):
            v = _shift(q[c] * m, shift)
            arena[at + c] = _low(arena[at + c] + v) if position else v


def linear4(rec, memory):
    x, out, w, cols, s0, room, add, span = (
        rec[0], rec[1], rec[2], rec[3], rec[5], rec[6], rec[7], rec[10],
    )  # fmt: skip
    arena = memory[0]
    stride, total = _frames(arena)
    size = _size(cols, span)
    rows = 4 * rec[9]
    for g in range(0, rows, 8):
        group = _group(memory, w, (g >> 3) * size, size)
        for lane in range(min(8, rows - g)):
            q, m0 = _row(group, lane, cols, span)
            for t in range(total):
                at = (x >> 6) + t * stride
                to = (out >> 6) + t * stride + 4 * rec[8] + g + lane
                acc = 0
                for c in range(cols):
                    acc += q[c] * arena[at + 4 + c]
                m = (m0 * arena[at] + 0x2000) >> 14
                v = _rescale(acc, m, s0 - arena[at + 1], room)
                arena[to] = arena[to] + v if add else v
