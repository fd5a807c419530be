"""What a Hugging Face folder holds: the fields of config.json and the tensors, read on demand.

Tensors come from model.safetensors, or pytorch_model.bin where torch is installed, each in one
file or in shards with an index. Every way of asking names what is wrong in one Error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import Error
from ..graph.nodes import Array, LayerNorm, Linear

# Hugging Face's names of the activations, and the graph's.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
# numpy has no bfloat16: its 16 bits are the upper half of a float32
KINDS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
# The files that hold weights, in order of preference.
_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# Under what a checkpoint of a training has the model's tensors.
_WRAPPERS = "state_dict", "model_state_dict"
# Older names of a norm's tensors, which transformers reads as well.
_RENAMED = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))


def read_json(path: Path, expected: str = "a Hugging Face folder") -> Any:
    """The content of a JSON file, which is part of what is expected. Raises Error."""
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as e:
        raise Error(f"cannot read {path}: {e.strerror}; expected {expected}") from e
    except (ValueError, RecursionError) as e:
        raise Error(f"{path} is not JSON: {e}") from e


PROBLEMS = "single_label_classification", "multi_label_classification"


class Config:
    """A JSON object that describes a model, as config.json of a folder does.

    A field that is null counts as absent. expected: what it is part of, for errors.
    """

    def __init__(self, path: Path, expected: str = "a Hugging Face folder") -> None:
        fields = read_json(path, expected)
        if not isinstance(fields, dict):
            raise Error(f"{path} is not a JSON object")
        self.path = path
        self.folder = path.parent
        self.fields: dict[str, Any] = fields
        self._generation: dict[str, Any] | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """A field as it is."""
        value = self.fields.get(name)
        return default if value is None else value

    def refusal(self, name: str, value: object, supported: str) -> Error:
        """The error for a field's value that is not supported."""
        return Error(f"{self.path}: {name} is {value!r}; supported: {supported}")

    def require(self, **expected: Any) -> None:
        """Raise Error unless each field is absent or has the expected value."""
        for name, value in expected.items():
            if self.get(name, value) != value:
                raise self.refusal(name, self.fields[name], repr(value))

    def choice(self, name: str, supported: dict[str, str], default: str) -> str:
        """What a field's text stands for. Raises Error for any that `supported` lacks."""
        value = self.get(name, default)
        if not isinstance(value, str) or value not in supported:
            raise self.refusal(name, value, ", ".join(supported))
        return supported[value]

    def number(self, name: str, default: int | None = None) -> int:
        """A positive integer. Raises Error."""
        v = self.get(name, default)
        if not isinstance(v, int) or isinstance(v, bool) or not 0 < v < 1 << 24:
            raise Error(f"{self.path}: {name} is {v!r}, expected a positive number")
        return v

    def real(self, name: str, default: float | None = None, fields: Any = None) -> float:
        """A positive number, of the object `fields` if that is given. Raises Error."""
        v = (self.fields if fields is None else fields).get(name)
        v = default if v is None else v
        if not isinstance(v, int | float) or isinstance(v, bool) or not 0 < v < np.inf:
            raise Error(f"{self.path}: {name} is {v!r}, expected a positive number")
        return float(v)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false. Raises Error."""
        v = self.get(name, default)
        if not isinstance(v, bool):
            raise Error(f"{self.path}: {name} is {v!r}, expected true or false")
        return v

    def head_size(self, dim: int, heads: int) -> int:
        """dim / heads. Raises Error where heads does not divide dim."""
        if dim % heads:
            raise Error(f"{self.path}: {heads} heads do not divide {dim} dimensions")
        return dim // heads

    def architecture(self, supported: tuple[str, ...]) -> str | None:
        """The class that the checkpoint is of, None where it is not told. Raises Error."""
        names = self.get("architectures")
        if not names:
            return None
        if not isinstance(names, list) or len(names) != 1 or names[0] not in supported:
            raise self.refusal("architectures", names, ", ".join(supported))
        return str(names[0])

    def token(self, name: str) -> int | None:
        """The first token id of a field, None where there is none in the vocabulary."""
        v = self.get(name)
        v = v[0] if isinstance(v, list) and v else v
        if not isinstance(v, int) or isinstance(v, bool):
            return None
        return v if 0 <= v < self.number("vocab_size") else None

    def generation(self, name: str) -> object:
        """A field of generation_config.json, or of config.json where that has none."""
        if self._generation is None:
            path = self.folder / "generation_config.json"
            fields = read_json(path) if path.is_file() else {}
            if not isinstance(fields, dict):
                raise Error(f"{path} is not a JSON object")
            self._generation = fields
        found = self._generation.get(name)
        return self.get(name) if found is None else found

    def ends(self) -> tuple[int, ...]:
        """The tokens that end a text: `eos_token_id`, one or a list of them."""
        v = self.generation("eos_token_id")
        listed = v if isinstance(v, list) else [v]
        whole = [t for t in listed if isinstance(t, int) and not isinstance(t, bool)]
        vocab = self.number("vocab_size") if whole else 0
        return tuple(dict.fromkeys(t for t in whole if 0 <= t < vocab))

    def labels(self) -> list[str]:
        """The names of a classifier's classes. Raises Error for a head of another kind."""
        kind = self.get("problem_type", PROBLEMS[0])
        if kind not in PROBLEMS:
            raise self.refusal("problem_type", kind, " and ".join(map(repr, PROBLEMS)))
        names = self.get("id2label")
        if names is None:
            n = self.number("num_labels", 2)
            names = {str(i): f"LABEL_{i}" for i in range(n)}
        good = isinstance(names, dict) and all(isinstance(v, str) for v in names.values())
        if not good or {str(i) for i in range(len(names))} != set(names):
            raise Error(
                f"{self.path}: id2label is {str(names)[:100]}, expected names of the classes "
                "0, 1, 2 and so on"
            )
        if not names:
            raise Error(f"{self.path}: id2label is empty, expected the names of the classes")
        return [names[str(i)] for i in range(len(names))]

    def several(self) -> bool:
        """Whether each class holds or not by itself; a single one does, as in cross-encoders."""
        return self.get("problem_type") == PROBLEMS[1] or len(self.labels()) == 1


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
    """The tensors of one file, .safetensors or what torch.save wrote. Raises Error."""
    return _safetensors(path) if path.suffix == ".safetensors" else _torch(path)


