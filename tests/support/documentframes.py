"""Example frames of docs/protocol.md: what each holds, and the bytes that the document gives."""

import re
import struct
from pathlib import Path

from picoformer.device import server_frames as wire

DOC = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text("utf-8")

EXAMPLES = {
    "HELLO, sequence 1": (wire.HELLO, 1, bytes([1, 0])),
    "PING, sequence 3": (wire.PING, 3, b"hi"),
    "DATA, sequence 7": (wire.DATA, 7, struct.pack("<I", 512) + b"\3\4\5"),
    "its reply": (wire.DATA | 0x80, 7, struct.pack("<I", 515)),
    "TOKEN, sequence 9": (wire.TOKEN, 9, b"\0\0\5\0 girl\0\0"),
    "ERROR, sequence 8": (wire.ERROR, 8, struct.pack("<BI", wire.BAD_OFFSET, 1536)),
}


def documented(name: str) -> tuple[bytes, bytes | None]:
    """A frame as text, and as raw where the document has that."""
    row = rf"^\| {re.escape(name)}[^|]*\| `(\S+)` \|\n(?:\| \| `([0-9a-f ]+)` \|)?"
    found = re.search(row, DOC, re.M)
    assert found, name
    return found[1].replace("\\n", "\n").encode(), bytes.fromhex(found[2]) if found[2] else None
