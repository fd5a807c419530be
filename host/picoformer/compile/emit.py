"""The steps that each kind of node becomes.

Linears of one input become one step; a residual is added by the linear in front of it; what a
linear reads is quantized by the norm in front of it, or by a step of its own.
"""

from __future__ import annotations

import numpy as np

from ..device import regions
from ..errors import Error
from ..graph.activations import ACTIVATIONS
from ..graph.nodes import (
    Add,
    Array,
    Attention,
    Embedding,
    Gate,
    HeadNorm,
    Keep,
    LayerNorm,
    Linear,
    Norm,
    Patches,
)
from .draft import LOGITS, Draft, Ref
from .matrices import Matrix, Matrix4
from .tables import (
    ODD,
    activation_table,
    channel_table,
    distance_table,
    exp2_table,
    fixed,
    float_parts,
    gain_table,
    rotation_table,
)

ACTIVATION_BITS = 12  # of the vectors that a linear reads
# Of those that a linear with weights of 4 bits reads: 16 products of 8 * 255 fit 16 bits.
NARROW_BITS = 9
HOW = {"last": 0, "first": 1, "mean": 2}
ROWS = {"token": 0, "position": 1, "type": 2}


def embed(d: Draft, n: Embedding) -> None:
    at, m = d.weights.matrix([n])
    cols = n.weight.shape[1]
    if n.by == "token":
        # A linear adds whole groups of four rows to it; the padding adds zeros.
        d.words[n.out] = (cols + 3) // 4 * 4
        d.bits[n.out] = d.point(n.out, 20)
        # The shift may not go further left than the format allows.
        for e in d.nodes:
            if isinstance(e, Embedding) and e.out == n.out:
                d.bits[n.out] = min(d.bits[n.out], 8 - d.weights.integers([e]).exponent)
    fields: dict[str, int | Ref] = {
        "x": Ref(n.out), "weights": at, "n": cols, "shift": -(m.exponent + d.bits[n.out]),
        "first": 0, "count": 0, "base": 0, "position": ROWS[n.by],
    }  # fmt: skip
    if isinstance(m, Matrix4):
        d.emit("embed4", value=n.out, span=m.span, **fields)
    else:
        d.emit("embed", value=n.out, **fields)
    d.changed(n.out)
    key = n.out if n.by == "token" else f"{n.out}:{n.by}"
    d.matrices[key] = (m, np.asarray(n.weight)[: len(m.q)])


def patches(d: Draft, n: Patches) -> None:
    """An image's patches are in the frame before the first step; a signal's windows are cut."""
    if d.frames is None:
        d.patches = n.out
        d.words[n.out] = 4 + n.elements
        return
    f = d.frames
    words, d.bits[n.out] = channel_table(f)
    d.words[n.out] = n.elements
    if f.sound:
        d.sound = d.tables.add(f.sound.table)
    d.emit(
        "windows", value=n.out, out=Ref(n.out), input=0, rows=0, length=f.length,
        channels=f.channels, height=f.size[0], width=f.size[1], down=f.stride[0],
        right=f.stride[1], before=f.padding[0], behind=f.padding[1], tokens=f.tokens,
        table=d.tables.add(words),
    )  # fmt: skip


def layernorm(d: Draft, n: LayerNorm) -> None:
    size = n.gain.shape[0]
    if n.out != n.x:
        d.words[n.out] = size
        d.bits[n.out] = d.point(n.out, 20)
    bits = d.bits[n.out]
    gain, exponent, lg, root = _gain(d, n.gain)
    c, e = float_parts(2.0 ** (exponent - 15 + bits) * root)
    eps, eps_e = _epsilon(n.eps * size**3 * 2.0 ** (2 * d.bits[n.x] - lg))
    bias = fixed(n.bias, bits).astype(np.int32)
    d.emit(
        "layernorm", value=n.out, x=d.ref(n.x), out=d.ref(n.out), n=size, scale=c,
        exponent=15 - e, gain=gain, bias=d.tables.add(bias) if bias.any() else 0, lg=lg,
        eps=eps, eps_e=eps_e,
    )  # fmt: skip
    d.changed(n.out)


def _gain(d: Draft, gain: Array) -> tuple[int, int, int, float]:
    """(operand of a table of 15-bit gains, their exponent, lg, sqrt(n / 2**lg))."""
    words, exponent = gain_table(gain)
    lg = int(np.ceil(np.log2(gain.size)))
    return d.tables.add(words), exponent, lg, float(np.sqrt(gain.size / 2**lg))


def _epsilon(eps: float) -> tuple[int, int]:
    return float_parts(eps) if eps > 0 else (0, 0)


def quantized(d: Draft, value: str, norm: Norm | None) -> str:
    """The value as a quantized vector in the frame; made by a norm step.

    The head makes its own: `pool` moves the residual only.
    """
    if value == d.patches:
        return value
    made = norm.out if norm else value
    name = f"{'head' if d.head else 'q'}{d.version.get(value, 0)}:{made}"
    if name in d.words:
        return name
    n_bits = NARROW_BITS if made in d.narrow else ACTIVATION_BITS
    _vector(d, value, d.ref(value), d.size[value], name, n_bits, norm)
    return name


