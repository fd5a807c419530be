"""What the runtime's own code takes of a board's heap: the table in picoformer.planning.profiles.

    python -m tools.benchmarks.memory [unix|pico|pico2] [--check MODEL.pft ...] [--weights PLACE]

`picoformer plan` counts a model's objects (picoformer.planning.footprint). Code is measured, here:
tiny models with a tokenizer of each type are loaded on MicroPython's unix port, the emulated Pico
or Pico 2 W, from each place of the weights, alone and by the serial server. At the two moments of
loading when most is there, and behind it, garbage is collected and the heap's bytes are counted;
what is left of them without the model's objects is code. Modules that only some models import are
counted by themselves. Printed is the table, as Python; its last
two numbers, `slack` and `running`, were chosen by --check.

With --check, models are predicted and measured: the least heap in which each loads and runs, found
by trying (unix.py, pico.py). --weights is where they then are: by default in the first place that
the plan takes; "any" is `Model(path)`, which copies to RAM what it has room for. The runtime is
.mpy, as `picoformer deploy` sends it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from picoformer import Board, Error, ScriptError, Simulator
from picoformer.boards.emulated.pico2 import Pico2Board, find_emulator
from picoformer.boards.emulated.unix import find_micropython
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import compile_graph
from picoformer.compile.convert import compiled_bytes
from picoformer.compile.modelfile import parse
from picoformer.graph.nodes import Add, Attention, Embedding, Graph, Linear, Node, Norm, Pool
from picoformer.planning.footprint import footprint
from picoformer.planning.heap import Layout
from picoformer.planning.planner import Planner
from picoformer.planning.profiles import PROFILES, Profile
from picoformer.runtime.files import compiled
from picoformer.runtime.platforms import ARCHITECTURES
from picoformer.tokenizers.vocabulary import (
    ByteLevelVocabulary,
    PiecesVocabulary,
    UnigramVocabulary,
    Vocabulary,
    WordPieceVocabulary,
)
from tools.benchmarks.inputs import text_of
from tools.benchmarks.pico import HEAP_STEP
from tools.command import finish
from tools.emulation.errors import BoardError
from tools.emulation.rp2040 import RP2040, checked

PIECES = [b"", b"a", b"##b", b"c"]
MAPPED = "flash", "ram", "file"
WHERE = {"pico": MAPPED, "pico2": MAPPED, "unix": ("ram", "file")}
PROFILE = {"pico2": "pico2-w"}  # of a port, where it has another name
MOMENTS = "checking", "binding", "resident"
MODULES = "four", "windows", "check_signal", "images", "frames", "spans", "tokenizer_added"

# Bytes of the heap that are used at the end of each moment, garbage aside.
MEASURE = """
import gc, sys
sys.path.insert(0, FOLDER)
gc.collect()
gc.collect()
base = gc.mem_alloc()
seen = {}
def note(name):
    gc.collect()
    seen[name] = gc.mem_alloc() - base
import picoformer
note("imported")
if SERVER:
    from picoformer import server
    board = server.Server(None, None, None, ROOT)
    note("server")
import picoformer.loader as loader
def noted(module, name, as_):
    was = getattr(module, name)
    def then(*arguments):
        out = was(*arguments)
        note(as_)
        return out
    setattr(module, name, then)
def binder(tokens):
    out = was(tokens)
    from picoformer import check
    noted(check, "steps", "checking")
    return out
was, loader._binder = loader._binder, binder
noted(loader, "_relocate", "binding")
loader = None
if SERVER:
    board._load(b"\\0\\0model")
    model = board._model
else:
    model = picoformer.Model(ROOT + "model.pft", None, WEIGHTS)
binder = noted = was = None
note("resident")
import picoformer.program  # which is there when check_signal comes
for name in MODULES:
    gc.collect()
    before = gc.mem_alloc()
    if name == "four":
        name_of = "kernels_" + model.kernels + "4"
    else:
        name_of = "kernels_windows" if name == "windows" else name
    __import__("picoformer." + name_of)
    gc.collect()
    seen[name] = gc.mem_alloc() - before
