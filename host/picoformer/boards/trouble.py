"""What lies behind a board's error, and the remedy: looked for on the board, when it has failed.

The scripts use nothing that a file of the user's could hide: with a u in front, a module is the
firmware's own.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache

from ..errors import Error
from ..runtime.files import FOLDER, sources
from .errors import DeployError, NoRuntimeError, NoSpaceError, ReadOnlyError
from .repl import Repl

# Where each name of a module is found first, of those that lie in the board's files.
HIDERS = """
def picoformer_hiders(names):
    import sys
    try:
        import uos as os
    except ImportError:
        import os
    found = []
    for place in sys.path:
        if place[:1] == ".":
            continue
        place = place or os.getcwd()
        if place[-1] != "/":
            place += "/"
        try:
            there = os.listdir(place)
        except OSError:
            continue
        for name in names:
            for file in name, name + ".py", name + ".mpy":
                if file in there and name not in [n for n, _ in found]:
                    found.append((name, place + file))
    print((found, sys.path))
picoformer_hiders(%r)
del picoformer_hiders
"""

BOOT = """
try:
    with open("/boot.py") as f:
        print("mount" in f.read())
except OSError:
    print(False)
"""

OURS = "picoformer"


@lru_cache
def modules() -> list[str]:
    """The firmware's modules that the runtime and our scripts import, and our own."""
    found = {OURS, "os", "sys"}
    for text in sources().values():
        found |= set(re.findall(r"^\s*(?:import|from) (\w+)", text.decode(), re.M))
    return sorted(found - {"__future__"})


def hiders(repl: Repl, names: list[str] | None = None) -> tuple[dict[str, str], list[str]]:
    """The files in the place of the runtime's modules, or of those named, by name; sys.path."""
    found, path = ast.literal_eval(repl.run(HIDERS % (names or modules(),)).strip())
    return {name: file for name, file in found if file != FOLDER}, path


def hidden(found: dict[str, str]) -> Error | None:
    """The error that files in the place of modules are."""
    if not found:
        return None
    file = found.get(OURS) or min(found.values())
    others = sorted(set(found.values()) - {file})
    what = (
        f"the runtime in {FOLDER}"
        if OURS in found
        else f"MicroPython's module {next(n for n, f in found.items() if f == file)}"
    )
    return DeployError(
        f"{file} on the board hides {what}, which picoformer imports: rename it"
        + (f" ({', '.join(others)} may do the same)" if others else "")
    )


def check(repl: Repl) -> None:
    """Raises DeployError where another picoformer on the board is found before ours."""
    if error := hidden(hiders(repl, [OURS])[0]):
        raise error


def explain(repl: Repl, said: str) -> Error | None:
    """What lies behind an error that a board has reported; None where it is nothing known.

    The board is in the raw REPL. said: the error, or the traceback of one.
    """
    number = re.search(r"OSError(?:: |\()(?:\[Errno )?(\d+)", said)
    if number:
        return _refused(repl, int(number[1]))
    if "incompatible .mpy" in said:
        found, _ = hiders(repl)
        return hidden({n: file for n, file in found.items() if file.endswith(".mpy")}) or (
            NoRuntimeError(
                "the .mpy files of the board's runtime are for another firmware or processor: "
                "picoformer update replaces them"
            )
        )
    if not re.search(r"(Import|Attribute|Name|Type|Syntax|Value)Error|needs more of the", said):
        return None
    found, path = hiders(repl)
    if error := hidden(found):
        return error
    if OURS in said and "no module named" in said and "/lib" not in path:
        return NoRuntimeError(
            f"the board's sys.path is {path}, without /lib, where the runtime is: look in its "
            "boot.py"
        )
    return None


def _refused(repl: Repl, number: int) -> Error | None:
    """What it means that a file could not be written."""
    if number == 28:
        return NoSpaceError("the board's flash is full")
    if number in (1, 13, 30):
        error = ReadOnlyError("the board's filesystem is read-only" + _mounter(repl))
    elif number in (5, 19):
        error = ReadOnlyError(
            "the board has no filesystem that works ("
            + ("its flash does not answer" if number == 5 else "none is mounted")
            + "): reset it; if that does not help, erase its flash and flash MicroPython anew"
        )
    elif number in (17, 20):
        return DeployError(
            f"a file on the board is in the place of the folder {FOLDER}, or of /lib: rename it"
        )
    else:
        return None
    error.number = number
    return error


def _mounter(repl: Repl) -> str:
    """What has mounted the filesystem, and what to do about it."""
    if repl.run(BOOT).strip() == "True":
        return (
            ": its boot.py mounts it so. Mount it to be written, in the REPL, and take that "
            "out of /boot.py"
        )
    return ": something has mounted it so, or it is write-protected; a reset may mend that"
