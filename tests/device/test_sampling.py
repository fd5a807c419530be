"""The sampler: integers that follow the softmax, the same ones on the PC and on the board."""

from __future__ import annotations

import json
import re
from array import array

import numpy as np
import pytest

from picoformer import Error
from picoformer.compile.tables import exp2_table
from picoformer.device import kernels_portable as portable
from picoformer.device.model import Model
from picoformer.device.sampling import sampling, seed_word, thousandths
from picoformer.simulate.sampling import sample

BITS = 12  # fraction bits of these tests' logits
POWERS = exp2_table().astype(np.int64)


def softmax(logits, temperature):
    z = np.asarray(logits) / 2.0**BITS / temperature
    p = np.exp(z - z.max())
    return p / p.sum()


def host_draws(logits, temperature, top_p, seed, n):
    """n tokens that the simulator draws, one after the other."""
    m, s, p = sampling(float(temperature), float(top_p), BITS)
    state = seed_word(seed) & 0xFFFFFFFF
    out = np.empty(n, np.int64)
    for i in range(n):
        out[i], state = sample(logits, POWERS, m, s, p, state)
    return out, state


def board_draws(logits, temperature, top_p, seed, n):
    """The same from the board's portable kernel, under CPython."""
    m, s, p = sampling(float(temperature), float(top_p), BITS)
    tables = array("i", exp2_table().tolist())
    record = array("i", [16 << 6, len(logits), 1, m, s, p, seed_word(seed), 0])
    out = []
    for _ in range(n):
        portable.sample(record, [array("i", bytes(64)) + array("i", logits.tolist()), tables])
        out.append(record[7])
    return out, record[6] & 0xFFFFFFFF


def nucleus(logits, temperature, top_p):
    """Which tokens top-p keeps, in floating point: the fewest of the largest that reach it.

    None if a rounding could decide otherwise.
    """
    p = softmax(logits, temperature)
    order = np.argsort(-p, kind="stable")
    total = np.cumsum(p[order])
    if np.abs(total - top_p).min() < 2e-3:
        return None
    n = int((total < top_p).sum()) + 1
    if n < len(p) and p[order[n]] > p[order[n - 1]] - 1e-3:
        return None
    return set(order[:n].tolist())


