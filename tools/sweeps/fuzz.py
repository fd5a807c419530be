"""Mutated model files and checkpoints: each ends in an Error, or runs alike on PC and board.

    python -m tools.sweeps.fuzz [--count 1000] [--first 0] [--seed 1] [--kind NAME] [--change NAME]
                                [--progress FILE] [--failures FOLDER] [--pc]

Small random models of every kind are changed where they are something: words of the header,
fields of steps, whole steps, tables, weights, tokenizer, metadata, sizes. The checksums are made
good, so that a change reaches what lies behind them. The PC reads the file and runs it in the
simulator; the board's own loader does so in MicroPython's unix port (with viper kernels where it
has them: native code without bounds checks), with guard words around all that a kernel may write.
Both must refuse the file, or run it and compute the same. A crash, a hang, an exception that is
no Error, a guard word or a constant that changed, or another result is a failure; its file is
written to --failures. Every eighth file runs in plain Python, too, whose indices are checked.
Checkpoints are changed likewise, for the importers.

File i of a seed is always the same. With --progress the totals are kept in FILE, and the same
command goes on where it stopped. --pc leaves out MicroPython.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import itertools
import json
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from array import array
from binascii import crc32
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from picoformer import Error, Simulator, importers
from picoformer.boards.emulated.unix import find_micropython
from picoformer.compile import modelfile
from picoformer.compile.calibration import calibrate, inputs
from picoformer.compile.compiler import compile_graph
from picoformer.compile.modelfile import ModelFile
from picoformer.compile.rounding import round_graph
from picoformer.device import program, regions
from picoformer.device.model import Model
from picoformer.graph.nodes import Graph
from picoformer.importers.llama import llama
from picoformer.tokenizers.section import build
from picoformer.tokenizers.vocabulary import (
    ByteLevelVocabulary,
    Template,
    UnigramVocabulary,
    Vocabulary,
    WordPieceVocabulary,
)
from tools.sweeps.support import ROOT, architectures, models

WORD = 1 << 31
EXTREMES = (0, -1, 1, WORD - 1, -WORD)
GROUP = [1, 5, 7]  # tokens of one group
LONGER = [1, 5, 7, 3, 3, 11]  # and of two
TEXT = "ab cab ééé"
LIMIT = 30  # seconds after which a file on the PC hangs
BATCH = 250  # files for one process of MicroPython
BATCH_LIMIT = 120  # seconds for it
HEAP = "8M"
MEMORY = 8 << 30  # bytes for this process
PIXELS = 20000  # of an image that is run
OVERFLOW = "does not fit"  # what the simulator says of values that leave 32 bits

# The small models


def small_vocabulary() -> Vocabulary:
    pieces = [b"", b"", b"", *(c.encode() for c in " abcdefgh")]
    singles = {ord(p): i for i, p in enumerate(pieces) if p}
    return Vocabulary(pieces + [b"ab"], singles, {(4, 5): (0, 12)}, unk=0, bos=1, eos=2)


def small_graph() -> Graph:
    """A random Llama of two layers, small enough to run a thousand times."""
    rng = np.random.default_rng(7)
    sizes = {
        "embed_tokens": (13, 8), "q_proj": (8, 8), "k_proj": (4, 8), "v_proj": (4, 8),
        "o_proj": (8, 8), "gate_proj": (6, 8), "up_proj": (6, 8), "down_proj": (8, 6),
    }  # fmt: skip

    def tensor(name: str) -> np.ndarray:
        part = name.split(".")[-2]
        return rng.normal(0, 0.5, sizes[part]) if part in sizes else 1 + rng.normal(0, 0.1, 8)

    return llama(
        tensor, layers=2, heads=2, kv_heads=1, size=4, frequencies=np.array([1.0, 0.1]), eps=1e-5,
        vocab=13, context=8, bos=1, eos=2, tied=True, meta={"name": "small"},
    )  # fmt: skip


def other_vocabulary(kind: str) -> Vocabulary:
    """Every type of tokenizer has a model."""
    if kind == models.MINILM:
        pieces = [b"[UNK]", b"[CLS]", b"[SEP]", *b"a b c ##a ##b ##c ab ##ab cab .".split()]
        template = Template([(0, 1, 0), (1, 0, 0), (0, 2, 0)])
        searched = list(range(3, 13))
        return WordPieceVocabulary(
            pieces, unk=0, bos=1, eos=2, template=template, searched=searched,
            characters=[(0x20, 0x20, (2,)), (0x2E, 0x2E, (3,)), (0x41, 0x5A, (6, 32))],
        )  # fmt: skip
    if kind == models.GPT2:
        pieces = [b"", b"", b"", *(bytes([c]) for c in b" abcdefg\xc3"), b"ab"]
        tokens = [-1] * 256
        for i, piece in enumerate(pieces[3:12], 3):
            tokens[piece[0]] = i
        return ByteLevelVocabulary(
            pieces, merges={(4, 5): (0, 12)}, unk=0, bos=1, eos=2, byte_tokens=tokens,
            characters=[(0x20, 0x20, (2,)), (0x30, 0x39, (10,)), (0x61, 0x7A, (9,))],
        )  # fmt: skip
    if kind == models.T5:
        pieces = [b"", b"", b"", *b"a b c ab ca cab e".split(), b" ", b" a", b" cab"]
        scores = [-1.0 - i / 4 for i in range(13)]
        return UnigramVocabulary(
            pieces, unk=0, bos=1, eos=2, prefix=True, scores=scores,
            searched=list(range(3, 13)), unknown_score=-20.0,
            template=Template([(1, 0, 0), (0, 2, 0)]),
        )  # fmt: skip
    return small_vocabulary()


# What a file may be.
KINDS = ["llama", models.GPT2, models.BERT, models.MINILM]
SPECIAL = [models.BART, models.VIT, models.ASKED, models.GATED_T5]
SPECIAL += ["llama" + models.FOUR, models.BERT + models.FOUR, models.VIT + models.FOUR]
SPECIAL += ["llama" + models.NARROW, models.BART + models.NARROW]
OTHERS = [models.T5, models.ASKED + models.FOUR]
IMAGE = [9, 12, 2, 3, 1]  # of models.architecture's


@cache
def made(kind: str) -> bytes:
    """A small file: a Llama or GPT-2 generates, BERT classifies, MiniLM embeds, and so on."""
    layers, context = (1, 13) if models.VIT in kind else (2 if kind in KINDS else 1, 8)
    wide = kind.removesuffix(models.NARROW)
    name, four, _ = wide.partition(models.FOUR)
    bits = {"key_bits": 8, "value_bits": 4} if wide != kind else {}
    sizes = 8, 20 if four else 6, layers, 2, 13, context, 3
    graph = small_graph() if name == "llama" else models.architecture(name, *sizes)
    meta: dict[str, Any] = {"name": "small"}
    meta |= {"labels": graph.labels} if graph.labels else {}
    meta |= {"image": list(graph.image)} if graph.image else {}
    rounded = round_graph(graph, inputs(graph, None), 16) if four else {}
    built = compile_graph(graph, calibrate(graph), rounded=rounded, **bits)
    return modelfile.encode(built, build(other_vocabulary(kind)), meta)


# Taking them apart


@dataclass
class Parts:
    """The contents of a file, to be changed and put together again with good checksums."""

    meta: bytes
    program: list[int]
    tables: list[int]
    tokenizer: bytes
    weights: bytes
    where: list[str] = field(default_factory=list)  # what each word of the program is

    @classmethod
    def of(cls, data: bytes) -> Parts:
        cut = [struct.unpack_from("<II", data, 20 + 16 * i) for i in range(5)]
        raw = [data[at : at + n] for at, n in cut]
        words, tables = (list(struct.unpack(f"<{len(r) // 4}i", r)) for r in raw[1:3])
        where = ["header"] * regions.HEADER + ["caches"] * words[11]
        for op, _, _ in program.steps(words)[0]:
            name, letters, _ = program.OPS[op]
            where += ["op", "fields", *(f"{name} {i} {c}" for i, c in enumerate(letters))]
        return cls(raw[0], words, tables, raw[3], raw[4], where)

    def data(self, words: list[int] | None = None, tables: list[int] | None = None) -> bytes:
        words, tables = words or self.program, tables or self.tables
        packed = [struct.pack(f"<{len(w)}i", *w) for w in (words, tables)]
        return frame([self.meta, *packed, self.tokenizer, self.weights])


def frame(sections: list[bytes], version: int = 2, gap: int = 0) -> bytes:
    """A file of sections, written here from docs/format.md alone. gap: bytes of a hole."""
    at, table = 100, b""
    for kind, part in enumerate(sections, 1):
        table += struct.pack("<4I", kind, at, len(part), crc32(part))
        at += len(part) + (gap if kind == 2 else 0)
    sections = [*sections[:2], bytes(gap), *sections[2:]]
    return signed(b"\x89PFT" + struct.pack("<3I", version, at, 5) + table) + b"".join(sections)


def signed(head: bytes) -> bytes:
    """The first 96 bytes of a file, and their checksum."""
    return head[:96] + struct.pack("<I", crc32(head[:96]))


def changed(data: bytes, at: int, value: int) -> bytes:
    """The file with one word of its header changed, and the checksum right."""
    head = data[:at] + struct.pack("<I", value) + data[at + 4 : 96]
    return signed(head) + data[100:]


def neighbours(old: int) -> list[int]:
    """Values that a word may be given: extremes, neighbours, offsets, other regions."""
    values = {*EXTREMES, old + 1, old - 1, old * 2, -old}
    for step in (1, 2, 3, 4, 8, 1000):
        values |= {old + 64 * step, old - 64 * step}
    values |= {old & ~63 | region for region in (*range(7), 63)}
    return sorted(v for v in values if v != old and -WORD <= v < WORD)


# Changes: each takes (parts, random) and changes the parts

Random = random.Random


def listing(words: list[int]) -> list[tuple[int, int]]:
    """(first word, words) of each step, with its two words in front."""
    return [(i - 2, n + 2) for _, i, n in program.steps(words)[0]]


def change_head(p: Parts, rng: Random) -> None:
    at = rng.randrange(regions.HEADER + p.program[11])
    p.program[at] = rng.choice([*neighbours(p.program[at]), rng.choice(p.program)])


def change_field(p: Parts, rng: Random) -> None:
    at = rng.choice([i for i, where in enumerate(p.where) if " " in where])
    old = p.program[at]
    p.program[at] = rng.choice([*neighbours(old), old ^ 1 << rng.randrange(31)])


def change_number(p: Parts, rng: Random) -> None:
    """A field that is no operand, a little."""
    at = rng.choice([i for i, where in enumerate(p.where) if where.endswith("-")])
    old = p.program[at]
    p.program[at] = max(-WORD, min(old + rng.choice((-9, -3, -2, -1, 1, 2, 3, 9)), WORD - 1))


def change_operand(p: Parts, rng: Random) -> None:
    """An operand becomes another one of its kind, or moves."""
    at = rng.choice([i for i, where in enumerate(p.where) if where[-1] in "ow" and " " in where])
    old = p.program[at]
    same = [
        v for v, where in zip(p.program, p.where, strict=True)
        if " " in where and where[-1] == p.where[at][-1] and v & 63 == old & 63
    ]  # fmt: skip
    p.program[at] = rng.choice([*same, old + 64 * rng.randrange(-8, 9), old + 64 * 16])


def change_all(p: Parts, rng: Random) -> None:
    """A number or operand becomes another one wherever it stands: sizes that fit each other."""
    fields = [i for i, where in enumerate(p.where) if " " in where or where == "header"]
    old = p.program[rng.choice(fields)]
    new = rng.choice([old + 1, old - 1, old + 2, old * 2, old // 2, old + 64, old - 64])
    new = max(-WORD, min(new, WORD - 1))
    for i in fields:
        if p.program[i] == old:
            p.program[i] = new


def change_steps(p: Parts, rng: Random) -> None:
    """A step is left out, doubled, moved or exchanged for another one; the lengths are right."""
    found = listing(p.program)
    at, n = rng.choice(found)
    step = p.program[at : at + n]
    how = rng.choice(("out", "double", "move", "swap"))
    words = p.program

    def insert(to: int, some: list[int]) -> None:
        start = regions.HEADER + words[11]
        ends = start + words[15], start + words[15] + words[9]
        words[15 if to < ends[0] else 9 if to < ends[1] else 10] += len(some)
        words[to:to] = some

    def drop(at: int, n: int) -> None:
        start = regions.HEADER + words[11]
        ends = start + words[15], start + words[15] + words[9]
        words[15 if at < ends[0] else 9 if at < ends[1] else 10] -= n
        del words[at : at + n]

    if how == "double":
        insert(rng.choice(found)[0], step)
        return
    drop(at, n)
    left = listing(words) if how != "out" else []
    if how == "move" and left:
        insert(rng.choice(left)[0], step)
    if how == "swap" and left:
        other, m = rng.choice(left)
        second = words[other : other + m]
        drop(other, m)
        insert(other, step)
        insert(min(at, len(words)), second)


def change_parts(p: Parts, rng: Random) -> None:
    """The borders between encoder, body and head move, to a step's or anywhere."""
    a, b = rng.sample((15, 9, 10), 2)
    _, n = rng.choice(listing(p.program))
    n = rng.choice((n, n, 1, p.program[a]))
    p.program[a] -= n
    p.program[b] += n


