"""The interpreter: load a model file, run its program, turn tokens into text."""

import gc
import sys
from array import array

from . import modelfile, program
from .errors import Error
from .sampling import samples, sampling, seed_word
from .tokenizer import Tokenizer

_TILE = 1024  # words of the tile buffer, or one row group if that is longer


def _family(name):
    """The kernels `name`, or the fastest family that this port can compile."""
    # The native emitter's architecture: 4 to 8 are ARMv6-M to ARMv7E-M.
    arch = getattr(sys.implementation, "_mpy", 0) >> 10 & 15
    for family in ("thumb", "viper") if 4 <= arch <= 8 else ("viper",):
        if name in (None, family):
            try:
                if family == "thumb":
                    from . import thumb as kernels
                else:
                    from . import viper as kernels
                return kernels
            except (AttributeError, ImportError, MemoryError, SyntaxError, ValueError):
                # No emitter, an .mpy of another processor, or no memory to compile the source.
                gc.collect()
    if name in ("thumb", "viper"):
        raise Error("this port cannot run %s kernels; use kernels='portable'" % name)
    if name not in (None, "portable"):
        raise Error("no kernels %r: there are 'thumb', 'viper' and 'portable'" % name)
    from . import portable

    return portable


def _zeros(n, native):
    """n words. A bytearray is one allocation; only plain Python needs to index whole words."""
    return bytearray(4 * n) if native else array("i", bytes(4 * n))


def _words(f, section, kind):
    out = array("i", bytes(section[1]))
    modelfile.read(f, section, kind, out)
    return out


