"""GGUF files, which llama.cpp reads: what they say, and their tensors as floats.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md is the format. Quantized numbers come in
blocks of 32, each with a scale, and some with an offset.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.nodes import Array

_MAGIC = b"GGUF"
_VERSIONS = 2, 3
_SCALARS = "<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?", "", "", "<Q", "<q", "<d"  # by number
_STRING, _ARRAY = 8, 9
_BLOCK = 32
_DEPTH, _DIMENSIONS = 4, 4  # arrays in arrays; of a tensor, at most


def _halves(blocks: Array) -> Array:
    """Two numbers of 4 bits a byte: (n, 16) bytes become (n, 32), the low halves first."""
    return np.concatenate([blocks & 15, blocks >> 4], 1)


def _fifth(blocks: Array) -> Array:
    """The fifth bits (n, 32), 16 where they are set, of 4 bytes a block (n, 4)."""
    return np.unpackbits(blocks, axis=1, bitorder="little").astype(np.int16) << 4


def _half(blocks: Array) -> Array:
    """(n, 2) bytes as the numbers (n, 1) that they are in 16 bits."""
    return np.ascontiguousarray(blocks).view("<f2").astype(np.float32)


def _q4_0(b: Array) -> Array:
    return _half(b[:, :2]) * (_halves(b[:, 2:]).astype(np.float32) - 8)


def _q4_1(b: Array) -> Array:
    return _half(b[:, :2]) * _halves(b[:, 4:]) + _half(b[:, 2:4])


def _q5_0(b: Array) -> Array:
    return _half(b[:, :2]) * ((_halves(b[:, 6:]) | _fifth(b[:, 2:6])).astype(np.float32) - 16)


def _q5_1(b: Array) -> Array:
    return _half(b[:, :2]) * (_halves(b[:, 8:]) | _fifth(b[:, 4:8])) + _half(b[:, 2:4])


def _q8_0(b: Array) -> Array:
    return _half(b[:, :2]) * np.ascontiguousarray(b[:, 2:]).view(np.int8).astype(np.float32)


def _bf16(b: Array) -> Array:
    return (np.ascontiguousarray(b).view("<u2").astype(np.uint32) << 16).view(np.float32)


# number: (name, elements of a block, bytes of a block, how they become floats)
_KINDS: dict[int, tuple[str, int, int, Callable[[Array], Array]]] = {
    0: ("F32", 1, 4, lambda b: np.ascontiguousarray(b).view("<f4")),
    1: ("F16", 1, 2, _half),
    30: ("BF16", 1, 2, _bf16),
    2: ("Q4_0", _BLOCK, 18, _q4_0),
    3: ("Q4_1", _BLOCK, 20, _q4_1),
    6: ("Q5_0", _BLOCK, 22, _q5_0),
    7: ("Q5_1", _BLOCK, 24, _q5_1),
    8: ("Q8_0", _BLOCK, 34, _q8_0),
}


@dataclass
class Tensor:
    """Where a tensor lies in a file, and of what shape and type it is."""

    shape: tuple[int, ...]
    kind: int
    at: int


class GgufFile:
    """fields: what the file says; tensors: what it has. Raises Error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._data = memoryview(path.read_bytes())
        except OSError as e:
            raise Error(f"cannot read {path}: {e.strerror}") from e
        self._at = len(_MAGIC)
        self.fields: dict[str, Any] = {}
        self.tensors: dict[str, Tensor] = {}
        try:
            self._read()
        except (struct.error, UnicodeDecodeError, ValueError) as e:
            raise Error(f"{path} is truncated or not a GGUF file: {e}") from e

    def _read(self) -> None:
        version = self._number("<I")
        if version not in _VERSIONS:
            raise Error(f"{self.path} is GGUF of version {version}; supported: 2 and 3")
        count, fields = self._number("<Q"), self._number("<Q")
        for _ in range(fields):
            name = self._string()
            self.fields[name] = self._value(self._number("<I"))
        for _ in range(count):
            name, dimensions = self._string(), self._number("<I")
            if dimensions > _DIMENSIONS:
                raise ValueError(f"{name} has {dimensions} dimensions")
            shape = tuple(self._number("<Q") for _ in range(dimensions))[::-1]
            self.tensors[name] = Tensor(shape, self._number("<I"), self._number("<Q"))
        alignment = self.fields.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 16:
            raise ValueError(f"general.alignment is {alignment!r}")
        start = -(-self._at // alignment) * alignment
        for tensor in self.tensors.values():
            tensor.at += start

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return value

    def _string(self) -> str:
        n = self._number("<Q")
        if n > len(self._data) - self._at:
            raise ValueError(f"a text of {n} bytes in a file of {len(self._data)}")
        self._at += n
        return bytes(self._data[self._at - n : self._at]).decode()

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY and depth < _DEPTH:
            inner, n = self._number("<I"), self._number("<Q")
            return [self._value(inner, depth + 1) for _ in range(n)]  # which ends with the file
        if kind >= len(_SCALARS) or not _SCALARS[kind]:
            raise ValueError(f"a value of type {kind}")
        value = self._number(_SCALARS[kind])
        # The shortest number that its 32 bits stand for: 1e-5, as it was before it became that.
        return float(str(np.float32(value))) if _SCALARS[kind] == "<f" else value

    def get(self, name: str, kind: type, default: Any = None) -> Any:
        """A field of a type. Raises Error."""
        v = self.fields.get(name, default)
        good = isinstance(v, int | float) if kind is float else isinstance(v, kind)
        if not good or isinstance(v, bool) and kind is not bool:
            seen = "missing" if v is None else f"{str(v)[:60]!r}"
            raise Error(f"{self.path}: {name} is {seen}, expected {kind.__name__}")
        return v

    def array(self, name: str) -> Array:
        """A tensor in float32. Raises Error."""
        t = self.tensors[name]
        if t.kind not in _KINDS:
            known = ", ".join(k[0] for k in _KINDS.values())
            raise Error(
                f"{self.path}: {name} is of ggml's type {t.kind}; supported: {known}: convert the "
                "model with --outtype f16 or q8_0 of llama.cpp's convert_hf_to_gguf.py"
            )
        _, elements, size, floats = _KINDS[t.kind]
        n = math.prod(t.shape)
        end = t.at + n // elements * size
        if not t.shape or t.shape[-1] % elements or n < 1 or end > len(self._data):
            raise Error(
                f"{self.path}: {name} of shape {t.shape} lies at bytes {t.at} to {end} of "
                f"{len(self._data)}; the file is truncated or damaged"
            )
        blocks = np.frombuffer(self._data, np.uint8, end - t.at, t.at).reshape(-1, size)
        return np.asarray(floats(blocks), np.float32).reshape(t.shape)
