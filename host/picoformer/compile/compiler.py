"""From a float graph and its calibration to the sections of a model file.

Linears of one input become one step; a residual is added by the linear in front of it; what a
linear reads is quantized by the norm in front of it, or by a step of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..device import program
from ..device.check import check
from ..errors import Error
from ..graph.activations import ACTIVATIONS
from ..graph.nodes import (
    Add,
    Array,
    Attention,
    Embedding,
    Gate,
    Graph,
    Keep,
    LayerNorm,
    Linear,
    Node,
    Norm,
    Patches,
    Pool,
)
from .placing import Life, place
from .quantize import Matrix, Matrix4, Rounded, quantize, stacked

ACTIVATION_BITS = 12  # of the vectors that a linear reads
# Of those that a linear with weights of 4 bits reads: 16 products of 8 * 255 fit 16 bits.
NARROW_BITS = 9
KEY_BITS = (12, 8)  # of a cache's keys and values; the first is what is customary
VALUE_BITS = (8, 4)
SPREAD = 4  # bits by which the sizes of outputs that share a step may differ
BIAS_TOP = 1 << 24  # of a score's bias, which has 10 fraction bits
BATCH = 4  # positions in a group, by default

ODD = ("tanh",)  # activations that are odd functions and go to 1
HOW = {"last": 0, "first": 1, "mean": 2}
LOGITS = ":logits"  # behind the first frame, once that is planned
ROWS = {"token": 0, "position": 1, "type": 2}

CODES = {name: op for op, (name, _, _) in program.OPS.items()}


@dataclass(frozen=True)
class Ref:
    """A word of a value in the frame; becomes an operand once the frame is planned."""

    value: str
    offset: int = 0


@dataclass
class Step:
    """One step before planning: an operation and its fields."""

    op: str
    fields: list[int | Ref]
    value: str = ""  # what it makes
    bits: int = 0  # fraction bits of that


@dataclass
class Compiled:
    """The sections of a model file, and what was made on the way to them."""

    program: Array  # int32 words
    tables: Array  # int32 words
    weights: Array  # uint32 words
    dequantized: dict[str, Array] = field(default_factory=dict)  # by the linear's value
    # and the integers with the original
    matrices: dict[str, tuple[Matrix | Matrix4, Array]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)
    lives: dict[str, Life] = field(default_factory=dict)


def float_parts(x: float) -> tuple[int, int]:
    """x > 0 as mantissa * 2**exponent with the mantissa in 2**14..32767."""
    m, e = np.frexp(x)
    mantissa = int(np.floor(m * 32768 + 0.5))
    return (16384, int(e) - 14) if mantissa == 32768 else (mantissa, int(e) - 15)


def exp2_table() -> Array:
    """2**-(i/32) and 2**-(j/1024) in 2**-15, 32 words each; their product is 2**-(f/1024)."""
    steps = np.concatenate([np.arange(32) / 32, np.arange(32) / 1024])
    return np.floor(2.0**-steps * 32768 + 0.5).astype(np.int32)


def activation_table(name: str) -> Array:
    """max(x, 0) - f(x) at |x| = i/32, i = 0..512, in 2**-17: two 16-bit halves a word.

    The same for x and -x, and it fades to nothing: SiLU and its kin need one short table. Of an
    odd function 1 - f(x), in 2**-15.
    """
    x = np.arange(514) / 32
    y = ACTIVATIONS[name](x)
    real = (1 - y) * 2.0**15 if name in ODD else (x - y) * 2.0**17
    d = np.floor(real + 0.5).astype(np.int64)
    d[513] = 0
    assert ((d >= 0) & (d < 65536)).all()
    return (d[0::2] | d[1::2] << 16).astype(np.uint32).view(np.int32)


def rotation_table(frequencies: Array, context: int) -> Array:
    """Cosine and sine in 2**-15, (context, size/2) words: cosine in the low half."""
    angle = np.outer(np.arange(context), np.asarray(frequencies, np.float64))
    cos, sin = (np.floor(f(angle) * 32767 + 0.5).astype(np.int64) for f in (np.cos, np.sin))
    return (cos & 0xFFFF | (sin & 0xFFFF) << 16).astype(np.uint32).view(np.int32)


class _Compiler:
    def __init__(
        self, graph: Graph, amax: dict[str, float], context: int, batch: int,
        rounded: dict[int, Rounded], key_bits: int, value_bits: int,
    ) -> None:  # fmt: skip
        self.graph = graph
        self.key_bits = key_bits
        self.value_bits = value_bits
        self.rounded = rounded
        self.amax = amax
        self.context = context
        self.batch = batch
        self.steps: list[Step] = []
        self.words: dict[str, int] = {}  # of each value in the frame
        self.bits: dict[str, int] = {}  # fraction bits of each value
        self.inside: dict[str, tuple[str, int]] = {}  # value -> (buffer, offset)
        self.dynamic: dict[str, Ref] = {}  # value -> the word with its own exponent
        self.version: dict[str, int] = {}  # how often a value has changed in place
        self.tables: list[Array] = []
        self.table_at: dict[bytes, int] = {}
        self.weights: list[Array] = []
        self.weight_at: dict[tuple[int, ...], tuple[int, Matrix | Matrix4]] = {}
        self.weight_words = 0
        self.caches: list[int] = []
        self.cache_of: dict[tuple[int, int], int] = {}  # by heads and size, where they are shared
        self.out = Compiled(np.empty(0), np.empty(0), np.empty(0))
        self.head = 0
        self.cache = 0  # that was stored last
        self.kept: dict[str, int] = {}  # caches of a source, by the keys' name
        self.patches = ""  # the value that an image's patches are
        self.nodes: list[Node] = graph.encoder + graph.nodes
        self.narrow = {n.x for n in self.nodes if isinstance(n, Linear) and self.four(n)}
        self.body = 0  # first step behind the encoder

    # Memory

    def table(self, words: Array) -> int:
        """Operand of a constant table; equal tables are kept once."""
        key = words.tobytes()
        if key not in self.table_at:
            self.table_at[key] = sum(t.size for t in self.tables)
            self.tables.append(words.reshape(-1))
        return self.table_at[key] << 6 | program.TABLES

    def vector(self, bias: Array, bits: int) -> int:
        """Operand of int32 words in the weights, a whole number of row groups."""
        v = np.floor(np.asarray(bias, np.float64) * 2.0**bits + 0.5)
        v = np.clip(v, -(2.0**31), 2.0**31 - 1).astype(np.int64)
        at = self.weight_words
        w = np.zeros((v.size + 3) // 4 * 4, np.uint32)
        w[: v.size] = v & 0xFFFFFFFF
        self.weights.append(w)
        self.weight_words += w.size
        return at << 6 | program.WEIGHTS

    def four(self, n: Embedding | Linear) -> bool:
        """Whether a node's weights have 4 bits."""
        return id(n.weight) in self.rounded

    def matrix(self, nodes: list[Linear] | list[Embedding]) -> tuple[int, Matrix | Matrix4]:
        """Operand of a matrix in the weights; a shared one is kept once."""
        key = tuple(id(n.weight) for n in nodes)
        if key not in self.weight_at:
            m = self.integers(nodes)
            w = m.words().reshape(-1)
            self.weight_at[key] = (self.weight_words, m)
            self.weights.append(w)
            self.weight_words += w.size
        at, m = self.weight_at[key]
        return at << 6 | program.WEIGHTS, m

    def integers(self, nodes: list[Linear] | list[Embedding]) -> Matrix | Matrix4:
        """The nodes' matrices, stacked by rows; of positions, those of the context."""
        first = nodes[0]
        rows = len(first.weight)
        if isinstance(first, Embedding) and first.by == "position":
            rows = self.context
        if self.four(first):
            return stacked([self.rounded[id(n.weight)].first(rows) for n in nodes])
        return quantize([n.weight[:rows] for n in nodes])

    def ref(self, value: str) -> Ref:
        return Ref(*self.inside.get(value, (value, 0)))

    def point(self, value: str, top: int, limit: int = 24) -> int:
        """Fraction bits that bring the calibrated largest magnitude below 2**top."""
        amax = max(self.amax.get(value, 0.0), 2.0**-20)
        if not np.isfinite(amax):
            raise Error(
                f"{value!r} grows to {amax} in the float model: its weights are too large for "
                "float32; is the checkpoint damaged?"
            )
        return min(limit, top - int(np.ceil(np.log2(amax))))

    def output_point(self, n: Linear) -> int:
        """Fraction bits of a linear's output; a gate's activation takes 8 to 16."""
        if n.out in self.gates:
            return max(self.point(n.out, 19, 16), 8)
        return self.point(n.out, 19)

    # Steps

    def emit(self, op: str, *fields: int | Ref, value: str = "") -> None:
        self.steps.append(Step(op, list(fields), value, self.bits.get(value, 0)))

    def embed(self, n: Embedding) -> None:
        at, m = self.matrix([n])
        if n.by == "token":
            # A linear adds whole groups of four rows to it; the padding adds zeros.
            self.words[n.out] = (n.weight.shape[1] + 3) // 4 * 4
            self.bits[n.out] = self.point(n.out, 20)
            # The shift may not go further left than the format allows.
            for e in self.nodes:
                if isinstance(e, Embedding) and e.out == n.out:
                    self.bits[n.out] = min(self.bits[n.out], 8 - self.integers([e]).exponent)
        bits = self.bits[n.out]
        cols = n.weight.shape[1]
        fields = (Ref(n.out), at, cols, -(m.exponent + bits), 0, 0, 0, ROWS[n.by])
        if isinstance(m, Matrix4):
            self.emit("embed4", *fields, m.span, value=n.out)
        else:
            self.emit("embed", *fields, value=n.out)
        self.changed(n.out)
        key = n.out if n.by == "token" else f"{n.out}:{n.by}"
        self.out.dequantized[key] = m.value
        self.out.matrices[key] = (m, np.asarray(n.weight)[: len(m.q)])

    def changed(self, value: str) -> None:
        """What was made of the value's former content is of no use any more."""
        self.version[value] = self.version.get(value, 0) + 1

    def layernorm(self, n: LayerNorm) -> None:
        size = n.gain.shape[0]
        if n.out != n.x:
            self.words[n.out] = size
            self.bits[n.out] = self.point(n.out, 20)
        bits = self.bits[n.out]
        gain, exponent, lg, root = self.gain(n.gain)
        c, e = float_parts(2.0 ** (exponent - 15 + bits) * root)
        eps = n.eps * size**3 * 2.0 ** (2 * self.bits[n.x] - lg)
        em, ee = float_parts(eps) if eps > 0 else (0, 0)
        bias = np.floor(np.asarray(n.bias, np.float64) * 2.0**bits + 0.5)
        shift = np.clip(bias, -(2.0**31), 2.0**31 - 1).astype(np.int32)
        self.emit(
            "layernorm", self.ref(n.x), self.ref(n.out), size, c, 15 - e, gain,
            self.table(shift) if shift.any() else 0, lg, em, ee, value=n.out,
        )  # fmt: skip
        self.changed(n.out)

    def gain(self, gain: Array) -> tuple[int, int, int, float]:
        """(table of 15-bit gains, their exponent, lg, sqrt(n / 2**lg))."""
        peak = float(np.abs(gain).max())
        exponent = int(np.ceil(np.log2(peak))) if peak > 0 else 0
        words = np.floor(np.asarray(gain, np.float64) * 2.0 ** (15 - exponent) + 0.5)
        words = np.clip(words, -32767, 32767).astype(np.int32)
        lg = int(np.ceil(np.log2(gain.size)))
        return self.table(words), exponent, lg, float(np.sqrt(gain.size / 2**lg))

    def quantized(self, value: str, norm: Norm | None) -> str:
        """The value as a quantized vector in the frame; made by a norm step.

        The head makes its own: `pool` moves the residual only.
        """
        if value == self.patches:
            return value
        name = f"{'head' if self.head else 'q'}{self.version.get(value, 0)}:"
        name += norm.out if norm else value
        if name in self.words:
            return name
        n = self.size[value]
        n_bits = NARROW_BITS if (norm.out if norm else value) in self.narrow else ACTIVATION_BITS
        top = (1 << (n_bits - 1)) - 1
        self.words[name] = 4 + n
        bits = self.bits[value]
        if norm is None:
            c, e = float_parts(1 / top)
            tail = [0, 0, 0, 0]
            e -= bits
        else:
            gain, exponent, lg, root = self.gain(norm.gain)
            c, e = float_parts(2.0 ** (exponent - 15) * root / top)
            em, ee = (
                float_parts(norm.eps * n * 2.0 ** (2 * bits - lg)) if norm.eps > 0 else (0, 0)
            )
            tail = [gain, lg, em, ee]
        self.emit(
            "norm",
            self.ref(value),
            Ref(name),
            n,
            n_bits,
            self.dynamic.get(value, 0),
            c,
            e,
            *tail,
        )
        return name

    def linear(self, group: list[Linear], norm: Norm | None, add: Add | None) -> None:
        source = norm.x if norm else group[0].x
        q = self.quantized(source, norm)
        operand, m = self.matrix(group)
        rows, cols = m.q.shape
        # Proof for each row: no order of additions leaves int32.
        bits = NARROW_BITS if isinstance(m, Matrix4) else ACTIVATION_BITS
        bound = m.magnitude * ((1 << (bits - 1)) - 1)
        if bound >= 1 << 31:
            raise Error(f"{group[0].name}: {cols} columns overflow a 32-bit sum")
        room = min(31 - bound.bit_length(), 14)
        groups = (rows + 3) // 4
        head = group[0].out == "logits"
        target: int | Ref
        if add:
            target = self.ref(add.x)
            bits = self.bits[add.x]
        elif head:
            bits = max(self.point("logits", 19, 16), 0)
            target = Ref(LOGITS)
        else:
            bits = min(map(self.output_point, group))
            name = "+".join(n.out for n in group)
            self.words[name] = groups * 4
            offset = 0
            for n in group:
                self.inside[n.out] = (name, offset)
                self.bits[n.out] = bits
                offset += n.weight.shape[0]
            target = Ref(name)
        s0 = -(14 + m.exponent + bits)
        adds = int(add is not None)
        biases = [n.bias if n.bias is not None else np.zeros(len(n.weight)) for n in group]
        if any(b.any() for b in biases):
            vector = self.vector(np.concatenate(biases), bits)
            self.emit("bias", target, vector, 4 * groups, adds)
            adds = 1
        if add:
            self.changed(add.x)
        fields = (cols, groups, s0, room, adds, 0, groups)
        if head:
            self.bits["logits"] = bits
        value = add.x if add else "+".join(n.out for n in group)
        self.bits[value] = bits
        if isinstance(m, Matrix4):
            self.emit("linear4", Ref(q), target, operand, *fields, m.span, value=value)
        else:
            self.emit("linear", Ref(q), target, operand, *fields, value=value)
        row = 0
        for n in group:
            part = m.rows(row, row + n.weight.shape[0])
            self.out.dequantized[n.out] = part.value
            self.out.matrices[n.out] = (part, np.asarray(n.weight))
            row += n.weight.shape[0]

    def rotation(self, a: Attention) -> int:
        if a.frequencies is None:
            return 0
        return self.table(rotation_table(a.frequencies, self.context))

    def new_cache(self, heads: int, size: int) -> int:
        self.caches.append(program.pair_words(heads, size, self.key_bits, self.value_bits))
        return len(self.caches) - 1

    def store(self, a: Attention, shared: bool) -> None:
        # A whole input is through with one attention before the next stores its own.
        shape = (a.kv_heads, a.size)
        if not (shared and shape in self.cache_of):
            self.cache_of[shape] = self.new_cache(*shape)
        self.cache = self.cache_of[shape]
        cache = program.CACHE + self.cache
        fields = (a.kv_heads, a.size, self.rotation(a), self.key_bits, self.value_bits)
        self.emit("store", self.ref(a.k), self.ref(a.v), cache, *fields)

    def keep(self, n: Keep) -> None:
        self.kept[n.k] = self.new_cache(n.heads, n.size)
        cache = program.CACHE + self.kept[n.k]
        fields = (n.heads, n.size, 0, self.key_bits, self.value_bits)
        self.emit("store", self.ref(n.k), self.ref(n.v), cache, *fields)

    def pool(self, residual: str, how: str) -> None:
        """Begin the head: what is only needed of one position, be it the last."""
        self.emit("pool", Ref(residual), self.size[residual], HOW[how])
        self.head = len(self.steps) - 1

    def attend(self, a: Attention) -> None:
        cache = program.CACHE + (self.kept[a.k] if a.cross else self.cache)
        # What a largest element counts as: kernels take keys as of 12 bits, values as of 8.
        top_q, top_k = (1 << (ACTIVATION_BITS - 1)) - 1, {12: 2047, 8: 127 << 4}[self.key_bits]
        mc, e = float_parts(np.log2(np.e) * a.factor / (top_q * top_k))
        top_v = {8: 127, 4: 120}[self.value_bits]
        # Probabilities of 2**15 over more than 512 positions would leave int32.
        ps = max(0, int(np.ceil(np.log2(self.context))) - 9)
        self.words[a.out] = a.heads * a.size
        self.bits[a.out] = self.bits[a.v]
        self.emit(
            "attend",
            self.ref(a.q),
            Ref(a.out),
            cache,
            a.heads,
            a.kv_heads,
            a.size,
            self.rotation(a),
            self.table(exp2_table()),
            0,
            mc,
            4 - e + self.bits[a.q] + self.bits[a.k],
            int(np.floor(2.0**29 * 128 / top_v + 0.5)),
            19 - ps,
            ps,
            2 if a.cross else int(not a.causal),
            *self.lean(a),
            self.key_bits,
            self.value_bits,
            value=a.out,
        )

    def lean(self, a: Attention) -> tuple[int, int]:
        """(operand of the first head's bias at its own position, words of a head), or zeros."""
        behind = self.context - 1
        real = a.lean(behind, 0 if a.causal else behind)
        if real is None:
            return 0, 0
        words = np.floor(np.asarray(real, np.float64) * np.log2(np.e) * 1024 + 0.5)
        words = np.clip(words, -BIAS_TOP, BIAS_TOP).astype(np.int32)
        return self.table(words) + (behind << 6), words.shape[1]

    def gate(self, n: Gate) -> None:
        if n.activation not in ACTIVATIONS:
            supported = ", ".join(ACTIVATIONS)
            raise Error(f"activation {n.activation!r} is not supported, only {supported}")
        g = self.ref(n.g)
        self.inside[n.out] = (g.value, g.offset)  # the result takes the gate's place
        table = self.table(activation_table(n.activation)) if n.activation != "relu" else 0
        odd = int(n.activation in ODD)
        self.bits[n.out] = self.bits[n.g]
        u: int | Ref = 0
        dyn: int | Ref = 0
        if n.u is not None:
            if odd:
                raise Error(f"{n.activation} cannot gate a product")
            u = self.ref(n.u)
            self.words["e:" + n.out] = 1
            dyn = self.dynamic[n.out] = Ref("e:" + n.out)
            self.bits[n.out] += self.bits[n.u]
        size, bits = self.size[n.g], self.bits[n.g]
        self.emit("gate", g, u, size, table, bits, dyn, odd, value=n.out)

    def run(self) -> Compiled:
        self.size: dict[str, int] = {}
        self.gates = {n.g for n in self.nodes if isinstance(n, Gate)}
        for n in self.nodes:
            if isinstance(n, Embedding):
                self.size[n.out] = n.weight.shape[1]
            elif isinstance(n, Norm | LayerNorm):
                self.size[n.out] = n.gain.shape[0]
            elif isinstance(n, Patches):
                self.size[n.out] = n.elements
            elif isinstance(n, Linear):
                self.size[n.out] = n.weight.shape[0]
            elif isinstance(n, Attention):
                self.size[n.out] = n.heads * n.size
            elif isinstance(n, Gate):
                self.size[n.out] = self.size[n.g]
        self.part(self.graph.encoder, True)
        self.body = len(self.steps)
        self.part(self.graph.nodes, False)
        if not self.head:
            self.head = len(self.steps)
        return self.finish()

    def part(self, nodes: list[Node], encoder: bool) -> None:
        """The steps of an encoder, or those of the rest."""
        if not nodes:
            return
        shared = encoder or (self.graph.whole and not self.graph.encoder)
        norms = {n.out: n for n in nodes if isinstance(n, Norm)}
        layernorms = {n.out: n for n in nodes if isinstance(n, LayerNorm) and n.out != n.x}
        residual = next(n.out for n in nodes if isinstance(n, Embedding))
        how = next((n.how for n in nodes if isinstance(n, Pool)), "last")
        # Behind the last layer's keys and values only one position matters, unless all do.
        final = [n.q for n in nodes if isinstance(n, Attention) and not n.cross][-1:]
        if encoder or how == "mean" or self.graph.task == "answer":
            final = []
        late: list[Linear] = []
        i = 0
        while i < len(nodes):
            n = nodes[i]
            i += 1
            if isinstance(n, Embedding):
                self.embed(n)
            elif isinstance(n, LayerNorm):
                self.layernorm(n)
            elif isinstance(n, Linear):
                group = [n]
                # One step has one number of fraction bits: outputs of very different size would
                # cost the smaller ones their precision.
                while (
                    i < len(nodes)
                    and isinstance(m := nodes[i], Linear)
                    and m.x == n.x
                    and self.four(m) == self.four(n)
                    and abs(self.output_point(m) - self.output_point(n)) <= SPREAD
                ):
                    group.append(m)
                    i += 1
                add = nodes[i] if i < len(nodes) else None
                add = add if isinstance(add, Add) and add.y == n.out else None
                i += add is not None
                late += [m for m in group if m.out in final]
                group = [m for m in group if m.out not in final]
                if n.out == "logits" and not self.head:
                    self.pool(residual, how)
                if group:
                    self.linear(group, norms.get(n.x), add)
            elif isinstance(n, Patches):
                self.patches = n.out
                self.words[n.out] = 4 + n.elements
            elif isinstance(n, Keep):
                self.keep(n)
            elif isinstance(n, Attention):
                if not n.cross:
                    self.store(n, shared)
                if late:
                    self.pool(residual, how)
                    if late[0].x in layernorms:
                        self.layernorm(layernorms[late[0].x])
                    self.linear(late, norms.get(late[0].x), None)
                    late = []
                self.attend(n)
            elif isinstance(n, Gate):
                self.gate(n)
            elif isinstance(n, Pool):
                if n.x != residual:
                    raise Error("only the residual can be pooled")
                if not self.head:
                    self.pool(residual, how)
            elif isinstance(n, Add):
                raise Error("a residual must follow the linear that it adds")

    def finish(self) -> Compiled:
        lives: dict[str, Life] = {}
        for s, step in enumerate(self.steps):
            for f in step.fields:
                if isinstance(f, Ref) and f.value != LOGITS:
                    life = lives.setdefault(f.value, Life(self.words[f.value], s, s))
                    life.last = s
        offsets, end = place(lives, program.HEADER + 1)  # word 0 of a frame is its token
        stride = end - program.HEADER
        offsets[LOGITS] = end

        def fix(f: int | Ref) -> int:
            if isinstance(f, Ref):
                return (offsets[f.value] + f.offset) << 6 | program.ARENA
            return f

        parts: list[list[int]] = [[], [], []]
        for s, step in enumerate(self.steps):
            words = [fix(f) for f in step.fields]
            part = parts[(s >= self.body) + (s >= self.head)]
            part += [CODES[step.op], len(words), *words]
        graph = self.graph
        outputs = self.size[graph.result]
        result = LOGITS if graph.result == "logits" else graph.result
        batch = self.context if graph.whole else self.batch
        head = [
            self.context, batch, stride, outputs, graph.vocab, fix(Ref(result)),
            self.bits[graph.result], graph.bos, graph.eos, len(parts[1]), len(parts[2]),
            len(self.caches), program.TASKS.index(graph.task), int(graph.whole),
            fix(Ref(self.patches)) if self.patches else 0, len(parts[0]),
        ]  # fmt: skip
        out = self.out
        out.program = np.array(head + self.caches + sum(parts, []), np.int32)
        out.tables = np.concatenate(self.tables).astype(np.int32)
        out.weights = np.concatenate(self.weights)
        out.steps, out.offsets, out.lives = self.steps, offsets, lives
        check(out.program.tolist(), out.tables.tolist(), out.weights.size)
        return out


