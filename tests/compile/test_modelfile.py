"""The model file: written and read back, and every way in which it can be bad.

Bad files are tried on the PC's reader and on the board's loader (under CPython, some under
MicroPython with native kernels): each is refused with one clear Error, or runs. The documents
that define the file and its arithmetic are held against the code at the end.
"""

from __future__ import annotations

import doctest
import gc
import io
import json
import os
import random
import re
import struct
import zlib
from array import array
from collections import Counter
from functools import cache
from itertools import islice

import numpy as np
import pytest

import models
from picoformer import convert
from picoformer.compile import modelfile
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import Compiled, compile_graph
from picoformer.compile.matrices import Matrix, Matrix4
from picoformer.compile.quantize import quantize, stacked
from picoformer.compile.round_matrix import nearest
from picoformer.compile.tables import (
    activation_table,
    exp2_table,
    float_parts,
)
from picoformer.device import beams, probabilities, program, regions, sampling
from picoformer.device import kernels_portable as portable
from picoformer.device import model as device_model
from picoformer.errors import Error
from picoformer.simulate import integers
from picoformer.simulate.memory import Memory
from picoformer.simulate.simulator import Simulator
from picoformer.simulate.steps import STEPS
from picoformer.tokenizers.section import build
from picoformer.tokenizers.vocabulary import Template
from tools.sweeps import fuzz
from tools.sweeps import on_micropython as micropython
from tools.sweeps.mutations import WORD, Parts, changed, frame, neighbours
from tools.sweeps.on_pc import guard
from tools.sweeps.small_models import IMAGE, KINDS, SPECIAL, made, small_graph, small_vocabulary
from tools.sweeps.trials import GROUP

Model = device_model.Model
DOCS = models.ROOT / "docs"


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    graph = small_graph()
    return compile_graph(graph, calibrate(graph))


@pytest.fixture(scope="module")
def good(compiled) -> bytes:
    return modelfile.encode(compiled, build(small_vocabulary()), {"name": "small"})


@pytest.fixture
def on_board(tmp_path, monkeypatch):
    """Loads bytes with the board's loader."""
    # Collecting garbage takes 100 times as long here as loading.
    monkeypatch.setattr(gc, "collect", lambda: None)

    def load(data: bytes, **options) -> Model:
        path = tmp_path / "m.pft"
        path.write_bytes(data)
        return Model(str(path), kernels="portable", **options)

    return load


def refused(on_board, data: bytes, *words: str) -> None:
    """Both readers refuse the file, and their messages hold the words."""
    for reader in (modelfile.parse, on_board):
        with pytest.raises(Error) as e:
            reader(data)
        for word in words:
            assert word in str(e.value)


# Written and read back


def test_round_trip(compiled, good):
    m = modelfile.parse(good)
    assert m.meta == {"name": "small"}
    assert (m.program == compiled.program).all()
    assert (m.tables == compiled.tables).all()
    assert (m.weights == compiled.weights).all()
    assert m.tokenizer.encode("ab") == [12]
    assert sum(m.sizes.values()) + 100 == len(good)
    again = Compiled(m.program, m.tables, m.weights)
    assert modelfile.encode(again, build(small_vocabulary()), m.meta) == good


def test_the_writer_writes_what_the_page_says(good):
    assert Parts.of(good).data() == good


def test_deterministic(tmp_path):
    for name in ("a", "b"):
        convert(models.STORIES, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("meta", [{}, {"a": "é日本🙂"}, {"b": [1, {"c": None}]}])
def test_metadata_is_padded_json(compiled, meta):
    m = modelfile.parse(modelfile.encode(compiled, build(small_vocabulary()), meta))
    assert m.meta == meta
    assert m.sizes["metadata"] % 4 == 0


def test_a_reader_made_from_the_page_alone(compiled, good):
    """Steps by name, a matrix out of its words, all by docs/format.md."""
    parts = Parts.of(good)
    words, tables = parts.program, documented_steps()
    i, seen = 24 + words[8] + words[11], []
    while i < len(words):
        name, fields = tables[words[i]]
        record = dict(zip(fields, words[i + 2 : i + 2 + words[i + 1]], strict=True))
        seen.append((name, record))
        i += 2 + words[i + 1]
    assert [(s.op, s.fields) for s in modelfile.parse(good).steps] == [
        (name, list(record.values())) for name, record in seen
    ]
    record = next(r for name, r in seen if name == "linear")
    assert record["weights"] & 63 == 3
    at, cols = record["weights"] >> 6, record["cols"]
    q, mantissas = [], []
    for group in range(record["groups"]):
        base = 4 * (at + group * (cols + 2))
        for lane in range(4):
            q.append([parts.weights[base + 4 * c + lane] - 128 for c in range(cols)])
        mantissas += struct.unpack_from("<4H", parts.weights, base + 4 * cols)
    wanted = [compiled.matrices[value][0] for value in ("0.q", "0.k", "0.v")]
    assert q == np.concatenate([m.q for m in wanted]).tolist()
    assert mantissas == np.concatenate([m.mantissa for m in wanted]).tolist()


# Writing is atomic


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.pft"
    path.write_bytes(b"old")

    def full(handle, mode):
        os.write(handle, b"ne")
        os.close(handle)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(os, "fdopen", full)
        with pytest.raises(Error, match=r"cannot write .*m\.pft: No space"):
            modelfile.write(path, b"new contents")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["m.pft"])

    def stuck(a, b):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as m:
        m.setattr(os, "replace", stuck)
        with pytest.raises(Error, match="Permission denied"):
            modelfile.write(path, b"new contents")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["m.pft"])
    modelfile.write(path, b"new contents")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"new contents", ["m.pft"])


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(a, b):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        modelfile.write(tmp_path / "m.pft", b"new")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("where", ["none/m.pft", "file/m.pft", "folder", "x" * 300])
def test_a_place_where_nothing_can_be_written(tmp_path, where):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Error, match="cannot write"):
        modelfile.write(tmp_path / where, b"new")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_reading_what_is_not_there(tmp_path):
    for where in ("none.pft", "."):
        with pytest.raises(Error, match="cannot read model file"):
            modelfile.load(tmp_path / where)
        with pytest.raises(Error, match="cannot open model file"):
            Model(str(tmp_path / where))


# Files that are no model


@pytest.mark.parametrize(
    "data",
    [b"", b"\x89", b"\x89PNG\r\n\x1a\n" + bytes(200), b"\x7fELF" + bytes(200), b"PFT\x89" * 60,
     b"Once upon a time, there was a model.\n" * 9, bytes(500), b"\xff" * 500],
    ids=["empty", "one byte", "png", "elf", "swapped", "text", "zeros", "ones"],
)  # fmt: skip
def test_foreign(on_board, data):
    refused(on_board, data, "not a picoformer model", "expected", "PFT", repr(data[:4])[:5])


@pytest.mark.parametrize("version", [0, 1, 4, 0xFFFFFFFF])
def test_another_version(on_board, good, version):
    remedy = "convert it again" if version < 2 else "picoformer update"
    words = (f"format version {version}", "reads 2 and 3", remedy)
    refused(on_board, changed(good, 4, version), *words)


def of_version_2(data: bytes) -> bytes:
    """The same model as that version has it: one end token, and BOS ends a text, too."""
    parts = Parts.of(data)
    p, n = parts.program, parts.program[8]
    ends = [t for t in p[24 : 24 + n] if t != p[7]]
    words = [*p[:8], *(ends or [-1])[:1], *p[9:16], *p[24 + n :]]
    packed = (struct.pack(f"<{len(w)}i", *w) for w in (words, parts.tables))
    return frame([parts.meta, *packed, parts.tokenizer, parts.weights], 2)


@pytest.mark.parametrize("kind", KINDS + SPECIAL)
def test_version_2_is_read(tmp_path, kind):
    """On both sides, with the same results."""
    data = made(kind)
    old, new = modelfile.parse(of_version_2(data)), modelfile.parse(data)
    assert set(old.ends) | {old.bos} == set(new.ends) | {new.bos}
    at = 24 + len(new.ends)
    assert old.program[26:].tolist() == new.program[at:].tolist()
    (tmp_path / "old.pft").write_bytes(of_version_2(data))
    (tmp_path / "new.pft").write_bytes(data)
    models = [Model(str(tmp_path / f"{name}.pft"), kernels="portable") for name in ("old", "new")]
    assert {t for t in models[0].ends if t >= 0} == set(old.ends)
    if new.task in ("generate", "classify", "embed") and not new.program[14]:
        logits = [m.logits(bytes(3) if m.frames else [3, 4, 5]) for m in models]
        assert logits[0] == logits[1]


