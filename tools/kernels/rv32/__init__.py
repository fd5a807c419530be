"""Kernels for RISC-V (RV32IMC), and what boards get of them.

Each module compiles from its source in 40 KB of heap.
"""

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
'''
BEHIND = '''

# A port without such an assembler takes an .mpy's functions for bytecode, and would run them so.
if type(linear) is type(lambda: 0):
    raise ImportError("no assembler for RISC-V")

from .kernels_rv32_more import (
    BIAS,
    embed,
    gate,
    layernorm,
    norm,
    pool,
    sample,
    store,
)
'''
MODULES = {
    "kernels_rv32": (linear, attend, bias),
    "kernels_rv32_more": (norm, gate, store, layernorm, embed, pool, sample),
    "kernels_rv324": (linear4, embed4),
}


def made() -> list[Kernel]:
    """The kernels, written anew."""
    return [make() for kernels in MODULES.values() for make in kernels]


def modules(kernels: list[Kernel]) -> dict[str, str]:
    """What lands on boards: the name of each module, its source."""
    source = {k.name: k.source() for k in kernels}
    around = {"kernels_rv32": ("", BEHIND), "kernels_rv32_more": ("\nBIAS = 0x20000000\n", "")}
    out = {}
    for module, names in MODULES.items():
        before, behind = around.get(module, ("", ""))
        out[module] = HEAD + before + "".join(source[f.__name__] for f in names) + behind
    return out