@pytest.mark.parametrize("temperature", [0.3, 0.8, 1.0, 2.0])
def test_follows_the_softmax(temperature):
    rng = np.random.default_rng(1)
    logits = (rng.normal(0, 1.2, 40) * 2**BITS).astype(np.int64)
    n = 6000
    tokens, _ = host_draws(logits, temperature, 1.0, 5, n)
    seen = np.bincount(tokens, minlength=40)
    expected = softmax(logits, temperature) * n
    # Tokens that are hardly ever drawn count as one.
    rare = expected < 8
    seen = np.append(seen[~rare], seen[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] < 8:
        seen, expected = seen[:-1], expected[:-1]
    chi2 = ((seen - expected) ** 2 / expected).sum()
    degrees = len(seen) - 1
    assert degrees >= 8
    assert chi2 < degrees + 4 * np.sqrt(2 * degrees), (chi2, degrees)


def test_probabilities_are_exact_to_a_few_in_a_million():
    """Not by drawing: the kernel leaves its weights where the logits were."""
    rng = np.random.default_rng(2)
    for temperature in 0.05, 0.4, 1.0, 3.0, 100.0:
        logits = (rng.normal(0, 3, 64) * 2**BITS).astype(np.int64)
        m, s, p = sampling(round(temperature * 1000), 1000, BITS)
        arena = array("i", bytes(64)) + array("i", logits.tolist())
        record = array("i", [16 << 6, 64, 1, m, s, p, 1, 0])
        portable.sample(record, [arena, array("i", exp2_table().tolist())])
        weights = np.array(arena[16:], np.float64)
        exact = softmax(logits, temperature)
        # Each weight is within half a step of the exponent (2**-11) and one unit of 2**-15.
        relative = exact / exact.max() * 2**15
        assert (np.abs(weights - relative) <= 1.1 + relative * 6e-4).all()


@pytest.mark.parametrize("seed", range(2))
def test_top_p_keeps_exactly_the_right_tokens(seed):
    rng = np.random.default_rng(seed)
    tried = 0
    while tried < 4:
        logits = (rng.normal(0, 1, 12) * 2**BITS).astype(np.int64)
        temperature = float(rng.choice([0.5, 0.8, 1.0, 1.5]))
        top_p = int(rng.integers(50, 990)) / 1000
        kept = nucleus(logits, temperature, top_p)
        if kept is None or softmax(logits, temperature)[list(kept)].min() < 0.01:
            continue
        tried += 1
        tokens, _ = host_draws(logits, temperature, top_p, seed + 1, 1000)
        assert set(tokens.tolist()) == kept
        # And what is kept keeps its proportions.
        exact = softmax(logits, temperature)[sorted(kept)]
        share = np.bincount(tokens, minlength=12)[sorted(kept)] / 1000
        np.testing.assert_allclose(share, exact / exact.sum(), atol=0.06)


def test_top_p_keeps_all_of_equals():
    """The rule is a threshold: tokens as likely as the last that is needed are kept as well."""
    logits = np.array([0, 500, 500, 500, -90000, 0])
    tokens, _ = host_draws(logits, 1.0, 0.001, 3, 400)
    assert set(tokens.tolist()) == {1, 2, 3}


def test_reaching_top_p_exactly_is_enough():
    """Weights of a half and two quarters: the half alone reaches 0.5."""
    logits = np.array([-2839, 0, -2839])  # ln 2 in 2**-12
    for draws in host_draws(logits, 1.0, 0.5, 3, 60), board_draws(logits, 1, 0.5, 3, 60):
        assert set(np.array(draws[0]).tolist()) == {1}
    tokens, _ = host_draws(logits, 1.0, 0.501, 3, 60)
    assert set(tokens.tolist()) == {0, 1, 2}


def test_a_tiny_top_p_is_greedy():
    logits = np.array([5, 9000, -3, 8000, 19000])
    tokens, _ = host_draws(logits, 100.0, 0.001, 3, 50)
    assert set(tokens.tolist()) == {4}


def test_temperature_0_takes_the_first_of_the_largest():
    for logits in [3, 7, 7, 1], [-5, -5, -5], [0], [-(1 << 31), (1 << 31) - 1, (1 << 31) - 1]:
        logits = np.array(logits)
        best = int(logits.argmax())
        assert host_draws(logits, 0, 1, 1, 1) == (best, 1)
        assert board_draws(logits, 0, 1, 1, 1) == ([best], 1)


def test_a_low_temperature_is_almost_greedy():
    logits = np.array([0, 1 << BITS, 2 << BITS])
    tokens, _ = host_draws(logits, 0.05, 1.0, 1, 500)
    assert set(tokens.tolist()) == {2}


def test_logits_as_far_apart_as_they_go():
    logits = np.array([-(1 << 28), 1 << 28, (1 << 28) - 100])
    for draws in host_draws(logits, 1.0, 1.0, 1, 200), board_draws(logits, 1, 1, 1, 200):
        assert set(np.array(draws[0]).tolist()) == {1, 2}


@pytest.mark.parametrize("seed", range(6))
def test_host_and_portable_kernel_draw_the_same(seed):
    rng = np.random.default_rng(seed)
    for _ in range(25):
        n = int(rng.integers(1, 130))
        logits = (rng.normal(0, 10.0 ** rng.integers(0, 4), n) * 2**BITS).astype(np.int64)
        logits = np.clip(logits, -(1 << 29), 1 << 29)
        temperature = float(rng.choice([0, 0.001, 0.2, 0.8, 1.0, 7.0, 100.0]))
        top_p = float(rng.choice([0.001, 0.3, 0.9, 0.999, 1.0]))
        word = int(rng.integers(-(1 << 40), 1 << 40))
        tokens, state = host_draws(logits, temperature, top_p, word, 4)
        assert (tokens.tolist(), state) == board_draws(logits, temperature, top_p, word, 4)


UNIX = """
import json
import re
from array import array
from uctypes import addressof
import picoformer.kernels_viper as kernels
from picoformer.sampling import sampling, seed_word

tables = array("i", TABLE)
out = []
for logits, temperature, top_p, seed in RUNS:
    arena = array("i", bytes(64)) + array("i", logits)
    record = array("i", [0, len(logits)] + [0] * 6)
    record[0] = 64 + kernels.BIAS
    record[2] = addressof(tables) - addressof(arena) + kernels.BIAS
    record[3], record[4], record[5] = sampling(temperature, top_p, BITS)
    record[6] = seed_word(seed)
    tokens = []
    for _ in range(DRAWS):
        arena[16:] = array("i", logits)
        kernels.sample(record, arena)
        tokens.append(record[7])
    out.append([tokens, record[6] & 0xFFFFFFFF])
print(json.dumps(out))
"""


def test_host_and_native_kernel_draw_the_same(unix, native):
    rng = np.random.default_rng(9)
    runs, expected = [], []
    for i in range(120):
        n = int(rng.integers(1, 130))
        logits = (rng.normal(0, 10.0 ** (i % 5), n) * 2**BITS).astype(np.int64)
        logits = np.clip(logits, -(1 << 29), 1 << 29)
        temperature = int(rng.choice([0, 10, 200, 800, 1000, 7000, 100000]))
        top_p = int(rng.choice([10, 300, 900, 999, 1000]))
        seed = int(rng.integers(-(1 << 40), 1 << 40)) if i else 0
        runs.append([logits.tolist(), temperature, top_p, seed])
        tokens, state = host_draws(logits, temperature / 1000, top_p / 1000, seed, 4)
        expected.append([tokens.tolist(), state])

    said = unix(UNIX, RUNS=runs, DRAWS=4, BITS=BITS, TABLE=exp2_table().tolist())
    assert json.loads(said) == expected


def test_every_unit_of_probability_counts(unix, native):
    """Thousands of tokens that weigh one unit each: a number off by one gives another token."""
    logits = np.full(6000, -42300)
    logits[100] = 0
    expected = host_draws(logits, 1.0, 1.0, 11, 400)
    tokens, state = expected[0].tolist(), expected[1]
    assert len(set(tokens)) > 5
    assert board_draws(logits[:], 1.0, 1.0, 11, 20)[0] == tokens[:20]
    runs = [[logits.tolist(), 1000, 1000, 11]]
    said = unix(UNIX, RUNS=runs, DRAWS=400, BITS=BITS, TABLE=exp2_table().tolist())
    assert json.loads(said) == [[tokens, state]]


# Arguments


def test_the_multiplier_is_exact_to_14_bits():
    """mantissa / 2**shift is log2(e) / temperature, in units of 2**-10 over the logits' bits."""
    for bits in 0, 8, 12, 16:
        for temperature in [*range(1, 3000, 7), 5000, 99999, 100000]:
            mantissa, shift, _ = sampling(temperature / 1000, 1000, bits)
            assert 0 < mantissa < 32768
            exact = np.log2(np.e) * 1000 / temperature * 2.0 ** (10 - bits)
            assert abs(mantissa / 2.0**shift / exact - 1) < 2.0**-13 + 4e-5


def test_thousandths():
    assert sampling(0, 1000, 12) == (0, 0, 32768)
    assert sampling(800, 900, 12)[2] == 29491
    assert sampling(800, 10, 12)[2] == 328
    assert sampling(800, 0.001, 12)[2] == 33
    assert sampling(800, 500, 12)[2] == 16384


def short(x, bits):
    """x as a float of 32 bits whose last ones are cut off, as boards have them."""
    word = np.asarray(x, np.float32).view(np.uint32)
    cut = np.uint32(32 - bits)
    return (word >> cut << cut).view(np.float32)


@pytest.mark.parametrize("bits", [32, 30])
def test_short_floats_give_the_same_thousandths(bits):
    """The rule, step by step in floats of 32 bits, and of 30, which some boards have."""
    decimals = np.arange(1_000_001)  # all of 0.0000 to 100.0000
    for x in decimals / 10000, np.arange(100_001) / 1000:
        product = short(short(x, bits) * np.float32(1000), bits)
        ours = short(product + short(0.45, bits), bits).astype(np.int64)
        wide = (x * 1000 + 0.45).astype(np.int64)
        np.testing.assert_array_equal(ours, wide)
        assert thousandths("x", float(x[-7]), 0, 100_000) == wide[-7]
    np.testing.assert_array_equal(ours, np.arange(100_001))


# The first line is what the server does with the link's ints, the second what a user writes.
FLOATS = """
from picoformer.sampling import sampling, thousandths
print([k for k in range(100001) if thousandths("x", k / 1000, 0, 100000) != k])
print([thousandths("x", eval("0.%03d" % k), 0, 1000) for k in range(1000)] == list(range(1000)))
print(sampling(0.8, 0.9, 12) == sampling(800, 900, 12), sampling(1.0, 1.0, 12))
"""


def test_floats_on_micropython(unix):
    lines = unix(FLOATS).splitlines()
    assert lines == ["[]", "True", f"True {sampling(1000, 1000, 12)}"]


@pytest.mark.parametrize("x", [0, 0.8, 1.0, 1, 2, 37.5, 100, np.float32(0.8), np.float64(0.1)])
def test_what_the_pc_says_is_what_a_board_takes(case, x):
    """On the PC an int is no thousandths."""
    c = case("size26")
    model = Model(str(c.file()), kernels="portable")
    ours = list(c.sim().generate("then", 4, temperature=x, top_p=0.9, seed=3))
    assert ours == list(model.generate("then", 4, round(1000 * float(x)), 900, 3))
    assert ours == list(model.generate("then", 4, float(x), 0.9, 3))


@pytest.mark.parametrize("name, v, text", [
    ("temperature", 1, "temperature is 1: write 1.0, or 1000 thousandths"),
    ("temperature", 9, "temperature is 9: write 9.0, or 9000 thousandths"),
    ("top_p", 1, "top_p is 1: write 1.0, or 1000 thousandths"),
    ("top_p", 5, "top_p is 5, expected 0.001 to 1.0, a float, or whole thousandths, 10 to 1000"),
    ("length_penalty", 2, "length_penalty is 2: write 2.0, or 2000 thousandths"),
])  # fmt: skip
def test_ints_that_meant_something_else(name, v, text):
    high = {"temperature": 100000, "top_p": 1000, "length_penalty": 10000}[name]
    with pytest.raises(Error) as e:
        thousandths(name, v, int(name == "top_p"), high)
    assert str(e.value) == text
    assert thousandths(name, 10, 0, high) == 10
    if name != "length_penalty":
        with pytest.raises(Error, match=re.escape(text)):
            sampling(*{"temperature": (v, 900), "top_p": (800, v)}[name], 12)


NOT_A_NUMBER = [float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize(
    "name, temperature, top_p",
    [
        ("temperature", -1, 1000),
        ("temperature", 100001, 1000),
        ("temperature", 100.1, 1000),
        ("temperature", -0.1, 1000),
        ("temperature", -0.0001, 1000),
        ("temperature", "hot", 1000),
        ("temperature", None, 1000),
        ("top_p", 800, 0),
        ("top_p", 800, 0.0),
        ("top_p", 800, 1001),
        ("top_p", 800, 1.01),
        ("top_p", 800, -5),
        *[("temperature", v, 1000) for v in NOT_A_NUMBER],
        *[("top_p", 0.8, v) for v in NOT_A_NUMBER],
    ],
)
def test_out_of_range(case, name, temperature, top_p):
    value = temperature if name == "temperature" else top_p
    low = "0.0 to 100.0" if name == "temperature" else "0.001 to 1.0"
    says = f"{name} is {value!r}, expected {low}"
    says += "$" if isinstance(value, float) else ", a float, or whole thousandths, 10 to 10"
    with pytest.raises(Error, match=says):
        sampling(temperature, top_p, 12)
    model = Model(str(case("size10").file()), kernels="portable")
    with pytest.raises(Error, match=says):
        next(model.generate("the", 3, temperature, top_p))


@pytest.mark.parametrize("options", [{"temperature": -0.1}, {"temperature": 101}, {"top_p": 0},
                                     {"temperature": 800}, {"top_p": 1.01}])  # fmt: skip
def test_out_of_range_on_the_pc(case, options):
    with pytest.raises(Error, match=rf"{next(iter(options))} is [\d.-]+, expected [\d. to]+$"):
        next(case("size2").sim().generate("the", 3, **options))


def test_seeds():
    assert seed_word(0) not in (0, None)  # the generator would stay at 0 for ever
    assert seed_word(1) == 1
    assert seed_word(-1) == -1 == seed_word(0xFFFFFFFF)
    assert seed_word((1 << 32) + 5) == 5
    assert seed_word(1 << 32) == seed_word(0)
    for seed in 0, 1, -1, 1 << 31, (1 << 31) - 1, -(1 << 63):
        assert -(1 << 31) <= seed_word(seed) < 1 << 31


def test_seed_0_is_random_too():
    logits = np.zeros(50, np.int64)
    tokens, _ = host_draws(logits, 1.0, 1.0, 0, 500)
    assert len(set(tokens.tolist())) > 45
    other, _ = host_draws(logits, 1.0, 1.0, 1, 500)
    assert tokens.tolist() != other.tolist()


def test_the_same_seed_gives_the_same_text(stories):
    first, again, other = (
        list(stories.sim.generate("Once", 12, 1.0, 0.95, seed)) for seed in (3, 3, 4)
    )  # fmt: skip
    assert first == again != other


def test_the_generator_is_xorshift32():
    """Known values of Marsaglia's generator, from state 1."""
    state = 1
    states = []
    for _ in range(3):
        _, state = sample(np.zeros(4, np.int64), POWERS, *sampling(1000, 1000, 12), state)
        states.append(state)
    assert states == [270369, 67634689, 2647435461]
