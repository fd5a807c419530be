"""The assembler of kernels for RISC-V, and the ports that run what it makes."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from picoformer import Error
from tools.kernels.__main__ import BOARD
from tools.kernels.riscv import FORMS, Kernel, encoded, plain

# Each form of an instruction and what GNU as makes of it; a branch has how far it goes.
RECORDS = Path(__file__).resolve().parents[1] / "data" / "assembler_riscv.txt"


def assembled(text: str) -> list[int]:
    k = Kernel("test", "")
    k.stack("FIRST SECOND")
    k.fields("one two")
    k(text)
    return k.halves()


def test_instructions_are_those_of_gnu_as():
    lines = RECORDS.read_text(encoding="utf-8").splitlines()
    for line in lines:
        text, _, code = line.partition(": ")
        made = encoded(text)
        assert made and f"{made[0]:0{2 * made[1]}X}" == code, text
    written = [plain(line.partition(": ")[0]) for line in lines]
    for op, forms in FORMS.items():
        for form in forms:
            assert any(form.encode(text) is not None for text in written), (op, form)


@pytest.mark.parametrize(
    "text, code",
    [
        ("a:\nj a", [0xA001]),
        ("beqz a3, a\nli a0, 1\na:", [0xC291, 0x4505]),
        ("beqz t3, a\na:", [0x0263, 0x000E]),
        ("jal ra, a\nli a0, 1\na:", [0x2011, 0x4505]),
        ("a:\n" + 128 * "li a0, 1\n" + "bnez a0, a", [*128 * [0x4505], 0xF101]),
        ("a:\n" + 129 * "li a0, 1\n" + "bnez a0, a", [*129 * [0x4505], 0x1FE3, 0xEE05]),
        # One that grows takes another one's reach.
        (
            "bnez a0, a\nbeq a0, a1, a\n" + 125 * "li a0, 1\n" + "a:",
            [0x1163, 0x1005, 0x0F63, 0x0EB5, *125 * [0x4505]],
        ),
        ("bgt a1, a0, a\na:", [0x4263, 0x00B5]),
        ("sw a5, SECOND  @ a word", [0xC23E]),
        ("lw t6, SECOND; lw a0, .two(a1)", [0x4F92, 0x41C8]),
    ],
)
def test_branches_and_words(text, code):
    assert assembled(text) == code


@pytest.mark.parametrize(
    "text, said",
    [
        ("muls a0, a1, a2", "no such instruction"),
        ("mul a0, a1, r2", "no such form"),
        ("addi a0, a1, 2048", "no such form"),
        ("lw a0, 2048(a1)", "no such form"),
        ("slli a0, a0, 32", "no such form"),
        ("li a0, 4096", "no such form"),
        ("j nowhere", "no such instruction or label"),
        ("a:\na:", "twice"),
        ("a:\n" + 2049 * "li a0, 1\n" + "beqz a0, a", "does not reach"),
    ],
)
def test_mistakes_are_told(text, said):
    with pytest.raises(Error, match=said):
        assembled(text)


@pytest.mark.parametrize("assembler", [True, False])
def test_a_port_without_an_assembler(assembler, monkeypatch):
    """It loads the functions of an .mpy, as bytecode; a call does anything."""

    class Native:
        pass

    fake = types.SimpleNamespace(asm_rv32=lambda f: Native() if assembler else f)
    monkeypatch.setitem(sys.modules, "micropython", fake)
    path = BOARD / "kernels_rv32.py"
    code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    if assembler:
        exec(code, {})
    else:
        with pytest.raises(ImportError, match="no assembler"):
            exec(code, {})
