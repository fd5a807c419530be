"""The files of docs/signals.md: the driver, the program and the recorder, without a sensor."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from models import ROOT
from picoformer import Simulator, convert
from picoformer.boards.emulated.esp32 import Esp32Board
from tools.emulation import rp2040
from tools.sweeps import signals

MOTIONS = ROOT / "models" / "motions"

# A board's modules. Its clock goes on while the program sleeps; callbacks may not allocate.
MACHINE = """
import gc, micropython, sys

sys.path.insert(0, FOLDER)


class Bus:
    \"\"\"An MPU-6050's registers. DATA: what it says from 0x3B on, 14 bytes a row.\"\"\"
    at = 0
    written = []
    broken = OSError(5)  # raised at rows of FAILS

    def __init__(self, number, sda, scl, freq):
        assert (number, freq) == (0, 400000) and sda != scl

    def readfrom_mem(self, address, register, n):
        assert (address, register, n) == (0x68, 0x75, 1)
        return bytes((WHO,))

    def writeto_mem(self, address, register, data):
        assert address == 0x68
        Bus.written.append((register, data[0]))

    def readfrom_mem_into(self, address, register, data):
        assert address == 0x68 and register == 0x3B and len(data) == 14
        row = Bus.at
        Bus.at = row + 1
        if row in FAILS:
            raise Bus.broken
        for i in range(14):
            data[i] = DATA[row * 14 + i]


class Pin:
    OUT = 1
    lit = 0

    def __init__(self, name, mode=None):
        pass

    def value(self, v):
        Pin.lit += v


class Timer:
    period = 0

    def __init__(self, number):
        assert number == -1

    def init(self, period, callback):
        Timer.period, Timer.callback, Timer.due = period, callback, Clock.now + period

    def deinit(self):
        Timer.period = 0


class WDT:
    fed = 0
    heap = [0] * 20
    looks = 0

    def __init__(self, timeout):
        assert timeout <= 8388

    def feed(self):
        WDT.fed += 1
        if WDT.fed % 200 == 150:
            gc.collect()
            WDT.heap[WDT.looks] = gc.mem_alloc()
            WDT.looks += 1


class Clock:
    now = 0

    def ticks_ms():
        return Clock.now

    def ticks_add(a, b):
        return a + b

    def ticks_diff(a, b):
        return a - b

    def sleep_ms(n):
        Clock.now += n
        while Timer.period and Timer.due <= Clock.now:
            Timer.due += Timer.period
            micropython.heap_lock()
            Timer.callback(None)
            micropython.heap_unlock()
        if Clock.now > END:
            raise KeyboardInterrupt


class Machine:
    I2C, Pin, Timer, WDT = Bus, Pin, Timer, WDT


sys.modules["machine"] = Machine
sys.modules["time"] = Clock
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The folder of the page's files and the model, as they lie on a board."""
    folder = tmp_path_factory.mktemp("board")
    convert(MOTIONS, folder / "motions.pft")
    found = signals.programs()
    assert sorted(found) == ["main.py", "record.py", "sensor.py"]
    for name, text in found.items():
        text = re.sub('"/', f'"{folder}/', text)
        # The unix port has none.
        text = text.replace("micropython.alloc_emergency_exception_buf(100)", "")
        (folder / name).write_text(text)
    return folder


def packed(rows) -> bytes:
    """What the sensor's registers say of rows: high bytes first, a temperature in the middle."""
    there = np.insert(np.asarray(rows), 3, -1234, axis=1)
    return there.astype(">i2").tobytes()


def walking() -> np.ndarray:
    return np.loadtxt(MOTIONS / "walking.csv", int, delimiter=",", skiprows=1)


def day(seed: int = 1) -> np.ndarray:
    """Somebody stands, walks, stands, walks: rows of the sensor."""
    noise = np.random.default_rng(seed).normal(0, 40, (300, 6))
    still = np.rint(noise + [300, 4000, -800, 20, -30, 10]).astype(int)
    walk = np.concatenate([walking()] * 4)
    return np.concatenate([still, walk, still[:150], walk[:250], still])


def expected(rows: np.ndarray, sim: Simulator) -> list[tuple[str, float]]:
    """The events that the program finds: the sixth, walks, twice, surely, none for ten windows."""
    found, seen, rest = [], 0, 0
    for end in range(100, len(rows) + 1, 10):
        label, share = sim.probabilities(sim.classify(rows[end - 100 : end]))[0]
        seen = seen + 1 if label == "Walking" and share >= 0.8 else 0
        if rest:
            rest -= 1
        elif seen >= 2:
            rest = 10
            found.append((label, share))
    return found


RUN = """
try:
    import main
except KeyboardInterrupt:
    pass
print(Timer.period, WDT.fed, Pin.lit > 0, WDT.heap[: WDT.looks])
"""


def test_the_program_finds_the_walks(unix, files):
    """By the driver. Rows that fail are missing, the heap stays, Ctrl-C stops the timer."""
    rows, fails = day(), [17, 350, 351, 800]
    said = unix(
        MACHINE + RUN, FOLDER=str(files), DATA=packed(rows), WHO=0x68, FAILS=fails,
        END=100 * len(rows) + 50,
    ).splitlines()  # fmt: skip
    events = expected(np.delete(rows, fails, axis=0), Simulator(files / "motions.pft"))
    assert 2 <= len(events) <= 8
    assert said[:-1] == [f"{label} {share!r}" for label, share in events]
    period, fed, lit, *_ = said[-1].split()
    assert (period, lit) == ("0", "True") and int(fed) == len(rows) - len(fails)
    heap = json.loads(said[-1].partition("True ")[2])
    assert len(heap) > 4 and heap[1] == heap[-1]


