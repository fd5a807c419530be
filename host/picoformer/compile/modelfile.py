"""Writing and reading model files on the PC; docs/format.md defines the bytes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import tempfile
from binascii import crc32
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..device import check, modelfile, program, regions
from ..errors import Error
from ..features import LogMel
from ..graph.frames import Frames
from ..graph.nodes import Array
from ..tokenizers.tokenizer import Tokenizer
from .compiler import Compiled
from .figures import Figures
from .steps import Step


@dataclass(frozen=True)
class ModelFile(Figures):
    """A model file, read and checked. Words are int32 arrays, weights uint32."""

    meta: dict[str, Any]
    program: Array
    tables: Array
    tokenizer: Tokenizer
    weights: Array
    steps: list[Step]
    body: int  # steps of a translator's encoder
    head: int  # steps before the head
    sizes: dict[str, int]  # bytes of each section

    @cached_property
    def frames(self) -> Frames | None:
        """What a model of signals reads; metadata that do not fit it count as absent."""
        if not self.steps or self.steps[0].op != "windows":
            return None
        s = self.steps[0].named
        size, stride = (s["height"], s["width"]), (s["down"], s["right"])
        padding = s["before"], s["behind"]
        found = frames_of(
            self.meta, s["length"], s["channels"], size, stride, padding, s["tokens"]
        )
        return found if found.sound and self._hears(found.sound) else replace(found, sound=None)

    def _hears(self, sound: LogMel) -> bool:
        """Whether the program's rows are of this sound."""
        table = self.tables[int(self.program[17]) >> 6 :][: sound.table.size]
        return bool(self.program[17]) and np.array_equal(sound.table, table)

    @property
    def labels(self) -> list[str]:
        """What the results are called; of numbers that are predicted, if they have names."""
        v = self.meta.get("labels")
        if not isinstance(v, list) or len(v) != self.outputs:
            return []
        return list(v) if all(isinstance(name, str) for name in v) else []

    @property
    def background(self) -> tuple[str, ...]:
        """The labels of a model that classifies that stand for no event."""
        v = self.meta.get("background")
        return tuple(name for name in self.labels if isinstance(v, list) and name in v)

    @property
    def framed(self) -> bool:
        """Whether results are values of the frames; otherwise logits behind the first of them."""
        return int(self.program[5]) >> 6 < regions.HEADER + self.stride

    @property
    def whole(self) -> bool:
        """Whether an input is run at once."""
        return bool(self.program[13])

    @property
    def vocab(self) -> int:
        return int(self.program[4])

    @property
    def logit_bits(self) -> int:
        return int(self.program[6])

    @property
    def bos(self) -> int:
        return int(self.program[7])

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end a text."""
        listed = self.program[regions.HEAD : regions.caches(self.program)].tolist()
        return tuple(t for t in listed if t >= 0)

    @property
    def several(self) -> bool:
        """Whether each label holds or not by itself; otherwise one of them does."""
        return bool(self.program[16])

    def with_cache(self, key_bits: int, value_bits: int) -> ModelFile:
        """The same, as large as it would be had it been converted with these or fewer bits.

        For plans alone: the program's steps are not changed.
        """
        return replace(self, program=np.array(self.narrowed(key_bits, value_bits), np.int32))


def encode(compiled: Compiled, tokenizer: bytes, meta: dict[str, Any]) -> bytes:
    """The bytes of a model file."""
    text = json.dumps(meta, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    parts = [
        text,
        compiled.program.astype("<i4").tobytes(),
        compiled.tables.astype("<i4").tobytes(),
        tokenizer,
        compiled.weights.astype("<u4").tobytes(),
    ]
    offset = 100
    entries = b""
    for kind, part in enumerate(parts, 1):
        entries += struct.pack("<IIII", kind, offset, len(part), crc32(part))
        offset += len(part)
    head = modelfile.MAGIC + struct.pack("<III", modelfile.VERSION, offset, len(parts)) + entries
    return head + struct.pack("<I", crc32(head)) + b"".join(parts)


def write(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it: it is there whole or not at all.

    A link is followed; what is neither a file nor absent is refused.
    """
    path = Path(os.path.realpath(path))
    part = None
    try:
        if path.exists() and not path.is_file():
            raise Error(f"cannot write {path}: it is not a file")
        handle, part = tempfile.mkstemp(prefix=path.name + ".", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(part, path.stat().st_mode if path.exists() else 0o666 & ~mask)
        os.replace(part, path)
    except OSError as e:
        raise Error(f"cannot write {path}: {e.strerror}") from e
    finally:
        if part is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)


