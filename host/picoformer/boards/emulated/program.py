"""An emulator that is a program of its own, with the board's serial port on a TCP socket."""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence

from ..errors import EmulatorError
from .process import END_LIMIT, input_end, ready

BOOT_LIMIT = 60.0  # seconds for the program and the firmware to say a word
PROMPT_LIMIT = 20.0  # from then, after which a main.py is what runs
START_LIMIT = 60.0 + BOOT_LIMIT + PROMPT_LIMIT  # the flash is made before
POLL = 0.1
PROMPT = b">>> "


def free_port() -> int:
    """A TCP port of this computer that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def serve_program(command: Sequence[str], port: int, silent: str) -> None:
    """Run an emulator until standard input ends. Raises EmulatorError, `silent` where no firmware
    answers on its port.
    """
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT
        )

        def check() -> None:
            if process.poll() is not None:
                words.seek(0)
                said = words.read().decode(errors="replace").strip() or "it said nothing"
                raise EmulatorError(f"{command[0]} ended: {said.splitlines()[-1]}")

        ended = input_end()
        try:
            _boot(port, ended, check, silent)
            ready(f"socket://127.0.0.1:{port}")
            while not select.select([ended], [], [], POLL)[0]:
                check()
        finally:
            process.terminate()
            try:
                process.wait(END_LIMIT / 2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _boot(
    port: int, ended: socket.socket, check: Callable[[], object], silent: str
) -> None:
    """Wait for the firmware's prompt. Where a main.py runs, there will be none."""
    deadline = time.monotonic() + BOOT_LIMIT
    heard = b""
    with contextlib.ExitStack() as stack:
        client = None
        while PROMPT not in heard and not select.select([ended], [], [], 0)[0]:
            check()
            if time.monotonic() > deadline:
                if not heard:
                    raise EmulatorError(silent)
                return
            if client is None:
                try:
                    client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                except OSError:
                    time.sleep(POLL)
                    continue
                client.settimeout(POLL)
            with contextlib.suppress(TimeoutError):
                if not heard:
                    client.sendall(b"\r")
                more = client.recv(4096)
                if more and not heard:
                    deadline = time.monotonic() + PROMPT_LIMIT
                heard = (heard + more)[-4096:]
