"""What the benchmarks share: the profile, its table, the pictures.

`profile_script()` runs on a board. It measures one token of the generator, or one text of a model
that takes it whole, and, apart from that, each of its parts; `profile()` puts names to the numbers
and tells what is left over.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picoformer import Error, Simulator
from picoformer.compile.modelfile import ModelFile
from picoformer.planning.lifetimes import layers

PICTURE = (8.0, 7.0)  # inches, at 80 dots each

# What a model that takes its input whole reads, as much of it as is wanted.
TEXT = """
play a slow song by my favourite band and then book a table for two in the old town , the film we
saw last night was funny , warm and a little too long , but the actors make it worth your time ,
will it rain here tomorrow or shall we take the early train to the sea and walk along the shore ?
"""

# {now}: the clock as an expression of the local m; {mask}: what its differences are cut to.
# One round: the whole, every step, an empty probe, the loop around the steps, the parts around
# them (sampler and tokenizer), and what is left of the whole without steps but the first.
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

def _steps(model, pos, tokens, out, m, off, on):
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
    for part in (model._body, model._head):
        for kernel, record in part:
            a = {now}
            kernel(record, space)
            b = {now}
            out[i] = (b - a) & {mask}
            i += 1
    on(s)

def _loop(model, out, m, off, on):
    gc.collect()
    s = off()
    a = {now}
    b = {now}
    out[0] = (b - a) & {mask}
    a = {now}
    for kernel, record in model._body:
        pass
    for kernel, record in model._head:
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
    wrap = model.tokenizer.wrap
    wrap(model.tokenizer.encode(text)[: max(0, model.context - len(wrap([])))])
    b = {now}
    out[0] = (b - a) & {mask}
    on(s)

def profile(model, at, rounds, m, off, on):
    from array import array
    generates = model.task == "generate"
    call = next if generates else getattr(model, model.task)
    body, head = model._body, model._head
    n = len(body) + len(head)
    out = array("i", bytes(4 * (n + (7 if generates else 5))))
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
            _steps(model, at, model._tokens[at : at + 1], view[1:], m, off, on)
        else:
            _steps(model, 0, model._encode(at, model.task), view[1:], m, off, on)
        _loop(model, view[n + 1:], m, off, on)
        (_written if generates else _encoded)(model, at, view[n + 3:], m, off, on)
        model._body, model._head = body[:1], []
        if generates:
            what = model.generate("", None)
            next(what)
        out[len(out) - 1] = _whole(call, what, m, off, on)
        model._body, model._head = body, head
        model._filled = 0
        print(list(out))
"""


def add_bits(parser: argparse.ArgumentParser) -> None:
    """The options with which a model is converted."""
    parser.add_argument("--weight-bits", type=int, default=8, help="8 (default) or 4")
    parser.add_argument("--key-bits", type=int, default=12, help="12 (default) or 8")
    parser.add_argument("--value-bits", type=int, default=8, help="8 (default) or 4")


