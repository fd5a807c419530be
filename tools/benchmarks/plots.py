"""Pictures of the benchmarks' results."""

from __future__ import annotations

import importlib
import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from picoformer import Error
from tools.benchmarks.figures import number
from tools.benchmarks.profile import rows, title

PICTURE = (8.0, 7.0)  # inches, at 80 dots each


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
    axis.set_ylim(len(kernels), -1.6)  # above the bars: the legend
    figure.set_size_inches(8, 0.36 * len(kernels) + 1.5)
    axis.set_xscale("log")
    axis.set_xlim(1, 4 * most)
    axis.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    axis.set_xlabel("cycles a multiply-accumulate, an element or a logit; RP2040")
    axis.legend(frameon=False, loc="upper right", ncols=len(families))
    _write(figure, path)
