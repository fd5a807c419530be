"""The simulator says when a value leaves 32 bits, where boards would differ."""

import numpy as np
import pytest

from picoformer.compile.quantize import quantize
from picoformer.errors import Error
from picoformer.simulate.memory import Memory
from picoformer.simulate.steps import STEPS

MATRIX = quantize([np.eye(4)]).words().reshape(-1)
ENDS = -(1 << 31), (1 << 31) - 1


def run(op: str, frame: list[int], **fields: int) -> list[int]:
    """The frame after a step; its word i is operand 16 + i << 6."""
    memory = Memory(2, 4, 0, np.empty(0, np.int64), MATRIX, end=1, frames=np.array([frame]))
    STEPS[op](memory, **fields)
    return memory.frames[0].tolist()


@pytest.mark.parametrize("end, exponent", [(ENDS[0], -4096), (ENDS[1], 4096)])
def test_the_exponent_of_a_norm(end, exponent):
    fields = {"x": 18 << 6, "out": 20 << 6, "n": 2, "bits": 12, "dyn": 17 << 6, "scale": 16384}
    fields |= {"gain": 0, "lg": 0, "eps": 0, "eps_e": 0}
    near = 200 if end < 0 else -200
    out = run("norm", [0, end, 16384, -16384, *[0] * 6], **fields, exponent=near)
    assert abs(out[5] - end - near) < 50
    with pytest.raises(Error, match="32 bits"):
        run("norm", [0, end, 16384, -16384, *[0] * 6], **fields, exponent=exponent)


@pytest.mark.parametrize("end, shift", [(ENDS[0], 0), (ENDS[1], -4096)])
def test_the_shift_of_a_product(end, shift):
    fields = {"x": 17 << 6, "out": 25 << 6, "weights": 3, "cols": 4, "groups": 1, "room": 2}
    fields |= {"add": 0, "first": 0, "count": 1}
    frame = [0, 8192, end, 10, 0, 1, 2, 3, 4, *[0] * 4]
    assert len(run("linear", frame, **fields, shift=-1)) == len(frame)
    with pytest.raises(Error, match="32 bits"):
        run("linear", frame, **fields, shift=shift)
