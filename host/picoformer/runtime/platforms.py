"""What a board's MicroPython says of itself, and what native code it runs."""

from __future__ import annotations

from dataclasses import dataclass

OLDEST = (1, 24)  # the first MicroPython whose viper compiles the kernels everywhere

# mpy-cross's names of the architectures, as sys.implementation._mpy numbers them.
ARCHITECTURES = (
    "", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensa",
    "xtensawin", "rv32imc", "rv64imc",
)  # fmt: skip
THUMB = ARCHITECTURES[4:9]  # they run the kernels in assembler
DSP = ARCHITECTURES[6:9]  # they may have DSP instructions; an M3 is one of them, and has none
XTENSA = "xtensa", "xtensawin"
BOARDS = *THUMB, *XTENSA, "rv32imc"  # those of boards; the others are PCs
SOUND = (1, 26)  # the first MicroPython that compiles viper for Xtensa rightly

MPY = 6, 3  # version and sub-version of the .mpy files of MicroPython 1.23 to 1.29


def mpy_of(architecture: str) -> int:
    """What sys.implementation._mpy is on a board that runs such native code."""
    return MPY[0] | MPY[1] << 8 | ARCHITECTURES.index(architecture) << 10


@dataclass(frozen=True)
class Platform:
    """What a board's MicroPython says of itself."""

    version: tuple[int, ...]
    mpy: int  # of the .mpy files that it loads: architecture, version, sub-version
    platform: str
    machine: str

    @property
    def architecture(self) -> str:
        """mpy-cross's name for the native code that this board runs, "" where it runs none."""
        index = self.mpy >> 10 & 15
        return ARCHITECTURES[index] if index < len(ARCHITECTURES) else ""

    @property
    def miscompiles(self) -> bool:
        """Whether this MicroPython compiles viper wrongly, so that it must not from source."""
        return self.architecture in XTENSA and self.version < SOUND
