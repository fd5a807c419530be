"""The arguments that several commands share."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from ..errors import Error

PORT = (
    "the board's port: one that `picoformer ports` lists, a pyserial URL, or emulator, "
    "emulator:pico, emulator:pico2, emulator:esp32 (default: PICOFORMER_PORT, else the only "
    "connected board)"
)
CONFIG = "JSON description of a PyTorch or Keras file (default: NAME.json beside it)"
QUIET = "print no warnings, progress bars or next steps"
MODEL = "model file, made by `picoformer convert`"


class UsageError(Error):
    """The command line is not one; the exit status is 2."""


class Parser(argparse.ArgumentParser):
    """Raises UsageError, with the usage of the command that was meant."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")

    def refuse(self, unknown: list[str]) -> NoReturn:
        """Raise UsageError for arguments that there are not, with the near ones that there are."""
        options = [s for a in self._actions for s in a.option_strings]
        said = []
        for given in unknown:
            near = given.startswith("-") and nearest(given.partition("=")[0], options)
            said.append(f"{given} (did you mean {near}?)" if near else given)
        self.error(f"unrecognized arguments: {' '.join(said)}")


def nearest(name: str, names: Iterable[str]) -> str:
    """Those of the names that are like one that there is not, in words; empty if none is."""
    found = get_close_matches(name, list(names), 2, 0.6)
    like = [SequenceMatcher(None, name, other).ratio() for other in found]
    return " or ".join(n for n, r in zip(found, like, strict=True) if r > like[0] - 0.08)


def command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str,
    *examples: str,
) -> argparse.ArgumentParser:  # fmt: skip
    """Add a command to the subparsers of `picoformer`; what it does is its help, too.

    examples: command lines for its help. run returns the exit status, or nothing for 0.
    """
    shown = "\n".join(f"  picoformer {name} {e}".rstrip() for e in examples)
    p: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example{'s'[: len(examples) > 1]}:\n{shown}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("-q", "--quiet", action="store_true", help=QUIET)
    p.set_defaults(run=run, parser=p)
    return p


def warn(o: argparse.Namespace, text: str) -> None:
    """Say what may be wrong, in a line on standard error, and keep it for JSON."""
    if not text:
        return
    o.warnings = [*warned(o), text]
    if not o.quiet:
        print(f"warning: {text}", file=sys.stderr)


def warned(o: argparse.Namespace) -> list[str]:
    """What was said to be wrong."""
    found: list[str] = getattr(o, "warnings", [])
    return found


def then(o: argparse.Namespace, *steps: str) -> None:
    """Say what comes next: command lines, or what to do, on standard error."""
    if o.quiet or getattr(o, "json", False):
        return
    sys.stdout.flush()  # what it comes after
    activate = Path(sys.argv[0]).with_name("activate")  # of an environment that is not active
    if not shutil.which("picoformer") and activate.is_file():
        steps = (f". {shlex.quote(os.path.relpath(activate))}", *steps)
    for i, step in enumerate(steps):
        print(f"{'next' if not i else '':6} {step}", file=sys.stderr)


def add_positions(
    p: argparse.ArgumentParser, default: str = "the file's", old: bool = False
) -> None:
    """Add --positions; old: by the name --context as well, which it had."""
    names = ("--positions", "--context") if old else ("--positions",)
    text = f"context length in tokens; a shorter one needs less memory (default: {default})"
    p.add_argument(*names, dest="positions", type=int, metavar="N", help=text)


def add_json(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="print one JSON object, for scripts")


def add_model(p: argparse.ArgumentParser) -> None:
    p.add_argument("model", metavar="MODEL.pft", help=MODEL)
    p.set_defaults(check=_check_model)


def add_file(p: argparse.ArgumentParser) -> None:
    """Add a model file that may be left out, for a model on a board; in `file`."""
    p.add_argument(
        "file", metavar="MODEL.pft", nargs="?",
        help=f"{MODEL}; it then runs on this PC (default: run a model on the board)",
    )  # fmt: skip
    p.set_defaults(check=_check_file)


def add_models(
    p: argparse.ArgumentParser,
    nargs: str = "+",
    text: str = "model files, made by `picoformer convert`",
) -> None:
    p.add_argument("models", metavar="MODEL.pft", nargs=nargs, help=text)
    p.set_defaults(check=_check_models)


def _check_models(o: argparse.Namespace, typed: list[str]) -> None:
    for model in o.models:
        _check_model(argparse.Namespace(model=model), typed)


