"""Emulated boards that are programs of others: what is looked for, what lies in their flash."""

import os
import struct
import sys
import time

import pytest

from picoformer import Board, Error
from picoformer.boards import emulated
from picoformer.boards.emulated import esp32, esp32_process
from picoformer.boards.emulated.esp32 import ESP32_GENERIC, Esp32Board
from picoformer.boards.emulated.filesystem import Volume
from picoformer.boards.emulated.pico import RPI_PICO
from picoformer.commands.main import main

pytest.importorskip("littlefs", reason="the Python package littlefs-python is missing")

VFS = 0x200000


@pytest.fixture(autouse=True)
def nothing_installed(request, monkeypatch, tmp_path):
    """A computer that has no emulator, but for the slow tests."""
    if "slow" not in request.keywords:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("PATH", "")
        for name in [n for n in os.environ if n.startswith("PICOFORMER_")]:
            monkeypatch.delenv(name)
        (tmp_path / "cache" / "picoformer").mkdir(parents=True)


def partition(label, start, size):
    return struct.pack("<2sBBII16sI", b"\xaa\x50", 1, 2, start, size, label, 0)


def firmware(path, words=b"v1.24.0", chip=0, vfs=2 << 20):
    """A file like ESP32_GENERIC, of a few words."""
    data = bytearray(b"\xff" * 0xF200)
    data[0:16] = bytes([0xE9]) + bytes(11) + bytes([chip, 0, 0, 0])
    table = partition(b"factory", 0x10000, 0x1F0000) + partition(b"vfs", VFS, vfs)
    data[0x7000 : 0x7000 + len(table)] = table
    data[0xF000:] = (b"\0" + words + b" on 2024-10-25\0").ljust(0x200, b"\xea")
    path.write_bytes(data)
    return path


def files_of(flash):
    return Volume(512, 128).read(flash.read_bytes()[VFS:])


# What is installed


