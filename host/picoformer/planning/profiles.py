"""The boards that a plan can be made for, and what the runtime's own code takes on them.

Every figure says where it comes from: "measured" on an emulated board by what is named, "reported"
by somebody else who ran the board, "source" of MicroPython, or "estimated" from
the others. Nothing here was measured on silicon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import Error
from ..runtime.platforms import SOUND, Platform, mpy_of
from .areas import Areas, block_for, usable
from .heap import Layout

_TREE = "https://github.com/micropython/micropython/blob/master/ports/"
_ISSUES = "https://github.com/micropython/micropython/issues/"


@dataclass(frozen=True)
class Figure:
    """A number of bytes and where it comes from: "measured", "reported", "source", "estimated"."""

    bytes: int
    how: str
    source: str


@dataclass(frozen=True)
class Code:
    """Bytes of heap that the runtime's code takes, objects that every model has included.

    resident: once a model is loaded, by the type of its tokenizer, with weights in the first
    place of `places`; places: what another place of the weights adds to that; binding: what
    loading takes besides; checking: an earlier moment of loading, as a whole; modules: what only
    some models import, by what it is for;
    started: of the serial server before it loads a model; server: what it adds to each of the
    others; slack: what cannot be used because the heap is in pieces, by the place of the weights;
    running: what a text takes. Where the heap grows by areas: early: what is there when the large
    blocks are placed, alone and beside the server; grown: what loading takes besides, as they are
    there all the time, but the tokenizer's code is not yet; native: machine code, outside of the
    heap.
    """

    resident: dict[int, int]
    places: dict[str, int]
    binding: int
    checking: int
    modules: dict[str, int]
    started: int
    server: int
    slack: dict[str, int]
    running: int
    early: tuple[int, int] = (0, 0)
    grown: int = 0
    native: int = 0


# python -m tools.benchmarks.memory pico, pico2 and unix print these. --check chose `slack`,
# `running` and 3,000 bytes of check_signal (7,000 of 64 bits), whose proof leaves a heap in
# pieces.
PICO = Code(
    resident={1: 28912, 2: 31856, 3: 35088, 4: 33936, 5: 35312},
    places={"flash": 0, "ram": -2586, "file": 38},
    binding=8739,
    checking=49712,
    modules={
        "four": 2051, "windows": 1037, "check_signal": 4984, "images": 659, "frames": 1357,
        "spans": 2029, "tokenizer_added": 2349,
    },
    started=22656,
    server=14435,
    slack={"flash": 4500, "ram": 4500, "file": 4500},
    running=2048,
)
# The same on a Pico 2 W in rp2350js, whose code for Thumb-2 and kernels_dsp is longer.
PICO2 = Code(
    resident={1: 29552, 2: 32512, 3: 35744, 4: 34592, 5: 35968},
    places={"flash": 0, "ram": -2582, "file": 77},
    binding=8723,
    checking=50304,
    modules={
        "four": 2314, "windows": 957, "check_signal": 4952, "images": 710, "frames": 1322,
        "spans": 2048, "tokenizer_added": 2368,
    },
    started=20688,
    server=17328,
    slack={"flash": 4500, "ram": 4500, "file": 4500},
    running=2048,
)
# The same on an ESP32 in Espressif's QEMU. `early` and `grown` were chosen by the longest contexts
# that load.
ESP32 = Code(
    resident={1: 24160, 2: 27120, 3: 30368, 4: 29248, 5: 30624},
    places={"file": 0, "ram": -1722},
    binding=5424,
    checking=40432,
    modules={
        "four": 61, "windows": 90, "check_signal": 5022, "images": 720, "frames": 1312,
        "spans": 2243, "tokenizer_added": 2355,
    },
    started=23184,
    server=8973,
    slack={"file": 3000, "ram": 3000},
    running=2048,
    early=(23600, 42000),
    grown=8050,
    native=8704,
)
UNIX = Code(
    resident={1: 28480, 2: 32704, 3: 37120, 4: 35296, 5: 37152},
    places={"ram": 0, "file": 2330},
    binding=10592,
    checking=56448,
    modules={
        "four": 480, "windows": 275, "check_signal": 9502, "images": 947, "frames": 1632,
        "spans": 2688, "tokenizer_added": 3117,
    },
    started=33664,
    server=21216,
    slack={"ram": 3300, "file": 2500},
    running=4096,
)


@dataclass(frozen=True)
class Profile:
    """A board with stock MicroPython.

    heap: free in the heap at boot, with nothing imported; largest: the largest single allocation
    then; flash: of the filesystem, 0 bytes for as much as the PC has. mapped: whether files are
    seen as memory; kernels: the family it runs. machine: how sys.implementation._machine begins.
    found: bytes of its free pieces, largest first, where it was asked; note: what is to be said of
    them; connected: whether this is the board that was asked. grows: whether the heap grows by
    areas; more: bytes of the system's blocks by which it may grow besides `largest`.
    """

    name: str
    title: str
    machine: str
    architecture: str
    kernels: str
    mapped: bool
    heap: Figure
    largest: Figure
    flash: Figure
    code: Code
    layout: Layout = Layout()
    code_how: str = "estimated"
    block: int = 4096  # of the filesystem
    found: tuple[int, ...] = ()
    note: str = ""
    connected: bool = False
    grows: bool = False
    more: tuple[int, ...] = ()

    @property
    def areas(self) -> Areas | None:
        """Where its heap grows by areas, which there are."""
        if not self.grows:
            return None
        if self.found:
            return Areas.found(self.heap.bytes, self.found)
        split = block_for(self.largest.bytes)
        first = max(0, self.heap.bytes - split)
        if first <= self.largest.bytes:
            return Areas(first, (split, *self.more))
        count, first = divmod(self.heap.bytes, split)
        return Areas(first, (split,) * count)

    @property
    def room(self) -> int:
        """Bytes that all objects together may take."""
        return self.areas.total if self.areas else self.heap.bytes

    @property
    def pieces(self) -> tuple[int, ...]:
        """Bytes of the free pieces of its heap: those that were found, or the largest and such
        as would make up the rest.
        """
        if self.found:
            return self.found
        if self.areas:
            return self.areas.pieces
        whole, rest = divmod(self.heap.bytes, max(self.largest.bytes, 1))
        return (self.largest.bytes,) * whole + (rest,) * bool(rest)

    def on_disk(self, size: int) -> int:
        """Bytes that a file takes of the filesystem, its share of a folder's blocks left out."""
        return -(-size // self.block) * self.block

    @property
    def mpy(self) -> int:
        """What sys.implementation._mpy is there."""
        return mpy_of(self.architecture)

    @property
    def platform(self) -> Platform:
        """What such a board with a MicroPython of today says of itself."""
        return Platform(SOUND, self.mpy, self.name, self.machine)

    def with_memory(self, heap: int | None, largest: int | None) -> Profile:
        """The same board with another heap, or another largest block."""
        given = [None if n is None else Figure(n, "given", "by you") for n in (heap, largest)]
        most = given[0].bytes if given[0] else self.heap.bytes
        block = given[1] or (replace(self.largest, bytes=min(self.largest.bytes, most)))
        if given[0] and not given[1] and self.largest.bytes >= self.heap.bytes - 1024:
            block = given[0]  # a heap in one piece
        return replace(self, heap=given[0] or self.heap, largest=block)

    def asked(
        self, port: str, heap: int, pieces: Sequence[int], flash: int | None, grows: bool = False
    ) -> Profile:
        """The same board as it was found: free bytes, free pieces, bytes of its filesystem, and
        whether its heap grows.
        """
        figures = [
            Figure(n, "measured", f"the board on {port}, when it was asked")
            for n in (heap, max(pieces, default=0), flash or 0)
        ]
        most, usual = figures[1].bytes, self.largest.bytes / self.heap.bytes
        note = ""
        if most < heap * usual * 0.75:
            note = (
                f"the board's heap is in pieces: {heap:,} bytes are free after its boot.py, the "
                f"largest piece has {most:,}; boot.py has to keep less, or allocate it later"
            )
        elif heap < self.heap.bytes * 0.9 and self.name != "unix":
            note = (
                f"the board has {heap:,} bytes free after its boot.py, others of its kind "
                f"{self.heap.bytes:,}; boot.py has to keep less"
            )
        return replace(
            self, heap=figures[0], largest=figures[1], note=note, connected=True, grows=grows,
            flash=self.flash if flash is None else figures[2], found=tuple(pieces) or (most,),
        )  # fmt: skip


def _figure(n: int, how: str, source: str) -> Figure:
    return Figure(n, how, source)


_EMULATED = "python -m tools.benchmarks.memory pico, firmware v1.26.1"
_RP2350 = "python -m tools.benchmarks.memory pico2, firmware v1.26.0"
_QEMU = "Espressif's QEMU, firmware v1.24.0"
_RP2_FLASH = _TREE + "rp2/boards/{}/mpconfigboard.h"
_ESP_FLASH = _TREE + "esp32/partitions-{}.csv"
_FREE_C3 = _ISSUES + "14293 (v1.22.2: 52,608 free and a new split of 139,264)"

PROFILES = {
    p.name: p
    for p in (
        Profile(
            "pico", "Raspberry Pi Pico", "Raspberry Pi Pico with RP2040",
            "armv6m", "thumb", True,
            _figure(241248, "measured", _EMULATED),
            _figure(240187, "measured", _EMULATED),
            _figure(1408 << 10, "source", _RP2_FLASH.format("RPI_PICO")),
            PICO, code_how="measured",
        ),
        Profile(
            "pico-w", "Raspberry Pi Pico W", "Raspberry Pi Pico W with RP2040",
            "armv6m", "thumb", True,
            _figure(186000, "estimated", "before v1.20 the heap of all RP2040 boards was 192 KB, "
                    "which that of the W then filled: " + _ISSUES + "10968"),
            _figure(185700, "estimated", "the heap is in one piece"),
            _figure(848 << 10, "source", _RP2_FLASH.format("RPI_PICO_W")),
            PICO,
        ),
        Profile(
            "pico2", "Raspberry Pi Pico 2", "Raspberry Pi Pico2 with RP2350",
            "armv7emsp", "dsp", True,
            _figure(490000, "estimated", "512 KB of SRAM less what the firmware takes on a Pico, "
                    "and 14 KB: https://datasheets.raspberrypi.com/rp2350/rp2350-datasheet.pdf"),
            _figure(489700, "estimated", "the heap is in one piece"),
            _figure(3 << 20, "source", _TREE + "rp2/boards/RPI_PICO2 (4 MB less 1 MB)"),
            PICO2,
        ),
        Profile(
            "pico2-w", "Raspberry Pi Pico 2 W", "Raspberry Pi Pico 2 W with RP2350",
            "armv7emsp", "dsp", True,
            _figure(452480, "measured", _RP2350),
            _figure(451430, "measured", _RP2350),
            _figure(2560 << 10, "measured", "rp2350js, firmware v1.26.0"),
            PICO2, code_how="measured",
        ),
        Profile(
            "pico2-riscv", "Raspberry Pi Pico 2, MicroPython for its RISC-V cores",
            "Raspberry Pi Pico2 with RP2350-RISCV",
            "rv32imc", "rv32", True,
            _figure(490000, "estimated", "the Pico 2's with its other cores"),
            _figure(489700, "estimated", "the heap is in one piece"),
            _figure(3 << 20, "source", _TREE + "rp2/boards/RPI_PICO2 (4 MB less 1 MB)"),
            PICO2,
        ),
        Profile(
            "esp32", "ESP32", "Generic ESP32 module with ESP32",
            "xtensawin", "viper", False,
            _figure(165440, "measured", _QEMU),
            _figure(107812, "measured", _QEMU),
            _figure(2 << 20, "measured", _QEMU),
            ESP32, code_how="measured", grows=True, more=(14336, 10240, 4352),
        ),
        Profile(
            "esp32-s3", "ESP32-S3 without PSRAM", "Generic ESP32S3 module with ESP32S3",
            "xtensawin", "viper", False,
            _figure(250784, "reported", _ISSUES + "12141 (62,432 and a split of 188,352)"),
            _figure(usable(188352), "reported", _ISSUES + "12141"),
            _figure(0x4F0000, "source", _ESP_FLASH.format("8MiB")),
            ESP32, grows=True,
        ),
        Profile(
            "esp32-s3-psram", "ESP32-S3 with 8 MB of PSRAM",
            "Generic ESP32S3 module with Octal-SPIRAM with ESP32S3",
            "xtensawin", "viper", False,
            _figure(8319360, "reported", _ISSUES + "12237 (61,824 and a split of 8,257,536)"),
            _figure(usable(8257536), "reported", _ISSUES + "12237"),
            _figure(0x4F0000, "source", _ESP_FLASH.format("8MiB")),
            ESP32, grows=True,
        ),
        Profile(
            "esp32-c3", "ESP32-C3", "ESP32C3 module with ESP32C3",
            "rv32imc", "viper", False,
            _figure(191872, "reported", _FREE_C3),
            _figure(usable(139264), "reported", _FREE_C3),
            _figure(0xF0000, "source", _ESP_FLASH.format("4MiB")),
            ESP32, grows=True,
        ),
        Profile(
            "esp32-c6", "ESP32-C6", "ESP32C6 module with ESP32C6",
            "rv32imc", "viper", False,
            _figure(191872, "estimated", "the ESP32-C3's, which has less SRAM; " + _FREE_C3),
            _figure(usable(139264), "estimated", "the ESP32-C3's; " + _FREE_C3),
            _figure(0xF0000, "source", _ESP_FLASH.format("4MiB")),
            ESP32, grows=True,
        ),
        Profile(
            "unix", "MicroPython's unix port, as the port `emulator` is", "",
            "x64", "viper", False,
            _figure(2071744, "measured",
                    "python -m tools.benchmarks.memory unix, -X heapsize=2048K"),
            _figure(2071379, "measured", "the same"),
            _figure(0, "source", "a folder of the PC"),
            UNIX, Layout(8), code_how="measured", block=1,
        ),
    )
}  # fmt: skip


def profile(name: str) -> Profile:
    """The board of a name. Raises Error."""
    if name not in PROFILES:
        raise Error(f"there is no board {name!r} to plan for: {', '.join(PROFILES)}")
    return PROFILES[name]


def known(board: Platform) -> Profile:
    """The profile of a connected board; of one that is not known, that of its nearest kin."""
    fits = [p for p in PROFILES.values() if p.machine and board.machine.startswith(p.machine)]
    if fits:
        return max(fits, key=lambda p: len(p.machine))
    if board.platform in ("linux", "darwin"):
        return PROFILES["unix"]
    if board.architecture == "rv32imc":
        return PROFILES["pico2-riscv" if board.platform == "rp2" else "esp32-c3"]
    return PROFILES[{"armv6m": "pico", "xtensawin": "esp32"}.get(board.architecture, "pico2")]
