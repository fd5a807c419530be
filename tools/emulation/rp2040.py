"""Run code on an emulated Raspberry Pi Pico: the official firmware, counted cycle by cycle.

The emulator is `rp2040py` (PyPI), which executes the unmodified RPI_PICO build of MicroPython.
This module drives its processor directly, in the calling thread, and adds what tests and
benchmarks need: files that are in flash before the board boots, scripts run through the raw
REPL, and exact cycle counts.

    with RP2040({"/lib/kernel.py": source}) as board:
        print(board.exec("import kernel; print(kernel.run())"))
        print(board.measure("kernel.run()", setup="import kernel"), "cycles")

or from a shell:

    python -m tools.emulation.rp2040 script.py --file kernel.py:/lib/kernel.py
    python -m tools.emulation.rp2040 --pty --file device/picoformer:/lib/picoformer

What the cycle counts mean
    Every instruction costs what the Cortex-M0+ technical reference manual says (single-cycle
    multiplier, as on the RP2040), at 125 MHz: 1 cycle is 8 ns. Three things silicon has are
    absent: flash wait states (code and data in flash cost as much as in RAM, so expect silicon
    to be slower whenever the 16 KB XIP cache misses), bus contention, and the second core.

Three clocks, from the host down into the script
    `board.cycles`                 executed cycles since power-on, read from the host.
    `machine.mem32[CYCLES]`        the same counter modulo 2**30, read by the script itself; a
                                   register that exists in this emulator only. Exact to the cycle:
                                   in viper `ptr32(0x1F000000)[0]` costs what any load costs.
                                   Elapsed = (after - before) & 0x3FFFFFFF.
    `time.ticks_us()`, `ticks_cpu` both microseconds on this firmware, so steps of 125 cycles.
    To use one script here and on silicon, use SysTick: `mem32[0xE000E010] = 5` starts it and
    `mem32[0xE000E018]` counts down from 0xFFFFFF at 125 MHz; it wraps every 134 ms.

Why the board here is faster than under rp2040py's own command line
    That one answers each of the firmware's USB reads at once, with an empty packet when there is
    nothing to send; the firmware then spends two thirds of its cycles in USB interrupts. A real
    host stays silent, and so does this one. The PIO blocks are not clocked either (nothing here
    uses them), which almost doubles the speed of the emulation.

How fast it is
    About 10 million cycles per second of processor time with the PyPI wheels for Python 3.11 and
    newer, which use the stable ABI; booting takes 0.1 s. Built for one interpreter instead, the
    same sources reach 38 million, with equal cycle counts (needs a C compiler and two minutes):
        echo '#undef Py_LIMITED_API' > full.h
        CFLAGS="-include $PWD/full.h" pip install --no-cache-dir --no-deps --force-reinstall \\
            --no-binary rp2040py rp2040py
    Without its compiled core (`RP2040(...).native` is False) it is six times slower.

A serial port for mpremote, pyserial or a person: `RP2040.serve_pty()`. `rp2040py micropython
--image UF2 --pty` gives one too (and `--littlefs IMAGE` takes `flash_image()`'s result), with the
interrupt load described above.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import select
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from picoformer import Error
from picoformer.boards.emulated.pico import RPI_PICO
from picoformer.boards.emulated.rp2040 import Chip
from picoformer.boards.errors import EmulatorError
from tools.emulation.errors import BoardError, RP2040Error
from tools.emulation.filesystem import FS_BLOCK, FS_BLOCKS, flash_image, host_files

CLOCK_HZ = 125_000_000  # system clock the firmware sets up and the emulator counts at
CYCLES = 0x1F000000  # address of the cycle counter that this module adds to the bus

_COUNTER_MASK = 0x3FFFFFFF  # what a script reads is a small int: reading allocates nothing
_RAW_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
_SLOWEST = 100  # seconds that a busy computer may take for one of the board's (most take 5 to 10)


def missing() -> str | None:
    """Why no board can be emulated here (a reason to skip a test with), or None if one can."""
    for module, package in (("rp2040py", "rp2040py"), ("littlefs", "littlefs-python")):
        if importlib.util.find_spec(module) is None:
            return f"the Python package {package} is not installed"
    try:
        RPI_PICO.find()
    except EmulatorError as e:
        return str(e)
    return None


def checked() -> Path:
    """The firmware that will boot; raises Error where no Pico can be emulated."""
    reason = missing()
    if reason:
        raise Error(reason)
    firmware = RPI_PICO.find()
    with firmware.open("rb") as f:
        if f.read(4) != b"UF2\n":
            raise Error(f"{firmware} is no UF2 file; use MicroPython's official RPI_PICO")
    return firmware


class _CycleCounter:
    """The register at CYCLES (bits 0..29 of the counter; at CYCLES + 4 the next 30).

    Writing changes nothing but tells `RP2040.mark_hook`.
    """

    def __init__(self, board: RP2040) -> None:
        self._board = board

    def read_uint32(self, offset: int) -> int:
        return (self._board.cycles >> (30 if offset & 4 else 0)) & _COUNTER_MASK

    def write_uint32(self, offset: int, value: int) -> None:
        if self._board.mark_hook is not None:
            self._board.mark_hook(value)

    def write_uint32_atomic(self, offset: int, value: int, atomic_type: int) -> None:
        self.write_uint32(offset, value)

    def reset(self) -> None:
        pass


class RP2040(Chip):
    """An emulated Pico with `files` (board path -> bytes) in its flash; a context manager.

    `filesystem` gives a whole filesystem image instead (`flash_image`, or an earlier board's
    `filesystem`). `firmware` defaults to `RPI_PICO.find()`. The board boots on `with` or
    `start()`. Emulation advances only inside this object's methods and does not depend on wall
    time, so the same calls on a new board give the same cycle counts.
    """

    def __init__(
        self,
        files: Mapping[str, bytes] | None = None,
        firmware: str | Path | None = None,
        *,
        filesystem: bytes | bytearray | None = None,
    ) -> None:
        if files is not None and filesystem is not None:
            raise ValueError("give files or filesystem, not both")
        if importlib.util.find_spec("rp2040py") is None:
            raise RP2040Error("the Python package rp2040py is not installed")
        chosen = Path(firmware) if firmware is not None else RPI_PICO.find()
        if filesystem is None:
            filesystem = flash_image(files or {})
        if len(filesystem) != FS_BLOCKS * FS_BLOCK:
            raise RP2040Error(
                f"the filesystem has {len(filesystem)} bytes, expected {FS_BLOCKS * FS_BLOCK}"
            )

        super().__init__(bytes(filesystem), chosen, self._receive)
        self._chip.peripherals[CYCLES >> 12] = _CycleCounter(self)
        self.firmware = chosen
        # False: interpreted, some ten times slower.
        self.native = "native" in type(self._chip).__module__
        self.output_hook: Callable[[bytes], object] | None = None  # also gets what exec() reads
        self.mark_hook: Callable[[int], object] | None = None  # gets what is written to CYCLES
        self.exec_cycles = 0  # cycles of the last exec(): compiling, running and printing
        self._cycles_before_reset = 0
        self._received = bytearray()
        self._raw = False

    # Emulation

    def start(self, timeout: float = 60.0) -> None:
        """Boot, until the firmware has set up its serial port; `timeout` as in `exec`."""
        self._run(lambda: self.connected, timeout, "boot")

    def close(self) -> None:
        """Let go of the board. Nothing runs in the background, so there is nothing to stop."""

    def __enter__(self) -> RP2040:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def cycles(self) -> int:
        """Processor cycles executed since power-on. Time asleep (WFI, WFE) does not count."""
        return self._cycles_before_reset + int(self._chip.core.cycles)

    def _run(self, until: Callable[[], bool], timeout: float, what: str) -> None:
        """Emulate until `until()`, which may only change when the board sends or connects.

        Those two events end a batch at the very instruction, so where it ends is reproducible;
        a batch also ends after some milliseconds of wall time, which changes nothing.
        """
        # By its own time, a slow or busy computer changes nothing; asleep, it has none.
        end, deadline = self.seconds + timeout, time.monotonic() + _SLOWEST * timeout
        while not until():
            self.step()
            if self.seconds > end or time.monotonic() > deadline:
                raise TimeoutError(f"the emulated board did not {what} within {timeout:g} s")

    def _reboot(self) -> None:
        self._cycles_before_reset += int(self._chip.core.cycles)
        self._raw = False
        super()._reboot()

    # Serial port

    def _receive(self, data: bytes) -> None:
        self._received += data
        if self.output_hook is not None:
            self.output_hook(data)

    def _read_until(self, mark: bytes, timeout: float, what: str) -> bytes:
        """Received bytes up to `mark`, which is dropped."""
        searched = 0
        found = -1

        def arrived() -> bool:
            nonlocal searched, found
            if not self.connected:
                raise RP2040Error(f"the board was reset; it did not {what}")
            found = self._received.find(mark, searched)
            searched = max(0, len(self._received) - len(mark))
            return found >= 0

        self._run(arrived, timeout, what)
        taken = bytes(self._received[:found])
        del self._received[: found + len(mark)]
        return taken

    def _enter_raw_repl(self, timeout: float) -> None:
        self.start(timeout)  # returns at once if it runs
        self._received.clear()
        self.send(b"\r\x03\x03\x01")  # interrupt whatever runs (main.py), then raw REPL
        self._read_until(_RAW_PROMPT, timeout, "enter the raw REPL")
        self._raw = True

    def exec(self, code: str, timeout: float = 60.0) -> str:
        """Run a script on the board and return what it printed ("\\n" line ends).

        Raises BoardError with the board's traceback, and TimeoutError after `timeout` seconds of
        the board (the script is interrupted first, so that the board stays usable). Globals
        persist from one call to the next, until `soft_reset()`. `exec_cycles` then holds the
        cycles from the end of the upload until the script had ended and its output was sent.
        """
        if not self._raw:
            self._enter_raw_repl(timeout)
        self._received.clear()
        self.send((code or "\n").encode() + b"\x04")  # with nothing before it, ^D is a soft reset
        try:
            self._read_until(b"OK", timeout, "accept the script")
            before = self.cycles
            output = self._read_until(b"\x04", timeout, "finish the script")
            self.exec_cycles = self.cycles - before
            error = self._read_until(b"\x04>", timeout, "end its reply")
        except TimeoutError as timed_out:
            printed = self._received.decode("utf-8", "replace")
            self._raw = False
            self._usb.tx_fifo.reset()
            with contextlib.suppress(TimeoutError):
                self._enter_raw_repl(10.0)
            raise TimeoutError(f"{timed_out}; it had printed {printed[-400:]!r}") from None
        text = output.decode("utf-8", "replace").replace("\r\n", "\n")
        if error:
            raise BoardError(error.decode("utf-8", "replace").replace("\r\n", "\n").strip(), text)
        return text

    def soft_reset(self, timeout: float = 60.0) -> None:
        """Restart MicroPython with a fresh heap; the filesystem and `cycles` go on."""
        if not self._raw:
            self._enter_raw_repl(timeout)
        self._received.clear()
        self.send(b"\x04")
        self._read_until(_RAW_PROMPT, timeout, "restart")

    def measure(
        self,
        statement: str,
        setup: str = "",
        names: str = "",
        repeat: int = 3,
        timeout: float = 120.0,
    ) -> int:
        """Cycles that `statement` takes on the board, net of the measurement itself.

        `setup` runs first, at module level. `names` ("kernel, a, b") become locals of the function
        around `statement`, as they would be in a real loop; other names are looked up as globals.
        Interrupts are off meanwhile, which makes the number exact and repeatable, but forbids
        `statement` to sleep, print or write files. The first of the runs only warms up; the
        result is the smallest of `repeat` more. Garbage is collected before each.
        """
        body = textwrap.indent(textwrap.dedent(statement).strip("\n"), "  ")
        extra = f", {names}" if names else ""
        probe = (
            "def _{name}(_m, _off, _on{extra}):\n"
            "  _s = _off()\n"
            "  _a = _m[{address}]\n"
            "{body}\n"
            "  _b = _m[{address}]\n"
            "  _on(_s)\n"
            "  return (_b - _a) & {mask}\n"
        )
        common = {"extra": extra, "address": CYCLES, "mask": _COUNTER_MASK}
        script = "\n".join(
            (
                "import gc, machine",
                textwrap.dedent(setup),
                probe.format(name="run", body=body, **common),
                probe.format(name="nop", body="", **common),
                "for _f in _run, _nop:",
                f"  for _ in range({repeat + 1}):",
                "    gc.collect()",
                "    print(_f(machine.mem32, machine.disable_irq, machine.enable_irq"
                f"{extra}), end=' ')",
            )
        )
        counts = [int(word) for word in self.exec(script, timeout).split()[-2 * (repeat + 1) :]]
        return min(counts[1 : repeat + 1]) - min(counts[repeat + 2 :])

    def serve_pty(
        self,
        ready: Callable[[str], object] = print,
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        """Serve the board's serial port on a pseudo-terminal until `until()` or Ctrl-C.

        `ready` gets the path that a client opens (`mpremote connect PATH`). A board that waits for
        input costs next to nothing, one that sleeps little; its sleeps may end early in wall time.
        mpremote copies some 2 KB/s to it. POSIX only.
        """
        import pty
        import tty

        self.start()
        master, slave = pty.openpty()
        previous_hook = self.output_hook
        output = bytearray()
        self._raw = False  # the client may leave the REPL in any state
        self.output_hook = output.extend
        try:
            tty.setraw(slave)
            os.set_blocking(master, False)
            ready(os.ttyname(slave))
            wall, emulated = time.monotonic(), self.seconds
            while not until():
                self._received.clear()
                if self._usb.tx_fifo.item_count < 4096:  # else let the pty fill up
                    with contextlib.suppress(BlockingIOError):
                        self.send(os.read(master, 4096))
                self._engine.stopped = len(output) > 65536  # nobody reads: wait, as USB does
                self._batch(self._engine, 1)
                if output:
                    with contextlib.suppress(BlockingIOError):
                        del output[: os.write(master, output)]
                now = time.monotonic()
                ahead = (self.seconds - emulated) - (now - wall)
                if ahead <= 0:  # busy: slower than wall time, with no debt to catch up later
                    wall, emulated = now, self.seconds
                if not self._engine.stopped and self.asleep:
                    ahead = 0.1  # until somebody types
                elif len(output) > 65536:
                    ahead = 0.1
                if ahead > 0:
                    select.select([master], [master] if output else [], [], min(ahead, 0.1))
        finally:
            self.output_hook = previous_hook
            os.close(master)
            os.close(slave)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Run a script on an emulated Raspberry Pi Pico and count its cycles."
    )
    parser.add_argument("script", nargs="?", help="script to run ('-': standard input)")
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="HOST:BOARD",
        help="file or folder to put into the board's flash before it boots (repeatable)",
    )
    parser.add_argument("--firmware", help="RPI_PICO .uf2 (default: see RPI_PICO.find)")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds of the board (600)")
    parser.add_argument("--pty", action="store_true", help="serve a serial port until Ctrl-C")
    options = parser.parse_args(arguments)
    if bool(options.script) == options.pty:
        parser.error("give either a script or --pty")
    files: dict[str, bytes] = {}
    for item in options.file:
        host, separator, board_path = item.rpartition(":")
        if not separator:
            parser.error(f"--file {item}: expected HOST:BOARD")
        files.update(host_files(host, board_path))

    try:
        with RP2040(files, options.firmware) as board:
            if options.pty:
                board.serve_pty(lambda path: print(path, flush=True))
                return 0
            if options.script == "-":
                code = sys.stdin.read()
            else:
                code = Path(options.script).read_text(encoding="utf-8")
            started = time.monotonic()
            print(board.exec(code, options.timeout), end="")
            wall = time.monotonic() - started
            print(
                f"{board.exec_cycles} cycles, {board.exec_cycles / CLOCK_HZ * 1e3:.3f} ms at "
                f"{CLOCK_HZ // 1_000_000} MHz ({wall:.2f} s here)",
                file=sys.stderr,
            )
    except BoardError as error:
        print(error.output, end="")
        print(error, file=sys.stderr)
        return 1
    except (RP2040Error, EmulatorError, TimeoutError) as error:
        print(f"rp2040: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
