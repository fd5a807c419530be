"""Kernels for cores with DSP instructions (Cortex-M4, M7, M33), and what boards get of them."""

from __future__ import annotations

from ..arm import Kernel
from .attend import attend
from .gate import gate
from .linear import linear
from .norm import norm

HEAD = '''"""Kernels for Cortex-M with DSP instructions (M4, M7, M33); see tools/kernels.

Written by `python -m tools.kernels`; tools/kernels/dsp/kernels.lst says what the numbers mean.
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


def made() -> list[Kernel]:
    """The kernels, written anew."""
    return [make() for make in (linear, attend, gate, norm)]


def modules(kernels: list[Kernel]) -> dict[str, str]:
    """What lands on boards: the name of each module, its source."""
    own = {k.name for k in kernels}
    out = HEAD + "".join(f"{n} = thumb.{n}\n" for n in BESIDE if n not in own)
    return {"kernels_dsp": out + "".join(k.source() for k in kernels)}
