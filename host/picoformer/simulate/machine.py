"""Running the program of a model file, step by step, with the integers that a board computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..compile.modelfile import ModelFile
from ..compile.steps import Step
from ..data.examples import Example
from ..errors import Error
from ..graph.nodes import Array
from .memory import Memory
from .steps import STEPS


class Machine:
    """The program of a model, and the memory that it runs on."""

    def __init__(self, model: ModelFile) -> None:
        self.model = model
        self.memory = Memory(
            model.context,
            model.vocab,
            model.outputs,
            model.tables.astype(np.int64),
            model.weights,
            -1 if model.framed else int(model.program[5]),
        )
        # Called after each step with (its index, the step, the memory): for inspection.
        self.tap: Callable[[int, Step, Memory], None] | None = None

    def run(
        self, tokens: Sequence[int], start: int = 0, types: Sequence[int] | None = None,
        encoder: bool = False, patches: Array | None = None, signal: Array | None = None,
    ) -> None:  # fmt: skip
        """Run tokens at positions from `start` on. Raises Error.

        types: 0 or 1 of each token. encoder: run a translator's. patches (positions, elements): of
        an image. signal (rows, channels): whole numbers.
        """
        m, model = self.memory, self.model
        tokens = self._checked(tokens)
        n = len(tokens)
        if encoder:
            m.source = n
        elif model.task == "translate" and not m.source:
            raise Error("a translator needs the tokens of its source first")
        m.start, m.end = start, start + n
        m.frames = np.zeros((n, model.stride), np.int64)
        m.frames[:, 0] = tokens
        if types is not None:
            m.frames[:, 0] |= np.asarray(types, np.int64) << 16
        m.signal = np.zeros((0, 1), np.int64) if signal is None else signal
        if patches is not None:
            to = m.value(int(model.program[14]), 4 + patches.shape[1])
            to[:, 0], to[:, 1], to[:, 2] = 8192, -13, patches.sum(1)
            to[:, 4:] = patches
        for i, step in enumerate(model.steps):
            if (i < model.body) == encoder:
                STEPS[step.op](m, **step.named)
                if self.tap:
                    self.tap(i, step, m)

    def _checked(self, tokens: Sequence[int]) -> list[int]:
        out = [int(t) for t in tokens]
        context, vocab = self.model.context, self.model.vocab
        if not 0 < len(out) <= context:
            raise Error(f"{len(out)} tokens, expected 1 to {context} (the context)")
        for t in out:
            if not 0 <= t < vocab:
                raise Error(f"token {t} is not in the vocabulary of {vocab}")
        return out

    def result(self) -> Array:
        """What the last run gave, int32.

        Logits behind each of its tokens, (tokens, vocab); those of a start and an end, (tokens,
        2), of a model that answers; those of the labels of each, (tokens, labels), of one that
        tags; a single row of labels' logits or of an embedding.
        """
        if self.model.framed:
            out = self.memory.value(int(self.model.program[5]), self.model.outputs)
        else:
            out = self.memory.logits
        # `pool` of the last position leaves all of them here
        one = self.model.task in ("classify", "embed", "predict")
        return out[-1 if one else 0 :].astype(np.int32)

    def example(self, e: Example) -> Array:
        """Run an example; its result."""
        if e.pixels is not None:
            self.run([0] * len(e.tokens), patches=e.tokens)
            return self.result()
        if e.signal is not None:
            self.run([0] * len(e.tokens), signal=e.signal)
            return self.result()
        if e.source is not None:
            self.run(e.source.tolist(), encoder=True)
        self.run(e.tokens.tolist(), types=None if e.types is None else e.types.tolist())
        return self.result()
