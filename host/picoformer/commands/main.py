"""The `picoformer` command."""

from __future__ import annotations

import os

# The matrices are too small to share among threads; several make it three times slower. Numpy
# reads this when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse  # noqa: E402
import io
import sys
from importlib import import_module

from ..errors import Error
from ..version import __version__
from .arguments import Parser, UsageError, nearest
from .printing import show_json

# The modules of the commands, in the order of the help.
FAMILIES = {
    "train": ("train",),
    "convert": ("convert", "inspect"),
    "simulate": ("simulate", "eval"),
    "emulate": ("emulate",),
    "demo": ("demo",),
    "plan": ("plan",),
    "boards": ("ports", "boards", "deploy", "selftest"),
    "upkeep": ("update", "remove", "reset"),
    "romfs": ("romfs",),
    "firmware": ("firmware",),
    "page": ("page",),
    "run": ("generate", "classify", "embed", "predict", "tag", "translate", "answer"),
    "listen": ("listen",),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status. A user's mistake is one line, no traceback.

    With --json what comes of it is one JSON object on standard output, a mistake as well.
    """
    if arguments is None:
        arguments = sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character gets its code, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except Error as e:
        return _failed(e, "--json" in arguments)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command may be given again", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone, as `| head` does; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"picoformer: error: {e.strerror or e}", file=sys.stderr)
        return 1
    return status


def _run(arguments: list[str]) -> int:
    name = next((a for a in arguments if not a.startswith("-")), "")
    known = [name for names in FAMILIES.values() for name in names]
    if name and name not in known:
        near = nearest(name, known)
        mean = f"did you mean {near}? " if near else ""
        raise UsageError(f"there is no command {name!r}: {mean}`picoformer --help` lists them")
    parser = parser_of(name)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        getattr(options, "parser", parser).refuse(unknown)
    if not hasattr(options, "run"):
        parser.print_help()
        return 0
    if hasattr(options, "check"):
        options.check(options, arguments)
    return int(options.run(options) or 0)


def _failed(e: Error, json: bool) -> int:
    """Say what went wrong; the exit status."""
    usage = isinstance(e, UsageError)
    text, _, more = str(e).partition("\n") if usage else (str(e), "", "")
    if json:
        show_json({"error": text, "kind": type(e).__name__})
    else:
        print(*[more] * bool(more), f"picoformer: error: {text}", sep="\n", file=sys.stderr)
    return 2 if usage else 1


class _Help(argparse.HelpFormatter):
    """A line for each command."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 13  # of the longest name, as deep as it stands


def parser_of(command: str) -> Parser:
    """The arguments of a command and its family, or of all if it is none: each takes time."""
    parser = Parser(
        prog="picoformer",
        description="Transformers on microcontrollers with stock MicroPython.",
        epilog="Start with `picoformer demo`. `picoformer COMMAND --help` has examples.",
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"picoformer {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    families = [f for f, names in FAMILIES.items() if command in names] or FAMILIES
    for family in families:
        import_module(f".{family}", __package__).add_commands(commands)
    return parser
