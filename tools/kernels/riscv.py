"""An assembler for RV32IMC: instructions as text, in RISC-V's notation, become machine code.

It knows the instructions that the kernels use, one a line of `NARROW` and `WIDE`: how it is
written, and its code. The first form that takes the operands is used, of two bytes where there is
one; a branch is as short as it can be. What stands for an operand in such a line:

    r7      a register, its number at bit 7; n7 any but zero; c7 one of x8 to x15
    =       the same register as the first one, which it may not be before it
    i[11:0@20]  a number with a sign: its bits 11 to 0, at bit 20; other bits are 0; u[] without
            a sign; ! if it is not 0
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from picoformer import Error

from . import assembler
from .assembler import Line

NARROW = """
addi n7, zero, i[5@12,4:0@2]            4001    addi c2, sp, u![9:6@7,5:4@11,3@5,2@6]   0000
addi n7, =, i![5@12,4:0@2]              0001    addi n7, n2, 0                          8002
addi sp, sp, i![9@12,8:7@3,6@5,5@2,4@6] 6101    add n7, =, n2                           9002
add n7, n2, =                           9002    sub c7, =, c2                           8C01
xor c7, =, c2                           8C21    or c7, =, c2                            8C41
and c7, =, c2                           8C61    xor c7, c2, =                           8C21
or c7, c2, =                            8C41    and c7, c2, =                           8C61
andi c7, =, i[5@12,4:0@2]               8801    slli n7, =, u![4:0@2]                   0002
srli c7, =, u![4:0@2]                   8001    srai c7, =, u![4:0@2]                   8401
lui n7, u![4:0@2]                       6001    lw n7, u[7:6@2,5@12,4:2@4](sp)          4002
sw r2, u[7:6@7,5:2@9](sp)               C002    lw c2, u[6@5,5:3@10,2@6](c7)            4000
sw c2, u[6@5,5:3@10,2@6](c7)            C000    jalr zero, 0(n7)                        8002
beq c7, zero, i[8@12,7:6@5,5@2,4:3@10,2:1@3]            C001
bne c7, zero, i[8@12,7:6@5,5@2,4:3@10,2:1@3]            E001
jal zero, i[11@12,10@8,9:8@9,7@6,6@7,5@2,4@11,3:1@3]    A001
jal ra, i[11@12,10@8,9:8@9,7@6,6@7,5@2,4@11,3:1@3]      2001
"""
WIDE = """
add r7, r15, r20        00000033    sub r7, r15, r20        40000033
sll r7, r15, r20        00001033    slt r7, r15, r20        00002033
sltu r7, r15, r20       00003033    xor r7, r15, r20        00004033
srl r7, r15, r20        00005033    sra r7, r15, r20        40005033
or r7, r15, r20         00006033    and r7, r15, r20        00007033
mul r7, r15, r20        02000033    mulh r7, r15, r20       02001033
mulhsu r7, r15, r20     02002033    mulhu r7, r15, r20      02003033
div r7, r15, r20        02004033    divu r7, r15, r20       02005033
addi r7, r15, i[11:0@20]    00000013    xori r7, r15, i[11:0@20]    00004013
ori r7, r15, i[11:0@20]     00006013    andi r7, r15, i[11:0@20]    00007013
sltiu r7, r15, i[11:0@20]   00003013    slli r7, r15, u[4:0@20]     00001013
srli r7, r15, u[4:0@20]     00005013    srai r7, r15, u[4:0@20]     40005013
lui r7, u[19:0@12]          00000037    lw r7, i[11:0@20](r15)      00002003
lh r7, i[11:0@20](r15)      00001003    lhu r7, i[11:0@20](r15)     00005003
lbu r7, i[11:0@20](r15)     00004003    sw r20, i[11:5@25,4:0@7](r15)   00002023
beq r15, r20, i[12@31,11@7,10:5@25,4:1@8]   00000063
bne r15, r20, i[12@31,11@7,10:5@25,4:1@8]   00001063
blt r15, r20, i[12@31,11@7,10:5@25,4:1@8]   00004063
bge r15, r20, i[12@31,11@7,10:5@25,4:1@8]   00005063
bltu r15, r20, i[12@31,11@7,10:5@25,4:1@8]  00006063
bgeu r15, r20, i[12@31,11@7,10:5@25,4:1@8]  00007063
jal r7, i[20@31,19:12@12,11@20,10:1@21]     0000006F
jalr r7, i[11:0@20](r15)                    00000067
"""
ALIASES = {
    "mv": "addi {0}, {1}, 0", "li": "addi {0}, zero, {1}",
    "neg": "sub {0}, zero, {1}", "not": "xori {0}, {1}, -1", "seqz": "sltiu {0}, {1}, 1",
    "snez": "sltu {0}, zero, {1}", "beqz": "beq {0}, zero, {1}", "bnez": "bne {0}, zero, {1}",
    "bltz": "blt {0}, zero, {1}", "bgez": "bge {0}, zero, {1}", "bgtz": "blt zero, {0}, {1}",
    "blez": "bge zero, {0}, {1}", "bgt": "blt {1}, {0}, {2}", "ble": "bge {1}, {0}, {2}",
    "bgtu": "bltu {1}, {0}, {2}", "bleu": "bgeu {1}, {0}, {2}", "j": "jal zero, {0}",
    "jr": "jalr zero, 0({0})",
}  # fmt: skip
BRANCHES = "beq", "bne", "blt", "bge", "bltu", "bgeu", "jal"
NAMES = (
    "zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 "
    "t3 t4 t5 t6"
)
REGISTERS = {name: i for i, name in enumerate(NAMES.split())}
_OPERAND = re.compile(
    r"\b(?P<kind>[rnc])(?P<place>\d+)\b|(?P<same>=)|\b(?P<number>[iu]!?)\[(?P<bits>.*?)\]"
)


@dataclass(frozen=True)
class Form:
    """How an instruction is written, and its code."""

    pattern: re.Pattern[str]
    fields: tuple[tuple[str, str], ...]  # kind, and a place or the places of bits
    code: int
    size: int  # bytes

    def encode(self, text: str) -> int | None:
        """The code of a text that is so written; None for any other."""
        match = self.pattern.fullmatch(text)
        if not match:
            return None
        code = self.code
        for (kind, where), given in zip(self.fields, match.groups(), strict=True):
            if kind[0] in "iu":
                value = _number(given, kind[0] == "i", where)
                if value is None or not value and kind[1:]:
                    return None
                code |= value
            elif kind == "=":
                if given != match[1]:
                    return None
            elif given not in REGISTERS:
                return None
            else:
                n = REGISTERS[given]
                if n == 0 and kind == "n" or kind == "c" and not 8 <= n < 16:
                    return None
                code |= (n & 7 if kind == "c" else n) << int(where)
        return code


def _number(given: str, signed: bool, places: str) -> int | None:
    """The bits of a number in their places; None for one that has others."""
    try:
        value = int(given, 0)
    except ValueError:
        return None
    out = known = top = 0
    for part in places.split(","):
        bits, _, at = part.partition("@")
        high, _, low = bits.partition(":")
        width = int(high) - int(low or high) + 1
        mask = ((1 << width) - 1) << int(low or high)
        out |= (value & mask) >> int(low or high) << int(at)
        known |= mask
        top = max(top, int(high))
    least, most = (-(1 << top), 1 << top) if signed else (0, 2 << top)
    if not least <= value < most or value & ((1 << top) - 1) & ~known:
        return None
    return out


def _forms(table: str, size: int) -> list[Form]:
    out = []
    for written, code in re.findall(r"(\S.*?)\s+([0-9A-F]{8}|[0-9A-F]{4})(?:\s|$)", table):
        pattern, fields, at = "", [], 0
        for found in _OPERAND.finditer(written):
            pattern += re.escape(written[at : found.start()])
            at = found.end()
            kind = found["kind"] or found["same"] or found["number"]
            fields.append((kind, found["place"] or found["bits"] or ""))
            pattern += r"(-?\w+)"
        pattern += re.escape(written[at:])
        out.append(Form(re.compile(pattern), tuple(fields), int(code, 16), size))
    return out


FORMS: dict[str, list[Form]] = {}
for _form in _forms(NARROW, 2) + _forms(WIDE, 4):
    FORMS.setdefault(re.split(r"\\? ", _form.pattern.pattern)[0], []).append(_form)


def plain(text: str) -> str:
    """An instruction without aliases."""
    op, _, rest = text.partition(" ")
    return ALIASES[op].format(*rest.split(", ")) if op in ALIASES else text


def encoded(text: str, least: int = 2) -> tuple[int, int] | None:
    """(code, bytes) of an instruction, a number in the place of a label; None if there is none.

    least: bytes that it may not be shorter than.
    """
    text = plain(text)
    for form in FORMS.get(text.partition(" ")[0], ()):
        code = form.encode(text) if form.size >= least else None
        if code is not None:
            return code, form.size
    return None


class Kernel(assembler.Kernel):
    """A kernel of RV32IMC instructions."""

    DECORATOR = "asm_rv32"
    ARGUMENTS = "a0, a1"
    WORD = "{}(sp)"
    HIGH_FIRST = False

    def encode(self, line: Line, op: str, rest: str) -> None:
        """See assembler.Kernel.encode."""
        line.text = line.text.replace("#", "")  # which numbers have in Arm's notation
        if plain(line.text).partition(" ")[0] in BRANCHES:
            # How far it goes is known in the end.
            line.size, line.branch = 2, True
        elif op not in FORMS and op not in ALIASES:
            raise Error(f"{self.name}: no such instruction: {line.said!r}")
        else:
            made = encoded(line.text)
            if not made:
                raise Error(f"{self.name}: no such form of an instruction: {line.said!r}")
            line.code, line.size = made

    def encode_branch(self, line: Line, op: str, register: str, far: int) -> int:
        """See assembler.Kernel.encode_branch."""
        made = encoded(f"{op} {register}, {far}" if register else f"{op} {far}", line.size)
        if not made:
            raise Error(f"{self.name}: {line.said!r} does not reach, {far} bytes")
        code, line.size = made
        return code

    def finish(self) -> list[Line]:
        """See assembler.Kernel.finish; branches that do not reach grow, until all do."""
        while True:
            at = 0
            for line in self.lines:
                line.at = at
                at += line.size
                if line.text.endswith(":"):
                    self.labels[line.text[:-1]] = line.at
            super().finish()
            if at == sum(line.size for line in self.lines):
                return self.lines
