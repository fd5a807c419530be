"""The runtime on an emulated Pico with stock firmware: 32-bit integers, little memory, littlefs.

One board boots for the slow tests; it starts with everything in its flash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

import models
from boardscripts import EXTREMES, MANY, runtime
from models import ROOT, Architecture, Shape, random_checkpoint
from picoformer import Simulator, convert
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import compile_graph
from picoformer.compile.convert import compiled_bytes
from picoformer.planning.planner import Planner
from picoformer.planning.profiles import PROFILES
from tools.emulation import rp2040
from tools.emulation.errors import BoardError

_REASON = rp2040.missing()
pytestmark = pytest.mark.skipif(_REASON is not None, reason=_REASON or "")

PROMPT = "Once upon"
SIGNALS = "signal", "forecast", "signal four", "forecast narrow"
ODD = Shape(10, 13, 1, 2, 1, 41, 12, shared=False, size=6)


@dataclass
class Bench:
    """The board, and simulators of the models in its flash."""

    board: rp2040.RP2040
    odd: Simulator
    tiny: Simulator
    others: dict[str, Architecture]

    def fresh(self, script: str) -> list:
        """Run a script on an empty heap; what it printed, line by line, as JSON."""
        self.board.soft_reset()
        return [json.loads(line) for line in self.board.exec(script).splitlines()]


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("rp2040")
    convert(models.write_hf(folder / "hf", random_checkpoint(ODD)), folder / "odd.pft")
    files = runtime()
    names = "gpt2", "bert", "gpt2 four", "gpt2 odd narrow", *SIGNALS
    others = {name: Architecture(name, folder / name) for name in names}
    for name, a in others.items():
        files[f"/{name.replace(' ', '_')}.pft"] = a.file().read_bytes()
    graph = models.architecture(models.MINILM, 12, 13, 2, 3, 41, 9)
    compiled = compile_graph(graph, calibrate(graph))
    vocabulary = models.vocabulary(41, folder / "tokenizer")
    (folder / "tiny.pft").write_bytes(compiled_bytes(graph, vocabulary, compiled))
    names = "odd.pft", "tiny.pft"
    for name in names:
        files["/" + name] = (folder / name).read_bytes()
    sims = [Simulator(folder / name) for name in names]
    with rp2040.RP2040(files) as board:
        yield Bench(board, *sims, others)


def test_a_story(tmp_path):
    """Logits of a prompt, greedy and seeded text; and tokens leave nothing on the heap."""
    convert(models.STORIES, tmp_path / "stories.pft", context=128)
    sim = Simulator(tmp_path / "stories.pft")
    files = {**runtime(), "/stories.pft": (tmp_path / "stories.pft").read_bytes()}
    tokens = [1, *sim.tokenizer.encode(PROMPT)]
    script = f"""
import gc, json
from picoformer import Model

def tell(m, pieces, arguments):
    text = m.generate({PROMPT!r}, *arguments)
    pieces[0] = next(text)
    gc.collect()
    before = gc.mem_alloc()
    for i in range(1, 4):
        pieces[i] = next(text)
    gc.collect()
    return gc.mem_alloc() - before

m = Model("stories.pft")
print(json.dumps([m.kernels, m.context, m.weights, gc.mem_free()]))
print(json.dumps(list(m.logits({tokens}))))
for arguments in (4,), (4, 800, 900, 5):
    pieces = [""] * 4
    print(tell(m, pieces, arguments))
    print(json.dumps(pieces))
"""
    with rp2040.RP2040(files) as board:
        lines = board.exec(script).splitlines()
    about, logits, grown, greedy, grown2, seeded = map(json.loads, lines)
    assert about[0] != "portable" and about[1] == 128 and about[3] > 20000
    assert about[2] in ("flash", "file")  # they do not fit in RAM
    np.testing.assert_array_equal(logits, sim.logits(tokens)[-1])
    assert greedy == list(sim.generate(PROMPT, 4))
    assert seeded == list(sim.generate(PROMPT, 4, 0.8, 0.9, 5))
    # The three strings themselves; a block is 16 bytes, and a string takes one or two.
    assert max(grown, grown2) <= 3 * 2 * 16


@pytest.mark.slow
def test_each_module_of_assembler_compiles_in_40_kb():
    """From its source, on a Pico: what is free besides is taken away before."""
    device = ROOT / "device" / "picoformer"
    sources = {p.stem: p for p in device.glob("kernels_*.py") if "asm_thumb" in p.read_text()}
    files = {f"/lib/alone/{name}.py": p.read_bytes() for name, p in sources.items()}
    code = f"""
