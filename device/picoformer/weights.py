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

    def step(self, name, kernel, at, groups):
        """A kernel that sweeps its matrix, at word `at` of the weights, through the tiles."""
        return getattr(Tiled(kernel, self, at, groups), name)


class Tiled:
    """One step whose matrix, at word `at` of the weights, comes through the tiles."""

    def __init__(self, kernel, tiles, at, groups):
        self.kernel = kernel
        self.tiles = tiles
        self.at = at
        self.groups = groups

    def linear(self, rec, memory):
        size = rec[3] + 2
        some = self.tiles.words // size
        g = 0
        while g < self.groups:
            self.tiles.read(self.at + g * size)
            rec[8] = g
            rec[9] = min(some, self.groups - g)
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
            g >>= 2
            self.tiles.read(self.at + g * (rec[2] + 2))
            rec[4] = t
            rec[5] = t + 1
            rec[6] = g
            self.kernel(rec, memory)
            t += 1

    def bias(self, rec, memory):
        self.tiles.read(self.at)
        self.kernel(rec, memory)