def test_a_short_program_of_version_2(on_board, good):
    parts = Parts.of(good)
    words = struct.pack("<15i", *parts.program[:15])
    tables = struct.pack(f"<{len(parts.tables)}i", *parts.tables)
    data = frame([parts.meta, words, tables, parts.tokenizer, parts.weights], 2)
    refused(on_board, data, "bad program: 15 words")


def test_every_truncation(on_board, good):
    rng = random.Random(1)
    end = len(good)
    for n in sorted({*range(104), *range(end - 9, end), *rng.sample(range(end), 150)}):
        refused(on_board, good[:n], "truncated" if n >= 4 else "not a picoformer model")
    refused(on_board, good + b"\0\0\0\0", "too long", f"{len(good) + 4} bytes")


def test_every_flipped_byte(on_board, good):
    """A checksum finds each; the header's is looked at before anything in it is used."""
    rng = random.Random(2)
    for at in {*range(100), *rng.sample(range(len(good)), 300)}:
        bad = bytearray(good)
        bad[at] ^= 1 << rng.randrange(8)
        with pytest.raises(Error, match="corrupt|version|not a picoformer model") as e:
            modelfile.parse(bytes(bad))
        if at % 3 == 0:
            refused(on_board, bytes(bad), str(e.value))


@pytest.mark.parametrize("kind", range(5))
def test_each_checksum_says_whose_it_is(on_board, good, kind):
    name = ("metadata", "program", "tables", "tokenizer", "weights")[kind]
    refused(on_board, changed(good, 28 + 16 * kind, 0), "checksum of its " + name)
    at, n = struct.unpack_from("<II", good, 20 + 16 * kind)
    bad = bytearray(good)
    bad[at + n - 1] ^= 0x40
    refused(on_board, bytes(bad), "checksum of its " + name, "copy it again")


def test_a_bad_header(on_board, good):
    size = len(good)
    refused(on_board, changed(good, 8, size - 4), f"header says {size - 4}")
    refused(on_board, changed(good, 12, 4), "4 sections, expected 5")
    refused(on_board, good[:96] + bytes(4) + good[100:], "header checksum")
    parts = Parts.of(good)
    raw = [parts.meta, b"", b"", parts.tokenizer, parts.weights]
    refused(on_board, frame(raw, gap=4), "section 3 (tables)")  # a hole
    for at in range(16, 96, 4):
        if (at - 16) % 16 == 12:
            continue  # the checksums have a test of their own
        old = struct.unpack_from("<I", good, at)[0]
        for value in (0, 1, old + 1, old + 4, old - 4, size, 1 << 31, 0xFFFFFFFC, 0xFFFFFFFF):
            if value != old:
                refused(on_board, changed(good, at, value % (1 << 32)), "corrupt")


@pytest.mark.parametrize(
    "meta",
    [b"", b"{   ", b"[]  ", b"3   ", b"\xff\xfe  ", b"[" * 100000, b'{"a":NaN}  ',
     b'{"a":-Infinity} ', b'{"a": "\\uD800"}   '],
)  # fmt: skip
def test_bad_metadata(good, meta):
    parts = Parts.of(good)
    parts.meta = meta + b" " * (-len(meta) % 4)
    with pytest.raises(Error, match="its metadata is not"):
        modelfile.parse(parts.data())


def test_a_tokenizer_of_another_size(on_board, good):
    parts = Parts.of(good)
    v = small_vocabulary()
    v.pieces = [*v.pieces, b"z"]
    parts.tokenizer = build(v)
    refused(on_board, parts.data(), "tokenizer of 14 tokens", "model of 13")
    parts.tokenizer = parts.tokenizer[:-4]
    refused(on_board, parts.data(), "tokenizer: ")


# Programs that are wrong, in files whose checksums are right


def operand(parts: Parts, name: str, field: str, nth: int = 0) -> int:
    """Index of a field of the nth step `name` among the program's words."""
    start = f"{name} {dict(documented_steps().values())[name].index(field)} "
    return [i for i, w in enumerate(parts.where) if w.startswith(start)][nth]


def test_what_the_errors_say(on_board, good):
    parts = Parts.of(good)

    def bad(at: int, value: int, *words: str) -> None:
        changed = parts.program[:]
        changed[at] = value
        refused(on_board, parts.data(changed), "bad program", *words)

    p = parts.program
    bad(0, 7, "odd context")
    bad(0, 40000, "context is 40000, not 2 to 32768")
    bad(1, 0, "batch is 0, not 1 to 32768")
    bad(4, 0, "vocabulary is 0")
    bad(7, 13, "BOS is 13, not -1 to 12")
    bad(9, p[9] + 1, "its parts say")
    bad(11, 61, "caches is 61")
    bad(14, 1, "no task for an image")
    bad(15, 1, "its parts say")
    bad(12, 1, "task 1, whole 0")
    bad(3, 12, "12 results, 13 tokens")
    bad(8, 17, "number of end tokens is 17, not 0 to 16")
    bad(16, 1, "no labels, of which there may be several")
    bad(16, 2, "several is 2")
    bad(18, 1, "reserved word is 1")
    bad(24, 13, "end token is 13, not -1 to 12")
    at = 24 + p[8]
    bad(at, p[at] + 2, "cache size")
    bad(at + p[11], 99, "unknown step 99")
    bad(operand(parts, "embed", "weights"), 9 << 6 | 3 | WORD >> 1, "matrix is outside")
    bad(operand(parts, "norm", "gain"), len(parts.tables) << 6 | 1, "gain is outside its memory")
    bad(operand(parts, "linear", "cols"), -1, "cols is -1, not 1 to")
    bad(operand(parts, "linear", "weights"), 1 << 6 | 1, "matrix is not in the weights")
    bad(operand(parts, "linear", "out"), p[operand(parts, "linear", "x")], "overlaps")
    bad(operand(parts, "linear", "out"), 16 << 6, "outside")  # the frame's token
    bad(operand(parts, "linear", "out"), 1 << 6, "outside")  # the arena's header
    bad(operand(parts, "store", "cache"), 4 | 1 << 6, "no such cache")
    bad(operand(parts, "store", "cache", 1), 4, "twice")
    bad(operand(parts, "attend", "cache", 0), 5, "not stored before")
    bad(operand(parts, "attend", "kv_heads"), 0, "kv_heads is 0")
    bad(operand(parts, "attend", "scores"), 99 << 6, "scores is 6336, not 0 to 0")
    bad(operand(parts, "attend", "whole"), 1, "whole is 1, not 0 to 0")
    for op in "store", "attend":
        bad(operand(parts, op, "key_bits"), 4, "keys of 4 bits, not 8 or 12")
        bad(operand(parts, op, "value_bits"), 0, "values of 0, not 4 or 8")
        bad(operand(parts, op, "key_bits", 1), 8, "cache size")
        bad(operand(parts, op, "value_bits", 1), 4, "not stored before")  # of the same size
    bad(operand(parts, "gate", "table"), 64, "activation is not in the tables")
    bad(operand(parts, "gate", "u"), 0, "exponent without a product")
    bad(operand(parts, "gate", "odd"), 1, "odd is 1, not 0 to 0")
    bad(operand(parts, "pool", "n"), 0, "outside")
    bad(operand(parts, "pool", "how"), 1, "how is 1, not 0 to 0")