import alone, gc

for name in {sorted(sources)}:
    gc.collect()
    left = [bytearray(1008) for _ in range((gc.mem_free() >> 10) - 40)]
    try:
        __import__("alone." + name)
        print(name, "imported")
    except (ImportError, MemoryError) as e:
        print(name, repr(e))
    left = None
"""
    with rp2040.RP2040({**files, "/lib/alone/__init__.py": b""}) as board:
        said = board.exec(code).splitlines()
    for name, line in zip(sorted(sources), said, strict=True):
        # A Pico's core refuses the code of others, but not before it is compiled.
        refused = f"{name} ImportError('no DSP instructions',)"
        assert line == (refused if name == "kernels_dsp" else f"{name} imported")


@pytest.mark.slow
def test_an_odd_model_with_both_families(bench):
    """Odd sizes; the native kernels read the weights from the file, in tiles."""
    sim = bench.odd
    tokens = [1, *np.random.default_rng(2).integers(3, 41, 5).tolist()]
    script = f"""
import json
from picoformer import Model
for kernels, weights, steps, n in ("viper", "file", (1, 5, 6), 3), ("portable", "ram", (2,), 1):
    m = Model("odd.pft", kernels=kernels, weights=weights)
    print(json.dumps([list(m.logits({tokens}[:n])) for n in steps]))
    print(json.dumps(list(m.generate("a", n, 900, 950, 7))))
    m.close()
"""
    native, text, portable, start = bench.fresh(script)
    expected = sim.logits(tokens)
    np.testing.assert_array_equal(native, expected[[0, 4, 5]])
    np.testing.assert_array_equal(portable, expected[[1]])
    story = list(sim.generate("a", 3, 0.9, 0.95, 7))
    assert (text, start) == (story, story[:1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, kernels, weights",
    [
        ("gpt2 four", "thumb", "flash"),
        ("gpt2", "thumb", "flash"),
        ("gpt2", "viper", "ram"),
        ("bert", "viper", "flash"),
        ("bert", "thumb", "file"),
        ("gpt2 four", "viper", "file"),
        ("gpt2 odd narrow", "thumb", "flash"),
        ("gpt2 odd narrow", "viper", "ram"),
    ],
)
def test_other_architectures(bench, name, kernels, weights):
    a = bench.others[name]
    tokens = a.tokens(6)
    steps = [1, 6]
    script = f"""
import json
from picoformer import Model
m = Model("{name.replace(" ", "_")}.pft", kernels={kernels!r}, weights={weights!r})
for n in {steps}:
    print(json.dumps(list(m.logits({tokens}[:n]))))
"""
    expected = [a.sim().logits(tokens[:n])[-1] for n in steps]
    try:
        got = bench.fresh(script)
    except BoardError as e:
        if weights != "flash" or "shows no file as memory" not in str(e):
            raise
        pytest.skip("this firmware does not show its files as memory: it is older than 1.25")
    np.testing.assert_array_equal(got, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kernels, weights", [("thumb", None), ("viper", "file")])
@pytest.mark.parametrize("name", SIGNALS)
def test_signals(bench, name, kernels, weights):
    a = bench.others[name]
    f, task = a.graph.frames, a.graph.task
    signals = [a.signal(n).reshape(-1).tolist() for n in (f.length, f.least)]
    script = f"""
import gc, json
from array import array
from picoformer import Model
m = Model("{name.replace(" ", "_")}.pft", kernels={kernels!r}, weights={weights!r})
for numbers in {signals}:
    x = array("h", numbers)
    for given in x, bytes(x), memoryview(b"ab" + bytes(x))[2:], memoryview(b"a" + bytes(x))[1:]:
        print(json.dumps(list(m.read(given, m.task))))
