"""What assemblers of kernels have in common: lines of text, names, labels, listings.

An assembler is an heir of `Kernel` that knows the instructions of one kind of core.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from picoformer import Error

CALL = 100  # half-words in one `data`: a board parses one in less heap than many short ones


@dataclass
class Line:
    """An instruction or a label of a kernel: its text, where it is, and its bytes."""

    at: int
    text: str
    said: str = ""  # the text as its author wrote it, with names
    note: str = ""
    size: int = 0
    code: int = 0
    branch: bool = False


class Kernel:
    """A kernel that is being written: call it with lines of text.

    A line is `label:`, instructions with `;` between them, or nothing; behind `@` is a comment.
    Names of registers, of words on the stack (`ldr r3, WORD`) and of fields, words of a record
    (`ldr r3, [r0, .stride]`), are those that were given before.
    """

    DECORATOR: ClassVar[str]  # MicroPython's assembler for such a core
    ARGUMENTS: ClassVar[str]  # the registers of a function's two arguments
    WORD: ClassVar[str]  # how a word of the stack is written: {} is its place in bytes
    HIGH_FIRST: ClassVar[bool]  # which half of an instruction of 4 bytes comes first

    def __init__(self, name: str, about: str) -> None:
        self.name = name
        self.about = about
        self.lines: list[Line] = []
        self.labels: dict[str, int] = {}
        self.words: dict[str, int] = {}
        self.names: dict[str, str] = {}
        self.places: dict[str, int] = {}
        self.at = 0

    def stack(self, words: str) -> int:
        """Name words on the stack, the lowest first; how many bytes they take."""
        self.words = {word: 4 * i for i, word in enumerate(words.split())}
        return 4 * len(self.words)

    def fields(self, names: str) -> None:
        """Name the words of a record, the first word first."""
        self.places.update((name, 4 * i) for i, name in enumerate(names.split()))

    def registers(self, **names: str) -> None:
        """Name registers: what had a name loses it."""
        self.names = names

    def __call__(self, text: str) -> None:
        for line in text.splitlines():
            code, _, note = (part.strip() for part in line.partition("@"))
            if code.endswith(":"):
                if code[:-1] in self.labels:
                    raise Error(f"{self.name}: the label {code} is there twice")
                self.labels[code[:-1]] = self.at
                self.lines.append(Line(self.at, code, code, note))
            elif code:
                for said in code.split(";"):
                    self._instruction(said.strip(), note)
                    note = ""
            elif note:
                self.lines.append(Line(self.at, "", "", note))

    def _instruction(self, said: str, note: str) -> None:
        op, _, rest = said.partition(" ")
        rest = re.sub(r"\.(\w+)", lambda m: f"#{self.places[m[1]]}", rest)
        rest = re.sub(r"[a-z]\w*", lambda m: self.names.get(m[0], m[0]), rest)
        rest = re.sub(r"\b[A-Z]\w*$", lambda m: self.WORD.format(self.words[m[0]]), rest)
        line = Line(self.at, f"{op} {rest}".strip(), said, note)
        self.encode(line, op, rest)
        self.at += line.size
        self.lines.append(line)

    def encode(self, line: Line, op: str, rest: str) -> None:
        """Give a line its size, and its code or `branch`. Raises Error for an unknown one."""
        raise NotImplementedError

    def encode_branch(self, line: Line, op: str, register: str, far: int) -> int:
        """The code of a branch to an address that is so many bytes behind its own.

        register: what stands before the label. Raises Error for one that does not reach.
        """
        raise NotImplementedError

    def finish(self) -> list[Line]:
        """The lines, with all branches. Raises Error for one that does not reach."""
        for line in self.lines:
            if line.branch:
                op, _, to = line.text.partition(" ")
                register, _, label = to.rpartition(", ")
                if label not in self.labels:
                    raise Error(f"{self.name}: {line.said!r}: no such instruction or label")
                far = self.labels[label] - line.at
                line.code = self.encode_branch(line, op, register, far)
        return self.lines

    def reach(self, line: Line, far: int, low: int, high: int) -> int:
        """far, if it lies from low to below high."""
        if not low <= far < high:
            raise Error(f"{self.name}: {line.said!r} does not reach, {far} bytes")
        return far

    def halves(self) -> list[int]:
        """The machine code as half-words."""
        return [half for line in self.finish() for half in self._halves(line)]

    def source(self) -> str:
        """The function for boards, as source for MicroPython's assembler."""
        out = f"\n\n@micropython.{self.DECORATOR}\ndef {self.name}({self.ARGUMENTS}):\n"
        halves = self.halves()
        for i in range(0, len(halves), CALL):
            part = halves[i : i + CALL]
            lines = (part[n : n + 10] for n in range(0, len(part), 10))
            words = ",\n        ".join(", ".join(f"0x{h:04X}" for h in line) for line in lines)
            out += f"    data(\n        2,\n        {words}\n    )\n"
        return out

    def _halves(self, line: Line) -> list[int]:
        low, high = line.code & 0xFFFF, line.code >> 16
        both = [high, low] if self.HIGH_FIRST else [low, high]
        return both if line.size == 4 else [low][: line.size // 2]

    def listing(self) -> str:
        """The kernel for people: place, code, instruction, comment."""
        out = [f"{self.name}: {self.about}"]
        for line in self.finish():
            note = f"@ {line.note}" if line.note else ""
            if line.size:
                code = " ".join(f"{half:04x}" for half in self._halves(line))
                out.append(f"{line.at:4x}  {code:9}     {line.text:32} {note}".rstrip())
            else:
                out.append(f"          {line.text} {note}".rstrip())
        return "\n".join(out) + "\n"
