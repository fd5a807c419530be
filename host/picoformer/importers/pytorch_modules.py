"""Which module of a PyTorch model has which role: by the description, else by shapes and names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..errors import Error
from ..graph.nodes import Array
from .checkpoint import no_tensor
from .description import Description
from .stored import KINDS, expect_shape, read_tensors
from .wrapping import plain, unwrapped

ROLES = (
    "embedding",
    "source_embedding",
    "positions",
    "source_positions",
    "embedding_norm",
    "encoder",
    "decoder",
    "norm",
    "head",
    "patches",
    "input",
    "class_token",
)
# Buffers that a model keeps beside its weights.
_HARMLESS = re.compile(r"(^|[._])(\w*mask|tril|position_ids)$")


class State:
    """The tensors of a file, and which of them were asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stored, self._wrap = unwrapped(read_tensors(path))
        self._read: dict[str, Array] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.stored

    def shape(self, name: str) -> tuple[int, ...]:
        return self.stored[name].shape if name in self.stored else ()

    def get(self, name: str, *shape: int) -> Array:
        """A tensor in float32, the same object each time; a size of 0 may be any. Raises Error."""
        stored = self.stored.get(name)
        if stored is None:
            raise no_tensor(self.path, name, self.stored)
        expect_shape(f"{self.path}: {name}", stored.shape, shape)
        if stored.kind not in KINDS:
            raise Error(f"{self.path}: {name} is {stored.kind}; supported: {', '.join(KINDS)}")
        if name not in self._read:
            self._read[name] = stored.read()
        return self._read[name]

    def biased(self, name: str, n: int) -> Array | None:
        """The bias (n,) of a module, if it has one."""
        return self.get(name + ".bias", n) if name + ".bias" in self else None

    def norm(self, name: str, n: int) -> tuple[Array, Array]:
        """Gain and bias (n,) of a norm, whose bias may be absent; a size of 0 may be any."""
        gain = self.get(name + ".weight", n)
        bias = self.biased(name, len(gain))
        return gain, np.zeros_like(gain) if bias is None else bias

    def name(self, given: str) -> str:
        """A name as it is here, given as it is in the file or without what wraps the model."""
        if any(n == given or n.startswith(given + ".") for n in self.stored):
            return given
        return plain(given).removeprefix(self._wrap)

    def drop(self, name: str) -> None:
        """Forget a module, or a parameter. Raises Error where there is none."""
        name = self.name(name)
        found = [n for n in self.stored if n == name or n.startswith(name + ".")]
        if not found:
            raise Error(f"{self.path} has no tensors of {name!r}, which 'unused' names")
        for key in found:
            del self.stored[key]

    def left(self) -> list[str]:
        """The tensors that were not asked for, masks aside."""
        return [n for n in self.stored if n not in self._read and not _HARMLESS.search(n)]


class Modules:
    """The modules of a file, as its description names them. Raises Error."""

    def __init__(self, state: State, given: Description) -> None:
        self.state = state
        self.given = given
        for name in given.texts("unused"):
            state.drop(name)
        modules = given.get("modules", {})
        self._named = given.within("modules", modules, ROLES)

    def named(self, role: str) -> str:
        """The name that the description gives a module; "" if none."""
        v = self._named.get(role)
        if v is not None and not isinstance(v, str):
            raise Error(f"{self.given.path}: modules.{role} is {v!r}, expected a module's name")
        return self.state.name(v) if v else ""

    def head_names(self) -> list[str]:
        """The head's modules and activations, as far as the description names them."""
        v = self._named.get("head", [])
        v = [v] if isinstance(v, str) else v
        if not isinstance(v, list) or not all(isinstance(n, str) for n in v):
            raise Error(f"{self.given.path}: modules.head is {v!r}, expected a list of names")
        return [self.state.name(n) for n in v]

    def pick(self, role: str, found: list[str]) -> str:
        """The module of a role: the one named, else the only one found. Raises Error."""
        if name := self.named(role):
            return name
        if len(found) != 1:
            names = '["fc1", "relu", "fc2"]' if role == "head" and found else "NAME"
            raise Error(
                f"{self.state.path}: {some(found) if found else 'nothing'} could be the {role}; "
                f'name it in {self.given.path.name}, as "modules": {{"{role}": {names}}}'
            )
        return found[0]

    def of_rank(self, rank: int) -> list[str]:
        """What is left and has a weight of `rank` dimensions."""
        ends = ".weight"
        return [
            n.removesuffix(ends)
            for n in self.state.left()
            if n.endswith(ends) and len(self.state.shape(n)) == rank
        ]

    def table(self, name: str, dim: int) -> Array:
        """An embedding (rows, dim) or a buffer of that, with whatever sizes of 1 around."""
        key = name if name in self.state else name + ".weight"
        shape = self.state.shape(key)
        if len([n for n in shape if n != 1]) != 2 or shape[-1] != dim:
            seen = f"shape {shape}" if shape else "no tensor"
            raise Error(f"{self.state.path}: {key} has {seen}, expected (rows, {dim})")
        return np.ascontiguousarray(self.state.get(key, *shape).reshape(-1, dim))

    def check_used(self) -> None:
        """Raise Error if a tensor was not asked for."""
        left = self.state.left()
        if left:
            raise Error(
                f"{self.state.path} has {len(left)} tensors that the described model has not: "
                f"{some(left)}. Name their modules in {self.given.path.name}: in 'modules', as "
                f"one of {', '.join(ROLES)}, or in 'unused' if the model does not run them"
            )


def some(names: list[str]) -> str:
    """The first of them, for an error."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
