"""The interpreter: load a model file, run its program, turn tokens into text."""

import gc
from array import array

from .errors import Error

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
        # Ctrl-C comes where Python jumps: nowhere between this and `try`, nor before the release.
        mine = self._lock.acquire(0)
        try:
            if not mine:
                self._busy()
            return run(self, *given, **named)
        finally:
            self._release[mine]()

    return alone


class Model:
    """A model file, loaded and ready to run. Use it with `with`, or call `close` at the end.

    path: the model file (.pft).
    context: context length in tokens, 2 to the file's (the default). Less needs less memory.
    weights: "flash" (used in place, if the board sees its files as memory), "ram", "file" (read
        piece by piece for every token), or None for the first of these that works. "stream": an
        RP2040's DMA fetches them from flash meanwhile; it was never tried on a real board. Or an
        object with a method fill, as weights.File has it, that reads them from elsewhere.
    kernels: "dsp", "thumb", "rv32", "viper", "portable", or None for the fastest. Or a module with
        a family's functions and BIAS, named kernels_NAME.
    spare: bytes of heap to leave free when weights in flash are copied to RAM, which is faster.
    cores: 2 for both cores of an RP2040 or RP2350, if the other one is free.

    vocab: number of tokens. outputs: numbers of a result. bits: divide a logit by 2**bits.
    task: what the model does. labels: names of what it tells apart. several: 1 if more than one
        label can hold at once. background: labels that stand for no event.
    image: height, width and channels of images, and more; frames: rows (at most) and channels of
        signals; () if it reads none.
    bos: token in front of a text, or -1. ends: tokens that end one. tokenizer: encodes, decodes.
    context, weights, kernels, cores: what was chosen. in_ram: bytes of the weights in RAM.

    Raises Error if the file is missing or damaged, the heap is too small, or the board cannot do
    what was asked for. All methods raise Error if the model is closed, or is running already.
    """

    cores = 1
    _most = 1 << 17  # work of steps in one call; 0: one step; see series.py
    _stream = None  # the DMA channel that brings weights

    def __init__(self, path, context=None, weights=None, kernels=None, spare=32768, cores=1):
        self._f = self._mapped = None
        # Whoever runs the model has it: a callback or a thread would write into the same frames.
        self._lock = allocate_lock()
        self._release = bool, self._lock.release  # of what was not taken, and what was
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
            from .opening import load

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

    def _busy(self):
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
        """Logits after the last of some tokens, array('i') of `vocab`.

        tokens: token ids, 1 to `context` of them; no BOS is added. Those with which the last call
            began as well are not computed again.

        A model with labels gives one for each; an encoder without labels gives the embedding; a
        translator continues the translation of its `source`. Raises Error for other tokens.
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
        """Give a translator the text to translate; `logits` then continues its translation.

        tokens: token ids of the text. Raises Error if the model is no translator.
        """
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
        """The result of a task for a text, an image or a signal, as array('i').

        text: as of `classify`. task: "classify", "embed" or "predict". Raises Error as `classify`.
        """
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
        """The part of a text that answers a question, a str.

        context: the text. question: a str. Raises Error if the model is made for something else.
        """
        from .spans import answer_of

        self._made_to("answer")
        return answer_of(self, context, question)

    @_alone
    def tags(self, text):
        """The logits of all labels of each word of a text: [(i, array('i'))], for word i.

        text: a str. Raises Error if the model is made for something else.
        """
        from .spans import tags_of

        self._made_to("tag")
        return tags_of(self, text)

    def tag(self, text):
        """The likeliest label of each word of a text: [(word, label, logit)].

        text: a str. Raises Error if the model is made for something else.
        """
        from .spans import named

        return named(text, self.labels, self.tags(text))

    @_alone
    def classify(self, text):
        """Label a text, an image or a signal: [(label, logit)], best first.

        text: a str. Or an image: its pixels, 0 to 255, row by row, the channels of a pixel
            together. Or a signal: array('h') or another buffer of 16 bits a number, row by row.
            `image` and `frames` say how large they are.

        Raises Error if the model does something else, or reads something else.
        """
        pairs = zip(self.labels, self._read(text, "classify"))
        return sorted(pairs, key=lambda pair: -pair[1])

    def probabilities(self, result):
        """Probabilities, [(label, 0 to 1)], the same numbers as on a PC.

        result: what `classify` returned, or the logits of one word of `tags`.

        They add up to 1, unless `several` labels can hold at once. Raises Error for another
        result.
        """
        from .probabilities import probabilities

        return probabilities(result, self.labels, self.bits, self.several)

    def embed(self, text):
        """The embedding of a text, an image or a signal, array('i') of `outputs`.

        text: as of `classify`.

        It has no particular length: compare directions, by the cosine. Raises Error as `classify`.
        """
        return self.read(text, "embed")

    def features(self):
        """What turns sound into this model's rows, as samples come: a new sound.Features.

        Raises Error if the model reads no sound.
        """
        from .sound import Features

        self._open()
        if not self.sound:
            raise Error("this model reads no sound")
        return Features(self, allocate_lock())

    def predict(self, given):
        """The numbers that a model predicts, array('f') of `outputs`.

        given: as `text` of `classify`.

        `read` gives the exact integers. Raises Error as `classify`.
        """
        one = 1 << self.bits
        return array("f", [v / one for v in self.read(given, "predict")])

    def generate(
        self, prompt="", max_tokens=None, temperature=0, top_p=1000, seed=1, stop=None, raw=False
    ):
        """Write a text: yields what follows the prompt, one str for each token (it may be empty).

        prompt: text to continue. Special tokens in it are recognized.
        max_tokens: how many at most (default: until the context is full).
        temperature: 0 takes the likeliest token; up to 100.0, higher is more varied.
        top_p: draw only from the likeliest tokens whose probabilities add up to this, 0.001 to
            1.0. As an int, it and the temperature are in thousandths (800 is 0.8); 1 to 9 are
            refused.
        seed: the same seed gives the same text.
        stop: a str or several: the text ends before the first of them that appears.
        raw: True if the prompt has all its special tokens; otherwise those of the tokenizer's
            template, such as BOS, are put in front.

        It ends at an end token, too. Arguments are checked when the first piece is asked for.
        Raises Error if the model writes no text, the prompt does not fit, a number is out of
        range, or the model was used for something else between two pieces.
        """

        def begin():
            from .sampling import samples, sampling, seed_word

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
        """Translate a text: yields the translation, one str for each token.

        text: a str. max_tokens: how many at most (default: until the context is full).
        beams: 1 takes the likeliest token at each step; with 2 to 8 that many texts are followed,
            and the likeliest comes at the end.
        length_penalty: with beams: power of its length that a text's cost is divided by, a float
            of 0 to 10 or an int in thousandths. 0 prefers short texts.

        Raises Error if the model is no translator, or an argument is out of range.
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
        """The translation of a text, or whatever the model makes of one, a str.

        text, beams, length_penalty: as of `translation`. Raises Error as `translation`.
        """
        return "".join(self.translation(text, None, beams, length_penalty))

    def _write(self, begin, max_tokens):
        """Yield a text's pieces. begin() feeds the tokens that it follows, and returns them.

        Between two pieces the model is free; whoever runs it then ends this text.
        """
        turn = None
        n = 0
        pieces = []  # and not a name: a text that waits for its reader holds none of them
        last = False
        while not last:
            mine = self._lock.acquire(0)  # as `_alone` does
            try:
                if not mine:
                    self._busy()
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
                self._release[mine]()
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
            self._stream.close()
            self._stream = self._run = self._sweep = None  # these hold what it had
        self._f = self._turn = None
        self._encoder = self._body = self._head = ()
        self._arena = self._space = self._memory = self._pick = self._mapped = None
        self.tokenizer = self._tokens = self._windows = self.sound = None
        gc.collect()
