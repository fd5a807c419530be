"""The proof that every step of a program stays inside its memory.

The kernels have no bounds checks. `check` is what stands between them and a bad file: it is run
on the PC and on the board before any kernel, and dropped before a board allocates the rest.
docs/format.md says what it guarantees.
"""

from .errors import Error
from .program import (
    ANSWER,
    EACH,
    EMBED,
    EMBEDDING,
    FOUR,
    GENERATE,
    LABELLED,
    LINEAR,
    OPS,
    POOLED,
    PREDICT,
    TRANSLATE,
    WINDOWS,
    matrix,
    signal,
    walk,
)
from .regions import (
    ARENA,
    CACHE,
    HEAD,
    HEADER,
    TABLES,
    WEIGHTS,
    arena_words,
    array_of,
    cache_words,
    caches,
    forget,
    pair_words,
    read,
)

# What a step does with words of the frame: read them, make them, change them, add to each (rows
# that only fill a group may be added to nothing, and stay unknown), or read a vector.
_READ, _MADE, _CHANGED, _ADDED, _VECTOR = 0, 1, 2, 3, 4

# Words of the program's head with their limits; what is not named is 0.
_HEAD = {
    0: ("context", 2, 32768),
    1: ("batch", 1, 32768),
    2: ("frame size", 2, 1 << 20),
    3: ("results", 1, 1 << 20),
    4: ("vocabulary", 1, 65535),
    6: ("fraction bits of the result", 0, 24),
    7: ("BOS", -1, 65534),
    8: ("number of end tokens", 0, 16),
    11: ("caches", 0, 60),
    12: ("task", GENERATE, PREDICT),
    13: ("whole", 0, 1),
    16: ("several", 0, 1),
}
OLD = 10  # words that a program of version 2 is shorter by


def upgrade(words):
    """Bring a program of version 2, which stands behind OLD words, to version 3."""
    if len(words) < HEAD + 2:
        raise Error("bad program: %d words" % (len(words) - OLD))
    for k in range(HEAD):
        words[k] = words[k + OLD] if k < 16 else 0
    # Its texts end at BOS as well; -1 is none.
    words[HEAD], words[HEAD + 1] = words[8], words[7]
    words[8] = 2


def steps(words):
    """How many steps a program section has, and which of them its body and its head begin with.

    Raises Error if the words are not laid out as a program, or numbers of its head are absurd.
    """
    if len(words) < HEAD:
        raise Error("bad program: %d words" % len(words))
    for k in range(HEAD):
        # Operands and the lengths of the lists are checked where they are used.
        if k not in (5, 9, 10, 14, 15, 17):
            name, low, high = _HEAD.get(k, ("reserved word", 0, 0))
            if not low <= words[k] <= high:
                raise Error("bad program: %s is %d, not %d to %d" % (name, words[k], low, high))
    if words[0] & 1:
        raise Error("bad program: odd context")
    i = caches(words) + words[11]
    if len(words) < i:
        raise Error("bad program: %d words" % len(words))
    # Every word of it must have an operand, whose offset has 25 bits.
    if arena_words(words, words[0]) > 1 << 25:
        raise Error("bad program: arena of %d words" % arena_words(words, words[0]))
    if any(not 0 < cache_words(words, i, words[0]) < 1 << 28 for i in range(words[11])):
        raise Error("bad program: cache size")
    count = 0
    ends = [i]
    for k in (15, 9, 10):
        if not 0 <= words[k] < 1 << 24:
            raise Error("bad program: %d words in a part" % words[k])
        ends.append(ends[-1] + words[k])
    if ends.pop() != len(words):
        raise Error("bad program: %d words, its parts say otherwise" % len(words))
    starts = [0, 0, 0]
    while i < len(words):
        for k in range(3):
            if i == ends[k]:
                starts[k] = count
        op = words[i]
        if op not in OPS or i + 2 > len(words) or words[i + 1] != len(OPS[op][1]):
            raise Error("bad program: unknown step %d at word %d" % (op, i))
        n = words[i + 1]
        if i + 2 + n > len(words) or any(i < end < i + 2 + n for end in ends):
            raise Error("bad program: the step at word %d is cut off" % i)
        count += 1
        i += 2 + n
    for k in range(3):
        if ends[k] == len(words):
            starts[k] = count
    return count, starts[1], starts[2]


