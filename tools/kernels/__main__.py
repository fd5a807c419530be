"""Writes the kernels for boards and their listings: `python -m tools.kernels`."""

from __future__ import annotations

from pathlib import Path

from .assembler import Kernel
from .attend import attend
from .gate import gate
from .linear import linear
from .norm import norm

ROOT = Path(__file__).resolve().parents[2]
BOARD = ROOT / "device" / "picoformer" / "kernels_dsp.py"
LISTING = Path(__file__).with_name("dsp.lst")
HEAD = '''"""Kernels for Cortex-M with DSP instructions (M4, M7, M33); see tools/kernels.

Written by `python -m tools.kernels`; tools/kernels/dsp.lst says what the numbers mean.
"""

import sys

import micropython
from machine import mem32

from . import kernels_thumb as thumb

# What a core says of itself: CPUID its architecture, and where that is Armv7-M or newer, ISAR3
# whether it has DSP instructions. Linux lets nobody ask.
if sys.platform == "linux" or mem32[0xE000ED00] >> 16 & 15 != 15 or not mem32[0xE000ED6C] & 32:
    raise ImportError("no DSP instructions")

'''
BESIDE = (
    "BIAS", "attend", "bias", "embed", "gate", "layernorm", "linear", "norm", "pool", "sample",
    "store",
)  # fmt: skip


def module(kernels: list[Kernel]) -> str:
    """The source of kernels_dsp.py."""
    made = {k.name for k in kernels}
    out = HEAD + "".join(f"{n} = thumb.{n}\n" for n in BESIDE if n not in made)
    for k in kernels:
        halves = k.halves()
        out += f"\n\n@micropython.asm_thumb\ndef {k.name}(r0, r1):\n"
        for i in range(0, len(halves), 10):
            words = ", ".join(f"0x{h:04X}" for h in halves[i : i + 10])
            out += f"    data(2, {words})\n"
    return out


def texts() -> dict[Path, str]:
    """What is to be in each file."""
    kernels = [make() for make in (linear, attend, gate, norm)]
    return {BOARD: module(kernels), LISTING: "\n".join(k.listing() for k in kernels)}


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
