"""What the benchmarks share: the profile of a token, its table, the pictures.

`profile_script()` runs on a board. It measures one token of the generator as a whole and, apart
from that, each of its parts; `profile()` puts names to the numbers and tells what is left over.
"""

from __future__ import annotations

import importlib
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picoformer import Error
from picoformer.modelfile import ModelFile

PICTURE = (8.0, 7.0)  # inches, at 80 dots each

# {now}: the clock as an expression of the local m; {mask}: what its differences are cut to.
# One round: the token, what is left of it without steps, every step, an empty probe, the loop
# around the steps, the sampler, the tokenizer; and in between what the two states cost.
_PROFILE = """
import gc

def _next(model, pos, m, off, on):
    g = model.generate("", None)
    for _ in range(pos):
        next(g)
    gc.collect()
    s = off()
    a = {now}
    next(g)
    b = {now}
    on(s)
    next(g)
    return (b - a) & {mask}

def _steps(model, pos, out, m, off, on):
    arena = model._arena
    space = model._space
    arena[0] = pos
    arena[1] = 1
    arena[16] = model._tokens[pos]
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

def _rest(model, pos, out, i, m, off, on):
    token = model._tokens[pos + 1]
    before = model._tokens[pos]
    pick = model._pick
    gc.collect()
    s = off()
    a = {now}
    b = {now}
    out[i] = (b - a) & {mask}
    a = {now}
    for kernel, record in model._body:
        pass
    for kernel, record in model._head:
        pass
    b = {now}
    out[i + 1] = (b - a) & {mask}
    a = {now}
    model._sample(pick, model._space)
    b = {now}
    out[i + 2] = (b - a) & {mask}
    a = {now}
    model.tokenizer.decode(token, before)
    b = {now}
    out[i + 3] = (b - a) & {mask}
    gc.collect()
    a = {now}
    model.tokenizer.decode(token, token)
    b = {now}
    out[i + 4] = (b - a) & {mask}
    on(s)

def _python(model, m, off, on):
    body, head = model._body, model._head
    model._body, model._head = body[:1], []
    g = model.generate("", None)
    next(g)
    gc.collect()
    s = off()
    a = {now}
    next(g)
    b = {now}
    on(s)
    model._body, model._head = body, head
    return (b - a) & {mask}

def profile(model, pos, rounds, m, off, on):
    from array import array
    n = len(model._body) + len(model._head)
    out = array("i", bytes(4 * (n + 7)))
    for _ in range(rounds):
        out[0] = _next(model, pos, m, off, on)
        _steps(model, pos, memoryview(out)[1:], m, off, on)
        _rest(model, pos, out, n + 1, m, off, on)
        out[n + 6] = _python(model, m, off, on)
        model._filled = 0
        print(list(out))
"""


def profile_script(now: str, mask: int) -> str:
    """The board's function `profile(model, pos, rounds, m, off, on)`.

    `now` is an expression of the local `m` that reads a clock; differences of it are taken
    modulo `mask` + 1. `off` and `on` stop and allow interrupts. It prints a list a round.
    """
    return _PROFILE.format(now=now, mask=mask)


@dataclass
class Kind:
    """A step of the program as a person calls it; work in multiply-accumulates, 0: none."""

    op: str
    title: str
    layer: str
    work: int


def kinds(model: ModelFile, position: int) -> list[Kind]:
    """The steps of a program, in order, as they run at a position."""
    ops = [s.op for s in model.steps]
    stores = [i for i, op in enumerate(ops) if op == "store"]
    # A layer begins with the norm in front of its keys and values; the output with the last.
    norms = [i for i, op in enumerate(ops) if op == "norm"]
    starts = [max((n for n in norms if n < s), default=0) for s in stores]
    out = []
    for i, step in enumerate(model.steps):
        f = step.fields
        layer = sum(s <= i for s in starts)
        name = f"layer {layer}" if layer else "embedding"
        if norms and i >= norms[-1]:
            name = "output"
        title, work = step.op, 0
        if step.op == "linear":
            title = f"linear {4 * f[4]} x {f[3]}"
            work = 4 * f[4] * f[3]
        elif step.op == "attend":
            title = f"attend, {f[3]} heads of {f[5]}"
            work = 2 * (position + 1) * f[3] * f[5]
        elif step.op in ("norm", "gate"):
            title = f"{step.op} {f[2]}"
        out.append(Kind(step.op, title, name, work))
    return out