def change_tables(p: Parts, rng: Random) -> None:
    for _ in range(rng.choice((1, 1, 20))):
        value = rng.choice((*EXTREMES, rng.randrange(-WORD, WORD), rng.choice(p.tables)))
        p.tables[rng.randrange(len(p.tables))] = value


def change_weights(p: Parts, rng: Random) -> None:
    for _ in range(rng.choice((1, 1, 20))):
        at = rng.randrange(len(p.weights) - 3)
        some = rng.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f", rng.randbytes(2)))
        p.weights = p.weights[:at] + some + p.weights[at + len(some) :]


def change_tokenizer(p: Parts, rng: Random) -> None:
    raw = bytearray(p.tokenizer)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(raw) // 4) * 4
        old = struct.unpack_from("<I", raw, at)[0]
        how = rng.randrange(4)
        if how == 0:
            struct.pack_into("<I", raw, at, rng.choice(neighbours(old)) & 0xFFFFFFFF)
        elif how == 1:
            raw[at + rng.randrange(4)] = rng.randrange(256)
        elif how == 2:
            raw[at + rng.randrange(4)] ^= 1 << rng.randrange(8)
        else:
            raw[at : at + 4] = raw[(at + 4) % (len(raw) - 3) :][:4]
    p.tokenizer = bytes(raw)


JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2, 3, 12, 1 << 32, 10**30, 1.0, float("nan"), "", "é", "\ud800",
    "a" * 300, "\0", "3", [], [1], [[]], {}, {"a": 1},
)  # fmt: skip


def change_json(value: Any, rng: Random, junk: tuple[Any, ...] = JUNK) -> Any:
    """JSON with one of its values changed, left out or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        value = dict(value)
        key = rng.choice(sorted(value))
        if rng.random() < 0.15:
            del value[key]
        else:
            value[key] = change_json(value[key], rng, junk)
        return value
    if isinstance(value, list) and value and rng.random() < 0.8:
        value = list(value)
        at = rng.randrange(len(value))
        if rng.random() < 0.3:
            value[at : at + 1] = rng.choice(([], [value[at]] * 2))
        else:
            value[at] = change_json(value[at], rng, junk)
        return value
    if isinstance(value, int) and rng.random() < 0.6:
        return rng.choice((value + 1, value - 1, value * 2, -value, value // 2))
    return rng.choice(junk)


def change_metadata(p: Parts, rng: Random) -> None:
    text = json.dumps(change_json(json.loads(p.meta), rng)).encode()
    if rng.random() < 0.2:
        at = rng.randrange(len(text))
        text = text[:at] + rng.randbytes(rng.randrange(3)) + text[at + rng.randrange(3) :]
    p.meta = text + b" " * (-len(text) % 4)


def change_sizes(p: Parts, rng: Random) -> None:
    """A section ends early, or has more."""
    name = rng.choice(("tables", "weights", "tokenizer", "program"))
    part = getattr(p, name)
    n = rng.choice((1, 1, 2, 5, 40)) * (1 if isinstance(part, list) else 4)
    if rng.random() < 0.7:
        part = part[: max(0, len(part) - n)]
    else:
        part = part + ([0] * n if isinstance(part, list) else bytes(n))
    setattr(p, name, part)


def change_section(p: Parts, rng: Random) -> None:
    """A section of another model."""
    other = Parts.of(made(rng.choice(KINDS + SPECIAL + OTHERS)))
    name = rng.choice(("meta", "program", "tables", "tokenizer", "weights"))
    setattr(p, name, getattr(other, name))
    if name == "program":
        p.where = other.where


CHANGES: dict[str, Callable[[Parts, Random], None]] = {
    "head": change_head,
    "field": change_field,
    "number": change_number,
    "operand": change_operand,
    "everywhere": change_all,
    "steps": change_steps,
    "parts": change_parts,
    "tables": change_tables,
    "weights": change_weights,
    "tokenizer": change_tokenizer,
    "metadata": change_metadata,
    "sizes": change_sizes,
    "section": change_section,
}
SEVERAL, FRAME = "several", "frame"
WEIGHTED = [*CHANGES, "field", "number", "operand", "everywhere", SEVERAL, SEVERAL, FRAME]


def change_frame(data: bytes, rng: Random) -> bytes:
    """The file's frame: cut, longer, a word of its header, a byte anywhere."""
    how = rng.randrange(5)
    if how == 0:
        return data[: rng.randrange(len(data))]
    if how == 1:
        return data + rng.randbytes(rng.randrange(1, 9))
    if how == 2:
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    at = 4 * rng.randrange(24)
    old = struct.unpack_from("<I", data, at)[0]
    some = rng.randrange(WORD)
    value = rng.choice((0, 1, old + 1, old + 4, old - 4, len(data), WORD, 2 * WORD - 4, some))
    return changed(data, at, value % (1 << 32))


