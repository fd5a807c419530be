"""The files of docs/sound.md: the microphone, the program, the recorder, tuning; no microphone."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest

import wavs
from picoformer import Error, Listener, Simulator, convert
from picoformer.compile.convert import compiled_bytes
from picoformer.data.sounds import sound
from tools.emulation import rp2040
from tools.sweeps import signals

LABELS = ["two", "background", "one", "zero"]
GAIN, START = 3, 2000  # bits and samples

# A board's modules: samples of a file in place of those of a microphone.
MACHINE = """
import sys

sys.path.insert(0, FOLDER)


class I2S:
    RX, MONO = 7, 8
    f = open(DATA, "rb")
    open = 0

    def __init__(self, number, sck, ws, sd, mode, bits, format, rate, ibuf):
        assert (number, mode, bits, format) == (0, 7, 16, 8) and (rate, ibuf) == (8000, 32000)
        assert ws.name == sck.name + 1 and sd.name not in (sck.name, ws.name)
        I2S.open += 1

    def readinto(self, buffer):
        assert self.open == 1
        n = I2S.f.readinto(buffer)
        if n < len(buffer):
            raise KeyboardInterrupt
        return n

    def shift(buf, bits, shift):
        assert bits == 16
        for i in range(0, len(buf), 2):
            v = (buf[i] | buf[i + 1] << 8) << shift
            buf[i], buf[i + 1] = v & 255, v >> 8 & 255

    def deinit(self):
        I2S.open -= 1


class Pin:
    OUT = 1
    lit = []

    def __init__(self, name, mode=None):
        self.name = name

    def value(self, v):
        Pin.lit.append(v)


class WDT:
    fed = 0

    def __init__(self, timeout):
        assert timeout <= 8388

    def feed(self):
        WDT.fed += 1


class Machine:
    I2S, Pin, WDT = I2S, Pin, WDT


sys.modules["machine"] = Machine
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory, built):
    """The folder of the page's files and a random model, as they lie on a board."""
    folder = tmp_path_factory.mktemp("board")
    a = built("sound")
    graph = replace(a.graph, labels=LABELS, meta={"background": LABELS[1:2]})
    data = compiled_bytes(graph, a.vocabulary, a.compiled())
    (folder / "digits.pft").write_bytes(data)
    found = signals.programs("sound")
    assert sorted(found) == ["main.py", "microphone.py", "record.py", "tune.py"]
    for name, text in found.items():
        text = re.sub('"/', f'"{folder}/', text)
        # One that is random is never sure, and its windows are short.
        text = text.replace("SURE = 0.8", "SURE = 0.45")
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def data(tmp_path):
    """A file of samples, which are quiet, and the same as they are heard."""
    x = np.concatenate([wavs.noise(START, 9), wavs.changing(6), wavs.changing(5)]) >> GAIN
    (tmp_path / "samples").write_bytes(x.astype("<i2").tobytes())
    return str(tmp_path / "samples"), x << GAIN


RUN = """
try:
    import main
except KeyboardInterrupt:
    pass
print(I2S.open, WDT.fed, Pin.lit)
"""


def test_the_program(unix, files, data):
    """Its events are those of the PC; the watchdog is fed, the LED lit and the I2S given back."""
    path, heard = data
    said = unix(MACHINE + RUN, FOLDER=str(files), DATA=path).splitlines()
    sim = Simulator(files / "digits.pft")
    events = list(Listener(sim, io.BytesIO(heard[START:].astype("<i2").tobytes()), threshold=0.45))
    assert len(events) > 1 and len({label for label, _, _ in events}) > 1
    assert said[:-1] == [f"{label} {share!r}" for label, share, _ in events]
    still, fed, lit = said[-1].split(" ", 2)
    assert still == "0" and int(fed) >= (len(heard) - START) // 400
    assert eval(lit) == [label == "one" for label, _, _ in events if label in LABELS[2:]]


def test_a_file_named_setup_keeps_it_from_running(unix, files, data):
    (files / "setup").touch()
    try:
        assert unix(MACHINE + RUN, FOLDER=str(files), DATA=data[0]) == "0 0 []\n"
    finally:
        (files / "setup").unlink()


