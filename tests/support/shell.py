"""The blocks of a page, run as a reader runs them: one shell, one folder, one emulated board.

The folder holds what a clone has after `make setup`, as links, and a `.venv` whose `picoformer`
is the one that is tested. There `train` counts steps, not minutes, and `pip install` installs
nothing: where something is missing, the rest of the page is skipped.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import models
from picoformer.boards.emulated.flash import announced
from picoformer.boards.emulated.unix import UnixBoard
from tools.markdown import Block, Page
from walkdata import SAYS

CLONE = ("device", "docs", "host", "models", "package.json", "tools", "web")
LIMIT = 300  # seconds that a line may take
MISSING = 77  # a line's exit status where an extra is not installed
END = "\x1e"
PC = re.compile(r"^from picoformer import .*\b(Board|Simulator|convert|evaluate)\b", re.M)

PICOFORMER = """
import contextlib, sys
words = sys.argv[1:]
steps = contextlib.nullcontext()
if words[:1] == ["train"]:
    from trainingdata import steps_for_seconds
    from walkdata import STEPS
    steps = steps_for_seconds()
    if "--minutes" in words:
        words[words.index("--minutes") + 1] = STEPS
    else:
        words += ["--minutes", STEPS]
from picoformer.commands.main import main
with steps:
    sys.exit(main(words))
"""

PIP = """
import re, sys
from importlib import metadata
def missing(name):
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return True
wanted = []
for word in sys.argv[2:]:
    extras = re.fullmatch(r"(?:-e|\\\\.|picoformer)\\\\[(.*)\\\\]", word)
    if extras:
        for one in metadata.requires("picoformer"):
            if any(f'extra == "{e.strip()}"' in one for e in extras[1].split(",")):
                wanted.append(re.match(r"[\\\\w.-]+", one)[0])
    elif not word.startswith(("-", ".")):
        wanted.append(word)
gone = [one for one in wanted if missing(one)]
print(" ".join(gone) + " is missing" if gone else "all of it is installed")
sys.exit(MISSING if gone else 0)
""".replace("\\\\", "\\").replace("MISSING", str(MISSING))


class Shell:
    """A shell in a folder; `run` gives it a command and returns its status and what it printed."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._bash = subprocess.Popen(
            ["bash", "--norc", "-o", "pipefail"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        # A command of its own group takes no line of those that follow.
        text = f"{{\n{command}\n}} </dev/null\nprintf '{END}%d{END}\\n' $?\n"
        assert self._bash.stdin and self._bash.stdout
        with timeout(self, command):
            self._bash.stdin.write(text.encode())
            self._bash.stdin.flush()
            said = b""
            while not (end := re.search(f"{END}(\\d+){END}\n".encode(), said)):
                more = os.read(self._bash.stdout.fileno(), 65536)
                assert more, f"the shell is gone after {command!r}: {said.decode()}"
                said += more
        return int(end[1]), said[: end.start()].decode()

    def close(self) -> None:
        """End it, and whatever it left running."""
        with suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)
        for pipe in (self._bash.stdin, self._bash.stdout):
            assert pipe
            pipe.close()
        self._bash.wait()


@contextmanager
def timeout(shell: Shell, command: str) -> Iterator[None]:
    late = threading.Event()

    def stop() -> None:
        late.set()
        os.killpg(shell._bash.pid, signal.SIGKILL)

    timer = threading.Timer(LIMIT, stop)
    timer.start()
    try:
        yield
    except AssertionError:
        assert not late.is_set(), f"{command!r} takes more than {LIMIT} s"
        raise
    finally:
        timer.cancel()


