"""Where the integers lose: the error of each value of the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compile.steps import Step, results
from ..data.examples import Example
from ..graph.float_model import FloatModel
from ..graph.nodes import Array, Graph
from .memory import Memory
from .scores import LayerError
from .simulator import Simulator


def layer_errors(sim: Simulator, graph: Graph, rows: list[Example]) -> list[LayerError]:
    """The error of each value in the program's order, over some examples.

    A value that changes in place comes once for every change. Empty if the file does not name
    its values.
    """
    named: list[list[Any]] = sim.model.meta.get("values", [])
    if len(named) != len(sim.model.steps):
        return []
    # By the value and how often it has changed: squares of the errors and of the value, summed.
    sums: dict[tuple[str, int], list[float]] = {}
    for e in rows:
        exact: dict[str, list[Array]] = {}
        model = FloatModel(graph)
        model.tap = lambda name, y, seen=exact: seen.setdefault(name, []).append(y[0])
        e.run(model)
        _add_errors(sums, sim, e, named, exact)
    return [
        LayerError(name if n == 1 else f"{name}#{n}", float(np.sqrt(off / max(size, 1e-30))))
        for (name, n), (off, size) in sums.items()
    ]


def _add_errors(
    sums: dict[tuple[str, int], list[float]], sim: Simulator, e: Example,
    named: list[list[Any]], exact: dict[str, list[Array]],
) -> None:  # fmt: skip
    """Run an example, and add what its values are off.

    named: each step's values and their fraction bits. exact: what the float model has, by the
    value, once for every change.
    """
    count: dict[str, int] = {}

    def tap(i: int, step: Step, memory: Memory) -> None:
        if not named[i]:
            return
        joined, bits = named[i]
        operand, _ = next(results(step))
        for name in joined.split("+"):
            n = count[name] = count.get(name, 0) + 1
            if n > len(exact.get(name, [])):
                continue
            want = exact[name][n - 1]
            size = want.shape[1]
            # Where positions were pooled, the logits are those of the last.
            got = (
                memory.logits[-len(want) :] if name == "logits" else memory.value(operand, size)
            )
            real = got * 2.0**-bits
            if step.op == "gate" and step["dyn"]:
                real = real * 2.0 ** memory.value(step["dyn"], 1)
            operand += size << 6
            want = want[: len(real)]
            s = sums.setdefault((name, n), [0.0, 0.0])
            s[0] += float(((real - want) ** 2).sum())
            s[1] += float((want**2).sum())

    sim.machine.tap = tap
    try:
        sim.machine.example(e)
    finally:
        sim.machine.tap = None
