"""The names that docs/api.md promises are there, and nothing is loaded before it is used."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import picoformer

DOC = (Path(__file__).resolve().parents[1] / "docs" / "api.md").read_text("utf-8")

# Where documented names were before.
BEFORE = {
    "board": ["NoBoardError", "NoRuntimeError", "PortError", "ScriptError"],
    "evaluation": ["plot"],
    "link": [
        "BoardError", "LinkError", "NoMemoryError", "NoModelError", "NoSpaceError",
        "NoWeightsError",
    ],
}  # fmt: skip


def test_the_document_names_them_all():
    found = set(re.findall(r"\b(?:[A-Z]\w+Error|Error|Board|Listener|Simulator)\b", DOC))
    kinds = {*BEFORE["board"], *BEFORE["link"], "ReadOnlyError"}
    assert found - {"Error", "Board", "Listener", "Simulator"} == kinds
    assert found | {"convert", "evaluate", "plot", "selftest"} == set(picoformer.__all__)


@pytest.mark.parametrize("name", picoformer.__all__)
def test_every_name_is_there(name):
    assert callable(getattr(picoformer, name))
    if name.endswith("Error"):
        assert issubclass(getattr(picoformer, name), picoformer.Error)


@pytest.mark.parametrize("module", BEFORE)
def test_names_are_where_they_were(module):
    before = importlib.import_module(f"picoformer.{module}")
    assert sorted(before.__all__) == BEFORE[module]
    for name in BEFORE[module]:
        assert getattr(before, name) is getattr(picoformer, name)
        assert getattr(getattr(picoformer, module), name) is getattr(picoformer, name)


def test_help_lists_them():
    """pydoc and completion ask for names that nobody has used yet; that loads nothing."""
    code = "import sys, picoformer; print(*dir(picoformer)); print('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, loaded = run.stdout.splitlines()
    assert set(picoformer.__all__) <= set(names.split()) and loaded == "False"


def test_no_other_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = picoformer.nothing


def test_the_package_itself_loads_nothing():
    code = "import sys, picoformer; print(*sorted(m for m in sys.modules if 'numpy' in m))"
    code += "; print(picoformer.evaluation.plot.__name__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "\nplot\n"