def mutant(kind: str, change: str, rng: Random) -> bytes:
    """A file of this kind, changed in this way."""
    data = made(kind)
    if change == FRAME:
        return change_frame(data, rng)
    parts = Parts.of(data)
    several = rng.choices(list(CHANGES), k=rng.choice((2, 2, 3, 5)))
    for name in several if change == SEVERAL else [change]:
        # A change may need what another one has destroyed.
        with contextlib.suppress(Error, IndexError, ValueError, struct.error):
            CHANGES[name](parts, rng)
    parts.program = [max(-WORD, min(v, WORD - 1)) for v in parts.program]
    return parts.data()


# What is run


def pixels(image: tuple[int, ...]) -> bytes:
    height, width, channels = image[:3]
    return bytes(37 * i & 255 for i in range(height * width * channels))


# The board's half; `simulated` is the PC's. Each result is a list of whole numbers or a message.
RUN = """
def numbers(m, tokens):
    if m.task == "translate":
        m.source(tokens[1:])
        return list(m.logits(tokens))
    if m.task == "answer":
        n = len(tokens)
        m._sweep(tokens, [int(2 * i > n) for i in range(n)])
        at = range(m._logits, m._logits + n * m._stride, m._stride)
        return [m._arena[i + k] for i in at for k in range(2)]
    if m.image:
        height, width, channels = m.image[:3]
        if height * width * channels > PIXELS:
            return []
        some = bytes([37 * i & 255 for i in range(height * width * channels)])
        return list(m.read(some, m.task))
    return list(m.logits(tokens))


def words(m):
    if m.task == "generate":
        greedy = list(m.generate(TEXT, 4))
        return greedy + list(m.generate(TEXT[:2], 4, 800, 900, 7))
    if m.task == "translate":
        return list(m.translation(TEXT, 4)) + list(m.translation(TEXT[:2], 4, 3, 600))
    if m.task == "answer":
        return [m.answer(TEXT, TEXT[:2])]
    if m.task == "classify":
        return [label for label, _ in m.classify(TEXT)]
    return [str(v) for v in m.embed(TEXT)]


def work(m, tokens, texts):
    out = []
    for some in tokens:
        try:
            out.append(numbers(m, some))
        except Error as e:
            out.append(str(e))
    if not texts:
        return out
    try:
        out.append([list(s.encode()) for s in words(m)])
    except Error as e:
        out.append(str(e))
    return out
"""

