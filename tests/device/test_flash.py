"""Finding a file's blocks in littlefs's memory, as littlefs itself would find them."""

from __future__ import annotations

import random
import sys
from binascii import crc32
from types import SimpleNamespace

import pytest

from picoformer import Simulator
from picoformer.device import flash, modelfile
from picoformer.device.errors import Error
from picoformer.device.flash import Mapped, pieces

littlefs = pytest.importorskip("littlefs", reason="the Python package littlefs-python is missing")

BLOCKS = 96


def filesystem():
    """An empty littlefs of the rp2 port's geometry."""
    return littlefs.LittleFS(block_size=4096, block_count=BLOCKS, prog_size=256, read_size=32)


def write(fs, path: str, data: bytes) -> None:
    with fs.open(path, "wb") as f:
        f.write(data)


def pairs(found):
    return list(zip(found[::2], found[1::2], strict=True))


def gather(view: bytes, found) -> bytes | None:
    return None if found is None else b"".join(view[at : at + n] for at, n in pairs(found))


@pytest.mark.parametrize("size", [1025, 4096, 4097, 8187, 8188, 8189, 12280, 40000, 270001])
def test_every_length_of_list(size: int) -> None:
    fs = filesystem()
    data = random.Random(size).randbytes(size)
    write(fs, "/m.pft", data)
    view = bytes(fs.context.buffer)
    assert gather(view, pieces(view, "/m.pft", size)) == data
    assert gather(view, pieces(view, "m.pft", size)) == data
    assert pieces(view, "/m.pft", size + 1) is None
    assert pieces(view, "/n.pft", size) is None
    assert pieces(view, "/m.pft/x", size) is None


def test_a_small_file_has_no_blocks() -> None:
    fs = filesystem()
    write(fs, "/small", b"in the directory itself")
    assert pieces(bytes(fs.context.buffer), "/small", 23) is None


def test_after_many_changes() -> None:
    """Files come, go, grow, move and change places; freed blocks keep their old bytes."""
    rng = random.Random(5)
    fs = filesystem()
    fs.mkdir("/d")
    fs.mkdir("/d/e")
    held: dict[str, bytes] = {}
    checked = 0
    for turn in range(400):
        name = f"{rng.choice(['', '/d', '/d/e'])}/f{rng.randrange(12)}"
        action = rng.randrange(4)
        if action < 2:
            held.pop(name, None)
            total = sum(len(v) for v in held.values())
            size = rng.choice([100, 3000, 9000, 30000])
            if total + size > BLOCKS * 4096 // 3:
                continue
            held[name] = rng.randbytes(size)
            write(fs, name, held[name])
        elif action == 2 and name in held:
            fs.remove(name)
            del held[name]
        elif action == 3 and name in held:
            to = f"{rng.choice(['', '/d'])}/g{rng.randrange(6)}"
            fs.rename(name, to)
            held[to] = held.pop(name)
        if turn % 10 == 0:
            view = bytes(fs.context.buffer)
            for path, data in held.items():
                found = pieces(view, path, len(data))
                if found is not None:
                    assert gather(view, found) == data
                    checked += 1
                else:
                    assert len(data) < 1024, f"{path} of {len(data)} bytes was not found"
    assert checked > 100


def test_a_damaged_file_system_is_not_believed() -> None:
    """Whatever is flipped: None, or places inside the memory; never an exception or a hang."""
    rng = random.Random(9)
    fs = filesystem()
    for i in range(8):
        write(fs, f"/f{i}", rng.randbytes(3000 * i + 1))
    good = bytes(fs.context.buffer)
    for _ in range(2000):
        view = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            view[rng.randrange(2 * 4096)] ^= 1 << rng.randrange(8)
        for at, n in pairs(pieces(bytes(view), "/f7", 21001) or ()):
            assert at >= 0 and at + n <= len(view)


