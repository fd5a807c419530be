"""What a Hugging Face folder holds: the fields of config.json and the tensors, read on demand.

Tensors come from model.safetensors, or pytorch_model.bin where torch is installed, each in one
file or in shards with an index. Every way of asking names what is wrong in one Error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.nodes import Array, Graph, LayerNorm, Linear
from .stored import KINDS, Stored, read_tensors
from .wrapping import around, nearest, unwrapped

# Hugging Face's names of the activations, and the graph's.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
# The files that hold weights, in order of preference.
_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_MERGE = "expected the model it is merged into: save what peft's model.merge_and_unload() gives"
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


PROBLEMS = "single_label_classification", "multi_label_classification", "regression"


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
        """The names of a head's outputs. Raises Error for a head of another kind."""
        kind = self.get("problem_type", PROBLEMS[0])
        if kind not in PROBLEMS:
            raise self.refusal("problem_type", kind, ", ".join(map(repr, PROBLEMS)))
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

    def outputs(self, graph: Graph) -> int:
        """Tell a graph what its head is of, classes or numbers; returns how many. Raises Error."""
        names = self.labels()
        if self.get("problem_type") == PROBLEMS[2]:
            named = names != [f"LABEL_{i}" for i in range(len(names))]
            graph.task, graph.labels = "predict", names if named else []
        else:
            # A single class holds or not by itself too, as in cross-encoders.
            graph.task, graph.labels = "classify", names
            graph.several = self.get("problem_type") == PROBLEMS[1] or len(names) == 1
        return len(names)


def no_tensor(path: Path, name: str, names: Iterable[str]) -> Error:
    """The error for a tensor that is not there: those that are, the most like it first."""
    near = nearest(name, names)
    return Error(f"{path} has no tensor {name}; it has {', '.join(near) or 'none'}")


class Tensors:
    """The tensors of a folder, read when they are asked for.

    prefix: what may precede the names ("model."). Raises Error where no file holds weights, or
    one is not what its name says.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self.prefix = prefix
        self._stored: dict[str, Stored] = {}
        self._used: set[str] = set()
        self._around = ""  # what precedes all names but a few
        found = next((f for f in _FILES if (folder / f).is_file()), None)
        if found is None and (folder / "adapter_config.json").is_file():
            raise Error(f"{folder} has an adapter alone; {_MERGE}")
        if found is None:
            raise Error(
                f"{folder / _FILES[0]} does not exist; expected the model's weights there, or in "
                + ", ".join(_FILES[1:])
            )
        self.path = folder / found
        if not found.endswith(".index.json"):
            self._add(self.path, None)
            self._unwrap()
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
        self._unwrap()

    def _add(self, path: Path, names: set[str] | None) -> None:
        stored = read_tensors(path)
        for name in names or ():
            if name not in stored:
                raise Error(f"{path} has no tensor {name}, which {self.path.name} says it has")
        self._stored.update({n: s for n, s in stored.items() if names is None or n in names})

    def _unwrap(self) -> None:
        adapters = [n for n in self._stored if ".lora_" in n or n.startswith("lora_")]
        if adapters:
            raise Error(
                f"{self.path} has {len(adapters)} tensors of an adapter, as {adapters[0]}; "
                + _MERGE
            )
        self._stored, _ = unwrapped(self._stored)

    def _key(self, name: str) -> str | None:
        names = [name, *(name.replace(new, old) for new, old in _RENAMED if new in name)]
        names += [self.prefix + n for n in names]
        key = self._first(names)
        if key is None and not self._around:
            self._around = around(name, self._stored, self.prefix)
            key = self._first(names)
        return key

    def _first(self, names: list[str]) -> str | None:
        keys = [*names, *(self._around + n for n in names)]
        return next((key for key in keys if key in self._stored), None)

    def __contains__(self, name: str) -> bool:
        return self._key(name) is not None

    def get(self, name: str, *shape: int) -> Array:
        """A tensor in float32, with or without the prefix. Raises Error unless it has `shape`."""
        key = self._key(name)
        if key is None:
            raise no_tensor(self.path, name, self._stored)
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

    def head(self, embedding: Array, tied: bool, name: str = "lm_head") -> Array:
        """The weight of the head; the embedding itself where it is tied. Raises Error."""
        name += ".weight"
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
            for name, stored in self._stored.items()
            if name not in self._used
            and not any(re.search(p, name) for p in harmless)
            and (name.startswith(self._around) or stored.shape not in ((), (1,)))
        ]
        if left:
            some = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
            raise Error(
                f"{self.path} has {len(left)} tensors that config.json's model does not have: "
                f"{some}"
            )