def test_what_the_errors_of_4_bits_say(on_board):
    parts = Parts.of(made("llama" + models.FOUR))
    p, end = parts.program, len(parts.weights) // 4

    def bad(at: int, value: int, *said: str) -> None:
        words = p[:]
        words[at] = value
        refused(on_board, parts.data(words), *said)

    for op in ("linear4", "embed4"):
        span = operand(parts, op, "span")
        bad(span, 24, "24 columns of a scale, no multiple of 16")
        bad(span, 0, "span is 0, not 16 to 1048576")
        bad(operand(parts, op, "weights"), end - 9 << 6 | 3, "matrix is outside its memory")
    # The last matrix is a row group of 6 columns. Half a one takes as many words.
    last = operand(parts, "linear4", "weights", -2)
    assert (p[last] >> 6) + 6 + 1 + 4 == end
    for groups in (1, 2):
        p[last + 2] = p[operand(parts, "linear4", "count", -2)] = groups
        modelfile.parse(parts.data())
        bad(last, (end - 10) << 6 | 3, "matrix is outside its memory")
    bad(operand(parts, "linear4", "first"), 2, "first is 2, not 0 to 0")


def with_step(parts: Parts, before: str, nth: int, op: str, **fields: int) -> list[int]:
    """The program with one more step in front of the nth `before`."""
    code, names = next((n, f) for n, (name, f) in documented_steps().items() if name == op)
    at = [i for i, w in enumerate(parts.where) if w.startswith(before + " 0 ")][nth] - 2
    step = [code, len(names), *(fields.get(name, 0) for name in names)]
    words = parts.program[:at] + step + parts.program[at:]
    start = 24 + words[8] + words[11]
    parts_end = start + words[15], start + words[15] + words[9]
    words[15 if at < parts_end[0] else 9 if at < parts_end[1] else 10] += len(step)
    return words


def test_what_the_errors_of_encoders_say(on_board):
    parts = Parts.of(made(models.BERT))
    p = parts.program
    dim, context, weights, end = 8, p[0], len(parts.weights) // 4, 16 + p[2] << 6

    def bad(words: dict[int, int] | list[int], *said: str) -> None:
        changed = p[:] if isinstance(words, dict) else words
        if isinstance(words, dict):
            for at, value in words.items():
                changed[at] = value
        refused(on_board, parts.data(changed), *said)

    def at(name: str, field: str, nth: int = 0) -> int:
        return operand(parts, name, field, nth)

    # An input is one group, and what comes out has its place.
    bad({1: context - 1}, "a group does not hold a whole input")
    bad({13: 0}, "task 1, whole 0")
    bad({12: 0, 3: p[4]}, "task 0, whole 1")
    bad({12: 7}, "task is 7, not 0 to 6")
    bad({12: 5}, "no head, or one too much")
    bad({12: -1}, "task is -1, not 0 to 6")
    bad({12: 3}, "3 results, 13 tokens")
    bad({12: 3, 3: p[4]}, "task 3, 0 steps of an encoder")
    bad({12: 4}, "no head, or one too much")
    bad({15: p[9], 9: p[10], 10: 0}, "steps of an encoder")
    bad({12: 2}, "no embedding comes out")
    bad({3: 1 << 20}, "bias is not all the logits")
    bad({3: 0}, "results is 0, not 1 to")
    bad({5: p[5] + 64}, "outside")
    # A frame of 2^20 words is allowed, 32 of them are not.
    bad({0: 32, 1: 32, 2: 1 << 20}, "arena of 33554")
    bad({1: 32768, 2: 1 << 20, 0: 32768}, "arena of 34359")
    # Positions behind their table, in another place, in the head.
    bad({at("embed", "weights", 1): weights - (dim + 2) << 6 | 3}, "matrix is outside")
    bad({at("embed", "x", 1): p[at("norm", "out")]}, "added to something else")
    bad({at("embed", "n", 1): dim - 1}, "added to something else")
    bad({at("embed", "position"): 1}, "added to something else")
    position = {name: p[at("embed", name, 1)] for name in documented_steps()[1][1]}
    bad(with_step(parts, "bias", -1, "embed", **position), "embedding in the head")
    bad({0: 32768, 1: 32768}, "matrix is outside")
    # Vectors at the end of the weights.
    bad({at("bias", "weights"): weights - 7 << 6 | 3}, "matrix is outside its memory")
    bad({at("bias", "weights"): p[at("layernorm", "gain")]}, "matrix is not in the weights")
    bad({at("bias", "n"): 0}, "output is outside")
    bad({at("bias", "n"): -8}, "is outside")
    bad({at("bias", "out"): 16 << 6}, "outside")
    bad({at("bias", "out"): end}, "outside")
    # Logits: all of them, once, the bias before the product.
    bad({at("bias", "n", -1): 8}, "bias is not all the logits'")
    bad({at("bias", "add", -1): 1}, "bias is not all the logits'")
    bad({at("linear", "add", -1): 0}, "logits are added to nothing")
    bad({at("bias", "out", -1): p[at("pool", "x")]}, "logits are added to nothing")
    bad({at("bias", "out", -1): p[at("linear", "x", -1)]}, "input is not a vector of 8")
    bad({at("bias", "out", -1): end + 64}, "outside")
    logits = {"out": end, "weights": p[at("bias", "weights", -1)], "n": 4}
    bad(with_step(parts, "linear", -1, "bias", **logits), "bias is not all the logits'")
    bad(with_step(parts, "store", 0, "bias", **logits), "outside")
    # Normalization.
    bad({at("layernorm", "n"): 16385}, "n is 16385, not 1 to 16384")
    bad({at("layernorm", "n"): 0}, "n is 0")
    bad({at("layernorm", "out"): p[at("layernorm", "x")] - 64}, "overlaps")
    bad({at("layernorm", "lg"): 2}, "shift too small for 8 elements")
    bad({at("layernorm", "gain"): 0}, "gain is not in the tables")
    bad({at("layernorm", "gain"): len(parts.tables) - 7 << 6 | 1}, "gain is outside")
    bad({at("layernorm", "bias"): len(parts.tables) - 7 << 6 | 1}, "bias is outside")
    bad({at("layernorm", "bias"): 16 + 1 << 6}, "bias is not in the tables")
    # Activations alone.
    bad({at("gate", "dyn"): 16 + 1 << 6}, "exponent without a product")
    bad({at("gate", "table"): len(parts.tables) - 256 << 6 | 1}, "activation is outside")
    bad({at("gate", "table", -1): 0}, "odd is 1, not 0 to 0")
    # Pooling.
    bad({at("pool", "how"): 3}, "how is 3, not 0 to 2")
    bad({at("pool", "n"): p[2]}, "outside")
    bad({at("pool", "n"): dim - 1}, "before it is written")
    pool = {name: p[at("pool", name)] for name in ("x", "n", "how")}
    bad(with_step(parts, "store", 0, "pool", **pool), "in the middle")
    bad(with_step(parts, "bias", -1, "pool", **pool), "in the middle")
    # Attention, and the cache that both layers have.
    bad({at("attend", "whole"): 2}, "whole is 2, not 0 to 1")
    bad({at("attend", "scores"): 20 << 6}, "scores is 1280, not 0 to 0")
    store = {name: p[at("store", name, 1)] for name in documented_steps()[4][1]}
    assert (p[11], p[24 + p[8]]) == (1, 2 * (4 + 2 + 2))
    bad(with_step(parts, "bias", -1, "store", **store), "stored in the head")
    bad({at("store", "heads", 1): 1}, "cache size")
    bad({at("attend", "kv_heads", 1): 1}, "cache size")
    bad({at("attend", "cache"): 5}, "no such cache")


def bad_program(on_board, kind: str):
    """(parts, bad, at) of a small file: bad(words, ...) tries a change of its program."""
    parts = Parts.of(made(kind))

    def bad(words: dict[int, int] | list[int], *said: str) -> None:
        changed = parts.program[:] if isinstance(words, dict) else words
        for at, value in words.items() if isinstance(words, dict) else ():
            changed[at] = value
        refused(on_board, parts.data(changed), "bad program", *said)

    return parts, bad, lambda name, field, nth=0: operand(parts, name, field, nth)


