"""What a model does, on the PC: its tasks, from text or pixels to what a user reads.

Machine runs the steps, with the integers that a board computes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..compile.modelfile import ModelFile, load
from ..data.pictures import as_pixels, cut
from ..device.beams import search
from ..device.probabilities import probabilities
from ..device.sampling import samples, sampling, seed_word
from ..device.spans import answer, named, tag
from ..device.stops import until
from ..errors import Error
from ..graph.frames import Frames
from ..graph.nodes import Array
from .machine import Machine
from .sampling import likeliest, sample
from .sound import Features


class Simulator:
    """Runs a model file on the PC, with exactly the integers that a board computes.

    path: the model file, or a ModelFile that was read already.

    context: context length in tokens. vocab: number of tokens. outputs: numbers of a result.
    logit_scale: real value of one unit of a logit. tokenizer: encodes and decodes text.
    model: the ModelFile, with `task`, `bos`, `ends` and `meta`.

    Raises Error if the file is missing, damaged, or of a version that it does not know.
    """

    def __init__(self, path: str | Path | ModelFile) -> None:
        self.model = m = path if isinstance(path, ModelFile) else load(path)
        self.tokenizer = m.tokenizer
        self.context = m.context
        self.vocab = m.vocab
        self.outputs = m.outputs
        self.logit_scale = 2.0**-m.logit_bits
        self.machine = Machine(m)
        exp2 = next((step["exp2"] for step in m.steps if step.op == "attend"), 0)
        self._sampled = samples(m.vocab, exp2)  # whether its tokens can be
        self._powers = self.machine.memory.table(exp2, 64)

    def logits(self, tokens: Sequence[int]) -> Array:
        """Logits after each of some tokens, int32 (len(tokens), vocab).

        tokens: token ids, 1 to `context` of them. No BOS is added.

        A board gives the last row. A model that reads its whole input at once gives one row, (1,
        outputs): a logit for each label, or the embedding. Raises Error for other tokens.
        """
        self.machine.run(tokens)
        return self.machine.result()

    def source(self, tokens: Sequence[int]) -> None:
        """Give a translator the text to translate; `logits` then continues its translation.

        tokens: token ids of the text. Raises Error if the model is no translator.
        """
        self._made_to("translate")
        self.machine.run(tokens, encoder=True)

    @property
    def several(self) -> bool:
        """Whether several labels can hold at once, each for itself."""
        return self.model.several

    @property
    def labels(self) -> list[str]:
        """Names of the labels, or of the predicted numbers, in the order of the logits."""
        return self.model.labels

    @property
    def background(self) -> tuple[str, ...]:
        """Labels that stand for no event."""
        return self.model.background

    def encode(self, text: str) -> list[int]:
        """The token ids of a text as the model reads it: with special tokens, cut to the context.

        text: a str. Raises Error if it cannot be encoded.
        """
        return self.tokenizer.fit(text, self.context)

    def classify(self, text: str | Array) -> list[tuple[str, int]]:
        """Label a text, an image or a signal: [(label, int32 logit)], best first.

        text: a str. Or an image: pixels 0 to 255, (height, width) or (height, width, channels). Or
            a signal, (rows, channels): whole numbers of 16 bits as the sensor gives them, or
            floats in real units. A model of sound also takes samples, (n,).

        Raises Error if the model does something else, or reads something else.
        """
        logits = self._read(text, "classify").tolist()
        return sorted(zip(self.labels, logits, strict=True), key=lambda pair: -pair[1])

    def probabilities(self, result: Sequence[Any]) -> list[tuple[str, float]]:
        """Probabilities, [(label, 0 to 1)], the same numbers as on a board.

        result: what `classify` returned, or the logits of one word of `tags`.

        They add up to 1, unless `several` labels can hold at once. Raises Error for another
        result.
        """
        bits, several = self.model.logit_bits, self.several
        return list(probabilities(result, self.labels, bits, several))

    def embed(self, text: str | Array) -> Array:
        """The embedding of a text, an image or a signal, int32 (outputs,).

        text: as of `classify`.

        It has no particular length: compare directions, by the cosine. Raises Error as `classify`.
        """
        return self._read(text, "embed")

    def answer(self, context: str, question: str) -> str:
        """The part of a text that answers a question, a str.

        context: the text. question: a str. Raises Error if the model is made for something else.
        """
        self._made_to("answer")

        def run(ids: list[int], types: list[int]) -> tuple[list[int], list[int]]:
            self.machine.run(ids, types=types)
            starts, ends = self.machine.result().T.tolist()
            return starts, ends

        return str(answer(self.tokenizer, run, self.context, context, question))

    def tag(self, text: str) -> list[tuple[str, str, int]]:
        """The likeliest label of each word of a text: [(word, label, int32 logit)].

        text: a str. Raises Error if the model is made for something else.
        """
        return list(named(text, self.labels, self.tags(text)))

    def tags(self, text: str) -> list[tuple[int, Array]]:
        """The logits of all labels of each word of a text: [(i, int32 (labels,))], for word i.

        text: a str. Raises Error if the model is made for something else.
        """
        self._made_to("tag")
        return list(tag(self.tokenizer, self.logits, self.context, text))

    def translate(self, text: str, beams: int = 1, length_penalty: float = 1.0) -> str:
        """The translation of a text, or whatever the model makes of one, a str.

        text: a str.
        beams: 1 takes the likeliest token at each step; 2 to 8 follow that many texts and return
            the likeliest.
        length_penalty: with beams: power of its length that a text's cost is divided by, 0 to 10.
            0 prefers short texts, larger values prefer longer ones.

        Raises Error if the model is made for something else, or an argument is out of range.
        """
        self.source(self._some(text))
        if beams == 1:
            return "".join(self._write([self.model.bos], None, (0, 0, 0), 1))
        tokens = self.search(beams, length_penalty)
        decoder = self.tokenizer.decoder()
        pieces = [
            decoder.decode(token, before)
            for before, token in zip([self.model.bos, *tokens], tokens, strict=False)
        ]
        return "".join([*pieces, decoder.flush()])

    def search(
        self, beams: int, length_penalty: float = 1.0, max_tokens: int | None = None
    ) -> list[int]:
        """The tokens that a beam search finds, after `source`.

        beams, length_penalty: as of `translate`. max_tokens: how many at most (default:
            `context`).

        Raises Error if the model cannot be searched.
        """
        if not self._sampled:
            raise Error("this model cannot be searched; use one beam")
        m, s, _ = sampling(1000, 1000, self.model.logit_bits)

        def following(tokens: list[int], n: int) -> list[tuple[int, int]]:
            self.machine.run(tokens)
            return likeliest(self.machine.memory.logits[-1], self._powers, m, s, n)

        bos, ends = self.model.bos, self.model.ends
        room = self.context if max_tokens is None else min(max_tokens, self.context)
        return list(search(following, bos, ends, beams, float(length_penalty), room))

    def predict(self, given: str | Array) -> Array:
        """The numbers that a model predicts, float64 (outputs,).

        given: as of `classify`.

        They are whole numbers times `logit_scale`. Raises Error as `classify`.
        """
        return self._read(given, "predict") * self.logit_scale

    @property
    def frames(self) -> Frames | None:
        """The signals that the model reads: `length`, `channels`, `unit` and more; or None."""
        return self.model.frames

    def features(self) -> Features:
        """What turns sound into this model's rows, as samples come: a new Features.

        Raises Error if the model reads no sound.
        """
        if not self.frames or not self.frames.sound:
            raise Error("this model reads no sound")
        return Features(self.frames.sound, self.frames.length)

    def patches(self, image: Array) -> Array:
        """The patches of an image as the model reads them: pixels less 128, (positions, elements).

        image: as of `classify`. Raises Error if the model reads no images, or this is none.
        """
        if "image" not in self.model.meta or not self.model.program[14]:
            raise Error("this model reads text")
        return cut(as_pixels(image), tuple(self.model.meta["image"]))

    def _read(self, text: str | Array, task: str) -> Array:
        self._made_to(task)
        if not isinstance(text, str) and self.frames:
            signal = self.frames.signal(text)
            n = self.frames.positions(len(signal))
            if n > self.context:
                raise Error(f"the signal has {n} windows, the context is {self.context}")
            self.machine.run([0] * n, signal=signal)
            return self.machine.result()[-1]
        if not isinstance(text, str):
            patches = self.patches(text)
            self.machine.run([0] * len(patches), patches=patches)
            return self.machine.result()[-1]
        return self.logits(self._some(text))[-1]

    def _some(self, text: str) -> list[int]:
        if self.frames:
            rows, channels = self.frames.length, self.frames.channels
            raise Error(f"this model reads signals: an array of up to {rows} x {channels}")
        if self.model.program[14]:
            height, width, channels = self.model.meta["image"][:3]
            raise Error(f"this model reads images: an array of {height} x {width} x {channels}")
        ids = self.encode(text)
        if not ids:
            raise Error("the text has no tokens, or the model has no tokenizer")
        return ids

    def _made_to(self, task: str) -> None:
        if self.model.task != task:
            raise Error(f"this model is made to {self.model.task}, not to {task}")

    def generate(
        self,
        prompt: str = "",
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 1,
        stop: str | Sequence[str] | None = None,
        raw: bool = False,
    ) -> Generator[str, None, None]:
        """Write a text: yields what follows the prompt, one str for each token (it may be empty).

        prompt: text to continue. Special tokens in it are recognized.
        max_tokens: how many at most (default: until the context is full).
        temperature: 0 takes the likeliest token; up to 100, higher is more varied.
        top_p: draw only from the likeliest tokens whose probabilities add up to this, 0.001 to 1.
        seed: the same seed gives the same text.
        stop: a str or several: the text ends before the first of them that appears.
        raw: True if the prompt has all its special tokens; otherwise those of the tokenizer's
            template, such as BOS, are put in front.

        Temperature and top_p are rounded to thousandths. It ends at an end token, too. Raises
        Error if the model writes no text, the prompt does not fit, or a number is out of range.
        """
        self._made_to("generate")
        numbers = sampling(float(temperature), float(top_p), self.model.logit_bits)
        if numbers[0] and not self._sampled:
            raise Error("this model cannot be sampled from; use temperature 0")
        tokens = (self.tokenizer.encode if raw else self.tokenizer.prompt)(prompt)
        pieces = self._write(tokens, max_tokens, numbers, seed)
        yield from until(pieces, stop) if stop else pieces

    def _write(
        self, tokens: list[int], max_tokens: int | None, numbers: tuple[int, int, int], seed: int
    ) -> Iterator[str]:
        machine, state = self.machine, seed_word(seed) & 0xFFFFFFFF
        machine.run(tokens)
        decoder = self.tokenizer.decoder()
        n = 0
        while max_tokens is None or n < max_tokens:
            token, state = sample(machine.memory.logits[-1], self._powers, *numbers, state)
            if token in self.model.ends:
                break
            yield decoder.decode(token, tokens[-1])
            n += 1
            if len(tokens) == self.context or n == max_tokens:
                break
            tokens.append(token)
            machine.run([token], len(tokens) - 1)
        rest = decoder.flush()
        if rest:
            yield rest
