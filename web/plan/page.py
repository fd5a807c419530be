# A plan in the page: the planner's own modules, for a model file's bytes.

import gc
import io
import json
from array import array

from picoformer import check, modelfile, regions
from picoformer.errors import Error

from .bars import heap as picture
from .figures import Figures
from .plans import Plans
from .platforms import Platform
from .profiles import PROFILES, known, profile
from .runtime import runtime_bytes


class Model(Figures):
    """What a plan has to know of a model file, of its bytes. Raises Error for one that is none."""

    def __init__(self, data):
        f = io.BytesIO(data)
        parts = modelfile.sections(f)
        names = "metadata", "program", "tables", "tokenizer", "weights"
        self.sizes = {name: part[1] for name, part in zip(names, parts)}  # noqa: B905
        texts, words, self.tables = [
            regions.read(f, parts[i], names[i], made(parts[i][1]))
            for i, made in enumerate((bytearray, _words, _words))
        ]
        for i in (3, 4):
            regions.read(f, parts[i], names[i])
        try:
            self.meta = json.loads(texts)
        except (ValueError, RuntimeError):
            self.meta = None
        if not isinstance(self.meta, dict):
            raise Error("model file is corrupt: its metadata is not a JSON object")
        self.program = list(words)
        if data[4] == modelfile.OLD:
            self.program = [0] * check.OLD + self.program
            check.upgrade(self.program)

    def with_cache(self, key_bits, value_bits):
        other = object.__new__(Model)
        other.meta, other.sizes, other.tables = self.meta, self.sizes, self.tables
        other.program = self.narrowed(key_bits, value_bits)
        return other


def _words(n):
    return array("i", bytes(n))


def boards():
    """[{name, title}] of the boards that one can hold in the hand, as JSON."""
    real = [p for p in PROFILES.values() if p.machine]
    return json.dumps([{"name": p.name, "title": p.title} for p in real])


def plan(data, asked):
    """The budget of a model as `picoformer plan --json` has it, and more, as JSON. Raises Error.

    data: the bytes of a model file. asked, as JSON: {"board"}, a name, or what a board that is
    connected says of itself (web/link/board.js: `info`); {"context", "heap", "largest"}, bytes and
    positions, or null. Besides: verdict, a sentence; listening, bytes that a model of sound takes
    more; title of the board; html, the heap as a picture with its table.
    """
    before = gc.threshold() if hasattr(gc, "threshold") else 0
    try:
        return json.dumps(_plan(data, json.loads(asked)))
    finally:
        if before:
            gc.threshold(before)  # as loading a model sets it low


def _plan(data, asked):
    said = asked["board"]
    there = isinstance(said, dict)
    board = known(_platform(said)) if there else profile(said)
    plans = Plans(Model(data), data, board.with_memory(asked.get("heap"), asked.get("largest")))
    if there:
        flash = _flash(said, plans) if board.flash.bytes else None
        heap = said["freeHeap"]
        pieces = said["pieces"] or [heap]
        plans.board = board.asked("USB", heap, pieces, flash, said["grows"])
    out, served = [_budget(plans, asked.get("context"), server) for server in (False, True)]
    out["with_server"] = served
    out["listening"] = plans.listening
    out["title"] = board.title
    return out


def _budget(plans, context, server):
    b = plans.budget(context, server)
    out = b.to_dict()
    out["verdict"] = b.verdict
    out["html"] = picture(b)
    return out


def _platform(said):
    return Platform(tuple(said["version"]), said["mpy"], said["platform"], said["machine"])


def _flash(said, plans):
    """Bytes of a board's filesystem for the runtime and a model, with what they have of it."""
    free = said["freeFlash"]
    if said["runtime"]["installed"]:
        free += runtime_bytes(plans.board, plans.tokenizer)
    for model in said["models"]:
        if model["bytes"] == len(plans.data):
            free += plans.board.on_disk(model["bytes"])
    return free
