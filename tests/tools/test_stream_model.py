"""Weights by the XIP stream on an emulated Pico, with the flash of tools/emulation/stream.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import models
from boardscripts import runtime
from models import Architecture
from picoformer import Simulator, convert
from tools.emulation import rp2040
from tools.emulation.errors import BoardError
from tools.emulation.stream import CYCLES_A_WORD, Flash

ALONE = "from picoformer import Error, Model\ntry:\n    Model(PATH, weights='stream'{})\n"
ALONE += "except Error as e:\n    print(e)"

pico = pytest.mark.skipif(rp2040.missing() is not None, reason=rp2040.missing() or "")


def test_other_boards_have_no_such_stream(case):
    if reason := models.no_micropython():
        pytest.skip(reason)
    said = models.run_unix(ALONE.format(""), PATH=str(case("size2").file()))
    assert said == "weights='stream' needs an RP2040 and its thumb kernels: leave it out\n"


NAMES = (
    "gpt2", "gpt2 four", "bert one", "minilm distances", "signal", "bart one", "gpt2 odd narrow",
)  # fmt: skip


@pytest.fixture(scope="module")
def board(tmp_path_factory) -> Iterator[tuple[rp2040.RP2040, Flash, dict[str, Architecture]]]:
    folder = tmp_path_factory.mktemp("stream")
    files = runtime()
    given = {name: Architecture(name, folder / name) for name in NAMES}
    for name, a in given.items():
        files[f"/{name}.pft"] = a.file().read_bytes()
    with rp2040.RP2040(files) as board:
        yield board, Flash(board, waits=False), given


@pico
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spare", [0, 300_000])
def test_models_of_each_kind(board, name, spare):
    """All of the weights in RAM, and none of them: both are the simulator's."""
    rp, flash, given = board
    a = given[name]
    rp.soft_reset()
    before = flash.streamed
    tokens, source = a.tokens(9), a.tokens(7)
    signal = a.signal().astype("<i2").tobytes() if a.graph.frames else b""
    said = rp.exec(f"""
from array import array
from picoformer import Model
m = Model("/{name}.pft", weights="stream", spare={spare})
print(m.in_ram, m.weights, m.task)
if m.task == "translate":
    m.source({source})
for n in (3, {len(tokens)}):
    if m.frames:
        print(list(m.read({signal!r}, m.task)))
    else:
        print(list(m.logits({tokens}[:n])))
m.close()
""")
    about, *results = said.splitlines()
    in_ram, weights, task = about.split()
    assert weights == "stream"
    assert (int(in_ram) > 0) == (spare == 0)
    assert flash.streamed > before or spare == 0
    sim = a.sim()
    if task == "translate":
        sim.source(source)
    for n, result in zip((3, len(tokens)), results, strict=True):
        expected = sim._read(a.signal(), task) if signal else sim.logits(tokens[:n])
        expected = np.asarray(expected)
        np.testing.assert_array_equal(
            json.loads(result), expected[-1] if expected.ndim > 1 else expected
        )


class Meddled(Flash):
    """Something happens when so many more words have been streamed."""

    def __init__(self, board: rp2040.RP2040) -> None:
        super().__init__(board, waits=False)
        self.then: tuple[int, Callable[[], object]] | None = None

    def behind(self, words: int, then: Callable[[], object]) -> None:
        self.then = self.streamed + words, then

    def _word(self) -> None:
        super()._word()
        if self.then and self.streamed >= self.then[0]:
            _, then = self.then
            self.then = None
            then()

    def fail(self) -> None:
        """An error of the bus."""
        for channel in self.active:
            channel._ctrl = (channel._ctrl | 0xC0000000) & ~(1 << 24)

    def abort(self) -> None:
        for channel in self.active:
            channel.abort()

    def end(self) -> None:
        self.ctr = 0


SHAPE = models.Shape(16, 40, 2, 2, 1, 259, 24)
SMALL = """
import gc
from machine import Timer, mem32
from picoformer import Error, Model
def text():
    return "".join(m.generate("a", 4)).encode().hex()
def tried():
    try:
        return text()
    except Error as e:
        return e
def channels():
    import rp2
    held = []
    try:
        while True:
            held.append(rp2.DMA())
    except OSError:
        pass
    for channel in held:
        channel.close()
    return len(held)
"""
LOADED = SMALL + 'm = Model("/small.pft", weights="stream", spare=300000)\n'
FAULT = "the XIP stream does not bring the weights: load the model without weights='stream'\n"
TAKEN = "something else uses the XIP stream: end that, or leave weights='stream' out\n"


@pytest.fixture
def small(tmp_path) -> Iterator[tuple[rp2040.RP2040, Meddled, str]]:
    """A board with a model of little more than its ring holds, and the text that it writes."""
    path = tmp_path / "small.pft"
    convert(models.write_llama2c(tmp_path, models.random_checkpoint(SHAPE)), path)
    text = "".join(Simulator(path).generate("a", 4)).encode().hex() + "\n"
    with rp2040.RP2040({**runtime(), "/small.pft": path.read_bytes()}) as board:
        yield board, Meddled(board), text


