"""What a plan has to know of the runtime itself. The page has these as numbers."""

from __future__ import annotations

import inspect

from ..device.model import Model
from ..runtime.files import readers, wanted
from ..tokenizers.added import FLAG_ADDED
from .profiles import Profile

# Bytes of the heap that Model leaves free where it copies weights from flash: its `spare`.
SPARE: int = inspect.signature(Model).parameters["spare"].default


def has_added(tokenizer: bytes) -> bool:
    """Whether a tokenizer's section has added tokens."""
    return bool(int.from_bytes(tokenizer[4:8], "little") & FLAG_ADDED)


def runtime_bytes(board: Profile, tokenizer: bytes) -> int:
    """Bytes of the runtime in the board's filesystem, as `deploy` puts it there with a model.

    tokenizer: the section of the model.
    """
    files = wanted(board.platform, readers([tokenizer])).files
    return sum(board.on_disk(len(data)) for data in files.values())
