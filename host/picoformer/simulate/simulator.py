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
    """Runs a model file with the integers that a board computes.

    path: a model file (or one already read). Raises Error.
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
        """int32 logits (len(tokens), vocab) behind each token; no BOS is added.

        Of a model that takes its input whole, (1, outputs): the labels' logits or the embedding.
        """
        self.machine.run(tokens)
        return self.machine.result()

    def source(self, tokens: Sequence[int]) -> None:
        """Run the tokens that a translator is to translate: `logits` is about them."""
        self._made_to("translate")
        self.machine.run(tokens, encoder=True)

    @property
    def several(self) -> bool:
        """Whether each label holds or not by itself."""
        return self.model.several

    @property
    def labels(self) -> list[str]:
        """What the logits stand for, of a model that classifies."""
        return self.model.labels

    @property
    def background(self) -> tuple[str, ...]:
        """Those of the labels that stand for no event."""
        return self.model.background

    def encode(self, text: str) -> list[int]:
        """Token ids of a text as the model takes it: special tokens around it, cut to fit."""
        return self.tokenizer.fit(text, self.context)

    def classify(self, text: str | Array) -> list[tuple[str, int]]:
        """[(label, int32 logit)] for a text, an image or a signal, best first. Raises Error.

        An image is an array of pixels, 0 to 255, (height, width) or (height, width, channels); a
        signal one of numbers (rows, channels), as `Frames.signal` takes them.
        """
        logits = self._read(text, "classify").tolist()
        return sorted(zip(self.labels, logits, strict=True), key=lambda pair: -pair[1])

    def probabilities(self, result: Sequence[Any]) -> list[tuple[str, float]]:
        """[(label, 0 to 1)] for what `classify` gave, or for the logits of one of `tags`."""
        bits, several = self.model.logit_bits, self.several
        return list(probabilities(result, self.labels, bits, several))

    def embed(self, text: str | Array) -> Array:
        """The embedding, int32 (outputs,), of what classify takes; only its direction counts."""
        return self._read(text, "embed")

    def answer(self, context: str, question: str) -> str:
        """The part of the text `context` that answers a question. Raises Error."""
        self._made_to("answer")

        def run(ids: list[int], types: list[int]) -> tuple[list[int], list[int]]:
            self.machine.run(ids, types=types)
            starts, ends = self.machine.result().T.tolist()
            return starts, ends

        return str(answer(self.tokenizer, run, self.context, context, question))

    def tag(self, text: str) -> list[tuple[str, str, int]]:
        """[(word, label, int32 logit)] of the words of a text: the likeliest labels."""
        return list(named(text, self.labels, self.tags(text)))

    def tags(self, text: str) -> list[tuple[int, Array]]:
        """[(i, int32 logits of the labels)] of words i of a text. Raises Error."""
        self._made_to("tag")
        return list(tag(self.tokenizer, self.logits, self.context, text))

    def translate(self, text: str, beams: int = 1, length_penalty: float = 1.0) -> str:
        """The translation of a text, or whatever a model makes of one. Raises Error.

        beams: 1 takes the likeliest token at each step; 2 to 8 follow as many texts and take the
        likeliest. length_penalty: the power of its length that a text's cost is divided by.
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
        """The tokens of the likeliest translation of the source; arguments as translate's."""
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
        """The numbers that a model predicts, float64 (outputs,): integers times `logit_scale`."""
        return self._read(given, "predict") * self.logit_scale

    @property
    def frames(self) -> Frames | None:
        """The signals that it reads, if it reads such."""
        return self.model.frames

    def features(self) -> Features:
        """What makes the model's rows of sound, as samples come. Raises Error."""
        if not self.frames or not self.frames.sound:
            raise Error("this model reads no sound")
        return Features(self.frames.sound, self.frames.length)

    def patches(self, image: Array) -> Array:
        """Pixels less 128, (positions, elements), of an image. Raises Error."""
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
        """Yield the text that follows `prompt`, one str per token.

        temperature 0 is greedy. stop: a text, or several: it ends in front of the first. raw: the
        prompt has all its special tokens. Stops at an end token or the end of the context.
        Raises Error.
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
