"""An emulated Raspberry Pi Pico 2 on a serial port, running the official firmware in rp2350js.

    client -- socket://127.0.0.1:N -- node pico2.js: rp2350js, USB CDC -- firmware

Its flash is a file, the board's filesystem, which stays from one run to the next; a new one is
made with the runtime in it. Both cores run, on one of this computer's; flash wait states are not
emulated, and cycles are rp2350js's, not a Cortex-M33's.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ...runtime import volume
from ..errors import EmulatorError
from .firmware import Firmware
from .process import ProcessBoard
from .program import START_LIMIT

VARIABLE = "PICOFORMER_RP2350JS"
GET = (
    "clone github.com/c1570/rp2350js, run `npm install` and `npm run build` there, and name its "
    f"folder in {VARIABLE}"
)

RPI_PICO2 = Firmware(
    "Pico 2", "RPI_PICO2", ".uf2", r"RPI_PICO2(_W)?-", "PICOFORMER_RP2350_FIRMWARE"
)


def find_emulator() -> tuple[str, str]:
    """The path of node, and the folder of rp2350js. Raises EmulatorError."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise EmulatorError(f"the emulated Pico 2 needs rp2350js; {GET}")
    path = Path(folder).expanduser().absolute()
    if not (path / "dist" / "cjs" / "index.js").is_file():
        raise EmulatorError(f"{VARIABLE} names {folder}, which has no dist/cjs/index.js; {GET}")
    node = shutil.which("node")
    if not node:
        raise EmulatorError("the emulated Pico 2 needs node (nodejs.org, version 18 or newer)")
    return node, str(path)


class Pico2Board(ProcessBoard):
    """An emulated Pico 2, or Pico 2 W with that firmware; always on a socket."""

    name = "pico2"
    title = "Pico 2"
    described = "Raspberry Pi Pico 2, emulated"
    kind = RPI_PICO2
    module = "pico2_process"
    start_limit = START_LIMIT

    @classmethod
    def unsupported(cls) -> str:
        """Whether node, rp2350js or littlefs is missing."""
        try:
            find_emulator()
        except EmulatorError as e:
            return str(e)
        return volume.unsupported()