def test_what_the_errors_of_translators_say(on_board):
    parts, bad, at = bad_program(on_board, models.BART)
    p = parts.program
    # Three lists, each of whole steps.
    bad({15: p[15] - 1, 9: p[9] + 1}, "is cut off")
    bad({15: p[15] + 1, 9: p[9] - 1}, "is cut off")
    bad({15: p[15] - 1}, "its parts say")
    bad({15: -1}, "-1 words in a part")
    bad({15: 1 << 24}, "16777216 words in a part")
    at0 = 24 + p[8]
    first = 2 + p[at0 + p[11] + 1]  # words of the first step
    bad({15: p[15] + 2 + 10, 9: p[9] - 12}, "is cut off")
    bad({15: p[15] + first, 9: p[9] - first}, "two embeddings")
    bad({15: 0, 9: p[9] + p[15]}, "task 3, 0 steps of an encoder")
    bad({15: p[15] + p[9], 9: 0}, "two embeddings")
    bad({15: p[15] + p[9] + p[10], 9: 0, 10: 0}, "no head, or one too much")
    bad({9: p[9] + p[10], 10: 0}, "no head, or one too much")
    bad(p[:9] + [0, *p[10:at0]] + p[at0 : at0 + p[11] + p[15]] + p[-p[10] :], "begin with `embed`")
    for task in (0, 1, 2, 4):
        bad({12: task}, "bad program")
        bad({12: task, 13: 0}, "bad program")
    bad({12: 1}, "steps of an encoder")
    bad({13: 0}, "task 3, whole 0")
    bad({1: p[0] - 1}, "a group does not hold a whole input")
    bad({3: p[4] - 1}, "12 results, 13 tokens")
    bad({7: -1}, "a translation needs BOS")
    bad({14: p[at("linear", "x")]}, "no task for an image")
    # The encoder has no source, the rest is no whole input.
    stores = [p[at("store", "cache", n)] for n in range(3)]
    assert [p[at("attend", "whole", n)] for n in range(3)] == [1, 0, 2]
    assert stores == [4, 5, 6] and p[at("attend", "cache", 2)] == 5
    bad({at("attend", "whole", 0): 2}, "whole is 2, not 0 to 1")
    bad({at("attend", "whole", 1): 1}, "a translation is no whole input")
    bad({at("attend", "whole", 2): 1}, "a translation is no whole input")
    bad({at("attend", "whole", 1): 3}, "whole is 3, not 0 to 2")
    bad({at("attend", "whole", 2): 0}, "not stored before")
    bad({at("attend", "whole", 1): 2}, "not stored before")
    bad({at("attend", "cache", 1): 5}, "not stored before")
    bad({at("attend", "cache", 2): 6}, "not stored before")
    bad({at("attend", "cache", 0): 5}, "not stored before")
    bad({at("store", "cache", 2): 5, at("attend", "cache", 1): 5}, "twice")
    store = {name: p[at("store", name, 2)] for name in documented_steps()[4][1]}
    bad(with_step(parts, "store", 2, "store", **store), "twice")
    bad(with_step(parts, "pool", 0, "pool", x=p[at("pool", "x")], n=8), "in the middle")
    # The cache of a source, read in another shape: 2 heads of 3 and 1 head of 8 need as much.
    assert p[at0 + 1] == 2 * (4 + 2 + 2)
    bad({at("attend", "kv_heads", 2): 1}, "cache size")
    bad({at("attend", "size", 2): 3}, "cache size")
    shape = {at0 + 1: 14, at("store", "heads", 1): 2, at("store", "size", 1): 3}
    other = {at("attend", f, 2): v for f, v in (("heads", 1), ("kv_heads", 1), ("size", 8))}
    bad({**shape, **other}, "not stored before")


def test_what_the_errors_of_distances_say(on_board):
    parts, bad, at = bad_program(on_board, models.GATED_T5)
    p = parts.program
    context, n, size = p[0], p[at("attend", "row")], len(parts.tables)
    assert [p[at("attend", "row", i)] for i in range(3)] == [2 * context - 1, context, 0]
    assert (p[at("attend", "heads")], p[at("attend", "bias", 2)]) == (2, 0)
    bad({at("attend", "bias"): 17 << 6}, "biases is not in the tables")
    bad({at("attend", "bias"): context - 2 << 6 | 1}, "biases are outside")
    bad({at("attend", "bias"): -64}, "biases are outside")
    # What lies behind: a distance ahead in the encoder, and every head's.
    last = size - context - n
    for i, behind in (0, last), (1, size - context - 1):
        bad({at("attend", "bias", i): behind + 1 << 6 | 1}, "biases is outside")
    bad({at("attend", "row"): size}, "biases is outside")
    bad({at("attend", "row", 2): (1 << 16) + 1}, "row is 65537, not 0 to 65536")
    for i in 0, 1:
        own = p[at("attend", "bias", i)] >> 6
        ahead = context - 1 if i == 0 else 0
        row = p[at("attend", "row", i)]
        for word in own - context + 1, own + row + ahead:
            for value in (1 << 24) + 1, -(1 << 24) - 1, WORD - 1:
                tables = parts.tables[:]
                tables[word] = value
                refused(on_board, parts.data(tables=tables), f"bias is {value}, not -16777216")


def test_what_the_errors_of_images_say(on_board):
    parts, bad, at = bad_program(on_board, models.VIT)
    p = parts.program
    end = 16 + p[2] << 6
    assert p[14] == p[at("linear", "x")]
    first = [program.OPS[op][0] for op, _ in list(program.walk(p))[:3]]
    assert first == ["bias", "linear", "embed"]
    # The patches are read by the first linear, inside the frame.
    for image in (64, -64, end, end - 64, p[14] | 1, 1 << 30, WORD - 1, -WORD):
        bad({14: image}, "an image does not begin with `linear`")
        bad({14: image, at("linear", "x"): image}, "input is")
    bad({14: 0}, "does not begin with `embed`")
    bad({14: 0, 12: 4}, "no head")
    bad({at("linear", "out"): p[at("linear", "out")] + 64}, "patches are not the residual")
    bad({at("embed", "position"): 0}, "two embeddings")
    bad({at("embed", "x"): p[at("embed", "x")] + 64}, "added to something else")
    fields = documented_steps()
    linear = {name: p[at("linear", name)] for name in fields[3][1]}
    bias = {name: p[at("bias", name)] for name in fields[9][1]}
    embed = {name: p[at("embed", name)] for name in fields[1][1]}
    bad(with_step(parts, "embed", 0, "linear", **linear), "the patches have no positions")
    bad(with_step(parts, "embed", 0, "bias", **bias), "the patches have no positions")
    bad(with_step(parts, "bias", 0, "embed", **embed), "does not begin with `linear`")
    bad(with_step(parts, "bias", 0, "bias", **bias), "does not begin with `linear`")
    # A frame that ends within the patches.
    bad({2: (p[14] >> 6) - 16 + 4 + 18 - 1}, "outside")


GREAT = 10**30


@pytest.mark.parametrize(
    "image",
    [
        None, 5, "91223", "", {}, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, [], IMAGE[:4],
        [*IMAGE, 1], [float(v) for v in IMAGE], [9, 12, 2, 3, True], [9, 12, 2, 3, 1.0],
        [str(v) for v in IMAGE], [[v] for v in IMAGE], [None] * 5, [0] * 5, [9, 12, 2, 0, 1],
        [0, 12, 2, 3, 1], [9, 0, 2, 3, 1], [-9, 12, 2, 3, 1], [-9, -12, 2, 3, 1],
        [9, 12, -2, 3, 1], [9, 12, 2, -3, 1], [9, 12, 2, 3, -1], [9, 12, 2, 3, 2],
        [10, 12, 2, 3, 1],
        [9, 13, 2, 3, 1], [9, 15, 2, 3, 1], [12, 12, 2, 3, 1], [9, 12, 3, 3, 1],
        [9, 12, 18, 1, 1], [3 * GREAT, 12, 2, 3, 1], [9, 12, 2 * GREAT, 3, 1],
        [9, 12, 2, 3 * GREAT, 1], [9, 12, 2, 3, GREAT], [GREAT] * 5, [-GREAT] * 5,
        [1 << 32 | 9, 12, 2, 3, 1], [9, 12, 2, 3 | 1 << 32, 1], [float("nan")] * 5,
        [float("inf"), 12, 2, 3, 1], [9, 12, 2, float("-inf"), 1],
    ],
)  # fmt: skip
def test_bad_images(on_board, image):
    parts = Parts.of(made(models.VIT))
    meta = json.loads(parts.meta)
    assert meta["image"] == IMAGE
    for name in ("image", "picture"):
        text = json.dumps({**meta, "image": None, name: image}).encode()
        parts.meta = text + b" " * (-len(text) % 4)
        finite = "NaN" not in text.decode() and "Infinity" not in text.decode()
        words = "its metadata do not fit its image" if finite else "its metadata"
        refused(on_board, parts.data(), words)


