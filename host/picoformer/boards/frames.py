"""The frames of the serial link, in both of their forms; docs/protocol.md is the definition."""

from __future__ import annotations

import struct
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64, crc32
from dataclasses import dataclass

from ..device import server_frames as wire

NOISE = 4096  # bytes kept of what the board says outside of frames

TEXT_MARK = b"~"
RAW_MARK = b"\x1f"
CTRL_C = b"\x03"
# Printing characters first: control codes mean something to a REPL.
STAND_INS = [bytes([v]) for v in (*range(0x20, 0x100), 0, 1, 2, *range(4, 0x20))]
# What is seen where the REPL has the port again: the server has ended.
REPL_MARKS = (b"\x04", b"MPY: ", b">>> ", b"raw REPL")


@dataclass(frozen=True)
class Frame:
    kind: int
    seq: int
    body: bytes


def _pack(kind: int, seq: int, body: bytes) -> bytes:
    head = struct.pack("<BBBH", wire.MAJOR, kind, seq, len(body))
    whole = head + bytes([crc32(head) & 255]) + body
    return whole + struct.pack("<I", crc32(whole))


def _unpack(whole: bytes) -> Frame | None:
    if len(whole) < 10 or crc32(whole[:5]) & 255 != whole[5]:
        return None
    size = int.from_bytes(whole[3:5], "little")
    if len(whole) != size + 10 or crc32(whole[:-4]) != int.from_bytes(whole[-4:], "little"):
        return None
    return Frame(whole[1], whole[2], whole[6:-4])


def encode_text(kind: int, seq: int, body: bytes = b"") -> bytes:
    """A frame as a line of text."""
    return b"\n" + TEXT_MARK + b2a_base64(_pack(kind, seq, body))


def encode_raw(kind: int, seq: int, body: bytes = b"") -> bytes:
    """A frame as bytes without Ctrl-C. At most 60000 bytes of payload."""
    whole = _pack(kind, seq, body)
    head, rest = whole[:6], whole[6:]
    stand_in = next(a for a in STAND_INS if a not in head)
    # There are more pairs than such a frame has bytes.
    pair = next(a + b for a in STAND_INS for b in STAND_INS if a != b and a + b not in rest)
    high, low = divmod(rest.count(CTRL_C), 252)
    return b"".join(
        (
            RAW_MARK,
            stand_in,
            head.replace(CTRL_C, stand_in),
            pair,
            bytes([low + 4, high + 4]),
            rest.replace(CTRL_C, pair),
        )
    )


class Decoder:
    """Takes a board's output apart into frames and all else."""

    def __init__(self) -> None:
        self.noise = bytearray()  # the end of what was not a frame
        self.ended = False  # has the REPL been seen?
        self._line = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""
        frames = []
        lines = data.split(b"\n")
        for i, line in enumerate(lines):
            self._line += line
            if i == len(lines) - 1:
                break
            whole = bytes(self._line)
            self._line.clear()
            if whole.startswith(TEXT_MARK):
                try:
                    frame = _unpack(a2b_base64(whole[1:]))
                except Base64Error:
                    frame = None
                if frame:
                    frames.append(frame)
                    continue
            self._noise(whole + b"\n")
        if any(mark in self._line for mark in REPL_MARKS):
            self._noise(bytes(self._line))
            self._line.clear()
        return frames

    def _noise(self, data: bytes) -> None:
        if any(mark in data for mark in REPL_MARKS):
            self.ended = True
        self.noise += data
        del self.noise[:-NOISE]

    def heard(self) -> str:
        """The noise, for a message."""
        return (self.noise + self._line).decode(errors="replace").strip("\x04>\r\n ")
