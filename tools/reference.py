"""The reference of docs/commands.md, from the parsers of the commands themselves.

    python -m tools.reference           # write it again

What stands in front of the mark on the page is written by hand; a test compares the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from picoformer import Error
from picoformer.commands.main import FAMILIES, parser_of
from tools import ROOT
from tools.command import finish

PAGE = ROOT / "docs" / "commands.md"
MARK = "<!-- python -m tools.reference writes what follows -->\n"
# The commands by what a reader wants to do.
JOBS = {
    "Try it without a board": ("demo", "page", "emulate"),
    "Make a model": ("train", "convert", "inspect", "simulate", "eval", "plan"),
    "Look after your board": (
        "ports", "boards", "deploy", "update", "remove", "reset", "selftest", "firmware",
        "romfs",
    ),
    "Run a model on your board": (
        "generate", "classify", "tag", "translate", "answer", "embed", "predict", "listen",
    ),
}  # fmt: skip
# Pages that say more.
MORE = {
    "train": ("train.md",),
    "convert": ("convert.md", "memory.md"),
    "eval": ("convert.md",),
    "emulate": ("boards.md",),
    "plan": ("memory.md",),
    "deploy": ("streaming.md",),
    "firmware": ("product.md",),
    "romfs": ("board.md",),
    "page": ("page.md",),
    "predict": ("signals.md",),
    "listen": ("sound.md",),
}
COMMON = {"help", "quiet", "json"}  # said once, in front of the mark


def commands() -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Each command's help in the list, and its parser, by its name."""
    listed = next(
        a for a in parser_of("")._actions if isinstance(a, argparse._SubParsersAction)
    )
    helps = {a.dest: a.help or "" for a in listed._choices_actions}
    return {name: (helps[name], parser) for name, parser in listed.choices.items()}


def examples(parser: argparse.ArgumentParser) -> list[str]:
    """The command lines at the end of a command's help."""
    return [line.strip() for line in (parser.epilog or "").splitlines()[1:]]


def _metavar(a: argparse.Action) -> str:
    if a.choices and not a.metavar:
        return "{" + ",".join(map(str, a.choices)) + "}"
    return str(a.metavar) if a.nargs != 0 else ""


def _row(a: argparse.Action) -> str:
    value = _metavar(a)
    if a.nargs == "?" and a.option_strings:
        value = f"[{value}]"
    names = [f"`{name} {value}`".replace(" `", "`") for name in a.option_strings] or [f"`{value}`"]
    said = str(a.help).replace("|", r"\|")
    return f"| {', '.join(names)} | {said} |"


def _usage(name: str, parser: argparse.ArgumentParser) -> str:
    words = ["picoformer", name]
    needed = [a for a in parser._actions if a.option_strings and a.required]
    words += [f"{a.option_strings[0]} {_metavar(a)}" for a in needed]
    words.append("[OPTIONS]")
    for a in parser._actions:
        if a.option_strings:
            continue
        value = _metavar(a)
        many = " ..." if a.nargs in ("*", "+") else ""
        words.append(f"[{value}{many}]" if a.nargs in ("?", "*") else f"{value}{many}")
    return " ".join(words)


def _section(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    first, _, rest = (parser.description or "").partition("\n")
    yield f"### {name}\n\n{first}\n"
    blocks = [block.strip("\n") for block in rest.split("\n\n") if block.strip()]
    for block in blocks:
        yield f"```text\n{block}\n```\n" if "\n  " in block else f"{block}\n"
    yield f"```text\n{_usage(name, parser)}\n```\n"
    rows = [_row(a) for a in parser._actions if a.dest not in COMMON]
    if rows:
        yield "\n".join(["| argument or option | what it does |", "|---|---|", *rows, ""])
    yield "```sh\n" + "\n".join(examples(parser)) + "\n```\n"
    if name in MORE:
        yield "More: " + ", ".join(f"[{page}]({page})" for page in MORE[name]) + ".\n"


def reference() -> str:
    """What stands behind the mark. Raises Error for a command that has no job."""
    known = commands()
    listed = [name for names in JOBS.values() for name in names]
    if sorted(listed) != sorted(name for names in FAMILIES.values() for name in names):
        raise Error("JOBS of tools/reference.py do not have each command once")
    parts = ["\n## By what you want to do\n"]
    for job, names in JOBS.items():
        rows = [f"| **{job}** | |", "|---|---|"]
        rows += [f"| [`{name}`](#{name}) | {known[name][0]} |" for name in names]
        parts.append("\n".join([*rows, ""]))
    for job, names in JOBS.items():
        parts.append(f"## {job}\n")
        for name in names:
            parts += _section(name, known[name][1])
    return "\n".join(parts)


def page() -> str:
    """The page with its reference written again. Raises Error."""
    before, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise Error(f"{PAGE} lacks its mark: {MARK.strip()}")
    return before + mark + reference()


def run() -> None:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    finish("reference", run)