def test_a_number_that_no_reader_takes(on_board):
    parts = Parts.of(made(models.VIT))
    text = b'{"image": [9, 12, 2, 3, 1' + b"0" * 9000 + b"]}"
    parts.meta = text + b" " * (-len(text) % 4)
    refused(on_board, parts.data(), "its metadata")


def test_what_the_errors_of_questions_say(on_board):
    parts, bad, at = bad_program(on_board, models.ASKED)
    p = parts.program
    assert (p[3], p[10], p[at("embed", "position", 2)]) == (2, 0, 2)
    bad({3: 1}, "1 results, not 2")
    bad({3: 4}, "4 results, not 2")
    bad({5: p[5] + 64}, "no logits come out")
    bad({5: 16 + p[2] << 6}, "no logits come out")
    bad({13: 0}, "task 4, whole 0")
    bad({12: 0, 13: 0, 3: 13}, "no head, or one too much")
    bad({12: 2}, "no head, or one too much")
    bad({10: p[9], 9: 0}, "no head, or one too much")
    bad({14: p[at("linear", "x")]}, "no task for an image")
    # Types have a row group of their own.
    weights = len(parts.weights) // 4
    bad({at("embed", "position", 2): 3}, "position is 3, not 0 to 2")
    bad({at("embed", "position", 2): 0}, "two embeddings")
    bad({at("embed", "weights", 2): weights - 9 << 6 | 3}, "matrix is outside")
    bad({at("embed", "n", 2): 7}, "added to something else")


@pytest.mark.parametrize(
    "types", [(0, 0, 2), (0, 0, 255), (128, 0, 1), (0, 3, 1), (0, 0, 0), (1, 2, 0)]
)
def test_a_type_that_has_no_row(on_board, types):
    """The tokenizer's template has them, and a model for questions two rows."""

    def asked(first: int, second: int, third: int) -> str:
        v, parts = small_vocabulary(), Parts.of(made(models.ASKED))
        single = [(0, 1, first), (1, 0, second)]
        v.template = Template(single, [*single, (2, 0, third)])
        parts.tokenizer = build(v)
        m = modelfile.parse(parts.data())
        try:
            wanted = Simulator(m).answer("ab ab", "a")
        except Error as e:
            wanted = str(e)
        board = on_board(parts.data())
        guard(board)
        try:
            assert board.answer("ab ab", "a") == wanted
        except Error as e:
            assert str(e) == wanted
            raise
        return wanted

    assert asked(0, 0, 1) in ("ab", "ab ab", "a", "b", "b a", "b ab", "ab a")
    with pytest.raises(Error, match="does not tell a question from a text"):
        asked(*types)


@pytest.mark.parametrize("kind", KINDS + SPECIAL)
def test_runs_end_with_their_matrix(on_board, kind):
    """Each matrix is one piece in RAM; another one begins where it ends, or the section ends."""
    board = on_board(made(kind), weights="ram")
    runs = board._space[regions.RUNS]
    starts = {runs[i] >> 6 for i in range(0, len(runs), 2)}
    ends = {(runs[i] >> 6) + runs[i + 1] for i in range(0, len(runs), 2)}
    assert ends - starts == {len(board._space[regions.WEIGHTS])}


def test_a_translation_needs_a_source(on_board):
    """Attention over no positions would divide by zero."""
    board = on_board(made(models.BART))
    for model in (board, Simulator(modelfile.parse(made(models.BART)))):
        with pytest.raises(Error, match="needs the tokens of its source"):
            model.logits(GROUP)
    board.source(GROUP)
    assert len(board.logits(GROUP)) == 13


def test_a_shared_cache_has_one_shape(on_board):
    """2 heads of 3 and 1 head of 8 need as much memory, but differ in where things lie."""
    parts = Parts.of(made(models.BERT))
    words = parts.program[:]
    words[24 + words[8]] = 14
    for n, (heads, size) in enumerate([(1, 8), (2, 3)]):
        for name, fields in (("store", ["heads"]), ("attend", ["heads", "kv_heads"])):
            for f, value in [*((f, heads) for f in fields), ("size", size)]:
                words[operand(parts, name, f, n)] = value
    refused(on_board, parts.data(words), "two shapes")


@pytest.mark.parametrize(
    "labels", ["", "abc", ["a", "b"], ["a", "b", 3], {"a": 1, "b": 2, "c": 3}, None, [[]] * 3]
)
def test_bad_labels(on_board, labels):
    parts = Parts.of(made(models.BERT))
    for meta in ({"labels": labels}, {}):
        text = json.dumps(meta).encode()
        parts.meta = text + b" " * (-len(text) % 4)
        refused(on_board, parts.data(), "its metadata do not name 3 labels")
    deep = b"[" * 100000
    parts.meta = deep
    for reader in (modelfile.parse, on_board):
        with pytest.raises(Error, match="its metadata"):
            reader(parts.data())


def test_words_are_written_before_they_are_read(on_board, good):
    """What the memory held before would be in the result."""
    parts = Parts.of(good)
    p = parts.program

    def bad(changes: dict[int, int], *said: str) -> None:
        words = p[:]
        for at, value in changes.items():
            words[at] = value
        refused(on_board, parts.data(words), "bad program", *said)

    def at(name: str, field: str, nth: int = 0) -> int:
        return operand(parts, name, field, nth)

    p[2] += 8  # a frame with eight words that nothing uses
    p[5] += 8 << 6
    p[at("linear", "out", -1)] = p[5]
    free = 16 + p[2] - 8 << 6
    modelfile.parse(parts.data())
    bad({at("norm", "x"): free}, "input is read before it is written")
    bad({at("store", "k"): free}, "keys is read before it is written")
    bad({at("attend", "q"): free}, "queries is read before it is written")
    # Rows are added to nothing; what comes of them is nothing.
    added = {at("linear", "out"): free, at("linear", "add"): 1, at("linear", "groups"): 1}
    bad(added | {at("linear", "count"): 1}, "keys is read before it is written")
    bad({at("linear", "x"): free - (4 << 6)}, "input is not a vector of 8 elements")
    # A vector is read as a whole, by `linear` alone, until something is written over it.
    bad({at("norm", "n"): 7}, "input is not a vector of 8 elements")
    bad({at("norm", "x", 1): p[at("norm", "out")] + (4 << 6)}, "input is read before")
    bad({at("linear", "cols"): 7}, "input is not a vector of 7 elements")
    norm = {name: p[at("norm", name)] for name in documented_steps()[2][1]}
    norm |= {"n": 1, "out": norm["out"] + 64}
    over = with_step(parts, "linear", 0, "norm", **norm)
    refused(on_board, parts.data(over), "input is not a vector of 8 elements")
    # What a gate has taken is gone.
    u = p[at("gate", "u")]
    bad({at("norm", "x", 3): u}, "input is read before it is written")


@pytest.mark.parametrize("amax", [float("inf"), float("nan")])
def test_values_that_leave_the_float_model(amax):
    """Finite weights may still overflow."""
    graph = small_graph()
    with pytest.raises(Error, match=f"'logits' grows to {amax} in the float model"):
        compile_graph(graph, calibrate(graph) | {"logits": amax})


def test_the_result_is_not_lost(on_board):
    """A gate that takes what was pooled as its second input leaves anything there."""
    parts = Parts.of(made(models.MINILM))
    p = parts.program
    x, head = p[operand(parts, "pool", "x")], 24 + p[8] + p[11] + p[9]
    p[2] += 9  # behind all others, words for the gate's first input and its exponent
    g = 16 + p[2] - 9 << 6
    bias = {"out": g, "weights": regions.WEIGHTS, "n": 8, "add": 0}
    gate = dict.fromkeys(documented_steps()[6][1], 0)
    gate |= {"g": g, "u": x, "n": 8, "bits": 8, "dyn": g + (8 << 6)}
    steps = [*p[head : head + 5], 9, 4, *bias.values(), 6, 7, *gate.values()]
    p[10] = len(steps)
    refused(on_board, parts.data(p[:head] + steps), "the result is lost")


