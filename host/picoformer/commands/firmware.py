"""The command that makes a firmware file: MicroPython, the runtime, models and a program."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from ..compile import modelfile
from ..errors import Error
from ..planning.planner import Planner
from ..planning.profiles import known
from ..runtime import volume
from ..runtime.files import FOLDER, Runtime, readers, wanted
from ..runtime.firmware import Firmware, read
from .arguments import add_json, add_models, command, then, warn, warned
from .printing import show_json, size, table

GET = "micropython.org/download has it for each board"


def add_commands(commands: Any) -> None:
    """Add the command to the subparsers of `picoformer`."""
    text = "make a firmware file with models and a program in it, for boards that need no PC"
    p = command(
        commands, "firmware", _firmware, text,
        "stories.pft --micropython RPI_PICO-20250911-v1.26.1.uf2 -o stories.uf2",
        "intents.pft --micropython ESP32_GENERIC-20250911-v1.26.1.bin --flash 4 -o all.bin",
    )  # fmt: skip
    p.description = (
        f"{p.description}\nA board that gets the file has MicroPython, the runtime, the models "
        "and your program at once.\nWhat was in its filesystem is gone then."
    )
    add_models(p)
    p.add_argument(
        "--micropython", metavar="FILE", required=True,
        help=f"MicroPython's firmware, .uf2 or .bin ({GET})",
    )  # fmt: skip
    p.add_argument(
        "-o", "--output", metavar="FILE", required=True,
        help="file to write, which ends as MicroPython's does",
    )  # fmt: skip
    p.add_argument(
        "--put", metavar="FILE", nargs="+", default=[], action="extend",
        help="more files for the board: a main.py runs when it starts",
    )  # fmt: skip
    p.add_argument(
        "--flash", metavar="MB", type=int, choices=(2, 4, 8, 16), default=0,
        help="the board's flash: an ESP32's MicroPython does not say it since 1.26",
    )  # fmt: skip
    add_json(p)


def _firmware(o: argparse.Namespace) -> None:
    lacking = volume.unsupported()
    if lacking:
        raise Error(lacking)
    files, sections = _files(o)
    base = _base(o.micropython, o.flash)
    output = Path(o.output)
    if output.suffix != base.form:
        raise Error(f"{output} is no name for it: it ends in {base.form}, as {o.micropython} does")
    if output.exists() and output.samefile(o.micropython):
        raise Error(f"{output} is MicroPython's own: choose another name")
    runtime = wanted(base.platform, readers(sections))
    held = {f"{FOLDER}/{name}": data for name, data in runtime.files.items()} | files
    image = base.volume.image(held)
    data = base.filled(image)
    try:
        modelfile.write(output, data)
    except OSError as e:
        raise Error(f"cannot write {output}: {e.strerror}") from e
    warn(o, runtime.notice)
    for path in o.models:
        b = Planner(path, known(base.platform)).budget()
        if not b.fits:
            warn(o, f"{path}: {' '.join([b.verdict, *b.advice])}")
    _tell(o, base, runtime, files, len(data))


def _files(o: argparse.Namespace) -> tuple[dict[str, bytes], list[bytes]]:
    """The files for the board's root, by path, and the models' tokenizers' sections."""
    files: dict[str, bytes] = {}
    sections = []
    for path in map(Path, [*o.models, *o.put]):
        name = f"/{path.name}"
        if name in files:
            raise Error(f"two of the files are called {path.name}: rename one")
        try:
            files[name] = path.read_bytes()
        except OSError as e:
            raise Error(f"cannot read {path}: {e.strerror}") from e
    for model in o.models:
        modelfile.load(model)
        sections.append(modelfile.tokenizer(files[f"/{Path(model).name}"]))
    return files, sections


def _base(path: str, flash: int) -> Firmware:
    """What MicroPython's file holds, for a flash of that many MB. Raises Error."""
    try:
        return read(Path(path).read_bytes(), flash << 20)
    except OSError as e:
        raise Error(f"cannot read {path}: {e.strerror}; {GET}") from e
    except Error as e:
        raise Error(f"{path} is {e}; {GET}") from e


def _tell(
    o: argparse.Namespace, base: Firmware, runtime: Runtime, files: dict[str, bytes], total: int
) -> None:
    """Say what is in the file, and how it comes onto a board."""
    version = ".".join(map(str, base.platform.version))
    inside = sum(map(len, runtime.files.values()))
    if o.json:
        show_json(
            {
                "path": o.output,
                "bytes": total,
                "micropython": version,
                "machine": base.platform.machine,
                "architecture": base.platform.architecture,
                "offset": base.base,
                "filesystem": {"offset": base.start, "bytes": base.volume.size},
                "runtime": {"files": len(runtime.files), "bytes": inside},
                "files": [{"path": name, "bytes": len(data)} for name, data in files.items()],
                "notice": runtime.notice,
                "warnings": warned(o),
            }
        )
        return
    print(f"{o.output}: {size(total)}, MicroPython {version} for {base.platform.machine}")
    shown = [(FOLDER, f"{len(runtime.files)} files", size(inside))]
    shown += [(name, "", size(len(data))) for name, data in files.items()]
    print(table(shown))
    where = shlex.quote(o.output)
    if base.family:
        then(
            o, "hold BOOTSEL while you plug the board in",
            f"copy {where} to the drive that appears; the board starts by itself",
        )  # fmt: skip
    else:
        then(o, f"esptool write_flash {base.base:#x} {where}")
