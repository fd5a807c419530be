"""Kernels for RISC-V (RV32IMC), and what boards get of them."""

from __future__ import annotations

from ..riscv import Kernel
from .attend import attend
from .embed import embed, embed4
from .gate import gate
from .linear import linear
from .linear4 import linear4
from .norm import layernorm, norm
from .sample import sample
from .small import bias, pool
from .store import store

HEAD = '''"""Kernels for RISC-V (RV32IMC); see tools/kernels.

Written by `python -m tools.kernels`; tools/kernels/rv32/kernels.lst says what the numbers mean.
"""

import micropython

BIAS = 0x20000000
'''
TAIL = '''

# A port without such an assembler takes an .mpy's functions for bytecode, and would run them so.
if type(linear) is type(lambda: 0):
    raise ImportError("no assembler for RISC-V")
'''


def made() -> list[Kernel]:
    """The kernels, written anew."""
    kernels = (
        linear, attend, norm, gate, store, embed, sample, layernorm, bias, pool, linear4, embed4
    )  # fmt: skip
    return [make() for make in kernels]


def modules(kernels: list[Kernel]) -> dict[str, str]:
    """What lands on boards: the name of each module, its source."""
    return {"kernels_rv32": HEAD + "".join(k.source() for k in kernels) + TAIL}