def test_vectors_of_4_bit_matrices(on_board):
    parts = Parts.of(made("llama" + models.FOUR))
    parts.program[operand(parts, "norm", "bits")] = 10
    refused(on_board, parts.data(), "input has elements of 10 bits, not 9")


def test_tables_that_kernels_rely_on(on_board, good):
    parts = Parts.of(good)
    exp2 = parts.program[operand(parts, "attend", "exp2")] >> 6
    gain = parts.program[operand(parts, "norm", "gain")] >> 6
    for at, value, words in (
        (exp2, 0, "2**0 is not 32768"),
        (exp2 + 32, 32767, "2**0 is not 32768"),
        (exp2 + 5, -1, "power of two is -1"),
        (exp2 + 63, 32769, "power of two is 32769"),
        (gain + 1, 32768, "gain is 32768"),
        (gain + 7, -WORD, "gain is -2147483648"),
    ):
        tables = parts.tables[:]
        tables[at] = value
        refused(on_board, parts.data(tables=tables), words)


def test_what_the_errors_of_signals_say(on_board):
    parts = Parts.of(made(models.SIGNAL))
    p, table = parts.program, operand(parts, "windows", "table")
    shape = {name: operand(parts, "windows", name) for name in ("height", "width", "channels")}
    channels = p[shape["channels"]]
    first = p[table] >> 6

    def bad(words: dict[int, int], *said: str) -> None:
        changed = p[:]
        for at, value in words.items():
            changed[at] = value
        refused(on_board, parts.data(changed), *said)

    def scaled(at: int, value: int, *said: str) -> None:
        tables = list(parts.tables)
        tables[first + at] = value
        refused(on_board, parts.data(p, tables), *said)

    bad({12: 4}, "no head, or one too much")  # an answer
    bad({operand(parts, "windows", "width"): channels + 1}, "windows of 4 x 6 do not fit")
    bad({shape["height"]: 40}, "do not fit")
    bad({operand(parts, "windows", "before"): 4}, "do not fit")
    bad({operand(parts, "windows", "out"): 0}, "output")
    bad({table: 9 << 20 | 1}, "scale of channels is outside")
    bad({table: p[table] + 2}, "scale of channels is not in the tables")
    scaled(0, 32768, "factor is 32768, not 0 to 32767")
    scaled(channels, -(1 << 30) - 1, "offset")
    scaled(3 * channels - 1, 31, "shift is 31, not 0 to 30")
    # Windows where there is a text, and twice.
    bert = Parts.of(made(models.BERT))
    step = p[shape["height"] - 7 : table + 1]
    step[-1] = len(bert.tables) << 6 | 1
    words = bert.program[:]
    at = operand(bert, "embed", "x") - 2
    words[9] += len(step)
    tables = [*bert.tables, *([0] * 3 * channels)]
    refused(on_board, bert.data(words[:at] + step + words[at:], tables), "two embeddings")
    words, step[-1] = p[:], p[table]
    words[9] += len(step)
    at = table + 1
    refused(on_board, parts.data(words[:at] + step + words[at:]), "where no signal is read")
    # Positions are added to what was made of the windows; nothing is by type, or by token.
    position = operand(parts, "embed", "position")
    bad({position: 2}, "positions are added to something else")
    bad({position: 0}, "two embeddings")
    # The windows themselves are of a position's size, and its types are not looked up either.
    out = p[operand(parts, "windows", "out")]
    elements = p[shape["height"]] * p[shape["width"]]
    n, x = operand(parts, "embed", "n"), operand(parts, "embed", "x")
    bad({position: 2, x: out, n: elements}, "positions are added to something else")

def test_what_the_errors_of_sound_say(on_board):
    parts = Parts.of(made(models.SOUND))
    p, at = parts.program, parts.program[17] >> 6
    _, window, size, hop, bands, _, points, _ = parts.tables[at : at + 8]

    def bad(words: dict[int, int], *said: str) -> None:
        tables = list(parts.tables)
        for word, value in words.items():
            tables[at + word] = value
        refused(on_board, parts.data(p, tables), "bad program: sound: ", *said)

    end = len(parts.tables)
    for operand, said in (
        (p[17] + 2, "not in the tables"), (-63, "not in the tables"),
        (end - 8 << 6 | 1, "not in the tables"), (end - 9 << 6 | 1, "bad program: sound"),
    ):  # fmt: skip
        changed = p[:]
        changed[17] = operand
        refused(on_board, parts.data(changed), said)
    for word, value, said in (
        (0, 0, "0 Hz"), (0, 48001, "48001 Hz"), (1, window - 1, "windows of"), (1, 0, "0 of"),
        (1, size + 2, "points"), (2, size + 1, "points"), (2, 2048, "points"),
        (3, 0, "0 apart"), (3, window + 1, "apart"), (3, -hop, "apart"),
        (4, bands + 1, "bands"), (5, 0, "its points"), (5, size // 2, "its points"),
        (6, points + 1, ""), (6, 0, "its points"), (6, -1, "its points"),
    ):  # fmt: skip
        bad({word: value}, said)
    cosines = 8 + window // 2
    counts = cosines + size // 2
    rises = counts + bands + 1
    bad({8: -1}, "weight of a sample")
    for word in 8193, 0x8000, 8193 << 16, 8192 | 200 << 16, 5800 | 5800 << 16:
        bad({cosines + 3: word}, "cosine")
    for value in -1, points + 1, 1 << 30:
        bad({counts + 2: value}, "points of a band")
    bad({counts + bands: parts.tables[at + counts + bands] - 1}, "points of no band")
    bad({rises: 257}, "weight of a point")
    # All points in the first band, and all of them rise to its peak.
    worst = {counts: points} | {counts + i: 0 for i in range(1, bands + 1)}
    worst |= {rises + i: 256 | 256 << 16 for i in range(points + 1 >> 1)}
    bad(worst, "weights of a band")


def test_metadata_of_signals_that_do_not_fit():
    """They count as absent, whatever JSON can hold."""
    huge = 10**400
    five = {name: [huge] * 5 for name in ("mean", "std", "unit")}
    for given in five, {"mean": [1e999] * 5}, {"std": [0] * 5, "mean": "five"}, 5:
        found = modelfile.frames_of({"frames": given}, 30, 5, (5, 5), (5, 1))
        assert (found.mean, found.std, found.unit) == (None, None, None)
    sound = {"rate": 8000, "window": 256, "hop": 80, "bands": 5, "low": 20, "high": 4000}
    for name in sound:
        for value in (huge, 1e999, -1, True, None, "a"):
            meta = {"sound": {**sound, "high": 0, name: value}}
            assert modelfile.frames_of(meta, 30, 5, (5, 5), (5, 1)).sound is None
    assert modelfile.frames_of({"sound": sound}, 30, 5, (5, 5), (5, 1)).sound


def test_the_limits_are_those_of_the_page(on_board, good):
    """Each "a to b" in the steps' tables of docs/format.md is refused one beyond either end."""
    kinds = models.BERT, models.BART, "llama" + models.FOUR, models.SIGNAL
    files = [Parts.of(good), *(Parts.of(made(kind)) for kind in kinds)]
    rows = documented_rows("format.md")
    tried = 0
    for op, fields in rows.items():
        for name, kind, text in fields:
            limits = re.match(r"(?:.*, )?(-?[\d^]+) to (-?[\d^ -]+)", text)
            if not limits or kind == "o":
                continue
            low, high = (eval(t.replace("^", "**")) for t in limits.groups())
            # Pooling has its limits where inputs are whole.
            parts = next(f for f in files[op == "pool" :] if f"{op} 0 " in str(f.where))
            for value in (low - 1, high + 1):
                words = parts.program[:]
                words[operand(parts, op, name)] = value
                refused(on_board, parts.data(words), f"is {value}, not {low} to {high}")
                tried += 1
    assert tried >= 36


# Mutated files: tools/sweeps/fuzz.py makes them, runs them on both sides, and compares


@pytest.fixture
def on_micropython():
    """Whether cases run there, too: with native kernels, where this port has them."""
    return not models.no_micropython()


def swept(folder, todo, board: bool) -> fuzz.Totals:
    totals = fuzz.Totals()
    while some := list(islice(todo, fuzz.BATCH)):
        for case in fuzz.sweep(totals, some, folder, board):
            pytest.fail(f"case {case.index} ({case.kind}, {case.change}): {case.failure}")
    return totals


@pytest.mark.parametrize("count", [150, pytest.param(20_000, marks=pytest.mark.slow)])
def test_mutated_files(tmp_path, on_micropython, count):
    """Each ends in an Error or a run that equals the simulator's; no word outside is touched."""
    todo = fuzz.cases(0, count, 6, fuzz.ALL, fuzz.WEIGHTED)
    totals = swept(tmp_path, todo, on_micropython)
    sums = Counter()
    for key, n in totals.outcomes.items():
        sums[key.rpartition("/")[2]] += n
    assert totals.done == count and not sums["failed"]
    assert sums["ran"] > count // 5 and sums["refused"] > count // 3, sums
    assert sums["too large"] + sums["refused in other words"] < count // 50
    assert totals.plain > count // 50
    if on_micropython:
        assert totals.native > count // 5
        assert totals.words > 1000 * totals.native


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS + SPECIAL)
def test_all_mutated_programs(tmp_path, on_micropython, kind):
    """Each word of the program becomes each of its neighbours."""
    parts = Parts.of(made(kind))

    def todo():
        index = 0
        for at, old in enumerate(parts.program):
            for value in neighbours(old):
                data = parts.data([*parts.program[:at], value, *parts.program[at + 1 :]])
                yield fuzz.Case(index, kind, "neighbour", data), random.Random(index)
                index += 1

    swept(tmp_path, todo(), on_micropython)


