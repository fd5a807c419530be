"""The blocks of README and the guides do what they say, on an emulated board."""

from __future__ import annotations

import re
import shlex

import pytest

import models
from picoformer.commands.main import parser_of
from shell import clone, commands, missing_line, plain, runs, walk
from tools.markdown import Page
from tools.pages import READ_FIRST, all_pages
from walkdata import DATA

FAST = {"README.md", "docs/first-board.md"}  # in every run of the tests

LANGUAGES = {"sh", "text", "python", "json", "yaml", "toml", "csv", "html", "javascript"}


@pytest.mark.parametrize(
    "path", [p if p in FAST else pytest.param(p, marks=pytest.mark.slow) for p in READ_FIRST]
)
def test_a_page(path, tmp_path, monkeypatch):
    page = Page(path)
    if not any(runs(block) for block in page.blocks()):
        pytest.skip("nothing to run on this page")
    reason = models.no_board()
    if reason:
        pytest.skip(reason)
    for make in DATA.get(path, ()):
        make(tmp_path)
    with clone(tmp_path, monkeypatch) as shell:
        walk(page, shell)


@pytest.mark.parametrize("path", READ_FIRST)
def test_blocks_say_what_they_are(path):
    page = Page(path)
    for block in page.blocks():
        where = f"{path}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: a fence without a language"
        assert block.words[1:] in ((), ("notest",)), f"{where}: {block.words}"
        if block.language == "python":
            compile(block.code, where, "exec")
        if block.words == ("sh",):
            assert commands(block.code), where
            assert "PORT" not in block.code.replace("PICOFORMER_PORT", ""), where
    assert not [t for t in page.tokens if t.type == "code_block"], f"{path}: code by four spaces"


def test_more_is_run_than_not():
    blocks = [b for path in READ_FIRST for b in Page(path).blocks() if b.language == "sh"]
    assert sum(map(runs, blocks)) > len(blocks) / 2


@pytest.mark.parametrize("path", all_pages())
def test_commands_are_commands(path):
    """Those of blocks that are not run as well: each is taken, options and all."""
    for block in Page(path).blocks():
        if block.language != "sh":
            continue
        code = block.code.replace("\\\n", " ")
        if "[--" in code:  # what may be left out
            code = re.sub(r"\bN\b", "1", re.sub(r"[][|]", " ", code))
        for line in code.splitlines():
            words = shlex.split(line, comments=True)
            for part in re.split(" '(?:&&|[|])' ", " ".join(map(shlex.quote, words))):
                name, *given = shlex.split(part) or [""]
                if name == "picoformer" and given[:1] not in (["--help"], ["--version"]):
                    options, unknown = parser_of(given[0]).parse_known_args(given)
                    assert not unknown, f"{path}:{block.line}: {line}"


@pytest.mark.parametrize(
    ("block", "found"),
    [
        ("a\nb  # said\n", ["a", "b  # said"]),
        ("a \\\n  b\n# alone\n\nc\n", ["a \\\n  b", "c"]),
        ("cat > f <<'E'\nx\n\nE\nb\n", ["cat > f <<'E'\nx\n\nE", "b"]),
        ('say "\ntwo\n"\n', ['say "\ntwo\n"']),
    ],
)
def test_commands_of_a_block(block, found):
    assert commands(block) == found


@pytest.mark.parametrize(
    ("shown", "printed", "gone"),
    [
        ("one\nthree\n", "one\ntwo\nthree\n", None),
        ("three\none\n", "one\nthree\n", "one"),
        ("a ... d\n...\nf\n", "a b c d\ne\nf", None),
        ("a ... f\n", "a b c d\n", "a ... f"),
        ("2.5 s, 300 tokens a second", "9 s, 1,200 tokens a second", None),
        ("2,065,888 bytes free", "2,065,760 bytes free", None),
        ("275,972 bytes", "275,973 bytes", "275,972 bytes"),
        ("it is on /dev/pts/2", "it is on /dev/pts/17", None),
        ("size   4 KB", "size 5 KB", "size   4 KB"),
        ("a line that\nis wrapped", "a line that is wrapped\n", None),
    ],
)
def test_what_is_shown_is_what_is_printed(shown, printed, gone):
    assert missing_line(shown, printed) == gone


def test_times_differ():
    assert plain("took 1.25 s\n5 steps") == "took N s 5 steps"


def test_a_page_that_says_what_is_printed(tmp_path):
    page = Page("a.md", "```sh\ncd .  # -> said\necho  # -> o...e\n```\n\n```text\nsaid\n```\n")

    class Echo:
        def run(self, line):
            return 0, line.partition("#")[0] + "said\none\n"

    walk(page, Echo())
    page = Page("a.md", "```sh\ncd .  # -> Said\n```\n")
    with pytest.raises(AssertionError, match="a.md:2: not printed: Said"):
        walk(page, Echo())


def test_the_shell(tmp_path, monkeypatch):
    reason = models.no_board()
    if reason:
        pytest.skip(reason)
    with clone(tmp_path, monkeypatch) as shell:
        assert shell.run("export NAME=x; cd docs") == (0, "")
        assert shell.run("echo $NAME; cat; false") == (1, "x\n")
        assert shell.run("cd ..; . .venv/bin/activate; pip install numpy")[0] == 0
        assert shell.run("pip install no-such-thing")[0] == 77
        assert shell.run("pip install '.[emulator]'")[0] == 0
        status, said = shell.run("picoformer boards --port emulator")
        assert status == 0 and "MicroPython" in said and "model    none" in said
