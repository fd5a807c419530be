"""An emulated ESP32 on a serial port, running the official firmware in Espressif's QEMU.

    client -- socket://127.0.0.1:N -- QEMU: UART 0 -- firmware

Its flash is a file of 4 MiB, which stays from one run to the next. Around each access to its flash
an ESP32 switches the cache off, through which it sees its own program, and QEMU makes its map of
memory anew each time: 40 ms, and littlefs reads 32 to 128 bytes at once. A module takes 5 seconds
to import, and 32 KB half a minute to write. No option mends that: cache=unsafe and one thread do
nothing, -icount saves a third and boots three times slower; docs/boards.md has what does. So a new
flash is made with the runtime in it, and `put` files lie there before the board starts.

QEMU counts no cycles: what the board's clock says is this computer's speed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache

from ...runtime import volume
from ..errors import EmulatorError
from .firmware import Firmware
from .process import ProcessBoard
from .program import START_LIMIT

VARIABLE = "PICOFORMER_QEMU_XTENSA"
PROGRAM = "qemu-system-xtensa"
MACHINE = "esp32"
GET = (
    f"put Espressif's {PROGRAM} on PATH (idf_tools.py install qemu-xtensa, or "
    f"github.com/espressif/qemu/releases), or name it in {VARIABLE}"
)

ESP32_GENERIC = Firmware(
    "ESP32", "ESP32_GENERIC", ".bin", r"ESP32_GENERIC-v?\d", "PICOFORMER_ESP32_FIRMWARE"
)


def find_qemu() -> str:
    """The path of Espressif's QEMU: named, or on PATH. Raises EmulatorError."""
    named = os.environ.get(VARIABLE)
    found = shutil.which(os.path.expanduser(named) if named else PROGRAM)
    if not found:
        said = f"{VARIABLE} names {named}, which is no program" if named else "there is no QEMU"
        raise EmulatorError(f"{said} for the emulated ESP32; {GET}")
    if MACHINE not in _machines(found):
        raise EmulatorError(f"{found} emulates no ESP32 (-M {MACHINE}); {GET}")
    return found


@lru_cache
def _machines(program: str) -> tuple[str, ...]:
    """Names of the machines that a QEMU knows; none where it does not run."""
    try:
        said = subprocess.run(
            [program, "-M", "help"], capture_output=True, text=True, timeout=30
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.split()[0] for line in said.splitlines()[1:] if line.split())


class Esp32Board(ProcessBoard):
    """An emulated ESP32; always on a socket."""

    name = "esp32"
    title = "ESP32"
    described = "ESP32, emulated"
    kind = ESP32_GENERIC
    module = "esp32_process"
    start_limit = START_LIMIT

    @classmethod
    def unsupported(cls) -> str:
        """Whether QEMU or littlefs is missing."""
        try:
            find_qemu()
        except EmulatorError as e:
            return str(e)
        return volume.unsupported()
