"""The list of merges that byte-pair encodings have."""

from __future__ import annotations

from ...errors import Error
from ..sentencepiece import SPACE
from .components import TokenizerJson


def listed_merges(file: TokenizerJson, split: bool) -> dict[tuple[int, int], tuple[int, int]]:
    """(left, right) -> (rank, result) from the merges list.

    split: each U+2581 begins a word, and BPE does not cross words. No merge onto a piece that
    begins with it then ever happens, and leaving those out makes the splitting unnecessary.
    """
    merges: dict[tuple[int, int], tuple[int, int]] = {}
    listed = file.items(file.model.get("merges"), "model.merges")
    if len(listed) > 65536:
        raise Error(f"{file.path}: {len(listed)} merges, expected at most 65536")
    for rank, item in enumerate(listed):
        what = f"merge {rank}"
        pair = item.split(" ") if isinstance(item, str) else file.items(item, what)
        if len(pair) != 2:
            raise Error(f"{file.path}: {what} is {item!r}, expected two pieces")
        left, right = (file.known(file.ids, piece, what) for piece in pair)
        result = file.known(file.ids, pair[0] + pair[1], f"{what}'s result")
        if not (split and pair[1].startswith(SPACE)):
            merges[left, right] = rank, result
    return merges
