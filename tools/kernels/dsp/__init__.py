"""Kernels for cores with DSP instructions (Cortex-M4, M7, M33), and what boards get of them."""

from __future__ import annotations

from ..arm import Kernel
from ..thumb.embed import embed4
from ..thumb.series import series
from .attend import attend
from .cores import packed
from .embed import bias, embed
from .gate import gate
from .layernorm import layernorm
from .linear import linear
from .linear4 import linear4
from .norm import norm
from .pool import pool
from .sample import sample
from .store import store

HEAD = '''"""Kernels for Cortex-M with DSP instructions (M4, M7, M33); see tools/kernels.

Written by `python -m tools.kernels`; tools/kernels/dsp/kernels.lst says what the numbers mean.
"""

import sys

import micropython
from machine import mem32

# What a core says of itself: CPUID its architecture, and where that is Armv7-M or newer, ISAR3
# whether it has DSP instructions. Linux lets nobody ask.
if sys.platform == "linux" or mem32[0xE000ED00] >> 16 & 15 != 15 or not mem32[0xE000ED6C] & 32:
    raise ImportError("no DSP instructions")

BIAS = 0x20000000
'''
HEAD4 = '''"""Kernels for weights of 4 bits; written together with kernels_dsp.py."""

import micropython
'''
HEAD_PAIR = '''"""Kernels for both cores; written together with kernels_dsp.py."""

import micropython
'''
PLACES = {  # the modules of those that not every model needs
    "linear4": "kernels_dsp4", "embed4": "kernels_dsp4", "packed": "kernels_dsp_pair",
}  # fmt: skip


def made() -> list[Kernel]:
    """The kernels, written anew."""
    every = (
        linear, attend, gate, norm, store, layernorm, embed, bias, pool, sample, series, linear4,
        embed4, packed,
    )  # fmt: skip
    return [make() for make in every]


def modules(kernels: list[Kernel]) -> dict[str, str]:
    """What lands on boards: the name of each module, its source."""
    out = {"kernels_dsp": HEAD, "kernels_dsp4": HEAD4, "kernels_dsp_pair": HEAD_PAIR}
    for k in kernels:
        out[PLACES.get(k.name, "kernels_dsp")] += k.source()
    return out
