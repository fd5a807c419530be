"""The viper kernels as WebAssembly: what the page runs on MicroPython's own memory.

A module of MicroPython's viper code becomes a WebAssembly module whose functions have the same
names and take the same addresses, as i32. Of viper it knows what the kernels use: the types int,
uint, ptr8, ptr16 and ptr32, words of 32 bits that wrap, `while` and `if`. Local variables are
WebAssembly's, so pointers never lie in memory. A shift's count is taken modulo 32, as RISC-V does.
Whole numbers of a module, as BIAS, are exported too. Whatever else there is raises Error.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from picoformer import Error

I32 = 0x7F
VOID = 0x40
WIDTHS = {"ptr8": 1, "ptr16": 2, "ptr32": 4}
TYPES = ("int", "uint", *WIDTHS)
LOADS = {"ptr8": 0x2D, "ptr16": 0x2F, "ptr32": 0x28}  # the narrow ones without a sign
STORES = {"ptr8": 0x3A, "ptr16": 0x3B, "ptr32": 0x36}
BLOCK, LOOP, IF, ELSE, END, BR, BR_IF, RETURN = 0x02, 0x03, 0x04, 0x05, 0x0B, 0x0C, 0x0D, 0x0F
GET, SET, TEE = 0x20, 0x21, 0x22
CONST, EQZ, NE = 0x41, 0x45, 0x47
ADD, SUB, MUL, DIV, REM, AND, OR, XOR, SHL, SHR, SHR_U = (
    0x6A, 0x6B, 0x6C, 0x6D, 0x6F, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76,
)  # fmt: skip
OPERATORS = {
    ast.Add: ADD, ast.Sub: SUB, ast.Mult: MUL, ast.BitAnd: AND, ast.BitOr: OR, ast.BitXor: XOR,
    ast.LShift: SHL, ast.RShift: SHR,
}  # fmt: skip
COMPARED = {  # signed
    ast.Eq: 0x46, ast.NotEq: NE, ast.Lt: 0x48, ast.Gt: 0x4A, ast.LtE: 0x4C, ast.GtE: 0x4E
}  # fmt: skip


def unsigned(n: int) -> bytes:
    """LEB128."""
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def signed(n: int) -> bytes:
    """Signed LEB128 of a word of 32 bits."""
    n = (n & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
    out = bytearray()
    while not -64 <= n < 64:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n & 127)
    return bytes(out)


def vector(items: Iterable[bytes]) -> bytes:
    items = list(items)
    return unsigned(len(items)) + b"".join(items)


def text(name: str) -> bytes:
    return unsigned(len(name)) + name.encode()


def section(kind: int, items: Iterable[bytes]) -> bytes:
    body = vector(items)
    return bytes([kind]) + unsigned(len(body)) + body


class Function:
    """A viper function: `code` is its body."""

    def __init__(self, source: Path, node: ast.FunctionDef) -> None:
        self.source = source
        self.name = node.name
        self.code = bytearray()
        self.types: dict[str, str] = {}  # of local variables, in their order
        taken = node.args
        if taken.posonlyargs or taken.kwonlyargs or taken.vararg or taken.kwarg or taken.defaults:
            self.unknown(node, "an argument that is not plain")
        for argument in taken.args:
            kind = argument.annotation
            if not isinstance(kind, ast.Name) or kind.id not in TYPES:
                self.unknown(argument, f"the argument {argument.arg} without a type of viper's")
            self.types[argument.arg] = kind.id
        self.arguments = len(taken.args)
        self.block(node.body)

    def unknown(self, node: ast.expr | ast.stmt | ast.arg, what: str) -> NoReturn:
        raise Error(
            f"{self.source.name}, line {node.lineno}: {what}; what viper code may have here, "
            "tools/kernels/wasm.py says"
        )

    def body(self) -> bytes:
        more = len(self.types) - self.arguments
        code = vector([unsigned(more) + bytes([I32])] if more else []) + bytes(self.code)
        code += bytes([END])
        return unsigned(len(code)) + code

    # Statements

    def block(self, nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.Assign):
                if len(node.targets) != 1:
                    self.unknown(node, "more than one name for a value")
                self.assign(node.targets[0], node.value)
            elif isinstance(node, ast.AugAssign):
                load = ast.copy_location(ast.BinOp(node.target, node.op, node.value), node)
                self.assign(node.target, load)
            elif isinstance(node, ast.While):
                self.loop(node)
            elif isinstance(node, ast.If):
                self.test(node.test)
                self.code += bytes([IF, VOID])
                self.block(node.body)
                if node.orelse:
                    self.code.append(ELSE)
                    self.block(node.orelse)
                self.code.append(END)
            elif isinstance(node, ast.Return) and node.value is None:
                self.code.append(RETURN)
            elif not isinstance(node, ast.Pass) and not (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                self.unknown(node, f"`{ast.unparse(node).splitlines()[0]}` is not known")

    def loop(self, node: ast.While) -> None:
        if node.orelse:
            self.unknown(node, "`else` of a loop is not known")
        self.code += bytes([BLOCK, VOID, LOOP, VOID])
        self.test(node.test)
        self.code += bytes([EQZ, BR_IF, 1])
        self.block(node.body)
        self.code += bytes([BR, 0, END, END])

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Subscript):
            kind, at = self.element(target)
            if self.value(value) not in ("int", "uint"):
                self.unknown(target, "a pointer is stored, expected int()")
            self.access(STORES[kind], WIDTHS[kind], at)
            return
        if not isinstance(target, ast.Name):
            self.unknown(target, f"nothing can be put into `{ast.unparse(target)}`")
        kind = self.value(value)
        if self.types.setdefault(target.id, kind) != kind:
            self.unknown(target, f"{target.id} is {self.types[target.id]}, and becomes {kind}")
        self.code += bytes([SET]) + self.local(target.id)

    def local(self, name: str) -> bytes:
        return unsigned(list(self.types).index(name))

    # Expressions: each leaves a word, and has a type

    def value(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant) and type(node.value) is int:
            self.code += bytes([CONST]) + signed(node.value)
            return "int"
        if isinstance(node, ast.Name) and node.id in self.types:
            self.code += bytes([GET]) + self.local(node.id)
            return self.types[node.id]
        if isinstance(node, ast.Subscript):
            kind, at = self.element(node)
            self.access(LOADS[kind], WIDTHS[kind], at)
            return "int"
        if isinstance(node, ast.Call):
            return self.cast(node)
        if isinstance(node, ast.BinOp):
            return self.operation(node)
        self.unknown(node, f"`{ast.unparse(node)}` is not known")

    def cast(self, node: ast.Call) -> str:
        kind = node.func.id if isinstance(node.func, ast.Name) else ""
        if kind not in TYPES or len(node.args) != 1 or node.keywords:
            self.unknown(node, f"`{ast.unparse(node)}` is not known")
        self.value(node.args[0])
        return kind

    def operation(self, node: ast.BinOp) -> str:
        left = self.value(node.left)
        right = self.value(node.right)
        floor = isinstance(node.op, ast.FloorDiv)
        shift = isinstance(node.op, ast.RShift)
        if right != "int" or left != "int" and not (shift and left == "uint"):
            self.unknown(node, f"{left} and {right}, expected int (or uint on the left of >>)")
        if floor:
            self.divide()
        elif type(node.op) not in OPERATORS:
            self.unknown(node, f"the operator of `{ast.unparse(node)}` is not known")
        else:
            self.code.append(SHR_U if left == "uint" else OPERATORS[type(node.op)])
        return left

    def divide(self) -> None:
        """To the floor, where WebAssembly's division goes towards zero."""
        for name in ("//a", "//b"):
            self.types.setdefault(name, "int")
        a, b = (self.local(name) for name in ("//a", "//b"))
        both = bytes([GET]) + a + bytes([GET]) + b
        self.code += bytes([SET]) + b + bytes([SET]) + a
        self.code += both + bytes([DIV]) + both + bytes([REM, CONST, 0, NE])
        self.code += both + bytes([XOR, CONST, 31, SHR_U, AND, SUB])

    def element(self, node: ast.Subscript) -> tuple[str, int]:
        """Leave a pointer's address; its type, and how many bytes behind it the element is."""
        kind = self.value(node.value)
        index = node.slice
        if kind not in WIDTHS:
            self.unknown(node, f"`{ast.unparse(node.value)}` is {kind}, expected a pointer")
        if not isinstance(index, ast.Constant) or type(index.value) is not int:
            self.unknown(node, f"the index of `{ast.unparse(node)}` is not a constant")
        self.reach(WIDTHS[kind], index.value * WIDTHS[kind])
        return kind, index.value * WIDTHS[kind]

    def reach(self, width: int, at: int) -> None:
        """For an heir: what is left is the address of an access."""

    def access(self, op: int, width: int, at: int) -> None:
        self.code += bytes([op, width >> 1]) + unsigned(at)

    # Conditions: each leaves a word that is not 0 where it holds

    def test(self, node: ast.expr) -> None:
        if isinstance(node, ast.BoolOp):
            self.test(node.values[0])
            for value in node.values[1:]:
                self.code += bytes([IF, I32])
                if isinstance(node.op, ast.Or):
                    self.code += bytes([CONST, 1, ELSE])
                self.test(value)
                if isinstance(node.op, ast.And):
                    self.code += bytes([ELSE, CONST, 0])
                self.code.append(END)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.test(node.operand)
            self.code.append(EQZ)
        elif isinstance(node, ast.Compare):
            kinds = self.value(node.left), self.value(node.comparators[0])
            if len(node.ops) != 1 or type(node.ops[0]) not in COMPARED or kinds != ("int", "int"):
                self.unknown(node, f"`{ast.unparse(node)}`: expected two int")
            self.code.append(COMPARED[type(node.ops[0])])
        else:
            self.value(node)