@contextmanager
def clone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell in what looks like a clone, with an emulated board that is `emulator` to it."""
    for name in CLONE:
        (folder / name).symlink_to(models.ROOT / name)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f"PATH='{programs}':$PATH\n")
    for name, source in (("picoformer", PICOFORMER), ("pip", PIP)):
        (programs / name).write_text(f"#!{sys.executable}\n{source}")
        (programs / name).chmod(0o755)
    for name in ("python", "python3"):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (programs / name).chmod(0o755)
    cache = folder / ".cache"
    support = [str(models.ROOT / "tests" / "support"), str(models.ROOT)]
    environment = {
        **os.environ,
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": os.pathsep.join([*support, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "100",
    }
    environment.pop("PICOFORMER_PORT", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    with UnixBoard() as board, announced(board.folder, board.port):
        shell = Shell(folder, environment)
        try:
            shell.run(". .venv/bin/activate")
            yield shell
        finally:
            shell.close()


def commands(block: str) -> list[str]:
    """The commands of a block: its lines, joined where one goes on in the next."""
    found: list[str] = []
    waiting = ""
    for line in block.splitlines():
        waiting += line + "\n"
        checked = subprocess.run(["bash", "-n"], input=waiting, capture_output=True, text=True)
        if line.endswith("\\") or checked.returncode or checked.stderr:
            continue
        if any(re.match(r"\s*[^\s#]", one) for one in waiting.splitlines()):
            found.append(waiting.rstrip("\n"))
        waiting = ""
    assert not waiting, f"a command that does not end: {waiting}"
    return found


TOLD = re.compile(r"\s# -> (.*)$")  # at the end of a command: what it prints

UNITS = r"s|ms|µs|seconds?|minutes?|(?:tokens |rows )?a second|(?:tokens|KB|MB)/s|bytes of heap"
TIME = re.compile(rf"\d[\d,.]*(?= ?(?:{UNITS})\b)")
FREE = re.compile(r"\b\d{1,3}(,\d{3}){2,}\b")  # a million and more: a heap or a flash
VERSION = re.compile(r"\b\d+\.\d+\.\d+\b")
PORT = re.compile(r"/dev/pts/\d+|socket://[\w.:]+")


def plain(text: str) -> str:
    """What is printed, but for what differs: times, what is free, versions, the port."""
    text = FREE.sub("N", TIME.sub("N", text.replace("\r", "\n")))
    text = PORT.sub("PORT", VERSION.sub("V", text))
    return " ".join(text.split())


def missing_line(shown: str, printed: str) -> str | None:
    """The first line of a block of text that is not in what was printed, in order."""
    rest = plain(printed)
    for line in shown.splitlines():
        parts = [re.escape(part) for part in map(plain, line.split("...")) if part]
        found = re.search(".*?".join(parts), rest)
        if not found:
            return line
        rest = rest[found.end() :]
    return None


def shown_after(page: Page) -> Iterator[tuple[Block, Block | None]]:
    """Each block that is run, with the block of text that shows what it prints."""
    blocks = page.blocks()
    for i, block in enumerate(blocks):
        after = blocks[i + 1] if i + 1 < len(blocks) else None
        if runs(block):
            yield block, after if after and after.words == ("text",) else None


def runs(block: Block) -> bool:
    """Whether the block is run: commands, and programs that are the PC's."""
    if block.words == ("python",):
        return bool(PC.search(block.code))
    return block.words == ("sh",)


def walk(page: Page, shell: Shell) -> None:
    """Run a page. Skips where something is not installed."""
    for block, text in shown_after(page):
        printed = ""
        if block.language == "python":
            lines = [f"python - <<'END-OF-BLOCK'\n{block.code}END-OF-BLOCK"]
        else:
            lines = commands(block.code)
        for line in lines:
            status, said = shell.run(line)
            if status == MISSING and line.startswith("pip "):
                pytest.skip(said.strip())
            if status and "is not installed: pip install 'picoformer[" in said:
                pytest.skip(said.strip())
            where = f"{page.path}:{block.line}: {line}"
            assert status == 0, f"{where}\nexits with {status}:\n{said}"
            printed += said
            if line in SAYS:
                shown(where, SAYS[line], said)
            if told := TOLD.search(line):
                shown(f"{page.path}:{block.line}", told[1], said)
        if text:
            shown(f"{page.path}:{text.line}", text.code, printed)


def shown(where: str, text: str, printed: str) -> None:
    gone = missing_line(text, printed)
    assert gone is None, f"{where}: not printed: {gone}\nbut:\n{printed}"
