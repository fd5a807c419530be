"""The texts that a command reads: the one that was given, or line by line what comes in."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..errors import Error
from .arguments import warned

T = TypeVar("T")
LINES = " (default: each line of standard input, typed or piped)"


def typed() -> Iterator[str]:
    """What a person types, line by line until Ctrl-D; blank lines are passed over."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - lines can be edited
    while True:
        try:
            line = input("> ")
        except EOFError:
            print()
            return
        if line.strip():
            yield line


def lines(o: argparse.Namespace) -> str:
    """ "typed" or "piped", where one text comes after the other; else nothing."""
    found: str = getattr(o, "lines", "")
    return found


def each_text(
    o: argparse.Namespace, given: Any, run: Callable[[Any], T], missing: str
) -> list[T]:  # fmt: skip
    """Run what was given; if that is nothing, each line of standard input. What run returned.

    missing: what to give, in words. An error ends lines that are piped. Raises Error.
    """
    if given is not None:
        return [run(given)]
    typing = not o.json and sys.stdin is not None and sys.stdin.isatty()
    o.lines = "typed" if typing else "piped"
    known, out = warned(o), []
    for number, line in enumerate(typed() if typing else _lines(missing), 1):
        o.warnings = known
        try:
            out.append(run(line))
        except Error as e:
            if not typing:
                raise Error(f"text {number}, {line[:40]!r}: {e}") from e
            print(f"picoformer: error: {e}", file=sys.stderr)
        sys.stdout.flush()  # whoever reads it need not wait for the last
    return out


def _lines(missing: str) -> Iterator[str]:
    """Lines of standard input but blank ones. Raises Error if there is none."""
    line = ""
    try:
        for line in sys.stdin or ():
            if line.strip():
                yield line.rstrip("\r\n")
    except UnicodeDecodeError as e:
        raise Error(f"standard input is no UTF-8 text: {e}") from e
    if not line:
        raise Error(f"give {missing}, or texts on standard input, a line each")