def test_a_replaced_file_is_noticed() -> None:
    fs = filesystem()
    rng = random.Random(2)
    data = rng.randbytes(30000)
    write(fs, "/m.pft", data)
    view = memoryview(bytes(fs.context.buffer))
    mapped = Mapped(view, "/m.pft", len(data), pieces(view, "/m.pft", len(data)))
    assert not mapped.moved()
    parts = mapped.section(4092, 9000)
    assert b"".join(mapped.view[at : at + n] for at, n in parts) == data[4092:13092]
    write(fs, "/other", b"x" * 5000)
    mapped.view = memoryview(bytes(fs.context.buffer))
    assert not mapped.moved()  # other files may change
    write(fs, "/m.pft", data[::-1])
    mapped.view = memoryview(bytes(fs.context.buffer))
    assert mapped.moved()
    fs.remove("/m.pft")
    mapped.view = memoryview(bytes(fs.context.buffer))
    assert mapped.moved()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_is_noticed_at_once(seed: int, monkeypatch) -> None:
    """`moved` looks at some words first; it says what a walk through the directories says."""
    rng = random.Random(seed)
    fs = filesystem()
    fs.mkdir("/d")
    for i in range(seed * 9):  # a long directory has several pairs
        write(fs, f"/name-that-is-long-{i}", bytes(200))
    where = "/m.pft" if seed % 2 else "/d/m.pft"
    write(fs, where, rng.randbytes(20000))
    walks = []
    monkeypatch.setattr(flash, "pieces", lambda *given: walks.append(1) or pieces(*given))
    mapped = None
    quiet = moves = 0
    for _ in range(250):
        view = bytes(fs.context.buffer)
        truth = pieces(view, where, 20000)
        if truth and mapped is None:
            seen: list[int] = []
            mapped = Mapped(view, where, 20000, pieces(view, where, 20000, seen), seen)
            first = gather(view, truth)
        elif mapped:
            mapped.view = view
            del walks[:]
            same = truth == mapped._at and gather(view, truth)[:100] == first[:100]
            assert mapped.moved() is not same
            assert mapped.moved() is not same
            quiet += same and len(walks) < 2
            if not same:
                mapped = None
                moves += 1
        action = rng.randrange(12)
        if action == 0:
            write(fs, where, rng.randbytes(20000))
        elif action == 1 and truth:
            fs.rename(where, where + "x")
        elif action == 2 and not truth:
            write(fs, where, rng.randbytes(20000))
        elif action < 9:
            other = rng.choice(["/", "/d/"]) + f"f{rng.randrange(5)}"
            write(fs, other, rng.randbytes(rng.choice([20, 300, 5000])))
    assert quiet > 20 and moves > 3


def romfs_image(data: bytes, shift: int) -> bytes:
    """A ROMFS with data as /m.pft, its first byte at an address that is `shift` modulo 4."""
    from mpremote.romfs import VfsRomWriter

    for padding in range(4):
        rom = VfsRomWriter()
        rom.mkdata(bytes(padding))
        at = rom.mkdata(data)
        rom.mkfile("m.pft", (len(data), at))
        image = bytes(rom.finalise())
        if image.index(data) % 4 == shift:
            return image
    raise AssertionError("no padding aligns the file")


