"""The runtime in the page: what interpreter.js asks of it, on MicroPython's WebAssembly port.

A task is a generator of what is to be told, as JSON: interpreter.js begins it and takes one step
after the other, each by one call from outside, as this port collects garbage only behind such a
one. What is large travels as (address, length): of memory that JavaScript holds on its way in, of
an array that is kept until the next step on its way out.
"""

import json
import sys
from array import array
from binascii import crc32

from uctypes import addressof, bytearray_at

import page  # of interpreter.js: kernels, and now()

sys.path.append("/lib")

from picoformer import Error, Model  # noqa: E402
from picoformer import kernels_portable as portable  # noqa: E402
from picoformer.stops import until  # noqa: E402

PROMPT, CHECKED = "Once upon a time", 8  # what is checked where nothing else is said
KERNELS = (
    "embed", "norm", "linear", "store", "attend", "gate", "pool", "layernorm", "bias", "linear4",
    "embed4", "windows",
)  # fmt: skip

model = run = kept = None


class Native:
    """The kernels of kernels.wasm, as a family of the runtime."""

    __name__ = "kernels_wasm"

    def __init__(self):
        self.BIAS = page.kernels.BIAS
        for name in KERNELS:
            setattr(self, name, getattr(page.kernels, name))
        draw = page.kernels.sample
        energies = page.kernels.logmel
        # Those that are called with arrays, where the others get addresses.
        self.sample = lambda record, arena: draw(addressof(record), arena)
        self.logmel = lambda *arrays: energies(*[addressof(a) for a in arrays])


class Portable:
    """The runtime's own kernels in Python; what a model calls waits, and is run call by call.

    They make garbage, which goes between two steps of a task only.
    """

    __name__ = "kernels_portable"

    def __init__(self):
        self.BIAS = portable.BIAS
        self.sample = portable.sample
        self.waiting = []
        for name in KERNELS:
            setattr(self, name, self._later(getattr(portable, name)))
        # The first step of all, while the signal is there.
        self.windows = portable.windows

    def _later(self, kernel):
        def later(record, memory):
            self.waiting.append((kernel, record, memory))

        return later

    def run(self):
        """Run what waits; yields behind each call."""
        waiting, self.waiting = self.waiting, []
        for kernel, record, memory in waiting:
            kernel(record, memory)
            yield


NATIVE = Native()
# In the place of the runtime's modules of viper code.
for name in ("windows", "sound"):
    sys.modules["picoformer.kernels_" + name] = NATIVE


class _Slow:
    """A source of sound that waits before each read: there the task may end, and garbage goes."""

    def __init__(self, source):
        self.source = source

    def readinto(self, buffer):
        yield
        return self.source.readinto(buffer)


# Tasks


def load(path, kernels, context):
    """Load a model; the one before stays where that fails."""
    global model
    meta, weights, size = _described(path)
    new = Model(path, context, "ram", "portable" if kernels == "portable" else NATIVE)
    if model:
        model.close()
    model = new
    model.path = path
    sound = None
    if model.sound:
        f = model.features()
        sound = {"rate": f.rate, "window": f.window, "hop": f.hop, "bands": f.bands}
    yield {
        "title": _text(meta, "name"),
        "licence": _text(meta, "licence"),
        "source": _text(meta, "source"),
        "meta": meta,
        "task": model.task,
        "context": model.context,
        "vocab": model.vocab,
        "outputs": model.outputs,
        "labels": model.labels,
        "image": model.image[:3] or None,
        "frames": model.frames or None,
        "sound": sound,
        "kernels": model.kernels,
        "weights": weights,
        "bytes": size,
    }


def generate(prompt, max_tokens, temperature, top_p, seed, stop, raw):
    """A text, piece by piece; at the end how many tokens it has, and why it ends."""
    # JavaScript's 1.0 is a 1, which would be a thousandth here.
    numbers = float(temperature), float(top_p)
    text = _Text(model.generate(prompt, max_tokens, *numbers, seed, None, raw))
    pieces = text.pieces()
    yield from _written(text, until(pieces, stop) if stop else pieces, max_tokens)


def translate(text, beams):
    made = _Text(model.translation(text, None, beams))
    yield from _written(made, made.pieces(), None)


def answer(context, question):
    yield {"text": model.answer(context, question)}


