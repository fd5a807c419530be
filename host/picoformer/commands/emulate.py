"""The command that runs an emulated board behind a serial port."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ..boards import emulated
from ..boards.emulated.flash import announced
from ..boards.errors import EmulatorError
from .arguments import command

HEAP_KB = 2048  # of the unix board
STOP_POLL = 0.2  # seconds between looks for a signal that asks to stop


def add_commands(commands: Any) -> None:
    """Add the command to the subparsers of `picoformer`."""
    p = command(
        commands, "emulate", _emulate, "run an emulated board on a serial port of its own", "",
        "--board pico", "--folder my-board",
    )  # fmt: skip
    p.add_argument(
        "--board", default="unix", metavar="BOARD",
        help=f"{emulated.listed(emulated.NAMES)} (default: unix, MicroPython on this PC)",
    )  # fmt: skip
    p.add_argument(
        "--folder", metavar="PATH",
        help="where it keeps its flash: a folder of unix, a file of the others (default: in your "
        "cache folder)",
    )  # fmt: skip
    p.add_argument(
        "--firmware", metavar="FILE",
        help="its official MicroPython firmware (docs/boards.md says which)",
    )
    p.add_argument(
        "--put", metavar="FILE", action="append", default=[],
        help="put this file in its flash before it starts; may be given several times",
    )  # fmt: skip
    p.add_argument(
        "--socket", action="store_true",
        help="listen on a TCP port of this PC instead of a pseudo-terminal",
    )  # fmt: skip


def _emulate(o: argparse.Namespace) -> None:
    """Serve an emulated board until Ctrl-C or SIGTERM."""
    if o.board not in emulated.NAMES:
        there = emulated.listed(emulated.NAMES)
        raise EmulatorError(f"there is no emulated board {o.board!r}; there are --board {there}")
    kind = emulated.board(o.board)
    with _stop_signals() as asked:
        if o.board == "unix":
            started = kind(o.folder, HEAP_KB, o.socket, o.put)
        else:
            started = kind(o.folder, o.firmware, o.socket, o.put)
        with started as board, announced(board.flash, board.port):
            # A name stands for the flash in the user's cache.
            name = board.port if o.folder else emulated.port(o.board)
            _serve(o, board, f"{board.described}, flash in {board.flash}", name, asked)
        if o.board == "unix" and signal.SIGINT in asked:
            print()  # after the terminal's ^C


def _serve(
    o: argparse.Namespace, board: Any, title: str, name: str, asked: list[int]
) -> None:
    print(f"board  {title}")
    print(f"port   {board.port}")
    print(f"""try    mpremote connect {board.port} exec "print('hello')" """.rstrip())
    if not o.quiet:
        print(f"next   picoformer deploy MODEL.pft --port {name}, in another terminal")
    print("Ctrl-C here switches it off.", flush=True)
    while not asked:
        if why := board.stopped(STOP_POLL):
            raise EmulatorError(why)


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Note SIGINT, SIGTERM and SIGHUP in a list instead of dying of them.

    SIGINT counts even where the shell has it ignored, as in a script's background, whereas SIGHUP
    stays ignored under nohup; but not by the programs started from here, whose end may depend on
    it. Outside the main thread, where Python allows no handlers, nothing is noted.
    """
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number != hangup or not nohup:
            asked.append(number)

    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    nohup = hangup is not None and signal.getsignal(hangup) == signal.SIG_IGN
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, hangup):
            if number is not None:
                before[number] = signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