def bits(o: argparse.Namespace) -> dict[str, Any]:
    """What `convert` is told of them."""
    return {name: getattr(o, name) for name in ("weight_bits", "key_bits", "value_bits")}


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
        count = at if model.whole and i < model.body else 1
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
    length = n + (7 if generates else 5)
    if any(len(r) != length for r in rounds):
        raise Error(f"the profile has {len(rounds[0])} numbers, expected {length}")
    # A mean over the calmer half of the rounds; where cycles are counted one is enough.
    calm = sorted(rounds, key=sum)[: (len(rounds) + 1) // 2]
    column = [statistics.fmean(r[i] / scale for r in calm) for i in range(length)]
    empty = column[n + 1]
    total, *costs = (c - empty for c in column[: n + 1])
    loop, *around, stripped = (c - empty for c in column[n + 2 :])
    # The call without steps, less what it does besides: one step, and the parts around them.
    rest = stripped - costs[0] - loop / n
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


# What models of other tasks are measured with.
SENTENCES = ("Go.", "Tom is here.", "Where are you going?", "I don't know what you want to say.")
FACTS = "Anna lives in Lyon. She has two dogs. The red box is under the table."
QUESTIONS = ("Who has two dogs?", "Where is the red box?")


def given_to(sim: Simulator) -> list[tuple[Any, ...]]:
    """Arguments of the call that the model's task names, for a few examples."""
    if sim.model.program[14]:
        height, width, channels = sim.model.meta["image"][:3]
        count = height * width * channels
        return [(bytes((i * i // 50 + 3 * i) % 256 for i in range(count)),)]
    if sim.model.task == "answer":
        return [(FACTS, question) for question in QUESTIONS]
    return [(text,) for text in SENTENCES]


def middle(values: Sequence[float]) -> float:
    """The mean without the lowest and the highest quarter."""
    values = sorted(values)
    cut = len(values) // 4
    return statistics.fmean(values[cut : len(values) - cut])


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


def number(value: float) -> str:
    """A number as a table shows it: small ones that are not whole with one decimal."""
    return f"{value:,.1f}" if abs(value) < 1000 and value != int(value) else f"{value:,.0f}"


def speeds(us: Sequence[float], first: int = 128) -> dict[str, float]:
    """Tokens a second of a text from the microseconds of each token.

    "all" and "first" (that many positions) are means over time; "last" over the last 8.
    """
    return {
        "all": round(1e6 * len(us) / sum(us), 1),
        "first": round(1e6 * len(us[:first]) / sum(us[:first]), 1),
        "last": round(1e6 * len(us[-8:]) / sum(us[-8:]), 1),
    }


def position_table(us: Sequence[float]) -> str:
    """Tokens a second at every 32nd position, each a mean over eight."""
    lines = [f"{'position':>9}{'tokens/s':>10}"]
    for at in [*range(0, len(us) - 8, 32), len(us) - 8]:
        some = us[max(at, 0) : at + 8]
        lines.append(f"{max(at, 0):>9}{1e6 * len(some) / sum(some):>10,.1f}")
    return "\n".join(lines)


def save(path: str | Path, result: dict[str, Any]) -> None:
    """Write a result as JSON that can be read and compared: a long list is one line."""
    Path(path).write_text(dumps(result) + "\n", encoding="utf-8")


def dumps(value: Any, indent: int = 1) -> str:
    """JSON with a line for each entry, but lists of numbers and small objects in one."""
    flat = json.dumps(value, ensure_ascii=False)
    nested = isinstance(value, dict | list) and value and len(flat) > 88
    if not nested or (isinstance(value, list) and not isinstance(value[0], dict | list)):
        return flat
    pad = "\n" + " " * indent
    if isinstance(value, list):
        return f"[{pad}" + f",{pad}".join(dumps(v, indent + 1) for v in value) + pad[:-1] + "]"
    items = (f"{json.dumps(k)}: {dumps(v, indent + 1)}" for k, v in value.items())
    return f"{{{pad}" + f",{pad}".join(items) + pad[:-1] + "}"


def need_plots() -> None:
    """Raise Error where there is no matplotlib: before anything takes time."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as e:
        raise Error("--plot needs matplotlib: pip install 'picoformer[plot]'") from e


def _figure(panels: Sequence[float]) -> tuple[Any, list[Any]]:
    need_plots()
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(
        len(panels), 1, figsize=PICTURE, height_ratios=panels, layout="constrained", squeeze=False
    )
    return figure, [row[0] for row in axes]


def _write(figure: Any, path: str | Path) -> None:
    import matplotlib.pyplot as plt

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80, format="png")
    image = importlib.import_module("PIL.Image")  # matplotlib brings it
    try:
        # A palette makes a third of the size.
        image.open(drawn).convert("RGB").quantize(64).save(path, format="PNG", optimize=True)
    except OSError as e:
        raise Error(f"cannot write the picture {path}: {e}") from e
    plt.close(figure)


def plot_model(
    path: str | Path, where: str, series: Mapping[str, Sequence[float]], profile: dict[str, Any],
    counts: Sequence[int] = (),
) -> None:  # fmt: skip
    """A picture of a model on a board: its speed, and the profile below it.

    series: microseconds of each token, by the name of what ran; with `counts` microseconds of a
    text of so many tokens each.
    """
    figure, (top, bottom) = _figure((1, 1.35))
    for name, us in series.items():
        if counts:
            top.plot(counts, [t / 1000 for t in us], marker="o", label=name)
            continue
        # A token that met the garbage collector would be a spike: the median of nine.
        calm = [statistics.median(us[max(0, i - 4) : i + 5]) for i in range(len(us))]
        top.plot(range(len(us)), [1e6 / t for t in calm], label=name)
    top.set_ylim(bottom=0)
    top.set_xlim(left=0)
    top.set_xlabel("tokens of the text" if counts else "position")
    top.set_ylabel("milliseconds" if counts else "tokens a second")
    top.set_title(where, loc="left")
    top.grid(alpha=0.3)
    if len(series) > 1:
        top.legend(frameon=False)
    listed = [row for row in rows(profile) if row["calls"]]
    costs = [row["cost"] for row in listed]
    colors = ["tab:blue" if row["name"] not in profile["python"] else "tab:orange"
              for row in listed]  # fmt: skip
    bars = bottom.barh(range(len(listed)), costs, color=colors)
    bottom.set_yticks(range(len(listed)), [
        row["name"] + (f" ({row['calls']})" if row["calls"] > 1 else "") for row in listed
    ])  # fmt: skip
    bottom.bar_label(bars, [f"{number(c)}  {c / profile['total']:.1%}" for c in costs],
                     padding=3, fontsize=9)  # fmt: skip
    bottom.invert_yaxis()
    bottom.set_xlim(right=1.25 * max(costs))
    bottom.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    unit = {"us": "microseconds"}.get(profile["unit"], profile["unit"])
    bottom.set_xlabel(f"{unit}; orange: around the steps")
    bottom.set_title(f"{title(profile)}: {number(profile['total'])} {unit}", loc="left")
    _write(figure, path)


def plot_kernels(path: str | Path, kernels: list[dict[str, Any]]) -> None:
    """A picture of the kernels' rows: cycles a unit of work of each kernel and family."""
    figure, (axis,) = _figure((1,))
    families = list(kernels[0]["cycles"])
    high = 0.8 / len(families)
    most = 1.0
    for k, family in enumerate(families):
        some = [i for i, row in enumerate(kernels) if family in row["cycles"]]
        at = [i + (k - (len(families) - 1) / 2) * high for i in some]
        each = [kernels[i]["cycles"][family] / kernels[i]["work"] for i in some]
        bars = axis.barh(at, each, high, label=family)
        axis.bar_label(
            bars, [f"{v:,.{0 if v >= 1000 else 1}f}" for v in each], padding=2, fontsize=8
        )
        most = max(most, *each)
    axis.set_yticks(range(len(kernels)), [row["kernel"] for row in kernels])
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlim(1, 4 * most)
    axis.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    axis.set_xlabel("cycles each, RP2040 at 125 MHz: a multiply-accumulate, an element, a logit")
    axis.legend(frameon=False, loc="upper right")
    _write(figure, path)