def proved(f, parts, held):
    """The program and the tables of a file, once it is known that they are in bounds.

    held: arrays for them, if they have a place already. Raises Error.
    """
    f.seek(4)
    old = OLD if f.read(1) == b"\x02" else 0
    words = held[0] if held else array_of((parts[1][1] >> 2) + old)
    read(f, parts[1], "program", memoryview(words)[old:])
    if old:
        upgrade(words)
    tables = held[1] if held else array_of(parts[2][1] >> 2)
    read(f, parts[2], "tables", tables)
    check(words, tables, parts[4][1] >> 2)
    # The proof takes as much memory as a small model's program and tables: it goes first.
    forget("check")
    return words, tables


def check(words, tables, weight_words):
    """Prove that every step of a program stays inside its regions; raise Error if one may not.

    words: the program section; tables: the table section, both indexables of signed 32-bit words;
    weight_words: size of the weights section.
    """
    proof = _Steps(words, tables, weight_words)
    proof.limits()
    proof.begin()
    for op, i in walk(words):
        proof.prove(op, i, words[i : i + words[i - 1]])
    proof.end()


class _Memory:
    """What operands may name, and what the words of a frame hold when a step comes to them."""

    def __init__(self, words, tables, weight_words):
        self.words = words
        self.tables = tables
        self.weight_words = weight_words
        self.step = 0
        # Of the frame's words, (first, end):
        self.used = []  # those that this step has named
        self.written = []  # those that hold a value of this input
        self.vectors = {}  # first word of a quantized vector: its elements and their bits

    def need(self, ok, what):
        if not ok:
            raise Error("bad program, step %d: %s" % (self.step, what))

    def number(self, v, low, high, what):
        if not low <= v <= high:
            self.need(False, "%s is %d, not %d to %d" % (what, v, low, high))

    def inside(self, at, n, low, high, what):
        self.need(n > 0 and at >= low and n <= high - at, what + " is outside its memory")

    def filled(self, at, end):
        """Whether words at..end of the frame are written."""
        last = -1
        while last < at < end:
            last = at
            for first, behind in self.written:
                if first <= at < behind:
                    at = behind
        return at >= end

    def forget(self, at, end):
        self.written = [
            part
            for a, b in self.written
            for part in ((a, min(b, at)), (max(a, end), b))
            if part[0] < part[1]
        ]

    def frame(self, operand, n, what, how):
        self.need(operand & 63 == ARENA, what + " is not in the arena")
        at = operand >> 6
        # Word 0 of a frame is its token, by which `embed` finds a row: no step may write it.
        self.inside(at, n, HEADER + 1, HEADER + self.words[2], what)
        for first, end in self.used:
            self.need(at >= end or at + n <= first, what + " overlaps another operand")
        self.used.append((at, at + n))
        if how == _MADE and not self.filled(at, at + n):
            self.written.append((at, at + n))
        if how in (_READ, _CHANGED):
            self.need(self.filled(at, at + n), what + " is read before it is written")
        if how in (_MADE, _CHANGED, _ADDED):
            for first in list(self.vectors):
                if first < at + n and at < first + 4 + self.vectors[first][0]:
                    del self.vectors[first]
        return at

    def table(self, operand, n, what):
        self.need(operand & 63 == TABLES, what + " is not in the tables")
        self.inside(operand >> 6, n, 0, len(self.tables), what)
        return operand >> 6

    def contents(self, at, n, low, high, what):
        some = self.tables[at : at + n]
        self.number(min(some), low, high, what)
        self.number(max(some), low, high, what)

    def matrix(self, operand, n):
        self.need(operand & 63 == WEIGHTS, "matrix is not in the weights")
        self.inside(operand >> 6, n, 0, self.weight_words, "matrix")


