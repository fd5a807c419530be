"""What a program does with its memory, read from the steps: for plans and pictures.

A step reads and writes words of the first frame (`uses`). From that follow the buffers: one
begins with the step that writes its words, and ends with the last that reads them before they are
written anew. Nothing here is needed to run a model.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..compile.modelfile import ModelFile
from ..compile.steps import FIELDS, WRITE, uses
from ..device import regions


@dataclass
class Buffer:
    """`words` words of the frame from word `at` on, in use from step `first` to step `last`."""

    at: int
    words: int
    first: int
    last: int
    name: str
    op: str  # of the step that writes it first

    def meets(self, at: int, words: int) -> bool:
        return at < self.at + self.words and self.at < at + words


def names(m: ModelFile) -> list[str]:
    """What each step makes, by the compiler's name, else the step's own. Of any file."""
    listed = m.meta.get("values")
    out = [s.op for s in m.steps]
    if isinstance(listed, list):
        for i, v in enumerate(listed[: len(out)]):
            if isinstance(v, list) and v and isinstance(v[0], str):
                out[i] = v[0]
    return out


def buffers(m: ModelFile) -> list[Buffer]:
    """The buffers of a frame, in the order in which they begin; `at` counts from its word 0."""
    titles = names(m)
    out: list[Buffer] = []
    if m.program[14]:  # an image's patches are there before the first step
        first = next(s for s in m.steps if s.kind == "linear")
        at = (int(m.program[14]) >> 6) - regions.HEADER
        out.append(Buffer(at, 4 + first["cols"], 0, 0, "patches", "patches"))
    for i, step in enumerate(m.steps):
        made = []
        for field, n, how in uses(step):
            at = (step[field] >> 6) - regions.HEADER
            if at + n > m.stride:  # logits, which lie behind the frame
                continue
            met = [b for b in out if b.meets(at, n) and b.last >= 0]
            newest = max((b.first for b in met), default=-1)
            if how != WRITE:
                # What was written before, and under, the newest is gone.
                for b in met:
                    if b.first == newest or not _hidden(b, out, i):
                        b.last = i
                        if b.at == at:  # a linear pads what it adds to to four rows
                            b.words = max(b.words, n)
            if how == WRITE or not met:
                made.append(Buffer(at, n, i, i, titles[i], step.op))
        out += made
    for b in out:
        if b.name == b.op:  # it has no name of its own: what it is made for has
            named = (t for s, t in zip(m.steps[b.first :], titles[b.first :], strict=True)
                     if t != s.op)  # fmt: skip
            b.name = ("" if b.op == "bias" else "for ") + next(named, b.op)
    return out


def _hidden(b: Buffer, all_of: list[Buffer], now: int) -> bool:
    """Whether another buffer has been written over any of b's words since."""
    return any(c.first > b.first and c.meets(b.at, b.words) for c in all_of if c.first <= now)


def layers(m: ModelFile) -> tuple[list[int], int]:
    """The steps with which the layers begin, and the output.

    A layer begins behind the last step before its keys and values that changes the residual.
    """
    changes = _changes(m)
    stores = [i for i, step in enumerate(m.steps) if step.op == "store"]
    return [1 + max(c for c in changes if c < s) for s in stores], 1 + changes[-1]


def _changes(m: ModelFile) -> list[int]:
    """The steps that change the residual, behind a -1."""
    steps = m.steps
    changes = [-1]
    for i, step in enumerate(steps):
        adds = step.kind == "linear" and step["add"]
        before = steps[i - 1]
        if adds and before.op == "bias" and before["out"] == step["out"]:
            adds = before["add"]  # else the bias is what the product is added to
        in_place = step.op == "layernorm" and step["x"] == step["out"]
        if adds or step.kind == "embed" or in_place:
            changes.append(i)
    return changes


EMBEDDING, ATTENTION, FORWARD, OUTPUT = "embedding", "attention", "feed-forward", "output"


@dataclass(frozen=True)
class Weights:
    """Bytes of the weights section that a step reads first; layer 0 is in front of them all."""

    layer: int  # one more than there are layers: the output
    kind: str
    name: str
    bytes: int


def weights(m: ModelFile) -> list[Weights]:
    """The weights of each step, in the program's order; what is shared counts once.

    A matrix ends where the next one begins, so every byte of the section has its step.
    """
    titles = names(m)
    starts, output = layers(m)
    changes = _changes(m)
    at: dict[int, int] = {}  # word in the section: step
    for i, step in enumerate(m.steps):
        for field in FIELDS[step.op].values():
            if field.kind == "w":
                at.setdefault(step[field.name] >> 6, i)
    ends = [*sorted(at)[1:], m.weights.size]
    size = {a: 4 * (b - a) for a, b in zip(sorted(at), ends, strict=True)}
    out = []
    for a, i in sorted(at.items(), key=lambda pair: pair[1]):
        layer = sum(s <= i for s in starts)
        if i >= output:
            layer, kind = len(starts) + 1, OUTPUT
        elif layer == 0:
            kind = EMBEDDING
        else:
            # A layer's parts end where the residual changes: one attends, one has a gate.
            low = max(c for c in changes if c < i)
            high = min((c for c in changes if c >= i), default=len(m.steps) - 1)
            ops = {s.op for s in m.steps[low + 1 : high + 1]}
            kind = FORWARD if "gate" in ops else ATTENTION
        out.append(Weights(layer, kind, titles[i], size[a]))
    return out
