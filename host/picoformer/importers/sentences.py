"""What sentence-transformers puts beside an encoder: where that lies, how its result is pooled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import Error
from ..graph.nodes import Graph, Pool
from .checkpoint import read_json

_POOLING = {"mean": "mean", "cls": "first", "lasttoken": "last"}
# What older versions have for pooling_mode: one flag a mode.
_FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
}
_MODULES = "Transformer", "Pooling", "Normalize"
_LIST = "modules.json"


def root(folder: Path) -> Path:
    """Where the encoder lies: the folder, or the one in it that modules.json names.

    Raises Error.
    """
    listed = _listed(folder) if not (folder / "config.json").is_file() else []
    return next((path for kind, path in listed if kind == "Transformer"), folder)


def _listed(folder: Path) -> list[tuple[str, Path]]:
    """(kind, folder) of each module; none where there is no list. Raises Error."""
    modules = folder / _LIST
    if not modules.is_file():
        return []
    listed = read_json(modules)
    if not isinstance(listed, list) or not all(isinstance(m, dict) for m in listed):
        raise Error(f"{modules} is not a list of modules")
    found = []
    for module in listed:
        seen, path = module.get("type"), module.get("path", "")
        kind = str(seen).split(".")[-1]
        if kind not in _MODULES:
            raise Error(f"{modules}: type is {seen!r}; supported: {', '.join(_MODULES)}")
        if not isinstance(path, str) or Path(path).name != path:
            raise Error(f"{modules}: path is {path!r}, expected a folder in {folder}")
        found.append((kind, folder / path))
    return found


def embed(graph: Graph, folder: Path) -> None:
    """Add the pooling that the files of sentence-transformers declare; the mean without them.

    folder: the encoder's, or the one around it. Whether the vector is then brought to length 1 is
    noted in meta: it changes no cosine.
    """
    graph.task = "embed"
    if not (folder / _LIST).is_file() and (folder.parent / _LIST).is_file():
        outer = folder.parent
        if ("Transformer", folder) in _listed(outer):
            folder = outer
    listed = _listed(folder)
    paths = dict(listed)
    path = paths.get("Pooling", folder / "1_Pooling") / "config.json"
    if (folder / _LIST).is_file():
        kinds = [kind for kind, _ in listed]
        if kinds not in (list(_MODULES), list(_MODULES[:2])):
            raise Error(
                f"{folder / _LIST} lists {', '.join(kinds) or 'nothing'}; supported: "
                "Transformer, Pooling and perhaps Normalize"
            )
        graph.meta["normalize"] = "Normalize" in kinds
    how = "mean"
    if path.is_file() or listed:
        how = _pooling(path, read_json(path))
    else:
        graph.meta["note"] = "no pooling is declared: the mean of all positions"
    graph.nodes.append(Pool("x", how))


def _pooling(path: Path, config: Any) -> str:
    if not isinstance(config, dict):
        raise Error(f"{path} is not a JSON object")
    mode = config.get("pooling_mode")
    if mode is None:
        on = [n for n, v in config.items() if n.startswith("pooling_mode_") and v]
        mode = [_FLAGS.get(name, name) for name in on]
    if isinstance(mode, list) and len(mode) == 1:
        mode = mode[0]
    if not isinstance(mode, str) or mode not in _POOLING:
        raise Error(f"{path}: pooling_mode is {mode!r}; supported: {', '.join(_POOLING)}")
    return _POOLING[mode]
