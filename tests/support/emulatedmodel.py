"""A model whose steps run on an emulated core."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cores import RAM, Memory
from models import Architecture
from picoformer.device import program
from picoformer.device.model import Model

BIAS = 0x20000000
FIELDS = {**{name: letters for name, letters, _ in program.OPS.values()}, "sample": "o-o-----"}
FIELDS["windows"] = "oo----------o"  # where a signal is, as a model writes it there


def halves(numbers: Iterable[int]) -> list[int]:
    """Words of two numbers of 16 bits."""
    listed = [v & 0xFFFF for v in numbers]
    listed += [0] * (len(listed) % 2)
    return [a | b << 16 for a, b in zip(listed[::2], listed[1::2], strict=True)]


def placed(words: list[int], letters: str, at: list[int]) -> list[int]:
    """Words with the operands among them as kernels take them; `at`: addresses of the regions."""
    return [
        at[v & 63] + 4 * (v >> 6) - at[0] + BIAS if letter != "-" and v else v
        for letter, v in zip(letters, words, strict=True)
    ]


def emulated(cpu, a: Architecture, seen: set[str]) -> Model:
    """The model with every step in the emulator and its weights in two pieces and more."""
    model = Model(str(a.file()), kernels="portable")
    space = model._space
    regions = space[: len(space) - bool(model.frames)]  # the last one is a signal's
    # Each run is cut at a word that divides nothing.
    runs: list[int] = []
    first = {}
    for i in range(0, len(regions[2]), 2):
        operand, n = regions[2][i : i + 2]
        first[i << 6 | 2] = len(runs) << 6 | 2
        k = min(n, 1 + n * 5 // 13)
        runs += [operand, k, operand + (k << 6), n - k]
    memory = Memory(np.random.default_rng(0))
    at = [memory.put(runs if i == 2 else r, int(i == 0)) for i, r in enumerate(regions)]
    memory.set(at[2], placed(runs, "o-" * (len(runs) // 2), at))
    used = memory.used

    def step(kernel, record):
        name = kernel.__name__
        fields = [first[v] if letter == "w" else v
                  for letter, v in zip(FIELDS[name], record, strict=True)]  # fmt: skip
        where = placed(fields, FIELDS[name], at)

        def call(_record, _memory):
            seen.add(name)
            memory.used = used
            if name == "windows" and space[-1] is not None:
                where[1] = memory.put(halves(space[-1])) - at[0] + BIAS
                where[2] = record[2]
            for i in (0, *range(4, len(regions))):
                memory.set(at[i], regions[i])
            left = cpu.call(name, memory, memory.put(where), at[0])
            for i in (0, *range(4, len(regions))):
                start = (at[i] - RAM) // 4
                regions[i][:] = type(regions[i])(
                    "i", left[start : start + len(regions[i])].tobytes()
                )

        return call

    for steps in model._encoder, model._body, model._head:
        steps[:] = [(step(kernel, record), record) for kernel, record in steps]
    return model