class Tensors:
    """The tensors of a folder, read when they are asked for.

    prefix: what may precede the names ("model."). Raises Error where no file holds weights, or
    one is not what its name says.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self.prefix = prefix
        self._stored: dict[str, Stored] = {}
        self._used: set[str] = set()
        found = next((f for f in _FILES if (folder / f).is_file()), None)
        if found is None:
            raise Error(
                f"{folder / _FILES[0]} does not exist; expected the model's weights there, or in "
                + ", ".join(_FILES[1:])
            )
        self.path = folder / found
        if not found.endswith(".index.json"):
            self._add(self.path, None)
            return
        index = read_json(self.path)
        files = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(files, dict) or not files:
            raise Error(f"{self.path} has no weight_map: expected the file of each tensor")
        shards: dict[str, set[str]] = {}
        for name, file in files.items():
            if not isinstance(file, str) or Path(file).name != file:
                raise Error(f"{self.path}: {name} is in {file!r}, expected a file beside it")
            shards.setdefault(file, set()).add(name)
        for file, names in sorted(shards.items()):
            if not (folder / file).is_file():
                raise Error(f"{folder / file} does not exist; {found} names it")
            self._add(folder / file, names)

    def _add(self, path: Path, names: set[str] | None) -> None:
        stored = read_tensors(path)
        for name in names or ():
            if name not in stored:
                raise Error(f"{path} has no tensor {name}, which {self.path.name} says it has")
        self._stored.update({n: s for n, s in stored.items() if names is None or n in names})

    def _key(self, name: str) -> str | None:
        names = [name, *(name.replace(new, old) for new, old in _RENAMED if new in name)]
        keys = (prefix + n for n in names for prefix in ("", self.prefix))
        return next((key for key in keys if key in self._stored), None)

    def __contains__(self, name: str) -> bool:
        return self._key(name) is not None

    def get(self, name: str, *shape: int) -> Array:
        """A tensor in float32, with or without the prefix. Raises Error unless it has `shape`."""
        key = self._key(name)
        if key is None:
            raise Error(f"{self.path} has no tensor {name}")
        stored = self._stored[key]
        if stored.shape != shape:
            raise Error(f"{self.path}: {name} has shape {stored.shape}, config.json says {shape}")
        if stored.kind not in KINDS:
            raise Error(f"{self.path}: {name} is {stored.kind}; supported: {', '.join(KINDS)}")
        self._used.add(key)
        return stored.read()

    def linear(
        self, x: str, out: str, name: str, rows: int, columns: int, biased: bool = True
    ) -> Linear:
        """The node of a module of this name. Raises Error."""
        weight = self.get(name + ".weight", rows, columns)
        bias = self.get(name + ".bias", rows) if biased else None
        return Linear(x, out, weight, name + ".weight", bias)

    def layer_norm(self, x: str, out: str, name: str, dim: int, eps: float) -> LayerNorm:
        """The node of a module of this name. Raises Error."""
        gain, bias = self.get(name + ".weight", dim), self.get(name + ".bias", dim)
        return LayerNorm(x, out, gain, bias, eps)

    def head(self, embedding: Array, tied: bool) -> Array:
        """lm_head.weight; the embedding itself where it is tied. Raises Error."""
        name = "lm_head.weight"
        if not tied:
            return self.get(name, *embedding.shape)
        if name in self and not np.array_equal(self.get(name, *embedding.shape), embedding):
            raise Error(
                f"{self.path}: {name} is not the embedding, though tie_word_embeddings is True; "
                "one of the two is wrong"
            )
        return embedding

    def check_used(self, *harmless: str) -> None:
        """Raise Error if a tensor was not asked for, unless one of the patterns is found in it.

        Such a tensor means that the model computes something that the graph does not.
        """
        left = [
            name
            for name in self._stored
            if name not in self._used and not any(re.search(p, name) for p in harmless)
        ]
        if left:
            some = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
            raise Error(
                f"{self.path} has {len(left)} tensors that config.json's model does not have: "
                f"{some}"
            )


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
        raise Error(
            f"{path} needs torch to be read: install it (pip install torch), or save the model "
            "as model.safetensors"
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
    for key in _WRAPPERS:
        if isinstance(stored, dict) and isinstance(stored.get(key), dict):
            stored = stored[key]
    if not isinstance(stored, dict) or not all(torch.is_tensor(t) for t in stored.values()):
        raise Error(f"{path} is not a dictionary of tensors; expected a model's state_dict")
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