@pico
def test_what_disturbs_a_run(small):
    """Nothing is in flight but within a step, and a run that goes wrong is one Error."""
    board, flash, text = small
    one = ALONE.format(", cores=2").replace("PATH", "'/small.pft'")
    assert board.exec(one) == "weights='stream' is for one core: leave it out, or cores=2\n"
    board.exec(LOADED)
    assert flash.idle and flash.streamed
    # Files and collections, in callbacks that come at any time.
    said = board.exec("""
times = 0
def note(_):
    global times
    if times < 3:
        times += 1
        with open("/notes.txt", "a") as f:
            f.write(300 * "x")
        gc.collect()
timer = Timer(period=5, callback=note)
print(text())
print(times)
timer.deinit()
""")
    assert said == text + "3\n"
    assert flash.clashes == 0
    # Ctrl-C, several at once, as mpremote sends them.
    for words in 3, 700, 2900:
        flash.behind(words, lambda: board.send(b"\x03\x03"))
        with pytest.raises(BoardError, match="KeyboardInterrupt"):
            board.exec("while True:\n    text()")
        assert flash.then is None and flash.idle
        assert board.exec("print(text())") == text
    # The channel fails, is stopped by somebody, or the stream is; another one begins in between.
    for broken in flash.fail, flash.abort, flash.end:
        flash.behind(1000, broken)
        assert board.exec("print(tried())") == FAULT
        assert flash.then is None and flash.idle
        assert board.exec("print(text())") == text
    assert board.exec("mem32[0x14000018] = 9\nprint(tried())") == TAKEN
    assert board.exec("""
mem32[0x14000018] = 0
mem32[0x1400001c], mem32[0x1400001c]
print(text())
m.close()
print(channels())
""") == text + "12\n"


@pico
@pytest.mark.slow
def test_what_ends_a_model(small):
    """Soft resets, models that are dropped or closed; other users of channels and the stream."""
    board, flash, text = small
    assert "does not bring" not in board.exec(LOADED)
    flash.behind(500, lambda: board.send(b"\x03\x03"))
    with pytest.raises(BoardError, match="KeyboardInterrupt"):
        board.exec("while True:\n    text()")
    board.soft_reset()
    assert flash.idle
    assert board.exec(SMALL + "print(channels())") == "12\n"
    assert board.exec(LOADED + "print(text())\nprint(channels())") == text + "11\n"
    assert board.exec("m = None\ngc.collect()\nprint(channels())") == "12\n"
    # Two models at once take turns.
    assert board.exec(LOADED + "a = m\nwaits = a.generate('a', 4)\nfirst = next(waits)") == ""
    assert board.exec("""
m = Model("/small.pft", weights="stream", spare=0)
print(text())
print((first + "".join(waits)).encode().hex())
print(channels())
m.close()
a.close()
""") == 2 * text + "10\n"
    said = board.exec("""
import rp2
held = [rp2.DMA() for _ in range(12)]
for _ in range(2):
    try:
        Model("/small.pft", weights="stream")
    except Error as e:
        print(e)
    held.pop().close()
    mem32[0x14000018] = 9
mem32[0x14000018] = 0
mem32[0x1400001c], mem32[0x1400001c]
""")
    assert said == (
        "no DMA channel is free: close one, or leave weights='stream' out\n"
        + TAKEN
    )
    assert flash.clashes == 0


@pico
@pytest.mark.slow
def test_an_emulator_without_the_stream(case):
    """Which is found out when a model is loaded."""
    with rp2040.RP2040({**runtime(), "/small.pft": case("size2").file().read_bytes()}) as board:
        said = board.exec(ALONE.format(", spare=300000").replace("PATH", "'/small.pft'"))
    assert said == FAULT


@pico
def test_the_stream_of_the_emulated_flash():
    """A word in so many cycles, two in the FIFO until the DMA takes them."""
    with rp2040.RP2040() as board:
        flash = Flash(board, waits=False)
        said = board.exec("""
import rp2, machine, uctypes, time
m = machine.mem32
d = rp2.DMA()
buf = bytearray(4000)
d.config(read=0x50400000, write=buf, count=1000, ctrl=d.pack_ctrl(inc_read=False, treq_sel=37))
m[0x14000014] = 0x10001000
m[0x14000018] = 1000
time.sleep_us(100)
print(m[0x14000018], m[0x14000008] & 6)
begun = m[0x1f000000]
d.active(1)
while d.active():
    pass
print(m[0x1f000000] - begun, m[0x14000018], m[0x14000008] & 6)
print(bytes(uctypes.bytearray_at(0x10001000, 4000)) == buf)
d.close()
""").split()
        assert said[:2] == ["998", "4"]
        assert 998 * CYCLES_A_WORD - 200 < int(said[2]) < 998 * CYCLES_A_WORD + 20_000
        assert said[3:] == ["0", "2", "True"]
        assert flash.streamed == 1000
        assert flash.idle
        board.exec("m[0x14000018] = 1000\nopen('/notes.txt', 'w').close()")
        assert flash.clashes