def profile(
    model: ModelFile, position: int, rounds: Sequence[Sequence[int]], unit: str, scale: float = 1
) -> dict[str, Any]:
    """What `profile_script` printed, with names: the parts of a token and what they leave over.

    unit: of the result, "cycles" or "us"; scale: how many of the board's clock are one. The
    measuring itself (an empty probe) is taken out of each part, and given as "probe".
    """
    named = kinds(model, position)
    n = len(named)
    if any(len(r) != n + 7 for r in rounds):
        raise Error(f"the profile has {len(rounds[0])} numbers, expected {n + 7}")
    # A mean over the calmer half of the rounds; where cycles are counted one is enough.
    calm = sorted(rounds, key=sum)[: (len(rounds) + 1) // 2]
    column = [statistics.fmean(r[i] / scale for r in calm) for i in range(n + 7)]
    empty = column[n + 1]
    token = column[0] - empty
    costs = [c - empty for c in column[1 : n + 1]]
    loop, sampler, decode, again = (c - empty for c in column[n + 2 : n + 6])
    # The generator without steps, less what it does besides: one step, sampling and decoding.
    generator = column[n + 6] - empty - costs[0] - loop / n - sampler - again
    parts = {
        "interpreter's loop": loop, "sampler": sampler, "tokenizer": decode,
        "generator": generator,
    }  # fmt: skip
    left = token - sum(costs) - sum(parts.values())
    steps = [
        {"step": k.title, "op": k.op, "layer": k.layer, "work": k.work, "cost": _round(c)}
        for k, c in zip(named, costs, strict=True)
    ]
    return {
        "unit": unit, "position": position, "token": _round(token), "steps": steps,
        "python": {name: _round(v) for name, v in parts.items()}, "residue": _round(left),
        "probe": _round(empty),
    }  # fmt: skip


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
    """The whole token, the dearest first where by kind: the steps, the Python, the residue."""
    out = grouped(profile, by)
    if by == "step":
        out.sort(key=lambda row: -row["cost"])
    for name, cost in profile["python"].items():
        out.append({"name": name, "calls": 1, "cost": cost, "work": 0})
    out.append({"name": "not accounted for", "calls": 0, "cost": profile["residue"], "work": 0})
    return out


def profile_table(profile: dict[str, Any]) -> str:
    """The profile as text: by kind of step and by layer, both adding up to the token."""
    unit, token = profile["unit"], profile["token"]
    fine, factor = {"us": ("ns", 1000)}.get(unit, (unit, 1))
    lines = [f"one token at position {profile['position']}: {token:,} {unit}"]
    for by in ("step", "layer"):
        each = f"{fine}/MAC" if by == "step" else ""
        lines.append(f"{'by ' + by:28}{'calls':>6}{unit:>13}{'share':>8}{each:>12}")
        for row in rows(profile, by):
            calls = str(row["calls"] or "")
            per = each and row["work"] and f"{factor * row['cost'] / row['work']:.2f}"
            lines.append(
                f"{row['name']:28}{calls:>6}{number(row['cost']):>13}"
                f"{row['cost'] / token:>8.1%}{per or '':>12}".rstrip()
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
    path: str | Path, where: str, series: Mapping[str, Sequence[float]], profile: dict[str, Any]
) -> None:
    """A picture of a model on a board: tokens/s against position, and the profile of a token.

    series: microseconds of each token, by the name of what ran.
    """
    figure, (top, bottom) = _figure((1, 1.35))
    for name, us in series.items():
        # A token that met the garbage collector would be a spike: the median of nine.
        calm = [statistics.median(us[max(0, i - 4) : i + 5]) for i in range(len(us))]
        top.plot(range(len(us)), [1e6 / t for t in calm], label=name)
    top.set_ylim(bottom=0)
    top.set_xlim(left=0)
    top.set_xlabel("position")
    top.set_ylabel("tokens a second")
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
    bottom.bar_label(bars, [f"{number(c)}  {c / profile['token']:.1%}" for c in costs],
                     padding=3, fontsize=9)  # fmt: skip
    bottom.invert_yaxis()
    bottom.set_xlim(right=1.25 * max(costs))
    bottom.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    unit = {"us": "microseconds"}.get(profile["unit"], profile["unit"])
    bottom.set_xlabel(f"{unit}; orange: Python and sampler")
    bottom.set_title(
        f"one token at position {profile['position']}: {number(profile['token'])} {unit}",
        loc="left",
    )
    _write(figure, path)


def plot_kernels(path: str | Path, kernels: list[dict[str, Any]]) -> None:
    """A picture of bench_kernels' rows: cycles a unit of work of each kernel and family."""
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
