"""The assembler of kernels, what it writes for boards, and which cores take it."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

import picoformer.device as device
from picoformer import Error
from picoformer.device import modelfile
from tools.kernels.__main__ import BOARD, texts
from tools.kernels.arm import FORMS, Kernel

# Each form of an instruction and what GNU as makes of it.
RECORDS = Path(__file__).resolve().parents[1] / "data" / "assembler.txt"


def assembled(text: str) -> list[int]:
    k = Kernel("test", "")
    k.stack("FIRST SECOND")
    k.fields("one two")
    k.registers(weights="r6")
    k(text)
    return k.halves()


def test_what_lands_on_boards_is_what_the_source_writes():
    for path, text in texts().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: python -m tools.kernels"


def test_instructions_are_those_of_gnu_as():
    lines = RECORDS.read_text(encoding="utf-8").splitlines()
    for line in lines:
        text, _, code = line.partition(": ")
        assert "".join(f"{half:04X}" for half in assembled(text)) == code, text
    written = [line.partition(": ")[0] for line in lines]
    for op, forms in FORMS.items():
        for form in forms:
            assert any(form.encode(text) is not None for text in written), (op, form)


@pytest.mark.parametrize(
    "text, code",
    [
        ("a:\nb a", [0xE7FE]),
        ("b a\nnop\nnop\na:", [0xE001, 0xBF00, 0xBF00]),
        ("bne a\nnop\nnop\na:", [0xD101, 0xBF00, 0xBF00]),
        ("a:\nnop\nbls.w a", [0xBF00, 0xF67F, 0xAFFD]),
        ("a:\nb.w a", [0xF7FF, 0xBFFE]),
        ("bl a\nnop\nnop\na:", [0xF000, 0xF802, 0xBF00, 0xBF00]),
        ("cbz r3, a\n" + 40 * "nop\n" + "a:", [0xB33B, *40 * [0xBF00]]),
        ("it lt\nmovlt r4, #0", [0xBFB8, 0xF04F, 0x0400]),
        ("str r5, SECOND  @ a word", [0x9501]),
        ("ldr r3, [r0, .two]", [0x6843]),
        ("ldr r3, [r0, .one]; nop; mov r1, weights", [0x6803, 0xBF00, 0x4631]),
        ("mov r2, #0x00ab00ab", [0xF04F, 0x12AB]),
        ("mov r2, #0xabababab", [0xF04F, 0x32AB]),
        ("mov r2, #0x20000000", [0xF04F, 0x5200]),
        ("tst r3, #0x80008000", [0xF013, 0x2F80]),
    ],
)  # fmt: skip
def test_branches_and_words(text, code):
    assert assembled(text) == code


@pytest.mark.parametrize(
    "text, said",
    [
        ("mulls r1, r2", "no such instruction"),
        ("muls r1, r9", "no such form"),
        ("ldr r1, [r2, #2]!", "no such form"),
        ("movs r1, #256", "no such form"),
        ("mov r1, #0x101", "no instruction has the constant 0x101"),
        ("b nowhere", "no such instruction or label"),
        ("a:\na:", "twice"),
        ("a:\n" + 200 * "nop\n" + "beq a", "does not reach"),
        ("it lt\nmovgt r4, #0", "behind `it lt`"),
    ],
)
def test_mistakes_are_told(text, said):
    with pytest.raises(Error, match=said):
        assembled(text)


# Which cores: CPUID and ISAR3 as Arm's manuals have them; None must not be read.
CORES = {
    "M0+": (0x410CC601, None, False),
    "M23": (0x411CD200, None, False),
    "M3": (0x412FC231, 0x01111110, False),
    "M4": (0x410FC241, 0x01111131, True),
    "M7": (0x411FC272, 0x01111131, True),
    "M33": (0x410FD213, 0x01101110, False),
    "M33 with DSP": (0x410FD213, 0x01111131, True),
    "ARM Linux": (None, None, False),
}


@pytest.mark.parametrize("name", CORES)
def test_the_core_says_whether_it_has_dsp_instructions(name, monkeypatch):
    cpuid, isar3, has = CORES[name]
    words = {0xE000ED00: cpuid, 0xE000ED6C: isar3}
    fake = {
        "micropython": types.SimpleNamespace(asm_thumb=lambda f: f),
        "machine": types.SimpleNamespace(mem32={a: w for a, w in words.items() if w is not None}),
    }
    for module, what in fake.items():
        monkeypatch.setitem(sys.modules, module, what)
    monkeypatch.setattr(sys, "platform", "linux" if name == "ARM Linux" else "rp2")
    path = BOARD / "kernels_dsp.py"
    code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    space = {"__package__": "board", "__name__": "board.kernels_dsp"}
    if has:
        exec(code, space)
        assert callable(space["linear"]) and callable(space["sample"])
    else:
        with pytest.raises(ImportError, match="no DSP"):
            exec(code, space)


def test_a_family_that_finds_no_memory_is_told_of(monkeypatch):
    """As sources are compiled on a board: the next family would run, but slower."""

    class Full:
        def find_spec(self, name, _path, _target=None):
            if name.endswith("kernels_thumb"):
                raise MemoryError

    implementation = types.SimpleNamespace(_mpy=4 << 10, version=(1, 26))
    monkeypatch.setattr(
        modelfile, "sys", types.SimpleNamespace(implementation=implementation, modules=sys.modules)
    )
    monkeypatch.delitem(sys.modules, "picoformer.device.kernels_thumb", raising=False)
    monkeypatch.delattr(device, "kernels_thumb", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Full(), *sys.meta_path])
    with pytest.raises(MemoryError, match="no room for thumb kernels, which need less as .mpy"):
        modelfile.family(None)


@pytest.mark.parametrize("architecture", range(13))
@pytest.mark.parametrize("best", [True, False])
def test_the_fastest_family_that_runs(architecture, best, monkeypatch):
    """As sys.implementation._mpy numbers architectures; 6 to 8 are Armv7E-M, 11 is RV32IMC.

    best: whether a core has DSP instructions, a port RISC-V's assembler.
    """
    implementation = types.SimpleNamespace(_mpy=architecture << 10, version=(1, 26))
    monkeypatch.setattr(
        modelfile, "sys", types.SimpleNamespace(implementation=implementation, modules=sys.modules)
    )
    families = "dsp", "thumb", "rv32", "viper"
    for family in families:
        name = f"kernels_{family}"
        module = types.ModuleType(name) if best or family not in ("dsp", "rv32") else None
        monkeypatch.setitem(sys.modules, f"picoformer.device.{name}", module)
        if module:
            monkeypatch.setattr(device, name, module, raising=False)
        elif hasattr(device, name):
            monkeypatch.delattr(device, name)
    able = ["dsp"] if best and 6 <= architecture <= 8 else []
    able += ["thumb"] if 4 <= architecture <= 8 else []
    able += ["rv32"] if best and architecture == 11 else []
    able.append("viper")
    assert modelfile.family(None).__name__ == f"kernels_{able[0]}"
    for family in families:
        if family in able:
            assert modelfile.family(family).__name__ == f"kernels_{family}"
        else:
            words = f"cannot run {family} kernels; use kernels='{able[0]}'"
            with pytest.raises(Error, match=words):
                modelfile.family(family)
    given = types.ModuleType("kernels_wasm")
    given.BIAS = 1
    assert modelfile.family(given) is given
    with pytest.raises(Error, match="no kernels 'gpu': there are 'dsp', 'thumb', 'rv32', 'viper'"):
        modelfile.family("gpu")
