"""An assembler for the Cortex-M: instructions as text, in Arm's notation, become machine code.

It knows the instructions that the kernels use, one a line of `NARROW` and `WIDE`: how it is
written, and its code. What stands for an operand in such a line:

    l0      one of r0 to r7, at bit 0; h3 any register, at bit 3; k any, bit 3 of it at bit 7
    r8      any register, at bit 8 of a wide instruction; z one that it has twice
    #8@0    a number of 8 bits at bit 0; *4: of bytes, that are counted in words
    #c      a constant of 8 bits, shifted or repeated; #s a shift, in two parts
    {8}     a list of registers, a bit each
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from picoformer import Error

from . import assembler
from .assembler import Line

NARROW = """
movs l0, l3                 0000    lsls l0, l3, #5@6       0000    lsrs l0, l3, #5@6       0800
asrs l0, l3, #5@6           1000    adds l0, l3, l6         1800    subs l0, l3, l6         1A00
adds l0, l3, #3@6           1C00    subs l0, l3, #3@6       1E00    movs l8, #8@0           2000
cmp l8, #8@0                2800    adds l8, #8@0           3000    subs l8, #8@0           3800
ands l0, l3                 4000    eors l0, l3             4040    lsls l0, l3             4080
lsrs l0, l3                 40C0    asrs l0, l3             4100    adcs l0, l3             4140
tst l0, l3                  4200    negs l0, l3             4240    cmp l0, l3              4280
orrs l0, l3                 4300    muls l0, l3             4340    bics l0, l3             4380
mvns l0, l3                 43C0    add k, h3               4400    cmp k, h3               4500
blx h3                      4780    sev                     BF40    wfe                     BF20
mov k, h3                   4600    bx h3                   4700    ldr l8, [sp, #8@0*4]    9800
str l8, [sp, #8@0*4]        9000    ldr l0, [l3, #5@6*4]    6800    str l0, [l3, #5@6*4]    6000
ldr l0, [l3, l6]            5800    ldrh l0, [l3, #5@6*2]   8800    add l8, sp, #8@0*4      A800
add sp, #7@0*4              B000    sub sp, #7@0*4          B080    sxth l0, l3             B200
sxtb l0, l3                 B240    uxth l0, l3             B280    uxtb l0, l3             B2C0
push {8}                    B400    pop {8}                 BC00    stmia l8!, {8}          C000
ldmia l8!, {8}              C800    nop                     BF00
ldrb l0, [l3, #5@6]         7800    strb l0, [l3, #5@6]     7000    strh l0, [l3, #5@6*2]   8000
"""
WIDE = """
push {16}                   E92D0000    pop {16}                    E8BD0000
stmia r16!, {16}            E8A00000    ldmia r16!, {16}            E8B00000
ldmia r16, {16}             E8900000    ldmdb r16!, {16}            E9300000
stmdb r16!, {16}            E9200000    ldrd r12, r8, [r16, #8@0*4] E9D00000
strd r12, r8, [r16, #8@0*4] E9C00000    pkhbt r8, r16, r0, lsl #16  EAC04000
pkhtb r8, r16, r0, asr #16  EAC04020    add r8, r16, r0             EB000000
add r8, r16, r0, lsl #s     EB000000    sub r8, r16, r0             EBA00000
sub r8, r16, r0, lsl #s     EBA00000    and r8, r16, #c             F0000000
tst r16, #c                 F0100F00    bic r8, r16, #c             F0200000
mov r8, #c                  F04F0000    add r8, r16, #c             F1000000
sub r8, r16, #c             F1A00000    cmp r16, #c                 F1B00F00
rsb r8, r16, #c             F1C00000    strh r12, [r16], #8@0       F8200B00
str r12, [r16, #-8@0]!      F8400D00    ldr r12, [r16], #8@0        F8500B00
ldr r12, [r16, #12@0]       F8D00000    str r12, [r16, #12@0]       F8C00000
ldrsh r12, [r16], #8@0      F9300B00    ldrsh r12, [r16, #-8@0]!    F9300D00
lsl r8, r16, r0             FA00F000    lsr r8, r16, r0             FA20F000
asr r8, r16, r0             FA40F000    uxtb16 r8, r0               FA3FF080
uxtb16 r8, r0, ror #8       FA3FF090    sxtb16 r8, r0               FA2FF080
sxtb16 r8, r0, ror #8       FA2FF090    mla r8, r16, r0, r12        FB000000
smlabb r8, r16, r0, r12     FB100000    smlabt r8, r16, r0, r12     FB100010
smlatb r8, r16, r0, r12     FB100020    smlatt r8, r16, r0, r12     FB100030
smlad r8, r16, r0, r12      FB200000    smlawb r8, r16, r0, r12     FB300000
smlawt r8, r16, r0, r12     FB300010    smulwb r8, r16, r0          FB30F000
mls r8, r16, r0, r12        FB000010    mul r8, r16, r0             FB00F000
udiv r8, r16, r0            FBB0F0F0    clz r8, z                   FAB0F080
and r8, r16, r0             EA000000    and r8, r16, r0, lsr #s     EA000010
bic r8, r16, r0, asr #31    EA2070E0    adc r8, r16, r0             EB400000
asr r8, r0, #s              EA4F0020    orr r8, r16, #c             F0400000
adc r8, r16, #c             F1400000    str r12, [r16], #8@0        F8400B00
ldr r12, [r16, r0, lsl #2]  F8500020    ubfx r8, r16, #0, #11       F3C0000A
ubfx r8, r16, #11, #5       F3C020C4    ubfx r8, r16, #16, #11      F3C0400A
ubfx r8, r16, #5, #5        F3C01044    usat r8, #5, r16            F3800005
smmulr r8, r16, r0          FB50F010    sub r8, r16, r0, lsr #s     EBA00010
strb r12, [r16], #8@0       F8000B00    orr r8, r16, r0             EA400000
ldrb r12, [r16], #8@0       F8100B00    dmb                         F3BF8F5F
"""
REGISTERS = {f"r{i}": i for i in range(13)} | {"sp": 13, "lr": 14, "pc": 15}
CONDITIONS = [
    "eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le"
]  # fmt: skip
_OPERAND = re.compile(
    r"(?P<register>\b[lrh]\d+|\b[kz]\b)|#(?P<minus>-?)(?P<number>c|s|\d+@\d+)(?:\*(?P<unit>\d))?|"
    r"\{(?P<list>\d+)\}"
)


def constant(value: int) -> int:
    """The bits of a constant that is shifted or repeated. Raises Error where there are none."""
    if value < 256:
        field = value
    elif value == (value & 255) * 0x01010101:
        field = 0x300 | value & 255
    elif value == (value & 255) * 0x00010001:
        field = 0x100 | value & 255
    elif value == (value >> 8 & 255) * 0x01000100:
        field = 0x200 | value >> 8 & 255
    elif value >> 32 == 0:
        shift = max(value.bit_length() - 8, 0)
        if value & (1 << shift) - 1:
            raise Error(f"no instruction has the constant {value:#x}")
        field = (32 - shift) << 7 | value >> shift & 127
    else:
        raise Error(f"no instruction has the constant {value:#x}")
    return (field >> 11 & 1) << 26 | (field >> 8 & 7) << 12 | field & 255


@dataclass(frozen=True)
class Form:
    """How an instruction is written, and its code."""

    pattern: re.Pattern[str]
    fields: tuple[tuple[str, int, int, int], ...]  # kind, bits, place, unit
    code: int
    size: int  # bytes

    def encode(self, text: str) -> int | None:
        """The code of a text that is so written; None for any other."""
        match = self.pattern.fullmatch(text)
        if not match:
            return None
        code = self.code
        for (kind, bits, place, unit), given in zip(self.fields, match.groups(), strict=True):
            if kind == "list":
                value = sum(1 << r for r in registers(given))
            elif kind in ("register", "k", "z"):
                if given not in REGISTERS:
                    return None
                value = REGISTERS[given]
            else:
                value = int(given, 0)
            if kind == "c":
                code |= constant(value)
            elif kind == "s":
                code |= (value >> 2 & 7) << 12 | (value & 3) << 6
            elif kind == "k":
                code |= (value & 8) << 4 | value & 7
            elif kind == "z":
                code |= value << 16 | value
            elif value % unit or not 0 <= value // unit < 1 << bits:
                return None
            else:
                code |= value // unit << place
        return code


def registers(text: str) -> list[int]:
    """The numbers of registers in a list, as "r2, r4-r7"."""
    out: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        out += range(REGISTERS[first], REGISTERS[last or first] + 1)
    return out


def _forms(table: str, size: int) -> list[Form]:
    out = []
    for written, code in re.findall(r"(\S.*?)\s+([0-9A-F]{8}|[0-9A-F]{4})\b", table):
        pattern, fields, at = "", [], 0
        for found in _OPERAND.finditer(written):
            pattern += re.escape(written[at : found.start()])
            at = found.end()
            if name := found["register"]:
                kind, place = (name, 0) if name in "kz" else ("register", int(name[1:]))
                fields.append((kind, 3 if name[0] == "l" else 4, place, 1))
                pattern += r"(\w+)"
            elif found["list"]:
                fields.append(("list", int(found["list"]), 0, 1))
                pattern += r"\{(.*)\}"
            else:
                bits, _, place_ = found["number"].partition("@")
                unit = int(found["unit"] or 1)
                known = bits if bits in "cs" else "number"
                fields.append((known, int(bits) if place_ else 0, int(place_ or 0), unit))
                pattern += "#" + found["minus"] + r"(\w+)"
        pattern += re.escape(written[at:])
        out.append(Form(re.compile(pattern), tuple(fields), int(code, 16), size))
    return out


FORMS: dict[str, list[Form]] = {}
for _form in _forms(NARROW, 2) + _forms(WIDE, 4):
    FORMS.setdefault(re.split(r"\\? ", _form.pattern.pattern)[0], []).append(_form)


class Kernel(assembler.Kernel):
    """A kernel of Thumb and Thumb-2 instructions."""

    DECORATOR = "asm_thumb"
    ARGUMENTS = "r0, r1"
    WORD = "[sp, #{}]"
    HIGH_FIRST = True

    def __init__(self, name: str, about: str) -> None:
        super().__init__(name, about)
        self.condition = ""  # of the instruction behind an `it`

    def encode(self, line: Line, op: str, rest: str) -> None:
        """See assembler.Kernel.encode."""
        said = line.said
        if self.condition:
            if not op.endswith(self.condition):
                raise Error(f"{self.name}: {said!r} behind `it {self.condition}`")
            op, self.condition = op[: -len(self.condition)], ""
        if op in FORMS:
            text = f"{op} {rest}".strip()
            made = ((f.encode(text), f.size) for f in FORMS[op])
            code, line.size = next((m for m in made if m[0] is not None), (None, 0))
            if code is None:
                raise Error(f"{self.name}: no such form of an instruction: {said!r}")
            line.code = code
        elif op == "it":
            self.condition = rest
            line.size, line.code = 2, 0xBF08 | CONDITIONS.index(rest) << 4
        elif op in ("b", "b.w", "bl", "cbz", "cbnz") or op[1:3] in CONDITIONS:
            # How far it goes is known in the end.
            line.size, line.branch = 4 if op == "bl" or op.endswith(".w") else 2, True
        else:
            raise Error(f"{self.name}: no such instruction: {said!r}")

    def encode_branch(self, line: Line, op: str, register: str, far: int) -> int:
        """See assembler.Kernel.encode_branch."""
        far -= 4
        name = op.removesuffix(".w")

        def reach(bits: int, low: int | None = None) -> int:
            return self.reach(line, far, -(1 << bits) if low is None else low, 1 << bits)

        if name in ("cbz", "cbnz"):
            n = reach(7, 0) >> 1
            code = 0xB100 | (name == "cbnz") << 11
            return code | (n & 32) << 4 | (n & 31) << 3 | REGISTERS[register]
        if op in ("bl", "b.w"):
            n = reach(24) & 0x1FFFFFF
            sign = n >> 24 & 1
            j1, j2 = (n >> 23 & 1) ^ sign ^ 1, (n >> 22 & 1) ^ sign ^ 1
            high = 0xF000 | sign << 10 | n >> 12 & 0x3FF
            low = (0xD000 if op == "bl" else 0x9000) | j1 << 13 | j2 << 11 | n >> 1 & 0x7FF
            return high << 16 | low
        if op == "b":
            return 0xE000 | reach(11) >> 1 & 0x7FF
        if name[0] != "b" or name[1:] not in CONDITIONS:
            raise Error(f"{self.name}: no instruction {op!r}")
        condition = CONDITIONS.index(name[1:])
        if op == name:
            return 0xD000 | condition << 8 | reach(8) >> 1 & 0xFF
        n = reach(20) & 0x1FFFFF
        high = 0xF000 | (n >> 20 & 1) << 10 | condition << 6 | n >> 12 & 0x3F
        return (high << 16) | 0x8000 | (n >> 18 & 1) << 13 | (n >> 19 & 1) << 11 | n >> 1 & 0x7FF
