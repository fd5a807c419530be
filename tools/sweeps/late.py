"""A cable to an emulated board that takes its time: another port, in front of the board's."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

from picoformer.boards.emulated.cable import CHUNK, CLIENT_POLL, Pty


class LateCable:
    """A pseudo-terminal before the one of a board, until `close`.

    delay: seconds that bytes are on their way, in each direction. rate: bytes a second.
    """

    def __init__(self, port: str, delay: float = 0.0, rate: float = 1e9) -> None:
        self.delay, self.rate = delay, rate
        self._client = Pty()
        self.port = self._client.name
        """What a client opens."""
        self._board = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._woken, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        coming: deque[tuple[float, bytes]] = deque()  # when they arrive, to the board
        going: deque[tuple[float, bytes]] = deque()  # and to the client
        while True:
            now = time.monotonic()
            ends = [queue[0][0] - now for queue in (coming, going) if queue]
            limit = max(0.0, min(ends, default=1.0))
            readers: list[int | Pty] = [self._woken, self._board]
            if self._client.connected:
                readers.append(self._client)
            else:
                limit = min(limit, CLIENT_POLL)
            readable = select.select(readers, [], [], limit)[0]
            if self._woken in readable:
                return
            if self._client in readable or not self._client.connected:
                self._send(coming, self._client.read())
            if self._board in readable:
                self._send(going, os.read(self._board, CHUNK))
            self._deliver(coming, self._type)
            self._deliver(going, self._client.write)

    def _type(self, data: bytes) -> int:
        try:
            return os.write(self._board, data)
        except BlockingIOError:
            return 0

    def _deliver(self, queue: deque[tuple[float, bytes]], write: Callable[[bytes], int]) -> None:
        """Hand on what has arrived, as much as there is room for."""
        while queue and queue[0][0] <= time.monotonic():
            data = queue.popleft()[1]
            rest = data[write(data) :]
            if rest:
                queue.appendleft((time.monotonic() + CLIENT_POLL, rest))
                break

    def _send(self, queue: deque[tuple[float, bytes]], data: bytes) -> None:
        for i in range(0, len(data), 256):
            piece = data[i : i + 256]
            last = queue[-1][0] if queue else 0.0
            at = max(last, time.monotonic() + self.delay)
            queue.append((at + len(piece) / self.rate, piece))

    def close(self) -> None:
        os.write(self._wake, b"x")
        self._thread.join()
        self._client.close()
        for file in (self._board, self._woken, self._wake):
            os.close(file)
