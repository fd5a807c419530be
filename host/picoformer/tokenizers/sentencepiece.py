"""How SentencePiece, and all who took that over, write spaces and bytes in pieces."""

from __future__ import annotations

from ..errors import Error

SPACE = "\u2581"  # which is visible
BYTE_NAMES = [f"<0x{b:02X}>" for b in range(256)]


def first_byte(path: str, ids: dict[str, int]) -> int:
    """The token of byte 0x00, or -1 without byte tokens. Raises Error where some are missing."""
    present = [name for name in BYTE_NAMES if name in ids]
    if not present:
        return -1
    base = ids.get(BYTE_NAMES[0], -1)
    if any(ids.get(name) != base + b for b, name in enumerate(BYTE_NAMES)):
        raise Error(
            f"{path}: {len(present)} byte tokens, from {present[0]} to {present[-1]}; "
            "expected all of <0x00> to <0xFF> with consecutive ids"
        )
    return base
