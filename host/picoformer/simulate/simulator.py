"""The definition of picoformer's arithmetic, in numpy integers.

Whatever a board computes, it must equal this. Every operation is done in 64 bits, and everything
that a board keeps in 32 bits is asserted to fit them. docs/numerics.md has the same in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..compile.modelfile import ModelFile, load
from ..compile.quantize import Matrix4, unpack, unpack4
from ..data.pictures import as_pixels, cut
from ..device import program
from ..device.answers import answer
from ..device.beams import costs, search
from ..device.sampling import samples, sampling, seed_word
from ..errors import Error
from ..graph.nodes import Array


def bits(v: Array) -> Array:
    """Number of bits of v >= 0; exact below 2**53."""
    return np.asarray(np.frexp(np.asarray(v, np.float64))[1], np.int64)


def fit(v: Array) -> Array:
    """v, asserted to fit a signed 32-bit word."""
    if v.size and (int(v.max()) >= 1 << 31 or int(v.min()) < -(1 << 31)):
        raise Error("a value does not fit 32 bits: the model's activations left their range")
    return v


def shift(v: Array, s: Array | int) -> Array:
    """v / 2**s with half added before an arithmetic shift; exact where s <= 0."""
    s = np.asarray(s, np.int64)
    right = np.maximum(s, 0)
    half = np.where(s > 0, np.left_shift(np.int64(1), np.maximum(s - 1, 0)), 0)
    return fit(fit(v << np.maximum(-s, 0)) + half) >> right


def rescale(acc: Array, m: Array | int, s: Array | int, room: Array | int) -> Array:
    """acc * m / 2**s rounded once; s is held to 17 - room ... 47. m <= 2**15."""
    k = np.clip(17 - s, 0, room)
    s = np.clip(s + k, 17, 47)
    acc = fit(fit(acc) << k)
    t = fit((acc >> 16) * m) + (fit((acc & 0xFFFF) * m) >> 16)
    return fit(fit(t) + (np.int64(1) << (s - 17))) >> (s - 16)


def amax(v: Array) -> Array:
    """Largest magnitude along the last axis, which is kept."""
    return np.abs(v).max(-1, keepdims=True)


def normalize(v: Array, floor: int) -> tuple[Array, Array, Array]:
    """Shift vectors so that their largest magnitude has 15 bits: (v, largest >= 1, shift)."""
    a = amax(v)
    s = np.maximum(bits(a) - 15, floor)
    return shift(v, s), np.maximum(shift(a, s), 1), s


def round_to(v: Array, a: Array, n_bits: int) -> Array:
    """Vectors of magnitude <= a to integers of n_bits bits, a to the largest."""
    f = 31 - n_bits
    r = (((1 << (n_bits - 1)) - 1) << f) // a
    return fit(fit(v * r) + (1 << (f - 1))) >> f


def round_to_4(v: Array, a: Array) -> Array:
    """Vectors of magnitude <= a to -8..7; each stands for itself and a half, a for 7.5."""
    return fit(v * ((15 << 26) // a)) >> 27


def pack_scale(a: Array) -> tuple[Array, Array]:
    """(mantissa of 11 bits, shift) of the smallest such scale that is not below a."""
    t = np.maximum(bits(a) - 11, 0)
    m = (a + (np.int64(1) << t) - 1) >> t
    over = m == 2048
    return np.where(over, 1024, m), t + over


def rotate(v: Array, table: Array) -> Array:
    """Rotate heads (..., positions, size) by a table (positions, size/2) of cos, sin halves."""
    cos = (table & 0xFFFF ^ 0x8000) - 0x8000
    sin = (table >> 16 & 0xFFFF ^ 0x8000) - 0x8000
    a, b = np.split(v, 2, axis=-1)
    first = fit(fit(a * cos) - fit(b * sin)) + 0x4000 >> 15
    second = fit(fit(a * sin) + fit(b * cos)) + 0x4000 >> 15
    return np.concatenate([first, second], -1)


def exp2(d: Array, table: Array) -> Array:
    """2**-(d/1024) in 2**-15 for d >= 0; 0 from 16 on. table: the 64 words."""
    near = np.minimum(d, 16383)
    v = (table[near >> 5 & 31] * table[32 + (near & 31)] + 0x4000) >> 15
    return np.where(d < 16384, v >> (near >> 10), 0)


def root(square: Array, eps_m: int, eps_e: int, s: Array) -> tuple[Array, Array]:
    """(r, k) with r * 2**-k the square root of a sum of squares and an epsilon, r >= 1.

    s: the shift that the squared vector had; the epsilon is eps_m * 2**(eps_e - 2 s).
    """
    k = eps_e - 2 * s
    square = fit(square + np.where(
        k >= 0, eps_m << np.clip(k, 0, 15), eps_m >> np.clip(-k, 0, 31)
    ))  # fmt: skip
    k = (30 - bits(square)) >> 1
    square = np.where(k >= 0, square << np.maximum(2 * k, 0), square >> 2)
    # The integer square root: exact, as float64 holds the argument.
    return np.maximum(np.floor(np.sqrt(fit(square))).astype(np.int64), 1), k


def dot(a: Array, b: Array) -> Array:
    """Exact integer product a @ b: float64 holds every sum, which is below 2**53."""
    return fit((a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64))


@dataclass
class _Layer:
    """The cache of a layer: keys, values (heads, positions, size), scales (heads, positions).

    Keys as of 12 bits, values as of 8, whatever they have.
    """

    k: Array
    v: Array
    km: Array
    ke: Array
    vm: Array
    ve: Array


class Simulator:
    """Runs a model file with the integers that a board computes.

    path: a model file (or one already read). Raises Error.
    """

    def __init__(self, path: str | Path | ModelFile) -> None:
        self.model = m = path if isinstance(path, ModelFile) else load(path)
        self.tokenizer = m.tokenizer
        self.context = m.context
        self.vocab = m.vocab
        self.outputs = m.outputs
        # Operand of the logits behind the first frame.
        self._out = int(m.program[5]) if m.task not in ("embed", "answer") else -1
        self.logit_scale = 2.0**-m.logit_bits
        self._tables = m.tables.astype(np.int64)
        self._matrices: dict[tuple[int, ...], Any] = {}
        self._exp2 = next((st.fields[7] for st in m.steps if st.op == "attend"), 0)
        self._caches: dict[int, _Layer] = {}
        self._source = 0  # positions that a translator's encoder has read
        self._frames = np.zeros((0, 0), np.int64)
        self._logits = np.zeros((0, 0), np.int64)
        # Called after each step with (its index, name, fields, frames): for inspection.
        self.tap: Callable[[int, str, list[int], Array], None] | None = None

    def _words(self, operand: int, groups: int, size: int) -> Array:
        return self.model.weights[operand >> 6 :][: groups * size].reshape(groups, size)

    def _matrix(self, operand: int, groups: int, cols: int) -> tuple[Array, Array]:
        key = (operand, groups, cols)
        if key not in self._matrices:
            self._matrices[key] = unpack(self._words(operand, groups, cols + 2), groups * 4)
        q, m = self._matrices[key]
        return q, m

    def _matrix4(self, operand: int, groups: int, cols: int, span: int) -> Matrix4:
        key = (operand, groups, cols, span)
        if key not in self._matrices:
            words = self._words(operand, groups, cols + (cols + span - 1) // span + 4)
            self._matrices[key] = unpack4(words, groups * 8, cols, span)
        found: Matrix4 = self._matrices[key]
        return found

    def _table(self, operand: int, n: int) -> Array:
        return self._tables[operand >> 6 : (operand >> 6) + n]

    def _value(self, operand: int, n: int) -> Array:
        at = (operand >> 6) - program.HEADER
        return self._frames[:, at : at + n]

    # The steps; frames are (positions, stride).

    def _embed(
        self, x: int, w: int, n: int, s: int, _first: int, _count: int, _base: int, by: int
    ) -> None:
        rows = (self.vocab, self.context, 2)[by]
        self._look_up(x, *self._matrix(w, (rows + 3) // 4, n), s, by)

    def _embed4(
        self, x: int, w: int, n: int, s: int, _first: int, _count: int, _base: int, by: int,
        span: int,
    ) -> None:  # fmt: skip
        rows = (self.vocab, self.context, 2)[by]
        matrix = self._matrix4(w, (rows + 7) // 8, n, span)
        self._look_up(x, matrix.scaled, matrix.mantissa, s, by)

    def _look_up(self, x: int, q: Array, m: Array, s: int, by: int) -> None:
        to = self._value(x, q.shape[1])
        if by:
            at = self._start + np.arange(len(to)) if by == 1 else self._frames[:, 0] >> 16
            to[:] = fit(to + shift(q[at] * m[at, None], s))
        else:
            at = self._frames[:, 0] & 0xFFFF
            to[:] = shift(q[at] * m[at, None], s)

    def _norm(
        self, x: int, out: int, n: int, n_bits: int, dyn: int, c: int, e: int,
        gain: int, lg: int, eps_m: int, eps_e: int,
    ) -> None:  # fmt: skip
        exponent = np.full((len(self._frames), 1), e, np.int64)
        if dyn:
            exponent = exponent + self._value(dyn, 1)
        y, a, s = normalize(self._value(x, n), -15)
        if gain:
            square = fit((fit(y * y) >> lg).sum(-1, keepdims=True))
            y = fit(y * self._table(gain, n))
            r, k = root(square, eps_m, eps_e, s)
            y, a, s = normalize(y, -15)
            scale = fit(2 * fit(a * c)) // r
            exponent = exponent + k - 1
        else:
            scale = fit(a * c)
        y = round_to(y, a, n_bits)
        b = bits(scale) - 14
        to = self._value(out, 4 + n)
        to[:, 0:1] = shift(scale, b)
        to[:, 1:2] = exponent + s + b
        to[:, 2] = y.sum(-1)
        to[:, 4:] = y

    def _linear(
        self, x: int, out: int, w: int, cols: int, groups: int, s0: int, room: int, add: int,
        *_: int,
    ) -> None:  # fmt: skip
        q, m = self._matrix(w, groups, cols)
        self._product(x, out, dot(self._value(x, 4 + cols)[:, 4:], q.T), m, s0, room, add)

    def _linear4(
        self, x: int, out: int, w: int, cols: int, groups: int, s0: int, room: int, add: int,
        _first: int, _count: int, span: int,
    ) -> None:  # fmt: skip
        matrix = self._matrix4(w, (groups + 1) // 2, cols, span)
        rows = 4 * groups
        elements = self._value(x, 4 + cols)[:, 4:]
        # Sums of sixteen columns at most, exact in float64.
        pad = ((0, 0), (0, -cols % 16))
        e, q = (
            np.pad(v, pad).astype(np.float64).reshape(len(v), -1, 16).transpose(1, 0, 2)
            for v in (elements, matrix.q[:rows])
        )
        sums = (e @ q.transpose(0, 2, 1)).astype(np.int64)
        if np.abs(sums).max() >= 1 << 15:
            raise Error("a sum of 16 products does not fit 16 bits: activations of more than 9")
        scale = np.repeat(matrix.scale[:rows], span // 16, 1)[:, : len(sums)]
        acc = fit((sums * scale.T[:, None, :]).sum(0))
        self._product(x, out, acc, matrix.mantissa[:rows], s0, room, add)

    def _product(
        self, x: int, out: int, acc: Array, m: Array, s0: int, room: int, add: int
    ) -> None:
        """The sums (positions, rows) of a matrix with these mantissas, to the result."""
        source = self._value(x, 2)
        mul = fit(m * source[:, 0:1] + 0x2000) >> 14
        y = rescale(acc, mul, s0 - source[:, 1:2], room)
        if out == self._out:
            y = y[:, : self.outputs]
            self._logits = fit(self._logits + y) if add else y
        else:
            to = self._value(out, y.shape[1])
            to[:] = fit(to + y) if add else y

    def _store(
        self, k: int, v: int, cache: int, heads: int, size: int, rope: int, k_bits: int,
        v_bits: int,
    ) -> None:  # fmt: skip
        start, n = self._start, len(self._frames)
        layer = self._caches.get(cache)
        if layer is None:
            shape = (heads, self.context)
            layer = self._caches[cache] = _Layer(
                *(np.zeros((*shape, size), np.int64) for _ in range(2)),
                *(np.zeros(shape, np.int64) for _ in range(4)),
            )
        now = slice(start, start + n)
        y, a, s = normalize(self._heads(k, heads, size), -10)
        if rope:
            y = rotate(y, self._rows(rope, size))
            a = np.maximum(amax(y), 1)
        m, e = pack_scale(a)
        layer.k[:, now] = self._keep(k, round_to(y, m << e, k_bits)) << 12 - k_bits
        layer.km[:, now], layer.ke[:, now] = m[..., 0], (s + e + 10)[..., 0]
        y, a, s = normalize(self._heads(v, heads, size), -10)
        m, e = pack_scale(a)
        if v_bits == 4:
            layer.v[:, now] = 16 * self._keep(v, round_to_4(y, m << e)) + 8
        else:
            layer.v[:, now] = self._keep(v, round_to(y, m << e, v_bits))
        layer.vm[:, now], layer.ve[:, now] = m[..., 0], (s + e + 10)[..., 0]

    def _heads(self, operand: int, heads: int, size: int) -> Array:
        """A value as (heads, positions, size)."""
        return self._value(operand, heads * size).reshape(-1, heads, size).transpose(1, 0, 2)

    def _keep(self, operand: int, y: Array) -> Array:
        """Put heads back where they came from, as the kernels do, who work in place."""
        flat = y.transpose(1, 0, 2).reshape(len(self._frames), -1)
        self._value(operand, flat.shape[1])[:] = flat
        return y

    def _rows(self, rope: int, size: int) -> Array:
        half, n = size // 2, len(self._frames)
        at = (rope >> 6) + self._start * half
        return self._tables[at : at + n * half].reshape(n, half)

    def _attend(
        self, q: int, out: int, cache: int, heads: int, kv_heads: int, size: int, rope: int,
        table: int, _scores: int, mc: int, se: int, vn: int, ve: int, ps: int, whole: int,
        bias: int, row: int, *_: int,
    ) -> None:  # fmt: skip
        layer = self._caches[cache]
        end = (self._start + len(self._frames), self._end, self._source)[whole]
        share = heads // kv_heads
        y, a, s = normalize(self._heads(q, heads, size), -15)
        if rope:
            y = rotate(y, self._rows(rope, size))
            a = np.maximum(amax(y), 1)
        y = self._keep(q, round_to(y, a, 12))
        a = fit(a * mc)
        la = bits(a)
        a = shift(a, la - 15)

        def past(x: Array) -> Array:
            """What each head of the query sees of the cache."""
            return np.repeat(x[:, :end], share, axis=0)

        km, ke, vm, v_e = (past(x)[:, None, :] for x in (layer.km, layer.ke, layer.vm, layer.ve))
        positions = self._start + np.arange(len(self._frames))
        last = np.full_like(positions, end - 1) if whole else positions
        seen = np.arange(end)[None, :] <= last[:, None]
        acc = dot(y, past(layer.k).transpose(0, 2, 1))
        mul = fit(a * km + 1024) >> 11
        score = rescale(acc, mul, se - la - s - ke, 0)
        if bias:
            far = np.where(seen, np.arange(end)[None, :] - positions[:, None], 0)
            head = (bias >> 6) + row * np.arange(heads)[:, None, None]
            score = fit(score + self._tables[head + far])
        best = np.where(seen, score, -(1 << 31)).max(-1, keepdims=True)
        d = fit(np.where(seen, best - score, 0))
        p = exp2(np.where(seen, d, 16384), self._table(table, 64))
        e_max = np.maximum.accumulate(layer.ve[:, :end], axis=1)[:, last]
        e_max = np.repeat(e_max, share, axis=0)[..., None]
        down = np.minimum(11 + ps + e_max - v_e, 31)
        w = np.where(seen, shift(fit(p * vm), np.where(seen, down, 31)), 0)
        den = fit(p.sum(-1, keepdims=True))
        n_bits = bits(den)
        inverse = vn // (den >> (n_bits - 16))
        room = np.maximum(24 - bits(fit(w.sum(-1, keepdims=True))), 0)
        acc = dot(w, past(layer.v))
        y = rescale(acc, inverse, ve + n_bits - e_max, room)
        self._value(out, heads * size)[:] = y.transpose(1, 0, 2).reshape(-1, heads * size)

    def _gate(self, g: int, u: int, n: int, table: int, f: int, dyn: int, odd: int) -> None:
        x = self._value(g, n)
        y = np.maximum(x, 0)
        if table:
            words = self._table(table, 257)
            halves = np.stack([words & 0xFFFF, words >> 16 & 0xFFFF], 1).reshape(-1)
            k = f - 5
            i = np.minimum(np.abs(x) >> k, 512)
            d = halves[i]
            d = d + (((halves[i + 1] - d) * (np.abs(x) & (1 << k) - 1) + (1 << (k - 1))) >> k)
            d = np.where(i < 512, shift(d, (15 if odd else 17) - f), 0)
            y = np.sign(x) * ((1 << f) - d) if odd else y - d
        if not u:
            x[:] = y
            return
        y, _, s = normalize(y, 0)
        z, _, s2 = normalize(self._value(u, n), 0)
        self._value(g, n)[:] = fit(y * z)
        self._value(dyn, 1)[:] = s + s2

    def _layernorm(
        self, x: int, out: int, n: int, scale: int, e: int, gain: int, bias: int,
        lg: int, eps_m: int, eps_e: int,
    ) -> None:  # fmt: skip
        y, _, s = normalize(self._value(x, n), -15)
        # n times the distance from the mean: exact.
        y, _, s2 = normalize(fit(n * y - y.sum(-1, keepdims=True)), -15)
        r, k = root(fit((fit(y * y) >> lg).sum(-1, keepdims=True)), eps_m, eps_e, s + s2)
        m = (scale << 15) // r
        b = bits(m) - 15
        y = rescale(fit(y * self._table(gain, n)), shift(m, b), e - b - k, 0)
        self._value(out, n)[:] = fit(y + self._table(bias, n)) if bias else y

    def _bias(self, out: int, w: int, n: int, add: int) -> None:
        v = self.model.weights[w >> 6 : (w >> 6) + n].view(np.int32).astype(np.int64)
        if out == self._out:
            self._logits = np.repeat(v[None, : self.outputs], len(self._frames), 0)
        else:
            to = self._value(out, n)
            to[:] = fit(to + v) if add else v

    def _pool(self, x: int, n: int, how: int) -> None:
        if how == 0:
            return  # every position goes through the head here: nothing is dropped before it
        if how == 2:
            count = len(self._frames)
            b = count.bit_length()
            total = fit(self._value(x, n).sum(0, keepdims=True))
            self._value(x, n)[:1] = rescale(total, (1 << 14 + b) // count, 14 + b, 2)
        self._frames = self._frames[:1]

    # Running

    def _run(
        self, tokens: Sequence[int], start: int, types: Sequence[int] | None = None,
        encoder: bool = False, patches: Array | None = None,
    ) -> None:  # fmt: skip
        """Run tokens at positions from `start` on; logits of all of them in self._logits."""
        m = self.model
        n = len(tokens)
        if encoder:
            self._source = n
        elif m.task == "translate" and not self._source:
            raise Error("a translator needs the tokens of its source first")
        self._start = start
        self._end = start + n
        self._frames = np.zeros((n, m.stride), np.int64)
        self._frames[:, 0] = tokens
        if types is not None:
            self._frames[:, 0] |= np.asarray(types, np.int64) << 16
        if patches is not None:
            to = self._value(int(m.program[14]), 4 + patches.shape[1])
            to[:, 0], to[:, 1], to[:, 2] = 8192, -13, patches.sum(1)
            to[:, 4:] = patches
        for i, step in enumerate(m.steps):
            if (i < m.body) != encoder:
                continue
            getattr(self, "_" + step.op)(*step.fields)
            if self.tap:
                self.tap(i, step.op, step.fields, self._frames)

    def _check(self, tokens: Sequence[int]) -> list[int]:
        out = [int(t) for t in tokens]
        if not 0 < len(out) <= self.context:
            raise Error(f"{len(out)} tokens, expected 1 to {self.context} (the context)")
        for t in out:
            if not 0 <= t < self.vocab:
                raise Error(f"token {t} is not in the vocabulary of {self.vocab}")
        return out

    def logits(self, tokens: Sequence[int]) -> Array:
        """int32 logits (len(tokens), vocab) behind each token; no BOS is added.

        Of a model that takes its input whole, (1, outputs): the labels' logits or the embedding.
        """
        self._run(self._check(tokens), 0)
        return self._result()

    def _result(self) -> Array:
        if self.model.task in ("embed", "answer"):
            self._logits = self._value(int(self.model.program[5]), self.outputs)
        # `pool` of the last position leaves all of them here
        one = self.model.task in ("classify", "embed")
        return self._logits[-1 if one else 0 :].astype(np.int32)

    def source(self, tokens: Sequence[int]) -> None:
        """Run the tokens that a translator is to translate: `logits` is about them."""
        self._made_to("translate")
        self._run(self._check(tokens), 0, encoder=True)

    @property
    def labels(self) -> list[str]:
        """What the logits stand for, of a model that classifies."""
        return list(self.model.meta.get("labels", []))

    def encode(self, text: str) -> list[int]:
        """Token ids of a text as the model takes it: special tokens around it, cut to fit."""
        wrap = self.tokenizer.wrap
        room = max(0, self.context - len(wrap([])))
        return list(wrap(self.tokenizer.encode(text)[:room]))

    def classify(self, text: str | Array) -> list[tuple[str, int]]:
        """[(label, int32 logit)] for a text or an image, best first. Raises Error.

        An image is an array of pixels, 0 to 255, (height, width) or (height, width, channels).
        """
        logits = self._read(text, "classify").tolist()
        return sorted(zip(self.labels, logits, strict=True), key=lambda pair: -pair[1])

    def embed(self, text: str | Array) -> Array:
        """The embedding of a text or an image, int32 (outputs,); only its direction counts."""
        return self._read(text, "embed")

    def answer(self, context: str, question: str) -> str:
        """The part of the text `context` that answers a question. Raises Error."""
        self._made_to("answer")

        def run(ids: list[int], types: list[int]) -> tuple[list[int], list[int]]:
            self._run(self._check(ids), 0, types)
            starts, ends = self._result().T.tolist()
            return starts, ends

        return str(answer(self.tokenizer, run, self.context, context, question))

    def translate(self, text: str, beams: int = 1, length_penalty: float = 1.0) -> str:
        """The translation of a text, or whatever a model makes of one. Raises Error.

        beams: 1 takes the likeliest token at each step; 2 to 8 follow as many texts and take the
        likeliest. length_penalty: the power of its length that a text's cost is divided by.
        """
        self.source(self._some(text))
        if beams == 1:
            return "".join(self._write([self.model.bos], None, (0, 0, 0), 1))
        tokens = self.search(beams, length_penalty)
        decoder = self.tokenizer.decoder()
        pieces = [
            decoder.decode(token, before)
            for before, token in zip([self.model.bos, *tokens], tokens, strict=False)
        ]
        return "".join([*pieces, decoder.flush()])

    def search(
        self, beams: int, length_penalty: float = 1.0, max_tokens: int | None = None
    ) -> list[int]:
        """The tokens of the likeliest translation of the source; arguments as translate's."""
        if not samples(self.vocab, self._exp2):
            raise Error("this model cannot be searched; use one beam")
        m, s, _ = sampling(1000, 1000, self.model.logit_bits)

        def likeliest(tokens: list[int], n: int) -> list[tuple[int, int]]:
            self._run(tokens, 0)
            logits = self._logits[-1]
            best = logits.max()
            d = np.minimum(best - logits, 1 << 24)
            mass = int(exp2(rescale(d, m, s, 6), self._table(self._exp2, 64)).sum())
            first = np.argsort(-logits, kind="stable")[:n]
            found = costs(logits[first].tolist(), int(best), mass, m, s)
            return list(zip(first.tolist(), found, strict=True))

        penalty = thousandths("length_penalty", length_penalty, 0, 10)
        bos, ends = self.model.bos, (self.model.bos, self.model.eos)
        room = self.context if max_tokens is None else min(max_tokens, self.context)
        return list(search(likeliest, bos, ends, beams, penalty, room))

    def patches(self, image: Array) -> Array:
        """Pixels less 128, (positions, elements), of an image. Raises Error."""
        if "image" not in self.model.meta or not self.model.program[14]:
            raise Error("this model reads text")
        return cut(as_pixels(image), tuple(self.model.meta["image"]))

    def _read(self, text: str | Array, task: str) -> Array:
        self._made_to(task)
        if not isinstance(text, str):
            patches = self.patches(text)
            self._run([0] * len(patches), 0, patches=patches)
            return self._result()[-1]
        return self.logits(self._some(text))[-1]

    def _some(self, text: str) -> list[int]:
        if self.model.program[14]:
            height, width, channels = self.model.meta["image"][:3]
            raise Error(f"this model reads images: an array of {height} x {width} x {channels}")
        ids = self.encode(text)
        if not ids:
            raise Error("the text has no tokens, or the model has no tokenizer")
        return ids

    def _made_to(self, task: str) -> None:
        if self.model.task != task:
            raise Error(f"this model is made to {self.model.task}, not to {task}")

    def generate(
        self,
        prompt: str = "",
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 1,
    ) -> Iterator[str]:
        """Yield the text that follows `prompt`, one str per token.

        temperature 0 is greedy. Stops at EOS, BOS or the end of the context. Raises Error.
        """
        self._made_to("generate")
        numbers = sampling(
            thousandths("temperature", temperature, 0, 100),
            thousandths("top_p", top_p, 0.001, 1),
            self.model.logit_bits,
        )
        if numbers[0] and not samples(self.vocab, self._exp2):
            raise Error("this model cannot be sampled from; use temperature 0")
        tokens = self.tokenizer.encode(prompt)
        if self.model.bos >= 0:
            tokens = [self.model.bos, *tokens]
        yield from self._write(tokens, max_tokens, numbers, seed)

    def _write(
        self, tokens: list[int], max_tokens: int | None, numbers: tuple[int, int, int], seed: int
    ) -> Iterator[str]:
        state = seed_word(seed) & 0xFFFFFFFF
        self._run(self._check(tokens), 0)
        decoder = self.tokenizer.decoder()
        n = 0
        while max_tokens is None or n < max_tokens:
            token, state = self._sample(self._logits[-1], *numbers, state)
            if token in (self.model.eos, self.model.bos):
                break
            yield decoder.decode(token, tokens[-1])
            n += 1
            if len(tokens) == self.context or n == max_tokens:
                break
            tokens.append(token)
            self._run([token], len(tokens) - 1)
        rest = decoder.flush()
        if rest:
            yield rest

    def _sample(self, logits: Array, m: int, s: int, top_p: int, state: int) -> tuple[int, int]:
        """(token, next state): greedy where m is 0."""
        if m == 0:
            return int(logits.argmax()), state
        table = self._exp2
        d = np.minimum(logits.max() - logits, 1 << 24)
        p = exp2(rescale(d, m, s, 6), self._table(table, 64))
        mass = int(p.sum())
        low = 1
        if top_p < 32768:
            keep = (mass * top_p) >> 15
            high = 32769
            while high - low > 1:
                mid = (low + high) >> 1
                if int(p[p >= mid].sum()) >= keep:
                    low = mid
                else:
                    high = mid
            p = np.where(p >= low, p, 0)
            mass = int(p.sum())
        # xorshift32
        state = (state ^ state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state = (state ^ state << 5) & 0xFFFFFFFF
        left = (mass * (state >> 2)) >> 30
        return int(np.searchsorted(np.cumsum(p), left, side="right")), state


def thousandths(name: str, x: float, low: float, high: float) -> int:
    """A temperature or top-p as boards take it: a whole number of thousandths. Raises Error."""
    if not low <= x <= high:
        raise Error(f"{name} is {x}, expected {low} to {high}")
    return int(np.floor(x * 1000 + 0.5))
