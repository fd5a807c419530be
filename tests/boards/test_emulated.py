"""Emulated boards that are programs of others: what is looked for, what lies in their flash."""

import os
import signal
import sys
import time

import pytest

from firmwares import VFS, esp, uf2
from picoformer import Board, Error
from picoformer.boards import emulated
from picoformer.boards.emulated import esp32, esp32_process, images, pico2, pico2_process
from picoformer.boards.emulated.esp32 import ESP32_GENERIC, Esp32Board
from picoformer.boards.emulated.pico import RPI_PICO
from picoformer.boards.emulated.pico2 import RPI_PICO2, Pico2Board
from picoformer.commands.main import main
from picoformer.runtime.firmware import RP2040, read, version
from picoformer.runtime.volume import Volume
from turns import some

pytest.importorskip("littlefs", reason="the Python package littlefs-python is missing")


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


def files_of(flash):
    return Volume(512, 32).read(flash.read_bytes()[VFS:])


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


def test_what_is_missing_for_a_pico_2_is_one_line(monkeypatch, tmp_path, capsys):
    assert main(["emulate", "--board", "pico2"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "c1570/rp2350js" in said and "PICOFORMER_RP2350JS" in said
    monkeypatch.setenv("PICOFORMER_RP2350JS", str(tmp_path))
    with pytest.raises(Error, match="RP2350JS names .*, which has no dist/cjs/index.js; clone"):
        Board("emulator:pico2")
    (tmp_path / "dist" / "cjs").mkdir(parents=True)
    (tmp_path / "dist" / "cjs" / "index.js").touch()
    with pytest.raises(Error, match="needs node"):
        pico2.find_emulator()
    qemu(tmp_path / "node")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pico2.find_emulator() == (str(tmp_path / "node"), str(tmp_path))
    assert Pico2Board.missing().startswith("there is no firmware for the emulated Pico 2; downl")


def test_the_newest_firmware_of_the_right_board(monkeypatch, tmp_path):
    folder = tmp_path / "cache" / "picoformer"
    for name in ("RPI_PICO2_W-20240809-v1.24.0.uf2", "ESP32_GENERIC_S3-20990101-v9.bin",
                 "ESP32_GENERIC-SPIRAM-20990101-v9.bin"):  # fmt: skip
        (folder / name).touch()
    assert RPI_PICO2.find().name.startswith("RPI_PICO2_W")
    (folder / "RPI_PICO2-20250809-v1.26.0.uf2").touch()
    assert RPI_PICO2.find().name == "RPI_PICO2-20250809-v1.26.0.uf2"
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
    first = esp(tmp_path / "first.bin")
    esp32_process.prepare(flash, first, [model])
    data = flash.read_bytes()
    assert len(data) == 4 << 20 and data[:0x1000] == b"\xff" * 0x1000
    assert data[0x1000 : 0x1000 + 0xF200] == first.read_bytes()
    files = files_of(flash)
    assert files["/m.pft"] == model.read_bytes()
    runtime = images.runtime(first.read_bytes(), "esp32")
    assert {n: d for n, d in files.items() if n != "/m.pft"} == runtime
    assert {"/lib/picoformer/server" + form for form in (".mpy", ".py")} & set(runtime)
    # Kept as it is, but for what is put there and another firmware.
    image = bytearray(data)
    image[0x9000:0x9010] = b"settings of mine"
    flash.write_bytes(image)
    esp32_process.prepare(flash, first, [])
    assert flash.read_bytes() == image
    model.write_bytes(b"another")
    second = esp(tmp_path / "second.bin", b"v1.27.0")
    esp32_process.prepare(flash, second, [model])
    assert flash.read_bytes()[0x10000 : 0x1000 + 0xF200] == second.read_bytes()[0xF000:]
    assert files_of(flash) == runtime | {"/m.pft": b"another"}
    assert version(second.read_bytes()) == (1, 27, 0)


def test_what_is_no_firmware_or_no_flash(tmp_path):
    flash = tmp_path / "flash"
    for name, data in (
        ("s3", esp(tmp_path / "s3", chip=9)),
        ("large", esp(tmp_path / "large", vfs=6 << 20)),
        ("uf2", tmp_path / "uf2"),
    ):
        if name == "uf2":
            data.write_bytes(b"UF2\n" * 64)
        with pytest.raises(Error, match=f"{name} is no image of ESP32_GENERIC for 4 MiB"):
            esp32_process.prepare(flash, data, [])
    assert not flash.exists()
    flash.write_bytes(b"?")
    with pytest.raises(Error, match="expected 4194304: it is not the flash of an ESP32; remove"):
        esp32_process.prepare(flash, esp(tmp_path / "f"), [])
    large = tmp_path / "large.pft"
    large.write_bytes(bytes(3 << 20))
    with pytest.raises(Error, match="cannot store /large.pft"):
        esp32_process.prepare(tmp_path / "new", esp(tmp_path / "f"), [large])
    assert not (tmp_path / "new").exists()


# The flash of a Pico 2


def test_the_filesystem_lies_where_the_firmware_says(tmp_path):
    flash, model = tmp_path / "flash", tmp_path / "m.pft"
    model.write_bytes(bytes(range(256)) * 300)
    image = uf2(tmp_path / "pico2.uf2")
    assert pico2_process.prepare(flash, image, [model]) == 0x200000
    runtime = images.runtime(read(image.read_bytes()).data, "pico2")
    assert Volume(512, 256).read(flash.read_bytes()) == runtime | {"/m.pft": model.read_bytes()}
    model.write_bytes(b"another")
    assert pico2_process.prepare(flash, image, [model]) == 0x200000
    assert Volume(512, 256).read(flash.read_bytes()) == runtime | {"/m.pft": b"another"}
    with pytest.raises(Error, match="expected 1048576: it is not the flash of a Pico 2 with this"):
        pico2_process.prepare(flash, uf2(tmp_path / "other.uf2", size=1 << 20), [])
    for wrong, said in (
        ({"family": RP2040}, "no MicroPython for RP2350 .Arm. with 4 MB"),
        ({"family": 0xE48BFF57}, "a UF2 file for no chip that is known"),
        ({"kind": 6}, "no MicroPython that says where its filesystem is"),
        ({"size": 4 << 20}, "no MicroPython for RP2350 .Arm. with 4 MB"),
    ):
        with pytest.raises(Error, match=f"wrong.uf2 is {said}"):
            pico2_process.prepare(flash, uf2(tmp_path / "wrong.uf2", **wrong), [])
    image.write_bytes(image.read_bytes()[:-600])  # cut
    with pytest.raises(Error, match="cut or damaged: 23 of its 25 blocks are there"):
        pico2_process.prepare(flash, image, [])


# The process, with a program in the emulator's place


def qemu(path, machines="esp32  Espressif", body="serve()"):
    """A program that takes QEMU's options, or pico2.js's, and has a prompt on the port."""
    path.write_text(f"""#!{sys.executable}
import os, re, socket, sys
if "help" in sys.argv:
    print("Supported machines are:"); print({machines!r}); sys.exit()
named = re.search(r"tcp:127.0.0.1:(\\d+),", " ".join(sys.argv))
port = int(named[1] if named else sys.argv[-1])
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
    """fake(body): where the program in the emulator's place does that."""
    monkeypatch.setenv("PICOFORMER_ESP32_FIRMWARE", str(esp(tmp_path / "esp32.bin")))
    monkeypatch.setenv("PICOFORMER_QEMU_XTENSA", str(tmp_path / "node"))
    monkeypatch.setenv("PICOFORMER_RP2350_FIRMWARE", str(uf2(tmp_path / "pico2.uf2")))
    monkeypatch.setenv("PICOFORMER_RP2350JS", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "dist" / "cjs").mkdir(parents=True)
    (tmp_path / "dist" / "cjs" / "index.js").touch()
    esp32._machines.cache_clear()
    yield lambda *body: qemu(tmp_path / "node", "esp32  Espressif", *body)
    esp32._machines.cache_clear()


def dead(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("kind", some([Esp32Board, Pico2Board], 2))
def test_an_emulator_that_is_a_program(fake, tmp_path, kind):
    fake(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nserve()")
    assert kind.missing() == ""
    with kind(tmp_path / "flash") as board:
        assert board.port.startswith("socket://127.0.0.1:")
        assert not board.stopped(0)
        with pytest.raises(Error, match=f"another emulated {kind.title}.*is using .*flash as its"):
            kind(tmp_path / "flash")
        pid = int((tmp_path / "pid").read_text())
        assert not dead(pid)
        board._process.stdin.close()  # as when the program that started it is killed
        assert board.stopped(20) == f"the emulated {kind.title} stopped"
        assert dead(pid)
    board.close()


@pytest.mark.parametrize("ends", some(["by itself", "with all else"], 2, 1))
def test_an_emulator_that_ends(fake, tmp_path, ends):
    fake(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nserve()")
    with Esp32Board(tmp_path / "flash") as board:
        pid = int((tmp_path / "pid").read_text())
        if ends == "by itself":
            os.kill(pid, signal.SIGKILL)
        else:
            board._kill()  # where it did not start in time, or does not end
        assert board.stopped(20) == "the emulated ESP32 stopped"
        deadline = time.monotonic() + 10
        while not dead(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert dead(pid)


def test_an_emulator_that_fails_says_why(fake, tmp_path):
    fake("sys.exit('qemu: a bad option')")
    with pytest.raises(Error, match="node ended: qemu: a bad option"):
        Esp32Board(tmp_path / "flash")


# The boards themselves


def board_or_skip(kind):
    return pytest.mark.skipif(bool(reason := kind.missing()), reason=reason)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, kernels",
    [
        pytest.param(Esp32Board, "viper", marks=board_or_skip(Esp32Board), id="esp32"),
        pytest.param(Pico2Board, "dsp", marks=board_or_skip(Pico2Board), id="pico2"),
    ],
)
def test_an_emulated_board(tmp_path, case, kind, kernels):
    """Of an ESP32 some minutes: each access to its flash takes 40 ms."""
    small = case("size2")
    name = small.file().stem
    tokens = small.tokens(5)
    flash = tmp_path / "flash"
    with kind(flash, put=[small.file()]) as emulated:
        with Board(emulated.port) as board:
            assert board.platform.platform in ("esp32", "rp2")
            assert board.load(name).kernels == kernels
            assert (board.logits(name, tokens) == small.sim().logits(tokens)[-1]).all()
            text = list(board.generate(name, "the", max_tokens=6))
            assert text == list(small.sim().generate("the", 6))
            board.exec("open('/kept.txt', 'w').write('x')", timeout=60)
            board.reset(hard=True)
        with Board(emulated.port) as board:
            assert board.exec("print(6 * 7)") == "42\n"
    with kind(flash) as emulated, Board(emulated.port) as board:
        assert "'kept.txt'" in board.exec("import os; print(os.listdir())", timeout=60)


SCRIPT = """
import gc, os, sys, _thread
from picoformer import Error, Model
m = Model("/{name}.pft", cores=2, spare=150_000)
print(m.cores)
for i, piece in enumerate(m.generate("", 120)):
    print(piece, end="")
    if i % 10 == 3:
        gc.collect()
    if i % 30 == 7:
        with open("/kept.txt", "w") as f:
            f.write(str(i) * 1000)
print()
second = Model("/{name}.pft", cores=2, context=16)
m.close()
print(second.cores, list(second.logits([1, 5, 9])) == {expected})
try:
    _thread.start_new_thread(print, ())
except OSError as e:
    print(e)
second.close()
import time
time.sleep_ms(10)
# The user's own thread has the core: the model runs on one.
busy = [1]
def spin():
    while busy:
        time.sleep_ms(1)
_thread.start_new_thread(spin, ())
m = Model("/{name}.pft", cores=2)
print(m.cores, list(m.logits([1, 5, 9])) == {expected})
m.close()
busy.clear()
time.sleep_ms(50)
m = Model("/{name}.pft", cores=2)
print(m.cores)
"""


@pytest.mark.slow
@board_or_skip(Pico2Board)
def test_both_cores_of_an_emulated_pico_2(tmp_path, own):
    """Collections, writes to flash, Ctrl-C, soft resets and a thread of the user's in between."""
    model = own("stories")
    expected = model.sim.logits([1, 5, 9])[-1].tolist()
    text = "".join(model.sim.generate("", 120))
    with Pico2Board(tmp_path / "flash", put=[model.path]) as emulated:
        with Board(emulated.port, cores=2) as board:
            said = board.exec(SCRIPT.format(name="stories", expected=expected), timeout=900)
            lines = said.replace("\r", "").split("\n")
            core, written, rest = lines[0], "\n".join(lines[1:-5]), lines[-5:-1]
            assert core == "2" and written == text
            assert rest == ["2 True", "core1 in use", "1 True", "2"], rest
            # That model was not closed: the soft reset of the next session ends the worker.
        for _ in range(2):
            with Board(emulated.port, cores=2) as board:
                assert board.load("stories").cores == 2
                pieces = board.generate("stories", "", max_tokens=100)
                assert "".join(next(pieces) for _ in range(20)) in text
                board.connection.serial.write(b"\x03")  # Ctrl-C: the REPL has the port again
            with Board(emulated.port, cores=2) as board:
                assert "".join(board.generate("stories", "", max_tokens=120)) == text
                assert board.load("stories").cores == 2
