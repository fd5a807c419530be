"""What a file is, by its first bytes: for errors, and where a name does not tell."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..device import modelfile
from ..errors import Error

TORCH = "weights of PyTorch"
PICKLE = "a pickle of Python"
SAFETENSORS = "a safetensors file"
KERAS = "a Keras model"
GGUF = "a GGUF file"

# What a file starts with, at which byte, and what that makes it.
_STARTS = (
    (0, modelfile.MAGIC, "a picoformer model already"),
    (0, b"GGUF", GGUF),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (4, b"TFL3", "a TFLite model"),
    (4, b"ET1", "an ExecuTorch program"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file that it stands for"),
    (0, b"lmgg", "a GGML file"),
    (0, b"tjgg", "a GGML file"),
    (0, b"fmgg", "a GGML file"),
)
_HEAD = 4096  # bytes that are looked at
_SAVE = "save_pretrained(FOLDER) of the model in PyTorch writes a folder that can be converted"
# What to do with what is not read.
_WAYS = {
    "a GGML file": "its Hugging Face folder can be converted",
    "an ONNX model": f"it has no names to go by; {_SAVE}",
    "a TFLite model": "save the Keras model that it was made of with model.save('NAME.keras')",
    "an ExecuTorch program": f"it is compiled; {_SAVE}",
    "an HDF5 file": "load the model in Keras 3 and save it with model.save('NAME.keras')",
    "a gzip archive": "unpack it, and give what is in it",
    "a zip archive": "unpack it, and give what is in it",
    "a pointer of Git LFS, not the file that it stands for": "run `git lfs pull` in its folder",
    "a TensorFlow graph": "load the model in Keras 3 and save it with model.save('NAME.keras')",
    "a web page": "it is what a download gave in the file's place: download it again",
}
# What a file is by its name, where its first bytes tell nothing.
_SUFFIXES = {
    ".onnx": "an ONNX model", ".tflite": "a TFLite model", ".pte": "an ExecuTorch program",
    ".h5": "an HDF5 file", ".hdf5": "an HDF5 file", ".pb": "a TensorFlow graph",
    ".ggml": "a GGML file", ".npy": "a numpy array", ".gz": "a gzip archive",
    ".zip": "a zip archive",
}  # fmt: skip


def named(path: Path) -> str:
    """What a file is by its name, "" where that tells nothing."""
    return _SUFFIXES.get(path.suffix.lower(), "")


def recognize(path: Path) -> str:
    """What a file is, "" where nothing tells. Raises Error where it cannot be read."""
    try:
        with path.open("rb") as f:
            head = f.read(_HEAD)
    except OSError as e:
        raise Error(f"cannot read {path}: {e.strerror}") from e
    if not head:
        return "an empty file"
    for at, start, what in _STARTS:
        if head.startswith(start, at):
            return what
    if head.startswith(b"PK\x03\x04"):
        return _archive(path, head)
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5") and head[2:3] > b"\0":
        return PICKLE
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") < 1 << 32:
        return SAFETENSORS
    # The first fields of an ONNX model: its version, and the name of what made it.
    if head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] in (b"\x12", b"\x3a"):
        return "an ONNX model"
    return _text(path, head)


def _archive(path: Path, head: bytes) -> str:
    try:
        with zipfile.ZipFile(path) as z:
            names = " ".join(z.namelist()).encode()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        names = head  # of a part of it
    if b"/data.pkl" in names:
        return TORCH
    return KERAS if b"config.json" in names else "a zip archive"


def _text(path: Path, head: bytes) -> str:
    if len(head) < 8 or any(b < 32 and b not in b"\t\n\r\f\x1b" for b in head):
        return ""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as e:
        if e.start < len(head) - 3:
            return ""
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if path.stem.lower() == "readme":
        return "a README"
    return "JSON" if start[:1] in (b"{", b"[") else "text"


def refusal(path: Path, seen: str, expected: str) -> Error:
    """The error for a file that is something else: what it is, and the way out."""
    if way := _WAYS.get(seen):
        return Error(f"{path} is {seen}: {way}; expected {expected}")
    if seen == "a picoformer model already":
        return Error(f"{path} is {seen}; expected {expected}")
    return Error(f"{path} is {seen}, not a checkpoint; expected {expected}")