seen["weights"] = model.weights
import json
print(json.dumps(seen))
"""


def vocabularies() -> dict[int, Vocabulary]:
    """A vocabulary of four tokens for each type of tokenizer."""
    kept = [(0, 0x10FFFF, (0,))]
    return {
        1: Vocabulary(PIECES, {97: 1, 99: 3}, unk=0),
        2: WordPieceVocabulary(PIECES, unk=0, searched=(1, 2, 3)),
        3: ByteLevelVocabulary(PIECES, unk=0, byte_tokens=[0] * 256, characters=[]),
        4: UnigramVocabulary(
            PIECES, unk=0, scores=[-1.0] * 4, searched=(1, 2, 3), characters=kept[:0]
        ),
        5: PiecesVocabulary(
            PIECES, unk=0, scores=[-1.0] * 4, searched=(1, 2, 3), characters=kept[:0]
        ),
    }


def tiny(vocabulary: Vocabulary) -> bytes:
    """A model file of one layer."""
    rng = np.random.default_rng(0)

    def weight(rows: int, columns: int) -> Any:
        return rng.normal(0, 0.3, (rows, columns)).astype(np.float32)

    ones = np.ones(8, np.float32)
    nodes: list[Node] = [
        Embedding("x", weight(4, 8)),
        Norm("x", "n", ones, 1e-5),
        *(Linear("n", name, weight(8, 8), name) for name in ("q", "k", "v")),
        Attention("q", "k", "v", "a", 2, 2, 4, causal=False),
        Linear("a", "y", weight(8, 8), "y"),
        Add("x", "y"),
        Norm("x", "o", ones, 1e-5),
        Linear("o", "logits", weight(2, 8), "logits"),
    ]
    nodes.insert(-2, Pool("x", "first"))
    graph = Graph(nodes, 4, 8, task="classify", labels=["a", "b"])
    return compiled_bytes(graph, vocabulary, compile_graph(graph, calibrate(graph)))


class Unix:
    """MicroPython's unix port with the files of a board in a folder."""

    layout = Layout(8)
    kernels = "viper"

    def __init__(self, folder: Path) -> None:
        self.root = f"{folder}/"
        self.program = find_micropython()

    def exec(self, code: str, heap: int = 16 << 20) -> str:
        """What a script prints on a heap of so many bytes; raises Error with its last line."""
        command = [self.program, "-X", f"heapsize={heap}", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Error((done.stdout + done.stderr).strip().rpartition("\n")[2])
        return done.stdout

    def put(self, name: str, data: bytes) -> None:
        path = Path(self.root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class Pico:
    """An emulated Pico; each script runs on a fresh heap."""

    layout = Layout(4)
    kernels = "thumb"
    root = "/"

    def __init__(self, folder: Path) -> None:
        checked()
        self.files: dict[str, bytes] = {}
        self.board: RP2040 | None = None

    def exec(self, code: str) -> str:
        if self.board is None:
            self.board = RP2040(self.files)
            self.board.start()
        self.board.soft_reset()
        try:
            return self.board.exec(code, timeout=600)
        except BoardError as e:
            raise Error(str(e).strip().rpartition("\n")[2]) from e

    def put(self, name: str, data: bytes) -> None:
        self.files["/" + name] = data
        self.board = None


class Pico2:
    """An emulated Pico 2; each script runs on a fresh heap."""

    layout = Layout(4)
    kernels = "dsp"
    root = "/"

    def __init__(self, folder: Path) -> None:
        find_emulator()
        self.folder = folder
        self.files: dict[str, Path] = {}
        self.emulated: Pico2Board | None = None
        self.board: Board | None = None

    def exec(self, code: str) -> str:
        if self.board is None:
            # The runtime is in a flash that is new.
            flash = self.folder / "pico2.flash"
            flash.unlink(missing_ok=True)
            self.emulated = Pico2Board(flash, put=list(self.files.values()))
            self.board = Board(self.emulated.port)
        try:
            self.board.connection.repl.reset()
            return self.board.exec(code, timeout=600)
        except ScriptError as e:
            raise Error(str(e).strip().rpartition("\n")[2]) from e

    def put(self, name: str, data: bytes) -> None:
        if "/" in name:
            return  # the runtime, which is there
        self.files[name] = self.folder / name
        self.files[name].write_bytes(data)
        self.close()

    def close(self) -> None:
        if self.board and self.emulated:
            self.board.close()
            self.emulated.close()
        self.board = self.emulated = None


PORTS: dict[str, type[Unix] | type[Pico] | type[Pico2]] = {
    "unix": Unix, "pico": Pico, "pico2": Pico2
}  # fmt: skip


def prepared(name: str, folder: Path) -> Any:
    """A port with the runtime on it."""
    port = PORTS[name](folder)
    mpy = int(port.exec("import sys; print(sys.implementation._mpy)"))
    for file, data in compiled(mpy, ARCHITECTURES[mpy >> 10 & 15]).items():
        port.put(f"picoformer/{file}", data)
    return port


def measured(port: Any, data: bytes, weights: str | None, server: bool) -> dict[str, int]:
    """Code's bytes at each moment for a model, `MOMENTS` and more."""
    port.put("model.pft", data)
    head = f"FOLDER = ROOT = {port.root!r}\nSERVER = {server}\nWEIGHTS = {weights!r}\n"
    head += f"MODULES = {MODULES!r}\n"
    seen: dict[str, Any] = json.loads(port.exec(head + MEASURE))
    m = parse(data)
    objects = footprint(data, m, m.context, seen["weights"], port.layout, port.kernels)
    return {
        "imported": seen["imported"],
        "server": seen.get("server", 0),
        **{k: seen[k] - getattr(objects, k) for k in MOMENTS},
        **{k: seen[k] for k in MODULES},
    }


# The heap at boot, and its largest block by trying.
BOOT = """
import gc
gc.collect()
free = gc.mem_free()
low, high = 0, free
while high - low > 16:
    middle = (low + high) // 2
    try:
        bytearray(middle)
        low = middle
    except MemoryError:
        high = middle
    gc.collect()
print(free, low)
"""
EMULATOR_HEAP = 2048 << 10  # of the port `emulator`


def table(name: str, port: Any) -> None:
    """Print the heap at boot, and what code takes, as picoformer.planning.profiles has it."""
    boot = port.exec(BOOT, EMULATOR_HEAP) if isinstance(port, Unix) else port.exec(BOOT)
    print("heap free at boot, largest block: " + boot.strip())
    alone: dict[tuple[int, str], dict[str, int]] = {}
    served: dict[int, dict[str, int]] = {}
    first = WHERE[name][0]
    for kind, vocabulary in vocabularies().items():
        data = tiny(vocabulary)
        for place in WHERE[name]:
            alone[kind, place] = measured(port, data, place, False)
        served[kind] = measured(port, data, None, True)

    def mean(values: Iterable[int]) -> int:
        return round(statistics.fmean(values))

    kinds = list(served)
    usual = [alone[k, first] for k in kinds]
    code = {
        "resident": {k: alone[k, first]["resident"] for k in kinds},
        "places": {
            place: mean(alone[k, place]["resident"] - alone[k, first]["resident"] for k in kinds)
            for place in WHERE[name]
        },
        "binding": mean(row["binding"] - row["resident"] for row in usual),
        "checking": mean(row["checking"] for row in usual),
        "modules": {name: mean(row[name] for row in usual) for name in MODULES},
        "started": mean(row["server"] for row in served.values()),
        "server": mean(served[k]["resident"] - alone[k, first]["resident"] for k in kinds),
    }
    print(f"{name.upper()} = Code(")
    for key, value in code.items():
        print(f"    {key}={value},")
    print("    ...,\n)")


# Whether a model loads and runs while something else holds a part of the heap; prints what was
# free before all of it.
TRY = """
import gc, sys
sys.path.insert(0, {root!r})
gc.collect()
free = gc.mem_free()
held = bytearray({held})
from picoformer import Model
model = Model({root!r} + "model.pft", {context}, {weights!r})
{use}
print(free)
"""


def use(sim: Simulator) -> str:
    """A script that runs a model as far as its memory goes: its longest text, or three tokens."""
    task = sim.model.task
    if task == "generate":
        return "for _ in model.generate('', 3): pass"
    if sim.model.program[14]:
        height, width, channels = sim.model.meta["image"][:3]
        return f"model.{task}(bytes({height * width * channels}))"
    if f := sim.frames:
        return f"model.{task}(bytes({2 * f.length * f.channels}))"
    text = text_of(sim, sim.context)
    if task == "answer":
        return f"model.answer({text!r}, {text[: len(text) // 4]!r})"
    if task == "translate":
        return f"for _ in model.translation({text!r}, 3): pass"
    return f"model.{task}({text!r})"


def least(port: Any, script: str, about: int, **arguments: Any) -> int:
    """The least heap, free at boot, in which a model loads with `arguments` and runs `script`.

    about: a guess.
    """
    script = TRY.replace("{use}", script)
    if isinstance(port, Unix):
        step = 512
        low, high, free = 0, (4 * about) // step, 0
        while high - low > 1:
            middle = (low + high) // 2
            try:
                code = script.format(root=port.root, held=0, **arguments)
                free = int(port.exec(code, middle * step))
                high = middle
            except Error:
                low = middle
        return free
    boot = int(port.exec("import gc\ngc.collect()\nprint(gc.mem_free())"))
    low, high, free = about - 16 * HEAP_STEP, about + 48 * HEAP_STEP, 0
    while high - low > HEAP_STEP // 2:
        middle = (low + high) // 2
        try:
            held = max(0, boot - middle)
            free = int(port.exec(script.format(root=port.root, held=held, **arguments)))
            high = middle
        except Error as e:
            if "memory" not in str(e):
                raise
            low = middle
    if not free or low == about - 16 * HEAP_STEP:
        raise Error(f"the least heap is not between {low:,} and {high:,} bytes")
    return high - (boot - free)  # less the script itself


def check(port: Any, board: Profile, models: list[str], place: str | None) -> None:
    """Print what is predicted and what is measured for models, with weights in a place."""
    print(f"{'model':24}{'context':>8}{'predicted':>12}{'measured':>12}{'off':>9}{'':>8}")
    for path in models:
        planner = Planner(path, board)
        port.put("model.pft", planner.data)
        context = min(planner.model.context, planner.longest())
        budget = planner.budget(context)
        needed, weights = budget.needed, None if place == "any" else place or budget.weights
        if weights and weights != budget.weights:
            needed = planner.needed_with(context, weights)
        script = use(Simulator(path)).replace("{", "{{").replace("}", "}}")
        found = least(port, script, needed, context=context, weights=weights)
        off = needed - found
        title = Path(path).stem
        print(
            f"{title:24}{context:>8}{needed:>12,}{found:>12,}{off:>+9,}"
            f"{off / found:>+8.1%}",
            flush=True,
        )


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("port", choices=sorted(PORTS), nargs="?", default="unix")
    parser.add_argument("--check", nargs="+", metavar="MODEL.pft")
    parser.add_argument("--weights", choices=("any", *MAPPED), help="of --check")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = prepared(o.port, Path(folder))
        try:
            if o.check:
                board = PROFILES[PROFILE.get(o.port, o.port)]
                check(port, board, o.check, o.weights)
            else:
                table(o.port, port)
        finally:
            if isinstance(port, Pico2):
                port.close()


if __name__ == "__main__":
    sys.exit(finish("memory", run))
