"""Where the time of a token or a text goes: the steps, the Python around them, what is left.

`profile_script()` runs on a board. It measures one token of the generator, or one text of a model
that takes it whole, and, apart from that, each of its parts; `profile()` puts names to the numbers
and tells what is left over.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from picoformer import Error
from picoformer.compile.modelfile import ModelFile
from picoformer.planning.lifetimes import layers
from tools.benchmarks.figures import number

# {now}: the clock as an expression of the local m; {mask}: what its differences are cut to.
# One round: the whole, every step, an empty probe, the loop around the steps, the parts around
# them (sampler and tokenizer), what is left of the whole without steps but the first, and how
# many calls the loop makes. A step of a series is one of its own here, less such a one without
# steps; calls of these are the loop's.
_PROFILE = """
import gc

def _whole(call, argument, m, off, on):
    gc.collect()
    s = off()
    a = {now}
    call(argument)
    b = {now}
    on(s)
    return (b - a) & {mask}

def _apart(model):
    import sys
    from array import array
    series = getattr(sys.modules["picoformer.kernels_" + model.kernels], "series", None)
    nothing = array("i", (0, 0))
    steps, fused, plain = [], [], []
    for part in (model._body, model._head):
        for kernel, record in part:
            if kernel is not series:
                steps.append((kernel, record, None))
                plain.append((kernel, record))
                continue
            from machine import mem32
            fused.append((kernel, nothing))
            while mem32[record + 4]:
                one = array("i", (mem32[record], mem32[record + 4], 0, 0))
                steps.append((kernel, one, nothing))
                record += 8
    return steps, fused, plain

def _steps(model, pos, tokens, steps, out, m, off, on):
    count = len(tokens)
    arena = model._arena
    space = model._space
    arena[0] = pos
    arena[1] = count
    arena[4] = pos + count
    for i in range(count):
        arena[16 + i * model._stride] = tokens[i]
    gc.collect()
    i = 0
    s = off()
    for kernel, record, nothing in steps:
        a = {now}
        b = {now}
        c = d = (b - a) & {mask}
        if nothing:
            a = {now}
            kernel(nothing, space)
            b = {now}
            d = (b - a) & {mask}
        a = {now}
        kernel(record, space)
        b = {now}
        out[i] = ((b - a) & {mask}) - d + c
        i += 1
    on(s)

def _loop(model, fused, plain, out, m, off, on):
    space = model._space
    gc.collect()
    s = off()
    a = {now}
    b = {now}
    out[0] = (b - a) & {mask}
    a = {now}
    for kernel, record in fused:
        kernel(record, space)
    for kernel, record in plain:
        pass
    b = {now}
    out[1] = (b - a) & {mask}
    on(s)

def _written(model, pos, out, m, off, on):
    token = model._tokens[pos + 1]
    before = model._tokens[pos]
    pick = model._pick
    gc.collect()
    s = off()
    a = {now}
    model._sample(pick, model._space)
    b = {now}
    out[0] = (b - a) & {mask}
    a = {now}
    model.tokenizer.decode(token, before)
    b = {now}
    out[1] = (b - a) & {mask}
    gc.collect()
    a = {now}
    model.tokenizer.decode(token, token)
    b = {now}
    out[2] = (b - a) & {mask}
    on(s)

def _encoded(model, text, out, m, off, on):
    gc.collect()
    s = off()
    a = {now}
    model.tokenizer.fit(text, model.context)
    b = {now}
    out[0] = (b - a) & {mask}
    on(s)

def profile(model, at, rounds, m, off, on):
    from array import array
    generates = model.task == "generate"
    call = next if generates else getattr(model, model.task)
    body, head = model._body, model._head
    steps, fused, plain = _apart(model)
    n = len(steps)
    out = array("i", bytes(4 * (n + (8 if generates else 6))))
    out[len(out) - 1] = len(fused) + len(plain)
    view = memoryview(out)
    for _ in range(rounds):
        what = at
        if generates:
            what = model.generate("", None)
            for _ in range(at):
                next(what)
        out[0] = _whole(call, what, m, off, on)
        if generates:
            next(what)
        if generates:
            _steps(model, at, model._tokens[at : at + 1], steps, view[1:], m, off, on)
        else:
            _steps(model, 0, model._encode(at, model.task), steps, view[1:], m, off, on)
        _loop(model, fused, plain, view[n + 1:], m, off, on)
        (_written if generates else _encoded)(model, at, view[n + 3:], m, off, on)
        model._body, model._head = [steps[0][:2]], []
        if generates:
            what = model.generate("", None)
            next(what)
        out[len(out) - 2] = _whole(call, what, m, off, on)
        model._body, model._head = body, head
        model._filled = 0
        print(list(out))
