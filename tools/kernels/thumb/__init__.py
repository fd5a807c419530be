"""Kernels for every Cortex-M, Armv6-M code, which the later cores run as well, and their modules.

They do what device/picoformer/kernels_portable.py says, bit for bit. Each module compiles from its
source in 40 KB of heap, and as .mpy has no more blocks of flash than it must; kernels_thumb_more
has what cores with DSP instructions take as well.
"""

from __future__ import annotations

from ..arm import Kernel
from .attend import attend
from .embed import embed, embed4
from .gate import gate
from .linear import linear
from .linear4 import linear4
from .norm import norm
from .sample import sample
from .small import bias, pool
from .store import store

HEAD = '''"""Kernels for every Cortex-M; see tools/kernels.

Written by `python -m tools.kernels`; tools/kernels/thumb/kernels.lst says what the numbers mean.
"""

import micropython
'''
MODULES = {
    "kernels_thumb": ("linear", "attend"),
    "kernels_thumb_more": ("store", "norm", "gate", "embed", "pool", "bias", "sample"),
    "kernels_thumb4": ("linear4", "embed4"),
}
AROUND = {  # what stands in front of a module's kernels, and behind them
    "kernels_thumb": (
        "\nfrom .kernels_thumb_more import (\n    BIAS,\n    bias,\n    embed,\n    gate,\n"
        "    layernorm,\n    norm,\n    pool,\n    sample,\n    store,\n)\n",
        "",
    ),
    "kernels_thumb_more": ("\nBIAS = 0x20000000\n", "\n\nlayernorm = norm\n"),
    "kernels_thumb4": ("", ""),
}


def made() -> list[Kernel]:
    """The kernels, written anew."""
    made = linear, attend, store, norm, gate, embed, pool, bias, sample, linear4, embed4
    return [make() for make in made]


def modules(kernels: list[Kernel]) -> dict[str, str]:
    """What lands on boards: the name of each module, its source."""
    source = {k.name: k.source() for k in kernels}
    out = {}
    for module, names in MODULES.items():
        before, behind = AROUND[module]
        out[module] = HEAD + before + "".join(source[name] for name in names) + behind
    return out
