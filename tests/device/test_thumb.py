"""The kernels, on an emulated Cortex-M0 in assembler, against the simulator's arithmetic.

With `-m slow` the viper kernels too, and every core.
"""

from __future__ import annotations

import numpy as np
import pytest

from cores import MODELS, RAM, Memory, core
from emulatedmodel import BIAS, emulated
from models import ARCHITECTURES
from picoformer.device.sampling import sampling
from records import (
    BITS,
    ENDS,
    GATES,
    attend,
    bias,
    embed,
    gate,
    header,
    layernorm,
    like_portable,
    linear,
    linear4,
    logits,
    norm,
    pool,
    sample,
    store,
)
from turns import some

OTHERS = [
    *(("thumb", name) for name in ("M3", "M4", "M7", "M33")),
    *(("viper", name) for name in (*MODELS, "WebAssembly")),
    *(("dsp", name) for name in ("M4", "M7", "M33")),
    ("rv32", "RV32"),
]


@pytest.fixture(
    scope="module",
    params=[("thumb", "M0"), *(pytest.param(which, marks=pytest.mark.slow) for which in OTHERS)],
    ids="-".join,
)
def cpu(request):
    """A Cortex-M0 with the assembler's kernels; the slow tests try every family and core."""
    return core(*request.param)


# Matrix products


@pytest.mark.parametrize("total", [1, 2, 3])
def test_linear_of_every_number_of_columns(cpu, total):
    for cols in range(1, 60):
        linear(cpu, [cols, total], cols, 1 + cols % 3, total, add=cols & 1, watch=cols < 30)


def test_linear_of_long_rows(cpu):
    """More columns than the unrolled code takes at once, and more than its division takes."""
    for cols in (95, 96, 97, 172, 191, 256, 1000, 4079, 4080):
        linear(cpu, cols, cols, 2)
    for cols in (49_151, 98_303, 98_304, 100_001):
        linear(cpu, cols, cols, 1, s0=30, room=0)


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("cols", [1, 7, 27])
def test_linear_with_a_matrix_in_two_runs(cpu, cols, total):
    for cut in range(1, 3 * (cols + 2)):
        linear(cpu, [cols, cut], cols, 3, total, [cut], watch=total == 3)


def test_linear_with_a_matrix_in_many_runs(cpu):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        cols, groups = int(rng.integers(1, 80)), int(rng.integers(1, 6))
        words = groups * (cols + 2)
        cuts = np.unique(rng.integers(1, words, int(rng.integers(1, 12)))).tolist()
        linear(cpu, seed, cols, groups, int(rng.integers(1, 4)), cuts, seed & 1, watch=True)
    linear(cpu, 0, 9, 3, 2, list(range(1, 33)), watch=True)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_linear_of_many_rows(cpu, total):
    """Several vectors share the sweep of eight row groups."""
    for groups in (7, 8, 9, 15, 16, 17, 33):
        linear(cpu, groups, 5, groups, total, watch=True)
        linear(cpu, groups, 5, groups, total, list(range(3, 7 * groups, 11)), add=1, watch=True)


def test_linear_of_extremes(cpu):
    for cols in (1, 2, 3, 64, 256):
        for extreme in (1, 2, 3):
            linear(cpu, [cols, extreme], cols, 2, extreme=extreme)
            linear(cpu, [cols, extreme], cols, 2, 2, extreme=extreme, bits=12, s0=33, room=0)


def test_linear_of_all_shifts(cpu):
    """The shift is clamped at both ends; the room to shift to the left is used, up to 14 bits."""
    for s0 in range(-8, 60):
        linear(cpu, s0 + 8, 5, 2, 2, s0=s0, room=0, add=s0 & 1)
        linear(cpu, s0 + 8, 1, 1, 2, s0=s0, room=14)


def test_linear_window(cpu):
    """A tile of the matrix fills its own rows of the result."""
    for first in (1, 2, 5):
        for count in (0, 1, 2):
            for total in (1, 3):
                linear(cpu, first, 6, 2, total, first=first, count=count, add=1, watch=True)


# The other kernels, against kernels_portable.py


