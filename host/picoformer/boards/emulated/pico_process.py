"""The process that emulates a Pico: `python -m picoformer.boards.emulated.pico_process`.

`PicoBoard` starts it, and ends it by closing its standard input.
"""

from __future__ import annotations

import argparse
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import EmulatorError
from .cable import CLIENT_POLL, Cable, plug
from .images import keep, kept
from .process import claimed, input_end, ready, run
from .rp2040 import FS_BYTES, START_LIMIT, VOLUME, Chip

IDLE_POLL = 0.1  # seconds between looks at a board that waits
SAVE_DELAY = 1.0  # seconds of rest after which the flash is kept

QUEUE = 4096  # bytes on their way to the board, before the client is made to wait
OUTPUT_LIMIT = 65536  # bytes that nobody reads, before the board is made to wait


def _load(flash: Path, put: list[Path]) -> bytes:
    data = kept(flash, FS_BYTES, "a Pico")
    files = {path.name: path.read_bytes() for path in put}
    if not files:
        return data or b"\xff" * FS_BYTES  # erased: the firmware formats it
    return VOLUME.put(data, files) if data else VOLUME.image(files)


def serve(o: argparse.Namespace) -> None:
    """Emulate until standard input ends."""
    with claimed(o.flash, "Pico"):
        loaded = _load(o.flash, o.put)
        output = bytearray()
        chip = Chip(loaded, o.firmware, output.extend)
        deadline = time.monotonic() + START_LIMIT
        while not chip.connected:
            chip.step()
            if time.monotonic() > deadline:
                raise EmulatorError(f"{o.firmware} does not start: is it a build for RPI_PICO?")
        cable = plug(o.socket)
        ready(cable.name)
        try:
            _carry(chip, cable, output, lambda: _keep(o.flash, chip))
        finally:
            cable.close()
            if o.put or chip.filesystem != loaded:
                _keep(o.flash, chip)


def _keep(flash: Path, chip: Chip) -> None:
    keep(flash, flash.read_bytes() if flash.exists() else None, chip.filesystem)


def _carry(chip: Chip, cable: Cable, output: bytearray, rest: Callable[[], object]) -> None:
    """Run the chip and carry its bytes until standard input ends; rest is called in breaks.

    The emulation leaps over the board's sleeps: here they take their time, unless bytes come.
    """
    wall, own = time.monotonic(), chip.seconds
    sleep_until = busy = wall
    kept = False
    ended = input_end()
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


if __name__ == "__main__":
    sys.exit(run(serve))
