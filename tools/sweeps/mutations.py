"""Model files taken apart, changed where they are something, and put together again.

The checksums are made good, so that a change reaches what lies behind them.
"""

from __future__ import annotations

import contextlib
import json
import random
import struct
from binascii import crc32
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from picoformer import Error
from picoformer.device import program, regions
from tools.sweeps.small_models import KINDS, OTHERS, SPECIAL, made

WORD = 1 << 31
EXTREMES = (0, -1, 1, WORD - 1, -WORD)


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
        where = ["header"] * regions.caches(words) + ["caches"] * words[11]
        for op, _ in program.walk(words):
            name, letters, _ = program.OPS[op]
            where += ["op", "fields", *(f"{name} {i} {c}" for i, c in enumerate(letters))]
        return cls(raw[0], words, tables, raw[3], raw[4], where)

    def data(self, words: list[int] | None = None, tables: list[int] | None = None) -> bytes:
        words, tables = words or self.program, tables or self.tables
        packed = [struct.pack(f"<{len(w)}i", *w) for w in (words, tables)]
        return frame([self.meta, *packed, self.tokenizer, self.weights])


def frame(sections: list[bytes], version: int = 3, gap: int = 0) -> bytes:
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
    return [(i - 2, words[i - 1] + 2) for _, i in program.walk(words)]


def change_head(p: Parts, rng: Random) -> None:
    at = rng.randrange(regions.caches(p.program) + p.program[11])
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
        start = regions.caches(words) + words[11]
        ends = start + words[15], start + words[15] + words[9]
        words[15 if to < ends[0] else 9 if to < ends[1] else 10] += len(some)
        words[to:to] = some

    def drop(at: int, n: int) -> None:
        start = regions.caches(words) + words[11]
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