@pytest.mark.parametrize("total", [1, 2, 3])
def test_linear4_of_every_number_of_columns(cpu, total):
    for cols in range(1, 68):
        span = (16, 32, 48, 1024)[cols & 3]
        linear4(cpu, [cols, total], cols, 1 + cols % 5, total, span, add=cols & 1, watch=cols < 35)
    for cols in (172, 256, 1000):
        linear4(cpu, cols, cols, 3, total)


@pytest.mark.parametrize("cols, span", [(1, 16), (7, 16), (27, 16), (52, 32), (37, 64)])
def test_linear4_with_a_matrix_in_two_runs(cpu, cols, span):
    size = cols + (cols + span - 1) // span + 4
    for cut in range(1, 2 * size):
        linear4(cpu, [cols, cut], cols, 3, 1 + cut % 3, span, [cut], watch=cut % 3 == 0)


def test_linear4_with_a_matrix_in_many_runs(cpu):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        cols, groups = int(rng.integers(1, 80)), int(rng.integers(1, 8))
        span = int(rng.choice([16, 32, 1024]))
        words = (groups + 1) // 2 * (cols + (cols + span - 1) // span + 4)
        cuts = np.unique(rng.integers(1, words, int(rng.integers(1, 12)))).tolist()
        total = int(rng.integers(1, 4))
        linear4(cpu, seed, cols, groups, total, span, cuts, seed & 1, watch=True)
    linear4(cpu, 0, 19, 3, 2, cuts=list(range(1, 50)), watch=True)


def test_linear4_of_many_rows(cpu):
    """Several vectors share the sweep of four row groups of eight."""
    for total in (1, 2, 3):
        for groups in (1, 2, 7, 8, 9, 15, 16, 17, 33):
            linear4(cpu, groups, 5, groups, total, watch=True)
            linear4(cpu, groups, 18, groups, total, cuts=list(range(3, 12 * groups, 11)), add=1)


def test_linear4_of_extremes(cpu):
    for cols in (1, 2, 15, 16, 17, 64):
        for extreme in (1, 2, 3):
            linear4(cpu, [cols, extreme], cols, 3, extreme=extreme)


def test_linear4_of_all_shifts(cpu):
    for s0 in range(-8, 60):
        linear4(cpu, s0 + 8, 5, 2, 2, s0=s0, room=0, add=s0 & 1)
        linear4(cpu, s0 + 8, 1, 1, 2, s0=s0, room=10)


def test_linear4_window(cpu):
    """A tile of the matrix fills its own rows of the result."""
    for first in (2, 6):
        for count in (0, 1, 2, 3):
            for total in (1, 3):
                linear4(cpu, first, 6, 3, total, first=first, count=count, add=1, watch=True)


def test_linear_into_the_logits(cpu):
    """They lie behind the first frame; a bias may be there already."""
    for cols in (1, 2, 3, 7, 24):
        for groups in (1, 2, 9):
            for add in (0, 1):
                logits(cpu, [cols, groups], cols, groups, add)


@pytest.mark.parametrize("bits", BITS)
def test_attend_at_every_position(cpu, bits):
    for length in range(1, 41):
        attend(cpu, length, length, watch=True, bits=bits)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("rope", [False, True])
def test_attend_with_every_head_size(cpu, rope, bits):
    for size in range(1 + rope, 41, 1 + rope):
        attend(cpu, size, 1 + size % 7, size, 1, 1, 1, rope, watch=True, bits=bits)
    attend(cpu, 0, 9, 64, bits=bits)
    attend(cpu, 0, 5, 256, bits=bits)


@pytest.mark.parametrize("bits", BITS)
def test_attend_with_shared_heads_and_groups_of_positions(cpu, bits):
    for total in (1, 2, 3):
        for heads, kv_heads in ((1, 1), (3, 3), (8, 4), (6, 1), (12, 3)):
            attend(cpu, total, total + heads, 6, total, heads, kv_heads, watch=True, bits=bits)


@pytest.mark.parametrize("bits", BITS[:3:2])
def test_attend_to_the_whole_input(cpu, bits):
    for end in range(1, 20):
        for total in range(1, end + 1, 3):
            # The group may be any part of the input.
            for length in range(total, end + 1, 4):
                rope = total & 1 == 0
                attend(cpu, length, length, 6, total, 4, 2, rope, watch=True, end=end, bits=bits)


