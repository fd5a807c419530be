"""Run native kernels on emulated cores, without a board or its firmware.

mpy-cross compiles a module; the machine code of its viper and assembler functions is taken from
the .mpy and executed by unicorn (Cortex-M, RV32) or icicle-emu (Xtensa). A viper function is
called as MicroPython calls it: with a function object, a module context and a table of functions,
of which Python answers those that the kernels need; any other is a failure. Every call is checked:
the registers that the calling convention saves and the stack pointer come back as they were, the
result is None (or 0, which the assembler's caller makes a small integer), the caller's stack is
left alone, and, if asked for, every access lies in memory that was handed out. What is in RAM
afterwards is for the test to compare, whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from mpyfile import FUN_TABLE, Function, functions

DEVICE = Path(__file__).resolve().parents[2] / "device" / "picoformer"
WINDOWS = DEVICE / "kernels_windows.py"  # that all families have
SOUND = DEVICE / "kernels_sound.py"
KERNELS = {  # family: its modules
    "thumb": [*sorted(DEVICE.glob("kernels_thumb*.py")), WINDOWS],
    "dsp": [*sorted(DEVICE.glob("kernels_dsp*.py")), WINDOWS, DEVICE / "kernels_thumb_sound.py"],
    "rv32": [DEVICE / "kernels_rv32.py", WINDOWS, SOUND],
    "viper": [*sorted(DEVICE.glob("kernels_viper*.py")), WINDOWS, SOUND],
}

CODE = 0x10000000  # where flash is on an RP2040; what is called returns here
CODE_SIZE = 1 << 17
TABLES = CODE + (1 << 16)  # what MicroPython has in its heap or its own flash
TRAPS = TABLES + (1 << 15)  # the functions of its table, 16 bytes apart
RAM = 0x20000000
STACK = 0x20400000  # its end
PAGE = 1 << 14  # RAM comes in pages, in bytes
STACK_SIZE = 1 << 12
POISON = 0xEBADF000  # a pointer that nothing may follow
NONE = POISON + 6
HANDLES = POISON + 0x100  # objects that are arrays: the one at argument i
SECONDS = 20  # that a call may take

# py/nativeglue.c's table: the names of its functions; the first three are constants.
TABLE = (
    "None", "False", "True", "native_from_obj", "native_to_obj", "swap_globals", "load_name",
    "load_global", "load_build_class", "load_attr", "load_method", "load_super_method",
    "store_name", "store_global", "store_attr", "obj_subscr", "obj_is_true", "unary_op",
    "binary_op", "new_tuple", "new_list", "new_dict", "new_set", "set_store", "list_append",
    "dict_store", "make_function", "call_function", "call_method", "call_method_var", "getiter",
    "iternext", "nlr_push", "nlr_pop", "raise", "import_name", "import_from", "import_all",
    "new_slice", "unpack_sequence", "unpack_ex", "delete_name", "delete_global", "new_closure",
    "arg_check_num", "setup_code_state", "small_int_floor_divide", "small_int_modulo",
    "yield_from", "setjmp",
)  # fmt: skip


def signed(word: int) -> int:
    return (word & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)


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

    def index(self, address: int) -> int:
        return (address - RAM) >> 2

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
        at = self.index(address)
        self.words[at : at + len(w)] = w


class Core:
    """A core with the native functions of modules in its flash; heirs say which one.

    ARGUMENTS, SAVED, LOST: registers of arguments, those that a call must keep, and those that a
    call of MicroPython's functions may change. TRAP: the machine code of such a function.
    """

    ARGUMENTS: tuple[str, ...]
    SAVED: tuple[str, ...] = ()
    LOST: tuple[str, ...] = ()
    RESULT: str  # the register of a call's result
    ANSWER: str  # and of a called function's
    ASKED: tuple[str, ...]  # and of such a one's arguments
    TRAP = b""
    thumb = 0  # the lowest bit of an address of code

    def __init__(self, *sources: Path, architecture: str) -> None:
        """architecture: as mpy-cross names it."""
        self.start()
        self.rng = np.random.default_rng(len(sources))
        self.at: dict[str, int] = {}
        self.size: dict[str, int] = {}
        self.object: dict[str, int] = {}  # of a viper function
        self.bad: list[str] = []
        self.arrays: tuple[int, ...] = ()
        self.seconds = SECONDS
        traps = [NONE, POISON + 14, POISON + 22]
        traps += [(TRAPS + 16 * i) | self.thumb for i in range(3, len(TABLE))]
        # The table, the arguments of a call and each function's object and context.
        words = [*traps, *range(HANDLES, HANDLES + 32, 8)]
        self.handles = TABLES + 4 * len(traps)
        for i in range(3, len(TABLE)):
            self.write(TRAPS + 16 * i, self.TRAP)
        end = CODE + 16
        where: dict[Function, int] = {}  # a function may have two names
        for name, f in functions(*sources, architecture=architecture).items():
            if f not in where:
                where[f] = end
                self.write(end, f.code)
                end += (len(f.code) + 31) & ~15
            self.at[name], self.size[name] = where[f], len(f.code)
            if f.kind == "viper":
                at = TABLES + 4 * len(words)
                self.object[name] = at
                words += [POISON, at + 16, POISON, POISON]  # type, context, children, code
                words += [POISON, POISON, POISON, at + 32]  # type, globals, strings, constants
                words += [TABLES if c == FUN_TABLE else POISON for c in f.constants]
        assert end < TABLES < TABLES + 4 * len(words) < TRAPS
        self.write(TABLES, struct.pack(f"<{len(words)}I", *words))

    # What a heir has

    def start(self) -> None:
        """Map code, tables and stack."""
        raise NotImplementedError

    def ram(self, words: np.ndarray) -> None:
        """Map so much RAM, and fill it."""
        raise NotImplementedError

    def write(self, address: int, data: bytes) -> None:
        raise NotImplementedError

    def read(self, address: int, n: int) -> bytes:
        raise NotImplementedError

    def get(self, register: str) -> int:
        raise NotImplementedError

    def set(self, register: str, value: int) -> None:
        raise NotImplementedError

    def run(self, name: str, closed: list[tuple[int, int]]) -> str:
        """Call the function; what the core says where it does not return, or ""."""
        raise NotImplementedError

    # What they share

    def call(self, name: str, memory: Memory, *arguments: int, watch: bool = False) -> np.ndarray:
        """Call a function; the words of RAM it left. `watch` checks every address it touches."""
        self.ram(memory.words)
        stack = STACK - 64  # what lies above belongs to the caller
        filler = self.rng.bytes(STACK_SIZE)
        self.write(STACK - STACK_SIZE, filler)
        saved = [int(v) for v in self.rng.integers(0, 1 << 32, len(self.SAVED))]
        for register, value in zip(self.SAVED, saved, strict=True):
            self.set(register, value)
        viper = name in self.object
        self.arrays = arguments
        if viper:
            arguments = self.object[name], len(arguments), 0, self.handles
        for register, value in zip(self.ARGUMENTS, arguments, strict=False):
            self.set(register, value)
        self.set("sp", stack)
        self.bad.clear()
        closed = []
        if watch:
            # Assembler reads no code; viper has constants there.
            at, end = (self.at[name], self.at[name] + self.size[name]) if viper else (CODE, CODE)
            closed = [*memory.gaps(), (stack, STACK), (CODE, at), (end, TABLES)]
            closed = [(a, b) for a, b in closed if a < b]
        said = self.run(name, closed)
        assert not said, f"{name} fails: {said}"
        assert not self.bad, f"{name} touches {self.bad[:4]}"
        result = self.get(self.RESULT)
        assert result == (NONE if viper else 0), f"{name} returns {result:#x}"
        assert self.get("sp") == stack, "the stack pointer has moved"
        assert [self.get(r) for r in self.SAVED] == saved, "registers are not restored"
        above = self.read(stack, STACK - stack)
        assert above == filler[-len(above) :], "the caller's stack is written to"
        return np.frombuffer(self.read(RAM, 4 * len(memory.words)), np.uint32)

    def answer(self, address: int) -> str:
        """Do what a function of MicroPython's table does; what is wrong with the call, or ""."""
        if address & 15 or not 3 <= (address - TRAPS) >> 4 < len(TABLE):
            return f"goes to {address:#x}"
        what = TABLE[(address - TRAPS) >> 4]
        a, b = (self.get(r) for r in self.ASKED)
        if what == "native_from_obj" and b in (5, 6, 7):  # ptr8, ptr16, ptr32
            i, odd = divmod(a - HANDLES, 8)
            if odd or not 0 <= i < len(self.arrays):
                return f"takes {a:#x} for an array"
            result = self.arrays[i]
        elif what == "small_int_floor_divide":
            if signed(b) in (0, -1):
                return f"divides by {signed(b)}"
            result = signed(a) // signed(b)
        else:
            return f"calls {what}({a:#x}, {b:#x})"
        for register, value in zip(
            self.LOST, self.rng.integers(0, 1 << 32, len(self.LOST)), strict=True
        ):
            self.set(register, int(value))
        self.set(self.ANSWER, result & 0xFFFFFFFF)
        return ""