class _Steps(_Memory):
    """The steps in their order: a method for each, which takes the step's fields.

    It names them itself: names of arguments would stay in a board's memory.
    """

    def __init__(self, words, tables, weight_words):
        _Memory.__init__(self, words, tables, weight_words)
        self.count, self.body, self.head = steps(words)
        self.padded = (words[3] + 3) & ~3  # words of all the logits
        self.embedded = None  # operand and words of what `embed` made, then of what was pooled
        self.residual = 0  # what an image's patches become
        self.patched = False  # whether they have
        self.stored = {}  # cache: (heads, size, bits of keys, of values, whether the encoder's)
        self.signal = False  # whether windows of one are read
        self.single = False  # whether `pool` has left one position
        self.logits = self.biased = False  # whether they are there, whether a bias is

    def begin(self):
        """The program's head: what its numbers say of one another."""
        words = self.words
        context, results, vocab, task, image = words[0], words[3], words[4], words[12], words[14]
        need = self.need
        self.number(words[7], -1, vocab - 1, "BOS")
        for k in range(HEAD, caches(words)):
            self.number(words[k], -1, vocab - 1, "end token")
        if task in (GENERATE, TRANSLATE):
            need(results == vocab, "%d results, %d tokens" % (results, vocab))
        need(not words[13] or words[1] >= context, "a group does not hold a whole input")
        # Text grows token by token; labels, embeddings and what is translated are of all of it.
        need(words[13] == (task != GENERATE), "task %d, whole %d" % (task, words[13]))
        encoder = "task %d, %d steps of an encoder" % (task, self.body)
        need((self.body > 0) == (task == TRANSLATE), encoder)
        headed = self.head < self.count
        need(headed == (task not in EACH), "no head, or one too much")
        need(not image or task in POOLED, "no task for an image")
        need(task != ANSWER or results == 2, "%d results, not 2" % results)
        need(not words[17] or signal(words), "unheard sound")
        need(not words[16] or task in LABELLED, "no labels, of which there may be several")
        need(task != TRANSLATE or words[7] >= 0, "a translation needs BOS")
        for op, i in walk(words):
            # An image's patches are there from the start, as many as their `linear` reads.
            if image and op in LINEAR and words[i] == image:
                self.vectors[image >> 6] = words[i + 3], 8
                break

    def end(self):
        """What is there behind the last step."""
        result, results, task = self.words[5], self.words[3], self.words[12]
        if task == EMBED:
            # What was pooled stays in the first frame.
            self.need(self.single and (result, results) == self.embedded, "no embedding comes out")
        else:
            self.need(self.logits, "no logits come out")
        if task == EMBED or task in EACH:
            at = result >> 6
            self.need(self.filled(at, at + results), "the result is lost")
        self.need(len(self.stored) == self.words[11], "a cache is not stored")

    def prove(self, op, i, record):
        """A step, whose fields begin at word i."""
        name, letters, _ = OPS[op]
        self.used.clear()
        self.order(op, record)
        getattr(self, name.rstrip("4"))(record)
        k = letters.find("w")
        if k > 0:
            if op in FOUR:
                span = record[len(record) - 1]
                self.need(span & 15 == 0, "%d columns of a scale, no multiple of 16" % span)
            groups, size = matrix(self.words, op, i)
            self.matrix(record[k], groups * size)
        self.step += 1

    def limits(self):
        """The limits that the table of the steps has: read once, as texts take their time."""
        words = self.words
        for op in sorted({op for op, _ in walk(words)}):
            fields = [field.partition("?") for field in OPS[op][2].split()]
            names = [field.partition(":")[0] for field, _, _ in fields]
            limits = []
            for k, (field, _, owner) in enumerate(fields):
                if field != names[k]:
                    _, low, high = field.split(":")
                    limits.append((k, int(low), int(high), names.index(owner) if owner else -1))
            for self.step, (known, i) in enumerate(walk(words)):
                for k, low, high, owner in limits if known == op else ():
                    if owner < 0 or words[i + owner]:
                        self.number(words[i + k], low, high, names[k])
        self.step = 0

    def order(self, op, record):
        """What the program and its parts begin with."""
        image = self.words[14]
        if self.step == self.body > 0:
            self.embedded = None
            self.written.clear()
            self.vectors.clear()
        if image and not self.embedded:
            # The patches are in the frames; `linear`, or a bias and `linear`, make the residual.
            if not self.patched and (op in LINEAR or self.step):
                first = op in LINEAR and record[0] == image
                self.need(first, "an image does not begin with `linear`")
                residual = self.step == 0 or record[1] == self.residual
                self.need(residual, "patches are not the residual")
                self.residual = record[1]
                self.patched = True
            elif self.patched:
                self.need(op in EMBEDDING, "the patches have no positions")
            else:
                self.need(op == 9, "an image does not begin with `linear`")
                self.residual = record[0]
        else:
            begun = self.embedded or op in EMBEDDING or op == WINDOWS
            self.need(begun, "the program does not begin with `embed`")
        if self.step == self.head:
            self.need(OPS[op][0] == "pool", "the head does not begin with `pool`")

    def embed(self, record):
        x, _, n, _, _, _, _, position = record[:8]
        self.need(not self.single, "embedding in the head")
        if position:
            # Behind windows what is embedded is whatever was made of them, and by position.
            known = self.embedded or (self.words[14] and (self.residual, n))
            right = position == 1 if self.signal else known == (x, n)
            self.need(right, "positions are added to something else")
        else:
            self.need(self.embedded is None and not self.words[14], "two embeddings")
        self.frame(x, n, "result", _CHANGED if position else _MADE)
        self.embedded = (x, n)

    def windows(self, record):
        from .check_signal import check_windows

        n = check_windows(self, record)
        out = record[0]
        forget("check_signal")
        self.frame(out, n, "output", _MADE)
        self.embedded = out, n
        self.signal = True

    def norm(self, record):
        x, out, n, bits, dyn, _, _, gain, lg = record[:9]
        self.frame(x, n, "input", _READ)
        if dyn:
            self.frame(dyn, 1, "exponent", _READ)
        at = self.frame(out, n + 4, "output", _MADE)
        # Some kernels use the sum that stands in it: all of it is read together, or nothing.
        self.forget(at, at + n + 4)
        self.vectors[at] = n, bits
        if gain:
            self.gains(gain, n, lg)

    def gains(self, gain, n, lg):
        self.contents(self.table(gain, n, "gain"), n, -32767, 32767, "gain")
        self.need(n <= 1 << lg, "shift too small for %d elements" % n)

    def linear(self, record):
        x, out, _, cols, groups, _, _, add, _, count = record[:10]
        span = record[10:]
        result, task = self.words[5], self.words[12]
        at = self.frame(x, cols + 4, "input", _VECTOR)
        n, bits = self.vectors.get(at, (0, 0))
        self.need(n == cols, "input is not a vector of %d elements" % cols)
        self.need(not span or bits <= 9, "input has elements of %d bits, not 9" % bits)
        self.need(count == groups, "row window")
        # An embedding stays where the residual is; other results are behind the frame.
        behind = HEADER + self.words[2] << 6
        if self.single and out == result and (task != EMBED or out >= behind):
            self.need(out == behind, "logits are not behind the first frame")
            self.need(4 * groups == self.padded, "logits are not all the results")
            self.need(add == self.biased, "logits are added to nothing")
            self.logits = True
        else:
            self.frame(out, 4 * groups, "output", _ADDED if add else _MADE)
            if task in EACH and out == result and 4 * groups == self.padded:
                self.logits = True

    def cached(self, cache, shape, rotation):
        """An operand of a cache, with what a `store` and an `attend` say of it."""
        heads, size, key_bits, value_bits = shape
        known = key_bits in (8, 12) and value_bits in (4, 8)
        wrong = "keys of %d bits, not 8 or 12, or values of %d, not 4 or 8" % (
            key_bits,
            value_bits,
        )
        self.need(known, wrong)
        words = self.words
        layer = (cache & 63) - CACHE
        self.need(cache >> 6 == 0 and 0 <= layer < words[11], "no such cache")
        pair = pair_words(heads, size, key_bits, value_bits)
        self.need(words[caches(words) + layer] == pair, "cache size")
        if rotation:
            self.need(size & 1 == 0, "odd head size with rotation")
            self.table(rotation, words[0] * (size >> 1), "rotation table")

    def store(self, record):
        k, v, cache, heads, size, rotation, key_bits, value_bits = record
        self.need(not self.single, "cache is stored in the head")
        shape = heads, size, key_bits, value_bits
        self.cached(cache, shape, rotation)
        self.frame(k, heads * size, "keys", _CHANGED)
        self.frame(v, heads * size, "values", _CHANGED)
        # The whole input has gone through one attention before the next stores its own;
        # but a translation grows token by token.
        shared = self.words[13] and not self.step >= self.body > 0
        self.need(shared or cache not in self.stored, "cache is stored twice")
        shape += (self.step < self.body,)
        self.need(self.stored.setdefault(cache, shape) == shape, "cache is stored in two shapes")

    def attend(self, record):
        q, out, cache, heads, kv_heads, size, rotation, exp2 = record[:8]
        ps, whole, bias, row, key_bits, value_bits = record[13:]
        context, need = self.words[0], self.need
        shape = kv_heads, size, key_bits, value_bits
        self.cached(cache, shape, rotation)
        # Of the positions so far, of all, or of a translation's source.
        translating = self.step >= self.body > 0
        self.number(whole, 0, 2 if translating else self.words[13], "whole")
        need(whole != 1 or not translating, "a translation is no whole input")
        shape += (whole == 2 or self.step < self.body,)
        need(self.stored.get(cache) == shape, "cache is not stored before, or otherwise")
        need(heads % kv_heads == 0, "%d heads share %d key heads" % (heads, kv_heads))
        self.frame(q, heads * size, "queries", _CHANGED)
        self.frame(out, heads * size, "output", _MADE)
        at = self.table(exp2, 64, "powers of two")
        self.contents(at, 64, 0, 32768, "power of two")
        # A largest weight of 2**15 keeps the softmax's divisor away from zero.
        need(self.tables[at] == self.tables[at + 32] == 32768, "2**0 is not 32768")
        need(context <= 512 << ps, "shift too small for %d positions" % context)
        if bias:
            # Of each distance back, and ahead where a query sees what is behind it.
            first = (bias >> 6) - context + 1
            n = (heads - 1) * row + context + (context - 1 if whole else 0)
            need(first >= 0, "biases are outside their memory")
            self.table(first << 6 | (bias & 63), n, "biases")
            self.contents(first, n, -1 << 24, 1 << 24, "bias")

    def gate(self, record):
        g, u, n, table, _, dyn, odd = record
        self.frame(g, n, "gate", _CHANGED)
        if u:
            at = self.frame(u, n, "input", _CHANGED)
            self.frame(dyn, 1, "exponent", _MADE)
            # Kernels leave there what they like.
            self.forget(at, at + n)
        else:
            self.need(dyn == 0, "an exponent without a product")
        if table:
            self.table(table, 257, "activation")
        self.number(odd, 0, 1 if table and not u else 0, "odd")

    def pool(self, record):
        x, n, how = record
        at = self.frame(x, n, "input", _CHANGED)
        self.number(how, 0, 2 if self.words[13] else 0, "how")
        self.need(self.step == self.head, "`pool` in the middle")
        self.embedded = x, n
        self.single = True
        self.written = [(at, at + n)]
        self.vectors.clear()

    def layernorm(self, record):
        x, out, n, _, _, gain, bias, lg = record[:8]
        self.frame(x, n, "input", _READ if out != x else _CHANGED)
        if out != x:
            self.frame(out, n, "output", _MADE)
        self.gains(gain, n, lg)
        if bias:
            self.table(bias, n, "bias")

    def bias(self, record):
        out, _, n, add = record
        if self.single and out == self.words[5] == HEADER + self.words[2] << 6:
            whole = n == self.padded and not (add or self.biased)
            self.need(whole, "bias is not all the logits'")
            self.biased = True
        else:
            self.frame(out, n, "output", _ADDED if add else _MADE)
