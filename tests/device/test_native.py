"""The kernels as machine code of every instruction set of boards, on emulated cores.

What mpy-cross makes of the viper and the assembler kernels runs record by record, and must leave
what numpy or plain Python leaves: on 32 bits, where the unix port has 64. `test_thumb.py` has many
more records; with `-m slow` they run here too, as all families and cores do there.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import records
from cores import KERNELS, Core, Cortex, Memory, RiscV, Xtensa, core, signed
from emulatedmodel import BIAS, FIELDS, halves, placed
from picoformer.device.sampling import sampling
from picoformer.features import LogMel
from records import BITS, ENDS, GATES

QUICK = [
    *(("viper", name) for name in ("Xtensa", "RV32", "M0", "M33", "WebAssembly")),
    ("thumb", "M3"),
    ("dsp", "M33"),
    ("rv32", "RV32"),
]
# The same machine code on other cores.
MORE = [
    pytest.param(given, marks=pytest.mark.slow)
    for given in [
        ("viper", "M3"),
        *(("thumb", name) for name in ("M4", "M7", "M33")),
        *(("dsp", name) for name in ("M4", "M7")),
    ]
]


# The others of QUICK run the same code, or nearly.
WILD = [
    ("viper", "Xtensa"), ("viper", "RV32"), ("viper", "WebAssembly"), ("thumb", "M33"),
    ("dsp", "M4"), ("rv32", "RV32"),
]  # fmt: skip


@pytest.fixture(scope="module", params=[*QUICK, *MORE], ids="-".join)
def cpu(request) -> Core:
    return core(*request.param)


def linear(cpu):
    for cols in (1, 2, 8, 9, 23, 31):
        total = 1 + cols % 3
        records.linear(cpu, cols, cols, 2, total, [cols // 2 + 1, cols + 3], cols & 1, watch=True)
    for total in (1, 2):
        records.linear(cpu, 0, 5, 17, total)
        records.linear(cpu, 0, 5, 20, total, list(range(3, 140, 9)), watch=True)
    records.linear(cpu, 0, 22, 6, 1, [30, 70], watch=True)
    records.linear(cpu, 0, 6, 9, 3, list(range(3, 70, 5)), first=2, count=8, watch=True)
    for extreme in (1, 2, 3):
        records.linear(cpu, extreme, 64, 2, extreme=extreme)
        records.linear(cpu, extreme, 256, 2, 2, extreme=extreme, bits=12, s0=33, room=0)
    # The format's mantissas have 15 bits, but no loader reads them: they mean what they say.
    records.linear(cpu, 7, 9, 4, 2, [30, 43], s0=18, top_mantissa=65535)
    records.linear(cpu, 1, 64, 2, extreme=1, s0=30, top_mantissa=65535)
    for s0 in (-8, 10, 14, 17, 47, 59):
        records.linear(cpu, s0 + 8, 5, 2, 2, s0=s0, room=0, add=1)
        records.linear(cpu, s0 + 8, 1, 1, 2, s0=s0, room=14)
        records.linear(cpu, s0 + 8, 1, 1, 4, s0=s0, room=5)
    records.logits(cpu, 0, 7, 2, 1)


def linear4(cpu):
    for cols in (1, 4, 15, 17, 39):
        span, total = (16, 32, 1024)[cols % 3], 1 + cols % 3
        cuts = range(1, cols + 5, 1 + cols // 4)
        records.linear4(cpu, cols, cols, 1 + cols % 4, total, span, cuts, cols & 1, watch=True)
    records.linear4(cpu, 0, 5, 17, 2)
    records.linear4(cpu, 0, 39, 2, cuts=[17, 18, 30, 34, 50, 61])
    records.linear4(cpu, 0, 19, 5, 2, 16, list(range(3, 60, 5)), first=2, count=5, watch=True)
    for extreme in (1, 2, 3):
        records.linear4(cpu, extreme, 64, 3, extreme=extreme)
    records.linear4(cpu, 0, 2049, 1)  # more than `dsp` has the sums of
    records.linear4(cpu, 7, 9, 4, 2, s0=18, top_mantissa=65535)
    for s0 in (-8, 17, 47, 59):
        records.linear4(cpu, s0 + 8, 5, 2, 2, s0=s0, room=0, add=1)
        records.linear4(cpu, s0 + 8, 1, 1, 2, s0=s0, room=10)


def attend(cpu):
    for i, bits in enumerate(BITS):
        for length in (1, 2, 7, 8):
            records.attend(cpu, length, length, 4 + 2 * i, watch=True, bits=bits, se=70)
        records.attend(cpu, i, 21, 32, 1, 1, watch=True, bits=bits, se=74)
        records.attend(cpu, i, 9, 7, 3, 6, 2, False, watch=True, bits=bits, se=72)
        records.attend(cpu, i, 6, 8, 2, 2, 2, end=7, watch=True, bits=bits, se=74, ve=6)
        records.attend(cpu, i, 9, 8, extreme=True, amax=(1 << 30) - 1, bits=bits)
    records.attend(cpu, 0, 9, 6, 2, 2, 1, lean=20000, watch=True)
    records.attend(cpu, 0, 9, 6, 2, 2, 1, lean=1 << 24, end=11, watch=True)
    for amax in (0, 1, (1 << 15) - 1, 1 << 15, (1 << 31) - 1 - (1 << 15)):
        records.attend(cpu, amax, 3, 5, rope=False, amax=amax, se=amax.bit_length() + 50)
    for e in (0, 24, 44, 60, 90):
        records.attend(cpu, e, 5, 4, se=e, ve=e // 2, mc=32767, vn=(1 << 30) - 1, ps=e % 9)
        records.attend(cpu, e, 5, 4, se=e + 9, vn=1 << 28, ps=8)


def store(cpu):
    for i, bits in enumerate(BITS):
        for size in (1, 4, 9):
            records.store(cpu, size, size % 5, size, rope=size % 2 == 0, bits=bits)
        records.store(cpu, i, 3, 6, 3, 2, bits=bits)
        for amax in (0, 1, 2047, 2048, 2047 * 16 + 15, (1 << 30) - 1, (1 << 31) - 1 - (1 << 15)):
            records.store(cpu, amax, 1, 7, rope=False, amax=amax, bits=bits)
            records.store(cpu, amax, 2, 4, amax=amax, extreme=True, bits=bits)


def norm(cpu):
    for n in (1, 2, 9):
        for gain in (False, True):
            records.norm(cpu, n, n, 2 + n, 1 + n % 3, dyn=n > 1, gain=gain)
            for amax in (0, 1, 3 << 14, (1 << 31) - 1 - (1 << 15)):
                records.norm(cpu, amax, n, gain=gain, amax=amax)
                records.norm(cpu, amax, n, 12, gain=gain, amax=amax, extreme=True, c=32767)
    for eps_e in (-40, -9, 4, 60):
        for amax in (0, 3, 1 << 25):
            eps = 0 if amax == 3 else 30000
            records.norm(cpu, 41 + eps_e, 8, amax=amax, eps_e=eps_e, eps=eps)
            records.norm(cpu, 41 + eps_e, 8, amax=amax, eps_e=eps_e + 16, eps=eps, lg=20)


def layernorm(cpu):
    for n in (1, 2, 13):
        for kind in ({}, {"place": True}, {"bias": False}):
            records.layernorm(cpu, n, n, 1 + n % 3, **kind)
        for amax in (0, 1, 3 << 14, (1 << 31) - 1 - (1 << 15)):
            records.layernorm(cpu, amax, n, amax=amax, extreme=True, scale=32767)
            records.layernorm(cpu, 0, n, amax=amax, extreme=True)
    for n in (4, 5, 6, 7):
        records.layernorm(cpu, n, n, 4, spread=12)
    for e in (-4096, -20, 12, 30, 47, 90):
        records.layernorm(cpu, e + 5000, 7, e=e)
    for eps_e in (-70, -62, -40, 4, 60):
        for amax in (0, 3, 1 << 25):
            eps = 0 if amax == 3 else 30000
            records.layernorm(cpu, 99 + eps_e, 8, amax=amax, eps_e=eps_e, eps=eps)
            records.layernorm(cpu, 99 + eps_e, 8, amax=amax, eps_e=eps_e + 46, eps=eps, lg=20)


def gate(cpu):
    for kind in GATES:
        records.gate(cpu, 9, 9, total=2, **kind)
        records.gate(cpu, 0, 2, amax=0, **kind)
        for n in (4, 5, 6, 7):
            records.gate(cpu, n, n, amax=1 << 20, spread=12, total=3, **kind)
        for f in (8, 15, 16):
            records.gate(cpu, f, 30, f, amax=(1 << 9 + f - 5) + 50, **kind)
            records.gate(cpu, f, 2, f, amax=512 << f - 5, extreme=1 - f % 2 * 2, **kind)
        for sign in (-1, 1):
            records.gate(cpu, 0, 3, 16, amax=(1 << 30) - 1, extreme=sign, **kind)
        if kind.get("up", True) is False:
            records.gate(cpu, 0, 3, amax=1 << 31, extreme=-1, **kind)


def embed(cpu):
    for position in (None, 3):
        for n in (1, 6):
            cuts = range(2, 5 * (n + 2), 1 + n // 4)
            records.embed(cpu, n, n, 6, 1 + n % 3, cuts, position=position)
        for shift in (-8, 0, 1, 30):
            records.embed(cpu, 8 + shift, 5, shift, 3, position=position)
        records.embed(cpu, 0, 5, total=4, window=(1, 3, 0), position=position)
    records.embed(cpu, 0, 5, total=4, window=(3, 4, 2))
    records.embed(cpu, 0, 5, total=4, window=(3, 4, 2), position=8)
    records.embed(cpu, 0, 5, total=3, position=0, types=True)


def embed4(cpu):
    for position in (None, 1, 2):
        for n in (1, 6, 35):
            cuts = range(2, 3 * (n + 5), 1 + n // 6)
            records.embed4(cpu, n, n, 6, 1 + n % 3, 16, cuts, position=position)
        for shift in (-8, 0, 1, 30):
            records.embed4(cpu, 8 + shift, 5, shift, 3, position=position)
        records.embed4(cpu, 0, 20, total=4, span=32, window=(1, 3, 0), position=position)
    records.embed4(cpu, 0, 5, total=4, window=(3, 4, 2))


def bias(cpu):
    for add in (0, 1):
        for n in (1, 7):
            records.bias(cpu, n, n, 1 + n % 3, add)
            records.bias(cpu, n, n, 1 + n % 3, add, range(1, n), more=n % 5)
        records.bias(cpu, 9, 9, 1, add, logits=True)


def windows(cpu):
    for seed in range(3):
        records.windows(cpu, seed, 5 + seed, 3, (2, 3), (1, 1), 4 + seed)
        records.windows(cpu, seed, 9, 7, (3, 2 + seed), (2, 2), 9, seed, seed & 1)
    records.windows(cpu, 0, 1, 1, (1, 1), (1, 1), 1)
    records.windows(cpu, 0, 0, 3, (2, 3), (2, 3), 3, tokens=1)  # none
    records.windows(cpu, 0, 4, 3, (3, 2), (3, 1), 11, 2)  # behind its end
    for extreme in (-1, 1):
        records.windows(cpu, 0, 3, 4, (2, 4), (2, 4), 2, extreme=extreme)


def logmel(cpu):
    for n, f in enumerate((LogMel(8000), LogMel(4000, 100, 40, 10), LogMel(16000, 300, 100, 24))):
        t, rng = np.arange(f.window), np.random.default_rng(n)
        for x in (
            rng.integers(-32768, 32768, f.window), rng.integers(-2, 3, f.window), 0 * t,
            np.full(f.window, -32768), (t == 9).astype(int), np.where(t % 15 < 7, 32767, -32768),
            np.rint(30000 * np.sin(t / 5)).astype(int), np.rint(99 * np.sin(t / 2)).astype(int),
        ):  # fmt: skip
            records.logmel(cpu, n, f, x)


def pool(cpu):
    for how in (0, 1, 2):
        for total in (1, 2, 3, 4, 9):
            records.pool(cpu, total, 5, total, how)
    for total in (31, 32, 33):
        records.pool(cpu, total, 3, total, 2, 1 << 26)


def sample(cpu):
    for n in (1, 2, 17):
        records.sample(cpu, n, n)
    for n, t, p in ((5, 800, 900), (16, 100, 999), (33, 5000, 500), (97, 100_000, 1000)):
        records.sample(cpu, n, n, *sampling(t, p, 10))
    for seed in range(6):  # which sum of weights of 1 and 1/2 the second one is needed for
        records.sample(cpu, seed, 2, *sampling(1000, 900, 10), np.array([710, 0]))
    for bits in range(0, 16, 2):
        logits = np.random.default_rng(bits).integers(-5, 6, 50) << bits
        m, s, p = sampling(5000, 1000 - 45 * (bits & 2), bits)
        records.sample(cpu, bits, 50, m, s, p, logits)
        for state in records.closest(logits, m, s, np.random.default_rng(bits)):
            records.sample(cpu, bits, 50, m, s, logits=logits, state=signed(state))
    for m, s in ((16384, -20), (32767, 17), (32767, 60)):
        records.sample(cpu, s + 20, 33, m, s)
        # As far apart as words can be
        records.sample(cpu, s + 20, 6, m, s, logits=np.array([*ENDS, 0, -1, 1 << 30, ENDS[1] - 9]))
    records.sample(cpu, 0, 4, logits=np.array([ENDS[0]] * 4))


def series(cpu):
    """Each step has its record and the arena."""
    if "series" not in getattr(cpu, "at", ()):
        pytest.skip("no series in this family")
    memory = Memory(np.random.default_rng(2))
    arena = memory.put([0, 2, 32, 12, *[0] * 12, *range(24)], 1)
    runs = [memory.put([memory.put([n], 1) - arena + BIAS, 1]) - arena + BIAS for n in (1, 10)]
    steps = [("bias", memory.put([4 * 17 + BIAS, run, 1, 0])) for run in runs]
    steps.append(("pool", memory.put([4 * 17 + BIAS, 5, 0])))
    tables = []
    for some in [], steps[:1], steps, steps[::-1]:
        table = [v for name, record in some for v in (record, cpu.at[name] | cpu.thumb)]
        tables.append((memory.put([*table, 0, 0]), some))
    before = memory.words.copy()
    for table, some in tables:
        memory.words[:] = before
        for name, record in some:
            memory.words[:] = cpu.call(name, memory, record, arena, watch=True)
        expected = memory.words.copy()
        memory.words[:] = before
        assert (cpu.call("series", memory, table, arena, watch=True) == expected).all()


RECORDS = {
    f.__name__: f
    for f in (
        linear, linear4, attend, store, norm, layernorm, gate, embed, embed4, bias, pool, sample,
        windows, logmel, series,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_kernels_equal_the_definition(cpu, name):
    RECORDS[name](cpu)


def test_viper_takes_few_instructions():
    """On Xtensa, 64 x 64, the call and the requantization included."""
    cpu = Xtensa(*KERNELS["viper"], architecture="xtensawin")
    records.linear(cpu, 0, 64, 16)
    assert cpu.count <= 12.0 * 64 * 64
    records.linear4(cpu, 0, 64, 16)
    assert cpu.count <= 12.7 * 64 * 64
    records.attend(cpu, 0, 64, 8, 1, 4, 4)
    before = cpu.count
    records.attend(cpu, 0, 128, 8, 1, 4, 4)
    assert cpu.count - before <= 64 * 4 * 460
    # A row of sound of 8,000 Hz
    records.logmel(cpu, 0, LogMel(8000), np.random.default_rng(0).integers(-3000, 3000, 256))
    assert cpu.count <= 190_000


def wild(
    cpu, rng, name, record, arena, tables=(), cache=(), runs=(), matrix=(), signal=(), **_
) -> None:
    """`records.like_portable` with any words in the frames: nobody cares what comes out."""
    parts = arena, tables, runs, matrix, cache, record, halves(signal)
    regions = [[int(v) for v in part] for part in parts]
    words = regions[0]
    stride = words[3]
    for i in range(17, len(words)):
        if (i - 16) % stride and rng.random() < 0.7:  # tokens stay
            some = *ENDS, -1, 0, 1, 1 << 30, -(1 << 30), int(rng.integers(*ENDS))
            words[i] = some[rng.integers(len(some))]
    memory = Memory(rng)
    at = [memory.put(part) for part in regions]
    memory.set(at[2], placed(regions[2], "o-" * (len(runs) // 2), at))
    memory.set(at[5], placed(record, FIELDS[name], at))
    left = cpu.call(name, memory, at[5], at[0], watch=True)
    changed = left != memory.words
    # In the arena, the cache, and what is no operand in a record
    for i in (0, 4, 5):
        start = memory.index(at[i])
        changed[start : start + len(regions[i])] = False
    assert not changed.any()


@pytest.mark.parametrize("cpu", WILD, ids="-".join, indirect=True)
@pytest.mark.parametrize("name", RECORDS)
def test_whatever_the_words_are(cpu, name, monkeypatch):
    """Kernels end and stay in their memory."""
    monkeypatch.setattr(records, "like_portable", wild)
    if name == "logmel":
        pytest.skip("any samples are in its records")
    if name == "linear":  # whose records are numpy's, but for these
        for cols in (1, 7, 24):
            records.logits(cpu, cols, cols, 2, cols & 1)
    else:
        RECORDS[name](cpu)


# Whether these records find faults

SWAPPED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Sub,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd, ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip


def viper_mutants(name: str) -> Iterator[tuple[str, str]]:
    """(what was changed, source) of a kernel with another constant, operator or assignment."""
    for path in KERNELS["viper"]:
        for f in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(f, ast.FunctionDef) or f.name != name:
                continue
            for node in ast.walk(f):
                kept = dict(vars(node))
                if any(isinstance(n, ast.Name) and n.id == "m" for n in vars(node).values()):
                    continue  # 2**31, with which 32 bits do nothing
                if isinstance(node, ast.Constant) and isinstance(node.value, int):
                    node.value = 2 * node.value + 1
                elif isinstance(node, ast.BinOp | ast.AugAssign):
                    node.op = SWAPPED[type(node.op)]()
                elif isinstance(node, ast.Compare):
                    node.ops = [SWAPPED[type(node.ops[0])]()]
                elif isinstance(node, ast.While | ast.If | ast.For):
                    lines = [s for s in node.body if not isinstance(s, ast.Assign)]
                    node.body = lines or [ast.Pass()]
                else:
                    continue
                yield f"line {node.lineno}", "import micropython\n" + ast.unparse(f)
                vars(node).update(kept)


def thumb_mutants(code: bytes) -> Iterator[tuple[int, bytes]]:
    """(place, code) of an instruction that does nothing; `bl` and its like stay."""
    at = 0
    while at < len(code):
        wide = code[at + 1] >> 3 >= 0x1D
        if not wide:
            yield at, b"\x00\xbf"
        elif code[at + 1] >> 3 < 0x1E or code[at + 3] < 0x80:
            yield at, b"\x00\xbf\x00\xbf"
        at += 4 if wide else 2


def riscv_mutants(code: bytes) -> Iterator[tuple[int, bytes]]:
    """The same of RISC-V."""
    at = 0
    while at < len(code):
        wide = code[at] & 3 == 3
        yield at, b"\x13\0\0\0" if wide else b"\x01\0"
        at += 4 if wide else 2


def found(check: Callable[[Core], None], cpu: Core) -> bool:
    cpu.seconds = 0.3
    try:
        check(cpu)
    except (AssertionError, pytest.fail.Exception):
        return True
    return False


# Those that live change nothing, most of them: they take a longer way, or round one bit otherwise.
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECORDS if name != "series"])
def test_a_changed_line_is_found(name, tmp_path):
    alive = []
    mutants = list(viper_mutants(name))[::9]
    for what, source in mutants:
        path = tmp_path / "mutant.py"
        path.write_text(source, encoding="utf-8")
        try:
            mutant = Cortex(path, model="M33", architecture="armv7emsp")
        except ValueError:
            continue  # it does not compile
        if not found(RECORDS[name], mutant):
            alive.append(what)
    assert len(alive) <= 0.25 * len(mutants), alive


@pytest.mark.slow
@pytest.mark.parametrize(
    "family, name",
    [
        *(("thumb", name) for name in RECORDS if name not in ("layernorm", "windows")),
        *(("dsp", name) for name in RECORDS if name not in ("embed4", "windows", "logmel")),
        *(("rv32", name) for name in RECORDS if name not in ("windows", "logmel", "series")),
    ],
)
def test_an_instruction_left_out_is_found(family, name):
    """Thumb's `norm` is `layernorm` too."""

    def check(cpu):
        RECORDS[name](cpu)
        if name == "norm":
            layernorm(cpu)

    if family == "rv32":
        cpu, kinds = RiscV(*KERNELS[family], architecture="rv32imc"), riscv_mutants
    else:
        cpu = Cortex(*KERNELS[family], model="M33", architecture="armv7emsp")
        kinds = thumb_mutants
    start = cpu.at[name]
    code = cpu.read(start, cpu.size[name])
    alive = []
    mutants = list(kinds(code))[:: 1 if name == "series" else 9]
    for at, other in mutants:
        cpu.change(start + at, other)
        if not found(check, cpu):
            alive.append(hex(at))
        cpu.change(start + at, code[at : at + len(other)])
    assert len(alive) <= 0.1 * len(mutants), alive