class _Unicorn(Core):
    NAMES: dict[str, str] = {}  # registers that unicorn names otherwise
    LINK: str

    def start(self) -> None:
        reason = "the Python package unicorn is missing"
        self.unicorn = pytest.importorskip("unicorn", reason=reason)
        self.uc = uc = self.make()
        uc.mem_map(CODE, CODE_SIZE, self.unicorn.UC_PROT_READ | self.unicorn.UC_PROT_EXEC)
        self.mapped = 0  # bytes of RAM
        uc.mem_map(STACK - STACK_SIZE, STACK_SIZE)
        self.said = ""
        last = TRAPS + 16 * len(TABLE)
        uc.hook_add(self.unicorn.UC_HOOK_CODE, self.trapped, None, TRAPS, last)

    def make(self):
        """A core of unicorn; it sets `constants` too."""
        raise NotImplementedError

    def number(self, register: str) -> int:
        register = self.NAMES.get(register, register)
        return getattr(self.constants, f"{self.prefix}{register.upper()}")

    def ram(self, words: np.ndarray) -> None:
        size = 4 * len(words)
        if size != self.mapped:
            if self.mapped:
                self.uc.mem_unmap(RAM, self.mapped)
            self.uc.mem_map(RAM, size)
            self.mapped = size
        self.uc.mem_write(RAM, words.tobytes())

    def write(self, address: int, data: bytes) -> None:
        self.uc.mem_write(address, data)

    def read(self, address: int, n: int) -> bytes:
        return bytes(self.uc.mem_read(address, n))

    def get(self, register: str) -> int:
        return self.uc.reg_read(self.number(register))

    def set(self, register: str, value: int) -> None:
        self.uc.reg_write(self.number(register), value)

    def change(self, address: int, code: bytes) -> None:
        """Write other instructions where some may have run."""
        self.write(address, code)
        self.uc.ctl_remove_cache(address, address + len(code))

    def trapped(self, uc, address: int, _size, _data) -> None:
        if address & 15 == 0:
            self.said = self.answer(address)
            if self.said:
                uc.emu_stop()

    def run(self, name: str, closed: list[tuple[int, int]]) -> str:
        uc = self.uc
        start = self.at[name]

        def touched(_uc, _kind, address, _size, _value, _data):
            self.bad.append(f"{address:#x}, by the instruction at {self.get('pc') - start:#x}")

        # Nobody is called for what may be touched: that would take most of the time.
        kinds = self.unicorn.UC_HOOK_MEM_READ | self.unicorn.UC_HOOK_MEM_WRITE
        hooks = [uc.hook_add(kinds, touched, None, a, b - 1) for a, b in closed]
        self.set(self.LINK, CODE | self.thumb)
        self.said = ""
        try:
            uc.emu_start(start | self.thumb, CODE, timeout=round(self.seconds * 1_000_000))
        except self.unicorn.UcError as e:
            return f"{e}, at {self.get('pc') - start:#x}"
        finally:
            for hook in hooks:
                uc.hook_del(hook)
        if self.said:
            return self.said
        return "" if self.get("pc") == CODE else "it does not return"