# Loads and runs the files of JOBS, with guard words around every array that the loader makes, and
# prints a line for each. The modules stay loaded, as they hold what is replaced here.
BOARD = """
import gc
from array import array
from binascii import crc32
from picoformer import Error, Model, loader, model, weights

# RUN

WORDS = 64
FILL = array("i", [(i * 0x9E3779B) & 0x3FFFFFFF for i in range(WORDS)])
SAME = bytes(memoryview(FILL))
guarded = []


def guard(code, given):
    inner = array(code, given)
    # Two bytes an item is the other code there is.
    fill = FILL if code == "i" else array(code, SAME)
    out = array(code, fill)
    out.extend(inner)
    out.extend(fill)
    k = len(fill)
    guarded.append((out, k))
    return memoryview(out)[k : k + len(inner)]


def intact():
    for out, k in guarded:
        view = memoryview(out)
        if bytes(view[:k]) != SAME or bytes(view[len(out) - k :]) != SAME:
            return False
    return True


class Quiet:
    # Collecting after every few objects would take most of the time.
    def collect(self):
        pass

    def threshold(self, n=0):
        return 0

    def mem_free(self):
        return gc.mem_free()


loader.gc = model.gc = Quiet()
loader.forget = lambda *names: None
loader.array = weights.array = guard
loader._array = lambda n: guard("i", bytes(4 * n))
loader._zeros = lambda n, native: guard("i", bytes(4 * n))


def constants(m):
    if not m._memory:
        return 0
    held = m._memory[3] if m.weights == "ram" else b""
    return crc32(m._memory[1], crc32(held))


for name, context, where, tokens, texts in JOBS:
    said = "refused"
    try:
        m = Model("%s/%d" % (FOLDER, name), context=context, weights=where, kernels=KERNELS)
        before = m.kernels != "portable" and constants(m)
        result = work(m, tokens, texts)
        said = "ran"
        if before is not False and constants(m) != before:
            said = "constants"
        if not intact():
            said = "guard"
        m.close()
    except Error as e:
        result = str(e)
    except Exception as e:
        said, result = "exception", repr(e)
    m = None
    print("end", said, 2 * WORDS * len(guarded), repr(result))
    guarded.clear()
    gc.collect()
"""

RUN_NAMES: dict[str, Any] = {"Error": Error, "TEXT": TEXT, "PIXELS": PIXELS}
exec(RUN, RUN_NAMES)
numbers = RUN_NAMES["numbers"]
portable_work = RUN_NAMES["work"]


class Guarded(array):
    """Words without the negative indices by which Python would hide an address that is wrong."""

    def __getitem__(self, i: Any) -> Any:
        assert not isinstance(i, int) or i >= 0
        return super().__getitem__(i)

    def __setitem__(self, i: Any, v: Any) -> None:
        assert i >= 0
        super().__setitem__(i, v)


def guard(board: Any) -> None:
    """Make the regions of a model with portable kernels Guarded."""
    space = board._space
    for i, region in enumerate(space):
        space[i] = Guarded("i", region)
    board._arena = space[regions.ARENA]
    for kernel, _ in board._encoder + board._body + board._head:
        if hasattr(kernel, "__self__"):
            tiles = kernel.__self__.tiles
            tiles.arena, tiles.buffer = board._arena, space[regions.WEIGHTS]


def simulated_numbers(sim: Simulator, tokens: list[int]) -> list[int]:
    """What `numbers` gives on a board. Raises Error."""
    n = len(tokens)
    if sim.model.task == "translate":
        sim.source(tokens[1:])
    elif sim.model.task == "answer":
        sim.machine.run(tokens, types=[int(2 * i > n) for i in range(n)])
        flat: list[int] = sim.machine.result().reshape(-1).tolist()
        return flat
    elif sim.model.program[14]:
        image = sim.model.meta["image"]
        if image[0] * image[1] * image[2] > PIXELS:
            return []
        out: list[int] = sim._read(np.frombuffer(pixels(image), np.uint8), sim.model.task).tolist()
        return out
    last: list[int] = sim.logits(tokens)[-1].tolist()
    return last


def simulated_words(sim: Simulator) -> list[str]:
    """What `words` gives on a board. Raises Error."""
    task = sim.model.task
    if task == "generate":
        greedy = list(sim.generate(TEXT, 4))
        return greedy + list(sim.generate(TEXT[:2], 4, 0.8, 0.9, 7))
    if task == "translate":
        sim.source(sim._some(TEXT))
        greedy = list(sim._write([sim.model.bos], 4, (0, 0, 0), 1))
        sim.source(sim._some(TEXT[:2]))
        found = sim.search(3, 0.6, 4)
        decoder = sim.tokenizer.decoder()
        before = [sim.model.bos, *found]
        pieces = [decoder.decode(t, b) for b, t in zip(before, found, strict=False)]
        rest = decoder.flush()
        return greedy + pieces + ([rest] if rest else [])
    if task == "answer":
        return [sim.answer(TEXT, TEXT[:2])]
    if task == "classify":
        return [label for label, _ in sim.classify(TEXT)]
    return [str(v) for v in sim.embed(TEXT).tolist()]


def simulated(m: ModelFile, tokens: list[list[int]], texts: bool) -> list[Any] | None:
    """What `work` gives on a board; None where values leave 32 bits."""
    sim = Simulator(m)
    out: list[Any] = []
    jobs: list[Callable[[], Any]] = [lambda t=t: simulated_numbers(sim, t) for t in tokens]  # type: ignore[misc]
    if texts:
        jobs.append(lambda: [list(s.encode()) for s in simulated_words(sim)])
    for job in jobs:
        try:
            out.append(job())
        except Error as e:
            if OVERFLOW in str(e):
                return None
            out.append(str(e))
    return out