def _vector(
    d: Draft, value: str, x: Ref, n: int, name: str, n_bits: int, norm: Norm | HeadNorm | None
) -> None:
    """The n words of a value from x on as the quantized vector `name`."""
    top = (1 << (n_bits - 1)) - 1
    d.words[name] = 4 + n
    bits = d.bits[value]
    gain = lg = eps = eps_e = 0
    if norm is None:
        c, e = float_parts(1 / top)
        e -= bits
    else:
        gain, exponent, lg, root = _gain(d, norm.gain)
        c, e = float_parts(2.0 ** (exponent - 15) * root / top)
        eps, eps_e = _epsilon(norm.eps * n * 2.0 ** (2 * bits - lg))
    d.emit(
        "norm", x=x, out=Ref(name), n=n, bits=n_bits, dyn=d.dynamic.get(value, 0),
        scale=c, exponent=e, gain=gain, lg=lg, eps=eps, eps_e=eps_e,
    )  # fmt: skip


def headnorm(d: Draft, n: HeadNorm, add: Add | None) -> None:
    """Each head becomes a quantized vector, and words again by a matrix that changes nothing.

    The words come to where they were. If they are no whole groups of rows, that would write over
    the next head before it is read: so they come elsewhere then, each head over the end of the
    one before it.
    """
    x = d.ref(n.x)
    at, m = d.weights.identity(n.size)
    groups = (n.size + 3) // 4
    if add:
        d.bits[n.out], target = d.bits[add.x], d.ref(add.x)
        d.changed(add.x)
    else:
        if n.size % 4:
            d.words[n.out] = (n.heads - 1) * n.size + 4 * groups
        else:
            d.inside[n.out] = x.value, x.offset
        d.bits[n.out], target = d.point(n.out, 19), d.ref(n.out)
    vector = f"heads:{n.out}"
    value = add.x if add and n.heads == 1 else ""  # reports know no values of a head
    for offset in range(0, n.heads * n.size, n.size):
        head, to = (Ref(r.value, r.offset + offset) for r in (x, target))
        _vector(d, n.x, head, n.size, vector, ACTIVATION_BITS, n)
        _multiply(d, vector, to, at, m, d.bits[n.out], int(add is not None), value)


def linear(d: Draft, group: list[Linear], norm: Norm | None, add: Add | None) -> None:
    """Linears of one input, which `norm` makes if it is there, and whose result `add` adds."""
    q = quantized(d, norm.x if norm else group[0].x, norm)
    operand, m = d.weights.matrix(group)
    if _bound(m) >= 1 << 31:
        raise Error(f"{group[0].name}: {m.q.shape[1]} columns overflow a 32-bit sum")
    groups = (len(m.q) + 3) // 4
    target, bits = _target(d, group, groups, add)
    adds = int(add is not None)
    biases = [n.bias if n.bias is not None else np.zeros(len(n.weight)) for n in group]
    if any(b.any() for b in biases):
        vector = d.weights.vector(np.concatenate(biases), bits)
        d.emit("bias", out=target, weights=vector, n=4 * groups, add=adds)
        adds = 1
    if add:
        d.changed(add.x)
    value = add.x if add else "+".join(n.out for n in group)
    d.bits[value] = bits
    _multiply(d, q, target, operand, m, bits, adds, value)
    row = 0
    for n in group:
        part = m.rows(row, row + n.weight.shape[0])
        d.matrices[n.out] = (part, np.asarray(n.weight))
        row += n.weight.shape[0]


def _bound(m: Matrix | Matrix4) -> int:
    """Proof for each row: no order of additions leaves int32 where this is below 2**31."""
    n_bits = NARROW_BITS if isinstance(m, Matrix4) else ACTIVATION_BITS
    return m.magnitude * ((1 << (n_bits - 1)) - 1)


def _multiply(
    d: Draft, q: str, target: Ref, operand: int, m: Matrix | Matrix4, bits: int, adds: int,
    value: str,
) -> None:  # fmt: skip
    """The step of a product of the matrix m with the quantized vector q."""
    rows, cols = m.q.shape
    groups = (rows + 3) // 4
    fields: dict[str, int | Ref] = {
        "x": Ref(q), "out": target, "weights": operand, "cols": cols, "groups": groups,
        "shift": -(14 + m.exponent + bits), "room": min(31 - _bound(m).bit_length(), 14),
        "add": adds, "first": 0, "count": groups,
    }  # fmt: skip
    if isinstance(m, Matrix4):
        d.emit("linear4", value=value, span=m.span, **fields)
    else:
        d.emit("linear", value=value, **fields)