class Cortex(_Unicorn):
    """model: "M0" and so on."""

    ARGUMENTS = "r0", "r1", "r2", "r3"
    SAVED = tuple(f"r{i}" for i in range(4, 12))
    LOST = "r1", "r2", "r3", "r12"
    RESULT = ANSWER = "r0"
    ASKED = "r0", "r1"
    LINK = "lr"
    TRAP = b"\x70\x47"  # bx lr
    prefix = "UC_ARM_REG_"
    thumb = 1

    def __init__(self, *sources: Path, model: str = "M0", architecture: str = "armv6m") -> None:
        self.model = model
        super().__init__(*sources, architecture=architecture)

    def make(self):
        from unicorn import arm_const, unicorn_const

        self.constants = arm_const
        mode = unicorn_const.UC_MODE_THUMB | unicorn_const.UC_MODE_MCLASS
        uc = self.unicorn.Uc(unicorn_const.UC_ARCH_ARM, mode)
        uc.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_CORTEX_{self.model}"))
        return uc


class RiscV(_Unicorn):
    ARGUMENTS = "a0", "a1", "a2", "a3"
    SAVED = tuple(f"s{i}" for i in range(12)) + ("gp", "tp")
    LOST = tuple(f"a{i}" for i in range(1, 8)) + tuple(f"t{i}" for i in range(7))
    RESULT = ANSWER = "a0"
    ASKED = "a0", "a1"
    LINK = "ra"
    TRAP = b"\x82\x80"  # ret
    prefix = "UC_RISCV_REG_"

    def make(self):
        from unicorn import riscv_const, unicorn_const

        self.constants = riscv_const
        return self.unicorn.Uc(unicorn_const.UC_ARCH_RISCV, unicorn_const.UC_MODE_RISCV32)


