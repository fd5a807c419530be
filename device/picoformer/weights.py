"""Weights that do not fit in memory: a matrix is read tile by tile, from wherever it is."""

from .errors import Error


class File:
    """Weights in an open file, from byte `base` on."""

    def __init__(self, f, base):
        self.f = f
        self.base = base

    def fill(self, buffer, at, n, step, g):
        """Put n bytes, from byte `at` of the weights on, into a buffer.

        step, g: the Tiled and its row group that they are for, behind which the next are known;
        or None.
        """
        self.f.seek(self.base + at)
        if (self.f.readinto(buffer) or 0) < n:
            raise Error("model file cannot be read any more: was it replaced? load it again")


class Tiles:
    """A buffer, an array of words, through which matrices are swept; at least one row group.

    source: has a method `fill`, as File. unit: what an operand grows by from word to word.
    """

    def __init__(self, source, buffer, unit):
        self.fill = source.fill
        self.buffer = buffer
        self.words = len(buffer)
        self.unit = unit
        self.arena = None
        self.before = None

    def step(self, name, kernel, at, groups, size):
        """A kernel that sweeps its matrix through the tiles.

        at: the first of its words in the weights; groups, size: as program.matrix has them. A
        row group is four rows, of 4 bits (the step's name says so) eight.
        """
        tiled = Tiled(kernel, self, 4 * at, groups, size, name[-1] == "4")
        name = name.rstrip("4")
        if name == "embed":  # whose row is known when it runs
            self.before = None
            return tiled.embed
        if self.before:
            self.before.next = tiled
        self.before = tiled
        return tiled.linear if name == "linear" else tiled.bias


class Tiled:
    """One step whose matrix, at byte `at` of the weights, comes through the tiles.

    groups: its row groups, of `size` bytes, or a vector's words; some: of them in a tile; next:
    the step that is swept behind it, or None.
    """

    def __init__(self, kernel, tiles, at, groups, size, four):
        self.kernel = kernel
        self.tiles = tiles
        self.at = at
        self.groups = groups
        self.size = 4 * size
        self.some = tiles.words // size
        self.next = None
        self.four = four  # 1 or 0: log2 of a row group's rows, less 2

    def linear(self, rec, memory):
        tiles = self.tiles
        size = self.size
        g = 0
        while g < self.groups:
            n = min(self.some, self.groups - g)
            tiles.fill(tiles.buffer, self.at + g * size, n * size, self, g)
            # The record counts rows by four, and the last of them may be half a group.
            rec[8] = g << self.four
            rec[9] = min(n << self.four, rec[4] - rec[8])
            self.kernel(rec, memory)
            g += n

    def embed(self, rec, memory):
        tiles = self.tiles
        arena = tiles.arena
        held = -1
        t = 0
        while t < arena[1]:
            # By token, position or type; a tuple of the three would be garbage.
            g = arena[0] + t
            if rec[7] != 1:
                g = arena[16 + t * arena[3]] >> (rec[7] << 3) & 0xFFFF
            g >>= 2 + self.four
            if g != held:
                tiles.fill(tiles.buffer, self.at + g * self.size, self.size, None, 0)
                held = g
            rec[4] = t
            rec[5] = t + 1
            rec[6] = g
            self.kernel(rec, memory)
            t += 1

    def bias(self, rec, memory):
        tiles = self.tiles
        out = rec[0]
        g = 0
        try:
            while g < self.groups:
                rec[2] = n = min(self.some, self.groups - g)
                rec[0] = out + g * tiles.unit
                tiles.fill(tiles.buffer, self.at + 4 * g, 4 * n, self, g)
                self.kernel(rec, memory)
                g += n
        finally:
            rec[0] = out