def test_the_recorder(unix, files, data, tmp_path):
    """It prints a .wav file of two seconds."""
    path, heard = data
    said = unix(MACHINE + "import record\n", FOLDER=str(files), DATA=path)
    (tmp_path / "a.wav").write_bytes(base64.b64decode(said.replace("\n", "")))
    made = io.BytesIO()
    base64.decode(io.BytesIO(said.replace("\n", "\r\n").encode()), made)  # python3 -m base64 -d
    assert made.getvalue() == (tmp_path / "a.wav").read_bytes()
    assert sound(tmp_path / "a.wav", 8000).tolist() == heard[START : START + 16000].tolist()


def test_tuning(files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.pft").write_bytes((files / "digits.pft").read_bytes())
    for name in "ba":
        wavs.write(tmp_path / "recordings" / f"{name}.wav", wavs.changing())
    exec(signals.programs("sound")["tune.py"], {})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [
        [f"{name}.wav", threshold] for name in "ab" for threshold in ("0.6", "0.7", "0.8", "0.9")
    ]
    assert lines[0][2] in LABELS and len(lines[3]) == 2


ASYNC = """
class Reader:
    def __init__(self, stream):
        self.stream = stream

    async def readinto(self, buffer):
        return self.stream.readinto(memoryview(buffer)[: min(len(buffer), 320)])

import asyncio
asyncio.StreamReader = Reader
exec(PAGE)
try:
    asyncio.run(listen(Model(FOLDER + "/digits.pft")))
except KeyboardInterrupt:
    pass
"""


def test_with_asyncio(unix, files, data):
    if unix("try:\n    import asyncio\nexcept ImportError:\n    print(1)\n"):
        pytest.skip("this MicroPython has no asyncio")
    path, heard = data
    (page,) = re.findall(r"```python\n(import asyncio.*?)```", signals.page("sound"), re.DOTALL)
    page = page.replace("Source())", "Source(), threshold=0.45)")
    said = unix(MACHINE + ASYNC, FOLDER=str(files), DATA=path, PAGE=page).splitlines()
    sim = Simulator(files / "digits.pft")
    events = list(Listener(sim, io.BytesIO(heard[START:].astype("<i2").tobytes()), threshold=0.45))
    assert said == [f"{label} {share!r}" for label, share, _ in events]


def test_a_report_of_the_emulated_board(tmp_path, monkeypatch):
    """What tools/sweeps/signals.py makes of the board's lines, and gives it."""
    report = signals.Report()
    lines = "heap 240000\nimport 150\nloaded 1000 100000\nseven 0.97\nlook 41000 398 0 21000"
    for line in [*lines.split("\n"), "rows 400 200000 3000000", "windows 12 600000 70000"]:
        report.hear(line)
    assert (report.row, report.file) == (500, 3) and report.free == [100000, 41000]
    assert report.rows == [398] and report.events == ["seven 0.97"] and report.window == 50000
    monkeypatch.setattr(signals, "DIGITS", tmp_path)
    with pytest.raises(Error, match="there is no recording in .*: name one with --recording"):
        signals.recorded("sound", None)
    x = wavs.noise(4000)
    wavs.write(tmp_path / "a.wav", x)
    assert signals.recorded("sound", None) == (x >> GAIN).astype("<i2").tobytes()
    assert signals.recorded("signals", None).startswith(b"ax,ay")


@pytest.mark.slow
def test_on_the_emulated_pico(tmp_path):
    """At the pace of a microphone nothing is lost, of the sound or of the heap."""
    if reason := rp2040.missing():
        pytest.skip(reason)
    if not signals.DIGITS.is_dir():
        pytest.skip("there is no model of digits")
    recording = signals.recorded("sound", None)
    report = signals.run(0.2, recording, page="sound", every=4)
    print(report)
    assert report.failed == 0 and len(report.free) == 4 and len(set(report.free[1:])) == 1
    assert report.windows >= 40 and report.rows[-1] >= 1150
    convert(signals.DIGITS, tmp_path / "digits.pft")
    heard = np.tile(np.frombuffer(recording, "<i2").astype(int) << GAIN, 99)[START:].astype("<i2")
    listener = Listener(
        Simulator(tmp_path / "digits.pft"), io.BytesIO(heard.tobytes()), threshold=0.8
    )
    found = [(label, share) for label, share, _ in listener if listener.windows <= report.windows]
    assert [line.split()[0] for line in report.events] == [label for label, _ in found]
    shares = [float(line.split()[1]) for line in report.events]
    np.testing.assert_allclose(shares, [share for _, share in found], rtol=1e-6)