def read(source: Path, kind: type[Function] = Function) -> tuple[list[Function], dict[str, int]]:
    """The functions of a module of viper code, and its constants."""
    functions: list[Function] = []
    constants: dict[str, int] = {}
    for node in ast.parse(source.read_text(encoding="utf-8"), str(source)).body:
        if isinstance(node, ast.FunctionDef):
            marks = [ast.unparse(mark) for mark in node.decorator_list]
            if marks != ["micropython.viper"]:
                raise Error(f"{source.name}, line {node.lineno}: {node.name} is no viper function")
            functions.append(kind(source, node))
        elif isinstance(node, ast.Assign):
            value = ast.literal_eval(node.value)
            constants |= {ast.unparse(target): value for target in node.targets}
    return functions, constants


def module(sources: Iterable[Path], kind: type[Function] = Function) -> bytes:
    """A WebAssembly module of the functions of some modules; it imports `env.memory`."""
    functions: list[Function] = []
    constants: dict[str, int] = {}
    for source in sources:
        more, others = read(source, kind)
        functions += more
        constants |= others
    counts = sorted({f.arguments for f in functions})
    exports = [(f.name, b"\0", i) for i, f in enumerate(functions)]
    exports += [(name, b"\3", i) for i, name in enumerate(constants)]
    return b"".join(
        [
            b"\0asm\1\0\0\0",
            section(1, [b"\x60" + vector([bytes([I32])] * n) + b"\0" for n in counts]),
            section(2, [text("env") + text("memory") + b"\2\0\0"]),
            section(3, [unsigned(counts.index(f.arguments)) for f in functions]),
            section(6, [bytes([I32, 0, CONST]) + signed(n) + b"\x0b" for n in constants.values()]),
            section(7, [text(name) + what + unsigned(i) for name, what, i in exports]),
            section(10, [f.body() for f in functions]),
        ]
    )
