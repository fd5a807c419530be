# A plan in the page: the planner's own modules, for a model file's bytes.

import gc
import io
import json
from array import array

from picoformer import modelfile, program
from picoformer.errors import Error

from .bars import heap
from .figures import Figures
from .plans import Plans
from .platforms import Platform
from .profiles import PROFILES, known, profile


class Model(Figures):
    """What a plan has to know of a model file, of its bytes. Raises Error for one that is none."""

    def __init__(self, data):
        f = io.BytesIO(data)
        parts = modelfile.sections(f)
        names = "metadata", "program", "tables", "tokenizer", "weights"
        self.sizes = {name: part[1] for name, part in zip(names, parts)}  # noqa: B905
        texts, words, self.tables = [
            modelfile.read(f, parts[i], i + 1, made(parts[i][1]))
            for i, made in enumerate((bytearray, _words, _words))
        ]
        for i in (3, 4):
            modelfile.read(f, parts[i], i + 1)
        try:
            self.meta = json.loads(texts)
        except (ValueError, RuntimeError):
            self.meta = None
        if not isinstance(self.meta, dict):
            raise Error("model file is corrupt: its metadata is not a JSON object")
        self.program = list(words)
        if data[4] == modelfile.OLD:
            self.program = [0] * program.OLD + self.program
            program.upgrade(self.program)

    def with_cache(self, key_bits, value_bits):
        other = object.__new__(Model)
        other.meta, other.sizes, other.tables = self.meta, self.sizes, self.tables
        other.program = self.narrowed(key_bits, value_bits)
        return other


def _words(n):
    return array("i", bytes(n))


def boards():
    """[{name, title}] of the boards that a plan can be made for, as JSON."""
    return json.dumps([{"name": p.name, "title": p.title} for p in PROFILES.values()])


def plan(data, asked):
    """The budget of a model, alone and beside the serial server, as JSON.

    data: the bytes of a model file; asked, JSON: board, a name, or what a board says of itself:
    platform, machine, mpy, version, heap, pieces, flash; context, heap, largest: numbers, or
    null. With "html" the picture of the heap. Raises Error.
    """
    before = gc.threshold() if hasattr(gc, "threshold") else 0
    try:
        return json.dumps(_plan(data, json.loads(asked)))
    finally:
        if before:
            gc.threshold(before)  # as loading a model sets it low


def _plan(data, asked):
    board = asked["board"]
    if isinstance(board, dict):
        said = Platform(tuple(board["version"]), board["mpy"], board["platform"], board["machine"])
        kind = known(said).asked(
            board.get("port", ""), board["heap"], board["pieces"], board.get("flash"),
            board["platform"] == "esp32",
        )  # fmt: skip
    else:
        kind = profile(board).with_memory(asked.get("heap"), asked.get("largest"))
    planner = Plans(Model(data), data, kind)
    alone = planner.budget(asked.get("context"))
    served = planner.budget(asked.get("context"), server=True)
    out = alone.to_dict()
    out["with_server"] = served.to_dict()
    out["with_server"]["verdict"], out["verdict"] = served.verdict, alone.verdict
    out["listening"] = planner.listening
    out["html"] = heap(served)
    return out
