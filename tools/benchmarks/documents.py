"""What README, docs/speed.md and the models' cards say of speed, from docs/speed.json.

    python -m tools.benchmarks.documents                          # write the text again
    python -m tools.benchmarks.documents --plot                   # and the pictures
    python -m tools.benchmarks.documents --measure stories260K.bin [--llama2c PATH/TO/run]
                                         [--riscv FIRMWARE.elf]
    python -m tools.benchmarks.documents --dsp FILE.json    # of tools.benchmarks.kernels --port
    python -m tools.benchmarks.documents --cores FILE.json ...    # of tools.benchmarks.cores
    python -m tools.benchmarks.documents --stream FILE.json ...   # of tools.benchmarks.stream

--measure runs the benchmarks, one after the other, and writes figures, pictures and text; --only
rp2040,stories measures some of them (there are rp2040, stories, intents, sentiment, fashion,
motions, digits, facts, english-french, unix, kernels, riscv) and keeps the other figures; riscv is
left out where no firmware is given. A test compares the text with the figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from picoformer import Error
from tools import ROOT
from tools.benchmarks import pico, unix
from tools.benchmarks.figures import save
from tools.benchmarks.plots import need_plots, plot_kernels
from tools.benchmarks.speed_page import page
from tools.benchmarks.summaries import card, readme
from tools.benchmarks.tables import CALLED, READERS, marked
from tools.command import finish

FIGURES = ROOT / "docs" / "speed.json"
PAGE = ROOT / "docs" / "speed.md"
README = ROOT / "README.md"
IMAGES = ROOT / "docs" / "images"
CONTEXT = 256

# What is measured, and how: the tool and its options. {}: the checkpoint.
PARTS = {
    "rp2040": ("pico", ["{}", "--context", str(CONTEXT), "--xip"]),
    "stories": ("pico", ["--context", str(CONTEXT)]),
    "intents": ("pico", [str(ROOT / "models/intents"), "--tokens", "16", "--xip"]),
    "sentiment": ("pico", [str(ROOT / "models/sentiment"), "--tokens", "32", "--xip"]),
    **{name: ("pico", [str(ROOT / "models" / name)]) for name in CALLED},
    "unix": ("unix", ["{}"]),
    "kernels": ("kernels", []),
    "riscv": ("riscv", ["{riscv}"]),
}


def measure(checkpoint: str, llama2c: str | None, riscv: str | None, only: list[str]) -> None:
    """Run the benchmarks and keep their figures. A part that fails keeps nothing of it."""
    figures: dict[str, Any] = figures_of(FIGURES) if FIGURES.exists() else {}
    for part in only:
        tool, options = PARTS[part]
        if tool == "riscv" and not riscv:
            continue
        command = [sys.executable, "-m", f"tools.benchmarks.{tool}", "--json"]
        given = {"{}": checkpoint, "{riscv}": riscv or ""}
        command += [given.get(option, option) for option in options]
        if tool == "unix" and llama2c:
            command += ["--llama2c", llama2c]
        print(f"{part}: {tool} ...", flush=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise Error(f"{tool} failed")
        figures[part] = json.loads(done.stdout)
        FIGURES.parent.mkdir(exist_ok=True)
        save(FIGURES, figures)


def figures_of(path: Path) -> dict[str, Any]:
    """The figures of a file that --measure wrote."""
    try:
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise Error(f"cannot read {path}: {e}; --measure writes it") from e
    return figures


def named(result: dict[str, Any]) -> tuple[str, int]:
    """What there is one result of."""
    return result["title"], result["weight_bits"]


def pictures(figures: dict[str, Any]) -> None:
    """Draw docs/images from the figures."""
    need_plots()
    IMAGES.mkdir(parents=True, exist_ok=True)
    pico.plot(figures["rp2040"], str(IMAGES / "speed-rp2040.png"))
    unix.plot(figures["unix"], str(IMAGES / "speed-unix.png"))
    plot_kernels(IMAGES / "speed-kernels.png", figures["kernels"]["kernels"])


def rendered(figures: dict[str, Any]) -> dict[Path, str]:
    """The files that depend on the figures, with what they should contain."""
    out = {README: marked(README, "speed", readme(figures)), PAGE: page(figures)}
    for name in ("stories", *READERS, *CALLED):
        if name in figures:
            path = ROOT / "models" / name / "README.md"
            out[path] = marked(path, "speed", card(name, figures))
    return out


def stale() -> list[Path]:
    """The files that are not what the figures say."""
    files = rendered(figures_of(FIGURES))
    return [p for p, s in files.items() if not p.exists() or p.read_text(encoding="utf-8") != s]


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--measure", metavar="CHECKPOINT", help="run the benchmarks first")
    parser.add_argument("--llama2c", metavar="RUN", help="llama2.c's program, to compare")
    parser.add_argument("--riscv", metavar="FIRMWARE.elf", help="MicroPython for VIRT_RV32")
    parser.add_argument("--only", default=",".join(PARTS), help="of " + ",".join(PARTS))
    parser.add_argument("--plot", action="store_true", help="draw the pictures again")
    parser.add_argument("--dsp", metavar="FILE.json", type=Path,
                        help="kernels on a board with DSP instructions")  # fmt: skip
    parser.add_argument("--cores", metavar="FILE.json", type=Path, nargs="+", default=[],
                        help="one core and both, on boards")  # fmt: skip
    parser.add_argument("--stream", metavar="FILE.json", type=Path, nargs="+", default=[],
                        help="waits for flash, and the XIP stream")  # fmt: skip
    o = parser.parse_args()
    only = o.only.split(",")
    if not set(only) <= set(PARTS):
        raise Error(f"--only is {o.only}, there are {', '.join(PARTS)}")
    if o.measure or o.plot:
        need_plots()
    if o.measure:
        measure(o.measure, o.llama2c, o.riscv, only)
    figures = figures_of(FIGURES)
    if o.dsp:
        figures["dsp"] = figures_of(o.dsp)
        save(FIGURES, figures)
    for path in o.cores:
        new = figures_of(path)
        kept = [r for r in figures.get("cores", []) if named(r) != named(new)]
        figures["cores"] = [*kept, new]
        save(FIGURES, figures)
    for path in o.stream:
        new = figures_of(path)
        kept = [r for r in figures.get("stream", []) if r["weight_bits"] != new["weight_bits"]]
        figures["stream"] = [*kept, new]
        save(FIGURES, figures)
    if o.measure or o.plot:
        pictures(figures)
    for path, text in rendered(figures).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(finish("documents", run))