def _target(d: Draft, group: list[Linear], groups: int, add: Add | None) -> tuple[Ref, int]:
    """Where the result of linears goes, of so many row groups, and its fraction bits."""
    if add:
        return d.ref(add.x), d.bits[add.x]
    if group[0].out == "logits":
        return Ref(LOGITS), max(d.point("logits", 19, 16), 0)
    bits = min(map(d.output_point, group))
    name = "+".join(n.out for n in group)
    d.words[name] = groups * 4
    offset = 0
    for n in group:
        d.inside[n.out] = (name, offset)
        d.bits[n.out] = bits
        offset += n.weight.shape[0]
    return Ref(name), bits


def store(d: Draft, a: Attention, shared: bool) -> None:
    # A whole input is through with one attention before the next stores its own.
    shape = (a.kv_heads, a.size)
    if not (shared and shape in d.cache_of):
        d.cache_of[shape] = _new_cache(d, *shape)
    d.cache = d.cache_of[shape]
    _store(d, a, d.cache, a.kv_heads, _rotation(d, a))


def keep(d: Draft, n: Keep) -> None:
    d.kept[n.k] = _new_cache(d, n.heads, n.size)
    _store(d, n, d.kept[n.k], n.heads, 0)


def _new_cache(d: Draft, heads: int, size: int) -> int:
    d.caches.append(regions.pair_words(heads, size, d.key_bits, d.value_bits))
    return len(d.caches) - 1


def _store(d: Draft, n: Attention | Keep, cache: int, heads: int, rotation: int) -> None:
    d.emit(
        "store", k=d.ref(n.k), v=d.ref(n.v), cache=regions.CACHE + cache, heads=heads,
        size=n.size, rotation=rotation, key_bits=d.key_bits, value_bits=d.value_bits,
    )  # fmt: skip


def _rotation(d: Draft, a: Attention) -> int:
    if a.frequencies is None:
        return 0
    return d.tables.add(rotation_table(a.frequencies, d.context))


def attend(d: Draft, a: Attention) -> None:
    # What a largest element counts as: kernels take keys as of 12 bits, values as of 8.
    top_q, top_k = (1 << (ACTIVATION_BITS - 1)) - 1, {12: 2047, 8: 127 << 4}[d.key_bits]
    mc, e = float_parts(np.log2(np.e) * a.factor / (top_q * top_k))
    top_v = {8: 127, 4: 120}[d.value_bits]
    # Probabilities of 2**15 over more than 512 positions would leave int32.
    ps = max(0, int(np.ceil(np.log2(d.context))) - 9)
    d.words[a.out] = a.heads * a.size
    d.bits[a.out] = d.bits[a.v]
    rotation, exp2 = _rotation(d, a), d.tables.add(exp2_table())
    bias, row = _lean(d, a)
    d.emit(
        "attend", value=a.out, q=d.ref(a.q), out=Ref(a.out),
        cache=regions.CACHE + (d.kept[a.k] if a.cross else d.cache),
        heads=a.heads, kv_heads=a.kv_heads, size=a.size, rotation=rotation, exp2=exp2, scores=0,
        scale=mc, exponent=4 - e + d.bits[a.q] + d.bits[a.k],
        num=int(np.floor(2.0**29 * 128 / top_v + 0.5)), num_e=19 - ps, ps=ps,
        whole=2 if a.cross else int(not a.causal), bias=bias, row=row,
        key_bits=d.key_bits, value_bits=d.value_bits,
    )  # fmt: skip


def _lean(d: Draft, a: Attention) -> tuple[int, int]:
    """(operand of the first head's bias at its own position, words of a head), or zeros."""
    behind = d.context - 1
    real = a.lean(behind, 0 if a.causal else behind)
    if real is None:
        return 0, 0
    words = distance_table(real)
    return d.tables.add(words) + (behind << 6), words.shape[1]


def gate(d: Draft, n: Gate) -> None:
    if n.activation not in ACTIVATIONS:
        supported = ", ".join(ACTIVATIONS)
        raise Error(f"activation {n.activation!r} is not supported, only {supported}")
    g = d.ref(n.g)
    d.inside[n.out] = (g.value, g.offset)  # the result takes the gate's place
    table = d.tables.add(activation_table(n.activation)) if n.activation != "relu" else 0
    odd = int(n.activation in ODD)
    d.bits[n.out] = d.bits[n.g]
    u: int | Ref = 0
    dyn: int | Ref = 0
    if n.u is not None:
        if odd:
            raise Error(f"{n.activation} cannot gate a product")
        u = d.ref(n.u)
        d.words["e:" + n.out] = 1
        dyn = d.dynamic[n.out] = Ref("e:" + n.out)
        d.bits[n.out] += d.bits[n.u]
    size, bits = d.size[n.g], d.bits[n.g]
    d.emit("gate", value=n.out, g=g, u=u, n=size, table=table, bits=bits, dyn=dyn, odd=odd)


def pool(d: Draft, residual: str, how: str) -> None:
    """Begin the head: what is only needed of one position, be it the last."""
    d.emit("pool", x=Ref(residual), n=d.size[residual], how=HOW[how])
    d.head = len(d.steps) - 1