@pytest.mark.parametrize("lean", [1, 3000, 1 << 24])
def test_attend_by_distance(cpu, lean):
    for length in (1, 2, 9, 16):
        for total, heads in ((1, 1), (2, 5), (length, 3)):
            if total <= length:
                attend(cpu, lean, length, 6, total, heads, 1, watch=True, lean=lean)
                end = length + 3
                attend(cpu, lean, length, 7, total, heads, heads, False, end=end, lean=lean)


@pytest.mark.parametrize("bits", BITS)
def test_attend_far_back(cpu, bits):
    attend(cpu, 1, 512, 8, 2, bits=bits)
    attend(cpu, 2, 1027, 4, 1, ps=2, bits=bits)


def test_attend_with_queries_of_any_magnitude(cpu):
    for narrow in BITS[1:3]:
        attend(cpu, narrow, 7, 8, 2, amax=(1 << 30) - 1, bits=narrow)
    for bits in range(31):
        attend(cpu, bits, 7, amax=(1 << bits) - 1)
        attend(cpu, bits, 7, 8, 2, amax=(1 << bits) - 1, rope=False)


@pytest.mark.parametrize("bits", BITS)
def test_attend_of_extremes(cpu, bits):
    for amax in (0, 1, (1 << 15) - 1, 1 << 15, (1 << 29) + 1, (1 << 30) - 1):
        for size in (1, 8, 64):
            attend(cpu, amax, 33, size, extreme=True, rope=False, amax=amax, bits=bits)


