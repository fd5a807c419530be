"""What a model file's program says of the model, and of the memory that it takes.

Nothing but whole numbers and the board's own modules: the page plans with this in MicroPython.
"""

from __future__ import annotations

from typing import Any

from ..device import program, regions

_FIELDS = program.OPS[4][2].split()  # of a step that stores keys and values
_STORE = [name.partition(":")[0] for name in _FIELDS]


class Figures:
    """meta: its metadata. program: its words. tables: those of its tables. sizes: bytes of each
    section.
    """

    meta: dict[str, Any]
    program: Any  # words, as a list or an array of any kind
    tables: Any
    sizes: dict[str, int]

    @property
    def words(self) -> list[int]:
        return [int(n) for n in self.program]

    @property
    def context(self) -> int:
        return int(self.program[0])

    @property
    def batch(self) -> int:
        return int(self.program[1])

    @property
    def stride(self) -> int:
        return int(self.program[2])

    @property
    def outputs(self) -> int:
        """Words of a result: logits of the vocabulary or of labels, or an embedding."""
        return int(self.program[3])

    @property
    def task(self) -> str:
        """generate, classify, embed, translate, answer, tag or predict."""
        return program.TASKS[int(self.program[12])]

    @property
    def rows(self) -> int:
        """Rows of a signal that it reads at most; 0 if it reads none."""
        words = self.words
        i = program.signal(words)
        return words[i + 3] if i else 0

    @property
    def input_bytes(self) -> int:
        """Bytes of an image or of the longest signal, as it comes over the link; 0 of texts."""
        words = self.words
        if words[14]:
            height, width, channels = program.image(words, self.meta.get("image"))[:3]
            return int(height * width * channels)
        i = program.signal(words)
        return 2 * words[i + 3] * words[i + 4] if i else 0

    def cache_bytes(self, context: int) -> int:
        """Bytes of the caches of all layers for a context."""
        words = self.words
        return 4 * sum(regions.cache_words(words, i, context) for i in range(words[11]))

    def arena_bytes(self, context: int) -> int:
        """Bytes of the arena for a context."""
        return 4 * regions.arena_words(self.words, context)

    @property
    def cache_bits(self) -> tuple[int, int]:
        """The most bits that a key has in a cache, and a value."""
        stores = self._stores()
        keys = max((s["key_bits"] for s in stores), default=0)
        return keys, max((s["value_bits"] for s in stores), default=0)

    def with_cache(self, key_bits: int, value_bits: int) -> Figures:
        """The same, as large as it would be had it been converted with these or fewer bits."""
        raise NotImplementedError

    def narrowed(self, key_bits: int, value_bits: int) -> list[int]:
        """The program's words, with caches as large as they would be had it been converted with
        these or fewer bits. Its steps are not changed.
        """
        words = self.words
        for s in self._stores():
            cache = regions.caches(words) + (s["cache"] & 63) - regions.CACHE
            bits = min(s["key_bits"], key_bits), min(s["value_bits"], value_bits)
            words[cache] = regions.pair_words(s["heads"], s["size"], *bits)
        return words

    def _stores(self) -> list[dict[str, int]]:
        """The fields of the steps that store keys and values."""
        words = self.words
        found = [i for op, i in program.walk(words) if program.OPS[op][0] == "store"]
        return [dict(zip(_STORE, words[i : i + len(_STORE)], strict=True)) for i in found]