def read(task, given):
    """What a model says of a text, or of the bytes of pixels or rows."""
    given = _given(given)
    if task == "classify":
        found = model.classify(given)
        shares = model.probabilities(found)
        yield [
            {"label": found[i][0], "logit": found[i][1], "probability": shares[i][1]}
            for i in range(len(found))
        ]
    elif task == "tag":
        yield [{"word": w, "label": label, "logit": n} for w, label, n in model.tag(given)]
    elif task == "embed":
        yield _array(model.embed(given))
    elif task == "predict":
        yield _array(model.predict(given))
    else:
        raise Error("no task %r: expected classify, tag, embed or predict" % task)


def logits(given, source):
    """The integers behind tokens, a text, pixels or rows; source: tokens that are translated."""
    if source:
        model.source(source)
    yield _array(_logits(model, _given(given)))


def rows(given):
    """All rows of a sound's samples, for a model that reads sound."""
    samples = _given(given)
    f = model.features()
    out = bytearray()
    for at in range(0, len(samples), 2 * f.hop):
        n = f.write(samples[at : at + 2 * f.hop])
        if n:
            out += f.last(n)
    if not out:
        raise Error("the sound has %d samples, expected %d" % (len(samples) >> 1, f.window))
    yield _array(array("h", out))


def listen(given, options):
    """The events of a sound, as the Listener of a board hears them; None between two reads."""
    from io import BytesIO

    from picoformer.listener import Listener

    listener = Listener(model, _Slow(BytesIO(_given(given))), **options)
    while True:
        hearing = listener.__anext__()
        try:
            while True:
                hearing.send(None)
                yield None
        except StopAsyncIteration:
            return
        except StopIteration as e:
            label, share, ms = e.value
        yield {"label": label, "share": share, "ms": ms}


def check(given, crc):
    """Run an input by the loaded kernels and by the portable ones, and compare all results.

    given: {"tokens"} (and "source"), or {"input"}; without, there is one. crc: of the simulator's
    integers, or None. Yields how far it is; at the end what came out.
    """
    slow = Portable()
    other = Model(model.path, model.context, "ram", slow)
    source, inputs = _inputs(given)
    total = len(inputs) * (len(other._body) + len(other._head)) + len(other._encoder)
    done = compared = 0
    spent = [0, 0]
    equal = True
    for x in ([None] if source else []) + inputs:
        mine = None
        for i, m in enumerate((model, other)):
            begun = page.now()
            if x is None:
                m.source(source)
            elif m is model:
                mine = _logits(m, x)
            else:
                _logits(m, x)
            spent[i] += page.now() - begun
        begun = page.now()
        for _ in slow.run():
            done += 1
            spent[1] += page.now() - begun
            yield {"done": done, "total": max(done, total)}
            begun = page.now()
        if mine:
            compared += len(mine)
            equal = equal and mine == other._arena[other._logits : other._logits + other.outputs]
    yield {
        "equal": equal,
        "compared": compared,
        "kernelsMs": spent[0],
        "portableMs": spent[1],
        "recorded": None if crc is None else crc32(mine) & 0xFFFFFFFF == crc,
    }


def plan(given, asked):
    """What the planner says of a model file's bytes, as its JSON."""
    from plan import page as planner

    yield planner.plan(bytes(_given(given)), json.dumps(asked))


def boards():
    """The boards that there are plans for, as the planner's JSON."""
    from plan import page as planner

    yield planner.boards()


def count(task, given, data, context):
    """How many tokens a text has for a task, and how many of them are read: {"tokens", "room"}.

    given: a text, or {"context", "question"}. data: the bytes of another model's file, with the
    context that it has; None for the loaded model.
    """
    if data:
        from io import BytesIO

        from picoformer import modelfile, regions
        from picoformer.reader import tokenizer

        f = BytesIO(_given(data))
        part = modelfile.sections(f)[3]
        reader = tokenizer(regions.read(f, part, "tokenizer", bytearray(part[1])))
    else:
        reader, context = model.tokenizer, model.context
    encode = reader.encode
    if task == "generate":
        n, room = len(reader.prompt(given)), context
    elif task == "answer":
        n = sum([len(encode(word)) for word in given["context"].split()])
        room = context - len(reader.wrap(encode(given["question"]), []))
    else:
        words = given.split() if task == "tag" else [given]
        n = sum([len(encode((" " if i else "") + words[i])) for i in range(len(words))])
        room = context - len(reader.wrap(()))
    yield {"tokens": n, "room": room}


