"""The interpreter: load a model file, run its program, turn tokens into text."""

import gc
from array import array

from .errors import Error
from .sampling import samples, sampling, seed_word

try:
    from _thread import allocate_lock
except ImportError:  # no threads: callbacks, which run from their beginning to their end

    class allocate_lock:
        taken = False

        def acquire(self, _wait):
            before, self.taken = self.taken, True
            return not before

        def release(self):
            self.taken = False


def _alone(run):
    """A method that nobody else may call while it, or another such method, runs."""

    def alone(self, *given, **named):
        self._take()
        try:
            return run(self, *given, **named)
        finally:
            self._lock.release()

    return alone


class Model:
    """A model file, ready to run.

    path: the model file (.pft). context: positions of the cache, at most and by default the
    file's. weights: "flash" (used where they lie, if the board maps its files into memory),
    "ram", "file" (read in tiles for every token), or None for the first of these that can be;
    "stream" (an RP2040's DMA brings them from flash, untried on silicon: see stream.py); or
    an object with a method fill, as weights.File has it, that reads them from elsewhere.
    kernels: "dsp", "thumb", "rv32", "viper", "portable", None for the fastest, or a module that
    has a family's functions and BIAS, and is named kernels_NAME. spare: bytes of heap to leave
    free: where None finds the weights in flash, which is slower, as many matrices are copied as
    there is room for. `in_ram` says how many bytes they are. cores: 2 for both of an RP2040 or
    RP2350, where the other one is free; `cores` says what was done. Raises Error.
    """

    cores = 1
    _stream = None  # the DMA channel that brings weights

    def __init__(self, path, context=None, weights=None, kernels=None, spare=32768, cores=1):
        self._f = self._mapped = None
        # Whoever runs the model has it: a callback or a thread would write into the same frames.
        self._lock = allocate_lock()
        try:
            f = open(path, "rb")  # noqa: SIM115
        except OSError as e:
            raise Error("cannot open model file %s: %s" % (path, e))
        before = None
        try:
            gc.collect()
            from . import regions

            # What stays is to lie close together: what an import leaves is collected early.
            before = regions.threshold()
            regions.threshold(regions.EARLY)
            from .loader import load

            load(self, f, path, context, weights, kernels, spare, cores)
            if self.weights == "file":
                self._f = f
        except MemoryError as e:
            hint = "; or weights='file'" if weights == "ram" else ""
            raise Error("not enough memory: %s%s" % (e, hint))
        except OSError as e:
            raise Error("cannot read model file %s: %s" % (path, e))
        finally:
            if not self._f:
                f.close()
            if before is not None:
                regions.threshold(before)
                regions.forget(*regions.LOADING)
                load = regions = None  # noqa: F841
        gc.collect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _take(self):
        if not self._lock.acquire(0):
            raise Error("the model is running: wait for it, or load a second one")

    def _run(self, at, end):
        """Run positions at..end of the tokens, and the head behind the last of them."""
        arena = self._arena
        space = self._space
        # An interrupted run leaves no more than this behind.
        self._filled = at
        while at < end:
            n = end - at
            if n > self._batch:
                n = self._batch
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

    def _checked(self, tokens):
        """The number of tokens, which can be run."""
        n = len(tokens)
        self._open()
        if not 0 < n <= self.context:
            raise Error("%d tokens, expected 1 to %d (the context)" % (n, self.context))
        for t in tokens:
            if not 0 <= t < self.vocab:
                raise Error("token %d is not in the vocabulary of %d" % (t, self.vocab))
        if self._mapped and self._mapped.moved():
            raise Error("the model file was replaced: load it again")
        return n

    def _feed(self, tokens):
        """Run the tokens that the cache does not hold yet, at least the last."""
        n = self._checked(tokens)
        self._turn += 1
        same = 0
        while same < min(self._filled, n - 1) and self._tokens[same] == tokens[same]:
            same += 1
        for i in range(same, n):
            self._tokens[i] = tokens[i]
        self._run(same, n)

    def _sweep(self, tokens, types=None, steps=None):
        """Run the steps once over a whole input."""
        n = self._checked(tokens)
        arena = self._arena
        arena[0] = self._filled = 0
        arena[1] = arena[4] = n
        for i in range(n):
            arena[16 + i * self._stride] = tokens[i] | (types[i] << 16 if types else 0)
        for kernel, record in steps or self._body:
            kernel(record, self._space)
        for kernel, record in () if steps else self._head:
            kernel(record, self._space)

    @_alone
    def logits(self, tokens):
        """int32 logits behind the last of `tokens` (no BOS is added), as array('i').

        Of a model with labels one for each, of an encoder without the embedding, of a translator
        behind the tokens of a translation: `source` takes those of the text before.
        """
        return self._result(tokens)

    def _result(self, tokens):
        if self._whole and not self._encoder:
            self._sweep(tokens)
        else:
            if self._encoder and not self._arena[5]:
                raise Error("a translator needs the tokens of its source first")
            self._feed(tokens)
        return self._arena[self._logits : self._logits + self.outputs]

    @_alone
    def source(self, tokens):
        """Run the tokens that a translator is to translate."""
        self._read_source(tokens)

    def _read_source(self, tokens):
        if not self._encoder:
            self._made_to("translate")
        self._sweep(tokens, None, self._encoder)
        self._arena[5] = len(tokens)
        self._turn += 1

    def _made_to(self, task):
        self._open()
        if self.task != task:
            raise Error("this model is made to %s, not to %s" % (self.task, task))

    def _encode(self, text, task):
        """A text's tokens with the special ones, cut where the context ends."""
        self._made_to(task)
        if self.image:
            raise Error("this model reads images: an array of %d x %d x %d" % self.image[:3])
        if self.frames:
            raise Error("this model reads signals: an array of up to %d x %d" % self.frames)
        ids = self.tokenizer.fit(text, self.context)
        if not ids:
            raise Error("the text has no tokens")
        return ids

    @_alone
    def read(self, text, task):
        """The result of a task for a text, an image or a signal, as array('i')."""
        return self._read(text, task)

    def _read(self, text, task):
        if isinstance(text, str):
            return self._result(self._encode(text, task))
        self._made_to(task)
        if self.frames:
            from .frames import place

            try:
                held, tokens = place(self, text)
                return self._result(tokens)
            finally:
                # Rows: what was there may go. Nothing comes between its place and this `try`.
                self._windows[2] = 0
                held = None  # noqa: F841
        if not self.image:
            raise Error("this model reads text")
        from .images import place

        return self._result(place(self, text))

    @_alone
    def answer(self, context, question):
        """The part of the text `context` that answers a question. Raises Error."""
        from .spans import answer_of

        self._made_to("answer")
        return answer_of(self, context, question)

    @_alone
    def tags(self, text):
        """[(i, logits of the labels, array('i'))] of words i of a text. Raises Error."""
        from .spans import tags_of

        self._made_to("tag")
        return tags_of(self, text)

    def tag(self, text):
        """[(word, label, int32 logit)] of the words of a text, with the likeliest labels."""
        from .spans import named

        return named(text, self.labels, self.tags(text))

    @_alone
    def classify(self, text):
        """[(label, int32 logit)] for a text, an image or a signal, best first. Raises Error.

        An image is its pixels, 0 to 255, row by row, the channels of a pixel together. A signal
        is array('h'), or another buffer of 16 bits a number, row by row: `frames` says how many
        rows at most, and of how many channels.
        """
        pairs = zip(self.labels, self._read(text, "classify"))
        return sorted(pairs, key=lambda pair: -pair[1])

    def probabilities(self, result):
        """[(label, 0 to 1)] for what `classify` gave, or for the logits of one of `tags`."""
        from .probabilities import probabilities

        return probabilities(result, self.labels, self.bits, self.several)

    def embed(self, text):
        """The embedding of a text, array('i'); only directions and ratios mean something."""
        return self.read(text, "embed")

    def features(self):
        """What makes a model's rows of sound, as samples come: sound.Features. Raises Error."""
        from .sound import Features

        self._open()
        if not self.sound:
            raise Error("this model reads no sound")
        return Features(self, allocate_lock())

    def predict(self, given):
        """The numbers that a model predicts, array('f'); `read` gives the integers of them."""
        one = 1 << self.bits
        return array("f", [v / one for v in self.read(given, "predict")])

    def generate(
        self, prompt="", max_tokens=None, temperature=0, top_p=1000, seed=1, stop=None, raw=False
    ):
        """Yield the text that follows `prompt`, one str per token.

        temperature (0 is greedy) and top_p: floats, or ints in thousandths (0.8 is 800). stop: a
        text, or several: it ends in front of the first. raw: the prompt has all its special
        tokens. Stops at an end token or the end of the context. Raises Error.
        """

        def begin():
            self._made_to("generate")
            numbers = sampling(temperature, top_p, self.bits)
            if numbers[0] and not samples(self.vocab, self._exp2):
                raise Error("this model cannot be sampled from; use temperature 0")
            tokens = (self.tokenizer.encode if raw else self.tokenizer.prompt)(prompt)
            self._feed(tokens)
            # Behind what may fail: a text that is not begun leaves another one as it was.
            pick = self._pick
            pick[3], pick[4], pick[5] = numbers
            pick[6] = seed_word(seed)
            return tokens

        pieces = self._write(begin, max_tokens)
        if stop:
            from .stops import until

            return until(pieces, stop)
        return pieces

    def translation(self, text, max_tokens=None, beams=1, length_penalty=1000):
        """Yield the translation of a text, one str per token: at each the likeliest.

        beams: 2 to 8 texts are followed, and the likeliest is yielded at the end; length_penalty,
        a float or an int in thousandths: 0 prefers short ones. Raises Error.
        """
        if beams != 1:
            yield from self._beams(text, max_tokens, beams, length_penalty)
            return

        def begin():
            self._read_source(self._encode(text, "translate"))
            self._feed((self.bos,))
            self._pick[3] = 0
            return (self.bos,)

        yield from self._write(begin, max_tokens)

    @_alone
    def _beams(self, text, *given):
        from .beams import translation

        self._read_source(self._encode(text, "translate"))
        return translation(self, *given)

    def translate(self, text, beams=1, length_penalty=1000):
        """The translation of a text, or whatever a model makes of one. Raises Error."""
        return "".join(self.translation(text, None, beams, length_penalty))

    def _write(self, begin, max_tokens):
        """Yield a text's pieces. begin() feeds the tokens that it follows, and returns them.

        Between two pieces the model is free; whoever runs it then ends this text.
        """
        acquire = self._lock.acquire
        turn = None
        n = 0
        pieces = []  # and not a name: a text that waits for its reader holds none of them
        last = False
        while not last:
            if not acquire(0):
                self._take()  # which says so
            try:
                if turn is None:
                    tokens = begin()
                    token = tokens[-1]
                    filled = len(tokens)
                    turn = self._turn
                    self.tokenizer.reset()
                else:
                    if self._turn != turn:
                        self._open()
                        raise Error("the model ran something else between two pieces of this text")
                    self._tokens[filled] = token
                    self._run(filled, filled + 1)
                    filled += 1
                if max_tokens is None or n < max_tokens:
                    before = token
                    self._sample(self._pick, self._space)
                    token = self._pick[7]
                    if token not in self.ends:
                        pieces.append(self.tokenizer.decode(token, before))
                        n += 1
                last = not pieces or n == max_tokens or filled == self.context
                if last:
                    rest = self.tokenizer.flush()
                    if rest:
                        pieces.append(rest)
            finally:
                self._lock.release()
            while pieces:
                yield pieces.pop(0)

    @_alone
    def close(self):
        """Give the memory back; the model cannot be used any more."""
        if self._f:
            self._f.close()
        if self.cores > 1:
            from .cores import leave

            leave()
            self.cores = 1
        if self._stream:
            from .stream import end

            end(self._stream)
            self._stream = None
        self._f = self._turn = None
        self._encoder = self._body = self._head = ()
        self._arena = self._space = self._memory = self._pick = self._mapped = None
        self.tokenizer = self._tokens = self._windows = self.sound = None
        gc.collect()