def test_what_is_missing_for_an_esp32_is_one_line(monkeypatch, tmp_path, capsys):
    assert main(["emulate", "--board", "esp32"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no QEMU" in said and "PICOFORMER_QEMU_XTENSA" in said and "espressif/qemu" in said
    monkeypatch.setenv("PICOFORMER_QEMU_XTENSA", str(tmp_path / "none"))
    with pytest.raises(Error, match="names .*none, which is no program"):
        Board("emulator:esp32")
    qemu(tmp_path / "qemu", machines="virt  another machine")
    monkeypatch.setenv("PICOFORMER_QEMU_XTENSA", str(tmp_path / "qemu"))
    with pytest.raises(Error, match="emulates no ESP32 .-M esp32.; put Espressif's"):
        esp32.find_qemu()
    esp32._machines.cache_clear()
    qemu(tmp_path / "qemu-system-xtensa")
    monkeypatch.delenv("PICOFORMER_QEMU_XTENSA")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert esp32.find_qemu() == str(tmp_path / "qemu-system-xtensa")
    assert Esp32Board.missing().startswith("there is no firmware for the emulated ESP32; download")


def test_the_newest_firmware_of_the_right_board(monkeypatch, tmp_path):
    folder = tmp_path / "cache" / "picoformer"
    for name in ("RPI_PICO2_W-20250809-v1.26.0.uf2", "ESP32_GENERIC_S3-20990101-v9.bin",
                 "ESP32_GENERIC-SPIRAM-20990101-v9.bin"):  # fmt: skip
        (folder / name).touch()
    for kind, names in (
        (RPI_PICO, ("RPI_PICO-20240101-v1.24.0.uf2", "RPI_PICO-20250911-v1.26.1.uf2")),
        (ESP32_GENERIC, ("ESP32_GENERIC-20241025-v1.24.0.bin", "ESP32_GENERIC-v1.27.0.bin")),
    ):
        with pytest.raises(Error, match=f"download {kind.board} .*into {folder}.*{kind.variable}"):
            kind.find()
        for name in names:
            (folder / name).touch()
            assert kind.find().name == name
        monkeypatch.setenv(kind.variable, str(folder / names[0]))
        assert kind.find().name == names[0]
        monkeypatch.setenv(kind.variable, str(folder / "none"))
        with pytest.raises(Error, match=f"{kind.variable} names .*none, which is no file"):
            kind.find()


def test_names_of_ports_and_boards(capsys):
    assert emulated.PORTS["emulator"] == "unix"
    for port, name in emulated.PORTS.items():
        assert emulated.port(name) == port
        assert emulated.board(name).default_flash().name.startswith(name)
    with pytest.raises(Error, match="no emulated board 'emulator:atari': .*emulator:esp32"):
        Board("emulator:atari")


# The flash of an ESP32


def test_a_new_flash_has_the_firmware_the_runtime_and_what_is_put_there(tmp_path):
    flash, model = tmp_path / "flash", tmp_path / "m.pft"
    model.write_bytes(bytes(range(256)) * 300)
    first = firmware(tmp_path / "first.bin")
    esp32_process.prepare(flash, first, [model])
    data = flash.read_bytes()
    assert len(data) == 4 << 20 and data[:0x1000] == b"\xff" * 0x1000
    assert data[0x1000 : 0x1000 + 0xF200] == first.read_bytes()
    files = files_of(flash)
    assert files["/m.pft"] == model.read_bytes()
    runtime = esp32_process.runtime(first.read_bytes())
    assert {n: d for n, d in files.items() if n != "/m.pft"} == runtime
    assert {"/lib/picoformer/server" + form for form in (".mpy", ".py")} & set(runtime)
    # Kept as it is, but for what is put there and another firmware.
    image = bytearray(data)
    image[0x9000:0x9010] = b"settings of mine"
    flash.write_bytes(image)
    esp32_process.prepare(flash, first, [])
    assert flash.read_bytes() == image
    model.write_bytes(b"another")
    second = firmware(tmp_path / "second.bin", b"v1.27.0")
    esp32_process.prepare(flash, second, [model])
    assert flash.read_bytes()[0x10000 : 0x1000 + 0xF200] == second.read_bytes()[0xF000:]
    assert files_of(flash) == runtime | {"/m.pft": b"another"}
    assert esp32_process.version(second.read_bytes()) == (1, 27, 0)


def test_what_is_no_firmware_or_no_flash(tmp_path):
    flash = tmp_path / "flash"
    for name, data in (
        ("s3", firmware(tmp_path / "s3", chip=9)),
        ("large", firmware(tmp_path / "large", vfs=6 << 20)),
        ("uf2", tmp_path / "uf2"),
    ):
        if name == "uf2":
            data.write_bytes(b"UF2\n" * 64)
        with pytest.raises(Error, match=f"{name} is no image of ESP32_GENERIC for 4 MiB"):
            esp32_process.prepare(flash, data, [])
    assert not flash.exists()
    flash.write_bytes(b"?")
    with pytest.raises(Error, match="expected 4194304: it is not an ESP32's flash; remove it"):
        esp32_process.prepare(flash, firmware(tmp_path / "f"), [])
    large = tmp_path / "large.pft"
    large.write_bytes(bytes(3 << 20))
    with pytest.raises(Error, match="cannot store /large.pft"):
        esp32_process.prepare(tmp_path / "new", firmware(tmp_path / "f"), [large])
    assert not (tmp_path / "new").exists()


# The process, with a program in QEMU's place


def qemu(path, machines="esp32  Espressif", body="serve()"):
    """A program that takes QEMU's options and has a prompt on the port."""
    path.write_text(f"""#!{sys.executable}
import os, re, socket, sys
if "help" in sys.argv:
    print("Supported machines are:"); print({machines!r}); sys.exit()
port = int(re.search(r"tcp:127.0.0.1:(\\d+),", " ".join(sys.argv))[1])
def serve():
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        client, _ = listener.accept()
        while client.recv(99):
            client.sendall(b"MicroPython\\r\\n>>> ")
{body}
""")
    path.chmod(0o755)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """fake(body): where the program in QEMU's place does that."""
    monkeypatch.setenv("PICOFORMER_ESP32_FIRMWARE", str(firmware(tmp_path / "esp32.bin")))
    monkeypatch.setenv("PICOFORMER_QEMU_XTENSA", str(tmp_path / "qemu"))
    esp32._machines.cache_clear()
    yield lambda *body: qemu(tmp_path / "qemu", "esp32  Espressif", *body)
    esp32._machines.cache_clear()


def test_an_emulator_that_is_a_program(fake, tmp_path):
    fake(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nserve()")
    assert Esp32Board.missing() == ""
    with Esp32Board(tmp_path / "flash") as board:
        assert board.port.startswith("socket://127.0.0.1:")
        assert not board.stopped(0)
        with pytest.raises(Error, match="another emulated ESP32.*is using .*flash as its flash"):
            Esp32Board(tmp_path / "flash")
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, 0)
    board.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert board.stopped(0) == "the emulated ESP32 stopped"


def test_an_emulator_that_fails_says_why(fake, tmp_path):
    fake("sys.exit('qemu: a bad option')")
    with pytest.raises(Error, match="qemu ended: qemu: a bad option"):
        Esp32Board(tmp_path / "flash")
    fake("import threading\nthreading.Timer(1, os._exit, [3]).start()\nserve()")
    with Esp32Board(tmp_path / "flash") as board:
        assert board.stopped(20) == "the emulated ESP32 stopped"


def test_an_emulator_dies_with_whom_it_serves(fake, tmp_path):
    fake(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nserve()")
    board = Esp32Board(tmp_path / "flash")
    pid = int((tmp_path / "pid").read_text())
    board._process.stdin.close()  # as when the program that started it is killed
    deadline = time.monotonic() + 10
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
    board.close()


# The board itself

ESP32 = Esp32Board.missing()


@pytest.mark.slow
@pytest.mark.skipif(bool(ESP32), reason=ESP32)
def test_the_emulated_esp32_is_a_board(tmp_path, case):
    """Some minutes: each access to its flash takes 30 ms."""
    small = case("size2")
    tokens = small.tokens(5)
    flash = tmp_path / "flash"
    with Esp32Board(flash, put=[small.file()]) as emulated, Board(emulated.port) as board:
        assert (board.platform.platform, board.platform.architecture) == ("esp32", "xtensawin")
        name = small.file().stem
        assert board.load(name).kernels == "viper"
        assert (board.logits(name, tokens) == small.sim().logits(tokens)[-1]).all()
        text = list(board.generate(name, "the", max_tokens=6))
        assert text == list(small.sim().generate("the", 6))
        board.exec("open('/kept.txt', 'w').write('x')", timeout=60)
    with Esp32Board(flash) as emulated, Board(emulated.port) as board:
        assert "'kept.txt'" in board.exec("import os; print(os.listdir())", timeout=60)