def unload():
    global model
    if model:
        model.close()
    model = None
    yield None


# What they share


def _described(path):
    """(metadata, bytes of the weights, bytes of the file) of a model file. Raises Error."""
    from picoformer import modelfile, regions

    with open(path, "rb") as f:
        parts = modelfile.sections(f)
        text = regions.read(f, parts[0], "metadata", bytearray(parts[0][1]))
    regions.forget("modelfile")
    try:
        meta = json.loads(text)
        json.loads(json.dumps(meta))  # JavaScript knows no infinite number, nor endless depth
    except (ValueError, RuntimeError):
        meta = None
    end = parts[-1]
    return meta if isinstance(meta, dict) else {}, end[1], end[0] + end[1]


def _text(meta, key):
    value = meta.get(key)
    return value if isinstance(value, str) else ""


def _given(given):
    """A text, tokens, or the bytes at an address."""
    if isinstance(given, dict):
        return bytearray_at(given["at"], given["bytes"])
    return given


def _array(values):
    """An array for JavaScript."""
    global kept
    kept = values
    return {"at": addressof(values), "length": len(values)}


def _logits(m, given):
    if isinstance(given, (list, tuple)):
        return m.logits(given)
    return m.read(given, m.task)


def _inputs(given):
    """What is run to check a model: (tokens to translate, inputs), each with a row of results."""
    source, tokens = given.get("source"), given.get("tokens")
    if tokens is None and "input" in given:
        tokens = _given(given["input"])
    if tokens is None and (model.image or model.frames):
        n = 2 if model.frames else 1
        for size in model.image[:3] or model.frames:
            n *= size
        tokens = bytearray([i * 37 + (i >> 4) & 255 for i in range(n)])
    if isinstance(tokens, bytearray):
        return None, [tokens]
    if tokens is None or isinstance(tokens, str):
        text = tokens or PROMPT
        if model.task == "generate":
            tokens = model.tokenizer.prompt(text)[:CHECKED]
        else:
            tokens = model.tokenizer.fit(text, model.context)
        tokens = tokens or [0]
        if model.task == "translate":
            source, tokens = tokens, [model.bos]
    if model.task not in ("generate", "translate"):
        return None, [tokens]
    # All beginnings: each has results.
    return source, [tokens[: i + 1] for i in range(len(tokens))]


class _Text:
    """What a model writes: how many pieces of it came, and whether all did."""

    def __init__(self, made):
        self.made = made
        self.n = 0
        self.whole = False

    def pieces(self):
        for piece in self.made:
            self.n += 1
            yield piece
        self.whole = True


def _written(text, pieces, most):
    for piece in pieces:
        yield {"text": piece}
    why = "end"
    if text.whole and model._pick[7] not in model.ends:
        if text.n == most:
            why = "length"
        elif model._filled == model.context:
            why = "context"
    yield {"tokens": text.n, "stopped": why}


# What interpreter.js calls


def begin(name, given):
    """Begin a task; given: its arguments, as JSON."""
    global run
    end()
    run = TASKS[name], json.loads(given)


def step():
    """The next of what the task tells, as JSON; "" at its end."""
    global run, kept
    kept = None
    try:
        if isinstance(run, tuple):
            task, given = run
            if not model and task not in ALONE:
                raise Error("no model is loaded")
            run = task(**given)
        return json.dumps({"value": next(run)})
    except StopIteration:
        run = None
        return ""
    except Exception as e:
        run = None
        if isinstance(e, Error):
            return json.dumps({"error": str(e), "code": "error"})
        if isinstance(e, MemoryError):
            return json.dumps({"error": "not enough memory: %s" % e, "code": "memory"})
        return json.dumps({"error": "the runtime failed: %r" % e, "code": "failed"})


def end():
    """Leave the task."""
    global run
    leaving, run = run, None
    if leaving and not isinstance(leaving, tuple):
        try:
            leaving.close()
        except ValueError:  # a kernel has failed in it, which Python does not see
            pass


ALONE = load, unload, count, plan, boards  # without a model
TASKS = {
    f.__name__: f for f in ALONE + (generate, translate, answer, read, logits, rows, listen, check)
}