class Xtensa(Core):
    """With windows of registers, as on the ESP32, of which icicle has a simple model.

    A caller's registers are out of a function's reach; what must not be touched is where the
    window is saved. Memory that is closed has no rights there, so that nothing is called for it.
    `count`: instructions of the last call.
    """

    ARGUMENTS = "a10", "a11", "a12", "a13"
    RESULT = ANSWER = "a10"
    ASKED = "i2", "i3"
    LOST = "a8", "a9", "a11", "a12", "a13", "a14", "a15"

    def start(self) -> None:
        reason = "the Python package icicle-emu is missing"
        self.icicle = pytest.importorskip("icicle", reason=reason)
        self.rights = self.icicle.MemoryProtection
        self.vm = vm = self.icicle.Icicle("xtensa")
        vm.mem_map(CODE, CODE_SIZE, self.rights.ExecuteRead)
        vm.mem_map(STACK - STACK_SIZE, STACK_SIZE, self.rights.ReadWrite)
        self.mapped = 0
        self.write(CODE, b"\xe0\x08\x00")  # callx8 a8
        self.stops = {CODE + 3, *range(TRAPS + 48, TRAPS + 16 * len(TABLE), 16)}
        for address in self.stops:
            vm.add_breakpoint(address)

    def ram(self, words: np.ndarray) -> None:
        size = 4 * len(words)
        if size != self.mapped:
            if self.mapped:
                self.vm.mem_unmap(RAM, self.mapped)
            self.vm.mem_map(RAM, size, self.rights.ReadWrite)
            self.mapped = size
        self.write(RAM, words.tobytes())

    def write(self, address: int, data: bytes) -> None:
        self.vm.mem_write(address, data)

    def read(self, address: int, n: int) -> bytes:
        return self.vm.mem_read(address, n)

    def get(self, register: str) -> int:
        return self.vm.reg_read("a1" if register == "sp" else register)

    def set(self, register: str, value: int) -> None:
        self.vm.reg_write("a1" if register == "sp" else register, value)

    def run(self, name: str, closed: list[tuple[int, int]]) -> str:
        vm = self.vm
        rights = self.rights
        code = [CODE <= a < TABLES for a, _ in closed]
        for (a, b), c in zip(closed, code, strict=True):
            vm.mem_protect(a, b - a, rights.ExecuteOnly if c else rights.NoAccess)
        stack = self.get("sp")
        self.set("a8", self.at[name])
        vm.pc = CODE
        before = vm.icount
        vm.icount_limit = before + round(self.seconds * 20_000_000)
        try:
            while True:
                status = vm.run()
                if status == self.icicle.RunStatus.InstructionLimit:
                    return "it does not return"
                # After many calls icicle may run past a breakpoint, into an instruction of zeros.
                if status != self.icicle.RunStatus.Breakpoint and vm.pc not in self.stops:
                    e = f"{vm.exception_code} {vm.exception_value:#x}"
                    return f"{e}, at {vm.pc - self.at[name]:#x}"
                if vm.pc == CODE + 3:
                    self.set("a10", self.get("o2"))  # which belongs to the call
                    return ""
                said = self.answer(vm.pc)
                if said:
                    return said
                # Where windows are saved: the caller's, and what is left of this one.
                for end in self.get("sp"), stack - 16:
                    self.write(end - 16, self.rng.bytes(16))
                vm.pc = self.get("a0")
        finally:
            self.count = vm.icount - before
            for (a, b), c in zip(closed, code, strict=True):
                vm.mem_protect(a, b - a, rights.ExecuteRead if c else rights.ReadWrite)


MODELS = {  # name: (class, mpy-cross's architecture, what else the class takes)
    "M0": (Cortex, "armv6m", {"model": "M0"}),
    "M3": (Cortex, "armv7m", {"model": "M3"}),
    "M4": (Cortex, "armv7em", {"model": "M4"}),
    "M7": (Cortex, "armv7emdp", {"model": "M7"}),
    "M33": (Cortex, "armv7emsp", {"model": "M33"}),
    "RV32": (RiscV, "rv32imc", {}),
    "Xtensa": (Xtensa, "xtensawin", {}),
}


@cache
def core(family: str, name: str) -> Core:
    """A core with a family of KERNELS, and one of MODELS; or "WebAssembly"."""
    if name == "WebAssembly":
        from wasmcore import WebAssembly

        return WebAssembly(*KERNELS[family])
    kind, architecture, more = MODELS[name]
    return kind(*KERNELS[family], architecture=architecture, **more)
