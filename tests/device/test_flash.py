"""Finding a file's blocks in littlefs's memory, as littlefs itself would find them."""

from __future__ import annotations

import random

import pytest

from picoformer import Simulator
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
    assert gather(view, pieces(view, "/m.pft", size, [])) == data
    assert gather(view, pieces(view, "m.pft", size, [])) == data
    assert pieces(view, "/m.pft", size + 1, []) is None
    assert pieces(view, "/n.pft", size, []) is None
    assert pieces(view, "/m.pft/x", size, []) is None


def test_a_small_file_has_no_blocks() -> None:
    fs = filesystem()
    write(fs, "/small", b"in the directory itself")
    assert pieces(bytes(fs.context.buffer), "/small", 23, []) is None


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
                found = pieces(view, path, len(data), [])
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
        for at, n in pairs(pieces(bytes(view), "/f7", 21001, []) or ()):
            assert at >= 0 and at + n <= len(view)


def test_a_replaced_file_is_noticed() -> None:
    fs = filesystem()
    rng = random.Random(2)
    data = rng.randbytes(30000)
    write(fs, "/m.pft", data)
    view = memoryview(bytes(fs.context.buffer))
    mapped = Mapped(view, "/m.pft", len(data), pieces(view, "/m.pft", len(data), []))
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


def test_a_look_at_the_directories_says_the_same() -> None:
    """Whatever comes, goes and is written anew, also at the same place: never another answer."""
    rng = random.Random(3)
    fs = filesystem()
    fs.mkdir("/d")
    data = rng.randbytes(20000)
    write(fs, "/d/m.pft", data)
    view = bytes(fs.context.buffer)
    mapped = Mapped(view, "/d/m.pft", len(data), pieces(view, "/d/m.pft", len(data), []))
    said = []
    for turn in range(240):
        name = f"{rng.choice(['', '/d'])}/f{rng.randrange(9)}"
        if rng.randrange(3):
            write(fs, name, rng.randbytes(rng.choice([10, 700, 5000])))
        elif name.rpartition("/")[2] in fs.listdir(name.rpartition("/")[0] or "/"):
            fs.remove(name)
        if turn % 80 == 39:
            fs.remove("/d/m.pft")
        if turn % 80 == 79:  # every second time the same again, perhaps in the same place
            write(fs, "/d/m.pft", data if turn % 160 == 159 else rng.randbytes(20000))
        mapped.view = view = bytes(fs.context.buffer)
        said.append(mapped.moved())
        fresh = Mapped(view, "/d/m.pft", len(data), mapped._at)
        fresh._head = mapped._head
        assert fresh.moved() is said[-1], turn
        assert mapped.moved() is said[-1]
        if said[-1]:  # loaded again
            found = pieces(view, "/d/m.pft", len(data), [])
            if found:
                mapped = Mapped(view, "/d/m.pft", len(data), found)
    assert 10 < sum(said) < 230


def test_what_has_not_changed_is_not_read_again(monkeypatch) -> None:
    from picoformer.device import flash

    fs = filesystem()
    data = random.Random(2).randbytes(30000)
    write(fs, "/m.pft", data)
    view = bytes(fs.context.buffer)
    mapped = Mapped(view, "/m.pft", len(data), pieces(view, "/m.pft", len(data), []))
    assert not mapped.moved()
    with monkeypatch.context() as patch:
        patch.setattr(flash, "pieces", None)
        assert not mapped.moved()
    write(fs, "/other", b"x")
    mapped.view = bytes(fs.context.buffer)
    with monkeypatch.context() as patch:
        patch.setattr(flash, "pieces", None)
        with pytest.raises(TypeError):
            mapped.moved()
    assert not mapped.moved()


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


@pytest.mark.parametrize(("shift", "place"), [(0, "flash"), (2, "ram")])
def test_romfs(tmp_path, native, stories, unix, shift: int, place: str) -> None:
    """An aligned file in a ROMFS is used in place; a crooked one is not."""
    image = tmp_path / "rom.img"
    image.write_bytes(romfs_image(stories.path.read_bytes(), shift))
    script = f"""
import vfs
from picoformer import Error, Model
with open({str(image)!r}, "rb") as f:
    rom = f.read()
vfs.mount(vfs.VfsRom(rom), "/rom")
model = Model("/rom/m.pft", context=32)
print(model.weights)
print(*model.logits([1, 400, 300, 500]))
try:
    print(Model("/rom/m.pft", weights="flash").weights)
except Error as e:
    print(e)
"""
    where, logits, forced = unix(script).splitlines()
    assert where == place
    expected = Simulator(stories.path).logits([1, 400, 300, 500])[-1]
    assert list(map(int, logits.split())) == expected.tolist()
    assert forced == "flash" if place == "flash" else "map" in forced
