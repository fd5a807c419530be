"""Kernels for RISC-V (RV32IMC), and what boards get of them."""

from __future__ import annotations

from ..riscv import Kernel
from .attend import attend
from .gate import gate
from .linear import linear
from .norm import layernorm, norm
from .store import store

HEAD = '''"""Kernels for RISC-V (RV32IMC); see tools/kernels.

Written by `python -m tools.kernels`; tools/kernels/rv32/kernels.lst says what the numbers mean.
"""

import micropython

BIAS = 0x20000000
'''
def made() -> list[Kernel]:
    """The kernels, written anew."""
    return [make() for make in (linear, attend, norm, layernorm, gate, store)]


def modules(kernels: list[Kernel]) -> dict[str, str]:
    """What lands on boards: the name of each module, its source."""
    return {"kernels_rv32": HEAD + "".join(k.source() for k in kernels)}
