"""Kernels for every Cortex-M, Armv6-M code, which the later cores run as well, and their modules.

They do what device/picoformer/kernels_portable.py says, bit for bit.
"""

from __future__ import annotations

from ..arm import Kernel
from .attend import attend
from .cores import pair, worker
from .embed import embed, embed4
from .gate import gate
from .linear import linear
from .linear4 import linear4
from .norm import norm
from .sample import sample
from .series import series
from .small import bias, pool
from .sound import logmel
from .store import store
from .stream import begin, repeated, rest, streamed

HEAD = '''"""Kernels for every Cortex-M; see tools/kernels.

Written by `python -m tools.kernels`; tools/kernels/thumb/kernels.lst says what the numbers mean.
"""

import micropython
'''
BEHIND = "\n\nBIAS = 0x20000000\nlayernorm = norm\n"
PLACES = {  # the modules of those that not every model needs
    "linear4": "kernels_thumb4", "embed4": "kernels_thumb4",
    "pair": "kernels_pair", "worker": "kernels_pair", "logmel": "kernels_thumb_sound",
    **dict.fromkeys(("begin", "rest", "streamed", "repeated"), "kernels_stream"),
}  # fmt: skip


def made() -> list[Kernel]:
    """The kernels, written anew."""
    made = (
        linear, attend, store, norm, gate, embed, pool, bias, sample, series, linear4, embed4,
        pair, worker, logmel, begin, rest, streamed, repeated,
    )  # fmt: skip
    return [make() for make in made]


def modules(kernels: list[Kernel]) -> dict[str, str]:
    """What lands on boards: the name of each module, its source."""
    out = {"kernels_thumb": HEAD, **dict.fromkeys(PLACES.values(), HEAD)}
    for k in kernels:
        out[PLACES.get(k.name, "kernels_thumb")] += k.source()
    out["kernels_thumb"] += BEHIND
    return out