"""


def profile_script(now: str, mask: int) -> str:
    """The board's function `profile(model, at, rounds, m, off, on)`.

    `at` is the position of a token, or the text for a model that takes it whole. `now` is an
    expression of the local `m` that reads a clock; differences of it are taken modulo `mask` + 1.
    `off` and `on` stop and allow interrupts. It prints a list a round.
    """
    return _PROFILE.format(now=now, mask=mask)


@dataclass
class Kind:
    """A step of the program as a person calls it; work in multiply-accumulates, 0: none."""

    op: str
    title: str
    layer: str
    work: int


def kinds(model: ModelFile, at: int) -> list[Kind]:
    """The steps of a program, in order, as they run: for the token at position `at`, or, of a
    model that takes its input whole, for `at` tokens.
    """
    starts, output = layers(model)
    out = []
    for i, step in enumerate(model.steps):
        layer = sum(s <= i for s in starts)
        name = "output" if i >= output else f"layer {layer}" if layer else "embedding"
        count = at if model.whole and i < model.head else 1
        title, work = step.op, 0
        if step.kind == "linear":
            title = f"{step.op} {4 * step['groups']} x {step['cols']}"
            work = count * 4 * step["groups"] * step["cols"]
        elif step.op == "attend":
            title = f"attend, {step['heads']} heads of {step['size']}"
            work = count * 2 * (at + (not model.whole)) * step["heads"] * step["size"]
        elif step.op in ("norm", "gate", "layernorm", "bias"):
            title = f"{step.op} {step['n']}"
        out.append(Kind(step.op, title, name, work))
    return out


def profile(
    model: ModelFile, at: int, rounds: Sequence[Sequence[int]], unit: str, scale: float = 1
) -> dict[str, Any]:
    """What `profile_script` printed, with names: the parts of the whole and what they leave over.

    at: the token's position, or the number of tokens that were taken whole. unit: of the result,
    "cycles" or "us"; scale: how many of the board's clock are one. The measuring itself (an empty
    probe) is taken out of each part, and given as "probe".
    """
    named = kinds(model, at)
    n = len(named)
    generates = model.task == "generate"
    length = n + (8 if generates else 6)
    if any(len(r) != length for r in rounds):
        raise Error(f"the profile has {len(rounds[0])} numbers, expected {length}")
    # A mean over the calmer half of the rounds; where cycles are counted one is enough.
    calm = sorted(rounds, key=sum)[: (len(rounds) + 1) // 2]
    column = [statistics.fmean(r[i] / scale for r in calm) for i in range(length)]
    empty = column[n + 1]
    total, *costs = (c - empty for c in column[: n + 1])
    loop, *around, stripped = (c - empty for c in column[n + 2 : -1])
    # The call without steps, less what it does besides: one step, and the parts around them.
    rest = stripped - costs[0] - loop / rounds[0][-1]
    parts = {"interpreter's loop": loop}
    if generates:
        sampler, decode, again = around
        parts |= {"sampler": sampler, "tokenizer": decode, "generator": rest - sampler - again}
    else:
        parts |= {"tokenizer": around[0], "call": rest - around[0]}
    left = total - sum(costs) - sum(parts.values())
    steps = [
        {"step": k.title, "op": k.op, "layer": k.layer, "work": k.work, "cost": _round(c)}
        for k, c in zip(named, costs, strict=True)
    ]
    return {
        "unit": unit, "position" if generates else "tokens": at, "total": _round(total),
        "steps": steps, "python": {name: _round(v) for name, v in parts.items()},
        "residue": _round(left), "probe": _round(empty),
    }  # fmt: skip


def title(profile: dict[str, Any]) -> str:
    """What was profiled."""
    if "tokens" in profile:
        return f"one text of {profile['tokens']} tokens"
    return f"one token at position {profile['position']}"


def _round(value: float) -> float:
    return round(value, 2) if abs(value) < 1000 and value != int(value) else round(value)


def grouped(profile: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """The profile's steps in groups ("step" or "layer"): name, calls, cost, work."""
    out: dict[str, dict[str, Any]] = {}
    for step in profile["steps"]:
        row = out.setdefault(step[by], {"name": step[by], "calls": 0, "cost": 0, "work": 0})
        row["calls"] += 1
        row["cost"] += step["cost"]
        row["work"] += step["work"]
    return list(out.values())


def rows(profile: dict[str, Any], by: str = "step") -> list[dict[str, Any]]:
    """The whole, the dearest first where by kind: the steps, the Python, the residue."""
    out = grouped(profile, by)
    if by == "step":
        out.sort(key=lambda row: -row["cost"])
    for name, cost in profile["python"].items():
        out.append({"name": name, "calls": 1, "cost": cost, "work": 0})
    out.append({"name": "not accounted for", "calls": 0, "cost": profile["residue"], "work": 0})
    return out


def profile_table(profile: dict[str, Any]) -> str:
    """The profile as text: by kind of step and by layer, both adding up to the whole."""
    unit, total = profile["unit"], profile["total"]
    fine, factor = {"us": ("ns", 1000)}.get(unit, (unit, 1))
    lines = [f"{title(profile)}: {total:,} {unit}"]
    for by in ("step", "layer"):
        each = f"{fine}/MAC" if by == "step" else ""
        lines.append(f"{'by ' + by:28}{'calls':>6}{unit:>13}{'share':>8}{each:>12}")
        for row in rows(profile, by):
            calls = str(row["calls"] or "")
            per = each and row["work"] and f"{factor * row['cost'] / row['work']:.2f}"
            lines.append(
                f"{row['name']:28}{calls:>6}{number(row['cost']):>13}"
                f"{row['cost'] / total:>8.1%}{per or '':>12}".rstrip()
            )
    lines.append(f"a probe's own {number(profile['probe'])} {unit} are taken out everywhere")
    return "\n".join(lines)
