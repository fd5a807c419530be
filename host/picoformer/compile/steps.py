"""The steps of a program by the names of their fields: the board's table, read once.

`program.OPS` on the board has it; docs/format.md says what each field is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..device import program


class Field(NamedTuple):
    """A field of a step.

    kind: "o", an operand; "w", an operand in the weights; "-", a number. low, high: its limits,
    where they are plain numbers. given: a field without which they do not hold.
    """

    name: str
    kind: str
    low: int | None = None
    high: int | None = None
    given: str = ""


def _fields(kinds: str, listed: str) -> dict[str, Field]:
    found = {}
    for kind, text in zip(kinds, listed.split(), strict=True):
        limits, _, given = text.partition("?")
        name, *numbers = limits.split(":")
        low, high = map(int, numbers) if numbers else (None, None)
        found[name] = Field(name, kind, low, high, given)
    return found


CODES: dict[str, int] = {name: op for op, (name, _, _) in program.OPS.items()}
FIELDS = {name: _fields(kinds, listed) for name, kinds, listed in program.OPS.values()}


@dataclass(frozen=True)
class Step:
    """One step of a program: its operation's name and its fields, as in the file."""

    op: str
    fields: list[int]

    @property
    def kind(self) -> str:
        """The operation's name, whatever bits its weights have."""
        return self.op.removesuffix("4")

    @property
    def named(self) -> dict[str, int]:
        """The fields by their names, in their order."""
        return dict(zip(FIELDS[self.op], self.fields, strict=True))

    def __getitem__(self, name: str) -> int:
        return self.named[name]


READ, WRITE, CHANGE = "read", "write", "change"


def uses(step: Step) -> list[tuple[str, int, str]]:
    """(field, words, READ, WRITE or CHANGE) of each operand in the frame that a step has.

    A result that is added to what is there changes it. Logits lie behind the frame, but are
    among them.
    """
    s, kind = step.named, step.kind
    if kind in ("store", "attend"):
        n = s["heads"] * s["size"]
    elif kind == "linear":
        n = 4 * s["groups"]
    elif kind == "windows":
        n = s["height"] * s["width"]
    else:
        n = s["n"]
    added = CHANGE if s.get("add") or s.get("position") else WRITE
    found = {
        "embed": [("x", n, added)],
        "norm": [("x", n, READ), ("out", 4 + n, WRITE), ("dyn", 1, READ)],
        "linear": [("x", 4 + s.get("cols", 0), READ), ("out", n, added)],
        "store": [("k", n, CHANGE), ("v", n, CHANGE)],
        "attend": [("q", n, CHANGE), ("out", n, WRITE)],
        "gate": [("g", n, CHANGE), ("u", n, CHANGE), ("dyn", 1, WRITE)],
        "pool": [("x", n, CHANGE)],
        "layernorm": [("x", n, READ), ("out", n, WRITE)],
        "bias": [("out", n, added)],
        "windows": [("out", n, WRITE)],
    }[kind]
    if kind == "layernorm" and s["x"] == s["out"]:
        found = [("out", n, CHANGE)]
    return [use for use in found if s[use[0]]]


def results(step: Step) -> Iterator[tuple[int, int]]:
    """(operand, words) of what a step leaves in a frame for others, or behind it as logits."""
    for field, n, how in uses(step):
        if step.op == "norm" and how == WRITE:  # the word behind the sum is unused
            yield step[field], 3
            yield step[field] + (4 << 6), n - 4
        # Of queries and of what a gate multiplies, kernels leave what they like.
        elif how != READ and field not in ("q", "u"):
            yield step[field], n