# One file after the other


class Hang(BaseException):
    """A file took longer than LIMIT seconds."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Hang where the block takes longer."""

    def stop(number: int, where: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Case:
    """A mutated file, and what the PC made of it."""

    index: int
    kind: str
    change: str
    data: bytes = b""
    refused: str | None = None  # the PC's words
    wanted: list[Any] | None = None  # of a file that runs; None: it left its range
    context: int | None = None  # for the board
    tokens: list[list[int]] = field(default_factory=list)
    texts: bool = False
    failure: str = ""
    outcome: str = ""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without collecting garbage, which takes 100 times as long here as loading a file."""
    before = gc.collect
    gc.collect = lambda *_: 0
    try:
        yield
    finally:
        gc.collect = before


def check_on_pc(case: Case, folder: Path) -> None:
    """Read and run a case on the PC; every eighth in portable kernels, too."""
    options = random.Random(case.index)
    try:
        with limited(LIMIT):
            m = modelfile.parse(case.data)
            if options.random() < 0.3:
                case.context = min(4, m.context)
            room = ((case.context or m.context) + 1) & ~1
            case.tokens = [GROUP[:room], LONGER[:room]]
            # Texts take as long as all the rest.
            case.texts = case.change == "tokenizer" or options.random() < 0.3
            case.wanted = simulated(m, case.tokens, case.texts)
            if case.index % 8 == 0:
                check_portable(case, folder)
    except Error as e:
        case.refused = str(e)
    except Hang:
        case.failure = f"hangs on the PC, {LIMIT} s"
    except Exception as e:
        case.failure = f"on the PC: {type(e).__name__}: {e}"


def check_portable(case: Case, folder: Path) -> None:
    """Run a case in plain Python, which checks each index."""
    path = folder / "portable"
    path.write_bytes(case.data)
    where = ("ram", "file")[case.index >> 3 & 1]
    with quiet():
        board = Model(str(path), context=case.context, weights=where, kernels="portable")
        guard(board)
        try:
            got = portable_work(board, case.tokens, case.texts)
        except OverflowError:
            # Plain Python notices what a native kernel does not: a word that overflows.
            if case.wanted is not None:
                case.failure = "portable kernels overflow, the simulator does not"
            return
        finally:
            board.close()
    compare(case, got, "portable kernels")


def compare(case: Case, got: list[Any], who: str) -> None:
    if case.wanted is None:
        return
    # Of a smaller context texts are cut elsewhere, and an image has no room.
    n = 3 if case.context is None else 2
    if case.context is not None and isinstance(got[0], str) and "patches" in got[0]:
        n = 0
    if got[:n] != case.wanted[:n]:
        case.failure = f"{who}: {got[:n]!r:.300}, simulator: {case.wanted[:n]!r:.300}"


def same_refusal(pc: str, board: str) -> bool:
    """Whether both may say that of one file: a board reads the metadata only if it needs them."""
    return pc == board or "metadata" in pc or "checksum" in pc + board


def run_board(cases: list[Case], folder: Path, kernels: str | None) -> tuple[int, int, int]:
    """Run cases in MicroPython; (files that ran, guard words looked at, processes)."""
    ran = words = processes = 0
    left = list(cases)
    for case in left:
        (folder / str(case.index)).write_bytes(case.data)
    while left:
        processes += 1
        jobs = [
            (c.index, c.context, ("ram", "file")[c.index & 1], c.tokens, c.texts) for c in left
        ]
        head = {
            "FOLDER": str(folder), "JOBS": jobs, "KERNELS": kernels, "TEXT": TEXT,
            "PIXELS": PIXELS,
        }  # fmt: skip
        script = "".join(f"{name} = {value!r}\n" for name, value in head.items()) + BOARD
        (folder / "script.py").write_text(script.replace("# RUN", RUN), "utf-8")
        command = [find_micropython(), "-X", f"heapsize={HEAP}", str(folder / "script.py")]
        try:
            done = subprocess.run(
                command, env={"MICROPYPATH": str(ROOT / "device")}, capture_output=True,
                timeout=BATCH_LIMIT, check=False,
            )  # fmt: skip
            said, code = done.stdout.decode(errors="replace"), done.returncode
            trouble = f"MicroPython ended with {code}: {said[-200:]} {done.stderr.decode()[-500:]}"
        except subprocess.TimeoutExpired as e:
            said = (e.stdout or b"").decode(errors="replace")
            trouble = f"MicroPython hangs, {BATCH_LIMIT} s"
        ended = 0  # cases that this process is done with
        for line in said.splitlines():
            if line.startswith("end "):
                _, outcome, n, result = line.split(" ", 3)
                words += int(n)
                ran += outcome == "ran"
                judge(left[ended], outcome, result)
                ended += 1
        if ended < len(left):
            left[ended].failure = trouble
            ended += 1
        left = left[ended:]
    for case in cases:
        (folder / str(case.index)).unlink()
    return ran, words, processes


def judge(case: Case, outcome: str, result: str) -> None:
    """What MicroPython did with a case, against what the PC did."""
    if case.failure:
        return
    if outcome == "ran":
        if case.refused is not None and "metadata is not" not in case.refused:
            case.failure = f"MicroPython runs it, the PC says: {case.refused}"
        elif case.refused is None:
            compare(case, eval(result, {}), "MicroPython")
        return
    said = eval(result, {})
    if outcome != "refused":
        case.failure = f"{outcome} on MicroPython: {said!r:.500}"
    elif case.refused is None:
        case.outcome = "too large"
        if "not enough memory" not in said and "too scattered" not in said:
            case.failure = f"MicroPython says: {said}; the PC runs it"
    elif not same_refusal(case.refused, said):
        case.outcome = "refused in other words"


# Checkpoints, for the importers

SOURCES = ("llama2c", "llama", "bert-classes", "t5", "vit", "gpt2-bare", "keras")


@cache
def source(name: str) -> dict[str, bytes]:
    """The files of a small checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        if name == "llama2c":
            models.write_llama2c(at, models.random_checkpoint(models.CASES["deep"]))
        elif name == "llama":
            models.write_hf(at, models.random_checkpoint(models.CASES["size10"]))
        elif name == "keras":
            shutil.copy(ROOT / "tests" / "data" / "keras" / "minigpt.keras", at)
        else:
            architectures.write(at, (architectures.CASES | architectures.SPECIAL)[name])
        files = sorted(path for path in at.rglob("*") if path.is_file())
        return {str(path.relative_to(at)): path.read_bytes() for path in files}


def change_bytes(data: bytes, rng: Random) -> bytes:
    """Bytes anywhere, most often in front; cut; longer."""
    how = rng.randrange(6)
    if how == 0:
        return data[: rng.choice((rng.randrange(len(data)), rng.randrange(64)))]
    if how == 1:
        return data + rng.randbytes(rng.randrange(1, 9))
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.choice((rng.randrange(len(out)), rng.randrange(min(len(out), 256))))
        if how == 2:
            at &= ~3
            out[at : at + 4] = struct.pack("<I", rng.choice(EXTREMES) & 0xFFFFFFFF)
        else:
            out[at] = rng.choice((rng.randrange(256), out[at] ^ 1 << rng.randrange(8)))
    return bytes(out)


def change_text(data: bytes, rng: Random) -> bytes:
    """JSON, mostly still JSON."""
    if rng.random() < 0.15:
        return change_bytes(data, rng)
    return json.dumps(change_json(json.loads(data), rng)).encode()


def change_source(name: str, data: bytes, rng: Random) -> bytes:
    """A checkpoint's file, changed where it is something."""
    if name.endswith(".json"):
        return change_text(data, rng)
    if name.endswith(".safetensors") and rng.random() < 0.7:
        n = int.from_bytes(data[:8], "little")
        head = change_text(data[8 : 8 + n], rng)
        return len(head).to_bytes(8, "little") + head + data[8 + n :]
    if name.endswith(".keras") and rng.random() < 0.9:
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            members = {one: old.read(one) for one in old.namelist()}
        one = rng.choice(sorted(members))
        change = change_text if one.endswith(".json") else change_bytes
        members[one] = change(members[one], rng)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as new:
            for member, content in members.items():
                new.writestr(member, content)
        return out.getvalue()
    return change_bytes(data, rng)


def check_source(case: Case, rng: Random, folder: Path) -> None:
    """Change one file of a checkpoint and read it; every fourth that is read is compiled."""
    files = dict(source(case.kind))
    name = rng.choice(sorted(files))
    case.change = Path(name).suffix
    files[name] = case.data = change_source(name, files[name], rng)
    at = folder / "source"
    try:
        for other, content in files.items():
            (at / other).parent.mkdir(parents=True, exist_ok=True)
            (at / other).write_bytes(content)
        path = at
        if case.kind in ("llama2c", "keras"):
            path = next(at.glob("*.keras" if case.kind == "keras" else "model.bin"))
        with limited(LIMIT), warnings.catch_warnings():
            # Weights that are no numbers any more.
            warnings.simplefilter("ignore", RuntimeWarning)
            graph, vocabulary = importers.read(path)
            case.outcome = "read"
            if rng.random() < 0.25:
                build(vocabulary)
                compile_graph(graph, calibrate(graph))
                case.outcome = "compiled"
    except Error:
        case.outcome = "refused"
    except Hang:
        case.failure = f"hangs, {LIMIT} s"
    except Exception as e:
        case.failure = f"{name}: {type(e).__name__}: {e}"
    finally:
        shutil.rmtree(at, ignore_errors=True)


# All of them

PREFIX = "checkpoint: "  # of the kinds that importers read
ALL = [*KINDS, *SPECIAL, *OTHERS]
ALL += [PREFIX + name for name in SOURCES]


@dataclass
class Totals:
    """What came of all files so far."""

    done: int = 0
    seconds: float = 0.0
    native: int = 0  # files that MicroPython has run
    words: int = 0  # guard words that were looked at
    plain: int = 0  # files that ran in plain Python
    outcomes: Counter[str] = field(default_factory=Counter)  # "change/outcome"
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def saved(self) -> dict[str, Any]:
        return {**vars(self), "outcomes": dict(self.outcomes), "kinds": dict(self.kinds)}

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> Totals:
        totals = cls(**saved)
        totals.outcomes, totals.kinds = Counter(saved["outcomes"]), Counter(saved["kinds"])
        return totals

    def table(self) -> str:
        """Changes and what came of them; the sums."""
        names = sorted({key.rpartition("/")[2] for key in self.outcomes})
        rows = [["change", *names, "files"]]
        for change in [*sorted({key.rpartition("/")[0] for key in self.outcomes})]:
            counts = [self.outcomes[f"{change}/{name}"] for name in names]
            rows.append([change, *(f"{n:,}" for n in counts), f"{sum(counts):,}"])
        sums = [sum(n for k, n in self.outcomes.items() if k.endswith("/" + m)) for m in names]
        rows.append(["all", *(f"{n:,}" for n in sums), f"{sum(sums):,}"])
        rows[1:1] = [["---", *("---:" for _ in rows[0][1:])]]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in sorted(self.kinds.items()))
        rate = self.done / max(self.seconds, 1e-9)
        lines += [
            "",
            f"{self.done:,} files in {self.seconds:,.0f} s, {rate:.0f} a second; "
            f"{self.native:,} ran on MicroPython, {self.plain:,} in plain Python; "
            f"{self.words:,} guard words looked at; {len(self.failures)} failures.",
            f"Kinds: {kinds}.",
        ]
        return "\n".join(lines)