def test_a_recording_in_place_of_the_sensor(unix, files):
    """It is read over and over."""
    recording = files / "recording.csv"
    recording.write_bytes((MOTIONS / "walking.csv").read_bytes())
    try:
        said = unix(
            MACHINE + RUN, FOLDER=str(files), DATA=b"", WHO=0, FAILS=[], END=30_050
        ).splitlines()
    finally:
        recording.unlink()
    rows = np.concatenate([walking()] * 3)
    events = expected(rows, Simulator(files / "motions.pft"))
    assert events and said[:-1] == [f"{label} {share!r}" for label, share in events]


def test_a_file_named_setup_keeps_it_from_running(unix, files):
    (files / "setup").touch()
    try:
        given = {"FOLDER": str(files), "DATA": b"", "WHO": 0, "FAILS": [], "END": 0}
        assert unix(MACHINE + RUN, **given) == "0 0 False []\n"
    finally:
        (files / "setup").unlink()


DRIVER = """
from sensor import MPU6050, source
s = source()
print(Bus.written)
values = [0] * 8
for _ in range(len(DATA) // 14):
    s.read_into(values, 1)
    print(values)
"""


def test_the_driver(unix, files):
    """Registers as the data sheet has them, and every sign; the scales are the model's units."""
    rows = [[-32768, 32767, -1, 0, 1, 255], [256, -256, -255, 128, 127, -128]]
    given = {"FOLDER": str(files), "DATA": packed(rows), "FAILS": [], "END": 0}
    said = unix(MACHINE + DRIVER, WHO=0x68, **given).splitlines()
    written = dict(eval(said[0]))
    assert written[0x6B] & 0x40 == 0, "it sleeps"
    assert [json.loads(line) for line in said[1:]] == [[0, *row, 0] for row in rows]
    gravity, degree = 9.80665, np.pi / 180
    g = 16384 >> (written[0x1C] >> 3)
    rate = 131 / (1 << (written[0x1B] >> 3))
    unit = json.loads((MOTIONS / "motions.json").read_text())["input"]["unit"]
    np.testing.assert_allclose(unit[:3], gravity / g, rtol=1e-3)
    np.testing.assert_allclose(unit[3:], degree / rate, rtol=2e-3)
    said = unix(
        MACHINE + "try:\n    from sensor import source\n    source()\nexcept OSError as e:\n"
        "    print(e)\n", WHO=0x70, **given,
    )  # fmt: skip
    assert said == "no MPU-6050, it says 0x70\n"


def test_the_recorder_writes_what_the_sensor_says(unix, files):
    rows = day()[250:350]
    given = {"FOLDER": str(files), "DATA": packed(rows), "WHO": 0x68, "FAILS": []}
    said = unix(MACHINE + "import record\nprint(Clock.now)\n", END=10**6, **given).splitlines()
    assert said[0] == (MOTIONS / "walking.csv").read_text().splitlines()[0]
    assert np.loadtxt(said[1:-1], int, delimiter=",").tolist() == rows.tolist()
    assert said[-1] == "10000"


def test_a_report_of_the_emulated_board():
    """What tools/sweeps/signals.py makes of the board's lines."""
    report = signals.Report()
    lines = "heap 240000\nimport 150\nloaded 1000 170000\nWalking 0.97\nlook 168000 600 0 5000"
    for line in [*lines.split("\n"), "look 168000 1200 1 5100", "windows 111 1210000 22000"]:
        report.hear(line)
    assert report.free == [170000, 168000, 168000] and report.rows == [600, 1200]
    assert report.events == ["Walking 0.97"] and report.failed == 1
    assert (report.windows, round(report.window), report.longest) == (111, 10901, 22000)


def check_events(report: signals.Report, folder: Path) -> None:
    """They are those that the simulator finds in the windows that were read."""
    rows = np.concatenate([walking()] * (report.windows // 10 + 2))[: 90 + 10 * report.windows]
    events = expected(rows, Simulator(folder / "motions.pft"))
    found = [(label, float(share)) for label, share in map(str.split, report.events)]
    assert [label for label, _ in found] == [label for label, _ in events]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in events], rtol=1e-6)


@pytest.mark.slow
def test_ten_minutes_on_the_emulated_pico(files):
    if reason := rp2040.missing():
        pytest.skip(reason)
    report = signals.run(10, (MOTIONS / "walking.csv").read_bytes())
    print(report)
    assert len(report.free) == 11 and len(set(report.free[1:])) == 1
    assert report.failed == 0 and report.rows[-1] in range(5998, 6002)
    check_events(report, files)


@pytest.mark.slow
def test_a_minute_on_the_emulated_esp32(files):
    if reason := Esp32Board.missing():
        pytest.skip(reason)
    report = signals.run(1, (MOTIONS / "walking.csv").read_bytes(), "esp32")
    print(report)
    assert report.failed == 0 and report.windows > 40
    check_events(report, files)