@pytest.mark.parametrize("shift", [0, 2])
def test_romfs(tmp_path, native, stories, unix, shift: int) -> None:
    """An aligned file in a ROMFS is used in place; a crooked one is not, which is said."""
    image = tmp_path / "rom.img"
    image.write_bytes(romfs_image(stories.path.read_bytes(), shift))
    script = f"""
import vfs
from picoformer import Error, Model
with open({str(image)!r}, "rb") as f:
    rom = f.read()
vfs.mount(vfs.VfsRom(rom), "/rom")
for weights in "flash", None:
    try:
        model = Model("/rom/m.pft", 32, weights)
        print(model.weights)
        print(*model.logits([1, 400, 300, 500]))
    except Error as e:
        print(e)
"""
    lines = unix(script).splitlines()
    expected = " ".join(map(str, Simulator(stories.path).logits([1, 400, 300, 500])[-1]))
    broken = bytearray(romfs_image(stories.path.read_bytes(), shift))
    broken[len(broken) * 3 // 4] ^= 1
    image.write_bytes(broken)
    damaged = unix(script).splitlines()
    assert "checksum of its weights" in damaged[-1]
    if shift:
        note = "the file lies unaligned in its ROMFS, which picoformer romfs mends"
        told = f"no weights in flash: {note}; leave weights= out"
        assert lines == [f"picoformer: {note}", told, f"picoformer: {note}", "ram", expected]
    else:
        assert lines[:2] == ["flash", expected] and lines[3:] == [expected]
        assert damaged[0].startswith("no weights in flash: its place holds something else")


@pytest.mark.parametrize("kernels, why", [(None, "this MicroPython shows no file as memory"),
                                          ("portable", "portable kernels read none")])  # fmt: skip
def test_why_weights_are_not_in_flash(stories, unix, native, kernels, why: str) -> None:
    script = """
from picoformer import Error, Model
try:
    Model(FILE, weights="flash", kernels=KERNELS)
except Error as e:
    print(e)
"""
    said = unix(script, FILE=str(stories.path), KERNELS=kernels)
    assert said.startswith(f"no weights in flash: {why}") and said.count("\n") == 1


def test_why_a_file_is_not_found_in_a_picos_flash(tmp_path, monkeypatch) -> None:
    fs = filesystem()
    data = random.Random(3).randbytes(30_000)
    for path in "/m.pft", "/n.pft":
        write(fs, path, data)
    view = bytes(fs.context.buffer)
    monkeypatch.setitem(sys.modules, "rp2", SimpleNamespace(Flash=lambda: view))
    monkeypatch.setitem(sys.modules, "uctypes", SimpleNamespace(addressof=lambda view: 0x10000000))

    def why(path: str, offset: int, n: int, crc: int) -> str:
        section = offset, n, crc
        found = modelfile.mapped(None, path, section, None, True)
        try:
            assert modelfile.mapped(None, path, section, "flash", True) and found
        except Error as e:
            assert found is None
            return str(e)
        return ""

    crc = crc32(data[1000:])
    assert why("/m.pft", 1000, 29_000, crc) == ""
    for path in "/sd/m.pft", "/m.pft/x", "/other.pft":
        assert "the file is not in the board's own littlefs; leave" in why(path, 1000, 29_000, crc)
    assert "its place holds something else" in why("/m.pft", 1000, 29_000, crc ^ 1)
    monkeypatch.setitem(sys.modules, "rp2", SimpleNamespace(Flash=object))
    assert "(a Pico's does since 1.25)" in why("/m.pft", 1000, 29_000, crc)


@pytest.mark.parametrize("name", ["stories", "english-french", "intents"])
def test_as_many_matrices_as_the_heap_can_spare_are_copied(
    tmp_path, native, own, unix, name: str
) -> None:
    """All, some, none: the same results, and the rest of the heap stays free."""
    model = own(name)
    image = tmp_path / "rom.img"
    image.write_bytes(romfs_image(model.path.read_bytes(), 0))
    ids = model.sim.tokenizer.wrap([5, 9, 7])
    read = ids if name != "english-french" else [0]
    script = f"""
import gc, vfs
from picoformer import Error, Model
with open({str(image)!r}, "rb") as f:
    rom = f.read()
vfs.mount(vfs.VfsRom(rom), "/rom")
def load(**given):
    gc.collect()
    m = Model("/rom/m.pft", 16, **given)
    gc.collect()
    if m.task == "translate":
        m.source({ids})
    print(m.weights, m.in_ram, gc.mem_free(), *m.logits({read}))
    m.close()
load()
gc.collect()
free = gc.mem_free()
load(spare=free - 150000)
load(spare=1 << 24)
load(weights="flash")
for spare in (-1, 0.5, None):
    try:
        load(spare=spare)
    except Error as e:
        print(e)
"""
    lines = unix(script).splitlines()
    rows = [line.split() for line in lines[:4]]
    weights = model.sim.model.sizes["weights"]
    assert rows[0][0] == "ram" and 0.9 * weights < int(rows[0][1]) <= weights
    assert rows[1][0] == "flash" and 20_000 < int(rows[1][1]) < 150_000
    assert [row[:2] for row in rows[2:]] == [["flash", "0"]] * 2
    assert int(rows[0][2]) < int(rows[1][2]) < int(rows[2][2])
    assert rows[0][3:] == rows[1][3:] == rows[2][3:] == rows[3][3:]
    if name != "english-french":
        logits = model.sim.logits(ids)
        assert list(map(int, rows[0][3:])) == logits.reshape(-1, logits.shape[-1])[-1].tolist()
    assert [line.split(",")[0] for line in lines[4:]] == [
        "spare is -1", "spare is 0.5", "spare is None"
    ]  # fmt: skip