def cases(
    first: int, count: int, seed: int, kinds: list[str], changes: list[str]
) -> Iterator[tuple[Case, Random]]:
    """Cases first to first + count of a seed; checkpoints are rarer than model files."""
    for index in range(first, first + count):
        rng = random.Random(f"{seed}/{index}")
        kind = rng.choices(kinds, [0.3 if k.startswith(PREFIX) else 1 for k in kinds])[0]
        yield Case(index, kind, rng.choice(changes)), rng


def sweep(
    totals: Totals, some: list[tuple[Case, Random]], folder: Path, board: bool,
    kernels: str | None = None,
) -> list[Case]:  # fmt: skip
    """Try some cases, at most BATCH; those that failed."""
    start = time.monotonic()
    loaded = []
    for case, rng in some:
        if case.kind.startswith(PREFIX):
            case.kind = case.kind[len(PREFIX) :]
            check_source(case, rng, folder)
            case.kind, case.change = PREFIX + case.kind, PREFIX + case.change
            continue
        case.data = case.data or mutant(case.kind, case.change, rng)
        check_on_pc(case, folder)
        totals.plain += case.index % 8 == 0 and case.refused is None
        loaded.append(case)
    if board and loaded:
        ran, words, _ = run_board(loaded, folder, kernels)
        totals.native += ran
        totals.words += words
    failed = []
    for case, _ in some:
        outcome = case.outcome
        if case.failure:
            outcome = "failed"
            failed.append(case)
        elif not outcome and case.refused is not None:
            outcome = "refused"
        elif not outcome:
            outcome = "left its range" if case.wanted is None else "ran"
        totals.outcomes[f"{case.change}/{outcome}"] += 1
        totals.kinds[case.kind] += 1
        totals.done += 1
    totals.seconds += time.monotonic() - start
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="files (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=ALL, help="may be repeated")
    parser.add_argument("--change", action="append", choices=sorted(set(WEIGHTED)))
    parser.add_argument("--kernels", choices=("viper", "portable"), help="MicroPython's")
    parser.add_argument("--progress", type=Path, help="where the totals are kept, to go on later")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--pc", action="store_true", help="without MicroPython")
    arguments = parser.parse_args()
    totals = Totals()
    same = {k: str(v) for k, v in vars(arguments).items() if k not in ("count", "progress")}
    try:
        if arguments.progress and arguments.progress.exists():
            saved = json.loads(arguments.progress.read_text())
            if saved["arguments"] != same:
                raise Error(f"{arguments.progress} is of {saved['arguments']}, not of {same}")
            totals = Totals.restored(saved["totals"])
        if not arguments.pc:
            find_micropython()
    except (Error, OSError, ValueError) as e:
        print(f"fuzz: error: {e}", file=sys.stderr)
        return 1
    # A checkpoint that asks for the whole memory is to fail, not the computer.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    todo = cases(
        arguments.first + totals.done, arguments.count - totals.done, arguments.seed,
        arguments.kind or ALL, arguments.change or WEIGHTED,
    )  # fmt: skip
    bar = tqdm(total=arguments.count, initial=totals.done, unit="file", smoothing=0.05)
    with tempfile.TemporaryDirectory() as folder, bar, contextlib.suppress(KeyboardInterrupt):
        while some := list(itertools.islice(todo, BATCH)):
            for case in sweep(totals, some, Path(folder), not arguments.pc, arguments.kernels):
                arguments.failures.mkdir(exist_ok=True)
                path = arguments.failures / f"{arguments.seed}-{case.index}"
                path.write_bytes(case.data)
                line = f"{path} ({case.kind}, {case.change}): {case.failure}"
                totals.failures.append(line)
                bar.write(line)
            bar.update(len(some))
            if arguments.progress:
                text = json.dumps({"arguments": same, "totals": totals.saved()})
                modelfile.write(arguments.progress, text.encode())
    print(totals.table())
    for line in totals.failures:
        print(line)
    return 1 if totals.failures else 0


if __name__ == "__main__":
    sys.exit(main())
