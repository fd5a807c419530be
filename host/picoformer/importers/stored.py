"""The tensors of one file: safetensors, or what torch.save wrote, of which nothing is run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import Error
from ..graph.nodes import Array
from .recognize import PICKLE, SAFETENSORS, TORCH, recognize, refusal

# numpy has no bfloat16: its 16 bits are the upper half of a float32
KINDS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
# Under what checkpoints have the model's tensors, the first that is there: other dictionaries
# of tensors beside it are averages, or of an optimizer.
_KEYS = "state_dict", "model_state_dict", "model", "module", "net", "network", "weights"
_DEPTH = 3  # of dictionaries in dictionaries


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: its type (one of KINDS is a float), its shape, and what reads it."""

    kind: str
    shape: tuple[int, ...]
    read: Callable[[], Array]


def expect_shape(what: str, seen: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Raise Error unless a tensor has this shape, in which a size of 0 may be any."""
    if len(seen) != len(shape) or any(n and n != m for n, m in zip(shape, seen, strict=True)):
        expected = "(" + ", ".join(str(n or "any") for n in shape) + ")"
        raise Error(f"{what} has shape {seen}, expected {expected}")


def read_tensors(path: Path) -> dict[str, Stored]:
    """The tensors of one file, safetensors or what torch.save wrote. Raises Error."""
    seen = recognize(path)
    if seen == SAFETENSORS or (path.suffix == ".safetensors" and not seen):
        return _safetensors(path)
    if seen not in ("", TORCH, PICKLE):
        raise refusal(path, seen, "weights: what safetensors or torch.save(state_dict) writes")
    return _torch(path)


def _safetensors(path: Path) -> dict[str, Stored]:
    """Name -> (type, shape, how to read it) of a safetensors file."""
    try:
        with safe_open(path, framework="np"):
            pass  # which checks the header: sizes, and that tensors fill the file
        with path.open("rb") as f:
            start = 8 + int.from_bytes(f.read(8), "little")
            header = json.loads(f.read(start - 8))
    except (SafetensorError, ValueError, OSError) as e:
        raise Error(f"{path} is truncated or not a safetensors file: {e}") from e
    header.pop("__metadata__", None)

    def reader(entry: dict[str, Any]) -> Callable[[], Array]:
        def read() -> Array:
            kind, shape = entry["dtype"], entry["shape"]
            count, offset = int(np.prod(shape)), start + entry["data_offsets"][0]
            raw = np.fromfile(path, KINDS[kind], count, offset=offset)
            if kind == "BF16":
                raw = (raw.astype(np.uint32) << 16).view(np.float32)
            return raw.reshape(shape).astype(np.float32, copy=False)

        return read

    return {n: Stored(e["dtype"], tuple(e["shape"]), reader(e)) for n, e in header.items()}


def _torch(path: Path) -> dict[str, Stored]:
    """The same of what torch.save wrote: tensors only, nothing in it is run."""
    try:
        import torch
    except ImportError:
        name = "model" if path.suffix == ".bin" else path.stem  # a folder's has this name
        raise Error(
            f"{path} needs torch to be read: install it (pip install torch), or save the model "
            f"as {name}.safetensors"
        ) from None
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # of many kinds, from pickle, zipfile and torch
        said = str(e).strip().split("\n")[0]
        if said.startswith("Weights only"):
            said = "it holds objects, as of a whole model, which would have to be run"
        raise Error(
            f"{path} is truncated or not PyTorch weights: {said}; expected what "
            "torch.save(model.state_dict(), FILE) writes"
        ) from e
    stored = _state_dict(path, stored, torch.is_tensor)
    kinds = {
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.float32: "F32",
        torch.float64: "F64",
    }

    def reader(t: Any) -> Callable[[], Array]:
        return lambda: np.asarray(t.detach().to(torch.float32).numpy())

    return {
        str(n): Stored(kinds.get(t.dtype, str(t.dtype)), tuple(t.shape), reader(t))
        for n, t in stored.items()
    }


def _state_dict(
    path: Path, stored: Any, is_tensor: Callable[[Any], bool]
) -> dict[str, Any]:
    """The tensors by name, of what a file holds, or of a dictionary in it. Raises Error."""
    if not isinstance(stored, dict):
        raise Error(
            f"{path} holds a {type(stored).__name__}, not a dictionary of tensors; expected a "
            "model's state_dict"
        )
    found = dict(_dictionaries(stored, is_tensor))
    way = next((w for key in _KEYS for w in found if w[-1:] == (key,)), None)
    if len(found) == 1:
        way = next(iter(found))
    if way is None:
        ways = [".".join(w) or "itself" for w in found]
        seen = "several dictionaries of tensors" if found else "no dictionary of tensors"
        names = ", ".join(ways if found else map(str, list(stored)[:8])) or "none"
        raise Error(
            f"{path} has {seen}; its keys: {names}; expected a model's state_dict, by itself or "
            f"under one of {', '.join(_KEYS)}: torch.save(torch.load(FILE)[KEY], NEW) saves one"
        )
    return found[way]


def _dictionaries(
    stored: dict[Any, Any], is_tensor: Callable[[Any], bool], way: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The dictionaries that have tensors by name, not only numbers: (the keys to it, those)."""
    if not all(isinstance(key, str) for key in stored):
        return
    tensors = {name: t for name, t in stored.items() if is_tensor(t)}
    if any(t.ndim for t in tensors.values()):
        yield way, tensors
    if len(way) < _DEPTH:
        for key, inner in stored.items():
            if isinstance(inner, dict):
                yield from _dictionaries(inner, is_tensor, (*way, key))