def _check_file(o: argparse.Namespace, typed: list[str]) -> None:
    if o.file is not None:
        _check_model(argparse.Namespace(model=o.file), typed)


def _check_model(o: argparse.Namespace, typed: list[str]) -> None:
    """Raises Error for a MODEL.pft that is a checkpoint, or not there, with what was meant."""
    path = Path(o.model)
    if path.is_file() and path.suffix == ".pft":
        return
    from ..importers import SUFFIXES

    if path.is_file() and path.suffix in SUFFIXES and (path.parent / "config.json").is_file():
        raise Error(
            f"{path} is a part of the checkpoint {path.parent}; convert that first: picoformer "
            f"convert {shlex.quote(str(path.parent))} -o MODEL.pft"
        )
    if path.is_dir() or path.is_file() and path.suffix in SUFFIXES:
        found = path.resolve()
        made = (found.name if path.is_dir() else found.stem) + ".pft"
        again = shlex.join(made if word == o.model else word for word in typed)
        raise Error(
            f"{path} is a checkpoint, not a model file; convert it first: picoformer convert "
            f"{shlex.quote(o.model)} -o {shlex.quote(made)} && picoformer {again}"
        )
    if not path.exists():
        near = nearest(path.stem, (p.stem for p in path.parent.glob("*.pft")))
        mean = f"; did you mean {near.replace(' or ', '.pft or ')}.pft?" if near else ""
        raise Error(f"cannot read model file {path}: there is none{mean}")


def add_config(p: argparse.ArgumentParser, beside: str) -> None:
    """Add what a checkpoint may need besides; beside: what its files are looked for beside."""
    p.add_argument(
        "--tokenizer", metavar="FILE",
        help=f"file of the tokenizer, if it is not beside the {beside}",
    )  # fmt: skip
    p.add_argument("--config", metavar="FILE", help=CONFIG)


def add_port(p: argparse.ArgumentParser) -> None:
    p.add_argument("--port", metavar="PORT", help=PORT)


def add_place(p: argparse.ArgumentParser) -> None:
    """Add where a model is and how it is loaded, for everything that runs one on a board."""
    add_port(p)
    p.add_argument(
        "--model", metavar="NAME", help="model to run (default: the only one on the board)"
    )
    add_positions(p)
    p.add_argument(
        "--cores", type=int, choices=(1, 2), default=1,
        help="processor cores to use; 2 is both of a Pico or a Pico 2 (default: 1)",
    )  # fmt: skip
    p.add_argument(
        "--weights", metavar="MODEL.pft",
        help="file of the model, if it was deployed with --weights host",
    )  # fmt: skip


def add_sampling(p: argparse.ArgumentParser, prompt: str = "text to continue") -> None:
    """Add the options of everything that writes text; prompt: the help of --prompt."""
    p.add_argument("--prompt", default="", metavar="TEXT", help=prompt)
    p.add_argument(
        "-n", type=int, metavar="N",
        help="write at most N tokens (default: until the context is full)",
    )  # fmt: skip
    p.add_argument(
        "--temperature", type=float, default=0.0, metavar="T",
        help="0 always takes the likeliest token (default); 0.5 to 1 makes the text more varied",
    )  # fmt: skip
    p.add_argument(
        "--top-p", type=float, default=1.0, metavar="P",
        help="with --temperature: draw only from the likeliest tokens whose probabilities add up "
        "to P (default: 1, all of them)",
    )  # fmt: skip
    p.add_argument(
        "--seed", type=int, default=1, metavar="N",
        help="with --temperature: the same seed gives the same text (default: 1)",
    )  # fmt: skip
    p.add_argument(
        "--stop", action="append", metavar="TEXT",
        help="stop before this text appears; may be given several times",
    )  # fmt: skip


def add_beams(p: argparse.ArgumentParser) -> None:
    """Add the options of everything that translates."""
    p.add_argument(
        "--beams", type=int, default=1, metavar="N",
        help="beam search: follow N texts at once and print the best, 1 to 8 (default: 1)",
    )  # fmt: skip
    p.add_argument(
        "--length-penalty", type=float, default=1.0, metavar="P",
        help="with --beams: 0 prefers short texts, larger values prefer longer ones (default: 1)",
    )  # fmt: skip


def check_n(n: int | None) -> None:
    """Raises Error for a number of tokens that is none."""
    if n is not None and n < 1:
        raise Error(f"-n is {n}, expected at least 1 token")
