"""Weights that stay on the PC, sent to a board that asks for them; docs/streaming.md."""

from __future__ import annotations

import math
import struct
from binascii import b2a_base64, crc32

import numpy as np

from ..device import server_frames as wire
from .channel import LOSS, Channel
from .errors import NoWeightsError
from .frames import CTRL_C, Frame
from .replies import Reader

TILE_MARK = b"\x1e"
TILE_END = b"\n" * 8  # completes a tile that has lost some bytes
SKIP = 251  # bytes without a Ctrl-C that one byte of a tile's list stands for
PIECE = 4096  # bytes of weights that are written at once: a board may take its time


def encode_tile(at: int, data: bytes) -> bytes:
    """Bytes `at` and on of the weights, without Ctrl-C, as a board reads them into its memory."""
    where = np.flatnonzero(np.frombuffer(data, np.uint8) == CTRL_C[0])
    skips, rest = np.divmod(np.diff(where, prepend=-1) - 1, SKIP)
    fixes = np.full(int(skips.sum()) + len(where), 255, np.uint8)
    fixes[np.cumsum(skips + 1) - 1] = rest + 4
    head = struct.pack("<II", at, len(data))
    head += struct.pack("<I", crc32(data, crc32(head))) + len(fixes).to_bytes(3, "little")
    head += bytes([crc32(head) & 255])
    return b"".join(
        (
            TILE_MARK,
            b2a_base64(head, newline=False),
            data.replace(CTRL_C, b"\2"),
            fixes.tobytes(),
            TILE_END,
        )
    )


class Streamer:
    """Sends a board the tiles that it wants, while a request runs."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.weights: tuple[int, bytes] | None = None
        """CRC32 of a model file's header, and its weights, for a board that has only the rest."""
        self.served = -math.inf  # when the board was last sent weights, for this request
        self._on = True

    def begin(self, on: bool = True) -> None:
        """A request begins; on: not for one that ends what the board needs weights for."""
        self._on = on
        self.served = -math.inf

    def answer(self, want: Frame) -> None:
        """Send what a WANT asks for. Raises NoWeightsError."""
        r = Reader(want.body)
        (crc,) = r.take("I")
        while r.left and self._on:
            self.serve(crc, *r.take("II"))

    def serve(self, crc: int, at: int, size: int) -> None:
        """Send the board a tile of its model's weights."""
        known, weights = self.weights or (0, b"")
        channel = self._channel
        if self.weights is None or crc != known or at + size > len(weights):
            channel.write(channel.encode(wire.STOP, channel.next_seq()))
            raise NoWeightsError(
                f"the board asks for weights of the model file with CRC32 {crc:08x}, "
                + (f"and has been given {known:08x}'s" if self.weights else "and none were given")
                + "; name the model file that was deployed with --weights"
            )
        tile = encode_tile(at, weights[at : at + size])
        channel.longest = len(tile)  # should this be interrupted
        for i in range(0, len(tile), PIECE):
            channel.port.write(tile[i : i + PIECE])
        channel.longest = min(len(tile), LOSS)
        self.served = channel.clock()
