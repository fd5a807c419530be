"""The viper kernels as WebAssembly, called as cores.py calls them on emulated cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cores import RAM, Core, Memory
from tools.kernels import wasm

SPACE = 1 << 22  # bytes of RAM, at most
MAP = 0x10000  # where a byte for each of its words, and for all others, says whether it is open
SIZE = SPACE // 4 + 1
TOUCHED = MAP + SIZE + 3 & ~3  # where the first address is noted that is not
LESS_U, SELECT, UNREACHABLE = 0x49, 0x1B, 0x00
FUEL = 1_000_000_000  # instructions that a call may take


class Watched(wasm.Function):
    """A function that asks the map before every access."""

    def reach(self, width: int, at: int) -> None:
        self.types.setdefault("//at", "int")
        self.types.setdefault("//word", "int")
        where, word = self.local("//at"), self.local("//word")

        def number(n: int) -> bytes:
            return bytes([wasm.CONST]) + wasm.signed(n)

        def code(*parts: int | bytes) -> None:
            for part in parts:
                self.code += part if isinstance(part, bytes) else bytes([part])

        last = number(SIZE - 1)
        code(wasm.TEE, where, number(at + width - 1 - RAM), wasm.ADD, number(2), wasm.SHR_U)
        code(wasm.TEE, word, last, wasm.GET, word, last, LESS_U, SELECT)
        code(wasm.LOADS["ptr8"], 0, wasm.unsigned(MAP), wasm.EQZ, wasm.IF, wasm.VOID)
        code(number(TOUCHED), wasm.GET, where, number(at), wasm.ADD, wasm.STORES["ptr32"], 2, 0)
        code(UNREACHABLE, wasm.END, wasm.GET, where)


class WebAssembly(Core):
    """A WebAssembly machine with the functions of viper modules."""

    def __init__(self, *sources: Path, architecture: str = "") -> None:
        reason = "the Python package wasmtime is missing"
        self.wasmtime = wasmtime = pytest.importorskip("wasmtime", reason=reason)
        config = wasmtime.Config()
        config.consume_fuel = True
        self.store = wasmtime.Store(wasmtime.Engine(config))
        pages = (RAM + SPACE) // 0x10000
        limits = wasmtime.Limits(pages, pages)
        self.memory = wasmtime.Memory(self.store, wasmtime.MemoryType(limits))
        self.kinds = [self.made(sources, kind) for kind in (wasm.Function, Watched)]

    def made(self, sources, kind):
        code = self.wasmtime.Module(self.store.engine, wasm.module(sources, kind))
        return self.wasmtime.Instance(self.store, code, [self.memory]).exports(self.store)

    def call(self, name: str, memory: Memory, *arguments: int, watch: bool = False) -> np.ndarray:
        size = 4 * len(memory.words)
        assert size <= SPACE
        self.memory.write(self.store, memory.words.tobytes(), RAM)
        if watch:
            open_ = np.zeros(SIZE, np.uint8)
            for a, b in memory.allowed:
                open_[memory.index(a) : memory.index(b)] = 1
            self.memory.write(self.store, open_.tobytes(), MAP)
            self.memory.write(self.store, bytes(4), TOUCHED)
        self.store.set_fuel(FUEL)
        try:
            result = self.kinds[watch][name](self.store, *arguments)
        except (self.wasmtime.Trap, self.wasmtime.WasmtimeError) as e:
            said = str(e).splitlines()
            if watch:
                at = self.memory.read(self.store, TOUCHED, TOUCHED + 4)
                said.append(f"it touches {int.from_bytes(at, 'little'):#x}")
            raise AssertionError(f"{name} fails: {said[-1]}") from None
        assert result is None
        return np.frombuffer(self.memory.read(self.store, RAM, RAM + size), np.uint32)
