"""What models are measured with: how they are converted, what they are given."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from picoformer import Simulator
from picoformer.graph.nodes import Array

# What a model that takes its input whole reads, as much of it as is wanted.
TEXT = """
play a slow song by my favourite band and then book a table for two in the old town , the film we
saw last night was funny , warm and a little too long , but the actors make it worth your time ,
will it rain here tomorrow or shall we take the early train to the sea and walk along the shore ?
"""

# What models of other tasks are measured with.
SENTENCES = ("Go.", "Tom is here.", "Where are you going?", "I don't know what you want to say.")
FACTS = "Anna lives in Lyon. She has two dogs. The red box is under the table."
QUESTIONS = ("Who has two dogs?", "Where is the red box?")


def add_bits(parser: argparse.ArgumentParser) -> None:
    """The options with which a model is converted."""
    parser.add_argument("--weight-bits", type=int, default=8, help="8 (default) or 4")
    parser.add_argument("--key-bits", type=int, default=12, help="12 (default) or 8")
    parser.add_argument("--value-bits", type=int, default=8, help="8 (default) or 4")


def bits(o: argparse.Namespace) -> dict[str, Any]:
    """What `convert` is told of them."""
    return {name: getattr(o, name) for name in ("weight_bits", "key_bits", "value_bits")}


def counts(context: int, *more: int) -> list[int]:
    """Numbers of tokens at which a model that takes its input whole is measured."""
    return sorted({n for n in (4, 8, 16, 32, 64, 128, *more) if n < context} | {context})


def text_of(sim: Simulator, n: int) -> str:
    """A text of n tokens, special ones included; of a little less where there is none."""

    def tokens(text: str) -> int:
        return len(sim.tokenizer.wrap(sim.tokenizer.encode(text)))

    text = ""
    for word in TEXT.split() * n:
        longer = f"{text} {word}".lstrip()
        if tokens(longer) > n:
            if tokens(text) < n:
                parts = (longer[:-i] for i in range(1, len(word)))
                text = next((part for part in parts if tokens(part) == n), text)
            break
        text = longer
    return text


def signal_of(sim: Simulator) -> Array:
    """A signal (rows, channels) of what the model's channels are: a slow wave."""
    f = sim.frames
    assert f is not None
    mean, std = (0, 1000) if f.mean is None or f.std is None else (f.mean, f.std)
    wave = np.sin(np.arange(f.length)[:, None] / 5 + np.arange(f.channels))
    return np.clip(np.rint(mean + std * wave), -32768, 32767).astype(np.int64)


def given_to(sim: Simulator) -> list[tuple[Any, ...]]:
    """Arguments of the call that the model's task names, for a few examples."""
    if sim.model.program[14]:
        height, width, channels = sim.model.meta["image"][:3]
        count = height * width * channels
        return [(bytes((i * i // 50 + 3 * i) % 256 for i in range(count)),)]
    if sim.frames:
        return [(signal_of(sim).astype("<i2").tobytes(),)]
    if sim.model.task == "answer":
        return [(FACTS, question) for question in QUESTIONS]
    return [(text,) for text in SENTENCES]