def test_attend_with_all_numbers(cpu):
    """Both ends of every shift, from a flat distribution to a single position."""
    for se in range(-8, 90, 3):
        attend(cpu, se + 8, 11, se=se, bits=BITS[se % 4])
    for ve in range(-60, 60, 5):
        attend(cpu, ve + 60, 11, ve=ve, bits=BITS[ve // 5 % 4])
    for vn in (1 << 28, (1 << 30) - 1):
        for mc in (1 << 14, 32767):
            for ps in (0, 8):
                attend(cpu, ps, 12, mc=mc, vn=vn, ps=ps)


@pytest.mark.parametrize("bits", BITS)
def test_store_with_every_head_size(cpu, bits):
    for size in range(1, 41):
        store(cpu, size, size % 5, size, rope=size % 2 == 0, bits=bits)
    store(cpu, 0, 3, 256, bits=bits)


@pytest.mark.parametrize("bits", BITS)
def test_store_of_heads_and_groups_of_positions(cpu, bits):
    for total in (1, 2, 3):
        for heads in (1, 2, 5):
            for pos in range(5):
                store(cpu, pos, pos, 6, total, heads, rope=heads > 1, bits=bits)


def test_store_of_any_magnitude(cpu):
    for bits in range(31):
        store(cpu, bits, 1, 7, rope=False, amax=(1 << bits) - 1, bits=BITS[2])
        store(cpu, bits, 1, 8, amax=(1 << bits) - 1, bits=BITS[2], extreme=True)
        for less in range(min(bits, 2) + 1):
            amax = (1 << bits) - 1 - less if bits else 0
            store(cpu, bits, 1, 8, amax=max(amax, 0))
            store(cpu, bits, 2, 7, rope=False, amax=max(amax, 0), extreme=True)
    for amax in range(2040, 2056):  # where the scale's mantissa overflows
        store(cpu, amax, 0, 1, rope=False, amax=amax << 4, extreme=True)
        store(cpu, amax, 0, 1, rope=False, amax=amax * 16 + 15, extreme=True)


@pytest.mark.parametrize("gain", [False, True])
def test_norm(cpu, gain):
    for n in range(1, 41):
        norm(cpu, n, n, total=1 + n % 3, dyn=n % 2 == 0, gain=gain)
    for bits in range(2, 13):
        norm(cpu, bits, 24, bits, gain=gain)
    norm(cpu, 0, 1000, 12, gain=gain)


@pytest.mark.parametrize("gain", [False, True])
def test_norm_of_any_magnitude(cpu, gain):
    for bits in range(31):
        norm(cpu, bits, 9, gain=gain, amax=(1 << bits) - 1)
        for n in (1, 16):
            norm(cpu, bits, n, 12, gain=gain, amax=(1 << bits) - 1, extreme=True, c=32767)


def test_norm_with_every_epsilon(cpu):
    for eps_e in range(-40, 60, 3):
        for amax in (0, 3, 1 << 14, 1 << 25):
            norm(cpu, 41 + eps_e, 8, amax=amax, eps_e=eps_e, eps=0 if amax == 3 else 30000)


@pytest.mark.parametrize("place", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_layernorm(cpu, place, bias):
    for n in range(1, 41):
        layernorm(cpu, n, n, 1 + n % 3, place, bias)
    for n in (64, 128, 384, 1000):
        layernorm(cpu, n, n, 2, place, bias)


def test_layernorm_of_any_magnitude(cpu):
    for bits in range(32):
        # Half the last bit of a shift to the right must still fit a word.
        amax = min((1 << bits) - 1, (1 << 31) - 1 - (1 << 15))
        for n in (1, 2, 9, 16):
            layernorm(cpu, bits, n, amax=amax, lg=20 if bits & 1 else 4)
            for seed in (0, 1):
                layernorm(cpu, seed, n, amax=amax, extreme=True, scale=32767)
        if bits < 30:
            layernorm(cpu, bits, 24, 2, amax=amax, offset=1 << 29)
            layernorm(cpu, bits, 24, 2, amax=amax, offset=-(1 << 29))
    # As many elements as there may be, half of them opposite: the sums are as large as they get.
    layernorm(cpu, 1, 1 << 14, amax=1 << 30, extreme=True)
    layernorm(cpu, 0, 1 << 14, amax=32767, extreme=True)


def test_layernorm_of_all_numbers(cpu):
    for e in range(-20, 90):
        layernorm(cpu, e + 20, 7, e=e, scale=(1 << 14) + 149 * (e + 20))
    for e in (-4096, 4096):
        layernorm(cpu, 0, 5, e=e)
        layernorm(cpu, 0, 5, eps_e=e)
    for eps_e in range(-40, 60, 3):
        for amax in (0, 3, 1 << 14, 1 << 25):
            layernorm(cpu, 41 + eps_e, 8, amax=amax, eps_e=eps_e, eps=0 if amax == 3 else 30000)
    for scale in (1 << 14, 32767):
        for amax in (0, 1 << 10):
            layernorm(cpu, scale, 8, amax=amax, eps=0, scale=scale)


def test_layernorm_stays_in_memory(cpu):
    """Whatever the words are; the results of such are nobody's business."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 20))
        frames = rng.choice([-(1 << 31), (1 << 31) - 1, 0, -1], (2, n + 1))
        memory = Memory(rng)
        arena = memory.put([*header(0, 2, 2, n + 1), *frames.reshape(-1)])
        table = memory.put(rng.integers(-(1 << 31), 1 << 31, 2 * n)) - arena + BIAS
        at = 4 * 17 + BIAS
        fields = [at, at, n, 32767, 5, table, table + 4 * n, 5, 32767, -30]
        left = cpu.call("layernorm", memory, memory.put(fields), arena, watch=True)
        inside = np.zeros(len(left), bool)
        for t in range(2):
            i = (arena - RAM) // 4 + 17 + t * (n + 1)
            inside[i : i + n] = True
        assert (left == memory.words)[~inside].all()


@pytest.mark.parametrize("kind", GATES)
def test_gate(cpu, kind):
    for n in range(1, 41):
        gate(cpu, n, n, total=1 + n % 3, **kind)
    for f in range(8, 17):
        gate(cpu, f, 100, f, **kind)
        gate(cpu, f, 100, f, amax=(1 << 9 + f - 5) + 50, **kind)


@pytest.mark.parametrize("kind", some(GATES, 2))
def test_gate_of_any_magnitude(cpu, kind):
    for bits in range(31 if kind.get("up", True) else 32):
        gate(cpu, bits, 9, amax=(1 << bits) - 1, **kind)
        for sign in (-1, 1):
            gate(cpu, bits, 3, amax=(1 << bits) - 1, extreme=sign, **kind)
            gate(cpu, bits, 3, 16, amax=(1 << bits) - 1, extreme=sign, **kind)
    if kind.get("up", True) is False:
        gate(cpu, 0, 3, amax=1 << 31, extreme=-1, **kind)


@pytest.mark.parametrize("position", [None, 0, 3])
def test_embed(cpu, position):
    for n in range(1, 41):
        embed(cpu, n, n, total=1 + n % 3, position=position)
    for shift in range(-8, 31):
        embed(cpu, 8 + shift, 5, shift, 3, position=position)
    # Some of the vectors; a matrix that begins with the third row group.
    embed(cpu, 0, 5, total=4, window=(1, 3, 0), position=position)
    embed(cpu, 0, 5, total=4, window=(3, 4, 2), position=None if position is None else 8)


@pytest.mark.parametrize("position", [None, 5])
def test_embed_from_runs(cpu, position):
    for n in (1, 3, 6):
        for at in range(1, 5 * (n + 2)):
            embed(cpu, at, n, 6, 3, [at], position=position)
            more = sorted({at, at // 2 + 1, 5 * (n + 2) - 1})
            embed(cpu, at, n, 6, 3, more, position=position)
        embed(cpu, 0, n, 6, 6, list(range(1, 5 * (n + 2))), position=position)


@pytest.mark.parametrize("add", [0, 1])
def test_bias(cpu, add):
    for n in (*range(1, 14), 23, 40):
        bias(cpu, n, n, 1 + n % 3, add)
        bias(cpu, n, n, 1 + n % 3, add, more=n % 5)
        bias(cpu, n, n, 1, add, logits=True)
        for at in range(1, n):
            bias(cpu, n, n, 1 + at % 3, add, [at])
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 30))
        cuts = np.unique(rng.integers(1, n + 1, int(rng.integers(1, 12)))).tolist()
        bias(cpu, seed, n, 1 + seed % 3, add, cuts, 1)
    bias(cpu, 0, 9, 2, add, range(1, 9))


@pytest.mark.parametrize("how", [0, 1, 2])
def test_pool(cpu, how):
    for n in (1, 2, 7, 64):
        for total in (1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33):
            pool(cpu, n, n, total, how)


def test_pool_the_mean(cpu):
    for total in range(1, 200):
        pool(cpu, total, 3, total, 2, 1 << 12 + total % 18)
    for total in (255, 256, 257, 1000, 4095, 4096, 8191, 16383, 32767, 32768):
        pool(cpu, total, 1, total, 2)
    # Sums at both ends of a word
    for total in (1, 2, 3, 4, 5, 16):
        for last in (-(1 << 31), (1 << 31) - 1):
            arena = [*header(0, total, 2, 1), *[0] * total, last, 0]
            rng = np.random.default_rng(total)
            like_portable(cpu, rng, "pool", [17 << 6, 1, 2], arena, watch=True)


def test_sample_the_largest(cpu):
    for n in range(1, 41):
        sample(cpu, n, n)
    sample(cpu, 0, 7, logits=np.array([3, -4, 9, 9, 1, 9, 0]))
    sample(cpu, 0, 4, logits=np.array([-(1 << 31)] * 4))
    sample(cpu, 0, 3, logits=np.array([-(1 << 30), (1 << 30) - 1, (1 << 30) - 1]))


def test_sample(cpu):
    for n in range(1, 41):
        sample(cpu, n, n, *sampling(800, 900, 10))
    for seed in range(40):
        t = (0.001, 100, 1000, 5000, 100_000)[seed % 5]
        sample(cpu, seed, 97, *sampling(t, (0.001, 500, 950, 999, 1000)[seed // 8], seed % 17))
    for m, s in ((16384, -20), (32767, 17), (32767, 60)):
        sample(cpu, s + 20, 33, m, s)
        sample(cpu, s + 20, 8, m, s, logits=np.array([*ENDS, 0, -1, 1, -5, *ENDS[::-1]]))


# Whole models


@pytest.mark.parametrize("name", some(ARCHITECTURES, 4, 1))
def test_architectures(cpu, built, name):
    """Every step of a model gives the same logits."""
    a = built(name)
    seen: set[str] = set()
    model = emulated(cpu, a, seen)
    tokens = a.tokens(a.graph.context)
    for n in (1, 7):
        expected = a.sim().logits(tokens[:n])[-1]
        assert list(model.logits(tokens[:n])) == expected.tolist()
    assert seen == {step.op for step in a.sim().model.steps}
