"""The file of a Keras 3 model: its layers' calls, in order, and its weights.

The file is an archive: config.json tells the layers and how they are connected, model.weights.h5
has the weights. Nothing in it is run.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.nodes import Array
from .stored import expect_shape

# Layers that do nothing when a model is used.
_NOTHING = (
    "Dropout",
    "SpatialDropout1D",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
    "Identity",
    "Masking",
)
# What JSON of another shape, or a file inside that is damaged, raises somewhere.
MALFORMED = (
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration,
    AssertionError, OSError, RuntimeError,
)  # fmt: skip
Key = tuple[str, int]
"""A tensor: the path of the layer that makes it, and which of its calls."""


@dataclass(frozen=True)
class Ref:
    """An argument that is a tensor."""

    key: Key


@dataclass
class Call:
    """One call of a layer or an operation."""

    path: str  # of the weights
    name: str
    kind: str
    custom: bool
    config: dict[str, Any]
    args: list[Any]
    kwargs: dict[str, Any]

    def inputs(self) -> Iterator[Key]:
        stack = [self.args, *self.kwargs.values()]
        while stack:
            value = stack.pop(0)
            if isinstance(value, Ref):
                yield value.key
            elif isinstance(value, list):
                stack = value + stack


def _open(path: Path) -> tuple[Any, Any, dict[str, list[str]]]:
    """(config.json, the file of weights, lists of words by their place). Raises Error."""
    try:
        import h5py
    except ImportError:
        raise Error(f"{path} needs h5py to be read: pip install 'picoformer[keras]'") from None
    try:
        with zipfile.ZipFile(path) as archive:
            metadata, config = (
                json.loads(archive.read(name)) for name in ("metadata.json", "config.json")
            )
            data = archive.read("model.weights.h5")
            lists = {
                name: archive.read(name).decode().split("\n")
                for name in archive.namelist()
                if name.endswith("/vocabulary.txt")
            }
    except (*MALFORMED, zipfile.BadZipFile, zlib.error) as e:
        raise Error(
            f"{path} is truncated or not a Keras 3 file: {e}; expected what model.save writes"
        ) from e
    version = str(metadata.get("keras_version"))
    if not version.startswith("3."):
        raise Error(f"{path} was saved by Keras {version}; supported: Keras 3 (load and save it)")
    try:
        return config, h5py.File(io.BytesIO(data), "r"), lists
    except OSError as e:
        raise Error(f"{path}: model.weights.h5 cannot be read: {e}") from e


class KerasFile:
    """A model's calls, once `flatten` has put them down, and its weights. Raises Error.

    root: what config.json holds. lists: lists of words, by their place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root, self._weights, self.lists = _open(path)
        self.calls: dict[Key, Call] = {}
        self.alias: dict[Key, Key] = {}  # a tensor that is another
        self._tables: dict[str, Array] = {}

    def weight(self, name: str, *shape: int) -> Array:
        """A weight in float32; a size of 0 may be any. Raises Error."""
        if name not in self._tables:
            found = self._weights.get(name)
            if found is None or found.external or found.is_virtual:
                raise Error(f"{self.path}: model.weights.h5 has no {name}")
            if found.dtype.kind != "f":
                raise Error(f"{self.path}: {name} is {found.dtype}; supported: floats")
            self._tables[name] = np.asarray(found, np.float32)
        expect_shape(f"{self.path}: {name}", self._tables[name].shape, shape)
        return self._tables[name]

    def rank(self, name: str) -> int:
        """Dimensions of a weight, 0 where there is none."""
        found = self._weights.get(name)
        return len(getattr(found, "shape", ()))

    def flatten(
        self, model: Any, path: str, scope: str = "", given: list[Key] | None = None
    ) -> list[Key]:
        """Put down all calls of a model, and of those inside it; returns what comes out.

        path: where its weights are. scope: what tells one call of the model from another.
        given: what is put in, where it is inside of another.
        """
        config = model["config"]
        names: dict[str, str] = {}
        counts: dict[str, int] = {}
        prefix = path + "/layers" if path else "layers"
        for layer in config["layers"]:
            if _is_operation(layer):
                names[layer["config"]["name"]] = ""
                continue
            kind = _snake(layer["class_name"])
            n = counts[kind] = counts.get(kind, -1) + 1
            name = layer.get("name") or layer["config"]["name"]
            names[name] = f"{prefix}/{kind}" + (f"_{n}" if n else "")
        if model["class_name"] == "Sequential":
            return self.sequence(config["layers"], names, scope, given)
        for layer in config["layers"]:
            for n, node in enumerate(layer["inbound_nodes"]):
                args = _arguments(node["args"], scope)
                kwargs = {k: _arguments(v, scope) for k, v in node["kwargs"].items()}
                self.add(
                    layer, names[layer["name"]], (f"{scope}:{layer['name']}", n), args, kwargs
                )
        for i, (name, *_) in enumerate(_listed(config["input_layers"])):
            key = f"{scope}:{name}", 0
            if given is None:
                layer = next(x for x in config["layers"] if x["name"] == name)
                self.add(layer, "", key, [], {})
            else:
                self.alias[key] = given[i]
        return [(f"{scope}:{name}", n) for name, n, _ in _listed(config["output_layers"])]

    def sequence(
        self, layers: list[Any], names: dict[str, str], scope: str, given: list[Key] | None
    ) -> list[Key]:
        key = given[0] if given else None
        for layer in layers:
            name = layer.get("name") or layer["config"]["name"]
            inside = layer["class_name"] == "InputLayer"
            if inside and key is not None:
                continue
            if key is None and not inside:
                raise Error(f"{self.path}: {name!r} is the first layer; expected an Input")
            here = f"{scope}:{name}", 0
            self.add(layer, names[name], here, [] if key is None else [Ref(key)], {})
            key = here
        if key is None:
            raise Error(f"{self.path}: a Sequential without layers")
        return [key]

    def add(
        self, layer: Any, path: str, key: Key, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        """One call, or those of a model that is a layer."""
        kind, config = layer["class_name"], layer["config"]
        custom = ">" in (layer.get("registered_name") or "") or not str(
            layer.get("module") or ""
        ).startswith("keras")
        call = Call(path, config.get("name", key[0]), kind, custom, config, args, kwargs)
        if kind in ("Functional", "Sequential") and not custom:
            if path:
                scope = f"{key[0]}.{key[1]}"
                (self.alias[key],) = self.flatten(layer, path, scope, list(call.inputs()))
            return
        self.calls[key] = call
        if kind in _NOTHING and not custom:
            self.alias[key] = next(call.inputs())

    def root_of(self, key: Key) -> Key:
        """What a tensor is, behind layers that do nothing."""
        for _ in range(len(self.alias) + 1):
            if key not in self.alias:
                return key
            key = self.alias[key]
        raise Error(f"{self.path}: layers that do nothing go in a circle")

    def taken(self, key: Key) -> set[Key]:
        """What a call takes."""
        return {self.root_of(k) for k in self.calls[key].inputs()}

    def order(self, output: Key) -> list[Key]:
        """All that the output is made of, each behind what it takes."""
        done: dict[Key, bool] = {}
        stack = [output]
        out = []
        while stack:
            key = stack[-1]
            if key not in done:
                done[key] = False
                wanted = [self.root_of(k) for k in self.calls[key].inputs()]
                if any(done.get(k) is False for k in wanted):
                    name = self.calls[key].name
                    raise Error(f"{self.path}: layer {name!r} reads its own output")
                stack += [k for k in reversed(wanted) if k not in done]
                continue
            stack.pop()
            if not done[key]:
                done[key] = True
                out.append(key)
        return out


def _is_operation(layer: Any) -> bool:
    """Whether it is an operation of keras.ops, which has no weights."""
    return ".ops." in str(layer.get("module"))


def _snake(name: str) -> str:
    """The name of a class as Keras names groups of weights: MultiHead to multi_head."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _listed(places: Any) -> list[Any]:
    """One [name, call, output], or a list of them, as a list."""
    return [places] if places and isinstance(places[0], str) else places


def _arguments(value: Any, scope: str) -> Any:
    """An argument of a call: tensors as Ref, constants as arrays."""
    if isinstance(value, list):
        return [_arguments(v, scope) for v in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("class_name")
    if kind == "__keras_tensor__":
        name, call, output = value["config"]["keras_history"]
        if output:
            raise Error(f"output {output} of {name} is used; supported: layers of one output")
        return Ref((f"{scope}:{name}", int(call)))
    if kind == "__tensor__":
        return np.asarray(value["config"]["value"], np.float64)
    if kind == "__slice__":
        return value["config"]
    if kind == "__numpy__":
        return np.asarray(value["config"]["value"], np.float64)
    return value