gc.collect()
before = gc.mem_free()
m.read(x, m.task)
gc.collect()
print(before - gc.mem_free())
"""
    expected = [a.sim()._read(a.signal(n), task).tolist() for n in (f.length, f.least)]
    *got, kept = bench.fresh(script)
    assert got == [expected[0]] * 4 + [expected[1]] * 4
    assert kept <= 0


# The assembler's machine code runs on such values in test_thumb.py, too, and viper's code of 64
# bits in test_exact.py.
@pytest.mark.slow
@pytest.mark.parametrize("name, kernels", [("tiny", "viper"), ("tiny", "thumb"), ("odd", "thumb")])
def test_kernels_agree_on_extreme_values(bench, name, kernels):
    """Where 32-bit registers overflow, 64-bit ones may not: so this runs here as well."""
    bench.board.soft_reset()
    names = f"FILE, NATIVE, POSITIONS, SEED = '{name}.pft', {kernels!r}, 2, 5\n"
    said = bench.board.exec(names + EXTREMES, 200)
    assert said == f"{sorted({s.op for s in getattr(bench, name).model.steps})}\n"


def test_ctrl_c_leaves_a_model_free():
    """Whenever it comes: also where a run begins or ends, in between two jumps of Python."""
    with rp2040.RP2040(runtime()) as board:
        board.exec("""
from picoformer.model import _alone, allocate_lock
class Model:
    def __init__(self):
        self._lock = allocate_lock()
        self._release = bool, self._lock.release
    run = _alone(lambda self: 1)
m = Model()
""")
        sent = 0

        def interrupt(value: int) -> None:
            nonlocal sent
            sent += value == 0
            if value == 0:
                board.send(b"\x03")

        board.mark_hook = interrupt
        for wait in range(24):
            with pytest.raises(BoardError, match="KeyboardInterrupt"):
                board.exec(f"""
import machine
machine.mem32[{rp2040.CYCLES}] = 0
for i in range({wait}):
    pass
while True:
    m.run()
""")
            assert board.exec("print(m.run())") == "1\n"
        assert sent == 24


@pytest.mark.slow
def test_a_hundred_models_one_after_the_other(tmp_path):
    """Different models, loaded, used and closed in turn, with few bytes more than the largest
    needs: never out of memory."""
    files, needed = runtime(), []
    for name in ("stories", "sentiment"):
        path = tmp_path / f"{name}.pft"
        convert(ROOT / "models" / name, path)
        files[f"/{name}.pft"] = path.read_bytes()
        planner = Planner(path, PROFILES["pico"])
        needed.append(planner.needed(planner.model.context))
    # The largest comes behind one whose tokenizer is large.
    turns = [("stories.pft", 64), ("sentiment.pft", None), ("stories.pft", None)]
    values = f"FILES, HEAP, ROUNDS = {turns}, {max(needed) * 21 // 20}, 34\n"
    with rp2040.RP2040(files) as board:
        assert board.exec(values + MANY, 3600) == "True\n"


def test_steps_in_few_calls(tmp_path):
    """Prompts and texts are the simulator's, and Ctrl-C ends a call at any time."""
    folder = tmp_path / "hf"
    convert(models.write_hf(folder, random_checkpoint(Shape(16, 40, 2, 2, 1, 259, 24))),
            tmp_path / "m.pft")  # fmt: skip
    sim = Simulator(tmp_path / "m.pft")
    tokens = [1, *np.random.default_rng(2).integers(3, 259, 12).tolist()]
    expected = [sim.logits(tokens)[n - 1].tolist() for n in (1, 9, 13)]
    with rp2040.RP2040({**runtime(), "/m.pft": (tmp_path / "m.pft").read_bytes()}) as board:
        lines = board.exec(f"""
import json
from picoformer import Model
loaded = []
for most in (5000, Model._most):
    Model._most = most
    m = Model("m.pft")
    loaded.append(len(m._body) + len(m._head))
    print(json.dumps([list(m.logits({tokens}[:n])) for n in (1, 9, 13)]))
    print(json.dumps("".join(m.generate("a", 5))))
print(loaded)
""").splitlines()
        assert [json.loads(line) for line in lines[:4:2]] == 2 * [expected]
        assert [json.loads(line) for line in lines[1:4:2]] == 2 * ["".join(sim.generate("a", 5))]
        some, few = json.loads(lines[4])
        assert len(sim.model.steps) > some > few == 2
        board.mark_hook = lambda _: board.send(b"\x03")
        for wait in range(0, 60, 10):
            with pytest.raises(BoardError, match="KeyboardInterrupt"):
                board.exec(f"""
import machine
machine.mem32[{rp2040.CYCLES}] = 0
for i in range({wait}):
    pass
while True:
    m._filled = 0
    m.logits({tokens})
""")
            said = board.exec(f"print([list(m.logits({tokens}[:n])) for n in (1, 9, 13)])")
            assert json.loads(said) == expected
