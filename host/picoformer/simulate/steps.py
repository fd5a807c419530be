"""The definition of the steps, in numpy integers: whatever a board computes must equal this.

Each is a function of the memory and of the step's fields, by their names in docs/format.md;
docs/numerics.md has the same in words. Operands name words of the frames, (positions, stride), of
the tables or of the weights. `first`, `count`, `base` and `scores` are for a board's loader.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..compile.matrices import Matrix4
from ..errors import Error
from ..graph.nodes import Array
from . import integers
from .integers import (
    amax,
    dot,
    fit,
    normalize,
    pack_scale,
    rescale,
    root,
    rotate,
    round_to,
    round_to_4,
)
from .memory import Cache, Memory


def embed(
    m: Memory, *, x: int, weights: int, n: int, shift: int, first: int, count: int, base: int,
    position: int, span: int = 0,
) -> None:  # fmt: skip
    matrix = m.matrix(weights, (m.vocab, m.context, 2)[position], n, span)
    word = m.frames[:, 0]
    at = (word & 0xFFFF, m.start + np.arange(len(word)), word >> 16)[position]
    y = integers.shift(matrix.scaled[at] * matrix.mantissa[at, None], shift)
    to = m.value(x, n)
    to[:] = fit(to + y) if position else y


def windows(
    m: Memory, *, out: int, input: int, rows: int, length: int, channels: int, height: int,
    width: int, down: int, right: int, before: int, behind: int, tokens: int, table: int,
) -> None:  # fmt: skip
    mul, add, right_by = m.table(table, 3 * channels).reshape(3, channels)
    values = m.signal.reshape(-1, channels)
    values = fit(values * mul + add) >> right_by
    across = (channels - width) // right + 1
    n = len(m.frames) - tokens
    last = before + (n + across - 1) // across * down + height
    padded = np.pad(values, ((before, max(0, last - len(values))), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (height, width))
    cut = views[::down, ::right].reshape(-1, height * width)
    m.value(out, height * width)[tokens:] = cut[:n]


def norm(
    m: Memory, *, x: int, out: int, n: int, bits: int, dyn: int, scale: int, exponent: int,
    gain: int, lg: int, eps: int, eps_e: int,
) -> None:  # fmt: skip
    e = np.full((len(m.frames), 1), exponent, np.int64)
    if dyn:
        e = e + m.value(dyn, 1)
    y, a, s = normalize(m.value(x, n), -15)
    if gain:
        square = fit((fit(y * y) >> lg).sum(-1, keepdims=True))
        y = fit(y * m.table(gain, n))
        r, k = root(square, eps, eps_e, s)
        y, a, s = normalize(y, -15)
        c = fit(2 * fit(a * scale)) // r
        e = e + k - 1
    else:
        c = fit(a * scale)
    y = round_to(y, a, bits)
    b = integers.bits(c) - 14
    to = m.value(out, 4 + n)
    to[:, 0:1] = integers.shift(c, b)
    to[:, 1:2] = fit(e + s + b)
    to[:, 2] = y.sum(-1)
    to[:, 4:] = y


def linear(
    m: Memory, *, x: int, out: int, weights: int, cols: int, groups: int, shift: int, room: int,
    add: int, first: int, count: int,
) -> None:  # fmt: skip
    matrix = m.matrix(weights, 4 * groups, cols)
    acc = dot(m.value(x, 4 + cols)[:, 4:], matrix.q.T)
    _product(m, x, out, acc, matrix.mantissa, shift, room, add)


def linear4(
    m: Memory, *, x: int, out: int, weights: int, cols: int, groups: int, shift: int, room: int,
    add: int, first: int, count: int, span: int,
) -> None:  # fmt: skip
    matrix = m.matrix(weights, 4 * groups, cols, span)
    assert isinstance(matrix, Matrix4)
    elements = m.value(x, 4 + cols)[:, 4:]
    # Sums of sixteen columns at most, exact in float64.
    pad = ((0, 0), (0, -cols % 16))
    e, q = (
        np.pad(v, pad).astype(np.float64).reshape(len(v), -1, 16).transpose(1, 0, 2)
        for v in (elements, matrix.q)
    )
    sums = (e @ q.transpose(0, 2, 1)).astype(np.int64)
    if np.abs(sums).max() >= 1 << 15:
        raise Error("a sum of 16 products does not fit 16 bits: activations of more than 9")
    scale = np.repeat(matrix.scale, span // 16, 1)[:, : len(sums)]
    acc = fit((sums * scale.T[:, None, :]).sum(0))
    _product(m, x, out, acc, matrix.mantissa, shift, room, add)


def _product(
    m: Memory, x: int, out: int, acc: Array, mantissa: Array, shift: int, room: int, add: int
) -> None:
    """The sums (positions, rows) of a matrix with these mantissas, to the result."""
    source = m.value(x, 2)
    mul = fit(mantissa * source[:, 0:1] + 0x2000) >> 14
    y = rescale(acc, mul, fit(shift - source[:, 1:2]), room)
    if out == m.logits_at:
        y = y[:, : m.outputs]
        m.logits = fit(m.logits + y) if add else y
    else:
        to = m.value(out, y.shape[1])
        to[:] = fit(to + y) if add else y


def store(
    m: Memory, *, k: int, v: int, cache: int, heads: int, size: int, rotation: int,
    key_bits: int, value_bits: int,
) -> None:  # fmt: skip
    if cache not in m.caches:
        m.caches[cache] = Cache.empty(heads, m.context, size)
    layer = m.caches[cache]
    now = slice(m.start, m.start + len(m.frames))
    y, a, s = normalize(m.heads(k, heads, size), -10)
    if rotation:
        y = rotate(y, m.rotation(rotation, size))
        a = np.maximum(amax(y), 1)
    scale, e = pack_scale(a)
    layer.k[:, now] = m.keep(k, round_to(y, scale << e, key_bits)) << 12 - key_bits
    layer.km[:, now], layer.ke[:, now] = scale[..., 0], (s + e + 10)[..., 0]
    y, a, s = normalize(m.heads(v, heads, size), -10)
    scale, e = pack_scale(a)
    if value_bits == 4:
        layer.v[:, now] = 16 * m.keep(v, round_to_4(y, scale << e)) + 8
    else:
        layer.v[:, now] = m.keep(v, round_to(y, scale << e, value_bits))
    layer.vm[:, now], layer.ve[:, now] = scale[..., 0], (s + e + 10)[..., 0]


def attend(
    m: Memory, *, q: int, out: int, cache: int, heads: int, kv_heads: int, size: int,
    rotation: int, exp2: int, scores: int, scale: int, exponent: int, num: int, num_e: int,
    ps: int, whole: int, bias: int, row: int, key_bits: int, value_bits: int,
) -> None:  # fmt: skip
    layer = m.caches[cache]
    end = (m.start + len(m.frames), m.end, m.source)[whole]
    share = heads // kv_heads
    y, a, s = normalize(m.heads(q, heads, size), -15)
    if rotation:
        y = rotate(y, m.rotation(rotation, size))
        a = np.maximum(amax(y), 1)
    y = m.keep(q, round_to(y, a, 12))
    a = fit(a * scale)
    la = integers.bits(a)
    a = integers.shift(a, la - 15)

    def past(x: Array) -> Array:
        """What each head of the query sees of the cache."""
        return np.repeat(x[:, :end], share, axis=0)

    km, ke, vm, v_e = (past(x)[:, None, :] for x in (layer.km, layer.ke, layer.vm, layer.ve))
    positions = m.start + np.arange(len(m.frames))
    last = np.full_like(positions, end - 1) if whole else positions
    seen = np.arange(end)[None, :] <= last[:, None]
    acc = dot(y, past(layer.k).transpose(0, 2, 1))
    mul = fit(a * km + 1024) >> 11
    score = rescale(acc, mul, exponent - la - s - ke, 0)
    if bias:
        far = np.where(seen, np.arange(end)[None, :] - positions[:, None], 0)
        head = (bias >> 6) + row * np.arange(heads)[:, None, None]
        score = fit(score + m.tables[head + far])
    best = np.where(seen, score, -(1 << 31)).max(-1, keepdims=True)
    d = fit(np.where(seen, best - score, 0))
    p = integers.exp2(np.where(seen, d, 16384), m.table(exp2, 64))
    e_max = np.maximum.accumulate(layer.ve[:, :end], axis=1)[:, last]
    e_max = np.repeat(e_max, share, axis=0)[..., None]
    down = np.minimum(11 + ps + e_max - v_e, 31)
    w = np.where(seen, integers.shift(fit(p * vm), np.where(seen, down, 31)), 0)
    den = fit(p.sum(-1, keepdims=True))
    n_bits = integers.bits(den)
    inverse = num // (den >> (n_bits - 16))
    room = np.maximum(24 - integers.bits(fit(w.sum(-1, keepdims=True))), 0)
    acc = dot(w, past(layer.v))
    y = rescale(acc, inverse, num_e + n_bits - e_max, room)
    m.keep(out, y)


def gate(
    m: Memory, *, g: int, u: int, n: int, table: int, bits: int, dyn: int, odd: int
) -> None:
    x = m.value(g, n)
    y = np.maximum(x, 0)
    if table:
        words = m.table(table, 257)
        halves = np.stack([words & 0xFFFF, words >> 16 & 0xFFFF], 1).reshape(-1)
        k = bits - 5
        i = np.minimum(np.abs(x) >> k, 512)
        d = halves[i]
        d = d + (((halves[i + 1] - d) * (np.abs(x) & (1 << k) - 1) + (1 << (k - 1))) >> k)
        d = np.where(i < 512, integers.shift(d, (15 if odd else 17) - bits), 0)
        y = np.sign(x) * ((1 << bits) - d) if odd else y - d
    if not u:
        x[:] = y
        return
    y, _, s = normalize(y, 0)
    z, _, s2 = normalize(m.value(u, n), 0)
    m.value(g, n)[:] = fit(y * z)
    m.value(dyn, 1)[:] = s + s2


def layernorm(
    m: Memory, *, x: int, out: int, n: int, scale: int, exponent: int, gain: int, bias: int,
    lg: int, eps: int, eps_e: int,
) -> None:  # fmt: skip
    y, _, s = normalize(m.value(x, n), -15)
    # n times the distance from the mean: exact.
    y, _, s2 = normalize(fit(n * y - y.sum(-1, keepdims=True)), -15)
    r, k = root(fit((fit(y * y) >> lg).sum(-1, keepdims=True)), eps, eps_e, s + s2)
    c = (scale << 15) // r
    b = integers.bits(c) - 15
    y = rescale(fit(y * m.table(gain, n)), integers.shift(c, b), exponent - b - k, 0)
    m.value(out, n)[:] = fit(y + m.table(bias, n)) if bias else y


def bias(m: Memory, *, out: int, weights: int, n: int, add: int) -> None:
    v = m.vector(weights, n)
    if out == m.logits_at:
        m.logits = np.repeat(v[None, : m.outputs], len(m.frames), 0)
    else:
        to = m.value(out, n)
        to[:] = fit(to + v) if add else v


def pool(m: Memory, *, x: int, n: int, how: int) -> None:
    if how == 0:
        return  # every position goes through the head here: nothing is dropped before it
    if how == 2:
        count = len(m.frames)
        b = count.bit_length()
        total = fit(m.value(x, n).sum(0, keepdims=True))
        m.value(x, n)[:1] = rescale(total, (1 << 14 + b) // count, 14 + b, 2)
    m.frames = m.frames[:1]


STEPS: dict[str, Callable[..., None]] = {
    "windows": windows,
    "embed": embed,
    "norm": norm,
    "linear": linear,
    "store": store,
    "attend": attend,
    "gate": gate,
    "pool": pool,
    "layernorm": layernorm,
    "bias": bias,
    "linear4": linear4,
    "embed4": embed,
}
