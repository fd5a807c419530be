"""What a model takes of a board's heap, object by object, before it is there.

The board's own loader loads the model here, on the PC, and the objects that it leaves behind are
counted by MicroPython's rules (heap.py): what the loader changes changes the prediction with it.
"""

from __future__ import annotations

import io
from array import array
from dataclasses import dataclass, field, replace
from typing import Any

from ..compile.figures import Figures
from ..device import binder, flash, loader, modelfile, program, regions, weights
from ..device import kernels_portable as portable
from ..device.model import Model
from .heap import Layout

_BLOCK = 4096  # bytes of a block of littlefs


@dataclass(frozen=True)
class Footprint:
    """Bytes of the heap that the objects of a model take, without code.

    parts: what stays while the model is there, by name; checking, binding: all of the model that
    is there at the two moments of loading when most is; pieces: the large single allocations, of
    the caches the largest; caches: each; transient: what one run of the model takes besides.
    """

    parts: dict[str, int]
    checking: int
    binding: int
    transient: int
    pieces: dict[str, int] = field(default_factory=dict)
    caches: list[int] = field(default_factory=list)

    @property
    def large(self) -> list[int]:
        """All the large single allocations."""
        return [n for k, n in self.pieces.items() if k != "cache"] + self.caches

    @property
    def resident(self) -> int:
        return sum(self.parts.values())


def littlefs_pieces(size: int) -> array[int]:
    """Offsets and bytes of the pieces of a file of `size` bytes, were it the first on the disk.

    Block n begins with as many pointers as n has zeros at its end, and one more; block 0 with
    none.
    """
    out = array("I")
    n = 0
    while size > 0:
        skip = 4 * ((n & -n).bit_length()) if n else 0
        out.extend((n * _BLOCK + skip, min(size, _BLOCK - skip)))
        size -= _BLOCK - skip
        n += 1
    return out


def _mapped(size: int) -> Any:
    """A file as the loader finds it in memory-mapped flash."""
    found: Any = object.__new__(flash.Mapped)
    found.view = memoryview(b"")
    found._path, found._size, found._head = "/", size, 0
    found._at = littlefs_pieces(size)
    found._seen, found._words = array("I", bytes(16)), bytes(16)
    return found


def resized(f: Footprint, m: Figures, context: int, layout: Layout) -> Footprint:
    """The footprint of the same model at another context, from that at the file's.

    Only three things change their size: the caches, the arena and the list of tokens.
    """
    words = m.words
    sizes = [4 * regions.cache_words(words, i, context) for i in range(words[11])]
    arena = 4 * regions.arena_words(words, context)
    parts = {
        **f.parts,
        "cache": sum(map(layout.array, sizes)),
        "arena": layout.array(arena),
        "rest": f.parts["rest"] + layout.array(2 * context) - layout.array(2 * m.context),
    }
    pieces = {**f.pieces, "arena": layout.blocks(arena)}
    caches = list(map(layout.blocks, sizes))
    pieces["cache"] = max(caches, default=0)
    more = sum(parts.values()) - f.resident
    return replace(f, parts=parts, binding=f.binding + more, pieces=pieces, caches=caches)


def footprint(data: bytes, m: Figures, context: int, place: str, layout: Layout) -> Footprint:
    """What a model takes at a context, 2 to the file's.

    data: the bytes of the file `m`; place: of the weights, "flash", "ram" or "file".
    """
    f = io.BytesIO(data)
    model: Any = object.__new__(Model)
    model._f = None
    model._mapped = _mapped(len(data)) if place == "flash" else None
    # The plain kernels relocate nothing; the arrays are as large as those of the others.
    model.weights = place
    model.in_ram = m.sizes["weights"] if place == "ram" else 0
    sections = modelfile.sections(f)
    source = weights.File(f, sections[4][0]) if place == "file" else None
    loader.fill(model, f, sections, context, portable, source, 0)
    arena, tables, _, matrices, *caches = model._space
    caches = [c for c in caches if c is not None]  # a signal's place is behind them
    lists = [model._encoder, model._body, model._head]
    # Native kernels get the address of a record, but for those whose weights come through tiles.
    method = type(layout.of)
    lists = [[(k, r if isinstance(k, method) else 0) for k, r in steps] for steps in lists]
    model._encoder, model._body, model._head = lists
    seen: set[int] = {id(model._space)}
    of = layout.of
    parts = {
        "weights": of(matrices, seen),
        "cache": sum(of(c, seen) for c in caches),
        "arena": of(arena, seen),
        "tokenizer": of(model.tokenizer, seen),
        "tables": of(tables, seen),
        "program": layout.array(4 * len(m.program)),
        "steps": sum(of(steps, seen) for steps in [*lists, *_tiled(m, source, matrices)]),
        "labels": layout.texts(model.labels) if model.labels else 0,
    }
    seen.add(id(model.labels))
    parts["rest"] = of(model, seen) + layout.listed(len(model._space))
    checking = parts["program"] + parts["tables"]
    operands = program.operands(m.words)
    binding = sum(parts.values()) + layout.array(4 * operands)
    each = [layout.blocks(4 * len(c)) for c in caches]
    pieces = {
        "arena": layout.blocks(4 * len(arena)),
        "cache": max(each, default=0),
        "tokenizer": layout.blocks(m.sizes["tokenizer"]),
        "tables": layout.blocks(m.sizes["tables"]),
        "program": layout.blocks(m.sizes["program"]),
    }
    if place == "ram":
        pieces["weights"] = layout.blocks(m.sizes["weights"])
    elif place == "file":
        pieces["weights"] = layout.blocks(4 * len(matrices))
    transient = 0 if m.task in ("generate", "translate") else layout.array(4 * m.outputs)
    return Footprint(parts, checking, binding, transient, pieces, each)


def _tiled(m: Figures, source: Any, buffer: Any) -> list[Any]:
    """The objects of the steps whose weights come through tiles, which methods stand for."""
    if source is None:
        return []
    tiles = weights.Tiles(source, buffer, 0)
    count = sum("w" in program.OPS[op][1] for op, _ in program.walk(m.words))
    return [source] + [weights.Tiled(None, tiles, 0, 0, 1, 0) for _ in range(count)]


class _InRam:
    weights = "ram"


def copied(m: Figures, room: int) -> int:
    """Bytes of the matrices that the loader copies from mapped flash into so much room."""
    runs, matrices = binder._runs(_InRam, array("i", m.program), 0)
    seen = set()
    total = 0
    starts = [matrices[i] for i in range(0, len(matrices), 2)]
    for first in starts:
        n = 4 * runs[first + 1]
        if runs[first] not in seen and n + 64 <= room - total:
            seen.add(runs[first])
            total += n + 64
    last = max(starts)
    rest = (room - total - 64) & ~3
    begun = rest if runs[last] not in seen and rest > 1024 else 0  # of the last one
    return total - 64 * len(seen) + begun