def legal_bits(key_bits: int, value_bits: int) -> None:
    """Raise Error for keys and values of a cache that no kernel knows."""
    for bits, legal, what in ((key_bits, KEY_BITS, "keys"), (value_bits, VALUE_BITS, "values")):
        if bits not in legal:
            raise Error(f"{what} of {bits} bits, expected {legal[0]} or {legal[1]}")


def compile_graph(
    graph: Graph, amax: dict[str, float], context: int | None = None, batch: int = BATCH,
    rounded: dict[int, Rounded] | None = None, key_bits: int = KEY_BITS[0],
    value_bits: int = VALUE_BITS[0],
) -> Compiled:  # fmt: skip
    """Quantize and compile a graph.

    amax: the largest magnitude of each value, from calibration (`FloatModel.amax`). context:
    positions, at most the graph's; batch: positions processed in one sweep of the weights.
    rounded: the matrices that get 4 bits, by the id of the node's weight; others get 8. key_bits:
    12 or 8, value_bits: 8 or 4, of the caches.
    """
    legal_bits(key_bits, value_bits)
    context = graph.context if context is None else context
    if not isinstance(context, int) or not 2 <= context <= graph.context:
        raise Error(f"context is {context}, this model has 2 to {graph.context}")
    bits = key_bits, value_bits
    return _Compiler(graph, amax, context + context % 2, batch, rounded or {}, *bits).run()
