"""The order of the house: what may import what, and that everything fits its room.

docs/architecture.md draws it. Imports inside of functions count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOST, DEVICE = ROOT / "host" / "picoformer", ROOT / "device" / "picoformer"

# The stages of the data flow: each imports itself and those before it, none behind it.
STAGES = (
    "device", "errors", "version", "features", "graph", "tokenizers", "importers", "data",
    "compile", "simulate", "runtime", "planning", "training", "boards", "page", "commands",
    "__main__", "",
    "board", "link", "evaluation",  # where documented names were before
)  # fmt: skip
FILE, FUNCTION = 600, 80  # lines at most, docstrings not counted


def sources() -> list[Path]:
    return sorted([*HOST.rglob("*.py"), *DEVICE.glob("*.py")])


def name_of(path: Path) -> str:
    """A module's name in the package `picoformer` of the PC: "graph.nodes", "device.model"."""
    if DEVICE in path.parents:
        parts = ["device", *path.relative_to(DEVICE).with_suffix("").parts]
    else:
        parts = list(path.relative_to(HOST).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sources()}


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """The modules of the package that a file names in an import, with the lines."""
    name = name_of(path)
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [p for p in package if p][: len(package) - node.level + 1]
            base += (node.module or "").split(".") if node.module else []
            names = [".".join(base)] + [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("picoformer"):
            names = [(node.module or "")[len("picoformer.") :]]
        elif isinstance(node, ast.Import):
            names = [a.name[11:] for a in node.names if a.name.startswith("picoformer.")]
        found = [n for n in names if n in MODULES]
        # `from ..graph import nodes` is of nodes, not of the package that it lies in.
        deepest = [n for n in found if n.count(".") == max(f.count(".") for f in found)]
        for n in found if len(found) == 1 else [d for d in deepest if d or len(found) == 1]:
            yield n, node.lineno


@cache
def arrows() -> dict[str, dict[str, int]]:
    """module: {module that it imports: line}."""
    return {name: dict(imported(path)) for name, path in MODULES.items()}


def stage(name: str) -> int:
    return STAGES.index(name.partition(".")[0])


def circles(graph: dict[str, dict[str, int]]) -> list[list[str]]:
    """Circles of imports, each once."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        if name in way:
            found.append([*way[way.index(name) :], name])
        elif name not in done:
            for other in graph.get(name, {}):
                visit(other, [*way, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return found


def upward(graph: dict[str, dict[str, int]]) -> list[str]:
    """Arrows from a stage to one behind it."""
    return [
        f"{MODULES[name].relative_to(ROOT)}:{line} imports {other}"
        for name, others in graph.items()
        for other, line in others.items()
        if stage(other) > stage(name)
    ]


def test_no_arrow_from_a_stage_to_a_later_one():
    assert not upward(arrows())


def test_no_circle_of_imports():
    assert not circles(arrows())


def test_these_rules_can_fail():
    """An arrow back, within a stage or across, is seen, inside of a function as elsewhere."""
    graph = {name: dict(others) for name, others in arrows().items()}
    graph["graph.nodes"]["compile.compiler"] = 1
    assert len(upward(graph)) == 1
    assert any("graph.nodes" in circle for circle in circles(graph))
    inside = list(ast.walk(ast.parse(MODULES["device.model"].read_text("utf-8"))))
    assert any(isinstance(f, ast.ImportFrom) and f.col_offset for f in inside)
    assert "device.loader" in arrows()["device.model"], "imports inside of functions count"


def test_every_module_has_its_stage():
    assert {name.partition(".")[0] for name in MODULES} == set(STAGES)


def is_kernel(path: Path) -> bool:
    return path.name.startswith("kernels_")


def told(node: ast.AST) -> int:
    """Lines of the docstrings in a module, a class or a function."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = (inner.body[0] for inner in ast.walk(node) if isinstance(inner, kinds) and inner.body)
    return sum(
        (t.end_lineno or 0) - t.lineno + 1
        for t in texts
        if isinstance(t, ast.Expr) and isinstance(t.value, ast.Constant)
    )


@pytest.mark.parametrize("folder", ["host", "device"])
def test_files_are_short(folder):
    long = {
        str(path.relative_to(ROOT)): n
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not is_kernel(path)
        and (n := len((text := path.read_text("utf-8")).splitlines()) - told(ast.parse(text)))
        > FILE
    }
    assert not long


@pytest.mark.parametrize("folder", ["host", "device", "tools"])
def test_functions_fit_a_screen_or_two(folder):
    long = {
        f"{path.relative_to(ROOT)}: {node.name}": n
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not is_kernel(path)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
        and (n := (node.end_lineno or 0) - node.lineno + 1 - told(node)) > FUNCTION
    }
    assert not long
