"""A firmware file with models in it: what a board would have in its flash."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest

from firmwares import ABSOLUTE, MARKS, VFS, XIP, esp, uf2
from picoformer import Board, Error, Simulator
from picoformer.boards.emulated.esp32 import ESP32_GENERIC, Esp32Board
from picoformer.boards.emulated.pico import RPI_PICO, PicoBoard
from picoformer.boards.emulated.pico2 import RPI_PICO2, Pico2Board
from picoformer.commands.main import main
from picoformer.runtime.firmware import RP2040, RP2350, RP2350_RISCV, read
from picoformer.runtime.volume import BLOCK, Volume

pytest.importorskip("littlefs", reason="the Python package littlefs-python is missing")


@pytest.fixture
def here(own, tmp_path, monkeypatch):
    """A folder with a model and a program."""
    monkeypatch.chdir(tmp_path)
    Path("intents.pft").write_bytes(own("intents").path.read_bytes())
    Path("main.py").write_text("print('begun')\n")
    return tmp_path


def flashed(data: bytes, before: bytes, size: int = 4 << 20) -> bytes:
    """The flash of a board that gets a UF2 file, as its boot ROM writes it: a block of 4,096
    bytes is erased before its first page.

    before: what its bytes were, again and again.
    """
    flash = bytearray(before * (size // len(before)))
    erased = set()
    for at in range(0, len(data), 512):
        one, two, flags, address, count, _, _, family = struct.unpack_from("<8I", data, at)
        assert (one, two) == MARKS and flags & 0x2000 and count == 256
        assert data[at + 508 : at + 512] == b"\x30\x6f\xb1\x0a"
        if family == ABSOLUTE:
            continue
        start = address - XIP
        if start // BLOCK not in erased:
            erased.add(start // BLOCK)
            first = start // BLOCK * BLOCK
            flash[first : first + BLOCK] = b"\xff" * BLOCK
        flash[start : start + 256] = data[at + 32 : at + 288]
    return bytes(flash)


@pytest.mark.parametrize(
    ("family", "core"), [(RP2040, "armv6m"), (RP2350, "armv7emsp"), (RP2350_RISCV, "rv32imc")]
)
def test_a_uf2_file(here, capsys, family, core):
    base = uf2(here / "base.uf2", family)
    argv = ["firmware", "intents.pft", "--micropython", "base.uf2", "-o", "all.uf2"]
    assert main([*argv, "--put", "main.py"]) == 0
    out, err = capsys.readouterr()
    assert "/intents.pft" in out and "MicroPython 1.26.0 for Raspberry Pi Pico2 with RP2350" in out
    assert "BOOTSEL" in err and "all.uf2" in err
    data = Path("all.uf2").read_bytes()
    blocks = [struct.unpack_from("<8I", data, at) for at in range(0, len(data), 512)]
    assert blocks[0][3] == 0x10FFFF00 and blocks[0][7] == ABSOLUTE  # as it was, and first
    ours = [b for b in blocks if b[7] == family]
    assert len(ours) == len(blocks) - 1
    assert [b[5] for b in ours] == list(range(len(ours))) and {b[6] for b in ours} == {len(ours)}
    assert [b[3] for b in ours] == sorted({b[3] for b in ours})
    # Whatever was on the board: MicroPython, and the files of the volume, are all there is.
    volume = Volume(512, 256)
    # Of the same folders in the same blocks, later.
    olds = {f"{at}/old{n}.py": b"1" * 300 for n in range(40) for at in ("", "/lib/picoformer")}
    old = volume.put(flashed(data, b"\xff")[VFS:], olds)
    for before in (b"\xff", b"\xa5", bytes(VFS) + old):
        flash = flashed(data, before)
        assert flash[:0x1900] == flashed(base.read_bytes(), b"\xff")[:0x1900]
        files = volume.read(flash[VFS:])
        assert len(files) == len([n for n in files if n.startswith("/lib/picoformer/")]) + 2
        assert files["/intents.pft"] == Path("intents.pft").read_bytes()
        assert files["/main.py"] == Path("main.py").read_bytes()
        own = "dsp" if core == "armv7emsp" else "rv32" if core == "rv32imc" else "thumb"
        assert any(n.startswith(f"/lib/picoformer/kernels_{own}.") for n in files)
        assert not any("old" in name for name in files)
    # Each block that is written is erased first, which takes a real board 50 ms and more.
    assert len({b[3] // BLOCK for b in ours}) < 120
    # What was made is firmware as well.
    assert read(data).data == read(base.read_bytes()).data
    assert main(["firmware", "intents.pft", "--micropython", "all.uf2", "-o", "next.uf2"]) == 0
    again = volume.read(flashed(Path("next.uf2").read_bytes(), b"\0")[VFS:])
    assert "/main.py" not in again and "/intents.pft" in again


@pytest.mark.parametrize("chip", [0, 9, 5])
def test_a_file_for_an_esp32(here, capsys, chip):
    base = esp(here / "base.bin", chip=chip)
    argv = ["firmware", "intents.pft", "--micropython", "base.bin", "-o", "all.bin", "--json"]
    assert main(argv) == 0
    seen = json.loads(capsys.readouterr().out)
    at = 0x1000 if chip == 0 else 0
    assert seen["offset"] == at and seen["filesystem"] == {"offset": VFS, "bytes": 2 << 20}
    assert seen["architecture"] == ("rv32imc" if chip == 5 else "xtensawin")
    data = Path("all.bin").read_bytes()
    assert data[: base.stat().st_size] == base.read_bytes()
    files = Volume(512, 32).read(data[VFS - at :])
    assert files["/intents.pft"] == Path("intents.pft").read_bytes()
    assert not any("rv32" in name for name in files)  # that port has no such assembler
    assert sum(map(len, files.values())) == seen["runtime"]["bytes"] + seen["files"][0]["bytes"]
    assert main([a for a in argv if a != "--json"]) == 0
    assert f"esptool write_flash {at:#x} all.bin" in capsys.readouterr().err


def test_a_filesystem_that_fills_the_flash(here, capsys):
    """MicroPython 1.26 and newer have no partition for it: the board makes it when it starts."""
    esp(here / "base.bin", b"v1.26.1", label=b"")
    argv = ["firmware", "intents.pft", "--micropython", "base.bin", "-o", "all.bin", "--json"]
    for mb in (4, 8):
        assert main([*argv, "--flash", str(mb)]) == 0
        seen = json.loads(capsys.readouterr().out)
        size = (mb << 20) - VFS
        assert seen["filesystem"] == {"offset": VFS, "bytes": size}
        assert seen["bytes"] == (mb << 20) - 0x1000
        files = Volume(size // BLOCK, 32).read(Path("all.bin").read_bytes()[VFS - 0x1000 :])
        assert files["/intents.pft"] == Path("intents.pft").read_bytes()


def test_what_cannot_be_made(here, capsys):
    esp(here / "base.bin")
    esp(here / "new.bin", label=b"")
    esp(here / "fat.bin", label=b"ffat")
    esp(here / "old.bin", b"v1.22.2")
    uf2(here / "fat.uf2", has=b"Board CDC\0Board MSC\0")
    uf2(here / "base.uf2")
    uf2(here / "odd.uf2", kind=6)
    esp(here / "odd.bin", chip=77)
    esp(here / "small.bin", vfs=64 << 10)
    uf2(here / "tiny.uf2", size=4096)
    esp(here / "tiny.bin", vfs=0)
    (here / "text.uf2").write_text("a text")
    (here / "empty").touch()
    (here / "b").mkdir()
    (here / "b" / "main.py").write_text("2")
    model = "intents.pft"
    for argv, said in (
        ([model, "--micropython", "none.uf2", "-o", "a.uf2"], "cannot read none.uf2: No such"),
        ([model, "--micropython", "text.uf2", "-o", "a.uf2"], "text.uf2 is no firmware: expected"),
        ([model, "--micropython", "empty", "-o", "a.uf2"], "empty is no firmware"),
        ([model, "--micropython", "odd.uf2", "-o", "a.uf2"], "odd.uf2 is no MicroPython that"),
        ([model, "--micropython", "odd.bin", "-o", "a.bin"], "odd.bin is for chip 77"),
        ([model, "--micropython", "tiny.uf2", "-o", "a.uf2"], "a filesystem of 4,096 bytes at"),
        ([model, "--micropython", "tiny.bin", "-o", "a.bin"], "a filesystem of 0 bytes at"),
        ([model, "--micropython", "small.bin", "-o", "a.bin"], "cannot store /"),
        ([model, "--micropython", "new.bin", "-o", "a.bin"], "new.bin is for an ESP32 with flash"),
        ([model, "--micropython", "new.bin", "-o", "a.bin", "--flash", "2"], "for a larger flash"),
        ([model, "--micropython", "fat.bin", "-o", "a.bin", "--flash", "4"], "a FAT filesystem"),
        ([model, "--micropython", "fat.uf2", "-o", "a.uf2"], "a FAT filesystem"),
        ([model, "--micropython", "old.bin", "-o", "a.bin"],
         "old.bin is MicroPython 1.22: 1.24 or newer is needed"),
        ([model, "--micropython", "base.uf2", "-o", "a.bin"], "it ends in .uf2"),
        ([model, "--micropython", "base.uf2", "-o", "base.uf2"], "is MicroPython's own"),
        ([model, "--micropython", "base.uf2", "-o", "no/a.uf2"], "no/a.uf2: No such file"),
        (["main.py", "--micropython", "base.uf2", "-o", "a.uf2"], "not a picoformer model"),
        ([model, "--put", "main.py", "b/main.py", "--micropython", "base.uf2", "-o", "a.uf2"],
         "two of the files are called main.py"),
        ([model, "--put", "other.py", "--micropython", "base.uf2", "-o", "a.uf2"],
         "cannot read other.py"),
    ):  # fmt: skip
        assert main(["firmware", *argv]) == 1, argv
        assert said in capsys.readouterr().err
    assert not list(here.glob("a.*")) and not list(here.glob("*.part"))


@pytest.mark.parametrize("cut", [0, 1, 16, 300, 511, 512, 513, 1600, 2047])
def test_firmware_that_is_cut_or_damaged(here, cut):
    for make, name in ((uf2, "f.uf2"), (esp, "f.bin")):
        data = make(here / name).read_bytes()
        for bad in (data[:cut], data[:cut] + b"\xff" * 600, data[:cut] + bytes(600)):
            with pytest.raises(Error):
                read(bad)


def test_firmware_of_long_texts(here):
    """What is looked for in a firmware is short: a long text took a minute, a number failed."""
    begun = time.monotonic()
    assert read(uf2(here / "f.uf2", has=b"a" * 200_000).read_bytes()).start == VFS
    assert read(esp(here / "f.bin", b"v" + b"1" * 5000 + b".1.1").read_bytes()).start == VFS
    assert time.monotonic() - begun < 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "board"),
    [(RPI_PICO, PicoBoard), (RPI_PICO2, Pico2Board), (ESP32_GENERIC, Esp32Board)],
    ids=["pico", "pico2", "esp32"],
)
def test_on_an_emulated_board(here, monkeypatch, kind, board):
    """MicroPython's own firmware, with the file's filesystem in the board's flash."""
    missing = board.missing()
    if missing:
        pytest.skip(missing)
    base = kind.find()
    name = f"all{kind.form}"
    assert main(["firmware", "intents.pft", "--micropython", str(base), "-o", name]) == 0
    found = read(Path(name).read_bytes())
    data = Path(name).read_bytes()
    flash = here / "flash"
    if found.family:
        end = found.start + found.volume.size
        flash.write_bytes(flashed(data, b"\xa5", end)[found.start : end])
    else:
        flash.write_bytes((b"\xff" * found.base + data).ljust(4 << 20, b"\xff"))
    monkeypatch.setenv(kind.variable, str(here / name))
    with board(flash) as emulated, Board(emulated.port) as b:
        text = "book a table for two"
        assert b.classify("intents", text) == Simulator("intents.pft").classify(text)
