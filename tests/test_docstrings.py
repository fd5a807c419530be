"""Every public name says what it takes, gives and raises; docs/api.md has all of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import picoformer

ROOT = Path(__file__).resolve().parents[1]
HOST = "host/picoformer"
API = (ROOT / "docs" / "api.md").read_text("utf-8")
# What is public: names of the package, what a board has, and what these return.
PUBLIC = sorted({
    *((f"{HOST}/{module.replace('.', '/')}.py", name)
      for name, module in picoformer._FROM.items() if module not in ("errors", "device.listener")),
    ("device/picoformer/errors.py", "Error"),
    ("device/picoformer/listener.py", "Listener"),
    ("device/picoformer/model.py", "Model"),
    ("device/picoformer/sound.py", "Features"),
    (f"{HOST}/simulate/sound.py", "Features"),
    (f"{HOST}/simulate/scores.py", "Scores"),
    (f"{HOST}/simulate/scores.py", "LayerError"),
    (f"{HOST}/compile/report.py", "Report"),
    (f"{HOST}/planning/budget.py", "Budget"),
    (f"{HOST}/boards/selftest.py", "SelfTest"),
    (f"{HOST}/boards/selftest.py", "StepTime"),
    (f"{HOST}/boards/selftest.py", "Difference"),
    (f"{HOST}/boards/contents.py", "Contents"),
    (f"{HOST}/boards/contents.py", "Held"),
    (f"{HOST}/boards/contents.py", "Kept"),
    (f"{HOST}/boards/replies.py", "Loaded"),
    (f"{HOST}/boards/replies.py", "Stats"),
    (f"{HOST}/boards/replies.py", "Stored"),
    (f"{HOST}/data/sounds.py", "sound"),
})  # fmt: skip
CALLED = {"Model", "Listener", "Simulator", "Board", "Features"}  # whose methods api.md has
Node = ast.ClassDef | ast.FunctionDef


def node_of(file: str, name: str) -> Node:
    body = ast.parse((ROOT / file).read_text("utf-8")).body
    return next(n for n in body if isinstance(n, Node) and n.name == name)


def documented(file: str, name: str) -> Iterator[tuple[str, Node]]:
    """(name, node) of a public name and of its public methods."""
    node = node_of(file, name)
    yield name, node
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                yield f"{name}.{inner.name}", inner


def parameters(node: Node) -> list[str]:
    """Of a function, or of a class what makes one: arguments of __init__, or fields."""
    if isinstance(node, ast.ClassDef):
        inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if inits:
            return parameters(inits[0])
        fields = (n.target for n in node.body if isinstance(n, ast.AnnAssign))
        return [t.id for t in fields if isinstance(t, ast.Name)]
    a = node.args
    found = [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs]
    return [p.arg for p in found if p.arg not in ("self", "cls")]


def raises(node: Node) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(n, ast.Raise) and n.exc is not None for n in ast.walk(node)
    )


ALL = [
    pytest.param(inner, id=f"{Path(file).stem}.{called}")
    for file, name in PUBLIC
    for called, inner in documented(file, name)
]


@pytest.mark.parametrize("node", ALL)
def test_it_is_documented(node):
    text = ast.get_docstring(node)
    assert text and text[0].isupper(), "no docstring"
    missing = [p for p in parameters(node) if not re.search(rf"\b{p}\b", text)]
    assert not missing, f"its docstring does not name {missing}"
    if raises(node):
        assert "Raises" in text


def test_the_page_has_every_name():
    missing = []
    for file, name in PUBLIC:
        for called, _ in documented(file, name):
            word = called.rpartition(".")[2]
            wanted = name in CALLED or word == name != "LayerError"
            if wanted and not re.search(rf"`[^`\n]*\b{word}\b[^`\n]*`", API):
                missing.append(f"{file}: {called}")
    assert not missing
