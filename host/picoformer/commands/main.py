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

# The modules of the commands, in the order of the help.
FAMILIES = {
    "convert": ("convert", "inspect"),
    "simulate": ("simulate", "eval"),
    "emulate": ("emulate",),
    "demo": ("demo",),
    "plan": ("plan",),
    "boards": ("ports", "boards", "deploy", "selftest"),
    "upkeep": ("update", "remove", "reset"),
    "run": ("generate", "classify", "embed", "tag", "translate", "answer"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status. A user's mistake is one line, no traceback."""
    if arguments is None:
        arguments = sys.argv[1:]
    parser = _parser(arguments[0] if arguments else "")
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return 0
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character gets its code, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        options.run(options)
        sys.stdout.flush()
    except Error as e:
        print(f"picoformer: error: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone, as `| head` does; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"picoformer: error: {e.strerror or e}", file=sys.stderr)
        return 1
    return 0


def _parser(command: str) -> argparse.ArgumentParser:
    """The arguments of a command and its family, or of all if it is none: each takes time."""
    parser = argparse.ArgumentParser(
        prog="picoformer", description="Transformers on microcontrollers with stock MicroPython."
    )
    parser.add_argument("--version", action="version", version=f"picoformer {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    families = [f for f, names in FAMILIES.items() if command in names] or FAMILIES
    for family in families:
        import_module(f".{family}", __package__).add_commands(commands)
    return parser