@pytest.mark.parametrize(
    "said",
    ["crash", "guard", "constants", "exception", "another result", "a hang", "another refusal"],
)
def test_the_fuzzer_notices(tmp_path, families, monkeypatch, said):
    """What it must find is put there: each is a failure of the case that did it, of no other."""
    script = micropython.BOARD
    change = {
        "crash": "    import sys\n    sys.exit(3)\n",
        "guard": "    guarded[0][0][3] += 1\n",
        "constants": "    m._memory[1][2] += 1\n" if "viper" in families else "    1 / 0\n",
        "exception": "    [][1]\n",
        "another result": "    m.vocab = 2\n",
        "a hang": "    while True:\n        pass\n",
        "another refusal": "    raise Error('no')\n",
    }[said]
    monkeypatch.setattr(micropython, "BATCH_LIMIT", 3)
    body = "def spoil(m, name):\n    if name != 2:\n        return\n" + change
    monkeypatch.setattr(
        micropython, "BOARD",
        script.replace("guarded = []", "guarded = []\n\n\n" + body).replace(
            "        result = work(m", "        spoil(m, name)\n        result = work(m"
        ),
    )  # fmt: skip
    some = [(fuzz.Case(i, "llama", "none", made("llama")), random.Random(i)) for i in range(5)]
    failed = fuzz.sweep(fuzz.Totals(), some, tmp_path, True)
    assert [case.index for case in failed] == [2], failed


# The pages


@cache
def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


@cache
def documented_rows(name: str) -> dict[str, list[tuple[str, str, str]]]:
    """op: its fields (name, type, what) as a page's tables list them."""
    out: dict[str, list[tuple[str, str, str]]] = {}
    for title, body in re.findall(r"^#### \d+ (\w+)\n(.*?)(?=^##)", page(name), re.M | re.S):
        rows = re.findall(r"^\| (\d+) \| (\w+) \| ([ow-]) \| (.*?) \|$", body, re.M)
        assert [int(r[0]) for r in rows] == list(range(len(rows)))
        out[title] = [(r[1], r[2], r[3]) for r in rows]
    return out


@cache
def documented_steps() -> dict[int, tuple[str, list[str]]]:
    """number: (name, names of the fields)."""
    numbers = dict(re.findall(r"^#### (\d+) (\w+)$", page("format.md"), re.M))
    rows = documented_rows("format.md")
    return {int(n): (op, [f for f, _, _ in rows[op]]) for n, op in numbers.items()}


def test_every_step_is_on_the_pages():
    rows = documented_rows("format.md")
    numbers = {n: op for n, (op, _) in documented_steps().items()}
    assert numbers == {n: op for n, (op, _, _) in program.OPS.items()}
    for op, letters, _ in program.OPS.values():
        assert "".join(kind for _, kind, _ in rows[op]) == letters
        assert f"\n### {op}\n" in page("numerics.md")


def test_header_words_are_on_the_page(good):
    rows = re.findall(r"^\| (\d+) \| (\w+) \| ", page("format.md"), re.M)
    named = {name: int(i) for i, name in rows[: rows.index(("17", "sound")) + 1]}
    m = modelfile.parse(good)
    for name in ("context", "batch", "stride", "vocab", "logit_bits", "bos", "several"):
        assert m.program[named[name]] == getattr(m, name)
    words = [int(m.program[named[n]]) for n in ("caches", "body", "head")]
    assert 24 + len(m.ends) + sum(words) == m.program.size
    assert m.program[named["ends"]] == len(m.ends)
    assert m.program[24 : 24 + len(m.ends)].tolist() == list(m.ends)
    assert m.program[named["result"]] == (16 + m.stride) << 6
    tasks = ["generate", "generate", "classify", "embed", "translate", "classify", "answer"]
    tasks += ["translate", "generate", "classify", "classify", "generate", "translate", "tag"]
    tasks += ["classify", "predict", "classify"]
    for kind, task in zip(KINDS + SPECIAL, tasks, strict=True):
        m = modelfile.parse(made(kind))
        assert (m.task, m.program[named["results"]]) == (task, m.outputs)
        outputs = {"classify": 3, "predict": 3, "tag": 3, "embed": 8, "answer": 2}
        assert m.outputs == outputs.get(task, 13)
        assert (m.frames is not None) == (kind in (models.SIGNAL, models.FORECAST, models.SOUND))
        assert (m.program[named["sound"]] > 0) == (kind == models.SOUND)
        assert m.program[named["whole"]] == m.whole == (task != "generate")
        assert (m.program[named["encoder"]] > 0) == (m.body > 0) == (task == "translate")
        assert (m.program[named["image"]] > 0) == (models.VIT in kind)