def frames_of(
    meta: dict[str, Any], length: int, channels: int, size: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None, padding: tuple[int, int] = (0, 0), tokens: int = 0,
) -> Frames:  # fmt: skip
    """Frames of this shape, with what a file's metadata say of them that fits.

    size, stride: of windows; where they are not known, as the board alone knows them, each row.
    """
    row = 1, channels
    given = meta.get("frames")

    def listed(name: str, kind: type) -> list[Any] | None:
        v = given.get(name) if isinstance(given, dict) else None
        if not isinstance(v, list) or len(v) != channels:
            return None
        return v if all(type(e) in (kind, int) for e in v) else None

    def numbers(name: str) -> Array | None:
        v = listed(name, float)
        if v is None or (name != "mean" and min(v) <= 0):
            return None
        try:
            found = np.array(v, np.float64)
        except OverflowError:  # a whole number that no float is near
            return None
        return found if np.isfinite(found).all() else None

    names = tuple(str(name) for name in listed("names", str) or [])
    known = numbers("mean"), numbers("std"), numbers("unit")
    sound = _sound_of(meta.get("sound"))
    if sound and sound.bands != channels:
        sound = None
    shape = size or row, stride or row
    return Frames(length, channels, *shape, padding, tokens, *known, names, sound)


def _sound_of(given: Any) -> LogMel | None:
    """What makes rows of sound, as metadata say it; None where they say nothing that can be."""
    kinds = {f.name: (int,) if f.type == "int" else (int, float) for f in fields(LogMel)}
    if not isinstance(given, dict) or set(given) != set(kinds):
        return None
    if any(type(v) not in kinds[name] for name, v in given.items()):
        return None
    try:
        return LogMel(**given)
    except Error:
        return None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def parse(data: bytes) -> ModelFile:
    """Check the bytes of a model file, all of them, and take it apart. Raises Error."""
    f = io.BytesIO(data)
    parts = modelfile.sections(f)
    raw = []
    names = ("metadata", "program", "tables", "tokenizer", "weights")
    for name, section in zip(names, parts, strict=True):
        raw.append(regions.read(f, section, name, bytearray(section[1])))
    try:
        meta = json.loads(raw[0].decode(), parse_constant=_no_number)
        # Half a surrogate pair is no character: a board would not take it, nor a terminal.
        json.dumps(meta, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as e:
        raise Error(f"model file is corrupt: its metadata is not JSON ({e})") from e
    if not isinstance(meta, dict):
        raise Error("model file is corrupt: its metadata is not a JSON object")
    labels = meta.get("labels")
    listed = np.frombuffer(bytes(raw[1]), "<i4").tolist()
    if data[4] == modelfile.OLD:
        listed = [0] * check.OLD + listed
        check.upgrade(listed)
    tables = np.frombuffer(bytes(raw[2]), "<i4")
    weights = np.frombuffer(bytes(raw[4]), "<u4")
    check.check(listed, tables.tolist(), weights.size)
    tokenizer = Tokenizer(bytes(raw[3]))
    if tokenizer.vocab_size != listed[4]:
        raise Error(
            f"model file is corrupt: tokenizer of {tokenizer.vocab_size} tokens, "
            f"model of {listed[4]}"
        )
    if listed[12] in program.LABELLED:
        program.labels(listed, labels)
    if listed[14]:
        program.image(listed, meta.get("image"))
    _, body, head = check.steps(listed)
    steps = [
        Step(program.OPS[op][0], listed[i : i + listed[i - 1]]) for op, i in program.walk(listed)
    ]
    sizes = {name: len(r) for name, r in zip(names, raw, strict=True)}
    words = np.array(listed, np.int32)
    return ModelFile(meta, words, tables, tokenizer, weights, steps, body, head, sizes)


def load(path: str | Path) -> ModelFile:
    """Read and check a model file. Raises Error."""
    data = _read(path)
    with _named(path):
        return parse(data)


def split(path: str | Path) -> tuple[bytes, bytes]:
    """A model file's bytes in front of its weights, and its weights. Raises Error.

    The header and the weights are checked; boards check the rest.
    """
    data = _read(path)
    with _named(path):
        f = io.BytesIO(data)
        last = modelfile.sections(f)[4]
        regions.read(f, last, "weights")
    return data[: last[0]], data[last[0] :]


def tokenizer(data: bytes) -> bytes:
    """The tokenizer's section of a model file, with or without its weights."""
    at, size = struct.unpack_from("<II", data, 68)
    return data[at : at + size]


def header_crc(data: bytes) -> int:
    """CRC32 of a model file's header, which names the CRC32 of each section."""
    return int.from_bytes(data[96:100], "little")


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise Error(f"cannot read model file {path}: {e.strerror}") from e


@contextlib.contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Errors say which file it is."""
    try:
        yield
    except Error as e:
        raise Error(f"{path}: {e}") from None
