"""Weights by the XIP stream on an emulated Pico, with the flash of tools/emulation/stream.py."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

import models
from boardscripts import runtime
from models import Architecture
from tools.emulation import rp2040
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
