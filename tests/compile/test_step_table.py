"""The one table of the steps: all who know a step know it by the names of its fields."""

from __future__ import annotations

import inspect
import re

import pytest

import models
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import compile_graph
from picoformer.compile.draft import Draft, Ref
from picoformer.compile.steps import CODES, FIELDS, Step, uses
from picoformer.compile.weights import Weights
from picoformer.simulate.steps import STEPS
from test_modelfile import documented_rows


def test_limits_are_those_of_the_page():
    pages = documented_rows("format.md")
    assert pages.keys() == FIELDS.keys() == CODES.keys()
    said = 0
    for op, fields in FIELDS.items():
        assert [(f.name, f.kind) for f in fields.values()] == [row[:2] for row in pages[op]]
        for f, (_, _, text) in zip(fields.values(), pages[op], strict=True):
            between = re.search(r"(?:^|, )(-?[\d^]+) to ([\d^]+( - 1)?)(?=$|[,;:])", text)
            if between and f.kind == "-":
                low, high = (eval(v.replace("^", "**")) for v in between.group(1, 2))
                assert (f.low, f.high) == (low, high), (op, f)
                assert f.given == ("gain" if "with a gain" in text else "")
                said += 1
            elif text.startswith("0;"):
                assert f.low == f.high == 0
            elif f.low is not None:
                assert "as in" in text or "1:" in text or f.name in ("kv_heads", "size")
    assert said > 30


@pytest.mark.parametrize("op", FIELDS)
def test_each_step_is_simulated_by_its_fields(op):
    """By all of them, and by no others."""
    memory, *fields = inspect.signature(STEPS[op]).parameters.values()
    optional = {f.name for f in fields if f.default is not f.empty}
    assert all(f.kind is f.KEYWORD_ONLY for f in fields)
    assert {f.name for f in fields} - optional <= FIELDS[op].keys() <= {f.name for f in fields}


@pytest.mark.parametrize("op", FIELDS)
def test_each_step_uses_its_operands(op):
    step = Step(op, list(range(1, len(FIELDS[op]) + 1)))
    found = {field for field, _, _ in uses(step)}
    frame = {f.name for f in FIELDS[op].values() if f.kind == "o"}
    elsewhere = {"cache", "rotation", "exp2", "scores", "gain", "table"}
    if op != "norm":
        elsewhere.add("bias")
    assert found == frame - elsewhere
    assert step[next(iter(found))] == step.named[next(iter(found))]


def test_a_step_is_emitted_with_its_fields_or_not_at_all():
    graph = models.architecture(models.GPT2, 8, 12, 1, 2, 13, 8)
    draft = Draft(graph, calibrate(graph), 8, Weights(8, {}), 12, 8)
    draft.emit("pool", how=0, n=8, x=Ref("x"))
    assert list(draft.steps[0].fields) == ["x", "n", "how"]
    for fields in ({"x": 1, "n": 8}, {"x": 1, "n": 8, "how": 0, "who": 0}, {"n": 1, "bits": 2}):
        with pytest.raises(TypeError, match="the fields of pool are"):
            draft.emit("pool", **fields)
    for step in compile_graph(graph, calibrate(graph)).steps:
        assert step.fields.keys() == FIELDS[step.op].keys()
