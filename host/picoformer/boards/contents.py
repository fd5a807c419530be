"""What is in a board's flash, seen and removed through the raw REPL: no runtime is needed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..device.modelfile import MAGIC
from ..device.program import TASKS
from ..runtime.files import FOLDER
from ..runtime.platforms import Platform
from .errors import NoModelError, NoSpaceError
from .install import compare, stored
from .repl import Repl

BLOCK = 4096  # bytes that a file's size is rounded up to, on a microcontroller's flash
LOOK_LIMIT = 30.0  # seconds for a board to read what it has

# Of each model file its size, its header, and the words of its program that say what it is.
MODELS = """
def picoformer_models():
    import os
    s = os.statvfs("/")
    found = []
    names = os.listdir("/")
    for name in names:
        if name.endswith(".pft") or name.endswith(".pft.part"):
            try:
                with open("/" + name, "rb") as f:
                    head = f.read(100)
                    f.seek(int.from_bytes(head[36:40], "little"))
                    found.append((name, os.stat("/" + name)[6], head, f.read(52)))
            except (OSError, OverflowError):
                pass
    # littlefs may count more blocks as used than there are.
    free = s[3] if 0 <= s[3] <= s[2] else 0
    print((s[1] * free, s[1] * s[2], "main.py" in names, found))
picoformer_models()
del picoformer_models
"""

VERSION = f"""
for n in "mpy", "py":
    try:
        with open({FOLDER!r} + "/__init__." + n, "rb") as f:
            print(f.read(2048))
            break
    except OSError:
        pass
"""

# Bytes of each ROMFS partition, by the port's own question for it.
ROMFS = """
def picoformer_romfs():
    sizes = []
    try:
        from vfs import rom_ioctl
        for i in range(rom_ioctl(1)):
            rom = rom_ioctl(2, i)
            blocks = hasattr(rom, "ioctl")
            sizes.append(rom.ioctl(4, 0) * rom.ioctl(5, 0) if blocks else len(rom))
    except (ImportError, OSError):
        pass
    print(sizes)
picoformer_romfs()
del picoformer_romfs
"""

# Files and folders whose paths are given; what is not there is left out.
REMOVE = """
def picoformer_remove(paths):
    import os
    for path in paths:
        try:
            folder = os.stat(path)[0] & 0x4000
        except OSError:
            continue
        if folder:
            picoformer_remove([path + "/" + name for name in os.listdir(path)])
        (os.rmdir if folder else os.remove)(path)
picoformer_remove(%r)
del picoformer_remove
"""


@dataclass
class Kept:
    """A model in a board's flash, or what there is of one whose upload was cut.

    name: of the model. bytes: of its file. crc: CRC32 of its header.
    task: what it does, "" if it is not whole. context: context length in tokens, or 0.
    weights: "board", or "host" if they stay on a PC. state: "whole", "unfinished" or "damaged".
    """

    name: str
    bytes: int
    crc: int
    task: str
    context: int
    weights: str
    state: str

    @property
    def path(self) -> str:
        """Its path on the board."""
        return f"/{self.name}.pft" + ".part" * (self.state == "unfinished")

    def __str__(self) -> str:
        return f"{self.name} ({self.bytes:,} bytes{', ' * (self.state != 'whole')}{self.odd})"

    @property
    def odd(self) -> str:
        """Its state, where that is not whole."""
        return self.state if self.state != "whole" else ""


@dataclass
class Contents:
    """What is in a board's flash.

    free, total: bytes of the filesystem. program: whether there is a main.py.
    models: a list of Kept.
    """

    free: int
    total: int
    program: bool
    models: list[Kept]

    def named(self, names: Sequence[str]) -> list[Kept]:
        """The files of some models, cut uploads included.

        names: of the models. Raises NoModelError if one is not there.
        """
        there = {m.name for m in self.models}
        missing = [n for n in names if n not in there]
        if missing:
            raise NoModelError(
                f"there is no model {' or '.join(map(repr, missing))} on the board; there "
                + (f"is {', '.join(sorted(there))}" if there else "are none")
            )
        return [m for m in self.models if m.name in names]


def _kept(name: str, size: int, head: bytes, program: bytes) -> Kept:
    stem, _, part = name.partition(".pft")
    head += bytes(100 - len(head))
    word = [int.from_bytes(head[at : at + 4], "little") for at in range(0, 100, 4)]
    weights = "host" if size == word[21] else "board"
    whole = head[:4] == MAGIC and (size == word[2] or weights == "host")
    state = "unfinished" if part else "whole" if whole else "damaged"
    task, context = "", 0
    if state == "whole" and len(program) == 52 and program[48] < len(TASKS):
        task, context = TASKS[program[48]], int.from_bytes(program[:4], "little")
    return Kept(stem, size, word[24], task, context, weights, state)


def look(repl: Repl) -> Contents:
    """What is in the board's flash."""
    free, total, program, found = ast.literal_eval(repl.run(MODELS, LOOK_LIMIT).strip())
    models = [_kept(*entry) for entry in found]
    return Contents(free, total, program, sorted(models, key=lambda m: (m.name, m.path)))


@dataclass
class Held:
    """The runtime in a board's flash.

    version: "" if there is none, or only a part of one. current: whether it is this PC's.
    compiled: whether it is .mpy. sums: CRC32 of each file, by name.
    """

    version: str
    current: bool
    compiled: bool
    sums: Mapping[str, int | None]


def runtime(repl: Repl, board: Platform) -> Held:
    """The runtime in the board's flash."""
    found, _, sums = compare(repl, board, stored(repl))
    said = repl.run(VERSION).strip()
    version = re.search(rb"\d+\.\d+[\w.]*", ast.literal_eval(said)) if said else None
    compiled = any(name.endswith(".mpy") for name in found)
    return Held(version[0].decode() if version else "", found == sums, compiled, found)


def romfs(repl: Repl) -> list[int]:
    """Bytes of each ROMFS partition of the board."""
    found = ast.literal_eval(repl.run(ROMFS, LOOK_LIMIT).strip())
    assert isinstance(found, list)
    return found


def remove(repl: Repl, paths: list[str]) -> None:
    """Delete files and folders; what is not there is left out."""
    repl.run(REMOVE % (paths,), LOOK_LIMIT)


def full(name: str, size: int, there: Contents) -> NoSpaceError:
    """The error of a flash that has no room for a model of `size` bytes, or for "the runtime"."""
    begun = sum(m.bytes for m in there.models if (m.name, m.state) == (name, "unfinished"))
    missing = max(size - begun - there.free, 1)
    models = sorted(there.models, key=lambda m: (m.name != name, -m.bytes))
    error = NoSpaceError(
        f"the board's flash is full: {name} takes {size - begun:,} bytes more, {there.free:,} are "
        f"free, {missing:,} are missing; "
        + (
            f"`picoformer remove NAME` frees those of a model: {', '.join(map(str, models))}"
            if models
            else "there is no model to remove: other files fill it (mpremote fs ls)"
        )
    )
    error.number = there.free
    return error


def full_of_runtime(repl: Repl, board: Platform, tokenizers: Iterable[bytes]) -> NoSpaceError:
    """The same, for a runtime; what is there of the file that did not fit goes."""
    found, runtime, sums = compare(repl, board, [*tokenizers, *stored(repl)])
    remove(repl, [f"{FOLDER}/{name}" for name in found if name.endswith(".part")])
    missing = [data for name, data in runtime.files.items() if found.get(name) != sums[name]]
    return full("the runtime", sum(-(-len(data) // BLOCK) * BLOCK for data in missing), look(repl))