def test_sizes_are_those_of_the_page(good):
    m = modelfile.parse(good)
    assert m.arena_bytes(8) == 4 * (16 + m.batch * m.stride + 8 + 2)
    assert m.arena_bytes(2) == 4 * (16 + 2 * m.stride + max(2, 0) + 2)
    heads, size, layers = 1, 4, 2
    assert m.cache_bytes(8) == layers * 4 * heads * (8 // 2 * size + (size + 3) // 4 * 8 + 8)
    assert m.program[24 + len(m.ends)] == heads * (size + 2 * ((size + 3) // 4) + 2)
    narrow = modelfile.parse(made("llama" + models.NARROW))
    words = narrow.program[24 + len(narrow.ends)]
    assert words == heads * size // 2 + 2 * heads * ((size + 7) // 8 + 1)
    for context, keys in ((8, 2), (6, 2), (2, 1)):
        # The last keys may leave half of their words empty.
        words = heads * (keys * size + 4 * keys * ((size + 7) // 8 + 1))
        assert narrow.cache_bytes(context) == layers * 4 * words


def hexdump(data: bytes) -> None:
    for at in range(0, len(data), 16):
        print(f"{at:08x} ", data[at : at + 16].hex(" "))


def encode_empty() -> bytes:
    none = np.empty(0, np.int32)
    return modelfile.encode(Compiled(none, none, none), b"", {})


def matrix(rows: list[list[float]]) -> Matrix:
    return quantize([np.array(rows)])


def matrix4(rows: list[list[float]], span: int) -> Matrix4:
    return stacked([nearest(np.array(rows), span)])


def plain(x):
    """numpy to Python numbers."""
    if isinstance(x, tuple):
        return tuple(plain(v) for v in x)
    return x.tolist() if isinstance(x, np.ndarray | np.generic) else x


class Bench:
    """Runs steps of a made-up program, whose fields a page names, on frames."""

    context = 2

    def __init__(self, family: str) -> None:
        self.family = family

    def run(self, steps, frames, source=0, signal=()):
        """Frames after the steps [(op, fields)]; (frames, cache words) where there is a cache.

        source: positions of a translation's source. signal: rows of numbers.
        A Matrix goes to the weights, and so does a list that is a vector; others to the tables,
        also of a pair: the operand is that word of the list.
        """
        tables: list[int] = []
        weights: list[int] = []
        runs: list[int] = []
        stride, n = len(frames[0]), len(frames)
        listed = []
        shape = None
        documented = dict(documented_steps().values())
        letters = {op: kinds for op, kinds, _ in program.OPS.values()}
        for op, fields in steps:
            assert list(fields) == documented[op]
            if op == "store":
                shape = [fields[k] for k in ("heads", "size", "key_bits", "value_bits")]
            record = []
            for (name, v), kind in zip(fields.items(), letters[op], strict=True):
                if kind == "w":
                    words = v if isinstance(v, list) else v.words().reshape(-1).tolist()
                    runs += [len(weights) << 6 | regions.WEIGHTS, len(words)]
                    v = len(weights) << 6 | regions.WEIGHTS
                    if self.family == "portable":
                        v = len(runs) - 2 << 6 | regions.RUNS
                    weights += [w & 0xFFFFFFFF for w in words]
                elif isinstance(v, list | tuple):
                    words, at = v if isinstance(v, tuple) else (v, 0)
                    v = len(tables) + at << 6 | regions.TABLES
                    tables += words
                elif name == "cache":
                    v = regions.CACHE
                elif name == "scores":
                    v = 16 + n * stride << 6
                elif kind == "o" and v:
                    v = 16 + v << 6
                record.append(v)
            listed.append((op, record))
        size = regions.HEADER + n * stride + 16
        if self.family == "portable":
            cache = self._cache_words(shape)
            arena = array("i", [0, n, self.context, stride, n, source] + [0] * 10)
            arena.extend(sum(frames, []))
            arena.extend([0] * (size - len(arena)))
            memory = [arena, tables, runs, weights, array("i", [0] * cache)]
            for op, record in listed:
                getattr(portable, op)(record, [*memory, sum(signal, [])])
            flat = arena[16 : 16 + arena[1] * stride].tolist()
            out = [flat[i : i + stride] for i in range(0, len(flat), stride)]
            return (out, memory[4].tolist()) if shape else out
        memory = Memory(
            self.context, 4, 0, np.array(tables, np.int64), np.array(weights, np.uint32),
            end=n, source=source, frames=np.array(frames, np.int64),
            signal=np.array(signal, np.int64),
        )  # fmt: skip
        for op, record in listed:
            STEPS[op](memory, **dict(zip(documented[op], record, strict=True)))
        out = memory.frames.tolist()
        return (out, self._packed(memory.caches[regions.CACHE], *shape[2:])) if shape else out

    def _cache_words(self, shape):
        if not shape:
            return 0
        heads, size, key_bits, value_bits = shape
        keys = -(-self.context // (2 if key_bits == 12 else 4)) * size
        return heads * (keys + -(-size * value_bits // 32) * self.context + self.context)

    def _packed(self, layer, key_bits, value_bits) -> list[int]:
        """The cache of the simulator as the words that format.md defines."""
        out = []
        heads, positions, size = layer.k.shape
        some = 2 if key_bits == 12 else 4
        k = (layer.k >> 12 - key_bits) + (1 << key_bits - 1)
        v = layer.v + 128 if value_bits == 8 else layer.v + 120 >> 4
        for h in range(heads):
            for p in range(0, positions, some):
                for i in range(size):
                    lanes = k[h, p : p + some, i]
                    out.append(sum(int(x) << 32 // some * j for j, x in enumerate(lanes)))
        some = 32 // value_bits
        for h in range(heads):
            for i in range(0, size, some):
                for p in range(positions):
                    lanes = v[h, p, i : i + some]
                    out.append(sum(int(x) << value_bits * j for j, x in enumerate(lanes)))
        for h in range(heads):
            for p in range(positions):
                key = layer.km[h, p] | layer.ke[h, p] << 11
                out.append(key | (layer.vm[h, p] | layer.ve[h, p] << 11) << 16)
        return np.array(out, np.int64).astype(np.uint32).view(np.int32).tolist()


def simulator_functions() -> dict:
    """The functions that the pages name, as the simulator has them."""

    def column(*v):
        return [np.array(x, np.int64) for x in v]

    def normalize(v, floor):
        y, a, s = integers.normalize(np.array(v, np.int64), floor)
        return plain((y, a[0], s[0]))

    return {
        "shift": lambda v, s: plain(integers.shift(*column(v, s))),
        "rescale": lambda *a: plain(integers.rescale(*column(*a))),
        "normalize": normalize,
        "quantize": lambda v, a, n: plain(integers.round_to(*column(v, a), n)),
        "quantize4": lambda v, a: plain(integers.round_to_4(*column(v, a))),
        "pack_scale": lambda a: plain(integers.pack_scale(np.array(a))),
        "exp2": lambda d: plain(integers.exp2(np.array(d), exp2_table().astype(np.int64))),
        "run": Bench("simulator").run,
    }


def portable_functions() -> dict:
    """The same, as the portable kernels have them."""

    def normalize(v, floor):
        v = list(v)
        a, s = portable._normalize(v, 0, len(v), floor)
        return v, a, s

    def quantize(v, a, n):
        v = list(v)
        assert portable._quantize(v, 0, len(v), a, n) == sum(v)
        return v

    def quantize4(v, a):
        v = list(v)
        portable._quantize4(v, 0, len(v), a)
        return v

    return {
        "shift": portable._shift,
        "rescale": portable._rescale,
        "normalize": normalize,
        "quantize": quantize,
        "quantize4": quantize4,
        "pack_scale": portable._pack,
        "run": Bench("portable").run,
    }


def xorshift(x: int) -> int:
    """A step of the generator, as the sampler's kernel takes it."""
    record = [0, 2, 1, 1, 19, 32768, x, 0]
    portable.sample(record, [[0, 0], exp2_table().tolist()])
    return record[6] & 0xFFFFFFFF


NAMES = {
    "encode_empty": encode_empty,
    "float_parts": float_parts,
    "hexdump": hexdump,
    "matrix": matrix,
    "matrix4": matrix4,
    "powers": exp2_table().tolist(),
    "probabilities": probabilities.probabilities,
    "sampling": sampling.sampling,
    "silu": activation_table("silu").tolist(),
    "tanh": activation_table("tanh").tolist(),
    "costs": beams.costs,
    "log2": beams.log2,
    "seed_word": sampling.seed_word,
    "xorshift": xorshift,
}


@pytest.mark.parametrize("family", [simulator_functions, portable_functions])
@pytest.mark.parametrize("name", ["format.md", "numerics.md"])
def test_the_examples_on_the_pages(name, family):
    names = {**simulator_functions(), **NAMES, **family()}
    blocks = re.findall(r"^```\n(>>> .*?)^```$", page(name), re.M | re.S)
    text = "\n".join(blocks)
    test = doctest.DocTestParser().get_doctest(text, names, name, name, 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not said, "".join(said)
    assert len(test.examples) >= 3


def test_each_example_is_in_a_block_that_runs():
    for name in ("format.md", "numerics.md"):
        text = page(name)
        inside = re.findall(r"^```\n(>>> .*?)^```$", text, re.M | re.S)
        assert sum(b.count(">>> ") for b in inside) == text.count(">>> ")


def test_a_file_that_changes_while_it_is_loaded():
    """A tokenizer's section is read twice: the second time it must be what was checked."""
    section = random.Random(1).randbytes(700)
    for at in (0, 300, 699):
        file = bytearray(section)
        held = bytearray(section)
        regions.reread(io.BytesIO(file), (0, 700, zlib.crc32(section)), held)
        assert held == section
        file[at] ^= 1
        for data in (bytes(file), section[:at]):
            with pytest.raises(Error, match="has changed while it was read"):
                regions.reread(io.BytesIO(data), (0, 700, zlib.crc32(section)), bytearray(section))
