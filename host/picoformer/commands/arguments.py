"""The arguments that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from ..errors import Error

PORT = "device path, pyserial URL, emulator or emulator:pico (default: the only board)"
CONFIG = "description of a PyTorch or Keras file (default: the file beside it, NAME.json)"


def command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str,
    *examples: str,
) -> argparse.ArgumentParser:  # fmt: skip
    """Add a command to the subparsers of `picoformer`; what it does is its help, too.

    examples: command lines for its help.
    """
    shown = "\n".join(f"  picoformer {name} {e}".rstrip() for e in examples)
    p: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example{'s'[: len(examples) > 1]}:\n{shown}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.set_defaults(run=run)
    return p


def then(o: argparse.Namespace, *steps: str) -> None:
    """Say what comes next: command lines, or what to do, on standard error."""
    if o.json:
        return
    for i, step in enumerate(steps):
        print(f"{'next' if not i else '':6} {step}", file=sys.stderr)


def add_json(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="print one JSON object, for scripts")


def add_model(p: argparse.ArgumentParser) -> None:
    p.add_argument("model", metavar="MODEL.pft")


def add_config(p: argparse.ArgumentParser, beside: str) -> None:
    """Add what a checkpoint may need besides; beside: what its files are looked for beside."""
    p.add_argument("--tokenizer", metavar="FILE", help=f"where it is not beside the {beside}")
    p.add_argument("--config", metavar="FILE", help=CONFIG)


def add_port(p: argparse.ArgumentParser) -> None:
    p.add_argument("--port", metavar="PORT", help=PORT)


def add_place(p: argparse.ArgumentParser) -> None:
    """Add where a model is and how it is loaded, for everything that runs one on a board."""
    add_port(p)
    p.add_argument("--model", metavar="NAME", help="default: the only one on the board")
    p.add_argument(
        "--positions", type=int, default=0, metavar="N", help="default: the file's context"
    )
    p.add_argument(
        "--weights", metavar="MODEL.pft",
        help="the file of a model that was deployed with --weights host",
    )  # fmt: skip


def add_sampling(p: argparse.ArgumentParser) -> None:
    """Add the options of everything that writes text."""
    p.add_argument("--prompt", default="", metavar="TEXT", help="text to go on from")
    p.add_argument("-n", type=int, metavar="N", help="tokens at most (to the context's end)")
    p.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0 is greedy (default)"
    )
    p.add_argument("--top-p", type=float, default=1.0, metavar="P", help="default: 1")
    p.add_argument("--seed", type=int, default=1, metavar="S", help="default: 1")
    p.add_argument(
        "--stop", action="append", metavar="TEXT",
        help="end in front of this text; may be given several times",
    )  # fmt: skip


def add_beams(p: argparse.ArgumentParser) -> None:
    """Add the options of everything that translates."""
    p.add_argument(
        "--beams", type=int, default=1, metavar="N",
        help="texts that are followed at a time, 1 (greedy, default) to 8",
    )  # fmt: skip
    p.add_argument(
        "--length-penalty", type=float, default=1.0, metavar="P",
        help="power of a text's length that its cost is divided by, with beams (default: 1)",
    )  # fmt: skip


def check_n(n: int | None) -> None:
    """Raises Error for a number of tokens that is none."""
    if n is not None and n < 1:
        raise Error(f"-n is {n}, expected at least 1 token")
