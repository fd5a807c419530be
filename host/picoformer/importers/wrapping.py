"""The names of a checkpoint's tensors without what tools of training put around them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Any

# What torch.compile, DataParallel, FSDP, DeepSpeed and checkpointing of activations insert, at
# the front of a name or where they wrap a part of the model.
_WRAPPERS = {
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
    "_module",
    "module",
}
_MOST = 0.8  # of the tensors of a file, which are nearly all


def plain(name: str) -> str:
    """A name without the wrappers."""
    return ".".join(p for p in name.split(".") if p not in _WRAPPERS)


def common(names: Iterable[str]) -> str:
    """What all names begin with, whole parts of them: "" or "base_model.model."."""
    split = [n.split(".")[:-1] for n in names]
    shared: list[str] = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "".join(p + "." for p in shared) if len(split) > 1 else ""


def unwrapped(stored: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """(tensors by their names without wrappers and common prefix, that prefix).

    Single numbers beside them (a count of steps) belong to the wrapper and are left out. Where
    two names would become one, all stay as they are. stored: of objects with a `shape`.
    """
    names = {plain(n): n for n in stored}
    if len(names) < len(stored):
        return stored, ""
    single = {n for n, s in names.items() if stored[s].shape in ((), (1,))}
    others = names.keys() - single
    prefix = common(others)
    if prefix:
        single = {n for n in single if not n.startswith(prefix)}
    elif any(n == names[n] for n in others):
        single = set()  # the model itself has no wrapper
    else:
        single = {n for n in single if n == names[n]}
    return {n[len(prefix) :]: stored[s] for n, s in names.items() if n not in single}, prefix


def around(name: str, names: Iterable[str], base: str = "") -> str:
    """What precedes a name in nearly all of the names, less `base`; "" where nothing does."""
    names = list(names)
    for n in names:
        if n.endswith("." + name):
            prefix = n[: -len(name)].removesuffix(base)
            if sum(m.startswith(prefix) for m in names) >= _MOST * len(names):
                return prefix
    return ""


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names that are most like one, those of the same last parts first."""
    last = name.split(".")

    def likeness(n: str) -> tuple[int, float]:
        same = 0
        for a, b in zip(reversed(last), reversed(n.split(".")), strict=False):
            if a != b:
                break
            same += 1
        return same, SequenceMatcher(None, name, n, autojunk=False).ratio()

    return sorted(names, key=likeness, reverse=True)[:count]
