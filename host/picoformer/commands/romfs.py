"""The command that makes a ROMFS image: models and the runtime, used where they lie in flash."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from ..boards.board import Board
from ..compile import modelfile
from ..errors import Error
from ..planning.profiles import PROFILES
from ..runtime.files import FOLDER, Runtime, readers, wanted
from ..runtime.platforms import ARCHITECTURES, BOARDS, SOUND, Platform, mpy_of
from ..runtime.romfs import PLACE, SUFFIXES, image
from .arguments import add_json, add_models, command, nearest, then, warn
from .open import opened
from .printing import show_json, size, table

ANY = "armv6m"  # native code that every Cortex-M runs


def add_commands(commands: Any) -> None:
    """Add the command to the subparsers of `picoformer`."""
    text = "make a ROMFS image of models and the runtime, for `mpremote romfs deploy`"
    p = command(
        commands, "romfs", _romfs, text, "stories.pft -o stories.romfs",
        "intents.pft facts.pft -o both.romfs --board pico2-riscv",
    )  # fmt: skip
    add_models(p)
    p.add_argument(
        "-o", "--output", metavar="IMAGE", required=True, help="file to write: .romfs or .img"
    )
    p.add_argument(
        "--board", metavar="BOARD",
        help="board that it is for, of `picoformer plan`, or processor: "
        f"{', '.join(BOARDS)} (default: {ANY}, which every Cortex-M can run)",
    )  # fmt: skip
    p.add_argument(
        "--port", metavar="PORT", help="make it for the board on this port, if it has room"
    )
    add_json(p)


def _romfs(o: argparse.Namespace) -> None:
    output = Path(o.output)
    if output.suffix not in SUFFIXES:
        raise Error(
            f"{output} is no name for an image: mpremote deploys files that end in "
            f"{' or '.join(SUFFIXES)}"
        )
    if o.port and o.board:
        raise Error("--port asks the board: leave out --board")
    models, sections = _read(o.models)
    room = None
    if o.port:
        with opened(o) as board:
            platform, room = board.platform, _room(board)
    else:
        platform = _platform(o.board or ANY)
    runtime = wanted(platform, readers(sections))
    data, places = image(models, runtime.files)
    if room is not None and len(data) > room:
        raise Error(
            f"the image has {len(data):,} bytes, the board's ROMFS {room:,}: take fewer models, "
            "or smaller ones (convert --weight-bits 4)"
        )
    try:
        output.write_bytes(data)
    except OSError as e:
        raise Error(f"cannot write {output}: {e.strerror}") from e
    held = {name: (len(models[name]), at) for name, at in places.items()}
    _tell(o, platform, runtime, len(data), room, held)


def _read(paths: list[str]) -> tuple[dict[str, bytes], list[bytes]]:
    """The model files, by the names that boards know them by, and their tokenizers' sections."""
    models: dict[str, bytes] = {}
    for path in map(Path, paths):
        modelfile.load(path)
        name = path.name.removesuffix(".pft")
        if name in models:
            raise Error(f"two of the models are called {name}: rename one of the files")
        models[name] = path.read_bytes()
    return models, [modelfile.tokenizer(data) for data in models.values()]


def _room(board: Board) -> int:
    """Bytes of the board's first ROMFS, into which mpremote deploys. Raises Error."""
    sizes = board.romfs()
    if not sizes:
        raise Error(
            f"{board.platform.machine} has no ROMFS: its firmware keeps no part of its flash for "
            "one. picoformer deploy puts models into its filesystem"
        )
    return sizes[0]


def _platform(name: str) -> Platform:
    """A board by its name, or by its native code's. Raises Error."""
    if name in PROFILES:
        return PROFILES[name].platform
    if name not in ARCHITECTURES[1:]:
        known = [*PROFILES, *BOARDS]
        mean = nearest(name, known)
        raise Error(
            f"there is no board {name!r}: "
            + (f"did you mean {mean}?" if mean else f"expected one of {', '.join(known)}")
        )
    return Platform(SOUND, mpy_of(name), "", "")


def _tell(
    o: argparse.Namespace,
    platform: Platform,
    runtime: Runtime,
    total: int,
    room: int | None,
    models: dict[str, tuple[int, int]],
) -> None:
    """Say what is in the image. models: bytes and place of each."""
    files = sum(map(len, runtime.files.values()))
    if o.json:
        rows = [
            {"name": name, "bytes": n, "offset": at, "path": f"{PLACE}/{name}.pft"}
            for name, (n, at) in models.items()
        ]
        show_json(
            {
                "path": o.output,
                "bytes": total,
                "architecture": platform.architecture,
                "models": rows,
                "runtime": {"files": len(runtime.files), "bytes": files},
                "notice": runtime.notice,
            }
            | ({} if room is None else {"partition": room})
        )
        return
    warn(o, runtime.notice)
    of = "" if room is None else f" of the board's {room:,}"
    print(f"{o.output}: {size(total)}{of}, for {platform.architecture}")
    shown = [(f"{PLACE}{FOLDER}", f"{len(runtime.files)} files", size(files))]
    shown += [(f"{PLACE}/{name}.pft", "", size(n)) for name, (n, _) in models.items()]
    print(table(shown))
    first = next(iter(models))
    to = f" connect {o.port}" if o.port else ""
    then(
        o,
        f"mpremote{to} romfs deploy {shlex.quote(o.output)}",
        f'from picoformer import Model; m = Model("{PLACE}/{first}.pft")    # on the board',
    )