class Model:
    """A model file, ready to run.

    path: the model file (.pft). context: positions of the cache, at most and by default the
    file's. weights: "flash" (used where they lie, if the board maps its files into memory),
    "ram", "file" (read in tiles for every token), or None for the first of these that can be.
    kernels: "thumb", "viper", "portable" or None for the fastest. Raises Error.
    """

    def __init__(self, path, context=None, weights=None, kernels=None):
        self._f = self._mapped = None
        try:
            f = open(path, "rb")  # noqa: SIM115
        except OSError as e:
            raise Error("cannot open model file %s: %s" % (path, e))
        try:
            self._load(f, path, context, weights, _family(kernels))
        except MemoryError as e:
            f.close()
            hint = " or weights='file'" if weights == "ram" else ""
            raise Error("not enough memory: %s; choose a smaller context%s" % (e, hint))
        except OSError as e:
            f.close()
            raise Error("cannot read model file %s: %s" % (path, e))
        except Exception:
            f.close()
            raise
        if self.weights == "file":
            self._f = f
        else:
            f.close()

    def _load(self, f, path, context, weights, kernels):
        parts = modelfile.sections(f)
        native = kernels.BIAS != 0
        gc.collect()
        words = _words(f, parts[1], modelfile.PROGRAM)
        tables = _words(f, parts[2], modelfile.TABLES)
        modelfile.read(f, parts[0], modelfile.META)
        program.check(words, tables, parts[4][1] >> 2)
        limit = words[0]
        context = limit if context is None else context
        if not 2 <= context <= limit:
            raise Error("context is %r, this model has 2 to %d" % (context, limit))
        self.context = context = (context + 1) & ~1
        self.vocab = words[4]
        self.bos, self.eos = words[7], words[8]
        self.kernels = kernels.__name__.split(".")[-1]
        self._batch = words[1]
        self._stride = words[2]
        self._logits = words[5] >> 6
        self._bits = words[6]

        # The large blocks come first, while the heap is in one piece.
        if weights not in (None, "flash", "ram", "file"):
            raise Error("weights are in 'flash', 'ram' or a 'file', not in %r" % weights)
        choices = (weights,) if weights else ("flash", "ram", "file")
        for self.weights in choices:
            try:
                matrix = _zeros(parts[4][1] >> 2, native) if self.weights == "ram" else None
                memory = [None, tables, None, matrix]
                for i in range(words[11]):
                    memory.append(_zeros(program.cache_words(words, i, context), native))
                memory[0] = array("i", bytes(4 * program.arena_words(words, context)))
                tokens = bytearray(parts[3][1])
                source = matrix or self._source(f, path, parts[4], words, native)
                if source:
                    break
                matrix = memory = None
                gc.collect()
            except MemoryError:
                if self.weights == choices[-1]:
                    raise
                matrix = memory = None
                gc.collect()
        else:
            raise Error("this board does not map the file into memory; use weights='file'")
        if self.weights == "ram":
            modelfile.read(f, parts[4], modelfile.WEIGHTS, source)
        elif self.weights == "file":
            modelfile.read(f, parts[4], modelfile.WEIGHTS)
            source.arena = memory[0]
            memory[3] = source.buffer
        else:
            self._mapped = source
            memory[3] = source.view
        modelfile.read(f, parts[3], modelfile.TOKENIZER, tokens)
        self.tokenizer = Tokenizer(tokens)
        if self.tokenizer.vocab_size != self.vocab:
            raise Error(
                "model file is corrupt: tokenizer of %d tokens, model of %d"
                % (self.tokenizer.vocab_size, self.vocab)
            )
        arena = self._arena = memory[0]
        arena[2] = context
        arena[3] = self._stride
        self._tokens = array("H", bytes(2 * context))
        self._filled = 0
        self._turn = 0
        self._bind(kernels, words, memory, source, parts[4][0])
        gc.collect()

    def _source(self, f, path, section, words, native):
        """What the weights come from unless they are in RAM, or None where that cannot be."""
        offset, n, _ = section
        if self.weights == "file":
            from .weights import Tiles

            longest = _TILE
            for op, i, _ in program.steps(words)[0]:
                if op == 1 or op == 3:
                    longest = max(longest, words[i + (2 if op == 1 else 3)] + 2)
            return Tiles(f, offset, longest)
        if native:
            from . import flash

            mapped = flash.find(f, path, offset + n)
            if mapped and mapped.check(section):
                return mapped
        return None

    def _bind(self, kernels, words, memory, source, offset):
        """Make the list of (kernel, record) that a token runs through."""
        listing, body = program.steps(words)
        # A matrix is a list of runs (operand, words): a single one, or one a piece of flash.
        runs = []
        view = memoryview(words)
        self._body, self._head = [], []
        for s in range(len(listing)):
            op, i, n = listing[s]
            name, fields = program.OPS[op]
            kernel = getattr(kernels, name)
            record = view[i : i + n]
            for k in range(n):
                if fields[k] == "w":
                    at = record[k] >> 6
                    groups = (self.vocab + 3) >> 2 if op == 1 else record[4]
                    size = groups * (record[3 if op == 3 else 2] + 2)
                    record[k] = len(runs) << 6 | program.RUNS
                    if self.weights == "file":
                        kernel = source.step(name, kernel, at, groups)
                        pieces = ((0, 4 * source.words),)
                    elif self.weights == "flash":
                        pieces = source.section(offset + 4 * at, 4 * size)
                    else:
                        pieces = ((4 * at, 4 * size),)
                    for at, size in pieces:
                        runs.append(at >> 2 << 6 | program.WEIGHTS)
                        runs.append(size >> 2)
            (self._body if s < body else self._head).append((kernel, record))
        runs = memory[2] = array("i", runs)
        # The sampler is one more step, whose record the interpreter writes.
        table = 0
        for op, i, _ in listing:
            if op == 5:
                table = words[i + 7]
        self._exp2 = table
        self._pick = array("i", (words[5], self.vocab, table, 0, 0, 0, 1, 0))
        self._sample = kernels.sample
        self._space = memory
        if kernels.BIAS:
            self._relocate(memory, kernels.BIAS, listing, words)
            self._memory = memory  # keeps the regions alive
            self._space = self._arena

    def _relocate(self, memory, bias, listing, words):
        """Turn operands into byte distances from the arena, `bias` added."""
        from uctypes import addressof

        home = addressof(memory[0])
        # Wider than 32 bits only where pointers are; there the distance must stay positive.
        wide = home >> 32 or addressof(memory[1]) >> 32

        def place(operand):
            d = addressof(memory[operand & 63]) + 4 * (operand >> 6) - home + bias
            if wide and not 0 <= d < 0x80000000:
                raise Error("the heap is too scattered for 32-bit operands")
            d &= 0xFFFFFFFF
            return d - 0x100000000 if d & 0x80000000 else d

        runs = memory[program.RUNS]
        for i in range(0, len(runs), 2):
            runs[i] = place(runs[i])
        for op, i, n in listing:
            fields = program.OPS[op][1]
            for k in range(n):
                # Operand 0, the arena's own header, stands for "none".
                if fields[k] != "-" and words[i + k]:
                    words[i + k] = place(words[i + k])
        for k in (0, 2):
            if self._pick[k]:
                self._pick[k] = place(self._pick[k])

    def _run(self, at, end):
        """Run positions at..end of the tokens, and the head behind the last of them."""
        arena = self._arena
        space = self._space
        # An interrupted run leaves no more than this behind.
        self._filled = at
        while at < end:
            n = min(self._batch, end - at)
            arena[0] = at
            arena[1] = n
            i = 0
            while i < n:
                arena[16 + i * self._stride] = self._tokens[at + i]
                i += 1
            for kernel, record in self._body:
                kernel(record, space)
            at += n
            self._filled = at
        for kernel, record in self._head:
            kernel(record, space)

    def _open(self):
        if not self._body:
            raise Error("the model is closed")

    def _feed(self, tokens):
        """Run the tokens that the cache does not hold yet, at least the last."""
        n = len(tokens)
        self._open()
        if not 0 < n <= self.context:
            raise Error("%d tokens, expected 1 to %d (the context)" % (n, self.context))
        for t in tokens:
            if not 0 <= t < self.vocab:
                raise Error("token %d is not in the vocabulary of %d" % (t, self.vocab))
        if self._mapped and self._mapped.moved():
            raise Error("the model file was replaced since it was loaded: load it again")
        self._turn += 1
        same = 0
        while same < min(self._filled, n - 1) and self._tokens[same] == tokens[same]:
            same += 1
        for i in range(same, n):
            self._tokens[i] = tokens[i]
        self._run(same, n)

    def logits(self, tokens):
        """int32 logits behind the last of `tokens` (no BOS is added), as array('i')."""
        self._feed(tokens)
        return self._arena[self._logits : self._logits + self.vocab]

    def generate(self, prompt="", max_tokens=None, temperature=0, top_p=1000, seed=1):
        """Yield the text that follows `prompt`, one str per token.

        temperature and top_p in thousandths (temperature 800 is 0.8; 0 is greedy; top_p 900 is
        0.9). Stops at EOS, BOS or the end of the context. Raises Error.
        """
        self._open()
        pick = self._pick
        pick[3], pick[4], pick[5] = sampling(temperature, top_p, self._bits)
        pick[6] = seed_word(seed)
        if pick[3] and not samples(self.vocab, self._exp2):
            raise Error("this model cannot be sampled from; use temperature 0")
        tokens = self.tokenizer.encode(prompt)
        if self.bos >= 0:
            tokens.insert(0, self.bos)
        self._feed(tokens)
        turn = self._turn
        token = tokens[-1]
        filled = len(tokens)
        self.tokenizer.reset()
        n = 0
        while max_tokens is None or n < max_tokens:
            self._sample(pick, self._space)
            before = token
            token = pick[7]
            if token == self.eos or token == self.bos:
                break
            yield self.tokenizer.decode(token, before)
            n += 1
            if filled == self.context or n == max_tokens:
                break
            self._open()
            if self._turn != turn:
                raise Error("the model ran something else between two pieces of this text")
            self._tokens[filled] = token
            self._run(filled, filled + 1)
            filled += 1
        rest = self.tokenizer.flush()
        if rest:
            yield rest

    def close(self):
        """Give the memory back; the model cannot be used any more."""
        if self._f:
            self._f.close()
        self._f = None
        self._body = self._head = ()
        self._arena = self._space = self._memory = self._pick = self._mapped = None
        gc.collect()
