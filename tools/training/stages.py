"""The command line of a training tool: its stages, and the options that all tools have."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from picoformer.errors import Error

if TYPE_CHECKING:
    import torch

Stages = dict[str, Callable[[argparse.Namespace], None]]


PARTS = ("validation", "test")


def add_options(
    parser: argparse.ArgumentParser, stages: list[str], out: Path | None,
    parts: tuple[str, ...] = PARTS,
) -> None:  # fmt: skip
    """The stage, and the options that all tools have; out None: models/TASK."""
    parser.add_argument("stage", choices=[*stages, "all"])
    parser.add_argument("--work", type=Path, default=Path("~/.cache/picoformer/train"))
    parser.add_argument("--out", type=Path, default=out, help="default: models/TASK")
    parser.add_argument("--run", default="small", help="train, export: name of the checkpoint")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--part", choices=parts, default="test")


def run_stages(args: argparse.Namespace, name: str, stages: Stages, apart: Stages) -> None:
    """Run the stage, or with "all" every one but those that stand apart, in order."""
    args.work = args.work.expanduser() / name
    if importlib.util.find_spec("torch"):  # `heldout` of some needs none
        importlib.import_module("torch").set_num_threads(args.threads)
    try:
        for stage in stages if args.stage == "all" else [args.stage]:
            (stages | apart)[stage](args)
    except Error as e:
        raise SystemExit(str(e)) from None


def checkpoint(args: argparse.Namespace) -> Path:
    """The file of the run that --run names."""
    path: Path = args.work / f"{args.run}.pt"
    return path


def trained(checkpoint: Path, stage: str) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint whose training is complete."""
    import torch

    if checkpoint.exists():
        saved = torch.load(checkpoint)
        if saved["optimizer"] is None:
            weights: dict[str, torch.Tensor] = saved.get("average", saved["model"])
            return weights
    raise SystemExit(f"{checkpoint} is not complete: run `{stage}` first")
