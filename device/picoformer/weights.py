"""Weights that do not fit in memory: a matrix is read from the file tile by tile."""

from array import array

from .errors import Error


class Tiles:
    """A buffer through which matrices are swept, `words` long (at least one row group)."""

    def __init__(self, f, base, words):
        self.f = f
        self.base = base
        self.buffer = array("i", bytes(4 * words))
        self.words = words
        self.arena = None

    def read(self, at):
        self.f.seek(self.base + 4 * at)
        if not self.f.readinto(self.buffer):
            raise Error("model file cannot be read any more: was it replaced? load it again")

    def step(self, name, kernel, at, groups, size):
        """A kernel that sweeps its matrix through the tiles: `groups` of `size` words, from `at`.

        A row group is four rows, of 4 bits (the step's name says so) eight.
        """
        four = name[-1] == "4"
        return getattr(Tiled(kernel, self, at, groups, size, four), name.rstrip("4"))


class Tiled:
    """One step whose matrix, at word `at` of the weights, comes through the tiles."""

    def __init__(self, kernel, tiles, at, groups, size, four):
        self.kernel = kernel
        self.tiles = tiles
        self.at = at
        self.groups = groups
        self.size = size
        self.four = four  # 1 or 0: log2 of a row group's rows, less 2

    def linear(self, rec, memory):
        some = self.tiles.words // self.size
        g = 0
        while g < self.groups:
            self.tiles.read(self.at + g * self.size)
            # The record counts rows by four, and the last of them may be half a group.
            rec[8] = g << self.four
            rec[9] = min(some << self.four, rec[4] - rec[8])
            self.kernel(rec, memory)
            g += some

    def embed(self, rec, memory):
        arena = self.tiles.arena
        t = 0
        while t < arena[1]:
            # By token, position or type; a tuple of the three would be garbage.
            g = arena[0] + t
            if rec[7] != 1:
                g = arena[16 + t * arena[3]] >> (rec[7] << 3) & 0xFFFF
            g >>= 2 + self.four
            self.tiles.read(self.at + g * self.size)
            rec[4] = t
            rec[5] = t + 1
            rec[6] = g
            self.kernel(rec, memory)
            t += 1

    def bias(self, rec, memory):
        self.tiles.read(self.at)
        self.kernel(rec, memory)
